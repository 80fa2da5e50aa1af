//! A request's way through the engine: hit, follow, lead or forward.

use super::asked::{is_single_range, passed};
use super::bypass;
use super::decide::{Decision, Serving, Sharing, Sight};
use super::engine::Engine;
use super::fill::{Begun, Completing, FillWriter, Follower, Found, Lasting, Permit, Watch};
use super::key::{CacheKey, Target};
use super::outcome::{ForwardReason, Outcome, Reason};
use super::policy::{Moment, validate};
use super::request::Request;
use super::response::StoredResponse;
use super::serve::Plan;
use super::settings::{CacheSettings, KeyRules, Rules};
use super::store::StoredPart;
use super::vary;
use crate::fields::view::FieldView;
use http::{HeaderMap, Method, header};
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
    /// Why what comes of it is for nobody else, as far as the door knows: it may be a request for something else than its key
    /// says.
    pub unshared: Option<Reason>,
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
    /// How long the origin took for it, whichever form of it is served.
    pub saved: Duration,
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

    /// The key rules of all routes, each once. A purge finds a URL under each of them.
    pub fn keyed_by(&self, rules: Vec<KeyRules>) {
        self.engine.key_rules.store(Arc::new(rules));
    }

    /// What to do with a request. Every request on a forwarding route is asked about, whatever its method.
    pub fn ask(&self, ask: &Ask<'_>, now: Moment) -> Answer {
        if let Some((forward, reason)) = bypass::passes(ask) {
            return Answer::Forward(passed(&self.engine, ask, forward, reason));
        }
        let key = CacheKey::new(ask.target, ask.headers, &ask.rules.key);
        for _ in 1..LOOKS_MAX {
            if let Some(answer) = self.look(ask, &key, now, false) {
                return answer;
            }
        }
        self.look(ask, &key, now, true).unwrap_or_else(|| {
            // The last look is final by its own word; a request that is forwarded is served all the same.
            let engine = &self.engine;
            Answer::Forward(passed(engine, ask, ForwardReason::UriMiss, Reason::Crowded))
        })
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
        let fitting = seen
            .as_ref()
            .and_then(|seen| seen.select(ask.route, ask.headers));
        // What a soft purge was about is put there anew, and then looked for again.
        let instead = match fitting.and_then(|stored| self.engine.outdated(stored)) {
            Some(_) if !last => return None,
            instead => instead,
        };
        let sight = Sight {
            engine: &self.engine,
            ask,
            key,
            now,
            seen: seen.as_ref(),
            instead: instead.as_ref(),
        };
        let search = Search {
            cache: self,
            sight,
            last,
        };
        match sight.decide() {
            Decision::Serve(Serving {
                stored,
                terms,
                reason,
                refresh,
            }) => {
                let refresh = refresh.then(|| search.refresh(stored)).flatten();
                let serve = self.serve(stored, &terms, ask, reason, now.at);
                let refresh = refresh.map(Box::new);
                Some(Answer::Serve(Serve { refresh, ..serve }))
            }
            Decision::ServePart(part, plan, outcome) => Some(Answer::ServePart(ServePart {
                part: Arc::clone(part),
                plan,
                outcome,
            })),
            Decision::OnlyIfCached(outcome) => Some(Answer::OnlyIfCached(outcome)),
            Decision::Forward((forward, reason)) => Some(search.forward(forward, reason)),
            Decision::Share(sharing) => search.share(&sharing),
        }
    }
}

/// One look.
struct Search<'a> {
    cache: &'a Cache,
    sight: Sight<'a>,
    last: bool,
}

impl Search<'_> {
    fn forward(&self, forward: ForwardReason, reason: Option<Reason>) -> Answer {
        let Sight { ask, key, .. } = self.sight;
        let since = self.cache.engine.store.ledger().begin();
        let request = Request::since(ask, key.clone(), (forward, reason), since);
        let outcome = Outcome::forwarded(forward, reason);
        Answer::Forward(Forward::new(outcome, Some(Arc::new(request))))
    }

    /// Follows the fetch that is under way, or begins one.
    fn share(&self, sharing: &Sharing<'_>) -> Option<Answer> {
        let Sight { ask, key, now, .. } = self.sight;
        let Sharing {
            stored,
            part,
            why,
            leads,
        } = *sharing;
        let engine = &self.cache.engine;
        let found = engine.fills.find(
            self.sight.joiner(),
            self.sight.newest().as_ref(),
            |terms| self.sight.usable(terms),
            || self.unchanged(),
            || leads.then(|| self.begun(Lasting::WhileWanted, None)),
        );
        match found {
            Found::Joined(flight, place) => {
                let request = Arc::new(Request::new(ask, key.clone(), why));
                let follower = Follower::new(flight, place, request, false);
                Some(Answer::Follow(follower))
            }
            Found::Unusable((because, reason)) => Some(self.forward(because, Some(reason))),
            Found::Led(flight, place) => {
                let request = Arc::new(Request::new(ask, key.clone(), why));
                let mut headers = to_fetch_with(ask.headers, stored.map(Arc::as_ref));
                let completing = part.and_then(|part| {
                    let missing = part.partial().missing_request()?;
                    headers.extend(missing.fields.iter().cloned());
                    let part = Arc::clone(part);
                    Some(Completing { part, missing })
                });
                let follower =
                    Follower::new(Arc::clone(&flight), place, Arc::clone(&request), true);
                let stored = stored.cloned();
                let writer = FillWriter::new(Arc::clone(engine), flight, request, stored, now)
                    .completing(completing);
                let lead = Lead {
                    writer,
                    request: headers,
                };
                Some(Answer::Lead(Box::new(lead), follower))
            }
            Found::Crowded if !leads => Some(Answer::Forward(self.ranged(why.0))),
            Found::Crowded => Some(self.forward(why.0, Some(Reason::Crowded))),
            Found::Changed => None,
        }
    }

    /// A request for a part, as it came. Where it is for one range of octets, the answer may be kept.
    fn ranged(&self, why: ForwardReason) -> Forward {
        let Sight { ask, key, .. } = self.sight;
        let reason = Some(Reason::RangeUncached);
        let request = Request::new(ask, key.clone(), (why, reason));
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
        let Sight { ask, key, now, .. } = self.sight;
        let engine = &self.cache.engine;
        let why = (ForwardReason::Stale, Some(Reason::StaleWhileRevalidate));
        let held = engine.back_off.holds(key, ask.route, now.at).is_some();
        if held || self.sight.uncacheable().is_some() {
            return None;
        }
        let flight = engine.fills.begin_unless_found(
            self.sight.joiner(),
            self.sight.newest().as_ref(),
            || self.unchanged(),
            || {
                let permit = engine.abandoned.enter(None)?;
                Some(self.begun(Lasting::Refresh, Some(permit)))
            },
        )?;
        let request = Request::new(ask, key.clone(), why).fetching();
        Some(Lead {
            request: to_fetch_with(ask.headers, Some(stored)),
            writer: FillWriter::new(
                Arc::clone(engine),
                flight,
                Arc::new(request),
                Some(Arc::clone(stored)),
                now,
            ),
        })
    }

    fn begun(&self, lasting: Lasting, permit: Option<Permit>) -> Begun {
        let Sight { ask, key, .. } = self.sight;
        let engine = &self.cache.engine;
        Begun {
            key: key.clone(),
            route: Arc::clone(ask.route),
            upstream: Arc::clone(ask.upstream),
            client: ask.client,
            lasting,
            permit,
            since: engine.store.ledger().begin(),
            account: Arc::clone(&engine.abandoned),
            store: engine.store.clone(),
            metrics: engine.metrics.clone(),
        }
    }

    /// Whether nothing was stored or removed, and no verdict fell, since this look began. What a fill brings is stored, and
    /// that it cannot be shared is remembered, before it is closed to others: whoever finds none of them would fetch once
    /// more what is there, or wait for what is not for it.
    fn unchanged(&self) -> bool {
        let found = self.cache.engine.store.get(self.sight.key);
        let same = match (self.sight.seen, &found) {
            (None, None) => true,
            (Some(seen), Some(found)) => seen.is_as(found),
            (Some(_), None) | (None, Some(_)) => false,
        };
        self.last || (same && self.sight.uncacheable().is_none())
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
