//! What is counted of one route's requests. Counting takes no lock and writes memory of the thread's own only.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use crate::telemetry::ended::{Ended, MethodClass, Rescue, Source};
use crate::telemetry::figures::{Figures, Saved, Totals};
use crate::telemetry::histogram::{self, DurationHistogram};
use crate::telemetry::label::Label;
use crate::telemetry::sharded::{Sharded, ShardedCounter};
use crate::telemetry::words::CountersByWords;

/// Status classes as labels; the last is for a request that got no answer.
const STATUS_CLASSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "none"];
/// Those of them that are errors of ours or of the upstream's.
const ERRORS: std::ops::RangeInclusive<usize> = 4..=5;

fn status_class(status: u16) -> usize {
    match status {
        100..=599 => usize::from(status / 100 - 1),
        _ => STATUS_CLASSES.len() - 1,
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: Label,
    method: &'static str,
    status: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SourceLabels {
    route: Label,
    source: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CacheLabels {
    route: Label,
    result: &'static str,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusedLabels {
    route: Label,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RescueLabels {
    route: Label,
    by: &'static str,
}

/// The metrics that have a label for the route, and the routes counted so far; clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct RouteFamilies {
    requests: Family<RequestLabels, ShardedCounter>,
    durations: Family<SourceLabels, DurationHistogram>,
    bytes: Family<SourceLabels, ShardedCounter>,
    cache_requests: Family<CacheLabels, ShardedCounter>,
    refused: Family<RefusedLabels, ShardedCounter>,
    rescued: Family<RescueLabels, ShardedCounter>,
    express_answers: ShardedCounter,
    /// By name: as many as the configuration has ever had. Held to come and to be read out, never by a request.
    routes: Arc<Mutex<BTreeMap<Arc<str>, RouteMetrics>>>,
}

impl RouteFamilies {
    pub(super) fn register(&self, r: &mut Registry) {
        let m = self.clone();
        r.register("requests", "Requests ended", m.requests);
        r.register(
            "request_duration_seconds",
            "From a request's first byte to its response's last",
            m.durations,
        );
        r.register(
            "response_bytes",
            "Octets of responses' bodies given to clients",
            m.bytes,
        );
        r.register(
            "cache_requests",
            "What became of requests in the cache, and why",
            m.cache_requests,
        );
        r.register(
            "express_answers",
            "Requests answered by the express lane",
            m.express_answers,
        );
        r.register(
            "access_refused",
            "Requests that a route's rules of access did not let in, by the reason",
            m.refused,
        );
        r.register(
            "saved_failures",
            "Requests answered after all, by what kept them from failing",
            m.rescued,
        );
        r.register_collector(Box::new(SavedMetrics(self.clone())));
    }

    /// The handles of a route: the same name gives the same series.
    pub(super) fn route(&self, name: &str) -> RouteMetrics {
        let mut routes = self.routes.lock();
        if let Some(known) = routes.get(name) {
            return known.clone();
        }
        let metrics = RouteMetrics {
            route: Label::from(name),
            cells: Arc::default(),
            // Without the list, which would hold itself.
            families: Self {
                routes: Arc::default(),
                ..self.clone()
            },
        };
        routes.insert(name.into(), metrics.clone());
        metrics
    }

    /// What was counted of each route by now, in the order of their names.
    pub(super) fn figures(&self) -> Vec<(Arc<str>, Figures)> {
        let routes = self.routes.lock();
        let counted = routes.iter();
        counted
            .map(|(name, route)| (name.clone(), route.cells.figures()))
            .collect()
    }
}

/// The metrics of one route. Counting takes no lock and writes memory of the thread's own only, but for the first request of
/// each method and status class, and the first of what became of one in the cache.
#[derive(Debug, Clone)]
pub struct RouteMetrics {
    route: Label,
    cells: Arc<Cells>,
    families: RouteFamilies,
}

/// Filled on first use, so that a scrape does not show series of what never happened.
#[derive(Debug, Default)]
struct Cells {
    requests: [[OnceLock<ShardedCounter>; STATUS_CLASSES.len()]; MethodClass::COUNT],
    sources: [OnceLock<OfSource>; Source::ALL.len()],
    cached: CountersByWords,
    rescued: [OnceLock<ShardedCounter>; Rescue::ALL.len()],
    /// How long the origin would have taken, in nanoseconds. Wraps after 584 years.
    saved_nanos: Sharded,
}

#[derive(Debug)]
struct OfSource {
    durations: DurationHistogram,
    bytes: ShardedCounter,
}

impl RouteMetrics {
    /// Counts a request that ended.
    pub fn observe(&self, ended: &Ended) {
        let class = status_class(ended.status);
        let row = self.cells.requests.get(ended.method as usize);
        let cell = row.and_then(|row| row.get(class));
        if let (Some(cell), Some(status)) = (cell, STATUS_CLASSES.get(class)) {
            cell.get_or_init(|| {
                self.families.requests.get_or_create_owned(&RequestLabels {
                    route: self.route.clone(),
                    method: ended.method.label(),
                    status,
                })
            })
            .inc();
        }
        if let Some(cell) = self.cells.sources.get(ended.source as usize) {
            let of = cell.get_or_init(|| self.of_source(ended.source));
            of.durations.observe(ended.duration);
            of.bytes.inc_by(ended.bytes);
        }
    }

    fn of_source(&self, source: Source) -> OfSource {
        let labels = SourceLabels {
            route: self.route.clone(),
            source: source.label(),
        };
        OfSource {
            durations: self.families.durations.get_or_create_owned(&labels),
            bytes: self.families.bytes.get_or_create_owned(&labels),
        }
    }

    /// Counts a request that the express lane answered, besides what else is counted of it.
    pub fn expressed(&self) {
        self.families.express_answers.inc();
    }

    /// Counts what became of a request in the cache: one word of it and one of why, both this program's own.
    pub fn cached(&self, result: &'static str, reason: &'static str) {
        let make = || {
            self.families
                .cache_requests
                .get_or_create_owned(&CacheLabels {
                    route: self.route.clone(),
                    result,
                    reason,
                })
        };
        self.cells.cached.of([result, reason], make).inc();
    }

    /// Counts a request that was not let in. By one word of this program's own.
    pub fn refused(&self, reason: &'static str) {
        let labels = RefusedLabels {
            route: self.route.clone(),
            reason,
        };
        self.families.refused.get_or_create_owned(&labels).inc();
    }

    /// Counts how long the origin would have taken for what came from the store instead.
    pub fn saved(&self, origin: Duration) {
        self.cells.saved_nanos.add(histogram::nanos(origin));
    }

    /// Counts a request that was answered although nobody answered at first.
    pub fn rescued(&self, by: Rescue) {
        if let Some(cell) = self.cells.rescued.get(by as usize) {
            cell.get_or_init(|| {
                self.families.rescued.get_or_create_owned(&RescueLabels {
                    route: self.route.clone(),
                    by: by.label(),
                })
            })
            .inc();
        }
    }
}

impl Cells {
    fn figures(&self) -> Figures {
        let sum = |cell: &OnceLock<ShardedCounter>| cell.get().map_or(0, Counter::get);
        let mut totals = Totals::default();
        for row in &self.requests {
            for (class, cell) in row.iter().enumerate() {
                totals.requests += sum(cell);
                totals.errors += if ERRORS.contains(&class) {
                    sum(cell)
                } else {
                    0
                };
            }
        }
        for ([result, _], count) in self.cached.counted() {
            totals.add_result(result, count);
        }
        let [hits, misses, own] = &self.sources;
        let bytes = |of: &OnceLock<OfSource>| of.get().map_or(0, |of| of.bytes.get());
        let counts = |of: &OnceLock<OfSource>| {
            of.get()
                .map_or_else(Default::default, |of| of.durations.counts())
        };
        totals.bytes_out = bytes(hits) + bytes(misses) + bytes(own);
        let [held, retried] = &self.rescued;
        Figures {
            totals,
            hits: counts(hits),
            misses: counts(misses),
            saved: Saved {
                bytes: bytes(hits),
                origin: Duration::from_nanos(self.saved_nanos.sum()),
                held: sum(held),
                retried: sum(retried),
            },
        }
    }
}

/// What the store has saved, as metrics: made of what is counted anyway.
#[derive(Debug)]
struct SavedMetrics(RouteFamilies);

impl Collector for SavedMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        #[derive(Debug, EncodeLabelSet)]
        struct Labels {
            route: Label,
        }
        let figures = self.0.figures();
        let mut family = |name: &str, help: &str, of: &dyn Fn(&Saved) -> f64| {
            let values = figures.iter().map(|(name, it)| (name, of(&it.saved)));
            let mut values = values.filter(|(_, value)| *value > 0.0).peekable();
            if values.peek().is_none() {
                return Ok(());
            }
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (name, value) in values {
                let labels = Labels {
                    route: Label::from(&**name),
                };
                ConstCounter::new(value).encode(metric.encode_family(&labels)?)?;
            }
            Ok(())
        };
        family(
            "saved_origin_seconds",
            "How long the origin would have taken for what came from the store",
            &|saved| saved.origin.as_secs_f64(),
        )?;
        #[expect(
            clippy::cast_precision_loss,
            reason = "a float is what a scrape reads anyway"
        )]
        family(
            "saved_bytes",
            "Octets of bodies that came from the store",
            &|saved| saved.bytes as f64,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_classes() {
        for (status, class) in [
            (101, "1xx"),
            (200, "2xx"),
            (599, "5xx"),
            (600, "none"),
            (99, "none"),
            (0, "none"),
        ] {
            assert_eq!(STATUS_CLASSES[status_class(status)], class);
        }
    }

    #[test]
    fn what_is_counted_is_read_out_again() {
        let registry = crate::telemetry::Registry::new();
        let families = RouteFamilies::default();
        registry.register(|r| families.register(r));
        let text = registry.encode();
        assert!(!text.contains("forebay_saved_"), "{text}");
        let route = families.route("a\"b");
        let ended = |status, source, millis| Ended {
            method: MethodClass::Get,
            status,
            source,
            duration: Duration::from_millis(millis),
            bytes: 100,
        };
        for (answer, result) in [
            (ended(200, Source::Cache, 1), "hit"),
            (ended(200, Source::Cache, 1), "stale"),
            (ended(502, Source::Upstream, 80), "miss"),
            (ended(0, Source::Upstream, 80), "bypass"),
        ] {
            route.observe(&answer);
            route.cached(result, "none");
        }
        route.observe(&ended(302, Source::Proxy, 0));
        route.saved(Duration::from_millis(1_500));
        route.rescued(Rescue::Hold);
        route.rescued(Rescue::Retry);
        // A reload asks for the same name again.
        families.route("a\"b").rescued(Rescue::Retry);

        let [(name, figures)] = &families.figures()[..] else {
            panic!("one route");
        };
        assert_eq!(&**name, "a\"b");
        let expected = Totals {
            requests: 5,
            errors: 2,
            hit: 1,
            stale: 1,
            miss: 1,
            bypass: 1,
            bytes_out: 500,
            ..Totals::default()
        };
        assert_eq!(figures.totals, expected);
        assert_eq!((figures.hits.count(), figures.misses.count()), (2, 2));
        let saved = Saved {
            bytes: 200,
            origin: Duration::from_millis(1_500),
            held: 1,
            retried: 2,
        };
        assert_eq!(figures.saved, saved);
        let text = registry.encode();
        for line in [
            "forebay_saved_origin_seconds_total{route=\"a\\\"b\"} 1.5\n",
            "forebay_saved_bytes_total{route=\"a\\\"b\"} 200.0\n",
            "forebay_saved_failures_total{route=\"a\\\"b\",by=\"hold\"} 1\n",
            "forebay_response_bytes_total{route=\"a\\\"b\",source=\"proxy\"} 100\n",
            "forebay_request_duration_seconds_count{route=\"a\\\"b\",source=\"cache\"} 2\n",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }
}
