//! Forwards to servers that speak HTTP/1.1, in the clear or over TLS, on connections of our own.
//!
//! What speaks HTTP/2 or changes protocols goes through Pingora's connectors. What is left are nearly all applications, and there
//! Pingora's way of forwarding costs more than the rest of the request: two channels between two halves, a peer with all its
//! options, a task for each connection that is kept. Its parser of answers also forgives what is no chunk. Here one loop reads and
//! writes both ends, and every question is asked of the same stops as in [`phases`](super::phases).
//!
//! Over TLS the server picks the version from what `http` has us offer. An address that picks HTTP/2 is Pingora's from then on, until an
//! answer from there comes in HTTP/1.1.
//!
//! [`kept`] are the idle connections, [`connection`] is one of them, [`stream`] its octets, [`request`] what is written to it, [`answer`]
//! what is read.

mod answer;
mod connection;
pub mod kept;
mod request;
mod stream;

use super::walk::Walk;
use super::{cached, deliver, encode, failure, forward};
use crate::listen::exchange::Exchange;
use crate::listen::exchange::calls::Part;
use crate::listen::exchange::head::ResponseHead;
use crate::upstream::Target;
use crate::upstream::address::Socket;
use crate::upstream::connect::plain;
use crate::upstream::settings::UpstreamHttp;
use crate::upstream::trust::Secured;
use answer::{Answer, Came};
use bytes::Bytes;
use connection::Connection;
use http::StatusCode;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use kept::Kept;
use pingora::{Error, ErrorType, Result};
use request::Body;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use stream::{Line, ServerStream};

/// Of the request's body, what waits for the server; more is not read from the client.
const UNSENT_MAX: usize = 64 * 1024;

/// What came of a try that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tried {
    /// The answer is given.
    Answered,
    /// The server speaks HTTP/2. Nothing was sent to it.
    InHttp2,
}

/// Forwards the request, as often as it takes. False where it is Pingora's to forward.
///
/// # Errors
/// What the client is to be told by [`failure::tell_client`].
pub async fn forward(kept: &Arc<Kept>, session: &mut Exchange, walk: &mut Walk) -> Result<bool> {
    forward::prepare(session, walk).await?;
    if session.is_upgrade_req() {
        return Ok(false);
    }
    loop {
        match attempt(kept, session, walk).await {
            Ok(tried) => return Ok(tried == Tried::Answered),
            Err(error) if error.retry() => {}
            Err(error) => return Err(error),
        }
    }
}

/// One try.
async fn attempt(kept: &Arc<Kept>, session: &mut Exchange, walk: &mut Walk) -> Result<Tried> {
    let target = forward::next_target(session, walk).await?;
    let secured = secured(&target, walk)?;
    // Without TLS there is nothing to pick: who is to be spoken to in HTTP/2 knows it (RFC 9113 §3.3).
    let http2 = match secured {
        Some(_) => target.picks_http2(),
        None => wants_http2(walk),
    };
    if http2 {
        return Ok(hand_on(target, walk));
    }
    let kept_one = kept.take(target.socket(), secured.as_ref());
    let reused = kept_one.is_some();
    let connection = match kept_one {
        Some(connection) => connection,
        None => match connect(&target, secured, walk).await {
            Ok(Some(connection)) => connection,
            Ok(None) => {
                target.picked_http2(true);
                return Ok(hand_on(target, walk));
            }
            Err(error) => return Err(failure::connect_failed(walk, error)),
        },
    };
    if let Some(forwarding) = &mut walk.forwarding {
        forwarding.claim.connected(reused);
    }
    let passage = Passage {
        answer: Answer::Head(0),
        connection: Some(connection),
        persistent: false,
        server_spoke: false,
        unsent: None,
        patience: patience(walk),
    };
    let passed = passage.run(kept, target.socket(), session, walk).await;
    match passed {
        Ok(()) => Ok(Tried::Answered),
        Err(error) => Err(failure::try_failed(session, walk, error, reused)),
    }
}

/// How TLS is spoken to `target`, where it is.
fn secured(target: &Target, walk: &Walk) -> Result<Option<Secured>> {
    if !target.tls() {
        return Ok(None);
    }
    let forwarding = walk.forwarding.as_ref();
    let secured = forwarding.and_then(|it| it.upstream.secured(target));
    // Never in the clear instead.
    let none = || Error::explain(ErrorType::InternalError, "a server without its trust");
    secured.map(Some).ok_or_else(none)
}

fn wants_http2(walk: &Walk) -> bool {
    let forwarding = walk.forwarding.as_ref();
    forwarding.is_some_and(|it| it.upstream.settings().http == UpstreamHttp::Http2)
}

/// The try is Pingora's: its server speaks HTTP/2.
fn hand_on(target: Target, walk: &mut Walk) -> Tried {
    if let Some(forwarding) = &mut walk.forwarding {
        forwarding.handed_on = Some(target);
    }
    Tried::InHttp2
}

fn patience(walk: &Walk) -> Duration {
    let forwarding = walk.forwarding.as_ref();
    forwarding.map_or(Duration::MAX, |it| it.upstream.settings().timeouts.send)
}

/// Connects within the upstream's time, hand-shake included. None where the server picks HTTP/2. The errors are those that Pingora's
/// connectors would give.
async fn connect(
    target: &Target,
    secured: Option<Secured>,
    walk: &Walk,
) -> Result<Option<Connection>> {
    let Some(forwarding) = &walk.forwarding else {
        return Err(Error::new_in(ErrorType::InternalError));
    };
    let time = forwarding.upstream.settings().timeouts.connect;
    match tokio::time::timeout(time, open(target, secured)).await {
        Ok(opened) => Ok(opened.map_err(Error::into_up)?.map(Connection::new)),
        Err(_) => Err(Error::explain(ErrorType::ConnectTimedout, "connecting").into_up()),
    }
}

async fn open(target: &Target, secured: Option<Secured>) -> Result<Option<ServerStream>> {
    let line = Line::connect(target.socket()).await.map_err(unconnected)?;
    let Some(secured) = secured else {
        return Ok(Some(ServerStream::Plain(line)));
    };
    // In a box, so that only who goes this way makes room for it.
    let encrypted = Box::pin(line.encrypt(secured)).await.map_err(|cause| {
        let said = format!("TLS as `{}`: {}", target.sni(), plain(&cause));
        Error::explain(ErrorType::TLSHandshakeFailure, said)
    })?;
    let speaks = !encrypted.picked_http2();
    Ok(speaks.then(|| ServerStream::Tls(Box::new(encrypted))))
}

/// The connection could not be made.
#[expect(
    clippy::unnecessary_box_returns,
    reason = "Pingora's errors are handed about in boxes"
)]
fn unconnected(cause: io::Error) -> Box<Error> {
    let kind = match cause.kind() {
        io::ErrorKind::ConnectionRefused => ErrorType::ConnectRefused,
        io::ErrorKind::TimedOut => ErrorType::ConnectTimedout,
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            ErrorType::ConnectNoRoute
        }
        io::ErrorKind::AddrNotAvailable => ErrorType::BindError,
        io::ErrorKind::PermissionDenied | io::ErrorKind::NotFound => ErrorType::ConnectError,
        // Out of descriptors or memory.
        _ if is_ours(&cause) => ErrorType::SocketError,
        _ => ErrorType::ConnectError,
    };
    Error::because(kind, "connecting", cause)
}

/// The request could not be sent.
#[expect(
    clippy::unnecessary_box_returns,
    reason = "Pingora's errors are handed about in boxes"
)]
fn unsent(kind: ErrorType, cause: io::Error) -> Box<Error> {
    Error::because(kind, "sending the request", cause).into_up()
}

/// Whether a connect failed for want of something on this side.
fn is_ours(cause: &io::Error) -> bool {
    use nix::errno::Errno;
    let wanting = [Errno::EMFILE, Errno::ENFILE, Errno::ENOBUFS, Errno::ENOMEM];
    cause
        .raw_os_error()
        .is_some_and(|code| wanting.contains(&Errno::from_raw(code)))
}

/// The way of one request and its answer over one connection.
#[derive(Debug)]
struct Passage {
    answer: Answer,
    /// None once it was given back.
    connection: Option<Connection>,
    /// Whether the server lets the connection be used again.
    persistent: bool,
    /// Whether what happened last was the server's doing.
    server_spoke: bool,
    /// Why the rest of the request could not be sent. The server may have answered all the same.
    unsent: Option<Box<Error>>,
    patience: Duration,
}

/// What happens next.
enum Event {
    /// The server sent something.
    Came(Came),
    /// The server took some of the request.
    Sent,
    /// The client sent a piece of the request's body, or its end.
    Piece(Option<Bytes>),
}

impl Passage {
    async fn run(
        mut self,
        kept: &Arc<Kept>,
        socket: &Socket,
        session: &mut Exchange,
        walk: &mut Walk,
    ) -> Result<()> {
        let Some(connection) = &mut self.connection else {
            return Ok(());
        };
        connection.sends_head_only(session.is_body_empty());
        let mut body = Body::begin(session, walk, &mut connection.outbox)?;
        session.begin_try();
        if let Some(again) = session.get_retry_buffer() {
            body.piece(again, &mut connection.outbox);
        }
        let mut parts = Vec::new();
        loop {
            if session.is_body_done()
                && let Some(connection) = &mut self.connection
            {
                body.end(&mut connection.outbox);
            }
            match self.next(&body, session).await? {
                Event::Came(came) => {
                    self.came(came, session, walk, &mut parts)?;
                    self.drain(session, walk, &mut parts)?;
                    if self.answer.is_done() {
                        self.give_back(&body, kept, socket, walk);
                    }
                    if !parts.is_empty() {
                        session.write(parts.drain(..)).await?;
                    }
                }
                Event::Sent => {}
                Event::Piece(piece) => {
                    // Behind a whole answer there is none, and nobody who wants the piece.
                    if let Some(connection) = &mut self.connection {
                        match piece {
                            Some(data) => body.piece(data, &mut connection.outbox),
                            None => body.end(&mut connection.outbox),
                        }
                    }
                }
            }
            if self.answer.is_done() && session.is_body_done() {
                return Ok(());
            }
        }
    }

    /// Waits for either end. The client's is watched also where nothing is expected of it, and its answer goes on being written.
    async fn next(&mut self, body: &Body, session: &mut Exchange) -> Result<Event> {
        let answered = self.answer.is_done();
        // Behind a whole answer, the session says what becomes of a body that is not: it is asked for more of it.
        let watched = !answered && (body.is_queued() || self.unsent.is_some());
        let little = session.holds_enough();
        let backlog = self.connection.as_mut().map_or(0, |connection| {
            connection.reads_little(little);
            connection.outbox.len()
        });
        let listens = answered || backlog < UNSENT_MAX;
        let mut client = pin!(session.read_body_or_idle(watched));
        // Neither may starve the other: who spoke last is heard last.
        let client_first = self.server_spoke;
        let (from_server, event) = poll_fn(|cx| {
            if listens
                && client_first
                && let Poll::Ready(piece) = client.as_mut().poll(cx)
            {
                return Poll::Ready((false, piece.map(Event::Piece)));
            }
            if !answered && let Poll::Ready(event) = self.poll_server(cx) {
                return Poll::Ready((true, event));
            }
            if listens && !client_first {
                let piece = ready!(client.as_mut().poll(cx));
                return Poll::Ready((false, piece.map(Event::Piece)));
            }
            Poll::Pending
        })
        .await;
        self.server_spoke = from_server;
        event
    }

    /// Writes what the server takes, and reads what it sends.
    fn poll_server(&mut self, cx: &mut Context<'_>) -> Poll<Result<Event>> {
        let Some(connection) = &mut self.connection else {
            return Poll::Pending;
        };
        if !connection.is_sent() && self.unsent.is_none() {
            let before = connection.outbox.len();
            match connection.poll_send(self.patience, cx) {
                Poll::Ready(Err(cause)) if cause.kind() == io::ErrorKind::TimedOut => {
                    return Poll::Ready(Err(unsent(ErrorType::WriteTimedout, cause)));
                }
                Poll::Ready(Err(cause)) => {
                    self.unsent = Some(unsent(ErrorType::WriteError, cause));
                }
                _ if before >= UNSENT_MAX && connection.outbox.len() < UNSENT_MAX => {
                    return Poll::Ready(Ok(Event::Sent));
                }
                _ => {}
            }
        }
        match ready!(self.answer.poll_read(connection, cx)) {
            Ok(came) => Poll::Ready(Ok(Event::Came(came))),
            Err(error) => Poll::Ready(Err(self.unsent.take().unwrap_or(error).into_up())),
        }
    }

    /// Takes what else has come already.
    fn drain(
        &mut self,
        session: &mut Exchange,
        walk: &mut Walk,
        parts: &mut Vec<Part>,
    ) -> Result<()> {
        while let Some(connection) = &mut self.connection
            && !self.answer.is_done()
        {
            match self.answer.take(&mut connection.inbox)? {
                Came::Nothing => return Ok(()),
                came => self.came(came, session, walk, parts)?,
            }
        }
        Ok(())
    }

    fn came(
        &mut self,
        came: Came,
        session: &mut Exchange,
        walk: &mut Walk,
        parts: &mut Vec<Part>,
    ) -> Result<()> {
        match came {
            Came::Nothing => {}
            Came::Head(response) => parts.push(self.head(response, session, walk)?),
            Came::Data(data) => self.piece(Some(data), walk, parts)?,
            Came::End => self.piece(None, walk, parts)?,
        }
        Ok(())
    }

    fn head(
        &mut self,
        mut response: ResponseHead,
        session: &mut Exchange,
        walk: &mut Walk,
    ) -> Result<Part> {
        let request = session.req_header();
        let interim = response.status.is_informational()
            && response.status != StatusCode::SWITCHING_PROTOCOLS;
        if !interim {
            self.answer = Answer::behind(&response, &request.method);
            self.persistent = answer::is_persistent(&response);
            if response.fields.contains(&TRANSFER_ENCODING) {
                // RFC 9112 §6.3: the coding overrides the length, which must not be passed on.
                response.fields.remove(&CONTENT_LENGTH);
            }
        }
        walk.ends_with_head = self.answer.is_done();
        failure::judge_answer(session, &response, walk)?;
        cached::heard(&response, walk);
        if walk.ends_with_head {
            encode::ends_with_head(request, &mut response);
            forward::release(walk);
        }
        encode::begin(request, &mut response, walk)?;
        deliver::write_response(request, &mut response, walk)?;
        Ok(if walk.ends_with_head {
            Part::HeadOnly(response)
        } else {
            Part::Head(response)
        })
    }

    fn piece(
        &mut self,
        mut data: Option<Bytes>,
        walk: &mut Walk,
        parts: &mut Vec<Part>,
    ) -> Result<()> {
        let end = self.answer.is_done();
        cached::passed(data.as_ref(), end, walk);
        if end {
            forward::release(walk);
        }
        encode::piece(&mut data, end, walk)?;
        parts.extend(data.map(Part::Data));
        parts.extend(end.then_some(Part::End));
        Ok(())
    }

    /// The answer is whole: the next request may have the connection, before the client has read this answer.
    fn give_back(&mut self, body: &Body, kept: &Arc<Kept>, socket: &Socket, walk: &Walk) {
        let (Some(connection), Some(forwarding)) = (self.connection.take(), &walk.forwarding)
        else {
            return;
        };
        let whole = body.is_queued() && connection.is_sent() && self.unsent.is_none();
        if self.persistent && whole && connection.inbox.is_empty() {
            let idle = forwarding.upstream.settings().keepalive.idle;
            kept.put(socket, connection, idle);
        }
    }
}
