//! The metrics of requests and connections. Labels come from the configuration or from this program, never from a client.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use crate::telemetry::Registry;
use crate::telemetry::figures::Figures;
use crate::telemetry::label::Label;
use crate::telemetry::route::{RouteFamilies, RouteMetrics};

/// The metrics of requests and connections; clones share them.
#[derive(Debug, Clone, Default)]
pub struct HttpMetrics {
    routes: RouteFamilies,
    connections: Family<ListenerLabel, Gauge>,
    accepted: Family<ListenerLabel, Counter>,
    tls_handshake_failures: Family<ListenerLabel, Counter>,
    refused: Family<ReasonLabel, Counter>,
    encoders: Gauge,
    reloads: Family<ResultLabel, Counter>,
    last_reload_success: Gauge,
    certificates: Family<CertificateLabel, Gauge<f64, AtomicU64>>,
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
struct ResultLabel {
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CertificateLabel {
    name: Label,
}

impl HttpMetrics {
    /// Makes the metrics and registers them, once in a process.
    pub fn new(registry: &Registry) -> Self {
        let metrics = Self::default();
        metrics.last_reload_success.set(1);
        let m = metrics.clone();
        registry.register(|r| {
            m.routes.register(r);
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
        self.routes.route(name)
    }

    /// What was counted of each route by now, in the order of their names. Adds up what the threads have counted, which is for
    /// once a second, not for each request.
    pub fn figures(&self) -> Vec<(Arc<str>, Figures)> {
        self.routes.figures()
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
    use crate::telemetry::ended::{Ended, MethodClass, Source};
    use http::Method;
    use std::time::Duration;

    fn ended(method: MethodClass, status: u16) -> Ended {
        Ended {
            method,
            status,
            source: Source::Proxy,
            duration: Duration::from_millis(1),
            bytes: 0,
        }
    }

    #[test]
    fn requests_by_route_method_and_class() {
        let registry = Registry::new();
        let metrics = HttpMetrics::new(&registry);
        let name = "a\"b/";
        let route = metrics.route(name);
        route.observe(&ended(MethodClass::from(&Method::GET), 200));
        route.observe(&ended(MethodClass::from(&Method::GET), 204));
        route.observe(&ended(MethodClass::from(&Method::TRACE), 0));
        // The same name after a reload goes on counting.
        metrics.route(name).observe(&ended(MethodClass::Get, 299));
        let text = registry.encode();
        for line in [
            "forebay_requests_total{route=\"a\\\"b/\",method=\"GET\",status=\"2xx\"} 3\n",
            "forebay_requests_total{route=\"a\\\"b/\",method=\"other\",status=\"none\"} 1\n",
            "forebay_request_duration_seconds_count{route=\"a\\\"b/\",source=\"proxy\"} 4\n",
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
                        route.observe(&ended(MethodClass::Get, 200));
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
            "forebay_request_duration_seconds_count{route=\"/\",source=\"proxy\"} 800\n",
        ] {
            assert!(text.contains(line), "{line} in {text}");
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
