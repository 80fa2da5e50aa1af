//! Purges by the answer to a write; who is told of a purge; and what people are shown of what is stored.

use super::purge::{TAGGED, rig};
use super::rig::{FRESH, Fields, Rig, after, event};
use crate::cache::fill::Event;
use crate::cache::inspect::{Filter, Order, State};
use crate::cache::outcome::Reason;
use crate::cache::purge::{Cause, Mode};
use crate::cache::settings::{Rules, WriteRule};
use http::Method;

#[tokio::test(start_paused = true)]
async fn the_answer_to_a_write_purges() {
    for (said, status, gone) in [
        (
            &[("forebay-purge", "tag:items, url:/nothing")][..],
            200,
            true,
        ),
        (&[("forebay-purge", "prefix:/api")], 303, true),
        (&[("forebay-purge", "url:/api/items")], 204, true),
        (&[("forebay-purge", "all")], 200, true),
        (
            &[("forebay-purge", "url:http://b.example/api/items, nonsense")],
            200,
            false,
        ),
        (&[("forebay-purge", "tag:items")], 500, false),
        (&[("cache-group-invalidation", "\"x\", \"g\"")], 200, true),
        (&[("cache-group-invalidation", "\"items\"")], 200, false),
        (&[], 200, false),
    ] {
        let rig = rig();
        rig.store("/api/items", &[], TAGGED, "old");
        let write = rig.forward("POST", "/write", &[]);
        drop(rig.forwarded(write, status, said));
        let there = rig.hit("/api/items", &[]).is_some();
        assert_eq!(there, !gone, "{said:?}");
    }
    // By a safe method it is nobody's word.
    let rig = rig();
    rig.store("/api/items", &[], TAGGED, "old");
    let said: Fields<'_> = &[
        ("cache-control", "max-age=60"),
        ("forebay-purge", "tag:items"),
    ];
    rig.store("/other", &[], said, "x");
    assert!(rig.hit("/api/items", &[]).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_route_says_what_a_write_purges() {
    let rig = Rig::with(Rules {
        on_write: vec![WriteRule {
            methods: vec![Method::POST, Method::GET],
            path: "/update/*".to_owned(),
            purge: vec!["tag:items".parse().expect("a scope")],
        }],
        ..Rules::default()
    });
    for method in ["POST", "GET", "HEAD"] {
        rig.store("/api/items", &[], TAGGED, "old");
        let write = rig.forward(method, "/update/1", &[]);
        drop(rig.forwarded(write, 404, &[]));
        assert!(rig.hit("/api/items", &[]).is_some(), "{method}: an error");
        let write = rig.forward(method, "/update/1", &[]);
        let tee = rig.forwarded(write, 200, FRESH);
        assert!(tee.is_none(), "{method}: it is not stored");
        assert_eq!(rig.hit("/api/items", &[]), None, "{method}");
    }
    assert_eq!(rig.hit("/update/1", &[]), None);
    let forward = rig.forward("GET", "/update/1", &[]);
    assert_eq!(forward.outcome.reason, Some(Reason::OnWrite));
    let elsewhere = rig.forward("PUT", "/update/1", &[]);
    rig.store("/api/items", &[], TAGGED, "old");
    drop(rig.forwarded(elsewhere, 200, &[]));
    assert!(rig.hit("/api/items", &[]).is_some(), "PUT is not named");
}

#[tokio::test(start_paused = true)]
async fn purges_are_told() {
    let rig = rig();
    rig.store("/", &[], TAGGED, "x");
    let mut events = rig.cache.purges();
    rig.purge("tag:items", Mode::Soft);
    let write = rig.forward("POST", "/write", &[]);
    let said: Fields<'_> = &[
        ("cache-group-invalidation", "\"g\""),
        ("forebay-purge", "url:/x"),
    ];
    drop(rig.forwarded(write, 200, said));
    let mut told = Vec::new();
    while let Ok(event) = events.try_recv() {
        told.push(format!(
            "{} {} {:?}",
            event.mode.word(),
            event.scope,
            event.matched
        ));
    }
    assert_eq!(
        told,
        [
            "soft tag:items Some(1)",
            "hard url:http://a.example/x Some(0)",
            "hard tag:g Some(1)"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn writes_to_what_was_stored_are_told() {
    let rig = rig();
    for path in ["/items", "/items/1"] {
        rig.store(path, &[], FRESH, "x");
    }
    let mut events = rig.cache.purges();
    for (path, status) in [
        ("/items", 500),
        ("/items", 201),
        ("/items", 201),
        ("/z", 200),
    ] {
        let write = rig.forward("POST", path, &[]);
        let said: Fields<'_> = &[("location", "/items/1")];
        drop(rig.forwarded(write, status, said));
    }
    let mut told = Vec::new();
    while let Ok(event) = events.try_recv() {
        told.push((event.cause, event.scope.to_string()));
    }
    let write = |url: &str| (Cause::Write, url.to_owned());
    assert_eq!(
        told,
        [
            write("url:http://a.example/items"),
            write("url:http://a.example/items/1")
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn entries_are_listed_with_their_hits_and_cost() {
    let rig = rig();
    let (mut lead, _follower) = rig.lead("/slow", &[("x-kind", "a")]);
    after(2).await;
    lead.head(
        200,
        &[
            ("cache-control", "max-age=60"),
            ("vary", "x-kind"),
            ("cache-tag", "s, t"),
        ],
    );
    after(1).await;
    lead.data("body");
    lead.writer.end();
    drop(lead);
    rig.store("/fast", &[], FRESH, "x");
    for _ in 0..3 {
        rig.hit("/fast", &[]);
    }
    drop(rig.serve("/slow", &[("x-kind", "a")]));
    after(10).await;
    let listed = |scope: Option<&str>, order, limit| {
        let filter = Filter {
            scope: scope.map(|it| it.parse().expect(it)),
            route: None,
        };
        rig.cache.list(&filter, order, limit)
    };
    let all = listed(None, Order::Hits, 10);
    assert_eq!((all.total, all.more), (2, false));
    let slow = &all.entries[1];
    assert_eq!(slow.url, "http://a.example/slow");
    assert_eq!((slow.status, slow.body, slow.hits), (200, 4, 1));
    assert!((slow.cost_ms - 3000.0).abs() < 1.0, "{slow:?}");
    assert_eq!(slow.tags, ["own", "s", "t"]);
    assert_eq!(slow.vary, ["x-kind"]);
    assert_eq!(all.entries[0].hits, 3);
    for (order, first) in [
        (Order::Hits, "/fast"),
        (Order::Cost, "/slow"),
        (Order::Saved, "/slow"),
        (Order::Age, "/slow"),
        (Order::Size, "/slow"),
    ] {
        let listing = listed(None, order, 1);
        assert_eq!((listing.total, listing.more), (2, true));
        assert!(listing.entries[0].url.ends_with(first), "{order:?}");
    }
    assert_eq!(listed(Some("tag:s"), Order::Hits, 9).total, 1);
    assert_eq!(listed(Some("prefix:/f"), Order::Hits, 9).total, 0);
    assert_eq!(listed(Some("url:/fast"), Order::Hits, 9).total, 1);
    // A purge is seen at once, though nobody has swept.
    rig.purge("tag:s", Mode::Soft);
    assert_eq!(
        listed(Some("tag:s"), Order::Hits, 9).entries[0].state,
        State::Stale
    );
    rig.purge("tag:s", Mode::Hard);
    assert_eq!(listed(Some("tag:s"), Order::Hits, 9).total, 0);
    // A validation keeps what is known of it.
    after(61).await;
    let (mut lead, _follower) = rig.lead("/fast", &[]);
    lead.head(304, FRESH);
    assert_eq!(listed(None, Order::Hits, 9).entries[0].hits, 3);
}

#[tokio::test(start_paused = true)]
async fn what_has_too_many_tags_is_not_stored() {
    let rig = rig();
    let many: Vec<_> = (0..1025).map(|at| at.to_string()).collect();
    let many = many.join(" ");
    let (mut lead, mut follower) = rig.lead("/", &[]);
    lead.head(200, &[("cache-control", "max-age=60"), ("xkey", &many)]);
    let Some(Event::Response(_, outcome)) = event(&mut follower) else {
        panic!("it is passed on");
    };
    assert_eq!(
        (outcome.stored, outcome.reason),
        (false, Some(Reason::TagsMany))
    );
}
