//! The metrics of requests and connections. Labels come from the configuration or from this program, never from a client.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::Method;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use crate::telemetry::Registry;
use crate::telemetry::histogram::DurationHistogram;
use crate::telemetry::label::Label;
use crate::telemetry::sharded::ShardedCounter;
use crate::telemetry::words::CountersByWords;

/// The metrics of requests and connections; clones share them.
#[derive(Debug, Clone, Default)]
pub struct HttpMetrics {
    requests: Family<RequestLabels, ShardedCounter>,
    durations: Family<RouteLabel, DurationHistogram>,
    connections: Family<ListenerLabel, Gauge>,
    accepted: Family<ListenerLabel, Counter>,
    tls_handshake_failures: Family<ListenerLabel, Counter>,
    refused: Family<ReasonLabel, Counter>,
    cache_requests: Family<CacheLabels, ShardedCounter>,
    express_answers: ShardedCounter,
    encoders: Gauge,
    reloads: Family<ResultLabel, Counter>,
    last_reload_success: Gauge,
    certificates: Family<CertificateLabel, Gauge<f64, AtomicU64>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: Label,
    method: &'static str,
    status: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabel {
    route: Label,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ListenerLabel {
    listener: Label,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CacheLabels {
    route: Label,
    result: &'static str,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabel {
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CertificateLabel {
    name: Label,
}

/// A method as a label: the common ones by name, all else in one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MethodClass {
    /// GET.
    Get,
    /// HEAD.
    Head,
    /// POST.
    Post,
    /// PUT.
    Put,
    /// PATCH.
    Patch,
    /// DELETE.
    Delete,
    /// OPTIONS.
    Options,
    /// Any other: a client may invent methods, and must not invent series.
    Other,
}

impl MethodClass {
    const COUNT: usize = 8;

    fn label(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
            Self::Other => "other",
        }
    }
}

impl From<&Method> for MethodClass {
    fn from(method: &Method) -> Self {
        match *method {
            Method::GET => Self::Get,
            Method::HEAD => Self::Head,
            Method::POST => Self::Post,
            Method::PUT => Self::Put,
            Method::PATCH => Self::Patch,
            Method::DELETE => Self::Delete,
            Method::OPTIONS => Self::Options,
            _ => Self::Other,
        }
    }
}

/// Status classes as labels; the last is for a request that got no answer.
const STATUS_CLASSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "none"];

fn status_class(status: u16) -> usize {
    match status {
        100..=599 => usize::from(status / 100 - 1),
        _ => STATUS_CLASSES.len() - 1,
    }
}

impl HttpMetrics {
    /// Makes the metrics and registers them, once in a process.
    pub fn new(registry: &Registry) -> Self {
        let metrics = Self::default();
        metrics.last_reload_success.set(1);
        let m = metrics.clone();
        registry.register(|r| {
            r.register("requests", "Requests ended", m.requests);
            r.register(
                "request_duration_seconds",
                "From a request's first byte to its response's last",
                m.durations,
            );
            r.register("connections", "Client connections open", m.connections);
            r.register("accepted", "Client connections accepted", m.accepted);
            r.register(
                "tls_handshake_failures",
                "TLS hand-shakes of clients that failed",
                m.tls_handshake_failures,
            );
            r.register(
                "refused",
                "Requests and connections refused by the gate or a limit",
                m.refused,
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
                "encoders_busy",
                "Responses being coded while they pass",
                m.encoders,
            );
            r.register("config_reloads", "Reloads of the configuration", m.reloads);
            r.register(
                "config_last_reload_success",
                "1 where the running configuration is the one last offered",
                m.last_reload_success,
            );
            r.register(
                "tls_cert_not_after",
                "When a listener's certificate ends, in Unix time",
                m.certificates,
            );
        });
        metrics
    }

    /// The handles of a route; obtain them once a route, and again after a reload: the same name gives the same series.
    pub fn route(&self, name: &str) -> RouteMetrics {
        let label = RouteLabel {
            route: Label::from(name),
        };
        RouteMetrics {
            duration: self.durations.get_or_create_owned(&label),
            route: label.route,
            family: self.requests.clone(),
            requests: Arc::default(),
            cache_family: self.cache_requests.clone(),
            cache_requests: Arc::default(),
            express_answers: self.express_answers.clone(),
        }
    }

    /// The handles of a listener, named by its address.
    pub fn listener(&self, name: &str) -> ListenerMetrics {
        let label = ListenerLabel {
            listener: Label::from(name),
        };
        ListenerMetrics {
            connections: self.connections.get_or_create_owned(&label),
            accepted: self.accepted.get_or_create_owned(&label),
            tls_handshake_failures: self.tls_handshake_failures.get_or_create_owned(&label),
        }
    }

    /// Counts a refusal by its reason, one of this program's own words.
    pub fn refused(&self, reason: &'static str) {
        self.refused.get_or_create(&ReasonLabel { reason }).inc();
    }

    /// Encoders at work on what passes; whoever takes and gives back one counts.
    pub fn encoders(&self) -> Gauge {
        self.encoders.clone()
    }

    /// Counts a reload.
    pub fn reloaded(&self, success: bool) {
        let result = if success { "success" } else { "failure" };
        self.reloads.get_or_create(&ResultLabel { result }).inc();
        self.last_reload_success.set(success.into());
    }

    /// Says which certificates are in use and when each ends. Those of an earlier call that are missing here are
    /// forgotten.
    pub fn certificates(&self, ends: impl IntoIterator<Item = (String, SystemTime)>) {
        self.certificates.clear();
        for (name, not_after) in ends {
            let seconds = not_after
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default()
                .as_secs_f64();
            self.certificates
                .get_or_create(&CertificateLabel {
                    name: Label::from(&*name),
                })
                .set(seconds);
        }
    }
}

/// The metrics of one route. Counting takes no lock and writes memory of the thread's own only, but for the first request of
/// each method and status class, and the first of what became of one in the cache.
#[derive(Debug, Clone)]
pub struct RouteMetrics {
    route: Label,
    duration: DurationHistogram,
    family: Family<RequestLabels, ShardedCounter>,
    /// Filled on first use, so that a scrape does not show series of what never happened.
    requests: Arc<[[OnceLock<ShardedCounter>; STATUS_CLASSES.len()]; MethodClass::COUNT]>,
    cache_family: Family<CacheLabels, ShardedCounter>,
    cache_requests: Arc<CountersByWords>,
    express_answers: ShardedCounter,
}

impl RouteMetrics {
    /// Counts a request that ended. A status of 0 is no answer.
    pub fn observe(&self, method: MethodClass, status: u16, duration: Duration) {
        self.duration.observe(duration);
        let class = status_class(status);
        let cell = self
            .requests
            .get(method as usize)
            .and_then(|row| row.get(class));
        if let (Some(cell), Some(status)) = (cell, STATUS_CLASSES.get(class)) {
            cell.get_or_init(|| {
                self.family.get_or_create_owned(&RequestLabels {
                    route: self.route.clone(),
                    method: method.label(),
                    status,
                })
            })
            .inc();
        }
    }

    /// Counts a request that the express lane answered, besides what else is counted of it.
    pub fn expressed(&self) {
        self.express_answers.inc();
    }

    /// Counts what became of a request in the cache: one word of it and one of why, both this program's own.
    pub fn cached(&self, result: &'static str, reason: &'static str) {
        let make = || {
            self.cache_family.get_or_create_owned(&CacheLabels {
                route: self.route.clone(),
                result,
                reason,
            })
        };
        self.cache_requests.of([result, reason], make).inc();
    }
}

/// The metrics of one listener.
#[derive(Debug, Clone)]
pub struct ListenerMetrics {
    /// Connections open now.
    pub connections: Gauge,
    /// Connections accepted.
    pub accepted: Counter,
    /// TLS hand-shakes that failed.
    pub tls_handshake_failures: Counter,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_by_route_method_and_class() {
        let registry = Registry::new();
        let metrics = HttpMetrics::new(&registry);
        let name = "a\"b/";
        let route = metrics.route(name);
        let millisecond = Duration::from_millis(1);
        route.observe(MethodClass::from(&Method::GET), 200, millisecond);
        route.observe(MethodClass::from(&Method::GET), 204, millisecond);
        route.observe(MethodClass::from(&Method::TRACE), 0, millisecond);
        // The same name after a reload goes on counting.
        metrics
            .route(name)
            .observe(MethodClass::Get, 299, millisecond);
        let text = registry.encode();
        for line in [
            "forebay_requests_total{route=\"a\\\"b/\",method=\"GET\",status=\"2xx\"} 3\n",
            "forebay_requests_total{route=\"a\\\"b/\",method=\"other\",status=\"none\"} 1\n",
            "forebay_request_duration_seconds_count{route=\"a\\\"b/\"} 4\n",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
        assert_eq!(text.matches("forebay_requests_total{").count(), 2);
    }

    #[test]
    fn what_the_cache_did_by_route_and_reason() {
        let registry = Registry::new();
        let metrics = HttpMetrics::new(&registry);
        let route = metrics.route("/");
        for (result, reason) in [("hit", "none"), ("miss", "none"), ("hit", "none")] {
            route.cached(result, reason);
        }
        metrics.route("/").cached("hit", "none");
        let text = registry.encode();
        let line = "forebay_cache_requests_total{route=\"/\",result=\"hit\",reason=\"none\"} 3\n";
        assert!(text.contains(line), "{line} in {text}");
        assert_eq!(text.matches("forebay_cache_requests_total{").count(), 2);
    }

    #[test]
    fn threads_and_reloads_count_into_the_same_series() {
        const WORDS: [&str; 5] = ["hit", "miss", "stale", "none", "collapsed"];
        let registry = Registry::new();
        let metrics = HttpMetrics::new(&registry);
        let route = metrics.route("/");
        // All meet all pairs for the first time at once.
        let ready = std::sync::Barrier::new(8);
        std::thread::scope(|scope| {
            for n in 0..8 {
                let (metrics, route, ready) = (&metrics, &route, &ready);
                scope.spawn(move || {
                    let reloaded = metrics.route("/");
                    let route = if n % 2 == 0 { route } else { &reloaded };
                    ready.wait();
                    for _ in 0..100 {
                        for (result, reason) in WORDS.iter().flat_map(|a| WORDS.map(|b| (a, b))) {
                            route.cached(result, reason);
                        }
                        route.observe(MethodClass::Get, 200, Duration::from_millis(1));
                    }
                });
            }
        });
        let text = registry.encode();
        let of_cache: Vec<_> = text
            .lines()
            .filter(|line| line.starts_with("forebay_cache_requests_total{"))
            .collect();
        assert_eq!(of_cache.len(), WORDS.len() * WORDS.len());
        assert!(of_cache.iter().all(|line| line.ends_with(" 800")), "{text}");
        for line in [
            "forebay_requests_total{route=\"/\",method=\"GET\",status=\"2xx\"} 800\n",
            "forebay_request_duration_seconds_count{route=\"/\"} 800\n",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }

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
    fn connections_refusals_reloads_certificates() {
        let registry = Registry::new();
        let metrics = HttpMetrics::new(&registry);
        let listener = metrics.listener("0.0.0.0:8080");
        listener.accepted.inc();
        listener.connections.inc();
        listener.tls_handshake_failures.inc();
        metrics.refused("head_too_large");
        metrics.reloaded(true);
        metrics.reloaded(false);
        metrics.certificates([("old".to_owned(), UNIX_EPOCH)]);
        metrics.certificates([(
            "example.org".to_owned(),
            UNIX_EPOCH + Duration::from_secs(60),
        )]);
        let text = registry.encode();
        for line in [
            "forebay_accepted_total{listener=\"0.0.0.0:8080\"} 1\n",
            "forebay_connections{listener=\"0.0.0.0:8080\"} 1\n",
            "forebay_tls_handshake_failures_total{listener=\"0.0.0.0:8080\"} 1\n",
            "forebay_refused_total{reason=\"head_too_large\"} 1\n",
            "forebay_config_reloads_total{result=\"success\"} 1\n",
            "forebay_config_reloads_total{result=\"failure\"} 1\n",
            "forebay_config_last_reload_success 0\n",
            "forebay_tls_cert_not_after{name=\"example.org\"} 60.0\n",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
        assert!(!text.contains("name=\"old\""));
    }
}
