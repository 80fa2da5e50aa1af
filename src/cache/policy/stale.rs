//! Whether a stale response may be served because the origin is in trouble (RFC 9111 §4.2.4, RFC 5861 §4).

use super::{Lifetime, Terms, WhenStale};
use crate::cache::outcome::Reason;
use crate::clock::Instant;
use std::time::Duration;

/// What is purged softly may be served for at least this long while it is fetched anew.
pub const SOFT_WINDOW: Duration = Duration::from_secs(60);

/// The terms of something fresh that is stale since `at`, because somebody said so. What may not be served stale at all is
/// not for this either.
pub fn since_purge(terms: &Terms, at: Instant) -> Terms {
    let age = terms.current_age(at);
    let cuts = terms.is_fresh(at);
    let cut = |lifetime: Duration| lifetime.min(age);
    let while_revalidate = match terms.when_stale {
        WhenStale::Windows | WhenStale::WindowsOnly if cuts => {
            terms.while_revalidate.max(SOFT_WINDOW)
        }
        WhenStale::Windows
        | WhenStale::WindowsOnly
        | WhenStale::MustRevalidate
        | WhenStale::AlwaysValidate => terms.while_revalidate,
    };
    Terms {
        lifetime: match terms.lifetime {
            Lifetime::Explicit(lifetime) => Lifetime::Explicit(cut(lifetime)),
            Lifetime::Heuristic(lifetime) => Lifetime::Heuristic(cut(lifetime)),
            Lifetime::Operator(lifetime) => Lifetime::Operator(cut(lifetime)),
        },
        while_revalidate,
        immutable: terms.immutable && !cuts,
        purged: terms.purged || cuts,
        ..*terms
    }
}

/// What the origin's trouble is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// It answered 5xx, broke off, or not in time.
    Failed,
    /// It cannot be reached at all.
    Unreachable,
}

/// The reason to give with the stale response, where it may be served.
///
/// What is still fresh may be served too: the client that wanted it validated "prefers" that (§5.2.1.4) to an answer that
/// is not validated, not to none.
pub fn may_serve(terms: &Terms, trouble: Trouble, now: Instant) -> Option<Reason> {
    // "A cache MUST NOT generate a stale response if it is prohibited by an explicit in-protocol directive (e.g., by a
    // no-cache response directive, a must-revalidate response directive, or an applicable s-maxage or
    // proxy-revalidate response directive)". `Terms` have no windows then; the fresh one is what remains to be told apart.
    let fresh = match terms.when_stale {
        WhenStale::AlwaysValidate => false,
        WhenStale::MustRevalidate | WhenStale::WindowsOnly | WhenStale::Windows => {
            terms.is_fresh(now)
        }
    };
    let staleness = terms.staleness(now);
    let within = |window| fresh || staleness < window;
    match trouble {
        // §4.2.4: "A cache MUST NOT send stale responses unless it is disconnected".
        Trouble::Unreachable if within(terms.if_unreachable) => Some(Reason::StaleIfUnreachable),
        // RFC 5861 §4: "when an error is encountered, a cached stale response MAY be used"; 5xx are errors, and so is this.
        Trouble::Failed | Trouble::Unreachable if within(terms.if_error) => {
            Some(Reason::StaleIfError)
        }
        Trouble::Failed | Trouble::Unreachable => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::policy::testing::{at, terms};

    #[test]
    fn windows() {
        use Trouble::{Failed, Unreachable};
        use WhenStale::{AlwaysValidate, MustRevalidate, Windows, WindowsOnly};
        let seconds = Duration::from_secs;
        for (clause, when_stale, error, unreachable, trouble, age, expected) in [
            (
                "RFC 5861 §4: within",
                Windows,
                5,
                0,
                Failed,
                14,
                Some(Reason::StaleIfError),
            ),
            ("RFC 5861 §4: its end", Windows, 5, 0, Failed, 15, None),
            (
                "RFC 5861 §4: no connection is an error too",
                Windows,
                5,
                0,
                Unreachable,
                14,
                Some(Reason::StaleIfError),
            ),
            (
                "§4.2.4: disconnected",
                Windows,
                0,
                50,
                Unreachable,
                59,
                Some(Reason::StaleIfUnreachable),
            ),
            (
                "§4.2.4: disconnected, the limit",
                Windows,
                0,
                50,
                Unreachable,
                60,
                None,
            ),
            (
                "§4.2.4: an answer is no disconnection",
                Windows,
                0,
                50,
                Failed,
                11,
                None,
            ),
            ("§4.2.4: no window", Windows, 0, 0, Unreachable, 10, None),
            (
                "§5.2.2.10 with a window",
                WindowsOnly,
                5,
                5,
                Failed,
                14,
                Some(Reason::StaleIfError),
            ),
            ("§5.2.2.2", MustRevalidate, 0, 0, Unreachable, 11, None),
            (
                "§5.2.2.2: not yet stale",
                MustRevalidate,
                0,
                0,
                Failed,
                9,
                Some(Reason::StaleIfError),
            ),
            ("§5.2.2.4", AlwaysValidate, 0, 0, Unreachable, 1, None),
            (
                "§5.2.1.4: not yet stale",
                Windows,
                0,
                0,
                Failed,
                9,
                Some(Reason::StaleIfError),
            ),
        ] {
            let mut terms = terms(10);
            terms.when_stale = when_stale;
            terms.if_error = seconds(error);
            terms.if_unreachable = seconds(unreachable);
            assert_eq!(
                may_serve(&terms, trouble, at(seconds(age))),
                expected,
                "{clause}"
            );
        }
    }
}
