//! Validation (RFC 9111 §4.3): our conditional requests, what a 304 changes, and which stored response it means.

use super::{Asked, Received, Terms, fields, storable};
use crate::cache::outcome::Reason;
use crate::cache::response::StoredResponse;
use crate::cache::settings::Rules;
use crate::fields::date;
use crate::fields::etag::EntityTag;
use crate::fields::token::parse_digits;
use crate::fields::view::FieldView;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

/// What a client asks about its own copy, or of a part. None of it is for a request whose answer is shared.
static CLIENTS_OWN: [HeaderName; 6] = [
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_UNMODIFIED_SINCE,
    header::IF_RANGE,
    header::RANGE,
];

/// What describes the stored octets, and so does not change with a 304, which has none (§3.2).
static OF_THE_BODY: [HeaderName; 3] = [
    header::CONTENT_LENGTH,
    header::CONTENT_ENCODING,
    header::CONTENT_RANGE,
];

/// Makes a request for the origin of a client's: without the client's own conditions and range, and with the
/// validators of what is stored (§4.3.1).
pub fn request_headers<'h>(
    client: impl Into<FieldView<'h>>,
    stored: Option<&StoredResponse>,
) -> HeaderMap {
    let mut headers = client.into().to_header_map();
    for name in &CLIENTS_OWN {
        headers.remove(name);
    }
    let Some(stored) = stored else {
        return headers;
    };
    // "the cache MUST send the relevant entity tags (using If-Match, If-None-Match, or If-Range) if the entity tags were
    // provided in the stored response"; as it came, also where it is none by the grammar: its origin knows it again.
    let tag = stored.fields().get(&header::ETAG);
    if let Some(tag) = tag.and_then(|tag| HeaderValue::from_bytes(tag).ok()) {
        headers.insert(header::IF_NONE_MATCH, tag);
    }
    // "the cache SHOULD send the Last-Modified value (using If-Modified-Since) if the request is not for a subrange".
    let modified = stored.fields().get(&header::LAST_MODIFIED);
    let modified = modified.filter(|value| date::parse(value).is_some());
    if let Some(modified) = modified.and_then(|value| HeaderValue::from_bytes(value).ok()) {
        headers.insert(header::IF_MODIFIED_SINCE, modified);
    }
    headers
}

/// Whether a 304 is about this stored response (§4.3.3 and §4.3.4).
pub fn is_about(not_modified: &HeaderMap, stored: &StoredResponse) -> bool {
    let ours = |name| stored.fields().get(name);
    if let Some(tag) = not_modified.get(header::ETAG) {
        // "If the new response contains one or more strong validators, then each of those strong validators identifies a
        // selected representation for update. […] If none of the initial set contains at least one of the same strong
        // validators, then the cache MUST NOT use the new response to update any stored responses."
        // "If the new response contains no strong validators but does contain one or more weak validators, and if those
        // validators correspond to one of the initial set's stored responses, then the most recent of those matching
        // stored responses is identified for update."
        return ours(&header::ETAG).is_some_and(|ours| same_tag(tag.as_bytes(), ours));
    }
    if let Some(modified) = not_modified.get(header::LAST_MODIFIED) {
        return ours(&header::LAST_MODIFIED)
            .is_some_and(|ours| same_date(modified.as_bytes(), ours));
    }
    // "If the new response does not include any form of validator […], and there is only one stored response, and that
    // stored response also lacks a validator, then that stored response is identified for update." A departure in the
    // origin's favour: many leave the validator out of a 304 (against RFC 9110 §15.4.5), and since our request named the
    // validators of this stored response and of no other, there is nothing else that the 304 could be about.
    true
}

/// The stored response's fields and terms as a 304 makes them new (§4.3.4, §3.2).
///
/// # Errors
/// Why what is there now may not be stored any longer; it may still answer the request that validated it. Where
/// the reason does not [concern](storable::Concerns) all requests, it is this request's own affair, and the old one may stay
/// as it was.
pub fn freshen(
    request: Asked<'_>,
    not_modified: Received<'_>,
    stored: &StoredResponse,
    rules: &Rules,
) -> (HeaderMap, Result<Terms, Reason>) {
    let mut updated = stored.fields().to_header_map();
    // "the cache MUST add each header field in the provided response to the stored response, replacing field values that
    // are already present, with the following exceptions: Header fields excepted from storage in Section 3.1 [which
    // `to_store` leaves out], Header fields that the cache's stored response depends upon, […] and The Content-Length
    // header field." All lines of a name are replaced by all of its new lines.
    let new = fields::to_store(&not_modified, rules);
    for name in new.keys().filter(|name| !OF_THE_BODY.contains(name)) {
        updated.remove(name);
        for value in new.get_all(name) {
            updated.append(name, value.clone());
        }
    }
    // A new `no-cache="…"` is about fields that came long ago, too.
    for name in fields::to_drop(&updated, rules) {
        updated.remove(name);
    }
    let mut judged = updated.clone();
    if let Some(age) = not_modified.headers.get(header::AGE) {
        judged.insert(header::AGE, age.clone());
    }
    let terms = storable::evaluate(
        Asked {
            method: &Method::GET,
            path: request.path,
            headers: request.headers,
        },
        Received {
            status: stored.status(),
            headers: &judged,
            ..not_modified
        },
        rules,
    );
    (updated, terms)
}

/// What a response to HEAD does to a stored response that could have answered it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeadUpdate {
    /// Nothing.
    None,
    /// It makes it new, like a 304: its fields, and its terms as [`freshen`] gives them.
    Freshen(Box<HeaderMap>, Result<Terms, Reason>),
    /// What is stored is not what is there now: it is stale from now on.
    Stale,
}

/// §4.3.5.
pub fn update_by_head(
    request: Asked<'_>,
    head: Received<'_>,
    stored: &StoredResponse,
    rules: &Rules,
) -> HeadUpdate {
    // "When a cache makes an inbound HEAD request for a target URI and receives a 200 (OK) response, the cache SHOULD
    // update or invalidate each of its stored GET responses that could have been chosen for that request".
    if head.status != StatusCode::OK {
        return HeadUpdate::None;
    }
    // "if the stored response and HEAD response have matching values for any received validator fields (Last-Modified
    // and ETag) and, if the HEAD response has a Content-Length header field, the value of Content-Length matches that of
    // the stored response, the cache SHOULD update the stored response as described below; otherwise, the cache SHOULD
    // consider the stored response to be stale."
    let matches = |name: &HeaderName, same: fn(&[u8], &[u8]) -> bool| {
        head.headers.get(name).is_none_or(|theirs| {
            let ours = stored.fields().get(name);
            ours.is_some_and(|ours| same(theirs.as_bytes(), ours))
        })
    };
    let same_length = head
        .headers
        .get(header::CONTENT_LENGTH)
        .is_none_or(|length| parse_digits(length.as_bytes()) == Some(stored.body_length()));
    let same = matches(&header::ETAG, same_tag)
        && matches(&header::LAST_MODIFIED, same_date)
        && same_length
        && stored.status() == StatusCode::OK;
    if !same {
        return HeadUpdate::Stale;
    }
    let (fields, terms) = freshen(request, head, stored, rules);
    HeadUpdate::Freshen(Box::new(fields), terms)
}

/// Whether a received tag names what a stored one does: by the strong comparison where it is strong, else by the weak.
/// What is no tag by the grammar is compared octet by octet.
fn same_tag(theirs: &[u8], ours: &[u8]) -> bool {
    match (EntityTag::parse(theirs), EntityTag::parse(ours)) {
        (Some(theirs), Some(ours)) if theirs.is_weak() => theirs.weak_eq(&ours),
        (Some(theirs), Some(ours)) => theirs.strong_eq(&ours),
        _ => theirs == ours,
    }
}

fn same_date(theirs: &[u8], ours: &[u8]) -> bool {
    match (date::parse(theirs), date::parse(ours)) {
        (Some(theirs), Some(ours)) => theirs == ours,
        _ => theirs == ours,
    }
}

#[cfg(test)]
#[path = "validate_tests.rs"]
mod tests;
