//! What an answer of the control plane is made of: a text, a value, or a stream of events; or why there is none.

use std::convert::Infallible;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use serde::Serialize;
use serde_json::json;

/// An answer; its body may be whole or still in the making.
pub(super) type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// Pages of other sites may not have it as a part of theirs, not even as an image.
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// Why a call is not answered as it was meant. The text is for the person who made it: what was found, what was
/// expected, and the remedy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) status: StatusCode,
    pub(super) text: String,
}

impl Failure {
    /// A failure with its text.
    pub(super) fn new(status: StatusCode, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { status, text }
    }

    /// 400: the caller's mistake.
    pub(super) fn bad(text: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, text)
    }
}

impl From<Failure> for Answer {
    fn from(failure: Failure) -> Self {
        json_with(failure.status, &json!({ "error": failure.text }))
    }
}

/// 200 with a value.
pub(super) fn json(value: &impl Serialize) -> Answer {
    json_with(StatusCode::OK, value)
}

/// A value with another status.
pub(super) fn json_with(status: StatusCode, value: &impl Serialize) -> Answer {
    // What is answered are plain structures, which always have a JSON form.
    let mut text = serde_json::to_string_pretty(value).unwrap_or_default();
    text.push('\n');
    let mut answer = text_of("application/json", text);
    *answer.status_mut() = status;
    answer
}

/// 200 with a text of any type, a page's included.
pub(super) fn text_of(content_type: &'static str, text: impl Into<Bytes>) -> Answer {
    answer(content_type, Full::new(text.into()).boxed_unsync())
}

/// 200 with what comes of `pieces`, each sent as it comes. [`super::asked::Asked::stream`] is how a call makes one.
pub(super) fn stream_of(
    content_type: &'static str,
    pieces: impl Stream<Item = Bytes> + Send + 'static,
) -> Answer {
    let frames = pieces.map(|piece| Ok(Frame::data(piece)));
    answer(content_type, StreamBody::new(frames).boxed_unsync())
}

fn answer(content_type: &'static str, body: UnsyncBoxBody<Bytes, Infallible>) -> Answer {
    let mut answer = Response::new(body);
    let fields = answer.headers_mut();
    for (name, value) in [
        (CONTENT_TYPE, content_type),
        (CACHE_CONTROL, "no-store"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (RESOURCE_POLICY, "same-origin"),
    ] {
        fields.insert(name, HeaderValue::from_static(value));
    }
    answer
}
