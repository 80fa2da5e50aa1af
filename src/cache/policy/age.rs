//! How old a response is (RFC 9111 §4.2.3).

use super::Terms;
use crate::clock::Instant;
use std::time::Duration;

impl Terms {
    /// §4.2.3 `current_age`.
    pub fn current_age(&self, now: Instant) -> Duration {
        self.initial_age
            .saturating_add(now.saturating_duration_since(self.received))
    }

    /// The freshness left in whole seconds, as RFC 9211's `ttl`; negative is stale.
    pub fn remaining(&self, now: Instant) -> i64 {
        let lifetime = i64::try_from(self.lifetime.duration().as_secs()).unwrap_or(i64::MAX);
        let age = i64::try_from(self.current_age(now).as_secs()).unwrap_or(i64::MAX);
        lifetime.saturating_sub(age)
    }

    /// Whether it is fresh (§4.2): the lifetime exceeds the age.
    pub fn is_fresh(&self, now: Instant) -> bool {
        self.lifetime.duration() > self.current_age(now)
    }
}
