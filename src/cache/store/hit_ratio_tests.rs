//! How often what is asked for is found, where much more is asked for than there is memory: the web's sizes, and Zipf's law.
#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "lengths of a test's own, far from any limit"
)]

use super::tests::{key, parts, store};
use super::*;
use crate::cache::body::Body;
use crate::cache::key::CacheKey;
use bytes::Bytes;
use std::collections::{BTreeMap, HashMap};

const PATHS: usize = 20_000;
const DRAWS: usize = 120_000;
/// A seventeenth of what all bodies have.
const MEMORY: u64 = 13 << 20;

/// Half of all bodies are below 4 KiB; one of a hundred has 130 kB or more.
fn lengths(random: &mut fastrand::Rng) -> Vec<usize> {
    let mut normal = || {
        (-2.0 * random.f64().max(1e-12).ln()).sqrt() * (random.f64() * std::f64::consts::TAU).cos()
    };
    (0..PATHS)
        .map(|_| (4096.0 * (1.5 * normal()).exp()).min(1_500_000.0) as usize)
        .collect()
}

/// Zipf's law with exponent 0.9.
fn draw(random: &mut fastrand::Rng) -> usize {
    let most = (PATHS + 1) as f64;
    let at = (random.f64().mul_add(most.powf(0.1) - 1.0, 1.0)).powf(10.0);
    (at as usize - 1).min(PATHS - 1)
}

/// The share of the later draws that was found.
fn share(mut found: impl FnMut(usize) -> bool) -> f64 {
    let mut random = fastrand::Rng::with_seed(2);
    let warm = DRAWS / 4;
    let hits = (0..DRAWS)
        .map(|n| (n, found(draw(&mut random))))
        .filter(|(n, found)| *n >= warm && *found)
        .count();
    hits as f64 / (DRAWS - warm) as f64
}

/// What is least recently used goes.
#[derive(Default)]
struct Lru {
    weight: u64,
    clock: u64,
    used: HashMap<usize, (u64, u64)>,
    order: BTreeMap<u64, usize>,
}

impl Lru {
    fn found(&mut self, path: usize, weight: u64, budget: u64) -> bool {
        self.clock += 1;
        let before = self.used.insert(path, (self.clock, weight));
        self.order.insert(self.clock, path);
        if let Some((at, _)) = before {
            self.order.remove(&at);
            return true;
        }
        self.weight += weight;
        while self.weight > budget
            && let Some((_, oldest)) = self.order.pop_first()
            && let Some((_, freed)) = self.used.remove(&oldest)
        {
            self.weight -= freed;
        }
        false
    }
}

#[test]
fn more_is_found_than_by_what_was_used_last() {
    let lengths = lengths(&mut fastrand::Rng::with_seed(1));
    let keys: Vec<CacheKey> = (0..PATHS).map(|n| key(&format!("/{n}"))).collect();
    let store = store(MEMORY);
    let found = share(|path| {
        if store.get(&keys[path]).is_some() {
            return true;
        }
        let body = vec![b'x'; lengths[path]];
        let response = store.make(&keys[path], parts(Body::new(vec![Bytes::from(body)])));
        let _ = store.insert(&response);
        false
    });
    let mut lru = Lru::default();
    let budget = room::budget(MEMORY);
    let by_lru = share(|path| lru.found(path, lengths[path] as u64 + 700, budget));
    assert!(found > by_lru + 0.04, "{found:.3} beside {by_lru:.3}");
}
