//! A body while it is being received: into memory of its own and of its size.
//!
//! What a socket gave is a slice of a read buffer, and a hundred octets of it would keep all of that alive; so it is copied,
//! once. The memory is reserved before it is taken.

use super::super::body::{Body, SEGMENT, SEGMENT_OVERHEAD, segment, segment_bytes};
use super::super::outcome::Reason;
use super::Inner;
use super::account::{Charge, allocated, signed};
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
    fn take(&mut self, bytes: u64) -> Charge {
        let counted = bytes.min(self.loose);
        self.loose -= counted;
        self.inner.account.add(bytes - counted);
        Charge::counted(&self.inner.account, bytes)
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.inner.account.in_flight.dec_by(signed(self.bytes));
        self.inner.account.subtract(self.loose);
    }
}

/// Makes a [`Body`] of what arrives.
#[derive(Debug)]
pub struct BodyBuilder {
    reservation: Reservation,
    /// What the response says of its length. A hint: neither more nor less is an error here.
    expected: Option<u64>,
    sealed: Vec<Bytes>,
    /// What the sealed ones hold.
    allocated: u64,
    current: Vec<u8>,
    length: u64,
}

impl BodyBuilder {
    /// An empty one. The reservation grows with it, so it may be empty too.
    pub fn new(reservation: Reservation, expected: Option<u64>) -> Self {
        Self {
            reservation,
            expected,
            sealed: Vec::new(),
            allocated: 0,
            current: Vec::new(),
            length: 0,
        }
    }

    /// Octets so far.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The pieces that are whole already, from the body's begin on: for followers who come late. The octets behind them are
    /// [`unsealed`](Self::unsealed).
    pub fn sealed(&self) -> &[Bytes] {
        &self.sealed
    }

    /// The octets that are not yet in a piece.
    pub fn unsealed(&self) -> &[u8] {
        &self.current
    }

    /// Copies what came.
    ///
    /// # Errors
    /// [`Reason::TooLarge`] and [`Reason::Crowded`]: it is not to be stored, and this is to be dropped. What was sealed stays
    /// alive and counted with those who hold it.
    pub fn push(&mut self, mut data: &[u8]) -> Result<(), Reason> {
        let limit = self.reservation.inner.limits.object.load(Ordering::Relaxed);
        let length = self.length.saturating_add(data.len() as u64);
        if length > limit {
            self.reservation.inner.metrics.refused(Reason::TooLarge);
            return Err(Reason::TooLarge);
        }
        while !data.is_empty() {
            if self.current.len() == self.current.capacity() {
                if self.current.len() >= SEGMENT {
                    self.seal();
                }
                self.make_space(data.len())?;
            }
            let space = self.current.capacity() - self.current.len();
            let (now, later) = data.split_at(space.min(data.len()));
            self.current.extend_from_slice(now);
            self.length += now.len() as u64;
            data = later;
        }
        Ok(())
    }

    /// The body, of its own size.
    pub fn finish(mut self) -> Body {
        if !self.current.is_empty() {
            self.current.shrink_to_fit();
            self.seal();
        }
        let account = Arc::clone(&self.reservation.inner.account);
        Body::of_segments(self.sealed, Some(account), self.allocated)
    }

    /// Room for the next octets: all that are expected, or twice as many as now, a segment at most.
    fn make_space(&mut self, wanted: usize) -> Result<(), Reason> {
        let current = self.current.len();
        let remaining = self
            .expected
            .and_then(|expected| expected.checked_sub(self.length))
            .filter(|remaining| *remaining > 0)
            .map(|remaining| usize::try_from(remaining).unwrap_or(SEGMENT));
        let capacity = match remaining {
            Some(remaining) => current.saturating_add(remaining),
            None => current.saturating_add(wanted.max(current)),
        }
        .min(SEGMENT);
        let needed = self
            .allocated
            .saturating_add(allocated(capacity))
            .saturating_add(SEGMENT_OVERHEAD);
        let more = needed.saturating_sub(self.reservation.bytes());
        if more > 0 && !self.reservation.grow(more) {
            return Err(Reason::Crowded);
        }
        self.current.reserve_exact(capacity - current);
        Ok(())
    }

    fn seal(&mut self) {
        let data = std::mem::take(&mut self.current);
        let bytes = segment_bytes(data.len());
        let charge = self.reservation.take(bytes);
        self.allocated = self.allocated.saturating_add(bytes);
        self.sealed.push(segment(data, charge));
    }
}
