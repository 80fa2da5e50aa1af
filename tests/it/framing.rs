//! Bodies both ways: whole ones arrive whole, and broken ones never look whole.

use crate::rig::{Edge, Origin, edge, gate, get, head, ok, origin, post, raw, reset, status};

/// An edge that streams uploads instead of receiving them first.
const STREAMING: &str =
    "[upstream.o]\nservers = [\"{o1}\"]\nbuffer_request = \"0\"\n[[route]]\nto = \"o\"";
const PLAIN: &str = "[[route]]\nto = \"{o1}\"";

async fn serving(o: Origin, toml: &str) -> (Origin, Edge) {
    let o = o.start().await;
    let e = edge(toml).origin(&o).start().await;
    (o, e)
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_arrive_whole() {
    for toml in [PLAIN, STREAMING] {
        let (o, e) = serving(origin("o1").on("*", ok().echo()), toml).await;
        let big = "0123456789abcdef".repeat(200_000);
        let mut k = e.client().connect().await;
        k.send(&post("/length", "hello"))
            .await
            .expect(200)
            .body("hello");
        k.send(&post("/chunked", "").chunked(["he", "l", "lo"]))
            .await
            .expect(200)
            .body("hello");
        k.send(&post("/empty", "")).await.expect(200).body("");
        k.send(&post("/empty-chunked", "").chunked([]))
            .await
            .expect(200)
            .body("");
        k.send(&post("/big", &big)).await.expect(200).body(&big);
        assert!(o.requests().iter().all(|r| r.complete));
        // An upload of known length may not lose its length where nothing changed it.
        assert_eq!(o.requests()[0].header("content-length"), Some("5"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_streamed_upload_is_not_held_back() {
    let (o, e) = serving(origin("o1").on("*", ok().body("v1")), STREAMING).await;
    let mut k = e.client().connect().await;
    k.write(
        "POST /a HTTP/1.1\r\nHost: site.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n",
    )
    .await;
    o.body_of(0, 5).await;
    k.write("6\r\nsecond\r\n").await;
    o.body_of(0, 11).await;
    k.write("0\r\n\r\n").await;
    k.response("POST").await.expect(200);
    assert_eq!(o.request(0).await.text(), "firstsecond");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_upload_takes_a_server_only_when_it_is_whole() {
    let (o, e) = serving(origin("o1").on("*", ok().body("v1")), PLAIN).await;
    let mut k = e.client().connect().await;
    k.write("POST /slow HTTP/1.1\r\nHost: site.test\r\nContent-Length: 10\r\n\r\nhello")
        .await;
    // Another client's request comes and goes meanwhile; the slow one has not reached the origin.
    e.client().get("/quick").send().await.expect(200);
    assert_eq!(o.requests().len(), 1);
    k.write("world").await;
    k.response("POST").await.expect(200);
    assert_eq!(o.request(1).await.text(), "helloworld");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_upload_never_looks_complete() {
    let heads = [
        "Content-Length: 10\r\n\r\nhello",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "Transfer-Encoding: chunked\r\n\r\n9\r\nhello",
    ];
    for (n, rest) in heads.into_iter().enumerate() {
        let (o, e) = serving(origin("o1").on("*", ok().body("v1")), STREAMING).await;
        let mut k = e.client().connect().await;
        k.write(format!("POST /{n} HTTP/1.1\r\nHost: site.test\r\n{rest}"))
            .await;
        o.body_of(0, 5).await;
        if n == 1 {
            k.reset();
        } else {
            k.finish().await;
        }
        let seen = o.request(0).await;
        assert!(!seen.complete && seen.failure.is_some(), "{seen:#?}");
    }
    // Where the edge receives it first, the origin never hears of it.
    let (o, e) = serving(origin("o1").on("*", ok().body("v1")), PLAIN).await;
    let mut k = e.client().connect().await;
    k.write("POST /cut HTTP/1.1\r\nHost: site.test\r\nContent-Length: 10\r\n\r\nhello")
        .await;
    k.finish().await;
    k.rest().await;
    assert!(o.requests().iter().all(|r| !r.complete));
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_arrive_whole_however_they_are_framed() {
    let big = "0123456789abcdef".repeat(100_000);
    let o = origin("o1")
        .on("/length", ok().body("hello"))
        .on("/empty", ok().body(""))
        .on("/chunked", ok().chunks(["he", "llo"]))
        .on("/close", ok().until_close().data("hello"))
        .on("/big", ok().body(&big))
        .on("/big-chunked", ok().chunks([&big, &big]));
    let (_o, e) = serving(o, PLAIN).await;
    let mut k = e.client().connect().await;
    k.get("/length")
        .await
        .expect(200)
        .header("content-length", "5")
        .body("hello");
    k.get("/empty")
        .await
        .expect(200)
        .header("content-length", "0")
        .body("");
    k.get("/chunked")
        .await
        .expect(200)
        .header("transfer-encoding", "chunked")
        .body("hello");
    // The end of the origin's connection must become a visible end for the client, whose connection stays.
    k.get("/close")
        .await
        .expect(200)
        .header("transfer-encoding", "chunked")
        .body("hello");
    k.get("/big").await.expect(200).body(&big);
    k.get("/big-chunked").await.expect(200).body(big.repeat(2));

    let h2 = e.client().h2().await;
    for (path, body) in [
        ("/length", "hello"),
        ("/empty", ""),
        ("/chunked", "hello"),
        ("/close", "hello"),
        ("/big", &big),
    ] {
        h2.get(path)
            .await
            .expect(200)
            .no_header("transfer-encoding")
            .no_header("connection")
            .body(body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_without_a_body() {
    let o = origin("o1")
        .on("/head", ok().header("x-a", "b").body("hello"))
        .on("/204", status(204))
        .on("/304", status(304).header("etag", "\"v1\""))
        .on(
            "/304-length",
            raw("HTTP/1.1 304 Not Modified\r\nETag: \"v1\"\r\nContent-Length: 5\r\n\r\n"),
        );
    // A cache answers conditions by itself.
    let (_o, e) = serving(o, &format!("{PLAIN}\ncache = false")).await;
    let mut k = e.client().connect().await;
    k.send(&head("/head"))
        .await
        .expect(200)
        .header("content-length", "5")
        .header("x-a", "b")
        .body("");
    k.get("/204")
        .await
        .expect(204)
        .no_header("content-length")
        .no_header("transfer-encoding")
        .body("");
    k.send(&get("/304").header("If-None-Match", "\"v1\""))
        .await
        .expect(304)
        .header("etag", "\"v1\"")
        .no_header("transfer-encoding")
        .body("");
    k.send(&get("/304-length").header("If-None-Match", "\"v1\""))
        .await
        .expect(304)
        .header("etag", "\"v1\"")
        .body("");
    // None of them left anything behind.
    k.get("/head").await.expect(200).body("hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_http_1_0_client_gets_no_chunks() {
    let o = origin("o1")
        .on("/chunked", ok().chunks(["he", "llo"]))
        .on("/length", ok().body("hello"));
    let (o, e) = serving(o, PLAIN).await;
    for path in ["/chunked", "/length"] {
        let mut k = e.client().connect().await;
        k.send(&get(path).http10())
            .await
            .expect(200)
            .no_header("transfer-encoding")
            .body("hello");
        assert!(k.rest().await.is_empty());
    }
    assert_eq!(o.requests()[0].head.word(2), "HTTP/1.1");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_http_1_0_client_may_keep_its_connection() {
    let (_o, e) = serving(origin("o1").on("*", ok().body("hello")), PLAIN).await;
    let mut k = e.client().connect().await;
    let got = k
        .send(&get("/").http10().header("Connection", "keep-alive"))
        .await
        .expect(200)
        .body("hello");
    // It may also close; saying keep-alive and closing is what must not happen.
    if got
        .head
        .get("connection")
        .is_some_and(|v| v.eq_ignore_ascii_case("keep-alive"))
    {
        k.send(&get("/").http10()).await.expect(200).body("hello");
    }
    assert!(k.rest().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_answer_is_visibly_cut() {
    let o = origin("o1")
        .on("/length", ok().length(10).data("hello").cut())
        .on("/length-reset", ok().length(10).data("hello").reset())
        .on("/chunked", ok().chunks(["hello"]).cut())
        .on(
            "/mid-chunk",
            raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhello"),
        )
        .on(
            "/bad-chunk",
            raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nxyz\r\n"),
        )
        .on("/ok", ok().body("whole"));
    let (_o, e) = serving(o, PLAIN).await;
    for path in [
        "/length",
        "/length-reset",
        "/chunked",
        "/mid-chunk",
        "/bad-chunk",
    ] {
        let got = e.client().get(path).send().await;
        // Nothing had been sent to the client yet: then a 502 is as good a sign.
        assert!(got.cut.is_some() || got.status == 502, "{path}: {got:#?}");
        let got = e.client().h2().await.get(path).await;
        assert!(
            got.cut.is_some() || got.status == 502,
            "{path} over HTTP/2: {got:#?}"
        );
        e.client().get("/ok").send().await.expect(200).body("whole");
    }
}

/// Over HTTP/2 a cut is a reset of the stream, which must not throw away what had come.
#[tokio::test(flavor = "multi_thread")]
async fn what_came_of_a_cut_answer_reaches_clients_of_http2() {
    for rules in ["cache = false", "cache = true"] {
        let cut = gate();
        let o = origin("o1").on(
            "*",
            ok().no_store()
                .length(100_000)
                .data("hello")
                .hold(&cut)
                .reset(),
        );
        let (_o, e) = serving(o, &format!("{PLAIN}\n{rules}")).await;
        let c = e.client().h2().await;
        for n in 0..20 {
            let path = format!("/{n}");
            let asked = get(&path);
            let call = c.call(&asked, true).await.expect("it is sent");
            cut.let_one_through();
            let got = call.answer().await;
            // Whatever came before the reset; a head that met it in the kernel is 502.
            let whole = (got.status, got.body.content.as_slice());
            assert!(
                whole == (200, b"hello") || got.status == 502,
                "{n}: {got:#?}"
            );
            assert!(got.status == 502 || got.cut.is_some(), "{n}: {got:#?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_after_the_client_has_seen_the_beginning() {
    let cut = gate();
    let o = origin("o1")
        .on("/length", ok().length(10).data("hello").hold(&cut).cut())
        .on("/chunked", ok().chunks(["hello"]).hold(&cut).cut());
    let (_o, e) = serving(o, PLAIN).await;
    for path in ["/length", "/chunked"] {
        let mut k = e.client().connect().await;
        k.start(&get(path)).await;
        // Not a byte is delayed: the first half is here while the origin has not decided about the second.
        k.read_until("hello").await;
        cut.let_one_through();
        let rest = k.rest().await;
        assert!(
            !String::from_utf8_lossy(&rest).contains("0\r\n\r\n"),
            "{path}: looks whole: {rest:?}"
        );
        e.log_where(|l| l["path"] == path).await;
    }
}

/// What an origin may say that is no answer.
const GARBAGE: [&str; 22] = [
    "",
    "garbage\r\n\r\n",
    "HTTP/1.1\r\n\r\n",
    "HTTP/1.1 abc OK\r\n\r\n",
    "HTTP/1.1 20 OK\r\n\r\n",
    "HTTP/1.1 2000 OK\r\n\r\n",
    "HTTP/2.0 200 OK\r\n\r\n",
    "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
    "HTTP/1.1 200 OK\r\nX A: b\r\n\r\n",
    "HTTP/1.1 200 OK\r\n: b\r\n\r\n",
    "HTTP/1.1 200 OK\r\nX-A: b\0c\r\n\r\n",
    "HTTP/1.1 200 OK\r\nX-A: b\rc\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\nhello",
    "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello",
    "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551616\r\n\r\nhello",
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nhello",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnot a size\r\n",
    "HTTP/1.1 200 OK\r\nX-Half: a",
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
];

#[tokio::test(flavor = "multi_thread")]
async fn an_origin_that_talks_nonsense_is_502() {
    let mut o = origin("o1").on("/ok", ok().body("whole"));
    for (n, answer) in GARBAGE.iter().enumerate() {
        o = o.on(&format!("/{n}"), raw(answer));
    }
    let e_toml = "[upstream.o]\nservers = [\"{o1}\"]\nhold = \"0s\"\neject = { failures = 0, duration = \"5s\" }\nretry = { tries = 1 }\n[[route]]\nto = \"o\"";
    let (_o, e) = serving(o, e_toml).await;
    for (n, answer) in GARBAGE.iter().enumerate() {
        let got = e.client().get(&format!("/{n}")).send().await;
        // A head that went out before the body turned bad can only be followed by a cut.
        assert!(
            got.status == 502 || got.cut.is_some(),
            "{answer:?}: {got:#?}"
        );
        e.client().get("/ok").send().await.expect(200).body("whole");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_head_and_a_flood_of_1xx_end() {
    let endless = format!(
        "HTTP/1.1 200 OK\r\n{}",
        format!("X-Fill: {}\r\n", "f".repeat(1_000)).repeat(4_000)
    );
    let flood = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".repeat(50_000);
    let o = origin("o1")
        .on("/head", raw(endless))
        .on("/flood", raw(flood))
        .on("/ok", ok().body("whole"));
    let toml = "[upstream.o]\nservers = [\"{o1}\"]\nretry = { tries = 1 }\n[[route]]\nto = \"o\"";
    let (_o, e) = serving(o, toml).await;
    for path in ["/head", "/flood"] {
        let got = e.client().get(path).send().await;
        assert!(
            got.status == 502 || got.cut.is_some(),
            "{path}: {}",
            got.status
        );
        e.client().get("/ok").send().await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_after_an_answer_are_never_the_next_answer() {
    let stray = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
    let o = origin("o1")
        .on("/stray", ok().body("v1").then_raw(stray))
        .on("/next", ok().body("v2"));
    let (_o, e) = serving(o, "[server]\nthreads = 1\n[[route]]\nto = \"{o1}\"").await;
    for _ in 0..20 {
        let mut k = e.client().connect().await;
        k.get("/stray").await.expect(200).body("v1");
        k.get("/next").await.expect(200).body("v2");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_before_any_answer_is_502_and_no_more() {
    let toml = "[upstream.o]\nservers = [\"{o1}\"]\nretry = { tries = 1 }\n[[route]]\nto = \"o\"";
    let (o, e) = serving(
        origin("o1")
            .on("/reset", reset())
            .on("/ok", ok().body("v1")),
        toml,
    )
    .await;
    let mut k = e.client().connect().await;
    k.get("/reset").await.expect(502);
    k.get("/ok").await.expect(200).body("v1");
    assert_eq!(o.requests().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_gets_everything_and_hurts_nobody() {
    let big = "0123456789abcdef".repeat(512 * 1024);
    let (o, e) = serving(
        origin("o1")
            .on("/big", ok().body(&big))
            .on("/small", ok().body("v1")),
        PLAIN,
    )
    .await;
    let mut slow = e.client().connect().await;
    slow.start(&get("/big")).await;
    o.request(0).await;
    // It has not read a byte yet; everybody else is served.
    for _ in 0..10 {
        e.client().get("/small").send().await.expect(200);
    }
    slow.response("GET").await.expect(200).body(&big);
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_of_an_answer_stay_trailers() {
    let (_o, e) = serving(
        origin("o1").on("/a", ok().chunks(["hello"]).trailer("x-sum", "1")),
        PLAIN,
    )
    .await;
    let got = e
        .client()
        .get("/a")
        .header("TE", "trailers")
        .send()
        .await
        .expect(200)
        .body("hello")
        .no_header("x-sum");
    assert!(
        got.body
            .trailers
            .iter()
            .all(|(n, v)| n.eq_ignore_ascii_case("x-sum") && v == "1")
    );
}
