//! `host[:port]` as `Host`, `:authority` and absolute targets carry it (RFC 9110 §7.2, RFC 3986 §3.2).

use std::borrow::Cow;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::fields::token::{is_name_octet, parse_digits};

/// A valid authority without userinfo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostPort<'a> {
    /// The host in the case it came in; an IPv6 address in its brackets. Never empty.
    pub host: &'a str,
    /// The port, where one was given.
    pub port: Option<u16>,
}

impl HostPort<'_> {
    /// The address, where the host is a literal one.
    pub fn ip(&self) -> Option<IpAddr> {
        match bracketed(self.host) {
            Some(inside) => inside.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
            None => self.host.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
        }
    }

    /// The one spelling of this authority: host in lower case and without the dot of an absolute name, IPv6 as RFC 5952
    /// writes it, the scheme's own port left out.
    pub fn normalise(&self, default_port: u16) -> String {
        let mut out = match self.ip() {
            Some(IpAddr::V6(ip)) => format!("[{ip}]"),
            _ => match self.host.trim_end_matches('.') {
                "" => self.host.to_owned(),
                host => host.to_ascii_lowercase(),
            },
        };
        if let Some(port) = self.port.filter(|&port| port != default_port) {
            let _ = write!(out, ":{port}");
        }
        out
    }

    /// The host in lower case, borrowed where it already is.
    pub fn lower_case_host(&self) -> Cow<'_, str> {
        if self.host.bytes().any(|octet| octet.is_ascii_uppercase()) {
            Cow::Owned(self.host.to_ascii_lowercase())
        } else {
            Cow::Borrowed(self.host)
        }
    }
}

/// Reads `host [ ":" port ]` and nothing around it.
///
/// Narrower than RFC 3986 where two readers could differ: no userinfo, no percent-encoding (`ex%61mple` is one host to
/// some and another to others), no comma (what two merged `Host` lines look like), no empty host, no empty port, no IPv6
/// zone, no `IPvFuture`. A port has at most five digits and fits 16 bits.
pub fn parse(text: &str) -> Option<HostPort<'_>> {
    let octets = text.as_bytes();
    let end = if octets.first() == Some(&b'[') {
        octets.iter().position(|&octet| octet == b']')? + 1
    } else {
        let end = octets.iter().position(|&octet| !is_name_octet(octet));
        end.unwrap_or(octets.len())
    };
    let (host, port) = text.split_at_checked(end)?;
    if host.is_empty() {
        return None;
    }
    if let Some(address) = bracketed(host) {
        address.parse::<Ipv6Addr>().ok()?;
    }
    let port = match port.strip_prefix(':') {
        Some(digits) => Some(parse_port(digits)?),
        None if port.is_empty() => None,
        None => return None,
    };
    Some(HostPort { host, port })
}

/// An authority without the dot that ends an absolute name: `a.test.` and `a.test` are one host (RFC 3986 §3.2.2), to nginx
/// and to most applications, and must be one to routes, keys and purges.
///
/// `None` where [`parse`] has none, and where a label of the name is empty (`.a.test`, `a..test`): some take that for the name
/// without the dot.
pub fn without_dot(text: &str) -> Option<Cow<'_, str>> {
    let host = parse(text)?.host;
    let Some(name) = host.strip_suffix('.') else {
        return (!has_empty_label(host)).then_some(Cow::Borrowed(text));
    };
    if name.is_empty() || has_empty_label(name) {
        return None;
    }
    let port = text.get(host.len()..).filter(|port| !port.is_empty());
    Some(port.map_or(Cow::Borrowed(name), |port| {
        Cow::Owned(format!("{name}{port}"))
    }))
}

/// Whether a name ends in a dot, or has no label in front of one.
pub fn has_empty_label(name: &str) -> bool {
    // One pass: pairs of neighbours would cost a hit twice as much.
    let mut after_dot = true;
    let mut empty = false;
    for &octet in name.as_bytes() {
        let is_dot = octet == b'.';
        empty |= is_dot & after_dot;
        after_dot = is_dot;
    }
    empty | after_dot
}

fn parse_port(digits: &str) -> Option<u16> {
    if digits.len() > 5 {
        return None;
    }
    u16::try_from(parse_digits(digits.as_bytes())?).ok()
}

fn bracketed(host: &str) -> Option<&str> {
    host.strip_prefix('[')?.strip_suffix(']')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn valid() {
        for (text, host, port, normal) in [
            ("example.org", "example.org", None, "example.org"),
            ("Example.ORG:80", "Example.ORG", Some(80), "example.org"),
            (
                "example.org.:8080",
                "example.org.",
                Some(8080),
                "example.org:8080",
            ),
            ("a_b:00443", "a_b", Some(443), "a_b:443"),
            ("127.0.0.1:5000", "127.0.0.1", Some(5000), "127.0.0.1:5000"),
            ("[::1]", "[::1]", None, "[::1]"),
            (
                "[2001:DB8:0::1]:65535",
                "[2001:DB8:0::1]",
                Some(65_535),
                "[2001:db8::1]:65535",
            ),
        ] {
            let parsed = parse(text);
            assert_eq!(parsed, Some(HostPort { host, port }), "{text}");
            assert_eq!(
                parsed.map(|p| p.normalise(80)).as_deref(),
                Some(normal),
                "{text}"
            );
        }
    }

    #[test]
    fn invalid() {
        for text in [
            "",
            ":80",
            "a:",
            "a:b",
            "a:+1",
            "a:65536",
            "a:000080",
            "a:1:2",
            "user@a",
            "user:pw@a",
            "a b",
            " a",
            "a,b",
            "a%61",
            "a/b",
            "a?b",
            "a#b",
            "a\\b",
            "a\0",
            "ä",
            "::1",
            "[::1",
            "[]",
            "[::1]x",
            "[::1%25eth0]",
            "[v1.a]",
            "[127.0.0.1]",
            "[::1]]:80",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn an_absolute_name_is_the_same_host() {
        for (text, expected) in [
            ("a.test", Some("a.test")),
            ("a.test.", Some("a.test")),
            ("A.Test.", Some("A.Test")),
            ("a.test:8080", Some("a.test:8080")),
            ("a.test.:8080", Some("a.test:8080")),
            ("127.0.0.1.", Some("127.0.0.1")),
            ("[::1]:80", Some("[::1]:80")),
            ("a.test..", None),
            (".a.test", None),
            ("a..test:80", None),
            (".a.test.", None),
            (".", None),
            (".:80", None),
            ("..", None),
            ("[::1].", None),
            ("", None),
        ] {
            assert_eq!(without_dot(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn literal_addresses() {
        let ip = |text: &str| parse(text).and_then(|p| p.ip());
        assert_eq!(ip("10.0.0.1:1"), Some(IpAddr::from([10, 0, 0, 1])));
        assert_eq!(ip("[::1]:1"), Some(IpAddr::V6(Ipv6Addr::LOCALHOST)));
        assert_eq!(ip("localhost"), None);
    }

    proptest! {
        #[test]
        fn normalising_twice_changes_nothing(text in r"(\[[0-9a-fA-F:]{2,12}\]|[a-zA-Z0-9.-]{1,12})(:[0-9]{1,5})?") {
            if let Some(parsed) = parse(&text) {
                let once = parsed.normalise(443);
                let twice = parse(&once).map(|p| p.normalise(443));
                prop_assert_eq!(Some(once), twice);
            }
        }

        #[test]
        fn reading_never_panics(text in "[:\\[\\]\\PC]{0,32}") {
            let _ = parse(&text);
        }
    }
}
