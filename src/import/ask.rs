//! `auth_request`: which service is asked, and what of its answer goes on to the application.

use super::access::Ask;
use super::location::{Location, Matches, locate};
use super::pass::Pass;
use super::scope::Scope;
use super::tree::Directive;
use super::upstream::Upstreams;
use std::collections::BTreeMap;

/// What may stand in the location that is asked: it says where to ask and what to tell, or nothing about a subrequest.
const HARMLESS: &str = "internal proxy_pass proxy_pass_request_body proxy_set_header proxy_http_version proxy_redirect \
    proxy_connect_timeout proxy_read_timeout proxy_send_timeout proxy_buffering proxy_buffer_size proxy_buffers \
    proxy_busy_buffers_size proxy_ssl_verify proxy_ssl_server_name proxy_ssl_name proxy_ssl_trusted_certificate \
    proxy_ssl_certificate proxy_ssl_certificate_key access_log error_log log_not_found auth_request allow deny \
    client_max_body_size";

/// Fields that services are told here as well, by the values that nginx would tell them by. A service that is told less may
/// refuse more; one that is told something else might not.
const TOLD: [(&str, &[&str]); 13] = [
    ("content-length", &[""]),
    (
        "host",
        &[
            "$host",
            "$http_host",
            "$proxy_host",
            "$host:$server_port",
            "$server_name",
        ],
    ),
    ("connection", &["", "close", "keep-alive"]),
    ("x-real-ip", &["$remote_addr"]),
    (
        "x-forwarded-for",
        &["$proxy_add_x_forwarded_for", "$remote_addr"],
    ),
    ("x-forwarded-proto", &["$scheme"]),
    (
        "x-forwarded-host",
        &["$host", "$http_host", "$host:$server_port"],
    ),
    ("x-forwarded-uri", &["$request_uri"]),
    ("x-forwarded-method", &["$request_method"]),
    ("x-original-uri", &["$request_uri"]),
    ("x-original-method", &["$request_method"]),
    (
        "x-original-url",
        &[
            "$scheme://$http_host$request_uri",
            "$scheme://$host$request_uri",
        ],
    ),
    ("x-request-id", &["$request_id"]),
];

/// The service that an `auth_request` of this place asks.
///
/// # Errors
/// Why it cannot be said just so.
pub(super) fn service(
    upstreams: &Upstreams<'_>,
    locations: &[Location<'_>],
    scope: &Scope<'_>,
    rule: &Directive,
) -> Result<Ask, String> {
    if scope.one("auth_basic").is_some_and(|it| it.arg(0) != "off") {
        return Err("a route asks for a password or asks a service, not both".to_owned());
    }
    if scope.one("satisfy").is_some_and(|it| it.arg(0) == "any") {
        return Err("of two things of which one is enough, none is here".to_owned());
    }
    let uri = scope.constant(rule.arg(0));
    let uri = uri.filter(|uri| uri.starts_with('/'));
    let uri = uri.ok_or("whom it asks depends on the request")?;
    let (path, query) = match uri.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (uri.as_str(), None),
    };
    let location = locate(locations, path).and_then(|at| locations.get(at));
    let location = location.ok_or("no location is for what it asks")?;
    let by_expression = |it: &Location<'_>| matches!(it.matches, Matches::Regex { .. });
    let prefix = match &location.matches {
        Matches::Exact(exact) => exact.as_str(),
        Matches::Prefix { path, stops } if *stops || !locations.iter().any(by_expression) => path,
        Matches::Prefix { .. } | Matches::Regex { .. } | Matches::Named(_) => {
            return Err("a regular expression might take what it asks".to_owned());
        }
    };
    let inner = &location.scope;
    told(inner)?;
    let pass = inner.here("proxy_pass").ok_or("no `proxy_pass` is there")?;
    let plain = inner.plain(pass.arg(0));
    let read = (!plain.contains(['$', '?', '#'])).then(|| Pass::read(inner, &plain));
    let read = read.flatten().filter(|it| it.scheme.starts_with("http"));
    let read = read.ok_or("where it leads cannot be said just so")?;
    let target = match &read.uri {
        Some(uri) => format!("{uri}{}", path.strip_prefix(prefix).unwrap_or_default()),
        None => path.to_owned(),
    };
    let query = query.map(|it| format!("?{it}")).unwrap_or_default();
    let server = upstreams.to(inner, &read, pass);
    let server = server.filter(|it| !it.starts_with("unix:"));
    let server = server.ok_or("no server that Forebay can ask by a URL")?;
    let base = if server.contains("://") {
        server
    } else {
        format!("http://{server}")
    };
    let mut copy: Vec<String> = answered(scope).into_values().collect();
    copy.sort();
    copy.dedup();
    Ok(Ask {
        url: format!("{base}{target}{query}"),
        copy,
    })
}

/// Whether the service is told here what nginx tells it.
fn told(inner: &Scope<'_>) -> Result<(), String> {
    let is_harmless = |name: &str| HARMLESS.split_ascii_whitespace().any(|it| it == name);
    if let Some(other) = inner.own().iter().find(|it| !is_harmless(&it.name)) {
        return Err(format!("`{}` there has no counterpart", other.name));
    }
    if inner.one("proxy_pass_request_headers").is_some() {
        return Err("it is told no fields of the request".to_owned());
    }
    for set in inner.all("proxy_set_header") {
        let name = set.arg(0).to_ascii_lowercase();
        let value = inner.plain(set.arg(1));
        let own = format!("$http_{}", name.replace('-', "_"));
        let mut known = TOLD.iter().filter(|(known, _)| *known == name);
        let is_told = known.any(|(_, values)| values.contains(&value.as_str()));
        // A fixed name is what `host` of its upstream says.
        let is_named = name == "host" && !value.contains('$') && !value.is_empty();
        if !is_told && !is_named && value != own {
            return Err(format!("it is told `{}` there, and not here", set.arg(0)));
        }
    }
    Ok(())
}

/// Whether a variable is the cookie of the service that is asked.
pub(super) fn is_cookie(scope: &Scope<'_>, variable: &str) -> bool {
    let sets = scope.all("auth_request_set");
    let mut cookies = sets
        .iter()
        .filter(|set| set.arg(1) == "$upstream_http_set_cookie");
    is_asked(scope) && cookies.any(|set| set.arg(0) == variable)
}

fn is_asked(scope: &Scope<'_>) -> bool {
    let rule = scope.one("auth_request");
    rule.is_some_and(|rule| rule.arg(0) != "off")
}

/// Fields of the service's answer that `proxy_set_header` tells the application, by their variables. None where no service is
/// asked.
pub(super) fn answered(scope: &Scope<'_>) -> BTreeMap<String, String> {
    if !is_asked(scope) {
        return BTreeMap::new();
    }
    let sets = scope.all("proxy_set_header");
    let taken: Vec<String> = sets.iter().map(|set| scope.plain(set.arg(1))).collect();
    let mut all = BTreeMap::new();
    for set in scope.all("auth_request_set") {
        let field = set.arg(1).strip_prefix("$upstream_http_");
        let field = field.filter(|it| *it != "set_cookie");
        if let Some(field) = field
            && taken.iter().any(|value| value == set.arg(0))
        {
            all.insert(set.arg(0).to_owned(), title(field));
        }
    }
    all
}

/// `x_auth_user` as `X-Auth-User`.
fn title(variable: &str) -> String {
    let words = variable.split('_').map(|word| {
        let mut letters = word.chars();
        let first = letters.next().map(|it| it.to_ascii_uppercase());
        first.into_iter().chain(letters).collect::<String>()
    });
    words.collect::<Vec<_>>().join("-")
}
