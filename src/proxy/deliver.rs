//! What changes in an answer on its way to the client, and how our own answers are made.

use super::accept::OPTIONS_HERE;
use super::entry::X_REQUEST_ID;
use super::walk::{Verdict, Walk};
use super::{cached, error_page};
use crate::routing::settings::HeaderEdits;
use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use pingora::Result;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::http::ServerSession;

/// What may be done with a header section, whether a request's or a response's.
pub trait Fields {
    /// Takes all fields of a name away.
    fn take_away(&mut self, name: &HeaderName);
    /// Puts one field in the place of all of its name.
    fn put(&mut self, name: &HeaderName, value: &HeaderValue) -> Result<()>;
}

impl Fields for RequestHeader {
    fn take_away(&mut self, name: &HeaderName) {
        self.remove_header(name);
    }

    fn put(&mut self, name: &HeaderName, value: &HeaderValue) -> Result<()> {
        self.insert_header(name.clone(), value.clone())
    }
}

impl Fields for ResponseHeader {
    fn take_away(&mut self, name: &HeaderName) {
        self.remove_header(name);
    }

    fn put(&mut self, name: &HeaderName, value: &HeaderValue) -> Result<()> {
        self.insert_header(name.clone(), value.clone())
    }
}

/// Applies a route's edits: first `remove`, then `set`.
pub fn edit(fields: &mut impl Fields, edits: &HeaderEdits) -> Result<()> {
    for name in &edits.remove {
        fields.take_away(name);
    }
    edits
        .set
        .iter()
        .try_for_each(|(name, value)| fields.put(name, value))
}

/// The changes to every final answer, the origin's and ours.
pub fn write_response(
    request: &RequestHeader,
    response: &mut ResponseHeader,
    walk: &mut Walk,
) -> Result<()> {
    if response.status.is_informational() {
        return Ok(());
    }
    walk.first_byte.get_or_insert_with(crate::clock::now);
    let Some(entered) = &walk.entered else {
        return Ok(());
    };
    if is_event_stream(response) {
        // Events come when they come; silence between them is not a fault.
        entered.ticket.set_terms(|terms| terms.between_bytes = None);
    }
    if let Some(errand) = &walk.errand {
        // The rest belongs to each client's answer.
        errand.note(walk);
        return Ok(());
    }
    cached::tell(response, walk)?;
    if entered.site.settings.via {
        response.append_header("Via", entered.site.via(response.version))?;
    }
    if !response.headers.contains_key(&X_REQUEST_ID) {
        response.insert_header("X-Request-Id", entered.id.as_str())?;
    }
    if let Some(route) = &walk.route {
        edit(response, &route.response_headers)?;
    }
    // The body that was not read may follow as the next request's bytes; the connection knows, this is only a hint.
    if response.status == http::StatusCode::PAYLOAD_TOO_LARGE && request.method != Method::HEAD {
        entered.ticket.close_after();
    }
    Ok(())
}

fn is_event_stream(response: &ResponseHeader) -> bool {
    response
        .headers
        .get(CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"text/event-stream"))
}

/// Sends an answer whose body is at hand.
pub async fn send(
    session: &mut ServerSession,
    walk: &mut Walk,
    mut response: ResponseHeader,
    body: Bytes,
) -> Result<()> {
    write_response(session.req_header(), &mut response, walk)?;
    session.write_response_header(Box::new(response)).await?;
    session.write_response_body(body, true).await
}

/// Sends an error answer, or another answer of our own that has no content.
pub async fn own_answer(
    session: &mut ServerSession,
    walk: &mut Walk,
    verdict: Verdict,
) -> Result<()> {
    own_answer_with(session, walk, verdict, HeaderMap::new()).await
}

/// As [`own_answer`], with fields that belong to it (`Allow`, `Content-Range`).
pub async fn own_answer_with(
    session: &mut ServerSession,
    walk: &mut Walk,
    verdict: Verdict,
    fields: HeaderMap,
) -> Result<()> {
    walk.verdict = Some(verdict);
    let mut response = ResponseHeader::build(verdict.status, Some(8))?;
    for (name, value) in &fields {
        response.append_header(name.clone(), value.clone())?;
    }
    if verdict == OPTIONS_HERE {
        response.insert_header(ALLOW, "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")?;
        return send(session, walk, response, Bytes::new()).await;
    }
    let operators = walk
        .route
        .as_ref()
        .and_then(|route| route.error_pages.get(&verdict.status.as_u16()));
    let site = walk.entered.as_ref().map(|entered| entered.site.clone());
    let page = match (operators, site) {
        (Some(path), Some(site)) => site.error_pages.load(path),
        _ => None,
    };
    let page = page.map_or_else(
        || {
            let id = walk
                .entered
                .as_ref()
                .map_or("", |entered| entered.id.as_str());
            let sentence = error_page::sentence(verdict.status);
            error_page::page(verdict.status, sentence, id, &session.req_header().headers)
        },
        |page| (*page).clone(),
    );
    response.insert_header(CONTENT_TYPE, page.content_type)?;
    response.insert_header(CONTENT_LENGTH, page.body.len())?;
    // RFC 9111 §4.2.2 lets caches keep some of these by heuristics; what is wrong now need not be wrong later.
    response.insert_header(CACHE_CONTROL, "no-store")?;
    if let Some(after) = verdict.retry_after {
        response.insert_header(RETRY_AFTER, after.as_secs())?;
    }
    send(session, walk, response, page.body).await
}
