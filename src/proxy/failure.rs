//! A try failed: once more, or what is the client told?

use super::deliver;
use super::forward::{STALE, is_clients_fault};
use super::session::Session;
use super::walk::{Verdict, Walk};
use crate::cache::fill::Failure;
use crate::fields::content_length::{self, ContentLength};
use crate::fields::list;
use crate::fields::range::{ContentRange, parse_content_range};
use crate::listen::exchange::head::ResponseHead;
use crate::listen::exchange::{
    ANSWERED_EARLY, BODY_MALFORMED, BODY_TOO_LARGE, CLIENT_GONE, CLIENT_SILENT, CLIENT_SLOW,
    UPSTREAM_SILENT,
};
use crate::routing::settings::RouteSettings;
use crate::upstream::{self, FailureKind, RetryQuestion};
use http::header::{
    ALLOW, CONTENT_LENGTH, CONTENT_RANGE, IF_MODIFIED_SINCE, IF_NONE_MATCH, RANGE, RETRY_AFTER,
    TRANSFER_ENCODING, UPGRADE, WWW_AUTHENTICATE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use pingora::proxy::FailToProxy;
use pingora::{Error, ErrorType, Result};

/// The answer of an application that is starting, where the route says that it is one.
const STARTING: ErrorType = ErrorType::new("Starting");

/// An answer that the operator's error page takes the place of.
const REPLACED: ErrorType = ErrorType::new("Replaced");

/// What such an answer keeps: a 401 must say how to authenticate (RFC 9110 §15.5.2), a 405 what is allowed (§15.5.6), and
/// a 503 may say when to come back (§10.2.3).
static KEPT: [HeaderName; 3] = [WWW_AUTHENTICATE, ALLOW, RETRY_AFTER];

/// Interim responses (1xx) that are relayed for one request; more is a flood.
const INTERIM_MAX: u32 = 32;

/// Looks at an answer's head before anything of it reaches the client.
pub fn judge_answer(
    session: &impl Session,
    response: &ResponseHead,
    walk: &mut Walk,
) -> Result<()> {
    let (Some(forwarding), Some(route)) = (&mut walk.forwarding, &walk.route) else {
        return Ok(());
    };
    let status = response.status;
    if status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS {
        walk.interim += 1;
        if walk.interim > INTERIM_MAX {
            return Err(Error::explain(
                ErrorType::InvalidHTTPHeader,
                "more interim responses than anyone needs",
            ));
        }
        return Ok(());
    }
    // A fetch knows by itself what a 304 is about.
    let is_ours = walk.errand.is_some();
    let unasked =
        || unasked(session, response).filter(|_| !is_ours || status != StatusCode::NOT_MODIFIED);
    if let Some(fault) = malformed(session, response).or_else(unasked) {
        return Err(Error::explain(ErrorType::InvalidHTTPHeader, fault));
    }
    forwarding.status = Some(status);
    if route.hold_on.contains(&status)
        && question(session).idempotent
        && question(session).replayable
        && forwarding.claim.hold_again(status).is_ok()
    {
        return Err(Error::explain(STARTING, format!("answered {status}")));
    }
    forwarding.claim.answered(status);
    // What is shared is replaced for each client by itself: it may be stored, and the page may change.
    if walk.errand.is_none() && route.error_pages.contains_key(&status.as_u16()) {
        walk.verdict = Some(Verdict::new(status, "error-page"));
        walk.kept = kept(response);
        return Err(Error::explain(REPLACED, format!("answered {status}")));
    }
    Ok(())
}

fn kept(response: &ResponseHead) -> HeaderMap {
    let mut kept = HeaderMap::new();
    for name in &KEPT {
        let values = response.fields.get_all(name);
        kept.extend(values.filter_map(|value| {
            let value = HeaderValue::from_bytes(value).ok()?;
            Some((name.clone(), value))
        }));
    }
    kept
}

/// Sends the operator's error page in the place of an answer that the cache brought, where the route has one. True when it
/// did.
pub async fn replaced(
    session: &mut impl Session,
    walk: &mut Walk,
    response: &ResponseHead,
) -> Result<bool> {
    let status = response.status;
    let pages = |route: &RouteSettings| route.error_pages.contains_key(&status.as_u16());
    if !walk.route.as_deref().is_some_and(pages) {
        return Ok(false);
    }
    let verdict = Verdict::new(status, "error-page");
    deliver::own_answer_with(session, walk, verdict, kept(response)).await?;
    Ok(true)
}

/// What a client is told where the fetch that it followed has failed.
pub fn verdict_of(failure: Failure) -> Verdict {
    Verdict {
        status: failure.status,
        reason: failure.word,
        retry_after: failure.retry_after,
    }
}

/// What an answer's head holds that Pingora lets through and a client must not have to make sense of.
fn malformed(session: &impl Session, response: &ResponseHead) -> Option<&'static str> {
    if response.status == StatusCode::SWITCHING_PROTOCOLS && !session.is_upgrade_req() {
        return Some("a switch of protocols that nobody asked for");
    }
    // Nothing else is asked for, and our own head will say that it is this.
    if response.status == StatusCode::SWITCHING_PROTOCOLS
        && !list::contains_token(response.fields.get_all(&UPGRADE), "websocket")
    {
        return Some("a switch to another protocol than was asked for");
    }
    // A list that says the same twice is one number to some, and none to others.
    if !matches!(
        content_length::parse(response.fields.get_all(&CONTENT_LENGTH)),
        Ok(ContentLength::Absent | ContentLength::Once(_))
    ) {
        return Some("a content-length that is not one number");
    }
    let mut codings = response.fields.get_all(&TRANSFER_ENCODING);
    match (codings.next(), codings.next()) {
        (None, _) => None,
        (Some(coding), None) if coding.eq_ignore_ascii_case(b"chunked") => None,
        (Some(_), _) => Some("a transfer coding other than `chunked`"),
    }
}

/// Why it answers something else than what was asked. To other methods either says that there is nothing to do, or what else the
/// application agreed on with its clients.
fn unasked(session: &impl Session, response: &ResponseHead) -> Option<&'static str> {
    let request = session.req_header();
    if !matches!(request.method, Method::GET | Method::HEAD) {
        return None;
    }
    let asked = &request.headers;
    match response.status {
        StatusCode::NOT_MODIFIED
            if !asked.contains_key(IF_NONE_MATCH) && !asked.contains_key(IF_MODIFIED_SINCE) =>
        {
            Some("a 304 to a request without conditions")
        }
        // One that is all there is harms nobody, and is what some servers of media send.
        StatusCode::PARTIAL_CONTENT if !asked.contains_key(RANGE) && !is_whole(response) => {
            Some("a part that was not asked for")
        }
        _ => None,
    }
}

/// Whether a 206 carries all octets.
fn is_whole(response: &ResponseHead) -> bool {
    let mut said = response.fields.get_all(&CONTENT_RANGE);
    let said = said.next().filter(|_| said.next().is_none());
    let Some(ContentRange::Bytes { range, length }) = said.and_then(parse_content_range) else {
        return false;
    };
    range.start == 0 && length == Some(range.end)
}

/// Whether a final head was given to the client. A switch of protocols is one (RFC 9110 §15.2.2): behind it an answer of ours would
/// be read as the other protocol's.
fn has_begun(session: &impl Session) -> bool {
    session.answered().is_some_and(|status| {
        !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS
    })
}

fn question(session: &impl Session) -> RetryQuestion {
    RetryQuestion {
        // RFC 9110 §9.2.2.
        idempotent: matches!(
            session.req_header().method,
            Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE
        ) && !session.is_upgrade_req(),
        replayable: !session.retry_buffer_truncated(),
    }
}

/// The connect failed; nothing was sent, so trying again is always right. Where nobody is left, that is waiting.
pub fn connect_failed(walk: &mut Walk, mut error: Box<Error>) -> Box<Error> {
    if let Some(forwarding) = &mut walk.forwarding {
        let (failure, complaint) = upstream::pingora::connect_failure(&error);
        forwarding.claim.connect_failed(failure, &complaint);
        let question = RetryQuestion {
            idempotent: true,
            replayable: true,
        };
        error.set_retry(forwarding.claim.may_retry(question).is_ok());
    }
    error
}

/// The try failed behind the connect.
pub fn try_failed(
    session: &impl Session,
    walk: &mut Walk,
    mut error: Box<Error>,
    reused: bool,
) -> Box<Error> {
    error.set_retry(false);
    let Some(forwarding) = &mut walk.forwarding else {
        return error;
    };
    if is_clients_fault(&error) {
        return error;
    }
    let begun = has_begun(session);
    if *error.etype() == REPLACED {
        return error;
    }
    if *error.etype() == STARTING {
        error.set_retry(true);
        return error;
    }
    let unsent = *error.etype() == STALE;
    let kind = match error.etype() {
        _ if unsent => FailureKind::StaleConnection,
        _ if reused && !begun && forwarding.status.is_none() && is_dead_connection(&error) => {
            FailureKind::StaleConnection
        }
        ErrorType::ReadTimedout | ErrorType::WriteTimedout => FailureKind::Timeout,
        other if *other == UPSTREAM_SILENT => FailureKind::Timeout,
        ErrorType::InvalidHTTPHeader | ErrorType::InvalidH2 => FailureKind::Malformed,
        _ => FailureKind::Reset,
    };
    forwarding.claim.failed(kind);
    let total_is_over = walk
        .entered
        .as_ref()
        .and_then(|entered| entered.ticket.terms().total)
        .is_some_and(|total| crate::clock::now() >= total);
    let mut question = question(session);
    question.idempotent |= unsent;
    error.set_retry(!begun && !total_is_over && forwarding.claim.may_retry(question).is_ok());
    error
}

/// Whether a kept connection turned out to be closed, as opposed to slow or talking nonsense. A stream that an HTTP/2
/// server resets is not that: its connection lives.
fn is_dead_connection(error: &Error) -> bool {
    matches!(
        error.etype(),
        ErrorType::ConnectionClosed | ErrorType::ReadError | ErrorType::WriteError
    )
}

/// Tells the client, where nothing of an answer is out yet.
pub async fn tell_client(
    session: &mut impl Session,
    walk: &mut Walk,
    error: &Error,
) -> FailToProxy {
    let verdict = walk.verdict.unwrap_or_else(|| verdict_on(error));
    walk.verdict = Some(verdict);
    let told = FailToProxy {
        error_code: verdict.status.as_u16(),
        can_reuse_downstream: false,
    };
    if let Some(errand) = &walk.errand {
        errand.note(walk);
        // What nobody wanted any more has not failed.
        if *error.etype() != CLIENT_GONE {
            errand.failed(verdict);
        }
        return told;
    }
    let begun = has_begun(session);
    if !begun && *error.etype() != CLIENT_GONE {
        if is_clients_fault(error)
            && let Some(entered) = &walk.entered
        {
            // What is left of a body that is too large, too slow or broken cannot be told from a next request.
            entered.ticket.close_after();
        }
        // A client that is gone by now needs no answer; nobody is left to be told.
        let kept = std::mem::take(&mut walk.kept);
        let _ = deliver::own_answer_with(session, walk, verdict, kept).await;
    }
    told
}

/// nginx's word and number for a client that left before it was answered; in the log only.
const CLIENT_CLOSED_REQUEST: u16 = 499;

fn verdict_on(error: &Error) -> Verdict {
    let (status, reason) = match error.etype() {
        other if *other == UPSTREAM_SILENT => (504, "upstream-timeout"),
        other if *other == CLIENT_SILENT => (408, "body-timeout"),
        other if *other == CLIENT_SLOW => (408, "body-slow"),
        other if *other == ANSWERED_EARLY => (413, "answered-early"),
        other if *other == BODY_TOO_LARGE => (413, "body-too-large"),
        other if *other == BODY_MALFORMED => (400, "chunk"),
        other if *other == CLIENT_GONE => (CLIENT_CLOSED_REQUEST, "client-gone"),
        other if *other == STARTING => (503, "starting"),
        ErrorType::ReadTimedout | ErrorType::WriteTimedout => (504, "upstream-timeout"),
        ErrorType::HTTPStatus(status) => (*status, "refused"),
        ErrorType::ConnectRefused
        | ErrorType::ConnectTimedout
        | ErrorType::ConnectNoRoute
        | ErrorType::ConnectError
        | ErrorType::SocketError => (502, "connect"),
        ErrorType::TLSHandshakeFailure
        | ErrorType::TLSHandshakeTimedout
        | ErrorType::InvalidCert
        | ErrorType::HandshakeError => (502, "upstream-tls"),
        ErrorType::InvalidHTTPHeader | ErrorType::InvalidH2 => (502, "upstream-malformed"),
        ErrorType::InternalError => (500, "internal"),
        _ => (502, "upstream-reset"),
    };
    Verdict::new(
        StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY),
        reason,
    )
}
