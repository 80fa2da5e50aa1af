//! What changes in an answer on its way to the client, and how our own answers are made.

use super::accept::{METHODS, OPTIONS_HERE};
use super::entry::X_REQUEST_ID;
use super::session::Session;
use super::walk::{Verdict, Walk};
use super::{admit, cached, error_page};
use crate::fields::section::HeaderSection;
use crate::fields::view::FieldView;
use crate::listen::exchange::head::ResponseHead;
use crate::routing::settings::HeaderEdits;
use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, VIA};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use pingora::Result;
use pingora::http::RequestHeader;

/// What may be done with a header section, whether it is written by us or by Pingora.
pub trait Fields {
    /// To be looked up in.
    fn view(&self) -> FieldView<'_>;
    /// Takes all fields of a name away.
    fn take_away(&mut self, name: &HeaderName);
    /// Puts one field in the place of all of its name.
    fn put(&mut self, name: &HeaderName, value: &HeaderValue) -> Result<()>;
    /// The same for text.
    fn put_text(&mut self, name: &HeaderName, text: &str) -> Result<()>;
    /// One field more.
    fn add(&mut self, name: &HeaderName, value: &HeaderValue) -> Result<()>;
    /// The same for text.
    fn add_text(&mut self, name: &HeaderName, text: &str) -> Result<()>;
}

impl Fields for RequestHeader {
    fn view(&self) -> FieldView<'_> {
        (&self.headers).into()
    }

    fn take_away(&mut self, name: &HeaderName) {
        self.remove_header(name);
    }

    fn put(&mut self, name: &HeaderName, value: &HeaderValue) -> Result<()> {
        self.insert_header(name.clone(), value.clone())
    }

    fn put_text(&mut self, name: &HeaderName, text: &str) -> Result<()> {
        self.insert_header(name.clone(), text)
    }

    fn add(&mut self, name: &HeaderName, value: &HeaderValue) -> Result<()> {
        self.append_header(name.clone(), value.clone()).map(|_| ())
    }

    fn add_text(&mut self, name: &HeaderName, text: &str) -> Result<()> {
        self.append_header(name.clone(), text).map(|_| ())
    }
}

impl Fields for HeaderSection {
    fn view(&self) -> FieldView<'_> {
        self.into()
    }

    fn take_away(&mut self, name: &HeaderName) {
        self.remove(name);
    }

    fn put(&mut self, name: &HeaderName, value: &HeaderValue) -> Result<()> {
        self.insert(name, value);
        Ok(())
    }

    fn put_text(&mut self, name: &HeaderName, text: &str) -> Result<()> {
        self.insert_text(name, text);
        Ok(())
    }

    fn add(&mut self, name: &HeaderName, value: &HeaderValue) -> Result<()> {
        self.append(name, value);
        Ok(())
    }

    fn add_text(&mut self, name: &HeaderName, text: &str) -> Result<()> {
        self.append_text(name, text);
        Ok(())
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
    response: &mut ResponseHead,
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
    cached::tell(response, walk);
    cached::withhold(response, walk);
    if entered.site.settings.via {
        let via = entered.site.via(response.version);
        response.fields.append(&VIA, via);
    }
    if !response.fields.contains(&X_REQUEST_ID) {
        response.fields.append_text(&X_REQUEST_ID, &entered.id);
    }
    admit::add_fields(request, response, walk);
    if let Some(route) = &walk.route {
        edit(&mut response.fields, &route.response_headers)?;
    }
    // The body that was not read may follow as the next request's bytes; the connection knows, this is only a hint.
    if response.status == http::StatusCode::PAYLOAD_TOO_LARGE && request.method != Method::HEAD {
        entered.ticket.close_after();
    }
    Ok(())
}

fn is_event_stream(response: &ResponseHead) -> bool {
    response
        .fields
        .get(&CONTENT_TYPE)
        .is_some_and(|value| value.starts_with(b"text/event-stream"))
}

/// Sends an answer whose body is at hand.
pub async fn send(
    session: &mut impl Session,
    walk: &mut Walk,
    mut response: ResponseHead,
    body: Bytes,
) -> Result<()> {
    write_response(session.req_header(), &mut response, walk)?;
    session.send(response, body).await
}

/// Sends an error answer, or another answer of our own that has no content.
pub async fn own_answer(
    session: &mut impl Session,
    walk: &mut Walk,
    verdict: Verdict,
) -> Result<()> {
    own_answer_with(session, walk, verdict, HeaderMap::new()).await
}

/// As [`own_answer`], with fields that belong to it (`Allow`, `Content-Range`).
pub async fn own_answer_with(
    session: &mut impl Session,
    walk: &mut Walk,
    verdict: Verdict,
    fields: HeaderMap,
) -> Result<()> {
    let (response, body) = own_response(session.req_header(), walk, verdict, &fields);
    // In a box: it may come to this at every stop, and each would make room for it.
    Box::pin(send(session, walk, response, body)).await
}

fn own_response(
    request: &RequestHeader,
    walk: &mut Walk,
    verdict: Verdict,
    fields: &HeaderMap,
) -> (ResponseHead, Bytes) {
    walk.verdict = Some(verdict);
    let mut response = ResponseHead::new(verdict.status, HeaderSection::from(fields));
    let answer = &mut response.fields;
    if verdict == OPTIONS_HERE {
        answer.insert_text(&ALLOW, METHODS);
        return (response, Bytes::new());
    }
    let operators = walk
        .route
        .as_ref()
        .and_then(|route| route.error_pages.get(&verdict.status.as_u16()));
    let entered = walk.entered.as_ref();
    let page = match (operators, entered) {
        (Some(path), Some(entered)) => entered.site.error_pages.load(path),
        _ => None,
    };
    let page = page.map_or_else(
        || {
            let id = entered.map_or("", |entered| entered.id.as_str());
            let sentence = error_page::sentence(verdict.status);
            error_page::page(verdict.status, sentence, id, &request.headers)
        },
        |page| (*page).clone(),
    );
    answer.insert(&CONTENT_TYPE, &page.content_type);
    answer.insert_number(&CONTENT_LENGTH, page.body.len() as u64);
    // RFC 9111 §4.2.2 lets caches keep some of these by heuristics; what is wrong now need not be wrong later.
    answer.insert_text(&CACHE_CONTROL, "no-store");
    if let Some(after) = verdict.retry_after {
        answer.insert_number(&RETRY_AFTER, after.as_secs());
    }
    (response, page.body)
}
