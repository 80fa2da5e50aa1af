//! A request's way through the engine: hit, follow, lead or forward.

use super::asked::{asked, from_its_beginning, is_single_range, only_if_cached, passed};
use super::bypass;
use super::engine::Engine;
use super::fill::{
    Begun, Classes, Completing, FillWriter, Follower, Found, Joiner, Lasting, Permit, Watch,
};
use super::key::{CacheKey, Target};
use super::outcome::{ForwardReason, Outcome, Reason};
use super::policy::reuse::{self, Reuse};
use super::policy::{Moment, Terms, stale, validate};
use super::request::Request;
use super::response::StoredResponse;
use super::serve::Plan;
use super::settings::{CacheSettings, ClientDirectives, Rules};
use super::store::{Resource, StoredPart};
use super::vary;
use crate::fields::view::FieldView;
use http::{HeaderMap, HeaderValue, Method, header};
use prometheus_client::registry::Registry;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// What is stored may change while a request looks; after this often it takes what it has seen.
const LOOKS_MAX: usize = 4;

/// The engine. One for the process; all threads and both lanes share it.
#[derive(Debug)]
pub struct Cache {
    pub(super) engine: Arc<Engine>,
}

/// A request, as far as the cache is concerned.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// The method.
    pub method: &'a Method,
    /// What is asked for.
    pub target: Target<'a>,
    /// The request's fields.
    pub headers: FieldView<'a>,
    /// Whether a body comes with it.
    pub has_body: bool,
    /// Whether it asks for another protocol.
    pub upgrade: bool,
    /// The route's rules.
    pub rules: &'a Arc<Rules>,
    /// The route's name: what one route stored is not for another, though the target be the same.
    pub route: &'a Arc<str>,
    /// The upstream that it leads to, or those: for the bound on fetches that nobody waits for.
    pub upstream: &'a Arc<str>,
    /// The client, for the bound on fetches that nobody waits for.
    pub client: IpAddr,
}

/// What to do with a request.
#[derive(Debug)]
pub enum Answer {
    /// Serve what is stored.
    Serve(Serve),
    /// Serve what is stored in part: it holds what was asked for.
    ServePart(ServePart),
    /// Share a fetch that is under way.
    Follow(Follower),
    /// Begin a fetch, and follow it like everybody else.
    Lead(Box<Lead>, Follower),
    /// Forward it by itself. What came is to be told to [`Cache::forwarded`].
    Forward(Forward),
    /// 504: it is wanted from the cache only (RFC 9111 §5.2.1.7).
    OnlyIfCached(Outcome),
}

/// A stored response to be served.
#[derive(Debug)]
pub struct Serve {
    /// The response.
    pub response: Arc<StoredResponse>,
    /// Its age.
    pub age: Duration,
    /// What to say of it.
    pub outcome: Outcome,
    /// A fetch to be begun behind it.
    pub refresh: Option<Box<Lead>>,
}

/// An incomplete stored response, of which enough is here.
#[derive(Debug)]
pub struct ServePart {
    /// What is here of it.
    pub part: Arc<StoredPart>,
    /// What is sent of it.
    pub plan: Plan,
    /// What to say of it.
    pub outcome: Outcome,
}

/// A fetch to be made by whoever gets this.
#[derive(Debug)]
pub struct Lead {
    /// Where what comes is written.
    pub writer: FillWriter,
    /// The fields to ask with: the client's, without its own conditions and range, with our validators.
    pub request: HeaderMap,
}

/// A request that is forwarded by itself, and what the engine must hear of its answer.
#[derive(Debug)]
pub struct Forward {
    /// What to say of it.
    pub outcome: Outcome,
    /// What its answer is judged by; none where that would change nothing.
    pub(super) request: Option<Arc<Request>>,
    /// Where a part may come that is worth keeping.
    pub(super) watch: Option<Watch>,
}

impl Forward {
    /// Whether the answer's head means anything to the engine.
    pub fn is_heard(&self) -> bool {
        self.request.is_some()
    }

    pub(super) fn new(outcome: Outcome, request: Option<Arc<Request>>) -> Self {
        Self {
            outcome,
            request,
            watch: None,
        }
    }
}

/// Why a request is forwarded.
type Why = (ForwardReason, Option<Reason>);

impl Cache {
    /// An empty cache.
    pub fn new(settings: CacheSettings) -> Self {
        Self {
            engine: Arc::new(Engine::new(settings)),
        }
    }

    /// Makes its figures known to the registry. Once per registry.
    pub fn register(&self, registry: &mut Registry) {
        self.engine.store.metrics().register(registry);
        self.engine.metrics.register(registry);
        self.engine.refreshes.metrics().register(registry);
    }

    /// Takes over other settings. What is stored stays, as far as it fits.
    pub fn resize(&self, settings: CacheSettings) {
        self.engine.resize(settings);
    }

    /// What to do with a request. Every request on a forwarding route is asked about, whatever its method.
    pub fn ask(&self, ask: &Ask<'_>, now: Moment) -> Answer {
        if let Some((forward, reason)) = bypass::passes(ask) {
            return Answer::Forward(passed(ask, forward, reason));
        }
        let key = CacheKey::new(ask.target, ask.headers, &ask.rules.key);
        for _ in 1..LOOKS_MAX {
            if let Some(answer) = self.look(ask, &key, now, false) {
                return answer;
            }
        }
        match self.look(ask, &key, now, true) {
            Some(answer) => answer,
            // The last look is final by its own word; a request that is forwarded is served all the same.
            None => Answer::Forward(passed(ask, ForwardReason::UriMiss, Reason::Crowded)),
        }
    }

    /// A client that the kernel can send to is sent a stored response: for the next, a large body is moved to where the kernel
    /// sends it from. To be told each time; nearly always there is nothing to be done.
    pub fn sent_by_kernel(&self, stored: &StoredResponse) {
        self.engine.store.move_behind(stored);
    }

    /// The form of what is stored that a request gets.
    pub(super) fn form(&self, stored: &Arc<StoredResponse>, ask: &Ask<'_>) -> Arc<StoredResponse> {
        let stored = Arc::clone(stored);
        if ask.rules.compress {
            self.engine.store.form(stored, ask.headers)
        } else {
            stored
        }
    }

    fn look(&self, ask: &Ask<'_>, key: &CacheKey, now: Moment, last: bool) -> Option<Answer> {
        let seen = self.engine.store.get(key);
        let found = seen
            .as_ref()
            .and_then(|resource| resource.select(ask.route, ask.headers))
            .cloned();
        let search = Search {
            cache: self,
            ask,
            key,
            now,
            last,
            seen: seen.as_ref(),
        };
        let Some(stored) = found else {
            let part = seen
                .as_ref()
                .and_then(|resource| resource.select_part(ask.route, ask.headers));
            if let Some(part) = part {
                return search.of_part(part);
            }
            let forward = seen
                .as_ref()
                .map_or(ForwardReason::UriMiss, |resource| resource.miss(ask.route));
            return search.miss(None, None, (forward, None));
        };
        let terms = stored.terms();
        let serve = |reason, refresh| {
            let serve = self.serve(&stored, &terms, ask, reason, now.at);
            Some(Answer::Serve(Serve { refresh, ..serve }))
        };
        match reuse::decide(asked(ask), &terms, ask.rules, now.at) {
            Reuse::Serve(reason) => serve(reason, None),
            Reuse::ServeAndRefresh => {
                let refresh = search.refresh(&stored);
                serve(Some(Reason::StaleWhileRevalidate), refresh.map(Box::new))
            }
            Reuse::Validate(forward, reason) => {
                // The origin has just failed to answer this: it is not asked again as long as the answer would be the same.
                let trouble = self.engine.back_off.holds(key, ask.route, now.at);
                let stale = trouble.and_then(|it| stale::may_serve(&terms, it, now.at));
                match stale {
                    Some(stale) => serve(Some(stale), None),
                    None => search.miss(Some(stored), None, (forward, Some(reason))),
                }
            }
            Reuse::Ignore(forward, reason) => search.miss(None, None, (forward, Some(reason))),
        }
    }
}

/// One look.
struct Search<'a> {
    cache: &'a Cache,
    ask: &'a Ask<'a>,
    key: &'a CacheKey,
    now: Moment,
    last: bool,
    seen: Option<&'a Resource>,
}

impl Search<'_> {
    /// A part of what fits is stored.
    fn of_part(&self, part: &Arc<StoredPart>) -> Option<Answer> {
        let Self { ask, now, .. } = self;
        let terms = part.partial().terms;
        match reuse::decide(asked(ask), &terms, ask.rules, now.at) {
            Reuse::Serve(None) => {}
            // Parts are not validated by themselves: the next part, or the whole, tells what they are worth.
            Reuse::Serve(Some(_)) | Reuse::ServeAndRefresh => {
                return self.miss(None, None, (ForwardReason::Stale, None));
            }
            Reuse::Validate(forward, reason) | Reuse::Ignore(forward, reason) => {
                return self.miss(None, None, (forward, Some(reason)));
            }
        }
        if let Some(plan) = part.partial().plan(ask.method, ask.headers, *now) {
            return Some(Answer::ServePart(ServePart {
                part: Arc::clone(part),
                plan,
                outcome: Outcome {
                    hit: true,
                    ttl: Some(terms.remaining(now.at)),
                    ..Outcome::default()
                },
            }));
        }
        self.miss(None, Some(part), (ForwardReason::Partial, None))
    }

    /// What is stored, if anything, does not answer the request. What is here in part is asked for the rest of.
    fn miss(
        &self,
        stored: Option<Arc<StoredResponse>>,
        part: Option<&Arc<StoredPart>>,
        why: Why,
    ) -> Option<Answer> {
        let Self { ask, key, now, .. } = self;
        let engine = &self.cache.engine;
        if only_if_cached(ask) {
            let outcome = Outcome::forwarded(why.0, Some(Reason::OnlyIfCached));
            return Some(Answer::OnlyIfCached(outcome));
        }
        let forward = |forward: ForwardReason, reason: Option<Reason>| {
            let request = Request::new(ask, (*key).clone(), (forward, reason));
            let outcome = Outcome::forwarded(forward, reason);
            Some(Answer::Forward(Forward::new(
                outcome,
                Some(Arc::new(request)),
            )))
        };
        if self.uncacheable().is_some() {
            return forward(why.0, Some(Reason::HitForMiss));
        }
        // The answer to a HEAD has no body that could be shared: it freshens what is stored, or tells nothing.
        if *ask.method == Method::HEAD {
            return forward(why.0, why.1);
        }
        let leads = stored.is_some() || from_its_beginning(ask.headers);
        let usable = |terms: &Terms| match reuse::decide(asked(ask), terms, ask.rules, now.at) {
            Reuse::Serve(_) | Reuse::ServeAndRefresh => Ok(()),
            // What is on its way is as new as what a validation would bring.
            Reuse::Validate(ForwardReason::Request, _)
                if ask.rules.clients == ClientDirectives::Revalidate =>
            {
                Ok(())
            }
            Reuse::Validate(forward, reason) | Reuse::Ignore(forward, reason) => {
                Err((forward, reason))
            }
        };
        let found = engine.fills.find(
            self.joiner(),
            self.newest().as_ref(),
            usable,
            || self.unchanged(),
            || leads.then(|| self.begun(Lasting::WhileWanted, None)),
        );
        match found {
            Found::Joined(flight, place) => {
                let request = Arc::new(Request::new(ask, (*key).clone(), why));
                let follower = Follower::new(flight, place, request, false);
                Some(Answer::Follow(follower))
            }
            Found::Unusable((because, reason)) => forward(because, Some(reason)),
            Found::Led(flight, place) => {
                let request = Arc::new(Request::new(ask, (*key).clone(), why));
                let mut headers = to_fetch_with(ask.headers, stored.as_deref());
                let completing = part.and_then(|part| {
                    let missing = part.partial().missing_request()?;
                    headers.extend(missing.fields.iter().cloned());
                    let part = Arc::clone(part);
                    Some(Completing { part, missing })
                });
                let follower =
                    Follower::new(Arc::clone(&flight), place, Arc::clone(&request), true);
                let writer = FillWriter::new(Arc::clone(engine), flight, request, stored, *now)
                    .completing(completing);
                let lead = Lead {
                    writer,
                    request: headers,
                };
                Some(Answer::Lead(Box::new(lead), follower))
            }
            Found::Crowded if !leads => Some(Answer::Forward(self.ranged(why.0))),
            Found::Crowded => forward(why.0, Some(Reason::Crowded)),
            Found::Changed => None,
        }
    }

    /// A request for a part, as it came. Where it is for one range of octets, the answer may be kept.
    fn ranged(&self, why: ForwardReason) -> Forward {
        let Self { ask, key, .. } = self;
        let reason = Some(Reason::RangeUncached);
        let request = Request::new(ask, (*key).clone(), (why, reason));
        let engine = &self.cache.engine;
        let watch = || {
            let begun = self.begun(Lasting::WhileWanted, None);
            Watch::new(engine, |fills| fills.watch(begun))
        };
        Forward {
            watch: is_single_range(ask.headers).then(watch).flatten(),
            ..Forward::new(Outcome::forwarded(why, reason), Some(Arc::new(request)))
        }
    }

    /// A fetch behind a stale response that is served, for the first who asks.
    fn refresh(&self, stored: &Arc<StoredResponse>) -> Option<Lead> {
        let Self { ask, key, now, .. } = self;
        let engine = &self.cache.engine;
        let why = (ForwardReason::Stale, Some(Reason::StaleWhileRevalidate));
        let held = engine.back_off.holds(key, ask.route, now.at).is_some();
        if held || self.uncacheable().is_some() {
            return None;
        }
        let flight = engine.fills.begin_unless_found(
            self.joiner(),
            self.newest().as_ref(),
            || self.unchanged(),
            || {
                let permit = engine.abandoned.enter(None)?;
                Some(self.begun(Lasting::Refresh, Some(permit)))
            },
        )?;
        let request = Request::new(ask, (*key).clone(), why).fetching();
        Some(Lead {
            request: to_fetch_with(ask.headers, Some(stored)),
            writer: FillWriter::new(
                Arc::clone(engine),
                flight,
                Arc::new(request),
                Some(Arc::clone(stored)),
                *now,
            ),
        })
    }

    fn joiner(&self) -> Joiner<'_> {
        Joiner {
            key: self.key,
            route: self.ask.route,
            headers: self.ask.headers,
        }
    }

    fn begun(&self, lasting: Lasting, permit: Option<Permit>) -> Begun {
        let engine = &self.cache.engine;
        Begun {
            key: self.key.clone(),
            route: Arc::clone(self.ask.route),
            upstream: Arc::clone(self.ask.upstream),
            client: self.ask.client,
            lasting,
            permit,
            account: Arc::clone(&engine.abandoned),
            store: engine.store.clone(),
            metrics: engine.metrics.clone(),
        }
    }

    /// The origin's `Vary` of the newest response that is stored for the key, of a complete one if there is any.
    fn newest(&self) -> Option<HeaderMap> {
        let route = &**self.ask.route;
        let mut variants = self.seen?.variants().iter();
        let mut parts = self.seen?.parts().iter();
        if let Some(newest) = variants.find(|stored| **stored.route() == *route) {
            return Some(vary::names(newest.nominated()));
        }
        let newest = parts.find(|part| *part.partial().route == *route)?;
        let fields = newest.partial().fields.lines();
        let lines = fields.get_all(&header::VARY);
        let lines = lines.filter_map(|line| HeaderValue::from_bytes(line).ok());
        Some(lines.map(|line| (header::VARY, line)).collect())
    }

    /// Whether nothing was stored or removed, and no verdict fell, since this look began. What a fill brings is stored, and
    /// that it cannot be shared is remembered, before it is closed to others: whoever finds none of them would fetch once
    /// more what is there, or wait for what is not for it.
    fn unchanged(&self) -> bool {
        let found = self.cache.engine.store.get(self.key);
        let same = match (self.seen, &found) {
            (None, None) => true,
            (Some(seen), Some(found)) => seen.is_as(found),
            (Some(_), None) | (None, Some(_)) => false,
        };
        self.last || (same && self.uncacheable().is_none())
    }

    /// Why a request like this one need not wait for others.
    fn uncacheable(&self) -> Option<Reason> {
        let classes = Classes::of(self.ask.headers);
        let memory = &self.cache.engine.uncacheable;
        memory.recall(self.key, self.ask.route, classes, self.now.at)
    }
}

/// The fields that a fetch is made with. `Accept-Encoding` goes in its one form: what comes back is then right for all whose
/// field means the same, whichever of them asked.
pub(super) fn to_fetch_with(client: FieldView<'_>, stored: Option<&StoredResponse>) -> HeaderMap {
    let mut headers = validate::request_headers(client, stored);
    if let Some(codings) = vary::accept_encoding(client) {
        headers.insert(header::ACCEPT_ENCODING, codings);
    }
    headers
}
