//! That the memory is kept within the budget, counted and measured, whoever holds on to what.
#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "lengths of a test's own, far from any limit"
)]

use super::super::body::Body;
use super::tests::{key, parts, settings, store};
use super::*;
use bytes::Bytes;
use std::collections::VecDeque;

/// What a fetch does: receives a body and stores it. `None` where there was no room for it.
fn fetch(store: &Store, path: &str, length: usize) -> Option<Arc<StoredResponse>> {
    const PIECE: &[u8] = &[b'x'; 16 * 1024];
    let mut builder = BodyBuilder::new(store.reserve(length as u64)?);
    let mut left = length;
    while left > 0 {
        let now = left.min(PIECE.len());
        builder.push(&PIECE[..now]).ok()?;
        left -= now;
    }
    let response = store.make(&key(path), parts(builder.finish()));
    store.insert(&response).ok()?;
    Some(response)
}

/// Lengths from 100 octets to the largest, each octave with about the same number of octets in all.
fn length(random: &mut fastrand::Rng, most: usize) -> usize {
    let share = random.f64();
    let (least, most) = (100.0, most as f64);
    // Density 1/x²: inverse transform.
    (1.0 / (1.0 / least - share * (1.0 / least - 1.0 / most))) as usize
}

#[test]
fn ten_times_the_budget_with_slow_readers() {
    let memory = 8 << 20;
    let store = store(memory);
    let object = memory / 8;
    let mut random = fastrand::Rng::with_seed(7);
    let mut readers: VecDeque<Bytes> = VecDeque::new();
    let (mut total, mut index, mut refused, mut large, mut most) = (0, 0, 0, 0, 0);
    while total < 10 * memory {
        let length = if random.u8(..) < 2 {
            large += 1;
            usize::try_from(object).expect("small")
        } else {
            length(&mut random, 1 << 20)
        };
        total += length as u64;
        index += 1;
        match fetch(&store, &format!("/{index}"), length) {
            // Somebody reads it, slowly: one piece stays with a socket.
            Some(response) if random.u8(..) < 64 || length > 100_000 => {
                readers.extend(response.body().pieces().take(random.usize(1..8)));
            }
            Some(_) => {}
            None => refused += 1,
        }
        while readers.len() > 200 {
            readers.pop_front();
        }
        let stats = store.stats();
        assert!(stats.bytes <= stats.capacity + object, "{stats:?}");
        assert!(stats.stored <= stats.bytes, "{stats:?}");
        assert_eq!(stats.in_flight, 0);
        most = most.max(stats.bytes);
    }
    let stats = store.stats();
    assert!(large > 0 && index > 1000, "{large} of {index}");
    assert!(refused < index / 10, "{refused} of {index}");
    // It is used, too, and all that is alive is accounted for by what is stored and what is held.
    // How much it is at the end depends on whether a large one, an eighth of the memory, has just gone.
    assert!(most > stats.capacity * 9 / 10, "{most} of {stats:?}");
    assert!(stats.bytes > stats.capacity * 5 / 8, "{stats:?}");
    drop(readers);
    let stats = store.stats();
    assert_eq!(stats.bytes, stats.stored, "{stats:?}");
    let mut keys = Vec::new();
    store.for_each(|resource| {
        keys.push(
            resource.variants()[0]
                .target()
                .expect("a key")
                .path
                .to_owned(),
        );
    });
    for path in keys {
        store.remove(&key(&path));
    }
    assert_eq!(store.stats().bytes, 0);
}

#[test]
fn the_largest_object_is_always_storable() {
    let memory = 64 << 20;
    let store = store(memory);
    for index in 0..12_000 {
        fetch(&store, &format!("/small/{index}"), 5_000).expect("there is room");
    }
    let before = store.stats();
    assert!(before.stored > before.capacity * 9 / 10, "{before:?}");
    let most = usize::try_from(memory / 8).expect("small");
    for index in 0..20 {
        let path = format!("/large/{index}");
        fetch(&store, &path, most).expect("there is room");
        assert!(store.get(&key(&path)).is_some());
    }
    // Neither takes all against the other's will.
    let small = store.inner.small.weight();
    assert!(small > before.capacity / 3, "{small}");
    assert!(fetch(&store, "/larger", most + 1).is_none());
    // And what was taken comes back once it is wanted.
    for index in 0..20_000 {
        fetch(&store, &format!("/again/{index}"), 5_000).expect("there is room");
    }
    assert!(store.inner.small.weight() > before.capacity / 3);
    assert!(
        store.stats().stored > before.capacity * 9 / 10,
        "{:?}",
        store.stats()
    );
}

#[test]
fn what_is_under_way_has_a_limit_and_makes_room() {
    let store = store(8 << 20);
    for index in 0..1000 {
        fetch(&store, &format!("/{index}"), 10_000).expect("there is room");
    }
    let reservation = store.reserve(2 << 20).expect("a quarter may be under way");
    let stats = store.stats();
    assert!(
        stats.bytes <= stats.capacity && stats.in_flight == 2 << 20,
        "{stats:?}"
    );
    assert!(store.reserve(1).is_none());
    drop(reservation);
    assert_eq!(store.stats().in_flight, 0);
    // A body that is given up leaves nothing behind.
    let before = store.stats().bytes;
    let mut builder = BodyBuilder::new(store.reserve(100).expect("room"));
    let followed = builder.push(&vec![0; 50_000]).expect("room");
    builder.push(&vec![0; 50_000]).expect("room");
    assert!(store.stats().bytes > before + 100_000);
    drop(builder);
    let stats = store.stats();
    assert!(stats.bytes > before + 50_000, "somebody still reads it");
    assert!(stats.bytes < before + 60_000, "but not all of it");
    assert_eq!(stats.in_flight, 0);
    drop(followed);
    assert_eq!(store.stats().bytes, before);
}

#[test]
fn where_nothing_can_be_evicted_nothing_is_let_in() {
    let store = store(1 << 20);
    let held: Vec<_> = (0..40)
        .filter_map(|index| fetch(&store, &format!("/{index}"), 100_000))
        .collect();
    let stats = store.stats();
    assert!(
        held.len() < 12 && stats.bytes <= stats.capacity,
        "{stats:?}"
    );
    assert!(store.reserve(200_000).is_none());
    drop(held);
    fetch(&store, "/again", 100_000).expect("there is room again");
}

#[test]
fn many_threads_keep_the_books() {
    let store = store(4 << 20);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let store = &store;
            scope.spawn(move || {
                let mut random = fastrand::Rng::with_seed(thread);
                for _ in 0..2000 {
                    let path = format!("/{}", random.u8(..));
                    match random.u8(..8) {
                        0 => drop(store.remove(&key(&path))),
                        1 => drop(store.invalidate(&key(&path))),
                        2 => drop(store.reserve(random.u64(..1 << 20))),
                        _ => drop(fetch(store, &path, length(&mut random, 1 << 19))),
                    }
                    let _ = store.get(&key(&path));
                }
            });
        }
    });
    let stats = store.stats();
    assert_eq!(stats.bytes, stats.stored, "{stats:?}");
    assert!(stats.bytes <= stats.capacity, "{stats:?}");
    store.resize(&settings(0));
    assert_eq!(store.stats().bytes, 0);
}

/// Resident octets that this process wrote. Those of its own file, which are read in as its code is first run, are none of
/// them: in a debug build they are megabytes.
#[cfg(target_os = "linux")]
pub(super) fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux has it");
    let kibibytes = |name: &str| -> u64 {
        let mut lines = status.lines();
        let rest = lines.find_map(|line| line.strip_prefix(name));
        let number = rest.and_then(|rest| rest.trim().strip_suffix(" kB"));
        number.expect("a line").parse().expect("a number")
    };
    1024 * (kibibytes("RssAnon:") + kibibytes("RssShmem:"))
}

/// The figure, by the process's own memory and not by our books: with the allocator that the tests have, which is
/// the worse of the two.
#[test]
#[cfg(target_os = "linux")]
fn the_process_stays_within_the_budget_and_a_third() {
    let before = resident();
    let memory = 64 << 20;
    let store = store(memory);
    let mut random = fastrand::Rng::with_seed(11);
    let mut readers: VecDeque<Body> = VecDeque::new();
    let (mut total, mut index, mut most, mut counted) = (0, 0, 0, 0);
    let mut held = 0;
    while total < 10 * memory {
        let length = length(&mut random, 8 << 20);
        total += length as u64;
        index += 1;
        if let Some(response) = fetch(&store, &format!("/{index}"), length)
            && (random.u8(..) == 0 || length > 1 << 20)
        {
            held += length as u64;
            readers.push_back(response.body());
        }
        // 200 readers, but no more than half of the memory with them: they are what the store must yield to.
        while readers.len() > 200 || held > memory / 2 {
            held -= readers.pop_front().map_or(0, |body| body.length());
        }
        if index % 64 == 0 {
            most = most.max(resident().saturating_sub(before));
            counted = counted.max(store.stats().bytes);
        }
    }
    assert!(store.stats().evictions > 1000, "{:?}", store.stats());
    assert!(
        most < memory * 13 / 10,
        "{most} octets for a budget of {memory}, of which {counted} were counted"
    );
}
