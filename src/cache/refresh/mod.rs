//! Fetches ahead of an expiry (`refresh_every`): what was asked for since the last time is fetched anew, so that no client pays
//! for it.
//!
//! Whoever stores a response for a route with `refresh_every` enters it here; a hit only sets a mark in what it serves. When
//! its time comes, give or take a tenth, so that what was stored together is not fetched together, whoever drives this
//! ([`Cache::due`]) leads a fill like any other ([`Cache::refresh`]): the same table of fetches, the same validation,
//! the same back-off. What nobody asked for waits for the next time as long as it is fresh, and is then forgotten.
//!
//! A refresh is nobody's request: it carries no credentials, no client's address and no client's wishes. What cannot be had
//! without them (its key or its `Vary` names a cookie, its request was authorised) is not refreshed.

mod schedule;

use self::schedule::{Entered, Next, Schedule, Slot};
use super::engine::Engine;
use super::fill::{Begun, Classes, FillWriter, Joiner, Lasting};
use super::key::{CacheKey, Target};
use super::lookup::{Cache, Lead, to_fetch_with};
use super::metrics::{RefreshMetrics, RefreshResult};
use super::outcome::{ForwardReason, Reason};
use super::policy::{Moment, WhenStale, validate};
use super::request::Request;
use super::response::StoredResponse;
use super::settings::Rules;
use super::vary;
use crate::clock::{self, Instant};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use parking_lot::Mutex;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// Refreshes that run at once, in the whole process: they are nobody's hurry, and an origin has clients besides.
pub const AT_ONCE: usize = 8;

/// A refresh comes at most this part of the interval earlier or later.
const JITTER: f64 = 0.1;

/// What a slot costs besides the request's own fields: the request, the key, the map's and the order's places; roughly.
const SLOT_BYTES: usize = 640;

/// Nobody asks for a refresh.
const NOBODY: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// What a request that nobody made is asked with, besides what the key and `Vary` name: how, not by whom.
static ABOUT_NOBODY: [HeaderName; 6] = [
    header::HOST,
    header::ACCEPT,
    header::ACCEPT_CHARSET,
    header::ACCEPT_ENCODING,
    header::ACCEPT_LANGUAGE,
    header::USER_AGENT,
];
/// What is of one client, whatever names it.
static CLIENTS_OWN: [HeaderName; 2] = [header::COOKIE, header::PROXY_AUTHORIZATION];

/// The schedule, and the places for those that run.
#[derive(Debug)]
pub(super) struct Refreshes {
    /// Guards the order only; nothing else is done while it is held.
    schedule: Mutex<Schedule>,
    /// Something is due earlier than it was.
    earlier: Notify,
    places: Arc<Semaphore>,
    hasher: RandomState,
    metrics: RefreshMetrics,
}

impl Default for Refreshes {
    fn default() -> Self {
        Self {
            schedule: Mutex::default(),
            earlier: Notify::new(),
            places: Arc::new(Semaphore::new(AT_ONCE)),
            hasher: RandomState::new(),
            metrics: RefreshMetrics::default(),
        }
    }
}

impl Refreshes {
    pub(super) fn metrics(&self) -> &RefreshMetrics {
        &self.metrics
    }

    fn enter(&self, slot: Slot) {
        match self.schedule.lock().enter(slot) {
            Entered::Next => self.earlier.notify_one(),
            Entered::Behind => {}
            Entered::Full => self.metrics.count(RefreshResult::Full),
        }
    }

    /// Entries in the schedule.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.schedule.lock().len()
    }

    async fn next(&self) -> Slot {
        loop {
            let next = self.schedule.lock().next(clock::now());
            match next {
                Next::Due(slot) => return slot,
                Next::At(at) => tokio::select! {
                    () = tokio::time::sleep_until(at) => {}
                    () = self.earlier.notified() => {}
                },
                Next::Nothing => self.earlier.notified().await,
            }
        }
    }
}

/// A refresh under way: its place among those that run, and what is counted of it.
#[derive(Debug)]
pub(super) struct Running {
    /// What it is to take the place of. Who asks for that from the beginning on, asks for the new one.
    old: Arc<StoredResponse>,
    _place: OwnedSemaphorePermit,
    metrics: RefreshMetrics,
    result: RefreshResult,
}

impl Running {
    /// How it ends, as far as is known: it has failed unless somebody says otherwise.
    pub(super) fn becomes(&mut self, result: RefreshResult) {
        self.result = result;
    }

    /// Something new is stored in the place of the old.
    pub(super) fn replaced_by(&mut self, new: &StoredResponse, result: RefreshResult) {
        self.becomes(result);
        if self.old.is_asked_for() {
            new.ask_for();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.metrics.count(self.result);
        if self.result == RefreshResult::Failed {
            // To be tried again the next time.
            self.old.ask_for();
        }
    }
}

/// Something stored whose time has come. Dropped, it is not refreshed any more.
#[derive(Debug)]
pub struct Due {
    slot: Slot,
    place: OwnedSemaphorePermit,
}

impl Due {
    /// What was asked for, as the client put it.
    pub fn target(&self) -> Target<'_> {
        self.slot.request.target()
    }

    /// The route that it was stored by.
    pub fn route(&self) -> &Arc<str> {
        &self.slot.request.route
    }

    /// The fields to ask with, but for our validators.
    pub fn headers(&self) -> &HeaderMap {
        &self.slot.request.headers
    }
}

impl Engine {
    /// A response was stored: where its route wants it, it is fetched anew after a while.
    pub(super) fn schedule(&self, request: &Arc<Request>, response: &StoredResponse) {
        let Some(every) = request.rules.refresh_every else {
            return;
        };
        // What must be validated before each use gains nothing.
        if response.terms().when_stale == WhenStale::AlwaysValidate {
            return;
        }
        if let Some(request) = remembered(request, response.nominated())
            && response.fits(&request.route, (&request.headers).into())
        {
            self.schedule_request(Arc::new(request), response.nominated(), every);
        }
    }

    fn schedule_request(&self, request: Arc<Request>, nominated: &[u8], every: Duration) {
        let fields = request.headers.iter();
        let octets: usize = fields
            .map(|(name, value)| name.as_str().len() + value.len() + 2 * size_of::<usize>())
            .sum();
        let key = request.key.as_bytes().len();
        let charge = self.store.charge((octets + 2 * key + SLOT_BYTES) as u64);
        let id = (&request.key, &*request.route, nominated);
        self.refreshes.enter(Slot {
            id: self.refreshes.hasher.hash_one(id),
            request,
            due: due(every),
            _charge: charge,
        });
    }
}

/// When something that is stored now is refreshed.
fn due(every: Duration) -> Instant {
    let factor = 1.0 + JITTER * (2.0 * fastrand::f64() - 1.0);
    clock::now() + every.mul_f64(factor)
}

/// The request without its client. `None` where without it another response would come.
fn remembered(request: &Request, nominated: &[u8]) -> Option<Request> {
    if request.method != Method::GET || request.headers.contains_key(header::AUTHORIZATION) {
        return None;
    }
    let mut remembered = request.clone();
    let asked = validate::request_headers(&request.headers, None);
    let named = vary::names(nominated);
    let is_named = |name: &HeaderName| {
        let named = named.get_all(header::VARY).iter();
        let mut named = named.map(HeaderValue::as_bytes);
        named.any(|it| it.eq_ignore_ascii_case(name.as_str().as_bytes()))
            || request.rules.key.headers.contains(name)
    };
    let is_kept = |name: &HeaderName| {
        (ABOUT_NOBODY.contains(name) || is_named(name)) && !CLIENTS_OWN.contains(name)
    };
    let kept = asked.iter().filter(|(name, _)| is_kept(name));
    remembered.headers = HeaderMap::new();
    for (name, value) in kept {
        remembered.headers.append(name.clone(), value.clone());
    }
    remembered.why = (ForwardReason::Stale, Some(Reason::Expired));
    same_key(&remembered, &request.rules).then_some(remembered)
}

fn same_key(request: &Request, rules: &Rules) -> bool {
    CacheKey::new(request.target(), &request.headers, &rules.key) == request.key
}

impl Cache {
    /// Waits until something is due and there is a place for its refresh. To be dropped freely while it waits. One caller at a
    /// time.
    pub async fn due(&self) -> Due {
        let refreshes = &self.engine.refreshes;
        let places = Arc::clone(&refreshes.places);
        let Ok(place) = places.acquire_owned().await else {
            // It is never closed.
            return std::future::pending().await;
        };
        let slot = refreshes.next().await;
        Due { slot, place }
    }

    /// Leads the fetch that refreshes what is due, by the route's rules of now. `None` where there is none to be made: it is no
    /// longer stored, nobody has asked for it, it is being fetched already, its origin has just failed.
    pub fn refresh(&self, due: Due, rules: &Arc<Rules>, upstream: &Arc<str>) -> Option<Lead> {
        let engine = &self.engine;
        let every = rules.refresh_every.filter(|_| rules.enabled)?;
        let Due { slot, place } = due;
        let mut request = slot.request;
        if !Arc::ptr_eq(&request.rules, rules) {
            let mut fresh = (*request).clone();
            fresh.rules = Arc::clone(rules);
            request = Arc::new(fresh);
        }
        if !same_key(&request, rules) {
            return None;
        }
        let (key, route) = (&request.key, &request.route);
        let found = engine.store.get(key)?;
        let stored = found.select(route, &request.headers)?;
        let outdated = engine.outdated(stored);
        let stored = outdated.as_ref().unwrap_or(stored);
        let now = Moment::now();
        let asked = stored.is_asked_for();
        if !asked && !stored.terms().is_fresh(now.at) {
            return None;
        }
        engine.schedule_request(Arc::clone(&request), stored.nominated(), every);
        let classes = Classes::of(&request.headers);
        let useless = !asked
            || engine.back_off.holds(key, route, now.at).is_some()
            || engine
                .uncacheable
                .recall(key, route, classes, now.at)
                .is_some();
        if useless {
            return None;
        }
        let joiner = Joiner {
            key,
            route,
            headers: (&request.headers).into(),
        };
        let begun = || Begun {
            key: key.clone(),
            route: Arc::clone(route),
            upstream: Arc::clone(upstream),
            client: NOBODY,
            lasting: Lasting::Refresh,
            permit: None,
            since: engine.store.ledger().begin(),
            account: Arc::clone(&engine.abandoned),
            store: engine.store.clone(),
            metrics: engine.metrics.clone(),
        };
        let flight = engine
            .fills
            .begin_unless_found(joiner, None, || true, || Some(begun()))?;
        let headers = to_fetch_with((&request.headers).into(), Some(stored));
        stored.forget_asked_for();
        let running = Running {
            old: Arc::clone(stored),
            _place: place,
            metrics: engine.refreshes.metrics.clone(),
            result: RefreshResult::Failed,
        };
        let stored = Some(Arc::clone(stored));
        let writer = FillWriter::new(Arc::clone(engine), flight, request, stored, now);
        Some(Lead {
            writer: writer.refreshing(running),
            request: headers,
        })
    }
}

#[cfg(test)]
mod tests;
