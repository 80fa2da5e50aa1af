//! Who the client was: `Forwarded` (RFC 7239) written, `X-Forwarded-For` written and read.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use http::HeaderName;

use crate::fields::list;
use crate::fields::token::is_token;

/// `X-Forwarded-For`.
pub const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// `X-Forwarded-Host`.
pub const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
/// `X-Forwarded-Proto`.
pub const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// `X-Forwarded-Port`.
pub const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");

/// One `forwarded-element`: `for=192.0.2.60;host="example.org:8080";proto=https`. An IPv6 address stands in brackets and
/// quotes (RFC 7239 §6); a host or proto that is not a token is quoted.
pub fn element(client: IpAddr, host: Option<&str>, proto: &str) -> String {
    let mut out = String::with_capacity(64);
    out.push_str("for=");
    match client {
        IpAddr::V4(ip) => {
            let _ = write!(out, "{ip}");
        }
        IpAddr::V6(ip) => {
            let _ = write!(out, "\"[{ip}]\"");
        }
    }
    if let Some(host) = host {
        out.push_str(";host=");
        push_value(&mut out, host);
    }
    out.push_str(";proto=");
    push_value(&mut out, proto);
    out
}

/// The value of `X-Forwarded-For` with `client` behind what earlier, trusted proxies wrote. Bytes of those lines that
/// are not UTF-8 become replacement characters.
pub fn append_x_forwarded_for<I>(lines: I, client: IpAddr) -> String
where
    I: IntoIterator,
    I::Item: AsRef<[u8]>,
{
    let mut out = String::new();
    for line in lines {
        for member in list::members(line.as_ref()) {
            out.push_str(&String::from_utf8_lossy(member));
            out.push_str(", ");
        }
    }
    out.push_str(&address(client));
    out
}

/// An address as text. An IPv4 address takes a tenth of what formatting takes, and stands in each request that is passed on.
pub fn address(address: IpAddr) -> String {
    let IpAddr::V4(address) = address else {
        return address.to_string();
    };
    let mut out = String::with_capacity(15);
    for (at, octet) in address.octets().into_iter().enumerate() {
        if at > 0 {
            out.push('.');
        }
        out.push_str(itoa::Buffer::new().format(octet));
    }
    out
}

/// The members of `X-Forwarded-For` in the order written: the last one was added by the proxy next to us. `None` where
/// a member is not an address (`unknown`, a name). A port beside the address is dropped, brackets too; an IPv4 address
/// in IPv6 clothes is undressed, so that it compares equal.
pub fn parse_x_forwarded_for<I>(lines: I) -> Vec<Option<IpAddr>>
where
    I: IntoIterator,
    I::Item: AsRef<[u8]>,
{
    let mut addresses = Vec::new();
    for line in lines {
        addresses.extend(list::members(line.as_ref()).map(parse_node));
    }
    addresses
}

/// The values of a parameter of `Forwarded`, however the line is made: wherever its name stands, in any case. `None` where no
/// value follows. For who wants to know what the worst of its readers may take it to say.
pub fn wherever<'a>(line: &'a [u8], name: &'a str) -> impl Iterator<Item = Option<&'a [u8]>> {
    let is_name = |window: &[u8]| window.eq_ignore_ascii_case(name.as_bytes());
    let found = line.windows(name.len().max(1)).enumerate();
    let found = found.filter(move |(_, window)| is_name(window));
    found.map(move |(at, _)| {
        let value = line.get(at + name.len()..)?.strip_prefix(b"=")?;
        let value = value.strip_prefix(b"\"").unwrap_or(value);
        let ends = |octet: &u8| matches!(octet, b'"' | b';' | b',' | b' ' | b'\t');
        let end = value.iter().position(ends).unwrap_or(value.len());
        value.get(..end)
    })
}

fn parse_node(member: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(member).ok()?;
    let in_brackets = || {
        text.strip_prefix('[')?
            .strip_suffix(']')?
            .parse::<Ipv6Addr>()
            .ok()
    };
    text.parse::<IpAddr>()
        .ok()
        .or_else(|| text.parse::<SocketAddr>().ok().map(|socket| socket.ip()))
        .or_else(|| in_brackets().map(IpAddr::V6))
        .map(|ip| ip.to_canonical())
}

/// A token as it is, anything else as a quoted string.
fn push_value(out: &mut String, value: &str) {
    if is_token(value.as_bytes()) {
        out.push_str(value);
        return;
    }
    out.push('"');
    for character in value.chars() {
        if matches!(character, '"' | '\\') {
            out.push('\\');
        }
        out.push(character);
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::Ipv4Addr;

    const V4: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 60));

    #[test]
    fn forwarded() {
        assert_eq!(
            element(V4, Some("example.org"), "https"),
            "for=192.0.2.60;host=example.org;proto=https"
        );
        assert_eq!(
            element(IpAddr::V6(Ipv6Addr::LOCALHOST), Some("a:80"), "http"),
            "for=\"[::1]\";host=\"a:80\";proto=http"
        );
        assert_eq!(
            element(V4, Some("a\"b\\"), "http"),
            r#"for=192.0.2.60;host="a\"b\\";proto=http"#
        );
        assert_eq!(element(V4, None, "http"), "for=192.0.2.60;proto=http");
    }

    #[test]
    fn a_parameter_wherever_it_stands() {
        for (line, expected) in [
            ("", &[][..]),
            ("for=1", &[]),
            ("for=1;host=a;proto=http", &[Some("a")]),
            (
                "for=1;Host=\"a:80\";proto=http, HOST=b",
                &[Some("a:80"), Some("b")],
            ),
            ("for=\"x;host=a\"", &[Some("a")]),
            ("host = a", &[None]),
            ("host", &[None]),
            ("host=", &[Some("")]),
        ] {
            let found: Vec<_> = wherever(line.as_bytes(), "host").collect();
            let expected: Vec<_> = expected.iter().map(|it| it.map(str::as_bytes)).collect();
            assert_eq!(found, expected, "{line}");
        }
    }

    #[test]
    fn x_forwarded_for_appended() {
        assert_eq!(append_x_forwarded_for([""; 0], V4), "192.0.2.60");
        let v6 = append_x_forwarded_for(["a"], Ipv6Addr::LOCALHOST.into());
        assert_eq!(v6, "a, ::1");
        assert_eq!(
            append_x_forwarded_for(["a, ,b", "c"], V4),
            "a, b, c, 192.0.2.60"
        );
    }

    #[test]
    fn x_forwarded_for_read() {
        let localhost = Some(IpAddr::V6(Ipv6Addr::LOCALHOST));
        for (member, expected) in [
            ("192.0.2.60", Some(V4)),
            ("192.0.2.60:4711", Some(V4)),
            ("::ffff:192.0.2.60", Some(V4)),
            ("::1", localhost),
            ("[::1]", localhost),
            ("[::1]:4711", localhost),
            ("unknown", None),
            ("example.org", None),
            ("192.0.2.600", None),
            ("192.0.2.60:", None),
            ("\"192.0.2.60\"", None),
        ] {
            assert_eq!(parse_x_forwarded_for([member]), [expected], "{member}");
        }
        assert_eq!(
            parse_x_forwarded_for(["::1, x", "192.0.2.60"]),
            [localhost, None, Some(V4)]
        );
    }

    proptest! {
        #[test]
        fn what_is_appended_is_read_last(before in "[a-z0-9.:, ]{0,24}", bits: u128, four: bool) {
            let client = if four {
                IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(bits >> 96).unwrap_or_default()))
            } else {
                IpAddr::V6(Ipv6Addr::from_bits(bits))
            };
            let line = append_x_forwarded_for([before], client);
            let read = parse_x_forwarded_for([line]);
            prop_assert_eq!(read.last(), Some(&Some(client.to_canonical())));
        }

        #[test]
        fn reading_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..48)) {
            let _ = parse_x_forwarded_for([&bytes]);
        }
    }
}
