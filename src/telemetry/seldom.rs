//! Lines of the program's log that strangers can bring about: once a minute, however often it happens.

use crate::clock::{self, Instant};
use parking_lot::Mutex;
use std::time::Duration;

const EVERY: Duration = Duration::from_secs(60);

/// When a line was last written.
#[derive(Debug, Default)]
pub struct Seldom(Mutex<Option<Instant>>);

impl Seldom {
    /// Of a line that was never written.
    pub const fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// Whether it is time to write it. If so, it counts as written.
    pub fn is_time(&self) -> bool {
        let now = clock::now();
        let mut last = self.0.lock();
        let is_early = last.is_some_and(|last| now.saturating_duration_since(last) < EVERY);
        if !is_early {
            *last = Some(now);
        }
        !is_early
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn once_a_minute() {
        let seldom = Seldom::new();
        assert!(seldom.is_time());
        tokio::time::advance(EVERY / 2).await;
        assert!(!seldom.is_time());
        tokio::time::advance(EVERY / 2).await;
        assert!(seldom.is_time());
        assert!(!seldom.is_time());
    }
}
