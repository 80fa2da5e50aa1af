//! The door of the control plane: which call is meant, whether it may be made, and what it was given.

use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use http::header::{ALLOW, EXPECT, WWW_AUTHENTICATE};
use http::{HeaderValue, Request, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Body;
use serde_json::json;
use tokio::time::timeout;

use super::access::{Access, Need, Refusal};
use super::answer::{self, Answer, Failure};
use super::asked::{Asked, Desk, Query};
use super::calls::{CALLS, Call};
use crate::telemetry::seldom::Seldom;

/// A request body of a call, at most. No call needs more than a few hundred names.
const BODY_MAX: usize = 64 * 1024;
/// Of a body that is larger, this much is read and forgotten: a caller that is still sending would not see the answer.
const BODY_SPARED: usize = 64 * 1024 * 1024;
/// The time a caller has to send it.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Answers one request. Never fails: what goes wrong is an answer too.
pub(super) async fn answer<B>(request: Request<B>, access: &Access, desk: &Desk) -> Answer
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Send,
{
    let (head, body) = request.into_parts();
    let path = head.uri.path();
    let call = CALLS.iter().find(|call| call.path == path);
    // Strangers do not learn which paths there are.
    let need = call.map_or(Need::Read, |call| call.need);
    let admitted = match access.admit(need, &head.method, &head.headers) {
        Ok(admitted) => admitted,
        Err(refusal) => {
            static TOLD: Seldom = Seldom::new();
            if TOLD.is_time() {
                tracing::warn!(path, %refusal, "refused a call of the admin listener");
            }
            return refused(&refusal);
        }
    };
    let Some(call) = call else {
        return unknown(path);
    };
    if !call.allows(&head.method) {
        return wrong_method(call, head.method.as_str());
    }
    let query = Query::read(head.uri.query().unwrap_or_default());
    if !call.by_post {
        let asked = Asked::new(query, Bytes::new(), admitted, desk);
        return call.answer(asked).await.unwrap_or_else(Answer::from);
    }
    let (waits, desk) = (head.headers.contains_key(EXPECT), desk.clone());
    // In a task of its own: a caller that hangs up must not stop a reload halfway, or a purge that it has asked for.
    let answering = tokio::spawn(async move {
        let body = received(body, waits).await?;
        call.answer(Asked::new(query, body, admitted, &desk)).await
    });
    match answering.await {
        Ok(outcome) => outcome.unwrap_or_else(Answer::from),
        Err(panic) => {
            let text = panic.to_string();
            Failure::new(StatusCode::INTERNAL_SERVER_ERROR, text).into()
        }
    }
}

/// Reads a body to its end. `waits` is for a caller that sends it only when it is told to.
async fn received<B>(body: B, waits: bool) -> Result<Bytes, Failure>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Send,
{
    let too_large = |pieces| {
        if !waits {
            tokio::spawn(timeout(BODY_TIMEOUT, forget(pieces)));
        }
        let text = format!("the request body is larger than {BODY_MAX} bytes; make several calls");
        Failure::new(StatusCode::PAYLOAD_TOO_LARGE, text)
    };
    let declared = body.size_hint().lower();
    let mut pieces = Box::pin(body.into_data_stream());
    if declared > BODY_MAX as u64 {
        return Err(too_large(pieces));
    }
    let mut kept = Vec::new();
    let reading = async {
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|_| Failure::bad("the request body is malformed"))?;
            if kept.len() + piece.len() > BODY_MAX {
                return Ok(false);
            }
            kept.extend_from_slice(&piece);
        }
        Ok(true)
    };
    match timeout(BODY_TIMEOUT, reading).await {
        Ok(Ok(true)) => Ok(kept.into()),
        Ok(Ok(false)) => Err(too_large(pieces)),
        Ok(Err(failure)) => Err(failure),
        Err(_) => {
            let within = BODY_TIMEOUT.as_secs();
            let text = format!("the request body did not arrive within {within} s");
            Err(Failure::new(StatusCode::REQUEST_TIMEOUT, text))
        }
    }
}

/// Takes the rest of a body from the wire, as far as can be afforded: a caller that sends all of it before it reads would
/// find the connection reset, and the answer gone.
async fn forget<E>(mut pieces: impl Stream<Item = Result<Bytes, E>> + Unpin) {
    let mut left = BODY_SPARED;
    while let Some(Ok(piece)) = pieces.next().await {
        match left.checked_sub(piece.len()) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}

fn refused(refusal: &Refusal) -> Answer {
    let mut answer = Answer::from(Failure::new(refusal.status(), refusal.to_string()));
    if refusal.status() == StatusCode::UNAUTHORIZED {
        let bearer = HeaderValue::from_static("Bearer");
        answer.headers_mut().insert(WWW_AUTHENTICATE, bearer);
    }
    answer
}

fn unknown(path: &str) -> Answer {
    let paths = CALLS.iter();
    let paths: Vec<String> = paths
        .map(|call| format!("{} {}", call.allow(), call.path))
        .collect();
    let value = json!({ "error": format!("no such path `{path}`"), "paths": paths });
    answer::json_with(StatusCode::NOT_FOUND, &value)
}

fn wrong_method(call: &Call, method: &str) -> Answer {
    let (path, allow) = (call.path, call.allow());
    let text = format!("`{path}` is called by {allow}, not {method}");
    let mut answer = Answer::from(Failure::new(StatusCode::METHOD_NOT_ALLOWED, text));
    let allow = HeaderValue::from_static(allow);
    answer.headers_mut().insert(ALLOW, allow);
    answer
}
