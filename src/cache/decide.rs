//! What a request comes to by what is stored and remembered for its key: decided, and nothing done about it.
//!
//! [`Cache::ask`](super::Cache::ask) acts on it and [`Cache::explain`](super::Cache::explain) tells it, so that what is
//! explained is what would be done.

use super::asked::{asked, from_its_beginning, only_if_cached};
use super::engine::Engine;
use super::fill::{Classes, Joiner};
use super::key::CacheKey;
use super::lookup::Ask;
use super::outcome::{ForwardReason, Outcome, Reason};
use super::policy::reuse::{self, Reuse};
use super::policy::{Moment, Terms, stale};
use super::purge::ledger::Standing;
use super::response::StoredResponse;
use super::serve::Plan;
use super::settings::ClientDirectives;
use super::store::{Resource, StoredPart};
use super::vary;
use http::{HeaderMap, HeaderValue, Method, header};
use std::sync::Arc;

/// Why a request is forwarded.
pub(super) type Why = (ForwardReason, Option<Reason>);

/// A request, and what is there for its key at this moment.
#[derive(Clone, Copy)]
pub(super) struct Sight<'a> {
    pub(super) engine: &'a Engine,
    pub(super) ask: &'a Ask<'a>,
    pub(super) key: &'a CacheKey,
    pub(super) now: Moment,
    pub(super) seen: Option<&'a Resource>,
    /// What was put in the place of what fits, because that was purged softly.
    pub(super) instead: Option<&'a Arc<StoredResponse>>,
}

/// What a stored response may be used for, soft purges included.
pub(super) fn terms_of(stored: &StoredResponse) -> Terms {
    let terms = stored.terms();
    if stored.is_checked() {
        return terms;
    }
    match stored.standing() {
        Standing::Outdated(at) => stale::since_purge(&terms, at),
        Standing::Valid | Standing::Gone => terms,
    }
}

/// What is to be done.
pub(super) enum Decision<'a> {
    /// Serve what is stored.
    Serve(Serving<'a>),
    /// Serve what is stored in part.
    ServePart(&'a Arc<StoredPart>, Plan, Outcome),
    /// 504: it is wanted from the cache only.
    OnlyIfCached(Outcome),
    /// Forward it by itself.
    Forward(Why),
    /// Share a fetch: the one that is under way, or one that this request begins.
    Share(Sharing<'a>),
}

/// A stored response that is served.
pub(super) struct Serving<'a> {
    pub(super) stored: &'a Arc<StoredResponse>,
    pub(super) terms: Terms,
    pub(super) reason: Option<Reason>,
    /// Whether it is fetched anew behind that.
    pub(super) refresh: bool,
}

/// A request for which something is to be fetched.
pub(super) struct Sharing<'a> {
    /// What is validated.
    pub(super) stored: Option<&'a Arc<StoredResponse>>,
    /// What is here already of it.
    pub(super) part: Option<&'a Arc<StoredPart>>,
    pub(super) why: Why,
    /// Whether it may begin a fetch: one that wants a part only would make the origin send the whole.
    pub(super) leads: bool,
}

impl<'a> Sight<'a> {
    /// Decides.
    pub(super) fn decide(&self) -> Decision<'a> {
        let Self {
            engine,
            ask,
            key,
            now,
            seen,
            instead,
        } = *self;
        let fitting = || seen.and_then(|seen| seen.select(ask.route, ask.headers));
        let Some(stored) = instead.or_else(fitting) else {
            if let Some(part) = seen.and_then(|seen| seen.select_part(ask.route, ask.headers)) {
                return self.of_part(part);
            }
            let forward = seen.map_or(ForwardReason::UriMiss, |seen| seen.miss(ask.route));
            return self.miss(None, None, (forward, None));
        };
        let terms = terms_of(stored);
        let serve = |reason, refresh| {
            Decision::Serve(Serving {
                stored,
                terms,
                reason,
                refresh,
            })
        };
        match reuse::decide(asked(ask), &terms, ask.rules, now.at) {
            Reuse::Serve(reason) => serve(reason, false),
            Reuse::ServeAndRefresh => serve(Some(Reason::StaleWhileRevalidate), true),
            Reuse::Validate(forward, reason) => {
                // The origin has just failed to answer this: it is not asked again as long as the answer would be the same.
                let trouble = engine.back_off.holds(key, ask.route, now.at);
                match trouble.and_then(|it| stale::may_serve(&terms, it, now.at)) {
                    Some(stale) => serve(Some(stale), false),
                    None => self.miss(Some(stored), None, (forward, Some(reason))),
                }
            }
            Reuse::Ignore(forward, reason) => self.miss(None, None, (forward, Some(reason))),
        }
    }

    /// A part of what fits is stored.
    fn of_part(&self, part: &'a Arc<StoredPart>) -> Decision<'a> {
        let Self { ask, now, .. } = *self;
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
        if let Some(plan) = part.partial().plan(ask.method, ask.headers, now) {
            let outcome = Outcome {
                hit: true,
                ttl: Some(terms.remaining(now.at)),
                ..Outcome::default()
            };
            return Decision::ServePart(part, plan, outcome);
        }
        self.miss(None, Some(part), (ForwardReason::Partial, None))
    }

    /// What is stored, if anything, does not answer the request. What is here in part is asked for the rest of.
    fn miss(
        &self,
        stored: Option<&'a Arc<StoredResponse>>,
        part: Option<&'a Arc<StoredPart>>,
        why: Why,
    ) -> Decision<'a> {
        let ask = self.ask;
        if only_if_cached(ask) {
            let outcome = Outcome::forwarded(why.0, Some(Reason::OnlyIfCached));
            return Decision::OnlyIfCached(outcome);
        }
        if self.uncacheable().is_some() {
            return Decision::Forward((why.0, Some(Reason::HitForMiss)));
        }
        // The answer to a HEAD has no body that could be shared: it freshens what is stored, or tells nothing.
        if *ask.method == Method::HEAD {
            return Decision::Forward(why);
        }
        Decision::Share(Sharing {
            stored,
            part,
            why,
            leads: stored.is_some() || from_its_beginning(ask.headers),
        })
    }

    /// Whether a response on its way may answer the request.
    pub(super) fn usable(&self, terms: &Terms) -> Result<(), (ForwardReason, Reason)> {
        let ask = self.ask;
        match reuse::decide(asked(ask), terms, ask.rules, self.now.at) {
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
        }
    }

    /// The request, as one that looks for a fetch to share.
    pub(super) fn joiner(&self) -> Joiner<'a> {
        Joiner {
            key: self.key,
            route: self.ask.route,
            headers: self.ask.headers,
        }
    }

    /// The origin's `Vary` of the newest response that is stored for the key, of a complete one if there is any.
    pub(super) fn newest(&self) -> Option<HeaderMap> {
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

    /// Why a request like this one need not wait for others.
    pub(super) fn uncacheable(&self) -> Option<Reason> {
        let classes = Classes::of(self.ask.headers);
        let memory = &self.engine.uncacheable;
        memory.recall(self.key, self.ask.route, classes, self.now.at)
    }
}
