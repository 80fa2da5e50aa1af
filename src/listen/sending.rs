//! The sending of an answer that was given at once to a stream of HTTP/2: whole where the client has room for it, else as it makes room.

use super::crowd::Place;
use super::exchange::http2::Http2;
use super::pace::Patience;
use super::reply::Reply;
use crate::clock::Instant;
use crate::telemetry::access_log::AccessEntry;
use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// An answer that waits for the client's window.
#[derive(Debug)]
pub struct Sending {
    stream: Http2,
    entry: Option<(Box<AccessEntry>, Instant)>,
}

/// How an answer ended.
#[derive(Debug)]
pub struct Sent {
    /// For the access log, with when the request came.
    pub entry: Option<(Box<AccessEntry>, Instant)>,
    /// Whether all of it was given to h2, as far as the client's window let it out.
    pub outcome: io::Result<()>,
}

/// What came of a beginning.
pub enum Begun {
    /// The end as well.
    Whole(Sent),
    /// The client has no room for all of it yet.
    Waits(Box<Sending>),
}

impl Sending {
    /// Sends the head, and the body where there is room for it.
    pub fn begin(
        reply: Reply,
        body: RecvStream,
        mut respond: SendResponse<Bytes>,
        arrived: Instant,
        (patience, place): (Patience, &Place),
    ) -> Begun {
        let Reply {
            head,
            first,
            rest,
            entry,
        } = reply;
        let entry = entry.map(|entry| (entry, arrived));
        let broken = |error: h2::Error| io::Error::other(error);
        let mut send = match respond.send_response(head, first.is_empty()) {
            Ok(send) => send,
            Err(error) => {
                let outcome = Err(broken(error));
                return Begun::Whole(Sent { entry, outcome });
            }
        };
        if first.is_empty() {
            let outcome = Ok(());
            return Begun::Whole(Sent { entry, outcome });
        }
        if rest.is_empty() {
            send.reserve_capacity(first.len());
            if send.capacity() >= first.len() {
                let outcome = send.send_data(first, true).map_err(broken);
                return Begun::Whole(Sent { entry, outcome });
            }
        }
        let pieces = std::iter::once(first).chain(rest);
        Begun::Waits(Box::new(Self {
            stream: Http2::answering(body, respond, send, pieces, (patience, place.clone())),
            entry,
        }))
    }
}

impl Future for Sending {
    type Output = Sent;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Sent> {
        let outcome = ready!(self.stream.poll_flush(cx));
        if outcome.is_err() {
            self.stream.reset(Reason::CANCEL);
        }
        let entry = self.entry.take();
        Poll::Ready(Sent { entry, outcome })
    }
}
