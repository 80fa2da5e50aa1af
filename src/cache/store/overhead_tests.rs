//! What an entry costs beside its octets: goal and figure.

use super::super::body::Body;
use super::super::response::SLOT;
use super::super::section::Section;
use super::budget_tests::resident;
use super::tests::{key, parts, store};
use super::*;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue};

/// The octets that are worth something: those of the key's parts, of the fields and of the body.
fn worth(path: &str, fields: &Section, body: usize) -> u64 {
    (path.len() + "https".len() + "example.org".len() + fields.lines().as_bytes().len() + body)
        as u64
}

fn fields(padding: usize) -> Section {
    let mut map = HeaderMap::new();
    for (name, value) in [
        ("content-type", "text/html; charset=utf-8"),
        ("content-length", "100"),
        ("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("cache-control", "max-age=60"),
    ] {
        map.append(name, HeaderValue::from_static(value));
    }
    let padding = "x".repeat(padding);
    map.append("x-padding", padding.parse().expect("a value"));
    Section::new(&map)
}

/// What every entry costs: the response, its place in the store, the key's framing, the cost and the length of the tags.
const FIXED: u64 = 222;

#[test]
fn a_small_entry_costs_at_most_256_octets_more() {
    let store = store(64 << 20);
    let route: Arc<str> = "/".into();
    let mut overheads = Vec::new();
    for body in (0..1000).step_by(7) {
        for padding in [0, 50, 100, 200] {
            let path = format!("/{body}/{padding}");
            let fields = fields(padding);
            let worth = worth(&path, &fields, body);
            let made = store.make(
                &key(&path),
                Parts {
                    fields,
                    route: Arc::clone(&route),
                    ..parts(Body::new(vec![Bytes::from(vec![0; body])]))
                },
            );
            let overhead = made.weight() - worth;
            // What varies is the allocator's rounding: its classes are at most a quarter apart.
            assert!(
                overhead <= FIXED + worth / 4,
                "{overhead} beside {worth}, of which {FIXED} are fixed"
            );
            if worth < 640 {
                overheads.push(overhead);
            }
        }
    }
    let average = overheads.iter().sum::<u64>() / overheads.len() as u64;
    let least = overheads.iter().min().copied().unwrap_or_default();
    assert!(
        least <= FIXED && average <= 256,
        "{least} at least, {average} on average"
    );
}

/// The books against the process: the weight of a small entry is what it takes.
#[test]
#[cfg(target_os = "linux")]
fn the_books_are_right_about_small_entries() {
    const ENTRIES: u64 = 60_000;
    let route: Arc<str> = "/".into();
    let store = store(256 << 20);
    let before = resident();
    let mut weight = 0;
    for index in 0..ENTRIES {
        let path = format!("/{index}");
        let made = store.make(
            &key(&path),
            Parts {
                fields: fields(0),
                route: Arc::clone(&route),
                ..parts(Body::new(vec![Bytes::from_static(&[0; 100])]))
            },
        );
        weight += made.weight();
        store.insert(&made).expect("there is room");
    }
    assert_eq!(store.stats().entries, ENTRIES);
    assert_eq!(store.stats().bytes, weight);
    let taken = resident().saturating_sub(before);
    let figures = format!("{} counted, {} taken", weight / ENTRIES, taken / ENTRIES);
    // The index grows by doubling, and the allocator keeps its former halves: together less than it is now.
    assert!(taken < weight + ENTRIES * SLOT, "{figures}");
    assert!(taken > weight * 3 / 4, "{figures}");
}
