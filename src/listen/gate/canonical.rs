//! Recognises, where it lies, a request head that nobody could read in two ways: what may be answered at once.
//!
//! The grammar is strictly narrower than that of [`head`](super::head): GET or HEAD, HTTP/1.1, origin form, exactly one valid
//! `Host`, nothing about a body, an upgrade or an expectation, no field that the gate takes away but a plain `Connection`. What is
//! recognised here the gate lets through, and in the same meaning: a property below holds both to it. What is not recognised is not
//! refused; the gate judges it.

use super::head::is_dropped_name;
use crate::fields::{host, token, uri};
use crate::listen::settings::LimitSettings;
use http::Method;
use std::mem::MaybeUninit;

/// A head with more lines is not recognised: its lines lie on the stack.
pub const LINES_MAX: usize = 48;

/// One field line.
pub type Line<'b> = httparse::Header<'b>;

/// Where lines are put; what is in it before is not looked at.
pub type Lines<'b> = [MaybeUninit<Line<'b>>; LINES_MAX];

/// A head in canonical form.
#[derive(Debug)]
pub struct Canonical<'l, 'b> {
    /// GET or HEAD.
    pub method: &'static Method,
    /// The target in origin form.
    pub target: &'b str,
    /// The authority, as sent.
    pub authority: &'b str,
    /// The host in it.
    pub host: &'b str,
    /// The end-to-end field lines, in their order; `Host` is among them.
    pub lines: &'l mut [Line<'b>],
    /// Whether the client lets the connection stay open.
    pub persistent: bool,
    /// The octets of the head, its empty line included.
    pub length: usize,
}

static GET: Method = Method::GET;
static HEAD: Method = Method::HEAD;

/// Recognises the head at the beginning of `bytes`, which may go on behind it; `None` also where it is not yet whole.
pub fn read<'l, 'b>(
    bytes: &'b [u8],
    lines: &'l mut Lines<'b>,
    limits: &LimitSettings,
) -> Option<Canonical<'l, 'b>> {
    let method = if bytes.starts_with(b"GET /") {
        &GET
    } else if bytes.starts_with(b"HEAD /") {
        &HEAD
    } else {
        return None;
    };
    let mut parsed = httparse::Request::new(&mut []);
    let parsing = parsed.parse_with_uninit_headers(bytes, lines);
    let Ok(httparse::Status::Complete(length)) = parsing else {
        return None;
    };
    let (Some(target), Some(1)) = (parsed.path, parsed.version) else {
        return None;
    };
    let lines = parsed.headers;
    let count = lines.len();
    let head = bytes.get(..length)?;
    if length > limits.head.as_usize() || count > limits.head_fields || !is_plain(head) {
        return None;
    }
    uri::check_octets(target.as_bytes()).ok()?;
    let mut host = None;
    let mut connection = None;
    let mut kept = 0;
    for at in 0..lines.len() {
        let line = *lines.get(at)?;
        match line.name.len() {
            4 if host.is_none() && line.name.eq_ignore_ascii_case("host") => {
                host = Some(line.value);
            }
            10 if connection.is_none() && line.name.eq_ignore_ascii_case("connection") => {
                connection = Some(line.value);
                continue;
            }
            // A second one of either is none of ours.
            _ if is_dropped_name(line.name) => return None,
            _ => {}
        }
        *lines.get_mut(kept)? = line;
        kept += 1;
    }
    let authority = std::str::from_utf8(host?).ok()?;
    let host = host::parse(authority)?.host;
    // `a.test.` is `a.test`, which the gate writes, and `.a.test` is nobody.
    if host::has_empty_label(host) {
        return None;
    }
    let persistent = match connection {
        None => true,
        Some(said) if said.eq_ignore_ascii_case(b"keep-alive") => true,
        Some(said) if said.eq_ignore_ascii_case(b"close") => false,
        Some(_) => return None,
    };
    Some(Canonical {
        method,
        target,
        authority,
        host,
        lines: lines.get_mut(..kept)?,
        persistent,
        length,
    })
}

/// Whether all octets of a head are those of field values, and of line ends, which are CR LF: the parser takes a bare LF for
/// one, and nothing else here does.
fn is_plain(head: &[u8]) -> bool {
    let next = head.get(1..).unwrap_or_default();
    // Without an early end many octets are judged at a time.
    let judged = head.iter().zip(next).map(|(&octet, &next)| {
        let is_of_end = octet == b'\r' || octet == b'\n';
        (is_of_end || token::is_field_value_octet(octet)) && (octet == b'\r') == (next == b'\n')
    });
    judged.fold(true, |all, one| all & one)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields::view::{FieldLines, FieldView};
    use crate::listen::gate::scan::{HeadScanner, Scan};
    use crate::listen::gate::{Framing, head};
    use proptest::prelude::*;

    fn recognised(bytes: &[u8]) -> bool {
        let mut lines = [MaybeUninit::uninit(); LINES_MAX];
        read(bytes, &mut lines, &LimitSettings::default()).is_some()
    }

    #[test]
    fn what_is_canonical() {
        for (head, expected) in [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", true),
            (
                "HEAD /x?y HTTP/1.1\r\nhost: a:8080\r\nAccept: */*\r\n\r\nGET",
                true,
            ),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nConnection: Keep-Alive\r\n\r\n",
                true,
            ),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
                true,
            ),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nConnection: close, x\r\n\r\n",
                false,
            ),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nConnection: close\r\n\r\n",
                false,
            ),
            ("GET / HTTP/1.1\r\nHost: a\r\n", false),
            ("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", false),
            ("GET / HTTP/1.0\r\nHost: a\r\n\r\n", false),
            ("GET / HTTP/1.1\nHost: a\n\n", false),
            ("GET / HTTP/1.1\r\nHost: a\n\r\n", false),
            ("POST / HTTP/1.1\r\nHost: a\r\n\r\n", false),
            ("get / HTTP/1.1\r\nHost: a\r\n\r\n", false),
            ("GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", false),
            ("GET /#x HTTP/1.1\r\nHost: a\r\n\r\n", false),
            ("GET / HTTP/1.1\r\n\r\n", false),
            ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", false),
            ("GET / HTTP/1.1\r\nHost: a,b\r\n\r\n", false),
            ("GET / HTTP/1.1\r\nHost: a.b\r\n\r\n", true),
            ("GET / HTTP/1.1\r\nHost: a.b.\r\n\r\n", false),
            ("GET / HTTP/1.1\r\nHost: a.b.:80\r\n\r\n", false),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
                false,
            ),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
                false,
            ),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n",
                false,
            ),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n",
                false,
            ),
            ("GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n\r\n", false),
            ("GET / HTTP/1.1\r\nHost: a\r\nKeep-Alive: 5\r\n\r\n", false),
            ("GET / HTTP/1.1\r\nHost: a\r\nProxy: x\r\n\r\n", false),
            ("GET / HTTP/1.1\r\nHost: a\r\nX_Odd: 1\r\n\r\n", false),
            ("GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n c\r\n\r\n", false),
            ("GET / HTTP/1.1\r\nHost: a\r\nA : b\r\n\r\n", false),
            ("GET / HTTP/1.1\r\nHost: a\r\nA: \x01\r\n\r\n", false),
            ("GET / HTTP/1.1\r\nHost: a\r\nA: b\rc\r\n\r\n", false),
        ] {
            assert_eq!(recognised(head.as_bytes()), expected, "{head:?}");
        }
    }

    #[test]
    fn beyond_the_limits_nothing_is() {
        let head = b"GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n\r\n";
        let mut limits = LimitSettings::default();
        let within = |limits: &LimitSettings| {
            let mut lines = [MaybeUninit::uninit(); LINES_MAX];
            read(head, &mut lines, limits).is_some()
        };
        assert!(within(&limits));
        limits.head_fields = 1;
        assert!(!within(&limits));
        limits.head_fields = 2;
        limits.head = crate::units::ByteSize::new(head.len() as u64 - 1);
        assert!(!within(&limits));
    }

    fn piece() -> impl Strategy<Value = &'static str> {
        prop::sample::select(
            &[
                "GET",
                "HEAD",
                "POST",
                " ",
                " ",
                "/",
                "/a?b",
                "/%2e",
                "/\u{e9}",
                "http://b/",
                "*",
                "HTTP/1.1",
                "HTTP/1.0",
                "\r\n",
                "\r\n",
                "\r\n\r\n",
                "\n",
                "\r",
                "Host: a",
                "Host:a",
                "host: a:80",
                "Host: a b",
                "Host: a.:80",
                "Connection: keep-alive",
                "Connection: close",
                "connection: Host",
                "Content-Length: 0",
                "Content-Length: 3",
                "Transfer-Encoding: chunked",
                "TE: x",
                "Expect: 100-continue",
                "Upgrade: h2c",
                "X-Forwarded-For: 1.2.3.4",
                "A: b",
                "A:  b\t",
                "a_b: c",
                "Proxy: x",
                ": x",
                "A",
                "\t",
                "\0",
                "Range: bytes=0-1",
                "Cookie: a=b",
            ][..],
        )
    }

    /// Heads that are nearly right, and bytes that are not.
    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let wild = prop::collection::vec(piece(), 0..16).prop_map(|pieces| pieces.concat());
        let near = prop::collection::vec(piece(), 0..6).prop_map(|lines| {
            let fields = lines.join("\r\n");
            format!("GET /p?q HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\nGET / HTTP/1.1\r\n")
        });
        prop_oneof![wild, near].prop_map(String::into_bytes)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]
        /// What is recognised passes the gate, ends where it ends there, and means the same.
        #[test]
        fn narrower_than_the_gate(bytes in bytes()) {
            let limits = LimitSettings::default();
            let mut lines = [MaybeUninit::uninit(); LINES_MAX];
            let Some(narrow) = read(&bytes, &mut lines, &limits) else { return Ok(()) };
            let scanned = HeadScanner::default().scan(&bytes, limits.head.as_usize());
            prop_assert_eq!(scanned, Ok(Scan::Complete { start: 0, end: narrow.length }));
            let wide = head::read(&bytes[..narrow.length], &limits);
            let wide = wide.expect("the gate lets through what is recognised");
            prop_assert_eq!(wide.method(), narrow.method);
            prop_assert_eq!(wide.header.raw_path(), narrow.target.as_bytes());
            prop_assert_eq!(&wide.host, narrow.authority);
            prop_assert_eq!(wide.persistent, narrow.persistent);
            prop_assert_eq!(wide.framing, Framing::None);
            prop_assert!(!wide.upgrade && !wide.expects_continue);
            let fields = FieldView::Lines(FieldLines::new(narrow.lines)).to_header_map();
            prop_assert_eq!(&fields, &wide.header.headers);
        }
    }
}
