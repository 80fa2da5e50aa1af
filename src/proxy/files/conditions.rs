//! Conditional requests: RFC 9110 §13, for a file that exists.

use crate::clock;
use crate::fields::{date, etag, etag::EntityTag};
use http::header::{
    HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE,
};
use http::{HeaderMap, HeaderValue};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What a condition may compare.
#[derive(Debug)]
pub(super) struct Validators {
    pub(super) etag: Option<EntityTag>,
    pub(super) modified: Option<SystemTime>,
}

/// The outcome of all preconditions of a GET or HEAD.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Precondition {
    /// Go on.
    Holds,
    /// 304.
    NotModified,
    /// 412.
    Failed,
}

/// The preconditions in the order of RFC 9110 §13.2.2.
pub(super) fn evaluate(headers: &HeaderMap, file: &Validators) -> Precondition {
    // 1. and 2. "If-Match … if false, respond 412"; without it "If-Unmodified-Since".
    if headers.contains_key(IF_MATCH) {
        let tags = etag::parse_list(headers.get_all(IF_MATCH));
        let holds = match (tags, &file.etag) {
            (Some(tags), Some(tag)) => tags.contains_strong(tag),
            (Some(tags), None) => tags == etag::EntityTagList::Any,
            (None, _) => false,
        };
        if !holds {
            return Precondition::Failed;
        }
    } else if let Some(since) = single_date(headers, &IF_UNMODIFIED_SINCE)
        && file.modified_second().is_some_and(|m| m > since)
    {
        return Precondition::Failed;
    }
    // 3. and 4. "If-None-Match … if false for GET/HEAD, respond 304"; without it "If-Modified-Since".
    if headers.contains_key(IF_NONE_MATCH) {
        let tags = etag::parse_list(headers.get_all(IF_NONE_MATCH));
        let matches = match (tags, &file.etag) {
            (Some(tags), Some(tag)) => tags.contains_weak(tag),
            (Some(tags), None) => tags == etag::EntityTagList::Any,
            (None, _) => false,
        };
        if matches {
            return Precondition::NotModified;
        }
    } else if let Some(since) = single_date(headers, &IF_MODIFIED_SINCE)
        && file.modified_second().is_some_and(|m| m <= since)
    {
        return Precondition::NotModified;
    }
    // 5. "Range and If-Range": see `range_applies`.
    Precondition::Holds
}

/// Whether `If-Range` lets `Range` apply (RFC 9110 §13.1.5). Only a strong validator does: parts of two versions
/// must not be put together. Whatever cannot be read gets the whole file, which is never wrong.
pub(super) fn range_applies(headers: &HeaderMap, file: &Validators) -> bool {
    let Some(value) = headers.get(IF_RANGE) else {
        return true;
    };
    if headers.get_all(IF_RANGE).iter().count() > 1 {
        return false;
    }
    if let Some(wanted) = EntityTag::parse(value.as_bytes()) {
        return file.etag.as_ref().is_some_and(|tag| tag.strong_eq(&wanted));
    }
    match (date::parse(value.as_bytes()), file.modified_second()) {
        // "exactly", and the date must be strong (§8.8.2.2): a file may change again within its second.
        (Some(wanted), Some(modified)) => {
            wanted == modified && clock::wall() >= modified + Duration::from_secs(2)
        }
        _ => false,
    }
}

/// The date of a field that stands there once and can be read; otherwise it is ignored (RFC 9110 §13.1.3).
fn single_date(headers: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    let mut lines = headers.get_all(name).iter();
    let date = date::parse(lines.next().map(HeaderValue::as_bytes)?)?;
    lines.next().is_none().then_some(date)
}

impl Validators {
    /// As `Last-Modified` shows it: without fractions.
    fn modified_second(&self) -> Option<SystemTime> {
        let since_epoch = self
            .modified?
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Some(UNIX_EPOCH + Duration::from_secs(since_epoch.as_secs()))
    }
}
