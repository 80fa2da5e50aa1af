//! How fast a body that is not stored may come: no faster than the slowest follower reads, whose patience with it is limited.

use super::follow::Place;
use super::{Audience, Keep, Lasting, Phase, State, Wakers};
use crate::clock::Instant;
use std::task::Context;
use std::time::Duration;

/// What is passed on without being stored may be this far ahead of the slowest follower, in octets.
pub(in crate::cache::fill) const WINDOW_MAX: u64 = 256 * 1024;
/// The same where many are passed on at once: clients that take nothing of ten thousand pages cost no gigabytes.
const WINDOW_MIN: u64 = 16 * 1024;
/// What all together may be ahead, about.
const WINDOWS: u64 = 256 * 1024 * 1024;

/// The window of one that begins as one of so many.
pub(in crate::cache::fill) fn window(fills: i64) -> u64 {
    let fills = u64::try_from(fills).unwrap_or_default().max(1);
    (WINDOWS / fills).clamp(WINDOW_MIN, WINDOW_MAX)
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
        let mut blocking = None;
        let mut held_back = false;
        if let Phase::Streaming(streaming) = &self.phase
            && streaming.keep != Keep::Storing
            && !self.given_up
        {
            let received = streaming.body.received();
            let counted = self.places.iter().flatten();
            for place in counted.filter(|place| counts(place, streaming.audience)) {
                if blocks(place, received, self.window) {
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
        for place in self.places.iter_mut().flatten() {
            let since = place.moved.map_or(paced, |moved| moved.max(paced));
            if counts(place, streaming.audience)
                && blocks(place, received, self.window)
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

/// Whether somebody may have the body.
pub(super) fn counts(place: &Place, audience: Audience) -> bool {
    !place.cut && (audience == Audience::Everyone || place.leader)
}

/// Whether somebody is so far behind that the others wait.
pub(super) fn blocks(place: &Place, received: u64, window: u64) -> bool {
    received.saturating_sub(place.octet) >= window
}
