//! A hit: what is stored, fits, and may be served as it is. Where both lanes begin, and all that the express lane asks.

use super::asked::asked;
use super::bypass;
use super::explain::glance_form;
use super::key::CacheKey;
use super::lookup::{Ask, Cache, Serve};
use super::outcome::{Outcome, Reason};
use super::policy::Terms;
use super::policy::reuse::{self, Reuse};
use super::response::StoredResponse;
use super::store::Resource;
use crate::clock::Instant;
use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

thread_local! {
    /// A key is needed for as long as a look takes: its memory is used again.
    static KEY: RefCell<CacheKey> = RefCell::new(CacheKey::default());
}

impl Cache {
    /// What may be served to a request at once, and nothing else is to be done about. The same as [`Cache::ask`] says then;
    /// `None` is no answer, and changes nothing. Allocates nothing.
    pub fn hit(&self, ask: &Ask<'_>, now: Instant) -> Option<Serve> {
        if bypass::passes(ask).is_some() {
            return None;
        }
        KEY.with_borrow_mut(|key| {
            key.renew(ask.target, ask.headers, &ask.rules.key);
            let found = self.engine.store.get(key)?;
            let (stored, terms, reason) = plain_hit(&found, ask, now)?;
            Some(self.serve(stored, &terms, ask, reason, now))
        })
    }

    /// What [`hit`](Self::hit) would give. Counts as no use, and begins nothing.
    pub fn would_hit(&self, ask: &Ask<'_>, now: Instant) -> Option<Serve> {
        if bypass::passes(ask).is_some() {
            return None;
        }
        let key = CacheKey::new(ask.target, ask.headers, &ask.rules.key);
        let found = self.engine.store.glance(&key)?;
        let (stored, terms, reason) = plain_hit(&found, ask, now)?;
        let age = terms.current_age(now);
        Some(Serve {
            response: glance_form(stored, ask),
            age,
            saved: stored.cost(),
            outcome: outcome_of(&terms, age, reason),
            refresh: None,
        })
    }

    /// What is stored, for this request.
    pub(super) fn serve(
        &self,
        stored: &Arc<StoredResponse>,
        terms: &Terms,
        ask: &Ask<'_>,
        reason: Option<Reason>,
        now: Instant,
    ) -> Serve {
        stored.count_hit();
        if ask.rules.refresh_every.is_some() {
            stored.ask_for();
        }
        let age = terms.current_age(now);
        Serve {
            response: self.form(stored, ask),
            age,
            saved: stored.cost(),
            outcome: outcome_of(terms, age, reason),
            refresh: None,
        }
    }
}

/// What of it is served as it is, with nothing else to be done about it.
#[inline]
fn plain_hit<'f>(
    found: &'f Resource,
    ask: &Ask<'_>,
    now: Instant,
) -> Option<(&'f Arc<StoredResponse>, Terms, Option<Reason>)> {
    let stored = found.select(ask.route, ask.headers)?;
    // Purged softly, or just now: the full lane knows what to do.
    if !stored.is_checked() {
        return None;
    }
    let terms = stored.terms();
    match reuse::decide(asked(ask), &terms, ask.rules, now) {
        Reuse::Serve(reason) => Some((stored, terms, reason)),
        Reuse::ServeAndRefresh | Reuse::Validate(..) | Reuse::Ignore(..) => None,
    }
}

/// What is said of a stored response that is served at this age.
pub(super) fn outcome_of(terms: &Terms, age: Duration, reason: Option<Reason>) -> Outcome {
    Outcome {
        hit: true,
        ttl: Some(terms.remaining_at(age)),
        reason,
        ..Outcome::default()
    }
}
