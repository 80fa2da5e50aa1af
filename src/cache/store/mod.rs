//! What is kept, within `[cache] memory`.
//!
//! | part | question |
//! |---|---|
//! | [`account`] | what is alive? |
//! | [`build`] | a body under way: may it take more? |
//! | [`part`] | what is here of a response that is not all here? |
//! | [`resource`] | which of a key's responses fits? |
//! | `forms` | which form of it does a client get, and who makes that? |
//! | `moved` | which bodies lie where the kernel can send them from? |
//! | `room` | what must go so that the rest may stay? |
//!
//! Entries are found by the hash of their key, and are an answer only if the key itself is theirs. Invariants: what is alive
//! (stored; evicted and still being sent; under way) stays within the budget, by one object at most; of two responses
//! stored for one key at once none is lost; what was replaced or invalidated does not come back.

pub mod account;
pub mod build;
mod forms;
mod moved;
pub mod part;
pub mod resource;
mod room;

use super::key::CacheKey;
use super::metrics::StoreMetrics;
use super::outcome::Reason;
use super::purge::Mode;
use super::purge::ledger::{Ledger, Standing};
use super::response::{Parts, StoredResponse};
use super::settings::CacheSettings;
use crate::arena::Arena;
use account::{Account, Charge};
use parking_lot::Mutex;
use room::{Capacities, Half, PutOut};
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use tokio::sync::Semaphore;

pub use build::{BodyBuilder, Reservation, Sealed};
pub use part::StoredPart;
pub use resource::Resource;

pub(super) use account::signed;
pub(super) use room::AsItIs;

/// The memory store. Clones are the same one.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    account: Arc<Account>,
    limits: Limits,
    small: Half,
    large: Half,
    /// What the halves may weigh. While it is held, nothing is inserted by its holder; it is taken after a stripe.
    capacities: Mutex<Capacities>,
    /// Whoever changes a key's entry by what it was holds the stripe of its hash, so that of two changes none is lost.
    /// Readers take none.
    stripes: [Mutex<()>; STRIPES],
    /// For those who make coded forms.
    makers: Arc<Semaphore>,
    /// For those who move bodies.
    movers: Arc<Semaphore>,
    /// Where they are moved to; made by the first. None inside where there can be none.
    arena: OnceLock<Option<Arc<Arena>>>,
    metrics: StoreMetrics,
}

/// As settings have them; a reload changes them.
struct Limits {
    budget: AtomicU64,
    object: AtomicU64,
    in_flight: AtomicU64,
    variants: AtomicUsize,
}

/// Two writers rarely meet.
const STRIPES: usize = 64;

/// What a store holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// Keys.
    pub entries: u64,
    /// Octets alive: stored, still being sent, under way.
    pub bytes: u64,
    /// Octets of that under way.
    pub in_flight: u64,
    /// Octets of that stored.
    pub stored: u64,
    /// Octets that may be alive.
    pub capacity: u64,
    /// Keys evicted since the start.
    pub evictions: u64,
}

impl Store {
    /// An empty store.
    pub fn new(settings: &CacheSettings) -> Self {
        let account = Arc::new(Account::default());
        let metrics = StoreMetrics::new(
            &account.alive,
            &account.in_flight,
            &account.in_arena,
            (&account.ledger.known, &account.ledger.bytes),
        );
        let memory = settings.memory.bytes();
        let budget = room::budget(memory);
        let store = Self {
            inner: Arc::new(Inner {
                account,
                small: room::half(memory, room::shards(memory), metrics.evictions()),
                large: room::half(memory, 1, metrics.evictions()),
                capacities: Mutex::new(Capacities {
                    small: budget,
                    large: budget,
                }),
                stripes: std::array::from_fn(|_| Mutex::new(())),
                makers: Arc::new(Semaphore::new(forms::AT_ONCE)),
                movers: Arc::new(Semaphore::new(moved::AT_ONCE)),
                arena: OnceLock::new(),
                limits: Limits {
                    budget: AtomicU64::new(budget),
                    object: AtomicU64::new(0),
                    in_flight: AtomicU64::new(0),
                    variants: AtomicUsize::new(1),
                },
                metrics,
            }),
        };
        store.resize(settings);
        store
    }

    /// What is counted of it.
    pub fn metrics(&self) -> &StoreMetrics {
        &self.inner.metrics
    }

    /// What is stored for a key.
    pub fn get(&self, key: &CacheKey) -> Option<Resource> {
        let hash = key.hash_value();
        let of_key = |found: &Resource| found.is_of(key.as_bytes());
        let found = self.inner.small.get(&hash).filter(of_key);
        found.or_else(|| self.inner.large.get(&hash).filter(of_key))
    }

    /// The same, without counting as a use of it.
    pub(super) fn glance(&self, key: &CacheKey) -> Option<Resource> {
        self.inner.peek(key.hash_value(), key.as_bytes())
    }

    /// Makes a stored response, which is counted from now on, though it is not found before it is
    /// [`insert`](Self::insert)ed. A body that no [`BodyBuilder`] of this store made is copied.
    pub fn make(&self, key: &CacheKey, parts: Parts) -> Arc<StoredResponse> {
        Arc::new(StoredResponse::new(&self.inner.account, key, parts))
    }

    /// Stores a response in the place of the one of its route that has the same nominated values, and of what there is in
    /// parts for these.
    ///
    /// # Errors
    /// [`Reason::TooLarge`] and [`Reason::Crowded`]: it is not stored, and what it was to replace may be gone.
    pub fn insert(&self, response: &Arc<StoredResponse>) -> Result<(), Reason> {
        let stored = self.inner.put(response, None);
        if let Err(reason) = stored {
            self.inner.metrics.refused(reason);
        }
        self.note();
        stored
    }

    /// Puts a freshened response in the place of the one it was made of. False where that is no longer stored: it was
    /// replaced, removed, evicted or invalidated meanwhile, and does not come back by this. The coded forms go with the body.
    pub fn replace(&self, old: &Arc<StoredResponse>, new: &Arc<StoredResponse>) -> bool {
        new.carry(old);
        let stored = self.inner.put(new, Some(old)).is_ok();
        self.note();
        stored
    }

    /// Removes all that is stored for a key. True where there was something.
    pub fn remove(&self, key: &CacheKey) -> bool {
        let removed = self.inner.remove_of(key.hash_value(), key.as_bytes());
        self.note();
        removed
    }

    /// Removes one stored response. True where it was there.
    pub fn remove_variant(&self, response: &Arc<StoredResponse>) -> bool {
        let removed = self.inner.remove_variant(response);
        self.note();
        removed
    }

    /// Makes everything that is stored for a key's target useless: all routes, all variants, whatever the operator's
    /// fields and cookies had for values. True where there was something.
    pub fn invalidate(&self, key: &CacheKey) -> bool {
        let more = self.purge_extras(key, Mode::Hard) > 0;
        let removed = self.inner.remove_of(key.target_hash(), key.target_bytes());
        self.note();
        removed || more
    }

    /// Makes everything useless that is stored for a key's target. How many that were.
    pub(super) fn purge(&self, key: &CacheKey) -> u64 {
        let found = self.get(key);
        let found = found.as_ref();
        let variants = found.map(Resource::variants).unwrap_or_default().iter();
        let parts = found.map(Resource::parts).unwrap_or_default().iter();
        let matched = variants.filter(|it| !it.is_invalidated()).count()
            + parts.filter(|it| !it.is_invalidated()).count();
        let more = self.purge_extras(key, Mode::Hard);
        self.inner.remove_of(key.target_hash(), key.target_bytes());
        self.note();
        more.saturating_add(matched as u64)
    }

    /// The same for what is stored under keys that have more than the target.
    pub(super) fn purge_extras(&self, key: &CacheKey, mode: Mode) -> u64 {
        self.ledger().purge_target(&key.target(), mode)
    }

    /// The purges.
    pub(super) fn ledger(&self) -> &Ledger {
        &self.inner.account.ledger
    }

    /// Counts octets that are kept for the store's sake beside it.
    pub(super) fn charge(&self, bytes: u64) -> Charge {
        Charge::new(&self.inner.account, bytes)
    }

    /// Octets for a fetch under way. `None` where there is no room.
    pub fn reserve(&self, bytes: u64) -> Option<Reservation> {
        Reservation::new(&self.inner, bytes)
    }

    /// Each entry, some of them perhaps not if they come or go meanwhile. Takes each shard's lock for one entry at a time.
    pub fn for_each(&self, mut each: impl FnMut(&Resource)) {
        for (_, resource) in self.inner.small.iter().chain(self.inner.large.iter()) {
            each(&resource);
        }
    }

    /// What it holds.
    pub fn stats(&self) -> Stats {
        let inner = &self.inner;
        Stats {
            entries: (inner.small.len() + inner.large.len()) as u64,
            bytes: inner.account.alive(),
            in_flight: inner.account.in_flight(),
            stored: inner.small.weight() + inner.large.weight(),
            capacity: inner.limits.budget.load(Ordering::Relaxed),
            evictions: inner.metrics.evictions().get(),
        }
    }

    /// Takes over other settings: evicts what no longer fits, and nothing else.
    pub fn resize(&self, settings: &CacheSettings) {
        let limits = &self.inner.limits;
        let budget = room::budget(settings.memory.bytes());
        limits.budget.store(budget, Ordering::Relaxed);
        limits
            .object
            .store(settings.object.bytes(), Ordering::Relaxed);
        limits
            .in_flight
            .store(settings.in_flight.bytes(), Ordering::Relaxed);
        limits.variants.store(settings.variants, Ordering::Relaxed);
        self.inner.metrics.capacity(settings.memory.bytes());
        self.inner.make_room();
        drop(self.inner.relax());
        self.note();
    }

    fn note(&self) {
        let entries = self.inner.small.len() + self.inner.large.len();
        self.inner.metrics.entries(entries as u64);
    }
}

impl Inner {
    fn stripe(&self, hash: u64) -> &Mutex<()> {
        // The low bits choose the bucket in a shard; any do here.
        &self.stripes[(hash >> 16) as usize % STRIPES]
    }

    fn peek(&self, hash: u64, key: &[u8]) -> Option<Resource> {
        let of_key = |found: &Resource| found.is_of(key);
        let found = self.small.peek(&hash).filter(of_key);
        found.or_else(|| self.large.peek(&hash).filter(of_key))
    }

    /// Stores a response; where it is freshened, only in the place of what it was made of.
    fn put(
        &self,
        response: &Arc<StoredResponse>,
        instead: Option<&Arc<StoredResponse>>,
    ) -> Result<(), Reason> {
        debug_assert!(response.is_on(&self.account), "it is another store's");
        let hash = super::key::hash(response.key());
        if response.body_length() > self.limits.object.load(Ordering::Relaxed) {
            return Err(Reason::TooLarge);
        }
        let ledger = &self.account.ledger;
        // What was purged while it was fetched must not take the place of what came after.
        if ledger.is_closed_to(response.checked()) || response.is_invalidated() {
            return Err(Reason::Invalidated);
        }
        let _stripe = self.stripe(hash).lock();
        let known = self.peek(hash, response.key());
        if response.standing() != Standing::Valid
            && known
                .as_ref()
                .is_some_and(|known| known.has_newer(response))
        {
            return Err(Reason::Invalidated);
        }
        if let Some(instead) = instead {
            let known = known.as_ref().map(Resource::variants).unwrap_or_default();
            let there = known.iter().any(|stored| Arc::ptr_eq(stored, instead));
            if !there || instead.is_invalidated() {
                return Err(Reason::Invalidated);
            }
        }
        let most = self.limits.variants.load(Ordering::Relaxed);
        let resource = Resource::with(&self.account, known.as_ref(), response, instead, most);
        drop(known);
        self.place(hash, resource)
    }

    /// Puts what is to be stored for a key there, whose stripe is held.
    fn place(&self, hash: u64, resource: Option<Resource>) -> Result<(), Reason> {
        let (true, Some(resource)) = (self.make_room(), resource) else {
            return Err(Reason::Crowded);
        };
        if self.settle(hash, &resource) {
            Ok(())
        } else {
            Err(Reason::Crowded)
        }
    }

    /// Puts all that is stored for a key where its weight belongs. Its stripe is held. False where it found no place.
    fn settle(&self, hash: u64, resource: &Resource) -> bool {
        let (half, other) = self.half_for(resource.weight());
        // What is stored again is put out as what was there, and must not be taken for what was not let in.
        let again = half.peek(&hash).is_some_and(|it| it.is_same(resource));
        let mut put_out = PutOut {
            inserting: Some(hash),
            resources: Vec::new(),
        };
        half.insert_with_lifecycle(hash, resource.clone(), &mut put_out);
        let out = put_out.resources.iter();
        let kept = out.filter(|out| out.is_same(resource)).count() <= usize::from(again);
        let moved = other.remove(&hash);
        drop((put_out, moved));
        kept
    }

    fn remove_of(&self, hash: u64, key: &[u8]) -> bool {
        let _stripe = self.stripe(hash).lock();
        self.remove_held(hash, key)
    }

    /// Removes a key whose stripe is held.
    fn remove_held(&self, hash: u64, key: &[u8]) -> bool {
        let small = self.small.remove_if(&hash, |found| found.is_of(key));
        let large = self.large.remove_if(&hash, |found| found.is_of(key));
        small.is_some() || large.is_some()
    }

    fn remove_variant(&self, response: &Arc<StoredResponse>) -> bool {
        let hash = super::key::hash(response.key());
        let _stripe = self.stripe(hash).lock();
        let Some(known) = self.peek(hash, response.key()) else {
            return false;
        };
        if !known.variants().iter().any(|it| Arc::ptr_eq(it, response)) {
            return false;
        }
        let left = known.without(&self.account, |it| Arc::ptr_eq(it, response), |_| false);
        self.leave(hash, response.key(), left);
        true
    }

    /// Puts what is left of a key in the place of what was there. Its stripe is held.
    fn leave(&self, hash: u64, key: &[u8], left: Option<Resource>) {
        match left {
            None => {
                self.remove_held(hash, key);
            }
            Some(left) => {
                // Where it was evicted meanwhile, it need not come back.
                if self.small.contains_key(&hash) || self.large.contains_key(&hash) {
                    self.settle(hash, &left);
                }
            }
        }
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("account", &self.account)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod part_tests;

#[cfg(test)]
mod budget_tests;

#[cfg(test)]
mod forms_tests;

#[cfg(test)]
mod overhead_tests;

#[cfg(test)]
mod hit_ratio_tests;
