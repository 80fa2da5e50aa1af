//! The cache when things go wrong: an origin that is away, breaks off or is slow, clients that leave.

use crate::rig::{Step, edge, gate, get, ok, origin, reset, status};

const PLAIN: &str = "[[route]]\nto = \"{o1}\"";
/// Nobody waits for an origin that is not there.
const NO_HOLD: &str = "[upstream.o]\nservers = [\"{o1}\"]\nhold = \"0s\"\n[[route]]\nto = \"o\"";

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_that_breaks_off_is_cut_for_all_and_forgotten() {
    let rest = gate();
    let broken = ok()
        .header("Cache-Control", "max-age=60")
        .length(8)
        .data("one ")
        .hold(&rest)
        .reset();
    let chunked = ok()
        .header("Cache-Control", "max-age=60")
        .chunks(["one "])
        .hold(&rest)
        .cut();
    let whole = || ok().header("Cache-Control", "max-age=60").body("one two.");
    let o = origin("o1")
        .on("/length", broken)
        .then(whole())
        .on("/chunks", chunked)
        .then(whole())
        .start()
        .await;
    let e = edge(PLAIN).origin(&o).start().await;
    let mut clients = Vec::new();
    for path in ["/length", "/chunks", "/length", "/chunks"] {
        let mut k = e.client().connect().await;
        k.start(&get(path)).await;
        k.read_until("one ").await;
        clients.push(k);
    }
    let h2 = e.client().h2().await;
    let call = h2.call(&get("/chunks"), true).await.unwrap();
    let mut stream = call.response.await.unwrap().into_body();
    stream.data().await.unwrap().unwrap();
    rest.open();
    for mut k in clients {
        let rest = String::from_utf8_lossy(&k.rest().await).into_owned();
        assert!(!rest.contains("\r\n0\r\n"), "it looks whole: {rest:?}");
    }
    assert!(stream.data().await.unwrap().is_err(), "a reset, not an end");
    for path in ["/length", "/chunks"] {
        let next = e.client().get(path).send().await.expect(200);
        next.body("one two.");
    }
    let line = e.log_where(|line| line["path"] == "/length").await;
    assert_eq!(line["end"], "upstream_cut");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_shares_a_fetch_that_fails_is_told_so() {
    let held = gate();
    let mut held_reset = reset();
    held_reset.steps.insert(0, Step::Wait(held.clone()));
    let o = origin("o1").on("/a", held_reset).start().await;
    // A retry would be another fetch's business.
    let toml = "[upstream.o]\nservers = [\"{o1}\"]\nhold = \"0s\"\nretry = { tries = 1 }\n[[route]]\nto = \"o\"";
    let e = edge(toml).origin(&o).start().await;
    let clients: Vec<_> = (0..3).map(|_| e.client().get("/a").spawn()).collect();
    o.head(0).await;
    held.open();
    for client in clients {
        let answer = client.await.unwrap().expect(502);
        let said = answer.value("cache-status").to_owned();
        assert!(said.starts_with("edge; fwd="), "{said}");
        assert!(said.contains("; detail="), "{said}");
        answer.header("cache-control", "no-store");
    }
}

/// The first may have made it fail by what it sent: the others ask for themselves, together, and once.
#[tokio::test(flavor = "multi_thread")]
async fn who_shared_a_fetch_that_broke_off_asks_once_more() {
    let (held, second) = (gate(), gate());
    let mut broken = reset();
    broken.steps.insert(0, Step::Wait(held.clone()));
    let page = ok().max_age(60).hold(&second).body("page");
    let o = origin("o1").on("/a", broken).then(page).start().await;
    let toml = "[upstream.o]\nservers = [\"{o1}\"]\nhold = \"0s\"\nretry = { tries = 1 }\n[[route]]\nto = \"o\"";
    let e = edge(toml).origin(&o).start().await;
    let first = e.client().get("/a").header("X-Crash", "1").spawn();
    o.head(0).await;
    let others: Vec<_> = (0..5).map(|_| e.client().get("/a").spawn()).collect();
    e.metric_becomes("forebay_cache_followers", 6.0).await;
    held.open();
    first.await.unwrap().expect(502);
    e.metric_becomes("forebay_cache_followers", 5.0).await;
    second.open();
    for other in others {
        other.await.unwrap().expect(200).body("page");
    }
    assert_eq!(o.fetches("/a"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stale_is_served_while_nobody_is_there() {
    let page = ok()
        .header("Cache-Control", "max-age=60")
        .header("Age", "70")
        .header("ETag", "\"v1\"")
        .body("v1");
    let mut o = origin("o1").on("/a", page).start().await;
    for toml in [NO_HOLD, PLAIN] {
        let e = edge(toml).origin(&o).start().await;
        e.client().get("/a").send().await.expect(200).body("v1");
        o.down().await;
        // Also where requests are held: a stale answer now is better than one later.
        let answer = e.client().get("/a").send().await.expect(200).body("v1");
        let said = answer.value("cache-status");
        assert!(said.contains("detail=stale-if-unreachable"), "{said}");
        let line = e.log_where(|line| line["cache"] == "stale").await;
        assert!(line["duration_ms"].as_f64() < Some(5_000.0), "{line}");
        // What is not stored is not to be had.
        if toml == NO_HOLD {
            e.client().get("/b").send().await.expect(502);
        }
        o.up().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_must_be_validated_is_not_served_stale() {
    let page = ok()
        .header("Cache-Control", "max-age=60, must-revalidate")
        .header("Age", "70")
        .header("ETag", "\"v1\"")
        .body("v1");
    let mut o = origin("o1").on("/a", page).start().await;
    let e = edge(NO_HOLD).origin(&o).start().await;
    e.client().get("/a").send().await.expect(200).body("v1");
    o.down().await;
    e.client().get("/a").send().await.expect(502);
}

#[tokio::test(flavor = "multi_thread")]
async fn stale_if_error_covers_what_the_origin_says() {
    let page = ok()
        .header("Cache-Control", "max-age=60, stale-if-error=600")
        .header("Age", "70")
        .header("ETag", "\"v1\"")
        .body("v1");
    let o = origin("o1")
        .on("/a", page)
        .then(status(500).body("no"))
        .start()
        .await;
    let e = edge(PLAIN).origin(&o).start().await;
    e.client().get("/a").send().await.expect(200).body("v1");
    let answer = e.client().get("/a").send().await.expect(200).body("v1");
    let said = answer.value("cache-status");
    assert!(said.contains("detail=stale-if-error"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_does_not_stop_what_will_be_stored() {
    let rest = gate();
    let page = ok()
        .header("Cache-Control", "max-age=60")
        .length(8)
        .data("one ")
        .hold(&rest)
        .data("two.");
    let o = origin("o1").on("/a", page).start().await;
    let e = edge(PLAIN).origin(&o).start().await;
    let mut k = e.client().connect().await;
    k.start(&get("/a")).await;
    k.read_until("one ").await;
    drop(k);
    e.log_where(|line| line["end"] == "client_gone").await;
    rest.open();
    e.client()
        .get("/a")
        .send()
        .await
        .expect(200)
        .body("one two.");
    assert_eq!(o.requests().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_left_stops_what_is_not_stored() {
    let never = gate();
    let page = ok()
        .header("Cache-Control", "no-store")
        .length(8)
        .data("one ")
        .hold(&never);
    let o = origin("o1").on("/a", page).start().await;
    let e = edge(PLAIN).origin(&o).start().await;
    let mut k = e.client().connect().await;
    k.start(&get("/a")).await;
    k.read_until("one ").await;
    drop(k);
    o.disconnected(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_page_takes_the_place_of_what_is_shared() {
    let missing = status(404)
        .header("Cache-Control", "max-age=60")
        .header("Allow", "GET")
        .body("theirs");
    let o = origin("o1").on("/a", missing).start().await;
    let toml = "[[route]]\nto = \"{o1}\"\nerror_pages = { 404 = \"{dir}/404.html\" }";
    let e = edge(toml).file("404.html", "ours").origin(&o).start().await;
    for _ in 0..2 {
        let answer = e.client().get("/a").send().await.expect(404).body("ours");
        answer.header("allow", "GET");
    }
    assert_eq!(o.requests().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_waits_for_who_follows_a_fetch() {
    let rest = gate();
    let page = ok()
        .header("Cache-Control", "max-age=60")
        .length(8)
        .data("one ")
        .hold(&rest)
        .data("two.");
    let o = origin("o1").on("/a", page).start().await;
    let mut e = edge(PLAIN).origin(&o).start().await;
    let mut k = e.client().connect().await;
    k.start(&get("/a")).await;
    k.read_until("one ").await;
    e.signal(rustix::process::Signal::TERM);
    e.stderr("draining").await;
    rest.open();
    k.read_until("two.").await;
    assert_eq!(e.wait_exit().await, 0);
}
