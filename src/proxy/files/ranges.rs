//! Which bytes of a file are sent: all, one range (206), several (`multipart/byteranges`) or none (416).

use super::body::{FileBody, Part};
use super::conditions::{Validators, range_applies};
use super::open::Found;
use super::{FileAnswer, ascii};
use crate::fields::range;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, RANGE};
use http::{HeaderMap, HeaderValue, StatusCode};
use std::ops::Range;

/// Ranges in one request; with more the whole file is sent, as RFC 9110 §14.2 allows against many small ranges.
const MOST_RANGES: usize = 16;

/// What a request wants of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Whole,
    /// At least one. Ends are exclusive.
    Parts(Vec<Range<u64>>),
    /// All ranges begin past the end.
    Unsatisfiable,
}

/// What `Range` and `If-Range` want of a file of `length` bytes.
pub(super) fn wanted(headers: &HeaderMap, file: &Validators, length: u64) -> Wanted {
    let mut lines = headers.get_all(RANGE).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else {
        return Wanted::Whole;
    };
    let Some(specs) = range::parse(line.as_bytes()) else {
        return Wanted::Whole;
    };
    if specs.len() > MOST_RANGES || !range_applies(headers, file) {
        return Wanted::Whole;
    }
    let parts: Vec<Range<u64>> = specs.iter().filter_map(|s| s.resolve(length)).collect();
    if parts.is_empty() {
        return Wanted::Unsatisfiable;
    }
    // Overlapping ranges could ask for more than there is (CVE-2011-3192): the whole file is then the smaller answer.
    let total = parts
        .iter()
        .fold(0_u64, |sum, part| sum.saturating_add(part.end - part.start));
    if total > length {
        return Wanted::Whole;
    }
    Wanted::Parts(parts)
}

/// Completes `answer`, a 200 with the file's own fields.
pub(super) fn fill(
    answer: &mut FileAnswer,
    wanted: Wanted,
    found: Found,
    content_type: HeaderValue,
) {
    let Found { file, length, .. } = found;
    match wanted {
        Wanted::Whole => {
            answer.set_type_and_length(content_type, length);
            answer.body = FileBody::File {
                file,
                range: 0..length,
            };
        }
        Wanted::Unsatisfiable => {
            // The caller's error page has a type and a coding of its own.
            answer.headers.clear();
            answer.status = StatusCode::RANGE_NOT_SATISFIABLE;
            if let Some(value) = ascii(&range::unsatisfied_range(length)) {
                answer.set(CONTENT_RANGE, value);
            }
        }
        Wanted::Parts(parts) => {
            answer.status = StatusCode::PARTIAL_CONTENT;
            if let [part] = parts.as_slice() {
                answer.set_type_and_length(content_type, part.end - part.start);
                if let Some(value) = ascii(&range::content_range(part, length)) {
                    answer.set(CONTENT_RANGE, value);
                }
                let range = part.clone();
                answer.body = FileBody::File { file, range };
            } else {
                let boundary = boundary();
                let parts = with_heads(parts, &boundary, &content_type, length);
                let end = format!("\r\n--{boundary}--\r\n").into();
                let body = FileBody::Parts { file, parts, end };
                let multipart = format!("multipart/byteranges; boundary={boundary}");
                if let Some(value) = ascii(&multipart) {
                    answer.set_type_and_length(value, body.length());
                }
                answer.body = body;
            }
        }
    }
    debug_assert!(
        answer.status == StatusCode::RANGE_NOT_SATISFIABLE
            || answer.headers.contains_key(CONTENT_LENGTH)
    );
}

fn with_heads(
    ranges: Vec<Range<u64>>,
    boundary: &str,
    content_type: &HeaderValue,
    length: u64,
) -> Vec<Part> {
    let mut parts = Vec::with_capacity(ranges.len());
    for range in ranges {
        let mut head = Vec::with_capacity(160);
        head.extend_from_slice(b"\r\n--");
        head.extend_from_slice(boundary.as_bytes());
        head.extend_from_slice(b"\r\nContent-Type: ");
        head.extend_from_slice(content_type.as_bytes());
        head.extend_from_slice(b"\r\nContent-Range: ");
        head.extend_from_slice(range::content_range(&range, length).as_bytes());
        head.extend_from_slice(b"\r\n\r\n");
        let head = head.into();
        parts.push(Part { head, range });
    }
    parts
}

/// Random, so that no file can be made to contain it.
fn boundary() -> String {
    format!("{:032x}", fastrand::u128(..))
}
