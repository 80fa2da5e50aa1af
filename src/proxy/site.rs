//! Everything a reload replaces at once: routes, upstreams, and what applies to every request.

use super::error_page::ErrorPages;
use super::settings::ProxySettings;
use crate::routing::Table;
use crate::routing::settings::RouteSettings;
use crate::telemetry::metrics::{HttpMetrics, RouteMetrics};
use crate::upstream::Upstreams;
use http::HeaderValue;
use std::collections::HashMap;
use std::sync::Arc;

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
    /// `Via` for what came in as HTTP/1.1, made once.
    pub via: HeaderValue,
    metrics: HashMap<Arc<str>, RouteMetrics>,
    unrouted: RouteMetrics,
}

/// What stands for the route where none matched.
pub const UNROUTED: &str = "-";

impl Site {
    /// Puts a set together.
    pub fn new(
        routes: Vec<RouteSettings>,
        upstreams: Upstreams,
        settings: ProxySettings,
        metrics: &HttpMetrics,
    ) -> Self {
        let routes = Table::new(routes);
        let by_route = routes
            .in_order()
            .map(|route| (Arc::from(route.name.as_str()), metrics.route(&route.name)));
        // A server name is a token by the rules of the configuration, so it is always a field value.
        let via = crate::fields::via::element(http::Version::HTTP_11, &settings.name);
        let via = HeaderValue::from_str(&via).unwrap_or(HeaderValue::from_static("1.1 forebay"));
        Self {
            metrics: by_route.collect(),
            unrouted: metrics.route(UNROUTED),
            error_pages: ErrorPages::default(),
            routes,
            upstreams,
            settings,
            via,
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
