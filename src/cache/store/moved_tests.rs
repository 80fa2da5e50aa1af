//! Bodies in the arena: the same octets, counted exactly, and on the heap where the arena fails.

#![expect(
    clippy::cast_possible_truncation,
    reason = "test bodies are far below 2³²"
)]

use super::super::tests::{key, parts, store};
use super::*;
use crate::cache::body::{Body, SEGMENT};
use crate::cache::segments::MOVED_FROM;
use bytes::Bytes;
use std::fs::File;
use tokio::sync::Semaphore;

fn octets(length: u64) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8).collect()
}

fn body(length: u64) -> Body {
    let all = octets(length);
    Body::new(all.chunks(SEGMENT).map(Bytes::copy_from_slice).collect())
}

fn stored(store: &Store, name: &str, length: u64) -> Arc<StoredResponse> {
    let stored = store.make(&key(name), parts(body(length)));
    store.insert(&stored).expect("there is room");
    stored
}

fn moved(store: &Store, stored: &StoredResponse) {
    store.move_body(stored.claim_move().expect("nobody has moved it"));
}

fn in_arena(store: &Store) -> u64 {
    u64::try_from(store.inner.account.in_arena.get()).expect("not negative")
}

fn read(body: &Body) -> Vec<u8> {
    body.pieces().flatten().collect()
}

#[test]
fn what_is_moved_is_the_same_and_counted_until_its_last_holder_is_gone() {
    for length in [MOVED_FROM, MOVED_FROM + 1, 1 << 20, (3 << 20) + 4095] {
        let store = store(64 << 20);
        let stored = stored(&store, "/a", length);
        let (before, weight) = (store.stats(), stored.weight());
        let heap = before.bytes - (weight - stored.body_weight());
        let reader = stored.body().slice(10..u64::MAX).next().expect("a piece");
        assert!(stored.body().file_range(0..10).is_none());
        moved(&store, &stored);
        // The reader's piece is all that is left of the segments.
        let taken = Arena::bytes_for(length);
        let piece = allocated_piece(length);
        assert_eq!(in_arena(&store), taken);
        assert_eq!(store.stats().bytes, before.bytes - heap + taken + piece);
        assert_eq!(reader, octets(length)[10..SEGMENT]);
        drop(reader);
        assert_eq!(store.stats().bytes, before.bytes - heap + taken);
        assert_eq!(
            (store.stats().stored, stored.weight()),
            (before.stored, weight)
        );
        assert_eq!(store.stats().in_flight, 0);
        // It is what is found, and reads as it did.
        let found = store.get(&key("/a")).expect("it is stored");
        assert!(Arc::ptr_eq(&found.variants()[0], &stored));
        assert!(read(&stored.body()) == octets(length));
        for range in [
            0..1,
            5..SEGMENT as u64 + 5,
            length - 3..length + 9,
            length..u64::MAX,
        ] {
            let end = range.end.min(length);
            let expected = &octets(length)[range.start as usize..end as usize];
            let sliced: Vec<u8> = stored.body().slice(range.clone()).flatten().collect();
            assert!(sliced == expected, "{range:?}");
            assert!(stored.body().slice(range.clone()).all(|it| !it.is_empty()));
            let file = stored.body().file_range(range).expect("it is moved");
            assert!(file.pieces().flatten().collect::<Vec<u8>>() == expected);
        }
        // A range that is being sent outlives the entry.
        let sending = stored.body().file_range(100..200).expect("it is moved");
        drop((found, stored));
        assert!(store.invalidate(&key("/a")));
        assert_eq!((store.stats().stored, store.stats().bytes), (0, taken));
        assert_eq!(sending.read().expect("it is there"), octets(200)[100..]);
        drop(sending);
        assert_eq!((store.stats().bytes, in_arena(&store)), (0, 0));
    }
}

/// What the first segment of a body is charged.
fn allocated_piece(length: u64) -> u64 {
    crate::cache::body::segment_bytes(SEGMENT.min(length as usize))
}

#[test]
fn what_is_small_stays_and_nothing_is_moved_twice() {
    let store = store(64 << 20);
    let small = stored(&store, "/small", MOVED_FROM - 1);
    assert!(small.claim_move().is_none());
    let large = stored(&store, "/large", MOVED_FROM);
    let moving = large.claim_move().expect("it may be moved");
    assert!(large.claim_move().is_none());
    drop(moving);
    moved(&store, &large);
    assert!(large.claim_move().is_none());
}

/// A 304 makes a new response around the same body: moved before or after, it is moved for both.
#[test]
fn a_freshened_response_shares_the_place() {
    for before in [true, false] {
        let store = store(64 << 20);
        let old = stored(&store, "/a", 200_000);
        if before {
            moved(&store, &old);
        }
        let fresh = store.make(&key("/a"), parts(old.body()));
        if !before {
            moved(&store, &old);
        }
        assert!(store.replace(&old, &fresh));
        assert!(fresh.body().file_range(0..1).is_some() && fresh.claim_move().is_none());
        assert_eq!(in_arena(&store), Arena::bytes_for(200_000));
        drop((old, fresh));
        store.remove(&key("/a"));
        assert_eq!((store.stats().bytes, in_arena(&store)), (0, 0));
    }
}

/// What is moved when its entry is gone is given back with its last reader.
#[test]
fn an_entry_that_goes_meanwhile_takes_it_along() {
    let store = store(64 << 20);
    let gone = stored(&store, "/a", 1 << 20);
    let moving = gone.claim_move().expect("it may be moved");
    assert!(store.invalidate(&key("/a")));
    let reader = gone.body();
    drop(gone);
    store.move_body(moving);
    assert!(read(&reader) == octets(1 << 20));
    assert!(reader.file_range(0..1).is_some());
    drop(reader);
    assert_eq!((store.stats().bytes, in_arena(&store)), (0, 0));
}

#[test]
fn it_stays_on_the_heap_where_there_is_no_arena_or_no_memory() {
    let full = File::options()
        .write(true)
        .open("/dev/full")
        .expect("Linux has it");
    for arena in [None, Some(Arena::of(full.into()))] {
        let store = store(64 << 20);
        store.inner.arena.set(arena).expect("it is the first");
        let stored = stored(&store, "/a", 300_000);
        let before = store.stats();
        moved(&store, &stored);
        assert_eq!(store.stats(), before);
        assert_eq!(in_arena(&store), 0);
        assert!(stored.body().file_range(0..1).is_none());
        assert!(read(&stored.body()) == octets(300_000));
        // For good: it is not copied again and again.
        assert!(stored.claim_move().is_none());
    }
}

/// Twice the memory is not there: it stays, and a later hit may find room.
#[test]
fn without_room_it_is_left_to_a_later_hit() {
    let store = store(64 << 20);
    let stored = stored(&store, "/a", 5 << 20);
    let most = store
        .inner
        .limits
        .in_flight
        .load(std::sync::atomic::Ordering::Relaxed);
    let other = store.reserve(most).expect("there is room");
    moved(&store, &stored);
    assert!(stored.body().file_range(0..1).is_none());
    drop(other);
    moved(&store, &stored);
    assert!(stored.body().file_range(0..1).is_some());
}

#[tokio::test]
async fn it_is_moved_behind_who_asks() {
    let store = store(64 << 20);
    let stored = stored(&store, "/a", 200_000);
    store.move_behind(&stored);
    while stored.body().file_range(0..1).is_none() {
        tokio::task::yield_now().await;
    }
    assert!(read(&stored.body()) == octets(200_000));
}

/// Where others are being moved, it is left to a later hit.
#[tokio::test]
async fn not_many_are_moved_at_once() {
    let store = store(64 << 20);
    let stored = stored(&store, "/a", 200_000);
    let places: &Arc<Semaphore> = &store.inner.movers;
    let all = Arc::clone(places)
        .acquire_many_owned(AT_ONCE as u32)
        .await
        .expect("it is open");
    store.move_behind(&stored);
    drop(all);
    assert!(stored.claim_move().is_some());
}
