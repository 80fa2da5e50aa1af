//! The one account of the cache's memory: every octet that it keeps alive, whoever holds it.
//!
//! What is stored, what was evicted and is still being sent, and what is under way are counted alike, by the memory itself:
//! a [`Charge`] lies beside what it counts and goes with it, so that no path can forget one.

use super::super::key::{CacheKey, hash};
use parking_lot::Mutex;
use prometheus_client::metrics::gauge::Gauge;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What is alive, and when targets were invalidated.
#[derive(Debug, Default)]
pub struct Account {
    /// All octets. A gauge, so that the metric is the account itself.
    pub(super) alive: Gauge,
    /// Those of them that are under way.
    pub(super) in_flight: Gauge,
    /// Those of them that lie in the arena.
    pub(super) in_arena: Gauge,
    /// Counts what is made and what is invalidated, so that one can be told to have come before the other.
    sequence: AtomicU64,
    /// Targets that something alive with the operator's extras in its key belongs to. Guards the map only and is held for
    /// a look-up; the stamps are read without it.
    targets: Mutex<HashMap<u64, Arc<AtomicU64>>>,
}

impl Account {
    pub(super) fn alive(&self) -> u64 {
        u64::try_from(self.alive.get()).unwrap_or(0)
    }

    pub(super) fn in_flight(&self) -> u64 {
        u64::try_from(self.in_flight.get()).unwrap_or(0)
    }

    pub(in crate::cache) fn add(&self, bytes: u64) {
        self.alive.inc_by(signed(bytes));
    }

    pub(in crate::cache) fn subtract(&self, bytes: u64) {
        self.alive.dec_by(signed(bytes));
    }

    /// Tells everything of a target that has extras in its key that it is no longer to be used. True where there is any.
    pub(super) fn invalidate(&self, target_hash: u64) -> bool {
        let stamp = self.sequence.fetch_add(1, Ordering::AcqRel) + 1;
        let targets = self.targets.lock();
        let target = targets.get(&target_hash);
        if let Some(target) = target {
            target.fetch_max(stamp, Ordering::AcqRel);
        }
        target.is_some()
    }

    /// What a response must remember whose key has extras.
    pub(in crate::cache) fn extras(&self, key: &CacheKey) -> Option<Box<Extras>> {
        if !key.has_extras() {
            return None;
        }
        let target_hash = hash(key.target_bytes());
        let invalidated = {
            let mut targets = self.targets.lock();
            Arc::clone(targets.entry(target_hash).or_default())
        };
        Some(Box::new(Extras {
            target_hash,
            made: self.sequence.load(Ordering::Acquire),
            invalidated,
        }))
    }

    /// Forgets a target with the last response of it.
    pub(in crate::cache) fn drop_extras(&self, extras: Box<Extras>) {
        let mut targets = self.targets.lock();
        // The map's and this one: others are made and dropped under the lock only.
        if Arc::strong_count(&extras.invalidated) == 2 {
            targets.remove(&extras.target_hash);
        }
        drop(extras);
    }

    #[cfg(test)]
    pub(super) fn targets(&self) -> usize {
        self.targets.lock().len()
    }
}

/// Of a response whose key has extras: the keys of a target are not known from the target, so an invalidation leaves a
/// stamp where every one of them looks. It lives as long as anything of the target does: there is nothing to evict.
#[derive(Debug)]
pub struct Extras {
    target_hash: u64,
    made: u64,
    invalidated: Arc<AtomicU64>,
}

impl Extras {
    /// What it costs: itself, its share of the map's slot, the stamp; roughly.
    pub(in crate::cache) const BYTES: u64 = 128;

    /// Whether its target was invalidated after it was made.
    pub(in crate::cache) fn is_invalidated(&self) -> bool {
        self.invalidated.load(Ordering::Acquire) > self.made
    }
}

/// Octets that are counted while this lives.
#[derive(Debug)]
pub struct Charge {
    account: Arc<Account>,
    bytes: u64,
}

impl Charge {
    /// Counts so many more.
    pub(in crate::cache) fn new(account: &Arc<Account>, bytes: u64) -> Self {
        account.add(bytes);
        Self::counted(account, bytes)
    }

    /// Takes over octets that are counted already.
    pub(super) fn counted(account: &Arc<Account>, bytes: u64) -> Self {
        Self {
            account: Arc::clone(account),
            bytes,
        }
    }

    pub(in crate::cache) fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.account.subtract(self.bytes);
    }
}

/// The memory that an allocation of so many octets takes: the larger of what mimalloc (ours) and glibc give. mimalloc has
/// classes of 16 octets up to 64, then four for each doubling; glibc eight more, in steps of 16.
pub fn allocated(bytes: usize) -> u64 {
    let bytes = bytes as u64;
    if bytes == 0 {
        return 0;
    }
    let class = if bytes <= 64 {
        bytes.next_multiple_of(16)
    } else {
        // Between 2ⁿ and 2ⁿ⁺¹ the classes are a quarter of 2ⁿ apart.
        let quarter = ((bytes - 1).ilog2()).saturating_sub(2);
        bytes.next_multiple_of(1 << quarter)
    };
    class.max((bytes + 8).next_multiple_of(16))
}

pub(super) fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_allocation_takes() {
        for (bytes, expected) in [
            (0, 0),
            (1, 16),
            (24, 32),
            (40, 48),
            (64, 80),
            (65, 80),
            (112, 128),
            (128, 144),
            (129, 160),
            (500, 512),
            (513, 640),
            (65536, 65552),
            (65537, 81920),
        ] {
            assert_eq!(allocated(bytes), expected, "{bytes}");
        }
    }
}
