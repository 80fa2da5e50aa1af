//! RFC 9111 §5.2.1 and §4.1 on the wire: what a request may demand of what is stored, and which of several it gets.

use crate::rig::{Edge, Origin, Reply, Request, edge, gate, get, ok, origin, status};

const ROUTE: &str = "[[route]]\nto = \"{o1}\"";

/// An edge in front of one origin that answers "/a" so.
async fn behind(reply: Reply) -> (Origin, Edge) {
    behind_rules(reply, "").await
}

/// The same with `cache = …` on the route.
async fn behind_rules(reply: Reply, rules: &str) -> (Origin, Edge) {
    let o = origin("o1").on("/a", reply).start().await;
    let e = edge(&format!("{ROUTE}\n{rules}")).origin(&o).start().await;
    (o, e)
}

// ── §5.2.1: what a request demands ──

#[tokio::test(flavor = "multi_thread")]
async fn wanted_from_the_cache_only() {
    let (o, e) = behind(ok().max_age(60).body("b")).await;
    let only = || get("/a").header("Cache-Control", "only-if-cached");
    let none = e.client().request(only()).send().await.expect(504);
    none.cache_status("detail=only-if-cached");
    assert_eq!(o.fetches("/a"), 0);
    e.client().get("/a").send().await.expect(200);
    let hit = e.client().request(only()).send().await.expect(200);
    hit.cache_status("hit").body("b");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_validates_and_many_reloads_validate_once() {
    let held = gate();
    let (o, e) = behind(ok().max_age(60).age(5).etag("\"v1\"").body("b")).await;
    e.client().get("/a").send().await.expect(200);
    for demand in ["no-cache", "max-age=0"] {
        let before = o.fetches("/a");
        // Who was answered last is counted until the last octet is out.
        e.metric_becomes("forebay_cache_followers", 0.0).await;
        let reply = status(304).max_age(60).age(5).etag("\"v1\"");
        o.change("/a", reply.hold(&held));
        let crowd = e
            .client()
            .crowd(20, &get("/a").header("Cache-Control", demand));
        crowd.asked().await;
        o.fetched("/a", before + 1).await;
        assert_eq!(o.last("/a").header("if-none-match"), Some("\"v1\""));
        // Sent is not yet received: who came late would ask for one more, which the gate would hold.
        e.metric_becomes("forebay_cache_followers", 20.0).await;
        held.let_one_through();
        for one in crowd.all().await {
            one.response.expect(200).body("b").header("etag", "\"v1\"");
        }
        assert_eq!(o.fetches("/a"), before + 1, "{demand}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_may_accept_what_is_stale() {
    let (o, e) = behind(ok().max_age(60).age(100).etag("\"v1\"").body("b")).await;
    e.client().get("/a").send().await.expect(200);
    let asks = |demand: &str| {
        e.client()
            .request(get("/a").header("Cache-Control", demand))
            .send()
    };
    let stale = asks("max-stale").await.expect(200);
    stale.cache_status("hit; detail=max-stale").aged(100);
    asks("max-stale=600").await.expect(200).cache_status("hit");
    assert_eq!(o.fetches("/a"), 1);
    asks("max-stale=10")
        .await
        .expect(200)
        .cache_status("fwd=stale");
    assert_eq!(o.fetches("/a"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_are_honoured_to_the_letter_or_not_at_all() {
    let asks = |e: &Edge, demand: &str| {
        let request: Request = get("/a").header("Cache-Control", demand);
        e.client().request(request).send()
    };
    let (o, e) = behind_rules(
        ok().max_age(60).body("b"),
        "cache = { clients = \"honour\" }",
    )
    .await;
    asks(&e, "no-store")
        .await
        .expect(200)
        .no_cache_status("stored");
    asks(&e, "max-age=30")
        .await
        .expect(200)
        .cache_status("stored");
    asks(&e, "max-age=30").await.expect(200).cache_status("hit");
    asks(&e, "min-fresh=30")
        .await
        .expect(200)
        .cache_status("hit");
    assert_eq!(o.fetches("/a"), 2);
    asks(&e, "min-fresh=90")
        .await
        .expect(200)
        .cache_status("fwd=request");
    assert_eq!(o.fetches("/a"), 3);

    let (o, e) = behind_rules(
        ok().max_age(60).body("b"),
        "cache = { clients = \"ignore\" }",
    )
    .await;
    asks(&e, "no-store, no-cache")
        .await
        .expect(200)
        .cache_status("stored");
    for demand in ["no-cache", "max-age=0", "no-store", "min-fresh=90"] {
        asks(&e, demand).await.expect(200).cache_status("hit");
    }
    assert_eq!(o.fetches("/a"), 1);
}

// ── §4.1: variants ──

#[tokio::test(flavor = "multi_thread")]
async fn a_variant_for_each_language_and_no_other() {
    let (o, e) = behind(ok().max_age(60).vary("Accept-Language").body("en")).await;
    let asks = |language: &str| {
        e.client()
            .get("/a")
            .header("Accept-Language", language)
            .send()
    };
    asks("en")
        .await
        .expect(200)
        .body("en")
        .cache_status("fwd=uri-miss");
    o.change("/a", ok().max_age(60).vary("accept-language").body("de"));
    asks("de")
        .await
        .expect(200)
        .body("de")
        .cache_status("fwd=vary-miss");
    asks("en").await.expect(200).body("en").cache_status("hit");
    asks("de").await.expect(200).body("de").cache_status("hit");
    assert_eq!(o.fetches("/a"), 2);
    // The same preference in other words.
    asks(" DE ")
        .await
        .expect(200)
        .body("de")
        .cache_status("hit");
    asks("de;q=0.9")
        .await
        .expect(200)
        .body("de")
        .cache_status("hit");
}

#[tokio::test(flavor = "multi_thread")]
async fn vary_on_several_lines_and_on_what_is_not_there() {
    let (o, e) = behind(ok().max_age(60).vary("X-A,").vary(" x-b ").body("b")).await;
    let asks = |fields: &[(&str, &str)]| {
        let request = fields.iter().fold(get("/a"), |r, (n, v)| r.header(n, v));
        e.client().request(request).send()
    };
    asks(&[]).await.expect(200);
    asks(&[]).await.expect(200).cache_status("hit");
    asks(&[("X-C", "1")]).await.expect(200).cache_status("hit");
    asks(&[("X-A", "1")])
        .await
        .expect(200)
        .cache_status("fwd=vary-miss");
    asks(&[("X-B", "1")])
        .await
        .expect(200)
        .cache_status("fwd=vary-miss");
    asks(&[("X-B", "1"), ("X-A", "1")])
        .await
        .expect(200)
        .cache_status("fwd=vary-miss");
    asks(&[("x-a", "1"), ("x-b", "1")])
        .await
        .expect(200)
        .cache_status("hit");
    assert_eq!(o.fetches("/a"), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn variants_of_one_target_are_bounded() {
    let (o, e) = behind(ok().max_age(60).vary("X-Any").body("b")).await;
    for n in 0..100 {
        let request = e.client().get("/a").header("X-Any", &n.to_string());
        request.send().await.expect(200);
    }
    // The newest is there and the first is not: 32 are kept.
    let asks = |n: u8| e.client().get("/a").header("X-Any", &n.to_string()).send();
    asks(99).await.expect(200).cache_status("hit");
    asks(0).await.expect(200).cache_status("fwd=vary-miss");
    assert_eq!(o.fetches("/a"), 101);
}
