//! Holds back what is written to an HTTP/2 connection until a turn of its loop is over: the answers of a turn leave together.
//!
//! The h2 crate flushes behind every larger DATA frame and whenever it is asked for the next stream, which would be a TLS record
//! and a system call for each. Here a flush in the middle of a turn does nothing, and small writes are put together into whole
//! records. What is held is bounded: a record's worth here, and what TLS takes without the socket.

use super::frames::Frames;
use super::stream::{ClientStream, Prefixed};
use crate::clock::Instant;
use parking_lot::Mutex;
use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The most that a TLS record holds.
const RECORD: usize = 16 * 1024;
/// The pieces that h2 writes at once are a buffer and a frame's payload; what is held goes in front.
const SLICES: usize = 8;

thread_local! {
    /// An idle connection holds no buffer: whoever has something to hold borrows this one.
    static SPARE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A connection as h2 writes to it.
#[derive(Debug)]
pub struct Corked(Arc<Mutex<Held>>);

/// The loop's end of it.
#[derive(Debug)]
pub struct Cork(Arc<Mutex<Held>>);

/// Locked for the time of a call, by one task: the lock is never waited for.
#[derive(Debug)]
struct Held {
    stream: Prefixed<ClientStream>,
    /// What was read of it.
    read: Frames,
    text: Vec<u8>,
    holding: bool,
}

/// Both ends of a connection, which holds nothing back yet.
pub fn cork(stream: Prefixed<ClientStream>) -> (Corked, Cork) {
    let held = Arc::new(Mutex::new(Held {
        stream,
        read: Frames::new(),
        text: Vec::new(),
        holding: false,
    }));
    (Corked(Arc::clone(&held)), Cork(held))
}

impl Cork {
    /// From now on a flush by h2 does nothing.
    pub fn hold(&self) {
        self.0.lock().holding = true;
    }

    /// From now on it does.
    pub fn release(&self) {
        self.0.lock().holding = false;
    }

    /// Ends a turn: sends what is held, and says so where all of it has left. Since when a request's head is on its way that has
    /// not ended, where one is.
    pub fn end_turn(&self, cx: &mut Context<'_>, left: impl FnOnce()) -> Option<Instant> {
        let mut held = self.0.lock();
        // Where this fails, h2 finds out by its next read or write.
        if held.poll_flush(cx).is_ready() {
            left();
        }
        held.read.head_begun()
    }
}

impl Held {
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut written = 0;
        while let Some(rest) = self.text.get(written..).filter(|rest| !rest.is_empty()) {
            match self.stream.get_mut().poll_stage(cx, &[IoSlice::new(rest)]) {
                Poll::Ready(Ok(n)) => written += n,
                stopped => {
                    self.text.drain(..written);
                    return stopped.map_ok(drop);
                }
            }
        }
        if self.text.capacity() > 0 {
            self.text.clear();
            SPARE.set(std::mem::take(&mut self.text));
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn hold(&mut self, octets: &[u8]) {
        if self.text.capacity() == 0 {
            self.text = SPARE.take();
        }
        self.text.extend_from_slice(octets);
    }

    /// Passes on what is held and these together, as far as they make whole records; the rest is held.
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length = pieces.iter().map(|piece| piece.len()).sum::<usize>();
        loop {
            let total = self.text.len() + length;
            if total < RECORD {
                for piece in pieces {
                    self.hold(piece);
                }
                return Poll::Ready(Ok(length));
            }
            let whole = total - total % RECORD;
            let mut slices = [IoSlice::new(&[]); SLICES];
            let all = std::iter::once(&*self.text).chain(pieces.iter().map(|piece| &**piece));
            let mut left = whole;
            for (slice, piece) in slices.iter_mut().zip(all) {
                let part = piece.get(..left).unwrap_or(piece);
                *slice = IoSlice::new(part);
                left -= part.len();
            }
            let offered = whole - left;
            let n = ready!(self.stream.get_mut().poll_stage(cx, &slices))?;
            let Some(taken) = n.checked_sub(self.text.len()) else {
                self.text.drain(..n);
                continue;
            };
            self.text.clear();
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            if n < whole || offered < whole {
                if taken == 0 {
                    continue;
                }
                return Poll::Ready(Ok(taken));
            }
            let mut behind = taken;
            for piece in pieces {
                let skipped = behind.min(piece.len());
                behind -= skipped;
                self.hold(piece.get(skipped..).unwrap_or_default());
            }
            return Poll::Ready(Ok(length));
        }
    }
}

impl AsyncRead for Corked {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut held = self.0.lock();
        let before = buf.filled().len();
        let read = Pin::new(&mut held.stream).poll_read(cx, buf);
        held.read
            .follow(buf.filled().get(before..).unwrap_or_default());
        read
    }
}

impl AsyncWrite for Corked {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.lock().poll_write(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.lock().poll_write(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut held = self.0.lock();
        if held.holding {
            return Poll::Ready(Ok(()));
        }
        held.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut held = self.0.lock();
        ready!(held.poll_flush(cx))?;
        Pin::new(&mut held.stream).poll_shutdown(cx)
    }
}
