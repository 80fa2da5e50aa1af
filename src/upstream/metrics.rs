//! What is counted about upstreams. Labels are names that the operator wrote, and addresses; never anything a client sent.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::address::{Address, Server};
use super::discovery::{ResolveError, Resolved};
use super::queue::QueueRefusal;
use super::retry::{RetryReason, RetryRefusal};

/// Seconds; from "woken at once" to the longest sensible patience.
const HOLD_BUCKETS: [f64; 9] = [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// How a request's being held ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HoldOutcome {
    /// It was let go and answered.
    Served,
    /// It waited as long as it may.
    Expired,
    /// Too many were held already.
    Shed,
    /// The client left.
    Left,
    /// The process was ending.
    Draining,
    /// It was let go, and failed for another reason.
    Failed,
}

impl HoldOutcome {
    const ALL: [Self; 6] = [
        Self::Served,
        Self::Expired,
        Self::Shed,
        Self::Left,
        Self::Draining,
        Self::Failed,
    ];

    /// The word in metrics.
    pub fn word(self) -> &'static str {
        match self {
            Self::Served => "served",
            Self::Expired => "expired",
            Self::Shed => "shed",
            Self::Left => "left",
            Self::Draining => "draining",
            Self::Failed => "failed",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfUpstream {
    upstream: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfServer {
    upstream: String,
    server: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfAddress {
    upstream: String,
    server: String,
    addr: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WithOutcome {
    upstream: String,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WithReason {
    upstream: String,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WithResult {
    upstream: String,
    result: &'static str,
}

/// A function, so that it can be a type's parameter.
#[derive(Debug, Clone, Copy)]
struct HoldSeconds;

impl MetricConstructor<Histogram> for HoldSeconds {
    fn new_metric(&self) -> Histogram {
        Histogram::new(HOLD_BUCKETS)
    }
}

/// The metric families of all upstreams. Clones count into the same numbers.
#[derive(Debug, Clone)]
pub struct UpstreamMetrics {
    requests: Family<OfServer, Counter>,
    in_flight: Family<OfServer, Gauge>,
    connect_failures: Family<OfServer, Counter>,
    queued: Family<OfUpstream, Gauge>,
    queue_refusals: Family<WithReason, Counter>,
    held: Family<OfUpstream, Gauge>,
    hold_outcomes: Family<WithOutcome, Counter>,
    hold_seconds: Family<OfUpstream, Histogram, HoldSeconds>,
    retries: Family<WithReason, Counter>,
    retries_refused: Family<WithReason, Counter>,
    look_ups: Family<WithResult, Counter>,
    addresses: Family<OfUpstream, Gauge>,
    up: Family<OfAddress, Gauge>,
    ejections: Family<OfServer, Counter>,
    checks: Family<WithResult, Counter>,
}

impl Default for UpstreamMetrics {
    fn default() -> Self {
        Self {
            requests: Family::default(),
            in_flight: Family::default(),
            connect_failures: Family::default(),
            queued: Family::default(),
            queue_refusals: Family::default(),
            held: Family::default(),
            hold_outcomes: Family::default(),
            hold_seconds: Family::new_with_constructor(HoldSeconds),
            retries: Family::default(),
            retries_refused: Family::default(),
            look_ups: Family::default(),
            addresses: Family::default(),
            up: Family::default(),
            ejections: Family::default(),
            checks: Family::default(),
        }
    }
}

impl UpstreamMetrics {
    /// Makes them known to the registry. Once per registry.
    pub fn register(&self, registry: &mut Registry) {
        let Self {
            requests,
            in_flight,
            connect_failures,
            queued,
            queue_refusals,
            held,
            hold_outcomes,
            hold_seconds,
            retries,
            retries_refused,
            look_ups,
            addresses,
            up,
            ejections,
            checks,
        } = self.clone();
        let r = registry;
        r.register("upstream_requests", "Tries sent towards a server", requests);
        r.register(
            "upstream_in_flight",
            "Tries that a server is working on",
            in_flight,
        );
        r.register(
            "upstream_connect_failures",
            "Connects to a server that failed",
            connect_failures,
        );
        r.register(
            "upstream_queued",
            "Requests queueing for max_in_flight",
            queued,
        );
        r.register(
            "upstream_queue_refusals",
            "Requests refused by the queue",
            queue_refusals,
        );
        r.register(
            "upstream_held",
            "Requests held now, while nobody answers",
            held,
        );
        r.register(
            "upstream_held_requests",
            "Requests that were held, by how that ended",
            hold_outcomes,
        );
        r.register(
            "upstream_hold_seconds",
            "How long requests were held",
            hold_seconds,
        );
        r.register("upstream_retries", "Tries repeated, by reason", retries);
        r.register(
            "upstream_retries_refused",
            "Failed tries not repeated, by reason",
            retries_refused,
        );
        r.register(
            "upstream_dns_refresh",
            "Look-ups of server names, by result",
            look_ups,
        );
        r.register("upstream_addresses", "Addresses known", addresses);
        r.register("upstream_up", "0 where an address is down or unhealthy", up);
        r.register(
            "upstream_ejections",
            "Passive ejections of a server's addresses",
            ejections,
        );
        r.register(
            "upstream_health_checks",
            "Active health checks, by result",
            checks,
        );
    }

    /// The numbers of one upstream.
    pub(super) fn of(&self, upstream: &str) -> Numbers {
        Numbers {
            all: self.clone(),
            upstream: upstream.to_owned(),
        }
    }
}

/// The numbers of one upstream.
#[derive(Debug, Clone)]
pub(super) struct Numbers {
    all: UpstreamMetrics,
    upstream: String,
}

impl Numbers {
    fn of_upstream(&self) -> OfUpstream {
        OfUpstream {
            upstream: self.upstream.clone(),
        }
    }

    fn of_server(&self, server: &Server) -> OfServer {
        OfServer {
            upstream: self.upstream.clone(),
            server: server.name.to_string(),
        }
    }

    fn with_reason(&self, reason: &'static str) -> WithReason {
        WithReason {
            upstream: self.upstream.clone(),
            reason,
        }
    }

    fn with_result(&self, result: &'static str) -> WithResult {
        WithResult {
            upstream: self.upstream.clone(),
            result,
        }
    }

    pub(super) fn server(&self, server: &Server) -> ServerNumbers {
        let labels = self.of_server(server);
        ServerNumbers {
            requests: self.all.requests.get_or_create_owned(&labels),
            in_flight: self.all.in_flight.get_or_create_owned(&labels),
            connect_failures: self.all.connect_failures.get_or_create_owned(&labels),
            ejections: self.all.ejections.get_or_create_owned(&labels),
        }
    }

    pub(super) fn hold(&self) -> HoldMetrics {
        let outcome = |outcome: HoldOutcome| {
            self.all.hold_outcomes.get_or_create_owned(&WithOutcome {
                upstream: self.upstream.clone(),
                outcome: outcome.word(),
            })
        };
        HoldMetrics {
            held: self.all.held.get_or_create_owned(&self.of_upstream()),
            outcomes: HoldOutcome::ALL.map(outcome),
            seconds: self
                .all
                .hold_seconds
                .get_or_create_owned(&self.of_upstream()),
        }
    }

    pub(super) fn queue(&self) -> QueueMetrics {
        let refused = |reason| {
            self.all
                .queue_refusals
                .get_or_create_owned(&self.with_reason(reason))
        };
        QueueMetrics {
            queued: self.all.queued.get_or_create_owned(&self.of_upstream()),
            full: refused("full"),
            timed_out: refused("timed_out"),
        }
    }

    pub(super) fn retried(&self, reason: RetryReason) {
        tracing::debug!("tried again: {}", reason.word());
        let labels = self.with_reason(reason.word());
        self.all.retries.get_or_create(&labels).inc();
    }

    pub(super) fn not_retried(&self, refusal: RetryRefusal) {
        tracing::debug!("not tried again: {}", refusal.word());
        let labels = self.with_reason(refusal.word());
        self.all.retries_refused.get_or_create(&labels).inc();
    }

    pub(super) fn looked_up(&self, answer: Result<&Resolved, &ResolveError>) {
        let result = answer.map_or_else(ResolveError::word, |_| "ok");
        let labels = self.with_result(result);
        self.all.look_ups.get_or_create(&labels).inc();
    }

    pub(super) fn checked(&self, passed: bool) {
        let labels = self.with_result(if passed { "passed" } else { "failed" });
        self.all.checks.get_or_create(&labels).inc();
    }

    pub(super) fn addresses(&self, n: usize) {
        let n = i64::try_from(n).unwrap_or(i64::MAX);
        self.all.addresses.get_or_create(&self.of_upstream()).set(n);
    }

    /// Whether an address may be given requests; `None` where it is gone.
    pub(super) fn up(&self, address: &Address, up: Option<bool>) {
        let labels = OfAddress {
            upstream: self.upstream.clone(),
            server: address.server.name.to_string(),
            addr: address.socket.to_string(),
        };
        match up {
            Some(up) => {
                self.all.up.get_or_create(&labels).set(i64::from(up));
            }
            None => {
                self.all.up.remove(&labels);
            }
        }
    }
}

/// The numbers of one server that a request writes: kept at hand, so that it looks up no label.
#[derive(Debug, Clone, Default)]
pub struct ServerNumbers {
    pub(super) requests: Counter,
    pub(super) in_flight: Gauge,
    pub(super) connect_failures: Counter,
    pub(super) ejections: Counter,
}

/// The numbers of one upstream's holding.
#[derive(Debug, Clone)]
pub struct HoldMetrics {
    held: Gauge,
    outcomes: [Counter<u64, AtomicU64>; HoldOutcome::ALL.len()],
    seconds: Histogram,
}

impl HoldMetrics {
    /// So many more wait.
    pub fn waiting(&self, more: i64) {
        if more != 0 {
            self.held.inc_by(more);
        }
    }

    /// One was refused.
    pub fn shed(&self) {
        self.count(HoldOutcome::Shed);
    }

    /// One's being held ended, after so long.
    pub fn ended(&self, outcome: HoldOutcome, waited: Duration) {
        self.count(outcome);
        self.seconds.observe(waited.as_secs_f64());
    }

    fn count(&self, outcome: HoldOutcome) {
        for (known, counter) in HoldOutcome::ALL.iter().zip(&self.outcomes) {
            if *known == outcome {
                counter.inc();
            }
        }
    }

    #[cfg(test)]
    pub(super) fn held_now(&self) -> i64 {
        self.held.get()
    }

    #[cfg(test)]
    pub(super) fn outcome(&self, outcome: HoldOutcome) -> u64 {
        let mut pairs = HoldOutcome::ALL.iter().zip(&self.outcomes);
        pairs
            .find(|(known, _)| **known == outcome)
            .map_or(0, |(_, counter)| counter.get())
    }
}

/// The numbers of one upstream's queue.
#[derive(Debug, Clone, Default)]
pub struct QueueMetrics {
    queued: Gauge,
    full: Counter,
    timed_out: Counter,
}

impl QueueMetrics {
    /// So many more queue.
    pub fn waiting(&self, more: i64) {
        self.queued.inc_by(more);
    }

    /// One was refused.
    pub fn refused(&self, refusal: QueueRefusal) {
        match refusal {
            QueueRefusal::Full => self.full.inc(),
            QueueRefusal::TimedOut => self.timed_out.inc(),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_family_is_registered_under_its_name() {
        let metrics = UpstreamMetrics::default();
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        let numbers = metrics.of("api");
        let hold = numbers.hold();
        hold.waiting(1);
        hold.ended(HoldOutcome::Served, Duration::from_millis(80));
        numbers.retried(RetryReason::Connect);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("encodes");
        for line in [
            "upstream_held{upstream=\"api\"} 1",
            "upstream_held_requests_total{upstream=\"api\",outcome=\"served\"} 1",
            "upstream_hold_seconds_bucket{le=\"0.1\",upstream=\"api\"} 1",
            "upstream_retries_total{upstream=\"api\",reason=\"connect\"} 1",
        ] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
    }
}
