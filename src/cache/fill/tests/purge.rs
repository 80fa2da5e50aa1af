//! Purges of what is stored and of what is under way, as both lanes see them.

use super::rig::{FRESH, Fields, Rig, after, body, event, headers, read, response};
use crate::cache::fill::{Event, Failure, Wanted};
use crate::cache::key::Target;
use crate::cache::lookup::{Answer, Ask};
use crate::cache::outcome::Reason;
use crate::cache::policy::stale::Trouble;
use crate::cache::purge::{Mode, Purge, Purged};
use crate::cache::settings::{KeyRules, Rules};
use crate::clock;
use crate::fields::view::FieldView;
use http::{Method, StatusCode};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

pub(super) const TAGGED: Fields<'_> = &[
    ("cache-control", "max-age=60, stale-if-error=60"),
    ("surrogate-key", "items a"),
    ("cache-groups", "\"g\""),
];

/// Scopes that are about `/api/items`, which is [`TAGGED`], and those that are not.
const ABOUT: [&str; 9] = [
    "all",
    "host:a.example",
    "prefix:/api",
    "prefix:http://a.example/api/items/",
    "url:/api/items",
    "url:https://a.example/api/items",
    "tag:items",
    "tag:g",
    "tag:own",
];
const NOT_ABOUT: [&str; 8] = [
    "host:b.example",
    "prefix:/api/item",
    "prefix:http://b.example/api/",
    "url:/api/items/",
    "url:/api/items?",
    "url:http://a.example/api",
    "tag:item",
    "tag:b",
];

impl Rig {
    pub(super) fn purge(&self, scope: &str, mode: Mode) -> Purged {
        let purge = Purge {
            scope: scope.parse().expect(scope),
            mode,
        };
        // Nobody sweeps by himself: what is swept, and when, is the test's to say.
        self.cache.engine.sweeping.store(true, Ordering::Relaxed);
        self.cache.keyed_by(vec![self.rules.key.clone()]);
        self.cache.purge(&purge)
    }

    /// What the express lane serves.
    pub(super) fn hit(&self, path: &str, fields: Fields<'_>) -> Option<String> {
        let ask = Ask {
            method: &Method::GET,
            target: Target {
                scheme: "http",
                authority: "a.example",
                path,
                query: None,
            },
            headers: FieldView::Map(&headers(fields)),
            has_body: false,
            upgrade: false,
            unshared: None,
            rules: &self.rules,
            route: &self.route,
            upstream: &Arc::from("u"),
            client: self.client,
        };
        let served = self.cache.hit(&ask, clock::now())?;
        Some(body(&served.response))
    }

    fn entries(&self) -> u64 {
        self.cache.engine.store.stats().entries
    }
}

/// One whose route has a tag of its own.
pub(super) fn rig() -> Rig {
    Rig::with(Rules {
        tags: vec!["own".to_owned()],
        ..Rules::default()
    })
}

#[tokio::test(start_paused = true)]
async fn what_a_hard_purge_is_about_is_gone_for_both_lanes() {
    let rig = rig();
    for scope in ABOUT {
        rig.store("/api/items", &[], TAGGED, "old");
        assert_eq!(rig.hit("/api/items", &[]).as_deref(), Some("old"));
        let matched = rig.purge(scope, Mode::Hard).matched;
        let counted = scope.starts_with("tag:") || scope.starts_with("url:http");
        assert_eq!(matched, counted.then_some(1), "{scope}");
        assert_eq!(rig.hit("/api/items", &[]), None, "{scope}");
        let again = rig.purge(scope, Mode::Hard).matched;
        assert_eq!(again, counted.then_some(0), "{scope}");
        drop(rig.lead("/api/items", &[]));
    }
    rig.store("/api/items", &[], TAGGED, "old");
    for scope in NOT_ABOUT {
        let matched = rig.purge(scope, Mode::Hard).matched;
        assert_eq!(matched.unwrap_or_default(), 0, "{scope}");
        assert_eq!(
            rig.hit("/api/items", &[]).as_deref(),
            Some("old"),
            "{scope}"
        );
    }
    rig.assert_idle();
}

#[tokio::test(start_paused = true)]
async fn what_a_soft_purge_is_about_is_served_stale_while_it_is_fetched() {
    let rig = rig();
    for scope in ABOUT {
        rig.store("/api/items", &[], TAGGED, "old");
        after(1).await;
        rig.purge(scope, Mode::Soft);
        after(2).await;
        assert_eq!(rig.hit("/api/items", &[]), None, "{scope}");
        let served = rig.serve("/api/items", &[]);
        assert_eq!(body(&served.response), "old");
        assert_eq!(served.outcome.ttl, Some(-2), "{scope}");
        assert_eq!(served.outcome.reason, Some(Reason::StaleWhileRevalidate));
        let mut refresh = served.refresh.expect("a fetch behind it");
        assert!(
            rig.serve("/api/items", &[]).refresh.is_none(),
            "one is enough"
        );
        assert_eq!(refresh.head(200, TAGGED), Wanted::Body);
        refresh.data("new");
        refresh.writer.end();
        drop(refresh);
        assert_eq!(
            rig.hit("/api/items", &[]).as_deref(),
            Some("new"),
            "{scope}"
        );
        rig.purge("all", Mode::Hard);
    }
    rig.assert_idle();
}

#[tokio::test(start_paused = true)]
async fn what_may_not_be_served_stale_is_not_after_a_soft_purge() {
    let rig = rig();
    let strict: Fields<'_> = &[
        ("cache-control", "max-age=60, must-revalidate"),
        ("etag", "\"1\""),
    ];
    rig.store("/", &[], strict, "x");
    rig.purge("url:http://a.example/", Mode::Soft);
    let (mut lead, mut follower) = rig.lead("/", &[]);
    assert_eq!(lead.request["if-none-match"], "\"1\"");
    assert_eq!(lead.head(304, strict), Wanted::Nothing);
    assert!(matches!(event(&mut follower), Some(Event::Stored(..))));
    drop(lead);
    assert_eq!(rig.hit("/", &[]).as_deref(), Some("x"));
    // The window that is given ends.
    rig.store("/2", &[], FRESH, "x");
    rig.purge("all", Mode::Soft);
    after(59).await;
    drop(rig.serve("/2", &[]).refresh.expect("a fetch behind it"));
    after(1).await;
    drop(rig.lead("/2", &[]));
}

#[tokio::test(start_paused = true)]
async fn a_fetch_begun_before_a_purge_is_neither_joined_nor_fresh() {
    for scope in ABOUT {
        for (head_first, mode) in [
            (false, Mode::Hard),
            (true, Mode::Hard),
            (false, Mode::Soft),
            (true, Mode::Soft),
        ] {
            let rig = rig();
            let (mut old, mut first) = rig.lead("/api/items", &[]);
            if head_first {
                old.head(200, TAGGED);
            }
            rig.purge(scope, mode);
            let (mut new, mut second) = rig.lead("/api/items", &[]);
            let mut third = rig.follow("/api/items", &[]);
            if !head_first {
                old.head(200, TAGGED);
            }
            new.head(200, TAGGED);
            new.data("new");
            new.writer.end();
            old.data("old");
            old.writer.end();
            // Who was there gets what was asked for; and it does not take the place of the new one.
            response(&mut first);
            assert_eq!(read(&mut first), ("old".into(), Some("end")));
            for follower in [&mut second, &mut third] {
                response(follower);
                assert_eq!(read(follower), ("new".into(), Some("end")));
            }
            let case = format!("{scope} {mode:?} {head_first}");
            assert_eq!(rig.hit("/api/items", &[]).as_deref(), Some("new"), "{case}");
            // Nor is it there where nothing else is.
            let (mut old, _first) = rig.lead("/api/items/2", &[]);
            rig.purge("tag:items", mode);
            old.head(200, TAGGED);
            old.data("old");
            old.writer.end();
            drop(old);
            assert_eq!(rig.hit("/api/items/2", &[]), None, "{case}");
            match (mode, rig.get("/api/items/2")) {
                (Mode::Hard, Answer::Lead(..)) => {}
                (Mode::Soft, Answer::Serve(serve)) => assert!(serve.outcome.ttl < Some(1)),
                (_, other) => panic!("{case}: {other:?}"),
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_no_purge_is_about_goes_on_as_it_was() {
    let rig = rig();
    let (mut lead, _first) = rig.lead("/api/items", &[]);
    for scope in NOT_ABOUT.iter().filter(|it| !it.starts_with("tag:")) {
        rig.purge(scope, Mode::Hard);
        drop(rig.follow("/api/items", &[]));
    }
    // Nobody knows its tags: it might have any.
    rig.purge("tag:other", Mode::Hard);
    drop(rig.lead("/api/items", &[]));
    lead.head(200, TAGGED);
    drop(rig.follow("/api/items", &[]));
    lead.data("x");
    lead.writer.end();
    assert_eq!(rig.hit("/api/items", &[]).as_deref(), Some("x"));
}

#[tokio::test(start_paused = true)]
async fn what_was_purged_is_neither_validated_nor_in_need_served() {
    let rig = rig();
    rig.store("/", &[], TAGGED, "old");
    after(61).await;
    // While it is validated.
    let (mut lead, mut first) = rig.lead("/", &[]);
    rig.purge("tag:items", Mode::Hard);
    assert_eq!(lead.head(304, TAGGED), Wanted::Nothing);
    assert!(
        matches!(event(&mut first), Some(Event::Stored(..))),
        "it was there before"
    );
    drop(lead);
    assert_eq!(rig.hit("/", &[]), None);
    rig.store("/", &[], TAGGED, "old");
    after(61).await;
    let (mut lead, mut first) = rig.lead("/", &[]);
    rig.purge("all", Mode::Hard);
    lead.writer.fail(Failure {
        status: StatusCode::BAD_GATEWAY,
        word: "reset",
        retry_after: None,
        trouble: Trouble::Failed,
        held: Duration::ZERO,
    });
    assert!(matches!(event(&mut first), Some(Event::AskAgain)));
}

#[tokio::test(start_paused = true)]
async fn tags_come_with_a_validation() {
    let rig = rig();
    rig.store("/", &[], FRESH, "x");
    after(61).await;
    let validated: Fields<'_> = &[("cache-control", "max-age=60"), ("xkey", "late")];
    let (mut lead, _first) = rig.lead("/", &[]);
    lead.head(304, validated);
    drop(lead);
    assert_eq!(rig.purge("tag:own", Mode::Soft).matched, Some(1));
    assert_eq!(rig.purge("tag:late", Mode::Hard).matched, Some(1));
    assert_eq!(rig.hit("/", &[]), None);
}

#[tokio::test(start_paused = true)]
async fn a_url_is_purged_under_every_key_that_it_is_stored_under() {
    let rig = Rig::with(Rules {
        key: KeyRules {
            headers: vec![http::HeaderName::from_static("x-country")],
            ..KeyRules::default()
        },
        ..Rules::default()
    });
    let countries = [[("x-country", "de")], [("x-country", "fr")]];
    for country in &countries {
        rig.store("/", country, FRESH, "x");
        rig.store("/other", country, FRESH, "x");
    }
    assert_eq!(
        rig.purge("url:http://a.example/", Mode::Soft).matched,
        Some(2)
    );
    for country in &countries {
        assert_eq!(rig.hit("/", country), None);
        drop(rig.serve("/", country));
    }
    assert_eq!(
        rig.purge("url:http://a.example/", Mode::Hard).matched,
        Some(2)
    );
    for country in &countries {
        drop(rig.lead("/", country));
        assert_eq!(rig.hit("/other", country).as_deref(), Some("x"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_sweep_frees_what_was_purged_and_forgets_the_rules() {
    let rig = rig();
    for at in 0..100 {
        rig.store(&format!("/a/{at}"), &[], TAGGED, "x");
        rig.store(&format!("/b/{at}"), &[], FRESH, "x");
    }
    let before = rig.cache.engine.store.stats().bytes;
    rig.purge("prefix:/a/", Mode::Hard);
    rig.purge("prefix:/b/1", Mode::Soft);
    assert_eq!(rig.entries(), 200);
    rig.cache.engine.sweep(|| {});
    assert_eq!(rig.entries(), 100);
    let engine = &rig.cache.engine;
    assert!(engine.store.stats().bytes < before * 6 / 10);
    assert!(engine.store.ledger().is_swept());
    assert_eq!(rig.hit("/b/0", &[]).as_deref(), Some("x"));
    assert_eq!(rig.hit("/b/1", &[]), None);
    drop(rig.serve("/b/1", &[]));
    rig.purge("all", Mode::Hard);
    engine.sweep(|| {});
    let stats = engine.store.stats();
    assert_eq!((stats.entries, stats.bytes), (0, 0));
}
