//! The order of routes, the index against trying each route in turn, and the search for unreachable ones.

use super::*;
use crate::routing::settings::{Action, HeaderEdits, MatchSettings, PathMatch, Rewrite, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use proptest::prelude::*;

/// A route as in a file: `[HOST]PATH [http|https] [METHOD,…] [?NAME[=VALUE]] [NAME: VALUE]`.
fn route(text: &str) -> RouteSettings {
    let mut words = text.split(' ');
    let (host, path) = words
        .next()
        .map_or(("", ""), |word| word.split_at(host_end(word)));
    let mut matches = MatchSettings {
        host: match host.strip_prefix("*.") {
            Some(suffix) => HostMatch::Wildcard(suffix.to_owned()),
            None if host.is_empty() => HostMatch::Any,
            None => HostMatch::Exact(host.to_owned()),
        },
        path: match path.strip_prefix('=') {
            Some(exact) => PathMatch::Exact(exact.to_owned()),
            None if path.contains('*') => PathMatch::Glob(path.to_owned()),
            None => PathMatch::Prefix(path.to_owned()),
        },
        scheme: None,
        methods: Vec::new(),
        headers: Vec::new(),
        query: Vec::new(),
    };
    for word in words {
        let value = |at: Option<(&str, &str)>| at.map(|(_, value)| value.to_owned());
        if let Some(query) = word.strip_prefix('?') {
            let name = query.split('=').next().unwrap_or(query).to_owned();
            matches.query.push((name, value(query.split_once('='))));
        } else if let Some((name, _)) = word.split_once(':') {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
            let value = value(word.split_once(':')).filter(|v| !v.is_empty());
            matches.headers.push((name, value));
        } else if let Some(scheme) = scheme(word) {
            matches.scheme = Some(scheme);
        } else {
            let methods = word.split(',').map(|m| m.parse().expect("a method"));
            matches.methods.extend(methods);
        }
    }
    RouteSettings {
        name: text.to_owned(),
        matches,
        action: Action::Redirect {
            to: "/".to_owned(),
            status: StatusCode::FOUND,
        },
        rewrite: Rewrite::None,
        request_headers: HeaderEdits::default(),
        response_headers: HeaderEdits::default(),
        error_pages: std::collections::BTreeMap::new(),
        body_limit: None,
        hold_on: Vec::new(),
        events: None,
        rate_limits: Vec::new(),
        index: 0,
    }
}

fn scheme(word: &str) -> Option<Scheme> {
    [Scheme::Http, Scheme::Https]
        .into_iter()
        .find(|scheme| scheme.as_str() == word)
}

fn host_end(word: &str) -> usize {
    word.find(['/', '=']).unwrap_or(word.len())
}

fn routes(texts: &[&str]) -> Vec<RouteSettings> {
    texts.iter().map(|text| route(text)).collect()
}

/// A request: `METHOD [SCHEME://]HOST PATH[?QUERY] [NAME: VALUE]`.
struct Request {
    scheme: Scheme,
    method: Method,
    host: String,
    path: String,
    query: Option<String>,
    headers: HeaderMap,
}

impl Request {
    fn new(text: &str) -> Self {
        let mut words = text.split(' ');
        let mut word = || words.next().unwrap_or("").to_owned();
        let (method, host, target) = (word(), word(), word());
        let (given, host) = host.split_once("://").unwrap_or(("http", &host));
        let (scheme, host) = (scheme(given).expect("a scheme"), host.to_owned());
        let mut headers = HeaderMap::new();
        for field in words {
            let (name, value) = field.split_once(':').expect("a field");
            headers.append(
                HeaderName::from_bytes(name.as_bytes()).expect("a name"),
                HeaderValue::from_str(value).expect("a value"),
            );
        }
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path.to_owned(), Some(query.to_owned())),
            None => (target, None),
        };
        Self {
            scheme,
            method: method.parse().expect("a method"),
            host,
            path,
            query,
            headers,
        }
    }

    fn view(&self) -> RequestView<'_> {
        RequestView {
            scheme: self.scheme,
            host: &self.host,
            path: &self.path,
            query: self.query.as_deref(),
            method: &self.method,
            headers: (&self.headers).into(),
        }
    }
}

fn found<'t>(table: &'t Table, request: &str) -> &'t str {
    let request = Request::new(request);
    table.find(&request.view()).map_or("none", |r| &r.name)
}

#[test]
fn the_most_specific_route_takes_the_request() {
    let table = Table::new(routes(&[
        "/",
        "/api/",
        "/api/v2",
        "=/api/v2/ping",
        "/img/",
        "/img/*.png",
        "/img/**.svg",
        "*.example.org/",
        "*.b.example.org/",
        "example.org/",
        "example.org/api",
        "/post POST",
        "/form GET,POST",
        "/form",
        "/canary",
        "/canary x-canary:1",
        "/canary x-canary:",
        "/q ?v=2",
        "/q ?v",
        "/tls https",
        "/up http",
        "/up https GET",
        "/up",
        "only.example.org/only",
        "[::1]/",
    ]));
    for (request, expected) in [
        ("GET h /", "/"),
        ("GET h /x", "/"),
        ("OPTIONS h *", "/"),
        ("GET h /api", "/api/"),
        ("GET h /apix", "/"),
        ("GET h /api/v2/x", "/api/v2"),
        ("GET h /api/v2/ping", "=/api/v2/ping"),
        ("GET h /api/v2/ping/", "/api/v2"),
        ("GET h /api/v20", "/api/"),
        ("GET h /img/a.png", "/img/*.png"),
        ("GET h /img/a/b.png", "/img/"),
        ("GET h /img/a/b.svg", "/img/**.svg"),
        ("GET example.org /", "example.org/"),
        ("GET EXAMPLE.ORG.:8080 /api/x", "example.org/api"),
        ("GET a.example.org /api/x", "*.example.org/"),
        ("GET a.b.example.org /", "*.b.example.org/"),
        ("GET b.example.org /", "*.example.org/"),
        ("GET xexample.org /", "/"),
        ("GET [::1]:8080 /", "[::1]/"),
        ("POST h /post", "/post POST"),
        ("GET h /post", "/"),
        ("HEAD h /form", "/form GET,POST"),
        ("PUT h /form", "/form"),
        ("GET h /canary x-canary:1", "/canary x-canary:1"),
        ("GET h /canary x-canary:2 x-canary:1", "/canary x-canary:1"),
        ("GET h /canary x-canary:2", "/canary x-canary:"),
        ("GET h /canary", "/canary"),
        ("GET h /q?v=2", "/q ?v=2"),
        ("GET h /q?v=3", "/q ?v"),
        ("GET h /q", "/"),
        ("GET https://h /tls", "/tls https"),
        ("GET http://h /tls", "/"),
        ("GET http://h /up", "/up http"),
        ("GET https://h /up", "/up https GET"),
        ("POST https://h /up", "/up"),
        // The host's routes do not match: the wildcard's and anybody's are asked next.
        ("GET only.example.org /other", "*.example.org/"),
    ] {
        assert_eq!(found(&table, request), expected, "{request}");
    }
    assert_eq!(found(&Table::new(routes(&["a/x"])), "GET a /"), "none");
    assert_eq!(found(&Table::new(Vec::new()), "GET a /"), "none");
    let long = format!("GET {} /", "a".repeat(300));
    assert_eq!(found(&table, &long), "/");
}

#[test]
fn the_case_of_hex_digits_does_not_matter() {
    let table = Table::new(routes(&["/", "/caf%c3%a9"]));
    for request in ["GET h /caf%C3%A9/x", "GET h /caf%c3%a9"] {
        assert_eq!(found(&table, request), "/caf%c3%a9");
    }
}

#[test]
fn order_of_a_table() {
    let table = Table::new(routes(&[
        "/",
        "/a**",
        "/a",
        "/a/b",
        "=/",
        "/a POST",
        "*.org/",
        "*.example.org/",
        "a.example.org/",
        "b.example.org/",
        "a.example.org/x",
    ]));
    let names: Vec<&str> = table.in_order().map(|route| route.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "a.example.org/x",
            "a.example.org/",
            "b.example.org/",
            "*.example.org/",
            "*.org/",
            "=/",
            "/a/b",
            "/a POST",
            "/a",
            "/a**",
            "/",
        ]
    );
}

#[test]
fn an_explanation_ends_with_the_route_that_matched() {
    let table = Table::new(routes(&[
        "example.org/",
        "/a POST",
        "/a h:",
        "/a ?q",
        "/a https",
        "/b",
        "/",
    ]));
    let request = Request::new("GET other /a/x");
    let lines: Vec<String> = table
        .explain(&request.view())
        .iter()
        .map(|line| {
            let why = line.mismatch.map_or("taken".to_owned(), |m| m.to_string());
            format!("{}: {why}", line.route.name)
        })
        .collect();
    assert_eq!(
        lines,
        [
            "example.org/: the host differs",
            "/a POST: the method differs",
            "/a h:: the header `h` differs",
            "/a ?q: the query parameter `q` differs",
            "/a https: the scheme differs",
            "/b: the path differs",
            "/: taken",
        ]
    );
}

#[test]
fn unreachable() {
    for (texts, expected) in [
        (&["/a", "/a/"][..], &[(1, 0)][..]),
        (&["/a GET", "/a HEAD"], &[(1, 0)]),
        (&["/a HEAD", "/a GET"], &[]),
        (&["/a", "/a GET"], &[]),
        (&["/a GET,POST", "/a POST"], &[(1, 0)]),
        (&["/a h:", "/a h:1"], &[(1, 0)]),
        (&["/a http", "/a http"], &[(1, 0)]),
        (&["/a http", "/a https"], &[]),
        (&["/a http", "/a"], &[]),
        (&["/a", "/a http"], &[]),
        (&["/a https", "/a https GET"], &[]),
        (&["/a GET", "/a https"], &[]),
        (&["/a h:1", "/a h:"], &[]),
        (&["/a ?v=1", "/a ?v=1 h:1"], &[]),
        (&["/", "/**"], &[(0, 1)]),
        (&["=/a", "=/a"], &[(1, 0)]),
        (&["h/a", "/a"], &[]),
        (&["h/a", "h/a", "h/a"], &[(1, 0), (2, 0)]),
        (&["*.h/a", "*.h/a"], &[(1, 0)]),
        (&["*.h/a", "a.h/a"], &[]),
    ] {
        let found: Vec<(usize, usize)> = unreachable_routes(&routes(texts))
            .iter()
            .map(|s| (s.route, s.by))
            .collect();
        assert_eq!(found, expected, "{texts:?}");
    }
}

#[test]
fn redirects_that_are_passed() {
    for (texts, redirects, expected) in [
        // At the same host and path the redirect has more conditions, and comes first.
        (&["/", "/ http"][..], &[1][..], &[][..]),
        (&["/api", "/ http"], &[1], &[(1, 0)]),
        (&["a.h/", "/ http"], &[1], &[(1, 0)]),
        (&["/ POST h:", "/ http"], &[1], &[(1, 0)]),
        (&["/api https", "/.well-known http", "/ http"], &[2], &[]),
        (&["b/", "a/ http"], &[1], &[]),
        (&["b.a/", "*.a/ http"], &[1], &[(1, 0)]),
        (&["/b", "/a http"], &[1], &[]),
        // These send requests to `https` themselves, or are no redirect to it, or of some requests only.
        (&["www.h/", "/ http"], &[0, 1], &[]),
        (&["/api", "/ http"], &[], &[]),
        (&["/api", "/ http GET"], &[1], &[]),
        (&["/api", "/ https"], &[1], &[]),
    ] {
        let mut routes = routes(texts);
        for &at in redirects {
            routes[at].action = Action::Redirect {
                to: "https://{host}{uri}".to_owned(),
                status: StatusCode::PERMANENT_REDIRECT,
            };
        }
        let found: Vec<(usize, usize)> = passed_redirects(&routes)
            .iter()
            .map(|p| (p.redirect, p.route))
            .collect();
        assert_eq!(found, expected, "{texts:?}");
    }
}

/// The first of each row is guarded, and those that say so.
#[test]
fn who_gets_past_a_guard_without_meaning_to() {
    for (texts, guarded, expected) in [
        (&["/admin", "a/"][..], &[0][..], &[(0, 1)][..]),
        (&["/admin", "*.a/", "b.a/admin"], &[0], &[(0, 1), (0, 2)]),
        (&["*.a/admin", "b.a/"], &[0], &[(0, 1)]),
        (&["/admin", "a/", "a/admin"], &[0, 2], &[]),
        (&["/admin", "a/"], &[0, 1], &[]),
        (&["/admin", "a/other"], &[0], &[]),
        (&["/admin", "/"], &[0], &[]),
        (&["a/admin", "/"], &[0], &[]),
        (&["a/admin", "b/"], &[0], &[]),
        (&["/admin", "a/"], &[], &[]),
    ] {
        let mut routes = routes(texts);
        assert_eq!(
            passed_guards(&routes, |at| guarded.contains(&at)),
            [],
            "what only redirects"
        );
        for route in &mut routes {
            route.action = Action::Forward(Vec::new());
        }
        let found: Vec<(usize, usize)> = passed_guards(&routes, |at| guarded.contains(&at))
            .iter()
            .map(|p| (p.guard, p.route))
            .collect();
        assert_eq!(found, expected, "{texts:?}");
    }
}

proptest! {
    #[test]
    fn the_index_finds_what_trying_each_route_finds(
        texts in proptest::collection::vec(
            "(|a|b\\.a|\\*\\.a)(=?(/[ab]{0,2}){1,3}|(/[ab*]{0,2}){1,3})( https?|)( GET| POST|)( \\?q|)", 0..12),
        request in "(GET|HEAD|POST) https?://(a|b\\.a|c\\.b\\.a|x) (/[ab]{0,2}){1,4}(\\?q|)",
    ) {
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let table = Table::new(routes(&texts));
        let parsed = Request::new(&request);
        let slow = table.explain(&parsed.view()).last().filter(|l| l.mismatch.is_none()).map(|l| l.route.name.clone());
        let fast = table.find(&parsed.view()).map(|r| r.name.clone());
        prop_assert_eq!(&fast, &slow, "{:?} {}", texts, request);
        // A route that was found is reachable.
        let shadowed = unreachable_routes(&routes(&texts));
        for s in shadowed {
            let by_name = table.find(&parsed.view()).is_some_and(|r| std::ptr::eq(r.name.as_str(), texts[s.route]));
            prop_assert!(!by_name);
        }
    }
}
