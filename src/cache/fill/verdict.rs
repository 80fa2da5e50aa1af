//! What the head of a fetched response means for those who wait for it.

use super::{Failure, Head};
use crate::cache::derived;
use crate::cache::outcome::Reason;
use crate::cache::policy::stale::Trouble;
use crate::cache::policy::{Received, Terms, fields, stale, storable, validate};
use crate::cache::purge::tags::Tags;
use crate::cache::request::Request;
use crate::cache::response::StoredResponse;
use crate::cache::store::Resource;
use crate::cache::vary::Nominated;
use crate::clock::Instant;
use crate::fields::{content_length, hop_by_hop};
use http::{HeaderMap, Method, StatusCode, header};
use std::time::Duration;

/// The origin answered 304 to a request without conditions.
const UNASKED: Failure = Failure {
    status: StatusCode::BAD_GATEWAY,
    word: "unasked-304",
    retry_after: None,
    trouble: Trouble::Failed,
    held: Duration::ZERO,
};

/// What it means.
#[derive(Debug)]
pub(super) enum Verdict {
    /// A 304: what is stored is good, with these fields. Without terms, for the one who asked only.
    Validated(HeaderMap, Result<(Terms, Nominated, Tags), Reason>),
    /// A 304 that is about something else than what is stored.
    AboutAnother,
    /// The origin is in trouble, and what is stored may be served in its stead.
    Stale(Reason),
    /// It may be stored and shared.
    Share(Head, Nominated),
    /// It is for the one who asked only.
    Alone(Head, Reason),
    /// It answers nothing that was asked.
    Unusable(Failure),
}

/// Judges a head. `largest` is the length of the largest body that is stored, in octets; `spoils` tells whether an error would take
/// the place of something good.
pub(super) fn judge(
    request: &Request,
    stored: Option<&StoredResponse>,
    received: Received<'_>,
    largest: u64,
    spoils: impl FnOnce() -> bool,
) -> Verdict {
    if received.status == StatusCode::NOT_MODIFIED {
        return match stored {
            Some(stored) if validate::is_about(received.headers, stored) => {
                let asked = request.asked();
                let rules = &request.rules;
                let (mut fields, terms) = validate::freshen(asked, received, stored, rules);
                let length = Some(stored.body_length());
                derived::announce(stored.status(), &mut fields, length, rules);
                let headers = &request.headers;
                let nominated = Nominated::freshened(stored, received.headers, headers);
                let tags = Tags::freshened(stored.tags(), received.headers, rules);
                let terms = terms.and_then(|terms| Ok((terms, nominated?, tags?)));
                Verdict::Validated(fields, terms)
            }
            Some(_) => Verdict::AboutAnother,
            // The client's own conditions were not sent: there is nothing that this could be about.
            None => Verdict::Unusable(UNASKED),
        };
    }
    // RFC 5861 §4: "an error is any situation that would result in a 500, 502, 503, or 504 HTTP response"; others of
    // 5xx tell a client no more than these do.
    if received.status.is_server_error()
        && let Some(stored) = stored
        && let Some(reason) =
            stale::may_serve(&stored.terms(), Trouble::Failed, received.received.at)
    {
        return Verdict::Stale(reason);
    }
    let length = length_of(received.status, received.headers);
    let (asked, rules) = (request.asked(), &request.rules);
    let terms = if received.status == StatusCode::PARTIAL_CONTENT {
        // RFC 9110 §15.3.7: nobody asked for a part here; it is no answer to those who want the whole.
        Err(Reason::PartialUnusable)
    } else if is_about_the_request(received.status)
        && stored.is_some_and(|stored| !is_about_the_request(stored.status()))
        || is_failure(received.status) && spoils()
    {
        Err(Reason::StatusNotFinal)
    } else if request.method == Method::POST {
        storable::evaluate_post(asked, request.target(), received, rules)
    } else {
        storable::evaluate(asked, received, rules)
    };
    let judged = terms
        .and_then(|terms| {
            let nominated = Nominated::new(received.headers, &request.headers)?;
            Ok((terms, nominated, Tags::of(received.headers, rules)?))
        })
        .and_then(|judged| {
            let fits = length.is_none_or(|length| length <= largest);
            fits.then_some(judged).ok_or(Reason::TooLarge)
        });
    let head = |fields, own, terms, tags| Head {
        own,
        status: received.status,
        fields,
        length,
        terms,
        tags,
    };
    match judged {
        Ok((terms, nominated, tags)) => {
            let (mut fields, own) = fields::split(&received, rules);
            derived::announce(received.status, &mut fields, length, rules);
            // For those who get it now; what is stored counts its age from here.
            if let Some(age) = received.headers.get(header::AGE) {
                fields.insert(header::AGE, age.clone());
            }
            Verdict::Share(head(fields, own, Some(terms), tags), nominated)
        }
        Err(reason) => Verdict::Alone(
            head(
                end_to_end(received.headers),
                HeaderMap::new(),
                None,
                Tags::default(),
            ),
            reason,
        ),
    }
}

/// Whether it is what the origin has against one request (400, 406, 431), which says nothing of what others were given:
/// whoever sends a bad field with `no-cache` must not be able to throw out what all others are served.
pub(super) fn is_about_the_request(status: StatusCode) -> bool {
    status.is_client_error() && !matches!(status, StatusCode::NOT_FOUND | StatusCode::GONE)
}

pub(super) fn is_failure(status: StatusCode) -> bool {
    is_about_the_request(status) || status.is_server_error()
}

/// Whether an error of this target would be served in the place of a response that another request may be given: without a `Vary`
/// it fits all, and who asks in a way that nothing stored fits must not choose it for them.
pub(super) fn spoils(resource: Option<&Resource>, route: &str, now: Instant) -> bool {
    let variants = resource.map(Resource::variants).unwrap_or_default();
    variants.iter().any(|stored| {
        let terms = stored.terms();
        **stored.route() == *route
            && !is_failure(stored.status())
            && !stored.is_invalidated()
            && (terms.is_fresh(now) || stale::may_serve(&terms, Trouble::Failed, now).is_some())
    })
}

/// The length of the body, where it is known.
fn length_of(status: StatusCode, fields: &HeaderMap) -> Option<u64> {
    match status {
        StatusCode::NO_CONTENT => Some(0),
        _ => content_length::parse(fields.get_all(header::CONTENT_LENGTH))
            .ok()
            .and_then(content_length::ContentLength::value),
    }
}

/// The fields that are not about one connection only.
fn end_to_end(fields: &HeaderMap) -> HeaderMap {
    let nominated = hop_by_hop::parse_connection(fields.get_all(header::CONNECTION))
        .map(|options| options.nominated)
        .unwrap_or_default();
    fields
        .iter()
        .filter(|(name, _)| !hop_by_hop::is_hop_by_hop(name) && !nominated.contains(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .fold(
            HeaderMap::with_capacity(fields.len()),
            |mut map, (name, value)| {
                map.append(name, value);
                map
            },
        )
}
