//! A complete body, shared with whoever is sending it.
//!
//! A small one lies in the response's own memory, behind its fields; a larger one in segments; a large one that is asked for
//! may be moved to where the kernel sends it from (`segments`). Each way the octets are counted until the last piece of them
//! that somebody is sending is gone.

use super::response::StoredResponse;
use super::segments::{Segments, Slices};
use super::store::account::{Account, Charge, allocated};
use crate::arena::FileRange;
use bytes::Bytes;
use std::ops::Range;
use std::sync::Arc;

/// A body up to this long lies with the fields. Above it, what the pieces of a segment cost is little beside it, and
/// the copy that a freshened successor would need is not.
pub const INLINE_MAX: usize = 4096;

/// A segment's length, but for the last. Power of two: no allocator rounds it up much.
pub const SEGMENT: usize = 64 * 1024;

/// What a segment costs beside its octets: the owner that `Bytes` keeps, and the piece in the list.
pub(super) const SEGMENT_OVERHEAD: u64 = 64 + 32;

/// A complete body. Clones share it.
#[derive(Debug, Clone)]
pub struct Body(Kind);

#[derive(Debug, Clone)]
enum Kind {
    Segments(Arc<Segments>),
    /// That of a stored response, in its own memory.
    Inline(Arc<StoredResponse>),
}

impl Body {
    /// Of pieces that no account has: the store copies them when it makes a response of them.
    pub fn new(segments: Vec<Bytes>) -> Self {
        Self::of_segments(segments, None, 0)
    }

    pub(super) fn of_segments(
        segments: Vec<Bytes>,
        account: Option<Arc<Account>>,
        allocated: u64,
    ) -> Self {
        Self::of_shared(Segments::new(segments, account, allocated))
    }

    pub(super) fn of_shared(segments: Arc<Segments>) -> Self {
        Self(Kind::Segments(segments))
    }

    /// That of a response whose body is inline.
    pub(super) fn of_response(response: Arc<StoredResponse>) -> Self {
        Self(Kind::Inline(response))
    }

    /// Octets.
    pub fn length(&self) -> u64 {
        match &self.0 {
            Kind::Segments(segments) => segments.length(),
            Kind::Inline(response) => response.body_length(),
        }
    }

    /// The pieces.
    pub fn pieces(&self) -> Slices<'_> {
        self.slice(0..u64::MAX)
    }

    /// The octets of a range, in pieces, none of them empty. What lies beyond the end is not there.
    pub fn slice(&self, range: Range<u64>) -> Slices<'_> {
        match &self.0 {
            Kind::Segments(segments) => segments.slice(range),
            Kind::Inline(response) => Slices::of_one(slice_inline(response, &range)),
        }
    }

    /// The octets of a range, where the kernel can send them. None where they are to be written.
    pub fn file_range(&self, range: Range<u64>) -> Option<FileRange> {
        match &self.0 {
            Kind::Segments(segments) => segments.file_range(range),
            Kind::Inline(_) => None,
        }
    }

    /// The octets in one piece of memory, copied where they are not.
    pub(super) fn write_to(&self, out: &mut Vec<u8>) {
        match &self.0 {
            Kind::Segments(segments) => {
                for segment in segments.slice(0..u64::MAX) {
                    out.extend_from_slice(&segment);
                }
            }
            Kind::Inline(response) => {
                out.extend_from_slice(response.inline_body().unwrap_or_default());
            }
        }
    }

    /// The octets of a range. Of a piece that lies in it in part, that part is copied: the rest of it must not be kept alive.
    pub(super) fn cut(&self, range: &Range<u64>) -> Self {
        let mut cut = Collected::on(self.account());
        let mut at = 0u64;
        for piece in self.pieces() {
            let begin = at;
            at = begin.saturating_add(piece.len() as u64);
            if range.start <= begin && at <= range.end {
                cut.share(piece);
            } else {
                let (from, to) = (range.start.max(begin), range.end.min(at));
                self.slice(from..to.max(from))
                    .for_each(|piece| cut.copy(&piece, &[]));
            }
        }
        cut.into_body()
    }

    /// These octets and those behind them. Where they meet, pieces of together at most `small` octets become one.
    pub(super) fn join(&self, next: &Self, small: usize) -> Self {
        let same = match (self.account(), next.account()) {
            (Some(one), Some(other)) if Arc::ptr_eq(one, other) => Some(one),
            _ => None,
        };
        let mut joined = Collected::on(same);
        let (mut first, mut second): (Vec<_>, Vec<_>) =
            (self.pieces().collect(), next.pieces().collect());
        let meeting = match (first.last(), second.first()) {
            (Some(last), Some(next)) if last.len() + next.len() <= small => {
                first.pop().zip(Some(second.remove(0)))
            }
            _ => None,
        };
        for piece in first {
            joined.share(piece);
        }
        if let Some((last, next)) = meeting {
            joined.copy(&last, &next);
        }
        for piece in second {
            joined.share(piece);
        }
        joined.into_body()
    }

    /// The memory beside the octets.
    pub(super) fn own_bytes(&self) -> u64 {
        match &self.0 {
            Kind::Segments(segments) => segments.own_bytes(),
            Kind::Inline(_) => 0,
        }
    }

    fn account(&self) -> Option<&Arc<Account>> {
        match &self.0 {
            Kind::Segments(segments) => segments.account(),
            Kind::Inline(_) => None,
        }
    }

    /// The same octets on this account.
    pub(super) fn counted(&self, account: &Arc<Account>) -> Arc<Segments> {
        if let Kind::Segments(segments) = &self.0
            && segments.is_counted(account)
        {
            return Arc::clone(segments);
        }
        let mut total = 0;
        let list: Vec<_> = self
            .pieces()
            .map(|piece| {
                let charge = Charge::new(account, segment_bytes(piece.len()));
                total += charge.bytes();
                segment(piece.to_vec(), charge)
            })
            .collect();
        Segments::new(list, Some(Arc::clone(account)), total)
    }
}

/// A body made of others, on their account where they have one in common.
struct Collected<'a> {
    account: Option<&'a Arc<Account>>,
    list: Vec<Bytes>,
    allocated: u64,
}

impl<'a> Collected<'a> {
    fn on(account: Option<&'a Arc<Account>>) -> Self {
        Self {
            account,
            list: Vec::new(),
            allocated: 0,
        }
    }

    /// A whole piece, which has its charge.
    fn share(&mut self, piece: Bytes) {
        self.allocated += segment_bytes(piece.len());
        self.list.push(piece);
    }

    /// Octets that become a piece of their own.
    fn copy(&mut self, octets: &[u8], more: &[u8]) {
        let data = [octets, more].concat();
        let bytes = segment_bytes(data.len());
        self.allocated += bytes;
        self.list.push(match self.account {
            Some(account) => segment(data, Charge::new(account, bytes)),
            None => data.into(),
        });
    }

    fn into_body(self) -> Body {
        match self.account {
            Some(account) => {
                Body::of_segments(self.list, Some(Arc::clone(account)), self.allocated)
            }
            None => Body::new(self.list),
        }
    }
}

fn slice_inline(response: &Arc<StoredResponse>, range: &Range<u64>) -> Option<Bytes> {
    let length = response.body_length();
    let from = usize::try_from(range.start.min(length)).ok()?;
    let to = usize::try_from(range.end.min(length)).ok()?;
    (from < to).then(|| Bytes::from_owner(Inline(Arc::clone(response))).slice(from..to))
}

/// An inline body that somebody is sending: holds the response.
struct Inline(Arc<StoredResponse>);

impl AsRef<[u8]> for Inline {
    fn as_ref(&self) -> &[u8] {
        self.0.inline_body().unwrap_or_default()
    }
}

/// What a segment of so many octets is charged.
pub(super) fn segment_bytes(length: usize) -> u64 {
    allocated(length).saturating_add(SEGMENT_OVERHEAD)
}

/// A segment that is counted until its last piece is gone. Its capacity is to be what the charge says.
pub(super) fn segment(data: Vec<u8>, charge: Charge) -> Bytes {
    Bytes::from_owner(Segment {
        data: data.into_boxed_slice(),
        _charge: charge,
    })
}

struct Segment {
    data: Box<[u8]>,
    _charge: Charge,
}

impl AsRef<[u8]> for Segment {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}
