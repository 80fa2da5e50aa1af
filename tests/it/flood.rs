//! Many connections and slow ones: what one client may hold, who makes room when all places are taken, and how slow is too slow.

use crate::rig::{
    Client, Connection, Edge, Origin, edge, flag, gate, get, kind, ok, origin, within,
};

const PROXIED: &str =
    "[[listen]]\naddr = \"{listen}\"\nproxy_protocol = true\n[[route]]\nto = \"{o1}\"";

async fn behind_a_balancer(limits: &str) -> (Origin, Edge) {
    let o = origin("o1")
        .on("/hit", ok().max_age(600).body("stored"))
        .on("*", ok().no_store().body("passed"))
        .start()
        .await;
    let e = edge(&format!(
        "[server]\nthreads = 1\n[limits]\n{limits}\n{PROXIED}"
    ));
    let e = e.origin(&o).start().await;
    (o, e)
}

/// A client that a balancer vouches for.
fn of(e: &Edge, client: &str) -> Client {
    let family = if client.contains(':') { "TCP6" } else { "TCP4" };
    let local = if client.contains(':') {
        "::1"
    } else {
        "192.0.2.254"
    };
    e.client()
        .prologue(format!("PROXY {family} {client} {local} 50000 80\r\n"))
}

/// A connection that has been used.
async fn used(c: &Client) -> Connection {
    let mut k = c.connect().await;
    k.get("/a").await.expect(200);
    k
}

/// It ends without an answer, whether it asks or not.
async fn turned_away(k: &mut Connection) {
    let _ = k.try_write(get("/never").head_bytes("site.test")).await;
    assert!(k.rest().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_client_has_so_many_connections_and_no_more() {
    let (o, e) = behind_a_balancer("connections_per_client = 2").await;
    let first = used(&of(&e, "192.0.2.1")).await;
    let mut second = used(&of(&e, "192.0.2.1")).await;
    let mut third = of(&e, "192.0.2.1").connect().await;
    turned_away(&mut third).await;
    second.get("/a").await.expect(200);
    let refused = "forebay_refused_total{reason=\"client-connections\"}";
    e.metric_becomes(refused, 1.0).await;
    // IPv6 is counted by what one customer has.
    let _one = used(&of(&e, "2001:db8::1")).await;
    let _two = used(&of(&e, "2001:db8::2")).await;
    let mut three = of(&e, "2001:db8::3").connect().await;
    turned_away(&mut three).await;
    let _other = used(&of(&e, "2001:db8:0:1::1")).await;
    e.metric_becomes(refused, 2.0).await;
    // A place that is free again is free.
    drop(first);
    e.metric_becomes("forebay_connections", 4.0).await;
    let _again = used(&of(&e, "192.0.2.1")).await;
    assert!(o.requests().iter().all(|r| r.target() != "/never"));
}

#[tokio::test(flavor = "multi_thread")]
async fn trusted_proxies_are_not_counted() {
    let o = origin("o1").on("*", ok().body("v1")).start().await;
    let toml = |trusted: &str| {
        format!(
            "[server]\ntrusted_proxies = [{trusted}]\n[limits]\nconnections_per_client = 2\n[[route]]\nto = \"{{o1}}\""
        )
    };
    let e = edge(&toml("\"loopback\"")).origin(&o).start().await;
    let mut open = Vec::new();
    for _ in 0..5 {
        open.push(used(&e.client()).await);
    }
    e.reload_with(&toml("")).await;
    let mut one_more = e.client().connect().await;
    turned_away(&mut one_more).await;
    for k in &mut open {
        k.get("/a").await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_connections_of_who_holds_most_make_room() {
    let (_o, e) = behind_a_balancer("connections = 6").await;
    let flooding = of(&e, "192.0.2.1");
    let mut modest = used(&of(&e, "192.0.2.2")).await;
    // Some have sent a request, some nothing at all, and some an octet of a head.
    let mut silent = Vec::new();
    for n in 0..5 {
        silent.push(match n % 3 {
            0 => used(&flooding).await,
            1 => flooding.connect().await,
            _ => {
                let mut k = flooding.connect().await;
                k.write("G").await;
                k
            }
        });
    }
    // As many make room as is needed, all of whom flood.
    let late = [3, 4, 5].map(|n| of(&e, &format!("192.0.2.{n}")).get("/late").spawn());
    for late in late {
        late.await.unwrap().expect(200);
    }
    assert!(e.metric("forebay_refused_total{reason=\"shed\"}").await >= 1.0);
    modest.get("/hit").await.expect(200);
    e.stderr("6 connections are open, as many as may be").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_that_do_not_end_make_room() {
    let (_o, e) = behind_a_balancer("connections = 4").await;
    let flooding = of(&e, "192.0.2.1");
    let mut modest = used(&of(&e, "192.0.2.2")).await;
    let mut begun = Vec::new();
    for _ in 0..3 {
        let mut k = flooding.connect().await;
        k.write("GET /a HT").await;
        begun.push(k);
    }
    // No head ends, or is late, by then.
    of(&e, "192.0.2.3").get("/late").send().await.expect(200);
    assert!(e.metric("forebay_refused_total{reason=\"shed\"}").await >= 1.0);
    modest.get("/hit").await.expect(200);
}

/// Bodies that are begun and not sent on, and answers that are asked for and not taken. Each has half a minute else.
#[tokio::test(flavor = "multi_thread")]
async fn what_stands_still_makes_room() {
    let o = origin("o1")
        .on("/large", ok().no_store().body("x".repeat(32 << 20)))
        .on("*", ok().max_age(600).body("stored"))
        .start()
        .await;
    let e = edge(&format!(
        "[server]\nthreads = 1\n[limits]\nconnections = 6\n{PROXIED}"
    ));
    let e = e.origin(&o).start().await;
    let flooding = of(&e, "192.0.2.1");
    let mut modest = used(&of(&e, "192.0.2.2")).await;
    let mut still = Vec::new();
    // Four clients and six places: whoever holds one is left alone, whenever the others leave.
    for begun in [
        "GET /large HTTP/1.1\r\nHost: site.test\r\n\r\n",
        "POST /b HTTP/1.1\r\nHost: site.test\r\nContent-Length: 9\r\n\r\nab",
        "POST /a HTTP/1.1\r\nHost: site.test\r\nContent-Length: 100\r\n\r\nab",
        "GET /large HTTP/1.1\r\nHost: site.test\r\n\r\n",
        "POST /a HTTP/1.1\r\nHost: site.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
    ] {
        let mut k = flooding.connect().await;
        k.write(begun).await;
        still.push(k);
    }
    let late = [3, 4].map(|n| of(&e, &format!("192.0.2.{n}")).get("/late").spawn());
    for late in late {
        late.await.unwrap().expect(200);
    }
    modest.get("/hit").await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_connections_make_room_too() {
    let (_o, e) = behind_a_balancer("connections = 4").await;
    let flooding = of(&e, "192.0.2.1");
    let mut modest = used(&of(&e, "192.0.2.2")).await;
    let mut silent = Vec::new();
    for _ in 0..3 {
        let mut wire = flooding.h2_wire().await;
        wire.frame(kind::PING, flag::NONE, 0, b"are here")
            .await
            .unwrap();
        let here = wire.next_where(|f| f.kind == kind::PING).await;
        assert!(here.is_some());
        silent.push(wire);
    }
    of(&e, "192.0.2.3").get("/late").send().await.expect(200);
    assert!(e.metric("forebay_refused_total{reason=\"shed\"}").await >= 1.0);
    modest.get("/hit").await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_at_work_is_not_asked_for_room() {
    let held = gate();
    let o = origin("o1")
        .on("/slow", ok().no_store().hold(&held).body("v1"))
        .on("*", ok().no_store().body("v1"))
        .start()
        .await;
    let e = edge("[server]\nthreads = 1\n[limits]\nconnections = 3\n[[route]]\nto = \"{o1}\"");
    let e = e.origin(&o).start().await;
    let slow: Vec<_> = (0..2)
        .map(|n| e.client().get(&format!("/slow?{n}")).spawn())
        .collect();
    o.head(1).await;
    let mut idle = used(&e.client()).await;
    e.client().get("/late").send().await.expect(200);
    idle.expect_close().await;
    held.open();
    for slow in slow {
        slow.await.unwrap().expect(200).body("v1");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_trickles() {
    let o = origin("o1").on("*", ok()).start().await;
    let e = edge(
        "[limits]\nbody_timeout = \"3s\"\nbody_rate = \"1MiB\"\n[upstream.o]\nservers = [\"{o1}\"]\nbuffer_request = \"0\"\n[[route]]\nto = \"o\"",
    );
    let e = e.origin(&o).start().await;
    for (path, head, octets) in [
        ("/length", "Content-Length: 1000000", "x"),
        ("/chunks", "Transfer-Encoding: chunked", "1\r\nx\r\n"),
    ] {
        let is_slow =
            |line: &serde_json::Value| line["path"] == path && line["error"] == "body-slow";
        let mut k = e.client().connect().await;
        k.write(format!(
            "POST {path} HTTP/1.1\r\nHost: site.test\r\n{head}\r\n\r\n"
        ))
        .await;
        within("the trickle to be ended", async {
            // A round trip of another client is the pause: an octet is always on its way.
            while k.try_write(octets).await.is_ok() {
                e.admin().get("/healthz").send().await;
                if e.log().iter().any(is_slow) {
                    break;
                }
            }
        })
        .await;
        let line = e.log_where(is_slow).await;
        assert_eq!(line["status"], 408, "{line:#}");
    }
    assert!(o.requests().iter().all(|r| !r.complete));
    let refused = "forebay_refused_total{reason=\"body-slow\"}";
    e.metric_becomes(refused, 2.0).await;
    // Who sends at all sends faster.
    e.client()
        .post("/b", "x".repeat(100_000))
        .send()
        .await
        .expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_that_is_opened_octet_by_octet() {
    let o = origin("o1")
        .on("*", ok().no_store().body("x".repeat(1 << 20)))
        .start()
        .await;
    let e =
        edge("[limits]\nwrite_timeout = \"1s\"\nwrite_rate = \"1MiB\"\n[[route]]\nto = \"{o1}\"");
    let e = e.origin(&o).start().await;
    let mut wire = e.client().h2_wire().await;
    // Streams begin with a window of one octet.
    wire.frame(kind::SETTINGS, flag::NONE, 0, &[0, 4, 0, 0, 0, 1])
        .await
        .unwrap();
    let fields = [
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "site.test"),
        (":path", "/big"),
    ];
    wire.headers(1, true, &fields).await.unwrap();
    within("the drip to be ended", async {
        loop {
            let frame = wire.next().await.expect("the connection goes on");
            match frame.kind {
                kind::DATA => {
                    let one = 1_u32.to_be_bytes();
                    wire.frame(kind::WINDOW_UPDATE, flag::NONE, 1, &one)
                        .await
                        .unwrap();
                    e.admin().get("/healthz").send().await;
                }
                kind::RST_STREAM => break,
                _ => {}
            }
        }
    })
    .await;
    let line = e.log_line("/big").await;
    assert_eq!(line["end"], "timed_out", "{line:#}");
}

/// The head of a GET, without `END_HEADERS`.
const OPEN: &[u8] = &[0x82, 0x86, 0x84];

#[tokio::test(flavor = "multi_thread")]
async fn an_http2_head_that_never_ends() {
    let o = origin("o1").on("*", ok()).start().await;
    let e = edge("[limits]\nhead_timeout = \"500ms\"\n[[route]]\nto = \"{o1}\"");
    let e = e.origin(&o).start().await;
    let mut wire = e.client().h2_wire().await;
    wire.frame(kind::HEADERS, flag::NONE, 1, OPEN)
        .await
        .unwrap();
    within("the head to be ended", async {
        // A field of two octets, each time that another client has had its turn.
        while wire
            .frame(kind::CONTINUATION, flag::NONE, 1, b"\x00\x01a\x01b")
            .await
            .is_ok()
        {
            e.admin().get("/healthz").send().await;
            if (e.metric("forebay_connections").await).abs() < f64::EPSILON {
                break;
            }
        }
    })
    .await;
    e.metric_becomes("forebay_connections", 0.0).await;
    assert!(o.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_http2_head_that_stops_beside_a_request_that_is_answered() {
    let held = gate();
    let o = origin("o1")
        .on("/slow", ok().hold(&held).body("v1"))
        .start()
        .await;
    let e = edge("[limits]\nhead_timeout = \"500ms\"\n[[route]]\nto = \"{o1}\"");
    let e = e.origin(&o).start().await;
    let mut wire = e.client().h2_wire().await;
    let fields = [
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "site.test"),
        (":path", "/slow"),
    ];
    wire.headers(1, true, &fields).await.unwrap();
    // A request is under way, so the connection is not idle.
    o.head(0).await;
    wire.frame(kind::HEADERS, flag::NONE, 3, OPEN)
        .await
        .unwrap();
    // ENHANCE_YOUR_CALM.
    assert_eq!(wire.goaway().await, Some(11));
    e.metric_becomes("forebay_refused_total{reason=\"head-timeout\"}", 1.0)
        .await;
    let line = e.log_where(|line| line["error"] == "head-timeout").await;
    assert_eq!(
        (&line["client"], &line["end"]),
        (&"127.0.0.1".into(), &"refused".into())
    );
}
