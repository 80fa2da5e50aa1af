//! Has a stream wait until its connection's loop has sent what the stream gave it.
//!
//! A reset throws away what is still queued of its stream (RFC 9113 §5.4.2 allows it): the head and the octets of an answer that
//! breaks off would be lost to the client, though they had come.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::task::Waker;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::timeout;

/// A client that takes nothing gets the reset all the same.
const PATIENCE: Duration = Duration::from_secs(1);

/// The turns of a connection's loop. Clones are the same.
#[derive(Debug, Clone)]
pub struct Turns {
    shared: Arc<Shared>,
    /// Has the loop take another.
    waker: Waker,
}

#[derive(Debug, Default)]
struct Shared {
    wanted: AtomicBool,
    ended: Notify,
}

impl Turns {
    /// Of the loop that this wakes.
    pub fn new(waker: Waker) -> Self {
        Self {
            shared: Arc::default(),
            waker,
        }
    }

    /// The loop has ended a turn, and the socket has taken what there was. Costs a load where nobody waits.
    pub fn ended(&self) {
        if self.shared.wanted.load(SeqCst) && self.shared.wanted.swap(false, SeqCst) {
            self.shared.ended.notify_waiters();
        }
    }

    /// Resolves when the loop has taken a whole turn from now on. A second at most: the client may take nothing, and the loop have
    /// ended.
    pub async fn whole(&self) {
        let two = async {
            // The first may have been under way.
            for _ in 0..2 {
                let mut ended = std::pin::pin!(self.shared.ended.notified());
                ended.as_mut().enable();
                self.shared.wanted.store(true, SeqCst);
                self.waker.wake_by_ref();
                ended.await;
            }
        };
        let _ = timeout(PATIENCE, two).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[tokio::test(start_paused = true)]
    async fn it_is_over_with_the_second_end_or_with_patience() {
        let turns = Turns::new(Waker::noop().clone());
        turns.ended();
        let mut whole = Box::pin(turns.whole());
        assert!(whole.as_mut().now_or_never().is_none());
        turns.ended();
        assert!(whole.as_mut().now_or_never().is_none());
        turns.ended();
        assert!(whole.as_mut().now_or_never().is_some());
        let began = crate::clock::now();
        turns.whole().await;
        assert_eq!(crate::clock::now() - began, PATIENCE);
    }
}
