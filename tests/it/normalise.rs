//! What is repaired before it goes on (table 3.2), and that no place where the bytes are split makes a difference.
//!
//! The origin of the rig reads strictly, so that "what arrives is canonical" is asserted by every test there is.

use crate::rig::{Edge, Origin, edge, gate, get, ok, origin, post, request};

async fn pair() -> (Origin, Edge) {
    let o = origin("o1").on("*", ok().body("v1")).start().await;
    let e = edge("[[route]]\nto = \"{o1}\"").origin(&o).start().await;
    (o, e)
}

#[tokio::test(flavor = "multi_thread")]
async fn empty_lines_in_front_of_a_request_are_dropped() {
    let (o, e) = pair().await;
    let mut k = e.client().connect().await;
    for empty in ["\r\n", "\r\n\r\n"] {
        k.write(format!("{empty}GET /a HTTP/1.1\r\nHost: site.test\r\n\r\n"))
            .await;
        k.response("GET").await.expect(200).body("v1");
    }
    assert_eq!(o.requests().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn bare_line_feeds_are_refused_or_made_whole() {
    let (o, e) = pair().await;
    for bytes in [
        "GET /a HTTP/1.1\nHost: site.test\n\n",
        "GET /a HTTP/1.1\r\nHost: site.test\nX-A: b\r\n\r\n",
    ] {
        let got = e.client().raw(bytes).await;
        assert!([200, 400].contains(&got.status), "{got:#?}");
        assert_eq!(
            o.requests().iter().filter(|r| r.target() == "/a").count() > 0,
            got.status == 200
        );
        if got.status == 200 {
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_content_length_becomes_one_or_is_refused() {
    let (o, e) = pair().await;
    for lines in [
        "Content-Length: 5, 5",
        "Content-Length: 5\r\nContent-Length: 5",
    ] {
        let got = e
            .client()
            .raw(format!(
                "POST /a HTTP/1.1\r\nHost: site.test\r\n{lines}\r\n\r\nhello"
            ))
            .await;
        assert!([200, 400].contains(&got.status), "{got:#?}");
    }
    for seen in o.requests() {
        assert_eq!((seen.text().as_str(), seen.complete), ("hello", true));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn chunk_extensions_are_dropped_and_bounded() {
    let (o, e) = pair().await;
    let head = "POST /a HTTP/1.1\r\nHost: site.test\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut k = e.client().connect().await;
    k.write(format!(
        "{head}5;name=value;q=\"quoted\"\r\nhello\r\n0;last\r\n\r\n"
    ))
    .await;
    k.response("POST").await.expect(200);
    assert_eq!(o.request(0).await.text(), "hello");
    // The same connection goes on.
    k.get("/b").await.expect(200);

    let mut k = e.client().connect().await;
    let flood = format!("1;{}\r\nx\r\n", "e".repeat(1_000)).repeat(2_000);
    let _ = k.try_write(format!("{head}{flood}0\r\n\r\n")).await;
    let got = k.response("POST").await;
    assert!(got.status == 400 || got.status == 413, "{got:#?}");
    assert!(
        !o.requests()
            .iter()
            .any(|r| r.complete && r.body.content.len() == 2_000)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_never_join_the_head() {
    let (o, e) = pair().await;
    let request = post("/a", "")
        .chunked(["hello"])
        .trailer("X-Trailer", "1")
        .trailer("Content-Length", "0")
        .trailer("Host", "evil.test");
    let got = e.client().request(request).send().await;
    if got.status != 200 {
        // A trailer that must not be one may also be refused.
        got.expect(400);
        assert!(o.requests().iter().all(|r| !r.complete));
        return;
    }
    let seen = o.request(0).await;
    assert_eq!(
        (
            seen.text().as_str(),
            seen.header("x-trailer"),
            seen.header("host")
        ),
        ("hello", None, Some("site.test"))
    );
    for (name, _) in &seen.body.trailers {
        assert_eq!(name.to_ascii_lowercase(), "x-trailer");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn look_alikes_of_framing_fields_do_not_pass() {
    let (o, e) = pair().await;
    for line in [
        "Transfer_Encoding: chunked",
        "Content_Length: 0",
        "content_length: 5",
    ] {
        let got = e
            .client()
            .raw(format!(
                "POST /a HTTP/1.1\r\nHost: site.test\r\n{line}\r\nContent-Length: 5\r\n\r\nhello"
            ))
            .await;
        assert!([200, 400].contains(&got.status), "{got:#?}");
    }
    for seen in o.requests() {
        assert!(
            seen.head.fields.iter().all(|(n, _)| !n.contains('_')),
            "{seen:#?}"
        );
        assert_eq!(seen.text(), "hello");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_where_none_is_usual_is_forwarded_framed_or_refused() {
    let (o, e) = pair().await;
    for method in ["GET", "DELETE", "OPTIONS", "PATCH"] {
        let mut k = e.client().connect().await;
        let got = k.send(&request(method, "/a").body("hello")).await;
        assert!([200, 400, 413].contains(&got.status), "{method}: {got:#?}");
        if got.status == 200 {
            k.get("/next").await.expect(200);
        }
    }
    for seen in o.requests().iter().filter(|r| r.target() == "/a") {
        assert_eq!(
            (seen.text().as_str(), seen.complete),
            ("hello", true),
            "{seen:#?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn absolute_form_becomes_origin_form() {
    let (o, e) = pair().await;
    let c = e.client();
    c.request(get("http://site.test/a?b").host("site.test"))
        .send()
        .await
        .expect(200);
    assert_eq!(
        (o.requests()[0].target(), o.requests()[0].header("host")),
        ("/a?b", Some("site.test"))
    );
    let got = c
        .request(get("http://other.test/a").host("site.test"))
        .send()
        .await;
    // RFC 9112 §3.2.2 has the target win; refusing the contradiction is safer and allowed by table 3.1.
    if got.status == 400 {
        assert_eq!(o.requests().len(), 1);
    } else {
        assert_eq!(o.requests()[1].header("host"), Some("other.test"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_absolute_host_is_the_same_host() {
    let o = origin("o1")
        .on("*", ok().max_age(600).body("v1"))
        .start()
        .await;
    let e = edge("[[route]]\nhost = \"site.test\"\nto = \"{o1}\"")
        .origin(&o)
        .start()
        .await;
    let c = e.client();
    for host in ["site.test.", "Site.Test."] {
        let target = format!("http://{host}/absolute");
        for asked in [get("/a").host(host), get(&target).host("x.test")] {
            c.request(asked).send().await.expect(200).body("v1");
        }
    }
    let dotted = c.clone().host("site.test.");
    dotted
        .h2()
        .await
        .get("/a")
        .await
        .expect(200)
        .cache_status("hit");
    c.get("/a").send().await.expect(200).cache_status("hit");
    dotted
        .get("/a")
        .send()
        .await
        .expect(200)
        .cache_status("hit");
    assert_eq!((o.fetches("/a"), o.fetches("/absolute")), (1, 1));
    let hosts: Vec<_> = o
        .requests()
        .iter()
        .map(|r| r.header("host").map(str::to_lowercase))
        .collect();
    assert!(
        hosts
            .iter()
            .all(|host| host.as_deref() == Some("site.test")),
        "{hosts:?}"
    );
    // By whichever name it is purged.
    let purged = e
        .admin()
        .post("/purge", "{\"url\": \"http://site.test./a\"}")
        .send()
        .await;
    purged.expect(200);
    c.get("/a")
        .send()
        .await
        .expect(200)
        .cache_status("fwd=uri-miss");
    for host in ["site.test..", "."] {
        c.request(get("/a").host(host)).send().await.expect(400);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn trace_is_not_for_strangers() {
    let (o, e) = pair().await;
    e.client()
        .request(request("TRACE", "/a"))
        .send()
        .await
        .expect(405);
    assert!(o.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn max_forwards_counts_down_and_ends_here() {
    let (o, e) = pair().await;
    let options = |n: &str| {
        e.client()
            .request(request("OPTIONS", "/a").header("Max-Forwards", n))
            .send()
    };
    options("5").await.expect(200).body("v1");
    assert_eq!(o.requests()[0].header("max-forwards"), Some("4"));
    let got = options("0").await;
    assert!([200, 204].contains(&got.status), "{got:#?}");
    assert_eq!(o.requests().len(), 1, "Max-Forwards: 0 is answered here");
}

#[tokio::test(flavor = "multi_thread")]
async fn options_of_the_whole_server() {
    let (o, e) = pair().await;
    let got = e.client().request(request("OPTIONS", "*")).send().await;
    assert!([200, 204].contains(&got.status), "{got:#?}");
    assert!(
        o.requests()
            .iter()
            .all(|r| ["*", "/"].contains(&r.target()))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_routed_is_what_is_forwarded() {
    let (o, e) = pair().await;
    let same = [
        "/a//b",
        "/a%2Fb",
        "/%zz",
        "/a;p=1",
        "/?",
        "/?a=b?c/d",
        "/x?q=/../y",
        "/~a:b@c!$&'()*+,=",
    ];
    // Only what RFC 3986 §6.2.2 calls equivalent is rewritten, before routing, so that both see one path.
    let rewritten = [
        ("/a/./b", "/a/b"),
        ("/a/../b", "/b"),
        ("/%2e%2e/x", "/x"),
        ("/%7Euser/%41", "/~user/A"),
    ];
    let rows = same
        .map(|target| (target, target))
        .into_iter()
        .chain(rewritten);
    for (n, (sent, forwarded)) in rows.enumerate() {
        e.client().get(sent).send().await.expect(200);
        assert_eq!(o.requests()[n].target(), forwarded, "{sent}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_only_some_origins_would_climb_is_refused() {
    let (o, e) = pair().await;
    for target in [
        "/a/..%2fb",
        "/a/..%5cb",
        "/a\\..\\b",
        "/a/..;x/b",
        "/a/%2e%2e%2fb",
    ] {
        e.client().get(target).send().await.expect(400);
    }
    assert!(o.requests().is_empty());
}

/// Requests whose every way of being cut in two must mean the same.
const SPLIT: [&str; 4] = [
    "GET /a?b=c HTTP/1.1\r\nHost: site.test\r\nX-A: b\r\n\r\n",
    "POST /a HTTP/1.1\r\nHost: site.test\r\nContent-Length: 5\r\n\r\nhello",
    "POST /a HTTP/1.1\r\nHost: site.test\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nhel\r\n2\r\nlo\r\n0\r\nX-T: 1\r\n\r\n",
    "\r\nGET /a HTTP/1.1\r\nHost: site.test\r\n\r\n",
];

#[tokio::test(flavor = "multi_thread")]
async fn every_split_point_means_the_same() {
    let (o, e) = pair().await;
    for bytes in SPLIT {
        // All on one connection: what is left behind by one would spoil the next.
        let mut k = e.client().connect().await;
        for at in 0..=bytes.len() {
            let before = o.requests().len();
            let (first, second) = bytes.split_at(at);
            k.write(first).await;
            // No clock can prove that the edge has read the first part; giving way makes it likely.
            tokio::task::yield_now().await;
            k.write(second).await;
            k.response("GET").await.expect(200).body("v1");
            let seen = o.requests();
            assert_eq!(seen.len(), before + 1, "split at {at} of {bytes:?}");
            let wanted = if bytes.contains("hel") { "hello" } else { "" };
            assert_eq!(seen[before].text(), wanted, "split at {at} of {bytes:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn byte_by_byte() {
    let (o, e) = pair().await;
    for bytes in SPLIT {
        let mut k = e.client().connect().await;
        for byte in bytes.as_bytes() {
            k.write([*byte]).await;
            tokio::task::yield_now().await;
        }
        k.response("GET").await.expect(200).body("v1");
    }
    assert_eq!(o.requests().len(), SPLIT.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_head_is_refused_at_every_split_point() {
    let (o, e) = pair().await;
    let hostile = "POST /a HTTP/1.1\r\nHost: site.test\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: site.test\r\n\r\n";
    for at in 1..hostile.len() {
        let mut k = e.client().connect().await;
        let (first, second) = hostile.split_at(at);
        k.write(first).await;
        tokio::task::yield_now().await;
        let _ = k.try_write(second).await;
        k.response("POST").await.expect(400);
        assert!(k.rest().await.is_empty(), "split at {at}");
    }
    assert!(o.requests().is_empty());
}

/// The second of two pipelined requests is answered, or the connection is closed in front of it.
async fn pipelined(first: &str, second: &str) {
    let (o, e) = pair().await;
    let mut k = e.client().connect().await;
    k.write([first, second].concat()).await;
    k.response("GET").await.expect(200).body("v1");
    let got = k.response("GET").await;
    if got.status == 0 {
        assert_eq!(
            (got.cut.as_deref(), o.requests().len()),
            (Some("closed without an answer"), 1),
            "{got:#?}"
        );
    } else {
        got.expect(200).body("v1");
        assert_eq!(o.requests()[1].target(), "/second");
        assert_eq!(o.requests().len(), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pipelined_requests_are_answered_or_cut_off_but_never_misread() {
    let second = "GET /second HTTP/1.1\r\nHost: site.test\r\n\r\n";
    for first in SPLIT {
        pipelined(first, second).await;
    }
    pipelined(
        SPLIT[0],
        "POST /second HTTP/1.1\r\nHost: site.test\r\nContent-Length: 2\r\n\r\nhi",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_next_request_that_comes_during_an_answer_disturbs_nothing() {
    let held = gate();
    let o = origin("o1")
        .on("/first", ok().hold(&held).body("v1"))
        .on("/second", ok().body("v2"))
        .start()
        .await;
    let e = edge("[[route]]\nto = \"{o1}\"").origin(&o).start().await;
    let mut k = e.client().connect().await;
    k.start(&get("/first")).await;
    o.request(0).await;
    // The first is with the origin now, and bytes of the second arrive meanwhile.
    k.start(&get("/second")).await;
    held.open();
    k.response("GET").await.expect(200).body("v1");
    let got = k.response("GET").await;
    if got.status != 0 {
        got.expect(200).body("v2");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_connection_close_no_byte_is_read_as_a_request() {
    let (o, e) = pair().await;
    let mut k = e.client().connect().await;
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: site.test\r\n\r\n";
    k.write(format!(
        "GET /a HTTP/1.1\r\nHost: site.test\r\nConnection: close\r\n\r\n{smuggled}"
    ))
    .await;
    k.response("GET")
        .await
        .expect(200)
        .header("connection", "close");
    assert!(k.rest().await.is_empty());
    assert_eq!(o.requests().len(), 1);
}
