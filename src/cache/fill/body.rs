//! The octets of a body under way: those that are here, each piece with its place in the whole.

use bytes::Bytes;
use std::collections::VecDeque;

/// What of a body is here. Its beginning may be gone already, where it is not being stored.
#[derive(Debug, Default)]
pub(super) struct GrowingBody {
    /// Each piece with the octet at which it begins; without gaps, none empty.
    pieces: VecDeque<(u64, Bytes)>,
    received: u64,
}

impl GrowingBody {
    /// Octets that came, whether they are still here or not.
    pub(super) fn received(&self) -> u64 {
        self.received
    }

    /// Octets that are here.
    pub(super) fn held(&self) -> u64 {
        let first = self
            .pieces
            .front()
            .map_or(self.received, |(begin, _)| *begin);
        self.received - first
    }

    /// Puts a piece behind the others.
    pub(super) fn push(&mut self, piece: Bytes) {
        self.put(self.received, piece);
    }

    /// Puts a piece in the place of all octets from this one on, which it repeats as far as they came.
    pub(super) fn put(&mut self, begin: u64, piece: Bytes) {
        if piece.is_empty() {
            return;
        }
        while self.pieces.back().is_some_and(|(at, _)| *at >= begin) {
            self.pieces.pop_back();
        }
        self.received = begin.saturating_add(piece.len() as u64);
        self.pieces.push_back((begin, piece));
    }

    /// Counts octets, up to this one, that nobody is there to read.
    pub(super) fn skip_to(&mut self, octet: u64) {
        self.pieces.clear();
        self.received = octet;
    }

    /// The rest of the piece that holds this octet, where it is here.
    pub(super) fn at(&self, octet: u64) -> Option<Bytes> {
        let after = self.pieces.partition_point(|(begin, _)| *begin <= octet);
        let (begin, piece) = self.pieces.get(after.checked_sub(1)?)?;
        let within = usize::try_from(octet - begin).ok()?;
        (within < piece.len()).then(|| piece.slice(within..))
    }

    /// Lets go of the pieces that end before this octet.
    pub(super) fn forget_before(&mut self, octet: u64) {
        while let Some((begin, piece)) = self.pieces.front()
            && begin.saturating_add(piece.len() as u64) <= octet
        {
            self.pieces.pop_front();
        }
    }

    /// The same octets in other pieces, so that those who still read share memory with the store.
    pub(super) fn replace(&mut self, pieces: &[Bytes]) {
        let mut other = Self::default();
        for piece in pieces {
            other.push(piece.clone());
        }
        if other.received == self.received {
            *self = other;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn octets_are_found_where_they_are(
            lengths in proptest::collection::vec(0usize..200, 0..40),
            forgotten in 0u64..4000,
        ) {
            let mut body = GrowingBody::default();
            let mut whole = Vec::new();
            for length in lengths {
                let begin = whole.len();
                let piece: Vec<u8> = (0..length)
                    .map(|at| u8::try_from((begin + at) % 251).expect("below 256"))
                    .collect();
                whole.extend_from_slice(&piece);
                // Sometimes with a part of what was there, as tiny pieces are copied together.
                if length % 3 == 1 {
                    let begin = begin.saturating_sub(length);
                    let at = body.pieces.iter().rev().map(|(at, _)| *at);
                    let begin = at.filter(|at| *at <= begin as u64).max().unwrap_or_default();
                    let from = usize::try_from(begin).expect("small");
                    body.put(begin, Bytes::copy_from_slice(&whole[from..]));
                } else {
                    body.push(piece.into());
                }
                prop_assert_eq!(body.received(), whole.len() as u64);
            }
            body.forget_before(forgotten);
            for octet in forgotten..whole.len() as u64 {
                let at = usize::try_from(octet).expect("small");
                let rest = body.at(octet).expect("it is here");
                prop_assert_eq!(&whole[at..at + rest.len()], &rest[..]);
                prop_assert!(!rest.is_empty());
            }
            prop_assert!(body.at(whole.len() as u64).is_none());
        }
    }
}
