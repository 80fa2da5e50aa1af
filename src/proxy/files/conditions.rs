//! The preconditions that only an origin evaluates: steps 1 and 2 of RFC 9110 §13.2.2, for a file that exists.

use crate::cache::serve::Validators;
use crate::cache::serve::conditions::single_date;
use crate::fields::etag;
use http::HeaderMap;
use http::header::{IF_MATCH, IF_UNMODIFIED_SINCE};

/// Whether the request is answered 412.
pub(super) fn is_failed(headers: &HeaderMap, file: &Validators) -> bool {
    // 1. "If-Match … if false, respond 412"
    if headers.contains_key(IF_MATCH) {
        let tags = etag::parse_list(headers.get_all(IF_MATCH));
        return !match (tags, &file.etag) {
            (Some(tags), Some(tag)) => tags.contains_strong(tag),
            (Some(tags), None) => tags == etag::EntityTagList::Any,
            (None, _) => false,
        };
    }
    // 2. Without it "If-Unmodified-Since".
    let since = single_date(headers, &IF_UNMODIFIED_SINCE);
    since.is_some_and(|since| file.changed.is_some_and(|changed| changed > since))
}
