//! Whether a stale response may be served because the origin is in trouble (RFC 9111 §4.2.4, RFC 5861 §4).

use super::Terms;
use crate::cache::outcome::Reason;
use crate::clock::Instant;

/// What the origin's trouble is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// It answered 5xx, broke off, or not in time.
    Failed,
    /// It cannot be reached at all.
    Unreachable,
}

/// The reason to give with the stale response, where it may be served.
pub fn may_serve(terms: &Terms, trouble: Trouble, now: Instant) -> Option<Reason> {
    let _ = (terms, trouble, now);
    None
}
