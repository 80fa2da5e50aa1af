//! What is tried again after a failure, and what is not.

use crate::rig::{Origin, edge, gate, get, ok, origin, post, put, raw, reset, status};

/// One data thread, so that the second request finds the first one's connection.
fn upstream(settings: &str) -> String {
    format!(
        "[server]\nthreads = 1\n[upstream.o]\nservers = [\"{{o1}}\"]\nkeepalive = \"30s\"\n{settings}\n[[route]]\nto = \"o\""
    )
}

fn count(o: &Origin, path: &str) -> usize {
    o.requests().iter().filter(|r| r.target() == path).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_reused() {
    let o = origin("o1").on("*", ok().body("v1")).start().await;
    let e = edge(&upstream("")).origin(&o).start().await;
    let mut k = e.client().connect().await;
    for _ in 0..10 {
        k.get("/a").await.expect(200);
    }
    assert_eq!(o.connections(), 1);
    let last = &o.requests()[9];
    assert_eq!((last.connection, last.nth), (0, 9));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_is_closed_before_gunicorn_would() {
    let o = origin("o1").on("*", ok().body("v1")).start().await;
    let e = edge("[[route]]\nto = \"{o1}\"").origin(&o).start().await;
    e.client().get("/a").send().await.expect(200);
    let answered = forebay::clock::now();
    o.disconnected(0).await;
    // 1.5 s by default, below the 2 s after which gunicorn closes.
    let idle = answered.elapsed().as_millis();
    assert!(
        (1_000..2_000).contains(&idle) || idle < 4_000,
        "closed after {idle} ms"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooled_connection_that_turns_out_dead_is_not_the_clients_problem() {
    for dead in [raw(""), reset()] {
        let o = origin("o1")
            .on("/a", ok().body("v1"))
            .on_reused("/b", dead)
            .on("/b", ok().body("v2"))
            .start()
            .await;
        let e = edge(&upstream("")).origin(&o).start().await;
        e.client().get("/a").send().await.expect(200);
        e.client().get("/b").send().await.expect(200).body("v2");
        assert_eq!((count(&o, "/b"), o.connections()), (2, 2));
        let line = e.log_line("/b").await;
        assert!(
            line["retry_reason"]
                .as_str()
                .is_some_and(|why| !why.is_empty()),
            "{line:#}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_does_not_go_to_a_connection_that_may_be_dead() {
    // A connection that the origin has closed meanwhile is noticed before the POST is written to it.
    let mut o = origin("o1").on("*", ok().body("v1")).start().await;
    let e = edge(&upstream("")).origin(&o).start().await;
    e.client().get("/a").send().await.expect(200);
    o.down().await;
    o.up().await;
    e.client().post("/b", "hello").send().await.expect(200);
    assert_eq!(count(&o, "/b"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_get_is_tried_again_after_a_reset_and_a_post_is_not() {
    let o = origin("o1")
        .on("/get", reset())
        .then(ok().body("v1"))
        .on("/post", reset())
        .then(ok().body("v1"))
        .on("/put", reset())
        .then(ok().body("v1"));
    let o = o.start().await;
    let e = edge(&upstream("")).origin(&o).start().await;
    e.client().get("/get").send().await.expect(200).body("v1");
    assert_eq!(count(&o, "/get"), 2);
    e.client().post("/post", "hello").send().await.expect(502);
    assert_eq!(count(&o, "/post"), 1, "a POST is sent once");
    // PUT is idempotent (RFC 9110 §9.2.2) and its body is at hand.
    e.client()
        .request(put("/put", "hello"))
        .send()
        .await
        .expect(200)
        .body("v1");
    assert_eq!(count(&o, "/put"), 2);
    assert!(
        o.requests()
            .iter()
            .filter(|r| r.target() == "/put")
            .all(|r| r.text() == "hello")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_that_could_not_be_sent_is_tried_at_another_server() {
    let o = origin("o1").on("*", ok().body("v1")).start().await;
    let toml = "[upstream.o]\nservers = [\"http://127.0.0.1:1\", \"{o1}\"]\neject = { failures = 0, duration = \"1s\" }\n[[route]]\nto = \"o\"";
    let e = edge(toml).origin(&o).start().await;
    for _ in 0..10 {
        e.client().post("/a", "hello").send().await.expect(200);
    }
    assert_eq!(count(&o, "/a"), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn tries_are_counted() {
    let o = origin("o1").on("*", reset()).start().await;
    let e = edge(&upstream(
        "retry = { tries = 2 }\neject = { failures = 0, duration = \"1s\" }",
    ))
    .origin(&o)
    .start()
    .await;
    e.client().get("/a").send().await.expect(502);
    assert_eq!(count(&o, "/a"), 2);
    let line = e.log_line("/a").await;
    assert_eq!(line["tries"], 2, "{line:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_an_answer() {
    // A 503 is not tried again unless the route says so, nor is one whose body breaks off.
    let o = origin("o1")
        .on("/503", status(503).body("busy"))
        .on("/cut", ok().length(10).data("hello").cut())
        .start()
        .await;
    let e = edge(&upstream("")).origin(&o).start().await;
    e.client().get("/503").send().await.expect(503).body("busy");
    e.client().get("/cut").send().await;
    assert_eq!((count(&o, "/503"), count(&o, "/cut")), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn per_try_gives_up_early_and_asks_another() {
    let never = gate();
    let stuck = origin("stuck")
        .on("*", ok().hold(&never).body("never"))
        .start()
        .await;
    let o = origin("o1").on("*", ok().body("v1")).start().await;
    let toml = "[upstream.o]\nservers = [\"{stuck}\", { url = \"{o1}\", backup = true }]\nretry = { tries = 2, per_try = \"200ms\" }\n[[route]]\nto = \"o\"";
    let e = edge(toml).origin(&stuck).origin(&o).start().await;
    e.client().get("/a").send().await.expect(200).body("v1");
    assert_eq!(count(&stuck, "/a"), 1);
    // The stuck try is given up, not left behind.
    stuck.disconnected(0).await;
    // What may not be repeated ends with its try.
    e.client().post("/b", "x").send().await.expect(504);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_ends_a_storm() {
    let o = origin("o1").on("*", reset()).start().await;
    let settings =
        "retry = { tries = 3, budget = 0.0 }\neject = { failures = 0, duration = \"1s\" }";
    let e = edge(&upstream(settings)).origin(&o).start().await;
    let mut k = e.client().connect().await;
    for _ in 0..100 {
        let got = k.get("/a").await;
        assert_eq!(got.status, 502, "{got:#?}");
    }
    // At least ten retries a second are always allowed; three tries for each would make 300.
    let sent = count(&o, "/a");
    assert!((100..=200).contains(&sent), "{sent} requests for 100");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_server_is_not_asked_again_while_there_is_another() {
    let bad = origin("bad").on("*", reset()).start().await;
    let o = origin("o1").on("*", ok().body("v1")).start().await;
    let toml = "[upstream.o]\nservers = [\"{bad}\", \"{o1}\"]\neject = { failures = 0, duration = \"1s\" }\nretry = { tries = 2 }\n[[route]]\nto = \"o\"";
    let e = edge(toml).origin(&bad).origin(&o).start().await;
    for n in 0..10 {
        e.client()
            .request(get(&format!("/{n}")))
            .send()
            .await
            .expect(200)
            .body("v1");
    }
    assert!(bad.requests().iter().all(|r| count(&bad, r.target()) == 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_larger_than_what_is_kept_is_not_sent_twice() {
    let o = origin("o1")
        .on("/big", reset())
        .then(ok().body("v1"))
        .start()
        .await;
    let e = edge(&upstream("buffer_request = \"1KiB\""))
        .origin(&o)
        .start()
        .await;
    e.client()
        .request(put("/big", "x".repeat(300_000)))
        .send()
        .await
        .expect(502);
    assert_eq!(count(&o, "/big"), 1);
    e.client()
        .request(post("/big", ""))
        .send()
        .await
        .expect(200);
}
