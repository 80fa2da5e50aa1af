//! What becomes of a request at its route: redirect, fixed answer, rewrite, header edits, weights, error pages.

use crate::rig::{edge, get, ok, origin, post, status};

#[tokio::test(flavor = "multi_thread")]
async fn redirect_fills_in_the_request() {
    let e = edge(
        r#"
        [[route]]
        path = "/uri"
        redirect = "https://{host}{uri}"
        [[route]]
        path = "/parts"
        redirect = { to = "https://new.test{path}/moved{query}", status = 302 }
        "#,
    )
    .start()
    .await;
    let c = e.client().host("site.test:8080");
    c.get("/uri/a%20b?x=1")
        .send()
        .await
        .expect(308)
        .header("location", "https://site.test/uri/a%20b?x=1");
    c.get("/parts?x=1")
        .send()
        .await
        .expect(302)
        .header("location", "https://new.test/parts/moved?x=1");
    c.get("/parts")
        .send()
        .await
        .expect(302)
        .header("location", "https://new.test/parts/moved");
    // Whoever names no host is sent to none: `https:///uri//evil.test` is `evil.test` to a browser, or `uri`.
    let nameless = |target: &str| format!("GET {target} HTTP/1.0\r\n\r\n");
    let got = e
        .client()
        .raw(&nameless("/uri//evil.test"))
        .await
        .expect(400);
    assert!(got.text().contains("no-host"), "{got:#?}");
    e.client().raw(&nameless("/parts")).await.expect(302);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_goes_by_the_rewritten_path() {
    let e = edge(
        r#"
        [[route]]
        path = "/old/"
        replace_prefix = "/new/"
        redirect = { to = "{scheme}://{host}:8443{uri}", status = 301 }
        [[route]]
        path = "/gone/"
        strip_prefix = true
        redirect = "{path}"
        "#,
    )
    .start()
    .await;
    let c = e.client().host("site.test:8080");
    for (sent, location) in [
        ("/old/a/b?x=1", "http://site.test:8443/new/a/b?x=1"),
        ("/old", "http://site.test:8443/new/"),
    ] {
        c.get(sent)
            .send()
            .await
            .expect(301)
            .header("location", location);
    }
    // What is left of the path must not become another site's name.
    for (sent, location) in [("/gone/a", "/a"), ("/gone//evil.test", "/evil.test")] {
        c.get(sent)
            .send()
            .await
            .expect(308)
            .header("location", location);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn respond_with_text_or_in_full() {
    let e = edge(
        r#"
        [[route]]
        path = "/text"
        respond = "hello"
        [[route]]
        path = "/teapot"
        respond = { status = 418, body = "{\"pot\":true}", content_type = "application/json" }
        [[route]]
        path = "/nothing"
        respond = { status = 204 }
        "#,
    )
    .start()
    .await;
    let c = e.client();
    c.get("/text")
        .send()
        .await
        .expect(200)
        .header("content-type", "text/plain; charset=utf-8")
        .body("hello");
    c.get("/teapot")
        .send()
        .await
        .expect(418)
        .header("content-type", "application/json")
        .body("{\"pot\":true}");
    c.get("/nothing")
        .send()
        .await
        .expect(204)
        .no_header("content-length")
        .body("");
    c.head("/text")
        .send()
        .await
        .expect(200)
        .header("content-length", "5")
        .body("");
}

#[tokio::test(flavor = "multi_thread")]
async fn respond_reads_the_body_of_a_post_and_keeps_the_connection() {
    let e = edge("[[route]]\nrespond = \"thanks\"").start().await;
    let mut k = e.client().connect().await;
    k.send(&post("/", "a body that nobody wants"))
        .await
        .expect(200)
        .body("thanks");
    k.send(&post("/", "").chunked(["and", "another"]))
        .await
        .expect(200)
        .body("thanks");
    k.get("/").await.expect(200).body("thanks");
}

#[tokio::test(flavor = "multi_thread")]
async fn strip_and_replace_a_prefix() {
    let o = origin("o1").on("*", ok()).start().await;
    let e = edge(
        r#"
        [[route]]
        path = "/strip/"
        to = "{o1}"
        strip_prefix = true
        [[route]]
        path = "/replace"
        to = "{o1}"
        replace_prefix = "/v1"
        [[route]]
        to = "{o1}"
        "#,
    )
    .origin(&o)
    .start()
    .await;
    let rewritten = [
        ("/strip/a?b=c", "/a?b=c"),
        ("/strip", "/"),
        ("/strip/", "/"),
        ("/strip/a%2Fb/../c", "/c"),
        ("/strip/a%2Fb", "/a%2Fb"),
        ("/replace/a", "/v1/a"),
        ("/replace", "/v1"),
        ("/as-it-is//x?y=%zz", "/as-it-is//x?y=%zz"),
    ];
    for (sent, _) in rewritten {
        e.client().get(sent).send().await.expect(200);
    }
    let seen: Vec<String> = o.requests().iter().map(|r| r.target().to_owned()).collect();
    assert_eq!(seen, rewritten.map(|(_, arrived)| arrived));
    let prefix = |nth: usize| {
        o.requests()[nth]
            .header("x-forwarded-prefix")
            .map(str::to_owned)
    };
    assert_eq!(prefix(0).as_deref(), Some("/strip"));
    assert_eq!(
        prefix(5),
        None,
        "what replaces a prefix is the application's own"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn header_edits_remove_then_set() {
    let answer = ok()
        .header("x-old", "1")
        .header("x-old", "2")
        .header("server", "o1")
        .header("x-kept", "k")
        .body("v1");
    let o = origin("o1").on("*", answer).start().await;
    let e = edge(
        r#"
        [[route]]
        to = "{o1}"
        request_headers = { set = { X-Env = "prod", X-Both = "new" }, remove = ["X-Secret", "X-Both"] }
        response_headers = { set = { X-Frame-Options = "DENY" }, remove = ["Server", "X-Old"] }
        "#,
    )
    .origin(&o)
    .start()
    .await;
    let request = e
        .client()
        .get("/")
        .header("X-Secret", "s")
        .header("X-Both", "a")
        .header("X-Both", "b")
        .header("X-Env", "dev");
    request
        .send()
        .await
        .expect(200)
        .header("x-frame-options", "DENY")
        .header("x-kept", "k")
        .no_header("server")
        .no_header("x-old")
        .body("v1");
    let seen = &o.requests()[0];
    assert_eq!(seen.header("x-env"), Some("prod"));
    assert_eq!(seen.header("x-both"), Some("new"));
    assert_eq!(seen.header("x-secret"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn response_edits_apply_to_our_own_answers_too() {
    let e = edge(
        "[[route]]\nrespond = \"hi\"\nresponse_headers = { set = { X-Frame-Options = \"DENY\" } }",
    )
    .start()
    .await;
    e.client()
        .get("/")
        .send()
        .await
        .expect(200)
        .header("x-frame-options", "DENY");
}

#[tokio::test(flavor = "multi_thread")]
async fn weights_share_requests_between_upstreams() {
    let a = origin("a").on("*", ok().body("a")).start().await;
    let b = origin("b").on("*", ok().body("b")).start().await;
    let never = origin("never").on("*", ok().body("never")).start().await;
    let e = edge(
        r#"
        [upstream.a]
        servers = ["{a}"]
        [upstream.b]
        servers = ["{b}"]
        [upstream.never]
        servers = ["{never}"]
        [[route]]
        to = [{ to = "a", weight = 9 }, { to = "b", weight = 1 }, { to = "never", weight = 0 }]
        "#,
    )
    .origin(&a)
    .origin(&b)
    .origin(&never)
    .start()
    .await;
    let mut k = e.client().connect().await;
    for _ in 0..400 {
        k.get("/").await.expect(200);
    }
    assert_eq!(
        (
            never.requests().len(),
            a.requests().len() + b.requests().len()
        ),
        (0, 400)
    );
    // Whether weights are drawn or counted: 40 are expected, and fewer than 10 or more than 90 do not happen by chance.
    assert!(
        (10..=90).contains(&b.requests().len()),
        "{} of 400 went to b",
        b.requests().len()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn error_pages_replace_errors_of_ours_and_of_the_origin() {
    let o = origin("o1")
        .on("/503", status(503).header("retry-after", "7").body("raw"))
        .on("/404", status(404).body("raw"))
        .start()
        .await;
    let e = edge(
        r#"
        [upstream.nobody]
        servers = ["http://127.0.0.1:1"]
        hold = "0s"
        [[route]]
        path = "/nobody"
        to = "nobody"
        error_pages = { "502" = "{dir}/sorry.html" }
        [[route]]
        to = "{o1}"
        error_pages = { "503" = "{dir}/sorry.html" }
        "#,
    )
    .origin(&o)
    .file("sorry.html", "<h1>sorry</h1>")
    .start()
    .await;
    let c = e.client();
    c.get("/503")
        .send()
        .await
        .expect(503)
        .header("retry-after", "7")
        .header("content-type", "text/html; charset=utf-8")
        .body("<h1>sorry</h1>");
    c.get("/404").send().await.expect(404).body("raw");
    c.get("/nobody")
        .send()
        .await
        .expect(502)
        .header("content-type", "text/html; charset=utf-8")
        .body("<h1>sorry</h1>");
    c.head("/nobody")
        .send()
        .await
        .expect(502)
        .header("content-length", "14")
        .body("");
}

#[tokio::test(flavor = "multi_thread")]
async fn three_services_by_path_prefix() {
    let [greeting, update, stats] =
        ["greeting", "update", "stats"].map(|name| origin(name).on("*", ok().body(name)));
    let (greeting, update, stats) = (
        greeting.start().await,
        update.start().await,
        stats.start().await,
    );
    let e = edge(
        r#"
        [[route]]
        path = "/greeting"
        to = "{greeting}"
        [[route]]
        path = "/update/"
        to = "{update}"
        [[route]]
        path = "/status"
        to = "{stats}"
        "#,
    )
    .origin(&greeting)
    .origin(&update)
    .origin(&stats)
    .start()
    .await;
    let mut k = e.client().connect().await;
    k.get("/greeting").await.expect(200).body("greeting");
    k.send(&post("/update/hello", ""))
        .await
        .expect(200)
        .body("update");
    k.get("/status").await.expect(200).body("stats");
    k.send(&get("/elsewhere")).await.expect(404);
}
