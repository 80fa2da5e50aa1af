//! Decides when a connection that nothing comes on has been idle for too long, at next to no cost for each request.
//!
//! There is one timer for a connection's life. What comes only notes when; the timer is set anew when it fires, or where it
//! is to fire sooner than before. Of a drain the connection is told through its task's waker, once.

use super::crowd::{Place, QUIET};
use super::lifecycle::{SILENCE, Seat};
use crate::clock::Instant;
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::task::coop::unconstrained;
use tokio::time::{Sleep, sleep_until};

/// Why it is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// It was idle for too long, or a drain began.
    Idle,
    /// Others need its place.
    Crowded,
}

/// A connection's patience. 64 octets, and 120 for the timer once something was waited for.
#[derive(Debug)]
pub struct Idle {
    place: Place,
    /// When the connection was last known not to be idle.
    last: Instant,
    timer: Option<Pin<Box<Sleep>>>,
    /// What the timer and the seat wake.
    waker: Option<Waker>,
    seat: Option<Seat>,
}

impl Idle {
    /// For a connection that has begun now.
    pub fn new(now: Instant, place: Place) -> Self {
        Self {
            place,
            last: now,
            timer: None,
            waker: None,
            seat: None,
        }
    }

    /// What is known of its client's other connections.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The connection is not idle now: something came, or the last of an answer has left. An instant that the caller has
    /// anyway is good enough.
    pub fn touch(&mut self, now: Instant) {
        self.last = now;
    }

    /// Resolves when the connection has been idle for `idle_timeout`, or where a drain has begun or its place is needed, for a
    /// second. To be polled where a read is pending. Another `idle_timeout` than before is true from this call on.
    pub fn poll(&mut self, idle_timeout: Duration, cx: &mut Context<'_>) -> Poll<Over> {
        let known = self.know(cx);
        // Asked after the seat was taken, so that a drain that begins meanwhile is seen here or wakes us.
        let (due, over) = self.due(idle_timeout);
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(sleep_until(due)))
            .as_mut();
        Self::wait(timer, due, known, cx).map(|()| over)
    }

    /// Resolves where its place is needed, a second after it was last known not to be idle: it has begun a request, and does not
    /// come to the head's end.
    pub fn poll_crowded(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // Asked after the seat was taken, as above; a room that is asked for later wakes us.
        let known = self.know(cx);
        if !self.place.is_to_go() {
            return Poll::Pending;
        }
        let due = later(self.last, QUIET);
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(sleep_until(due)))
            .as_mut();
        Self::wait(timer, due, known, cx)
    }

    /// When it is over, if nothing comes, and why.
    fn due(&self, idle_timeout: Duration) -> (Instant, Over) {
        let due = later(self.last, idle_timeout);
        if self.place.is_to_go() && QUIET < idle_timeout {
            return (later(self.last, QUIET), Over::Crowded);
        }
        let due = match self.place.lifecycle().drain_began() {
            // A request that was under way by then is still answered, instead of meeting a closed connection.
            Some(began) => due.min(later(self.last.max(began), SILENCE)),
            None => due,
        };
        (due, Over::Idle)
    }

    /// Whether timer and seat have this task's waker. If not, the seat has it now.
    fn know(&mut self, cx: &Context<'_>) -> bool {
        let known = self
            .waker
            .as_ref()
            .is_some_and(|waker| waker.will_wake(cx.waker()));
        if !known {
            let waker = cx.waker();
            match &self.seat {
                Some(seat) => seat.move_to(waker.clone()),
                None => self.seat = Some(self.place.lifecycle().sit(waker.clone())),
            }
            self.waker = Some(waker.clone());
        }
        known
    }

    fn wait(
        mut timer: Pin<&mut Sleep>,
        due: Instant,
        mut known: bool,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        loop {
            let fired = timer.is_elapsed();
            if fired && timer.deadline() >= due {
                return Poll::Ready(());
            }
            if fired || timer.deadline() > due {
                timer.as_mut().reset(due);
                known = false;
            }
            if known {
                // Nothing to poll for: the timer has our waker, and tells by its state that it has not fired.
                return Poll::Pending;
            }
            // A timer that the task's budget kept from taking our waker would never be polled again.
            if pin!(unconstrained(timer.as_mut())).poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }
}

/// Some of what an operator may write is beyond what an instant can say; a year is for ever.
fn later(instant: Instant, by: Duration) -> Instant {
    instant
        .checked_add(by)
        .unwrap_or_else(|| instant + Duration::from_secs(365 * 24 * 60 * 60))
}

#[cfg(test)]
mod tests {
    use super::super::crowd::Held;
    use super::super::lifecycle::Lifecycle;
    use super::*;
    use crate::clock;
    use futures::FutureExt;
    use std::future::poll_fn;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::task::Wake;
    use tokio::time::{advance, timeout};

    const TIMEOUT: Duration = Duration::from_secs(75);
    const MILLISECOND: Duration = Duration::from_millis(1);

    fn of(lifecycle: &Arc<Lifecycle>, now: Instant) -> Idle {
        Idle::new(now, Place::nobodys(lifecycle.clone()))
    }

    /// How long it takes until it is over, to the timer's millisecond.
    async fn over(idle: &mut Idle, idle_timeout: Duration) -> Duration {
        let before = clock::now();
        poll_fn(|cx| idle.poll(idle_timeout, cx)).await;
        clock::now() - before
    }

    fn assert_near(found: Duration, expected: Duration) {
        assert!(
            found >= expected && found <= expected + 2 * MILLISECOND,
            "{found:?}, not {expected:?}"
        );
    }

    /// Counts how often it wakes.
    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, SeqCst);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_over_after_the_timeout_and_stays_so() {
        let lifecycle = Lifecycle::new();
        let mut idle = of(&lifecycle, clock::now());
        assert_near(over(&mut idle, TIMEOUT).await, TIMEOUT);
        assert_eq!(
            over(&mut idle, TIMEOUT).await,
            Duration::ZERO,
            "nothing came"
        );
        idle.touch(clock::now());
        assert_near(over(&mut idle, TIMEOUT).await, TIMEOUT);
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_defers_it_without_setting_the_timer() {
        let lifecycle = Lifecycle::new();
        let mut idle = of(&lifecycle, clock::now());
        let first = clock::now() + TIMEOUT;
        for _ in 0..10 {
            let polled = poll_fn(|cx| idle.poll(TIMEOUT, cx)).now_or_never();
            assert_eq!(polled, None);
            advance(Duration::from_secs(5)).await;
            idle.touch(clock::now());
            let deadline = idle.timer.as_ref().map(|timer| timer.deadline());
            assert_eq!(deadline, Some(first));
        }
        assert_near(over(&mut idle, TIMEOUT).await, TIMEOUT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_leaves_a_second() {
        let lifecycle = Lifecycle::new();
        let mut idle = of(&lifecycle, clock::now());
        let draining = lifecycle.clone();
        let begun = async move {
            tokio::time::sleep(Duration::from_secs(10)).await;
            draining.begin_drain();
        };
        let (waited, ()) = tokio::join!(over(&mut idle, TIMEOUT), begun);
        assert_near(waited, Duration::from_secs(10) + SILENCE);

        // What comes then has its own second, and a connection that was at work when it began too.
        idle.touch(clock::now());
        assert_near(over(&mut idle, TIMEOUT).await, SILENCE);
        advance(Duration::from_secs(10)).await;
        let mut idle = of(&lifecycle, clock::now());
        assert_near(over(&mut idle, TIMEOUT).await, SILENCE);

        // But no more than it had before.
        idle.touch(clock::now());
        let short = Duration::from_millis(100);
        assert_near(over(&mut idle, short).await, short);
    }

    #[tokio::test(start_paused = true)]
    async fn another_task_is_woken_in_the_place_of_the_first() {
        let lifecycle = Lifecycle::new();
        let mut idle = of(&lifecycle, clock::now());
        let (first, second) = (Arc::new(Count::default()), Arc::new(Count::default()));
        let woken = || [&first, &second].map(|count| count.0.load(SeqCst));
        let mut poll = |count: &Arc<Count>| {
            let waker = Waker::from(count.clone());
            idle.poll(TIMEOUT, &mut Context::from_waker(&waker))
        };
        assert_eq!(
            (poll(&first), poll(&second)),
            (Poll::Pending, Poll::Pending)
        );
        // By the timer, where the timer is not set anew for it.
        advance(TIMEOUT + MILLISECOND).await;
        assert_eq!(woken(), [0, 1]);
        assert_eq!(poll(&second), Poll::Ready(Over::Idle));
        // And by a drain.
        lifecycle.begin_drain();
        assert_eq!(woken(), [0, 2]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_reload_changes_the_timeout() {
        let lifecycle = Lifecycle::new();
        let began = clock::now();
        let mut idle = of(&lifecycle, began);
        let mut wait = async |idle_timeout, at_most| {
            let waiting = over(&mut idle, idle_timeout);
            timeout(at_most, waiting).await.ok()
        };
        let second = Duration::from_secs(1);
        assert_eq!(wait(TIMEOUT, second).await, None);
        // Shorter, and longer again.
        for idle_timeout in [5 * second, 17 * second] {
            assert!(wait(idle_timeout, TIMEOUT).await.is_some());
            assert_near(clock::now() - began, idle_timeout);
        }
        // As long as an operator likes.
        assert_eq!(wait(Duration::MAX, TIMEOUT).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_has_spent_its_budget_is_woken_nevertheless() {
        let lifecycle = Lifecycle::new();
        let mut idle = of(&lifecycle, clock::now());
        while tokio::task::coop::has_budget_remaining() {
            tokio::task::coop::consume_budget().now_or_never();
        }
        let count = Arc::new(Count::default());
        let waker = Waker::from(count.clone());
        let polled = idle.poll(TIMEOUT, &mut Context::from_waker(&waker));
        assert_eq!(polled, Poll::Pending);
        assert_eq!(count.0.load(SeqCst), 0, "the timer was polled in earnest");
        advance(TIMEOUT + MILLISECOND).await;
        assert_eq!(count.0.load(SeqCst), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn where_others_need_the_place_it_is_left_a_second() {
        let lifecycle = Lifecycle::new();
        let counted = [lifecycle.connected(), lifecycle.connected()];
        let held = Held::new(&lifecycle, [192, 0, 2, 1].into());
        let mut idle = Idle::new(clock::now(), held.place());
        let ends = async |idle: &mut Idle| {
            let began = clock::now();
            let over = poll_fn(|cx| idle.poll(TIMEOUT, cx)).await;
            (over, (clock::now() - began).as_secs())
        };
        assert!(ends(&mut idle).now_or_never().is_none());
        // Who waits for a place asks for it.
        let asking = lifecycle.clone();
        let waiting = tokio::spawn(async move { asking.has_room(1).await });
        assert_eq!(ends(&mut idle).await, (Over::Crowded, 1));
        idle.touch(clock::now());
        assert_eq!(ends(&mut idle).await, (Over::Crowded, 1));
        // With a place free there is no hurry.
        drop(counted);
        waiting.await.expect("there is room");
        idle.touch(clock::now());
        assert_eq!(ends(&mut idle).await, (Over::Idle, 75));
    }

    #[test]
    fn it_is_small() {
        assert_eq!(size_of::<Idle>(), 64);
        assert!(size_of::<Sleep>() <= 120, "{}", size_of::<Sleep>());
    }
}
