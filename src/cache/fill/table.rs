//! Which fetches are under way: for each key, at most one that a given request may join.
//!
//! A fill is listed from its beginning until its writer is done with it. Whether it may be joined is its own state's to say.

use super::Head;
use super::flight::{Begun, Flight, Joiner};
use super::metrics::FillMetrics;
use super::state::{Open, Settled, State};
use crate::cache::key::CacheKey;
use crate::cache::outcome::Reason;
use crate::cache::policy::Terms;
use crate::cache::vary::{self, Nominated};
use crate::fields::view::FieldView;
use http::{HeaderMap, header};
use parking_lot::{Mutex, MutexGuard};
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Locks that the keys share.
const SHARDS: usize = 64;

/// Fetches that are listed at most; beyond, requests are forwarded by themselves.
const FILLS_MAX: usize = 64 * 1024;

/// By the target of the key, because a target is what is invalidated.
type Shard = HashMap<Box<[u8]>, Vec<Arc<Flight>>>;

/// The fetches under way.
#[derive(Debug)]
pub(in crate::cache) struct Table {
    /// Each guards the fills of its keys, and with them the order of three events: a fill begins, the store takes what it
    /// brought, its target is invalidated. Nobody is woken and nothing awaited while one is held.
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    listed: AtomicUsize,
    /// How often targets were invalidated, those of a place together.
    touched: Box<[AtomicU64]>,
    metrics: FillMetrics,
}

/// Places for counts of invalidations. Two targets that share one cost each other a response that is not stored.
const TOUCHED: usize = 1024;

/// What a request finds.
#[derive(Debug)]
pub(in crate::cache) enum Found<E> {
    /// A fill, and its place there.
    Joined(Arc<Flight>, usize),
    /// A fill whose response must not be used for it.
    Unusable(E),
    /// None, so it began one, with its place there.
    Led(Arc<Flight>, usize),
    /// None, and too many are under way.
    Crowded,
    /// What is stored has changed meanwhile.
    Changed,
}

/// What a request would find.
#[derive(Debug)]
pub(in crate::cache) enum Glimpse<E> {
    /// A fill that it would share.
    UnderWay,
    /// A fill whose response must not be used for it.
    Unusable(E),
    /// None, and too many are under way.
    Full,
    /// None.
    Nothing,
}

/// A fill that fits a request.
enum Fitting {
    Waiting(Arc<Flight>),
    Storing(Arc<Flight>, Arc<Head>),
}

impl Table {
    pub(in crate::cache) fn new(metrics: FillMetrics) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            listed: AtomicUsize::new(0),
            touched: (0..TOUCHED).map(|_| AtomicU64::new(0)).collect(),
            metrics,
        }
    }

    /// Finds a fill that a request may join, else begins one where `begin` gives it something to begin with.
    ///
    /// `usable` judges a response whose head is here already; `unchanged` is asked before one is begun whether nothing was
    /// stored since the request looked. `vary` is of the newest response that is stored for the key: what it names is a
    /// good guess.
    pub(in crate::cache) fn find<E>(
        &self,
        joiner: Joiner<'_>,
        vary: Option<&HeaderMap>,
        usable: impl FnOnce(&Terms) -> Result<(), E>,
        unchanged: impl FnOnce() -> bool,
        begin: impl FnOnce() -> Option<Begun>,
    ) -> Found<E> {
        let mut shard = self.shard(joiner.key);
        let mut guess = vary.and_then(|fields| nominate(fields, joiner.headers));
        let flight = match fitting(&shard, joiner, &mut guess) {
            Some(Fitting::Waiting(flight)) => Some(flight),
            Some(Fitting::Storing(flight, head)) => {
                match head.terms.as_ref().map_or(Ok(()), usable) {
                    Ok(()) => Some(flight),
                    Err(unusable) => return Found::Unusable(unusable),
                }
            }
            None => None,
        };
        // It may have ended since it was looked at.
        if let Some(flight) = flight
            && let Some(place) = flight.join(false)
        {
            return Found::Joined(flight, place);
        }
        if !unchanged() {
            return Found::Changed;
        }
        match self.begin(&mut shard, guess, begin) {
            Some(flight) => match flight.join(true) {
                Some(place) => Found::Led(flight, place),
                None => Found::Changed,
            },
            None => Found::Crowded,
        }
    }

    /// What [`find`](Self::find) would find; nothing is joined nor begun.
    pub(in crate::cache) fn glance<E>(
        &self,
        joiner: Joiner<'_>,
        vary: Option<&HeaderMap>,
        usable: impl FnOnce(&Terms) -> Result<(), E>,
    ) -> Glimpse<E> {
        let shard = self.shard(joiner.key);
        let mut guess = vary.and_then(|fields| nominate(fields, joiner.headers));
        match fitting(&shard, joiner, &mut guess) {
            Some(Fitting::Waiting(_)) => Glimpse::UnderWay,
            Some(Fitting::Storing(_, head)) => match head.terms.as_ref().map_or(Ok(()), usable) {
                Ok(()) => Glimpse::UnderWay,
                Err(unusable) => Glimpse::Unusable(unusable),
            },
            None if self.listed.load(Ordering::Relaxed) >= FILLS_MAX => Glimpse::Full,
            None => Glimpse::Nothing,
        }
    }

    /// Begins a fill that nobody follows, unless there is one that fits.
    pub(in crate::cache) fn begin_unless_found(
        &self,
        joiner: Joiner<'_>,
        vary: Option<&HeaderMap>,
        unchanged: impl FnOnce() -> bool,
        begin: impl FnOnce() -> Option<Begun>,
    ) -> Option<Arc<Flight>> {
        let mut shard = self.shard(joiner.key);
        let mut guess = vary.and_then(|fields| nominate(fields, joiner.headers));
        if fitting(&shard, joiner, &mut guess).is_some() || !unchanged() {
            return None;
        }
        self.begin(&mut shard, guess, begin)
    }

    fn begin(
        &self,
        shard: &mut Shard,
        guess: Option<Nominated>,
        begin: impl FnOnce() -> Option<Begun>,
    ) -> Option<Arc<Flight>> {
        if self.listed.load(Ordering::Relaxed) >= FILLS_MAX {
            return None;
        }
        let flight = Flight::new(begin()?, guess);
        self.insert(shard, &flight);
        Some(flight)
    }

    /// Lists a fill whose head is known: it may be joined as soon as that was told to it.
    pub(in crate::cache) fn list(&self, begun: Begun) -> Arc<Flight> {
        let flight = Flight::new(begun, None);
        self.insert(&mut self.shard(&flight.key), &flight);
        flight
    }

    /// Lists a fetch that nobody may join, to hear of invalidations. None where too many are listed.
    pub(in crate::cache) fn watch(&self, begun: Begun) -> Option<Arc<Flight>> {
        if self.listed.load(Ordering::Relaxed) >= FILLS_MAX {
            return None;
        }
        let flight = Flight::new(begun, None);
        let alone = Settled::Alone(Reason::RangeUncached);
        flight.step(|state, wakers| state.settle(alone, wakers));
        self.insert(&mut self.shard(&flight.key), &flight);
        Some(flight)
    }

    fn insert(&self, shard: &mut Shard, flight: &Arc<Flight>) {
        let target = flight.key.target_bytes().into();
        let fills: &mut Vec<_> = shard.entry(target).or_default();
        fills.push(Arc::clone(flight));
        self.listed.fetch_add(1, Ordering::Relaxed);
        self.metrics.fills.inc();
    }

    /// Does something to the store on behalf of a fill, unless its target was invalidated since it began.
    pub(super) fn unless_invalidated<T>(
        &self,
        flight: &Flight,
        change: impl FnOnce() -> T,
    ) -> Option<T> {
        let _shard = self.shard(&flight.key);
        let invalidated = flight.step(|state, _| state.is_invalidated());
        (!invalidated).then(change)
    }

    /// A fill is over.
    pub(super) fn remove(&self, flight: &Arc<Flight>) {
        let mut shard = self.shard(&flight.key);
        let Some(fills) = shard.get_mut(flight.key.target_bytes()) else {
            return;
        };
        if let Some(at) = fills.iter().position(|listed| Arc::ptr_eq(listed, flight)) {
            fills.swap_remove(at);
            if fills.is_empty() {
                shard.remove(flight.key.target_bytes());
            }
            self.listed.fetch_sub(1, Ordering::Relaxed);
            self.metrics.fills.dec();
        }
    }

    /// Whatever is under way for a key's target is no longer to be stored, and `removal`, which is told whether there is any, is done
    /// to the store at the same moment.
    pub(in crate::cache) fn invalidate<T>(
        &self,
        key: &CacheKey,
        removal: impl FnOnce(bool) -> T,
    ) -> T {
        let shard = self.shard(key);
        self.touched[self.place_of(key)].fetch_add(1, Ordering::SeqCst);
        let fills = shard.get(key.target_bytes()).cloned().unwrap_or_default();
        let mut wakers = super::state::Wakers::default();
        for flight in &fills {
            flight.quietly(&mut wakers, State::invalidate);
        }
        let result = removal(!fills.is_empty());
        drop(shard);
        wakers.wake();
        result
    }

    /// How often its target has been invalidated, or another that is counted with it.
    pub(in crate::cache) fn touched(&self, key: &CacheKey) -> u64 {
        self.touched[self.place_of(key)].load(Ordering::SeqCst)
    }

    /// Whether an invalidation of the one counts as one of the other.
    pub(in crate::cache) fn are_touched_together(&self, one: &CacheKey, other: &CacheKey) -> bool {
        self.place_of(one) == self.place_of(other)
    }

    fn place_of(&self, key: &CacheKey) -> usize {
        let hash = self.hasher.hash_one(key.target_bytes());
        usize::try_from(hash % TOUCHED as u64).unwrap_or(0)
    }

    fn shard(&self, key: &CacheKey) -> MutexGuard<'_, Shard> {
        let hash =
            usize::try_from(self.hasher.hash_one(key.target_bytes()) % SHARDS as u64).unwrap_or(0);
        self.shards[hash].lock()
    }

    /// Fills that the request behind a writer may share.
    #[cfg(test)]
    pub(in crate::cache) fn fitting(&self, writer: &super::FillWriter) -> usize {
        let request = writer.request();
        let shard = self.shard(&request.key);
        let of_target = shard.get(request.key.target_bytes()).into_iter().flatten();
        of_target
            .filter(|flight| flight.key == request.key && *flight.route == *request.route)
            .filter(|flight| match flight.step(|state, _| state.open()) {
                Open::Closed => false,
                Open::Waiting => {
                    let fits = |guess: &Nominated| guess.matches(&request.headers);
                    flight.guess.as_ref().is_none_or(fits)
                }
                Open::Storing(_, nominated) => nominated.matches(&request.headers),
            })
            .count()
    }

    /// Fills that are listed.
    #[cfg(test)]
    pub(in crate::cache) fn flights(&self) -> Vec<Arc<Flight>> {
        let shards = self.shards.iter();
        shards
            .flat_map(|shard| shard.lock().values().flatten().cloned().collect::<Vec<_>>())
            .collect()
    }
}

/// The fill that a request may share. The guess is taken from one for other values where there is none yet.
fn fitting(shard: &Shard, joiner: Joiner<'_>, guess: &mut Option<Nominated>) -> Option<Fitting> {
    let of_target = shard.get(joiner.key.target_bytes()).into_iter().flatten();
    let of_route =
        of_target.filter(|flight| flight.key == *joiner.key && *flight.route == *joiner.route);
    let mut waiting = None;
    for flight in of_route {
        match flight.step(|state, _| state.open()) {
            Open::Closed => {}
            Open::Waiting if flight.is_purged(None) => {}
            Open::Storing(head, _) if flight.is_purged(Some(head.tags.as_bytes())) => {}
            Open::Waiting => {
                let fits = |guess: &Nominated| guess.matches(joiner.headers);
                if flight.guess.as_ref().is_none_or(fits) {
                    waiting = Some(Fitting::Waiting(Arc::clone(flight)));
                }
            }
            Open::Storing(head, nominated) if nominated.matches(joiner.headers) => {
                return Some(Fitting::Storing(Arc::clone(flight), head));
            }
            Open::Storing(_, nominated) => {
                let vary = || vary::names(nominated.as_bytes());
                *guess = guess.take().or_else(|| nominate(&vary(), joiner.headers));
            }
        }
    }
    waiting
}

/// What a response with these fields would nominate of this request.
fn nominate(fields: &HeaderMap, request: FieldView<'_>) -> Option<Nominated> {
    fields
        .contains_key(header::VARY)
        .then(|| Nominated::new(fields, request).ok())
        .flatten()
}
