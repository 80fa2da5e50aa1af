//! Answers that are ready all at once: written from the thread's own buffers, so that a connection holds none while its client
//! takes what it asked for.

use super::outbox::Outbox;
use crate::arena::FileRange;
use bytes::Bytes;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::AsyncWrite;

/// Below this a copy costs less than one more slice of a vectored write.
const COPY_BELOW: usize = 2 * 1024;
/// Slices given to one vectored write.
const SLICES: usize = 32;
/// No more answers are begun behind so many octets.
const FULL: usize = 64 * 1024;

/// The answers to what one read brought.
#[derive(Debug, Default)]
pub struct Burst {
    /// Heads, and what is small.
    text: Vec<u8>,
    /// What is shared, each behind so many octets of the text.
    shared: Vec<(usize, Bytes)>,
    /// Behind all of it, what the kernel sends by itself.
    file: Option<FileRange>,
    len: usize,
}

impl Burst {
    /// Octets in it.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether it should be written before more is added.
    pub fn is_full(&self) -> bool {
        self.len >= FULL || self.file.is_some()
    }

    /// Appends by copying.
    pub fn copy(&mut self, octets: &[u8]) {
        self.text.extend_from_slice(octets);
        self.len += octets.len();
    }

    /// Appends what `write` adds to the text.
    pub fn write_with(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let before = self.text.len();
        write(&mut self.text);
        self.len += self.text.len().saturating_sub(before);
    }

    /// Appends octets of a body, shared where they are many.
    pub fn push(&mut self, octets: Bytes) {
        if octets.len() < COPY_BELOW {
            return self.copy(&octets);
        }
        self.len += octets.len();
        self.shared.push((self.text.len(), octets));
    }

    /// Appends octets of a body that lie in a file; nothing may follow them.
    pub fn push_file(&mut self, file: FileRange) {
        debug_assert!(self.file.is_none(), "one is the last of a burst");
        self.len = self
            .len
            .saturating_add(usize::try_from(file.length()).unwrap_or(usize::MAX));
        self.file = Some(file);
    }

    /// Writes once; what the client does not take goes to its outbox. The burst is empty then, and keeps its memory.
    pub fn poll_write(
        &mut self,
        io: &mut (impl AsyncWrite + Unpin),
        outbox: &mut Outbox,
        cx: &mut Context<'_>,
    ) -> io::Result<()> {
        // What lies in a file the outbox sends, and the text with it.
        let now = self.file.is_none().then(|| self.poll_write_some(io, cx));
        let written = match now {
            Some(Poll::Ready(Ok(written))) => written,
            Some(Poll::Ready(Err(error))) => {
                self.clear();
                return Err(error);
            }
            Some(Poll::Pending) | None => 0,
        };
        if written < self.len {
            self.move_behind(written, outbox);
        }
        if let Some(file) = self.file.take() {
            outbox.push_file(file);
        }
        self.clear();
        Ok(())
    }

    fn poll_write_some(
        &self,
        io: &mut (impl AsyncWrite + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let io = Pin::new(io);
        if self.shared.is_empty() {
            return io.poll_write(cx, &self.text);
        }
        let mut slices = [IoSlice::new(&[]); SLICES];
        let mut used = 0;
        for (slice, piece) in slices.iter_mut().zip(self.pieces()) {
            *slice = IoSlice::new(piece.octets());
            used += 1;
        }
        let written = ready!(io.poll_write_vectored(cx, slices.get(..used).unwrap_or_default()))?;
        Poll::Ready(Ok(written))
    }

    fn move_behind(&mut self, mut written: usize, outbox: &mut Outbox) {
        for piece in self.pieces() {
            let length = piece.octets().len();
            let skipped = written.min(length);
            written -= skipped;
            match piece {
                Piece::Text(text) => outbox.copy(text.get(skipped..).unwrap_or_default()),
                Piece::Shared(octets) if skipped < length => outbox.push(octets.slice(skipped..)),
                Piece::Shared(_) => {}
            }
        }
    }

    /// What is to be written, in its order; none is empty.
    fn pieces(&self) -> impl Iterator<Item = Piece<'_>> {
        let text = |from: usize, to: usize| {
            let piece = self.text.get(from..to).unwrap_or_default();
            (!piece.is_empty()).then_some(Piece::Text(piece))
        };
        let mut from = 0;
        let shared = self.shared.iter().flat_map(move |(behind, octets)| {
            let before = text(std::mem::replace(&mut from, *behind), *behind);
            before.into_iter().chain(Some(Piece::Shared(octets)))
        });
        let last = self.shared.last().map_or(0, |(behind, _)| *behind);
        shared.chain(text(last, self.text.len()))
    }

    /// Empties it, and keeps its memory.
    pub fn clear(&mut self) {
        self.text.clear();
        self.shared.clear();
        self.file = None;
        self.len = 0;
    }
}

#[derive(Clone, Copy)]
enum Piece<'a> {
    Text(&'a [u8]),
    Shared(&'a Bytes),
}

impl<'a> Piece<'a> {
    fn octets(self) -> &'a [u8] {
        match self {
            Self::Text(text) => text,
            Self::Shared(octets) => octets,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;
    use tokio::io::AsyncReadExt;

    proptest! {
        /// However little the client takes at a time, it gets all in order, and nothing is left in the burst.
        #[test]
        fn what_goes_in_comes_out_in_order(
            pieces in prop::collection::vec((any::<bool>(), 0usize..5000), 0..40),
            room in 1usize..9000,
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("runtime");
            runtime.block_on(async {
                let (mut near, mut far) = tokio::io::duplex(room);
                let (mut burst, mut outbox, mut expected) = (Burst::default(), Outbox::default(), Vec::new());
                for (i, (copied, len)) in pieces.into_iter().enumerate() {
                    let bytes = vec![u8::try_from(i).unwrap_or(0); len];
                    expected.extend_from_slice(&bytes);
                    if copied { burst.copy(&bytes) } else { burst.push(bytes.into()) }
                }
                assert_eq!(burst.len(), expected.len());
                let writing = async {
                    if !burst.is_empty() {
                        std::future::poll_fn(|cx| Poll::Ready(burst.poll_write(&mut near, &mut outbox, cx))).await.expect("written");
                    }
                    assert!(burst.is_empty());
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
}
