//! Writes what the cache has, or what a shared fetch brings, to one client.

use super::walk::{Verdict, Walk};
use super::{deliver, failure};
use crate::cache::fill::{Data, Follower, Head};
use crate::cache::response::StoredResponse;
use crate::clock;
use crate::listen::exchange::CLIENT_GONE;
use bytes::Bytes;
use http::header::{AGE, CONTENT_LENGTH};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use pingora::http::ResponseHeader;
use pingora::proxy::Session;
use pingora::{Error, ErrorType, Result};

/// The fetch broke off in the middle of the body.
const CUT: ErrorType = ErrorType::new("Cut");

/// Resolves when the client leaves; writes meanwhile what it takes.
pub async fn client_leaves(session: &mut Session) -> Box<Error> {
    let gone = session.as_mut().read_body_or_idle(true).await;
    gone.err().unwrap_or_else(|| Error::new_down(CLIENT_GONE))
}

/// Passes an interim response on.
pub async fn interim(session: &mut Session, status: StatusCode, fields: &HeaderMap) -> Result<()> {
    let mut response = ResponseHeader::build(status, Some(fields.len()))?;
    for (name, value) in fields {
        response.append_header(name.clone(), value.clone())?;
    }
    session
        .write_response_header(Box::new(response), false)
        .await
}

/// Sends a stored response.
pub async fn stored(session: &mut Session, walk: &mut Walk, stored: &StoredResponse) -> Result<()> {
    let mut response = ResponseHeader::build(stored.status, Some(16))?;
    for (name, value) in stored.fields.iter() {
        // What was stored was valid when it came.
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name), HeaderValue::from_bytes(value))
        {
            response.append_header(name, value)?;
        }
    }
    if let Some(seen) = &mut walk.seen {
        seen.age = Some(stored.terms.current_age(clock::now()));
    }
    if failure::replaced(session, walk, &response).await? {
        return Ok(());
    }
    response.insert_header(CONTENT_LENGTH, stored.body.length())?;
    deliver::write_response(session.req_header(), &mut response, walk)?;
    let bodiless = is_bodiless(session, stored.status);
    session
        .write_response_header(Box::new(response), false)
        .await?;
    if bodiless {
        return Ok(());
    }
    for segment in stored.body.segments() {
        session
            .write_response_body(Some(segment.clone()), false)
            .await?;
    }
    session.write_response_body(Some(Bytes::new()), true).await
}

/// Sends a response that is still coming.
pub async fn under_way(
    session: &mut Session,
    walk: &mut Walk,
    head: &Head,
    mut follower: Follower,
) -> Result<()> {
    let mut response = ResponseHeader::build(head.status, Some(head.fields.len() + 6))?;
    for (name, value) in &head.fields {
        response.append_header(name.clone(), value.clone())?;
    }
    age(walk, head);
    if failure::replaced(session, walk, &response).await? {
        return Ok(());
    }
    match head.length {
        Some(length) => response.insert_header(CONTENT_LENGTH, length)?,
        None => {
            response.remove_header(&CONTENT_LENGTH);
        }
    }
    deliver::write_response(session.req_header(), &mut response, walk)?;
    let bodiless = is_bodiless(session, head.status);
    session
        .write_response_header(Box::new(response), false)
        .await?;
    if bodiless {
        return Ok(());
    }
    loop {
        let data = tokio::select! {
            biased;
            data = follower.data() => data,
            gone = client_leaves(session) => return Err(gone),
        };
        match data {
            Data::Chunk(chunk) => session.write_response_body(Some(chunk), false).await?,
            Data::End => return session.write_response_body(Some(Bytes::new()), true).await,
            // The connection sees an answer that is not whole, and makes the cut visible.
            Data::Cut => {
                let failed = walk
                    .seen
                    .as_ref()
                    .and_then(|it| it.errand.as_ref()?.failure());
                walk.verdict = Some(failed.map_or(
                    Verdict::new(StatusCode::BAD_GATEWAY, "upstream-reset"),
                    failure::verdict_of,
                ));
                return Err(Error::new_up(CUT));
            }
        }
    }
}

/// What is shared is as old as its `Age` and the time since it came (RFC 9111 §4: what answers several requests is reused by
/// all but one). To the one that caused the fetch it is as old as the origin says.
fn age(walk: &mut Walk, head: &Head) {
    if let (Some(seen), Some(terms)) = (&mut walk.seen, &head.terms)
        && (seen.outcome.collapsed || head.fields.contains_key(AGE))
    {
        seen.age = Some(terms.current_age(clock::now()));
    }
}

fn is_bodiless(session: &Session, status: StatusCode) -> bool {
    session.req_header().method == Method::HEAD
        || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}
