//! Forwards to servers that speak plain HTTP/1.1, on connections of our own.
//!
//! What goes over TLS, speaks HTTP/2 or changes protocols goes through Pingora's connectors; what is left are the
//! applications next door, and there Pingora's way of forwarding costs more than the rest of the request: two channels between two
//! halves, a peer with all its options, a task for each connection that is kept. Here one loop reads and writes both ends. Every
//! question is asked of the same stops as in [`phases`](super::phases).
//!
//! [`kept`] are the idle connections, [`connection`] is one of them, [`request`] what is written to it, [`answer`] what is read.

mod answer;
mod connection;
pub mod kept;
mod request;

use super::walk::Walk;
use super::{cached, deliver, encode, failure, forward};
use crate::listen::exchange::Exchange;
use crate::listen::exchange::calls::Part;
use crate::listen::exchange::head::ResponseHead;
use crate::upstream::Target;
use crate::upstream::address::Socket;
use crate::upstream::settings::{UpstreamHttp, UpstreamSettings};
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

/// Of the request's body, what waits for the server; more is not read from the client.
const UNSENT_MAX: usize = 64 * 1024;

/// Forwards the request, as often as it takes. False where it is Pingora's to forward.
///
/// # Errors
/// What the client is to be told by [`failure::tell_client`].
pub async fn forward(kept: &Arc<Kept>, session: &mut Exchange, walk: &mut Walk) -> Result<bool> {
    forward::prepare(session, walk).await?;
    if session.is_upgrade_req() {
        return Ok(false);
    }
    let plain = |walk: &Walk| Some(is_plain(walk.forwarding.as_ref()?.upstream.settings()));
    if plain(walk) != Some(true) {
        return Ok(false);
    }
    loop {
        match attempt(kept, session, walk).await {
            Ok(()) => return Ok(true),
            Err(error) if error.retry() => {}
            Err(error) => return Err(error),
        }
    }
}

/// Whether all servers of an upstream speak HTTP/1.1 in the clear.
fn is_plain(settings: &UpstreamSettings) -> bool {
    settings.http != UpstreamHttp::Http2 && !settings.servers.iter().any(|server| server.tls)
}

/// One try.
async fn attempt(kept: &Arc<Kept>, session: &mut Exchange, walk: &mut Walk) -> Result<()> {
    let target = forward::next_target(session, walk).await?;
    let kept_one = kept.take(target.socket());
    let reused = kept_one.is_some();
    let connection = match kept_one {
        Some(connection) => connection,
        None => match connect(&target, walk).await {
            Ok(connection) => connection,
            Err(error) => return Err(failure::connect_failed(walk, error)),
        },
    };
    if let Some(forwarding) = &mut walk.forwarding {
        forwarding.claim.connected(reused);
    }
    let passage = Passage {
        answer: Answer::Head,
        connection: Some(connection),
        persistent: false,
        server_spoke: false,
        unsent: None,
        patience: patience(walk),
    };
    let passed = passage.run(kept, target.socket(), session, walk).await;
    passed.map_err(|error| failure::try_failed(session, walk, error, reused))
}

fn patience(walk: &Walk) -> Duration {
    let forwarding = walk.forwarding.as_ref();
    forwarding.map_or(Duration::MAX, |it| it.upstream.settings().timeouts.send)
}

/// Connects within the upstream's time. The errors are those that Pingora's connectors would give.
async fn connect(target: &Target, walk: &Walk) -> Result<Connection> {
    let Some(forwarding) = &walk.forwarding else {
        return Err(Error::new_in(ErrorType::InternalError));
    };
    let time = forwarding.upstream.settings().timeouts.connect;
    let opened = tokio::time::timeout(time, Connection::open(target.socket())).await;
    match opened {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(cause)) => {
            let kind = match cause.kind() {
                io::ErrorKind::ConnectionRefused => ErrorType::ConnectRefused,
                io::ErrorKind::TimedOut => ErrorType::ConnectTimedout,
                io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
                    ErrorType::ConnectNoRoute
                }
                io::ErrorKind::AddrNotAvailable => ErrorType::BindError,
                io::ErrorKind::PermissionDenied | io::ErrorKind::NotFound => {
                    ErrorType::ConnectError
                }
                // Out of descriptors or memory.
                _ if is_ours(&cause) => ErrorType::SocketError,
                _ => ErrorType::ConnectError,
            };
            Err(Error::because(kind, "connecting", cause).into_up())
        }
        Err(_) => Err(Error::explain(ErrorType::ConnectTimedout, "connecting").into_up()),
    }
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
        let backlog = self.connection.as_ref().map_or(0, |it| it.outbox.len());
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
        if !connection.outbox.is_empty() && self.unsent.is_none() {
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
        let whole = body.is_queued() && connection.outbox.is_empty() && self.unsent.is_none();
        if self.persistent && whole && connection.inbox.is_empty() {
            let idle = forwarding.upstream.settings().keepalive.idle;
            kept.put(socket, connection, idle);
        }
    }
}
