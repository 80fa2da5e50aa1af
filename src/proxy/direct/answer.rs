//! What an HTTP/1.1 server answers: its head, and how the body behind it is delimited.

use super::connection::Connection;
use crate::fields::section::HeaderSection;
use crate::fields::{content_length, list};
use crate::listen::exchange::head::ResponseHead;
use crate::listen::gate::Framing;
use crate::listen::gate::body::{BodyReader, Decoded};
use bytes::{Buf, Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{Method, StatusCode, Version};
use pingora::{Error, ErrorType, Result};
use std::io;
use std::mem::MaybeUninit;
use std::task::{Context, Poll, ready};

/// The chunked framing of an answer is broken.
pub const INVALID_CHUNK: ErrorType = ErrorType::new("InvalidChunk");

/// A larger head is nobody's.
const HEAD_MAX: usize = 1024 * 1024;
/// Fields of one head.
const FIELDS_MAX: usize = 256;

/// Where an answer stands.
#[derive(Debug)]
pub enum Answer {
    /// Its final head is to come. As many octets of it were looked at in vain.
    Head(usize),
    /// This many octets of its body are to come.
    Length(u64),
    /// Within a chunked body.
    Chunked(BodyReader),
    /// The end of the connection ends it.
    UntilClose,
    /// It is whole.
    Done,
}

/// What came.
#[derive(Debug)]
pub enum Came {
    /// An interim or a final head.
    Head(ResponseHead),
    /// A piece of the body, never empty.
    Data(Bytes),
    /// The end of the body, behind its last piece.
    End,
    /// Nothing that means anything by itself.
    Nothing,
}

/// What one read gave.
enum Read {
    /// A piece of the body, as it is.
    Piece(Bytes),
    /// So many octets, which are in the inbox.
    Octets(usize),
}

impl Answer {
    /// What comes behind the final head `response` (RFC 9112 §6.3). For what a head contradicts itself in, see
    /// [`judge_answer`](crate::proxy::failure::judge_answer).
    pub fn behind(response: &ResponseHead, method: &Method) -> Self {
        // 1. No content by what was asked for, and by the status.
        if method == Method::HEAD
            || matches!(
                response.status,
                StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
            )
        {
            return Self::Done;
        }
        // 3. and 4. A transfer coding overrides a length.
        if response.fields.contains(&TRANSFER_ENCODING) {
            return Self::Chunked(BodyReader::new(Framing::Streamed));
        }
        // 5. and 6.
        let length = content_length::parse(response.fields.get_all(&CONTENT_LENGTH));
        match length.ok().and_then(content_length::ContentLength::value) {
            Some(0) => Self::Done,
            Some(length) => Self::Length(length),
            // 8.
            None => Self::UntilClose,
        }
    }

    /// Whether it is whole.
    pub fn is_done(&self) -> bool {
        matches!(self, Self::Done)
    }

    /// What is here already, without reading.
    ///
    /// # Errors
    /// A head that is malformed or too large, and broken chunks.
    pub fn take(&mut self, inbox: &mut BytesMut) -> Result<Came> {
        if inbox.is_empty() {
            return Ok(Came::Nothing);
        }
        match self {
            Self::Head(seen) => {
                if !is_worth_reading(inbox, *seen) {
                    return Ok(Came::Nothing);
                }
                let head = read_head(inbox)?;
                // Behind an interim one the next begins.
                *seen = if head.is_some() { 0 } else { inbox.len() };
                Ok(head.map_or(Came::Nothing, Came::Head))
            }
            Self::Length(left) => {
                let most = usize::try_from(*left).unwrap_or(usize::MAX);
                let data = cut(inbox, most);
                *left -= data.len() as u64;
                if *left == 0 {
                    *self = Self::Done;
                }
                Ok(Came::Data(data))
            }
            Self::Chunked(chunks) => match chunks.decode(inbox) {
                Ok(Decoded::Data(data)) => {
                    chunks.settle(inbox);
                    if chunks.is_done() {
                        *self = Self::Done;
                    }
                    // A copy, so that what is kept of it does not keep the buffer that it came in.
                    Ok(Came::Data(Bytes::copy_from_slice(&data)))
                }
                Ok(Decoded::NeedMore) => Ok(Came::Nothing),
                Ok(Decoded::End) => {
                    *self = Self::Done;
                    Ok(Came::End)
                }
                Err(refusal) => Err(Error::explain(INVALID_CHUNK, refusal.message)),
            },
            Self::UntilClose => Ok(Came::Data(cut(inbox, usize::MAX))),
            Self::Done => Ok(Came::Nothing),
        }
    }

    /// Reads once, and takes what that gives.
    ///
    /// # Errors
    /// As [`Self::take`], and what the connection did: `ConnectionClosed` where it ended too early, else `ReadError`.
    pub fn poll_read(
        &mut self,
        connection: &mut Connection,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Came>> {
        let at_most = match self {
            // What comes behind the body stays where it is, and is found when the connection is to be used again.
            Self::Length(left) => {
                usize::try_from(*left).map_or(connection.reads, |left| left.min(connection.reads))
            }
            _ => connection.reads,
        };
        let direct = matches!(self, Self::Length(_) | Self::UntilClose);
        let read = ready!(connection.poll_read(at_most, cx, |inbox, octets| {
            if direct && inbox.is_empty() {
                // All of it is body.
                return Read::Piece(Bytes::copy_from_slice(octets));
            }
            inbox.extend_from_slice(octets);
            Read::Octets(octets.len())
        }));
        let read = read.map_err(|cause| {
            // RFC 9112 §9.8: over TLS an end that the server has not announced may be anybody's, and what it ends is incomplete.
            let kind = match cause.kind() {
                io::ErrorKind::UnexpectedEof => ErrorType::ConnectionClosed,
                _ => ErrorType::ReadError,
            };
            Error::because(kind, "reading the answer", cause)
        })?;
        let piece = match read {
            Read::Octets(1..) => return Poll::Ready(self.take(&mut connection.inbox)),
            Read::Piece(piece) if !piece.is_empty() => piece,
            Read::Octets(0) | Read::Piece(_) => return Poll::Ready(self.closed()),
        };
        if let Self::Length(left) = self {
            *left = left.saturating_sub(piece.len() as u64);
            if *left == 0 {
                *self = Self::Done;
            }
        }
        Poll::Ready(Ok(Came::Data(piece)))
    }

    /// The server closed its end.
    fn closed(&mut self) -> Result<Came> {
        if matches!(self, Self::UntilClose) {
            *self = Self::Done;
            return Ok(Came::End);
        }
        let missing = match self {
            Self::Head(_) => "before the answer's head",
            _ => "within the answer's body",
        };
        Err(Error::explain(ErrorType::ConnectionClosed, missing))
    }
}

/// The front of `inbox`, in memory of its own: what is kept of it does not keep the rest.
fn cut(inbox: &mut BytesMut, at_most: usize) -> Bytes {
    let piece = inbox.get(..at_most.min(inbox.len())).unwrap_or_default();
    let piece = Bytes::copy_from_slice(piece);
    inbox.advance(piece.len());
    piece
}

/// Whether the server lets its connection be used again behind this answer (RFC 9112 §9.3).
pub fn is_persistent(response: &ResponseHead) -> bool {
    let says = |option| list::contains_token(response.fields.get_all(&CONNECTION), option);
    let coded = response.fields.contains(&TRANSFER_ENCODING);
    match response.version {
        // RFC 9112 §6.1: what says both, or codes in HTTP/1.0, has framed its answer in two ways.
        Version::HTTP_11 => !(says("close") || coded && response.fields.contains(&CONTENT_LENGTH)),
        _ => says("keep-alive") && !coded,
    }
}

/// Whether a head may have ended behind the octets that were looked at, or there is so much more of it that a fault in it should
/// be found. A head in drops must not be read from its beginning for each of them.
fn is_worth_reading(inbox: &[u8], seen: usize) -> bool {
    let fresh = inbox.get(seen.saturating_sub(3)..).unwrap_or_default();
    let ends = memchr::memchr_iter(b'\n', fresh)
        .any(|at| matches!(fresh.get(at + 1..), Some([b'\n', ..] | [b'\r', b'\n', ..])));
    ends || inbox.len() >= seen.saturating_mul(2)
}

/// A head, where it is here as a whole. Takes it out of the inbox.
fn read_head(inbox: &mut BytesMut) -> Result<Option<ResponseHead>> {
    let mut fields = [const { MaybeUninit::uninit() }; FIELDS_MAX];
    let mut head = httparse::Response::new(&mut []);
    let mut parser = httparse::ParserConfig::default();
    // RFC 9112 §5.1 and §5.2: of a response a proxy takes both away.
    parser.allow_spaces_after_header_name_in_responses(true);
    parser.allow_obsolete_multiline_headers_in_responses(true);
    let parsed = parser.parse_response_with_uninit_headers(&mut head, inbox, &mut fields);
    let parsed = parsed.map_err(|cause| {
        Error::because(
            ErrorType::InvalidHTTPHeader,
            "reading the answer's head",
            cause,
        )
    })?;
    let httparse::Status::Complete(length) = parsed else {
        if inbox.len() > HEAD_MAX {
            return Err(Error::explain(
                ErrorType::InvalidHTTPHeader,
                "an answer's head that does not end",
            ));
        }
        return Ok(None);
    };
    let status = StatusCode::from_u16(head.code.unwrap_or(0)).map_err(|cause| {
        Error::because(ErrorType::InvalidHTTPHeader, "reading the status", cause)
    })?;
    let octets = inbox.get(..length).unwrap_or_default();
    let response = ResponseHead {
        status,
        version: match head.version {
            Some(1) => Version::HTTP_11,
            _ => Version::HTTP_10,
        },
        reason: ResponseHead::unusual(head.reason, status),
        fields: HeaderSection::parsed(octets, head.headers),
    };
    inbox.advance(length);
    Ok(Some(response))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `octets` are, given in pieces of `size`: `[200]` for a head, the body as it is, `.` for the end, `!` for a fault.
    fn read(octets: &[u8], size: usize, method: &Method) -> (String, usize) {
        let (mut answer, mut inbox) = (Answer::Head(0), BytesMut::new());
        let mut said = String::new();
        for piece in octets.chunks(size) {
            inbox.extend_from_slice(piece);
            loop {
                match answer.take(&mut inbox) {
                    Ok(Came::Nothing) => break,
                    Ok(Came::Head(response)) => {
                        said = format!("{said}[{}]", response.status.as_u16());
                        if !response.status.is_informational() {
                            answer = Answer::behind(&response, method);
                        }
                    }
                    Ok(Came::Data(data)) => said.push_str(&String::from_utf8_lossy(&data)),
                    Ok(Came::End) => {}
                    Err(_) => return (said + "!", inbox.len()),
                }
                if answer.is_done() {
                    return (said + ".", inbox.len());
                }
            }
        }
        let end = if answer.closed().is_ok() { "." } else { "!" };
        (said + end, inbox.len())
    }

    #[test]
    fn a_head_in_drops_is_not_read_anew_for_each() {
        let (mut answer, mut inbox) = (Answer::Head(0), BytesMut::new());
        inbox.extend_from_slice(b"HTTP/1.1 200 OK\r\nX: ");
        let mut looked = 0;
        for _ in 0..200_000 {
            let Answer::Head(seen) = answer else {
                panic!("it has not ended");
            };
            looked += usize::from(is_worth_reading(&inbox, seen));
            assert!(matches!(answer.take(&mut inbox), Ok(Came::Nothing)));
            inbox.extend_from_slice(b"a");
        }
        assert!(looked < 20, "{looked}");
        for octet in b"\r\nContent-Length: 0\r\n\r" {
            inbox.extend_from_slice(&[*octet]);
            assert!(matches!(answer.take(&mut inbox), Ok(Came::Nothing)));
        }
        inbox.extend_from_slice(b"\n");
        assert!(matches!(answer.take(&mut inbox), Ok(Came::Head(_))));
    }

    #[test]
    fn an_answer_is_what_rfc_9112_6_3_says() {
        const GET: Method = Method::GET;
        for (octets, method, expected, left) in [
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
                GET,
                "[200]abc.",
                0,
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
                GET,
                "[200].",
                0,
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab",
                GET,
                "[200]ab!",
                0,
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
                Method::HEAD,
                "[200].",
                3,
            ),
            (
                "HTTP/1.1 204 No\r\nContent-Length: 3\r\n\r\nabc",
                GET,
                "[204].",
                3,
            ),
            (
                "HTTP/1.1 304 No\r\nTransfer-Encoding: chunked\r\n\r\nabc",
                GET,
                "[304].",
                3,
            ),
            ("HTTP/1.1 200 OK\r\n\r\nabc", GET, "[200]abc.", 0),
            ("HTTP/1.0 200 OK\r\n\r\n", GET, "[200].", 0),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1;x\r\nc\r\n0\r\nA: b\r\n\r\n",
                GET,
                "[200]abc.",
                0,
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n2\r\nab\r\n",
                GET,
                "[200]ab!",
                0,
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
                GET,
                "[200]!",
                3,
            ),
            (
                "HTTP/1.1 103 Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na",
                GET,
                "[103][200]a.",
                0,
            ),
            ("HTTP/1.1 200", GET, "!", 12),
            ("SSH-2.0-OpenSSH\r\n", GET, "!", 17),
        ] {
            let whole = read(octets.as_bytes(), octets.len(), &method);
            assert_eq!((whole.0.as_str(), whole.1), (expected, left), "{octets:?}");
            for size in 1..octets.len() {
                let said = read(octets.as_bytes(), size, &method).0;
                assert_eq!(said, expected, "{octets:?} by {size}");
            }
        }
    }

    #[test]
    fn names_keep_their_case_and_folds_are_taken_away() {
        let mut inbox =
            BytesMut::from("HTTP/1.1 200 Fine\r\nX-CASE : a\r\nX-Fold: a\r\n b\r\nEmpty:\r\n\r\n");
        let head = read_head(&mut inbox).expect("a head").expect("a whole one");
        assert_eq!(head.reason(), "Fine");
        let lines: Vec<_> = head.fields.written().map(|(_, line)| line).collect();
        let written = lines.concat();
        let written = String::from_utf8(written).expect("ASCII");
        assert_eq!(written, "X-CASE: a\r\nX-Fold: a b\r\nEmpty: \r\n");
    }

    #[test]
    fn a_connection_is_used_again_where_both_sides_know_where_the_answer_ends() {
        for (head, expected) in [
            ("HTTP/1.1 200 OK\r\n", true),
            ("HTTP/1.1 200 OK\r\nConnection: x, Close\r\n", false),
            ("HTTP/1.0 200 OK\r\n", false),
            ("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n", true),
            (
                "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n",
                false,
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n",
                false,
            ),
        ] {
            let mut inbox = BytesMut::from(format!("{head}\r\n").as_str());
            let response = read_head(&mut inbox).expect("a head").expect("a whole one");
            assert_eq!(is_persistent(&response), expected, "{head:?}");
        }
    }
}
