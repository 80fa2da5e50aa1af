//! How long the other end of a connection may take: how long it may be silent, and how slow on the whole.
//!
//! A deadline between two octets alone lets who sends one now and then stay for ever. So what comes is also added up, over as
//! much waiting as one silence may last: if that was less than the rate asks for, it is over. Only waiting counts: what we do
//! in between, or a server that takes its time, is not held against the client.

use crate::clock::{self, Instant};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Sleep, sleep_until};

/// What is asked of the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// The longest wait for the next octet, and what the rate is averaged over.
    pub silence: Duration,
    /// Octets a second, on the average of the time that was waited; 0 asks for none.
    pub rate: u64,
}

impl From<Duration> for Patience {
    fn from(silence: Duration) -> Self {
        Self { silence, rate: 0 }
    }
}

/// Why it is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overdue {
    /// Nothing came or went.
    Silent,
    /// Too little did.
    Slow,
}

/// The waits for one body or answer, from the first that was necessary.
#[derive(Debug)]
pub struct Pace {
    /// How long was waited since the octets are counted, without the present wait.
    waited: Duration,
    /// What has come or gone since then.
    moved: u64,
    /// When the present wait began, and since when it is counted.
    wait: Option<(Instant, Instant)>,
    timer: Pin<Box<Sleep>>,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            waited: Duration::ZERO,
            moved: 0,
            wait: None,
            timer: Box::pin(sleep_until(clock::now())),
        }
    }
}

impl Pace {
    /// So many octets have come or gone.
    pub fn moved(&mut self, octets: usize) {
        self.moved = self.moved.saturating_add(octets as u64);
        if let Some((_, counted)) = self.wait.take() {
            self.waited += clock::now().saturating_duration_since(counted);
        }
    }

    /// Nothing comes or goes: resolves when that has lasted too long.
    pub fn poll(&mut self, patience: Patience, cx: &mut Context<'_>) -> Poll<Overdue> {
        let Patience { silence, rate } = patience;
        loop {
            let since = if let Some((since, _)) = self.wait {
                since
            } else {
                let now = clock::now();
                self.wait = Some((now, now));
                self.arm(now, patience);
                now
            };
            ready!(self.timer.as_mut().poll(cx));
            let now = clock::now();
            if rate == 0 || now.saturating_duration_since(since) >= silence {
                return Poll::Ready(Overdue::Silent);
            }
            // A silence's worth of waiting is over.
            if u128::from(self.moved) < u128::from(rate) * silence.as_millis() / 1_000 {
                return Poll::Ready(Overdue::Slow);
            }
            self.moved = 0;
            // The present wait goes on, and counts from here.
            self.waited = Duration::ZERO;
            self.wait = Some((since, now));
            self.timer.as_mut().reset(later(since, silence));
        }
    }

    fn arm(&mut self, since: Instant, Patience { silence, rate }: Patience) {
        let left = if rate == 0 {
            silence
        } else {
            silence.saturating_sub(self.waited)
        };
        self.timer.as_mut().reset(later(since, left));
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
    use super::*;
    use std::future::poll_fn;
    use tokio::time::{advance, timeout};

    const SECOND: Duration = Duration::from_secs(1);
    const PATIENCE: Patience = Patience {
        silence: Duration::from_secs(30),
        rate: 100,
    };

    /// So many octets after each pause, as long as they are waited for. Says after how long they were not any more.
    async fn comes(
        patience: Patience,
        octets: usize,
        every: Duration,
        most: Duration,
    ) -> Option<(Overdue, Duration)> {
        let began = clock::now();
        let mut pace = Pace::default();
        while clock::now() - began < most {
            match timeout(every, poll_fn(|cx| pace.poll(patience, cx))).await {
                Ok(overdue) => return Some((overdue, clock::now() - began)),
                Err(_) => pace.moved(octets),
            }
        }
        None
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_silent_and_who_is_slow() {
        let rows = [
            ("nothing", 0, 40 * SECOND, Some((Overdue::Silent, 30))),
            (
                "an octet now and then",
                1,
                29 * SECOND,
                Some((Overdue::Slow, 30)),
            ),
            ("an octet a second", 1, SECOND, Some((Overdue::Slow, 30))),
            (
                "a little less than asked",
                99,
                SECOND,
                Some((Overdue::Slow, 30)),
            ),
            ("a little more than asked", 110, SECOND, None),
            ("rarely, but much", 10_000, 29 * SECOND, None),
            ("fast", 1_000_000, SECOND, None),
        ];
        for (what, octets, every, expected) in rows {
            let found = comes(PATIENCE, octets, every, 3_600 * SECOND).await;
            let found = found.map(|(overdue, after)| (overdue, after.as_secs()));
            assert_eq!(found, expected, "{what}");
        }
        let patient = Patience {
            rate: 0,
            ..PATIENCE
        };
        assert_eq!(comes(patient, 1, 29 * SECOND, 3_600 * SECOND).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_came_fast_buys_no_time_for_what_comes_slowly() {
        let mut pace = Pace::default();
        let waits = async |pace: &mut Pace, at_most| {
            timeout(at_most, poll_fn(|cx| pace.poll(PATIENCE, cx)))
                .await
                .ok()
        };
        assert_eq!(waits(&mut pace, SECOND).await, None);
        pace.moved(1 << 30);
        let began = clock::now();
        let slow = loop {
            if let Some(overdue) = waits(&mut pace, SECOND).await {
                break overdue;
            }
            pace.moved(1);
        };
        assert_eq!(slow, Overdue::Slow);
        let took = clock::now() - began;
        assert!(took >= 50 * SECOND && took <= 61 * SECOND, "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn time_that_is_not_waited_does_not_count() {
        let mut pace = Pace::default();
        for _ in 0..1_000 {
            let wait = timeout(SECOND / 10, poll_fn(|cx| pace.poll(PATIENCE, cx))).await;
            assert!(wait.is_err());
            pace.moved(11);
            // A server takes what has come.
            advance(60 * SECOND).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_silence_within_a_wait_is_counted_from_its_beginning() {
        let mut pace = Pace::default();
        let wait = timeout(20 * SECOND, poll_fn(|cx| pace.poll(PATIENCE, cx))).await;
        assert!(wait.is_err());
        pace.moved(1 << 20);
        let began = clock::now();
        let overdue = poll_fn(|cx| pace.poll(PATIENCE, cx)).await;
        assert_eq!(
            (overdue, (clock::now() - began).as_secs()),
            (Overdue::Silent, 30)
        );
    }
}
