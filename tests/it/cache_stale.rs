//! Stale answers and when they are better than none; what a write invalidates; and what an operator decides instead.

use crate::rig::{Edge, Origin, Reply, edge, gate, get, ok, origin, post, request, reset, status};

const ROUTE: &str = "[[route]]\nto = \"{o1}\"";

async fn behind(reply: Reply) -> (Origin, Edge) {
    behind_rules(reply, "").await
}

/// An edge in front of one origin that answers "/a" so, with this on the route. It holds for two seconds, which is
/// how long a scenario without an origin takes.
async fn behind_rules(reply: Reply, rules: &str) -> (Origin, Edge) {
    let o = origin("o1").on("/a", reply).start().await;
    let upstream = "[upstream.o]\nservers = [\"{o1}\"]\nhold = \"2s\"\nretry = { tries = 1 }";
    let e = edge(&format!("{upstream}\n[[route]]\nto = \"o\"\n{rules}"))
        .origin(&o)
        .start()
        .await;
    (o, e)
}

/// Stale on arrival, and to be validated.
fn stale() -> Reply {
    ok().max_age(60).age(100).etag("\"v1\"")
}

// ── RFC 5861 §3 ──

#[tokio::test(flavor = "multi_thread")]
async fn stale_is_served_at_once_while_it_is_fetched_anew() {
    let (o, e) = behind(stale().directive("stale-while-revalidate=600").body("old")).await;
    e.client().get("/a").send().await.expect(200);
    let held = gate();
    o.change(
        "/a",
        ok().max_age(60).etag("\"v2\"").hold(&held).body("new"),
    );
    // The gate is shut: whoever has an answer did not wait for the origin.
    for _ in 0..10 {
        let old = e.client().get("/a").send().await.expect(200).body("old");
        old.cache_status("hit; detail=stale-while-revalidate")
            .aged(100);
    }
    o.fetched("/a", 2).await;
    assert_eq!(o.fetches("/a"), 2);
    held.open();
    // It is there as soon as the refresh has ended, which is nobody's answer.
    let new = e.becomes("/a", "new").await;
    new.cache_status("hit").header("etag", "\"v2\"");
    assert_eq!(o.fetches("/a"), 2);
}

// ── RFC 5861 §4, and RFC 9111 §4.2.4 ──

#[tokio::test(flavor = "multi_thread")]
async fn stale_is_better_than_an_error() {
    let (o, e) = behind(stale().directive("stale-if-error=600").body("old")).await;
    e.client().get("/a").send().await.expect(200);
    for broken in [status(500), status(503).body("sorry"), reset()] {
        o.change("/a", broken);
        let old = e.client().get("/a").send().await.expect(200).body("old");
        old.cache_status("detail=stale-if-error");
    }
    // Without the window an origin's own error is the answer.
    let (o, e) = behind(stale().body("old")).await;
    e.client().get("/a").send().await.expect(200);
    o.change("/a", status(500).body("sorry"));
    e.client().get("/a").send().await.expect(500).body("sorry");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ladder_while_the_origin_is_away_is_stale_then_hold_then_503() {
    let (mut o, e) = behind(stale().body("old")).await;
    e.client().get("/a").send().await.expect(200);
    o.down().await;
    let old = e.client().get("/a").send().await.expect(200).body("old");
    old.cache_status("detail=stale-if-unreachable").aged(100);
    let none = e.client().get("/never-seen").send().await.expect(503);
    assert!(none.head.get("retry-after").is_some());
    o.up().await;
    o.change("/a", ok().max_age(60).body("new"));
    e.client().get("/never-seen").send().await.expect(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_before_the_origin_goes_away_does_not_cost_the_stale_copy() {
    let (mut o, e) = behind(stale().body("old")).await;
    e.client().get("/a").send().await.expect(200);
    // A dying application: first it fails, then it is gone.
    o.change("/a", status(500).body("sorry"));
    e.client().get("/a").send().await.expect(500);
    o.down().await;
    let old = e.client().get("/a").send().await.expect(200).body("old");
    old.cache_status("detail=stale-if-unreachable");
}

#[tokio::test(flavor = "multi_thread")]
async fn never_stale_against_an_origin_that_forbids_it() {
    for forbids in [
        "must-revalidate",
        "proxy-revalidate",
        "no-cache",
        "s-maxage=60",
    ] {
        let (mut o, e) = behind(stale().directive(forbids).body("old")).await;
        e.client().get("/a").send().await.expect(200);
        o.down().await;
        let none = e.client().get("/a").send().await;
        assert!(matches!(none.status, 502..=504), "{forbids}: {none:#?}");
    }
    // The documented departure: an explicit window beside s-maxage is meant.
    let reply = stale()
        .directive("s-maxage=60")
        .directive("stale-if-error=600");
    let (mut o, e) = behind(reply.body("old")).await;
    e.client().get("/a").send().await.expect(200);
    o.down().await;
    e.client().get("/a").send().await.expect(200).body("old");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_origin_that_fails_is_not_asked_by_everybody() {
    let (o, e) = behind(stale().directive("stale-if-error=600").body("old")).await;
    e.client().get("/a").send().await.expect(200);
    o.change("/a", status(500));
    for _ in 0..20 {
        e.client().get("/a").send().await.expect(200).body("old");
    }
    // A failed validation backs off: twenty clients are no twenty tries.
    assert!(o.fetches("/a") < 5, "asked {} times", o.fetches("/a"));
}

// ── RFC 9111 §4.4 ──

#[tokio::test(flavor = "multi_thread")]
async fn a_write_invalidates_and_a_failed_one_does_not() {
    let (o, e) = behind(ok().max_age(60).etag("\"v1\"").body("old")).await;
    for (method, code, gone) in [
        ("POST", 200, true),
        ("PUT", 204, true),
        ("DELETE", 303, true),
        ("PATCH", 200, true),
        ("FROBNICATE", 200, true),
        ("POST", 404, false),
        ("POST", 500, false),
        ("OPTIONS", 200, false),
    ] {
        o.change("/a", ok().max_age(60).body("old"));
        let write = post("/a", "").header("Content-Type", "text/plain");
        e.client().request(write).send().await.expect(200);
        e.client().get("/a").send().await.expect(200);
        e.client()
            .get("/a")
            .send()
            .await
            .expect(200)
            .cache_status("hit");
        o.change("/a", status(code));
        e.client()
            .request(request(method, "/a"))
            .send()
            .await
            .expect(code);
        o.change("/a", ok().max_age(60).body("new"));
        let wanted = if gone { "new" } else { "old" };
        let next = e.client().get("/a").send().await.expect(200);
        assert_eq!(next.text(), wanted, "after {method} {code}: {next:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_invalidates_what_its_answer_names_of_the_same_origin() {
    let o = origin("o1")
        .on("/list", ok().max_age(60).body("list"))
        .on("/item", ok().max_age(60).body("item"))
        .on("/far", ok().max_age(60).body("far"))
        .on(
            "/write",
            status(201)
                .header("location", "/item")
                .header("content-location", "http://site.test/list"),
        )
        .on(
            "/elsewhere",
            status(201).header("location", "http://other.test/far"),
        )
        .start()
        .await;
    let e = edge(ROUTE).origin(&o).start().await;
    let c = e.client();
    for path in ["/list", "/item", "/far"] {
        c.get(path).send().await.expect(200);
        c.get(path).send().await.expect(200).cache_status("hit");
        let far = c.get(path).host("other.test");
        far.send().await.expect(200);
    }
    c.post("/write", "x").send().await.expect(201);
    c.post("/elsewhere", "x").send().await.expect(201);
    c.get("/list")
        .send()
        .await
        .expect(200)
        .no_cache_status("hit");
    c.get("/item")
        .send()
        .await
        .expect(200)
        .no_cache_status("hit");
    c.get("/far").send().await.expect(200).cache_status("hit");
    // Another host's answers are not ours to invalidate.
    for path in ["/list", "/item", "/far"] {
        let there = c.get(path).host("other.test").send().await;
        there.expect(200).cache_status("hit");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_invalidates_all_variants() {
    let (o, e) = behind(ok().max_age(60).vary("X-Kind").body("old")).await;
    let asks = |kind: &str| e.client().get("/a").header("X-Kind", kind).send();
    for kind in ["1", "2"] {
        asks(kind).await.expect(200);
        asks(kind).await.expect(200).cache_status("hit");
    }
    e.client().post("/a", "x").send().await.expect(200);
    o.change("/a", ok().max_age(60).vary("X-Kind").body("new"));
    for kind in ["1", "2"] {
        asks(kind).await.expect(200).body("new");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_begun_before_a_write_is_neither_joined_nor_kept() {
    let held = gate();
    let (o, e) = behind(ok().max_age(60).hold(&held).body("old")).await;
    let before = e.client().get("/a").spawn();
    o.fetched("/a", 1).await;
    o.change("/a", ok().body("written"));
    e.client().post("/a", "x").send().await.expect(200);
    o.change("/a", ok().max_age(60).body("new"));
    // The old fetch still stands at its gate: this one did not join it.
    e.client().get("/a").send().await.expect(200).body("new");
    held.open();
    before.await.unwrap().expect(200).body("old");
    e.client().get("/a").send().await.expect(200).body("new");
}

// ── the operator ──

#[tokio::test(flavor = "multi_thread")]
async fn the_operators_lifetimes_are_the_last_word() {
    let (o, e) = behind_rules(ok().body("b"), "cache = { ttl = \"5m\" }").await;
    e.client()
        .get("/a")
        .send()
        .await
        .expect(200)
        .cache_status("stored");
    let hit = e.client().get("/a").send().await.expect(200);
    let ttl = hit.cache().ttl().expect("ttl");
    assert!((290..=300).contains(&ttl), "ttl={ttl}");
    assert_eq!(o.fetches("/a"), 1);

    let rules = "cache = { ttl_by_status = { 404 = \"1m\", 5xx = \"10s\" } }";
    let (o, e) = behind_rules(status(404).body("none"), rules).await;
    e.client().get("/a").send().await.expect(404);
    e.client()
        .get("/a")
        .send()
        .await
        .expect(404)
        .cache_status("hit");
    assert_eq!(o.fetches("/a"), 1);

    let (o, e) = behind_rules(ok().max_age(60).body("b"), "cache = false").await;
    for _ in 0..2 {
        let passed = e.client().get("/a").send().await.expect(200);
        passed.cache_status("fwd=bypass; detail=route-off");
    }
    assert_eq!(o.fetches("/a"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operators_windows_replace_the_origins() {
    let rules = "cache = { stale_while_revalidate = \"1h\", stale_if_error = \"24h\" }";
    let (o, e) = behind_rules(stale().body("old"), rules).await;
    e.client().get("/a").send().await.expect(200);
    o.change("/a", status(500));
    for _ in 0..3 {
        e.client().get("/a").send().await.expect(200).body("old");
    }
    let log = e
        .log_where(|line| line["path"] == "/a" && line["cache_reason"] == "stale-while-revalidate");
    assert_eq!(log.await["status"], 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_is_scheme_host_path_and_query_as_it_is() {
    let o = origin("o1")
        .on("*", ok().max_age(60).body("b"))
        .start()
        .await;
    let e = edge(ROUTE).origin(&o).start().await;
    let c = e.client();
    c.request(get("/a?x=1&y=2")).send().await.expect(200);
    let same = c
        .request(get("/a?x=1&y=2").host("SITE.test:80"))
        .send()
        .await;
    same.expect(200).cache_status("hit");
    for (host, target) in [
        ("site.test", "/a"),
        ("site.test", "/a?"),
        ("site.test", "/a?y=2&x=1"),
        ("site.test", "/A?x=1&y=2"),
        ("site.test", "/a%3Fx=1&y=2"),
        ("site.test:81", "/a?x=1&y=2"),
        ("other.test", "/a?x=1&y=2"),
    ] {
        let other = c.request(get(target).host(host)).send().await.expect(200);
        let status = other.cache();
        assert!(status.has("fwd=uri-miss"), "{host}{target}: {status:?}");
    }
}
