//! What exactly is sent of a response that is here: all of it, the news that it has not changed, or ranges of it.
//!
//! [`plan`] decides, from a request and a [`StoredView`], which stored responses ([`StoredView::stored`]) and responses in
//! flight ([`StoredView::in_flight`]) both give. A front end then writes the status and fields of [`Plan::head`] (or applies
//! [`Plan::edits`] while it writes the stored lines) and the octets of [`Plan::body`]; of a response in flight, whose octets
//! are still coming, it follows [`Plan::pieces`].
//!
//! Absent on purpose: `If-Match` and `If-Unmodified-Since`, which are the origin's to evaluate (RFC 9111 §4.3.2), and
//! whether the response may be used at all, which [`policy`](super::policy) decides before.

pub mod conditions;
mod multipart;
pub mod ranges;
mod view;

pub use conditions::Validators;
pub use multipart::Multipart;
pub use view::{Arrival, Fields, Order, StoredView, strong_date, whole_seconds};

use super::body::Body;
use crate::fields::etag;
use crate::fields::range::{content_range, unsatisfied_range};
use crate::fields::view::{FieldView, Marks};
use bytes::Bytes;
use http::header::{
    CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, RANGE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use ranges::Wanted;
use std::ops::Range;

/// What is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan {
    /// The response as it is.
    Whole,
    /// Its status and fields, to HEAD.
    HeadOnly,
    /// 304: the client has it.
    NotModified,
    /// 206: one range of it.
    Part {
        /// The octets, the end exclusive.
        range: Range<u64>,
        /// Of the whole, where that is known.
        total: Option<u64>,
    },
    /// 206: several ranges of it.
    Parts(Multipart),
    /// 416: it is shorter than that.
    Unsatisfiable {
        /// Of the whole.
        total: u64,
    },
}

/// A piece of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Octets that the representation does not have: boundaries, and fields of parts.
    Frame(Bytes),
    /// These octets of the representation, the end exclusive.
    Octets(Range<u64>),
}

impl Piece {
    /// In octets.
    pub fn length(&self) -> u64 {
        match self {
            Self::Frame(frame) => frame.len() as u64,
            Self::Octets(range) => length_of(range),
        }
    }
}

/// Decides what is sent to a request that the response may be used for.
pub fn plan<'h>(method: &Method, headers: impl Into<FieldView<'h>>, view: &StoredView<'_>) -> Plan {
    let headers = headers.into();
    plan_by(method, headers, view, || view.validators_for(headers))
}

/// Whether the request names the very tag that the response has, and no other: nearly always a client gives it back as it was
/// given, and then nothing need be taken apart.
fn names_its_tag(headers: FieldView<'_>, view: &StoredView<'_>) -> bool {
    let named = headers.single(&IF_NONE_MATCH);
    named.is_some_and(|tag| etag::is_one(tag) && view.fields.single(&ETAG) == Some(tag))
}

/// The same, where the validators are known better than the fields tell them. They are asked for only when needed.
pub fn plan_by<'h>(
    method: &Method,
    headers: impl Into<FieldView<'h>>,
    view: &StoredView<'_>,
    validators: impl FnOnce() -> Validators,
) -> Plan {
    let headers = headers.into();
    let whole = match *method {
        Method::GET => Plan::Whole,
        Method::HEAD => Plan::HeadOnly,
        _ => return Plan::Whole,
    };
    // RFC 9111 §4.3.2: preconditions are evaluated by a cache for "a request that can be satisfied by reusing a stored 200
    // (OK) or 206 (Partial Content) response", and RFC 9110 §14.2 has `Range` apply to a 200 only.
    if view.status != StatusCode::OK || !has_conditions(headers) {
        return whole;
    }
    if names_its_tag(headers, view) {
        return Plan::NotModified;
    }
    let validators = validators();
    // RFC 9110 §13.2.2, 1. and 2.: `If-Match` and `If-Unmodified-Since` "are not applicable to a cache".
    // 3. and 4.: `If-None-Match`, and `If-Modified-Since` without it.
    if conditions::is_not_modified(headers, &validators) {
        return Plan::NotModified;
    }
    // §14.2: "A server MUST ignore a Range header field received with a request method that is unrecognized or for which
    // range handling is not defined. For this specification, GET is the only method". Of an unknown length no range can be
    // told from an unsatisfiable one.
    let (Plan::Whole, Some(length)) = (&whole, view.length) else {
        return whole;
    };
    // 5.: `Range` and `If-Range`.
    match ranges::wanted(headers, &validators, length) {
        Wanted::Whole => whole,
        Wanted::Unsatisfiable => Plan::Unsatisfiable { total: length },
        Wanted::Parts(mut parts) => {
            if view.order == Order::Ascending {
                // §15.3.7.2 has parts in the request's order only as a SHOULD; what streams by cannot be sent again.
                parts.sort_unstable_by_key(|part| part.start);
            }
            Plan::of_parts(parts, view, length)
        }
    }
}

/// Whether a request's fields could make anything of a response but the whole. Where not, [`plan`] need not be asked.
pub fn has_conditions(headers: FieldView<'_>) -> bool {
    const MARKS: Marks = Marks::of(&["range", "if-none-match", "if-modified-since"]);
    headers.may_have(MARKS)
        && [RANGE, IF_NONE_MATCH, IF_MODIFIED_SINCE]
            .iter()
            .any(|name| headers.contains(name))
}

impl Plan {
    fn of_parts(parts: Vec<Range<u64>>, view: &StoredView<'_>, length: u64) -> Self {
        if let [range] = parts.as_slice() {
            return Self::Part {
                range: range.clone(),
                total: Some(length),
            };
        }
        let content_type = view.fields.single(&CONTENT_TYPE);
        Self::Parts(Multipart::new(parts, content_type, length))
    }

    /// The status, where the response has this one.
    pub fn status(&self, stored: StatusCode) -> StatusCode {
        match self {
            Self::Whole | Self::HeadOnly => stored,
            Self::NotModified => StatusCode::NOT_MODIFIED,
            Self::Part { .. } | Self::Parts(_) => StatusCode::PARTIAL_CONTENT,
            Self::Unsatisfiable { .. } => StatusCode::RANGE_NOT_SATISFIABLE,
        }
    }

    /// The status and the fields, `Content-Length` included where it is known.
    pub fn head(&self, view: &StoredView<'_>) -> (StatusCode, HeaderMap) {
        let mut headers = view.fields.to_header_map();
        self.edits(view).apply(&mut headers);
        (self.status(view.status), headers)
    }

    /// What is different about the response's fields.
    pub fn edits(&self, view: &StoredView<'_>) -> Edits {
        match self {
            Self::Whole | Self::HeadOnly => Edits {
                keep: Keep::All,
                // A body that came without a length has one by now.
                set: view
                    .length
                    .filter(|_| has_length(view.status) && !view.fields.contains(&CONTENT_LENGTH))
                    .map(|length| vec![(CONTENT_LENGTH, length.into())])
                    .unwrap_or_default(),
            },
            Self::NotModified => Edits {
                keep: Keep::AllBut(not_on_304(view.fields.contains(&ETAG))),
                set: Vec::new(),
            },
            Self::Part { range, total } => Edits {
                keep: Keep::AllBut(NOT_ON_206),
                set: vec![
                    (CONTENT_RANGE, ascii(content_range(range, *total))),
                    (CONTENT_LENGTH, length_of(range).into()),
                ],
            },
            Self::Parts(multipart) => Edits {
                keep: Keep::AllBut(NOT_ON_206),
                set: vec![
                    (CONTENT_TYPE, multipart.content_type.clone()),
                    (CONTENT_LENGTH, multipart.length().into()),
                ],
            },
            // The representation's fields are not this answer's: its `Cache-Control` would have the 416 stored. A front end
            // that has a page for errors gives it its own length.
            Self::Unsatisfiable { total } => Edits {
                keep: Keep::Nothing,
                set: vec![
                    (CONTENT_RANGE, ascii(unsatisfied_range(*total))),
                    (CONTENT_LENGTH, 0.into()),
                ],
            },
        }
    }

    /// The length of the body that is sent, where the response's whole body has this one.
    pub fn length(&self, whole: Option<u64>) -> Option<u64> {
        match self {
            Self::Whole => whole,
            Self::HeadOnly | Self::NotModified | Self::Unsatisfiable { .. } => Some(0),
            Self::Part { range, .. } => Some(length_of(range)),
            Self::Parts(multipart) => Some(multipart.length()),
        }
    }

    /// What is sent, piece by piece. The whole has the length given; where that is not known, it ends beyond any end.
    pub fn pieces(&self, whole: Option<u64>) -> Vec<Piece> {
        match self {
            Self::Whole => vec![Piece::Octets(0..whole.unwrap_or(u64::MAX))],
            Self::HeadOnly | Self::NotModified | Self::Unsatisfiable { .. } => Vec::new(),
            Self::Part { range, .. } => vec![Piece::Octets(range.clone())],
            Self::Parts(multipart) => multipart.pieces.clone(),
        }
    }

    /// The octets that are sent, of a body that is all here.
    pub fn body<'a>(&self, body: &'a Body) -> impl Iterator<Item = Bytes> + Send + use<'a> {
        let pieces = self.pieces(Some(body.length()));
        pieces.into_iter().flat_map(move |piece| {
            let (frame, range) = match piece {
                Piece::Frame(frame) => (Some(frame), 0..0),
                Piece::Octets(range) => (None, range),
            };
            frame.into_iter().chain(body.slice(range))
        })
    }
}

/// What is different about fields that are sent: some are left out, and then some are set.
#[derive(Debug, Clone)]
pub struct Edits {
    keep: Keep,
    set: Vec<(HeaderName, HeaderValue)>,
}

#[derive(Debug, Clone, Copy)]
enum Keep {
    All,
    /// Names in lower case.
    AllBut(&'static [&'static str]),
    Nothing,
}

/// RFC 9110 §15.4.5: "a sender SHOULD NOT generate representation metadata other than the above listed fields unless … (e.g.,
/// Last-Modified might be useful if the response does not have an `ETag` field)". All other fields stay, for they say what the
/// 200 would have said (`Access-Control-Allow-Origin`, `Vary`, `Cache-Control`, …).
const NOT_ON_304: &[&str; 11] = &[
    "last-modified",
    "accept-ranges",
    "content-type",
    "content-encoding",
    "content-language",
    "content-length",
    "content-range",
    "content-digest",
    "content-md5",
    "repr-digest",
    "digest",
];

fn not_on_304(tagged: bool) -> &'static [&'static str] {
    let [_last_modified, others @ ..] = NOT_ON_304;
    if tagged { NOT_ON_304 } else { others }
}

/// Whether a 304 repeats a field, named in any case, of a response that has a tag or none.
pub fn is_on_304(name: &[u8], tagged: bool) -> bool {
    // They begin with a few letters, and most fields with others.
    !matches!(
        name,
        [
            b'a' | b'A' | b'c' | b'C' | b'd' | b'D' | b'l' | b'L' | b'r' | b'R',
            ..
        ]
    ) || !not_on_304(tagged)
        .iter()
        .any(|left_out| name.eq_ignore_ascii_case(left_out.as_bytes()))
}

/// What is about the body as it was sent, of which this is another (RFC 9530 §2, RFC 1864). All other fields stay, also to a
/// request with `If-Range`, where RFC 9110 §15.3.7 would have the sender leave out what the client has: caches on the way
/// may not have it.
const NOT_ON_206: &[&str] = &[
    "content-length",
    "content-range",
    "content-digest",
    "content-md5",
];

impl Edits {
    /// Whether a line of the response is sent, by its name in any case.
    pub fn keeps(&self, name: &[u8]) -> bool {
        let replaced = self
            .set
            .iter()
            .any(|(set, _)| name.eq_ignore_ascii_case(set.as_str().as_bytes()));
        !replaced
            && match self.keep {
                Keep::All => true,
                Keep::AllBut(names) => !names
                    .iter()
                    .any(|left_out| name.eq_ignore_ascii_case(left_out.as_bytes())),
                Keep::Nothing => false,
            }
    }

    /// The lines that are sent besides.
    pub fn set(&self) -> &[(HeaderName, HeaderValue)] {
        &self.set
    }

    /// Makes the edits.
    pub fn apply(self, headers: &mut HeaderMap) {
        match self.keep {
            Keep::All => {}
            Keep::AllBut(names) => {
                for name in names {
                    headers.remove(*name);
                }
            }
            Keep::Nothing => headers.clear(),
        }
        for (name, value) in self.set {
            headers.insert(name, value);
        }
    }
}

/// RFC 9110 §8.6: no `Content-Length` with 1xx and 204, nor one of no octets with 304.
fn has_length(status: StatusCode) -> bool {
    !status.is_informational()
        && status != StatusCode::NO_CONTENT
        && status != StatusCode::NOT_MODIFIED
}

fn length_of(range: &Range<u64>) -> u64 {
    range.end.saturating_sub(range.start)
}

pub(super) fn ascii(text: String) -> HeaderValue {
    HeaderValue::try_from(text).expect("what we write ourselves is visible ASCII and spaces")
}

#[cfg(test)]
mod tests;
