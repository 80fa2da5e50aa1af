//! Who shares what: variants, routes, and what a write makes worthless.

use super::rig::{FRESH, Rig, after, body, event, read, response};
use crate::cache::fill::{Event, Wanted};
use crate::cache::lookup::Answer;
use crate::cache::outcome::ForwardReason;

const VARIES: &[(&str, &str)] = &[("cache-control", "max-age=60"), ("vary", "x-kind")];

fn kind(kind: &'static str) -> [(&'static str, &'static str); 1] {
    [("x-kind", kind)]
}

#[tokio::test(start_paused = true)]
async fn a_follower_for_other_values_asks_again_and_leads_its_own() {
    let rig = Rig::new();
    let (mut a, mut first) = rig.lead("/", &kind("a"));
    // Nobody knows yet that it varies.
    let mut other = rig.follow("/", &kind("b"));
    let mut same = rig.follow("/", &kind("a"));
    a.head(200, VARIES);
    assert!(matches!(event(&mut other), Some(Event::AskAgain)));
    assert_eq!(response(&mut first), (true, false));
    assert_eq!(response(&mut same), (true, true));
    let (mut b, mut other) = rig.lead("/", &kind("b"));
    // Now it is known: this one is not made to wait for the wrong fetch.
    let (c, _third) = rig.lead("/", &kind("c"));
    let mut also = rig.follow("/", &kind("b"));
    b.head(200, VARIES);
    b.data("b");
    b.writer.end();
    a.data("a");
    a.writer.end();
    for follower in [&mut other, &mut also] {
        response(follower);
        assert_eq!(read(follower), ("b".into(), Some("end")));
    }
    assert_eq!(body(&rig.serve("/", &kind("a")).response), "a");
    assert_eq!(body(&rig.serve("/", &kind("b")).response), "b");
    drop(c);
}

#[tokio::test(start_paused = true)]
async fn what_is_stored_says_what_a_response_will_vary_on() {
    let rig = Rig::new();
    rig.store("/", &kind("a"), VARIES, "a");
    let (_b, mut first) = rig.lead("/", &kind("b"));
    let (_c, _) = rig.lead("/", &kind("c"));
    let _follower = rig.follow("/", &kind("b"));
    assert!(event(&mut first).is_none());
    after(60).await;
    // The stale one is validated besides.
    let (a, _) = rig.lead("/", &kind("a"));
    drop(a);
}

#[tokio::test(start_paused = true)]
async fn routes_share_neither_fetches_nor_responses_but_invalidations() {
    let mut rig = Rig::new();
    rig.store("/", &[], FRESH, "r");
    let (one, _first) = rig.lead("/2", &[]);
    rig.route = "other".into();
    let (_two, _second) = rig.lead("/2", &[]);
    rig.store("/", &[], FRESH, "other");
    assert_eq!(body(&rig.serve("/", &[]).response), "other");
    let forward = rig.forward("PUT", "/", &[]);
    rig.forwarded(forward, 204, &[]);
    drop(rig.lead("/", &[]));
    rig.route = "r".into();
    drop(rig.lead("/", &[]));
    drop(one);
}

#[tokio::test(start_paused = true)]
async fn a_fetch_begun_before_a_write_is_neither_joined_nor_stored() {
    // Whether its head is there when the write's answer comes.
    for head_first in [false, true] {
        let rig = Rig::new();
        let (mut old, mut first) = rig.lead("/", &[]);
        let write = rig.forward("DELETE", "/", &[]);
        if head_first {
            old.head(200, FRESH);
            old.data("o");
        }
        rig.forwarded(write, 204, &[]);
        let (mut new, mut second) = rig.lead("/", &[]);
        if !head_first {
            assert_eq!(old.head(200, FRESH), Wanted::Body);
            old.data("o");
        }
        // Who follows already keeps its stream.
        old.data("ld");
        old.writer.end();
        response(&mut first);
        assert_eq!(read(&mut first), ("old".into(), Some("end")));
        let third = rig.follow("/", &[]);
        new.head(200, FRESH);
        new.data("new");
        new.writer.end();
        response(&mut second);
        assert_eq!(body(&rig.serve("/", &[]).response), "new");
        drop((second, third));
        rig.assert_idle();
    }
}

#[tokio::test(start_paused = true)]
async fn a_validation_begun_before_a_write_does_not_bring_back_what_was_stored() {
    let rig = Rig::new();
    rig.store("/", &[], FRESH, "old");
    after(61).await;
    let (mut lead, mut first) = rig.lead("/", &[]);
    let write = rig.forward("POST", "/", &[]);
    rig.forwarded(write, 200, &[]);
    lead.head(304, FRESH);
    match event(&mut first) {
        Some(Event::Stored(response, outcome)) => {
            assert_eq!((body(&response).as_str(), outcome.stored), ("old", false));
        }
        other => panic!("{other:?}"),
    }
    drop(rig.lead("/", &[]));
    rig.assert_idle();
}

/// RFC 9111 §4.4.
#[tokio::test(start_paused = true)]
async fn what_a_write_invalidates() {
    for (method, status, fields, gone) in [
        ("POST", 200, &[][..], &["/"][..]),
        ("PUT", 302, &[], &["/"]),
        ("FROB", 204, &[], &["/"]),
        ("POST", 404, &[], &[]),
        ("POST", 500, &[], &[]),
        ("OPTIONS", 200, &[], &[]),
        ("POST", 201, &[("location", "/a")], &["/", "/a"]),
        (
            "POST",
            200,
            &[("content-location", "http://a.example/b")],
            &["/", "/b"],
        ),
        (
            "POST",
            200,
            &[("location", "http://other.example/a")],
            &["/"],
        ),
    ] {
        let rig = Rig::new();
        let paths = ["/", "/a", "/b"];
        for path in paths {
            rig.store(path, &[], FRESH, "x");
        }
        let forward = rig.forward(method, "/", &[]);
        rig.forwarded(forward, status, fields);
        let missing: Vec<_> = paths
            .into_iter()
            .filter(|path| matches!(rig.get(path), Answer::Lead(..)))
            .collect();
        assert_eq!(missing, gone, "{method} {status} {fields:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_request_is_answered_by_a_stored_get_and_freshens_it() {
    let rig = Rig::new();
    let head = |fields| rig.ask("HEAD", "/", fields);
    assert!(
        matches!(head(&[]), Answer::Forward(_)),
        "nothing to fetch a body for"
    );
    rig.store("/", &[], FRESH, "x");
    assert!(matches!(head(&[]), Answer::Serve(_)));
    after(61).await;
    let forward = rig.forward("HEAD", "/", &[]);
    assert_eq!(forward.outcome.forward, Some(ForwardReason::Stale));
    rig.forwarded(forward, 200, FRESH);
    assert!(rig.serve("/", &[]).outcome.hit);
    after(61).await;
    let forward = rig.forward("HEAD", "/", &[]);
    rig.forwarded(
        forward,
        200,
        &[("etag", "\"2\""), ("cache-control", "max-age=60")],
    );
    drop(rig.lead("/", &[]));
}

#[tokio::test(start_paused = true)]
async fn reloads_share_one_validation() {
    let rig = Rig::new();
    rig.store("/", &[], FRESH, "x");
    let reload = &[("cache-control", "no-cache")];
    let (mut lead, mut first) = rig.lead("/", reload);
    assert_eq!(lead.request["if-none-match"], "\"1\"");
    let mut second = rig.follow("/", reload);
    assert!(
        matches!(rig.get("/"), Answer::Serve(_)),
        "others do not wait"
    );
    lead.head(304, FRESH);
    for (follower, collapsed) in [(&mut first, false), (&mut second, true)] {
        match event(follower) {
            Some(Event::Stored(_, outcome)) => {
                assert_eq!((outcome.collapsed, outcome.stored), (collapsed, true));
            }
            other => panic!("{other:?}"),
        }
    }
    // One that is streamed already is as new as any.
    rig.cache.invalidate(&lead_key(&rig));
    let (mut lead, _first) = rig.lead("/", &[]);
    lead.head(200, FRESH);
    let _third = rig.follow("/", reload);
}

fn lead_key(rig: &Rig) -> crate::cache::key::CacheKey {
    let target = crate::cache::key::Target {
        scheme: "http",
        authority: "a.example",
        path: "/",
        query: None,
    };
    crate::cache::key::CacheKey::new(target, &http::HeaderMap::new(), &rig.rules.key)
}

#[tokio::test(start_paused = true)]
async fn only_if_cached_is_answered_by_what_is_stored_or_not_at_all() {
    let rig = Rig::new();
    let only = &[("cache-control", "only-if-cached")];
    assert!(matches!(rig.ask("GET", "/", only), Answer::OnlyIfCached(_)));
    rig.store("/", &[], FRESH, "x");
    assert!(matches!(rig.ask("GET", "/", only), Answer::Serve(_)));
    after(61).await;
    assert!(matches!(rig.ask("GET", "/", only), Answer::OnlyIfCached(_)));
}
