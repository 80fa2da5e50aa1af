//! Memory that the kernel can send by itself: octets in a file that has no name, each body a range of it.
//!
//! A copy of a large body into a socket costs more than all else about the request; from a file the kernel sends the very
//! pages. One file is enough for the process: a range is taken from an address space of 2⁶³ octets that is never used
//! twice, so there is no list of free places and no descriptor per body, and what was given back is a hole.
//!
//! Never twice is also what makes giving back safe. Pages that are queued in a socket stay alive there after the range is
//! gone; a hole takes a page out of the file and leaves it as it is, and nobody writes to it again. Only of a large page
//! of which a part is cut out would the kernel clear that part in place, under the socket's eyes: so each range begins at
//! a boundary of the largest pages, and all up to the next one is cut out.
//!
//! Deliberately absent: seals, which would forbid holes, and mapping, which would need `unsafe`.

use bytes::Bytes;
use rustix::fs::{FallocateFlags, MemfdFlags, fallocate, memfd_create, sendfile};
use rustix::io::{Errno, pread, pwrite, retry_on_intr};
use rustix::process::{Resource, getrlimit};
use std::any::Any;
use std::fmt;
use std::fs::{read_dir, read_to_string};
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What is read of a range at once, where it is not sent by the kernel.
pub const PIECE: usize = 64 * 1024;

/// What the kernel keeps beside a page, to find it by: a node of 576 octets for 64 pages.
const INDEX_A_PAGE: u64 = 9;
/// And for a range: a node that is not full, its share of those above, and what we keep ourselves.
const INDEX_A_RANGE: u64 = 2 * 576 + 256;

/// Where the system says whether it makes large pages of what is written to a file in memory.
const HUGE_PAGES: &str = "/sys/kernel/mm/transparent_hugepage";

/// The file.
#[derive(Debug)]
pub struct Arena {
    file: OwnedFd,
    /// Where ranges may begin: multiples of the largest page that memory of a file may have.
    stride: u64,
    /// Where the next range begins.
    next: AtomicU64,
}

impl Arena {
    /// An empty one.
    ///
    /// # Errors
    /// The system has no such files, or gives memory to them in a way that could not be counted or taken back.
    pub fn new() -> io::Result<Arc<Self>> {
        // A write beyond the limit would end the process by a signal.
        if getrlimit(Resource::Fsize).current.is_some() {
            return Err(refused("the size of files is limited (ulimit -f)"));
        }
        if makes_large_pages(Path::new(HUGE_PAGES)) {
            return Err(refused("files in memory get large pages (shmem_enabled)"));
        }
        let flags = MemfdFlags::CLOEXEC;
        let file = memfd_create("forebay-bodies", flags | MemfdFlags::NOEXEC_SEAL)
            // Before Linux 6.3 nobody knew that flag.
            .or_else(|_| memfd_create("forebay-bodies", flags))?;
        fallocate(&file, HOLE, 0, page())?;
        Ok(Self::of(file))
    }

    /// Of a file of any kind.
    pub(crate) fn of(file: OwnedFd) -> Arc<Self> {
        Arc::new(Self {
            file,
            stride: page() * (page() / 8),
            next: AtomicU64::new(0),
        })
    }

    /// The memory that so many octets take.
    pub fn bytes_for(length: u64) -> u64 {
        let whole = length.div_ceil(page()).saturating_mul(page());
        let index = (whole / page()).saturating_mul(INDEX_A_PAGE);
        whole.saturating_add(index + INDEX_A_RANGE)
    }

    /// Copies so many octets into a range of their own. `with` is dropped behind the range.
    ///
    /// # Errors
    /// There is no memory, no address left, or not that many octets: nothing is kept.
    pub fn store(
        self: &Arc<Self>,
        octets: impl Iterator<Item = Bytes>,
        length: u64,
        with: impl Any + Send + Sync,
    ) -> io::Result<FileRange> {
        let extent = Extent {
            offset: self.take(length)?,
            length,
            arena: Arc::clone(self),
            _with: Box::new(with),
        };
        let mut at = 0u64;
        for piece in octets {
            if piece.len() as u64 > length - at {
                return Err(io::ErrorKind::InvalidData.into());
            }
            extent.write(at, &piece)?;
            at += piece.len() as u64;
        }
        if at < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(FileRange {
            extent: Arc::new(extent),
            range: 0..length,
        })
    }

    fn take(&self, length: u64) -> io::Result<u64> {
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        let size = length
            .checked_next_multiple_of(self.stride)
            .ok_or_else(full)?;
        let next = |offset: u64| {
            let end = offset.checked_add(size)?;
            i64::try_from(end).is_ok().then_some(end)
        };
        self.next
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, next)
            .map_err(|_| full())
    }
}

/// Takes memory out of a file and leaves its length.
const HOLE: FallocateFlags = FallocateFlags::PUNCH_HOLE.union(FallocateFlags::KEEP_SIZE);

fn page() -> u64 {
    rustix::param::page_size() as u64
}

fn refused(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, why)
}

/// Whether memory of a file may come in more than was asked for: then nobody could say what a range takes.
fn makes_large_pages(settings: &Path) -> bool {
    let in_force = |path: &Path| {
        let text = read_to_string(path).unwrap_or_default();
        ["[always]", "[force]", "[within_size]"]
            .iter()
            .any(|word| text.contains(word))
    };
    let sizes = read_dir(settings).into_iter().flatten().flatten();
    in_force(&settings.join("shmem_enabled"))
        || sizes
            .into_iter()
            .any(|size| in_force(&size.path().join("shmem_enabled")))
}

/// A range of an arena and what goes with it; given back when this is dropped.
struct Extent {
    arena: Arc<Arena>,
    offset: u64,
    length: u64,
    /// Dropped behind our own `drop`: what counts the memory says so for as long as there is any.
    _with: Box<dyn Any + Send + Sync>,
}

impl Extent {
    fn write(&self, at: u64, mut octets: &[u8]) -> io::Result<()> {
        let mut at = self.offset + at;
        while !octets.is_empty() {
            let n = retry_on_intr(|| pwrite(&self.arena.file, octets, at))?;
            if n == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            octets = octets.get(n..).unwrap_or_default();
            at += n as u64;
        }
        Ok(())
    }
}

impl Drop for Extent {
    fn drop(&mut self) {
        let size = self.length.next_multiple_of(self.arena.stride);
        // It was tried when the arena was made. Where it fails all the same, there is nothing else to try.
        let _ = retry_on_intr(|| fallocate(&self.arena.file, HOLE, self.offset, size));
    }
}

impl fmt::Debug for Extent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let range = self.offset..self.offset + self.length;
        f.debug_tuple("Extent").field(&range).finish()
    }
}

/// Octets of an arena. Clones and parts of it share them, and they are given back with the last.
#[derive(Debug, Clone)]
pub struct FileRange {
    extent: Arc<Extent>,
    /// Within the extent.
    range: Range<u64>,
}

impl FileRange {
    /// Octets.
    pub fn length(&self) -> u64 {
        self.range.end - self.range.start
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }

    /// A part of it. What lies beyond the end is not there.
    #[must_use]
    pub fn slice(&self, part: Range<u64>) -> Self {
        let at = |octet: u64| octet.min(self.length()) + self.range.start;
        let start = at(part.start);
        Self {
            extent: Arc::clone(&self.extent),
            range: start..at(part.end).max(start),
        }
    }

    /// Leaves out so many octets at the beginning.
    pub fn advance(&mut self, octets: u64) {
        self.range.start = self.range.start.saturating_add(octets).min(self.range.end);
    }

    /// Has the kernel send octets from the beginning, so many at most. Says how many it took.
    ///
    /// # Errors
    /// Those of the socket; `UnexpectedEof` where octets are missing, which would not get better by trying again.
    pub fn send(&self, to: impl AsFd, most: usize) -> io::Result<usize> {
        let length = usize::try_from(self.length()).unwrap_or(usize::MAX);
        let mut offset = self.offset();
        let file = &self.extent.arena.file;
        match sendfile(to, file, Some(&mut offset), length.min(most)) {
            Ok(0) if length.min(most) > 0 => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => Ok(n),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Reads from the beginning, [`PIECE`] octets at most.
    ///
    /// # Errors
    /// The kernel could not, or octets are missing.
    pub fn read(&self) -> io::Result<Bytes> {
        let length = usize::try_from(self.length())
            .unwrap_or(usize::MAX)
            .min(PIECE);
        let mut octets = Vec::with_capacity(length);
        let mut offset = self.offset();
        while octets.len() < length {
            let n = retry_on_intr(|| {
                pread(
                    &self.extent.arena.file,
                    rustix::buffer::spare_capacity(&mut octets),
                    offset,
                )
            })?;
            if n == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            offset += n as u64;
        }
        octets.truncate(length);
        Ok(octets.into())
    }

    /// All of it, read piece by piece. Ends early where it cannot be read: who knows the length sees that.
    pub fn pieces(mut self) -> impl Iterator<Item = Bytes> + Send {
        std::iter::from_fn(move || {
            if self.is_empty() {
                return None;
            }
            let piece = self.read().ok()?;
            self.advance(piece.len() as u64);
            Some(piece)
        })
    }

    fn offset(&self) -> u64 {
        self.extent.offset + self.range.start
    }
}

/// Whether the kernel cannot send from such a file to such a socket: then octets are to be read and written.
pub fn is_unsupported(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP))
}

#[cfg(test)]
mod tests;
