//! The addresses inside strings: of listeners, servers, hosts and networks.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;

use super::scalars::{Fault, expected, label};
use crate::admin::settings::AdminListen;
use crate::routing::settings::HostMatch;
use crate::upstream::settings::{Endpoint, HostPolicy, ServerSettings};

/// "0.0.0.0:8080", "`[::]`:8080", "localhost:8080", or ":8080" for every IPv4 address.
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

/// The admin's address: "127.0.0.1:9900", `unix:/run/forebay.sock`, or "off".
pub(crate) fn admin_listen(text: &str) -> Result<Option<AdminListen>, Fault> {
    if text == "off" {
        return Ok(None);
    }
    match unix_path(text) {
        Some(path) => path.map(|path| Some(AdminListen::Unix(path))),
        None => address(text).map(|address| Some(AdminListen::Tcp(address))),
    }
}

/// The path of `unix:/run/app.sock`, if the text is of that form.
pub(crate) fn unix_path(text: &str) -> Option<Result<PathBuf, Fault>> {
    let path = text.strip_prefix("unix:")?;
    // "unix:///run/app.sock" is how other programs write it.
    let path = path.strip_prefix("//").unwrap_or(path);
    // `sun_path` has 108 bytes, the last one zero. A URL may become an upstream's name, hence `label`.
    if path.starts_with('/') && path.len() < 108 && label(path).is_ok() {
        return Some(Ok(PathBuf::from(path)));
    }
    Some(expected(
        "an absolute path of at most 107 visible ASCII characters after `unix:`",
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

/// `http://app:8000`, `https://host`, `h2c://`, `grpc://`, `grpcs://`, `unix:/run/app.sock`.
pub(crate) fn server_url(text: &str) -> Result<(ServerSettings, SchemeHttp), Fault> {
    const WHAT: &str =
        "a URL such as \"http://app:8000\", \"https://host\" or \"unix:/run/app.sock\"";
    if let Some(path) = unix_path(text) {
        let server = ServerSettings::new(Endpoint::Unix(path?));
        return Ok((server, SchemeHttp::Unsaid));
    }
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
    if authority.contains('@') {
        // Without the text, which has a password in it.
        return Err(Fault(
            "a server's URL has no user and password in it; send them with `request_headers = { set = { Authorization = \"Basic …\" } }`"
                .to_owned(),
        ));
    }
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

/// Splits `app:8000`, `app`, `[::1]:80`; the host without brackets. `None` when either part is malformed.
pub(crate) fn host_and_port(authority: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        host.parse::<Ipv6Addr>().ok()?;
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
