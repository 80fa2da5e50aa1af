//! The express lane: what is answered at once, what is not, and that nobody can tell by the answer.

use crate::compress::{decoded, json};
use crate::rig::{
    Authority, Client, Connection, Edge, Origin, Request, Response, ago, edge, gate, get, head, ok,
    origin, post,
};

const ROUTE: &str = "[[route]]\nname = \"app\"\nto = \"{o1}\"";

/// Answers that the lane has given.
pub async fn given(e: &Edge) -> f64 {
    e.metric("forebay_express_answers_total").await
}

/// What a request on this connection gets, by the lane or, where `at_once` says so, not.
pub async fn asks(e: &Edge, k: &mut Connection, asked: &Request, at_once: bool) -> Response {
    let before = given(e).await;
    let got = k.send(asked).await;
    let more = given(e).await - before;
    let expected = f64::from(u8::from(at_once));
    assert!(
        (more - expected).abs() < f64::EPSILON,
        "{more} at once of {asked:#?}: {got:#?}"
    );
    got
}

async fn pair() -> (Origin, Edge) {
    let o = origin("o1")
        .on("/a", ok().max_age(600).etag("\"v1\"").body("hello"))
        .on("/post", ok().echo())
        .on("*", ok().no_store().body("passed"));
    let o = o.start().await;
    let e = edge(ROUTE).origin(&o).start().await;
    e.client().get("/a").send().await.expect(200);
    (o, e)
}

/// Every kind of answer that the lane gives, and those that it leaves to the proxy.
async fn kinds(e: &Edge, c: &Client, json: &str) {
    let mut k = c.connect().await;
    let plain = |r: Request| r.header("Accept-Encoding", "identity");
    let k = &mut k;
    let whole = asks(e, k, &get("/a"), true).await.expect(200);
    whole
        .body(json)
        .cache_status("hit; ttl")
        .header("etag", "\"v1\"")
        .header("content-length", &json.len().to_string());
    let got = asks(e, k, &head("/a"), true).await.expect(200);
    got.header("content-length", &json.len().to_string())
        .cache_status("hit");
    for (name, value) in [
        ("If-None-Match", "\"v1\""),
        ("If-None-Match", "\"v0\", \"v1\""),
        ("If-None-Match", "*"),
        ("If-Modified-Since", &ago(60)),
    ] {
        let asked = plain(get("/a")).header(name, value);
        let got = asks(e, k, &asked, true).await.expect(304);
        got.header("etag", "\"v1\"").no_header("content-length");
        let asked = plain(head("/a")).header(name, value);
        asks(e, k, &asked, true).await.expect(304);
    }
    let asked = get("/a").header("If-None-Match", "\"v0\"");
    asks(e, k, &asked, true).await.expect(200).body(json);
    let asked = get("/a").header("If-Modified-Since", &ago(7200));
    asks(e, k, &asked, true).await.expect(200).body(json);
    let total = json.len();
    for (range, octets) in [
        ("bytes=0-0", 0..1),
        ("bytes=5-", 5..total),
        ("bytes=-7", total - 7..total),
        ("bytes=10-999999", 10..total),
    ] {
        let got = asks(e, k, &get("/a").header("Range", range), true).await;
        let said = format!("bytes {}-{}/{total}", octets.start, octets.end - 1);
        got.expect(206)
            .body(&json[octets.clone()])
            .header("content-range", &said)
            .header("content-length", &octets.len().to_string());
    }
    let asked = get("/a").header("Range", "bytes=0-3");
    let asked = asked.header("If-Range", "\"v0\"");
    asks(e, k, &asked, true).await.expect(200).body(json);
    // HEAD has no ranges, and what is no range is ignored.
    let asked = head("/a").header("Range", "bytes=0-3");
    asks(e, k, &asked, true).await.expect(200);
    let asked = get("/a").header("Range", "lines=1-2");
    asks(e, k, &asked, true).await.expect(200).body(json);
    // Several ranges, and none that there are.
    let asked = get("/a").header("Range", "bytes=0-1,5-6");
    asks(e, k, &asked, false).await.expect(206);
    let asked = get("/a").header("Range", "bytes=999999-");
    asks(e, k, &asked, false).await.expect(416);
    let coded = |r: Request| r.header("Accept-Encoding", "gzip");
    let got = asks(e, k, &coded(get("/a")), true).await.expect(200);
    let got = got
        .header("content-encoding", "gzip")
        .header("etag", "W/\"v1\"");
    assert!(decoded("gzip", &got.body.content) == json.as_bytes());
    let length = got.body.content.len().to_string();
    let of_head = asks(e, k, &coded(head("/a")), true).await.expect(200);
    of_head
        .header("content-encoding", "gzip")
        .header("content-length", &length);
    let asked = coded(get("/a")).header("If-None-Match", "W/\"v1\"");
    let got = asks(e, k, &asked, true).await.expect(304);
    got.header("etag", "W/\"v1\"");
    // Whoever holds a coded form, and now wants the plain one, is told by the tag that it knows: that is for the proxy to see.
    let asked = plain(get("/a")).header("If-None-Match", "W/\"v1\"");
    let got = asks(e, k, &asked, false).await.expect(304);
    got.header("etag", "W/\"v1\"");
    let asked = coded(get("/a")).header("Range", "bytes=0-3");
    let got = asks(e, k, &asked, true).await.expect(206);
    got.body(&json[..4]).no_header("content-encoding");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_hit_over_tcp_and_tls() {
    let json = json();
    let page = ok().header("content-type", "application/json");
    let page = page.etag("\"v1\"").last_modified(&ago(3600)).max_age(600);
    let o = origin("o1").on("/a", page.body(&json)).start().await;
    let ca = Authority::new();
    let toml = "[[listen]]\naddr = \"{listen}\"\n[[listen]]\naddr = \"{listen2}\"\ntls = { cert = \"{dir}/a.pem\", key = \"{dir}/a.key\" }\n";
    let e = edge(&format!("{toml}{ROUTE}")).origin(&o);
    ca.write(e.dir(), "a", &["a.test"]);
    let e = e.start().await;
    let tls = crate::rig::client(e.value("listen2")).tls(ca.client(&[]), "a.test");
    for (n, c) in [e.client(), tls].into_iter().enumerate() {
        // Scheme and host are of the key: each has its own.
        c.get("/a").send().await.expect(200);
        c.get("/a")
            .header("Accept-Encoding", "gzip")
            .send()
            .await
            .expect(200);
        let made = f64::from(u8::try_from(n + 1).unwrap());
        e.metric_becomes("forebay_cache_derived_total{coding=\"gzip\"}", made)
            .await;
        kinds(&e, &c, &json).await;
    }
    assert_eq!(o.requests().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_of_hits_misses_bodies_and_an_end() {
    let (o, e) = pair().await;
    let before = given(&e).await;
    let mut k = e.client().connect().await;
    let hit = "GET /a HTTP/1.1\r\nHost: site.test\r\n\r\n";
    let body = "GET /a HTTP/1.1\r\n";
    let stream = [
        hit,
        "GET /miss HTTP/1.1\r\nHost: site.test\r\n\r\n",
        hit,
        &format!(
            "POST /post HTTP/1.1\r\nHost: site.test\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ),
        &hit.replace("GET", "HEAD"),
        "POST /post HTTP/1.1\r\nHost: site.test\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nGET \r\n0\r\n\r\n",
        hit,
        "GET /a HTTP/1.1\r\nHost: site.test\r\nHost: other.test\r\n\r\n",
        hit,
    ];
    k.write(stream.concat()).await;
    k.response("GET").await.expect(200).body("hello");
    k.response("GET").await.expect(200).body("passed");
    k.response("GET").await.expect(200).body("hello");
    k.response("POST").await.expect(200).body(body);
    let got = k.response("HEAD").await.expect(200);
    got.body("").header("content-length", "5");
    k.response("POST").await.expect(200).body("GET ");
    k.response("GET").await.expect(200).body("hello");
    k.response("GET").await.expect(400);
    k.expect_close().await;
    assert!((given(&e).await - before - 4.0).abs() < f64::EPSILON);
    let seen: Vec<_> = o.requests();
    let seen: Vec<_> = seen.iter().map(|r| (r.method(), r.target())).collect();
    let posted = ("POST", "/post");
    assert_eq!(seen, [("GET", "/a"), ("GET", "/miss"), posted, posted]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_of_the_next_request_while_one_passes() {
    let held = gate();
    let o = origin("o1")
        .on("/a", ok().max_age(600).body("hello"))
        .on("/slow", ok().no_store().hold(&held).body("slow"))
        .start()
        .await;
    let e = edge(ROUTE).origin(&o).start().await;
    e.client().get("/a").send().await.expect(200);
    let hit = "GET /a HTTP/1.1\r\nHost: site.test\r\n\r\n";
    for (n, (meanwhile, after)) in [
        (&hit[..1], &hit[1..]),
        (&hit[..20], &hit[20..]),
        (&hit[..hit.len() - 1], &hit[hit.len() - 1..]),
        (hit, ""),
    ]
    .into_iter()
    .enumerate()
    {
        let mut k = e.client().connect().await;
        k.start(&get("/slow")).await;
        o.head(n + 1).await;
        k.write(meanwhile).await;
        held.let_one_through();
        k.response("GET").await.expect(200).body("slow");
        k.write([after, hit].concat()).await;
        k.response("GET").await.expect(200).body("hello");
        k.response("GET").await.expect(200).body("hello");
    }
    assert_eq!(o.requests().len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_get_with_a_body_is_not_answered_at_once_and_its_body_is_no_request() {
    let (o, e) = pair().await;
    let mut k = e.client().connect().await;
    let body = "GET /a HTTP/1.1\r\nHost: site.test\r\n\r\n";
    let asked = get("/a").body(body);
    let asked = asks(&e, &mut k, &asked, false);
    asked.await.expect(200).cache_status("fwd=bypass");
    assert_eq!(o.requests()[1].text(), body);
    asks(&e, &mut k, &get("/a").body(body).chunked([body]), false)
        .await
        .expect(200);
    asks(&e, &mut k, &get("/a"), true).await.expect(200);
    // Nothing but a length of nothing is a body too, as far as the narrow grammar goes.
    let asked = get("/a").header("Content-Length", "0");
    asks(&e, &mut k, &asked, false).await.expect(200);
    assert_eq!(o.requests().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_leave() {
    let (_o, e) = pair().await;
    let hit = "GET /a HTTP/1.1\r\nHost: site.test\r\n\r\n";
    // Half: what was asked is answered.
    let mut k = e.client().connect().await;
    k.write(hit.repeat(3)).await;
    k.finish().await;
    for _ in 0..3 {
        k.response("GET").await.expect(200).body("hello");
    }
    k.expect_close().await;
    // In the middle of a head behind a hit.
    let mut k = e.client().connect().await;
    k.write([hit, &hit[..10]].concat()).await;
    k.response("GET").await.expect(200);
    k.finish().await;
    k.expect_close().await;
    // At once, without reading.
    for _ in 0..20 {
        let mut k = e.client().connect().await;
        k.write(hit.repeat(500)).await;
        k.reset();
    }
    e.metric_becomes("forebay_connections", 0.0).await;
    e.client().get("/a").send().await.expect(200).body("hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_a_plain_hit_is_not_answered_at_once() {
    let o = origin("o1")
        .on("/a", ok().max_age(600).body("hello"))
        .on("/stale", ok().max_age(10).age(10).etag("\"v1\"").body("s"))
        .on(
            "/swr",
            ok().directive("max-age=10, stale-while-revalidate=600")
                .age(10)
                .body("s"),
        )
        .on("/personal", ok().directive("private").body("p"))
        .on("/vary", ok().max_age(600).vary("X-Lang").body("v"))
        .start()
        .await;
    let toml = "[server]\nname = \"edge\"\n[[route]]\npath = \"/off/\"\ncache = false\nto = \"{o1}\"\n[[route]]\nto = \"{o1}\"\ncache = { bypass = { cookie = \"sid\" } }";
    let e = edge(toml).origin(&o).start().await;
    let mut k = e.client().connect().await;
    for path in ["/a", "/stale", "/swr", "/personal", "/vary", "/off/a"] {
        asks(&e, &mut k, &get(path), false).await;
    }
    for (asked, at_once) in [
        (get("/a"), true),
        (get("/a?b"), false),
        (get("/b/%2e%2e/a"), true),
        (get("/a").header("Cookie", "x=1"), true),
        (get("/a").header("Cookie", "sid=1"), false),
        (get("/a").header("Cache-Control", "no-cache"), false),
        (get("/a").header("Cache-Control", "max-age=0"), false),
        (get("/a").header("Cache-Control", "max-age=60"), true),
        (get("/a").header("Cache-Control", "only-if-cached"), true),
        (get("/c").header("Cache-Control", "only-if-cached"), false),
        (get("/a").header("Pragma", "no-cache"), true),
        (get("/a").header("If-Match", "\"v1\""), false),
        (get("/a").header("If-Unmodified-Since", &ago(1)), false),
        (get("/a").header("Via", "1.1 edge"), false),
        (get("/a").header("CDN-Loop", "edge"), false),
        (get("/a").header("Via", "1.1 other"), true),
        (get("/a").host("other.test"), false),
        (get("/a").host("SITE.test"), true),
        (get("/a").header("Expect", "100-continue"), false),
        (get("/a").header("TE", "trailers"), false),
        (get("/a").header("Upgrade", "h2c"), false),
        (get("/a").header("Connection", "x-hop"), false),
        (get("/a").header("X_Under", "1"), false),
        (get("/a").http10(), false),
        (crate::rig::request("OPTIONS", "/a"), false),
        (get("/personal"), false),
        (get("/vary").header("X-Lang", "de"), false),
        (get("/vary").header("X-Lang", "de"), true),
        (get("/vary"), true),
        (get("/off/a"), false),
        // The last, because it invalidates.
        (post("/a", "x"), false),
        (get("/a"), false),
    ] {
        if asked.version == "HTTP/1.0" {
            asks(&e, &mut e.client().connect().await, &asked, at_once).await;
            continue;
        }
        let got = asks(&e, &mut k, &asked, at_once).await;
        let looped = asked.fields.iter().any(|(_, v)| v.ends_with("edge"));
        assert_eq!(got.status == 508, looped, "{got:#?}");
        assert_eq!(got.cut, None);
    }
    // Served stale or validated: by the proxy each time, until it is fresh again.
    asks(&e, &mut k, &get("/stale"), false).await.expect(200);
    let got = asks(&e, &mut k, &get("/swr"), false).await;
    got.expect(200).cache_status("hit");
}
