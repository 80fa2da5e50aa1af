//! Coded forms of what is stored: made once, kept beside it, freshened and dropped with it.

use crate::compress::{decoded, json};
use crate::rig::{Edge, Origin, Reply, Response, edge, gate, get, head, ok, origin, post, status};

const ROUTE: &str = "[[route]]\nto = \"{o1}\"";

/// What a client that takes `accept` gets.
async fn asks(e: &Edge, accept: &str) -> Response {
    let asked = get("/a").header("Accept-Encoding", accept);
    e.client().request(asked).send().await
}

/// Waits until so many forms were made in this coding.
async fn made(e: &Edge, coding: &str, forms: f64) {
    let metric = format!("forebay_cache_derived_total{{coding=\"{coding}\"}}");
    e.metric_becomes(&metric, forms).await;
}

#[track_caller]
fn expect_coded(got: Response, coding: &str, plain: &str) -> Response {
    let got = got.expect(200).header("content-encoding", coding);
    assert!(decoded(coding, &got.body.content) == plain.as_bytes());
    let length = got.body.content.len().to_string();
    got.header("content-length", &length)
        .header("etag", "W/\"v1\"")
        .header("vary", "Accept-Encoding")
}

fn page(json: &str) -> Reply {
    ok().header("content-type", "application/json")
        .etag("\"v1\"")
        .body(json)
}

async fn behind(o: Origin) -> (Origin, Edge) {
    let o = o.start().await;
    let e = edge(ROUTE).origin(&o).start().await;
    (o, e)
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_follows_gets_it_as_it_comes_and_later_coded() {
    let json = json();
    let (o, e) = behind(origin("o1").on("/a", page(&json).max_age(60))).await;
    let first = asks(&e, "gzip").await.expect(200).cache_status("stored");
    first
        .body(&json)
        .no_header("content-encoding")
        .header("etag", "\"v1\"")
        .header("vary", "Accept-Encoding");
    let before = e.metric("forebay_cache_bytes").await;
    asks(&e, "gzip").await.expect(200).body(&json);
    made(&e, "gzip", 1.0).await;
    let small = expect_coded(asks(&e, "gzip").await, "gzip", &json);
    // It is on the account, and what it was made in no longer is.
    let more = e.metric("forebay_cache_bytes").await - before;
    let least = f64::from(u32::try_from(small.body.content.len()).expect("it is small"));
    assert!(more > least && more < 3.0 * least + 2000.0, "{more} more");
    // Who prefers another gets this one while that is made.
    expect_coded(asks(&e, "br, gzip").await, "gzip", &json);
    made(&e, "br", 1.0).await;
    expect_coded(asks(&e, "br, gzip").await, "br", &json);
    // A range is one of the plain octets.
    let part = get("/a").header("Accept-Encoding", "br");
    let part = e.client().request(part.header("Range", "bytes=0-9")).send();
    part.await
        .expect(206)
        .body(&json[..10])
        .header("etag", "\"v1\"");
    // HEAD says what GET would.
    let asked = head("/a").header("Accept-Encoding", "br");
    let got = e.client().request(asked).send().await.expect(200);
    got.header("content-encoding", "br")
        .header("etag", "W/\"v1\"");
    // The plain one is held by this client: the tag that it knows stays.
    let asked = get("/a").header("Accept-Encoding", "identity");
    let asked = asked.header("If-None-Match", "\"v1\"");
    let got = e.client().request(asked).send().await.expect(304);
    got.header("etag", "\"v1\"");
    assert_eq!(o.fetches("/a"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_freshened_is_not_coded_again() {
    let json = json();
    let (o, e) = behind(
        origin("o1")
            .on("/a", page(&json).directive("no-cache"))
            .then(status(304).etag("\"v1\"").header("x-second", "1")),
    )
    .await;
    asks(&e, "br").await.expect(200).body(&json);
    asks(&e, "br").await.expect(200).body(&json);
    made(&e, "br", 1.0).await;
    for _ in 0..3 {
        let got = expect_coded(asks(&e, "br").await, "br", &json);
        got.header("x-second", "1").cache_status("fwd-status=304");
    }
    made(&e, "br", 1.0).await;
    assert_eq!(o.fetches("/a"), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_goes_with_what_it_was_made_of() {
    let json = json();
    let (_o, e) = behind(
        origin("o1")
            .on("/a", page(&json).max_age(60))
            .then(status(204))
            .then(
                ok().header("content-type", "text/plain")
                    .no_store()
                    .body("new"),
            ),
    )
    .await;
    asks(&e, "br").await.expect(200);
    asks(&e, "br").await.expect(200);
    made(&e, "br", 1.0).await;
    expect_coded(asks(&e, "br").await, "br", &json);
    e.client().request(post("/a", "x")).send().await.expect(204);
    e.metric_becomes("forebay_cache_bytes", 0.0).await;
    asks(&e, "br").await.expect(200).body("new");
}

#[tokio::test(flavor = "multi_thread")]
async fn our_own_vary_separates_nobody() {
    let (json, answers) = (json(), gate());
    let (o, e) = behind(
        origin("o1")
            .on("/a", page(&json).directive("no-cache"))
            .then(status(304).etag("\"v1\"").hold_first(&answers)),
    )
    .await;
    asks(&e, "br").await.expect(200);
    // Who was answered last is counted until the last octet is out.
    e.metric_becomes("forebay_cache_followers", 0.0).await;
    let others = ["gzip", "identity", "zstd"];
    let validated = futures::future::join_all(others.map(|accept| asks(&e, accept)));
    let answered = async {
        e.metric_becomes("forebay_cache_followers", 3.0).await;
        answers.open();
    };
    let (validated, ()) = tokio::join!(validated, answered);
    for got in validated {
        got.expect(200)
            .body(&json)
            .header("vary", "Accept-Encoding");
    }
    assert_eq!(o.fetches("/a"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_origin_codes_by_itself_stays_as_it_is() {
    let json = json();
    let of = |coding: &str| {
        page(&json)
            .max_age(60)
            .vary("Accept-Encoding")
            .header("content-encoding", coding)
    };
    let (o, e) = behind(origin("o1").on("/a", of("gzip")).then(of("br"))).await;
    for accept in ["gzip, deflate", "gzip", "deflate;q=0.1, x-gzip"] {
        let got = asks(&e, accept).await.expect(200);
        got.body(&json)
            .header("content-encoding", "gzip")
            .header("vary", "Accept-Encoding")
            .header("etag", "\"v1\"");
    }
    for accept in ["br", "deflate, br"] {
        let got = asks(&e, accept).await.expect(200);
        got.body(&json).header("content-encoding", "br");
    }
    // Each was asked for in the form that all have in common who are given it.
    let seen = o.requests();
    let asked_for: Vec<_> = seen.iter().map(|it| it.header("accept-encoding")).collect();
    assert_eq!(asked_for, [Some("gzip"), Some("br")]);
    assert!(e.metric("forebay_cache_derived_total").await.abs() < f64::EPSILON);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_may_do_without() {
    let json = json();
    let o = origin("o1").on("/a", page(&json).max_age(60)).start().await;
    let toml = "[[route]]\nto = \"{o1}\"\ncache = { compress = false }";
    let e = edge(toml).origin(&o).start().await;
    for _ in 0..4 {
        let got = asks(&e, "br").await.expect(200).body(&json);
        got.no_header("vary").no_header("content-encoding");
    }
    assert!(e.metric("forebay_cache_derived_total").await.abs() < f64::EPSILON);
}
