//! Whether the program is taking requests, and how many connections it holds.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;
use tokio::sync::{Notify, watch};

/// How long a silent connection is kept once a drain has begun.
const SILENCE: Duration = Duration::from_secs(1);

/// Shared by every accept loop and connection.
#[derive(Debug)]
pub struct Lifecycle {
    draining: watch::Sender<bool>,
    connections: AtomicUsize,
    left: Notify,
}

/// Counts a connection while it lives.
#[derive(Debug)]
pub struct Connected(Arc<Lifecycle>);

impl Lifecycle {
    /// A program that is taking requests.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            draining: watch::Sender::new(false),
            connections: AtomicUsize::new(0),
            left: Notify::new(),
        })
    }

    /// From now on, connections end with the answer they are giving, and idle ones at once.
    pub fn begin_drain(&self) {
        self.draining.send_replace(true);
    }

    /// Whether a drain has begun.
    pub fn is_draining(&self) -> bool {
        *self.draining.borrow()
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
        Connected(self.clone())
    }

    /// Resolves when fewer than `limit` connections are open.
    pub async fn has_room(&self, limit: usize) {
        loop {
            let left = self.left.notified();
            tokio::pin!(left);
            left.as_mut().enable();
            if self.connections() < limit {
                return;
            }
            left.await;
        }
    }

    /// Resolves when no connection is open.
    pub async fn emptied(&self) {
        self.has_room(1).await;
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, SeqCst);
        self.0.left.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

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
}
