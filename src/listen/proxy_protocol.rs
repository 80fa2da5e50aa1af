//! The PROXY protocol, versions 1 and 2: who connected to the balancer in front of us.
//!
//! Framing is done here, so that a header is complete or it is not, wherever the segments were cut; the `ppp` crate
//! reads complete headers. A connection's first bytes come from whoever can reach the port: nothing is read beyond the
//! bounds below, and a header is believed only where the operator said that one must be there.

use std::net::SocketAddr;

use ppp::{v1, v2};

/// A version 1 line with its CRLF is at most this long, by the specification.
pub const V1_BYTES_MAX: usize = 107;
/// A version 2 header with its TLVs may be at most this long. The specification allows 64 KiB; balancers send a few
/// hundred bytes.
pub const V2_BYTES_MAX: usize = 4 * 1024;

const V1_PREFIX: &[u8] = b"PROXY ";
const V2_PREFIX: &[u8] = v2::PROTOCOL_PREFIX;
/// Signature, version and command, family and protocol, length.
const V2_FIXED_BYTES: usize = 16;

/// What the first bytes of a connection are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parsed {
    /// The beginning of a header: read more and ask again. Said of fewer than [`V2_BYTES_MAX`] bytes only.
    Need,
    /// A whole header.
    Header(Header),
    /// No header, or a broken one: close the connection.
    Invalid(Invalid),
}

/// A PROXY protocol header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Bytes to take off the front of what was read.
    pub len: usize,
    /// The client and the address it connected to. `None` where the balancer speaks for itself (a health check) or does
    /// not know, or where they have no IP address: then the connection's own addresses count.
    pub addresses: Option<Addresses>,
}

/// The two ends of the connection that the balancer accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// The client.
    pub source: SocketAddr,
    /// The address that the client connected to.
    pub destination: SocketAddr,
}

/// Why a connection does not begin with a PROXY protocol header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// The first bytes are something else, such as a request or a TLS hand-shake.
    #[error("the connection does not begin with a PROXY protocol header")]
    NotProxy,
    /// A version 1 line without its end, or a version 2 header above the bound.
    #[error("the PROXY protocol header is too long")]
    TooLong,
    /// It has the right beginning and cannot be read.
    #[error("the PROXY protocol header is malformed")]
    Malformed,
}

/// Reads a header from the front of a connection's bytes. The bytes after it are not looked at.
pub fn parse(bytes: &[u8]) -> Parsed {
    if bytes.starts_with(V2_PREFIX) {
        parse_v2(bytes)
    } else if bytes.starts_with(V1_PREFIX) {
        parse_v1(bytes)
    } else if V1_PREFIX.starts_with(bytes) || V2_PREFIX.starts_with(bytes) {
        Parsed::Need
    } else {
        Parsed::Invalid(Invalid::NotProxy)
    }
}

fn parse_v1(bytes: &[u8]) -> Parsed {
    let window = bytes.get(..V1_BYTES_MAX).unwrap_or(bytes);
    let Some(line) = memchr::memmem::find(window, b"\r\n").and_then(|end| bytes.get(..end + 2))
    else {
        return if bytes.len() < V1_BYTES_MAX {
            Parsed::Need
        } else {
            Parsed::Invalid(Invalid::TooLong)
        };
    };
    // A carriage return or a line feed of its own inside the line would be the end of it to another reader.
    let inside = line.strip_suffix(b"\r\n").unwrap_or(line);
    if memchr::memchr2(b'\r', b'\n', inside).is_some() {
        return Parsed::Invalid(Invalid::Malformed);
    }
    let Ok(header) = v1::Header::try_from(line) else {
        return Parsed::Invalid(Invalid::Malformed);
    };
    let addresses = match header.addresses {
        v1::Addresses::Tcp4(ip) => Some(v4(&ip)),
        v1::Addresses::Tcp6(ip) => Some(v6(&ip)),
        v1::Addresses::Unknown => None,
    };
    Parsed::Header(Header {
        len: line.len(),
        addresses,
    })
}

fn parse_v2(bytes: &[u8]) -> Parsed {
    let Some(&[high, low]) = bytes.get(V2_FIXED_BYTES - 2..V2_FIXED_BYTES) else {
        return Parsed::Need;
    };
    let len = V2_FIXED_BYTES + usize::from(u16::from_be_bytes([high, low]));
    if len > V2_BYTES_MAX {
        return Parsed::Invalid(Invalid::TooLong);
    }
    let Some(whole) = bytes.get(..len) else {
        return Parsed::Need;
    };
    let Ok(header) = v2::Header::try_from(whole) else {
        return Parsed::Invalid(Invalid::Malformed);
    };
    let addresses = match (header.command, header.protocol, header.addresses) {
        // LOCAL: the addresses, if any, mean nothing (PROXY protocol §2.2).
        (v2::Command::Local, _, _)
        | (_, _, v2::Addresses::Unspecified | v2::Addresses::Unix(_)) => None,
        (v2::Command::Proxy, v2::Protocol::Datagram, _) => {
            return Parsed::Invalid(Invalid::Malformed);
        }
        (v2::Command::Proxy, _, v2::Addresses::IPv4(ip)) => Some(v4(&ip)),
        (v2::Command::Proxy, _, v2::Addresses::IPv6(ip)) => Some(v6(&ip)),
    };
    Parsed::Header(Header { len, addresses })
}

fn v4(ip: &v1::IPv4) -> Addresses {
    Addresses {
        source: SocketAddr::from((ip.source_address, ip.source_port)),
        destination: SocketAddr::from((ip.destination_address, ip.destination_port)),
    }
}

fn v6(ip: &v1::IPv6) -> Addresses {
    Addresses {
        source: SocketAddr::from((ip.source_address, ip.source_port)),
        destination: SocketAddr::from((ip.destination_address, ip.destination_port)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn addresses(source: &str, destination: &str) -> Addresses {
        Addresses {
            source: source.parse().expect("an address"),
            destination: destination.parse().expect("an address"),
        }
    }

    /// A version 2 header of these parts.
    fn version_2(version_command: u8, family_protocol: u8, payload: &[u8]) -> Vec<u8> {
        let len = u16::try_from(payload.len()).expect("a short payload");
        [
            V2_PREFIX,
            &[version_command, family_protocol],
            &len.to_be_bytes(),
            payload,
        ]
        .concat()
    }

    const IPV4: [u8; 12] = [192, 0, 2, 60, 10, 0, 0, 1, 0x12, 0x67, 0, 80];

    fn valid() -> Vec<(Vec<u8>, Option<Addresses>)> {
        let mut ipv6 = [0u8; 36];
        ipv6[15] = 1;
        ipv6[31] = 2;
        ipv6[33] = 7;
        ipv6[35] = 8;
        let client = Some(addresses("192.0.2.60:4711", "10.0.0.1:80"));
        let tlv = [&IPV4[..], &[0x01, 0, 2, b'h', b'2']].concat();
        vec![
            (
                b"PROXY TCP4 192.0.2.60 10.0.0.1 4711 80\r\n".to_vec(),
                client,
            ),
            (
                b"PROXY TCP6 ::1 ::2 7 8\r\n".to_vec(),
                Some(addresses("[::1]:7", "[::2]:8")),
            ),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n".to_vec(), None),
            (version_2(0x21, 0x11, &IPV4), client),
            (version_2(0x21, 0x11, &tlv), client),
            (
                version_2(0x21, 0x21, &ipv6),
                Some(addresses("[::1]:7", "[::2]:8")),
            ),
            (version_2(0x21, 0x31, &[b'a'; 216]), None),
            (version_2(0x21, 0x00, &[]), None),
            (version_2(0x20, 0x00, &[]), None),
            (version_2(0x20, 0x11, &IPV4), None),
        ]
    }

    /// However the segments are cut and whatever follows, the header is found exactly when it is whole.
    #[test]
    fn every_split_point() {
        for (bytes, expected) in valid() {
            for cut in 0..bytes.len() {
                assert_eq!(parse(&bytes[..cut]), Parsed::Need, "{cut} of {bytes:?}");
            }
            let header = Parsed::Header(Header {
                len: bytes.len(),
                addresses: expected,
            });
            for after in [
                &b""[..],
                b"G",
                b"GET / HTTP/1.1\r\n\r\n",
                b"\r\n",
                b"\x16\x03\x01",
            ] {
                assert_eq!(parse(&[&bytes, after].concat()), header);
            }
        }
    }

    #[test]
    fn what_is_refused() {
        let endless = [V1_PREFIX, &[b'a'; V1_BYTES_MAX]].concat();
        let long = version_2(0x21, 0x11, &[0; V2_BYTES_MAX]);
        for (bytes, expected) in [
            (&b"GET / HTTP/1.1\r\n"[..], Invalid::NotProxy),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Invalid::NotProxy),
            (b"\x16\x03\x01", Invalid::NotProxy),
            (b"PROXYTCP4", Invalid::NotProxy),
            (b"proxy ", Invalid::NotProxy),
            (b"\r\n\r\n\0\r\nQUIX", Invalid::NotProxy),
            (&endless, Invalid::TooLong),
            (&long, Invalid::TooLong),
            (&long[..V2_FIXED_BYTES], Invalid::TooLong),
            (b"PROXY \r\n", Invalid::Malformed),
            (
                b"PROXY UDP4 192.0.2.60 10.0.0.1 1 2\r\n",
                Invalid::Malformed,
            ),
            (b"PROXY TCP4 192.0.2.60 10.0.0.1 1\r\n", Invalid::Malformed),
            (
                b"PROXY TCP4 192.0.2.60 10.0.0.1 1 65536\r\n",
                Invalid::Malformed,
            ),
            (
                b"PROXY TCP4 192.0.2.60 10.0.0.1 01 2\r\n",
                Invalid::Malformed,
            ),
            (b"PROXY TCP4 ::1 ::2 1 2\r\n", Invalid::Malformed),
            (
                b"PROXY TCP4  192.0.2.60 10.0.0.1 1 2\r\n",
                Invalid::Malformed,
            ),
            (
                b"PROXY TCP4 192.0.2.60 10.0.0.1 1 2\n x\r\n",
                Invalid::Malformed,
            ),
            (b"PROXY UNKNOWN a\rb\r\n", Invalid::Malformed),
            (b"PROXY UNKNOWN \xff\r\n", Invalid::Malformed),
            (&version_2(0x11, 0x11, &IPV4), Invalid::Malformed),
            (&version_2(0x22, 0x11, &IPV4), Invalid::Malformed),
            (&version_2(0x21, 0x41, &IPV4), Invalid::Malformed),
            (&version_2(0x21, 0x12, &IPV4), Invalid::Malformed),
            (&version_2(0x21, 0x11, &IPV4[1..]), Invalid::Malformed),
        ] {
            assert_eq!(
                parse(bytes),
                Parsed::Invalid(expected),
                "{}",
                bytes.escape_ascii()
            );
        }
    }

    #[test]
    fn a_line_of_the_longest_length() {
        let padding = "a".repeat(V1_BYTES_MAX - "PROXY UNKNOWN \r\n".len());
        let line = format!("PROXY UNKNOWN {padding}\r\n");
        let header = Header {
            len: V1_BYTES_MAX,
            addresses: None,
        };
        assert_eq!(parse(line.as_bytes()), Parsed::Header(header));
        assert_eq!(
            parse(line.replace(" a", " aa").as_bytes()),
            Parsed::Invalid(Invalid::TooLong)
        );
    }

    proptest! {
        #[test]
        fn reading_never_panics_and_is_bounded(bytes in prop::collection::vec(any::<u8>(), 0..64), prefix in 0..3) {
            let prefix = [&b""[..], V1_PREFIX, V2_PREFIX][usize::try_from(prefix).unwrap_or(0)];
            let bytes = [prefix, &bytes].concat();
            if let Parsed::Header(header) = parse(&bytes) {
                prop_assert!(header.len <= bytes.len());
            }
        }

        #[test]
        fn need_ends(byte: u8) {
            let v1 = [V1_PREFIX, &[byte; V1_BYTES_MAX]].concat();
            prop_assert_ne!(parse(&v1), Parsed::Need);
            let v2 = [V2_PREFIX, &[byte; V2_BYTES_MAX]].concat();
            prop_assert_ne!(parse(&v2), Parsed::Need);
        }
    }
}
