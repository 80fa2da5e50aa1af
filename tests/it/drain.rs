//! SIGTERM: readiness turns, nothing new comes in, everything that was accepted ends, and the exit is in time.

use rustix::process::Signal;

use crate::rig::{Gate, Reply, client, edge, gate, get, ok, origin, upgrade};

const PLAIN: &str = "[[route]]\nto = \"{o1}\"";

#[tokio::test(flavor = "multi_thread")]
async fn requests_in_flight_end_and_the_exit_is_0() {
    let held = gate();
    let o = origin("o1")
        .on("/slow", ok().hold(&held).body("v1"))
        .on("*", ok().body("v1"))
        .start()
        .await;
    let mut e = edge(PLAIN).origin(&o).start().await;
    // Two targets, so that they are two fetches.
    let slow = e.client().get("/slow?1").spawn();
    let h2 = e.client().h2().await;
    let slow_h2 = tokio::spawn(async move { h2.get("/slow?2").await });
    let mut idle = e.client().connect().await;
    idle.get("/a").await.expect(200);
    o.head(2).await;

    e.signal(Signal::TERM);
    // An idle connection is closed soon; it is how we know that the drain has begun.
    idle.expect_close().await;
    held.open();
    slow.await.unwrap().expect(200).body("v1");
    slow_h2.await.unwrap().expect(200).body("v1");
    assert_eq!(e.wait_exit().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_turns_and_new_connections_are_refused() {
    let held = gate();
    let o = origin("o1")
        .on("*", ok().hold(&held).body("v1"))
        .start()
        .await;
    let mut e = edge(PLAIN).origin(&o).start().await;
    let slow = e.client().get("/slow").spawn();
    o.head(0).await;
    e.admin().get("/readyz").send().await.expect(200);
    e.signal(Signal::TERM);
    crate::rig::within("readiness to turn", async {
        while e.admin().get("/readyz").send().await.status != 503 {}
    })
    .await;
    e.admin().get("/healthz").send().await.expect(200);
    crate::rig::within("the port to refuse", async {
        while client(e.addr()).try_stream().await.is_ok() {}
    })
    .await;
    held.open();
    slow.await.unwrap().expect(200);
    assert_eq!(e.wait_exit().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_during_the_drain_says_close() {
    let held = gate();
    let o = origin("o1")
        .on("/slow", ok().hold(&held).body("v1"))
        .on("*", ok())
        .start()
        .await;
    let mut e = edge(PLAIN).origin(&o).start().await;
    let mut idle = e.client().connect().await;
    idle.get("/a").await.expect(200);
    let mut k = e.client().connect().await;
    k.start(&get("/slow")).await;
    o.head(1).await;
    e.signal(Signal::INT);
    idle.expect_close().await;
    held.open();
    k.response("GET")
        .await
        .expect(200)
        .header("connection", "close")
        .body("v1");
    k.expect_close().await;
    assert_eq!(e.wait_exit().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_http2_connection_is_told_to_go_away() {
    let o = origin("o1").on("*", ok().body("v1")).start().await;
    let mut e = edge(PLAIN).origin(&o).start().await;
    let mut wire = e.client().h2_wire().await;
    wire.headers(
        1,
        true,
        &[
            (":method", "GET"),
            (":scheme", "http"),
            (":authority", "site.test"),
            (":path", "/a"),
        ],
    )
    .await
    .unwrap();
    o.request(0).await;
    e.signal(Signal::TERM);
    assert_eq!(wire.goaway().await, Some(0), "NO_ERROR");
    assert_eq!(e.wait_exit().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn held_requests_get_their_503_before_the_end() {
    let o = origin("o1").on("*", ok().body("v1"));
    let toml = "[server]\nshutdown_grace = \"2s\"\n[upstream.o]\nservers = [\"{o1}\"]\nhold = \"60s\"\n[[route]]\nto = \"o\"";
    let mut e = edge(toml).origin(&o).start().await;
    let held = e.client().get("/a").spawn();
    e.metric_becomes("forebay_upstream_held", 1.0).await;
    let began = forebay::clock::now();
    e.signal(Signal::TERM);
    held.await.unwrap().expect(503);
    assert_eq!(e.wait_exit().await, 0);
    assert!(began.elapsed().as_secs() < 6, "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_grace_ends() {
    let never = gate();
    let o = origin("o1")
        .on("*", ok().hold(&never).body("v1"))
        .start()
        .await;
    let mut e = edge("[server]\nshutdown_grace = \"1s\"\n[[route]]\nto = \"{o1}\"")
        .origin(&o)
        .start()
        .await;
    let stuck = e.client().get("/stuck").spawn();
    o.head(0).await;
    let began = forebay::clock::now();
    e.signal(Signal::TERM);
    let got = stuck.await.unwrap();
    assert!(got.cut.is_some() || got.status >= 500, "{got:#?}");
    e.wait_exit().await;
    let took = began.elapsed().as_secs_f64();
    assert!((0.9..5.0).contains(&took), "{took} s");
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_share_a_fetch_get_all_of_it_though_its_leader_has_left() {
    let held = gate();
    let o = origin("o1").on("*", in_two_parts(&held)).start().await;
    let mut e = edge(PLAIN).origin(&o).start().await;
    let mut leader = e.client().connect().await;
    leader.start(&get("/a")).await;
    leader.read_until("12345").await;
    let followers = [(); 3].map(|()| e.client().get("/a").spawn());
    e.metric_becomes("forebay_cache_followers", 4.0).await;
    leader.reset();
    e.metric_becomes("forebay_cache_followers", 3.0).await;
    let mut idle = e.client().connect().await;
    e.signal(Signal::TERM);
    idle.rest().await;
    held.open();
    for follower in followers {
        follower.await.unwrap().expect(200).body("1234567890");
    }
    assert_eq!(e.wait_exit().await, 0);
    assert_eq!(o.requests().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_that_nobody_waits_for_is_not_waited_for() {
    let never = gate();
    let o = origin("o1").on("*", in_two_parts(&never)).start().await;
    let mut e = edge(PLAIN).origin(&o).start().await;
    let mut k = e.client().connect().await;
    k.start(&get("/a")).await;
    k.read_until("12345").await;
    k.reset();
    // It goes on by itself, because what comes would be stored.
    e.metric_becomes("forebay_cache_followers", 0.0).await;
    e.metric_becomes("forebay_cache_fills_in_flight", 1.0).await;
    let began = forebay::clock::now();
    e.signal(Signal::TERM);
    assert_eq!(e.wait_exit().await, 0);
    // The grace is 20 s.
    assert!(began.elapsed().as_secs() < 10, "{:?}", began.elapsed());
    o.disconnected(0).await;
}

/// An answer to be stored that stops in the middle until `held` opens.
fn in_two_parts(held: &Gate) -> Reply {
    let reply = ok().max_age(60).length(10).data("12345");
    reply.hold(held).data("67890")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_at_once() {
    let never = gate();
    let o = origin("o1")
        .on("*", ok().hold(&never).body("v1"))
        .start()
        .await;
    let mut e = edge("[server]\nshutdown_grace = \"30s\"\n[[route]]\nto = \"{o1}\"")
        .origin(&o)
        .start()
        .await;
    let _stuck = e.client().get("/stuck").spawn();
    o.head(0).await;
    let mut idle = e.client().connect().await;
    e.signal(Signal::TERM);
    idle.rest().await;
    let began = forebay::clock::now();
    e.signal(Signal::TERM);
    e.wait_exit().await;
    assert!(began.elapsed().as_secs() < 5, "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_is_ended_by_the_grace_and_not_before() {
    let o = origin("o1")
        .on("/ws", upgrade("websocket"))
        .on("*", ok())
        .start()
        .await;
    let mut e = edge("[server]\nshutdown_grace = \"4s\"\n[[route]]\nto = \"{o1}\"")
        .origin(&o)
        .start()
        .await;
    let mut ws = e.client().websocket("/ws").await;
    ws.echo("before").await;
    let mut idle = e.client().connect().await;
    idle.get("/a").await.expect(200);
    e.signal(Signal::TERM);
    idle.expect_close().await;
    ws.echo("during").await;
    while ws.next().await.is_some() {}
    e.wait_exit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_in_the_kernels_queue_are_not_lost() {
    // Requests come in all the time; each is answered or its connection is refused, but none is dropped.
    let o = origin("o1").on("*", ok().body("v1")).start().await;
    let mut e = edge(PLAIN).origin(&o).start().await;
    let addr = e.addr().to_owned();
    let knocking: Vec<_> = (0..8)
        .map(|_| {
            let c = client(&addr);
            tokio::spawn(async move {
                let mut served = 0;
                while let Ok(stream) = c.try_stream().await {
                    let mut k = crate::rig::Connection::new(stream, "site.test");
                    k.send(&get("/a")).await.expect(200);
                    served += 1;
                }
                served
            })
        })
        .collect();
    o.request(200).await;
    e.signal(Signal::TERM);
    let mut served = 0;
    for client in knocking {
        served += client.await.unwrap();
    }
    assert_eq!(e.wait_exit().await, 0);
    assert_eq!(served, o.requests().len());
}
