//! The frame of a `multipart/byteranges` body (RFC 9110 §15.3.7.2, §14.6).

use super::{Piece, ascii};
use crate::fields::range::content_range;
use bytes::Bytes;
use http::HeaderValue;
use std::ops::Range;

/// Several ranges in one body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Multipart {
    /// The `Content-Type` of the answer, with the boundary.
    pub content_type: HeaderValue,
    /// The boundary lines and the parts' fields with the ranges after them.
    pub pieces: Vec<Piece>,
}

impl Multipart {
    /// Of at least two ranges of a representation of this type and length.
    pub fn new(ranges: Vec<Range<u64>>, content_type: Option<&[u8]>, length: u64) -> Self {
        // Random, so that no representation can be made to contain it.
        let boundary = format!("{:032x}", fastrand::u128(..));
        let mut pieces = Vec::with_capacity(ranges.len() * 2 + 1);
        for range in ranges {
            pieces.push(Piece::Frame(part_head(
                &boundary,
                content_type,
                &range,
                length,
            )));
            pieces.push(Piece::Octets(range));
        }
        pieces.push(Piece::Frame(format!("\r\n--{boundary}--\r\n").into()));
        Self {
            content_type: ascii(format!("multipart/byteranges; boundary={boundary}")),
            pieces,
        }
    }

    /// Of all pieces.
    pub fn length(&self) -> u64 {
        self.pieces.iter().map(Piece::length).sum()
    }
}

/// §15.3.7.2: "the server MUST generate a Content-Range header field … in each body part. If the selected representation
/// would have had a Content-Type header field in a 200 (OK) response, the server SHOULD generate that same Content-Type".
fn part_head(
    boundary: &str,
    content_type: Option<&[u8]>,
    range: &Range<u64>,
    length: u64,
) -> Bytes {
    let mut head = Vec::with_capacity(160);
    head.extend_from_slice(b"\r\n--");
    head.extend_from_slice(boundary.as_bytes());
    if let Some(content_type) = content_type {
        head.extend_from_slice(b"\r\nContent-Type: ");
        head.extend_from_slice(content_type);
    }
    head.extend_from_slice(b"\r\nContent-Range: ");
    head.extend_from_slice(content_range(range, Some(length)).as_bytes());
    head.extend_from_slice(b"\r\n\r\n");
    head.into()
}
