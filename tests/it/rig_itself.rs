//! The rig itself.
use crate::rig::*;

#[tokio::test(flavor = "multi_thread")]
async fn rig_talks_to_itself() {
    let gate = gate();
    let o = origin("o1")
        .on("/a", ok().hold(&gate).body("v1"))
        .on("/c", ok().chunks(["a", "b"]).trailer("x", "y"))
        .on("/e", ok().echo())
        .on("/ws", upgrade("websocket"))
        .on("/cut", ok().length(10).data("abc").cut())
        .on("/r", reset())
        .start()
        .await;
    let c = client(o.addr());
    let waiting = c.get("/a").spawn();
    o.head(0).await;
    gate.open();
    waiting.await.unwrap().expect(200).body("v1");
    c.get("/c")
        .send()
        .await
        .expect(200)
        .body("ab")
        .trailer("x", "y");
    c.get("/cut").send().await.expect_cut(200);
    assert!(c.get("/r").send().await.cut.is_some());
    c.request(post("/e", "").chunked(["hello ", "world"]))
        .send()
        .await
        .expect(200)
        .body("hello world");
    assert_eq!(o.request(4).await.body.chunks, [6, 5]);
    let mut ws = c.websocket("/ws").await;
    ws.echo("hi").await;
    ws.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rig_speaks_h2_to_itself() {
    let ca = Authority::new();
    let o = origin("o1")
        .h2()
        .tls(ca.server(&["o.test"], &["h2"]))
        .on(
            "/a",
            ok().interim(103, &[("link", "x")])
                .body("v1")
                .trailer("grpc-status", "0"),
        )
        .start()
        .await;
    let h2 = client(o.addr())
        .tls(ca.client(&["h2"]), "o.test")
        .h2()
        .await;
    h2.send(post("/a", "body"))
        .await
        .expect(200)
        .body("v1")
        .trailer("grpc-status", "0")
        .interim(&[103]);
    assert_eq!(o.request(0).await.text(), "body");
}

#[tokio::test(flavor = "multi_thread")]
async fn rig_sees_what_each_of_a_crowd_sees() {
    let middle = gate();
    let told = "other; fwd=miss, edge; fwd=stale; ttl=-40; fwd-status=304; detail=\"refreshed\"";
    let reply = ok()
        .max_age(60)
        .directive("public")
        .age(100)
        .header("cache-status", told);
    let o = origin("o1")
        .on("/a", reply.length(2).data("a").hold(&middle).data("b"))
        .start()
        .await;
    let crowd = client(o.addr()).crowd(50, &get("/a?x"));
    crowd.asked().await;
    o.fetched("/a", 50).await;
    crowd.begun(50).await;
    assert_eq!(
        (crowd.done(), o.fetches("/a?x"), o.fetches("/a?y")),
        (0, 50, 0)
    );
    let opened = forebay::clock::now();
    middle.open();
    for one in crowd.all().await {
        assert!(one.lag(one.asked) >= 0.0 && one.ended >= opened);
        assert!(one.lag(opened) == 0.0);
        let answer = one.response.expect(200).body("ab").aged(100);
        let answer = answer.header("cache-control", "max-age=60, public");
        assert_eq!(answer.cache().ttl(), Some(-40));
        answer
            .cache_status("fwd=stale; ttl; detail=refreshed; fwd-status=304")
            .no_cache_status("hit; fwd=miss; stored; stale");
    }
    assert_eq!(o.last("/a").target(), "/a?x");
}
