//! Hits over HTTP/2: given at once, as the full lane would give them, under the client's windows.

use rustix::process::Signal;

use crate::rig::{Edge, H2Wire, Origin, Request, edge, flag, get, head, kind, ok, origin};

const PLAIN: &str = "[[route]]\nto = \"{o1}\"";
const GOOD: [(&str, &str); 4] = [
    (":method", "GET"),
    (":scheme", "http"),
    (":authority", "site.test"),
    (":path", "/a"),
];
/// `SETTINGS_INITIAL_WINDOW_SIZE` of nothing.
const NO_WINDOW: [u8; 6] = [0, 4, 0, 0, 0, 0];
/// `CANCEL`, as a frame has it.
const CANCEL: [u8; 4] = [0, 0, 0, 8];

/// What is stored under `/a` by now.
async fn stored(toml: &str, body: &str) -> (Origin, Edge) {
    let reply = ok()
        .max_age(1000)
        .etag("\"v1\"")
        .header("content-type", "text/plain")
        .last_modified("Sun, 06 Nov 1994 08:49:37 GMT")
        .header("x-several", "a")
        .header("x-several", "b")
        .body(body);
    let o = origin("o1").on("/a", reply).start().await;
    let e = edge(toml).origin(&o).start().await;
    e.client().h2().await.get("/a").await.expect(200).body(body);
    (o, e)
}

async fn windowless(e: &Edge) -> H2Wire {
    let mut wire = e.client().h2_wire().await;
    wire.frame(kind::SETTINGS, flag::NONE, 0, &NO_WINDOW)
        .await
        .unwrap();
    wire
}

async fn more_window(wire: &mut H2Wire, stream: u32, octets: u32) {
    wire.frame(
        kind::WINDOW_UPDATE,
        flag::NONE,
        stream,
        &octets.to_be_bytes(),
    )
    .await
    .unwrap();
}

/// The next frame of HEADERS, DATA or `RST_STREAM`.
async fn of_a_stream(wire: &mut H2Wire) -> (u8, u8, Vec<u8>) {
    let kinds = [kind::HEADERS, kind::DATA, kind::RST_STREAM];
    let frame = wire.next_where(|f| kinds.contains(&f.kind)).await;
    let frame = frame.expect("the connection is open");
    (frame.kind, frame.flags, frame.payload)
}

#[tokio::test(flavor = "multi_thread")]
async fn both_lanes_say_the_same() {
    for rest in [
        "",
        "\nresponse_headers = { set = { \"x-set\" = \"1\" }, remove = [\"x-several\"] }",
    ] {
        let (o, e) = stored(&format!("{PLAIN}{rest}"), "0123456789").await;
        let h2 = e.client().h2().await;
        let rows: Vec<Request> = vec![
            get("/a"),
            head("/a"),
            get("/a").header("if-none-match", "\"v1\""),
            get("/a").header("if-none-match", "\"v2\""),
            get("/a").header("if-modified-since", "Sun, 06 Nov 1994 08:49:37 GMT"),
            get("/a").header("range", "bytes=2-4"),
            get("/a").header("cookie", "a=1").header("cookie", "b=2"),
            get("/a").header("te", "trailers"),
            get("/a").header("x-forwarded-proto", "https"),
            get("/a").header("cache-control", "max-stale"),
        ];
        for asked in rows {
            let express = h2.send(asked.clone()).await;
            // The express lane has no time for a length, not even of nothing.
            let full = h2.send(asked.clone().header("content-length", "0")).await;
            assert_eq!(express.cut, None, "{asked:?}: {express:#?}");
            assert_eq!(
                (express.status, &express.body.content),
                (full.status, &full.body.content),
                "{asked:?}"
            );
            let fields = |of: &crate::rig::Response| {
                let mut fields = of.head.fields.clone();
                fields.retain(|(name, _)| name != "x-request-id");
                for (name, value) in &mut fields {
                    if name == "age" || name == "cache-status" {
                        value.retain(|c| !c.is_ascii_digit());
                    }
                }
                fields.sort();
                fields
            };
            assert_eq!(fields(&express), fields(&full), "{asked:?}");
            assert_eq!(express.head.all("x-request-id").len(), 1);
        }
        assert_eq!(o.requests().len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hits_and_misses_of_one_connection() {
    let sizes = [0, 1, 1024, 5000, 70_000, 300_000, 1_200_000];
    let mut o = origin("o1");
    for size in sizes {
        let body = "x".repeat(size);
        o = o
            .on(&format!("/hit/{size}"), ok().max_age(1000).body(&body))
            .on(&format!("/miss/{size}"), ok().no_store().body(&body));
    }
    let o = o.start().await;
    let e = edge(PLAIN).origin(&o).start().await;
    let h2 = e.client().h2().await;
    for size in sizes {
        h2.get(&format!("/hit/{size}")).await.expect(200);
    }
    let mut calls = Vec::new();
    for n in 0..90 {
        let size = sizes[n % sizes.len()];
        let word = if n % 3 == 0 { "miss" } else { "hit" };
        let h2 = h2.clone();
        calls.push(tokio::spawn(async move {
            let got = h2.get(&format!("/{word}/{size}")).await.expect(200);
            assert_eq!(got.body.content.len(), size, "{word}");
            if word == "hit" {
                got.cache_status("hit");
            }
        }));
    }
    for call in calls {
        call.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_that_opens_octet_by_octet() {
    let (_o, e) = stored(PLAIN, "0123456789").await;
    let mut wire = windowless(&e).await;
    wire.headers(1, true, &GOOD).await.unwrap();
    assert_eq!(of_a_stream(&mut wire).await.0, kind::HEADERS);
    // Other streams of the connection do not wait for it.
    let bodiless: Vec<_> = [(":method", "HEAD")]
        .into_iter()
        .chain(GOOD[1..].to_vec())
        .collect();
    wire.headers(3, true, &bodiless).await.unwrap();
    let (answer, flags, _) = of_a_stream(&mut wire).await;
    assert_eq!((answer, flags & flag::END_STREAM), (kind::HEADERS, 1));
    for octet in b"0123456789" {
        more_window(&mut wire, 1, 1).await;
        let (answer, flags, payload) = of_a_stream(&mut wire).await;
        assert_eq!((answer, payload), (kind::DATA, vec![*octet]));
        assert_eq!(flags & flag::END_STREAM, u8::from(*octet == b'9'));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_that_stays_shut() {
    let limits = "[limits]\nwrite_timeout = \"300ms\"\n";
    let (_o, e) = stored(&format!("{limits}{PLAIN}"), "0123456789").await;
    let mut wire = windowless(&e).await;
    wire.headers(1, true, &GOOD).await.unwrap();
    assert_eq!(of_a_stream(&mut wire).await.0, kind::HEADERS);
    let (answer, _, code) = of_a_stream(&mut wire).await;
    assert_eq!((answer, code), (kind::RST_STREAM, CANCEL.to_vec()));
    let line = e.log_where(|line| line["end"] == "timed_out").await;
    assert_eq!(
        (&line["proto"], &line["cache"]),
        (&"HTTP/2.0".into(), &"hit".into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn resets_of_hits_are_counted() {
    let (_o, e) = stored(
        &format!("[limits]\nhttp2_faults = 8\n{PLAIN}"),
        "0123456789",
    )
    .await;
    let mut wire = windowless(&e).await;
    let mut resets = 0;
    loop {
        // The head has been answered, so that what is reset is the sending of the body.
        if wire.headers(2 * resets + 1, true, &GOOD).await.is_err() {
            break;
        }
        let answer = wire
            .next_where(|f| [kind::HEADERS, kind::GOAWAY].contains(&f.kind))
            .await;
        if answer.is_none_or(|f| f.kind == kind::GOAWAY) {
            break;
        }
        let _ = wire
            .frame(kind::RST_STREAM, flag::NONE, 2 * resets + 1, &CANCEL)
            .await;
        resets += 1;
        assert!(resets < 20, "twenty resets were taken");
    }
    assert!(resets > 8, "{resets} resets were not");
    e.log_where(|line| line["end"] == "client_gone").await;
    e.client().h2().await.get("/a").await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_hangs_up_is_in_the_log() {
    let (_o, e) = stored(PLAIN, "0123456789").await;
    let mut wire = windowless(&e).await;
    wire.headers(1, true, &GOOD).await.unwrap();
    assert_eq!(of_a_stream(&mut wire).await.0, kind::HEADERS);
    drop(wire);
    e.log_where(|line| line["end"] == "client_gone").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_lets_a_hit_end() {
    let (_o, mut e) = stored(PLAIN, "0123456789").await;
    let mut wire = windowless(&e).await;
    wire.headers(1, true, &GOOD).await.unwrap();
    assert_eq!(of_a_stream(&mut wire).await.0, kind::HEADERS);
    e.signal(Signal::TERM);
    assert_eq!(wire.goaway().await, Some(0));
    more_window(&mut wire, 1, 10).await;
    let (answer, flags, payload) = of_a_stream(&mut wire).await;
    assert_eq!((answer, flags & 1), (kind::DATA, flag::END_STREAM));
    assert_eq!(payload, b"0123456789");
    drop(wire);
    assert_eq!(e.wait_exit().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn large_hits_under_a_small_window() {
    // The one is given at once, the other piece by piece.
    for length in [900_000, 10 << 20] {
        let body = "0123456789abcdef".repeat(length / 16);
        let (_o, e) = stored(PLAIN, &body).await;
        let h2 = e.client().h2().await;
        let mut call = h2.call(&get("/a"), true).await.unwrap();
        let answer = (&mut call.response).await.unwrap();
        // Nothing of it is read while another stream is answered.
        h2.send(head("/a")).await.expect(200).cache_status("hit");
        let mut content = answer.into_body();
        let mut received = 0;
        while let Some(data) = content.data().await {
            let data = data.unwrap();
            received += data.len();
            content.flow_control().release_capacity(data.len()).unwrap();
        }
        assert_eq!(received, body.len());
    }
}
