//! The early part of a connection's loop: answers what the handler has ready, before anything is made of the request.
//!
//! Reads land in the thread's buffer and are recognised there ([`canonical`]); the answers are written from the thread's burst. What
//! is not recognised, or not ready, is left in the inbox, octet by octet as it came, where the gate finds it: nothing was taken from it,
//! so there is no way for a part of one request to become a part of another.

use super::burst::Burst;
use super::exchange::http1::Http1;
use super::gate::canonical::{self, LINES_MAX};
use super::idle::{Idle, Over};
use super::lifecycle::CROWDED;
use super::stream::Client;
use super::{Handler, Shared};
use crate::clock::{self, Instant};
use crate::telemetry::access_log::AccessEntry;
use bytes::Buf;
use std::cell::RefCell;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What one read asks for.
const READ_AT_MOST: usize = 16 * 1024;

/// What is to be done next with a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// The inbox holds what the gate has to judge.
    Gate,
    /// Something is left for the client to take. Where that was the last answer, the connection ends behind it.
    Flush,
    /// The client left, was idle for too long, made room for others, or a drain began.
    Over,
    /// It cannot be written to.
    Broken,
}

/// An answer that was given at once.
#[derive(Debug)]
pub struct Given {
    /// For the access log, where that is on: all but how it ends.
    pub entry: Option<Box<AccessEntry>>,
}

/// What the handler is told besides the request.
#[derive(Debug, Clone, Copy)]
pub struct Circumstances<'a> {
    /// Who asks.
    pub client: &'a Client,
    /// When the request was read.
    pub arrived: Instant,
    /// Whether the connection ends behind the answer.
    pub close: bool,
    /// Whether the access log wants an entry.
    pub logged: bool,
}

/// The early part of one connection.
#[derive(Debug)]
pub struct AtOnce {
    idle: Idle,
    /// Of answers that are not all written.
    entries: Vec<(Box<AccessEntry>, Instant)>,
    /// Whether the connection ends behind what was answered.
    close: bool,
}

struct Buffers {
    scratch: Box<[u8]>,
    burst: Burst,
}

thread_local! {
    /// Shared by the thread's connections: each is done with it before another has its turn.
    static BUFFERS: RefCell<Buffers> = RefCell::new(Buffers {
        scratch: vec![0; READ_AT_MOST].into(),
        burst: Burst::default(),
    });
}

impl AtOnce {
    /// That of a connection which has been as patient as this by now.
    pub fn new(idle: Idle) -> Self {
        Self {
            idle,
            entries: Vec::new(),
            close: false,
        }
    }

    /// The connection has been used, for something that took as long as it took.
    pub fn touch(&mut self, now: Instant) {
        self.idle.touch(now);
    }

    /// Resolves where others need the place of a connection that has begun a head and does not end it.
    pub fn poll_crowded(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.idle.poll_crowded(cx)
    }

    /// Whether the connection ends behind what was answered.
    pub fn closes(&self) -> bool {
        self.close
    }

    /// The entries of what has been written by now, each with when its request came.
    pub fn take_entries(&mut self) -> Vec<(Box<AccessEntry>, Instant)> {
        std::mem::take(&mut self.entries)
    }

    /// Answers what can be answered at once, until there is something else to do.
    pub fn poll<H: Handler>(
        &mut self,
        connection: &mut Http1,
        client: &Client,
        shared: &Shared,
        handler: &H,
        cx: &mut Context<'_>,
    ) -> Poll<Next> {
        BUFFERS.with_borrow_mut(|Buffers { scratch, burst }| {
            // A panic in the middle of an answer ends its connection, and leaves here what was made of the answer.
            burst.clear();
            loop {
                if connection.inbox.is_empty() {
                    let mut read = ReadBuf::new(scratch);
                    match Pin::new(&mut connection.io).poll_read(cx, &mut read) {
                        Poll::Pending => {
                            let limit = shared.limits.load().idle_timeout;
                            return self.idle.poll(limit, cx).map(|over| {
                                if over == Over::Crowded {
                                    shared.metrics.refused(CROWDED);
                                }
                                Next::Over
                            });
                        }
                        Poll::Ready(Err(_)) => return Poll::Ready(Next::Over),
                        Poll::Ready(Ok(())) if read.filled().is_empty() => {
                            return Poll::Ready(Next::Over);
                        }
                        Poll::Ready(Ok(())) => {}
                    }
                    let read = read.filled();
                    let taken = self.answer(read, burst, client, shared, handler);
                    let rest = read.get(taken..).unwrap_or_default();
                    connection.inbox.extend_from_slice(rest);
                } else {
                    let taken = self.answer(&connection.inbox, burst, client, shared, handler);
                    if taken == 0 {
                        return Poll::Ready(Next::Gate);
                    }
                    connection.inbox.advance(taken);
                    if connection.inbox.is_empty() {
                        // An idle connection holds no buffer.
                        connection.inbox = bytes::BytesMut::new();
                    }
                }
                if burst.is_empty() {
                    return Poll::Ready(Next::Gate);
                }
                if burst
                    .poll_write(&mut connection.io, &mut connection.outbox, cx)
                    .is_err()
                {
                    return Poll::Ready(Next::Broken);
                }
                // TLS takes octets that the socket does not.
                let flushed = Pin::new(&mut connection.io).poll_flush(cx).is_ready();
                let whole = flushed && connection.outbox.is_empty();
                if !whole || self.close || !self.entries.is_empty() {
                    return Poll::Ready(Next::Flush);
                }
            }
        })
    }

    /// Answers as many requests at the beginning of `bytes` as can be, and says how many octets they were.
    fn answer<H: Handler>(
        &mut self,
        bytes: &[u8],
        burst: &mut Burst,
        client: &Client,
        shared: &Shared,
        handler: &H,
    ) -> usize {
        let arrived = clock::now();
        self.idle.touch(arrived);
        let limits = shared.limits.load();
        let logged = shared.access_log.is_enabled();
        let mut taken = 0;
        while !self.close && !burst.is_full() {
            let rest = bytes.get(taken..).unwrap_or_default();
            let mut lines = [MaybeUninit::uninit(); LINES_MAX];
            let Some(asked) = canonical::read(rest, &mut lines, &limits) else {
                break;
            };
            let (length, persistent) = (asked.length, asked.persistent);
            let circumstances = Circumstances {
                client,
                arrived,
                close: !persistent || shared.lifecycle.is_draining(),
                logged,
            };
            let Some(given) = handler.at_once(asked, &circumstances, burst) else {
                break;
            };
            self.entries
                .extend(given.entry.map(|entry| (entry, arrived)));
            self.close = circumstances.close;
            taken += length;
        }
        taken
    }
}

#[cfg(test)]
#[path = "at_once_tests.rs"]
mod tests;
