//! A connection for tests: what its client sends and in which pieces, how much it takes at a time, and what it got.

use bytes::{Buf, Bytes};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The edge's end of it.
#[derive(Debug)]
pub struct Scripted {
    /// A read gets one at most.
    pieces: VecDeque<Bytes>,
    got: Arc<Mutex<Vec<u8>>>,
    /// What a write takes at most.
    room: usize,
    /// Reads and writes that find nothing to do for now, taken in turns with those that do: whatever comes is surely dealt
    /// with before the next piece is there.
    read_paused: bool,
    write_paused: bool,
}

impl Scripted {
    /// A client that sends these pieces and then no more.
    pub fn new(pieces: impl IntoIterator<Item = Bytes>, room: usize) -> Self {
        Self {
            pieces: pieces.into_iter().collect(),
            got: Arc::default(),
            room,
            read_paused: false,
            write_paused: false,
        }
    }

    /// What it got by now.
    pub fn got(&self) -> Arc<Mutex<Vec<u8>>> {
        self.got.clone()
    }
}

/// Pending every other time. The waker is told at once.
fn pause(paused: &mut bool, cx: &Context<'_>) -> bool {
    *paused = !*paused;
    if *paused {
        cx.waker().wake_by_ref();
    }
    *paused
}

impl AsyncRead for Scripted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if pause(&mut self.read_paused, cx) {
            return Poll::Pending;
        }
        let Some(piece) = self.pieces.front_mut() else {
            return Poll::Ready(Ok(()));
        };
        let length = piece.len().min(buf.remaining());
        buf.put_slice(&piece.copy_to_bytes(length));
        if piece.is_empty() {
            self.pieces.pop_front();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Scripted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        // Whoever takes all of it never makes anybody wait.
        if buf.len() > self.room && pause(&mut self.write_paused, cx) {
            return Poll::Pending;
        }
        let taken = &buf[..buf.len().min(self.room)];
        self.got.lock().extend_from_slice(taken);
        Poll::Ready(Ok(taken.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
