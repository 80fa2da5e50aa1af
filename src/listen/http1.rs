//! Serves one HTTP/1 connection: request by request, until either side ends it.

use super::at_once::{self, AtOnce};
use super::backlog::Held;
use super::crowd::Place;
use super::exchange::http1::{BodyFault, Http1};
use super::exchange::ticket::Ticket;
use super::exchange::{Exchange, Slot, Wire};
use super::gate::head;
use super::gate::scan::{HeadScanner, Scan};
use super::gate::{Refusal, Request, refusals};
use super::idle::Idle;
use super::lifecycle::CROWDED;
use super::stream::{Client, ClientStream};
use super::{Handler, Shared, record};
use crate::clock;
use bytes::BytesMut;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

/// What one read of a head asks for.
const READ_AT_MOST: usize = 16 * 1024;
/// An unread rest of a request body up to this is skipped so that the connection can stay; beyond, it is closed.
const SKIP_MAX: u64 = 256 * 1024;
/// How long a close waits for the client to read the answer, when bytes of it were left unread: an early close would
/// reset the connection and take the answer back (RFC 9112 §9.6).
const LINGER: Duration = Duration::from_secs(2);

/// Serves the connection. `inbox` is what was already read of it, `idle` its patience until then.
pub async fn serve<H: Handler>(
    stream: ClientStream,
    inbox: BytesMut,
    idle: Idle,
    client: Arc<Client>,
    shared: Arc<Shared>,
    handler: H,
) {
    let slot = Slot::default();
    let patience = shared.limits.load().writing();
    let held = Held::new(shared.lifecycle.held());
    let connection = Http1::new(stream, inbox, patience, held, idle.place().clone());
    let mut wire = Box::new(Wire::Http1(connection));
    let mut early = AtOnce::new(idle);
    loop {
        let Wire::Http1(connection) = wire.as_mut() else {
            return;
        };
        match poll_fn(|cx| early.poll(connection, &client, &shared, &handler, cx)).await {
            at_once::Next::Gate => {}
            at_once::Next::Flush => {
                let flushed = poll_fn(|cx| connection.poll_flush(cx)).await;
                let unsent = connection.unsent();
                record::given(
                    &shared,
                    early.take_entries(),
                    unsent,
                    flushed.as_ref().err(),
                );
                match flushed {
                    Ok(()) if early.closes() => return linger(connection).await,
                    Ok(()) => {
                        connection.outbox.release();
                        early.touch(clock::now());
                        continue;
                    }
                    Err(_) => return connection.io.reset_on_close(),
                }
            }
            at_once::Next::Over => return,
            at_once::Next::Broken => {
                let gone = std::io::ErrorKind::BrokenPipe.into();
                record::given(&shared, early.take_entries(), usize::MAX, Some(&gone));
                return connection.io.reset_on_close();
            }
        }
        let request = match next_request(connection, &mut early, &shared).await {
            Next::Request(request) => *request,
            Next::Over => return,
            Next::Refused(refusal) => {
                return end_with(connection, refusal, &client, &shared).await;
            }
        };
        connection.begin(&request);
        if shared.lifecycle.is_draining() {
            connection.close_after();
        }
        let ticket = Arc::new(Ticket::new(
            client.clone(),
            request.host.clone(),
            &shared.limits.load(),
            shared.access_log.is_enabled(),
        ));
        let exchange = Exchange::new(
            request,
            wire,
            slot.clone(),
            ticket.clone(),
            shared.lifecycle.clone(),
        );
        handler.handle(Box::new(exchange)).await;

        // The exchange is dropped by now, whatever became of it, and its loan is back.
        let Some(returned) = slot.lock().take() else {
            return;
        };
        wire = returned;
        let Wire::Http1(connection) = wire.as_mut() else {
            return;
        };
        let flushed = poll_fn(|cx| connection.poll_flush(cx)).await;
        record::finished(
            &shared,
            &ticket,
            connection.response_is_complete() || connection.is_tunnel(),
            connection.unsent(),
            flushed.as_ref().err(),
        );
        if flushed.is_err() {
            return connection.io.reset_on_close();
        }
        if !connection.response_is_complete() {
            // A cut must look like one: with a length or chunks the missing bytes show it; what the close delimits is
            // cut by a reset, which no orderly end may come before.
            if connection.ends_with_the_close() {
                connection.io.reset_on_close();
            } else {
                let _ = connection.io.shutdown().await;
            }
            return;
        }
        if !connection.may_continue() && !skip_body(connection).await {
            return linger(connection).await;
        }
        // An idle connection holds no buffer.
        connection.outbox.release();
        early.touch(clock::now());
    }
}

/// Refuses what a connection brings without reading it.
pub async fn refuse(stream: ClientStream, refusal: Refusal, client: &Arc<Client>, shared: &Shared) {
    let patience = shared.limits.load().writing();
    let held = Held::new(shared.lifecycle.held());
    let place = Place::nobodys(shared.lifecycle.clone());
    let mut connection = Http1::new(stream, BytesMut::new(), patience, held, place);
    end_with(&mut connection, refusal, client, shared).await;
}

/// A refusal is the last that a connection hears.
async fn end_with(connection: &mut Http1, refusal: Refusal, client: &Arc<Client>, shared: &Shared) {
    connection.refuse(refusal);
    record::refused(shared, client, refusal);
    let _ = poll_fn(|cx| connection.poll_flush(cx)).await;
    linger(connection).await;
}

/// What came of waiting for a request.
enum Next {
    Request(Box<Request>),
    Refused(Refusal),
    /// The client left, was idle for too long, or others need its place.
    Over,
}

/// The request whose first octets are in the inbox.
async fn next_request(connection: &mut Http1, early: &mut AtOnce, shared: &Shared) -> Next {
    let limits = shared.limits.load_full();
    let mut scanner = HeadScanner::default();
    // The deadline is for the whole head and starts with its first byte: one byte at a time does not extend it.
    let deadline = clock::now() + limits.head_timeout;
    let (start, end) = loop {
        match scanner.scan(&connection.inbox, limits.head.as_usize()) {
            Ok(Scan::Complete { start, end }) => break (start, end),
            Ok(Scan::NeedMore) => {}
            Err(refusal) => return Next::Refused(refusal),
        }
        let filled = poll_fn(|cx| match connection.poll_fill(READ_AT_MOST, cx) {
            Poll::Ready(filled) => Poll::Ready(Some(filled)),
            Poll::Pending => early.poll_crowded(cx).map(|()| None),
        });
        match tokio::time::timeout_at(deadline, filled).await {
            Ok(Some(Ok(1..))) => {}
            Ok(Some(Ok(0) | Err(_))) => return Next::Over,
            Ok(None) => {
                shared.metrics.refused(CROWDED);
                return Next::Over;
            }
            Err(_) if scanner.is_idle() => return Next::Over,
            Err(_) => return Next::Refused(refusals::HEAD_TIMEOUT),
        }
    };
    let head = connection.inbox.split_to(end);
    match head::read(&head[start..], &limits) {
        Ok(request) => Next::Request(Box::new(request)),
        Err(refusal) => Next::Refused(refusal),
    }
}

/// Skips what is left of a request body behind its answer. False where the connection has to close instead.
async fn skip_body(connection: &mut Http1) -> bool {
    if !connection.is_worth_skipping_to() {
        return false;
    }
    let skipping = async {
        let mut skipped = 0;
        while !connection.body_is_done() {
            match poll_fn(|cx| connection.poll_body(cx)).await {
                Ok(Some(data)) => skipped += data.len() as u64,
                Ok(None) => return true,
                Err(BodyFault::Gone(_) | BodyFault::Malformed(_)) => return false,
            }
            if skipped > SKIP_MAX {
                return false;
            }
        }
        true
    };
    timeout(LINGER, skipping).await.unwrap_or(false)
}

/// Closes our side, and waits a little for the client to have read the answer before the connection is gone.
async fn linger(connection: &mut Http1) {
    let lingering = async {
        if connection.io.shutdown().await.is_err() {
            return;
        }
        let mut discarded = 0;
        while discarded < SKIP_MAX {
            connection.inbox.clear();
            match poll_fn(|cx| connection.poll_fill(READ_AT_MOST, cx)).await {
                Ok(n @ 1..) => discarded += n as u64,
                Ok(0) | Err(_) => return,
            }
        }
    };
    let _ = timeout(LINGER, lingering).await;
}
