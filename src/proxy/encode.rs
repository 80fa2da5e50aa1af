//! Codes what passes: the content of a forwarded response that the origin sent as it is, for a client that takes it coded.
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
use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{Method, StatusCode, Version};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::{Error, ErrorType, Result};
use std::io;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Encoders at once, of all requests of a site: at most some 120 MiB, where all of them are at `br`.
pub const AT_ONCE: usize = 64;

/// The encoder of one response under way.
#[derive(Debug)]
pub struct BodyCoder {
    encoder: Encoder,
    _place: OwnedSemaphorePermit,
}

impl BodyCoder {
    fn new(coding: Coding, places: &Arc<Semaphore>) -> Option<Self> {
        let place = places.clone().try_acquire_owned().ok()?;
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
pub fn begin(
    request: &RequestHeader,
    response: &mut ResponseHeader,
    walk: &mut Walk,
) -> Result<()> {
    // What is stored is what the origin sent; its coded forms are made of that.
    if walk.errand.is_some() {
        return Ok(());
    }
    let (Some(entered), Some(route)) = (&walk.entered, &walk.route) else {
        return Ok(());
    };
    if !entered.site.rules(route).compress {
        return Ok(());
    }
    if response.status == StatusCode::NOT_MODIFIED {
        return make(
            fields::not_modified(&request.headers, &response.headers),
            response,
        );
    }
    let plan = Plan::new(
        &request.headers,
        response.status,
        &response.headers,
        declared_length(response),
        &Coding::BY_SPEED,
    );
    match plan {
        Plan::Untouched(_) => Ok(()),
        Plan::Identity => make(fields::plain(&response.headers), response),
        Plan::Code(_) if request.version <= Version::HTTP_10 => {
            make(fields::plain(&response.headers), response)
        }
        // RFC 9110 §9.3.2: what GET would have had. The length is not known without making it.
        Plan::Code(coding) if request.method == Method::HEAD => {
            make(fields::coded(&response.headers, coding, None), response)
        }
        Plan::Code(coding) => {
            walk.coder = BodyCoder::new(coding, &entered.site.encoders);
            let changes = if walk.coder.is_some() {
                fields::coded(&response.headers, coding, None)
            } else {
                fields::plain(&response.headers)
            };
            make(changes, response)
        }
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

/// Trailers came, which over HTTP/2 may be how the body's end is told. What is left of the body takes their place: Pingora
/// lets only one of the two be written, and these were not announced.
pub fn end(walk: &mut Walk) -> Result<Option<Bytes>> {
    let rest = walk.coder.take().map(|coder| coder.last(&[]));
    ours(rest.transpose())
}

fn ours<T>(coded: io::Result<T>) -> Result<T> {
    coded.map_err(|cause| Error::because(ErrorType::InternalError, "coding a response", cause))
}

/// Through Pingora's methods, which keep the written case of names in step.
fn make(changes: Changes, response: &mut ResponseHeader) -> Result<()> {
    for (name, value) in changes.0 {
        match value {
            Some(value) => response.put(&name, &value)?,
            None => response.take_away(&name),
        }
    }
    Ok(())
}

fn declared_length(response: &ResponseHeader) -> Option<u64> {
    let length = response.headers.get(CONTENT_LENGTH)?;
    length.to_str().ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_so_many_at_once() {
        let places = Arc::new(Semaphore::new(1));
        let one = BodyCoder::new(Coding::Gzip, &places);
        assert!(one.is_some());
        assert!(BodyCoder::new(Coding::Gzip, &places).is_none());
        drop(one);
        assert!(BodyCoder::new(Coding::Gzip, &places).is_some());
    }

    #[test]
    fn each_piece_is_there_at_once_and_the_last_ends_it() {
        let places = Arc::new(Semaphore::new(1));
        let mut walk = Walk {
            coder: BodyCoder::new(Coding::Zstd, &places),
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
        assert_eq!(places.available_permits(), 1);
        let decoded = zstd::decode_all(out.as_slice()).expect("it is whole");
        assert_eq!(decoded, b"one two");
    }
}
