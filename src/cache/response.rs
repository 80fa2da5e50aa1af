//! A stored response. It never changes: a validation makes a new one around the same body.

use super::policy::Terms;
use super::section::Section;
use super::vary::Nominated;
use bytes::Bytes;
use http::StatusCode;
use std::ops::Range;
use std::sync::Arc;

/// A complete stored response.
#[derive(Debug)]
pub struct StoredResponse {
    /// The status.
    pub status: StatusCode,
    /// The end-to-end fields that may be stored (§3.1), without `Age`; with the origin's `Date`, and with `Content-Length`.
    pub fields: Section,
    /// What it may be used for.
    pub terms: Terms,
    /// The values that the fields nominated by its `Vary` had in its request.
    pub nominated: Nominated,
    /// The body.
    pub body: Body,
}

/// A complete body, in pieces that are shared with whoever is sending them.
#[derive(Debug, Clone)]
pub struct Body {
    segments: Arc<[Bytes]>,
    length: u64,
}

impl Body {
    /// Of its pieces.
    pub fn new(segments: Vec<Bytes>) -> Self {
        let length = segments.iter().map(|segment| segment.len() as u64).sum();
        Self {
            segments: segments.into(),
            length,
        }
    }

    /// Octets.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The pieces.
    pub fn segments(&self) -> &[Bytes] {
        &self.segments
    }

    /// The octets of a range, in pieces. What lies beyond the end is not there.
    pub fn slice(&self, range: Range<u64>) -> impl Iterator<Item = Bytes> + Send + '_ {
        let mut at = 0u64;
        self.segments.iter().filter_map(move |segment| {
            let begin = at;
            at = at.saturating_add(segment.len() as u64);
            let from = range.start.max(begin).checked_sub(begin)?;
            let to = range.end.min(at).checked_sub(begin)?;
            let (from, to) = (usize::try_from(from).ok()?, usize::try_from(to).ok()?);
            (from < to).then(|| segment.slice(from..to))
        })
    }
}
