//! Whether a stored response may answer a request (RFC 9111 §4).

use super::{Asked, Terms};
use crate::cache::outcome::{ForwardReason, Reason};
use crate::cache::settings::Rules;
use crate::clock::Instant;

/// What to do with a stored response that fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reuse {
    /// Serve it. The reason is there where it is stale all the same (`max-stale`).
    Serve(Option<Reason>),
    /// Serve it and validate it behind that (RFC 5861 §3).
    ServeAndRefresh,
    /// Validate it first.
    Validate(ForwardReason, Reason),
    /// Do not use it: fetch as if it were not there.
    Ignore(ForwardReason, Reason),
}

/// Decides.
pub fn decide(asked: Asked<'_>, terms: &Terms, rules: &Rules, now: Instant) -> Reuse {
    let _ = (asked, rules);
    if terms.is_fresh(now) {
        Reuse::Serve(None)
    } else {
        Reuse::Validate(ForwardReason::Stale, Reason::Expired)
    }
}
