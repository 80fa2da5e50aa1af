//! What is found, what is replaced, and what does not come back.

use super::super::key::{CacheKey, Target};
use super::super::outcome::ForwardReason;
use super::super::policy::{Lifetime, Terms, WhenStale};
use super::super::response::About;
use super::super::section::Section;
use super::super::settings::KeyRules;
use super::super::vary::Nominated;
use super::*;
use crate::cache::body::{Body, INLINE_MAX, SEGMENT};
use crate::clock;
use crate::units::ByteSize;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use proptest::prelude::*;
use std::time::Duration;

pub(super) fn settings(memory: u64) -> CacheSettings {
    CacheSettings {
        memory: ByteSize::new(memory),
        object: ByteSize::new(memory / 8),
        in_flight: ByteSize::new(memory / 4),
        variants: 4,
        abandoned: 1,
    }
}

pub(super) fn store(memory: u64) -> Store {
    Store::new(&settings(memory))
}

pub(super) fn terms() -> Terms {
    Terms {
        received: clock::now(),
        initial_age: Duration::ZERO,
        lifetime: Lifetime::Explicit(Duration::from_secs(60)),
        when_stale: WhenStale::Windows,
        while_revalidate: Duration::ZERO,
        if_error: Duration::ZERO,
        if_unreachable: Duration::ZERO,
        immutable: false,
        purged: false,
    }
}

fn target(path: &str) -> Target<'_> {
    Target {
        scheme: "https",
        authority: "example.org",
        path,
        query: None,
    }
}

pub(super) fn key(path: &str) -> CacheKey {
    CacheKey::of_target(target(path), &KeyRules::default())
}

/// A key that a request's `X-Country` is part of.
fn key_of_country(path: &str, country: &'static str) -> CacheKey {
    let rules = KeyRules {
        headers: vec![HeaderName::from_static("x-country")],
        ..KeyRules::default()
    };
    CacheKey::new(target(path), &map(&[("x-country", country)]), &rules)
}

fn map(lines: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for &(name, value) in lines {
        map.append(name, HeaderValue::from_static(value));
    }
    map
}

pub(super) fn parts(body: Body) -> Parts {
    Parts {
        status: StatusCode::OK,
        fields: Section::new(&map(&[("content-type", "text/plain"), ("etag", "\"1\"")])),
        terms: terms(),
        nominated: Nominated::default(),
        route: "/".into(),
        body,
        about: About::default(),
    }
}

fn text(text: &'static str) -> Parts {
    parts(Body::new(vec![Bytes::from_static(text.as_bytes())]))
}

fn in_language(language: &'static str, body: &'static str) -> Parts {
    let nominated = Nominated::new(
        &map(&[("vary", "accept-language")]),
        &map(&[("accept-language", language)]),
    );
    Parts {
        nominated: nominated.expect("it fits others"),
        ..text(body)
    }
}

fn put(store: &Store, key: &CacheKey, parts: Parts) -> Arc<StoredResponse> {
    let response = store.make(key, begun_now(store, parts));
    store.insert(&response).expect("there is room");
    response
}

/// What a fetch brings that begins now.
fn begun_now(store: &Store, mut parts: Parts) -> Parts {
    parts.about.since = store.ledger().now();
    parts
}

fn is_there(store: &Store, key: &CacheKey) -> bool {
    let found = store.get(key);
    found.is_some_and(|found| found.variants().iter().any(|it| !it.is_invalidated()))
}

fn octets(response: &Arc<StoredResponse>) -> Vec<u8> {
    response.body().pieces().flatten().collect()
}

#[test]
fn what_was_stored_is_found() {
    let store = store(1 << 20);
    let (one, other) = (key("/a"), key("/b"));
    put(&store, &one, text("one"));
    let found = store.get(&one).expect("it was stored");
    let found = found.select("/", &HeaderMap::new()).expect("it fits");
    assert_eq!(found.status(), StatusCode::OK);
    assert_eq!(found.fields().get(&header::ETAG), Some(&b"\"1\""[..]));
    assert_eq!(found.target(), Some(target("/a")));
    assert_eq!(octets(found), b"one");
    assert!(store.get(&other).is_none());
    assert!(store.remove(&one));
    assert!(!store.remove(&one));
    assert!(store.get(&one).is_none());
}

#[test]
fn which_variant_is_selected() {
    let store = store(1 << 20);
    let key = key("/a");
    put(&store, &key, in_language("de", "de 1"));
    put(&store, &key, in_language("en", "en"));
    put(&store, &key, in_language("de", "de 2"));
    let other_route = Parts {
        route: "/other".into(),
        ..in_language("fr", "fr")
    };
    put(&store, &key, other_route);
    let found = store.get(&key).expect("stored");
    assert_eq!(found.variants().len(), 3);
    let body = |route, language| {
        found
            .select(route, &map(&[("accept-language", language)]))
            .map(octets)
    };
    assert_eq!(body("/", "de").as_deref(), Some(&b"de 2"[..]));
    assert_eq!(body("/", "EN;q=0.5").as_deref(), Some(&b"en"[..]));
    assert_eq!(body("/", "fr"), None);
    assert_eq!(body("/other", "fr").as_deref(), Some(&b"fr"[..]));
    assert_eq!(body("/other", "de"), None);
    assert_eq!(found.miss("/"), ForwardReason::VaryMiss);
    assert_eq!(found.miss("/third"), ForwardReason::UriMiss);

    // The oldest goes beyond the limit of four.
    for language in ["it", "es"] {
        put(&store, &key, in_language(language, "x"));
    }
    let found = store.get(&key).expect("stored");
    assert_eq!(found.variants().len(), 4);
    assert!(
        found
            .select("/", &map(&[("accept-language", "en")]))
            .is_none()
    );

    let response = Arc::clone(&found.variants()[0]);
    assert!(store.remove_variant(&response));
    assert!(!store.remove_variant(&response));
    // Nothing had to make room.
    assert_eq!(store.stats().evictions, 0);
    assert_eq!(store.get(&key).expect("stored").variants().len(), 3);
}

#[test]
fn a_freshened_response_takes_its_predecessors_place_only() {
    let store = store(1 << 20);
    let key = key("/a");
    let old = put(&store, &key, text("body"));
    let freshened = |of: &Arc<StoredResponse>| store.make(&key, parts(of.body()));
    let new = freshened(&old);
    assert!(store.replace(&old, &new));
    assert!(
        !store.replace(&old, &freshened(&old)),
        "it was replaced already"
    );
    let found = store.get(&key).expect("stored");
    assert!(Arc::ptr_eq(&found.variants()[0], &new));
    assert_eq!(octets(&new), b"body");

    // Another fetch was faster.
    let newer = put(&store, &key, text("newer"));
    assert!(!store.replace(&new, &freshened(&new)));
    assert!(Arc::ptr_eq(
        &store.get(&key).expect("stored").variants()[0],
        &newer
    ));

    // It was removed meanwhile.
    assert!(store.remove(&key));
    assert!(!store.replace(&newer, &freshened(&newer)));
    assert!(store.get(&key).is_none());
}

#[test]
fn an_invalidation_hits_every_key_of_the_target() {
    let store = store(1 << 20);
    let countries = ["de", "fr"].map(|country| key_of_country("/a", country));
    let (bare, other) = (key("/a"), key_of_country("/b", "de"));
    let responses: Vec<_> = [&countries[0], &countries[1], &bare, &other]
        .map(|key| put(&store, key, text("x")))
        .into();
    // It makes no difference whether the target is named with or without extras.
    for named in [&bare, &countries[0]] {
        assert!(store.invalidate(named));
        assert!(!countries.iter().any(|key| is_there(&store, key)));
        assert!(!is_there(&store, &bare));
        assert!(is_there(&store, &other));
        // What was made before and is stored, or freshened, after it does not come back.
        let stored = store.insert(&responses[0]);
        assert_eq!(stored, Err(Reason::Invalidated));
        assert!(!is_there(&store, &countries[0]));
        let freshened = store.make(&countries[0], text("x"));
        assert!(!store.replace(&responses[0], &freshened));
        for key in countries.iter().chain([&bare]) {
            put(&store, key, text("y"));
            assert!(is_there(&store, key));
        }
    }
    // The counts live as long as what they are about.
    assert_eq!(store.ledger().known.get(), 2);
    for key in countries.iter().chain([&bare, &other]) {
        store.remove(key);
    }
    assert!(store.stats().bytes > 0, "some are held here");
    drop(responses);
    assert_eq!(store.ledger().known.get(), 0);
    assert_eq!(store.stats().bytes, 0);
    assert!(!store.invalidate(&bare));
}

#[test]
fn keys_that_share_a_hash_share_nothing_else() {
    let store = store(1 << 20);
    let (one, other) = (key("/a"), key("/b"));
    put(&store, &one, text("one"));
    let resource = store.get(&one).expect("stored");
    store.inner.small.insert(other.hash_value(), resource);
    assert!(store.get(&other).is_none());
    assert!(!store.remove(&other));
    put(&store, &other, text("other"));
    let found = store.get(&other).expect("stored");
    assert_eq!(octets(&found.variants()[0]), b"other");
    assert_eq!(found.variants().len(), 1);
}

#[test]
fn of_two_variants_at_once_none_is_lost() {
    let store = store(4 << 20);
    for round in 0..200 {
        let key = key(&format!("/{round}"));
        let barrier = std::sync::Barrier::new(3);
        std::thread::scope(|scope| {
            for language in ["de", "en", "fr"] {
                let (store, key, barrier) = (&store, &key, &barrier);
                scope.spawn(move || {
                    // All three are about to insert: what each finds stored is a matter of chance.
                    barrier.wait();
                    put(store, key, in_language(language, "x"));
                });
            }
        });
        assert_eq!(store.get(&key).expect("stored").variants().len(), 3);
    }
}

#[test]
fn a_key_that_outgrows_its_half_moves() {
    let store = store(16 << 20);
    let key = key("/a");
    let body = |length| Body::new(vec![Bytes::from(vec![b'x'; length])]);
    put(&store, &key, in_language("de", "small"));
    assert_eq!((store.inner.small.len(), store.inner.large.len()), (1, 0));
    put(&store, &key, parts(body(2 << 20)));
    assert_eq!((store.inner.small.len(), store.inner.large.len()), (0, 1));
    let found = store.get(&key).expect("stored");
    assert_eq!(found.variants().len(), 2);
    assert!(store.remove_variant(&found.variants()[0]));
    put(&store, &key, in_language("en", "small"));
    assert_eq!((store.inner.small.len(), store.inner.large.len()), (1, 0));
    assert_eq!(store.get(&key).expect("stored").variants().len(), 2);
}

#[test]
fn a_reload_keeps_what_still_fits() {
    let store = store(8 << 20);
    for index in 0..400 {
        let body = Body::new(vec![Bytes::from(vec![b'x'; 10_000])]);
        put(&store, &key(&format!("/{index}")), parts(body));
    }
    assert_eq!(store.stats().entries, 400);
    store.resize(&settings(16 << 20));
    assert_eq!(store.stats().entries, 400);
    store.resize(&settings(2 << 20));
    let stats = store.stats();
    assert!(
        stats.bytes <= stats.capacity && stats.entries > 100,
        "{stats:?}"
    );
    assert_eq!(stats.entries + stats.evictions, 400);
    store.resize(&settings(8 << 20));
    for index in 0..500 {
        let body = Body::new(vec![Bytes::from(vec![b'x'; 10_000])]);
        put(&store, &key(&format!("/{index}")), parts(body));
    }
    assert!(store.stats().entries >= 500, "{:?}", store.stats());
    let mut seen = 0;
    store.for_each(|_| seen += 1);
    assert_eq!(seen, store.stats().entries);
}

#[test]
fn what_is_scraped() {
    let registry = crate::telemetry::registry::Registry::new();
    let store = store(1 << 20);
    registry.register(|registry| store.metrics().register(registry));
    put(&store, &key("/a"), text("x"));
    let reservation = store.reserve(1000).expect("there is room");
    assert!(store.reserve(1 << 20).is_none());
    let text = registry.encode();
    let bytes = store.stats().bytes;
    for line in [
        "forebay_cache_entries 1\n",
        &format!("forebay_cache_bytes {bytes}\n"),
        "forebay_cache_capacity_bytes 1048576\n",
        "forebay_cache_in_flight_bytes 1000\n",
        "forebay_cache_evictions_total 0\n",
        "forebay_cache_refused_total{reason=\"crowded\"} 1\n",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
    drop(reservation);
}

proptest! {
    #[test]
    fn a_body_is_what_was_pushed(
        pieces in prop::collection::vec(prop_oneof![1usize..=SEGMENT, 1usize..100, 10_000usize..20_000], 0..24),
        expected in 0u64..4 * SEGMENT as u64,
        range in (0u64..200_000, 0u64..200_000),
    ) {
        let store = store(64 << 20);
        let mut builder = BodyBuilder::new(store.reserve(expected).expect("there is room"));
        let mut all: Vec<u8> = Vec::new();
        let mut held = Vec::new();
        for (index, length) in pieces.into_iter().enumerate() {
            let piece: Vec<u8> = (0..length).map(|at| (at.wrapping_mul(31) + index).to_le_bytes()[0]).collect();
            let sealed = builder.push(&piece).expect("there is room");
            all.extend_from_slice(&piece);
            // It ends with what came and begins with what was there.
            let begin = usize::try_from(sealed.begin).expect("small");
            prop_assert!(sealed.segment == all[begin..]);
            prop_assert_eq!(builder.length(), all.len() as u64);
            // Somebody reads each of them, be it copied together with others or not.
            held.push(sealed.segment);
        }
        drop(held);
        let body = builder.finish();
        prop_assert_eq!(body.length(), all.len() as u64);
        let before = store.stats();
        prop_assert_eq!(before.in_flight, 0);
        // No more than what it is, in segments and by the allocator's rounding.
        prop_assert!(before.bytes <= all.len() as u64 * 5 / 4 + 200 * (1 + all.len() as u64 / SEGMENT as u64));
        let response = store.make(&key("/a"), parts(body));
        prop_assert_eq!(response.inline_body().is_some(), all.len() <= INLINE_MAX);
        let body = response.body();
        let within = |at: u64| usize::try_from(at).map_or(all.len(), |at| all.len().min(at));
        let slice: Vec<u8> = body.slice(range.0..range.1).flatten().collect();
        let (from, to) = (within(range.0), within(range.1));
        prop_assert!(slice == all[from..to.max(from)]);
        // A piece that is being sent keeps its memory counted, and the last one lets go.
        let piece = body.pieces().last();
        drop((body, response));
        prop_assert_eq!(store.stats().bytes > 0, piece.is_some());
        drop(piece);
        prop_assert_eq!(store.stats().bytes, 0);
    }
}
