//! Who may be connected to the control plane: so many at once, and when all seats are taken, the one that has been silent longest
//! leaves. Whoever asks for nothing keeps no probe, scrape or purge out.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body, Frame, SizeHint};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::clock::{self, Instant};

/// Connections at once. More wait in the kernel's queue.
const SEATS: usize = 256;
/// How long a connection may be silent even where others wait: callers are near, and send what they want at once.
const QUIET: Duration = Duration::from_millis(500);

/// All seats.
#[derive(Debug, Default)]
pub(super) struct Seats {
    taken: Mutex<Taken>,
    freed: Notify,
}

#[derive(Debug, Default)]
struct Taken {
    seats: HashMap<u64, Sitting>,
    /// That of the last who came.
    last: u64,
}

#[derive(Debug)]
struct Sitting {
    /// Requests that are being answered.
    busy: usize,
    /// Since when there is none.
    silent: Instant,
    leave: Arc<Notify>,
}

/// A connection's seat, until it is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    seats: Arc<Seats>,
    number: u64,
    leave: Arc<Notify>,
}

/// A request that is being answered, until it is dropped.
#[derive(Debug)]
pub(super) struct Busy(Arc<Seat>);

/// The body of an answer, until the last of it was taken up to be sent.
pub(super) struct Answering<B> {
    body: B,
    _busy: Busy,
}

impl Seats {
    /// Resolves with a seat. Where there is none, somebody silent has to go.
    pub(super) async fn take(self: &Arc<Self>) -> Seat {
        loop {
            let freed = self.freed.notified();
            match self.seat() {
                Some(seat) => return seat,
                None => self.ask_to_leave(),
            }
            let _ = timeout(QUIET, freed).await;
        }
    }

    fn seat(self: &Arc<Self>) -> Option<Seat> {
        let mut taken = self.taken.lock();
        if taken.seats.len() >= SEATS {
            return None;
        }
        taken.last += 1;
        let (number, leave) = (taken.last, Arc::<Notify>::default());
        let sitting = Sitting {
            busy: 0,
            silent: clock::now(),
            leave: leave.clone(),
        };
        taken.seats.insert(number, sitting);
        drop(taken);
        Some(Seat {
            seats: self.clone(),
            number,
            leave,
        })
    }

    fn ask_to_leave(&self) {
        let now = clock::now();
        let taken = self.taken.lock();
        let silent = taken.seats.values().filter(|sitting| {
            sitting.busy == 0 && now.saturating_duration_since(sitting.silent) >= QUIET
        });
        if let Some(longest) = silent.min_by_key(|sitting| sitting.silent) {
            longest.leave.notify_one();
        }
    }

    fn change(&self, number: u64, change: impl FnOnce(&mut Sitting)) {
        if let Some(sitting) = self.taken.lock().seats.get_mut(&number) {
            change(sitting);
        }
    }
}

impl Seat {
    /// Resolves when another needs it.
    pub(super) async fn is_needed(&self) {
        self.leave.notified().await;
    }

    /// A request has come.
    pub(super) fn busy(self: &Arc<Self>) -> Busy {
        self.seats.change(self.number, |sitting| sitting.busy += 1);
        Busy(self.clone())
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.seats.taken.lock().seats.remove(&self.number);
        self.seats.freed.notify_one();
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.seats.change(self.0.number, |sitting| {
            sitting.busy -= 1;
            sitting.silent = clock::now();
        });
    }
}

impl<B> Answering<B> {
    /// The body of the answer to what is busy.
    pub(super) fn new(body: B, busy: Busy) -> Self {
        Self { body, _busy: busy }
    }
}

impl<B: Body + Unpin> Body for Answering<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[tokio::test(start_paused = true)]
    async fn who_is_silent_longest_leaves_and_who_is_answered_stays() {
        let seats = Arc::new(Seats::default());
        let mut sitting = Vec::new();
        for _ in 0..SEATS {
            sitting.push(Arc::new(seats.take().await));
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        let busy = sitting[0].busy();
        let next = Arc::new(Notify::new());
        let taking = tokio::spawn({
            let (seats, next) = (seats.clone(), next.clone());
            async move {
                let _seat = seats.take().await;
                next.notified().await;
            }
        });
        sitting[1].is_needed().await;
        assert!(sitting[0].is_needed().now_or_never().is_none());
        assert!(sitting[2].is_needed().now_or_never().is_none());
        drop(sitting.remove(1));
        while seats.taken.lock().seats.len() < SEATS {
            tokio::task::yield_now().await;
        }
        // Once it is answered, it is the last to have been heard of.
        drop(busy);
        let another = tokio::spawn({
            let seats = seats.clone();
            async move { drop(seats.take().await) }
        });
        sitting[1].is_needed().await;
        drop(sitting.remove(1));
        another.await.expect("it has a seat");
        next.notify_one();
        taking.await.expect("it had a seat");
        drop(sitting);
        assert!(seats.taken.lock().seats.is_empty());
    }
}
