//! Which bodies lie where the kernel can send them from: large ones that a client was sent that the kernel can send to.
//!
//! What comes is kept as it comes, for most of it is asked for by nobody, and who reads encrypted needs the octets in our
//! own memory. The first hit that the kernel could serve has the body moved, behind its own back, on a thread that may
//! block. Meanwhile it takes twice its memory, which is reserved; where there is none, it stays and a later hit tries again.

use super::super::response::StoredResponse;
use super::super::segments::Moving;
use super::Store;
use super::account::Charge;
use crate::arena::Arena;
use prometheus_client::metrics::gauge::Gauge;
use std::sync::Arc;
use tokio::runtime::Handle;

/// Moved at once. One is a copy, at the memory's speed.
pub(super) const AT_ONCE: usize = 2;

impl Store {
    /// A stored response is about to be sent, or was, to a client that the kernel can send to: where its body is large, it is
    /// moved to where that is possible, for those who come next.
    pub fn move_behind(&self, stored: &StoredResponse) {
        let Some(moving) = stored.claim_move() else {
            return;
        };
        let (Ok(runtime), Ok(place)) = (
            Handle::try_current(),
            Arc::clone(&self.inner.movers).try_acquire_owned(),
        ) else {
            return;
        };
        let store = self.clone();
        runtime.spawn_blocking(move || {
            store.move_body(moving);
            drop(place);
        });
    }

    pub(super) fn move_body(&self, moving: Moving) {
        let bytes = Arena::bytes_for(moving.length());
        let Some(arena) = self.arena() else {
            moving.keep();
            return;
        };
        let Some(mut room) = self.reserve(bytes) else {
            return;
        };
        let counted = Moved::new(room.take(bytes).charge, &self.inner.account.in_arena);
        let moved = moving.run(|octets, length| arena.store(octets, length, counted));
        drop(room);
        if let Err(error) = moved {
            tracing::warn!(
                "a stored body of {bytes} octets is sent by copying it, for it could not be moved: {error}"
            );
        }
    }

    /// The arena, made when it is first wanted. None where the system has none to give.
    fn arena(&self) -> Option<&Arc<Arena>> {
        let arena = self.inner.arena.get_or_init(|| {
            let made = Arena::new();
            if let Err(error) = &made {
                tracing::info!("stored bodies are sent by copying them: {error}");
            }
            made.ok()
        });
        arena.as_ref()
    }
}

/// What is counted of a body in the arena, for as long as it lies there.
#[derive(Debug)]
struct Moved {
    charge: Charge,
    in_arena: Gauge,
}

impl Moved {
    fn new(charge: Charge, in_arena: &Gauge) -> Self {
        in_arena.inc_by(super::account::signed(charge.bytes()));
        Self {
            charge,
            in_arena: in_arena.clone(),
        }
    }
}

impl Drop for Moved {
    fn drop(&mut self) {
        self.in_arena
            .dec_by(super::account::signed(self.charge.bytes()));
    }
}

#[cfg(test)]
#[path = "moved_tests.rs"]
mod tests;
