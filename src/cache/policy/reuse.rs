//! Whether a stored response may answer a request (RFC 9111 §4).

use super::{Asked, Lifetime, Terms, WhenStale};
use crate::cache::control::RequestDirectives;
use crate::cache::outcome::{ForwardReason, Reason};
use crate::cache::settings::{ClientDirectives, Rules};
use crate::clock::Instant;
use crate::fields::view::FieldView;
use http::header;
use std::time::Duration;

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

/// Decides. Where [`only_if_cached`] holds, everything but serving is a 504 (§5.2.1.7).
pub fn decide(asked: Asked<'_>, terms: &Terms, rules: &Rules, now: Instant) -> Reuse {
    // Ours: a cookie may have made it what it is, and nobody said that it may be shared.
    if matches!(terms.lifetime, Lifetime::Heuristic(_)) && asked.headers.contains(&header::COOKIE) {
        return Reuse::Ignore(ForwardReason::Request, Reason::CookieNotExplicit);
    }
    // "the stored response does not contain the no-cache directive (Section 5.2.2.4), unless it is successfully
    // validated (Section 4.3);"
    if terms.when_stale == WhenStale::AlwaysValidate {
        return Reuse::Validate(ForwardReason::Stale, Reason::AlwaysValidate);
    }
    let client = directives(asked.headers, rules);
    let age = terms.current_age(now);
    let fresh = terms.lifetime.duration() > age;
    if let Some(reason) = refused_by_client(&client, terms, rules, age, fresh) {
        return Reuse::Validate(
            if fresh {
                ForwardReason::Request
            } else {
                ForwardReason::Stale
            },
            reason,
        );
    }
    // "the stored response is one of the following: fresh (see Section 4.2), or"
    if fresh {
        return Reuse::Serve(None);
    }
    // "allowed to be served stale (see Section 4.2.4), or"
    let staleness = terms.staleness(now);
    let stale_allowed = match terms.when_stale {
        WhenStale::Windows => client.max_stale.is_some_and(|most| staleness <= most),
        // §5.2.2.10: a request cannot allow what s-maxage forbids.
        WhenStale::WindowsOnly | WhenStale::MustRevalidate | WhenStale::AlwaysValidate => false,
    };
    if stale_allowed {
        return Reuse::Serve(Some(Reason::MaxStale));
    }
    // §5.2.1.1: "Unless the max-stale request directive is also present, the client does not wish to receive a stale
    // response." RFC 5861 §3 holds for those who did not say so.
    if client.max_age.is_none() && staleness < terms.while_revalidate {
        return Reuse::ServeAndRefresh;
    }
    // "successfully validated (see Section 4.3)."
    Reuse::Validate(ForwardReason::Stale, Reason::Expired)
}

/// Whether a request may be answered from the cache only.
pub fn only_if_cached(headers: FieldView<'_>, rules: &Rules) -> bool {
    directives(headers, rules).only_if_cached
}

/// The directives of a request that count on this route.
fn directives(headers: FieldView<'_>, rules: &Rules) -> RequestDirectives {
    match rules.clients {
        ClientDirectives::Ignore => RequestDirectives::default(),
        ClientDirectives::Honour | ClientDirectives::Revalidate => RequestDirectives::of(headers),
    }
}

/// Why the client does not want it unvalidated. A validation is shared by all who want it at the same time, so none of
/// this costs the origin more than one request at a time for each target.
fn refused_by_client(
    client: &RequestDirectives,
    terms: &Terms,
    rules: &Rules,
    age: Duration,
    fresh: bool,
) -> Option<Reason> {
    // §5.2.1.4.
    if client.no_cache {
        return Some(Reason::ClientNoCache);
    }
    // RFC 8246 §2: "Clients SHOULD NOT issue a conditional request during the response's freshness lifetime". Reloads of old
    // browsers do; a forced reload, which says no-cache, still gets through.
    let unchanging = terms.immutable && rules.clients == ClientDirectives::Revalidate && fresh;
    // §5.2.1.1: "a response whose age is less than or equal to the specified number of seconds".
    if client.max_age.is_some_and(|most| age > most) && !unchanging {
        return Some(Reason::ClientMaxAge);
    }
    // §5.2.1.3: "a response whose freshness lifetime is no less than its current age plus the specified time".
    if client
        .min_fresh
        .is_some_and(|least| terms.lifetime.duration() < age.saturating_add(least))
    {
        return Some(Reason::ClientMinFresh);
    }
    None
}

#[cfg(test)]
#[path = "reuse_tests.rs"]
mod tests;
