//! What the answer to a write purges: what the application says with it, and what the route's `on_write` says.
//!
//! All of it is hard, and done before the writer sees its answer: who has changed something sees it changed.

use super::{Mode, Place, Scope, tags};
use crate::cache::key::Target;
use crate::cache::lookup::Cache;
use crate::cache::policy::{Received, invalidation};
use crate::cache::request::Request;
use crate::cache::settings::{Rules, WriteRule};
use crate::fields::path;
use http::{HeaderName, Method};

/// An answer's own word on what it purges: `tag:items, prefix:/api/items, url:/x`. For us, and not for clients.
pub const FOREBAY_PURGE: HeaderName = HeaderName::from_static("forebay-purge");

/// RFC 9875 §3: groups of the request's origin.
const CACHE_GROUP_INVALIDATION: HeaderName = HeaderName::from_static("cache-group-invalidation");

/// Scopes that one answer may name; what comes behind them is not read.
const SCOPES_MAX: usize = 1024;

impl WriteRule {
    /// Whether a request is meant.
    pub fn matches(&self, method: &Method, path: &str) -> bool {
        let asked = if *method == Method::HEAD {
            &Method::GET
        } else {
            method
        };
        let of_method = |known: &Method| known == asked || known == method;
        (self.methods.is_empty() || self.methods.iter().any(of_method))
            && path::in_any_reading(path, |path| is_like(&self.path, path))
    }
}

/// Whether a path is like a pattern.
fn is_like(pattern: &str, path: &str) -> bool {
    let Some((beginning, rest)) = pattern.split_once('*') else {
        return pattern == path;
    };
    let Some(mut left) = path.strip_prefix(beginning) else {
        return false;
    };
    let (middle, end) = rest.rsplit_once('*').unwrap_or(("", rest));
    // The first place where it is found leaves the most for what follows.
    for text in middle.split('*') {
        match left.split_once(text).filter(|_| !text.is_empty()) {
            Some((_, behind)) => left = behind,
            None if text.is_empty() => {}
            None => return false,
        }
    }
    left.ends_with(end)
}

impl Cache {
    /// The answer to a request came that changes something: where it is no error, purges what that says.
    pub(in crate::cache) fn purge_written(&self, request: &Request, received: &Received<'_>) {
        if !(received.status.is_success() || received.status.is_redirection()) {
            return;
        }
        let key = request.key.target();
        let purge = |scope: Scope| {
            let purge = super::Purge {
                scope,
                mode: Mode::Hard,
            };
            self.purge(&purge);
        };
        let written = request.target();
        for rule in &request.rules.on_write {
            if rule.matches(&request.method, written.path) {
                let scopes = rule.purge.iter().cloned();
                scopes.for_each(|scope| purge(on_its_own(scope, &key)));
            }
        }
        let said = received.headers.get_all(FOREBAY_PURGE);
        for member in tags::members(said).iter().take(SCOPES_MAX) {
            if let Some(scope) = member.parse::<Scope>().ok().and_then(|it| within(it, &key)) {
                purge(scope);
            } else {
                tracing::warn!(
                    route = &*request.route,
                    "an application's `Forebay-Purge` is not followed: expected `tag:…`, `url:…` or `prefix:…` of its own host, or `all`, found `{}`",
                    member.escape_debug()
                );
            }
        }
        // "MUST be ignored on responses to requests that have a safe method".
        if !invalidation::is_safe(&request.method) {
            let said = received.headers.get_all(CACHE_GROUP_INVALIDATION);
            for group in tags::groups(said).into_iter().take(SCOPES_MAX) {
                let matched = self.engine.store.ledger().purge_group(&key, &group);
                self.purged(Scope::Tags(vec![group]), Mode::Hard, Some(matched));
            }
        }
    }
}

/// A place without a host is one on this.
fn on_its_own(scope: Scope, own: &Target<'_>) -> Scope {
    let here = |place: Place| Place {
        authority: place.authority.or_else(|| Some(own.authority.to_owned())),
        ..place
    };
    match scope {
        Scope::Url(place) => Scope::Url(here(place)),
        Scope::Prefix(place) => Scope::Prefix(here(place)),
        Scope::Host(_) | Scope::Tags(_) | Scope::Everything => scope,
    }
}

/// What an application may purge of it: tags are everybody's, places are those of its own host.
fn within(scope: Scope, own: &Target<'_>) -> Option<Scope> {
    match on_its_own(scope, own) {
        Scope::Everything => Some(Scope::Host(own.authority.to_owned())),
        scope @ Scope::Tags(_) => Some(scope),
        scope @ Scope::Host(_) if scope.covers(own, |_| false) => Some(scope),
        Scope::Url(place) if place.authority.as_deref() == Some(own.authority) => {
            Some(Scope::Url(place))
        }
        Scope::Prefix(place) if place.authority.as_deref() == Some(own.authority) => {
            Some(Scope::Prefix(place))
        }
        Scope::Host(_) | Scope::Url(_) | Scope::Prefix(_) => None,
    }
}

/// Whether a request that other caches would answer changes something here.
pub(in crate::cache) fn changes(rules: &Rules, method: &Method, path: &str) -> bool {
    invalidation::is_safe(method) && rules.on_write.iter().any(|rule| rule.matches(method, path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_requests_change_something() {
        for (methods, path, method, asked, expected) in [
            (&["POST"][..], "/api/items/*", "POST", "/api/items/1", true),
            (&["POST"], "/api/items/*", "POST", "/api/items/", true),
            (&["POST"], "/api/items/*", "POST", "/api/items", false),
            (&["POST"], "/api/items/*", "PUT", "/api/items/1", false),
            (&["POST", "PUT"], "/a", "PUT", "/a", true),
            (&["GET"], "/update/*", "GET", "/update/x", true),
            (&["GET"], "/update/*", "HEAD", "/update/x", true),
            (&["HEAD"], "/update/*", "GET", "/update/x", false),
            (&[], "/a", "DELETE", "/a", true),
            (&[], "/a", "DELETE", "/ab", false),
            (&[], "*", "GET", "/", true),
            (&[], "/a/*/c", "GET", "/a/b/c", true),
            (&[], "/a/*/c", "GET", "/a/b/b/c", true),
            (&[], "/a/*/c", "GET", "/a/c", false),
            (&[], "/a*b*c", "GET", "/a-b-b-c", true),
            (&[], "/a*b*c", "GET", "/a-c-b", false),
            (&[], "/a*a", "GET", "/a", false),
            (&[], "/**/x", "GET", "/y/x", true),
        ] {
            let rule = WriteRule {
                methods: methods.iter().map(|it| it.parse().expect(it)).collect(),
                path: path.to_owned(),
                purge: Vec::new(),
            };
            let method: Method = method.parse().expect(method);
            assert_eq!(
                rule.matches(&method, asked),
                expected,
                "{methods:?} {path} {method} {asked}"
            );
        }
    }

    #[test]
    fn what_an_application_may_purge() {
        let own = Target {
            scheme: "https",
            authority: "a:8443",
            path: "/x",
            query: None,
        };
        for (said, expected) in [
            ("tag:items", Some("tag:items")),
            ("url:/x?y", Some("url:http://a:8443/x?y")),
            ("prefix:/api/", Some("prefix:http://a:8443/api/")),
            ("url:https://a:8443/x", Some("url:http://a:8443/x")),
            ("url:https://b/x", None),
            ("prefix:https://a/x", None),
            ("host:a", Some("host:a")),
            ("host:b", None),
            ("all", Some("host:a:8443")),
        ] {
            let scope: Scope = said.parse().expect(said);
            let scope = within(scope, &own).map(|scope| scope.to_string());
            assert_eq!(scope.as_deref(), expected, "{said}");
        }
    }
}
