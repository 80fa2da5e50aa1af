//! Wakes a connection's loop, but for what the loop does itself while it takes its turn.
//!
//! The h2 crate wakes the connection whenever something is given to it to send, and the loop that gave it would be run once more
//! for nothing. A wake in the middle of a turn is remembered instead: the loop looks before it ends the turn.

use futures::task::AtomicWaker;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::SeqCst};
use std::task::{Wake, Waker};

/// Nobody is at it: a wake goes on to the task.
const AWAY: u8 = 0;
/// The loop is taking its turn.
const BUSY: u8 = 1;
/// It was woken meanwhile.
const AGAIN: u8 = 2;

/// A loop's waker.
#[derive(Debug, Default)]
pub struct Rouse {
    task: AtomicWaker,
    state: AtomicU8,
}

impl Rouse {
    /// The loop begins its turn, for this task, or begins anew in it: all that it was woken for until now it will see.
    pub fn begin(&self, task: &Waker) {
        self.task.register(task);
        self.state.store(BUSY, SeqCst);
    }

    /// The loop has nothing more to do. False where it was woken since it began.
    pub fn end(&self) -> bool {
        self.state
            .compare_exchange(BUSY, AWAY, SeqCst, SeqCst)
            .is_ok()
    }

    /// The loop's turn ends whether it has more to do or not, and will be taken again.
    pub fn leave(&self) {
        self.state.store(AWAY, SeqCst);
    }
}

impl Wake for Rouse {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let away = self
            .state
            .fetch_update(SeqCst, SeqCst, |state| (state != AWAY).then_some(AGAIN))
            .is_err();
        if away {
            self.task.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[derive(Default)]
    struct Counted(AtomicUsize);

    impl Wake for Counted {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, SeqCst);
        }
    }

    #[test]
    fn a_wake_within_a_turn_is_remembered_and_one_behind_it_goes_on() {
        let counted = Arc::new(Counted::default());
        let task = Waker::from(Arc::clone(&counted));
        let rouse = Arc::new(Rouse::default());
        let waker = Waker::from(Arc::clone(&rouse));
        rouse.begin(&task);
        waker.wake_by_ref();
        assert!(!rouse.end(), "it was woken");
        rouse.begin(&task);
        assert!(rouse.end(), "what it was woken for it has seen");
        assert_eq!(counted.0.load(SeqCst), 0);
        waker.wake_by_ref();
        assert_eq!(counted.0.load(SeqCst), 1);
        rouse.begin(&task);
        waker.wake_by_ref();
        rouse.leave();
        waker.wake_by_ref();
        assert_eq!(counted.0.load(SeqCst), 2);
    }
}
