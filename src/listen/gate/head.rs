//! Reads an HTTP/1 request head, already found whole by the scanner, into a [`Request`].

use super::message::{MessageFields, Seen};
use super::{Framing, Refusal, Request, is_in_capitals, refusals};
use crate::fields::{hop_by_hop, host, uri};
use crate::listen::settings::LimitSettings;
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST, UPGRADE};
use http::{HeaderName, HeaderValue, Method, Version};
use pingora::http::RequestHeader;
use std::borrow::Cow;

/// Fields that fit on the stack; a head with more takes one allocation.
const FIELDS_INLINE: usize = 48;

/// Reads `head`, which starts at its request line and ends behind its empty line.
///
/// # Errors
/// The [`Refusal`] that the first violated rule names.
pub fn read(head: &[u8], limits: &LimitSettings) -> Result<Request, Refusal> {
    if memchr::memchr_iter(b'\r', head).any(|at| head.get(at + 1) != Some(&b'\n')) {
        return Err(refusals::BARE_CR);
    }
    let mut inline = [httparse::EMPTY_HEADER; FIELDS_INLINE];
    let mut parsed = httparse::Request::new(&mut inline);
    match parsed.parse(head) {
        Ok(httparse::Status::Complete(end)) if end == head.len() => {
            return assemble(&parsed, limits);
        }
        Err(httparse::Error::TooManyHeaders) if limits.head_fields > FIELDS_INLINE => {}
        Err(error) => return Err(why_malformed(head, error)),
        Ok(_) => return Err(refusals::FIELD),
    }
    let mut many = vec![httparse::EMPTY_HEADER; limits.head_fields];
    let mut parsed = httparse::Request::new(&mut many);
    match parsed.parse(head) {
        Ok(httparse::Status::Complete(end)) if end == head.len() => assemble(&parsed, limits),
        Err(error) => Err(why_malformed(head, error)),
        Ok(_) => Err(refusals::FIELD),
    }
}

/// Names the rule that a head broke which httparse could not read.
fn why_malformed(head: &[u8], error: httparse::Error) -> Refusal {
    let line_end = memchr::memmem::find(head, b"\r\n").unwrap_or(head.len());
    let (request_line, fields) = head.split_at(line_end);
    match error {
        httparse::Error::TooManyHeaders => refusals::HEAD_TOO_LARGE,
        httparse::Error::HeaderValue => refusals::CONTROL,
        httparse::Error::Version if is_http_version(request_line) => refusals::VERSION,
        httparse::Error::HeaderName
            if memchr::memmem::find_iter(fields, b"\r\n")
                .any(|at| matches!(fields.get(at + 2), Some(b' ' | b'\t'))) =>
        {
            refusals::OBS_FOLD
        }
        httparse::Error::HeaderName => refusals::FIELD,
        _ => refusals::REQUEST_LINE,
    }
}

/// Whether a request line has three parts, the last `HTTP/digit.digit`: well formed, though not a version of ours.
fn is_http_version(request_line: &[u8]) -> bool {
    let mut parts = request_line.split(|&b| b == b' ');
    let (_method, _target, version, rest) =
        (parts.next(), parts.next(), parts.next(), parts.next());
    rest.is_none()
        && matches!(
            version,
            Some([b'H', b'T', b'T', b'P', b'/', major, b'.', minor])
                if major.is_ascii_digit() && minor.is_ascii_digit()
        )
}

fn assemble(
    parsed: &httparse::Request<'_, '_>,
    limits: &LimitSettings,
) -> Result<Request, Refusal> {
    let (Some(method), Some(target), Some(minor)) = (parsed.method, parsed.path, parsed.version)
    else {
        return Err(refusals::REQUEST_LINE);
    };
    if parsed.headers.len() > limits.head_fields {
        return Err(refusals::HEAD_TOO_LARGE);
    }
    let version = if minor == 1 {
        Version::HTTP_11
    } else {
        Version::HTTP_10
    };
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| refusals::METHOD)?;
    match method {
        _ if !is_in_capitals(&method) => return Err(refusals::METHOD),
        Method::CONNECT => return Err(refusals::CONNECT),
        Method::TRACE => return Err(refusals::TRACE),
        _ => {}
    }
    let (target_authority, path) = split_target(target, &method)?;
    let mut header =
        RequestHeader::build_no_case(method, path.as_bytes(), Some(parsed.headers.len() + 8))
            .map_err(|_| refusals::TARGET)?;
    header.set_version(version);

    let connection_lines = parsed
        .headers
        .iter()
        .filter(|field| field.name.eq_ignore_ascii_case("connection"));
    let connection = hop_by_hop::parse_connection(connection_lines.map(|field| field.value))
        .map_err(|_| refusals::CONNECTION)?;
    let mut meta = MessageFields::default();
    for field in parsed.headers.iter() {
        meta.read(field.name, field.value, version)?;
    }
    let host = choose_host(target_authority, meta.host, version)?;
    let upgrade = connection.upgrade
        && meta.asks_for_websocket()
        && version == Version::HTTP_11
        && header.method == Method::GET;
    let framing = meta.framing()?;
    let upgrade = upgrade && framing == Framing::None;
    for field in parsed.headers.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| refusals::FIELD)?;
        if is_dropped(&name) || connection.nominated.contains(&name) {
            continue;
        }
        let value = HeaderValue::from_bytes(field.value).map_err(|_| refusals::CONTROL)?;
        header
            .append_header(name, value)
            .map_err(|_| refusals::FIELD)?;
    }
    if !host.is_empty() {
        header
            .insert_header(HOST, &*host)
            .map_err(|_| refusals::HOST)?;
    }
    if let Framing::Length(length) = framing {
        header
            .insert_header(CONTENT_LENGTH, length)
            .map_err(|_| refusals::CONTENT_LENGTH)?;
    } else if meta.content_length == Some(0) {
        header
            .insert_header(CONTENT_LENGTH, 0)
            .map_err(|_| refusals::CONTENT_LENGTH)?;
    }
    if upgrade {
        header
            .insert_header(UPGRADE, "websocket")
            .map_err(|_| refusals::FIELD)?;
        header
            .insert_header(CONNECTION, "Upgrade")
            .map_err(|_| refusals::FIELD)?;
    }
    let persistent = !connection.close && (version == Version::HTTP_11 || connection.keep_alive);
    Ok(Request {
        host: host.into_owned(),
        header,
        framing,
        persistent,
        expects_continue: meta.expects_continue && version == Version::HTTP_11,
        upgrade,
    })
}

/// Splits a request target into the authority of an absolute form, if it is one, and the origin form.
fn split_target<'a>(
    target: &'a str,
    method: &Method,
) -> Result<(Option<&'a str>, Cow<'a, str>), Refusal> {
    if target == "*" && *method == Method::OPTIONS {
        return Ok((None, Cow::Borrowed(target)));
    }
    if target.starts_with('/') {
        let path = uri::check_origin_form(target.as_bytes()).map_err(|_| refusals::TARGET)?;
        return Ok((None, Cow::Borrowed(path)));
    }
    let absolute = uri::split_absolute(target.as_bytes()).ok_or(refusals::TARGET)?;
    let authority = std::str::from_utf8(absolute.authority).map_err(|_| refusals::HOST)?;
    let path = uri::check_origin_form(&absolute.target).map_err(|_| refusals::TARGET)?;
    Ok((Some(authority), Cow::Owned(path.to_owned())))
}

/// The one host of a request: the target's where it has one (RFC 9112 §3.2.2), else that of the `Host` field; without the dot
/// of an absolute name.
fn choose_host<'a>(
    target: Option<&'a str>,
    field: Seen<&'a [u8]>,
    version: Version,
) -> Result<Cow<'a, str>, Refusal> {
    let field = match field {
        Seen::Never if version == Version::HTTP_10 => "",
        Seen::Once(value) => std::str::from_utf8(value).map_err(|_| refusals::HOST)?,
        Seen::Never | Seen::Again => return Err(refusals::HOST),
    };
    let field = match field {
        "" if version == Version::HTTP_11 && target.is_none() => return Err(refusals::HOST),
        "" => Cow::Borrowed(""),
        field => host::without_dot(field).ok_or(refusals::HOST)?,
    };
    match target {
        None => Ok(field),
        Some(authority) => host::without_dot(authority).ok_or(refusals::HOST),
    }
}

/// Fields that are never passed on: they speak of this connection, or were read above and are written anew, or an
/// origin's environment would confuse them with others (`Proxy` becomes `HTTP_PROXY`, `_` and `-` become one).
pub(super) fn is_dropped(name: &HeaderName) -> bool {
    [HOST, CONTENT_LENGTH, EXPECT].contains(name)
        || hop_by_hop::is_hop_by_hop(name)
        || name == "proxy"
        || memchr::memchr(b'_', name.as_str().as_bytes()).is_some()
}

/// [`is_dropped`] for a name in any case. Letters are compared only where the length is that of one.
pub(super) fn is_dropped_name(name: &str) -> bool {
    let named = |dropped: &str| name.eq_ignore_ascii_case(dropped);
    // Names are short: without an early end they are judged before a search has begun.
    let underscores = name.bytes().map(|octet| octet == b'_');
    underscores.fold(false, |any, one| any | one)
        || match name.len() {
            2 | 7 | 10 | 14 | 16..=19 => {
                named("content-length")
                    || hop_by_hop::HOP_BY_HOP.iter().any(|it| named(it.as_str()))
            }
            4 => named("host"),
            5 => named("proxy"),
            6 => named("expect"),
            _ => false,
        }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header::ACCEPT;

    fn gate(head: &str) -> Result<Request, Refusal> {
        read(head.as_bytes(), &LimitSettings::default())
    }

    fn get(fields: &str) -> Result<Request, Refusal> {
        gate(&format!("GET / HTTP/1.1\r\n{fields}\r\n"))
    }

    #[test]
    fn refused_as_reliability_table_3_1_says() {
        let host = "Host: a\r\n";
        for (fields, refusal) in [
            (
                "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
                refusals::LENGTH_AND_CODING,
            ),
            ("Transfer-Encoding: gzip\r\n", refusals::TRANSFER_CODING),
            (
                "Transfer-Encoding: gzip, chunked\r\n",
                refusals::UNKNOWN_CODING,
            ),
            ("Transfer-Encoding: identity\r\n", refusals::TRANSFER_CODING),
            (
                "Transfer-Encoding: chunked, chunked\r\n",
                refusals::TRANSFER_CODING,
            ),
            (
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
                refusals::TRANSFER_CODING,
            ),
            (
                "Transfer-Encoding: \"chunked\"\r\n",
                refusals::TRANSFER_CODING,
            ),
            (
                "Transfer-Encoding: chunked;a=b\r\n",
                refusals::TRANSFER_CODING,
            ),
            ("Transfer-Encoding: \x0bchunked\r\n", refusals::CONTROL),
            ("Content-Length: +5\r\n", refusals::CONTENT_LENGTH),
            ("Content-Length: -5\r\n", refusals::CONTENT_LENGTH),
            ("Content-Length: 0x5\r\n", refusals::CONTENT_LENGTH),
            ("Content-Length: 5.0\r\n", refusals::CONTENT_LENGTH),
            ("Content-Length: 5 0\r\n", refusals::CONTENT_LENGTH),
            ("Content-Length: \r\n", refusals::CONTENT_LENGTH),
            (
                "Content-Length: 18446744073709551616\r\n",
                refusals::CONTENT_LENGTH,
            ),
            (
                "Content-Length: 5\r\nContent-Length: 6\r\n",
                refusals::CONTENT_LENGTH,
            ),
            ("Content_Length: 5\r\n", refusals::LOOK_ALIKE),
            ("Transfer_Encoding: chunked\r\n", refusals::LOOK_ALIKE),
            ("A : b\r\n", refusals::FIELD),
            (": b\r\n", refusals::FIELD),
            ("A\r\n", refusals::FIELD),
            ("A: b\r\n c\r\n", refusals::OBS_FOLD),
            ("A: \x00\r\n", refusals::CONTROL),
            ("A: \x01\r\n", refusals::CONTROL),
            ("A: b\rc\r\n", refusals::BARE_CR),
            ("Host: b\r\n", refusals::HOST),
            ("Connection: Host\r\n", refusals::CONNECTION),
            ("Connection: content-length\r\n", refusals::CONNECTION),
            ("Connection: x-forwarded-for\r\n", refusals::CONNECTION),
            ("Expect: 200-ok\r\n", refusals::EXPECTATION),
        ] {
            assert_eq!(
                get(&format!("{host}{fields}")).map(|_| ()),
                Err(refusal),
                "{fields:?}"
            );
        }
        for (head, refusal) in [
            ("GET / HTTP/1.1\r\n\r\n", refusals::HOST),
            ("GET / HTTP/1.1\r\nHost: \r\n\r\n", refusals::HOST),
            ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", refusals::HOST),
            ("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", refusals::HOST),
            ("GET / HTTP/1.1\r\nHost: a,b\r\n\r\n", refusals::HOST),
            ("GET / HTTP/1.1\r\n Host: a\r\n\r\n", refusals::OBS_FOLD),
            ("GET x HTTP/1.1\r\nHost: a\r\n\r\n", refusals::TARGET),
            ("GET /#f HTTP/1.1\r\nHost: a\r\n\r\n", refusals::TARGET),
            (
                "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
                refusals::REQUEST_LINE,
            ),
            ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", refusals::TARGET),
            ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", refusals::REQUEST_LINE),
            ("GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", refusals::TARGET),
            (
                "GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n",
                refusals::HOST,
            ),
            ("CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", refusals::CONNECT),
            ("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", refusals::TRACE),
            ("post / HTTP/1.1\r\nHost: a\r\n\r\n", refusals::METHOD),
            ("Get / HTTP/1.1\r\nHost: a\r\n\r\n", refusals::METHOD),
            ("GET / HTTP/1.1\r\nHost: .a\r\n\r\n", refusals::HOST),
            ("GET / HTTP/1.2\r\nHost: a\r\n\r\n", refusals::VERSION),
            ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", refusals::VERSION),
            ("GET / http/1.1\r\nHost: a\r\n\r\n", refusals::REQUEST_LINE),
            ("G@T / HTTP/1.1\r\nHost: a\r\n\r\n", refusals::REQUEST_LINE),
            (
                "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
                refusals::TRANSFER_CODING,
            ),
        ] {
            assert_eq!(gate(head).map(|_| ()), Err(refusal), "{head:?}");
        }
        let crowd = "A: b\r\n".repeat(101);
        assert_eq!(
            get(&format!("{host}{crowd}")).map(|_| ()),
            Err(refusals::HEAD_TOO_LARGE)
        );
    }

    #[test]
    fn normalised_as_reliability_table_3_2_says() {
        let request = get(
            "Host: A.example:80\r\nConnection: x-hop, keep-alive\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nTE: gzip\r\nProxy: x\r\n\
             Proxy-Connection: close\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\nX_Odd: 1\r\nAccept: */*\r\n\
             Content-Length: 0\r\n",
        )
        .expect("passes");
        let mut names: Vec<_> = request
            .header
            .headers
            .keys()
            .map(HeaderName::as_str)
            .collect();
        names.sort_unstable();
        assert_eq!(names, ["accept", "content-length", "host"]);
        assert_eq!(
            (request.framing, request.persistent, request.upgrade),
            (Framing::None, true, false)
        );

        let absolute =
            gate("GET http://b.example/x?y HTTP/1.1\r\nHost: a\r\n\r\n").expect("passes");
        assert_eq!(
            (absolute.host.as_str(), absolute.header.raw_path()),
            ("b.example", b"/x?y".as_slice())
        );
        assert_eq!(absolute.header.headers[HOST], "b.example");
    }

    #[test]
    fn a_name_is_dropped_in_any_case() {
        let others = [
            HOST,
            CONTENT_LENGTH,
            EXPECT,
            ACCEPT,
            HeaderName::from_static("proxy"),
        ];
        for name in hop_by_hop::HOP_BY_HOP.iter().chain(&others) {
            let upper = name.as_str().to_ascii_uppercase();
            assert_eq!(is_dropped_name(name.as_str()), is_dropped(name), "{name}");
            assert_eq!(is_dropped_name(&upper), is_dropped(name), "{name}");
        }
        assert!(is_dropped_name("a_b") && !is_dropped_name("cookie"));
    }

    #[test]
    fn persistence() {
        for (version, connection, persistent) in [
            ("1.1", "", true),
            ("1.1", "Connection: close\r\n", false),
            ("1.1", "Connection: keep-alive, CLOSE\r\n", false),
            ("1.0", "", false),
            ("1.0", "Connection: Keep-Alive\r\n", true),
        ] {
            let request = gate(&format!(
                "GET / HTTP/{version}\r\nHost: a\r\n{connection}\r\n"
            ))
            .expect("passes");
            assert_eq!(request.persistent, persistent, "{version} {connection}");
        }
    }

    #[test]
    fn only_websocket_upgrades() {
        let websocket =
            get("Host: a\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Key: x\r\n")
                .expect("passes");
        assert!(websocket.upgrade);
        assert_eq!(websocket.header.headers[UPGRADE], "websocket");
        let other = get("Host: a\r\nConnection: Upgrade\r\nUpgrade: tls/1.0\r\n").expect("passes");
        assert!(!other.upgrade && !other.header.headers.contains_key(UPGRADE));
    }

    #[test]
    fn bodies() {
        for (fields, framing) in [
            ("", Framing::None),
            ("Content-Length: 0\r\n", Framing::None),
            ("Content-Length: 12\r\n", Framing::Length(12)),
            (
                "Content-Length: 12\r\nContent-Length: 12\r\n",
                Framing::Length(12),
            ),
            ("Transfer-Encoding: Chunked\r\n", Framing::Streamed),
        ] {
            let request =
                gate(&format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n")).expect("passes");
            assert_eq!(request.framing, framing, "{fields}");
        }
    }
}
