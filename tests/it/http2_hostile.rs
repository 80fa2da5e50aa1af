//! HTTP/2 that no well-behaved client sends: malformed requests and floods end at a bounded cost.

use crate::rig::{Edge, H2Wire, Origin, edge, flag, gate, kind, ok, origin, resident_kib, within};

const GOOD: [(&str, &str); 4] = [
    (":method", "GET"),
    (":scheme", "http"),
    (":authority", "site.test"),
    (":path", "/ok"),
];

async fn pair(limits: &str) -> (Origin, Edge) {
    let o = origin("o1").on("*", ok().body("v1")).start().await;
    let e = edge(&format!("[limits]\n{limits}\n[upstream.o]\nservers = [\"{{o1}}\"]\nbuffer_request = \"0\"\n[[route]]\nto = \"o\"")).origin(&o).start().await;
    (o, e)
}

/// The good fields with one replaced, or one more.
fn with<'a>(name: &'a str, value: &'a str) -> Vec<(&'a str, &'a str)> {
    let mut fields: Vec<(&'a str, &'a str)> = GOOD.to_vec();
    match fields.iter_mut().find(|(n, _)| *n == name) {
        Some(field) => field.1 = value,
        None => fields.push((name, value)),
    }
    fields
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_heads_are_refused_and_reach_nobody() {
    let (o, e) = pair("").await;
    let mut rows: Vec<(&str, Vec<(&str, &str)>)> = vec![
        ("no :path", GOOD[..3].to_vec()),
        ("no :method", GOOD[1..].to_vec()),
        (
            "two :path",
            [GOOD.to_vec(), vec![(":path", "/two")]].concat(),
        ),
        (
            "two :authority",
            [GOOD.to_vec(), vec![(":authority", "b.test")]].concat(),
        ),
        ("unknown pseudo-field", with(":protocol-x", "y")),
        (
            "pseudo-field after a field",
            [vec![("x-a", "b")], GOOD.to_vec()].concat(),
        ),
        (":status in a request", with(":status", "200")),
        ("two hosts that differ", with("host", "evil.test")),
        (
            "CONNECT",
            vec![(":method", "CONNECT"), (":authority", "site.test:443")],
        ),
    ];
    for (name, value) in [
        (":path", ""),
        (":path", "ok"),
        (":path", "*"),
        (":path", "/a b"),
        (":path", "/a\rb"),
        (":path", "/a\nb"),
        (":path", "/a\0b"),
        (
            ":path",
            "/a HTTP/1.1\r\nHost: evil.test\r\n\r\nGET /smuggled",
        ),
        (":method", ""),
        (":method", "G ET"),
        (":method", "GET / HTTP/1.1\r\nX:"),
        (":authority", ""),
        (":authority", "a b"),
        (":authority", "user@site.test"),
        (":authority", "a/b"),
        (":authority", "a\r\nb"),
        ("X-Upper", "v"),
        ("x a", "v"),
        ("x:a", "v"),
        ("", "v"),
        ("x\r\na", "v"),
        ("x\0", "v"),
        ("x-a", "v\r\nTransfer-Encoding: chunked"),
        ("x-a", "v\n"),
        ("x-a", "\0"),
        ("connection", "keep-alive"),
        ("keep-alive", "1"),
        ("proxy-connection", "x"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h2c"),
        ("te", "gzip"),
        ("content-length", "5"),
        ("content-length", "+0"),
        ("content-length", "0, 0"),
    ] {
        rows.push((name, with(name, value)));
    }
    for (name, fields) in rows {
        let mut wire = e.client().h2_wire().await;
        wire.headers(1, true, &fields).await.unwrap();
        // A stream or connection error, or an answer of the 400 class: never a request at the origin.
        let end = wire
            .next_where(|f| [kind::RST_STREAM, kind::GOAWAY, kind::HEADERS].contains(&f.kind))
            .await;
        assert!(
            end.is_some() || o.requests().is_empty(),
            "{name}: {fields:?}"
        );
        assert!(
            o.requests().is_empty(),
            "{name}: {fields:?} reached the origin: {:#?}",
            o.requests()
        );
    }
    let refused = e.log_where(|line| line["end"] == "refused").await;
    assert_eq!(refused["proto"], "HTTP/2.0");
    e.client().h2().await.get("/ok").await.expect(200);
}

/// What was counted of connections that were ended for these reasons, together.
async fn ended_for(e: &Edge, reasons: &[&str]) -> f64 {
    let mut sum = 0.0;
    for reason in reasons {
        let metric = format!("forebay_refused_total{{reason=\"{reason}\"}}");
        sum += e.metric(&metric).await;
    }
    sum
}

#[tokio::test(flavor = "multi_thread")]
async fn each_end_of_a_connection_has_a_word_and_is_told() {
    let (o, e) = pair("").await;
    let most = [0x7f, 0xff, 0xff, 0xff];
    let large = vec![0; 20_000];
    let rows: [(&str, u8, &[u8]); 3] = [
        ("http2-protocol", kind::DATA, b"x"),
        ("http2-flow-control", kind::WINDOW_UPDATE, &most),
        ("http2-frame-size", kind::PING, &large),
    ];
    for (word, frame, payload) in rows {
        let mut wire = e.client().h2_wire().await;
        let _ = wire.frame(frame, flag::NONE, 0, payload).await;
        let metric = format!("forebay_refused_total{{reason=\"{word}\"}}");
        assert!(wire.goaway().await.is_some(), "{word}");
        e.metric_becomes(&metric, 1.0).await;
    }
    // Once a minute, however many there are.
    e.stderr("HTTP/2 connections were ended for what their clients did: 1 since it was last said, now one of 127.0.0.1")
        .await;
    let told = e.stderr_lines();
    let lines = told.iter().filter(|line| line.contains("were ended for"));
    assert_eq!(lines.count(), 1, "{told:#?}");
    // Who just leaves has done nothing.
    let before = e.metric("forebay_refused_total").await;
    drop(e.client().h2_wire().await);
    e.metric_becomes("forebay_connections", 0.0).await;
    assert!((e.metric("forebay_refused_total").await - before).abs() < f64::EPSILON);
    assert!(o.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fragment_is_cut_for_key_and_origin_alike() {
    // The h2 crate reads :path as a URI and drops what is behind `#` before anybody sees it.
    let o = origin("o1")
        .on("*", ok().max_age(600).body("v1"))
        .start()
        .await;
    let e = edge("[[route]]\nname = \"a\"\npath = \"/a\"\nto = \"{o1}\"")
        .origin(&o)
        .start()
        .await;
    let h2 = e.client().h2().await;
    let mut wire = e.client().h2_wire().await;
    for (stream, path) in [(1, "/a#b"), (3, "/a#/../admin")] {
        wire.headers(stream, true, &with(":path", path))
            .await
            .unwrap();
        let head = wire
            .next_where(|f| f.kind == kind::HEADERS && f.stream == stream)
            .await;
        assert!(head.is_some(), "{path}");
    }
    h2.get("/a").await.expect(200).cache_status("hit");
    e.client()
        .get("/a")
        .send()
        .await
        .expect(200)
        .cache_status("hit");
    assert_eq!(o.fetches("/a"), 1);
    assert_eq!(o.requests().len(), 1);
    e.client()
        .raw("GET /a#b HTTP/1.1\r\nHost: site.test\r\n\r\n")
        .await
        .expect(400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_content_length_that_the_data_contradicts() {
    let (o, e) = pair("").await;
    for (length, data, end) in [("5", "hell", true), ("5", "hello!", false)] {
        let mut wire = e.client().h2_wire().await;
        let mut fields = with(":method", "POST");
        fields.push(("content-length", length));
        wire.headers(1, false, &fields).await.unwrap();
        let flags = if end { flag::END_STREAM } else { flag::NONE };
        wire.frame(kind::DATA, flags, 1, data.as_bytes())
            .await
            .unwrap();
        let refusal = wire
            .next_where(|f| [kind::RST_STREAM, kind::GOAWAY, kind::HEADERS].contains(&f.kind))
            .await;
        assert!(refusal.is_some());
    }
    // The upload may have begun, but it never looked complete.
    e.client().h2().await.get("/ok").await.expect(200);
    assert!(
        o.requests()
            .iter()
            .filter(|r| r.method() == "POST")
            .all(|r| !r.complete),
        "{:#?}",
        o.requests()
    );
}

/// Sends until the edge ends the connection; true when it did before `most` rounds.
async fn ends(
    wire: &mut H2Wire,
    most: u32,
    mut round: impl AsyncFnMut(&mut H2Wire, u32) -> std::io::Result<()>,
) -> bool {
    for n in 0..most {
        if round(wire, n).await.is_err() {
            return true;
        }
    }
    // It may have been quicker to write than the edge to end it: a ping finds out.
    let _ = wire.frame(kind::PING, flag::NONE, 0, b"finally?").await;
    let last = wire
        .next_where(|f| {
            f.kind == kind::GOAWAY
                || (f.kind == kind::PING && f.flags == flag::ACK && f.payload == b"finally?")
        })
        .await;
    last.is_none_or(|f| f.kind == kind::GOAWAY)
}

#[tokio::test(flavor = "multi_thread")]
async fn rapid_reset() {
    let never = gate();
    let o = origin("o1")
        .on("/slow", ok().hold(&never).body("v1"))
        .on("*", ok().body("v1"))
        .start()
        .await;
    let e = edge("[limits]\nhttp2_faults = 64\n[[route]]\nto = \"{o1}\"")
        .origin(&o)
        .start()
        .await;
    let mut wire = e.client().h2_wire().await;
    let fields = with(":path", "/slow");
    let ended = ends(&mut wire, 10_000, async |wire, n| {
        wire.headers(2 * n + 1, true, &fields).await?;
        wire.frame(
            kind::RST_STREAM,
            flag::NONE,
            2 * n + 1,
            &8_u32.to_be_bytes(),
        )
        .await
    })
    .await;
    assert!(ended, "ten thousand resets were taken");
    let reasons = ["http2-flood", "http2-faults"];
    within("the end to be counted", async {
        while ended_for(&e, &reasons).await < 1.0 {}
    })
    .await;
    e.client().get("/ordinary").send().await.expect(200);
    let slow = o
        .requests()
        .iter()
        .filter(|r| r.target() == "/slow")
        .count();
    assert!(slow <= 300, "{slow} requests reached the origin");
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_requests_have_a_budget() {
    let (o, e) = pair("http2_faults = 8").await;
    let mut wire = e.client().h2_wire().await;
    let bad = with("connection", "close");
    let ended = ends(&mut wire, 100, async |wire, n| {
        wire.headers(2 * n + 1, true, &bad).await
    })
    .await;
    assert!(ended);
    assert!(o.requests().is_empty());
    within("the end to be counted", async {
        while ended_for(&e, &["http2-flood", "http2-faults"]).await < 1.0 {}
    })
    .await;
    // A few are forgiven.
    let mut wire = e.client().h2_wire().await;
    let ended = ends(&mut wire, 4, async |wire, n| {
        wire.headers(2 * n + 1, true, &bad).await
    })
    .await;
    assert!(!ended);
}

#[tokio::test(flavor = "multi_thread")]
async fn resets_that_the_edge_is_made_to_send_have_a_budget() {
    // "MadeYouReset": window updates of zero on open streams.
    let never = gate();
    let o = origin("o1")
        .on("/slow", ok().hold(&never).body("v1"))
        .on("*", ok().body("v1"))
        .start()
        .await;
    let e = edge("[[route]]\nto = \"{o1}\"").origin(&o).start().await;
    let mut wire = e.client().h2_wire().await;
    let fields = with(":path", "/slow");
    let ended = ends(&mut wire, 5_000, async |wire, n| {
        wire.headers(2 * n + 1, true, &fields).await?;
        wire.frame(kind::WINDOW_UPDATE, flag::NONE, 2 * n + 1, &[0; 4])
            .await
    })
    .await;
    assert!(ended);
    e.client().get("/ordinary").send().await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_continuation_flood() {
    let (o, e) = pair("").await;
    let before = resident_kib(e.pid());
    let mut wire = e.client().h2_wire().await;
    wire.frame(kind::HEADERS, flag::NONE, 1, &[]).await.unwrap();
    let filler = vec![0x00; 4096];
    let ended = ends(&mut wire, 10_000, async |wire, _| {
        wire.frame(kind::CONTINUATION, flag::NONE, 1, &filler).await
    })
    .await;
    assert!(ended);
    assert!(resident_kib(e.pid()) < before + 16 * 1024);
    assert!(o.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_hpack_bomb_is_measured_after_decoding() {
    let (o, e) = pair("").await;
    let before = resident_kib(e.pid());
    let mut wire = e.client().h2_wire().await;
    // One entry of 4,000 bytes into the dynamic table (literal with incremental indexing), then 16,000 references.
    let mut block = vec![0x82, 0x86, 0x84, 0x41, 9];
    block.extend(b"site.test");
    block.extend([0x40, 1, b'x', 0x7f, 0xa1, 0x1e]);
    block.extend([b'v'; 4000]);
    block.extend([0xbe; 12_000]);
    wire.frame(
        kind::HEADERS,
        flag::END_STREAM | flag::END_HEADERS,
        1,
        &block,
    )
    .await
    .unwrap();
    let end = wire
        .next_where(|f| [kind::RST_STREAM, kind::GOAWAY, kind::HEADERS].contains(&f.kind))
        .await;
    assert!(end.is_some() || o.requests().is_empty());
    assert!(
        o.requests().is_empty(),
        "48 MB of fields reached the origin"
    );
    assert!(resident_kib(e.pid()) < before + 32 * 1024);
}

#[tokio::test(flavor = "multi_thread")]
async fn floods_of_small_frames() {
    let (_o, e) = pair("").await;
    let before = resident_kib(e.pid());
    // Pings and settings want an answer each, and nobody reads the answers.
    for (frame, stream, payload) in [
        (kind::PING, 0, b"12345678".as_slice()),
        (kind::SETTINGS, 0, b"".as_slice()),
    ] {
        let mut wire = e.client().h2_wire().await;
        let frame = crate::rig::encode_frame(frame, flag::NONE, stream, payload).repeat(1_000);
        for _ in 0..100 {
            if wire.write(&frame).await.is_err() {
                break;
            }
        }
    }
    assert!(resident_kib(e.pid()) < before + 32 * 1024);
    e.client().get("/ordinary").send().await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn empty_data_frames_without_end() {
    let (o, e) = pair("").await;
    let mut wire = e.client().h2_wire().await;
    wire.headers(1, false, &with(":method", "POST"))
        .await
        .unwrap();
    let frames = crate::rig::encode_frame(kind::DATA, flag::NONE, 1, b"").repeat(1_000);
    let before = resident_kib(e.pid());
    ends(&mut wire, 100, async |wire, _| wire.write(&frames).await).await;
    assert!(resident_kib(e.pid()) < before + 32 * 1024);
    e.client().get("/ordinary").send().await.expect(200);
    assert!(
        o.requests()
            .iter()
            .filter(|r| r.method() == "POST")
            .all(|r| !r.complete)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn big_answers_without_credit_are_bounded() {
    let big = "0123456789abcdef".repeat(1 << 20);
    let o = origin("o1")
        .on("/big", ok().body(&big))
        .on("*", ok().body("v1"))
        .start()
        .await;
    let e = edge("[[route]]\nto = \"{o1}\"").origin(&o).start().await;
    let before = resident_kib(e.pid());
    let mut wire = e.client().h2_wire().await;
    // An initial window of 0 for streams.
    wire.frame(kind::SETTINGS, flag::NONE, 0, &[0, 4, 0, 0, 0, 0])
        .await
        .unwrap();
    let fields = with(":path", "/big");
    for n in 0..20 {
        wire.headers(2 * n + 1, true, &fields).await.unwrap();
    }
    o.request(19).await;
    e.client().get("/ordinary").send().await.expect(200);
    // Read ahead up to 1 MiB each by default, not 16.
    assert!(
        resident_kib(e.pid()) < before + 64 * 1024,
        "{} KiB more",
        resident_kib(e.pid()) - before
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_instead_of_frames() {
    let (o, e) = pair("").await;
    for bytes in [
        b"GET / HTTP/1.1\r\nHost: site.test\r\n\r\n".as_slice(),
        &[0xff; 100],
        &[0, 0, 0, 0x04, 0, 0, 0, 0, 1],
    ] {
        let mut wire = e.client().h2_wire().await;
        let _ = wire.write(bytes).await;
        assert!(ends(&mut wire, 1, async |_, _| Ok(())).await);
    }
    assert!(o.requests().is_empty());
}
