//! Serves one HTTP/2 connection: accepts its streams, counts what it does wrong, and ends it in time.
//!
//! The loop is ours, on the h2 crate: Pingora's would overwrite `Date`, drop interim responses, and give its budget of
//! malformed requests anew with each call.

use super::at_once::Circumstances;
use super::backlog::Streams;
use super::cork::{Cork, Corked, cork};
use super::crowd::Place;
use super::exchange::http2::Http2;
use super::exchange::ticket::Ticket;
use super::exchange::{Exchange, Slot, Wire};
use super::fault::{self, Fault};
use super::frames::Late;
use super::gate::{self, Refusal, refusals};
use super::lifecycle::CROWDED;
use super::rouse::Rouse;
use super::sending::{Begun, Sending, Sent};
use super::settings::LimitSettings;
use super::stream::{Client, ClientStream, Prefixed};
use super::turns::Turns;
use super::under_way::UnderWay;
use super::{Handler, Shared, record};
use crate::clock::{self, Instant};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use h2::server::{Connection, SendResponse};
use h2::{Reason, RecvStream};
use http::{Request, Response};
use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::time::timeout;

/// The window that a stream's request body may fill before it is read.
const STREAM_WINDOW: u32 = 256 * 1024;
/// The same for all streams of a connection together.
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// What h2 may hold of answers beyond what a stream's window lets out.
const SEND_BUFFER: usize = 64 * 1024;
/// How often a turn goes on because of what happened in it.
const ROUNDS: usize = 8;
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
struct About<H> {
    client: Arc<Client>,
    shared: Arc<Shared>,
    handler: H,
    budget: Arc<Budget>,
    under_way: UnderWay,
    backlog: Streams,
    /// What is known of its client's other connections.
    place: Place,
    /// Answers that were given at once and wait for the client's window.
    sending: FuturesUnordered<Box<Sending>>,
    /// Since when a request's head is on its way that has not ended.
    head_begun: Option<Instant>,
    rouse: Arc<Rouse>,
    /// That of `rouse`.
    waker: Waker,
    turns: Turns,
}

/// Serves the connection. `inbox` is what was already read of it, `place` what is known of its client's others.
pub async fn serve<H: Handler>(
    stream: ClientStream,
    inbox: BytesMut,
    place: Place,
    client: Arc<Client>,
    shared: Arc<Shared>,
    handler: H,
) {
    let limits = shared.limits.load_full();
    let faults = usize::try_from(limits.http2_faults).unwrap_or(usize::MAX);
    let (corked, cork) = cork(Prefixed::new(inbox, stream));
    let handshake = h2::server::Builder::new()
        .max_concurrent_streams(limits.http2_streams)
        .max_header_list_size(u32::try_from(limits.head.bytes()).unwrap_or(u32::MAX))
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(SEND_BUFFER)
        .max_concurrent_reset_streams(faults)
        .max_local_error_reset_streams(Some(faults))
        .max_pending_accept_reset_streams(faults.min(20))
        .handshake(corked);
    let mut connection = match timeout(limits.handshake_timeout, handshake).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => {
            if let Some(fault) = Fault::of(&error) {
                fault::ended(&shared, &client, fault);
            }
            return;
        }
        Err(_) => return,
    };
    let rouse = Arc::new(Rouse::default());
    let mut late = Late::default();
    let mut about = About {
        client,
        shared: shared.clone(),
        handler,
        budget: Arc::new(Budget::new(limits.http2_faults)),
        under_way: UnderWay::new(shared.lifecycle.under_way()),
        backlog: Streams::new(shared.lifecycle.held()),
        place: place.clone(),
        sending: FuturesUnordered::new(),
        head_begun: None,
        waker: Waker::from(Arc::clone(&rouse)),
        turns: Turns::new(Waker::from(Arc::clone(&rouse))),
        rouse,
    };

    let mut ending = false;
    let mut unread = false;
    let mut asked = clock::now();
    // Woken where its place is needed.
    let mut seat = None;
    let idle = tokio::time::sleep(limits.idle_timeout);
    let draining = shared.lifecycle.draining();
    tokio::pin!(idle, draining);
    cork.hold();
    loop {
        let next = poll_fn(|cx| {
            match about.poll_turn(&mut connection, &cork, cx) {
                Turn::Over(fault) => return Poll::Ready(Next::Over(fault)),
                Turn::Spent => return Poll::Ready(Next::Spent),
                Turn::Quiet => {}
                Turn::Asked(at) => {
                    unread = false;
                    asked = at;
                    idle.as_mut().reset(at + limits.idle_timeout);
                }
            }
            if late
                .poll(about.head_begun, limits.head_timeout, cx)
                .is_ready()
            {
                return Poll::Ready(Next::Late);
            }
            if idle.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Next::Idle);
            }
            if !ending && draining.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Next::Drain);
            }
            // A task has one waker all its life.
            seat.get_or_insert_with(|| shared.lifecycle.sit(cx.waker().clone()));
            if !ending && place.is_to_go() && !about.is_busy() && !connection.has_streams() {
                let quiet = place.is_to_go_after(asked, clock::now());
                return if quiet {
                    Poll::Ready(Next::Crowded)
                } else {
                    Poll::Pending
                };
            }
            Poll::Pending
        });
        match next.await {
            Next::Idle if about.is_busy() => {
                idle.as_mut().reset(clock::now() + limits.idle_timeout);
            }
            Next::Idle if connection.has_streams() && !ending && !unread => {
                // Every answer was given to h2; the client has as long again to take what is left of them.
                unread = true;
                idle.as_mut().reset(clock::now() + limits.idle_timeout);
            }
            Next::Idle if ending || unread => break,
            Next::Idle | Next::Drain => {
                ending = true;
                connection.graceful_shutdown();
                idle.as_mut().reset(clock::now() + GOAWAY_PATIENCE);
            }
            Next::Crowded => {
                shared.metrics.refused(CROWDED);
                ending = true;
                connection.graceful_shutdown();
                idle.as_mut().reset(clock::now() + GOAWAY_PATIENCE);
            }
            Next::Spent => {
                fault::ended(&shared, &about.client, fault::SPENT);
                cork.release();
                calm(&mut connection).await;
                break;
            }
            Next::Late => {
                record::refused_http2(&shared, &about.client, refusals::HEAD_TIMEOUT);
                cork.release();
                calm(&mut connection).await;
                break;
            }
            Next::Over(fault) => {
                if let Some(fault) = fault {
                    fault::ended(&shared, &about.client, fault);
                }
                break;
            }
        }
    }
    // Whoever is still sending finds its stream gone.
    drop(connection);
    while let Some(sent) = about.sending.next().await {
        about.sent(sent);
    }
}

/// Ends a connection that did too much wrong.
async fn calm(connection: &mut Connection<Corked, Bytes>) {
    connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
    let _ = timeout(GOAWAY_PATIENCE, poll_fn(|cx| connection.poll_closed(cx))).await;
}

/// What is to be done next with a connection.
enum Next {
    /// Nothing was asked for a while.
    Idle,
    /// A drain began.
    Drain,
    /// Others need its place.
    Crowded,
    /// It did too much wrong.
    Spent,
    /// A head did not end in time. Streams that are under way end with it: nothing of theirs may come in between.
    Late,
    /// It has ended, for this where its client is to blame.
    Over(Option<Fault>),
}

/// What a turn of the loop brought.
enum Turn {
    /// Requests, at this time.
    Asked(Instant),
    /// None.
    Quiet,
    /// More faults than are forgiven.
    Spent,
    /// The end of the connection, for this where its client is to blame.
    Over(Option<Fault>),
}

impl<H: Handler> About<H> {
    /// Whether answers are under way.
    fn is_busy(&self) -> bool {
        self.under_way.is_busy() || !self.sending.is_empty()
    }

    /// Takes the requests that came, answers those that can be answered at once, and sends what all this made.
    fn poll_turn(
        &mut self,
        connection: &mut Connection<Corked, Bytes>,
        cork: &Cork,
        cx: &mut Context<'_>,
    ) -> Turn {
        let mut arrived = None;
        let mut rounds = 0;
        let waker = self.waker.clone();
        let inner = &mut Context::from_waker(&waker);
        loop {
            self.rouse.begin(cx.waker());
            match connection.poll_accept(inner) {
                Poll::Ready(Some(Ok((request, respond)))) => {
                    let arrived = *arrived.get_or_insert_with(clock::now);
                    self.accept(request, respond, arrived);
                }
                Poll::Ready(Some(Err(error))) => {
                    self.rouse.leave();
                    return Turn::Over(Fault::of(&error));
                }
                Poll::Ready(None) => {
                    self.rouse.leave();
                    return Turn::Over(None);
                }
                Poll::Pending => match self.sending.poll_next_unpin(inner) {
                    Poll::Ready(Some(sent)) => self.sent(sent),
                    Poll::Ready(None) | Poll::Pending if self.rouse.end() => break,
                    Poll::Ready(None) | Poll::Pending if rounds < ROUNDS => rounds += 1,
                    Poll::Ready(None) | Poll::Pending => {
                        // The runtime may have said that it is others' turn.
                        self.rouse.leave();
                        cx.waker().wake_by_ref();
                        break;
                    }
                },
            }
            if self.budget.is_spent() {
                self.rouse.leave();
                return Turn::Spent;
            }
        }
        self.head_begun = cork.end_turn(inner, || self.turns.ended());
        arrived.map_or(Turn::Quiet, Turn::Asked)
    }

    /// Gates a stream's request, and answers it: at once, or in a task of its own.
    fn accept(
        &mut self,
        request: Request<RecvStream>,
        respond: SendResponse<Bytes>,
        arrived: Instant,
    ) {
        let (mut parts, body) = request.into_parts();
        let limits = self.shared.limits.load();
        let judged = match gate::http2::judge(&parts, body.is_end_stream(), &limits) {
            Ok(judged) => judged,
            Err(refusal) => return self.refuse(respond, refusal),
        };
        if let Some(asked) = judged.at_once(&mut parts) {
            let circumstances = Circumstances {
                client: &self.client,
                arrived,
                close: false,
                logged: self.shared.access_log.is_enabled(),
            };
            if let Some(reply) = self.handler.at_once_http2(asked, &circumstances) {
                let patience = (limits.writing(), &self.place);
                drop(limits);
                match Sending::begin(reply, body, respond, arrived, patience) {
                    Begun::Whole(sent) => self.sent(sent),
                    Begun::Waits(sending) => self.sending.push(sending),
                }
                return;
            }
        }
        match judged.into_request(&parts) {
            Ok(request) => self.hand_over(request, body, respond, &limits),
            Err(refusal) => self.refuse(respond, refusal),
        }
    }

    /// An answer that was given at once is sent, or will not be.
    fn sent(&self, sent: Sent) {
        if sent.outcome.is_ok() {
            self.budget.earn();
        } else {
            // The client reset the stream or let its window shut: what rapid resets are made of.
            self.budget.charge();
        }
        record::given(
            &self.shared,
            sent.entry.into_iter().collect(),
            0,
            sent.outcome.as_ref().err(),
        );
    }

    /// Answers in a task of its own, by way of the proxy.
    fn hand_over(
        &self,
        request: gate::Request,
        body: RecvStream,
        mut respond: SendResponse<Bytes>,
        limits: &LimitSettings,
    ) {
        let Some(running) = self.under_way.begin(limits.connections) else {
            fault::crowded(&self.shared, &self.client);
            // The client knows that it may repeat it (RFC 9113 §8.7).
            return respond.send_reset(Reason::REFUSED_STREAM);
        };
        let wire = Box::new(Wire::Http2(Http2::new(
            body,
            respond,
            &request,
            self.backlog.clone(),
            (limits.writing(), self.place.clone()),
        )));
        let ticket = Arc::new(Ticket::new(
            self.client.clone(),
            request.host.clone(),
            limits,
            self.shared.access_log.is_enabled(),
        ));
        let slot = Slot::default();
        // In a box from the beginning: the task has room for what lives in it, however short.
        let exchange = Box::new(Exchange::new(
            request,
            wire,
            slot.clone(),
            ticket.clone(),
            self.shared.lifecycle.clone(),
        ));
        let (shared, handler) = (self.shared.clone(), self.handler.clone());
        let (budget, turns) = (self.budget.clone(), self.turns.clone());
        tokio::spawn(async move {
            handler.handle(exchange).await;
            let Some(mut wire) = slot.lock().take() else {
                return;
            };
            let Wire::Http2(stream) = wire.as_mut() else {
                return;
            };
            let flushed = poll_fn(|cx| stream.poll_flush(cx)).await;
            let complete = stream.response_is_complete();
            record::finished(&shared, &ticket, complete, 0, flushed.as_ref().err());
            if flushed.is_err() {
                // The client reset the stream or let its window shut: what rapid resets are made of.
                budget.charge();
                stream.reset(Reason::CANCEL);
            } else if complete {
                // Where the body was not read to its end, dropping the stream tells the client so (RFC 9113 §8.1).
                budget.earn();
            } else {
                // What came of an answer that broke off is the client's.
                turns.whole().await;
                stream.reset(Reason::INTERNAL_ERROR);
                budget.charge();
            }
            drop(running);
        });
    }

    /// Answers a stream that was refused.
    fn refuse(&self, respond: SendResponse<Bytes>, refusal: Refusal) {
        self.budget.charge();
        record::refused_http2(&self.shared, &self.client, refusal);
        refuse(respond, refusal);
    }
}

/// Says why a stream was refused.
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
