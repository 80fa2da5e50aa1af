//! More requests at once over HTTP/2 than a connection, or all of them, may have under way.

use crate::rig::{H2Wire, edge, gate, kind, ok, origin, within};

/// The client knows that it may repeat what is refused with this (RFC 9113 §8.7).
const REFUSED_STREAM: u32 = 7;

/// Asks for `path` on a stream of its own.
async fn ask(wire: &mut H2Wire, stream: u32, path: &str) {
    let fields = [
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "site.test"),
        (":path", path),
    ];
    wire.headers(stream, true, &fields).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn more_streams_than_allowed_are_refused() {
    let never = gate();
    let o = origin("o1")
        .on("/slow", ok().hold(&never).body("v1"))
        .start()
        .await;
    let e = edge("[limits]\nhttp2_streams = 4\n[[route]]\nto = \"{o1}\"")
        .origin(&o)
        .start()
        .await;
    let mut wire = e.client().h2_wire().await;
    for n in 0..8 {
        ask(&mut wire, 2 * n + 1, &format!("/slow?{n}")).await;
    }
    assert_eq!(wire.refusal(9).await, Some(REFUSED_STREAM));
    o.head(3).await;
    assert_eq!(o.requests().len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_connection_has_a_request_and_all_share_the_rest() {
    let never = gate();
    let o = origin("o1")
        .on("/slow", ok().hold(&never).body("v1"))
        .on("/ok", ok().body("v1"))
        .start()
        .await;
    let e = edge("[limits]\nconnections = 3\n[[route]]\nto = \"{o1}\"")
        .origin(&o)
        .start()
        .await;
    let mut greedy = e.client().h2_wire().await;
    for n in 0..4 {
        ask(&mut greedy, 2 * n + 1, &format!("/slow?{n}")).await;
    }
    assert_eq!(greedy.refusal(7).await, Some(REFUSED_STREAM));
    // Who has none under way is not refused, and may have no second.
    let mut modest = e.client().h2_wire().await;
    for stream in [1, 3] {
        ask(&mut modest, stream, "/slow").await;
    }
    assert_eq!(modest.refusal(3).await, Some(REFUSED_STREAM));
    o.head(3).await;
    assert_eq!(o.requests().len(), 4);
    let refused = e.metric("forebay_refused_total{reason=\"http2-crowded\"}");
    assert!(refused.await > 1.0);
    // With those of the other gone there is room again.
    drop(greedy);
    within("an answer", async {
        for stream in (5..).step_by(2) {
            ask(&mut modest, stream, "/ok").await;
            let about_it = modest.next_where(|frame| frame.stream == stream).await;
            if about_it.is_some_and(|frame| frame.kind == kind::HEADERS) {
                return;
            }
        }
    })
    .await;
}
