//! Large bodies that the kernel sends: every octet by every way, given back with the last reader.

use crate::rig::{
    Authority, Connection, Edge, Origin, Reply, Request, edge, get, head, ok, origin, post,
};

const MIB: usize = 1 << 20;

/// What is counted of so many octets in the arena: pages, and what finds them.
fn kept(octets: usize) -> f64 {
    let pages = u32::try_from(octets.div_ceil(4096)).expect("not that many");
    f64::from(pages * (4096 + 9) + 2 * 576 + 256)
}

/// No two places alike, so that an octet too many or too few shows.
fn octets(length: usize) -> Vec<u8> {
    (0..length as u64)
        .map(|at| (at.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8)
        .collect()
}

fn page(body: &[u8]) -> Reply {
    let typed = ok().header("Content-Type", "application/octet-stream");
    typed.max_age(600).etag("\"v1\"").body(body)
}

/// An edge that has this in its arena.
async fn holding(body: &[u8], toml: &str) -> (Origin, Edge) {
    let o = origin("o1").on("/a", page(body)).start().await;
    let e = edge(toml).origin(&o).start().await;
    for _ in 0..2 {
        e.client().get("/a").send().await.expect(200).body(body);
    }
    e.metric_becomes("forebay_cache_sendfile_bytes", kept(body.len()))
        .await;
    (o, e)
}

fn roomy(memory: &str) -> String {
    format!("[cache]\nmemory = \"{memory}\"\nobject = \"96MiB\"\n[[route]]\nto = \"{{o1}}\"")
}

fn part(from: usize, to: usize) -> Request {
    get("/a").header("Range", &format!("bytes={from}-{}", to - 1))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_octet_comes_by_every_way_over_http() {
    for length in [MIB, 64 * MIB + 4097] {
        let body = octets(length);
        let (o, e) = holding(&body, &roomy("1GiB")).await;
        let mut k = e.client().connect().await;
        // One connection, so that what is left of one answer would be seen in the next.
        for _ in 0..2 {
            k.get("/a")
                .await
                .expect(200)
                .body(&body)
                .cache_status("hit");
            for (from, to) in [
                (0, 1),
                (length - 70_000, length),
                (4095, 4095 + 65_536),
                (length / 2, length / 2 + 10),
                (1, length - 1),
            ] {
                let answer = k.send(&part(from, to)).await.expect(206);
                let answer = answer.header("content-length", &(to - from).to_string());
                answer.body(&body[from..to]);
            }
            k.send(&head("/a"))
                .await
                .expect(200)
                .header("content-length", &length.to_string());
            let has_it = get("/a").header("If-None-Match", "\"v1\"");
            k.send(&has_it).await.expect(304).body("");
        }
        let several = get("/a").header("Range", "bytes=0-1,70000-199999");
        let several = k.send(&several).await.expect(206).body.content;
        let holds = |part: &[u8]| several.windows(part.len()).any(|it| it == part);
        assert!(holds(&body[70_000..200_000]));
        let h2 = e.client().h2().await;
        h2.get("/a")
            .await
            .expect(200)
            .body(&body)
            .cache_status("hit");
        h2.send(part(5, 200_000))
            .await
            .expect(206)
            .body(&body[5..200_000]);
        // What a log says was sent is what was sent.
        let whole = |line: &serde_json::Value| line["bytes_out"] == length;
        e.log_where(whole).await;
        assert_eq!(o.requests().len(), 1);
    }
}

/// Requests that wait for each other on one connection, and an old client whose body ends with the connection.
#[tokio::test(flavor = "multi_thread")]
async fn heads_and_bodies_keep_their_order() {
    let body = octets(300_000);
    let (_o, e) = holding(&body, &roomy("1GiB")).await;
    let mut k = e.client().connect().await;
    for _ in 0..3 {
        for request in [get("/a"), part(10, 100_000), part(3, 9), get("/a")] {
            k.start(&request).await;
        }
        k.response("GET").await.expect(200).body(&body);
        k.response("GET").await.expect(206).body(&body[10..100_000]);
        k.response("GET").await.expect(206).body(&body[3..9]);
        k.response("GET").await.expect(200).body(&body);
    }
    let old = e.client().raw("GET /a HTTP/1.0\r\nHost: a\r\n\r\n").await;
    // Another host, another key: stored, moved, sent.
    old.expect(200).body(&body);
    for _ in 0..3 {
        let old = e.client().raw("GET /a HTTP/1.0\r\nHost: a\r\n\r\n").await;
        old.expect(200).body(&body);
    }
}

/// What came over a plain connection of a proxy that says that its client spoke TLS is shared with those who speak it.
#[tokio::test(flavor = "multi_thread")]
async fn who_speaks_tls_gets_the_same() {
    let body = octets(MIB + 1);
    let toml = r#"
[server]
trusted_proxies = ["127.0.0.0/8"]
[[listen]]
addr = "{listen}"
[[listen]]
addr = "{listen2}"
tls = [{ cert = "{dir}/a.pem", key = "{dir}/a.key" }]
[[route]]
to = "{o1}"
"#;
    let ca = Authority::new();
    let o = origin("o1").on("*", page(&body)).start().await;
    let e = edge(toml).origin(&o);
    ca.write(e.dir(), "a", &["a.test"]);
    let e = e.start().await;
    let as_tls = || {
        get("/a")
            .host("a.test")
            .header("X-Forwarded-Proto", "https")
    };
    for _ in 0..2 {
        e.client()
            .request(as_tls())
            .send()
            .await
            .expect(200)
            .body(&body);
    }
    e.metric_becomes("forebay_cache_sendfile_bytes", kept(body.len()))
        .await;
    e.client()
        .request(as_tls())
        .send()
        .await
        .expect(200)
        .body(&body);
    let addr = e.value("listen2").to_owned();
    let client = |alpn: &[&str]| crate::rig::client(&addr).tls(ca.client(alpn), "a.test");
    let mut k = client(&[]).connect().await;
    for _ in 0..2 {
        k.get("/a")
            .await
            .expect(200)
            .body(&body)
            .cache_status("hit");
        let ranged = k.send(&part(70_000, 900_000)).await.expect(206);
        ranged.body(&body[70_000..900_000]);
    }
    let h2 = client(&["h2"]).h2().await;
    h2.get("/a")
        .await
        .expect(200)
        .body(&body)
        .cache_status("hit");
    assert_eq!(o.requests().len(), 1);
}

/// A client that has read the head, and reads on when it is told to.
async fn reader(e: &Edge) -> Connection {
    let mut k = e.client().connect().await;
    k.start(&get("/a").header("Connection", "close")).await;
    k.read_until("\r\n\r\n").await;
    k
}

/// Who began to read gets all of what it began with, whatever becomes of the entry; then nothing is left of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_outlives_the_entry() {
    let body = octets(32 * MIB);
    let (o, e) = holding(&body, &roomy("1GiB")).await;
    let mut slow = reader(&e).await;
    // Invalidated.
    e.client().request(post("/a", "")).send().await.expect(200);
    e.metric_becomes("forebay_cache_entries", 0.0).await;
    assert!(e.metric("forebay_cache_bytes").await >= kept(body.len()));
    assert!(slow.rest().await == body);
    e.metric_becomes("forebay_cache_sendfile_bytes", 0.0).await;
    e.metric_becomes("forebay_cache_bytes", 0.0).await;

    // Evicted: there is less memory all at once.
    for _ in 0..2 {
        e.client().get("/a").send().await.expect(200).body(&body);
    }
    e.metric_becomes("forebay_cache_sendfile_bytes", kept(body.len()))
        .await;
    let mut slow = reader(&e).await;
    e.reload_with("[cache]\nmemory = \"1MiB\"\n[[route]]\nto = \"{o1}\"")
        .await;
    e.metric_becomes("forebay_cache_entries", 0.0).await;
    assert!(slow.rest().await == body);
    e.metric_becomes("forebay_cache_sendfile_bytes", 0.0).await;
    e.metric_becomes("forebay_cache_bytes", 0.0).await;
    assert_eq!(o.fetches("/a"), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_leave_in_the_middle_keep_nothing() {
    let body = octets(32 * MIB);
    let (_o, e) = holding(&body, &roomy("1GiB")).await;
    let mut leaving = Vec::new();
    for _ in 0..4 {
        leaving.push(reader(&e).await);
    }
    e.client().request(post("/a", "")).send().await.expect(200);
    for k in leaving {
        k.reset();
    }
    e.metric_becomes("forebay_cache_sendfile_bytes", 0.0).await;
    e.metric_becomes("forebay_cache_bytes", 0.0).await;
    // Their places are free, and the next is served.
    e.client().get("/a").send().await.expect(200).body(&body);
}

/// A 304 makes a new response around the same body: it is not moved again.
#[tokio::test(flavor = "multi_thread")]
async fn a_validation_leaves_the_body_where_it_is() {
    let body = octets(MIB);
    let (o, e) = holding(&body, &roomy("1GiB")).await;
    o.change("/a", crate::rig::status(304).max_age(600).etag("\"v1\""));
    let anew = get("/a").header("Cache-Control", "no-cache");
    for _ in 0..3 {
        e.client()
            .request(anew.clone())
            .send()
            .await
            .expect(200)
            .body(&body);
        e.client().get("/a").send().await.expect(200).body(&body);
    }
    e.metric_becomes("forebay_cache_sendfile_bytes", kept(body.len()))
        .await;
    let write = post("/a", "");
    o.change("/a", ok().body("written"));
    e.client().request(write).send().await.expect(200);
    e.metric_becomes("forebay_cache_sendfile_bytes", 0.0).await;
    e.metric_becomes("forebay_cache_bytes", 0.0).await;
}
