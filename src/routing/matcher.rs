//! Whether one route's conditions hold for a request, and which one does not.

use super::glob::Glob;
use super::settings::{HostMatch, MatchSettings, PathMatch, Scheme};
use crate::fields::path::{normalise, upper_case_hex};
use crate::fields::view::FieldView;
use http::{HeaderName, Method};
use std::fmt;

/// What routing sees of a request.
#[derive(Debug, Clone, Copy)]
pub struct RequestView<'a> {
    /// The scheme that the client used, with us or with a trusted proxy in front of us.
    pub scheme: Scheme,
    /// The host that the request is for, in any case; a port, the brackets of an IPv6 address and a trailing dot are
    /// not compared. Empty where there is none.
    pub host: &'a str,
    /// The path as [`super::normalise()`] returned it.
    pub path: &'a str,
    /// The query without its `?`.
    pub query: Option<&'a str>,
    /// The method.
    pub method: &'a Method,
    /// The header fields.
    pub headers: FieldView<'a>,
}

/// The first condition of a route that does not hold, in the order in which they are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mismatch<'r> {
    /// The request is for another host.
    Host,
    /// The path is another.
    Path,
    /// The scheme is the other.
    Scheme,
    /// The method is not in the list.
    Method,
    /// The field is absent or has another value.
    Header(&'r HeaderName),
    /// The query parameter is absent or has another value.
    Query(&'r str),
}

impl fmt::Display for Mismatch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => f.write_str("the host differs"),
            Self::Path => f.write_str("the path differs"),
            Self::Scheme => f.write_str("the scheme differs"),
            Self::Method => f.write_str("the method differs"),
            Self::Header(name) => write!(f, "the header `{name}` differs"),
            Self::Query(name) => write!(f, "the query parameter `{name}` differs"),
        }
    }
}

/// A route's path as it is compared: normalised, hex digits in upper case.
#[derive(Debug, Clone)]
pub(super) enum PathRule {
    /// Without its trailing slash; the root is empty.
    Prefix(Box<str>),
    Exact(Box<str>),
    Glob {
        pattern: Box<str>,
        glob: Box<Glob>,
    },
}

impl PathRule {
    pub(super) fn new(path: &PathMatch) -> Self {
        match path {
            PathMatch::Prefix(path) => Self::Prefix(canonical(path).trim_end_matches('/').into()),
            PathMatch::Exact(path) => Self::Exact(canonical(path).into()),
            PathMatch::Glob(path) => {
                let pattern = canonical(path);
                let glob = Box::new(Glob::new(&pattern));
                Self::Glob {
                    pattern: pattern.into(),
                    glob,
                }
            }
        }
    }

    /// The text every matching path begins with. Its length is the rank among prefixes and globs.
    pub(super) fn literal(&self) -> &str {
        match self {
            Self::Prefix(text) | Self::Exact(text) => text,
            Self::Glob { glob, .. } => glob.literal(),
        }
    }

    /// Whether the case of hex digits matters when a path is compared with it.
    pub(super) fn has_percent(&self) -> bool {
        match self {
            Self::Prefix(text) | Self::Exact(text) | Self::Glob { pattern: text, .. } => {
                text.contains('%')
            }
        }
    }

    pub(super) fn matches(&self, path: &str) -> bool {
        match self {
            // The root takes everything, `OPTIONS *` too.
            Self::Prefix(prefix) => prefix.is_empty() || rest_below(path, prefix).is_some(),
            Self::Exact(exact) => **exact == *path,
            Self::Glob { glob, .. } => glob.matches(path),
        }
    }

    /// Whether every path that `other` matches is matched by this. "False" may be wrong, "true" never is.
    pub(super) fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Exact(a), Self::Exact(b)) => a == b,
            (Self::Exact(_), _) => false,
            (_, Self::Exact(b)) => self.matches(b),
            (Self::Prefix(a), Self::Prefix(b)) => rest_below(b, a).is_some(),
            // `/api*` leaves `/api`, `/api/*` does not.
            (Self::Prefix(a), Self::Glob { glob: b, .. }) => {
                a.is_empty() || rest_below(b.literal(), a).is_some_and(|rest| !rest.is_empty())
            }
            (Self::Glob { glob: a, .. }, Self::Prefix(b)) => {
                let shortest = if b.is_empty() { "/" } else { b };
                a.is_open_ended() && shortest.starts_with(a.literal())
            }
            (
                Self::Glob { pattern, glob },
                Self::Glob {
                    pattern: other_pattern,
                    glob: other,
                },
            ) => {
                pattern == other_pattern
                    || (glob.is_open_ended() && other.literal().starts_with(glob.literal()))
            }
        }
    }
}

/// A path of the operator's in the form that requests' paths are compared in.
fn canonical(path: &str) -> String {
    let normal = normalise(path).unwrap_or_else(|_| path.into());
    let upper = upper_case_hex(&normal);
    if upper.starts_with('/') {
        upper.into_owned()
    } else {
        format!("/{upper}")
    }
}

/// What follows `prefix` (without trailing slash) in `path`: empty, or from a slash on. `None` where the path is not
/// below it by whole segments.
pub(super) fn rest_below<'p>(path: &'p str, prefix: &str) -> Option<&'p str> {
    let rest = path.strip_prefix(prefix)?;
    (rest.is_empty() || rest.starts_with('/')).then_some(rest)
}

/// The host as it is compared, in the caller's case: without port, brackets and trailing dot.
pub(super) fn bare_host(host: &str) -> &str {
    if let Some(rest) = host.strip_prefix('[') {
        return rest.split(']').next().unwrap_or(rest);
    }
    // Not `split_once`, which is made for longer texts.
    let colon = host.bytes().position(|octet| octet == b':');
    let name = match colon.and_then(|at| host.split_at_checked(at)) {
        Some((name, port)) if port.rfind(':') == Some(0) => name,
        _ => host,
    };
    name.strip_suffix('.').unwrap_or(name)
}

/// `host` is bare and in lower case.
pub(super) fn host_matches(rule: &HostMatch, host: &str) -> bool {
    match rule {
        HostMatch::Any => true,
        HostMatch::Exact(name) => host == bare_host(name),
        HostMatch::Wildcard(suffix) => host
            .strip_suffix(suffix.as_str())
            .is_some_and(|front| front.len() > 1 && front.ends_with('.')),
    }
}

/// Whether every host that `other` matches is matched by `rule`.
pub(super) fn host_covers(rule: &HostMatch, other: &HostMatch) -> bool {
    match (rule, other) {
        (HostMatch::Any, _) => true,
        (_, HostMatch::Any) | (HostMatch::Exact(_), HostMatch::Wildcard(_)) => false,
        (_, HostMatch::Exact(host)) => host_matches(rule, bare_host(host)),
        (HostMatch::Wildcard(suffix), HostMatch::Wildcard(longer)) => {
            suffix == longer || host_matches(rule, longer)
        }
    }
}

/// The conditions besides host and path.
pub(super) fn conditions<'r>(
    rule: &'r MatchSettings,
    request: &RequestView<'_>,
) -> Result<(), Mismatch<'r>> {
    if rule.scheme.is_some_and(|scheme| scheme != request.scheme) {
        return Err(Mismatch::Scheme);
    }
    if !method_matches(&rule.methods, request.method) {
        return Err(Mismatch::Method);
    }
    for (name, value) in &rule.headers {
        let mut fields = request.headers.get_all(name);
        let holds = match value {
            None => fields.next().is_some(),
            // Any field of the name: a list split over lines would need the field's own grammar.
            Some(value) => fields.any(|field| field == value.as_bytes()),
        };
        if !holds {
            return Err(Mismatch::Header(name));
        }
    }
    for (name, value) in &rule.query {
        if !query_has(request.query.unwrap_or(""), name, value.as_deref()) {
            return Err(Mismatch::Query(name));
        }
    }
    Ok(())
}

/// How many conditions there are besides host and path: the more, the more specific.
pub(super) fn condition_count(rule: &MatchSettings) -> usize {
    usize::from(rule.scheme.is_some())
        + usize::from(!rule.methods.is_empty())
        + rule.headers.len()
        + rule.query.len()
}

/// Whether whatever satisfies `other`'s conditions satisfies `rule`'s.
pub(super) fn conditions_cover(rule: &MatchSettings, other: &MatchSettings) -> bool {
    let scheme = rule.scheme.is_none() || rule.scheme == other.scheme;
    let methods = rule.methods.is_empty()
        || (!other.methods.is_empty()
            && other
                .methods
                .iter()
                .all(|method| method_matches(&rule.methods, method)));
    scheme
        && methods
        && implied(&rule.headers, &other.headers)
        && implied(&rule.query, &other.query)
}

fn implied<N: PartialEq>(rule: &[(N, Option<String>)], other: &[(N, Option<String>)]) -> bool {
    rule.iter().all(|(name, value)| {
        other
            .iter()
            .any(|(n, v)| n == name && (value.is_none() || v == value))
    })
}

fn method_matches(methods: &[Method], method: &Method) -> bool {
    // A resource that can be got can be asked for its head (RFC 9110 §9.3.2).
    methods.is_empty()
        || methods.contains(method)
        || (method == Method::HEAD && methods.contains(&Method::GET))
}

fn query_has(query: &str, name: &str, value: Option<&str>) -> bool {
    query.split('&').any(|pair| {
        let (n, v) = pair.split_once('=').unwrap_or((pair, ""));
        !pair.is_empty()
            && decoded(n).eq(name.bytes())
            && value.is_none_or(|value| decoded(v).eq(value.bytes()))
    })
}

/// The bytes of a form-encoded name or value. A malformed `%` stands for itself.
fn decoded(text: &str) -> impl Iterator<Item = u8> {
    let bytes = text.as_bytes();
    let mut at = 0;
    let hex = move |i: usize| char::from(*bytes.get(i)?).to_digit(16);
    std::iter::from_fn(move || {
        let byte = *bytes.get(at)?;
        at += 1;
        if byte == b'+' {
            return Some(b' ');
        }
        if byte == b'%'
            && let (Some(high), Some(low)) = (hex(at), hex(at + 1))
        {
            at += 2;
            return u8::try_from(high * 16 + low).ok();
        }
        Some(byte)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        for (host, bare) in [
            ("example.org", "example.org"),
            ("example.org.", "example.org"),
            ("example.org:8080", "example.org"),
            ("example.org.:8080", "example.org"),
            ("[::1]:80", "::1"),
            ("[::1]", "::1"),
            ("::1", "::1"),
            ("", ""),
        ] {
            assert_eq!(bare_host(host), bare, "{host}");
        }
        let wildcard = HostMatch::Wildcard("example.org".to_owned());
        for (host, expected) in [
            ("a.example.org", true),
            ("a.b.example.org", true),
            ("example.org", false),
            (".example.org", false),
            ("badexample.org", false),
        ] {
            assert_eq!(host_matches(&wildcard, host), expected, "{host}");
        }
    }

    #[test]
    fn covering_hosts() {
        let rule = |text: &str| match text.strip_prefix("*.") {
            Some(suffix) => HostMatch::Wildcard(suffix.to_owned()),
            None if text.is_empty() => HostMatch::Any,
            None => HostMatch::Exact(text.to_owned()),
        };
        for (a, b, expected) in [
            ("", "", true),
            ("", "*.a", true),
            ("", "a", true),
            ("a", "", false),
            ("a", "a", true),
            ("a", "b", false),
            ("b.a", "*.a", false),
            ("*.a", "", false),
            ("*.a", "a", false),
            ("*.a", "b.a", true),
            ("*.a", "*.a", true),
            ("*.a", "*.b.a", true),
            ("*.b.a", "*.a", false),
        ] {
            assert_eq!(host_covers(&rule(a), &rule(b)), expected, "{a} {b}");
        }
    }

    #[test]
    fn prefixes_go_by_whole_segments() {
        for (prefix, path, expected) in [
            ("/api", "/api", true),
            ("/api", "/api/", true),
            ("/api", "/api/x", true),
            ("/api", "/apix", false),
            ("/api/", "/api", true),
            ("/api/", "/api/x", true),
            ("/api/", "/apix", false),
            ("/", "/", true),
            ("/", "/x", true),
            ("/", "*", true),
            ("/api", "/API", false),
            ("/api", "/x/api", false),
            ("/%61pi", "/api/x", true),
        ] {
            let rule = PathRule::new(&PathMatch::Prefix(prefix.to_owned()));
            assert_eq!(rule.matches(path), expected, "{prefix} {path}");
        }
    }

    #[test]
    fn query_parameters() {
        for (query, name, value, expected) in [
            ("v=2", "v", Some("2"), true),
            ("a=1&v=2", "v", Some("2"), true),
            ("v=1&v=2", "v", Some("2"), true),
            ("v=22", "v", Some("2"), false),
            ("vv=2", "v", Some("2"), false),
            ("v", "v", None, true),
            ("v=", "v", Some(""), true),
            ("v", "v", Some(""), true),
            ("", "", None, false),
            ("a=1&&b", "", None, false),
            ("q=a+b", "q", Some("a b"), true),
            ("q=a%20b", "q", Some("a b"), true),
            ("q=a%2Bb", "q", Some("a+b"), true),
            ("%71=%c3%a9", "q", Some("é"), true),
            ("q=100%", "q", Some("100%"), true),
            ("q=%4", "q", Some("%4"), true),
            ("q=a=b", "q", Some("a=b"), true),
        ] {
            assert_eq!(query_has(query, name, value), expected, "{query} {name}");
        }
    }

    #[test]
    fn covering_paths() {
        let rule = |text: &str| {
            PathRule::new(&match text.strip_prefix('=') {
                Some(exact) => PathMatch::Exact(exact.to_owned()),
                None if text.contains('*') => PathMatch::Glob(text.to_owned()),
                None => PathMatch::Prefix(text.to_owned()),
            })
        };
        for (a, b, expected) in [
            ("/", "/x/", true),
            ("/x", "/x/", true),
            ("/x", "/xy", false),
            ("/x/y", "/x", false),
            ("/x", "=/x", true),
            ("/x", "=/x/y", true),
            ("=/x", "=/x", true),
            ("=/x", "/x", false),
            ("/x", "/x/*", true),
            ("/x", "/x*", false),
            ("/", "/x*", true),
            ("/x*", "=/xyz", true),
            ("/x/**", "/x", false),
            ("/x**", "/x", true),
            ("/**", "/", true),
            ("/x/**", "/x/y*z", true),
            ("/x/*", "/x/*", true),
            ("/x/*", "/x/*y", false),
        ] {
            assert_eq!(rule(a).covers(&rule(b)), expected, "{a} {b}");
        }
    }
}
