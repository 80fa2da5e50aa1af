//! The places at an upstream with `max_in_flight`, and the bounded, fair queue for them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::metrics::QueueMetrics;
use crate::clock::Instant;

/// The places of one upstream.
#[derive(Debug)]
pub struct Queue {
    places: Option<Arc<Semaphore>>,
    waiting: AtomicUsize,
    waiting_max: usize,
    patience: Duration,
    metrics: QueueMetrics,
}

/// Leave to be with the servers; given back when dropped.
#[derive(Debug)]
pub struct Place {
    _permit: Option<OwnedSemaphorePermit>,
}

/// Why a request did not get a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueueRefusal {
    /// As many as may be are queueing already.
    Full,
    /// It queued as long as it may.
    TimedOut,
}

impl Queue {
    /// `places` requests at once, or any number of them where it is `None`.
    pub fn new(
        places: Option<usize>,
        waiting_max: usize,
        patience: Duration,
        metrics: QueueMetrics,
    ) -> Self {
        let places = places.map(|n| Arc::new(Semaphore::new(n.clamp(1, Semaphore::MAX_PERMITS))));
        Self {
            places,
            waiting: AtomicUsize::new(0),
            waiting_max,
            patience,
            metrics,
        }
    }

    /// Requests that queue.
    pub fn queued(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// A place, where one is free and nobody queues for it.
    pub fn free_place(&self) -> Option<Place> {
        let Some(places) = &self.places else {
            return Some(Place { _permit: None });
        };
        // Not past those who queue: while anybody does, tokio hands each free permit to the first of them.
        let permit = Arc::clone(places).try_acquire_owned().ok()?;
        Some(Place {
            _permit: Some(permit),
        })
    }

    /// A place now, or in turn: first come, first served. Waits until `latest` at the latest.
    ///
    /// # Errors
    /// [`QueueRefusal`].
    pub async fn place(&self, latest: Option<Instant>) -> Result<Place, QueueRefusal> {
        if let Some(place) = self.free_place() {
            return Ok(place);
        }
        let Some(places) = &self.places else {
            return Ok(Place { _permit: None });
        };
        let _waiting = self.line_up()?;
        let deadline = crate::clock::now() + self.patience;
        let deadline = latest.map_or(deadline, |latest| latest.min(deadline));
        let turn = Arc::clone(places).acquire_owned();
        // The semaphore is never closed; were it, that would be not getting a place either.
        let Ok(Ok(permit)) = tokio::time::timeout_at(deadline, turn).await else {
            self.metrics.refused(QueueRefusal::TimedOut);
            return Err(QueueRefusal::TimedOut);
        };
        Ok(Place {
            _permit: Some(permit),
        })
    }

    fn line_up(&self) -> Result<Waiting<'_>, QueueRefusal> {
        let room = |n: usize| (n < self.waiting_max).then_some(n + 1);
        let counted = self
            .waiting
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, room);
        if counted.is_err() {
            self.metrics.refused(QueueRefusal::Full);
            return Err(QueueRefusal::Full);
        }
        self.metrics.waiting(1);
        Ok(Waiting(self))
    }
}

/// Being counted as queueing.
struct Waiting<'a>(&'a Queue);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
        self.0.metrics.waiting(-1);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn queue(places: usize, waiting_max: usize) -> Queue {
        let patience = Duration::from_secs(30);
        Queue::new(Some(places), waiting_max, patience, QueueMetrics::default())
    }

    #[tokio::test(start_paused = true)]
    async fn first_come_first_served_and_no_more_than_may_wait() {
        let queue = queue(1, 2);
        let first = queue.place(None).await.expect("a place");
        let mut second = Box::pin(queue.place(None));
        let mut third = Box::pin(queue.place(None));
        assert!((&mut second).now_or_never().is_none());
        assert!((&mut third).now_or_never().is_none());
        assert_eq!(queue.queued(), 2);
        assert_eq!(queue.place(None).await.err(), Some(QueueRefusal::Full));
        drop(first);
        assert!((&mut third).now_or_never().is_none(), "not its turn");
        let second = second.await.expect("its turn");
        drop(second);
        third.await.expect("its turn");
        assert_eq!(queue.queued(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_leaves_frees_its_place_in_the_queue() {
        let queue = queue(1, 1);
        let first = queue.place(None).await.expect("a place");
        let mut second = Box::pin(queue.place(None));
        assert!((&mut second).now_or_never().is_none());
        drop(first);
        // The place was handed to the second, which leaves without having taken it.
        drop(second);
        assert_eq!(queue.queued(), 0);
        assert!(queue.place(None).now_or_never().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn patience_ends() {
        let queue = queue(1, 9);
        let _first = queue.place(None).await.expect("a place");
        let began = crate::clock::now();
        assert_eq!(queue.place(None).await.err(), Some(QueueRefusal::TimedOut));
        assert_eq!(began.elapsed(), Duration::from_secs(30));
        let latest = crate::clock::now() + Duration::from_secs(1);
        assert!(queue.place(Some(latest)).await.is_err());
        assert_eq!(began.elapsed(), Duration::from_secs(31));
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_limit_nobody_queues() {
        let queue = Queue::new(None, 0, Duration::ZERO, QueueMetrics::default());
        let places: Vec<_> = (0..100).map(|_| queue.place(None).now_or_never()).collect();
        assert!(places.iter().all(Option::is_some));
    }
}
