//! The buckets of a limit: a table of fixed size in which the emptiest make room for the fullest.
//!
//! A key has eight places, chosen by a hash that nobody outside knows. Where all of them are taken, the bucket goes that is
//! nearest to being full again: it has least to forget. So whoever floods is remembered, however many keys a flood invents
//! besides, and nobody is refused because there are too many others.

use parking_lot::Mutex;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hash};

/// Places for a key.
const WAYS: usize = 8;

/// When the bucket of a key is full again; 0 where there is none.
#[derive(Debug, Clone, Copy, Default)]
struct Bucket {
    key: u64,
    full: u64,
}

/// The buckets of all keys.
#[derive(Debug)]
pub struct Table {
    /// A power of two of them. Each is locked for a look at its eight buckets, and nothing is waited for meanwhile.
    sets: Box<[Mutex<[Bucket; WAYS]>]>,
    hasher: RandomState,
}

/// What became of a look at a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Looked<T> {
    /// What the caller made of it.
    pub became: T,
    /// Whether another key's bucket had to go although it was not full.
    pub displaced: bool,
}

impl Table {
    /// Room for at least so many keys.
    pub fn new(keys: usize) -> Self {
        let sets = keys.div_ceil(WAYS).max(1).next_power_of_two();
        Self {
            sets: (0..sets).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
        }
    }

    /// A key, from what distinguishes it. Two that are alike by chance share a bucket: one pair in 2⁶⁴.
    pub fn key(&self, of: impl Hash) -> u64 {
        self.hasher.hash_one(of)
    }

    /// When the bucket of this key is full, as far as it is remembered.
    pub fn full(&self, key: u64) -> u64 {
        let set = self.set(key).lock();
        let found = set.iter().find(|bucket| bucket.is_of(key));
        found.map_or(0, |bucket| bucket.full)
    }

    /// Changes the bucket of a key: `change` is given when it is full, and says when it will be, or `Err` to leave it.
    pub fn change<E>(
        &self,
        key: u64,
        now: u64,
        change: impl FnOnce(u64) -> Result<u64, E>,
    ) -> Looked<Result<(), E>> {
        let mut set = self.set(key).lock();
        if let Some(bucket) = set.iter_mut().find(|bucket| bucket.is_of(key)) {
            return Looked {
                became: change(bucket.full).map(|full| bucket.full = full),
                displaced: false,
            };
        }
        let full = match change(0) {
            Ok(full) => full,
            Err(error) => {
                return Looked {
                    became: Err(error),
                    displaced: false,
                };
            }
        };
        let mut displaced = false;
        if let Some(place) = set.iter_mut().min_by_key(|bucket| bucket.full) {
            displaced = place.full > now;
            *place = Bucket { key, full };
        }
        Looked {
            became: Ok(()),
            displaced,
        }
    }

    /// Buckets that are not full, and so have something to remember.
    pub fn len(&self, now: u64) -> usize {
        let of_set = |set: &Mutex<[Bucket; WAYS]>| {
            let set = *set.lock();
            set.iter().filter(|bucket| bucket.full > now).count()
        };
        self.sets.iter().map(of_set).sum()
    }

    fn set(&self, key: u64) -> &Mutex<[Bucket; WAYS]> {
        let index = usize::try_from(key >> 32).unwrap_or_default() & (self.sets.len() - 1);
        &self.sets[index]
    }
}

impl Bucket {
    fn is_of(&self, key: u64) -> bool {
        self.key == key && self.full > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A request that always moves the instant on by `cost`.
    fn take(table: &Table, key: u64, now: u64, cost: u64) -> Looked<Result<(), ()>> {
        table.change(key, now, |full| Ok(full.max(now) + cost))
    }

    #[test]
    fn a_bucket_is_remembered_and_another_is_another() {
        let table = Table::new(64);
        let (one, other) = (table.key("one"), table.key("other"));
        take(&table, one, 10, 5);
        take(&table, one, 11, 5);
        assert_eq!((table.full(one), table.full(other)), (20, 0));
        assert_eq!((table.len(19), table.len(20)), (1, 0));
        let left = table.change(one, 12, |_| Err::<u64, _>("no"));
        assert_eq!((left.became, table.full(one)), (Err("no"), 20));
        let left = table.change(other, 12, |_| Err::<u64, _>("no"));
        assert_eq!(
            (left.became, table.len(12)),
            (Err("no"), 1),
            "nothing to remember"
        );
    }

    #[test]
    fn the_emptiest_goes_and_who_floods_stays() {
        let table = Table::new(1);
        let flooding = table.key("flooding");
        take(&table, flooding, 1, 1_000);
        let mut displaced = 0;
        for n in 0..10_000 {
            displaced += usize::from(take(&table, table.key(n), 1, 10).displaced);
        }
        assert_eq!(displaced, 10_000 - (WAYS - 1));
        assert_eq!(table.full(flooding), 1_001);
        assert_eq!(table.len(1), WAYS);
        // What is full again goes without a word.
        assert!(!take(&table, table.key("later"), 20, 10).displaced);
    }

    #[test]
    fn it_takes_what_the_settings_say() {
        for (keys, room) in [(1, 8), (64, 64), (65, 128), (65_536, 65_536)] {
            assert_eq!(Table::new(keys).sets.len() * WAYS, room);
        }
        assert!(size_of::<Mutex<[Bucket; WAYS]>>() <= 17 * WAYS);
    }
}
