//! Which octets of a representation are here: disjoint parts in ascending order, never two that touch.

use crate::cache::body::Body;
use bytes::Bytes;
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

    /// The octets of a range that is here.
    pub(super) fn slice(&self, range: &Range<u64>) -> impl Iterator<Item = Bytes> + Send + use<'_> {
        let start = range.start.saturating_sub(self.start);
        self.body.slice(start..range.end.saturating_sub(self.start))
    }

    /// What of it lies in a range, which may be nothing.
    fn within(&self, range: &Range<u64>) -> Option<Self> {
        let own = self.range();
        let kept = overlap(&own, range)?;
        if kept == own {
            return Some(self.clone());
        }
        let from = kept.start.checked_sub(self.start)?;
        let to = kept.end.checked_sub(self.start)?;
        Some(Self {
            start: kept.start,
            body: self.body.cut(&(from..to)),
        })
    }
}

fn overlap(one: &Range<u64>, other: &Range<u64>) -> Option<Range<u64>> {
    let both = one.start.max(other.start)..one.end.min(other.end);
    (!both.is_empty()).then_some(both)
}

/// Parts that disagree about an octet that they share: they are not of one representation, whatever their validators say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Contradiction;

/// The parts of both, joined where they touch. Where they overlap they must agree.
pub(super) fn combine(old: &[Part], new: &Part) -> Result<Vec<Part>, Contradiction> {
    let taken = new.range();
    let mut pieces: Vec<Part> = Vec::with_capacity(old.len() + 2);
    for part in old {
        if let Some(both) = overlap(&part.range(), &taken)
            && !same_octets(part.slice(&both), new.slice(&both))
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
                last.body = last.body.join(&piece.body, PIECE);
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

/// Whether the same octets come from both, however they are cut.
fn same_octets(
    mut ones: impl Iterator<Item = Bytes>,
    mut others: impl Iterator<Item = Bytes>,
) -> bool {
    let (mut one, mut other) = (Bytes::new(), Bytes::new());
    loop {
        if one.is_empty() {
            one = ones.next().unwrap_or_default();
        }
        if other.is_empty() {
            other = others.next().unwrap_or_default();
        }
        let length = one.len().min(other.len());
        if length == 0 {
            // Slices are never empty: one has ended, and they are the same where both have.
            return one.is_empty() && other.is_empty();
        }
        if one.split_to(length) != other.split_to(length) {
            return false;
        }
    }
}
