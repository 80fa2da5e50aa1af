//! Deadlines: a client cannot stretch its head, its body or its silence, and a server not its answer.

use crate::rig::{edge, gate, get, ok, origin, within};

fn limits(limits: &str) -> String {
    format!(
        "[limits]\n{limits}\n[upstream.o]\nservers = [\"{{o1}}\"]\nbuffer_request = \"0\"\n[[route]]\nto = \"o\""
    )
}

fn upstream(timeouts: &str) -> String {
    format!(
        "[upstream.o]\nservers = [\"{{o1}}\"]\nhold = \"0s\"\nretry = {{ tries = 1 }}\ntimeouts = {{ {timeouts} }}\n[[route]]\nto = \"o\""
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_has_a_total_deadline() {
    let o = origin("o1").on("*", ok()).start().await;
    let e = edge(&limits("head_timeout = \"500ms\""))
        .origin(&o)
        .start()
        .await;
    let mut k = e.client().connect().await;
    k.write("GET /slow HTTP/1.1\r\nHost: site.test\r\n").await;
    // Progress does not buy time: a line whenever the edge has had its chance to be impressed by the one before.
    let began = forebay::clock::now();
    within("the slow head to be ended", async {
        let mut n = 0;
        while k.try_write(format!("X-{}: v\r\n", n % 50)).await.is_ok()
            && began.elapsed().as_secs() < 20
        {
            n += 1;
            // A round trip of another client is the clock.
            e.admin().get("/healthz").send().await;
            if n > 40 {
                break;
            }
        }
    })
    .await;
    let got = k.response("GET").await;
    assert!(
        [408, 431].contains(&got.status) || got.cut.is_some(),
        "{got:#?}"
    );
    k.rest().await;
    assert!(o.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_slow_heads_hurt_nobody_and_end() {
    let o = origin("o1").on("*", ok().body("v1")).start().await;
    let e = edge(&limits("head_timeout = \"1s\""))
        .origin(&o)
        .start()
        .await;
    let mut slow = Vec::new();
    for _ in 0..200 {
        let mut k = e.client().connect().await;
        k.write("GET /slow HTTP/1.1\r\nHost: site.test\r\nX-").await;
        slow.push(k);
    }
    for _ in 0..20 {
        e.client().get("/ordinary").send().await.expect(200);
    }
    for k in &mut slow {
        k.response("GET").await.expect(408);
        k.expect_close().await;
    }
    assert_eq!(o.requests().len(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_before_the_first_byte_and_between_requests() {
    let o = origin("o1").on("*", ok().body("v1")).start().await;
    let e = edge(&limits(
        "idle_timeout = \"300ms\"\nhead_timeout = \"300ms\"",
    ))
    .origin(&o)
    .start()
    .await;
    let mut silent = e.client().connect().await;
    // No request, so nothing to answer.
    let rest = silent.rest().await;
    assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 408"));
    let mut k = e.client().connect().await;
    k.get("/a").await.expect(200);
    k.expect_close().await;
    e.client().h2().await.get("/a").await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_stops() {
    let o = origin("o1").on("*", ok().body("v1")).start().await;
    let e = edge(&limits("body_timeout = \"300ms\""))
        .origin(&o)
        .start()
        .await;
    let mut k = e.client().connect().await;
    k.write("POST /a HTTP/1.1\r\nHost: site.test\r\nContent-Length: 10\r\n\r\nhello")
        .await;
    k.response("POST").await.expect(408);
    k.expect_close().await;
    assert!(o.requests().iter().all(|r| !r.complete));
    let refused = "forebay_refused_total{reason=\"body-timeout\"}";
    e.metric_becomes(refused, 1.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_is_cut() {
    let big = "0123456789abcdef".repeat(4 << 20);
    let o = origin("o1").on("/big", ok().body(&big)).start().await;
    let e = edge(&limits("write_timeout = \"300ms\""))
        .origin(&o)
        .start()
        .await;
    let mut k = e.client().connect().await;
    k.start(&get("/big")).await;
    let line = e.log_line("/big").await;
    assert_ne!(line["end"], "complete", "{line:#}");
    let got = k.response("GET").await;
    assert!(
        got.cut.is_some(),
        "{} bytes of {}",
        got.body.content.len(),
        big.len()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn no_first_byte_is_504() {
    let never = gate();
    let o = origin("o1")
        .on("/never", ok().hold(&never).body("v1"))
        .on("*", ok().body("v1"))
        .start()
        .await;
    let e = edge(&upstream("first_byte = \"300ms\""))
        .origin(&o)
        .start()
        .await;
    let mut k = e.client().connect().await;
    k.get("/never").await.expect(504);
    k.get("/a").await.expect(200);
    o.disconnected(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_within_an_answer_cuts_it() {
    let never = gate();
    let o = origin("o1")
        .on("/length", ok().length(10).data("hello").hold(&never))
        .on("/chunked", ok().chunks(["hello"]).hold(&never))
        .start()
        .await;
    let e = edge(&upstream("between_bytes = \"300ms\""))
        .origin(&o)
        .start()
        .await;
    for path in ["/length", "/chunked"] {
        e.client().get(path).send().await.expect_cut(200);
        let over_h2 = e.client().h2().await.get(path).await;
        assert!(over_h2.cut.is_some(), "{over_h2:#?}");
        assert_ne!(e.log_line(path).await["end"], "complete");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_total_deadline_counts_everything() {
    let never = gate();
    let o = origin("o1")
        .on("/never", ok().hold(&never).body("v1"))
        .on("/drip", ok().length(10).data("hello").hold(&never))
        .start()
        .await;
    let e = edge(&upstream("total = \"400ms\""))
        .origin(&o)
        .start()
        .await;
    e.client().get("/never").send().await.expect(504);
    e.client().get("/drip").send().await.expect_cut(200);

    let absent = "[upstream.o]\nservers = [\"http://127.0.0.1:1\"]\nhold = \"60s\"\ntimeouts = { total = \"400ms\" }\n[[route]]\nto = \"o\"";
    let e = edge(absent).start().await;
    let got = e.client().get("/held").send().await;
    assert!([503, 504].contains(&got.status), "{got:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn connecting_has_a_deadline() {
    // A listener whose queue is full takes no more connections, and the kernel stays silent about it.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let full = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    full.bind(
        &"127.0.0.1:0"
            .parse::<std::net::SocketAddr>()
            .unwrap()
            .into(),
    )
    .unwrap();
    full.listen(1).unwrap();
    let addr = full.local_addr().unwrap().as_socket().unwrap();
    let mut fill = Vec::new();
    for _ in 0..4 {
        let socket =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.set_nonblocking(true).unwrap();
        let _ = socket.connect(&addr.into());
        fill.push(socket);
    }
    let toml = upstream("connect = \"300ms\"").replace("{o1}", "http://{full}");
    let e = edge(&toml).value("full", &addr.to_string()).start().await;
    let got = e.client().get("/a").send().await;
    assert!([502, 503, 504].contains(&got.status), "{got:#?}");
    drop((listener, fill));
}
