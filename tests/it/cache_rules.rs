//! What an operator decides for a route, last and visibly: bypass, the key, foreign fields, bounds, refresh; and reloads.

use crate::rig::{Edge, Origin, Reply, edge, get, ok, origin, status};

/// An edge in front of one origin that answers everything so, with these rules on its route.
async fn behind(reply: Reply, rules: &str) -> (Origin, Edge) {
    let o = origin("o1").on("*", reply).start().await;
    let e = edge(&route(rules)).origin(&o).start().await;
    (o, e)
}

fn route(rules: &str) -> String {
    format!("[[route]]\nto = \"{{o1}}\"\ncache = {rules}")
}

/// The freshness that a second answer has left.
async fn ttl(reply: Reply, rules: &str) -> Option<i64> {
    let (_o, e) = behind(reply, rules).await;
    e.client().get("/a").send().await;
    e.client().get("/a").send().await.cache().ttl()
}

#[tokio::test(flavor = "multi_thread")]
async fn some_requests_go_past_the_cache() {
    let rules = "{ bypass = [{ cookie = \"session\" }, { header = \"X-Preview\", value = \"1\" }, { query = \"nocache\" }, { path = \"/admin/*\" }] }";
    let (o, e) = behind(ok().max_age(60).body("b"), rules).await;
    let c = e.client();
    for (request, past) in [
        (get("/a").header("Cookie", "lang=en; session=1"), true),
        (get("/a").header("Cookie", "lang=en; xsession=1"), false),
        (get("/a").header("X-Preview", "1"), true),
        (get("/a").header("X-Preview", "0"), false),
        (get("/a?nocache"), true),
        (get("/a?x=1&nocache=2"), true),
        (get("/a?nocaches"), false),
        (get("/admin/users"), true),
        (get("/administration"), false),
    ] {
        let what = format!("{request:?}");
        let before = o.requests().len();
        c.request(request.clone()).send().await.expect(200);
        let second = c.request(request).send().await.expect(200);
        let status = second.cache();
        if past {
            assert!(status.has("fwd=bypass"), "{what}: {status:?}");
            assert!(status.has("detail=bypass-rule"), "{what}: {status:?}");
            assert_eq!(o.requests().len(), before + 2, "{what}");
        } else {
            assert!(status.has("hit"), "{what}: {status:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_is_what_the_operator_says() {
    // Of each row, the second request is the same as the first one or is not, which is asked for in the words of the key.
    let rows = [
        (
            "{ key = { query = { drop = [\"tracking\", \"ref\"] } } }",
            "/a?x=1",
            "/a?utm_source=n&x=1&ref=b&gclid=3",
            true,
        ),
        (
            "{ key = { query = { drop = [\"tracking\"] } } }",
            "/a?x=1",
            "/a?x=1&ref=b",
            false,
        ),
        (
            "{ key = { query = { allow = [\"page\"] } } }",
            "/a?page=1&x=2",
            "/a?page=1&x=3",
            true,
        ),
        (
            "{ key = { query = { allow = [\"page\"] } } }",
            "/a?page=1",
            "/a?page=2",
            false,
        ),
        ("{ key = { query = \"none\" } }", "/a?x=1", "/a", true),
        (
            "{ key = { sort_query = true } }",
            "/a?b=1&a=2",
            "/a?a=2&b=1",
            true,
        ),
        (
            "{ key = { sort_query = true } }",
            "/a?a=1&a=2",
            "/a?a=2&a=1",
            false,
        ),
        ("true", "/a?b=1&a=2", "/a?a=2&b=1", false),
    ];
    for (rules, first, second, same) in rows {
        let (o, e) = behind(ok().max_age(60).body("b"), rules).await;
        e.client().get(first).send().await.expect(200);
        let answer = e.client().get(second).send().await.expect(200);
        assert_eq!(answer.cache().has("hit"), same, "{rules}: {first} {second}");
        let asked = match first {
            "/a?page=1&x=2" => "/a?page=1",
            "/a?x=1" if rules.contains("none") => "/a",
            "/a?b=1&a=2" if rules.contains("sort") => "/a?a=2&b=1",
            _ => first,
        };
        assert_eq!(o.requests()[0].target(), asked);
    }

    let rules = "{ key = { headers = [\"X-Tenant\"], cookies = [\"lang\"] } }";
    let (_o, e) = behind(ok().max_age(60).body("b"), rules).await;
    let asks = |tenant: &str, cookie: &str| {
        let request = get("/a").header("X-Tenant", tenant);
        e.client().request(request.header("Cookie", cookie)).send()
    };
    asks("1", "lang=en; id=1")
        .await
        .expect(200)
        .cache_status("fwd=uri-miss");
    asks("1", "id=2; lang=en")
        .await
        .expect(200)
        .cache_status("hit");
    asks("2", "lang=en")
        .await
        .expect(200)
        .cache_status("fwd=uri-miss");
    asks("1", "lang=de")
        .await
        .expect(200)
        .cache_status("fwd=uri-miss");
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_of_other_caches_count_where_they_are_wanted() {
    let surrogate = || {
        ok().header("surrogate-control", "max-age=300")
            .no_store()
            .body("b")
    };
    assert_eq!(ttl(surrogate(), "true").await, None);
    let ours = ttl(surrogate(), "{ surrogate_control = true }").await;
    assert!(
        ours.is_some_and(|ttl| (290..=300).contains(&ttl)),
        "{ours:?}"
    );
    let accel = || ok().header("x-accel-expires", "300").max_age(60).body("b");
    let theirs = ttl(accel(), "true").await;
    assert!(
        theirs.is_some_and(|ttl| (50..=60).contains(&ttl)),
        "{theirs:?}"
    );
    let ours = ttl(accel(), "{ x_accel_expires = true }").await;
    assert!(
        ours.is_some_and(|ttl| (290..=300).contains(&ttl)),
        "{ours:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn lifetimes_within_bounds() {
    for (reply, rules, wanted) in [
        (ok().max_age(5), "{ ttl_min = \"1m\" }", 60),
        (ok().max_age(9999), "{ ttl_max = \"1m\" }", 60),
        (ok().max_age(5), "{ ttl = \"10m\", ttl_max = \"1m\" }", 600),
        (ok().max_age(5), "{ origin = \"ignore\", ttl = \"1m\" }", 60),
        (
            status(404),
            "{ ttl = \"1m\", ttl_by_status = { 404 = \"20s\" } }",
            20,
        ),
        (
            status(410),
            "{ ttl_by_status = { 404 = \"20s\", 4xx = \"40s\" } }",
            40,
        ),
    ] {
        let left = ttl(reply.body("b"), rules).await.unwrap_or_default();
        assert!((wanted - 8..=wanted).contains(&left), "{rules}: ttl={left}");
    }
    // Zero is the origin's way to say "ask me"; and nobody's page becomes everybody's by a lifetime.
    for (reply, rules) in [
        (ok().max_age(0).etag("\"v1\""), "{ ttl_min = \"1m\" }"),
        (ok().no_store(), "{ ttl = \"1m\" }"),
        (ok().directive("private"), "{ ttl = \"1m\" }"),
        (ok().header("set-cookie", "a=b"), "{ ttl = \"1m\" }"),
        (status(500), "{ ttl = \"1m\" }"),
    ] {
        let (o, e) = behind(reply.body("b"), rules).await;
        e.client().get("/a").send().await;
        let again = e.client().get("/a").send().await;
        again.no_cache_status("hit");
        assert_eq!(o.fetches("/a"), 2, "{rules}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_for_is_refreshed_before_anybody_waits() {
    let (o, e) = behind(ok().max_age(3600).body("old"), "{ refresh_every = \"1s\" }").await;
    e.client().get("/a").send().await.expect(200).body("old");
    e.client().get("/never-again").send().await.expect(200);
    o.change("*", ok().max_age(3600).body("new"));
    e.client()
        .get("/a")
        .send()
        .await
        .expect(200)
        .body("old")
        .cache_status("hit");
    // Nobody asks now, and yet it comes.
    o.fetched("/a", 2).await;
    loop {
        let answer = e.client().get("/a").send().await.expect(200);
        let body = answer.text();
        answer.cache_status("hit");
        if body == "new" {
            break;
        }
    }
    // What nobody has asked for since is left alone, however often the others are fetched.
    for n in 3..6 {
        e.client().get("/a").send().await.expect(200);
        o.fetched("/a", n).await;
    }
    assert!(o.fetches("/never-again") <= 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_ends_the_refreshes_that_it_takes_away() {
    let reply = || ok().max_age(3600).body("b");
    let (o, e) = behind(reply(), "{ refresh_every = \"1s\" }").await;
    // As long as it is asked for, it is fetched anew.
    e.client().get("/a").send().await.expect(200);
    e.client().get("/a").send().await.expect(200);
    o.fetched("/a", 2).await;
    e.metric_becomes("forebay_cache_refreshes_total{result=\"stored\"}", 1.0)
        .await;
    e.client().get("/a").send().await.cache_status("hit");
    e.reload_with(&format!(
        "{}\n[[route]]\nname = \"other\"\npath = \"/other\"\nto = \"{{o1}}\"\ncache = {{ refresh_every = \"1s\" }}",
        route("true")
    ))
    .await;
    let before = o.fetches("/a");
    // Those of another go on: by its third, there would have been two of the first at least.
    e.client().get("/other").send().await.expect(200);
    for n in 2..5 {
        for target in ["/a", "/other"] {
            e.client().get(target).send().await.expect(200);
        }
        o.fetched("/other", n).await;
    }
    // One may have been under way.
    assert!(o.fetches("/a") <= before + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_changes_the_size_of_the_cache() {
    let big = vec![b'x'; 3 << 20];
    let o = origin("o1")
        .on("/small", ok().max_age(600).body("b"))
        .on("*", ok().max_age(600).body(&big))
        .start()
        .await;
    let sized = |memory: &str, more: &str| {
        format!("[cache]\nmemory = \"{memory}\"\n{more}\n{}", route("true"))
    };
    let e = edge(&sized("64MiB", "")).origin(&o).start().await;
    for target in ["/small", "/1", "/2", "/3", "/4", "/5", "/6"] {
        e.client().get(target).send().await.expect(200);
    }
    e.client().get("/6").send().await.cache_status("hit");
    e.write(&sized("16MiB", "object = \"1MiB\""));
    let report = e.reload().await.expect(200).json();
    assert_eq!(
        report["changes"],
        serde_json::json!(["cache: changed (in_flight, memory, object)"])
    );
    assert_eq!(report["needs_restart"], serde_json::json!([]));
    // In force when the call returns: what no longer fits is gone, and large bodies are not stored any more.
    let capacity = f64::from(16 << 20);
    e.metric_becomes("forebay_cache_capacity_bytes", capacity)
        .await;
    assert!(e.metric("forebay_cache_bytes").await <= capacity);
    let passed = e.client().get("/7").send().await.expect(200);
    passed.cache_status("detail=too-large");
    // It grows as well, and nothing was lost by that.
    e.reload_with(&sized("64MiB", "")).await;
    e.client().get("/8").send().await.expect(200);
    e.client().get("/8").send().await.cache_status("hit");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_keeps_what_is_stored() {
    let (o, e) = behind(ok().max_age(600).body("b"), "true").await;
    e.client().get("/a").send().await.expect(200);
    e.reload_with(&route("{ ttl = \"5m\" }")).await;
    e.client()
        .get("/a")
        .send()
        .await
        .expect(200)
        .cache_status("hit");
    assert_eq!(o.fetches("/a"), 1);
    // Unless the cache is turned off; and what was there is there when it is on again.
    e.reload_with(&route("false")).await;
    e.client()
        .get("/a")
        .send()
        .await
        .expect(200)
        .cache_status("fwd=bypass");
    e.reload_with(&route("true")).await;
    e.client()
        .get("/a")
        .send()
        .await
        .expect(200)
        .cache_status("hit");
    assert_eq!(o.fetches("/a"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_remembered_of_what_cannot_be_shared_where_that_is_said() {
    let (o, e) = behind(ok().no_store().body("b"), "{ uncacheable_for = \"0s\" }").await;
    for _ in 0..3 {
        let own = e.client().get("/a").send().await.expect(200);
        own.cache_status("fwd=uri-miss; detail=no-store");
    }
    assert_eq!(o.fetches("/a"), 3);
}
