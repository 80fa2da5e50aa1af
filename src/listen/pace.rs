//! How long the other end of a connection may take: how long it may be silent, and how slow on the whole.
//!
//! A deadline between two octets alone lets who sends one now and then stay for ever. So what comes is also added up, over as
//! much waiting as one silence may last: if that was less than the rate asks for, it is over. Only waiting counts: what we do
//! in between, or a server that takes its time, is not held against the client.
//!
//! Where all places for connections are taken, [`STILL`] is silence enough, of who [is to make room](super::crowd): of the whole
//! connection, whose streams take turns, and whose octets may be on their way beneath TLS.

use super::crowd::Place;
use crate::clock::{self, Instant};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Sleep, sleep_until};

/// How long a body or an answer may stand still where others need the place.
const STILL: Duration = Duration::from_secs(5);
/// How often it is looked at meanwhile: what its socket counts says not when.
const LOOK: Duration = Duration::from_secs(1);

/// What is asked of the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// The longest wait for the next octet, and what the rate is averaged over.
    pub silence: Duration,
    /// Octets a second, on the average of the time that was waited; 0 asks for none.
    pub rate: u64,
}

/// The same with the place that it takes, where it may have to make room.
#[derive(Debug, Clone, Copy)]
pub struct Terms<'p> {
    patience: Patience,
    place: Option<&'p Place>,
}

impl From<Duration> for Terms<'_> {
    fn from(silence: Duration) -> Self {
        Patience { silence, rate: 0 }.into()
    }
}

impl From<Patience> for Terms<'_> {
    fn from(patience: Patience) -> Self {
        Self {
            patience,
            place: None,
        }
    }
}

impl Terms<'_> {
    /// How often something has moved on the connection.
    fn moves(&self) -> u32 {
        self.place.map_or(0, Place::moves)
    }
}

impl<'p> From<(Patience, &'p Place)> for Terms<'p> {
    fn from((patience, place): (Patience, &'p Place)) -> Self {
        Self {
            patience,
            place: Some(place),
        }
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
    /// Since when the connection stands still, as far as is known, and what its place had counted by then.
    still: (Instant, u32),
    timer: Pin<Box<Sleep>>,
}

impl Default for Pace {
    fn default() -> Self {
        let now = clock::now();
        Self {
            waited: Duration::ZERO,
            moved: 0,
            wait: None,
            still: (now, 0),
            timer: Box::pin(sleep_until(now)),
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
    pub fn poll<'p>(&mut self, terms: impl Into<Terms<'p>>, cx: &mut Context<'_>) -> Poll<Overdue> {
        let terms = terms.into();
        let Patience { silence, rate } = terms.patience;
        loop {
            let (since, counted) = if let Some(wait) = self.wait {
                wait
            } else {
                let now = clock::now();
                self.wait = Some((now, now));
                self.still = (now, terms.moves());
                let due = self.due(now, now, now, terms);
                self.timer.as_mut().reset(due);
                (now, now)
            };
            ready!(self.timer.as_mut().poll(cx));
            let now = clock::now();
            if now.saturating_duration_since(since) >= silence || self.is_to_go(now, terms) {
                return Poll::Ready(Overdue::Silent);
            }
            let mut counted = counted;
            if rate > 0 && now >= self.reckoned(counted, silence) {
                // A silence's worth of waiting is over.
                if u128::from(self.moved) < u128::from(rate) * silence.as_millis() / 1_000 {
                    return Poll::Ready(Overdue::Slow);
                }
                self.moved = 0;
                // The present wait goes on, and counts from here.
                self.waited = Duration::ZERO;
                counted = now;
                self.wait = Some((since, counted));
            }
            let due = self.due(since, counted, now, terms);
            self.timer.as_mut().reset(due);
        }
    }

    /// Whether its connection stands still and is to make room.
    fn is_to_go(&mut self, now: Instant, terms: Terms<'_>) -> bool {
        let (since, moves) = self.still;
        if terms.moves() != moves {
            self.still = (now, terms.moves());
            return false;
        }
        now.saturating_duration_since(since) >= STILL && terms.place.is_some_and(Place::is_to_go)
    }

    /// When there is something to be judged next.
    fn due(&self, since: Instant, counted: Instant, now: Instant, terms: Terms<'_>) -> Instant {
        let Patience { silence, rate } = terms.patience;
        let mut due = later(since, silence);
        if rate > 0 {
            due = due.min(self.reckoned(counted, silence));
        }
        if let Some(place) = terms.place {
            let look = if place.is_to_go() { LOOK } else { STILL };
            due = due.min(later(now, look));
        }
        due
    }

    /// When what has moved is held against the time.
    fn reckoned(&self, counted: Instant, silence: Duration) -> Instant {
        later(counted, silence.saturating_sub(self.waited))
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

    /// Where nobody waits for a place, or its client holds less than its share, it may stand still as long as ever.
    #[tokio::test(start_paused = true)]
    async fn who_stands_still_makes_room() {
        let lifecycle = Lifecycle::new();
        let client = [192, 0, 2, 1].into();
        let open: Vec<_> = (0..4)
            .map(|_| (lifecycle.connected(), Held::new(&lifecycle, client)))
            .collect();
        let other = (
            lifecycle.connected(),
            Held::new(&lifecycle, [192, 0, 2, 2].into()),
        );
        let stands = async |place: &Place| {
            let mut pace = Pace::default();
            let began = clock::now();
            let overdue = poll_fn(|cx| pace.poll((PATIENCE, place), cx)).await;
            assert_eq!(overdue, Overdue::Silent);
            (clock::now() - began).as_secs()
        };
        let (greedy, modest) = (open[0].1.place(), other.1.place());
        assert_eq!(stands(&greedy).await, 30);
        lifecycle.ask_for_room(5);
        assert_eq!(stands(&greedy).await, 5);
        assert_eq!(stands(&modest).await, 30);
        // Asked while it stands still already; what moves is left alone.
        drop(open);
        let open: Vec<_> = (0..4)
            .map(|_| (lifecycle.connected(), Held::new(&lifecycle, client)))
            .collect();
        let greedy = open[0].1.place();
        let mut pace = Pace::default();
        let began = clock::now();
        let wait = timeout(7 * SECOND, poll_fn(|cx| pace.poll((PATIENCE, &greedy), cx)));
        assert!(wait.await.is_err());
        lifecycle.ask_for_room(5);
        poll_fn(|cx| pace.poll((PATIENCE, &greedy), cx)).await;
        assert_eq!((clock::now() - began).as_secs(), 10);
        let waits = async |pace: &mut Pace| {
            let wait = poll_fn(|cx| pace.poll((PATIENCE, &greedy), cx));
            timeout(4 * SECOND, wait).await.is_err()
        };
        let mut pace = Pace::default();
        for _ in 0..20 {
            assert!(waits(&mut pace).await);
            pace.moved(1_000);
        }
        // Nor is what waits while other streams of its connection move, or octets of its own beneath TLS.
        let mut pace = Pace::default();
        for _ in 0..7 {
            assert!(waits(&mut pace).await);
            greedy.moved();
        }
        assert!(!waits(&mut pace).await, "its own silence has lasted 30 s");
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
