//! A complete body, shared with whoever is sending it.
//!
//! A small one lies in the response's own memory, behind its fields; a larger one in segments. Either way the octets are
//! counted until the last piece of them that somebody is sending is gone.

use super::response::StoredResponse;
use super::store::account::{Account, Charge, allocated};
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

/// The pieces of a body that is not small.
#[derive(Debug)]
pub struct Segments {
    list: Box<[Bytes]>,
    length: u64,
    /// All its memory.
    allocated: u64,
    /// Whose account the segments are on; `None` where they are on none.
    account: Option<Arc<Account>>,
}

impl Segments {
    fn new(list: Vec<Bytes>, account: Option<Arc<Account>>, allocated: u64) -> Arc<Self> {
        Arc::new(Self {
            length: list.iter().map(|segment| segment.len() as u64).sum(),
            list: list.into_boxed_slice(),
            allocated,
            account,
        })
    }

    pub(super) fn length(&self) -> u64 {
        self.length
    }

    pub(super) fn allocated(&self) -> u64 {
        self.allocated
    }

    /// Whether they are counted there.
    pub(super) fn is_counted(&self, account: &Arc<Account>) -> bool {
        self.account
            .as_ref()
            .is_some_and(|own| Arc::ptr_eq(own, account))
    }
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
            Kind::Segments(segments) => segments.length,
            Kind::Inline(response) => response.body_length(),
        }
    }

    /// The pieces.
    pub fn pieces(&self) -> impl Iterator<Item = Bytes> + Send + '_ {
        self.slice(0..u64::MAX)
    }

    /// The octets of a range, in pieces, none of them empty. What lies beyond the end is not there.
    pub fn slice(&self, range: Range<u64>) -> impl Iterator<Item = Bytes> + Send + '_ {
        let (segments, inline) = match &self.0 {
            Kind::Segments(segments) => (&*segments.list, None),
            Kind::Inline(response) => (&[][..], slice_inline(response, &range)),
        };
        let mut at = 0u64;
        let pieces = segments.iter().filter_map(move |segment| {
            let begin = at;
            at = at.saturating_add(segment.len() as u64);
            let from = range.start.max(begin).checked_sub(begin)?;
            let to = range.end.min(at).checked_sub(begin)?;
            let (from, to) = (usize::try_from(from).ok()?, usize::try_from(to).ok()?);
            (from < to).then(|| segment.slice(from..to))
        });
        pieces.chain(inline)
    }

    /// The octets in one piece of memory, copied where they are not.
    pub(super) fn write_to(&self, out: &mut Vec<u8>) {
        match &self.0 {
            Kind::Segments(segments) => {
                for segment in &segments.list {
                    out.extend_from_slice(segment);
                }
            }
            Kind::Inline(response) => {
                out.extend_from_slice(response.inline_body().unwrap_or_default());
            }
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
