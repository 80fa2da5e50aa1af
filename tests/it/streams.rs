//! WebSocket and event streams: nothing is held back, in either direction.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::rig::{WebSocket, edge, gate, get, ok, origin, post, status, upgrade};

const PLAIN: &str = "[[route]]\nto = \"{o1}\"";

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_echoes_until_it_is_closed() {
    let o = origin("o1").on("/ws", upgrade("websocket")).start().await;
    let e = edge(PLAIN).origin(&o).start().await;
    let mut ws = e.client().websocket("/ws").await;
    for n in 0..50 {
        ws.echo(&format!("message {n}")).await;
    }
    ws.echo(&"long ".repeat(10_000)).await;
    ws.close().await;
    let seen = &o.requests()[0];
    assert_eq!(
        (seen.header("upgrade"), seen.header("sec-websocket-version")),
        (Some("websocket"), Some("13"))
    );
    assert_eq!(e.log_line("/ws").await["status"], 101);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_outlives_the_timeouts_of_requests() {
    let o = origin("o1")
        .on("/ws", upgrade("websocket"))
        .on("/tick", status(500))
        .start()
        .await;
    let toml = "[limits]\nidle_timeout = \"300ms\"\nbody_timeout = \"300ms\"\n[upstream.o]\nservers = [\"{o1}\"]\ntimeouts = { between_bytes = \"300ms\", first_byte = \"300ms\" }\n[[route]]\nto = \"o\"";
    let e = edge(toml).origin(&o).start().await;
    let mut ws = e.client().websocket("/ws").await;
    ws.echo("before").await;
    // An idle connection beside it is closed by the same timeouts: they have passed.
    let mut idle = e.client().connect().await;
    idle.get("/tick").await.expect(500);
    idle.expect_close().await;
    ws.echo("after").await;
    ws.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_upgrade_is_an_ordinary_answer() {
    let o = origin("o1")
        .on("/ws", status(403).body("no"))
        .on("/a", ok().body("v1"))
        .start()
        .await;
    let e = edge(PLAIN).origin(&o).start().await;
    let mut k = e.client().connect().await;
    k.send(&WebSocket::handshake("/ws"))
        .await
        .expect(403)
        .body("no");
    k.get("/a").await.expect(200).body("v1");
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_come_before_the_101_are_not_forwarded() {
    let held = gate();
    let o = origin("o1")
        .on("/ws", status(403).hold(&held).body("no"))
        .start()
        .await;
    let e = edge(PLAIN).origin(&o).start().await;
    let mut k = e.client().connect().await;
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: site.test\r\n\r\n";
    let request = WebSocket::handshake("/ws").head_bytes("site.test");
    k.write([request.as_slice(), smuggled.as_bytes()].concat())
        .await;
    o.head(0).await;
    held.open();
    k.response("GET").await.expect(403);
    // The bytes behind it are answered as a request of their own, or the connection is closed.
    k.response("GET").await;
    let wire = String::from_utf8_lossy(&o.transcript(0)).into_owned();
    // As a request of its own, later, it may arrive; as bytes behind the hand-shake it may not.
    assert_eq!(wire.matches("GET /ws").count(), 1);
    for seen in o.requests().iter().skip(1) {
        assert!(seen.header("via").is_some(), "not our bytes: {seen:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn upgrades_to_anything_else_are_not_offered_to_the_origin() {
    let o = origin("o1").on("/a", ok().body("v1")).start().await;
    let e = edge(PLAIN).origin(&o).start().await;
    for protocol in ["h2c", "TLS/1.0", "h2c, websocket-x"] {
        let request = get("/a")
            .header("Connection", "Upgrade")
            .header("Upgrade", protocol);
        e.client()
            .request(request)
            .send()
            .await
            .expect(200)
            .body("v1");
    }
    assert!(o.requests().iter().all(|r| r.header("upgrade").is_none()));
}

#[tokio::test(flavor = "multi_thread")]
async fn when_one_side_of_a_websocket_goes_the_other_is_told() {
    let o = origin("o1").on("/ws", upgrade("websocket")).start().await;
    let e = edge(PLAIN).origin(&o).start().await;
    let mut ws = e.client().websocket("/ws").await;
    ws.echo("hi").await;
    drop(ws);
    o.disconnected(0).await;

    let mut o = o;
    let mut ws = e.client().websocket("/ws").await;
    ws.echo("hi").await;
    o.down().await;
    assert_eq!(ws.next().await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_arrive_one_by_one() {
    let next = gate();
    let stream = ok()
        .sse()
        .data("data: 1\n\n")
        .hold(&next)
        .data("data: 2\n\n")
        .hold(&next)
        .data("data: 3\n\n");
    let o = origin("o1").on("/events", stream).start().await;
    let e = edge(PLAIN).origin(&o).start().await;
    let mut k = e.client().connect().await;
    k.start(&get("/events").header("Accept", "text/event-stream"))
        .await;
    for n in 1..=3 {
        // The origin sends the next one only after the client has this one.
        k.read_until(&format!("data: {n}\n\n")).await;
        next.let_one_through();
    }
    k.read_until("0\r\n\r\n").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_over_http2_arrive_one_by_one() {
    let next = gate();
    let stream = ok()
        .sse()
        .data("data: 1\n\n")
        .hold(&next)
        .data("data: 2\n\n");
    let o = origin("o1").on("/events", stream).start().await;
    let e = edge(PLAIN).origin(&o).start().await;
    let call = e
        .client()
        .h2()
        .await
        .call(&get("/events"), true)
        .await
        .unwrap();
    let mut body = call.response.await.unwrap().into_body();
    assert_eq!(&body.data().await.unwrap().unwrap()[..], b"data: 1\n\n");
    next.open();
    assert_eq!(&body.data().await.unwrap().unwrap()[..], b"data: 2\n\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_an_event_stream_ends_it_at_the_origin() {
    let never = gate();
    let o = origin("o1")
        .on("/events", ok().sse().data("data: 1\n\n").hold(&never))
        .start()
        .await;
    let e = edge(PLAIN).origin(&o).start().await;
    let mut k = e.client().connect().await;
    k.start(&get("/events")).await;
    k.read_until("data: 1\n\n").await;
    drop(k);
    o.disconnected(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_directions_at_once() {
    // A long upload is answered while it is on its way (a bidirectional stream over HTTP/1.1 chunks).
    let o = origin("o1")
        .on("/both", ok().early().sse().data("ready\n").echo())
        .start()
        .await;
    let e =
        edge("[upstream.o]\nservers = [\"{o1}\"]\nbuffer_request = \"0\"\n[[route]]\nto = \"o\"")
            .origin(&o)
            .start()
            .await;
    let h2 = e.client().h2().await;
    let mut call = h2.call(&post("/both", ""), false).await.unwrap();
    let mut answer = call.response.await.unwrap().into_body();
    assert_eq!(&answer.data().await.unwrap().unwrap()[..], b"ready\n");
    call.body.send_data("ping".into(), true).unwrap();
    assert_eq!(&answer.data().await.unwrap().unwrap()[..], b"ping");
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_sent_with_the_handshake_are_nobodys() {
    let o = origin("o1").on("/ws", upgrade("websocket")).start().await;
    let e = edge(PLAIN).origin(&o).start().await;
    let mut k = e.client().connect().await;
    // A ping in the same write as the request: it cannot know of the switch yet.
    let early = [0x89, 0x81, 0, 0, 0, 0, b'e'];
    let handshake = WebSocket::handshake("/ws").head_bytes("site.test");
    k.write([handshake.as_slice(), &early].concat()).await;
    k.response("GET").await.expect(101);
    let mut stream = k.into_stream();
    stream
        .write_all(&[0x89, 0x81, 0, 0, 0, 0, b'x'])
        .await
        .unwrap();
    let mut pong = [0; 3];
    stream.read_exact(&mut pong).await.unwrap();
    assert_eq!(pong, [0x89, 1, b'x'], "the early ping is not answered");
}

#[tokio::test(flavor = "multi_thread")]
async fn raw_bytes_after_the_101_pass_both_ways() {
    let o = origin("o1").on("/ws", upgrade("websocket")).start().await;
    let e = edge(PLAIN).origin(&o).start().await;
    let mut k = e.client().connect().await;
    k.send(&WebSocket::handshake("/ws")).await.expect(101);
    let mut stream = k.into_stream();
    // A ping of one byte, unmasked on the way back.
    stream
        .write_all(&[0x89, 0x81, 0, 0, 0, 0, b'x'])
        .await
        .unwrap();
    let mut pong = [0; 3];
    stream.read_exact(&mut pong).await.unwrap();
    assert_eq!(pong, [0x89, 1, b'x']);
}
