//! One request and its answer, in the form that Pingora's proxy knows as a session.
//!
//! Pingora never sees the client's connection: it is given the gated head and asks this session for the body and for the
//! writing of the answer. So there is one parser of what clients send and one writer of what they get, `Date` and interim
//! responses stay the origin's, the answer is read ahead of a slow client, and the deadlines of the exchange are kept in
//! the one place that is polled all the time.
//!
//! The connection is lent: whatever ends the exchange, a panic included, it goes back through its [`Slot`], and the
//! connection's own state, not Pingora's opinion, decides whether another request may follow.

pub mod calls;
pub mod head;
pub mod http1;
pub mod http2;
pub mod inner;
pub mod replay;
pub mod response_head;
mod session;
pub mod ticket;

use crate::arena::FileRange;
use crate::listen::gate::{Framing, Request};
use crate::listen::lifecycle::Lifecycle;
use crate::listen::pace::{Overdue, Pace, Patience};
use bytes::Bytes;
use calls::gone;
use head::ResponseHead;
use http::{HeaderMap, StatusCode};
use http1::{BodyFault, Http1};
use http2::Http2;
use inner::{Inner, Recipient};
use parking_lot::Mutex;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::l4::socket::SocketAddr;
use pingora::{Error, ErrorType};
use replay::Replay;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use ticket::Ticket;
use tokio::time::Sleep;

/// The upstream sent nothing within the deadline that [`ticket::Terms`] set.
pub const UPSTREAM_SILENT: ErrorType = ErrorType::new("UpstreamSilent");
/// The client sent nothing of its request body within the deadline.
pub const CLIENT_SILENT: ErrorType = ErrorType::new("ClientSilent");
/// Too little of the request body came, for too long.
pub const CLIENT_SLOW: ErrorType = ErrorType::new("ClientSlow");
/// The request body is larger than allowed.
pub const BODY_TOO_LARGE: ErrorType = ErrorType::new("BodyTooLarge");
/// The request body's framing is broken.
pub const BODY_MALFORMED: ErrorType = ErrorType::new("BodyMalformed");
/// The answer is whole and the request body is not: the origin did not want the rest (RFC 9112 §9.3).
pub const ANSWERED_EARLY: ErrorType = ErrorType::new("AnsweredEarly");
/// The client left, or takes nothing of the answer.
pub const CLIENT_GONE: ErrorType = ErrorType::new("ClientGone");

/// The client's side of an exchange.
#[derive(Debug)]
pub enum Wire {
    /// A whole HTTP/1 connection.
    Http1(Http1),
    /// A stream of an HTTP/2 connection.
    Http2(Http2),
    /// No client: a request of our own.
    Inner(Inner),
}

/// Where a lent connection comes back to.
pub type Slot = Arc<Mutex<Option<Box<Wire>>>>;

/// A connection on loan; goes back to its slot when dropped.
#[derive(Debug)]
struct Loan {
    wire: Option<Box<Wire>>,
    slot: Slot,
}

impl Loan {
    fn wire(&mut self) -> &mut Wire {
        self.wire
            .as_mut()
            .expect("a loan holds its wire until it is dropped")
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        *self.slot.lock() = self.wire.take();
    }
}

/// What the exchange waits for from the upstream, and since when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Awaiting {
    Header,
    Body,
}

/// The session.
#[derive(Debug)]
pub struct Exchange {
    header: RequestHeader,
    loan: Loan,
    ticket: Arc<Ticket>,
    replay: Replay,
    /// A request of our own has none: it keeps no connection open.
    lifecycle: Option<Arc<Lifecycle>>,
    upgrade: bool,
    framing: Framing,
    /// The status of the final answer or of a switch of protocols, once its head was given.
    answered: Option<StatusCode>,
    /// Its head, where it came from Pingora, which asks for it.
    response: Option<Box<ResponseHeader>>,
    awaiting: Awaiting,
    /// Runs while nothing comes from the upstream.
    upstream_timer: Option<Pin<Box<Sleep>>>,
    /// Runs to the end of the whole exchange's time, where it has one.
    total_timer: Option<Pin<Box<Sleep>>>,
    /// There from the first wait for a piece of the client's body.
    client_pace: Option<Box<Pace>>,
    client_addr: SocketAddr,
    local_addr: SocketAddr,
}

impl Exchange {
    /// Lends `wire` to an exchange about `request`. Its state comes back through `slot`.
    pub fn new(
        request: Request,
        wire: Box<Wire>,
        slot: Slot,
        ticket: Arc<Ticket>,
        lifecycle: Arc<Lifecycle>,
    ) -> Self {
        let Request {
            header,
            framing,
            upgrade,
            ..
        } = request;
        Self {
            upgrade,
            lifecycle: Some(lifecycle),
            framing,
            ..Self::plain(header, wire, slot, ticket)
        }
    }

    /// A request of our own, without a body, whose answer goes to `recipient`.
    pub fn inner(
        header: RequestHeader,
        recipient: Box<dyn Recipient>,
        ticket: Arc<Ticket>,
    ) -> Self {
        let wire = Wire::Inner(Inner::new(recipient, &header.method));
        Self::plain(header, Box::new(wire), Slot::default(), ticket)
    }

    fn plain(header: RequestHeader, wire: Box<Wire>, slot: Slot, ticket: Arc<Ticket>) -> Self {
        ticket.set_sends_files(matches!(&*wire, Wire::Http1(http1) if http1.sends_files()));
        Self {
            header,
            loan: Loan {
                wire: Some(wire),
                slot,
            },
            replay: Replay::default(),
            upgrade: false,
            lifecycle: None,
            framing: Framing::None,
            answered: None,
            response: None,
            awaiting: Awaiting::Header,
            upstream_timer: None,
            total_timer: None,
            client_pace: None,
            client_addr: ticket.client.addr.into(),
            local_addr: ticket.client.local.into(),
            ticket,
        }
    }

    /// Whether the program is taking requests, and when it no longer will. A request of our own has nothing to do with that.
    pub fn lifecycle(&self) -> Option<Arc<Lifecycle>> {
        self.lifecycle.clone()
    }

    fn wire(&mut self) -> &mut Wire {
        self.loan.wire()
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.wire() {
            Wire::Http1(http1) => http1.poll_flush(cx),
            Wire::Http2(http2) => http2.poll_flush(cx),
            Wire::Inner(inner) => inner.poll_flush(cx),
        }
    }

    fn queued(&mut self) -> usize {
        match self.wire() {
            Wire::Http1(http1) => http1.queued(),
            Wire::Http2(http2) => http2.queued(),
            // Nothing is read ahead of a recipient: what it has room for it takes.
            Wire::Inner(_) => usize::MAX,
        }
    }

    /// Whether clients hold so much already that nothing more is to be read ahead of them.
    pub fn holds_enough(&mut self) -> bool {
        match self.wire() {
            Wire::Http1(http1) => http1.holds_enough(),
            Wire::Http2(http2) => http2.holds_enough(),
            Wire::Inner(inner) => inner.takes_little(),
        }
    }

    /// Whether the request's body is over.
    pub fn is_body_done(&mut self) -> bool {
        match self.wire() {
            Wire::Http1(http1) => http1.body_is_done(),
            Wire::Http2(http2) => http2.body_is_done(),
            Wire::Inner(_) => true,
        }
    }

    fn response_is_complete(&mut self) -> bool {
        match self.wire() {
            Wire::Http1(http1) => http1.response_is_complete(),
            Wire::Http2(http2) => http2.response_is_complete(),
            Wire::Inner(inner) => inner.response_is_complete(),
        }
    }

    fn is_tunnel(&mut self) -> bool {
        matches!(self.wire(), Wire::Http1(http1) if http1.is_tunnel())
    }

    /// The next piece of the request body, noted for replay and held against the limit.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<pingora::Result<Option<Bytes>>> {
        if let Poll::Ready(error) = self.poll_total(cx) {
            return Poll::Ready(Err(error));
        }
        // An end here would make a cut upload look whole to the origin, and reading on would pour it in for nothing.
        if self.response_is_complete() && !self.is_body_done() && !self.is_tunnel() {
            return Poll::Ready(Err(Error::new_down(ANSWERED_EARLY)));
        }
        let polled = match self.wire() {
            Wire::Http1(http1) => http1.poll_body(cx).map_ok(|data| {
                http1.settle_body();
                data
            }),
            Wire::Http2(http2) => http2.poll_body(cx),
            Wire::Inner(_) => Poll::Ready(Ok(None)),
        };
        match polled {
            Poll::Ready(Ok(Some(data))) => {
                if let Some(pace) = &mut self.client_pace {
                    pace.moved(data.len());
                }
                let received = self.ticket.received(data.len());
                if !self.is_tunnel() {
                    let terms = self.ticket.terms();
                    if received > terms.body_limit {
                        return Poll::Ready(Err(Error::new_down(BODY_TOO_LARGE)));
                    }
                    self.replay.note(&data, terms.replay_limit);
                }
                Poll::Ready(Ok(Some(data)))
            }
            Poll::Ready(Ok(None)) => Poll::Ready(Ok(None)),
            Poll::Ready(Err(BodyFault::Malformed(refusal))) => {
                let mut error = Error::new_down(BODY_MALFORMED);
                error.set_context(refusal.message);
                Poll::Ready(Err(error))
            }
            Poll::Ready(Err(BodyFault::Gone(cause))) => Poll::Ready(Err(Error::because(
                CLIENT_GONE,
                "reading the request body",
                cause,
            )
            .into_down())),
            Poll::Pending if self.is_tunnel() => Poll::Pending,
            Poll::Pending => self.poll_client_pace(cx).map(|overdue| {
                Err(Error::new_down(match overdue {
                    Overdue::Silent => CLIENT_SILENT,
                    Overdue::Slow => CLIENT_SLOW,
                }))
            }),
        }
    }

    fn poll_client_pace(&mut self, cx: &mut Context<'_>) -> Poll<Overdue> {
        let terms = self.ticket.terms();
        let Some(silence) = terms.body_timeout else {
            return Poll::Pending;
        };
        let pace = self.client_pace.get_or_insert_default();
        if self.answered.is_some() {
            // Once the server has begun to answer, it is a conversation, which has pauses.
            return pace.poll(silence, cx);
        }
        let rate = terms.body_rate;
        let patience = Patience { silence, rate };
        match self.loan.wire() {
            Wire::Http1(http1) => pace.poll((patience, http1.place()), cx),
            Wire::Http2(http2) => pace.poll((patience, http2.place()), cx),
            Wire::Inner(_) => pace.poll(patience, cx),
        }
    }

    /// Resolves when the whole exchange's time is over, whatever it is doing.
    fn poll_total(&mut self, cx: &mut Context<'_>) -> Poll<Box<Error>> {
        if self.total_timer.is_none() {
            let total = self.ticket.terms().total;
            self.total_timer = total.map(|at| Box::pin(tokio::time::sleep_until(at)));
        }
        poll_timer(&mut self.total_timer, cx).map(|()| Error::new_down(UPSTREAM_SILENT))
    }

    /// Resolves with the fault that ends the wait for the upstream: the client left, or the upstream's time is up.
    fn poll_waiting(&mut self, cx: &mut Context<'_>) -> Poll<Box<Error>> {
        let gone = match self.wire() {
            Wire::Http1(http1) => http1.poll_gone(cx),
            Wire::Http2(http2) => http2.poll_gone(cx),
            Wire::Inner(inner) => inner.poll_gone(cx),
        };
        if let Poll::Ready(cause) = gone {
            return Poll::Ready(
                Error::because(CLIENT_GONE, "while it was served", cause).into_down(),
            );
        }
        if let Poll::Ready(error) = self.poll_total(cx) {
            return Poll::Ready(error);
        }
        self.poll_upstream_timer(cx)
            .map(|()| Error::new_down(UPSTREAM_SILENT))
    }

    fn poll_upstream_timer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_tunnel() {
            return Poll::Pending;
        }
        if self.upstream_timer.is_none() {
            let terms = self.ticket.terms();
            let patience = match self.awaiting {
                Awaiting::Header => terms.first_byte,
                Awaiting::Body => terms.between_bytes,
            };
            self.upstream_timer = patience.map(|patience| Box::pin(tokio::time::sleep(patience)));
        }
        poll_timer(&mut self.upstream_timer, cx)
    }

    /// A try begins: the next thing to come from the upstream is a header. Said when a server is looked for, and again
    /// when the request is sent.
    pub fn begin_try(&mut self) {
        if let Wire::Inner(inner) = self.wire() {
            inner.asked();
        }
        self.replay.enable();
        self.awaiting = Awaiting::Header;
        self.upstream_timer = None;
    }

    /// Queues a head. `ended` says that no body comes.
    ///
    /// # Errors
    /// The client is gone.
    pub fn write_head(&mut self, response: &ResponseHead, ended: bool) -> pingora::Result<()> {
        // Interim responses are not what is waited for.
        if !response.status.is_informational() {
            self.upstream_timer = None;
        }
        let draining = self.lifecycle.as_ref().is_some_and(|it| it.is_draining());
        let close = self.ticket.closes() || draining;
        match self.wire() {
            Wire::Http1(http1) => http1.write_head(response, ended, close),
            Wire::Http2(http2) => http2.write_head(response, ended).map_err(|cause| {
                Error::because(CLIENT_GONE, "writing the response head", cause).into_down()
            })?,
            Wire::Inner(inner) => inner.write_head(response),
        }
        if !response.status.is_informational() {
            self.awaiting = Awaiting::Body;
            self.answered = Some(response.status);
        } else if response.status == StatusCode::SWITCHING_PROTOCOLS {
            self.answered = Some(response.status);
        }
        Ok(())
    }

    fn write_data(&mut self, data: Bytes) {
        self.upstream_timer = None;
        let sent = match self.wire() {
            Wire::Http1(http1) => http1.write_data(data),
            Wire::Http2(http2) => http2.write_data(data),
            Wire::Inner(inner) => inner.write_data(data),
        };
        self.ticket.sent(sent);
    }

    /// The rest of the body lies in a file.
    fn write_file(&mut self, file: FileRange) {
        self.upstream_timer = None;
        if let Wire::Http1(http1) = self.wire() {
            let sent = http1.write_file(&file);
            return self.ticket.sent(sent);
        }
        for piece in file.pieces() {
            self.write_data(piece);
        }
    }

    fn write_end(&mut self, trailers: Option<HeaderMap>) {
        if let Some(file) = self.ticket.take_file() {
            self.write_file(file);
        }
        let trailers = trailers.or_else(|| self.ticket.take_trailers());
        match self.wire() {
            // HTTP/1 trailers would need the client's `TE: trailers`, which nearly none sends.
            Wire::Http1(http1) => http1.write_end(),
            Wire::Http2(http2) => http2.write_end(trailers),
            // What is shared has no trailers (RFC 9110 §6.5.1 lets them be dropped).
            Wire::Inner(inner) => inner.write_end(),
        }
    }

    /// Writes what the client takes, and resolves as soon as what is left fits the read-ahead.
    async fn press_on(&mut self) -> pingora::Result<()> {
        let most = self.ticket.terms().read_ahead;
        std::future::poll_fn(|cx| match self.poll_flush(cx) {
            Poll::Pending if self.queued() <= if self.holds_enough() { 0 } else { most } => {
                Poll::Ready(Ok(()))
            }
            Poll::Pending => self.poll_total(cx).map(Err),
            Poll::Ready(flushed) => Poll::Ready(flushed.map_err(gone)),
        })
        .await
    }
}

/// Polls a timer that may not be running.
fn poll_timer(timer: &mut Option<Pin<Box<Sleep>>>, cx: &mut Context<'_>) -> Poll<()> {
    timer
        .as_mut()
        .map_or(Poll::Pending, |timer| timer.as_mut().poll(cx))
}
