//! Where the octets of a body lie that is not small: in segments on the heap, or in a range of the arena.
//!
//! A body comes in segments. One that is large may be moved once, as a whole, while it is stored and being sent: who has
//! begun to send its segments goes on with these, who begins later gets the range. So nothing that knows the body needs
//! to be told, neither what is stored for its key nor a response that was freshened from the one that it came with.

use super::store::account::{Account, allocated};
use crate::arena::FileRange;
use arc_swap::ArcSwap;
use bytes::Bytes;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// From this length on a body may be moved. Measured, sent over loopback on one core: `benches/README.md` has the figures.
pub const MOVED_FROM: u64 = 64 * 1024;

/// The octets of a body that is not small.
#[derive(Debug)]
pub struct Segments {
    octets: Octets,
    length: u64,
    /// All its memory when it was made. What is moved takes a little more or less; that is on the account, and this stays,
    /// because what an entry weighs must not change while it is stored.
    allocated: u64,
    /// Whose account the segments are on; `None` where they are on none.
    account: Option<Arc<Account>>,
}

#[derive(Debug)]
enum Octets {
    Here(Box<[Bytes]>),
    Movable(Box<Movable>),
}

#[derive(Debug)]
struct Movable {
    placed: ArcSwap<Placed>,
    /// Whether it is being moved, was moved, or is to stay.
    claimed: AtomicBool,
}

#[derive(Debug)]
enum Placed {
    Heap(Box<[Bytes]>),
    Arena(FileRange),
}

impl Segments {
    pub(super) fn new(
        list: Vec<Bytes>,
        account: Option<Arc<Account>>,
        allocated: u64,
    ) -> Arc<Self> {
        let length = list.iter().map(|segment| segment.len() as u64).sum();
        let list = list.into_boxed_slice();
        let octets = if length < MOVED_FROM || account.is_none() {
            Octets::Here(list)
        } else {
            Octets::Movable(Box::new(Movable {
                placed: ArcSwap::from_pointee(Placed::Heap(list)),
                claimed: AtomicBool::new(false),
            }))
        };
        Arc::new(Self {
            octets,
            length,
            allocated,
            account,
        })
    }

    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// The memory of the octets.
    pub(super) fn allocated(&self) -> u64 {
        self.allocated
    }

    /// The memory of this beside them.
    pub(super) fn own_bytes(&self) -> u64 {
        let movable = match self.octets {
            Octets::Here(_) => 0,
            Octets::Movable(_) => {
                allocated(size_of::<Movable>()) + allocated(size_of::<Placed>() + COUNTS)
            }
        };
        movable + allocated(size_of::<Self>() + COUNTS)
    }

    pub(super) fn account(&self) -> Option<&Arc<Account>> {
        self.account.as_ref()
    }

    /// Whether they are counted there.
    pub(super) fn is_counted(&self, account: &Arc<Account>) -> bool {
        self.account
            .as_ref()
            .is_some_and(|own| Arc::ptr_eq(own, account))
    }

    /// The octets of a range, in pieces, none of them empty. What lies beyond the end is not there.
    pub(super) fn slice(&self, range: Range<u64>) -> Slices<'_> {
        let source = match &self.octets {
            Octets::Here(list) => Source::Here(list),
            Octets::Movable(movable) => Source::Placed(movable.placed.load_full()),
        };
        Slices {
            source,
            next: 0,
            begin: 0,
            range,
        }
    }

    /// A range where the kernel can send it from.
    pub(super) fn file_range(&self, range: Range<u64>) -> Option<FileRange> {
        let Octets::Movable(movable) = &self.octets else {
            return None;
        };
        match &**movable.placed.load() {
            Placed::Arena(file) => Some(file.slice(range)),
            Placed::Heap(_) => None,
        }
    }

    /// The right to move them, where they may be moved and nobody has it.
    pub(super) fn claim(self: &Arc<Self>) -> Option<Moving> {
        let Octets::Movable(movable) = &self.octets else {
            return None;
        };
        // Who sends it asks each time: once it is settled, only to read.
        if movable.claimed.load(Ordering::Relaxed) || movable.claimed.swap(true, Ordering::Acquire)
        {
            return None;
        }
        Some(Moving {
            segments: Arc::clone(self),
            settled: false,
        })
    }
}

/// What an `Arc` counts with.
const COUNTS: usize = 16;

/// The right to move a body. Dropped without a word, it falls to who asks later.
#[derive(Debug)]
pub struct Moving {
    segments: Arc<Segments>,
    settled: bool,
}

impl Moving {
    pub(super) fn length(&self) -> u64 {
        self.segments.length
    }

    /// They stay where they are for good.
    pub(super) fn keep(mut self) {
        self.settled = true;
    }

    /// The octets are copied by `copy`; where that fails, they stay where they are for good.
    pub(super) fn run(
        mut self,
        copy: impl FnOnce(Slices<'_>, u64) -> io::Result<FileRange>,
    ) -> io::Result<()> {
        self.settled = true;
        let file = copy(self.segments.slice(0..u64::MAX), self.segments.length)?;
        if let Octets::Movable(movable) = &self.segments.octets {
            movable.placed.store(Arc::new(Placed::Arena(file)));
        }
        Ok(())
    }
}

impl Drop for Moving {
    fn drop(&mut self) {
        if let Octets::Movable(movable) = &self.segments.octets
            && !self.settled
        {
            movable.claimed.store(false, Ordering::Release);
        }
    }
}

/// The octets of a range, piece by piece.
#[derive(Debug)]
pub struct Slices<'a> {
    source: Source<'a>,
    /// The next segment, and the octet that it begins at.
    next: usize,
    begin: u64,
    range: Range<u64>,
}

#[derive(Debug)]
enum Source<'a> {
    Here(&'a [Bytes]),
    Placed(Arc<Placed>),
    One(Option<Bytes>),
}

impl Slices<'_> {
    /// Of one piece, which is cut to size already.
    pub(super) fn of_one(piece: Option<Bytes>) -> Self {
        Self {
            source: Source::One(piece),
            next: 0,
            begin: 0,
            range: 0..0,
        }
    }
}

impl Iterator for Slices<'_> {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let list = match &mut self.source {
            Source::Here(list) => *list,
            Source::One(piece) => return piece.take(),
            Source::Placed(placed) => match &**placed {
                Placed::Heap(list) => list,
                Placed::Arena(file) => {
                    let left = file.slice(self.range.clone());
                    // What cannot be read is missing, and is seen to be: the length was said before.
                    let piece = (!left.is_empty()).then(|| left.read().ok()).flatten();
                    let length = piece.as_ref().map_or(u64::MAX, |piece| piece.len() as u64);
                    self.range.start = self.range.start.saturating_add(length);
                    return piece;
                }
            },
        };
        loop {
            let segment = list.get(self.next)?;
            let begin = self.begin;
            if self.range.end <= begin {
                return None;
            }
            self.next += 1;
            self.begin = begin.saturating_add(segment.len() as u64);
            let from = self.range.start.max(begin) - begin;
            let to = self.range.end.min(self.begin) - begin;
            let (from, to) = (usize::try_from(from).ok()?, usize::try_from(to).ok()?);
            if from < to {
                return Some(segment.slice(from..to));
            }
        }
    }
}
