//! RFC 9111 on the wire: what is stored, how directives and dates are read, and ages; and RFC 9213.
//!
//! The tables beside the policy have every clause; these scenarios show that the whole program obeys them. A response
//! that must be stale is stale on arrival: its `Age` says so.

use crate::rig::{Edge, Origin, Reply, Response, ago, ahead, edge, ok, origin, status};

const ROUTE: &str = "[[route]]\nto = \"{o1}\"";

/// An edge in front of one origin that answers "/a" so.
async fn behind(reply: Reply) -> (Origin, Edge) {
    let o = origin("o1").on("/a", reply).start().await;
    let e = edge(ROUTE).origin(&o).start().await;
    (o, e)
}

/// What the second of two equal requests got, and how often the origin was asked.
struct Twice {
    first: Response,
    second: Response,
    fetches: usize,
}

/// Asks twice for each row's answer; every row has a target of its own.
async fn twice<const N: usize>(rows: [(&'static str, Reply); N]) -> Vec<(&'static str, Twice)> {
    let o = rows
        .iter()
        .enumerate()
        .fold(origin("o1"), |o, (n, (_, reply))| {
            o.on(&format!("/{n}"), reply.clone())
        });
    let o = o.start().await;
    let e = edge(ROUTE).origin(&o).start().await;
    let mut got = Vec::new();
    for (n, (name, _)) in rows.into_iter().enumerate() {
        let target = format!("/{n}");
        let first = e.client().get(&target).send().await;
        let second = e.client().get(&target).send().await;
        let fetches = o.fetches(&target);
        got.push((
            name,
            Twice {
                first,
                second,
                fetches,
            },
        ));
    }
    got
}

/// Every row's answer is stored and reused.
async fn reused<const N: usize>(rows: [(&'static str, Reply); N]) {
    let mut wrong = Vec::new();
    for (name, got) in twice(rows).await {
        let same = got.first.status == got.second.status
            && got.first.body.content == got.second.body.content;
        let (first, second) = (got.first.cache(), got.second.cache());
        let told = first.has("stored") && second.has("hit");
        if got.fetches != 1 || !same || !told {
            wrong.push((name, got.fetches, first, second));
        }
    }
    assert!(wrong.is_empty(), "not reused: {wrong:#?}");
}

/// No row's answer is reused, and each says why.
async fn not_reused<const N: usize>(rows: [(&'static str, &'static str, Reply); N]) {
    let reasons = rows.each_ref().map(|(_, reason, _)| *reason);
    let rows = rows.map(|(name, _, reply)| (name, reply));
    let mut wrong = Vec::new();
    for ((name, got), reason) in twice(rows).await.into_iter().zip(reasons) {
        let (first, second) = (got.first.cache(), got.second.cache());
        let told = first.has(&format!("detail={reason}")) && !first.has("stored");
        if got.fetches != 2 || !told || second.has("hit") {
            wrong.push((name, got.fetches, first, second));
        }
    }
    assert!(
        wrong.is_empty(),
        "reused, or not for its reason: {wrong:#?}"
    );
}

// ── §3: storing ──

#[tokio::test(flavor = "multi_thread")]
async fn stored_by_explicit_freshness_whatever_the_status() {
    let body = |reply: Reply| reply.body("b");
    reused([
        ("max-age", body(ok().max_age(60))),
        ("s-maxage", body(ok().directive("s-maxage=60"))),
        (
            "s-maxage over max-age",
            body(ok().max_age(0).directive("s-maxage=60")),
        ),
        ("Expires", body(ok().header("expires", &ahead(60)))),
        (
            "302",
            body(status(302).max_age(60).header("location", "/x")),
        ),
        ("403", body(status(403).max_age(60))),
        ("404", body(status(404).max_age(60))),
        ("500", body(status(500).max_age(60))),
        ("503", body(status(503).max_age(60))),
        ("an unknown one, 299", body(status(299).max_age(60))),
        ("an unknown one, 599", body(status(599).max_age(60))),
        (
            "must-understand and understood",
            body(ok().max_age(60).no_store().directive("must-understand")),
        ),
        (
            "Set-Cookie and public",
            body(
                ok().max_age(60)
                    .directive("public")
                    .header("set-cookie", "a=b"),
            ),
        ),
        (
            "Set-Cookie and s-maxage",
            body(ok().directive("s-maxage=60").header("set-cookie", "a=b")),
        ),
        (
            "Pragma says nothing about answers",
            body(ok().max_age(60).header("pragma", "no-cache")),
        ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stored_by_guess_for_the_statuses_that_allow_it() {
    // A tenth of ten days is a day.
    let old = ago(10 * 24 * 3600);
    let by_guess = |code: u16| status(code).last_modified(&old);
    let body = |code: u16| by_guess(code).body("b");
    reused([
        ("200", body(200)),
        ("203", body(203)),
        ("204", by_guess(204)),
        ("300", body(300)),
        ("301", body(301).header("location", "/x")),
        ("308", body(308).header("location", "/x")),
        ("404", body(404)),
        ("410", body(410)),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn not_stored_and_the_reason_told() {
    let fresh = || ok().max_age(60).body("b");
    let old = ago(10 * 24 * 3600);
    not_reused([
        ("no-store", "no-store", fresh().no_store()),
        ("private", "private", fresh().directive("private")),
        ("Vary: *", "vary-star", fresh().vary("*")),
        ("Vary: * at the end", "vary-star", fresh().vary("accept, *")),
        (
            "Vary: * on another line",
            "vary-star",
            fresh().vary("accept").vary("*"),
        ),
        ("nothing about freshness", "no-freshness", ok().body("b")),
        (
            "302 is not guessed about",
            "no-freshness",
            status(302)
                .header("location", "/x")
                .last_modified(&old)
                .body("b"),
        ),
        (
            "500 is not guessed about",
            "no-freshness",
            status(500).last_modified(&old).body("b"),
        ),
        (
            "must-understand, 599",
            "must-understand",
            status(599)
                .max_age(60)
                .directive("must-understand")
                .body("b"),
        ),
        (
            "Set-Cookie",
            "set-cookie",
            fresh().header("set-cookie", "a=b"),
        ),
        (
            "stale on arrival and nothing to validate by",
            "expired",
            fresh().age(61),
        ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn private_and_no_cache_with_names_keep_these_fields_out() {
    let reply = ok()
        .directive("max-age=60")
        .directive("private=\"x-mine\"")
        .directive("no-cache=\"x-checked\"")
        .header("x-mine", "1")
        .header("x-checked", "2")
        .header("x-ours", "3")
        .header("connection", "x-hop")
        .header("x-hop", "4")
        .body("b");
    let (o, e) = behind(reply).await;
    // They are for the client that asked.
    let first = e.client().get("/a").send().await.expect(200);
    first.header("x-mine", "1").header("x-checked", "2");
    let hit = e.client().get("/a").send().await.expect(200);
    hit.cache_status("hit")
        .header("x-ours", "3")
        .no_header("x-mine")
        .no_header("x-checked")
        .no_header("x-hop");
    assert_eq!(o.fetches("/a"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_to_post_that_names_its_target_serves_get_and_head() {
    let reply = ok()
        .max_age(60)
        .header("content-location", "/a")
        .body("posted");
    let (o, e) = behind(reply).await;
    let c = e.client();
    c.post("/a", "x").send().await.expect(200).body("posted");
    let hit = c.get("/a").send().await.expect(200).body("posted");
    hit.cache_status("hit");
    c.head("/a").send().await.expect(200).cache_status("hit");
    // Never for another POST.
    c.post("/a", "x").send().await.expect(200);
    assert_eq!(o.fetches("/a"), 2);
}

// ── §5: reading the fields ──

#[tokio::test(flavor = "multi_thread")]
async fn directives_in_every_spelling() {
    let says = |value: &str| ok().header("cache-control", value).body("b");
    let age = |value: &str| ok().max_age(60).header("age", value).body("b");
    let expires = |value: &str| ok().header("expires", value).body("b");
    reused([
        ("any case", says("Max-Age=60")),
        ("quoted", says("max-age=\"60\"")),
        (
            "spaces and empty members",
            says(" ,  max-age=60 ,, public ,"),
        ),
        (
            "unknown ones",
            says("foo, bar=baz, max-age=60, quux=\"a, no-store\""),
        ),
        (
            "two lines",
            says("public").header("cache-control", "max-age=60"),
        ),
        ("more than fits 31 bits", says("max-age=99999999999")),
        ("Age: 0", age("0")),
        ("RFC 850's date", expires("Sunday, 06-Nov-44 08:49:37 GMT")),
        ("asctime's date", expires("Sun Nov  6 08:49:37 2044")),
        (
            "far in the future",
            expires("Fri, 31 Dec 9999 23:59:59 GMT"),
        ),
    ])
    .await;
    let not = |reply: Reply| ("expired", reply);
    let rows = [
        (
            "the most restrictive",
            ("no-store", says("max-age=60, no-store")),
        ),
        (
            "any case of no-store",
            ("no-store", says("NO-STORE, max-age=60")),
        ),
        ("Age beyond the lifetime", not(age("61"))),
        ("Age beyond 31 bits", not(age("2147483649"))),
        ("Expires: 0", not(expires("0"))),
        ("Expires in the past", not(expires(&ago(60)))),
        ("Expires is no date", not(expires("tomorrow"))),
        ("max-age over Expires", not(expires(&ahead(60)).max_age(0))),
    ];
    not_reused(rows.map(|(name, (reason, reply))| (name, reason, reply))).await;
}

// ── RFC 9213 ──

#[tokio::test(flavor = "multi_thread")]
async fn the_targeted_field_is_for_us_and_is_passed_on() {
    let both = |targeted: &str, others: &str| {
        ok().header("cdn-cache-control", targeted)
            .header("cache-control", others)
            .body("b")
    };
    reused([
        ("instead of no-store", both("max-age=60", "no-store")),
        (
            "instead of Expires",
            both("max-age=60", "public").header("expires", "0"),
        ),
        (
            "not valid: ignored as a whole",
            both("max-age=0, =;", "max-age=60"),
        ),
        ("empty says nothing", both("", "max-age=60")),
    ])
    .await;
    not_reused([
        (
            "no-store for us alone",
            "no-store",
            both("no-store", "max-age=60"),
        ),
        (
            "private for us alone",
            "private",
            both("private", "max-age=60"),
        ),
        (
            "not valid, so the others'",
            "no-store",
            both("max-age=\"60", "no-store"),
        ),
    ])
    .await;
    let (_o, e) = behind(both("max-age=60;x=1", "no-store")).await;
    for _ in 0..2 {
        let answer = e.client().get("/a").send().await.expect(200);
        answer
            .header("cdn-cache-control", "max-age=60;x=1")
            .header("cache-control", "no-store");
    }
}

// ── §4.2: age ──

#[tokio::test(flavor = "multi_thread")]
async fn age_counts_what_came_and_the_date_is_the_origins() {
    let date = ago(30);
    let (_o, e) = behind(ok().max_age(600).age(100).header("date", &date).body("b")).await;
    let first = e.client().get("/a").send().await.expect(200);
    first.header("date", &date).aged(100);
    let hit = e.client().get("/a").send().await.expect(200);
    let ttl = hit.cache().ttl().expect("ttl");
    assert!((494..=500).contains(&ttl), "ttl={ttl}");
    hit.header("date", &date).aged(100).cache_status("hit");

    // Its clock tells more than its Age: the apparent age counts.
    let date = ago(200);
    let (_o, e) = behind(ok().max_age(600).age(100).header("date", &date).body("b")).await;
    e.client().get("/a").send().await.expect(200);
    let hit = e.client().get("/a").send().await.expect(200);
    hit.cache_status("hit").aged(200);
}
