//! Validators and parts: conditional requests both ways, 304s, HEAD, ranges of what is stored and of what is on its way.

use crate::rig::{Edge, Origin, Reply, ago, edge, gate, get, head, ok, origin, status};

const ROUTE: &str = "[[route]]\nto = \"{o1}\"";
const DIGITS: &str = "0123456789";

/// An edge in front of one origin that answers "/a" so.
async fn behind(reply: Reply) -> (Origin, Edge) {
    let o = origin("o1").on("/a", reply).start().await;
    let e = edge(ROUTE).origin(&o).start().await;
    (o, e)
}

// ── RFC 9111 §4.3.2: a client's conditions, answered from the store ──

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_has_it_is_told_so() {
    let changed = ago(3600);
    let reply = ok().max_age(60).etag("\"v1\"").last_modified(&changed);
    let (o, e) = behind(reply.header("content-language", "en").body("b")).await;
    e.client().get("/a").send().await.expect(200);
    let before = ago(7200);
    let asks = |fields: &[(&str, &str)]| {
        let request = fields.iter().fold(get("/a"), |r, (n, v)| r.header(n, v));
        e.client().request(request).send()
    };
    for tags in ["\"v1\"", "W/\"v1\"", "\"x\", W/\"v1\" ,\"y\"", "*"] {
        let same = asks(&[("If-None-Match", tags)]).await.expect(304);
        same.header("etag", "\"v1\"")
            .header("cache-control", "max-age=60")
            .no_header("content-length")
            .no_header("content-language")
            .cache_status("hit");
    }
    for tags in ["\"v2\"", "\"V1\"", "v1"] {
        let other = asks(&[("If-None-Match", tags)]).await.expect(200);
        other.body("b").cache_status("hit");
    }
    asks(&[("If-Modified-Since", &changed)]).await.expect(304);
    asks(&[("If-Modified-Since", &before)]).await.expect(200);
    asks(&[("If-Modified-Since", "yesterday")])
        .await
        .expect(200);
    // RFC 9110 §13.2.2: If-None-Match goes first, and then If-Modified-Since is not looked at.
    let both = [("If-None-Match", "\"v2\""), ("If-Modified-Since", &changed)];
    asks(&both).await.expect(200).body("b");
    assert_eq!(o.fetches("/a"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_on_writing_are_the_origins_to_judge() {
    let (o, e) = behind(ok().max_age(60).etag("\"v1\"").body("b")).await;
    e.client().get("/a").send().await.expect(200);
    let then = ago(3600);
    for (name, value) in [
        ("If-Match", "\"v2\""),
        ("If-Unmodified-Since", then.as_str()),
    ] {
        let before = o.fetches("/a");
        let passed = e.client().get("/a").header(name, value).send().await;
        passed.expect(200).cache_status("detail=precondition");
        assert_eq!(o.fetches("/a"), before + 1);
        assert_eq!(o.last("/a").header(name), Some(value));
    }
}

// ── §4.3.1, §4.3.3, §4.3.4: our own conditions ──

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stale_is_validated_and_freshened() {
    let changed = ago(3600);
    let stale = ok()
        .max_age(60)
        .age(100)
        .etag("\"v1\"")
        .last_modified(&changed);
    let (o, e) = behind(
        stale
            .header("x-version", "1")
            .header("x-kept", "k")
            .body("b"),
    )
    .await;
    e.client().get("/a").send().await.expect(200);
    let same = status(304)
        .max_age(600)
        .etag("\"v1\"")
        .header("x-version", "2");
    o.change("/a", same);
    let fresh = e.client().get("/a").send().await.expect(200);
    fresh
        .body("b")
        .cache_status("fwd=stale; fwd-status=304; detail=refreshed")
        .header("x-version", "2")
        .header("x-kept", "k")
        .header("cache-control", "max-age=600");
    let asked = o.last("/a");
    assert_eq!(asked.header("if-none-match"), Some("\"v1\""));
    assert_eq!(asked.header("if-modified-since"), Some(changed.as_str()));
    // §3.2: all of its fields are there from now on, and it is young again.
    let hit = e.client().get("/a").send().await.expect(200);
    hit.header("x-version", "2")
        .header("x-kept", "k")
        .aged(0)
        .cache_status("hit");
    assert_eq!(o.fetches("/a"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_with_the_same_validator_gets_our_304() {
    let (o, e) = behind(ok().max_age(60).age(100).etag("\"v1\"").body("b")).await;
    e.client().get("/a").send().await.expect(200);
    o.change("/a", status(304).max_age(600).etag("\"v1\""));
    let asks = e.client().get("/a").header("If-None-Match", "\"v1\"");
    asks.send().await.expect(304).header("etag", "\"v1\"");
    let hit = e.client().get("/a").send().await.expect(200).body("b");
    hit.cache_status("hit");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_one_replaces_what_was_stored() {
    let (o, e) = behind(ok().max_age(60).age(100).etag("\"v1\"").body("old")).await;
    e.client().get("/a").send().await.expect(200);
    o.change("/a", ok().max_age(60).etag("\"v2\"").body("new"));
    let new = e.client().get("/a").send().await.expect(200).body("new");
    new.cache_status("fwd=stale; stored")
        .header("etag", "\"v2\"");
    let hit = e.client().get("/a").send().await.expect(200).body("new");
    hit.cache_status("hit");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_304_about_something_else_is_not_believed() {
    let stale = ok().max_age(60).age(100).etag("\"v1\"").body("old");
    let o = origin("o1")
        .on("/a", stale)
        .then(status(304).max_age(60).etag("\"v2\""))
        .then(ok().max_age(60).etag("\"v2\"").body("new"))
        .start()
        .await;
    let e = edge(ROUTE).origin(&o).start().await;
    e.client().get("/a").send().await.expect(200).body("old");
    // It speaks of "v2", which nobody here has: it is asked again, without a condition.
    let new = e.client().get("/a").send().await.expect(200);
    new.body("new").header("etag", "\"v2\"");
    assert_eq!(o.requests()[1].header("if-none-match"), Some("\"v1\""));
    assert_eq!(o.requests()[2].header("if-none-match"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_without_condition_is_never_told_304() {
    let (o, e) = behind(ok().max_age(60).etag("\"v1\"").body("b")).await;
    // The first of all has a condition of its own; the body is fetched for everybody.
    let asks = e.client().get("/a").header("If-None-Match", "\"v0\"");
    asks.send().await.expect(200).body("b");
    assert_eq!(o.last("/a").header("if-none-match"), None);
    let hit = e.client().get("/a").send().await.expect(200).body("b");
    hit.cache_status("hit");
}

// ── §4.3.5 and HEAD ──

#[tokio::test(flavor = "multi_thread")]
async fn head_is_answered_from_a_stored_get() {
    let (o, e) = behind(ok().max_age(60).etag("\"v1\"").body(DIGITS)).await;
    e.client().get("/a").send().await.expect(200);
    let answer = e.client().head("/a").send().await.expect(200).body("");
    answer
        .cache_status("hit")
        .header("content-length", "10")
        .header("etag", "\"v1\"");
    let same = e
        .client()
        .request(head("/a").header("If-None-Match", "\"v1\""));
    same.send().await.expect(304);
    assert_eq!(o.fetches("/a"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_differs_makes_what_is_stored_stale() {
    let (o, e) = behind(ok().max_age(60).age(5).etag("\"v1\"").body("old")).await;
    e.client().get("/a").send().await.expect(200);
    o.change("/a", ok().max_age(60).etag("\"v2\"").body("newer"));
    let asked = head("/a").header("Cache-Control", "no-cache");
    let told = e.client().request(asked).send().await.expect(200);
    told.header("etag", "\"v2\"");
    // It would have been fresh for a minute, had nobody told.
    let new = e.client().get("/a").send().await.expect(200).body("newer");
    new.header("etag", "\"v2\"");
}

// ── RFC 9110 §14: ranges ──

#[tokio::test(flavor = "multi_thread")]
async fn ranges_of_what_is_stored() {
    let (o, e) = behind(ok().max_age(60).etag("\"v1\"").body(DIGITS)).await;
    e.client().get("/a").send().await.expect(200);
    let asks = |range: &str| e.client().get("/a").header("Range", range).send();
    for (range, content, part) in [
        ("bytes=0-0", "bytes 0-0/10", "0"),
        ("bytes=2-5", "bytes 2-5/10", "2345"),
        ("bytes=7-", "bytes 7-9/10", "789"),
        ("bytes=7-99", "bytes 7-9/10", "789"),
        ("bytes=-3", "bytes 7-9/10", "789"),
        ("bytes=-99", "bytes 0-9/10", DIGITS),
    ] {
        let answer = asks(range).await.expect(206).body(part);
        answer
            .header("content-range", content)
            .header("etag", "\"v1\"")
            .cache_status("hit");
    }
    asks("bytes=10-")
        .await
        .expect(416)
        .header("content-range", "bytes */10");
    // RFC 9110 §14.2: an unknown unit, or a syntax that is none, is as if it were not there.
    for range in ["lines=1-2", "bytes=5-2", "bytes=a-b", "bytes="] {
        asks(range).await.expect(200).body(DIGITS);
    }
    let several = asks("bytes=0-1,-2").await.expect(206);
    let kind = several.value("content-type").to_owned();
    let boundary = kind
        .strip_prefix("multipart/byteranges; boundary=")
        .unwrap_or_else(|| panic!("{kind}"));
    let boundary = boundary.trim_matches('"');
    assert_eq!(several.text().matches(&format!("--{boundary}")).count(), 3);
    several
        .body_contains("bytes 0-1/10\r\n")
        .body_contains("bytes 8-9/10\r\n")
        .cache_status("hit");
    assert_eq!(o.fetches("/a"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn if_range_needs_a_strong_match() {
    let changed = ago(3600);
    let reply = ok().max_age(60).etag("\"v1\"").last_modified(&changed);
    let (o, e) = behind(reply.body(DIGITS)).await;
    e.client().get("/a").send().await.expect(200);
    let asks = |validator: &str| {
        let request = get("/a")
            .header("Range", "bytes=0-1")
            .header("If-Range", validator);
        e.client().request(request).send()
    };
    asks("\"v1\"").await.expect(206).body("01");
    asks(&changed).await.expect(206).body("01");
    for other in ["W/\"v1\"", "\"v2\"", &ago(60)] {
        asks(other).await.expect(200).body(DIGITS);
    }
    assert_eq!(o.fetches("/a"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_is_served_from_a_fetch_under_way() {
    let middle = gate();
    let (a, b) = ("a".repeat(40_000), "b".repeat(40_000));
    let reply = ok().max_age(60).etag("\"v1\"").length(80_000);
    let (o, e) = behind(reply.data(&a).hold(&middle).data(&b)).await;
    let whole = e.client().crowd(1, &get("/a"));
    whole.begun(1).await;
    // The gate is shut: these octets are there already, and no other fetch is made for them.
    let part = e
        .client()
        .get("/a")
        .header("Range", "bytes=100-199")
        .send()
        .await;
    part.expect(206)
        .body("a".repeat(100))
        .header("content-range", "bytes 100-199/80000");
    assert_eq!((o.fetches("/a"), whole.done()), (1, 0));
    middle.open();
    for one in whole.all().await {
        one.response.expect(200).body(format!("{a}{b}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_from_the_origin_is_kept_and_completed() {
    let part = |range: &str, body: &str| {
        status(206)
            .max_age(60)
            .etag("\"v1\"")
            .header("content-range", range)
            .body(body)
    };
    let (o, e) = behind(part("bytes 0-4/10", "01234")).await;
    let asks = |range: &str| e.client().get("/a").header("Range", range).send();
    asks("bytes=0-4").await.expect(206).body("01234");
    assert_eq!(o.last("/a").header("range"), Some("bytes=0-4"));
    asks("bytes=1-2")
        .await
        .expect(206)
        .body("12")
        .cache_status("hit");
    assert_eq!(o.fetches("/a"), 1);

    // What is missing is fetched, and the two are one.
    o.change("/a", part("bytes 5-9/10", "56789"));
    asks("bytes=5-9").await.expect(206).body("56789");
    let whole = e.client().get("/a").send().await.expect(200).body(DIGITS);
    whole.cache_status("hit").no_header("content-range");
    assert_eq!(o.fetches("/a"), 2);

    // Parts of another version are not mixed in.
    let (o, e) = behind(part("bytes 0-4/10", "01234")).await;
    let asks = |range: &str| e.client().get("/a").header("Range", range).send();
    asks("bytes=0-4").await.expect(206);
    let other = status(206)
        .max_age(60)
        .etag("\"v2\"")
        .header("content-range", "bytes 5-9/10");
    o.change("/a", other.body("fghij"));
    asks("bytes=5-9").await.expect(206).body("fghij");
    o.change("/a", ok().max_age(60).etag("\"v2\"").body("abcdefghij"));
    e.client()
        .get("/a")
        .send()
        .await
        .expect(200)
        .body("abcdefghij");
}

// ── RFC 9110 §15.2: interim answers ──

#[tokio::test(flavor = "multi_thread")]
async fn interim_answers_reach_all_who_wait_and_are_not_kept() {
    let held = gate();
    let hints = [("link", "</a.css>; rel=preload")];
    let (o, e) = behind(ok().max_age(60).hold(&held).interim(103, &hints).body("b")).await;
    let crowd = e.client().crowd(10, &get("/a"));
    crowd.asked().await;
    o.fetched("/a", 1).await;
    held.open();
    let with_hints = crowd
        .all()
        .await
        .into_iter()
        .map(|one| one.response.expect(200));
    // Who came when it had passed has not seen it; whoever led has.
    assert!(
        with_hints
            .filter(|answer| answer.interim.len() == 1)
            .count()
            >= 1
    );
    let hit = e.client().get("/a").send().await.expect(200).interim(&[]);
    hit.cache_status("hit").no_header("link");
}
