//! Everything a reload replaces at once: routes, upstreams, and what applies to every request.

use super::encode::{AT_ONCE, Places};
use super::entry::X_REQUEST_ID;
use super::error_page::ErrorPages;
use super::events::Hub;
use super::settings::ProxySettings;
use crate::access::{Guard, Guards};
use crate::cache::Cache;
use crate::cache::settings::{KeyRules, Rules};
use crate::fields::hop_by_hop::is_hop_by_hop;
use crate::fields::path;
use crate::fields::via;
use crate::fields::view::{FieldView, Marks};
use crate::rate::{Limit, Limits};
use crate::routing::settings::{Action, PathMatch, RouteSettings};
use crate::routing::{RequestView, Table};
use crate::telemetry::metrics::HttpMetrics;
use crate::telemetry::route::RouteMetrics;
use crate::upstream::Upstreams;
use http::header::{AGE, CONNECTION, CONTENT_LENGTH, CONTENT_RANGE, DATE, TRANSFER_ENCODING, VIA};
use http::{HeaderName, HeaderValue, Version};
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
    /// Places for encoders.
    pub encoders: Places,
    /// What viewers are told of. The same for each site, too.
    pub events: Arc<Hub>,
    /// What is kept of answers. The same for each site that a reload makes: it drops nothing that is stored.
    pub cache: Arc<Cache>,
    /// The rate limits that they name.
    pub limits: Limits,
    /// Our name in `Cache-Status` (RFC 9211 §2).
    pub cache_name: String,
    via: [HeaderValue; 3],
    /// What stands in front of the routes.
    guards: Guards,
    /// Of the fields that a stranger has no say in because of them, for a quick look.
    claim_marks: Marks,
    /// Whether some route has a guard or a rate limit, or other rules for the cache than another.
    tells_apart: bool,
    /// The routes by their paths decoded, where some are written with escapes.
    decoded: Option<Table>,
    metrics: HttpMetrics,
    /// By the routes' indices.
    places: Vec<Place>,
    nowhere: Place,
}

/// What a site keeps for one route, ready for each of its requests.
#[derive(Debug)]
pub struct Place {
    /// The route's name.
    pub name: Arc<str>,
    /// The upstream that it leads to; all of them, where it shares requests out.
    pub upstream: Arc<str>,
    /// What the cache may do.
    pub rules: Arc<Rules>,
    /// What its requests must come within.
    pub limits: Vec<Arc<Limit>>,
    /// What is counted.
    pub metrics: RouteMetrics,
    /// What stands in front of it, where something does.
    pub guard: Option<Arc<Guard>>,
    /// Whether it changes fields that each answer has anew, or that are for one connection only: stored lines cannot be sent as they are stored.
    pub edits_framing: bool,
    /// Whether all that it is for is refused.
    refuses: bool,
}

impl Place {
    /// Whether it asks for more than that a request is for it.
    pub fn is_guarded(&self) -> bool {
        self.guard.is_some() || self.refuses || !self.limits.is_empty()
    }

    fn of(route: &RouteSettings, rules: Arc<Rules>, metrics: &HttpMetrics) -> Self {
        Self {
            edits_framing: edits_framing(route),
            refuses: is_refusal(&route.action),
            ..Self::new(&route.name, &upstreams_of(route), rules, metrics)
        }
    }

    fn new(name: &str, upstream: &str, rules: Arc<Rules>, metrics: &HttpMetrics) -> Self {
        Self {
            refuses: false,
            name: name.into(),
            upstream: upstream.into(),
            rules,
            limits: Vec::new(),
            metrics: metrics.route(name),
            guard: None,
            edits_framing: false,
        }
    }
}

/// Fields that each answer has anew.
static FRAMING: [HeaderName; 9] = [
    AGE,
    HeaderName::from_static("cache-status"),
    CONNECTION,
    CONTENT_LENGTH,
    CONTENT_RANGE,
    DATE,
    TRANSFER_ENCODING,
    VIA,
    X_REQUEST_ID,
];

/// The routes by their paths decoded, where some are written with escapes.
fn decoded(routes: &[RouteSettings]) -> Option<Table> {
    let mut decoded = routes.to_vec();
    for route in &mut decoded {
        let (PathMatch::Prefix(path) | PathMatch::Exact(path) | PathMatch::Glob(path)) =
            &mut route.matches.path;
        *path = path::decode(path);
    }
    let same =
        |(one, other): (&RouteSettings, &RouteSettings)| one.matches.path == other.matches.path;
    (!decoded.iter().zip(routes).all(same)).then(|| Table::new(decoded))
}

fn edits_framing(route: &RouteSettings) -> bool {
    let edits = &route.response_headers;
    let set = edits.set.iter().map(|(name, _)| name);
    let mut names = edits.remove.iter().chain(set);
    names.any(|name| FRAMING.contains(name) || is_hop_by_hop(name))
}

fn marks_of(guards: &Guards) -> Marks {
    let names: Vec<&str> = guards
        .claims(false)
        .iter()
        .map(HeaderName::as_str)
        .collect();
    Marks::of(&names)
}

/// A fixed answer that is an error keeps everybody away from a path.
fn is_refusal(action: &Action) -> bool {
    let Action::Respond { status, .. } = action else {
        return false;
    };
    status.is_client_error() || status.is_server_error()
}

fn upstreams_of(route: &RouteSettings) -> String {
    let Action::Forward(shares) = &route.action else {
        return UNROUTED.to_owned();
    };
    let names: Vec<_> = shares.iter().map(|share| share.upstream.as_str()).collect();
    names.join(",")
}

/// A name as an item of RFC 8941: a token, or where it begins like a number, a string. A server's name is an HTTP token, so
/// nothing in it needs escaping.
fn item(name: &str) -> String {
    if name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '*') {
        name.to_owned()
    } else {
        format!("\"{name}\"")
    }
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
        cache: Arc<Cache>,
        metrics: &HttpMetrics,
    ) -> Self {
        let mut keys: Vec<KeyRules> = Vec::new();
        for rules in &rules {
            if !keys.contains(&rules.key) {
                keys.push(rules.key.clone());
            }
        }
        cache.keyed_by(keys);
        let places: Vec<Place> = routes
            .iter()
            .zip(rules)
            .map(|(route, rules)| Place::of(route, rules, metrics))
            .collect();
        let tells_apart = places.windows(2).any(|two| two[0].rules != two[1].rules);
        let via = [Version::HTTP_10, Version::HTTP_11, Version::HTTP_2].map(|received| {
            // A server name is a token by the rules of the configuration, so it is always a field value.
            HeaderValue::from_str(&via::element(received, &settings.name))
                .unwrap_or(HeaderValue::from_static("1.1 forebay"))
        });
        Self {
            claim_marks: marks_of(&Guards::default()),
            tells_apart,
            metrics: metrics.clone(),
            guards: Guards::default(),
            places,
            nowhere: Place::new(UNROUTED, UNROUTED, Arc::new(Rules::off()), metrics),
            cache,
            limits: Limits::default(),
            events: Arc::default(),
            cache_name: item(&settings.name),
            error_pages: ErrorPages::default(),
            encoders: Places::new(AT_ONCE, metrics.encoders()),
            decoded: decoded(&routes),
            routes: Table::new(routes),
            upstreams,
            settings,
            via,
        }
    }

    /// Counts a request whose body was refused.
    pub fn refused(&self, reason: &'static str) {
        self.metrics.refused(reason);
    }

    /// The same, with these rate limits.
    #[must_use]
    pub fn limited_by(mut self, limits: Limits) -> Self {
        for route in self.routes.in_order() {
            if let Some(place) = self.places.get_mut(route.index) {
                place.limits = limits.of(&route.rate_limits);
            }
        }
        self.tells_apart |= self.places.iter().any(Place::is_guarded);
        self.limits = limits;
        self
    }

    /// Puts guards in front of the routes.
    #[must_use]
    pub fn guarded(mut self, guards: Guards) -> Self {
        for (index, place) in self.places.iter_mut().enumerate() {
            place.guard = guards.of(index).cloned();
        }
        self.tells_apart |= self.places.iter().any(Place::is_guarded);
        self.claim_marks = marks_of(&guards);
        self.guards = guards;
        self
    }

    /// Whether it makes a difference for which route a path is taken: some have a guard, or other rules for the cache.
    #[inline]
    pub fn tells_apart(&self) -> bool {
        self.tells_apart
    }

    /// Where a request would be if its path were [read otherwise](path::readings), as far as that is another place.
    pub fn others<'s>(
        &'s self,
        route: Option<&RouteSettings>,
        sought: &RequestView<'_>,
    ) -> impl Iterator<Item = &'s Place> {
        let own = route.map(|route| route.index);
        // An application that decodes `/my%20files` is asked for it by what was never encoded, too.
        let as_it_stands = self.decoded.is_some().then(|| sought.path.to_owned());
        let table = self.decoded.as_ref().unwrap_or(&self.routes);
        let sought = *sought;
        let mut others = Vec::new();
        for path in path::readings(sought.path).into_iter().chain(as_it_stands) {
            let read = RequestView {
                path: &path,
                ..sought
            };
            let found = table.find(&read).map(|meant| meant.index);
            others.extend(found.filter(|index| Some(*index) != own));
        }
        others
            .into_iter()
            .filter_map(|index| self.places.get(index))
    }

    /// Whether there may be others for this path.
    #[inline]
    pub fn may_be_read_otherwise(&self, path: &str) -> bool {
        let is_plain = |octet: u8| octet.is_ascii_alphanumeric() || b"-._~/".contains(&octet);
        path::has_readings(path) || self.decoded.is_some() && !path.bytes().all(is_plain)
    }

    /// What stands in front of the routes.
    pub fn guards(&self) -> &Guards {
        &self.guards
    }

    /// Whether a request has fields that its sender has no say in.
    #[inline]
    pub fn has_claims(&self, fields: FieldView<'_>, trusted: bool) -> bool {
        let claims = self.guards.claims(trusted);
        !claims.is_empty()
            && fields.may_have(self.claim_marks)
            && claims.iter().any(|name| fields.contains(name))
    }

    /// What the cache may do on a route.
    pub fn rules(&self, route: &RouteSettings) -> &Arc<Rules> {
        &self.place(Some(route)).rules
    }

    /// Our `Via` element for a message that was received in this version (RFC 9110 §7.6.3).
    pub fn via(&self, received: Version) -> &HeaderValue {
        let [http10, http11, http2] = &self.via;
        match received {
            Version::HTTP_2 => http2,
            Version::HTTP_10 => http10,
            _ => http11,
        }
    }

    /// What is kept for a route; `None` is for requests that no route is for.
    pub fn place(&self, route: Option<&RouteSettings>) -> &Place {
        route
            .and_then(|route| self.places.get(route.index))
            .unwrap_or(&self.nowhere)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_token_or_a_string() {
        for (name, expected) in [
            ("edge-1", "edge-1"),
            ("*", "*"),
            ("3f2a9c", "\"3f2a9c\""),
            ("_a", "\"_a\""),
        ] {
            assert_eq!(item(name), expected);
        }
    }
}
