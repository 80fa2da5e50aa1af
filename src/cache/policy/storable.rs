//! Whether a response may be stored (RFC 9111 §3), and on which terms.

use super::{Asked, Lifetime, Received, Terms, WhenStale, age, fields, freshness, names};
use crate::cache::control::{Control, Flag, RequestDirectives, Scope, Seconds};
use crate::cache::key::Target;
use crate::cache::outcome::Reason;
use crate::cache::policy::invalidation;
use crate::cache::settings::{ClientDirectives, OriginFields, Rules};
use http::{HeaderMap, Method, StatusCode, header};
use std::time::Duration;

/// Judges a response to GET. What comes for a HEAD is not stored: it freshens what is (`validate::update_by_head`). A fetch by
/// GET on behalf of a HEAD is judged as the GET that it is.
///
/// # Errors
/// Why it may not be stored. Which other requests would fare no better, [`Concerns`] says.
pub fn evaluate(asked: Asked<'_>, received: Received<'_>, rules: &Rules) -> Result<Terms, Reason> {
    // "the request method is understood by the cache;"
    if *asked.method != Method::GET {
        return Err(Reason::UnsafeMethod);
    }
    judge(asked, &received, rules)
}

/// Judges a response to POST: it may answer a later GET or HEAD where it has explicit freshness and says that it is what
/// a GET of the same target would bring (RFC 9110 §9.3.3).
///
/// # Errors
/// Why it may not be stored.
pub fn evaluate_post(
    asked: Asked<'_>,
    target: Target<'_>,
    received: Received<'_>,
    rules: &Rules,
) -> Result<Terms, Reason> {
    let content_location = received.headers.get(header::CONTENT_LOCATION);
    // "Responses to POST requests are only cacheable when they include explicit freshness information […] and a
    // Content-Location header field that has the same value as the POST's target URI"
    let is_the_target = content_location.is_some_and(|value| {
        let target = invalidation::uri_of(target);
        target
            .as_ref()
            .is_some_and(|target| target.resolve(value.as_bytes()).as_ref() == Some(target))
    });
    // A failure of the write says nothing of what a GET would bring; a part of it was not asked for.
    let is_whole = received.status.is_success() && received.status != StatusCode::PARTIAL_CONTENT;
    if *asked.method != Method::POST || !is_the_target || !is_whole {
        return Err(Reason::UnsafeMethod);
    }
    let terms = judge(asked, &received, rules)?;
    match terms.lifetime {
        Lifetime::Explicit(_) => Ok(terms),
        Lifetime::Heuristic(_) | Lifetime::Operator(_) => Err(Reason::UnsafeMethod),
    }
}

/// Whose requests a verdict holds for, of those for the same target: who would get the same one for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Concerns {
    /// Everybody's: the reason lies in the response alone.
    All,
    /// Those with `Authorization`.
    Authorized,
    /// Those with `Cookie`.
    WithCookie,
    /// Nobody's but the one that was asked for: the next may well bring something storable.
    ThisOne,
}

impl Concerns {
    /// Of a reason not to store.
    pub fn of(reason: Reason) -> Self {
        match reason {
            Reason::Authorization => Self::Authorized,
            Reason::CookieHeuristic => Self::WithCookie,
            // A client's own word may not keep others from sharing.
            Reason::RequestNoStore
            | Reason::UnsafeMethod
            | Reason::Invalidated
            | Reason::Incomplete => Self::ThisOne,
            _ => Self::All,
        }
    }

    /// Whether a request is one of those.
    pub fn includes(self, request: &HeaderMap) -> bool {
        match self {
            Self::All => true,
            Self::Authorized => request.contains_key(header::AUTHORIZATION),
            Self::WithCookie => request.contains_key(header::COOKIE),
            Self::ThisOne => false,
        }
    }
}

/// §3 in its order, as far as the method is not concerned.
fn judge(asked: Asked<'_>, received: &Received<'_>, rules: &Rules) -> Result<Terms, Reason> {
    let control = Control::of(received.headers, rules);
    let directives = &control.directives;

    // "the response status code is final (see Section 15 of [HTTP]);" A 304 is about a stored response and none itself;
    // a 412 and a 416 are about a condition and a range, which are not part of the key and may be our own.
    if received.status.is_informational() || matches!(received.status.as_u16(), 304 | 412 | 416) {
        return Err(Reason::StatusNotFinal);
    }
    // "if the response status code is 206 or 304, or the must-understand cache directive (see Section 5.2.2.3) is
    // present: the cache understands the response status code;"
    let must_understand = directives.has(Flag::MustUnderstand);
    if must_understand && !is_understood(received.status) {
        return Err(Reason::StatusUnknown);
    }
    // §5.2.1.5: "a cache MUST NOT store any part of either this request or any response to it."
    if rules.clients != ClientDirectives::Ignore && RequestDirectives::of(asked.headers).no_store {
        return Err(Reason::RequestNoStore);
    }
    // "the no-store cache directive is not present in the response;" §5.2.2.3: a cache that understands the status
    // "SHOULD ignore the no-store directive when it's present" beside must-understand.
    if directives.has(Flag::NoStore) && !must_understand {
        return Err(Reason::NoStore);
    }
    // "if the cache is shared: the private response directive is either not present or allows a shared cache to store a
    // modified response;" `fields::to_store` makes that one.
    if directives.private.is_response() {
        return Err(Reason::Private);
    }
    // "if the cache is shared: the Authorization header field is not present in the request or a response directive is
    // present that explicitly allows shared caching (see Section 3.5);"
    let shared = directives.has(Flag::Public) || directives.s_maxage.given().is_some();
    let authorized = shared || directives.has(Flag::MustRevalidate);
    if asked.headers.contains(&header::AUTHORIZATION) && !authorized {
        return Err(Reason::Authorization);
    }
    // Ours: RFC 9111 §7.3 warns of shared cookies, and frameworks set them on responses that are said to be cacheable.
    let sets_cookie = received.headers.contains_key(header::SET_COOKIE)
        && !fields::withheld(&control).contains(&header::SET_COOKIE);
    if sets_cookie && !shared {
        return Err(Reason::SetCookie);
    }

    // "the response contains at least one of the following: a public response directive; […] an Expires header field; a
    // max-age response directive; […] an s-maxage response directive; […] a status code that is defined as
    // heuristically cacheable."
    let Some(lifetime) = freshness::lifetime(received, &control, rules) else {
        return Err(Reason::NoFreshness);
    };
    // Ours: what one client's credentials made is everybody's for as long as the origin says, or until it is asked again; where it is
    // to be asked each time, a time of the operator's would put its word aside.
    let credentials = if asked.headers.contains(&header::AUTHORIZATION) {
        Some(Reason::Authorization)
    } else {
        sets_cookie.then_some(Reason::SetCookie)
    };
    if let Some(reason) = credentials
        && matches!(lifetime, Lifetime::Operator(_))
        && freshness::is_asked_each_time(received, &control, shared)
    {
        return Err(reason);
    }
    // Ours: what a cookie may have made is shared by the origin's word, never by a guess.
    if matches!(lifetime, Lifetime::Heuristic(_)) && asked.headers.contains(&header::COOKIE) {
        return Err(Reason::CookieHeuristic);
    }
    // Ours: a name that was made up must not turn somebody's page into everybody's style sheet.
    let vouched = shared && rules.origin == OriginFields::Obey;
    if rules.deception_guard
        && !vouched
        && freshness::is_unspoken(received, &control, rules, lifetime)
        && names::deceives(asked.path, received.headers)
    {
        return Err(Reason::TypeMismatch);
    }
    let terms = terms(received, &control, lifetime, rules);
    is_useful(&terms, received)?;
    Ok(terms)
}

/// The terms of a response that may be stored.
fn terms(received: &Received<'_>, control: &Control, lifetime: Lifetime, rules: &Rules) -> Terms {
    let mut windows = Windows::of(control, rules);
    if received.status.is_server_error() {
        // Ours: a failure that may be repeated for as long as it is fresh is not what anybody wants in the place of an answer.
        windows = windows.closed();
    }
    Terms {
        received: received.received.at,
        initial_age: age::initial_age(received),
        lifetime,
        when_stale: windows.when_stale,
        while_revalidate: windows.while_revalidate,
        if_error: windows.if_error,
        if_unreachable: windows.if_unreachable,
        immutable: control.directives.has(Flag::Immutable) && rules.origin == OriginFields::Obey,
        purged: false,
    }
}

/// How long a response may be served beyond its freshness (§4.2.4, RFC 5861).
struct Windows {
    when_stale: WhenStale,
    while_revalidate: Duration,
    if_error: Duration,
    if_unreachable: Duration,
}

impl Windows {
    /// Not to be served once it is stale.
    fn closed(self) -> Self {
        let always = self.when_stale == WhenStale::AlwaysValidate;
        Self {
            when_stale: if always {
                WhenStale::AlwaysValidate
            } else {
                WhenStale::MustRevalidate
            },
            while_revalidate: Duration::ZERO,
            if_error: Duration::ZERO,
            if_unreachable: Duration::ZERO,
        }
    }

    fn of(control: &Control, rules: &Rules) -> Self {
        let directives = &control.directives;
        let obeyed = rules.origin == OriginFields::Obey;
        let window = |operators: Option<Duration>, origins: Seconds| {
            operators.or(origins.given().filter(|_| obeyed))
        };
        let while_revalidate = window(
            rules.stale_while_revalidate,
            directives.stale_while_revalidate,
        );
        let if_error = window(rules.stale_if_error, directives.stale_if_error);
        // An operator who ignores the origin's lifetimes ignores that it wants to be asked each time; but "never stale" is
        // not about a lifetime, and what was said to be wrong when stale is not served stale.
        let when_stale =
            if obeyed && directives.no_cache != Scope::None && directives.no_cache.is_response() {
                WhenStale::AlwaysValidate
            } else if directives.has(Flag::MustRevalidate) || directives.has(Flag::ProxyRevalidate)
            {
                WhenStale::MustRevalidate
            } else if obeyed && directives.s_maxage != Seconds::Absent {
                // A departure from §5.2.2.10, by which s-maxage forbids what proxy-revalidate does: a window stated for the
                // same response was meant for somebody, and shared caches are the only ones that read both. Next.js sends
                // `s-maxage=1, stale-while-revalidate`, and the CDNs serve it so.
                match (while_revalidate, if_error) {
                    (None, None) => WhenStale::MustRevalidate,
                    _ => WhenStale::WindowsOnly,
                }
            } else {
                WhenStale::Windows
            };
        let while_revalidate = while_revalidate.unwrap_or_default();
        let if_error = if_error.unwrap_or_default();
        match when_stale {
            WhenStale::AlwaysValidate | WhenStale::MustRevalidate => Self {
                when_stale,
                while_revalidate: Duration::ZERO,
                if_error: Duration::ZERO,
                if_unreachable: Duration::ZERO,
            },
            WhenStale::WindowsOnly => Self {
                when_stale,
                while_revalidate,
                if_error,
                if_unreachable: if_error.max(while_revalidate),
            },
            WhenStale::Windows => Self {
                when_stale,
                while_revalidate,
                if_error,
                if_unreachable: rules.stale_if_unreachable.max(if_error),
            },
        }
    }
}

/// Whether there will be any use for what is stored: while it is fresh, or by its validator, or in a window that somebody
/// asked for. (A window by default is not enough: every response without a lifetime would be kept for a bad day.) What was
/// fresh when it was sent, and is not for having been long in the making, is for those who waited for it.
fn is_useful(terms: &Terms, received: &Received<'_>) -> Result<(), Reason> {
    // §4.2.3 counts the whole time from the request as age, for nobody can tell when in it the response was made.
    let (sent, came) = (received.requested.at, received.received.at);
    let delay = came.saturating_duration_since(sent);
    let age_when_sent = terms.initial_age.saturating_sub(delay);
    let fresh =
        terms.when_stale != WhenStale::AlwaysValidate && terms.lifetime.duration() > age_when_sent;
    if fresh || has_validator(received) {
        return Ok(());
    }
    match terms.lifetime {
        Lifetime::Heuristic(_) => Err(Reason::NoFreshness),
        Lifetime::Explicit(_) | Lifetime::Operator(_) => {
            let window = terms.while_revalidate.max(terms.if_error);
            if window.is_zero() {
                Err(Reason::ExpiredNoValidator)
            } else {
                Ok(())
            }
        }
    }
}

/// Whether a conditional request could be made of it (§4.3.1).
fn has_validator(received: &Received<'_>) -> bool {
    received
        .headers
        .get(header::ETAG)
        .is_some_and(|tag| !tag.is_empty())
        || received
            .headers
            .get(header::LAST_MODIFIED)
            .is_some_and(|value| crate::fields::date::parse(value.as_bytes()).is_some())
}

/// The statuses that this cache understands: it knows that nothing in their definition asks more of a cache than §3.
fn is_understood(status: StatusCode) -> bool {
    freshness::may_be_guessed(status)
        || matches!(
            status.as_u16(),
            302 | 303 | 307 | 400 | 401 | 403 | 405 | 414 | 451 | 500 | 501 | 502 | 503 | 504
        )
}

#[cfg(test)]
#[path = "storable_tests.rs"]
mod tests;
