//! How fast a body that is not stored may come: no faster than the slowest follower reads, whose patience with it is limited.

use super::follow::Place;
use super::{Audience, Keep, Lasting, Phase, State, Wakers};
use crate::clock::Instant;
use prometheus_client::metrics::gauge::Gauge;
use std::task::Context;
use std::time::Duration;

/// What is passed on without being stored may be this far ahead of the slowest follower, in octets.
const WINDOW_MAX: u64 = 256 * 1024;
/// The same where all together are far ahead: clients that take nothing of ten thousand pages cost no gigabytes.
const WINDOW_MIN: u64 = 8 * 1024;
/// How far all together may be ahead before each is less.
const ALL_MAX: i64 = 64 * 1024 * 1024;

/// Octets of one fill that are here and neither stored nor taken by all who read it, as a share of those of all fills.
#[derive(Debug, Default)]
pub(in crate::cache::fill) struct Ahead {
    all: Gauge,
    octets: i64,
}

impl Ahead {
    /// None as yet.
    pub(in crate::cache::fill) fn new(all: Gauge) -> Self {
        Self { all, octets: 0 }
    }

    /// It is so many by now.
    pub(super) fn set(&mut self, octets: u64) {
        let octets = i64::try_from(octets).unwrap_or(i64::MAX);
        if octets != self.octets {
            self.all.inc_by(octets - self.octets);
            self.octets = octets;
        }
    }

    /// Whether all together are far ahead.
    pub(in crate::cache::fill) fn is_over(&self) -> bool {
        self.all.get() > ALL_MAX
    }

    /// Whether somebody is so far behind that the others wait.
    pub(super) fn blocks(&self, place: &Place, received: u64) -> bool {
        blocks(place, received, self.window())
    }

    fn window(&self) -> u64 {
        if self.is_over() {
            WINDOW_MIN
        } else {
            WINDOW_MAX
        }
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.set(0);
    }
}

/// A follower that holds the others back for this long is cut.
pub(in crate::cache::fill) const FOLLOWER_PATIENCE: Duration = Duration::from_secs(30);

impl State {
    /// Ready when the writer may write. Else the moment from which on whoever holds others back is cut; none where
    /// everybody is slow, which is for each one's own connection to judge.
    pub(in crate::cache::fill) fn poll_ready(
        &mut self,
        now: Instant,
        cx: &Context<'_>,
    ) -> Result<(), Option<Instant>> {
        let window = self.ahead.window();
        let mut blocking = None;
        let mut held_back = false;
        if let Phase::Streaming(streaming) = &self.phase
            && streaming.keep != Keep::Storing
            && !self.given_up
        {
            let received = streaming.body.received();
            let counted = self.places.iter().flatten();
            for place in counted.filter(|place| counts(place, streaming.audience)) {
                if blocks(place, received, window) {
                    blocking =
                        Some(blocking.map_or(place.moved, |it: Option<_>| it.min(place.moved)));
                } else {
                    held_back = true;
                }
            }
        }
        let Some(longest) = blocking else {
            self.paced = None;
            return Ok(());
        };
        self.ready = Some(cx.waker().clone());
        if !held_back {
            self.paced = None;
            return Err(None);
        }
        let paced = *self.paced.get_or_insert(now);
        let since = longest.map_or(paced, |moved| moved.max(paced));
        Err(Some(since + FOLLOWER_PATIENCE))
    }

    /// Cuts those who have held the others back for too long.
    pub(in crate::cache::fill) fn cut_overdue(&mut self, now: Instant, wakers: &mut Wakers) {
        let (Phase::Streaming(streaming), Some(paced)) = (&self.phase, self.paced) else {
            return;
        };
        let received = streaming.body.received();
        let window = self.ahead.window();
        for place in self.places.iter_mut().flatten() {
            let since = place.moved.map_or(paced, |moved| moved.max(paced));
            if counts(place, streaming.audience)
                && blocks(place, received, window)
                && now >= since + FOLLOWER_PATIENCE
            {
                place.cut = true;
                wakers.0.extend(place.waker.take());
            }
        }
        if self.lasting != Lasting::Fed && !self.anybody() {
            self.give_up(wakers);
        }
    }
}

impl State {
    /// Whether little of the body is to come at once.
    pub(in crate::cache::fill) fn takes_little(&self) -> bool {
        self.ahead.is_over()
    }

    /// Counts what is here of a body that is passed on.
    pub(super) fn recount(&mut self) {
        self.ahead.set(match &self.phase {
            Phase::Streaming(streaming) if streaming.keep != Keep::Storing => streaming.body.held(),
            Phase::Streaming(_) | Phase::Waiting | Phase::Settled(_) => 0,
        });
    }
}

/// Whether somebody may have the body.
pub(super) fn counts(place: &Place, audience: Audience) -> bool {
    !place.cut && (audience == Audience::Everyone || place.leader)
}

/// Whether somebody is so far behind that the others wait.
fn blocks(place: &Place, received: u64, window: u64) -> bool {
    received.saturating_sub(place.octet) >= window
}
