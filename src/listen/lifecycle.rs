//! Whether the program is taking requests, and how many connections it holds.

use super::backlog;
use super::crowd::{Crowd, Held, Place, QUIET};
use super::under_way;
use crate::clock::{self, Instant};
use parking_lot::Mutex;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};
use std::task::Waker;
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

/// How long a silent connection is kept once a drain has begun.
pub(super) const SILENCE: Duration = Duration::from_secs(1);

/// The word for a connection that made room.
pub(super) const CROWDED: &str = "shed";

/// How often silent connections are asked for room while there is none.
const ASKED_EVERY: Duration = Duration::from_millis(500);

/// Between two lines of the program's log that say so.
const TOLD_EVERY: Duration = Duration::from_secs(60);

/// As few connections as are room enough: where one more was too many, many more may be waiting.
fn enough(most: usize) -> usize {
    most.saturating_sub((most / 16).max(1))
}

/// Shared by every accept loop and connection.
#[derive(Debug)]
pub struct Lifecycle {
    draining: watch::Sender<bool>,
    /// The same without a lock, for what is asked with each request.
    began: OnceLock<Instant>,
    seats: Mutex<Seats>,
    connections: AtomicUsize,
    /// As many as there may be, as those said who asked for room.
    most: AtomicUsize,
    /// Whether silent connections are to make room, until there is some.
    asking: AtomicBool,
    crowd: Crowd,
    held: backlog::Total,
    under_way: under_way::Total,
    asked: Mutex<Asked>,
    left: Notify,
}

/// When silent connections were last asked for room, and when that was told. Held for a look at it.
#[derive(Debug, Default)]
struct Asked {
    last: Option<Instant>,
    told: Option<Instant>,
}

/// Who wants to be woken when a drain begins. Held to come, to go and to begin a drain; no waker is called meanwhile.
#[derive(Debug, Default)]
struct Seats {
    wakers: Vec<Option<Waker>>,
    free: Vec<usize>,
}

/// A task's place among those that a drain wakes, until it is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    lifecycle: Arc<Lifecycle>,
    index: usize,
}

/// Counts a connection while it lives.
#[derive(Debug)]
pub struct Connected {
    lifecycle: Arc<Lifecycle>,
    /// Whose it is, once that is known.
    held: Option<Held>,
}

impl Lifecycle {
    /// A program that is taking requests.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            draining: watch::Sender::new(false),
            began: OnceLock::new(),
            seats: Mutex::default(),
            connections: AtomicUsize::new(0),
            most: AtomicUsize::new(usize::MAX),
            asking: AtomicBool::new(false),
            crowd: Crowd::new(),
            held: backlog::Total::default(),
            under_way: under_way::Total::default(),
            asked: Mutex::default(),
            left: Notify::new(),
        })
    }

    /// From now on, connections end with the answer they are giving, and idle ones at once.
    pub fn begin_drain(&self) {
        // Before anybody is woken: who takes a seat later than the wakers are collected looks at this afterwards.
        let _ = self.began.set(clock::now());
        self.draining.send_replace(true);
        let wakers: Vec<_> = {
            let mut seats = self.seats.lock();
            seats.wakers.iter_mut().filter_map(Option::take).collect()
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Whether a drain has begun. Costs one load of what all threads may read at once.
    pub fn is_draining(&self) -> bool {
        self.drain_began().is_some()
    }

    /// When a drain began, if one has.
    pub fn drain_began(&self) -> Option<Instant> {
        self.began.get().copied()
    }

    /// Has a task woken when a drain begins. Whoever sits down looks whether one has begun after that, not before.
    pub(super) fn sit(self: &Arc<Self>, waker: Waker) -> Seat {
        let mut seats = self.seats.lock();
        let index = if let Some(index) = seats.free.pop() {
            seats.wakers[index] = Some(waker);
            index
        } else {
            seats.wakers.push(Some(waker));
            seats.wakers.len() - 1
        };
        Seat {
            lifecycle: self.clone(),
            index,
        }
    }

    /// Resolves when a drain begins.
    pub async fn draining(&self) {
        // The sender lives as long as `self`, so waiting cannot fail.
        let _ = self
            .draining
            .subscribe()
            .wait_for(|draining| *draining)
            .await;
    }

    /// Resolves when a connection that has nothing to say should close: a request that is under way by the time a drain
    /// begins is still answered, with `Connection: close`, instead of meeting a closed connection.
    pub async fn silence_is_over(&self) {
        self.draining().await;
        tokio::time::sleep(SILENCE).await;
    }

    /// Connections now open.
    pub fn connections(&self) -> usize {
        self.connections.load(SeqCst)
    }

    /// Counts one more connection.
    pub fn connected(self: &Arc<Self>) -> Connected {
        self.connections.fetch_add(1, SeqCst);
        Connected {
            lifecycle: self.clone(),
            held: None,
        }
    }

    /// What is held in memory for all clients.
    pub(super) fn held(&self) -> backlog::Total {
        self.held.clone()
    }

    /// How many requests of HTTP/2 are under way.
    pub(super) fn under_way(&self) -> under_way::Total {
        self.under_way.clone()
    }

    /// Resolves when fewer than `most` connections are open. Meanwhile silent ones are asked for room.
    pub async fn has_room(&self, most: usize) {
        loop {
            let left = self.left.notified();
            tokio::pin!(left);
            left.as_mut().enable();
            if self.connections() < most {
                return;
            }
            self.ask_for_room(most);
            // Some were not silent for long enough.
            let _ = timeout(ASKED_EVERY, left).await;
        }
    }

    /// Resolves when no connection is open.
    pub async fn emptied(&self) {
        loop {
            let left = self.left.notified();
            tokio::pin!(left);
            left.as_mut().enable();
            if self.connections() == 0 {
                return;
            }
            left.await;
        }
    }

    /// How many connections there may be, where silent ones are to make room. Asked with each request: one load of what is
    /// seldom written.
    pub(super) fn is_full(&self) -> Option<usize> {
        if !self.asking.load(Relaxed) {
            return None;
        }
        let most = self.most.load(Relaxed);
        (self.connections.load(Relaxed) > enough(most)).then_some(most)
    }

    pub(super) fn crowd(&self) -> &Crowd {
        &self.crowd
    }

    /// Wakes everybody, now and then: each knows by itself whether it is silent, since when, and whose it is.
    pub(super) fn ask_for_room(&self, most: usize) {
        let now = clock::now();
        let tell = {
            let mut asked = self.asked.lock();
            let is_over = |since: Option<Instant>, time| since.is_none_or(|it| now - it >= time);
            if !is_over(asked.last, ASKED_EVERY / 2) {
                return;
            }
            asked.last = Some(now);
            self.most.store(most, Relaxed);
            self.asking.store(true, Relaxed);
            let tell = is_over(asked.told, TOLD_EVERY);
            if tell {
                asked.told = Some(now);
            }
            tell
        };
        if tell && let Some((client, count)) = self.crowd.largest() {
            tracing::warn!(
                "{most} connections are open, as many as may be: those that are silent for {} s make room, of clients that \
                 hold at least their share; {client} holds {count}",
                QUIET.as_secs()
            );
        }
        let wakers: Vec<_> = {
            let seats = self.seats.lock();
            seats.wakers.iter().flatten().cloned().collect()
        };
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl Connected {
    /// Whose it is. What was said before is forgotten: behind a balancer it is known a moment later.
    pub(super) fn is_of(&mut self, address: IpAddr) {
        // The one before goes first, for it may be of the same client.
        self.held = None;
        self.held = Some(Held::new(&self.lifecycle, address));
    }

    /// How many connections its client has, this one included.
    pub(super) fn of_client(&self) -> usize {
        self.held.as_ref().map_or(1, Held::count)
    }

    /// What the connection is told of its client's others.
    pub(super) fn place(&self) -> Place {
        let nobodys = || Place::nobodys(self.lifecycle.clone());
        self.held.as_ref().map_or_else(nobodys, Held::place)
    }
}

impl Seat {
    /// Has this waker called instead of the one before. What is said of [`Lifecycle::sit`] is true of it.
    pub(super) fn move_to(&self, waker: Waker) {
        // The waker before may be the last of its task, which is not for dropping under the lock.
        let _before = self.lifecycle.seats.lock().wakers[self.index].replace(waker);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut seats = self.lifecycle.seats.lock();
        let waker = seats.wakers[self.index].take();
        seats.free.push(self.index);
        drop(seats);
        drop(waker);
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        // Its client has one less before there is room, so that the next of it is not one too many.
        self.held = None;
        let left = self.lifecycle.connections.fetch_sub(1, SeqCst) - 1;
        if self.lifecycle.asking.load(Relaxed) && left <= enough(self.lifecycle.most.load(Relaxed))
        {
            self.lifecycle.asking.store(false, Relaxed);
        }
        self.lifecycle.left.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use std::task::Wake;

    #[tokio::test]
    async fn room_comes_back_with_the_connection_that_leaves() {
        let lifecycle = Lifecycle::new();
        let first = lifecycle.connected();
        let mut room = Box::pin(lifecycle.has_room(1));
        assert!(room.as_mut().now_or_never().is_none());
        drop(first);
        room.await;
        lifecycle.emptied().await;
    }

    #[tokio::test]
    async fn a_drain_is_seen_before_and_after_it_begins() {
        let lifecycle = Lifecycle::new();
        let mut waiting = Box::pin(lifecycle.draining());
        assert!(waiting.as_mut().now_or_never().is_none());
        lifecycle.begin_drain();
        waiting.await;
        lifecycle.draining().await;
        assert!(lifecycle.is_draining());
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_begins_once() {
        let lifecycle = Lifecycle::new();
        assert_eq!(lifecycle.drain_began(), None);
        let now = clock::now();
        lifecycle.begin_drain();
        tokio::time::advance(SILENCE).await;
        lifecycle.begin_drain();
        assert_eq!(lifecycle.drain_began(), Some(now));
    }

    #[test]
    fn a_drain_wakes_who_has_a_seat_then() {
        let lifecycle = Lifecycle::new();
        let [gone, stays, moved, latest] = std::array::from_fn(|_| counting_waker());
        let left = lifecycle.sit(gone.1);
        let _stays = lifecycle.sit(stays.1);
        drop(left);
        // The seat that is free again is taken first.
        let seat = lifecycle.sit(moved.1);
        assert_eq!(seat.index, 0);
        seat.move_to(latest.1);
        lifecycle.begin_drain();
        let woken = [&gone.0, &stays.0, &moved.0, &latest.0].map(|woken| woken.load(SeqCst));
        assert_eq!(woken, [0, 1, 0, 1]);
        drop(seat);
        assert_eq!(lifecycle.seats.lock().free, [0]);
    }

    /// A waker, and how often it was called.
    fn counting_waker() -> (Arc<AtomicUsize>, Waker) {
        struct Count(Arc<AtomicUsize>);
        impl Wake for Count {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, SeqCst);
            }
        }
        let count = Arc::new(AtomicUsize::new(0));
        (count.clone(), Arc::new(Count(count)).into())
    }
}
