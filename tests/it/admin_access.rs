//! Who is kept out of the control plane: pages of other sites, rebound names, wrong tokens, garbage, what is too large; and
//! everybody who comes by a public listener.

use serde_json::json;
use tokio::io::AsyncWriteExt;

use crate::rig::{Client, Edge, client, edge, free_port, ok, origin, request, within};

/// An edge whose admin listener is on a loopback port, with a page stored.
async fn guarded(token: Option<&str>) -> (Edge, Client) {
    let o = origin("o1")
        .on("*", ok().max_age(600).body("b"))
        .start()
        .await;
    let port = free_port().to_string();
    let token = token.map_or_else(String::new, |token| format!("token = \"{token}\"\n"));
    let toml =
        format!("[admin]\nlisten = \"127.0.0.1:{{port}}\"\n{token}[[route]]\nto = \"{{o1}}\"");
    let e = edge(&toml).origin(&o).value("port", &port).start().await;
    e.client().get("/a").send().await.expect(200);
    let admin = client(&format!("127.0.0.1:{port}")).host(&format!("127.0.0.1:{port}"));
    (e, admin)
}

async fn is_kept(e: &Edge) -> bool {
    let get = e
        .client()
        .get("/a")
        .header("cache-control", "only-if-cached");
    get.send().await.status == 200
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_browser_sends_for_a_page_of_another_site() {
    let (e, admin) = guarded(None).await;
    let (own, page) = ("127.0.0.1", "http://evil.test");
    // What browsers send, as the Fetch standard and its Metadata have it. A page on plain HTTP gets no Sec-Fetch fields.
    for (what, method, target, fields, expected) in [
        (
            "a form",
            "POST",
            "/purge",
            &[
                ("Host", own),
                ("Origin", page),
                ("Sec-Fetch-Site", "cross-site"),
            ][..],
            403,
        ),
        (
            "a form of old",
            "POST",
            "/purge",
            &[("Host", own), ("Origin", page)],
            403,
        ),
        (
            "a file",
            "POST",
            "/purge",
            &[("Host", own), ("Origin", "null")],
            403,
        ),
        (
            "fetch() beside us",
            "POST",
            "/purge",
            &[("Host", own), ("Origin", "http://127.0.0.1:8080")],
            403,
        ),
        (
            "rebound, fetch()",
            "POST",
            "/purge",
            &[("Host", "evil.test"), ("Origin", page)],
            403,
        ),
        (
            "rebound, no fields",
            "POST",
            "/purge",
            &[("Host", "evil.test")],
            403,
        ),
        (
            "rebound, reading",
            "GET",
            "/cache",
            &[("Host", "evil.test")],
            403,
        ),
        (
            "rebound, the same origin",
            "GET",
            "/cache",
            &[("Host", "evil.test"), ("Sec-Fetch-Site", "same-origin")],
            403,
        ),
        (
            "rebound, to learn paths",
            "GET",
            "/nothing",
            &[("Host", "evil.test")],
            403,
        ),
        (
            "a preflight",
            "OPTIONS",
            "/purge",
            &[("Host", own), ("Origin", page)],
            403,
        ),
        (
            "an image",
            "GET",
            "/cache",
            &[
                ("Host", own),
                ("Sec-Fetch-Site", "cross-site"),
                ("Sec-Fetch-Mode", "no-cors"),
            ],
            403,
        ),
        (
            "a link",
            "GET",
            "/cache/stats",
            &[
                ("Host", own),
                ("Sec-Fetch-Site", "cross-site"),
                ("Sec-Fetch-Mode", "navigate"),
                ("Sec-Fetch-Dest", "document"),
            ],
            200,
        ),
        (
            "typed",
            "GET",
            "/cache/stats",
            &[("Host", own), ("Sec-Fetch-Site", "none")],
            200,
        ),
        (
            "a service's probe",
            "GET",
            "/healthz",
            &[("Host", "forebay")],
            200,
        ),
        (
            "a service's probe",
            "GET",
            "/readyz",
            &[("Host", "forebay:9900")],
            200,
        ),
        (
            "curl",
            "GET",
            "/cache/stats",
            &[("Host", "localhost:9900")],
            200,
        ),
    ] {
        let mut asked = request(method, target).body(r#"{"all": true}"#);
        for (name, value) in fields {
            asked = asked.header(name, value);
        }
        let got = admin.request(asked).send().await;
        assert_eq!(got.status, expected, "{what}: {got:#?}");
        if expected == 403 {
            let told = got.json();
            assert!(told["error"].is_string(), "{what}: {told:#}");
            assert!(
                !got.text().contains("/purge"),
                "{what} learns which calls there are"
            );
        }
        assert!(is_kept(&e).await, "{what}");
    }
    // A probe under a foreign name is told whether, and not which routes there are.
    let told = admin
        .get("/readyz")
        .host("forebay")
        .send()
        .await
        .expect(200)
        .json();
    assert_eq!(told, json!({"status": "ready"}));
    // And who is on this machine may.
    admin
        .post("/purge", r#"{"all": true}"#)
        .send()
        .await
        .expect(200);
    assert!(!is_kept(&e).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_needed_where_there_is_one() {
    let (e, admin) = guarded(Some("s3cret")).await;
    let purge = || admin.post("/purge", r#"{"all": true}"#);
    for authorization in [
        "",
        "Bearer",
        "Bearer s3cre",
        "Bearer s3cret2",
        "Bearer S3CRET",
        "Basic s3cret",
        "s3cret",
    ] {
        purge()
            .header("Authorization", authorization)
            .send()
            .await
            .expect(401);
    }
    let twice = purge().header("Authorization", "Bearer s3cret");
    twice
        .header("Authorization", "Bearer x")
        .send()
        .await
        .expect(401);
    purge()
        .send()
        .await
        .expect(401)
        .header("www-authenticate", "Bearer");
    assert!(is_kept(&e).await);
    // The command line has the token from the configuration.
    let run = crate::rig::run_forebay(e.dir(), &["purge", "--url", "/a"]).await;
    run.expect(0).says("url:/a");
    assert!(!is_kept(&e).await);
    let named = purge()
        .host("forebay:9900")
        .header("Authorization", "Bearer s3cret");
    named.send().await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_is_told_what_was_expected() {
    let (e, admin) = guarded(None).await;
    for (body, part) in [
        (&b""[..], "the request has no body"),
        (b"tag=items", "expected JSON such as"),
        (b"\x00\xff\xfe", "cannot be used"),
        (b"{\"tag\": \"a\"", "cannot be used"),
        (b"[[[[[[[[[[[[[[[[", "cannot be used"),
        (b"{\"tag\": 1}", "invalid type"),
        (b"{\"tag\": \"\"}", "expected a tag"),
        (b"{\"tags\": []}", "expected a tag"),
        (b"{\"all\": false}", "expected `\\\"all\\\": true`"),
        (b"{\"host\": \"a b\"}", "expected a host"),
        (b"{\"ban\": \".*\"}", "unknown field `ban`"),
    ] {
        let got = admin.post("/purge", body).send().await.expect(400);
        assert!(
            got.text().contains(part),
            "{body:?}: no {part:?} in {}",
            got.text()
        );
    }
    let deep = format!("{{\"tag\": {}", "[".repeat(60_000));
    admin.post("/purge", deep).send().await.expect(400);
    admin.post("/purge?all", "{}").send().await.expect(400);
    assert!(is_kept(&e).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_megabytes_are_refused_and_the_caller_reads_why() {
    let (e, admin) = guarded(None).await;
    let body = format!("{{\"tags\": [\"{}\"]}}", "x".repeat(10 << 20));
    let mut large = admin.connect().await;
    let whole = request("POST", "/purge").body(&body);
    let got = large.send(&whole).await.expect(413);
    assert!(
        got.text().contains("larger than 65536 bytes"),
        "{}",
        got.text()
    );
    // In pieces whose sum nobody has declared.
    let piece = "x".repeat(1 << 20);
    let pieces = request("POST", "/purge").chunked([piece.as_str(); 10]);
    admin.connect().await.send(&pieces).await.expect(413);
    // Who asks first is told before the body.
    let head = format!(
        "POST /purge HTTP/1.1\r\nHost: {}\r\nExpect: 100-continue\r\nContent-Length: 10485760\r\n\r\n",
        admin.host_name()
    );
    admin.raw(head).await.expect(413).interim(&[]);
    assert!(is_kept(&e).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_breaks_off_changes_nothing_or_all() {
    let (e, admin) = guarded(None).await;
    let host = admin.host_name().to_owned();
    let body = r#"{"all": true}"#;
    let whole = format!(
        "POST /purge HTTP/1.1\r\nHost: {host}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    // Cut anywhere before its end, it is not done.
    for cut in [1, 20, whole.len() - body.len(), whole.len() - 1] {
        let mut caller = admin.connect().await;
        caller.write(&whole[..cut]).await;
        caller.reset();
        admin.get("/healthz").send().await.expect(200);
        assert!(is_kept(&e).await, "after {cut} octets");
    }
    // Once it is whole it is done, whoever waits for the answer.
    let mut caller = admin.connect().await;
    caller.write(&whole).await;
    drop(caller);
    let gone = async {
        while is_kept(&e).await {
            tokio::task::yield_now().await;
        }
    };
    within("the purge", gone).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_who_send_nothing_do_not_keep_others_out_for_long() {
    let (_e, admin) = guarded(None).await;
    let mut silent = Vec::new();
    for _ in 0..60 {
        let mut stream = admin.stream().await;
        stream.write_all(b"POST /purge HTTP/1.1\r\n").await.unwrap();
        silent.push(stream);
    }
    admin.get("/healthz").send().await.expect(200);
    drop(silent);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_it_is_reached_by_a_public_listener() {
    let o = origin("o1")
        .on("*", ok().header("x-from", "app").body("app"))
        .start()
        .await;
    let e = edge("[[route]]\nto = \"{o1}\"").origin(&o).start().await;
    let port = e.addr().to_owned();
    for target in [
        "/healthz",
        "/readyz",
        "/metrics",
        "/upstreams",
        "/cache",
        "/cache/entry?url=/a",
        "/cache/stats",
        "/purge",
        "/reload",
    ] {
        for host in ["site.test", "127.0.0.1:9900", "localhost", &port] {
            let got = e.client().get(target).host(host).send().await;
            got.expect(200).header("x-from", "app");
        }
        let posted = e.client().post(target, r#"{"all": true}"#).send().await;
        posted.expect(200).header("x-from", "app");
    }
}
