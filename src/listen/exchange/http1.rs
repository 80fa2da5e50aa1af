//! One HTTP/1 connection as an exchange uses it: the body in, the answer out, each in its framing.

use super::head::ResponseHead;
use super::response_head::{self, Asked, ResponseFraming};
use crate::arena::FileRange;
use crate::listen::backlog::Held;
use crate::listen::crowd::Place;
use crate::listen::gate::body::{BodyReader, Decoded};
use crate::listen::gate::{Refusal, Request, refusals};
use crate::listen::outbox::Outbox;
use crate::listen::pace::Patience;
use crate::listen::stream::ClientStream;
use bytes::{Bytes, BytesMut};
use http::{Method, StatusCode, Version};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, ReadBuf};

/// What one read asks for.
const READ_AT_MOST: usize = 64 * 1024;
/// Bytes of following requests that are taken in while one is answered; the rest stays with the kernel.
const PIPELINED_MAX: usize = 8 * 1024;

/// The connection, with the state of the request it is serving.
#[derive(Debug)]
pub struct Http1 {
    /// The connection itself.
    pub io: ClientStream,
    /// Read and not yet understood: a part of a head or body, or following requests.
    pub inbox: BytesMut,
    /// Written by us and not yet taken by the client.
    pub outbox: Outbox,
    body: BodyReader,
    response: ResponseFraming,
    asked: Asked,
    owes_continue: bool,
    patience: Patience,
    held: Held,
    place: Place,
}

/// Why a request body cannot be read further.
#[derive(Debug)]
pub enum BodyFault {
    /// The client left, or its connection failed.
    Gone(io::Error),
    /// Its framing is broken.
    Malformed(Refusal),
}

impl Http1 {
    /// A fresh connection; `inbox` is what was read while its protocol was found out.
    pub fn new(
        io: ClientStream,
        inbox: BytesMut,
        patience: Patience,
        held: Held,
        place: Place,
    ) -> Self {
        Self {
            io,
            inbox,
            outbox: Outbox::default(),
            body: BodyReader::Done,
            response: ResponseFraming::Complete,
            asked: Asked {
                head: false,
                version: Version::HTTP_11,
                persistent: true,
            },
            owes_continue: false,
            patience,
            held,
            place,
        }
    }

    /// Its place among the connections.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Takes up a request whose head has just been taken from the inbox.
    pub fn begin(&mut self, request: &Request) {
        self.body = BodyReader::new(request.framing);
        self.response = ResponseFraming::Unsent;
        self.owes_continue = request.expects_continue && !self.body.is_done();
        self.asked = Asked {
            head: request.method() == Method::HEAD,
            version: request.version(),
            persistent: request.persistent,
        };
    }

    /// Ends the connection behind this answer.
    pub fn close_after(&mut self) {
        self.asked.persistent = false;
    }

    /// Whether the request body is over.
    pub fn body_is_done(&self) -> bool {
        self.body.is_done()
    }

    /// Whether a whole answer was queued.
    pub fn response_is_complete(&self) -> bool {
        matches!(
            self.response,
            ResponseFraming::Complete | ResponseFraming::Length(0)
        )
    }

    /// Whether a final head was queued.
    pub fn response_has_begun(&self) -> bool {
        self.response != ResponseFraming::Unsent
    }

    /// Whether the client will take the connection's end for the answer's.
    pub fn ends_with_the_close(&self) -> bool {
        self.response == ResponseFraming::UntilClose
    }

    /// Whether the connection was upgraded.
    pub fn is_tunnel(&self) -> bool {
        self.response == ResponseFraming::Tunnel
    }

    /// Whether another request may follow on this connection.
    pub fn may_continue(&self) -> bool {
        self.asked.persistent && self.response_is_complete() && self.body.is_done()
    }

    /// Whether skipping the rest of the body would let another request follow.
    pub fn is_worth_skipping_to(&self) -> bool {
        self.asked.persistent && self.response_is_complete() && !self.owes_continue
    }

    /// Octets that wait for the client in memory.
    pub fn queued(&self) -> usize {
        self.outbox.held()
    }

    /// Octets that the client has not been sent, wherever they wait.
    pub fn unsent(&self) -> usize {
        self.outbox.len()
    }

    /// The next piece of the request body; `None` when it is over.
    pub fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, BodyFault>> {
        if self.owes_continue {
            self.owes_continue = false;
            if !self.response_has_begun() {
                self.outbox.copy(b"HTTP/1.1 100 Continue\r\n\r\n");
                let _ = self.poll_flush(cx);
            }
        }
        loop {
            match self
                .body
                .decode(&mut self.inbox)
                .map_err(BodyFault::Malformed)?
            {
                Decoded::Data(data) => return Poll::Ready(Ok(Some(data))),
                Decoded::End => return Poll::Ready(Ok(None)),
                Decoded::NeedMore => {}
            }
            match ready!(self.poll_fill(READ_AT_MOST, cx)) {
                Ok(0) if matches!(self.body, BodyReader::Tunnel) => {
                    self.body = BodyReader::Done;
                    return Poll::Ready(Ok(None));
                }
                Ok(0) => {
                    return Poll::Ready(Err(BodyFault::Gone(io::ErrorKind::UnexpectedEof.into())));
                }
                Ok(_) => {}
                Err(error) => return Poll::Ready(Err(BodyFault::Gone(error))),
            }
        }
    }

    /// Reads the framing behind the data just given, so that the end is known together with the last data.
    pub fn settle_body(&mut self) {
        self.body.settle(&mut self.inbox);
    }

    /// Resolves when the client leaves. What it sends meanwhile belongs to its next request and is kept.
    pub fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        while self.inbox.len() < PIPELINED_MAX {
            match ready!(self.poll_fill(PIPELINED_MAX - self.inbox.len(), cx)) {
                Ok(0) => return Poll::Ready(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) => return Poll::Ready(error),
            }
        }
        Poll::Pending
    }

    /// Reads once into the inbox. Fails only for what the connection did; 0 is its end.
    pub fn poll_fill(&mut self, at_most: usize, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        thread_local! {
            /// Where reads land before the inbox is grown to what really came: an idle or slow connection holds
            /// no more than it was sent.
            static SCRATCH: std::cell::RefCell<Box<[u8]>> = std::cell::RefCell::new(vec![0; READ_AT_MOST].into());
        }
        SCRATCH.with_borrow_mut(|scratch| {
            let at_most = at_most.min(scratch.len());
            let mut buf = ReadBuf::new(&mut scratch[..at_most]);
            ready!(Pin::new(&mut self.io).poll_read(cx, &mut buf))?;
            self.inbox.extend_from_slice(buf.filled());
            Poll::Ready(Ok(buf.filled().len()))
        })
    }

    /// Queues a response head. `ended` says that no body comes.
    pub fn write_head(&mut self, response: &ResponseHead, ended: bool, close: bool) {
        if response.status.is_informational() {
            // RFC 9110 §15.2: an HTTP/1.0 client does not know interim responses.
            if self.asked.version == Version::HTTP_10 {
                return;
            }
            self.owes_continue &= response.status != StatusCode::CONTINUE;
            self.outbox
                .write_with(|out| response_head::write_interim(out, response));
            if response.status == StatusCode::SWITCHING_PROTOCOLS {
                self.response = ResponseFraming::Tunnel;
                self.body = BodyReader::Tunnel;
                // What is here by now was sent before the client knew of the switch: it is neither protocol's.
                self.inbox.clear();
                self.asked.persistent = false;
            }
            return;
        }
        // A final answer before the body is in: whether the rest still comes is the client's choice, and the next
        // request could not be told from it.
        if close || self.owes_continue {
            self.asked.persistent = false;
        }
        let asked = self.asked;
        let mut framing = ResponseFraming::Unsent;
        self.outbox
            .write_with(|out| framing = response_head::write_final(out, response, ended, asked));
        if framing == ResponseFraming::UntilClose {
            self.asked.persistent = false;
        }
        self.response = framing;
    }

    /// Queues a piece of the response body and says how many octets of it count.
    pub fn write_data(&mut self, data: Bytes) -> usize {
        match &mut self.response {
            ResponseFraming::Length(left) => {
                let n = usize::try_from(*left).unwrap_or(usize::MAX).min(data.len());
                *left -= n as u64;
                self.outbox.push(data.slice(..n));
                n
            }
            ResponseFraming::Chunked if data.is_empty() => 0,
            ResponseFraming::Chunked => {
                let n = data.len();
                self.outbox.copy(format!("{n:x}\r\n").as_bytes());
                self.outbox.push(data);
                self.outbox.copy(b"\r\n");
                n
            }
            ResponseFraming::UntilClose | ResponseFraming::Tunnel => {
                let n = data.len();
                self.outbox.push(data);
                n
            }
            ResponseFraming::Unsent | ResponseFraming::Complete => 0,
        }
    }

    /// Queues octets of a file as a piece of the response body, and says how many of them count.
    pub fn write_file(&mut self, file: &FileRange) -> usize {
        let file = match &mut self.response {
            ResponseFraming::Length(left) => {
                let file = file.slice(0..*left);
                *left -= file.length();
                file
            }
            ResponseFraming::Unsent | ResponseFraming::Complete => return 0,
            ResponseFraming::Chunked | ResponseFraming::UntilClose | ResponseFraming::Tunnel => {
                file.clone()
            }
        };
        let length = usize::try_from(file.length()).unwrap_or(usize::MAX);
        if self.response != ResponseFraming::Chunked {
            self.outbox.push_file(file);
        } else if length > 0 {
            self.outbox.copy(format!("{length:x}\r\n").as_bytes());
            self.outbox.push_file(file);
            self.outbox.copy(b"\r\n");
        }
        length
    }

    /// Whether the kernel can send a file's octets to the client.
    pub fn sends_files(&self) -> bool {
        matches!(self.io, ClientStream::Tcp(_))
    }

    /// Ends the response where its framing allows that; a body that is short of its length stays incomplete.
    pub fn write_end(&mut self) {
        match self.response {
            ResponseFraming::Chunked => {
                self.outbox.copy(b"0\r\n\r\n");
                self.response = ResponseFraming::Complete;
            }
            ResponseFraming::UntilClose | ResponseFraming::Length(0) => {
                self.response = ResponseFraming::Complete;
            }
            ResponseFraming::Tunnel => self.body = BodyReader::Done,
            ResponseFraming::Length(_) | ResponseFraming::Unsent | ResponseFraming::Complete => {}
        }
    }

    /// Writes what is queued, as far as the client takes it.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = self
            .outbox
            .poll_write(&mut self.io, (self.patience, &self.place), cx);
        self.held.set(self.outbox.held());
        flushed
    }

    /// Whether nothing more is to be read ahead.
    pub fn holds_enough(&self) -> bool {
        self.held.is_over()
    }

    /// The answer to a request that the gate or the body's framing refused.
    pub fn refuse(&mut self, refusal: Refusal) {
        if self.response_has_begun() && !self.response_is_complete() {
            return;
        }
        let body = format!(
            "{} {}: {}\n",
            refusal.status.as_u16(),
            refusal.reason,
            refusal.message
        );
        let allow = if refusal == refusals::CONNECT || refusal == refusals::TRACE {
            "Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n"
        } else {
            ""
        };
        let head = format!(
            "HTTP/1.1 {} {}\r\nDate: {}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n{allow}\
             Connection: close\r\n\r\n",
            refusal.status.as_u16(),
            refusal.status.canonical_reason().unwrap_or_default(),
            crate::fields::date::format(crate::clock::wall()),
            body.len(),
        );
        self.outbox.copy(head.as_bytes());
        self.outbox.copy(body.as_bytes());
        self.response = ResponseFraming::Complete;
        self.asked.persistent = false;
    }
}
