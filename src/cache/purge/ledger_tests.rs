//! What the ledger says of what was stored before and after purges, and what it keeps of them.

use super::*;
use std::collections::HashSet;

fn target(path: &'static str) -> Target<'static> {
    Target {
        scheme: "http",
        authority: "h:8080",
        path,
        query: None,
    }
}

fn subject(path: &'static str, tags: &'static str) -> Subject<'static> {
    Subject {
        target: target(path),
        tags: tags.as_bytes(),
        has_extras: false,
    }
}

fn scope(text: &str) -> Scope {
    text.parse().expect(text)
}

fn ledger() -> (Ledger, Gauge) {
    let account = Gauge::default();
    (Ledger::new(&account), account)
}

#[test]
fn a_purge_is_about_what_its_scope_covers() {
    let places = [
        "/",
        "/api",
        "/api/",
        "/api/a",
        "/api/a/b",
        "/apix",
        "/x",
        "//",
        "/api//x",
        "/api/a/b/c/d/e",
    ];
    let scopes = [
        "all",
        "host:h",
        "host:h:8080",
        "host:h:80",
        "host:other",
        "prefix:/",
        "prefix:/api",
        "prefix:/api/",
        "prefix:/api//",
        "prefix:/api/a/",
        "prefix:http://h:8080/api",
        "prefix:http://h/api",
        "url:/api",
        "url:/api/",
        "url:http://h:8080/x",
        "url:http://h/x",
        "url:/x?q",
        "tag:one",
        "tag:two",
    ];
    for text in scopes {
        let (ledger, _) = ledger();
        let purged = scope(text);
        ledger.purge(&purged, Mode::Hard);
        for path in places {
            let has = |tag: &str| tag == "one" && path == "/x";
            let stored = subject(path, if path == "/x" { "one" } else { "" });
            let expected = if purged.covers(&stored.target, has) {
                Standing::Gone
            } else {
                Standing::Valid
            };
            let checked = AtomicU64::new(0);
            assert_eq!(ledger.check(&checked, &stored), expected, "{text} {path}");
            // What was found valid is not asked about again; what comes after it is none of its business.
            let after = AtomicU64::new(ledger.now());
            assert_eq!(ledger.check(&after, &stored), Standing::Valid);
            let known = checked.load(Ordering::Relaxed) == ledger.now();
            assert_eq!(known, expected == Standing::Valid);
        }
    }
}

#[test]
fn groups_are_of_their_origin() {
    let (ledger, _) = ledger();
    let stored = subject("/a", "\u{1}g");
    ledger.count(0, &stored);
    let elsewhere = Target {
        scheme: "https",
        ..target("/a")
    };
    assert_eq!(ledger.purge_group(&elsewhere, "g"), 0);
    assert_eq!(ledger.check(&AtomicU64::new(0), &stored), Standing::Valid);
    assert_eq!(ledger.purge_group(&target("/other"), "g"), 1);
    assert_eq!(ledger.check(&AtomicU64::new(0), &stored), Standing::Gone);
    // The operator purges it as a tag, wherever it is.
    ledger.count(ledger.now(), &stored);
    assert_eq!(ledger.purge(&scope("tag:g"), Mode::Hard), Some(2));
}

#[test]
fn soft_and_hard() {
    let (ledger, _) = ledger();
    let stored = subject("/a", "t");
    let checked = AtomicU64::new(0);
    ledger.purge(&scope("tag:t"), Mode::Soft);
    let Standing::Outdated(first) = ledger.check(&checked, &stored) else {
        panic!("it is stale");
    };
    ledger.purge(&scope("prefix:/a"), Mode::Soft);
    // Stale since the first of both.
    assert_eq!(ledger.check(&checked, &stored), Standing::Outdated(first));
    let between = ledger.now();
    ledger.purge(&scope("all"), Mode::Hard);
    assert_eq!(ledger.check(&checked, &stored), Standing::Gone);
    ledger.purge(&scope("all"), Mode::Soft);
    assert_eq!(ledger.check(&checked, &stored), Standing::Gone);
    assert_eq!(
        ledger.check(&AtomicU64::new(between), &stored),
        Standing::Gone
    );
    let newest = AtomicU64::new(ledger.now());
    assert_eq!(ledger.check(&newest, &stored), Standing::Valid);
}

#[test]
fn tags_are_counted_while_something_has_them() {
    let (ledger, account) = ledger();
    let (both, one) = (subject("/a", "s\nt"), subject("/b", "t"));
    ledger.count(0, &both);
    ledger.count(0, &one);
    assert_eq!(ledger.known.get(), 2);
    assert!(account.get() > 0);
    assert_eq!(ledger.purge(&scope("tag:none"), Mode::Hard), Some(0));
    assert_eq!(ledger.purge(&scope("tag:t"), Mode::Soft), Some(2));
    assert_eq!(ledger.purge(&scope("tag:t"), Mode::Hard), Some(2));
    assert_eq!(ledger.purge(&scope("tag:t"), Mode::Hard), Some(0));
    // One that is made of a fetch from before is dead when it is born, and its end changes nothing.
    ledger.count(0, &one);
    ledger.count(ledger.now(), &one);
    ledger.discount(0, &one);
    assert_eq!(ledger.purge(&scope("tag:t"), Mode::Hard), Some(1));
    assert_eq!(ledger.purge(&scope("tag:s"), Mode::Hard), Some(1));
    for stored in [&both, &one, &one] {
        ledger.discount(0, stored);
    }
    // What was purged stays until nothing is under way that might have it.
    let begun = ledger.begin();
    ledger.purge(&scope("tag:t"), Mode::Hard);
    ledger.swept(ledger.sweepable());
    assert_eq!(
        ledger.check(&AtomicU64::new(begun.number()), &one),
        Standing::Gone
    );
    drop(begun);
    ledger.swept(ledger.sweepable());
    assert_eq!(
        (ledger.known.get(), ledger.bytes.get(), account.get()),
        (0, 0, 0)
    );
}

#[test]
fn what_is_fetched_may_have_any_tag() {
    let (ledger, _) = ledger();
    let fetched = subject("/a", "");
    let begun = ledger.begin().number();
    assert!(!ledger.may_be_purged(begun, &fetched));
    ledger.purge(&scope("prefix:/b"), Mode::Hard);
    assert!(!ledger.may_be_purged(begun, &fetched));
    ledger.purge(&scope("tag:t"), Mode::Hard);
    assert!(ledger.may_be_purged(begun, &fetched));
    assert!(!ledger.is_purged(begun, &fetched));
    assert!(ledger.is_purged(begun, &subject("/a", "t")));
    assert!(!ledger.may_be_purged(ledger.begin().number(), &fetched));
}

#[test]
fn rules_about_places_go_when_everything_was_compared() {
    let (ledger, _) = ledger();
    let begun = ledger.begin();
    ledger.purge(&scope("prefix:/a"), Mode::Hard);
    assert!(!ledger.is_swept());
    ledger.swept(ledger.sweepable());
    assert_eq!(ledger.rules(), 1, "something from before is under way");
    drop(begun);
    ledger.swept(ledger.sweepable());
    assert_eq!(ledger.rules(), 0);
    assert!(ledger.is_swept());
    // A sweep that missed something has not brought it back.
    assert_eq!(
        ledger.check(&AtomicU64::new(0), &subject("/a", "")),
        Standing::Gone
    );
}

#[test]
fn there_are_never_more_rules_than_that() {
    let (ledger, _) = ledger();
    let begun = ledger.begin();
    for at in 0..RULES_MAX {
        ledger.purge(&scope(&format!("url:http://h/{at}")), Mode::Hard);
    }
    assert_eq!(ledger.rules(), RULES_MAX);
    ledger.purge(&scope("url:http://h/more"), Mode::Soft);
    assert_eq!(ledger.rules(), 1, "one about all of the host");
    let of_host = Subject {
        target: Target {
            authority: "h",
            ..target("/other")
        },
        ..subject("/", "")
    };
    let of_another = Subject {
        target: Target {
            authority: "other",
            ..target("/0")
        },
        ..subject("/", "")
    };
    let checked = || AtomicU64::new(begun.number());
    assert_eq!(ledger.check(&checked(), &of_host), Standing::Gone);
    assert_eq!(ledger.check(&checked(), &of_another), Standing::Valid);
    for at in 0..RULES_MAX {
        ledger.purge(&scope(&format!("host:h{at}")), Mode::Soft);
    }
    assert_eq!(ledger.rules(), 1, "one about everything");
    assert_eq!(ledger.check(&checked(), &of_another), Standing::Gone);
}

#[test]
fn tags_that_nothing_has_are_bounded_too() {
    let (ledger, _) = ledger();
    let begun = ledger.begin();
    assert!(!ledger.is_closed_to(begun.number()));
    for at in 0..=IDLE_MAX {
        ledger.purge(&scope(&format!("tag:{at}")), Mode::Hard);
    }
    assert_eq!(ledger.known.get(), 0);
    assert!(ledger.is_closed_to(begun.number()));
    assert!(!ledger.is_closed_to(ledger.begin().number()));
}

#[test]
fn labels_differ() {
    let mut labels = HashSet::new();
    let mut count = 0;
    for text in [
        "all",
        "host:a",
        "tag:a",
        "url:/a",
        "url:http://a/a",
        "url:/a?",
        "prefix:/a",
        "prefix:http://a/",
    ] {
        let label = match scope(text) {
            Scope::Everything => labels::everything(),
            Scope::Host(host) => labels::host(&host),
            Scope::Tags(tags) => labels::tag(tags[0].as_bytes()),
            Scope::Url(place) => labels::url(&place),
            Scope::Prefix(place) => labels::prefix(&place),
        };
        labels.insert(label);
        count += 1;
    }
    assert_eq!(labels.len(), count);
}
