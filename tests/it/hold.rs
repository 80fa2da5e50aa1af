//! Requests wait for a backend that is not there yet, in bounded number and time, and are woken when it comes.

use crate::rig::{Edge, Origin, edge, gate, get, ok, origin, post, status};

const HELD: &str = "forebay_upstream_held{upstream=\"o\"}";

fn upstream(settings: &str) -> String {
    format!("[upstream.o]\nservers = [\"{{o1}}\"]\n{settings}\n[[route]]\nname = \"r\"\nto = \"o\"")
}

/// An edge whose origin is not listening yet.
async fn ahead_of_its_origin(settings: &str) -> (Origin, Edge) {
    let o = origin("o1").on("*", ok().body("v1"));
    let e = edge(&upstream(settings)).origin(&o).start().await;
    (o, e)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_edge_starts_without_any_backend() {
    let (_o, e) = ahead_of_its_origin("").await;
    e.admin().get("/healthz").send().await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_that_was_held_in_vain_says_so() {
    let (_o, e) = ahead_of_its_origin("hold = \"10ms\"").await;
    let got = e.client().request(post("/x", "body")).send().await;
    let got = got.expect(503);
    let said = got.head.get("cache-status").unwrap_or_default();
    assert!(said.contains("fwd=method; detail=hold_expired"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_clients_wait_and_are_served_when_the_backend_appears() {
    let (mut o, e) = ahead_of_its_origin("hold = \"30s\"").await;
    let waiting: Vec<_> = (0..20)
        .map(|n| e.client().get(&format!("/{n}")).spawn())
        .collect();
    e.metric_becomes(HELD, 20.0).await;
    o.up().await;
    let up = forebay::clock::now();
    for answer in waiting {
        answer.await.unwrap().expect(200).body("v1");
    }
    // Half a second is the promise; a busy machine gets some more.
    assert!(
        up.elapsed().as_secs_f64() < 2.0,
        "the last was answered {:?} after the start",
        up.elapsed()
    );
    assert_eq!(o.requests().len(), 20);
    e.metric_becomes(HELD, 0.0).await;
    let line = e.log_line("/7").await;
    assert!(
        line["hold_ms"].as_f64().is_some_and(|ms| ms > 0.0),
        "{line:#}"
    );
    // One line when it begins and one when it ends, not one a request.
    let about = e
        .stderr_lines()
        .iter()
        .filter(|l| l.contains("hold") || l.contains("held"))
        .count();
    assert!(
        (1..=4).contains(&about),
        "{about} lines about holding: {:#?}",
        e.stderr_lines()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn posts_are_held_too_and_sent_once() {
    let (mut o, e) = ahead_of_its_origin("hold = \"30s\"").await;
    let waiting = tokio::spawn(e.client().request(post("/write", "hello")).send());
    e.metric_becomes(HELD, 1.0).await;
    o.up().await;
    waiting.await.unwrap().expect(200);
    assert_eq!(o.requests().len(), 1);
    assert_eq!(o.request(0).await.text(), "hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_requests_are_held_too() {
    let (mut o, e) = ahead_of_its_origin("hold = \"30s\"").await;
    let h2 = e.client().h2().await;
    let waiting: Vec<_> = (0..5)
        .map(|n| {
            let h2 = h2.clone();
            tokio::spawn(async move { h2.get(&format!("/{n}")).await })
        })
        .collect();
    e.metric_becomes(HELD, 5.0).await;
    o.up().await;
    for answer in waiting {
        answer.await.unwrap().expect(200).body("v1");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_in_the_middle_is_not_noticed() {
    let (mut o, e) = ahead_of_its_origin("hold = \"30s\"").await;
    o.up().await;
    let mut k = e.client().connect().await;
    k.get("/before").await.expect(200);
    for _ in 0..5 {
        o.down().await;
        k.start(&get("/during")).await;
        e.metric_becomes(HELD, 1.0).await;
        o.up().await;
        k.response("GET").await.expect(200).body("v1");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unix_socket_that_is_not_there_yet_is_waited_for() {
    let mut o = origin("o1").on("*", ok().body("v1")).unix();
    let e = edge(&upstream("hold = \"30s\"")).origin(&o).start().await;
    let waiting = e.client().get("/a").spawn();
    e.metric_becomes(HELD, 1.0).await;
    o.up().await;
    waiting.await.unwrap().expect(200).body("v1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_does_not_resolve_is_waited_for() {
    let o = origin("o1").on("*", ok().body("v1")).start().await;
    let port = o.addr().rsplit(':').next().unwrap().to_owned();
    let toml = upstream("hold = \"30s\"").replace("{o1}", "http://app.test:{port}");
    let e = edge(&toml).value("port", &port).hosts("").start().await;
    let waiting = e.client().get("/a").spawn();
    e.metric_becomes(HELD, 1.0).await;
    // The container gets its name.
    e.set_hosts("127.0.0.1 app.test\n");
    waiting.await.unwrap().expect(200).body("v1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_moves_is_followed() {
    // The same port on two loopback addresses: the container was recreated elsewhere.
    let o = origin("o1").on("*", ok().body("old")).start().await;
    let port = o.addr().rsplit(':').next().unwrap().to_owned();
    let n = origin("o2")
        .on("*", ok().body("new"))
        .at(&format!("127.0.0.2:{port}"))
        .start()
        .await;
    let toml = upstream("hold = \"30s\"\ndns_ttl_max = \"200ms\"")
        .replace("{o1}", "http://app.test:{port}");
    let e = edge(&toml)
        .value("port", &port)
        .hosts("127.0.0.1 app.test\n")
        .start()
        .await;
    e.client().get("/a").send().await.expect(200).body("old");
    let mut o = o;
    e.set_hosts("127.0.0.2 app.test\n");
    o.down().await;
    e.client().get("/b").send().await.expect(200).body("new");
    assert_eq!(n.requests().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_that_expires_says_when_to_come_back() {
    let (_o, e) = ahead_of_its_origin("hold = \"300ms\"").await;
    let began = forebay::clock::now();
    let got = e.client().get("/a").send().await;
    assert!(
        [502, 503, 504].contains(&got.status) && got.cut.is_none(),
        "{got:#?}"
    );
    assert!(began.elapsed().as_millis() >= 300, "{:?}", began.elapsed());
    assert!(got.value("retry-after").parse::<u32>().is_ok(), "{got:#?}");
    e.metric_becomes(HELD, 0.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_shares_a_fetch_late_is_held_anew() {
    let mut o = origin("o1").on("*", ok().body("v1"));
    let nobody = origin("o2");
    let toml = "[upstream.o]\nservers = [\"{o1}\"]\nhold = \"2s\"\n[upstream.clock]\nservers = [\"{o2}\"]\nhold = \"1200ms\"\n\
                [[route]]\nto = \"o\"\n[[route]]\npath = \"/clock\"\nto = \"clock\"";
    let e = edge(toml).origin(&o).origin(&nobody).start().await;
    let early = e.client().get("/a").spawn();
    e.metric_becomes(HELD, 1.0).await;
    // More than half of the fetch's hold is over when this one's is.
    e.client().get("/clock").send().await.expect(503);
    let late = e.client().get("/a").spawn();
    e.metric_becomes("forebay_cache_followers", 2.0).await;
    early.await.unwrap().expect(503);
    o.up().await;
    late.await.unwrap().expect(200).body("v1");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_hold_the_answer_is_immediate() {
    let (_o, e) = ahead_of_its_origin("hold = \"0s\"").await;
    let got = e.client().get("/a").send().await;
    assert!([502, 503].contains(&got.status), "{got:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_hold_max_are_shed() {
    let (mut o, e) = ahead_of_its_origin("hold = \"30s\"\nhold_max = 2").await;
    let waiting: Vec<_> = (0..2)
        .map(|n| e.client().get(&format!("/{n}")).spawn())
        .collect();
    e.metric_becomes(HELD, 2.0).await;
    let got = e.client().get("/third").send().await.expect(503);
    assert!(got.value("retry-after").parse::<u32>().is_ok(), "{got:#?}");
    o.up().await;
    for answer in waiting {
        answer.await.unwrap().expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_frees_its_place() {
    let (mut o, e) = ahead_of_its_origin("hold = \"10m\"\nhold_max = 1").await;
    let mut leaving = e.client().connect().await;
    leaving.start(&get("/leaving")).await;
    e.metric_becomes(HELD, 1.0).await;
    drop(leaving);
    e.metric_becomes(HELD, 0.0).await;
    let waiting = e.client().get("/staying").spawn();
    e.metric_becomes(HELD, 1.0).await;
    o.up().await;
    waiting.await.unwrap().expect(200);
    assert_eq!(
        o.requests().len(),
        1,
        "the request of the client that left is not sent"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_http2_stream_that_is_reset_frees_its_place() {
    let (_o, e) = ahead_of_its_origin("hold = \"10m\"").await;
    let h2 = e.client().h2().await;
    let mut call = h2.call(&get("/leaving"), true).await.unwrap();
    e.metric_becomes(HELD, 1.0).await;
    call.body.send_reset(h2::Reason::CANCEL);
    e.metric_becomes(HELD, 0.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_starting_app_that_says_503_is_waited_for_where_the_route_says_so() {
    let starting = status(503).body("starting");
    let o = origin("o1")
        .on("/a", starting.clone())
        .then(starting.clone())
        .then(ok().body("v1"))
        .on("/plain", starting.clone())
        .on("/post", starting);
    let o = o.start().await;
    let toml = "[upstream.o]\nservers = [\"{o1}\"]\nhold = \"20s\"\neject = { failures = 0, duration = \"1s\" }\n[[route]]\npath = \"/plain\"\nto = \"o\"\n[[route]]\nto = \"o\"\nhold_on = [503]";
    let e = edge(toml).origin(&o).start().await;
    e.client().get("/a").send().await.expect(200).body("v1");
    assert_eq!(o.requests().len(), 3);
    // Not where the route does not say so, and not for what may not be sent twice.
    e.client()
        .get("/plain")
        .send()
        .await
        .expect(503)
        .body("starting");
    e.client()
        .post("/post", "x")
        .send()
        .await
        .expect(503)
        .body("starting");
    assert_eq!(o.requests().len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_upstreams_do_not_wait_with_it() {
    let o = origin("o1").on("*", ok().body("v1"));
    let there = origin("there").on("*", ok().body("there")).start().await;
    let toml = format!(
        "{}\n[[route]]\npath = \"/there\"\nto = \"{{there}}\"",
        upstream("hold = \"30s\"")
    );
    let e = edge(&toml).origin(&o).origin(&there).start().await;
    let wait = |n| e.client().get(&format!("/a?{n}")).spawn();
    let _waiting: Vec<_> = (0..50).map(wait).collect();
    e.metric_becomes(HELD, 50.0).await;
    for _ in 0..10 {
        e.client()
            .get("/there")
            .send()
            .await
            .expect(200)
            .body("there");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ramp_protects_a_cold_backend() {
    let slow = gate();
    let mut o = origin("o1").on("*", ok().hold(&slow).body("v1"));
    let e = edge(&upstream("hold = \"30s\"\nmax_in_flight = 4"))
        .origin(&o)
        .start()
        .await;
    let waiting: Vec<_> = (0..20)
        .map(|n| e.client().get(&format!("/{n}")).spawn())
        .collect();
    e.metric_becomes(HELD, 20.0).await;
    o.up().await;
    o.request(3).await;
    // Four are with the backend and none of them has been answered: nobody else may have been sent.
    assert_eq!(o.requests().len(), 4);
    slow.open();
    for answer in waiting {
        answer.await.unwrap().expect(200);
    }
    assert_eq!(o.requests().len(), 20);
}
