//! Bytes on their way to a client: queued without a copy where that pays, written as fast as the client takes them.

use super::pace::{Pace, Terms};
use super::stream::Outlet;
use crate::arena::FileRange;
use bytes::{Buf, Bytes, BytesMut};
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use tokio::io::AsyncWrite;

/// Below this a copy into the tail costs less than an element of the queue and of the vectored write.
const COPY_BELOW: usize = 2 * 1024;
/// Slices given to one vectored write.
const SLICES: usize = 16;
/// Octets of files that are sent before others have their turn: a client that is quick would take a whole body at once.
const FILE_TURN: usize = 1024 * 1024;

/// A queue of bytes. The order is `queue`, then `tail`.
#[derive(Debug, Default)]
pub struct Outbox {
    queue: VecDeque<Item>,
    tail: BytesMut,
    len: usize,
    /// Those of them that lie in a file.
    in_files: usize,
    /// There from the first write that blocks until everything is written.
    stalled: Option<Box<Pace>>,
}

#[derive(Debug)]
enum Item {
    Octets(Bytes),
    File(FileRange),
}

impl Outbox {
    /// Bytes not yet written.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Those of them that this keeps in memory.
    pub fn held(&self) -> usize {
        self.len - self.in_files
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
        self.push_item(Item::Octets(bytes));
    }

    /// Appends a body's bytes that lie in a file. Where the kernel cannot send them to this client, they are read when
    /// their turn comes.
    pub fn push_file(&mut self, file: FileRange) {
        let Ok(length @ 1..) = usize::try_from(file.length()) else {
            return;
        };
        self.len += length;
        self.in_files += length;
        self.push_item(Item::File(file));
    }

    fn push_item(&mut self, item: Item) {
        if !self.tail.is_empty() {
            self.queue
                .push_back(Item::Octets(self.tail.split().freeze()));
        }
        self.queue.push_back(item);
    }

    /// Gives an idle connection's buffers back.
    pub fn release(&mut self) {
        debug_assert!(
            self.is_empty(),
            "only an idle connection's outbox is released"
        );
        *self = Self::default();
    }

    /// Writes until nothing is left. Fails with `TimedOut` when the client takes nothing, or too little, for longer than
    /// `patience`.
    pub fn poll_write<'p>(
        &mut self,
        io: &mut impl Outlet,
        patience: impl Into<Terms<'p>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let files_before = self.in_files;
        while self.len > 0 {
            let turn = FILE_TURN.saturating_sub(files_before - self.in_files);
            if turn == 0 && self.in_files > 0 {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            match self.poll_write_some(io, turn, cx) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(n)) => {
                    self.consume(n);
                    if let Some(pace) = &mut self.stalled {
                        pace.moved(n);
                    }
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return self.poll_stalled(patience.into(), cx),
            }
        }
        // TLS takes bytes that the socket does not: what is queued there must move too.
        match Pin::new(io).poll_flush(cx) {
            Poll::Ready(flushed) => {
                self.stalled = None;
                Poll::Ready(flushed)
            }
            Poll::Pending => self.poll_stalled(patience.into(), cx),
        }
    }

    /// Nothing moves: pending until the client's time is up.
    fn poll_stalled(&mut self, patience: Terms<'_>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let pace = self.stalled.get_or_insert_default();
        ready!(pace.poll(patience, cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    fn poll_write_some(
        &mut self,
        io: &mut impl Outlet,
        turn: usize,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if let Some(Item::File(file)) = self.queue.front() {
            match io.poll_send_file(file, turn, cx) {
                Some(sent) => return sent,
                None => self.read_front()?,
            }
        }
        if self.queue.is_empty() {
            return Pin::new(io).poll_write(cx, &self.tail);
        }
        let mut slices = [IoSlice::new(&[]); SLICES];
        let mut used = 0;
        let mut octets = self.queue.iter().map_while(Item::octets);
        for (slice, bytes) in slices.iter_mut().zip(&mut octets) {
            *slice = IoSlice::new(bytes);
            used += 1;
        }
        if let (1, Some(Item::File(_))) = (used, self.queue.get(1)) {
            return io.poll_write_more(&slices[0], cx);
        }
        if used == self.queue.len() && used < SLICES && !self.tail.is_empty() {
            slices[used] = IoSlice::new(&self.tail);
            used += 1;
        }
        pin!(io).poll_write_vectored(cx, &slices[..used])
    }

    /// Reads a piece of the file in front, to stand before the rest of it.
    fn read_front(&mut self) -> io::Result<()> {
        let Some(Item::File(mut file)) = self.queue.pop_front() else {
            return Ok(());
        };
        let piece = file.read()?;
        self.in_files -= piece.len();
        file.advance(piece.len() as u64);
        if !file.is_empty() {
            self.queue.push_front(Item::File(file));
        }
        self.queue.push_front(Item::Octets(piece));
        Ok(())
    }

    fn consume(&mut self, mut n: usize) {
        self.len -= n;
        while n > 0 {
            let left = match self.queue.front_mut() {
                None => {
                    self.tail.advance(n);
                    return;
                }
                Some(Item::Octets(bytes)) => {
                    let taken = n.min(bytes.len());
                    bytes.advance(taken);
                    n -= taken;
                    bytes.len()
                }
                Some(Item::File(file)) => {
                    // The kernel takes no more than it was given.
                    self.in_files -= n;
                    file.advance(n as u64);
                    n = 0;
                    usize::from(!file.is_empty())
                }
            };
            if left > 0 {
                return;
            }
            self.queue.pop_front();
        }
    }
}

impl Item {
    fn octets(&self) -> Option<&[u8]> {
        match self {
            Self::Octets(bytes) => Some(bytes),
            Self::File(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::crowd::Place;
    use super::super::lifecycle::Lifecycle;
    use super::super::stream::ClientStream;
    use super::super::tcp::Socket;
    use super::*;
    use crate::arena::Arena;
    use crate::listen::pace::Patience;
    use proptest::prelude::*;
    use std::future::poll_fn;
    use std::time::Duration;
    use tokio::io::{AsyncReadExt, DuplexStream};
    use tokio::net::{TcpListener, TcpSocket};

    impl Outlet for DuplexStream {
        fn poll_send_file(
            &mut self,
            _: &FileRange,
            _: usize,
            _: &mut Context<'_>,
        ) -> Option<Poll<io::Result<usize>>> {
            None
        }

        fn poll_write_more(
            &mut self,
            octets: &[u8],
            cx: &mut Context<'_>,
        ) -> Poll<io::Result<usize>> {
            Pin::new(self).poll_write(cx, octets)
        }
    }

    /// Queues pieces of all kinds, and says what is to come out. The pieces of an arena begin in the middle of a range.
    fn fill(outbox: &mut Outbox, pieces: Vec<(u8, usize)>) -> Vec<u8> {
        let arena = Arena::new().expect("the system has such files");
        let mut expected = Vec::new();
        for (i, (kind, len)) in (0..=u8::MAX).cycle().zip(pieces) {
            let octets: Bytes = (0..=250).cycle().take(len).map(|at: u8| at ^ i).collect();
            expected.extend_from_slice(&octets);
            match kind {
                0 => outbox.copy(&octets),
                1 => outbox.push(octets),
                _ => {
                    let all = [Bytes::from_static(b"before"), octets, "behind".into()];
                    let length = len as u64 + 12;
                    let stored = arena.store(all.into_iter(), length, ());
                    outbox.push_file(stored.expect("there is memory").slice(6..length - 6));
                }
            }
        }
        expected
    }

    async fn written(outbox: &mut Outbox, io: &mut impl Outlet) {
        let written = poll_fn(|cx| outbox.poll_write(io, Duration::from_secs(30), cx));
        written.await.expect("somebody reads");
        assert_eq!((outbox.len(), outbox.held()), (0, 0));
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out_in_order(pieces in proptest::collection::vec((0u8..3, 0usize..5000), 0..20)) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("runtime");
            runtime.block_on(async {
                let (mut near, mut far) = tokio::io::duplex(700);
                let mut outbox = Outbox::default();
                let expected = fill(&mut outbox, pieces);
                let writing = async {
                    written(&mut outbox, &mut near).await;
                    drop(near);
                };
                let mut read = Vec::new();
                let ((), result) = tokio::join!(writing, far.read_to_end(&mut read));
                result.expect("read");
                assert_eq!(read, expected);
            });
        }
    }

    /// The same through a socket that takes little at once: the kernel is asked again, for the rest.
    #[tokio::test]
    async fn the_kernel_sends_what_lies_in_a_file() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let near = TcpSocket::new_v4().expect("a socket");
        near.set_send_buffer_size(8192).expect("it is open");
        let addr = listener.local_addr().expect("it is bound");
        let near = near.connect(addr).await.expect("it listens");
        let (mut far, _) = listener.accept().await.expect("it connects");
        let place = Place::nobodys(Lifecycle::new());
        let mut near = ClientStream::Tcp(Socket::new(near, &place));
        let mut outbox = Outbox::default();
        let (file, head) = (3 * FILE_TURN + 1, (0, 200));
        let pieces = vec![
            head,
            (2, file),
            head,
            (2, 3),
            (2, 70_000),
            (1, 9000),
            head,
            head,
            (2, 1),
        ];
        let expected = fill(&mut outbox, pieces);
        assert_eq!(outbox.held(), 9000 + 4 * 200);
        let writing = async {
            written(&mut outbox, &mut near).await;
            drop(near);
        };
        let mut read = Vec::new();
        let ((), result) = tokio::join!(writing, far.read_to_end(&mut read));
        result.expect("read");
        assert!(read == expected);
        let turns = file / FILE_TURN;
        assert!(place.moves() as usize > turns, "its place has noticed");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_given_up() {
        let (mut near, _far) = tokio::io::duplex(1);
        let mut outbox = Outbox::default();
        outbox.copy(b"more than one byte");
        let error = poll_fn(|cx| outbox.poll_write(&mut near, Duration::from_secs(30), cx)).await;
        assert_eq!(
            error.expect_err("nobody reads").kind(),
            io::ErrorKind::TimedOut
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_an_octet_at_a_time_is_given_up_too() {
        let (mut near, mut far) = tokio::io::duplex(1);
        let mut outbox = Outbox::default();
        outbox.copy(&[0; 1_000]);
        let patience = Patience {
            silence: Duration::from_secs(30),
            rate: 10,
        };
        let reads = async {
            let mut read = 0;
            while far.read_u8().await.is_ok() {
                read += 1;
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            read
        };
        let writes = async {
            let written = poll_fn(|cx| outbox.poll_write(&mut near, patience, cx)).await;
            drop(near);
            written
        };
        let (read, written) = tokio::join!(reads, writes);
        let error = written.expect_err("too little is read");
        assert_eq!((error.kind(), read / 10), (io::ErrorKind::TimedOut, 3));
    }
}
