//! The small languages inside strings: addresses, URLs of servers, hosts, paths, methods, balancers.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use http::{HeaderName, HeaderValue, Method};
use ipnet::IpNet;

use crate::config::error::nearest;
use crate::config::tree::shortened;
use crate::routing::settings::{HostMatch, PathMatch};
use crate::upstream::settings::{Balance, Endpoint, HashKey, HostPolicy, ServerSettings};

/// Why a value was refused, in words for the operator; nobody branches on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault(String);

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn expected<T>(what: &str, found: &str) -> Result<T, Fault> {
    Err(Fault(format!(
        "expected {what}, found `{}`",
        shortened(found)
    )))
}

/// "0.0.0.0:8080", "[::]:8080", "localhost:8080", or ":8080" for every IPv4 address.
pub(crate) fn address(text: &str) -> Result<SocketAddr, Fault> {
    let port = |port: &str| port.parse::<u16>().ok().filter(|_| is_digits(port));
    let with = |ip: Ipv4Addr, text: &str| port(text).map(|port| SocketAddr::new(ip.into(), port));
    let parsed = if let Some(rest) = text.strip_prefix(':') {
        with(Ipv4Addr::UNSPECIFIED, rest)
    } else if let Some(rest) = text.strip_prefix("localhost:") {
        with(Ipv4Addr::LOCALHOST, rest)
    } else {
        text.parse().ok()
    };
    match parsed {
        Some(address) => Ok(address),
        None => expected(
            "an IP address and a port, such as \"0.0.0.0:8080\", \":8080\" or \"[::]:8080\"",
            text,
        ),
    }
}

/// The path of "unix:/run/app.sock", if the text is of that form.
pub(crate) fn unix_path(text: &str) -> Option<Result<PathBuf, Fault>> {
    let path = text.strip_prefix("unix:")?;
    // "unix:///run/app.sock" is how other programs write it.
    let path = path.strip_prefix("//").unwrap_or(path);
    // `sun_path` has 108 bytes, the last one zero.
    if path.starts_with('/') && path.len() < 108 && !path.contains('\0') {
        return Some(Ok(PathBuf::from(path)));
    }
    Some(expected(
        "an absolute path of at most 107 bytes after `unix:`",
        text,
    ))
}

/// What the scheme of a server's URL says about the whole upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SchemeHttp {
    /// `http`, `https`, `unix`: nothing.
    Unsaid,
    /// `h2c`, `grpc`, `grpcs`: HTTP/2.
    Http2,
}

/// Whether a text is meant as a server's URL rather than an upstream's name.
pub(crate) fn looks_like_url(text: &str) -> bool {
    text.contains("://") || text.starts_with("unix:")
}

/// "http://app:8000", "https://host", "h2c://", "grpc://", "grpcs://", "unix:/run/app.sock".
pub(crate) fn server_url(text: &str) -> Result<(ServerSettings, SchemeHttp), Fault> {
    if let Some(path) = unix_path(text) {
        let server = ServerSettings::new(Endpoint::Unix(path?));
        return Ok((server, SchemeHttp::Unsaid));
    }
    const WHAT: &str = "a URL such as \"http://app:8000\", \"https://host\" or \"unix:/run/app.sock\"";
    let Some((scheme, rest)) = text.split_once("://") else {
        return expected(WHAT, text);
    };
    let (tls, http) = match scheme {
        "http" => (false, SchemeHttp::Unsaid),
        "https" => (true, SchemeHttp::Unsaid),
        "h2c" | "grpc" => (false, SchemeHttp::Http2),
        "grpcs" => (true, SchemeHttp::Http2),
        _ => {
            return expected(
                "a URL with the scheme http, https, h2c, grpc, grpcs or unix",
                text,
            );
        }
    };
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if authority.contains(['/', '?', '#']) {
        return expected(
            "a URL without a path; a route's `replace_prefix` sets one",
            text,
        );
    }
    let (host, port) = host_and_port(authority).map_or_else(|| expected(WHAT, text), Ok)?;
    let endpoint = Endpoint::Tcp {
        host: host.to_owned(),
        port: port.unwrap_or(if tls { 443 } else { 80 }),
    };
    let server = ServerSettings {
        tls,
        ..ServerSettings::new(endpoint)
    };
    Ok((server, http))
}

/// Splits "app:8000", "app", "[::1]:80"; the host without brackets. `None` when either part is malformed.
pub(crate) fn host_and_port(authority: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        host.parse::<std::net::Ipv6Addr>().ok()?;
        match rest {
            "" => (host, None),
            _ => (host, Some(rest.strip_prefix(':')?)),
        }
    } else {
        let (host, port) = match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        };
        is_host(host).then_some((host, port))?
    };
    let port = match port {
        None => None,
        Some(port) if is_digits(port) => Some(port.parse().ok().filter(|&port: &u16| port > 0)?),
        Some(_) => return None,
    };
    Some((host, port))
}

/// Whether a text can be a host name or an IPv4 address. Underscores are Docker's.
fn is_host(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    text.len() <= 253 && text.split('.').all(is_label)
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A `token` (RFC 9110 §5.6.2), as our name in `Via` must be one.
pub(crate) fn token(text: &str) -> Result<String, Fault> {
    if !text.is_empty() && text.bytes().all(is_token_byte) {
        return Ok(text.to_owned());
    }
    expected("a name of letters, digits, `-`, `_` and `.`", text)
}

/// RFC 9110 §5.6.2, `tchar`.
pub(crate) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// The name of an upstream or route: short, and printable without escapes in logs and metrics.
pub(crate) fn label(text: &str) -> Result<String, Fault> {
    let is_plain = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\\');
    if (1..=200).contains(&text.len()) && text.chars().all(is_plain) {
        return Ok(text.to_owned());
    }
    expected(
        "a name of at most 200 visible ASCII characters without quotes",
        text,
    )
}

/// A network, a single address, or a word for several networks.
pub(crate) fn networks(text: &str) -> Result<Vec<IpNet>, Fault> {
    const LOOPBACK: [&str; 2] = ["127.0.0.0/8", "::1/128"];
    // RFC 1918, RFC 3927, RFC 4193, RFC 4291 §2.5.6.
    const PRIVATE: [&str; 6] = [
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "169.254.0.0/16",
        "fc00::/7",
        "fe80::/10",
    ];
    let all = |words: &[&str]| words.iter().filter_map(|word| word.parse().ok()).collect();
    match text {
        "loopback" => return Ok(all(&LOOPBACK)),
        "private" => return Ok(all(&[&PRIVATE[..], &LOOPBACK[..]].concat())),
        _ => {}
    }
    if let Ok(network) = text.parse::<IpNet>() {
        return Ok(vec![network.trunc()]);
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(vec![IpNet::from(address)]);
    }
    expected(
        "\"private\", \"loopback\", a network such as \"10.0.0.0/8\" or an address",
        text,
    )
}

/// "round_robin", "least_conn", "hash:path", "hash:client", "hash:header:X-User", "hash:cookie:sid".
pub(crate) fn balance(text: &str) -> Result<Balance, Fault> {
    const WORDS: [&str; 6] = [
        "round_robin",
        "least_conn",
        "hash:path",
        "hash:client",
        "hash:header:NAME",
        "hash:cookie:NAME",
    ];
    match text {
        "round_robin" => return Ok(Balance::RoundRobin),
        "least_conn" => return Ok(Balance::LeastConn),
        "hash:path" => return Ok(Balance::Hash(HashKey::Path)),
        "hash:client" => return Ok(Balance::Hash(HashKey::Client)),
        _ => {}
    }
    if let Some(name) = text.strip_prefix("hash:header:") {
        return Ok(Balance::Hash(HashKey::Header(header_name(name)?)));
    }
    if let Some(name) = text.strip_prefix("hash:cookie:") {
        return Ok(Balance::Hash(HashKey::Cookie(token(name)?)));
    }
    let hint = match nearest(text, WORDS) {
        Some(word) => format!(" (did you mean \"{word}\"?)"),
        None => String::new(),
    };
    Err(Fault(format!(
        "expected one of {}, found `{}`{hint}",
        crate::config::error::listed(WORDS),
        shortened(text)
    )))
}

/// "pass", "server", or a host with an optional port.
pub(crate) fn host_policy(text: &str) -> Result<HostPolicy, Fault> {
    match text {
        "pass" => Ok(HostPolicy::Pass),
        "server" => Ok(HostPolicy::Server),
        _ => host(text).map(HostPolicy::Fixed),
    }
}

/// A host with an optional port, kept as written.
pub(crate) fn host(text: &str) -> Result<String, Fault> {
    match host_and_port(text) {
        Some(_) => Ok(text.to_owned()),
        None => expected("a host name, such as \"example.org\"", text),
    }
}

/// A name in SNI: a host without a port.
pub(crate) fn server_name(text: &str) -> Result<String, Fault> {
    if is_host(text) {
        return Ok(text.to_owned());
    }
    expected("a host name without a port, such as \"example.org\"", text)
}

/// A route's host: "example.org" or "*.example.org".
pub(crate) fn host_match(text: &str) -> Result<HostMatch, Fault> {
    let lower = text.to_ascii_lowercase();
    if let Some(suffix) = lower.strip_prefix("*.") {
        if is_host(suffix) {
            return Ok(HostMatch::Wildcard(suffix.to_owned()));
        }
    } else if text == "*" {
        return Err(Fault("leave `host` out to match any host".to_owned()));
    } else if let Some((_, port)) = host_and_port(&lower) {
        return match port {
            None => Ok(HostMatch::Exact(lower)),
            Some(_) => expected("a host without its port", text),
        };
    }
    expected("a host such as \"example.org\" or \"*.example.org\"", text)
}

/// A route's path: "/prefix", "=/exact" or "/glob/*".
pub(crate) fn path_match(text: &str) -> Result<PathMatch, Fault> {
    let (path, exact) = match text.strip_prefix('=') {
        Some(path) => (path, true),
        None => (text, false),
    };
    if !is_path(path) {
        return expected(
            "a path such as \"/api/\", \"=/healthz\" or \"/img/*.png\", percent-encoded and without a query",
            text,
        );
    }
    Ok(match path.to_owned() {
        path if exact => PathMatch::Exact(path),
        path if path.contains('*') => PathMatch::Glob(path),
        path => PathMatch::Prefix(path),
    })
}

/// A path that a prefix is replaced by.
pub(crate) fn path(text: &str) -> Result<String, Fault> {
    if is_path(text) {
        return Ok(text.to_owned());
    }
    expected(
        "a path that begins with `/`, percent-encoded and without a query",
        text,
    )
}

/// An origin-form target: a path with an optional query.
pub(crate) fn target(text: &str) -> Result<String, Fault> {
    let path = text.split('?').next().unwrap_or_default();
    if is_path(path) && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
        return Ok(text.to_owned());
    }
    expected("a path that begins with `/`", text)
}

fn is_path(text: &str) -> bool {
    let lawful = |byte: u8| byte.is_ascii_graphic() && !b"?#\\\"<>^`{|}".contains(&byte);
    text.starts_with('/') && text.bytes().all(lawful)
}

/// A method. They are case-sensitive, so lower case is a slip.
pub(crate) fn method(text: &str) -> Result<Method, Fault> {
    let upper = text.to_ascii_uppercase();
    if text != upper && Method::from_bytes(upper.as_bytes()).is_ok() {
        return expected(
            &format!("a method in upper case, such as \"{upper}\""),
            text,
        );
    }
    match Method::from_bytes(text.as_bytes()) {
        Ok(Method::CONNECT) => Err(Fault(
            "`CONNECT` is never proxied, so no route can be for it".to_owned(),
        )),
        Ok(method) => Ok(method),
        Err(_) => expected("a method such as \"GET\"", text),
    }
}

/// A field name.
pub(crate) fn header_name(text: &str) -> Result<HeaderName, Fault> {
    HeaderName::from_bytes(text.as_bytes()).or_else(|_| {
        expected(
            "a header name of letters, digits and `-`, such as \"X-User\"",
            text,
        )
    })
}

/// A field name that an operator may change: not one of those that frame the message.
pub(crate) fn editable_header(text: &str) -> Result<HeaderName, Fault> {
    const FRAMING: [&str; 8] = [
        "connection",
        "content-length",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    let name = header_name(text)?;
    if FRAMING.contains(&name.as_str()) {
        return Err(Fault(format!(
            "`{text}` frames the message and belongs to the proxy; it cannot be set or removed"
        )));
    }
    Ok(name)
}

/// A field value.
pub(crate) fn header_value(text: &str) -> Result<HeaderValue, Fault> {
    let trimmed = text.trim_matches([' ', '\t']) == text;
    match HeaderValue::from_str(text) {
        Ok(value) if trimmed => Ok(value),
        _ => expected(
            "a header value: visible ASCII on one line, without outer spaces",
            text,
        ),
    }
}

/// A `Location` in which `{host}`, `{path}`, `{query}` and `{uri}` stand for the request's.
pub(crate) fn location(text: &str) -> Result<String, Fault> {
    const PLACEHOLDERS: [&str; 4] = ["host", "path", "query", "uri"];
    if text.is_empty() || text.bytes().any(|byte| !byte.is_ascii_graphic()) {
        return expected("a URL or path, percent-encoded", text);
    }
    let mut rest = text;
    while let Some((_, after)) = rest.split_once('{') {
        let Some((name, after)) = after.split_once('}') else {
            return expected("a `}` for every `{`", text);
        };
        if !PLACEHOLDERS.contains(&name) {
            return expected(
                "`{host}`, `{path}`, `{query}` or `{uri}`",
                &format!("{{{name}}}"),
            );
        }
        rest = after;
    }
    Ok(text.to_owned())
}

/// The level of the program's own log, or a filter such as "info,forebay::upstream=debug".
pub(crate) fn log_level(text: &str) -> Result<String, Fault> {
    const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];
    // A bare word that is no level would be taken for a target, and turn everything else off.
    for directive in text.split(',') {
        let is_word = directive.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if is_word && !LEVELS.contains(&directive) {
            let hint = match nearest(directive, LEVELS) {
                Some(level) => format!(" (did you mean \"{level}\"?)"),
                None => String::new(),
            };
            return Err(Fault(format!(
                "expected one of {}, or a filter such as \"info,forebay::upstream=debug\", found `{}`{hint}",
                crate::config::error::listed(LEVELS),
                shortened(directive)
            )));
        }
    }
    match tracing_subscriber::EnvFilter::try_new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => expected("a level such as \"info\", or a filter such as \"info,forebay::upstream=debug\"", text),
    }
}
