//! Codes what passes: the content of a response that the origin sent as it is and that is this client's alone, for a client
//! that takes it coded: forwarded ([`begin`]), or fetched and found to be for nobody else ([`relay`](super::relay)). What is
//! being stored goes to all who follow it as it comes, whatever they take: to code it for each would be the work that a cache
//! is to spare, and its coded forms are made once, of what is stored.
//!
//! The encoder runs on the data thread, between two reads: a piece is at most the 64 KiB that Pingora reads at a time, which
//! costs 0.3 ms (`zstd`) to 2 ms (`br`), less than handing it to another thread and back would delay a page. Each read is
//! flushed, so a page that is streamed stays streamed.
//!
//! Not coded, besides what [`compressible`](crate::coding::compressible) leaves alone: answers to HTTP/1.0, where a coded body
//! could only end with the connection and its cut would not be seen; tunnels; and more than [`AT_ONCE`] at a time, because
//! an encoder is memory that any client can make us hold. Those get it as it came.

use super::deliver::Fields;
use super::walk::Walk;
use crate::coding::encoder::{Effort, Encoder};
use crate::coding::fields::{self, Changes};
use crate::coding::{Coding, Plan};
use crate::listen::exchange::head::ResponseHead;
use crate::listen::exchange::response_head::declared_length;
use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Method, StatusCode, Version};
use pingora::http::RequestHeader;
use pingora::{Error, ErrorType, Result};
use prometheus_client::metrics::gauge::Gauge;
use std::io;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Encoders at once, of all requests of a site: at most some 120 MiB, where all of them are at `br`.
pub const AT_ONCE: usize = 64;

/// The encoder of one response under way.
#[derive(Debug)]
pub struct BodyCoder {
    encoder: Encoder,
    _place: Place,
}

/// Places for encoders. Clones are the same ones.
#[derive(Debug, Clone)]
pub struct Places {
    free: Arc<Semaphore>,
    busy: Gauge,
}

/// One of them, taken.
#[derive(Debug)]
struct Place {
    busy: Gauge,
    _permit: OwnedSemaphorePermit,
}

impl Places {
    /// So many; `busy` counts those that are taken.
    pub fn new(places: usize, busy: Gauge) -> Self {
        Self {
            free: Arc::new(Semaphore::new(places)),
            busy,
        }
    }

    fn take(&self) -> Option<Place> {
        let permit = self.free.clone().try_acquire_owned().ok()?;
        self.busy.inc();
        Some(Place {
            busy: self.busy.clone(),
            _permit: permit,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.busy.dec();
    }
}

impl BodyCoder {
    fn new(coding: Coding, places: &Places) -> Option<Self> {
        let place = places.take()?;
        let encoder = Encoder::new(coding, Effort::Passing).ok()?;
        Some(Self {
            encoder,
            _place: place,
        })
    }

    /// A piece in, all that can be decoded of it out.
    fn piece(&mut self, piece: &[u8]) -> io::Result<Bytes> {
        let first = self.encoder.push(piece)?;
        let rest = self.encoder.flush()?;
        Ok(joined(first, rest))
    }

    /// The last piece in, the rest out.
    fn last(mut self, piece: &[u8]) -> io::Result<Bytes> {
        let first = self.encoder.push(piece)?;
        let rest = self.encoder.finish()?;
        Ok(joined(first, rest))
    }
}

fn joined(first: Bytes, rest: Bytes) -> Bytes {
    if first.is_empty() {
        return rest;
    }
    [first, rest].concat().into()
}

/// Decides about a forwarded response, and changes its head accordingly. Before the operator's own edits.
pub fn begin(request: &RequestHeader, response: &mut ResponseHead, walk: &mut Walk) -> Result<()> {
    let Some(places) = places(walk) else {
        return Ok(());
    };
    if response.status == StatusCode::NOT_MODIFIED {
        return not_modified(request, response, walk);
    }
    let plan = Plan::new(
        &request.headers,
        response.status,
        &response.fields,
        declared_length(response),
        &Coding::BY_SPEED,
    );
    match plan {
        Plan::Untouched(_) => Ok(()),
        Plan::Identity => make(fields::plain(&response.fields), response),
        Plan::Code(_) if request.version <= Version::HTTP_10 => {
            make(fields::plain(&response.fields), response)
        }
        // RFC 9110 §9.3.2: what GET would have had. The length is not known without making it.
        Plan::Code(coding) if request.method == Method::HEAD => {
            make(fields::coded(&response.fields, coding, None), response)
        }
        Plan::Code(coding) => {
            walk.coder = BodyCoder::new(coding, &places).map(Box::new);
            let changes = if walk.coder.is_some() {
                fields::coded(&response.fields, coding, None)
            } else {
                fields::plain(&response.fields)
            };
            make(changes, response)
        }
    }
}

/// As in [`begin`] for a 304 that was made of a stored head: that knows whether there is a coded form to be held.
pub fn not_modified_by_store(
    request: &RequestHeader,
    response: &mut ResponseHead,
    walk: &Walk,
) -> Result<()> {
    if fields::plain(&response.fields) != Changes::default() {
        return Ok(());
    }
    not_modified(request, response, walk)
}

/// Changes the head of a 304 for a client that holds the coded form.
fn not_modified(request: &RequestHeader, response: &mut ResponseHead, walk: &Walk) -> Result<()> {
    if response.status != StatusCode::NOT_MODIFIED || places(walk).is_none() {
        return Ok(());
    }
    let changes = fields::not_modified(&request.headers, &response.fields);
    make(changes, response)
}

/// Where an encoder for this request is to be had, if its answer may be coded on this route.
fn places(walk: &Walk) -> Option<Places> {
    // What is stored is what the origin sent; its coded forms are made of that.
    if walk.errand.is_some() {
        return None;
    }
    let (entered, route) = (walk.entered.as_ref()?, walk.route.as_ref()?);
    let coded = entered.site.rules(route).compress;
    coded.then(|| entered.site.encoders.clone())
}

/// The head of an answer is all of it (HTTP/2 ends a stream with it): that is a length like any other, and nothing is to be
/// coded or waited for.
pub fn ends_with_head(request: &RequestHeader, response: &mut ResponseHead) {
    let has_content = request.method != Method::HEAD
        && !response.status.is_informational()
        && !matches!(
            response.status,
            StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
        );
    if has_content && !response.fields.contains(&CONTENT_LENGTH) {
        response.fields.insert_number(&CONTENT_LENGTH, 0);
    }
}

/// A piece of the body came, or its end.
pub fn piece(body: &mut Option<Bytes>, end: bool, walk: &mut Walk) -> Result<()> {
    let Some(mut coder) = walk.coder.take() else {
        return Ok(());
    };
    let plain = body.as_deref().unwrap_or_default();
    let coded = if end {
        coder.last(plain)
    } else if plain.is_empty() {
        walk.coder = Some(coder);
        return Ok(());
    } else {
        let coded = coder.piece(plain);
        walk.coder = Some(coder);
        coded
    };
    *body = Some(ours(coded)?);
    Ok(())
}

/// Trailers came, which over HTTP/2 may be how the body's end is told. What is left of the body takes their place, since
/// Pingora lets only one of the two be written; the connection has them from the ticket.
pub fn end(trailers: &HeaderMap, walk: &mut Walk) -> Result<Option<Bytes>> {
    let Some(coder) = walk.coder.take() else {
        return Ok(None);
    };
    if let Some(entered) = &walk.entered {
        entered.ticket.leave_trailers(trailers.clone());
    }
    ours(coder.last(&[]).map(Some))
}

fn ours<T>(coded: io::Result<T>) -> Result<T> {
    coded.map_err(|cause| Error::because(ErrorType::InternalError, "coding a response", cause))
}

fn make(changes: Changes, response: &mut ResponseHead) -> Result<()> {
    for (name, value) in changes.0 {
        match value {
            Some(value) => response.fields.put(&name, &value)?,
            None => response.fields.take_away(&name),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_so_many_at_once() {
        let busy = Gauge::default();
        let places = Places::new(1, busy.clone());
        let one = BodyCoder::new(Coding::Gzip, &places);
        assert!(one.is_some());
        assert!(BodyCoder::new(Coding::Gzip, &places).is_none());
        assert_eq!(busy.get(), 1);
        drop(one);
        assert_eq!(busy.get(), 0);
        assert!(BodyCoder::new(Coding::Gzip, &places).is_some());
    }

    #[test]
    fn each_piece_is_there_at_once_and_the_last_ends_it() {
        let places = Places::new(1, Gauge::default());
        let mut walk = Walk {
            coder: BodyCoder::new(Coding::Zstd, &places).map(Box::new),
            ..Walk::default()
        };
        let mut out = Vec::new();
        for (text, end) in [("one ", false), ("", false), ("two", false), ("", true)] {
            let mut body = (!text.is_empty()).then(|| Bytes::from_static(text.as_bytes()));
            piece(&mut body, end, &mut walk).expect("there is memory");
            assert_eq!(body.is_some(), !text.is_empty() || end, "{text:?}");
            out.extend(body.unwrap_or_default());
        }
        assert!(walk.coder.is_none());
        assert_eq!(places.free.available_permits(), 1);
        let decoded = zstd::decode_all(out.as_slice()).expect("it is whole");
        assert_eq!(decoded, b"one two");
    }
}
