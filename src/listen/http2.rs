//! Serves one HTTP/2 connection: accepts its streams, counts what it does wrong, and ends it in time.
//!
//! The loop is ours, on the h2 crate: Pingora's would overwrite `Date`, drop interim responses, and give its budget of
//! malformed requests anew with each call.

use super::exchange::http2::{Backlog, Http2};
use super::exchange::ticket::Ticket;
use super::exchange::{Exchange, Slot, Wire};
use super::gate::{self, Refusal};
use super::stream::{Client, ClientStream, Prefixed};
use super::{Handler, Shared, record};
use crate::clock;
use bytes::{Bytes, BytesMut};
use h2::server::{Connection, SendResponse};
use h2::{Reason, RecvStream};
use http::{Request, Response};
use pingora::protocols::http::ServerSession;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::Duration;
use tokio::time::timeout;

/// The window that a stream's request body may fill before it is read.
const STREAM_WINDOW: u32 = 256 * 1024;
/// The same for all streams of a connection together.
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// What h2 may hold of answers beyond what a stream's window lets out.
const SEND_BUFFER: usize = 64 * 1024;
/// Between the announcement that a connection ends and its end, where a client goes on regardless.
const GOAWAY_PATIENCE: Duration = Duration::from_secs(5);

/// What a connection may still do wrong: malformed requests and resets cost one, whole exchanges earn one back.
#[derive(Debug)]
struct Budget {
    left: AtomicI64,
    most: i64,
}

impl Budget {
    fn new(most: u32) -> Self {
        Self {
            left: AtomicI64::new(i64::from(most)),
            most: i64::from(most),
        }
    }

    fn charge(&self) {
        self.left.fetch_sub(1, Relaxed);
    }

    fn earn(&self) {
        // Two streams may earn at once and both be capped by the next reader; a budget need not be exact.
        if self.left.load(Relaxed) < self.most {
            self.left.fetch_add(1, Relaxed);
        }
    }

    fn is_spent(&self) -> bool {
        self.left.load(Relaxed) < 0
    }
}

/// What the streams of a connection have in common.
struct About {
    budget: Arc<Budget>,
    /// Cloned into each stream's task, so that its count tells how many run.
    running: Arc<()>,
    backlog: Backlog,
}

/// Serves the connection. `inbox` is what was already read of it.
pub async fn serve<H: Handler>(
    stream: ClientStream,
    inbox: BytesMut,
    client: Arc<Client>,
    shared: Arc<Shared>,
    handler: H,
) {
    let limits = shared.limits.load_full();
    let faults = usize::try_from(limits.http2_faults).unwrap_or(usize::MAX);
    let handshake = h2::server::Builder::new()
        .max_concurrent_streams(limits.http2_streams)
        .max_header_list_size(u32::try_from(limits.head.bytes()).unwrap_or(u32::MAX))
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(SEND_BUFFER)
        .max_concurrent_reset_streams(faults)
        .max_local_error_reset_streams(Some(faults))
        .max_pending_accept_reset_streams(faults.min(20))
        .handshake(Prefixed::new(inbox, stream));
    let Ok(Ok(mut connection)) = timeout(limits.handshake_timeout, handshake).await else {
        return;
    };
    let about = About {
        budget: Arc::new(Budget::new(limits.http2_faults)),
        running: Arc::new(()),
        backlog: Backlog::default(),
    };

    let mut ending = false;
    let mut unread = false;
    let idle = tokio::time::sleep(limits.idle_timeout);
    tokio::pin!(idle);
    loop {
        tokio::select! {
            biased;
            accepted = poll_fn(|cx| connection.poll_accept(cx)) => match accepted {
                Some(Ok((request, respond))) => {
                    unread = false;
                    idle.as_mut().reset(clock::now() + limits.idle_timeout);
                    accept(request, respond, &client, &shared, &handler, &about);
                }
                Some(Err(_)) | None => return,
            },
            () = &mut idle => {
                if Arc::strong_count(&about.running) > 1 {
                    idle.as_mut().reset(clock::now() + limits.idle_timeout);
                } else if connection.has_streams() && !ending && !unread {
                    // Every answer was given to h2; the client has as long again to take what is left of them.
                    unread = true;
                    idle.as_mut().reset(clock::now() + limits.idle_timeout);
                } else if ending || unread {
                    return;
                } else {
                    ending = true;
                    connection.graceful_shutdown();
                    idle.as_mut().reset(clock::now() + GOAWAY_PATIENCE);
                }
            }
            () = shared.lifecycle.draining(), if !ending => {
                ending = true;
                connection.graceful_shutdown();
                idle.as_mut().reset(clock::now() + GOAWAY_PATIENCE);
            }
        }
        if about.budget.is_spent() {
            return calm(&mut connection).await;
        }
    }
}

/// Ends a connection that did too much wrong.
async fn calm(connection: &mut Connection<Prefixed<ClientStream>, Bytes>) {
    connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
    let _ = timeout(GOAWAY_PATIENCE, poll_fn(|cx| connection.poll_closed(cx))).await;
}

/// Gates a stream's request and answers it in a task of its own.
fn accept<H: Handler>(
    request: Request<RecvStream>,
    respond: SendResponse<Bytes>,
    client: &Arc<Client>,
    shared: &Arc<Shared>,
    handler: &H,
    about: &About,
) {
    let (parts, body) = request.into_parts();
    let limits = shared.limits.load_full();
    let request = match gate::http2::read(&parts, body.is_end_stream(), &limits) {
        Ok(request) => request,
        Err(refusal) => {
            about.budget.charge();
            record::refused(shared, client, refusal);
            return refuse(respond, refusal);
        }
    };
    let wire = Box::new(Wire::Http2(Http2::new(
        body,
        respond,
        &request,
        about.backlog.clone(),
        limits.write_timeout,
    )));
    let ticket = Arc::new(Ticket::new(
        client.clone(),
        request.host.clone(),
        &limits,
        shared.access_log.is_enabled(),
    ));
    let slot = Slot::default();
    let exchange = Exchange::new(
        request,
        wire,
        slot.clone(),
        ticket.clone(),
        shared.lifecycle.clone(),
    );
    let (shared, handler) = (shared.clone(), handler.clone());
    let (budget, running) = (about.budget.clone(), about.running.clone());
    tokio::spawn(async move {
        handler
            .handle(ServerSession::new_custom(Box::new(exchange)))
            .await;
        let Some(mut wire) = slot.lock().take() else {
            return;
        };
        let Wire::Http2(stream) = wire.as_mut() else {
            return;
        };
        let flushed = poll_fn(|cx| stream.poll_flush(cx)).await;
        let complete = stream.response_is_complete();
        record::finished(&shared, &ticket, complete, flushed.as_ref().err());
        if flushed.is_err() {
            // The client reset the stream or let its window shut: what rapid resets are made of.
            budget.charge();
            stream.reset(Reason::CANCEL);
        } else if complete {
            // Where the body was not read to its end, dropping the stream tells the client so (RFC 9113 §8.1).
            budget.earn();
        } else {
            stream.reset(Reason::INTERNAL_ERROR);
            budget.charge();
        }
        drop(running);
    });
}

/// Answers a stream that was refused.
fn refuse(mut respond: SendResponse<Bytes>, refusal: Refusal) {
    let mut response = Response::new(());
    *response.status_mut() = refusal.status;
    let text = http::HeaderValue::from_static("text/plain; charset=utf-8");
    response
        .headers_mut()
        .insert(http::header::CONTENT_TYPE, text);
    let body = format!(
        "{} {}: {}\n",
        refusal.status.as_u16(),
        refusal.reason,
        refusal.message
    );
    // A stream that is gone by now needs no answer.
    if let Ok(mut send) = respond.send_response(response, false) {
        let _ = send.send_data(body.into(), true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_spent_by_faults_and_restored_by_good_conduct() {
        let budget = Budget::new(2);
        budget.charge();
        budget.charge();
        assert!(!budget.is_spent());
        budget.earn();
        budget.charge();
        budget.charge();
        assert!(budget.is_spent());
        let saint = Budget::new(1);
        (0..10).for_each(|_| saint.earn());
        saint.charge();
        saint.charge();
        assert!(
            saint.is_spent(),
            "good conduct is not saved up without limit"
        );
    }
}
