//! A histogram of durations without a lock and without memory that threads share: the library's own locks for each observation.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::{MetricType, TypedMetric};

use crate::telemetry::sharded::Sharded;

/// Upper bounds that suit requests: 25 µs, for a hit takes no longer, to 60 s.
pub const REQUEST_BOUNDS: [Duration; 19] = [
    Duration::from_micros(25),
    Duration::from_micros(100),
    Duration::from_micros(250),
    Duration::from_micros(500),
    Duration::from_millis(1),
    Duration::from_micros(2_500),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_millis(2_500),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(30),
    Duration::from_secs(60),
];

/// [`REQUEST_BOUNDS`] in nanoseconds, which compare faster.
const BOUNDS_NANOS: [u64; REQUEST_BOUNDS.len()] = {
    let mut bounds = [0; REQUEST_BOUNDS.len()];
    let mut i = 0;
    while i < bounds.len() {
        bounds[i] = nanos(REQUEST_BOUNDS[i]);
        i += 1;
    }
    bounds
};

/// In whole nanoseconds.
pub(super) const fn nanos(duration: Duration) -> u64 {
    let seconds = duration.as_secs().saturating_mul(1_000_000_000);
    seconds.saturating_add(duration.subsec_nanos() as u64)
}

/// A histogram in seconds with [`REQUEST_BOUNDS`] and one bucket beyond them. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct DurationHistogram {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    buckets: [Sharded; REQUEST_BOUNDS.len() + 1],
    /// Wraps after 584 years of observed time.
    sum_nanos: Sharded,
}

impl DurationHistogram {
    /// Counts one duration: two additions in this thread's own memory.
    pub fn observe(&self, duration: Duration) {
        let nanos = nanos(duration);
        let bucket = BOUNDS_NANOS.partition_point(|bound| *bound < nanos);
        if let Some(bucket) = self.inner.buckets.get(bucket) {
            bucket.add(1);
        }
        self.inner.sum_nanos.add(nanos);
    }

    /// How many durations were counted.
    pub fn count(&self) -> u64 {
        self.inner.buckets.iter().map(Sharded::sum).sum()
    }

    /// What was counted by now.
    pub fn counts(&self) -> Counts {
        Counts(std::array::from_fn(|bucket| {
            self.inner.buckets.get(bucket).map_or(0, Sharded::sum)
        }))
    }
}

/// How many durations fell into each bucket, at one moment or between two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts([u64; REQUEST_BOUNDS.len() + 1]);

impl Counts {
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

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.0.iter().sum()
    }

    /// The duration that this part of all was not longer than, taken as spread evenly within its bucket; `None` where nothing
    /// was counted. Beyond the last bound it is that bound.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a count beyond 2^53 is not reached"
    )]
    pub fn quantile(&self, part: f64) -> Option<Duration> {
        let rank = part.clamp(0.0, 1.0) * self.count() as f64;
        let mut below = 0.0;
        let mut from = Duration::ZERO;
        for (bound, count) in REQUEST_BOUNDS.iter().zip(&self.0) {
            let count = *count as f64;
            if count > 0.0 && below + count >= rank {
                let within = ((rank - below) / count).clamp(0.0, 1.0);
                return Some(from + bound.saturating_sub(from).mul_f64(within));
            }
            below += count;
            from = *bound;
        }
        (self.count() > 0).then_some(from)
    }

    fn with(&self, other: &Self, each: impl Fn(u64, u64) -> u64) -> Self {
        let mut counts = *self;
        for (count, other) in counts.0.iter_mut().zip(&other.0) {
            *count = each(*count, *other);
        }
        counts
    }
}

impl TypedMetric for DurationHistogram {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for DurationHistogram {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let bounds = REQUEST_BOUNDS
            .iter()
            .map(Duration::as_secs_f64)
            .chain([f64::MAX]);
        let buckets: Vec<(f64, u64)> = bounds
            .zip(&self.inner.buckets)
            .map(|(bound, bucket)| (bound, bucket.sum()))
            .collect();
        // Counted from the same reads as the buckets, so that the two never contradict each other in a scrape.
        let count = buckets.iter().map(|(_, count)| count).sum();
        let sum = Duration::from_nanos(self.inner.sum_nanos.sum()).as_secs_f64();
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Registry;

    #[test]
    fn bounds_are_inclusive_and_ascending() {
        assert!(REQUEST_BOUNDS.is_sorted());
        let registry = Registry::new();
        let histogram = DurationHistogram::default();
        registry.register(|r| r.register("h", "H", histogram.clone()));
        for duration in [
            Duration::ZERO,
            Duration::from_millis(1),
            Duration::from_nanos(1_000_001),
            Duration::from_secs(60),
            Duration::from_secs(61),
        ] {
            histogram.observe(duration);
        }
        assert_eq!(histogram.count(), 5);
        let text = registry.encode();
        for line in [
            "forebay_h_bucket{le=\"0.001\"} 2\n",
            "forebay_h_bucket{le=\"0.0025\"} 3\n",
            "forebay_h_bucket{le=\"60.0\"} 4\n",
            "forebay_h_bucket{le=\"+Inf\"} 5\n",
            "forebay_h_count 5\n",
            "forebay_h_sum 121.002000001\n",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }

    #[test]
    fn quantiles_lie_within_their_bucket() {
        let micros = Duration::from_micros;
        let histogram = DurationHistogram::default();
        assert_eq!(histogram.counts().quantile(0.5), None);
        for _ in 0..100 {
            histogram.observe(micros(10));
        }
        let hits = histogram.counts();
        for _ in 0..100 {
            histogram.observe(Duration::from_millis(80));
        }
        let all = histogram.counts();
        histogram.observe(Duration::from_secs(600));
        let one = histogram.counts().since(&all);
        for (counts, part, expected) in [
            (hits, 0.5, micros(12) + Duration::from_nanos(500)),
            (hits, 1.0, micros(25)),
            // Half of all are below the first bound, and the other half between 50 and 100 ms.
            (all, 0.5, micros(25)),
            (all, 0.75, Duration::from_millis(75)),
            (all.since(&hits), 0.5, Duration::from_millis(75)),
            (all.since(&hits).and(&hits), 0.75, Duration::from_millis(75)),
            // Of what lasts longer than is told apart, the last bound is known.
            (one, 0.5, Duration::from_secs(60)),
        ] {
            let got = counts.quantile(part).expect("something was counted");
            let off = got.abs_diff(expected);
            assert!(
                off < micros(1),
                "{part} of {counts:?}: {got:?} for {expected:?}"
            );
        }
    }

    #[test]
    fn what_ended_threads_have_observed_stays() {
        let histogram = DurationHistogram::default();
        std::thread::scope(|scope| {
            for seconds in 0..8 {
                let histogram = histogram.clone();
                scope.spawn(move || histogram.observe(Duration::from_secs(seconds)));
            }
        });
        assert_eq!(histogram.count(), 8);
        assert_eq!(histogram.inner.sum_nanos.sum(), 28_000_000_000);
    }
}
