//! Bytes on their way to a client: queued without a copy where that pays, written as fast as the client takes them.

use bytes::{Buf, Bytes, BytesMut};
use std::collections::VecDeque;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::AsyncWrite;
use tokio::time::Sleep;

/// Below this a copy into the tail costs less than an element of the queue and of the vectored write.
const COPY_BELOW: usize = 2 * 1024;
/// Slices given to one vectored write.
const SLICES: usize = 16;

/// A queue of bytes. The order is `queue`, then `tail`.
#[derive(Debug, Default)]
pub struct Outbox {
    queue: VecDeque<Bytes>,
    tail: BytesMut,
    len: usize,
    /// Runs while the client takes nothing; armed by the first write that blocks, disarmed by progress.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Outbox {
    /// Bytes not yet written.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether everything is written.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends by copying; for heads and chunk framing.
    pub fn copy(&mut self, bytes: &[u8]) {
        self.len += bytes.len();
        self.tail.extend_from_slice(bytes);
    }

    /// Appends what `write` adds to the buffer; for heads.
    pub fn write_with(&mut self, write: impl FnOnce(&mut BytesMut)) {
        let before = self.tail.len();
        write(&mut self.tail);
        self.len += self.tail.len() - before;
    }

    /// Appends a body's bytes, sharing them when they are many.
    pub fn push(&mut self, bytes: Bytes) {
        if bytes.len() < COPY_BELOW {
            return self.copy(&bytes);
        }
        self.len += bytes.len();
        if !self.tail.is_empty() {
            self.queue.push_back(self.tail.split().freeze());
        }
        self.queue.push_back(bytes);
    }

    /// Gives an idle connection's buffers back.
    pub fn release(&mut self) {
        debug_assert!(
            self.is_empty(),
            "only an idle connection's outbox is released"
        );
        *self = Self::default();
    }

    /// Writes until nothing is left. Fails with `TimedOut` when the client takes nothing for `patience`.
    pub fn poll_write(
        &mut self,
        io: &mut (impl AsyncWrite + Unpin),
        patience: Duration,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while self.len > 0 {
            match self.poll_write_some(io, cx) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(n)) => {
                    self.consume(n);
                    self.stalled = None;
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    let stalled = self
                        .stalled
                        .get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
                    ready!(stalled.as_mut().poll(cx));
                    return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                }
            }
        }
        self.stalled = None;
        Pin::new(io).poll_flush(cx)
    }

    fn poll_write_some(
        &self,
        io: &mut (impl AsyncWrite + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if self.queue.is_empty() {
            return Pin::new(io).poll_write(cx, &self.tail);
        }
        let mut slices = [IoSlice::new(&[]); SLICES];
        let mut used = 0;
        let tail = Some(&self.tail[..]).filter(|tail| !tail.is_empty());
        for (slice, bytes) in slices
            .iter_mut()
            .zip(self.queue.iter().map(|bytes| &bytes[..]).chain(tail))
        {
            *slice = IoSlice::new(bytes);
            used += 1;
        }
        pin!(io).poll_write_vectored(cx, &slices[..used])
    }

    fn consume(&mut self, mut n: usize) {
        self.len -= n;
        while n > 0 {
            let Some(front) = self.queue.front_mut() else {
                self.tail.advance(n);
                return;
            };
            if n < front.len() {
                front.advance(n);
                return;
            }
            n -= front.len();
            self.queue.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tokio::io::AsyncReadExt;

    proptest! {
        #[test]
        fn what_goes_in_comes_out_in_order(pieces in proptest::collection::vec((any::<bool>(), 0usize..5000), 0..20)) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("runtime");
            runtime.block_on(async {
                let (mut near, mut far) = tokio::io::duplex(700);
                let (mut outbox, mut expected) = (Outbox::default(), Vec::new());
                for (i, (copied, len)) in pieces.into_iter().enumerate() {
                    let bytes = vec![u8::try_from(i).unwrap_or(0); len];
                    expected.extend_from_slice(&bytes);
                    if copied { outbox.copy(&bytes) } else { outbox.push(bytes.into()) }
                }
                let writing = async {
                    std::future::poll_fn(|cx| outbox.poll_write(&mut near, Duration::from_secs(1), cx)).await.expect("written");
                    drop(near);
                };
                let mut read = Vec::new();
                let ((), result) = tokio::join!(writing, far.read_to_end(&mut read));
                result.expect("read");
                assert_eq!(read, expected);
            });
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_given_up() {
        let (mut near, _far) = tokio::io::duplex(1);
        let mut outbox = Outbox::default();
        outbox.copy(b"more than one byte");
        let error =
            std::future::poll_fn(|cx| outbox.poll_write(&mut near, Duration::from_secs(30), cx))
                .await;
        assert_eq!(
            error.expect_err("nobody reads").kind(),
            io::ErrorKind::TimedOut
        );
    }
}
