//! SIGQUIT: a new process takes the listening sockets over while the old one finishes; nobody is refused.

use rustix::process::Signal;

use crate::rig::{Connection, client, edge, gate, get, ok, origin, upgrade, within};

const PLAIN: &str =
    "[[listen]]\naddr = \"{listen}\"\n[[listen]]\naddr = \"{listen2}\"\n[[route]]\nto = \"{o1}\"";

#[tokio::test(flavor = "multi_thread")]
async fn under_load_nobody_is_refused() {
    let o = origin("o1").on("*", ok().body("v1")).start().await;
    let mut e = edge(PLAIN).origin(&o).start().await;
    let stop = gate();
    let load: Vec<_> = (0..4)
        .map(|n| {
            let c = client(if n % 2 == 0 {
                e.addr()
            } else {
                e.value("listen2")
            });
            let stop = stop.clone();
            tokio::spawn(async move {
                let mut served = 0_u32;
                loop {
                    tokio::select! {
                        biased;
                        () = stop.pass() => return served,
                        got = async {
                            let stream = c.try_stream().await.expect("a connection, at any time");
                            Connection::new(stream, "site.test").send(&get("/a")).await
                        } => {
                            got.expect(200).body("v1");
                            served += 1;
                        }
                    }
                }
            })
        })
        .collect();
    o.request(50).await;
    e.signal(Signal::QUIT);
    assert_eq!(e.wait_exit().await, 0);
    // The old process is gone; the new one serves on both addresses.
    let so_far = o.requests().len();
    o.request(so_far + 50).await;
    stop.open();
    for client in load {
        assert!(client.await.unwrap() > 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_in_flight_ends_in_the_old_process() {
    let held = gate();
    let o = origin("o1")
        .on("/slow", ok().hold(&held).body("old"))
        .on("/ws", upgrade("websocket"))
        .on("*", ok().body("v1"))
        .start()
        .await;
    let mut e = edge(PLAIN).origin(&o).start().await;
    let slow = e.client().get("/slow").spawn();
    o.head(0).await;
    let mut idle = e.client().connect().await;
    idle.get("/a").await.expect(200);
    e.signal(Signal::QUIT);
    // The drain of the old process has begun, so the new one is ready.
    idle.expect_close().await;
    e.client().get("/new").send().await.expect(200);
    held.open();
    slow.await.unwrap().expect(200).body("old");
    assert_eq!(e.wait_exit().await, 0);
    e.client().get("/newer").send().await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_new_process_reads_the_new_file() {
    let o = origin("o1").on("*", ok().body("v1")).start().await;
    let mut e = edge(PLAIN).origin(&o).start().await;
    e.write("[[listen]]\naddr = \"{listen}\"\n[[route]]\nrespond = \"new\"");
    e.signal(Signal::QUIT);
    assert_eq!(e.wait_exit().await, 0);
    e.client().get("/").send().await.expect(200).body("new");
    // The address that it does not want any more refuses.
    within("the old listener to be gone", async {
        while client(e.value("listen2")).try_stream().await.is_ok() {}
    })
    .await;
    e.admin().get("/healthz").send().await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_successor_that_fails_changes_nothing() {
    let o = origin("o1").on("*", ok().body("v1")).start().await;
    let mut e = edge(PLAIN).origin(&o).start().await;
    e.write("[[route]]\nto = \"nobody\"");
    e.signal(Signal::QUIT);
    e.stderr("nobody").await;
    // It takes the old one a moment to learn of the new one's end; it serves before, meanwhile and after.
    for _ in 0..50 {
        e.client().get("/a").send().await.expect(200).body("v1");
    }
    assert!(e.runs());
    // And it can still be drained.
    e.signal(Signal::TERM);
    assert_eq!(e.wait_exit().await, 0);
}
