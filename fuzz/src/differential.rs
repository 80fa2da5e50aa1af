//! The gate beside [`reference`]: whatever it lets through, RFC 9112's grammar lets through, too, with the same method, target, fields,
//! body and end; and the head that is written of it says the same to httparse, with which Pingora and many an origin read.

use super::reference::{self, Read};
use bytes::BytesMut;
use forebay::listen::gate::body::{BodyReader, Decoded};
use forebay::listen::gate::scan::{HeadScanner, Scan};
use forebay::listen::gate::{self, Framing, head};
use forebay::listen::settings::LimitSettings;
use http::Version;

/// Reads all requests of a connection, where one ends the next begins, and says how many both have read alike.
///
/// # Panics
/// Where they do not agree.
pub fn connection(data: &[u8]) -> usize {
    let limits = LimitSettings::default();
    let (mut rest, mut requests) = (data, 0);
    while let Some(used) = one(rest, &limits) {
        rest = rest.get(used..).unwrap_or_default();
        requests += 1;
    }
    requests
}

/// One request at the beginning of `data`, and where it ends, as far as both agree that there is a whole one.
fn one(data: &[u8], limits: &LimitSettings) -> Option<usize> {
    let Ok(Scan::Complete { start, end }) =
        HeadScanner::default().scan(data, limits.head.as_usize())
    else {
        return None;
    };
    let ours = head::read(&data[start..end], limits).ok()?;
    let theirs = match reference::head(data) {
        Read::Whole(request) => request,
        other => panic!("let through, and in the grammar it is {other:?}"),
    };
    assert_eq!(end, theirs.end, "where the head ends");
    let minor = u8::from(ours.version() == Version::HTTP_11);
    assert_eq!(minor, theirs.minor);
    agree(&ours, &theirs);
    forwarded(&ours);
    let mut left = BytesMut::from(&data[end..]);
    let mut reader = BodyReader::new(ours.framing);
    let mut body = Vec::new();
    let whole = loop {
        match reader.decode(&mut left) {
            Ok(Decoded::Data(data)) => body.extend_from_slice(&data),
            Ok(Decoded::End) => break true,
            Ok(Decoded::NeedMore) => break false,
            // What is refused may be good in the grammar: there are limits. It never looks whole.
            Err(_) => return None,
        }
    };
    let expected = match theirs.framing {
        reference::Framing::Chunked => reference::chunked(&data[end..]),
        reference::Framing::Length(length) => {
            match usize::try_from(length)
                .ok()
                .and_then(|it| data[end..].get(..it))
            {
                Some(body) => Read::Whole((body.to_vec(), body.len())),
                None => Read::Partial,
            }
        }
    };
    match (whole, expected) {
        (true, Read::Whole((data_of_it, used))) => {
            assert_eq!(body, data_of_it, "the body");
            assert_eq!(data.len() - left.len(), end + used, "where the body ends");
            Some(end + used)
        }
        (true, other) => panic!("a whole body, and in the grammar it is {other:?}"),
        // The gate waits; the line that the grammar waits for may be one that it would not like, but none that is over.
        (false, Read::Whole(_)) => panic!("waits for more of a body that is whole"),
        (false, _) => None,
    }
}

/// Method, target, framing, host, and each field that goes on.
fn agree(ours: &gate::Request, theirs: &reference::Request) {
    assert_eq!(ours.method().as_str().as_bytes(), theirs.method);
    let target = ours.header.raw_path();
    if theirs.target.starts_with(b"/") || theirs.target == b"*" {
        assert_eq!(target, theirs.target, "the target");
    } else {
        // absolute-form: scheme "://" authority, and the rest is the origin form, which may lack its slash.
        let rest = theirs.target.splitn(2, |&it| it == b':').nth(1);
        let rest = rest
            .and_then(|it| it.strip_prefix(b"//"))
            .expect("absolute");
        let ends = |it: &u8| matches!(it, b'/' | b'?');
        let (authority, rest) = rest.split_at(rest.iter().position(ends).unwrap_or(rest.len()));
        assert_eq!(ours.host.as_bytes(), without_dot(authority));
        let plain = target
            .strip_prefix(b"/")
            .filter(|_| !rest.starts_with(b"/"));
        assert_eq!(
            plain.unwrap_or(target),
            rest,
            "the target of the absolute form"
        );
    }
    match (ours.framing, &theirs.framing) {
        (Framing::None, reference::Framing::Length(0))
        | (Framing::Streamed, reference::Framing::Chunked) => {}
        (Framing::Length(ours), reference::Framing::Length(theirs)) => assert_eq!(ours, *theirs),
        (ours, theirs) => panic!("{ours:?} and {theirs:?}"),
    }
    let hosts = reference::values(&theirs.fields, b"host");
    assert!(
        hosts.len() == 1 || hosts.is_empty() && theirs.minor == 0,
        "{hosts:?}"
    );
    if theirs.target.starts_with(b"/") || theirs.target == b"*" {
        assert_eq!(
            ours.host.as_bytes(),
            without_dot(hosts.first().copied().unwrap_or_default())
        );
    }
    for name in ours.header.headers.keys() {
        let name_of_it = name.as_str().as_bytes();
        let said: Vec<_> = ours
            .header
            .headers
            .get_all(name)
            .iter()
            .map(http::HeaderValue::as_bytes)
            .collect();
        let came = reference::values(&theirs.fields, name_of_it);
        match name.as_str() {
            "host" => assert_eq!(said, [ours.host.as_bytes()]),
            "content-length" => assert_eq!(said.len(), 1),
            "connection" => assert!(ours.upgrade && said == [b"Upgrade"]),
            "upgrade" => assert!(ours.upgrade && said == [b"websocket"]),
            _ => assert_eq!(said, came, "{name}"),
        }
    }
    let coded = ours.header.headers.contains_key("transfer-encoding");
    assert!(!coded, "its framing is not passed on");
}

/// `a.test.:80` is `a.test:80`: the same host by the name that DNS has for it.
fn without_dot(authority: &[u8]) -> Vec<u8> {
    let colon = authority.iter().rposition(|it| *it == b':');
    let port = colon.filter(|at| authority[*at..].iter().all(|it| *it != b']'));
    let (host, port) = authority.split_at(port.unwrap_or(authority.len()));
    [host.strip_suffix(b".").unwrap_or(host), port].concat()
}

/// The head as the gate's fields make it, read by httparse.
fn forwarded(ours: &gate::Request) {
    let mut written = Vec::new();
    written.extend_from_slice(ours.method().as_str().as_bytes());
    written.push(b' ');
    written.extend_from_slice(ours.header.raw_path());
    written.extend_from_slice(b" HTTP/1.1\r\n");
    for (name, value) in &ours.header.headers {
        written.extend_from_slice(name.as_str().as_bytes());
        written.extend_from_slice(b": ");
        written.extend_from_slice(value.as_bytes());
        written.extend_from_slice(b"\r\n");
    }
    if ours.framing == Framing::Streamed {
        written.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
    }
    written.extend_from_slice(b"\r\n");
    let mut lines = [httparse::EMPTY_HEADER; 128];
    let mut parsed = httparse::Request::new(&mut lines);
    let end = parsed
        .parse(&written)
        .expect("httparse reads what is forwarded");
    assert_eq!(end, httparse::Status::Complete(written.len()));
    assert_eq!(parsed.method, Some(ours.method().as_str()));
    assert_eq!(parsed.path.map(str::as_bytes), Some(ours.header.raw_path()));
    let streamed = usize::from(ours.framing == Framing::Streamed);
    assert_eq!(parsed.headers.len(), ours.header.headers.len() + streamed);
    for (line, (name, value)) in parsed.headers.iter().zip(&ours.header.headers) {
        assert_eq!((line.name, line.value), (name.as_str(), value.as_bytes()));
    }
    // And by the grammar: the same request, unless it comes without a host, which HTTP/1.0 may.
    if !ours.host.is_empty() {
        match reference::head(&written) {
            Read::Whole(again) => {
                assert_eq!(again.end, written.len());
                agree(ours, &again);
            }
            other => panic!("what is forwarded is {other:?}"),
        }
    }
}
