//! A histogram of durations without a lock and without memory that threads share: the library's own locks for each observation.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::{MetricType, TypedMetric};

use crate::telemetry::sharded::Sharded;

/// Upper bounds that suit requests and connects: 1 ms to 60 s.
pub const REQUEST_BOUNDS: [Duration; 15] = [
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

const fn nanos(duration: Duration) -> u64 {
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
