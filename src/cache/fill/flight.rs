//! A fill as its writer and its followers share it: the state under its lock, and what never changes beside it.

use super::abandoned::{Abandoned, LeftBy, Permit};
use super::metrics::FillMetrics;
use super::state::{Ahead, Lasting, State, Wakers};
use crate::cache::key::CacheKey;
use crate::cache::purge::Since;
use crate::cache::purge::labels::Subject;
use crate::cache::store::Store;
use crate::cache::vary::Nominated;
use crate::fields::view::FieldView;
use parking_lot::Mutex;
use std::net::IpAddr;
use std::sync::Arc;

/// A fill in flight.
#[derive(Debug)]
pub(in crate::cache) struct Flight {
    /// Guards how far the response is and who is there. Held for a few moves of pointers: nobody is woken, no field read
    /// and no octet copied meanwhile.
    state: Mutex<State>,
    pub(super) key: CacheKey,
    pub(super) route: Arc<str>,
    /// What its `Vary` will nominate, as far as can be guessed from what is stored.
    pub(super) guess: Option<Nominated>,
    /// The last purge when it began.
    pub(super) since: Since,
    left_by: LeftBy,
    account: Arc<Abandoned>,
    pub(super) store: Store,
    metrics: FillMetrics,
}

/// What a fill is begun with.
#[derive(Debug)]
pub(in crate::cache) struct Begun {
    pub(in crate::cache) key: CacheKey,
    pub(in crate::cache) route: Arc<str>,
    /// Who is asked, as far as is known before it is.
    pub(in crate::cache) upstream: Arc<str>,
    pub(in crate::cache) client: IpAddr,
    pub(in crate::cache) lasting: Lasting,
    pub(in crate::cache) permit: Option<Permit>,
    /// The last purge, asked for before the request is sent.
    pub(in crate::cache) since: Since,
    pub(in crate::cache) account: Arc<Abandoned>,
    pub(in crate::cache) store: Store,
    pub(in crate::cache) metrics: FillMetrics,
}

/// A request that looks for a fill to share.
#[derive(Debug, Clone, Copy)]
pub(in crate::cache) struct Joiner<'a> {
    pub(in crate::cache) key: &'a CacheKey,
    pub(in crate::cache) route: &'a str,
    pub(in crate::cache) headers: FieldView<'a>,
}

impl Flight {
    pub(super) fn new(begun: Begun, guess: Option<Nominated>) -> Arc<Self> {
        let ahead = Ahead::new(begun.metrics.ahead.clone());
        Arc::new(Self {
            state: Mutex::new(State::new(begun.lasting, begun.permit, ahead)),
            key: begun.key,
            route: begun.route,
            guess,
            since: begun.since,
            left_by: LeftBy {
                client: begun.client,
                upstream: begun.upstream,
            },
            account: begun.account,
            store: begun.store,
            metrics: begun.metrics,
        })
    }

    /// Whether what it brings may be from before a purge that is about it: whoever asks now must not get it. Without the
    /// tags that its head names, it may have any.
    pub(super) fn is_purged(&self, tags: Option<&[u8]>) -> bool {
        let ledger = self.store.ledger();
        let subject = Subject {
            target: self.key.target(),
            tags: tags.unwrap_or_default(),
            has_extras: false,
        };
        match tags {
            Some(_) => ledger.is_purged(self.since.number(), &subject),
            None => ledger.may_be_purged(self.since.number(), &subject),
        }
    }

    /// Takes one step under the lock, and wakes those whom it concerns after that.
    pub(super) fn step<T>(&self, step: impl FnOnce(&mut State, &mut Wakers) -> T) -> T {
        let mut wakers = Wakers::default();
        let result = step(&mut self.state.lock(), &mut wakers);
        wakers.wake();
        result
    }

    /// The same where another lock is held: whom to wake is collected.
    pub(super) fn quietly(&self, wakers: &mut Wakers, step: impl FnOnce(&mut State, &mut Wakers)) {
        step(&mut self.state.lock(), wakers);
    }

    /// A follower comes. None where it is too late.
    pub(super) fn join(&self, leader: bool) -> Option<usize> {
        let place = self.step(|state, _| state.join(leader))?;
        self.metrics.followers.inc();
        Some(place)
    }

    /// A follower goes.
    pub(super) fn leave(&self, place: usize) {
        self.step(|state, wakers| state.leave(place, &self.account, &self.left_by, wakers));
        self.metrics.followers.dec();
    }

    /// One more request was answered by another's fetch.
    pub(super) fn count_collapsed(&self) {
        self.metrics.collapsed.inc();
    }
}
