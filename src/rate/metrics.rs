//! What is counted of rate limits: refusals by limit, and how full their tables are.

use super::Limit;
use crate::telemetry::label::Label;
use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use std::fmt;
use std::sync::Arc;

/// The metrics of all limits; clones share them.
#[derive(Debug, Clone, Default)]
pub struct RateMetrics {
    limited: Family<LimitedLabels, Counter>,
    forgotten: Family<LimitLabel, Counter>,
    /// Those in force. Held to be replaced and to be read out, never by a request.
    limits: Arc<Mutex<Vec<Arc<Limit>>>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LimitedLabels {
    limit: Label,
    mode: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LimitLabel {
    limit: Label,
}

/// The counters of one limit.
#[derive(Debug, Clone)]
pub(super) struct LimitMetrics {
    /// Requests that were beyond it.
    pub(super) limited: Counter,
    /// Keys whose bucket went before it was full.
    pub(super) forgotten: Counter,
}

impl RateMetrics {
    /// Registers them, once in a process.
    pub fn register(&self, r: &mut Registry) {
        r.register(
            "rate_limited",
            "Requests beyond a rate limit",
            self.limited.clone(),
        );
        r.register(
            "rate_limit_forgotten",
            "Keys forgotten early because a rate limit's table was full",
            self.forgotten.clone(),
        );
        r.register_collector(Box::new(Keys(self.limits.clone())));
    }

    /// The counters of a limit: the same name gives the same series.
    pub(super) fn of(&self, name: &str, dry_run: bool) -> LimitMetrics {
        let limit = Label::from(name);
        LimitMetrics {
            forgotten: self.forgotten.get_or_create_owned(&LimitLabel {
                limit: limit.clone(),
            }),
            limited: self.limited.get_or_create_owned(&LimitedLabels {
                limit,
                mode: if dry_run { "dry-run" } else { "enforced" },
            }),
        }
    }

    /// From now on these are in force.
    pub(super) fn show(&self, limits: &[Arc<Limit>]) {
        *self.limits.lock() = limits.to_vec();
    }
}

/// Counted by a scrape, which looks at every bucket.
#[derive(Debug)]
struct Keys(Arc<Mutex<Vec<Arc<Limit>>>>);

impl Collector for Keys {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let limits = self.0.lock().clone();
        if limits.is_empty() {
            return Ok(());
        }
        let mut metric = encoder.encode_descriptor(
            "rate_limit_keys",
            "Keys that a rate limit remembers",
            None,
            MetricType::Gauge,
        )?;
        for limit in limits {
            let keys = i64::try_from(limit.keys()).unwrap_or(i64::MAX);
            let labels = LimitLabel {
                limit: Label::from(limit.name()),
            };
            ConstGauge::new(keys).encode(metric.encode_family(&labels)?)?;
        }
        Ok(())
    }
}
