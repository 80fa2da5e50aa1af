//! One HTTP/2 stream as an exchange uses it: the body in, the answer out, under the stream's flow control.

use super::head::ResponseHead;
use super::http1::BodyFault;
use super::response_head::HopByHop;
use crate::listen::backlog::Streams;
use crate::listen::crowd::Place;
use crate::listen::gate::Request;
use crate::listen::pace::{Pace, Patience};
use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::header::{CONTENT_LENGTH, DATE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use std::collections::VecDeque;
use std::io;
use std::task::{Context, Poll, ready};

/// The stream, with the state of the request it is serving.
pub struct Http2 {
    body: RecvStream,
    body_done: bool,
    respond: SendResponse<Bytes>,
    /// There once a final head was sent that a body follows.
    send: Option<SendStream<Bytes>>,
    queue: VecDeque<Bytes>,
    queued: usize,
    backlog: Streams,
    /// Set when the answer's last part is queued.
    end: Option<End>,
    state: State,
    head: bool,
    /// The client waits for `100 Continue` before it sends the body (RFC 9110 §10.1.1).
    owes_continue: bool,
    /// There from the first wait for the client's window until everything is sent.
    stalled: Option<Box<Pace>>,
    patience: Patience,
    /// The connection's, among others.
    place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Unsent,
    Body,
    Complete,
}

/// How the answer ends.
#[derive(Debug)]
enum End {
    /// With its last DATA frame.
    Data,
    /// With a trailer section.
    Trailers(HeaderMap),
}

impl std::fmt::Debug for Http2 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Http2")
            .field("stream", &self.respond.stream_id())
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

fn broken(error: h2::Error) -> io::Error {
    io::Error::other(error)
}

impl Http2 {
    /// Takes up a stream whose request head was read.
    pub fn new(
        body: RecvStream,
        respond: SendResponse<Bytes>,
        request: &Request,
        backlog: Streams,
        (patience, place): (Patience, Place),
    ) -> Self {
        let body_done = body.is_end_stream();
        Self {
            body,
            body_done,
            respond,
            send: None,
            queue: VecDeque::new(),
            queued: 0,
            backlog,
            end: None,
            state: State::Unsent,
            head: request.method() == Method::HEAD,
            owes_continue: request.expects_continue && !body_done,
            stalled: None,
            patience,
            place,
        }
    }

    /// Takes up a stream whose answer's head was sent, and whose body is there. What waits of it is not the connection's
    /// memory, and in no backlog.
    pub fn answering(
        body: RecvStream,
        respond: SendResponse<Bytes>,
        send: SendStream<Bytes>,
        pieces: impl Iterator<Item = Bytes>,
        (patience, place): (Patience, Place),
    ) -> Self {
        let mut stream = Self {
            body_done: body.is_end_stream(),
            body,
            respond,
            send: Some(send),
            queue: VecDeque::new(),
            queued: 0,
            backlog: Streams::default(),
            end: None,
            state: State::Body,
            head: false,
            owes_continue: false,
            stalled: None,
            patience,
            place,
        };
        for piece in pieces {
            stream.write_data(piece);
        }
        stream.write_end(None);
        stream
    }

    /// The connection's place among others.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Whether the request body is over.
    pub fn body_is_done(&self) -> bool {
        self.body_done
    }

    /// Whether a final head was sent.
    pub fn response_has_begun(&self) -> bool {
        self.state != State::Unsent
    }

    /// Whether the answer's last part is queued or sent.
    pub fn response_is_complete(&self) -> bool {
        self.state == State::Complete || self.end.is_some()
    }

    /// Octets that wait for the client's window.
    pub fn queued(&self) -> usize {
        self.queued
    }

    /// Whether nothing more is to be read ahead.
    pub fn holds_enough(&self) -> bool {
        self.backlog.is_over()
    }

    /// The next piece of the request body; `None` when it is over. Trailers are dropped.
    pub fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, BodyFault>> {
        if self.body_done {
            return Poll::Ready(Ok(None));
        }
        if std::mem::take(&mut self.owes_continue) && self.state == State::Unsent {
            let mut interim = http::Response::new(());
            *interim.status_mut() = StatusCode::CONTINUE;
            // Whether the client still listens is found out by reading.
            let _ = self.respond.send_informational(interim);
        }
        match ready!(self.body.poll_data(cx)) {
            Some(Ok(data)) => {
                // Given back at once: how fast the body is taken is decided by how often it is asked for.
                let _ = self.body.flow_control().release_capacity(data.len());
                self.body_done = self.body.is_end_stream();
                Poll::Ready(Ok(Some(data)))
            }
            Some(Err(error)) => Poll::Ready(Err(BodyFault::Gone(broken(error)))),
            None => {
                self.body_done = true;
                Poll::Ready(Ok(None))
            }
        }
    }

    /// Resolves when the client resets the stream or leaves.
    pub fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let reset = match &mut self.send {
            Some(send) => ready!(send.poll_reset(cx)),
            None => ready!(self.respond.poll_reset(cx)),
        };
        Poll::Ready(match reset {
            Ok(reason) => io::Error::other(format!("stream reset: {reason}")),
            Err(error) => broken(error),
        })
    }

    /// Sends a response head. `ended` says that no body comes.
    pub fn write_head(&mut self, response: &ResponseHead, ended: bool) -> io::Result<()> {
        let mut head = http::Response::new(());
        *head.status_mut() = response.status;
        let hop_by_hop = HopByHop::of(response);
        for (name, value) in response.fields.iter() {
            if !hop_by_hop.contains(name)
                && let Ok(name) = HeaderName::from_bytes(name)
                && let Ok(value) = HeaderValue::from_bytes(value)
            {
                head.headers_mut().append(name, value);
            }
        }
        if response.status.is_informational() {
            // 101 does not exist in HTTP/2 (RFC 9113 §8.6), and 100 is the stream's own business.
            if !matches!(response.status, StatusCode::SWITCHING_PROTOCOLS) {
                self.respond.send_informational(head).map_err(broken)?;
            }
            return Ok(());
        }
        if !head.headers().contains_key(DATE) {
            let now = crate::fields::date::format(crate::clock::wall());
            if let Ok(now) = HeaderValue::from_str(&now) {
                head.headers_mut().insert(DATE, now);
            }
        }
        let bodiless = self.head
            || matches!(
                response.status,
                StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
            );
        if response.status == StatusCode::NO_CONTENT {
            head.headers_mut().remove(CONTENT_LENGTH);
        }
        let ended = ended || bodiless;
        let send = self.respond.send_response(head, ended).map_err(broken)?;
        if ended {
            self.state = State::Complete;
        } else {
            self.state = State::Body;
            self.send = Some(send);
        }
        Ok(())
    }

    /// Queues a piece of the response body and says how many octets of it count.
    pub fn write_data(&mut self, data: Bytes) -> usize {
        if self.state != State::Body || self.end.is_some() || data.is_empty() {
            return 0;
        }
        let n = data.len();
        self.queued += n;
        self.backlog.add(n);
        self.queue.push_back(data);
        n
    }

    /// Ends the response, with trailers where there are any.
    pub fn write_end(&mut self, trailers: Option<HeaderMap>) {
        if self.state == State::Body && self.end.is_none() {
            self.end = Some(trailers.map_or(End::Data, End::Trailers));
        }
    }

    /// Sends what is queued, as far as the client's window allows. Fails with `TimedOut` when it stays shut, or is
    /// opened by too little at a time.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(send) = &mut self.send else {
            return Poll::Ready(Ok(()));
        };
        while let Some(front) = self.queue.front_mut() {
            send.reserve_capacity(self.queued);
            let capacity = match send.capacity() {
                0 => match send.poll_capacity(cx) {
                    Poll::Ready(Some(capacity)) => capacity.map_err(broken)?,
                    Poll::Ready(None) => {
                        return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
                    }
                    Poll::Pending => {
                        let pace = self.stalled.get_or_insert_default();
                        ready!(pace.poll((self.patience, &self.place), cx));
                        return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                    }
                },
                capacity => capacity,
            };
            if capacity == 0 {
                continue;
            }
            let piece = front.split_to(capacity.min(front.len()));
            if let Some(pace) = &mut self.stalled {
                pace.moved(piece.len());
            }
            if front.is_empty() {
                self.queue.pop_front();
            }
            self.queued -= piece.len();
            self.backlog.take(piece.len());
            let last = self.queue.is_empty() && matches!(self.end, Some(End::Data));
            send.send_data(piece, last).map_err(broken)?;
            if last {
                self.state = State::Complete;
                self.end = None;
                self.send = None;
                return Poll::Ready(Ok(()));
            }
        }
        self.stalled = None;
        match self.end.take() {
            None => return Poll::Ready(Ok(())),
            Some(End::Data) => send.send_data(Bytes::new(), true).map_err(broken)?,
            Some(End::Trailers(trailers)) => send.send_trailers(trailers).map_err(broken)?,
        }
        self.state = State::Complete;
        self.send = None;
        Poll::Ready(Ok(()))
    }

    /// Ends the stream with a reset, so that what was sent cannot look complete.
    pub fn reset(&mut self, reason: Reason) {
        match &mut self.send {
            Some(send) => send.send_reset(reason),
            None => self.respond.send_reset(reason),
        }
        self.state = State::Complete;
    }
}

impl Drop for Http2 {
    fn drop(&mut self) {
        self.backlog.take(self.queued);
    }
}
