//! One stored response as it is told: what it is, how long it may be used, and which requests it fits.

use super::shown;
use crate::cache::control::{self, Control};
use crate::cache::decide::{Sight, terms_of};
use crate::cache::policy::{Lifetime, Moment, Received, Terms, WhenStale, freshness};
use crate::cache::purge::tags;
use crate::cache::response::StoredResponse;
use crate::cache::settings::Rules;
use crate::cache::store::StoredPart;
use crate::cache::vary::{self, Nominee};
use crate::fields::date;
use http::{HeaderMap, HeaderName, StatusCode, header};
use serde::Serialize;
use std::sync::Arc;

/// One response that is stored for the key.
#[derive(Debug, Clone, Serialize)]
pub struct Stored {
    /// Whether it is the one that fits the request.
    pub fits: bool,
    /// Whether all of it is here.
    pub complete: bool,
    /// The route that it came by; no other may use it.
    pub route: String,
    /// Its status.
    pub status: u16,
    /// The octets of its body that are here.
    pub bytes: u64,
    /// How long it is fresh, stale and usable.
    #[serde(flatten)]
    pub terms: StoredTerms,
    /// The fields that its `Vary` names, with its values and this request's.
    pub vary: Vec<Nominated>,
    /// The codings that it is at hand in besides its own.
    pub coded: Vec<String>,
    /// Its `ETag`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// Its `Last-Modified`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_modified: Option<String>,
    /// The tags that it may be purged by.
    pub tags: Vec<String>,
}

/// The terms of a stored response, in seconds.
#[derive(Debug, Clone, Serialize)]
pub struct StoredTerms {
    /// RFC 9111 §4.2.3.
    pub age: u64,
    /// What is left of its freshness; negative is stale.
    pub ttl: i64,
    /// RFC 9111 §4.2.1.
    pub lifetime: u64,
    /// The rule, directive or field that the lifetime is from.
    pub lifetime_from: String,
    /// When it is no longer fresh, as an HTTP date.
    pub expires: String,
    /// What may be done with it once it is stale: "windows", "windows-only", "must-revalidate", "always-validate".
    pub when_stale: &'static str,
    /// How long past its freshness it may be served while it is fetched anew.
    pub stale_while_revalidate: u64,
    /// The same where the origin fails.
    pub stale_if_error: u64,
    /// The same where the origin cannot be reached.
    pub stale_if_unreachable: u64,
    /// Whether its body never changes while it is fresh (RFC 8246).
    pub immutable: bool,
    /// Whether a soft purge has made it stale, before its time.
    pub purged: bool,
}

/// A field that `Vary` names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Nominated {
    /// Its name.
    pub field: String,
    /// What the stored response's request had.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stored: Option<String>,
    /// What this request has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asked: Option<String>,
    /// Whether they are the same.
    pub same: bool,
}

/// All that is stored for the key, complete ones first, of both the newest first.
pub(super) fn all(sight: &Sight<'_>) -> Vec<Stored> {
    let Some(seen) = sight.seen else {
        return Vec::new();
    };
    let (route, headers) = (sight.ask.route, sight.ask.headers);
    let chosen = seen.select(route, headers);
    let part = seen
        .select_part(route, headers)
        .filter(|_| chosen.is_none());
    let complete = seen.variants().iter().map(|stored| {
        let fits = chosen.is_some_and(|chosen| Arc::ptr_eq(chosen, stored));
        whole(stored, fits, sight)
    });
    let parts = seen.parts().iter().map(|stored| {
        let fits = part.is_some_and(|part| Arc::ptr_eq(part, stored));
        incomplete(stored, fits, sight)
    });
    complete.chain(parts).collect()
}

fn whole(stored: &Arc<StoredResponse>, fits: bool, sight: &Sight<'_>) -> Stored {
    let fields = stored.fields();
    let map = fields.to_header_map();
    Stored {
        fits,
        complete: true,
        route: stored.route().to_string(),
        status: stored.status().as_u16(),
        bytes: stored.body_length(),
        terms: terms(&terms_of(stored), stored.status(), &map, sight),
        vary: beside(stored.nominated(), sight),
        coded: stored.codings(),
        etag: text(&map, &header::ETAG),
        last_modified: text(&map, &header::LAST_MODIFIED),
        tags: tags::each(stored.tags())
            .map(|tag| shown(tag.name))
            .collect(),
    }
}

fn incomplete(stored: &Arc<StoredPart>, fits: bool, sight: &Sight<'_>) -> Stored {
    let partial = stored.partial();
    let map = partial.fields.lines().to_header_map();
    Stored {
        fits,
        complete: false,
        route: partial.route.to_string(),
        status: StatusCode::PARTIAL_CONTENT.as_u16(),
        bytes: partial.octets(),
        terms: terms(&partial.terms, StatusCode::OK, &map, sight),
        vary: beside(partial.nominated.as_bytes(), sight),
        coded: Vec::new(),
        etag: text(&map, &header::ETAG),
        last_modified: text(&map, &header::LAST_MODIFIED),
        tags: tags::each(partial.about.tags.as_bytes())
            .map(|tag| shown(tag.name))
            .collect(),
    }
}

fn text(fields: &HeaderMap, name: &HeaderName) -> Option<String> {
    fields.get(name).map(|value| shown(value.as_bytes()))
}

fn terms(terms: &Terms, status: StatusCode, fields: &HeaderMap, sight: &Sight<'_>) -> StoredTerms {
    let now = sight.now;
    let left = terms
        .lifetime
        .duration()
        .saturating_sub(terms.current_age(now.at));
    let expires = if left.is_zero() {
        now.wall.checked_sub(terms.staleness(now.at))
    } else {
        now.wall.checked_add(left)
    };
    StoredTerms {
        age: terms.current_age(now.at).as_secs(),
        ttl: terms.remaining(now.at),
        lifetime: terms.lifetime.duration().as_secs(),
        lifetime_from: from(terms, status, fields, sight.ask.rules, now),
        expires: date::format(expires.unwrap_or(now.wall)),
        when_stale: match terms.when_stale {
            WhenStale::Windows => "windows",
            WhenStale::WindowsOnly => "windows-only",
            WhenStale::MustRevalidate => "must-revalidate",
            WhenStale::AlwaysValidate => "always-validate",
        },
        stale_while_revalidate: terms.while_revalidate.as_secs(),
        stale_if_error: terms.if_error.as_secs(),
        stale_if_unreachable: terms.if_unreachable.as_secs(),
        immutable: terms.immutable,
        purged: terms.purged,
    }
}

/// Where the lifetime is from: the judgement of its arrival, made once more of what is stored. By other rules than those of
/// its arrival another lifetime comes of it; then it is said that they have changed.
fn from(
    terms: &Terms,
    status: StatusCode,
    fields: &HeaderMap,
    rules: &Rules,
    now: Moment,
) -> String {
    let since = now.at.saturating_duration_since(terms.received);
    let arrival = Moment {
        at: terms.received,
        wall: now.wall.checked_sub(since).unwrap_or(now.wall),
    };
    let received = Received {
        status,
        headers: fields,
        requested: arrival,
        received: arrival,
    };
    let control = Control::of(fields, rules);
    let same = |one: Lifetime, other: Lifetime| {
        std::mem::discriminant(&one) == std::mem::discriminant(&other)
    };
    let derived = freshness::derive(&received, &control, rules);
    let Some(derived) = derived.filter(|it| same(it.lifetime, terms.lifetime)) else {
        return "the rules of when it came, which have changed".to_owned();
    };
    let said = match derived.from {
        name @ ("s-maxage" | "max-age") => {
            format!("{name} in {}", control::spoken_in(fields, rules))
        }
        name @ ("ttl" | "ttl_by_status") => format!("the route's {name}"),
        "Last-Modified" => "a guess by Last-Modified".to_owned(),
        "nothing" => "nothing: no lifetime is stated".to_owned(),
        name => name.to_owned(),
    };
    let said = match derived.bound {
        Some(bound) => format!("{said}, within the route's {bound}"),
        None => said,
    };
    if terms.purged {
        format!("{said}, until a soft purge ended it")
    } else {
        said
    }
}

fn beside(nominated: &[u8], sight: &Sight<'_>) -> Vec<Nominated> {
    let nominees = vary::beside(nominated, sight.ask.headers);
    nominees.iter().map(told).collect()
}

fn told(nominee: &Nominee) -> Nominated {
    let is_private = [header::COOKIE, header::AUTHORIZATION].contains(&nominee.name);
    let value = |value: &Vec<u8>| {
        if is_private {
            format!("({} octets)", value.len())
        } else {
            shown(value)
        }
    };
    Nominated {
        same: nominee.stored == nominee.asked,
        stored: nominee.stored.as_ref().map(value),
        asked: nominee.asked.as_ref().map(value),
        field: nominee.name.as_str().to_owned(),
    }
}
