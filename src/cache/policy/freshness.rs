//! How long a response is fresh (RFC 9111 §4.2.1, §4.2.2), and what the operator makes of that.

use super::{Lifetime, Received, age};
use crate::cache::control::{Beside, Control, Flag, Seconds};
use crate::cache::settings::{OriginFields, Rules};
use crate::fields::date;
use http::{StatusCode, header};
use std::cmp::Ordering;
use std::time::Duration;

/// A guess is never longer than this.
pub const HEURISTIC_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// The field of nginx's, as it is spelt.
const ACCEL: &str = "X-Accel-Expires";

/// A lifetime, and where it is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Derived {
    /// How long, and by whose word.
    pub lifetime: Lifetime,
    /// The rule, directive or field that says it, as it is spelt; "nothing" for a lifetime of zero that nobody stated.
    pub from: &'static str,
    /// `ttl_min` or `ttl_max`, where it is changed by that.
    pub bound: Option<&'static str>,
}

/// The lifetime, or `None` where nobody says one and none may be guessed.
pub fn lifetime(received: &Received<'_>, control: &Control, rules: &Rules) -> Option<Lifetime> {
    derive(received, control, rules).map(|derived| derived.lifetime)
}

/// The same, with where it is from.
pub fn derive(received: &Received<'_>, control: &Control, rules: &Rules) -> Option<Derived> {
    if let Some((ttl, from)) = operators(received.status, rules) {
        let ttl = ttl.saturating_add(age::initial_age(received));
        return Some(Derived {
            lifetime: Lifetime::Operator(ttl),
            from,
            bound: None,
        });
    }
    let (lifetime, from) = match rules.origin {
        OriginFields::Obey => explicit(received, control)
            .map(|(lifetime, from)| (Lifetime::Explicit(lifetime), from))
            .or_else(|| {
                let (lifetime, from) = heuristic(received, control)?;
                Some((Lifetime::Heuristic(lifetime), from))
            })?,
        OriginFields::Ignore => return None,
    };
    let bounded = within(lifetime, rules);
    let bound = match bounded.duration().cmp(&lifetime.duration()) {
        Ordering::Less => Some("ttl_max"),
        Ordering::Equal => None,
        Ordering::Greater => Some("ttl_min"),
    };
    Some(Derived {
        lifetime: bounded,
        from,
        bound,
    })
}

/// What the route says of a status; the most specific word of it. A failure is not what `ttl` was written for: it would
/// stand in the place of a good response.
fn operators(status: StatusCode, rules: &Rules) -> Option<(Duration, &'static str)> {
    let ttl = rules.ttl.filter(|_| is_of_the_target(status));
    by_status(status, rules)
        .map(|ttl| (ttl, "ttl_by_status"))
        .or(ttl.map(|ttl| (ttl, "ttl")))
}

fn by_status(status: StatusCode, rules: &Rules) -> Option<Duration> {
    let mut said = rules.ttl_by_status.iter();
    let said = said.find(|(matching, _)| matching.matches(status));
    said.map(|(_, ttl)| *ttl)
}

/// Whether a status tells of the target, so that everybody would get it, or may be owed to what one request brought along:
/// a field that is too long, that the application cannot read, or that a firewall in front of it does not like. Such an
/// answer shared is a page taken from everybody by one (cache-poisoned denial of service).
fn is_of_the_target(status: StatusCode) -> bool {
    let errs = status.is_client_error() || status.is_server_error();
    !errs || matches!(status.as_u16(), 404 | 410)
}

/// Whether it is a guess or a rule of the operator's that makes a response fresh, and nobody has said so of what this one
/// is: neither the origin, as far as it counts, nor `ttl_by_status` of an error, whose page is no file whatever its name.
/// A redirection has nothing in it, nor has what is empty.
pub fn is_unspoken(
    received: &Received<'_>,
    control: &Control,
    rules: &Rules,
    lifetime: Lifetime,
) -> bool {
    let status = received.status;
    let explicit = match (lifetime, rules.origin) {
        (Lifetime::Explicit(_), _) => true,
        (_, OriginFields::Obey) => {
            explicit(received, control).is_some_and(|(lifetime, _)| !lifetime.is_zero())
        }
        (_, OriginFields::Ignore) => false,
    };
    let errs = status.is_client_error() || status.is_server_error();
    let named = errs && by_status(status, rules).is_some();
    let length = received.headers.get(header::CONTENT_LENGTH);
    let empty = status == StatusCode::NO_CONTENT || length.is_some_and(|length| length == "0");
    !(explicit || named || empty || status.is_redirection())
}

/// Whether the origin gives no time for which a response is fresh, and does not say either that it is for everybody.
pub fn is_asked_each_time(received: &Received<'_>, control: &Control, shared: bool) -> bool {
    explicit(received, control).map_or(!shared, |(lifetime, _)| lifetime.is_zero())
}

/// `ttl_min` and `ttl_max`. A lifetime of zero is the origin's way to say "ask me", and stays.
fn within(lifetime: Lifetime, rules: &Rules) -> Lifetime {
    let bound = |duration: Duration| {
        let raised = match rules.ttl_min {
            Some(min) if !duration.is_zero() => duration.max(min),
            _ => duration,
        };
        rules.ttl_max.map_or(raised, |max| raised.min(max))
    };
    match lifetime {
        Lifetime::Explicit(duration) => Lifetime::Explicit(bound(duration)),
        Lifetime::Heuristic(duration) => Lifetime::Heuristic(bound(duration)),
        Lifetime::Operator(duration) => Lifetime::Operator(duration),
    }
}

/// §4.2.1. Zero where the origin says something that cannot be read: "Caches are encouraged to consider responses that
/// have invalid freshness information […] to be stale."
fn explicit(received: &Received<'_>, control: &Control) -> Option<(Duration, &'static str)> {
    let until = |time: std::time::SystemTime| {
        time.duration_since(received.received.wall)
            .unwrap_or_default()
    };
    let from_arrival = |left: Duration| left.saturating_add(age::initial_age(received));
    match control.beside {
        Beside::For(left) => return Some((from_arrival(left), ACCEL)),
        Beside::Until(time) => return Some((from_arrival(until(time)), ACCEL)),
        Beside::Expires | Beside::Nothing => {}
    }
    // "If the cache is shared and the s-maxage response directive is present, use its value, or"
    // "If the max-age response directive is present, use its value, or"
    let directives = &control.directives;
    for (seconds, name) in [
        (directives.s_maxage, "s-maxage"),
        (directives.max_age, "max-age"),
    ] {
        match seconds {
            Seconds::Given(duration) => return Some((duration, name)),
            Seconds::Unreadable => return Some((Duration::ZERO, name)),
            Seconds::Absent => {}
        }
    }
    if control.beside != Beside::Expires {
        return None;
    }
    // "If the Expires response header field is present, use its value minus the value of the Date response header field"
    // Of several lines, the first. §5.3: "MUST interpret invalid date formats, especially the value "0", as representing
    // a time in the past".
    let expires = received.headers.get(header::EXPIRES)?;
    let lifetime = date::parse(expires.as_bytes())
        .and_then(|expires| expires.duration_since(age::date_value(received)).ok());
    Some((lifetime.unwrap_or_default(), "Expires"))
}

/// §4.2.2, of `Last-Modified`: a tenth of the time since. Zero without one: what is stored then is validated each time.
/// `None` where no guess is allowed: the status does not say so, nor does the response ("explicitly marked as
/// cacheable (e.g., with a public response directive)").
fn heuristic(received: &Received<'_>, control: &Control) -> Option<(Duration, &'static str)> {
    if !may_be_guessed(received.status) && !control.directives.has(Flag::Public) {
        return None;
    }
    let since = received
        .headers
        .get(header::LAST_MODIFIED)
        .and_then(|value| date::parse(value.as_bytes()))
        .and_then(|modified| age::date_value(received).duration_since(modified).ok());
    let from = since.map_or("nothing", |_| "Last-Modified");
    let since = since.unwrap_or_default();
    // Whole seconds, so that a lifetime means the same to every cache on the way.
    let tenth = Duration::from_secs(since.as_secs() / 10);
    Some((tenth.min(HEURISTIC_MAX), from))
}

/// RFC 9110 §15.1, without 405, 414 and 501, which it allows, too: these may be one request's own doing.
pub fn may_be_guessed(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200 | 203 | 204 | 206 | 300 | 301 | 308 | 404 | 410
    )
}

#[cfg(test)]
#[path = "freshness_tests.rs"]
mod tests;
