//! Servers that are left out: by active checks, and by what requests saw of them, but never the last one.

use crate::rig::{Edge, edge, gate, ok, origin, reset, status};

/// The server of upstream "o" at `addr`, as `/upstreams` shows it, has this health.
async fn becomes(e: &Edge, addr: &str, up: f64) {
    e.metric_becomes(&format!("forebay_upstream_up{{server=\"{addr}\"}}"), up)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_http_check_takes_a_server_out_and_back() {
    let sick = origin("sick")
        .on("/healthz", status(500))
        .on("*", ok().body("sick"))
        .start()
        .await;
    let well = origin("well")
        .on("/healthz", ok())
        .on("*", ok().body("well"))
        .start()
        .await;
    let toml = "[upstream.o]\nservers = [\"{sick}\", \"{well}\"]\nhealth = { path = \"/healthz\", every = \"50ms\", every_down = \"50ms\", unhealthy = 2, healthy = 2 }\n[[route]]\nto = \"o\"";
    let e = edge(toml).origin(&sick).origin(&well).start().await;
    becomes(&e, sick.addr(), 0.0).await;
    for _ in 0..10 {
        e.client().get("/a").send().await.expect(200).body("well");
    }
    let probe = sick
        .requests()
        .into_iter()
        .find(|r| r.target() == "/healthz")
        .unwrap();
    assert_eq!(
        (probe.method(), probe.header("host")),
        ("GET", Some(sick.addr()))
    );
    sick.change("/healthz", ok());
    becomes(&e, sick.addr(), 1.0).await;
    let mut seen = String::new();
    for _ in 0..10 {
        seen += &e.client().get("/a").send().await.expect(200).text();
    }
    assert!(seen.contains("sick"), "back in turn: {seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn which_statuses_are_healthy_and_which_host_is_asked() {
    let o = origin("o1")
        .on("/ping", status(418))
        .on("*", ok().body("v1"))
        .start()
        .await;
    let toml = "[upstream.o]\nservers = [\"{o1}\"]\nhold = \"0s\"\nhealth = { path = \"/ping\", every = \"50ms\", every_down = \"50ms\", status = [418], host = \"app.internal\" }\n[[route]]\nto = \"o\"";
    let e = edge(toml).origin(&o).start().await;
    o.request(1).await;
    becomes(&e, o.addr(), 1.0).await;
    assert_eq!(o.requests()[0].header("host"), Some("app.internal"));
    e.client().get("/a").send().await.expect(200);
    o.change("/ping", ok());
    becomes(&e, o.addr(), 0.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_without_an_answer_fails() {
    let never = gate();
    let o = origin("o1")
        .on("/healthz", ok().hold(&never).body(""))
        .on("*", ok().body("v1"))
        .start()
        .await;
    let toml = "[upstream.o]\nservers = [\"{o1}\"]\nhealth = { path = \"/healthz\", every = \"50ms\", every_down = \"50ms\", timeout = \"100ms\", unhealthy = 1 }\n[[route]]\nto = \"o\"";
    let e = edge(toml).origin(&o).start().await;
    becomes(&e, o.addr(), 0.0).await;
    o.disconnected(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tcp_check_wakes_who_waits() {
    let mut o = origin("o1").on("*", ok().body("v1"));
    let toml = "[upstream.o]\nservers = [\"{o1}\"]\nhold = \"30s\"\nhealth = { tcp = true, every = \"50ms\", every_down = \"50ms\" }\n[[route]]\nto = \"o\"";
    let e = edge(toml).origin(&o).start().await;
    becomes(&e, o.addr(), 0.0).await;
    let waiting = e.client().get("/a").spawn();
    e.metric_becomes("forebay_upstream_held", 1.0).await;
    o.up().await;
    waiting.await.unwrap().expect(200).body("v1");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_unhealthy_is_held_like_all_absent() {
    let o = origin("o1")
        .on("/healthz", status(500))
        .on("*", ok().body("v1"))
        .start()
        .await;
    let toml = "[upstream.o]\nservers = [\"{o1}\"]\nhold = \"30s\"\nhealth = { path = \"/healthz\", every = \"50ms\", every_down = \"50ms\", unhealthy = 1 }\n[[route]]\nto = \"o\"";
    let e = edge(toml).origin(&o).start().await;
    becomes(&e, o.addr(), 0.0).await;
    let waiting = e.client().get("/a").spawn();
    e.metric_becomes("forebay_upstream_held", 1.0).await;
    o.change("/healthz", ok());
    waiting.await.unwrap().expect(200).body("v1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_fails_requests_is_ejected_for_a_while() {
    let bad = origin("bad").on("*", reset()).start().await;
    let good = origin("good").on("*", ok().body("good")).start().await;
    let toml = "[upstream.o]\nservers = [\"{bad}\", \"{good}\"]\neject = { failures = 2, duration = \"60s\" }\n[[route]]\nto = \"o\"";
    let e = edge(toml).origin(&bad).origin(&good).start().await;
    for _ in 0..30 {
        e.client().get("/a").send().await.expect(200).body("good");
    }
    assert_eq!(
        bad.requests().len(),
        2,
        "two failures, then no more requests"
    );
    e.metric_becomes("forebay_upstream_ejections_total", 1.0)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ejection_ends() {
    let bad = origin("bad")
        .on("*", reset())
        .then(reset())
        .then(ok().body("recovered"))
        .start()
        .await;
    let good = origin("good").on("*", ok().body("good")).start().await;
    let toml = "[upstream.o]\nservers = [\"{bad}\", \"{good}\"]\neject = { failures = 2, duration = \"300ms\" }\n[[route]]\nto = \"o\"";
    let e = edge(toml).origin(&bad).origin(&good).start().await;
    // Until it serves again: requests are the only way to find out.
    crate::rig::within("the ejected server to be asked again", async {
        while e.client().get("/a").send().await.expect(200).text() != "recovered" {}
    })
    .await;
    assert!(bad.requests().len() >= 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_one_is_never_ejected() {
    let o = origin("o1")
        .on("/bad", reset())
        .on("/503", status(503).body("busy"))
        .on("/good", ok().body("good"))
        .start()
        .await;
    let toml = "[upstream.o]\nservers = [\"{o1}\"]\nhold = \"0s\"\nretry = { tries = 1 }\neject = { failures = 1, duration = \"60s\" }\n[[route]]\nto = \"o\"";
    let e = edge(toml).origin(&o).start().await;
    for _ in 0..5 {
        e.client().get("/bad").send().await.expect(502);
        e.client().get("/503").send().await.expect(503).body("busy");
        e.client()
            .get("/good")
            .send()
            .await
            .expect(200)
            .body("good");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_that_fail_one_stays() {
    let a = origin("a").on("*", status(503).body("a")).start().await;
    let b = origin("b").on("*", status(503).body("b")).start().await;
    let toml = "[upstream.o]\nservers = [\"{a}\", \"{b}\"]\nhold = \"0s\"\neject = { failures = 1, duration = \"60s\" }\n[[route]]\nto = \"o\"";
    let e = edge(toml).origin(&a).origin(&b).start().await;
    for _ in 0..10 {
        e.client().get("/a").send().await.expect(503);
    }
    assert_eq!(
        a.requests().len() + b.requests().len(),
        10,
        "every request was answered by one of them"
    );
}
