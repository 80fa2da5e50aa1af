//! Whatever a connection begins with: request heads of both versions, bodies, the PROXY protocol.

use bytes::BytesMut;
use forebay::listen::gate::body::{BodyReader, Decoded};
use forebay::listen::gate::scan::{HeadScanner, Scan};
use forebay::listen::gate::{Framing, head, http2};
use forebay::listen::proxy_protocol::{self as protocol, Parsed, V2_BYTES_MAX};
use forebay::listen::settings::LimitSettings;
use forebay::routing;
use http::{HeaderName, HeaderValue, Version, header};

const HEAD_MAX: usize = 4096;

/// A head means the same however its octets arrive; what passes has one target and one host, and no control character.
pub fn request_head(data: &[u8]) {
    let at_once = HeadScanner::default().scan(data, HEAD_MAX);
    let mut scanner = HeadScanner::default();
    for end in 0..data.len().min(HEAD_MAX + 8) {
        match scanner.scan(&data[..=end], HEAD_MAX) {
            Ok(Scan::NeedMore) => {}
            Ok(complete) => {
                assert_eq!(Ok(complete), at_once);
                break;
            }
            // What comes slowly may be refused by its first octet; at once, by the reading of the head.
            Err(_) => {
                let accepted = match &at_once {
                    Ok(Scan::Complete { start, end }) => {
                        head::read(&data[*start..*end], &LimitSettings::default()).is_ok()
                    }
                    _ => false,
                };
                assert!(!accepted);
                break;
            }
        }
    }
    let Ok(Scan::Complete { start, end }) = at_once else {
        return;
    };
    let Ok(request) = head::read(&data[start..end], &LimitSettings::default()) else {
        return;
    };
    let target = request.header.uri.to_string();
    assert!(target.starts_with('/') || target == "*", "{target}");
    assert!(request.version() == Version::HTTP_10 || !request.host.is_empty());
    assert!(
        !request
            .host
            .contains(|c: char| c.is_whitespace() || matches!(c, '@' | '/' | '?' | '#' | ','))
    );
    let fields = &request.header.headers;
    assert!(!fields.contains_key(header::TRANSFER_ENCODING));
    let path = request.header.uri.path();
    if let Ok(once) = routing::normalise(path) {
        assert_eq!(routing::normalise(&once).as_deref(), Ok(&*once));
        for segment in once.split('/') {
            let plain = segment.replace("%2e", ".").replace("%2E", ".");
            assert!(plain != "." && plain != "..", "{path} is {once}");
        }
    }
}

/// A body is the same however its octets arrive, and ends at the same octet.
pub fn chunked_body(data: &[u8]) {
    let at_once = read_body(data, data.len().max(1));
    for step in [1, 3] {
        let piecemeal = read_body(data, step);
        assert_eq!(at_once.0, piecemeal.0, "what it came to");
        let common = at_once.1.len().min(piecemeal.1.len());
        assert_eq!(at_once.1[..common], piecemeal.1[..common]);
        if let Some(_end) = at_once.0.ok().flatten() {
            assert_eq!(at_once.1, piecemeal.1);
        }
    }
}

/// Where the body ended (none: it did not) or that it was refused; and its octets.
fn read_body(data: &[u8], step: usize) -> (Result<Option<usize>, ()>, Vec<u8>) {
    let mut reader = BodyReader::new(Framing::Streamed);
    let (mut buffer, mut body) = (BytesMut::new(), Vec::new());
    let mut read = 0;
    for piece in data.chunks(step) {
        buffer.extend_from_slice(piece);
        read += piece.len();
        loop {
            match reader.decode(&mut buffer) {
                Ok(Decoded::Data(data)) => {
                    assert!(!data.is_empty());
                    body.extend_from_slice(&data);
                    if step == 3 {
                        reader.settle(&mut buffer);
                    }
                }
                Ok(Decoded::NeedMore) => break,
                Ok(Decoded::End) => return (Ok(Some(read - buffer.len())), body),
                Err(_) => return (Err(()), body),
            }
        }
    }
    (Ok(None), body)
}

/// An HTTP/2 head that passes has one target and one authority, nothing of another hop, and means the same at once and passed on.
pub fn http2_head(data: &[u8]) {
    let mut lines = data.split(|&octet| octet == b'\n');
    let (first, method) = (lines.next().unwrap_or_default(), lines.next());
    let mut builder = http::Request::builder().version(Version::HTTP_2);
    builder = builder.method(method.unwrap_or(b"GET"));
    builder = builder.uri(lines.next().unwrap_or(b"https://a/"));
    let Ok(request) = builder.body(()) else {
        return;
    };
    let (mut parts, ()) = request.into_parts();
    for line in lines {
        let at = line.iter().position(|&octet| octet == b':');
        let Some((name, value)) = at.map(|at| (&line[..at], &line[at + 1..])) else {
            continue;
        };
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name), HeaderValue::from_bytes(value))
        {
            parts.headers.append(name, value);
        }
    }
    let limits = LimitSettings::default();
    let ended = first.first().is_some_and(|octet| octet % 2 == 0);
    let Ok(judged) = http2::judge(&parts, ended, &limits) else {
        assert!(http2::read(&parts, ended, &limits).is_err());
        return;
    };
    let Ok(request) = judged.into_request(&parts) else {
        return;
    };
    let target = request.header.uri.to_string();
    assert!(target.starts_with('/') || target == "*", "{target}");
    // UTF-8 that nobody encoded means the same to everybody.
    assert!(!target.contains(|c: char| c.is_ascii_control() || c == ' '));
    assert!(forebay::fields::host::parse(&request.host).is_some());
    let fields = &request.header.headers;
    let hosts: Vec<_> = fields.get_all(header::HOST).iter().collect();
    assert_eq!(hosts, [request.host.as_str()]);
    assert!(fields.get_all(header::COOKIE).iter().count() <= 1);
    for (name, value) in fields {
        assert!(
            ![
                "connection",
                "transfer-encoding",
                "upgrade",
                "keep-alive",
                "proxy-connection"
            ]
            .contains(&name.as_str()),
            "{name}"
        );
        let octets = value.as_bytes();
        assert!(
            !octets
                .iter()
                .any(|octet| matches!(octet, b'\r' | b'\n' | 0))
        );
    }
    if let Framing::Length(length) = request.framing {
        assert!(!ended && length > 0);
    }
    let again = http2::judge(&parts, ended, &limits).expect("as before");
    if let Some(asked) = again.at_once(&mut parts) {
        assert_eq!(asked.authority, request.host);
        assert_eq!(asked.target.as_bytes(), request.header.raw_path());
        assert_eq!(asked.fields.get(header::COOKIE), fields.get(header::COOKIE));
    }
}

/// A header is whole or it is not, however its octets arrive, and nothing behind it is looked at.
pub fn proxy_protocol(data: &[u8]) {
    let whole = protocol::parse(data);
    match whole {
        Parsed::Need => assert!(data.len() < V2_BYTES_MAX),
        Parsed::Header(header) => {
            assert!((1..=data.len()).contains(&header.len) && header.len <= V2_BYTES_MAX);
            for end in 0..header.len {
                assert_eq!(protocol::parse(&data[..end]), Parsed::Need);
            }
            let alone = protocol::parse(&data[..header.len]);
            assert_eq!(alone, whole);
            let behind = [&data[..header.len], b"GET / HTTP/1.1\r\n"].concat();
            assert_eq!(protocol::parse(&behind), whole);
        }
        Parsed::Invalid(_) => {
            // More octets make it no better.
            assert_eq!(protocol::parse(&[data, b"x"].concat()), whole);
        }
    }
}
