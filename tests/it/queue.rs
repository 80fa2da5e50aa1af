//! `max_in_flight`: what an application with few workers can take, in order, in bounded number and time.

use crate::rig::{edge, gate, get, ok, origin};

fn upstream(settings: &str) -> String {
    format!("[upstream.o]\nservers = [\"{{o1}}\"]\n{settings}\n[[route]]\nto = \"o\"")
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_than_that_are_with_the_servers_and_first_come_first_served() {
    let held = gate();
    let o = origin("o1")
        .on("*", ok().hold(&held).body("v1"))
        .start()
        .await;
    let e = edge(&upstream("max_in_flight = 2"))
        .origin(&o)
        .start()
        .await;
    let mut answers = Vec::new();
    for n in 0..6 {
        answers.push(e.client().get(&format!("/{n}")).spawn());
        // One after the other, so that their order is known.
        if n < 2 {
            o.head(n).await;
        } else {
            e.metric_becomes(
                "forebay_upstream_queued",
                f64::from(u32::try_from(n).unwrap()) - 1.0,
            )
            .await;
        }
    }
    assert_eq!(o.requests().len(), 2);
    for n in 2..6 {
        held.let_one_through();
        assert_eq!(o.head(n).await.target(), format!("/{n}"));
        assert_eq!(o.requests().len(), n + 1, "one out, one in");
    }
    held.open();
    for answer in answers {
        answer.await.unwrap().expect(200);
    }
    let line = e.log_line("/5").await;
    assert!(
        line["queue_ms"].as_f64().is_some_and(|ms| ms > 0.0),
        "{line:#}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_sheds() {
    let held = gate();
    let o = origin("o1")
        .on("*", ok().hold(&held).body("v1"))
        .start()
        .await;
    let e = edge(&upstream("max_in_flight = 1\nqueue_max = 1"))
        .origin(&o)
        .start()
        .await;
    let first = e.client().get("/first").spawn();
    o.head(0).await;
    let second = e.client().get("/second").spawn();
    e.metric_becomes("forebay_upstream_queued", 1.0).await;
    let got = e.client().get("/third").send().await.expect(503);
    assert!(got.value("retry-after").parse::<u32>().is_ok());
    held.open();
    first.await.unwrap().expect(200);
    second.await.unwrap().expect(200);
    assert_eq!(o.requests().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn queueing_ends_after_its_timeout() {
    let held = gate();
    let o = origin("o1")
        .on("*", ok().hold(&held).body("v1"))
        .start()
        .await;
    let e = edge(&upstream("max_in_flight = 1\nqueue_timeout = \"200ms\""))
        .origin(&o)
        .start()
        .await;
    let first = e.client().get("/first").spawn();
    o.head(0).await;
    e.client().get("/second").send().await.expect(503);
    held.open();
    first.await.unwrap().expect(200);
    e.client().get("/third").send().await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn leaving_the_queue_frees_the_place_and_leaving_a_server_too() {
    let held = gate();
    let o = origin("o1")
        .on("*", ok().hold(&held).body("v1"))
        .start()
        .await;
    // With the cache, what was asked of a server would go on: what comes may be worth storing.
    let toml = upstream("max_in_flight = 1\nqueue_max = 1") + "\ncache = false";
    let e = edge(&toml).origin(&o).start().await;
    let mut first = e.client().connect().await;
    first.start(&get("/first")).await;
    o.head(0).await;
    let mut second = e.client().connect().await;
    second.start(&get("/second")).await;
    e.metric_becomes("forebay_upstream_queued", 1.0).await;
    drop(second);
    e.metric_becomes("forebay_upstream_queued", 0.0).await;
    let third = e.client().get("/third").spawn();
    e.metric_becomes("forebay_upstream_queued", 1.0).await;
    // The first gives up: its place is the third's.
    drop(first);
    assert_eq!(o.head(1).await.target(), "/third");
    held.open();
    third.await.unwrap().expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_upload_takes_no_place() {
    let o = origin("o1").on("*", ok().body("v1")).start().await;
    let e = edge(&upstream("max_in_flight = 1"))
        .origin(&o)
        .start()
        .await;
    let mut slow = e.client().connect().await;
    slow.write("POST /slow HTTP/1.1\r\nHost: site.test\r\nContent-Length: 10\r\n\r\nhello")
        .await;
    for _ in 0..5 {
        e.client().get("/quick").send().await.expect(200);
    }
    slow.write("world").await;
    slow.response("POST").await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_takes_no_place() {
    let body = "0123456789abcdef".repeat(32 * 1024);
    let o = origin("o1")
        .on("/big", ok().body(&body))
        .on("*", ok().body("v1"))
        .start()
        .await;
    let e = edge(&upstream("max_in_flight = 1\nbuffer_response = \"1MiB\""))
        .origin(&o)
        .start()
        .await;
    let mut slow = e.client().connect().await;
    slow.start(&get("/big")).await;
    o.request(0).await;
    // The answer has been read ahead of the client, so that the worker is free.
    e.client().get("/quick").send().await.expect(200);
    slow.response("GET").await.expect(200).body(&body);
}
