//! Which octets of a representation are here: disjoint parts in ascending order, never two that touch.

use crate::cache::response::Body;
use bytes::{Bytes, BytesMut};
use std::ops::Range;

/// Parts kept of one representation; the smallest ones go when there are more.
pub(super) const MOST_PARTS: usize = 16;

/// Neighbouring pieces are copied into one up to this size: a client that asks octet by octet would otherwise have each
/// of them cost a pointer many times its size.
const PIECE: usize = 16 * 1024;

/// Octets from a position on.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) start: u64,
    pub(super) body: Body,
}

impl Part {
    pub(super) fn range(&self) -> Range<u64> {
        self.start..self.start.saturating_add(self.body.length())
    }

    /// What of it lies in a range, which may be nothing.
    fn within(&self, range: &Range<u64>) -> Option<Self> {
        let own = self.range();
        let start = own.start.max(range.start);
        let end = own.end.min(range.end);
        if start >= end {
            return None;
        }
        if (start..end) == own {
            return Some(self.clone());
        }
        // A small rest must not keep the large piece alive that it was cut from: it would not be counted.
        let slices = self.body.slice(start - own.start..end - own.start);
        let segments = slices
            .map(|slice| {
                if slice.len() <= PIECE {
                    Bytes::copy_from_slice(&slice)
                } else {
                    slice
                }
            })
            .collect();
        Some(Self {
            start,
            body: Body::new(segments),
        })
    }
}

/// Parts that disagree about an octet that they share: they are not of one representation, whatever their validators say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Contradiction;

/// The parts of both, joined where they touch. Where they overlap they must agree.
pub(super) fn combine(old: &[Part], new: &Part) -> Result<Vec<Part>, Contradiction> {
    let taken = new.range();
    let mut pieces: Vec<Part> = Vec::with_capacity(old.len() + 2);
    for part in old {
        if let (Some(ours), Some(theirs)) = (part.within(&taken), new.within(&part.range()))
            && !same_octets(&ours.body, &theirs.body)
        {
            return Err(Contradiction);
        }
        pieces.extend(part.within(&(0..taken.start)));
        pieces.extend(part.within(&(taken.end..u64::MAX)));
    }
    pieces.push(new.clone());
    pieces.sort_unstable_by_key(|part| part.start);
    let mut joined: Vec<Part> = Vec::with_capacity(pieces.len());
    for piece in pieces {
        match joined.last_mut() {
            Some(last) if last.range().end == piece.start => {
                last.body = join(&last.body, &piece.body);
            }
            _ => joined.push(piece),
        }
    }
    while joined.len() > MOST_PARTS {
        let smallest = joined
            .iter()
            .enumerate()
            // The newest is what clients ask for now.
            .filter(|(_, part)| part.range().end <= taken.start || part.start >= taken.end)
            .min_by_key(|(_, part)| part.body.length())
            .map(|(index, _)| index);
        let Some(smallest) = smallest else { break };
        joined.remove(smallest);
    }
    Ok(joined)
}

fn join(first: &Body, second: &Body) -> Body {
    let both = first.segments().iter().chain(second.segments());
    let mut segments: Vec<Bytes> = Vec::with_capacity(first.segments().len() + 1);
    for segment in both.filter(|segment| !segment.is_empty()) {
        match segments.last_mut() {
            Some(last) if last.len() + segment.len() <= PIECE => {
                let mut copy = BytesMut::with_capacity(last.len() + segment.len());
                copy.extend_from_slice(last);
                copy.extend_from_slice(segment);
                *last = copy.freeze();
            }
            _ => segments.push(segment.clone()),
        }
    }
    Body::new(segments)
}

/// Whether two bodies of the same length are the same, however they are cut.
fn same_octets(one: &Body, other: &Body) -> bool {
    if one.length() != other.length() {
        return false;
    }
    let (mut ones, mut others) = (one.segments().iter(), other.segments().iter());
    let (mut a, mut b): (&[u8], &[u8]) = (&[], &[]);
    loop {
        while a.is_empty() {
            match ones.next() {
                Some(next) => a = next,
                // Of the same length: the other has none left either.
                None => return true,
            }
        }
        while b.is_empty() {
            match others.next() {
                Some(next) => b = next,
                None => return true,
            }
        }
        let length = a.len().min(b.len());
        let ((a_front, a_rest), (b_front, b_rest)) = (a.split_at(length), b.split_at(length));
        if a_front != b_front {
            return false;
        }
        (a, b) = (a_rest, b_rest);
    }
}
