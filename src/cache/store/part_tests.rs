//! Incomplete responses in the store: what they stand for, what they cost, and what takes them away.

use super::super::key::{CacheKey, Target};
use super::super::partial::{Combined, Partial};
use super::super::settings::KeyRules;
use super::super::vary::Nominated;
use super::tests::{key, parts, store, terms};
use super::*;
use crate::cache::body::Body;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

const MOST: u64 = 1 << 20;

/// Octets of a whole of 100 000 from `start` on.
fn partial(start: u64, octets: usize, language: &'static str) -> Partial {
    let mut fields = HeaderMap::new();
    let end = start + octets as u64 - 1;
    let range = format!("bytes {start}-{end}/100000");
    for (name, value) in [
        ("etag", "\"1\""),
        ("vary", "accept-language"),
        ("content-range", &range),
    ] {
        fields.insert(name, value.parse().expect("a value"));
    }
    let nominated = Nominated::new(&fields, &request(language)).expect("it fits others");
    let body = Body::new(vec![Bytes::from(vec![b'x'; octets])]);
    Partial::from_206(fields, terms(), nominated, "/".into(), body, MOST).expect("a part")
}

fn request(language: &'static str) -> HeaderMap {
    let name = HeaderName::from_static("accept-language");
    HeaderMap::from_iter([(name, HeaderValue::from_static(language))])
}

fn put(store: &Store, key: &CacheKey, partial: Partial) -> Arc<StoredPart> {
    let mut partial = partial;
    partial.about.since = store.ledger().now();
    let part = store.make_part(key, partial);
    store.put_part(&part, None).expect("there is room");
    part
}

fn find(store: &Store, key: &CacheKey, language: &'static str) -> Option<Arc<StoredPart>> {
    let found = store.get(key)?;
    found.select_part("/", &request(language)).cloned()
}

#[test]
fn a_part_is_found_by_its_nominated_values_and_counted_while_it_lives() {
    let (store, key) = (store(4 << 20), key("/a"));
    let part = put(&store, &key, partial(10, 50_000, "de"));
    assert!(find(&store, &key, "de").is_some());
    assert!(find(&store, &key, "en").is_none());
    let found = store.get(&key).expect("stored");
    assert_eq!(
        found.miss("/"),
        crate::cache::outcome::ForwardReason::VaryMiss
    );
    assert!(found.select_part("other", &request("de")).is_none());
    let stats = store.stats();
    assert!((50_000..58_500).contains(&stats.stored), "{stats:?}");
    assert_eq!(stats.bytes, stats.stored);
    drop(found);
    assert!(store.remove_part(&part));
    assert!(!store.remove_part(&part));
    drop(part);
    assert_eq!((store.stats().bytes, store.stats().entries), (0, 0));
}

#[test]
fn octets_are_copied_once_when_parts_are_put_together() {
    let (store, key) = (store(4 << 20), key("/a"));
    let first = put(&store, &key, partial(0, 40_000, "de"));
    let octets = |part: &Arc<StoredPart>| part.partial().answer(&(0..1)).expect("here").next();
    let before = octets(&first).expect("an octet");
    // What comes is on the account already, as what a writer collects is.
    let newer = store.make_part(&key, partial(40_000, 40_000, "de"));
    let Combined::Partial(both) = first.partial().with(newer.partial().clone(), MOST) else {
        panic!("they are of one");
    };
    let both = store.make_part(&key, both);
    assert_eq!(store.put_part(&both, None), Err(Reason::Invalidated));
    assert_eq!(
        store.put_part(&both, Some(&newer)),
        Err(Reason::Invalidated)
    );
    assert_eq!(store.put_part(&both, Some(&first)), Ok(()));
    let after = octets(&both).expect("an octet");
    assert_eq!(before.as_ptr(), after.as_ptr(), "it is the same memory");
    drop((first, newer, before, after, both));
    let stats = store.stats();
    assert!((80_000..83_500).contains(&stats.bytes), "{stats:?}");
    assert_eq!(stats.bytes, stats.stored);
    store.remove(&key);
    assert_eq!(store.stats().bytes, 0);
}

#[test]
fn the_whole_takes_the_place_of_its_part_and_of_no_other() {
    let (store, key) = (store(4 << 20), key("/a"));
    put(&store, &key, partial(10, 100, "de"));
    put(&store, &key, partial(10, 100, "en"));
    let mut whole = parts(Body::new(vec![Bytes::from_static(b"x")]));
    whole.nominated = partial(10, 100, "de").nominated;
    let whole = store.make(&key, whole);
    store.insert(&whole).expect("there is room");
    assert!(find(&store, &key, "de").is_none());
    assert!(find(&store, &key, "en").is_some());
    // It answers more than any part does.
    let late = store.make_part(&key, partial(10, 100, "de"));
    assert_eq!(store.put_part(&late, None), Err(Reason::Invalidated));
    assert!(store.remove_variant(&whole));
    assert!(find(&store, &key, "en").is_some());
    assert!(store.remove(&key));
    assert!(find(&store, &key, "en").is_none());
}

#[test]
fn parts_and_wholes_have_one_bound() {
    let (store, key) = (store(4 << 20), key("/a"));
    let whole = store.make(&key, parts(Body::new(vec![Bytes::from_static(b"x")])));
    store.insert(&whole).expect("there is room");
    for language in ["de", "en", "fr", "it", "nl"] {
        put(&store, &key, partial(10, 100, language));
    }
    let found = store.get(&key).expect("stored");
    assert_eq!((found.variants().len(), found.parts().len()), (1, 3));
    assert!(find(&store, &key, "nl").is_some() && find(&store, &key, "de").is_none());
}

#[test]
fn an_invalidation_of_the_target_hits_parts_whose_keys_have_extras() {
    let store = store(4 << 20);
    let target = Target {
        scheme: "https",
        authority: "example.org",
        path: "/a",
        query: None,
    };
    let rules = KeyRules {
        headers: vec![HeaderName::from_static("accept-language")],
        ..KeyRules::default()
    };
    let of_german = CacheKey::new(target, &request("de"), &rules);
    let part = put(&store, &of_german, partial(10, 100, "de"));
    assert!(find(&store, &of_german, "de").is_some());
    assert!(store.invalidate(&key("/a")));
    assert!(find(&store, &of_german, "de").is_none());
    // One made after it is found again.
    put(&store, &of_german, partial(10, 100, "de"));
    assert!(find(&store, &of_german, "de").is_some());
    drop(part);
    store.remove(&of_german);
    assert_eq!((store.stats().bytes, store.ledger().known.get()), (0, 0));
}
