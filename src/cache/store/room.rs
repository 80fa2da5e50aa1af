//! How the memory is divided: between small and large entries, and what is alive beside both.
//!
//! `quick_cache` gives each of its shards an equal share and refuses, silently, what is heavier than nearly all of that. With
//! many shards a large entry would find no place, with one all threads would meet at its lock: so there are two, many
//! shards for what is small beside a share, and one for the rest. They have one budget. Where it is exceeded, the one gives
//! that has more than its part, so that neither can take more than that against the other's will; what was evicted and is
//! still being sent counts on until it is sent, so the two shrink while readers are slow.

use super::Inner;
use super::resource::Resource;
use parking_lot::MutexGuard;
use prometheus_client::metrics::counter::Counter;
use quick_cache::sync::Cache;
use quick_cache::{Lifecycle, OptionsBuilder, Weighter};
use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::Ordering;

/// Entries by the hash of their key.
pub(super) type Half = Cache<u64, Resource, ByOctets, AsItIs, Evictions>;

/// What both halves may weigh now. They are policy: the account is what holds the budget.
#[derive(Debug)]
pub(super) struct Capacities {
    pub(super) small: u64,
    pub(super) large: u64,
}

/// The part of the memory, one in so many, that large entries keep against the will of the small ones. An octet of theirs is
/// asked for less often: with the web's sizes and Zipf's law, a half for each finds fewer of the requests than the order
/// of last use does over both.
const FOR_LARGE: u64 = 4;

/// An entry is small if so many of its weight find a place in a shard.
const SMALL_IN_SHARD: u64 = 16;

/// A shard's share of the memory is at least this, so that ordinary pages and images are small.
const SHARD_MIN: u64 = 2 * 1024 * 1024;

/// More would not help: their locks are held for about 100 ns.
const SHARDS_MAX: u64 = 64;

/// Keys that were evicted are remembered, one for so many octets of memory, to know them when they come back; each
/// costs [`GHOST_BYTES`], which the budget leaves free.
const OCTETS_A_GHOST: u64 = 8192;

/// A slot in the slab and in the index.
const GHOST_BYTES: u64 = 56;

/// As many shards as a memory bears.
pub(super) fn shards(memory: u64) -> u64 {
    let most = (memory / SHARD_MIN).clamp(1, SHARDS_MAX);
    // Down to a power of two: quick_cache would go up.
    1 << most.ilog2()
}

/// One part in so many is left to the allocator, for what lies free between allocations. Measured with bodies of 100 octets
/// to 8 MiB that come and go: a process holds up to 1.42 times what is counted, with mimalloc as with glibc, and 1.3 times
/// the memory is what an operator may rely on.
const FOR_ALLOCATOR: u64 = 6;

/// What is left of the memory for what is counted.
pub(super) fn budget(memory: u64) -> u64 {
    let ghosts = memory / OCTETS_A_GHOST * GHOST_BYTES;
    memory.saturating_sub(ghosts + memory / FOR_ALLOCATOR)
}

pub(super) fn half(memory: u64, shards: u64, evicted: &Counter) -> Half {
    // quick_cache makes half as many ghosts as this, and fewer shards where one would have less than 32 items.
    let items = usize::try_from((memory / OCTETS_A_GHOST * 2).max(shards * 32)).unwrap_or(64);
    let options = OptionsBuilder::new()
        .shards(usize::try_from(shards).unwrap_or(1))
        .estimated_items_capacity(items)
        .weight_capacity(budget(memory))
        .build()
        .expect("capacity and items are given");
    let evictions = Evictions(evicted.clone());
    Cache::with_options(options, ByOctets, AsItIs, evictions)
}

impl Inner {
    /// Evicts until what is alive is within the budget. False where that cannot be: what is alive is not stored.
    pub(super) fn make_room(&self) -> bool {
        let budget = self.limits.budget.load(Ordering::Relaxed);
        if self.account.alive() <= budget {
            return true;
        }
        let mut capacities = self.capacities.lock();
        // Evicting what somebody is sending frees nothing, so it is looked again; each round empties a half or comes nearer.
        for _ in 0..ROUNDS_MAX {
            let excess = self.account.alive().saturating_sub(budget);
            if excess == 0 {
                return true;
            }
            let (small, large) = (self.small.weight(), self.large.weight());
            if small == 0 && large == 0 {
                return false;
            }
            // A little more than is needed, so that not every insertion comes here.
            let less = excess.saturating_add(step(budget));
            if large.saturating_mul(FOR_LARGE - 1) >= small {
                capacities.large = self.shrink(&self.large, large.saturating_sub(less), budget);
            } else {
                capacities.small = self.shrink(&self.small, small.saturating_sub(less), budget);
            }
        }
        self.account.alive() <= budget
    }

    fn shrink(&self, half: &Half, to: u64, budget: u64) -> u64 {
        // A capacity of nothing could not grow again: quick_cache scales what it has.
        let least = step(budget).max(half.num_shards() as u64);
        half.set_capacity(to.max(least));
        if to < least {
            self.metrics.evicted(half.len() as u64);
            half.clear();
        }
        to.max(least)
    }

    /// Lets both halves grow again into what is free, or into what is theirs. To be called before an insertion.
    pub(super) fn relax(&self) -> MutexGuard<'_, Capacities> {
        let budget = self.limits.budget.load(Ordering::Relaxed);
        let mut capacities = self.capacities.lock();
        let (small, large) = (self.small.weight(), self.large.weight());
        let outside = self
            .account
            .alive()
            .saturating_sub(small.saturating_add(large));
        let free = budget.saturating_sub(outside);
        let part = free / FOR_LARGE;
        let wanted = |other: u64, part: u64| free.saturating_sub(other).max(part);
        // Twice what is made free at once, so that they do not go up and down by turns.
        let enough =
            |capacity: u64, wanted: u64| capacity.saturating_add(2 * step(budget)) < wanted;
        let (for_small, for_large) = (wanted(large, free - part), wanted(small, part));
        if enough(capacities.small, for_small) {
            capacities.small = for_small;
            self.small.set_capacity(capacities.small);
        }
        if enough(capacities.large, for_large) {
            capacities.large = for_large;
            self.large.set_capacity(capacities.large);
        }
        capacities
    }

    /// Where an entry of this weight belongs, and room for it there.
    pub(super) fn half_for(&self, weight: u64) -> (&Half, &Half) {
        let budget = self.limits.budget.load(Ordering::Relaxed);
        let shards = self.small.num_shards() as u64;
        let mut capacities = self.relax();
        // quick_cache takes what is within 97 % of a shard's share.
        let least = weight.saturating_add(weight / 8).saturating_add(64);
        if weight.saturating_mul(SMALL_IN_SHARD * shards) <= budget
            && least.saturating_mul(shards) <= capacities.small
        {
            return (&self.small, &self.large);
        }
        if capacities.large < least {
            capacities.large = least;
            self.large.set_capacity(least);
        }
        (&self.large, &self.small)
    }
}

const ROUNDS_MAX: usize = 64;

/// What is made free at once.
fn step(budget: u64) -> u64 {
    budget / 64
}

/// Weighs entries.
#[derive(Debug, Clone)]
pub(super) struct ByOctets;

impl Weighter<u64, Resource> for ByOctets {
    fn weight(&self, _: &u64, resource: &Resource) -> u64 {
        resource.weight()
    }
}

/// The key is a hash already.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::cache) struct AsItIs;

impl BuildHasher for AsItIs {
    type Hasher = Same;

    fn build_hasher(&self) -> Same {
        Same(0)
    }
}

#[derive(Debug)]
pub(in crate::cache) struct Same(u64);

impl Hasher for Same {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &octet in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(octet);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// Counts what is evicted, and takes it out of the shard's lock.
#[derive(Debug, Clone)]
pub(super) struct Evictions(Counter);

/// What one operation put out, to be dropped after it.
#[derive(Debug, Default)]
pub(super) struct PutOut {
    /// The key being inserted: what is put out under it was replaced, or not let in, and is not counted.
    pub(super) inserting: Option<u64>,
    pub(super) resources: Vec<Resource>,
}

impl Lifecycle<u64, Resource> for Evictions {
    type RequestState = PutOut;

    fn on_evict(&self, put_out: &mut PutOut, key: u64, resource: Resource) {
        if put_out.inserting != Some(key) {
            self.0.inc();
        }
        put_out.resources.push(resource);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_for_a_memory() {
        for (memory, expected) in [
            (0, 1),
            (1 << 20, 1),
            (7 << 20, 2),
            (64 << 20, 32),
            (1 << 40, 64),
        ] {
            assert_eq!(shards(memory), expected);
        }
    }
}
