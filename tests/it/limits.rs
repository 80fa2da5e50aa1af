//! What one client may take, in sizes and numbers; each breach is answered by name and hurts nobody else.

use crate::rig::{client, edge, gate, get, ok, origin, post, request, resident_kib};

const BODY: &str = "[limits]\nbody = \"10B\"\n[[route]]\npath = \"/small\"\nto = \"{o1}\"\nbody_limit = \"5B\"\n[[route]]\npath = \"/large\"\nto = \"{o1}\"\nbody_limit = \"1MiB\"\n[[route]]\nto = \"{o1}\"";

#[tokio::test(flavor = "multi_thread")]
async fn heads() {
    let o = origin("o1").on("*", ok().body("v1")).start().await;
    let e = edge("[limits]\nhead = \"1KiB\"\nhead_fields = 10\n[[route]]\nto = \"{o1}\"")
        .origin(&o)
        .start()
        .await;
    let c = e.client();
    let fields = |n: usize| (0..n).fold(get("/a"), |r, i| r.header(&format!("X-{i}"), "v"));
    // Host is one of them.
    c.request(fields(9)).send().await.expect(200);
    c.request(fields(10)).send().await.expect(431);
    c.get("/a")
        .header("X-Long", &"v".repeat(900))
        .send()
        .await
        .expect(200);
    c.get("/a")
        .header("X-Long", &"v".repeat(1_000))
        .send()
        .await
        .expect(431);
    let got = c.get(&format!("/{}", "p".repeat(1_100))).send().await;
    assert!([414, 431].contains(&got.status), "{got:#?}");
    assert_eq!(o.requests().len(), 2);
    let h2 = c.h2().await;
    let got = h2.send(fields(40)).await;
    assert!(got.status == 431 || got.cut.is_some(), "{got:#?}");
    h2.get("/a").await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_head_is_not_read_for_ever() {
    let o = origin("o1").on("*", ok()).start().await;
    let e = edge("[[route]]\nto = \"{o1}\"").origin(&o).start().await;
    // What one request needs is in memory before it is measured.
    e.client().get("/warm").send().await.expect(200);
    let mut k = e.client().connect().await;
    let _ = k.try_write("GET /a HTTP/1.1\r\nHost: site.test\r\n").await;
    let before = resident_kib(e.pid());
    let mut written = 0_usize;
    let line = format!("X-Fill: {}\r\n", "f".repeat(4_000));
    // Until the edge no longer takes it; the kernel's own buffers are some megabytes.
    while written < 64 << 20 && k.try_write(&line).await.is_ok() {
        written += line.len();
    }
    assert!(written < 64 << 20, "the edge went on reading");
    assert!(resident_kib(e.pid()) < before + 8 * 1024);
    assert_eq!(o.requests().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_of_known_length() {
    let o = origin("o1").on("*", ok().echo()).start().await;
    let e = edge(BODY).origin(&o).start().await;
    let c = e.client();
    c.post("/a", "0123456789")
        .send()
        .await
        .expect(200)
        .body("0123456789");
    c.post("/a", "0123456789X").send().await.expect(413);
    c.post("/small", "01234").send().await.expect(200);
    c.post("/small", "012345").send().await.expect(413);
    c.post("/large", "x".repeat(100_000))
        .send()
        .await
        .expect(200);
    let mut k = c.connect().await;
    k.write("POST /a HTTP/1.1\r\nHost: site.test\r\nContent-Length: 4000000000\r\n\r\n")
        .await;
    k.response("POST").await.expect(413);
    k.expect_close().await;
    assert_eq!(o.requests().len(), 3);
    let refused = "forebay_refused_total{reason=\"body-too-large\"}";
    e.metric_becomes(refused, 3.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_of_unknown_length() {
    let o = origin("o1").on("*", ok().echo()).start().await;
    let e = edge(BODY).origin(&o).start().await;
    let c = e.client();
    c.request(post("/a", "").chunked(["01234", "56789"]))
        .send()
        .await
        .expect(200)
        .body("0123456789");
    c.request(post("/a", "").chunked(["01234", "56789", "X"]))
        .send()
        .await
        .expect(413);
    assert!(o.requests().iter().all(|r| r.text() != "0123456789X"));
    let h2 = c.h2().await;
    h2.send(post("/a", "0123456789")).await.expect(200);
    let got = h2.send(post("/a", "0123456789X")).await;
    assert!(got.status == 413, "{got:#?}");
    h2.get("/a").await.expect(200);
    let refused = "forebay_refused_total{reason=\"body-too-large\"}";
    e.metric_becomes(refused, 2.0).await;
    c.raw("POST /a HTTP/1.1\r\nHost: site.test\r\nTransfer-Encoding: chunked\r\n\r\nz\r\n")
        .await;
    e.metric_becomes("forebay_refused_total{reason=\"chunk\"}", 1.0)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_beyond_the_limit_wait_their_turn() {
    let held = gate();
    let o = origin("o1")
        .on("/slow", ok().no_store().hold(&held).body("v1"))
        .on("*", ok().body("v1"))
        .start()
        .await;
    let e = edge("[server]\nthreads = 1\n[limits]\nconnections = 4\n[[route]]\nto = \"{o1}\"")
        .origin(&o)
        .start()
        .await;
    let mut open = Vec::new();
    for n in 0..4 {
        let mut k = e.client().connect().await;
        k.start(&get(&format!("/slow?{n}"))).await;
        o.head(n).await;
        open.push(k);
    }
    // The kernel takes the fifth; the edge serves it as soon as there is room, and who is at work makes none.
    let fifth = e.client().get("/fifth").spawn();
    e.stderr("4 connections are open, as many as may be").await;
    assert!(o.requests().iter().all(|r| r.target() != "/fifth"));
    drop(open.pop());
    fifth.await.unwrap().expect(200);
    held.open();
    for k in &mut open {
        k.response("GET").await.expect(200).body("v1");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn running_out_of_files_pauses_and_recovers() {
    let o = origin("o1").on("*", ok().body("v1")).start().await;
    let e = edge("[[route]]\nto = \"{o1}\"")
        .origin(&o)
        .open_files(64)
        .start()
        .await;
    let mut open = Vec::new();
    for _ in 0..100 {
        open.push(client(e.addr()).connect().await);
    }
    // Those that were let in are served on, and with files back, everybody is.
    open.truncate(8);
    open[0].get("/a").await.expect(200);
    drop(open);
    e.client().get("/b").send().await.expect(200);
    e.client()
        .request(request("GET", "/c"))
        .send()
        .await
        .expect(200);
}
