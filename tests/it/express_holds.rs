//! What holds of every request holds of those that are answered at once: limits, deadlines, drain, reload, trust, log, metrics.

use crate::express::{asks, given};
use crate::rig::{Client, Edge, Origin, Request, edge, gate, get, ok, origin};
use rustix::process::Signal;
use serde_json::Value;

/// An edge with these lines in front, and `/a` stored.
async fn holding(toml: &str, prologue: &str) -> (Origin, Edge, Client) {
    let o = origin("o1")
        .on("/a", ok().max_age(600).etag("\"v1\"").body("hello"))
        .on("/echo", ok().no_store().echo())
        .start()
        .await;
    let e = edge(&format!(
        "{toml}\n[[route]]\nname = \"app\"\nto = \"{{o1}}\""
    ));
    let e = e.origin(&o).start().await;
    let c = e.client().prologue(prologue);
    c.get("/a").send().await.expect(200);
    (o, e, c)
}

const HIT: &str = "GET /a HTTP/1.1\r\nHost: site.test\r\n\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn limits_of_a_head() {
    let (_o, e, c) = holding("[limits]\nhead = \"4KiB\"\nhead_fields = 60", "").await;
    let mut k = c.connect().await;
    let fields = |n: usize| (0..n).fold(get("/a"), |r, i| r.header(&format!("X-{i}"), "v"));
    // With Host there are 48: as many as the lane reads.
    asks(&e, &mut k, &fields(47), true).await.expect(200);
    asks(&e, &mut k, &fields(48), false).await.expect(200);
    asks(&e, &mut k, &fields(59), false).await.expect(200);
    asks(&e, &mut k, &fields(60), false).await.expect(431);
    k.expect_close().await;
    let mut k = c.connect().await;
    let long = |n: usize| get("/a").header("X", &"v".repeat(n));
    let rest = long(0).head_bytes("site.test").len();
    let exactly = long(4096 - rest);
    asks(&e, &mut k, &exactly, true).await.expect(200);
    let more = long(4096 - rest + 1);
    asks(&e, &mut k, &more, false).await.expect(431);
    k.expect_close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deadlines_between_requests_and_of_a_head() {
    let limits = "[limits]\nidle_timeout = \"1s\"\nhead_timeout = \"500ms\"";
    let (_o, e, c) = holding(limits, "").await;
    let mut k = c.connect().await;
    asks(&e, &mut k, &get("/a"), true).await.expect(200);
    k.expect_close().await;
    let mut k = c.connect().await;
    k.write([HIT, &HIT[..12]].concat()).await;
    k.response("GET").await.expect(200).body("hello");
    k.response("GET").await.expect(408);
    k.expect_close().await;
    assert!(
        e.metric("forebay_refused_total{reason=\"head-timeout\"}")
            .await
            > 0.0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_is_given_up() {
    let large = "x".repeat(16 << 20);
    let o = origin("o1").on("/large", ok().max_age(600).body(&large));
    let o = o.start().await;
    let route = "[[route]]\nto = \"{o1}\"";
    let e = edge(route).origin(&o).start().await;
    let c = e.client();
    c.get("/large").send().await.expect(200);
    // From here on: whoever fetched it may have taken its time.
    e.reload_with(&format!("{route}\n[limits]\nwrite_timeout = \"500ms\""))
        .await;
    let before = given(&e).await;
    let mut k = c.connect().await;
    k.start(&get("/large")).await;
    k.start(&get("/large")).await;
    let line = e.log_where(|line| line["end"] == "timed_out").await;
    assert_eq!(
        (&line["status"], &line["path"]),
        (&200.into(), &"/large".into())
    );
    // What it was not sent is not counted as sent.
    let sent = line["bytes_out"].as_u64().expect("a number");
    assert!(sent < large.len() as u64, "{sent}");
    assert!(given(&e).await > before);
    e.metric_becomes("forebay_connections", 0.0).await;
    let got = c.head("/large").send().await.expect(200);
    got.header("content-length", &large.len().to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn close_and_keep_alive() {
    let (_o, e, c) = holding("", "").await;
    let mut k = c.connect().await;
    let kept = get("/a").header("Connection", "keep-alive");
    let got = asks(&e, &mut k, &kept, true).await.expect(200);
    got.no_header("connection");
    let last = get("/a").header("Connection", "CLOSE");
    let got = asks(&e, &mut k, &last, true).await.expect(200);
    got.header("connection", "close").body("hello");
    k.expect_close().await;
    // What comes behind the last is not answered.
    let before = given(&e).await;
    let mut k = c.connect().await;
    let last = HIT.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
    k.write([&last, HIT].concat()).await;
    k.response("GET").await.expect(200);
    k.expect_close().await;
    assert!((given(&e).await - before - 1.0).abs() < f64::EPSILON);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain() {
    let held = gate();
    let o = origin("o1")
        .on("/a", ok().max_age(600).body("hello"))
        .on("/slow", ok().hold(&held).body("slow"))
        .start()
        .await;
    let mut e = edge("[[route]]\nto = \"{o1}\"").origin(&o).start().await;
    let c = e.client();
    c.get("/a").send().await.expect(200);
    // It keeps the program from ending before all is seen.
    let slow = c.get("/slow").spawn();
    o.head(1).await;
    let mut kept = Vec::new();
    for _ in 0..8 {
        let mut k = c.connect().await;
        asks(&e, &mut k, &get("/a"), true).await.expect(200);
        kept.push(k);
    }
    let before = given(&e).await;
    e.signal(Signal::TERM);
    crate::rig::within("readiness to turn", async {
        while e.admin().get("/readyz").send().await.status != 503 {}
    })
    .await;
    // The silence lasts a second: a machine that is busy may have let it pass.
    let got = kept[0].get("/a").await;
    if got.cut.is_none() {
        got.expect(200).header("connection", "close").body("hello");
        assert!((given(&e).await - before - 1.0).abs() < f64::EPSILON);
    }
    for k in &mut kept {
        k.expect_close().await;
    }
    held.open();
    slow.await.unwrap().expect(200).body("slow");
    assert_eq!(e.wait_exit().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_is_seen_by_the_next_request() {
    let route = "[[route]]\nname = \"app\"\nto = \"{o1}\"";
    let (o, e, c) = holding("", "").await;
    let mut k = c.connect().await;
    let got = asks(&e, &mut k, &get("/a"), true).await.expect(200);
    got.no_header("x-new");
    e.reload_with(&format!(
        "{route}\nresponse_headers = {{ set = {{ X-New = \"1\" }}, remove = [\"ETag\"] }}"
    ))
    .await;
    let got = asks(&e, &mut k, &get("/a"), true).await.expect(200);
    got.header("x-new", "1").no_header("etag").body("hello");
    // A limit, too.
    e.reload_with(&format!("{route}\n[limits]\nhead_fields = 2"))
        .await;
    asks(&e, &mut k, &get("/a").header("A", "b"), true)
        .await
        .expect(200);
    e.reload_with(&format!("{route}\ncache = false")).await;
    asks(&e, &mut k, &get("/a"), false).await.expect(200);
    e.reload_with("[[route]]\npath = \"/other\"\nto = \"{o1}\"")
        .await;
    asks(&e, &mut k, &get("/a"), false).await.expect(404);
    assert_eq!(o.requests().len(), 2);
}

/// Waits until the log has so many lines.
pub async fn lines_are(e: &Edge, lines: usize) {
    crate::rig::within("lines of the access log", async {
        while e.log().len() < lines {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// Of two lines of the log, all that must be equal.
pub fn comparable(mut line: Value) -> Value {
    let fields = line.as_object_mut().expect("a line is an object");
    fields.retain(|name, _| !name.ends_with("_ms") && name != "ts" && name != "id");
    // How often a failing server is asked is a matter of the budget for that, which fills with time.
    if fields.contains_key("error") {
        fields.retain(|name, _| name != "tries" && name != "retry_reason");
    }
    // A second may have passed in between.
    for counted in ["cache_age", "cache_ttl"] {
        if fields.contains_key(counted) {
            fields.insert(counted.to_owned(), "there".into());
        }
    }
    line
}

/// The same request, to be answered by the proxy: an empty line in front is not of the lane's grammar, and of no meaning.
pub fn slowly(asked: &Request, host: &str) -> Vec<u8> {
    [b"\r\n", &*asked.head_bytes(host)].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_and_the_metrics_say_the_same_of_both_lanes() {
    let (_o, e, c) = holding("[server]\ntrusted_proxies = [\"loopback\"]", "").await;
    let mut k = c.connect().await;
    for (n, asked) in [
        get(&format!("/a?{}", "x".repeat(5000))),
        get("/a"),
        crate::rig::head("/a"),
        get("/a").header("If-None-Match", "\"v1\""),
        get("/a").header("Range", "bytes=1-2"),
        get("/b/../%61").header("User-Agent", "rig/1 \"x\" \u{e9}"),
        get("/a")
            .host("SITE.test:80")
            .header("Referer", "http://x/"),
        get("/a").header("X-Forwarded-For", "203.0.113.9, 127.0.0.1"),
        get("/a").header("X-Forwarded-For", "no address"),
        get("/a").header("X-Request-Id", "given-1"),
    ]
    .into_iter()
    .enumerate()
    {
        // It is there by now, for both. What has a line is counted.
        k.send(&asked).await;
        lines_are(&e, 2 + 3 * n).await;
        let requests = e.metric("forebay_requests_total").await;
        let hits = e
            .metric("forebay_cache_requests_total{result=\"hit\"}")
            .await;
        asks(&e, &mut k, &asked, true).await;
        let own = given(&e).await;
        k.write(slowly(&asked, "site.test")).await;
        k.response(&asked.method).await;
        let counted = [
            ("forebay_requests_total", requests + 2.0),
            ("forebay_cache_requests_total{result=\"hit\"}", hits + 2.0),
            ("forebay_express_answers_total", own),
        ];
        for (metric, value) in counted {
            e.metric_becomes(metric, value).await;
        }
        // One line for the first of all, three for each row.
        lines_are(&e, 4 + 3 * n).await;
        let mut lines = e.log();
        let slow = comparable(lines.pop().unwrap());
        let at_once = comparable(lines.pop().unwrap());
        assert_eq!(at_once, slow, "{asked:#?}");
    }
    let ids = e.log();
    let given = ids.iter().filter(|line| line["id"] == "given-1").count();
    assert_eq!(given, 3, "{ids:#?}");
    let of = |client: &str| ids.iter().filter(|l| l["client"] == client).count();
    assert_eq!((of("203.0.113.9"), of("127.0.0.1")), (3, ids.len() - 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strangers_claims_are_not_believed() {
    let (_o, e, c) = holding("", "").await;
    let mut k = c.connect().await;
    let claiming = get("/a")
        .header("X-Request-Id", "mine")
        .header("X-Forwarded-For", "203.0.113.9")
        .header("X-Forwarded-Proto", "https");
    let overriding = claiming.clone().header("X-HTTP-Method-Override", "DELETE");
    asks(&e, &mut k, &overriding, true).await.expect(200);
    let got = asks(&e, &mut k, &claiming, true).await.expect(200);
    assert!(got.value("x-request-id") != "mine", "{got:#?}");
    let id = got.value("x-request-id").to_owned();
    let line = e.log_where(|line| line["id"] == *id).await;
    assert_eq!(line["client"], "127.0.0.1");

    // A trusted proxy's are: its scheme makes it another target.
    let (_o, e, c) = holding("[server]\ntrusted_proxies = [\"loopback\"]", "").await;
    let mut k = c.connect().await;
    asks(&e, &mut k, &claiming, false).await.expect(200);
    let got = asks(&e, &mut k, &claiming, true).await.expect(200);
    let got = got.header("x-request-id", "mine");
    got.cache_status("hit");
    let line = e.log_where(|line| line["id"] == "mine").await;
    assert_eq!(line["client"], "203.0.113.9");
    // What the key does not hold is for the full lane, and for nobody else.
    let got = asks(&e, &mut k, &overriding, false).await.expect(200);
    got.cache_status("detail=unkeyed-claim");
    // What is no plain word is not taken over.
    let odd = get("/a").header("X-Request-Id", "a b");
    let got = asks(&e, &mut k, &odd, true).await.expect(200);
    assert_eq!(got.value("x-request-id").len(), 32);
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_the_proxy_protocol() {
    let listen = "[[listen]]\naddr = \"{listen}\"\nproxy_protocol = true";
    let header = "PROXY TCP4 203.0.113.7 192.0.2.1 56789 80\r\n";
    let (_o, e, c) = holding(listen, header).await;
    let mut k = c.connect().await;
    let got = asks(&e, &mut k, &get("/a"), true).await.expect(200);
    let id = got.value("x-request-id").to_owned();
    let line = e.log_where(|line| line["id"] == *id).await;
    assert_eq!(line["client"], "203.0.113.7");
    // In one piece with its first request.
    let before = given(&e).await;
    let mut k = e.client().connect().await;
    k.write([header, HIT, HIT].concat()).await;
    k.response("GET").await.expect(200).body("hello");
    k.response("GET").await.expect(200).body("hello");
    assert!((given(&e).await - before - 2.0).abs() < f64::EPSILON);
}
