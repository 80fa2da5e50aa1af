//! Which preconditions of a request a representation that is here meets (RFC 9110 §13, RFC 9111 §4.3.2).
//!
//! Shared by stored responses and by files, which are both representations that this machine has itself. Absent on purpose:
//! `If-Match` and `If-Unmodified-Since`, which only an origin may evaluate (the file server does, a cache never).

use crate::fields::view::FieldView;
use crate::fields::{date, etag, etag::EntityTag};
use http::header::{HeaderName, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE};
use std::time::SystemTime;

/// What preconditions may compare.
#[derive(Debug, Clone, Default)]
pub struct Validators {
    /// The entity tag, where there is one that can be read.
    pub etag: Option<EntityTag>,
    /// What `If-Modified-Since` is compared with, to the second.
    pub changed: Option<SystemTime>,
    /// The date of the last modification to the second, where it is a strong validator (RFC 9110 §8.8.2.2).
    pub strong_date: Option<SystemTime>,
}

/// Whether a GET or HEAD is answered 304: steps 3 and 4 of RFC 9110 §13.2.2.
pub fn is_not_modified<'h>(headers: impl Into<FieldView<'h>>, validators: &Validators) -> bool {
    let headers = headers.into();
    // 3. "When If-None-Match is present, evaluate the If-None-Match precondition: … if false for GET/HEAD, respond 304"
    if headers.contains(&IF_NONE_MATCH) {
        return match (
            etag::parse_list(headers.get_all(&IF_NONE_MATCH)),
            &validators.etag,
        ) {
            // §13.1.2: "A recipient MUST use the weak comparison function"
            (Some(tags), Some(tag)) => tags.contains_weak(tag),
            // "`*` … false if the origin server has a current representation": there is one, even without a tag.
            (Some(tags), None) => tags == etag::EntityTagList::Any,
            (None, _) => false,
        };
    }
    // 4. "When the method is GET or HEAD, If-None-Match is not present, and If-Modified-Since is present"
    let since = single_date(headers, &IF_MODIFIED_SINCE);
    // §13.1.3: "false if the selected representation's last modification date is earlier or equal"
    since.is_some_and(|since| validators.changed.is_some_and(|changed| changed <= since))
}

/// Whether `If-Range` lets `Range` apply (RFC 9110 §13.1.5). Only a strong validator does: parts of two versions
/// must not be put together. Whatever cannot be read gets the whole, which is never wrong.
pub fn range_applies<'h>(headers: impl Into<FieldView<'h>>, validators: &Validators) -> bool {
    let mut lines = headers.into().get_all(&IF_RANGE);
    let Some(value) = lines.next() else {
        return true;
    };
    if lines.next().is_some() {
        return false;
    }
    if let Some(wanted) = EntityTag::parse(value) {
        let tag = validators.etag.as_ref();
        return tag.is_some_and(|tag| tag.strong_eq(&wanted));
    }
    // "If the HTTP-date validator provided is not a strong validator …, the condition is false"; it must "exactly match".
    let wanted = date::parse(value);
    wanted.is_some() && wanted == validators.strong_date
}

/// The date of a field that stands there once and can be read; otherwise it is ignored (RFC 9110 §13.1.3, §13.1.4).
pub fn single_date<'h>(headers: impl Into<FieldView<'h>>, name: &HeaderName) -> Option<SystemTime> {
    headers.into().single(name).and_then(date::parse)
}
