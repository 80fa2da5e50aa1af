//! The numbers that people watch, in one shape for totals and for rates: what was answered, from where, and how much of it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::telemetry::histogram::Counts;

/// What is counted of requests: with `u64` how many by now or since, with `f64` how many a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counted<N> {
    /// Requests ended.
    pub requests: N,
    /// Of them, those answered with a 5xx or not at all.
    pub errors: N,
    /// Answered from the store.
    pub hit: N,
    /// Answered from the store although stale.
    pub stale: N,
    /// Answered from the store when the origin had said that nothing changed.
    pub revalidated: N,
    /// Fetched.
    pub miss: N,
    /// Answered by another request's fetch.
    pub collapsed: N,
    /// Not the cache's to answer.
    pub bypass: N,
    /// Octets of answers' bodies.
    pub bytes_out: N,
}

/// How many by now.
pub type Totals = Counted<u64>;

/// How many a second.
pub type Rates = Counted<f64>;

impl<N: Copy> Counted<N> {
    /// Each number with its counterpart.
    fn with<M: Copy, R>(&self, other: &Counted<M>, each: impl Fn(N, M) -> R) -> Counted<R> {
        Counted {
            requests: each(self.requests, other.requests),
            errors: each(self.errors, other.errors),
            hit: each(self.hit, other.hit),
            stale: each(self.stale, other.stale),
            revalidated: each(self.revalidated, other.revalidated),
            miss: each(self.miss, other.miss),
            collapsed: each(self.collapsed, other.collapsed),
            bypass: each(self.bypass, other.bypass),
            bytes_out: each(self.bytes_out, other.bytes_out),
        }
    }
}

impl Totals {
    /// Those of both.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        self.with(other, u64::saturating_add)
    }

    /// Those counted since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        self.with(earlier, u64::saturating_sub)
    }

    /// As many a second, for what was counted in so long.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a count beyond 2^53 is not reached"
    )]
    pub fn per_second(&self, within: Duration) -> Rates {
        let seconds = within.as_secs_f64();
        self.with(self, |n, _| {
            let rate = if seconds > 0.0 {
                n as f64 / seconds
            } else {
                0.0
            };
            // Two decimals are what anybody reads.
            (rate * 100.0).round() / 100.0
        })
    }

    /// The part that was answered from the store, of all that it might have answered; `None` where there was nothing. What
    /// is not the cache's to answer is left out.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a count beyond 2^53 is not reached"
    )]
    pub fn hit_ratio(&self) -> Option<f64> {
        let hits = self.hit + self.stale;
        let asked = hits + self.revalidated + self.miss + self.collapsed;
        (asked > 0).then(|| hits as f64 / asked as f64)
    }

    /// So many more came to this, in the word of the access log and the metric.
    pub(super) fn add_result(&mut self, word: &str, more: u64) {
        match word {
            "hit" => self.hit += more,
            "stale" => self.stale += more,
            "revalidated" => self.revalidated += more,
            "miss" => self.miss += more,
            "collapsed" => self.collapsed += more,
            "bypass" => self.bypass += more,
            _ => {}
        }
    }
}

/// What the cache, the holding and the retrying have saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Saved {
    /// Octets of bodies that came from the store.
    pub bytes: u64,
    /// How long the origin would have taken for what came from the store.
    pub origin: Duration,
    /// Requests that were held and then answered.
    pub held: u64,
    /// Requests that were tried again and then answered.
    pub retried: u64,
}

impl Saved {
    /// Those of both.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        Self {
            bytes: self.bytes.saturating_add(other.bytes),
            origin: self.origin.saturating_add(other.origin),
            held: self.held.saturating_add(other.held),
            retried: self.retried.saturating_add(other.retried),
        }
    }
}

/// All of one route, or of all together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Figures {
    /// How many.
    pub totals: Totals,
    /// How long answers from the store took.
    pub hits: Counts,
    /// How long answers took for which an upstream was asked.
    pub misses: Counts,
    /// What was saved.
    pub saved: Saved,
}

impl Figures {
    /// Those of both.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        Self {
            totals: self.totals.and(&other.totals),
            hits: self.hits.and(&other.hits),
            misses: self.misses.and(&other.misses),
            saved: self.saved.and(&other.saved),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_and_rates() {
        let mut totals = Totals::default();
        assert_eq!(totals.hit_ratio(), None);
        for (word, more) in [
            ("hit", 6),
            ("stale", 2),
            ("revalidated", 1),
            ("miss", 5),
            ("collapsed", 2),
            // Neither of the cache, nor known.
            ("bypass", 100),
            ("new", 100),
        ] {
            totals.add_result(word, more);
        }
        assert_eq!(totals.hit_ratio(), Some(0.5));
        let rates = [4, 0].map(|seconds| totals.per_second(Duration::from_secs(seconds)));
        assert_eq!(rates.map(|rates| rates.hit.to_string()), ["1.5", "0"]);
        let later = totals.and(&totals);
        assert_eq!(later.since(&totals), totals);
    }
}
