//! How fast a body that is not stored may come: no faster than the slowest follower reads, whose patience with it is limited.

use super::follow::Place;
use super::{Audience, Keep, Lasting, Phase, State, Wakers};
use crate::clock::Instant;
use std::task::Context;
use std::time::Duration;

/// What is passed on without being stored may be this far ahead of the slowest follower.
pub(in crate::cache::fill) const WINDOW: u64 = 256 * 1024;

/// A follower that holds the others back for this long is cut.
pub(in crate::cache::fill) const FOLLOWER_PATIENCE: Duration = Duration::from_secs(30);

impl State {
    /// Ready when the writer may write. Else the moment from which on whoever holds the others back is cut.
    pub(in crate::cache::fill) fn poll_ready(
        &mut self,
        now: Instant,
        cx: &Context<'_>,
    ) -> Result<(), Instant> {
        let waits = match &self.phase {
            Phase::Streaming(streaming) if streaming.keep != Keep::Storing => {
                let received = streaming.body.received();
                let counted = self.places.iter().flatten();
                counted
                    .filter(|place| counts(place, streaming.audience) && blocks(place, received))
                    .map(|place| place.moved)
                    .min()
            }
            _ => None,
        };
        let Some(longest) = waits.filter(|_| !self.given_up) else {
            self.paced = None;
            return Ok(());
        };
        let paced = *self.paced.get_or_insert(now);
        self.ready = Some(cx.waker().clone());
        Err(longest.map_or(paced, |moved| moved.max(paced)) + FOLLOWER_PATIENCE)
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
                && blocks(place, received)
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
pub(super) fn blocks(place: &Place, received: u64) -> bool {
    received.saturating_sub(place.octet) >= WINDOW
}
