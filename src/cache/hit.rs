//! A hit: what is stored, fits, and may be served as it is. Where both lanes begin, and all that the express lane asks.

use super::asked::asked;
use super::bypass;
use super::key::CacheKey;
use super::lookup::{Ask, Cache, Serve};
use super::outcome::{Outcome, Reason};
use super::policy::Terms;
use super::policy::reuse::{self, Reuse};
use super::response::StoredResponse;
use crate::clock::Instant;
use std::cell::RefCell;
use std::sync::Arc;

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
            let stored = found.select(ask.route, ask.headers)?;
            let terms = stored.terms();
            match reuse::decide(asked(ask), &terms, ask.rules, now) {
                Reuse::Serve(reason) => Some(self.serve(stored, &terms, ask, reason, now)),
                Reuse::ServeAndRefresh | Reuse::Validate(..) | Reuse::Ignore(..) => None,
            }
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
        if ask.rules.refresh_every.is_some() {
            stored.ask_for();
        }
        let age = terms.current_age(now);
        let outcome = Outcome {
            hit: true,
            ttl: Some(terms.remaining_at(age)),
            reason,
            ..Outcome::default()
        };
        Serve {
            response: self.form(stored, ask),
            age,
            outcome,
            refresh: None,
        }
    }
}
