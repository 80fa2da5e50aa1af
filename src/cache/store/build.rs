//! A body while it is being received: into memory of its own and of its size.
//!
//! What a socket gave is a slice of a read buffer, and a hundred octets of it would keep all of that alive; so it is copied,
//! once, into a segment of just its size, which followers read and which becomes part of the stored body. Only where it
//! comes in tiny pieces are these copied together, because each costs something itself. The memory is reserved before it is
//! taken, and what was reserved turns into the segments' own charge.

use super::super::body::{Body, SEGMENT, segment, segment_bytes};
use super::super::outcome::Reason;
use super::Inner;
use super::account::{Charge, signed};
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Octets that a fetch under way may hold. Given back when this is dropped.
#[derive(Debug)]
pub struct Reservation {
    inner: Arc<Inner>,
    /// Counted as under way.
    bytes: u64,
    /// Those of them that are counted as alive here and not by what was made of them.
    loose: u64,
}

impl Reservation {
    pub(super) fn new(inner: &Arc<Inner>, bytes: u64) -> Option<Self> {
        let mut reservation = Self {
            inner: Arc::clone(inner),
            bytes: 0,
            loose: 0,
        };
        reservation.grow(bytes).then_some(reservation)
    }

    /// How many.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// So many more. False, and nothing more, where there is no room: neither within `in_flight` nor in the memory, after all
    /// has been evicted that can be.
    pub fn grow(&mut self, more: u64) -> bool {
        let account = &self.inner.account;
        let before = account.in_flight.inc_by(signed(more));
        let most = self.inner.limits.in_flight.load(Ordering::Relaxed);
        // Counted as alive before room is made, so that two who reserve at once see each other.
        account.add(more);
        let within = before.saturating_add(signed(more)) <= signed(most);
        if within && self.inner.make_room() {
            self.bytes = self.bytes.saturating_add(more);
            self.loose = self.loose.saturating_add(more);
            return true;
        }
        account.in_flight.dec_by(signed(more));
        account.subtract(more);
        self.inner.metrics.refused(Reason::Crowded);
        false
    }

    /// Takes octets for something that counts them itself from now on.
    pub(super) fn take(&mut self, bytes: u64) -> Taken {
        let counted = bytes.min(self.loose);
        self.loose -= counted;
        self.inner.account.add(bytes - counted);
        Taken {
            charge: Charge::counted(&self.inner.account, bytes),
            exceeds: counted < bytes,
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.inner.account.in_flight.dec_by(signed(self.bytes));
        self.inner.account.subtract(self.loose);
    }
}

/// Octets taken of a reservation.
pub(super) struct Taken {
    pub(super) charge: Charge,
    /// Whether it did not have that many left, because tiny segments were copied together and their first copies still count.
    exceeds: bool,
}

/// A segment shorter than this is copied together with what follows it.
const TINY: usize = 16 * 1024;

/// Makes a [`Body`] of what arrives.
#[derive(Debug)]
pub struct BodyBuilder {
    reservation: Reservation,
    /// Segments, and what each is charged; without gaps, none empty.
    sealed: Vec<(Bytes, u64)>,
    /// What all of them are charged.
    allocated: u64,
    length: u64,
}

/// A segment that came to be, to take the place of all octets from `begin` on.
#[derive(Debug)]
pub struct Sealed {
    /// The octet of the body that it begins at. Less than what was there before where tiny ones were copied together.
    pub begin: u64,
    /// Its octets.
    pub segment: Bytes,
}

impl BodyBuilder {
    /// An empty one. The reservation grows with it, so it may be empty too.
    pub fn new(reservation: Reservation) -> Self {
        Self {
            reservation,
            sealed: Vec::new(),
            allocated: 0,
            length: 0,
        }
    }

    /// Octets so far.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Copies what came, [`SEGMENT`] octets of it at most, and returns the segment that holds it.
    ///
    /// # Errors
    /// [`Reason::TooLarge`] and [`Reason::Crowded`]: it is not to be stored, and this is to be dropped. What was sealed stays
    /// alive and counted with those who hold it.
    pub fn push(&mut self, data: &[u8]) -> Result<Sealed, Reason> {
        debug_assert!(!data.is_empty() && data.len() <= SEGMENT);
        let limit = self.reservation.inner.limits.object.load(Ordering::Relaxed);
        let length = self.length.saturating_add(data.len() as u64);
        if length > limit {
            self.reservation.inner.metrics.refused(Reason::TooLarge);
            return Err(Reason::TooLarge);
        }
        let (kept, together) = self.tiny_before(data.len());
        let merged: u64 = self.sealed[kept..].iter().map(|(_, bytes)| bytes).sum();
        let bytes = segment_bytes(together);
        let needed = self.allocated.saturating_sub(merged).saturating_add(bytes);
        let more = needed.saturating_sub(self.reservation.bytes());
        if more > 0 && !self.reservation.grow(more) {
            return Err(Reason::Crowded);
        }
        let taken = self.reservation.take(bytes);
        if taken.exceeds && !self.reservation.inner.make_room() {
            self.reservation.inner.metrics.refused(Reason::Crowded);
            return Err(Reason::Crowded);
        }
        let mut octets = concat(self.sealed.drain(kept..), together);
        octets.extend_from_slice(data);
        let segment = segment(octets, taken.charge);
        self.sealed.push((segment.clone(), bytes));
        self.allocated = needed;
        self.length = length;
        Ok(Sealed {
            begin: length - together as u64,
            segment,
        })
    }

    /// The body, of its own size.
    pub fn finish(mut self) -> Body {
        let account = Arc::clone(&self.reservation.inner.account);
        let mut list: Vec<Bytes> = Vec::with_capacity(self.sealed.len());
        let mut sealed = std::mem::take(&mut self.sealed).into_iter().peekable();
        while let Some((first, bytes)) = sealed.next() {
            let mut run = vec![(first, bytes)];
            let mut together = run[0].0.len();
            while let Some((next, bytes)) = sealed.next_if(|(next, _)| {
                together.min(next.len()) < TINY && together + next.len() <= SEGMENT
            }) {
                together += next.len();
                run.push((next, bytes));
            }
            if run.len() > 1 {
                let merged: u64 = run.iter().map(|(_, bytes)| bytes).sum();
                let bytes = segment_bytes(together);
                self.allocated = self.allocated.saturating_sub(merged).saturating_add(bytes);
                let charge = self.reservation.take(bytes).charge;
                list.push(segment(concat(run.drain(..), together), charge));
            } else {
                list.extend(run.pop().map(|(only, _)| only));
            }
        }
        Body::of_segments(list, Some(account), self.allocated)
    }

    /// What is reserved, where the body is no longer to be stored though it is still being fetched.
    pub fn give_up(self) -> Reservation {
        self.reservation
    }

    /// The segments that are not copied together with so many octets more, and the octets that are. An octet is copied once
    /// for each doubling of what it is in, up to [`TINY`].
    fn tiny_before(&self, more: usize) -> (usize, usize) {
        let mut together = more;
        let mut kept = self.sealed.len();
        for (segment, _) in self.sealed.iter().rev() {
            let length = segment.len();
            if length >= TINY || length > 2 * together || length + together > SEGMENT {
                break;
            }
            together += length;
            kept -= 1;
        }
        (kept, together)
    }
}

fn concat(segments: impl Iterator<Item = (Bytes, u64)>, capacity: usize) -> Vec<u8> {
    let mut octets = Vec::with_capacity(capacity);
    for (segment, _) in segments {
        octets.extend_from_slice(&segment);
    }
    octets
}
