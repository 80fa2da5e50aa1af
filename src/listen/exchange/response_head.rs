//! Writes an HTTP/1 response head, and decides how the body behind it is delimited.

use super::head::ResponseHead;
use crate::fields::{date, hop_by_hop, list};
use bytes::{BufMut, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, DATE};
use http::{StatusCode, Version};

/// How a response body is delimited (RFC 9112 §6.3), and how much of it is still to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResponseFraming {
    /// No final head was written yet.
    Unsent,
    /// This many octets are still to come; 0 is complete.
    Length(u64),
    /// Chunks are to come.
    Chunked,
    /// For HTTP/1.0: the close of the connection ends it.
    UntilClose,
    /// After 101, the octets of another protocol.
    Tunnel,
    /// Everything is written.
    Complete,
}

/// What the request decides about the response's head.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    /// Whether the method was HEAD.
    pub head: bool,
    /// The version that the client spoke.
    pub version: Version,
    /// Whether the connection stays open behind the answer.
    pub persistent: bool,
}

/// The fields that are for the connection to the origin and not for the client: by their names, or because the response's own
/// `Connection` says so (RFC 9110 §7.6.1).
#[derive(Debug)]
pub struct HopByHop<'a> {
    response: &'a ResponseHead,
    /// Whether it names more than those that are so by name, `keep-alive` among them.
    nominates: bool,
}

impl<'a> HopByHop<'a> {
    /// Those of a response.
    pub fn of(response: &'a ResponseHead) -> Self {
        let options = response.fields.get_all(&CONNECTION);
        let mut options = options.flat_map(list::members);
        Self {
            nominates: options.any(|option| !hop_by_hop::is_named_hop_by_hop(option)),
            response,
        }
    }

    /// Whether a field, named in any case, is one of them.
    pub fn contains(&self, name: &[u8]) -> bool {
        let named = |option: &[u8]| option.eq_ignore_ascii_case(name);
        let options = || self.response.fields.get_all(&CONNECTION);
        hop_by_hop::is_named_hop_by_hop(name)
            || self.nominates && options().flat_map(list::members).any(named)
    }
}

/// Writes a final head and says how its body is delimited. `ended` says that no body comes.
pub fn write_final(
    out: &mut BytesMut,
    response: &ResponseHead,
    ended: bool,
    asked: Asked,
) -> ResponseFraming {
    let status = response.status;
    let bodiless =
        asked.head || status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED;
    let length = declared_length(response);
    let framing = match (bodiless, length) {
        (true, _) => ResponseFraming::Complete,
        (false, _) if ended => ResponseFraming::Complete,
        (false, Some(length)) => ResponseFraming::Length(length),
        (false, None) if asked.version == Version::HTTP_10 => ResponseFraming::UntilClose,
        (false, None) => ResponseFraming::Chunked,
    };
    out.reserve(response.fields.length() + 128);
    write_status_line(out, response);
    write_fields(out, response);
    match framing {
        ResponseFraming::Length(length) => put_number(out, "Content-Length: ", length),
        ResponseFraming::Chunked => out.put_slice(b"Transfer-Encoding: chunked\r\n"),
        ResponseFraming::Complete if status == StatusCode::NO_CONTENT => {}
        // What HEAD and 304 declare is the length that GET would have had.
        ResponseFraming::Complete if bodiless => {
            if let Some(length) = length {
                put_number(out, "Content-Length: ", length);
            }
        }
        ResponseFraming::Complete => out.put_slice(b"Content-Length: 0\r\n"),
        ResponseFraming::UntilClose | ResponseFraming::Unsent | ResponseFraming::Tunnel => {}
    }
    // RFC 9110 §6.6.1: a recipient with a clock adds the Date that an origin left out, and leaves its own alone.
    if !response.fields.contains(&DATE) {
        out.put_slice(b"Date: ");
        out.put_slice(date::format(crate::clock::wall()).as_bytes());
        out.put_slice(b"\r\n");
    }
    let persistent = asked.persistent && framing != ResponseFraming::UntilClose;
    match (persistent, asked.version) {
        (false, _) => out.put_slice(b"Connection: close\r\n"),
        (true, Version::HTTP_10) => out.put_slice(b"Connection: keep-alive\r\n"),
        (true, _) => {}
    }
    out.put_slice(b"\r\n");
    framing
}

/// Writes an interim head (1xx). After 101 the connection speaks what `Upgrade` says.
pub fn write_interim(out: &mut BytesMut, response: &ResponseHead) {
    write_status_line(out, response);
    write_fields(out, response);
    if response.status == StatusCode::SWITCHING_PROTOCOLS {
        out.put_slice(b"Connection: upgrade\r\nUpgrade: websocket\r\n");
    }
    out.put_slice(b"\r\n");
}

/// The length that a response declares; an origin's contradictions were refused by the client that read them.
pub fn declared_length(response: &ResponseHead) -> Option<u64> {
    let length = response.fields.get(&CONTENT_LENGTH)?;
    str::from_utf8(length).ok()?.trim().parse().ok()
}

fn write_status_line(out: &mut BytesMut, response: &ResponseHead) {
    out.put_slice(b"HTTP/1.1 ");
    out.put_slice(response.status.as_str().as_bytes());
    out.put_u8(b' ');
    out.put_slice(response.reason().as_bytes());
    out.put_slice(b"\r\n");
}

/// Writes the end-to-end fields; how long the body is, is said behind them.
fn write_fields(out: &mut BytesMut, response: &ResponseHead) {
    let hop_by_hop = HopByHop::of(response);
    for (name, line) in response.fields.written() {
        let is_length = || name.eq_ignore_ascii_case(CONTENT_LENGTH.as_str().as_bytes());
        if !hop_by_hop.contains(name) && !is_length() {
            out.put_slice(line);
        }
    }
}

fn put_number(out: &mut BytesMut, name: &str, number: u64) {
    out.put_slice(name.as_bytes());
    out.put_slice(itoa::Buffer::new().format(number).as_bytes());
    out.put_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields::section::HeaderSection;
    use http::HeaderValue;

    fn head(
        status: u16,
        fields: &[(&'static str, &'static str)],
        ended: bool,
        asked: Asked,
    ) -> (String, ResponseFraming) {
        let mut section = HeaderSection::default();
        for (name, value) in fields {
            section.append_written(name.as_bytes(), &HeaderValue::from_static(value));
        }
        let status = StatusCode::from_u16(status).expect("status");
        let response = ResponseHead::new(status, section);
        let mut out = BytesMut::new();
        let framing = write_final(&mut out, &response, ended, asked);
        (String::from_utf8(out.to_vec()).expect("ascii"), framing)
    }

    const ASKED: Asked = Asked {
        head: false,
        version: Version::HTTP_11,
        persistent: true,
    };
    const DATE_1: (&str, &str) = ("Date", "Sun, 06 Nov 1994 08:49:37 GMT");

    #[test]
    fn framing_by_rfc_9112_6_3() {
        let old = Asked {
            version: Version::HTTP_10,
            ..ASKED
        };
        let asks_head = Asked {
            head: true,
            ..ASKED
        };
        for (status, fields, ended, asked, framing) in [
            (
                200,
                vec![("Content-Length", "5")],
                false,
                ASKED,
                ResponseFraming::Length(5),
            ),
            (200, vec![], false, ASKED, ResponseFraming::Chunked),
            (
                200,
                vec![("Transfer-Encoding", "chunked")],
                false,
                ASKED,
                ResponseFraming::Chunked,
            ),
            (200, vec![], true, ASKED, ResponseFraming::Complete),
            (200, vec![], false, old, ResponseFraming::UntilClose),
            (
                200,
                vec![("Content-Length", "5")],
                false,
                asks_head,
                ResponseFraming::Complete,
            ),
            (
                304,
                vec![("Content-Length", "5")],
                false,
                ASKED,
                ResponseFraming::Complete,
            ),
            (204, vec![], false, ASKED, ResponseFraming::Complete),
        ] {
            assert_eq!(
                head(status, &fields, ended, asked).1,
                framing,
                "{status} {fields:?}"
            );
        }
    }

    #[test]
    fn only_end_to_end_fields_are_written() {
        let fields = [
            DATE_1,
            ("X-Case", "1"),
            ("Connection", "x-hop, close"),
            ("X-Hop", "2"),
            ("Keep-Alive", "3"),
            ("Set-Cookie", "a"),
            ("Set-Cookie", "b"),
        ];
        let (text, _) = head(200, &fields, true, ASKED);
        assert_eq!(
            text,
            "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nX-Case: 1\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n\
             Content-Length: 0\r\n\r\n"
        );
    }

    #[test]
    fn a_missing_date_is_added_and_closing_is_said() {
        let (text, _) = head(
            200,
            &[],
            true,
            Asked {
                persistent: false,
                ..ASKED
            },
        );
        assert!(
            text.contains("\r\nDate: ") && text.contains("\r\nConnection: close\r\n"),
            "{text}"
        );
        let (text, _) = head(
            200,
            &[DATE_1],
            true,
            Asked {
                version: Version::HTTP_10,
                ..ASKED
            },
        );
        assert!(text.contains("\r\nConnection: keep-alive\r\n"), "{text}");
    }
}
