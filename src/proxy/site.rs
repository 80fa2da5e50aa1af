//! Everything a reload replaces at once: routes, upstreams, and what applies to every request.

use super::encode::AT_ONCE;
use super::error_page::ErrorPages;
use super::settings::ProxySettings;
use crate::cache::settings::Rules;
use crate::fields::via;
use crate::routing::Table;
use crate::routing::settings::RouteSettings;
use crate::telemetry::metrics::{HttpMetrics, RouteMetrics};
use crate::upstream::Upstreams;
use http::{HeaderValue, Version};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// One complete set of settings at work. A request keeps the one it began with.
#[derive(Debug)]
pub struct Site {
    /// The routes.
    pub routes: Table,
    /// The upstreams that they name.
    pub upstreams: Upstreams,
    /// What applies to every request.
    pub settings: ProxySettings,
    /// The operator's error pages.
    pub error_pages: ErrorPages,
    rules: Vec<Arc<Rules>>,
    unruled: Arc<Rules>,
    /// Places for encoders.
    pub encoders: Arc<Semaphore>,
    via: [HeaderValue; 3],
    metrics: HashMap<Arc<str>, RouteMetrics>,
    unrouted: RouteMetrics,
}

/// What stands for the route where none matched.
pub const UNROUTED: &str = "-";

impl Site {
    /// Puts a set together. `rules` has those of each route at its index.
    pub fn new(
        routes: Vec<RouteSettings>,
        rules: Vec<Arc<Rules>>,
        upstreams: Upstreams,
        settings: ProxySettings,
        metrics: &HttpMetrics,
    ) -> Self {
        let routes = Table::new(routes);
        let by_route = routes
            .in_order()
            .map(|route| (Arc::from(route.name.as_str()), metrics.route(&route.name)));
        let via = [Version::HTTP_10, Version::HTTP_11, Version::HTTP_2].map(|received| {
            // A server name is a token by the rules of the configuration, so it is always a field value.
            HeaderValue::from_str(&via::element(received, &settings.name))
                .unwrap_or(HeaderValue::from_static("1.1 forebay"))
        });
        Self {
            metrics: by_route.collect(),
            unrouted: metrics.route(UNROUTED),
            error_pages: ErrorPages::default(),
            encoders: Arc::new(Semaphore::new(AT_ONCE)),
            routes,
            rules,
            unruled: Arc::new(Rules::off()),
            upstreams,
            settings,
            via,
        }
    }

    /// What the cache may do on a route.
    pub fn rules(&self, route: &RouteSettings) -> &Arc<Rules> {
        self.rules.get(route.index).unwrap_or(&self.unruled)
    }

    /// Our `Via` element for a message that was received in this version (RFC 9110 §7.6.3).
    pub fn via(&self, received: Version) -> HeaderValue {
        let [http10, http11, http2] = &self.via;
        match received {
            Version::HTTP_2 => http2.clone(),
            Version::HTTP_10 => http10.clone(),
            _ => http11.clone(),
        }
    }

    /// A route's counters and its name as shared text.
    pub fn route_metrics(&self, route: Option<&RouteSettings>) -> (Arc<str>, &RouteMetrics) {
        route
            .and_then(|route| self.metrics.get_key_value(route.name.as_str()))
            .map_or_else(
                || (Arc::from(UNROUTED), &self.unrouted),
                |(name, metrics)| (name.clone(), metrics),
            )
    }
}
