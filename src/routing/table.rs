//! The routes in the order in which they are tried, and the first that matches.

use super::matcher::{
    Mismatch, PathRule, RequestView, bare_host, condition_count, conditions, conditions_cover,
    host_covers, host_matches,
};
use super::settings::{Action, HostMatch, RouteSettings, Scheme};
use super::tree::PathTree;
use crate::fields::path::upper_case_hex;
use hashbrown::HashMap;
use std::borrow::Cow;
use std::cmp::Reverse;
use std::sync::Arc;

/// All routes, indexed. Immutable: a reload builds another.
#[derive(Debug, Default)]
pub struct Table {
    /// In the order in which they are tried.
    entries: Vec<Entry>,
    exact_hosts: HashMap<Box<str>, PathTree>,
    /// By the suffix without `*.`.
    wildcard_hosts: HashMap<Box<str>, PathTree>,
    any_host: PathTree,
    /// Whether some route's path holds a percent-encoding, so that the case of hex digits has to be levelled.
    compares_hex: bool,
}

/// A route that takes no request, because another takes all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shadowed {
    /// The unreachable route, as an index of the given list.
    pub route: usize,
    /// The route that is tried before it and matches whatever it would.
    pub by: usize,
}

/// A route that keeps requests from a redirect to `https`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PassedBy {
    /// The redirect, as an index of the given list.
    pub redirect: usize,
    /// The route that is tried before it and takes some of its requests.
    pub route: usize,
}

/// A route that lets requests get past another's guard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PassedGuard {
    /// The guarded route, as an index of the given list.
    pub guard: usize,
    /// The open route that is tried before it and takes some of its requests.
    pub route: usize,
}

/// One line of an explanation: a route that was tried, and what came of it.
#[derive(Debug, Clone, Copy)]
pub struct Explained<'t> {
    /// The route.
    pub route: &'t Arc<RouteSettings>,
    /// Why it did not match; `None` for the one that did, which is the last.
    pub mismatch: Option<Mismatch<'t>>,
}

#[derive(Debug)]
struct Entry {
    route: Arc<RouteSettings>,
    path: PathRule,
}

impl Table {
    /// A table of these routes, given in the order of the file.
    pub fn new(routes: Vec<RouteSettings>) -> Self {
        let paths: Vec<PathRule> = routes.iter().map(path_rule).collect();
        let order = order(&routes, &paths);
        let mut entries: Vec<Option<Entry>> = routes
            .into_iter()
            .zip(paths)
            .map(|(route, path)| {
                let route = Arc::new(route);
                Some(Entry { route, path })
            })
            .collect();
        let mut table = Self::default();
        for entry in order.into_iter().filter_map(|at| entries[at].take()) {
            table.push(entry);
        }
        table
    }

    /// The route that `request` belongs to. Allocates nothing, unless a route's path and the request's both hold
    /// percent-encodings; takes time in proportion to the host's and the path's length, and to the number of globs,
    /// and of routes that differ in other conditions only, along the path.
    pub fn find(&self, request: &RequestView<'_>) -> Option<&Arc<RouteSettings>> {
        let path = self.compared(request.path);
        let search = |tree: &PathTree| {
            tree.find(&path, |at| {
                let entry = &self.entries[at];
                let path_matches = match &entry.path {
                    PathRule::Glob { glob, .. } => glob.matches(&path),
                    PathRule::Prefix(_) | PathRule::Exact(_) => true,
                };
                path_matches && conditions(&entry.route.matches, request).is_ok()
            })
        };
        let found = self.find_by_host(request.host, search);
        let found = found.or_else(|| search(&self.any_host))?;
        Some(&self.entries[found].route)
    }

    /// The first that `search` finds among routes that name this host, the most specific names first.
    fn find_by_host(
        &self,
        host: &str,
        search: impl Fn(&PathTree) -> Option<usize>,
    ) -> Option<usize> {
        if self.exact_hosts.is_empty() && self.wildcard_hosts.is_empty() {
            return None;
        }
        let mut buffer;
        let mut host = bare_host(host);
        if host.bytes().any(|octet| octet.is_ascii_uppercase()) {
            buffer = [0; LONGEST_HOST];
            host = lower_case(host, &mut buffer);
        }
        let found = self.exact_hosts.get(host).and_then(&search);
        found.or_else(|| {
            if self.wildcard_hosts.is_empty() {
                return None;
            }
            let mut dots = host.bytes().enumerate();
            std::iter::from_fn(|| dots.find(|&(at, octet)| octet == b'.' && at > 0))
                .filter_map(|(at, _)| self.wildcard_hosts.get(&host[at + 1..]))
                .find_map(search)
        })
    }

    /// The routes in the order in which they are tried.
    pub fn in_order(&self) -> impl ExactSizeIterator<Item = &Arc<RouteSettings>> {
        self.entries.iter().map(|entry| &entry.route)
    }

    /// Why `request` belongs to the route it belongs to: the routes tried, up to the one that matches. Tries each route
    /// by itself, without the index: for people, not for the path of a request.
    pub fn explain(&self, request: &RequestView<'_>) -> Vec<Explained<'_>> {
        let host = bare_host(request.host).to_ascii_lowercase();
        let path = self.compared(request.path);
        let mut tried = Vec::new();
        for entry in &self.entries {
            let mismatch = entry.mismatch(&host, &path, request).err();
            let route = &entry.route;
            tried.push(Explained { route, mismatch });
            if mismatch.is_none() {
                break;
            }
        }
        tried
    }

    fn push(&mut self, entry: Entry) {
        let tree = match &entry.route.matches.host {
            HostMatch::Any => &mut self.any_host,
            HostMatch::Exact(name) => self.exact_hosts.entry(bare_host(name).into()).or_default(),
            HostMatch::Wildcard(suffix) => {
                let suffix = suffix.as_str().into();
                self.wildcard_hosts.entry(suffix).or_default()
            }
        };
        tree.insert(&entry.path, self.entries.len());
        self.compares_hex |= entry.path.has_percent();
        self.entries.push(entry);
    }

    fn compared<'p>(&self, path: &'p str) -> Cow<'p, str> {
        if self.compares_hex {
            upper_case_hex(path)
        } else {
            Cow::Borrowed(path)
        }
    }
}

impl Entry {
    fn mismatch(
        &self,
        host: &str,
        path: &str,
        request: &RequestView<'_>,
    ) -> Result<(), Mismatch<'_>> {
        let rule = &self.route.matches;
        if !host_matches(&rule.host, host) {
            return Err(Mismatch::Host);
        }
        if !self.path.matches(path) {
            return Err(Mismatch::Path);
        }
        conditions(rule, request)
    }
}

/// The routes that no request reaches, each with the first route that takes all of its requests. Routes that are
/// covered only by several others together are not found.
pub fn unreachable_routes(routes: &[RouteSettings]) -> Vec<Shadowed> {
    let paths: Vec<PathRule> = routes.iter().map(path_rule).collect();
    let order = order(routes, &paths);
    let covers = |by: usize, route: usize| {
        paths[by].covers(&paths[route])
            && conditions_cover(&routes[by].matches, &routes[route].matches)
    };
    let mut found = Vec::new();
    // More specific hosts come first and cannot cover less specific ones, so only equal hosts are compared.
    for group in order.chunk_by(|&a, &b| routes[a].matches.host == routes[b].matches.host) {
        for (at, &route) in group.iter().enumerate() {
            if let Some(&by) = group[..at].iter().find(|&&by| covers(by, route)) {
                found.push(Shadowed { route, by });
            }
        }
    }
    found.sort_by_key(|shadowed| shadowed.route);
    found
}

/// The routes that keep requests from a redirect to `https` though they may not mean to: those within the hosts and paths
/// of a redirect whose only other condition is `http`, more specific than it, and silent on the scheme.
pub fn passed_redirects(routes: &[RouteSettings]) -> Vec<PassedBy> {
    let to_https = |at: usize| match &routes[at].action {
        Action::Redirect { to, .. } => to.starts_with("https://"),
        Action::Forward(_) | Action::Respond { .. } | Action::Files { .. } => false,
    };
    let paths: Vec<PathRule> = routes.iter().map(path_rule).collect();
    let order = order(routes, &paths);
    let mut found = Vec::new();
    for (at, &redirect) in order.iter().enumerate() {
        let sent = &routes[redirect].matches;
        let is_only_condition = sent.scheme == Some(Scheme::Http) && condition_count(sent) == 1;
        if !is_only_condition || !to_https(redirect) {
            continue;
        }
        let passes = |route: usize| {
            let taken = &routes[route].matches;
            taken.scheme.is_none()
                && !to_https(route)
                && host_covers(&sent.host, &taken.host)
                && paths[redirect].covers(&paths[route])
        };
        let passing = order[..at].iter().filter(|&&route| passes(route));
        found.extend(passing.map(|&route| PassedBy { redirect, route }));
    }
    found.sort_by_key(|passed| (passed.redirect, passed.route));
    found
}

/// The routes by which requests for a guarded path get past its guard though nobody may mean them to: open ones of a narrower host,
/// which is tried first, with all of that path in theirs; unless the guard is there, too.
pub fn passed_guards(
    routes: &[RouteSettings],
    is_guarded: impl Fn(usize) -> bool,
) -> Vec<PassedGuard> {
    let paths: Vec<PathRule> = routes.iter().map(path_rule).collect();
    let order = order(routes, &paths);
    let mut found = Vec::new();
    for (at, &guard) in order.iter().enumerate().filter(|(_, at)| is_guarded(**at)) {
        let host = |route: usize| &routes[route].matches.host;
        let is_narrower =
            |route: usize| host(route) != host(guard) && host_covers(host(guard), host(route));
        let passing = order[..at].iter().enumerate().filter(|&(place, &route)| {
            let is_guarded_first = || {
                let mut before = order[..place].iter();
                before.any(|&it| {
                    is_guarded(it)
                        && host_covers(host(it), host(route))
                        && paths[it].covers(&paths[guard])
                })
            };
            let gives_something = matches!(
                routes[route].action,
                Action::Forward(_) | Action::Files { .. }
            );
            !is_guarded(route)
                && gives_something
                && is_narrower(route)
                && paths[route].covers(&paths[guard])
                && !is_guarded_first()
        });
        found.extend(passing.map(|(_, &route)| PassedGuard { guard, route }));
    }
    found.sort_by_key(|passed| (passed.guard, passed.route));
    found
}

/// The indices of `routes` in the order in which they are tried: the room's rules 1 to 4.
fn order(routes: &[RouteSettings], paths: &[PathRule]) -> Vec<usize> {
    let mut first_of_host: Vec<usize> = Vec::with_capacity(routes.len());
    let mut seen: HashMap<(u8, &str), usize> = HashMap::new();
    for (at, route) in routes.iter().enumerate() {
        first_of_host.push(*seen.entry(host_key(&route.matches.host)).or_insert(at));
    }
    let mut order: Vec<usize> = (0..routes.len()).collect();
    order.sort_by_cached_key(|&at| {
        let rule = &routes[at].matches;
        let (class, name) = host_key(&rule.host);
        let wildcard_length = if class == 1 { name.len() } else { 0 };
        let path_class = match paths[at] {
            PathRule::Exact(_) => 0,
            PathRule::Prefix(_) | PathRule::Glob { .. } => 1,
        };
        (
            (class, Reverse(wildcard_length), first_of_host[at]),
            (path_class, Reverse(paths[at].literal().len())),
            matches!(paths[at], PathRule::Glob { .. }),
            Reverse(condition_count(rule)),
            at,
        )
    });
    order
}

fn host_key(host: &HostMatch) -> (u8, &str) {
    match host {
        HostMatch::Exact(name) => (0, name),
        HostMatch::Wildcard(suffix) => (1, suffix),
        HostMatch::Any => (2, ""),
    }
}

fn path_rule(route: &RouteSettings) -> PathRule {
    PathRule::new(&route.matches.path)
}

/// No DNS name is longer (RFC 1035 §2.3.4), and so no name in a route that anybody can reach.
const LONGEST_HOST: usize = 255;

/// `host` in lower case, without allocating. A longer name than DNS has is no route's name: empty.
fn lower_case<'b>(host: &str, buffer: &'b mut [u8; LONGEST_HOST]) -> &'b str {
    let Some(place) = buffer.get_mut(..host.len()) else {
        return "";
    };
    place.copy_from_slice(host.as_bytes());
    place.make_ascii_lowercase();
    std::str::from_utf8(place).unwrap_or("")
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
