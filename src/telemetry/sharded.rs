//! A number that every thread adds to in memory of its own, and that is summed when it is read.
//!
//! A thread that counts for the first time takes a slot and gives it back when it ends; a number is the same cell of every
//! slot. What one thread writes no other does, so counting is an addition without a lock, without a locked instruction and
//! without a cache line that goes from core to core. Cells of different numbers stand side by side, for it is the same
//! thread that writes them: a number takes eight octets for each thread that counts, in chunks that come with the first use.
//!
//! Architecture invariant: a cell of an owned slot is written by the slot's owner only. Slots outlive their owners, so what
//! a thread has counted stays, and whoever has the slot next adds to it.

use std::cell::{Cell, OnceCell};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;
use prometheus_client::metrics::counter::{Atomic, Counter};

/// A counter that costs nothing to share: for what is counted with each request.
pub type ShardedCounter = Counter<u64, Sharded>;

/// Threads that have a slot of their own at a time. More than these share one.
const OWNED: usize = 256;
/// Cells of a line.
const LINE: usize = 16;
/// Lines of the first chunk; each further one has twice as many as the one before.
const FIRST_LINES: usize = 4;
/// Chunks of a slot: sixty-seven million cells.
const CHUNKS: usize = 20;

/// Two cache lines, which processors fetch in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Line([AtomicU64; LINE]);

/// One thread's share of all numbers.
#[derive(Debug)]
struct Slot {
    taken: AtomicBool,
    chunks: [OnceLock<Box<[Line]>>; CHUNKS],
}

static SLOTS: [Slot; OWNED] = [const { Slot::new() }; OWNED];
/// How many of [`SLOTS`] were ever taken, so that a scrape does not look at the others.
static USED: AtomicUsize = AtomicUsize::new(0);
/// The slot of those that found none free.
static SHARED: Slot = Slot::new();

impl Slot {
    const fn new() -> Self {
        Self {
            taken: AtomicBool::new(false),
            chunks: [const { OnceLock::new() }; CHUNKS],
        }
    }

    fn cell(&self, place: Place) -> &AtomicU64 {
        let lines = self.chunks[usize::from(place.chunk)].get_or_init(|| {
            let lines = FIRST_LINES << place.chunk;
            (0..lines).map(|_| Line::default()).collect()
        });
        &lines[place.line()].0[place.cell()]
    }

    /// The cell, where its chunk was made already.
    fn used_cell(&self, place: Place) -> Option<&AtomicU64> {
        let lines = self.chunks.get(usize::from(place.chunk))?.get()?;
        Some(&lines.get(place.line())?.0[place.cell()])
    }
}

/// Where a number's cells are, in every slot.
#[derive(Debug, Clone, Copy)]
struct Place {
    chunk: u8,
    offset: u32,
}

impl Place {
    fn line(self) -> usize {
        self.offset as usize / LINE
    }

    fn cell(self) -> usize {
        self.offset as usize % LINE
    }
}

/// Which places are free. Held for taking and giving back one, which a new series does and a count never.
static PLACES: Mutex<Places> = Mutex::new(Places {
    next: Place {
        chunk: 0,
        offset: 0,
    },
    free: Vec::new(),
});

struct Places {
    next: Place,
    free: Vec<Place>,
}

impl Places {
    fn take(&mut self) -> Place {
        if let Some(place) = self.free.pop() {
            return place;
        }
        let place = self.next;
        self.next.offset += 1;
        if self.next.offset as usize == (FIRST_LINES << place.chunk) * LINE {
            self.next = Place {
                chunk: place.chunk + 1,
                offset: 0,
            };
        }
        place
    }
}

/// Gives the slot back when the thread ends.
#[derive(Debug)]
struct Lease(&'static Slot);

thread_local! {
    /// The slot of this thread's lease. Has no destructor, so that it costs one load and may be asked to a thread's very end.
    static OWN: Cell<Option<&'static Slot>> = const { Cell::new(None) };
    /// `None` once it was found that no slot is free.
    static LEASE: OnceCell<Option<Lease>> = const { OnceCell::new() };
}

impl Lease {
    /// Takes a free slot.
    fn take() -> Option<Self> {
        let free = SLOTS.iter().enumerate().find(|(_, slot)| {
            // Acquires what the owner before has released with the slot: the next addition reads its sum.
            slot.taken
                .compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed)
                .is_ok()
        });
        let (index, slot) = free?;
        USED.fetch_max(index + 1, Ordering::Relaxed);
        OWN.set(Some(slot));
        Some(Self(slot))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        OWN.set(None);
        self.0.taken.store(false, Ordering::Release);
    }
}

/// Nobody else writes to a cell of an owned slot, so nothing can come between the two.
fn add_alone(cell: &AtomicU64, more: u64) -> u64 {
    let before = cell.load(Ordering::Relaxed);
    cell.store(before.wrapping_add(more), Ordering::Relaxed);
    before
}

/// A number that grows, whichever thread adds to it.
#[derive(Debug)]
pub struct Sharded {
    place: Place,
}

impl Default for Sharded {
    fn default() -> Self {
        Self {
            place: PLACES.lock().take(),
        }
    }
}

impl Sharded {
    /// Adds, wrapping around. Returns what this thread's slot had before, which is a part of the sum.
    #[inline]
    pub fn add(&self, more: u64) -> u64 {
        match OWN.get().and_then(|own| own.used_cell(self.place)) {
            Some(cell) => add_alone(cell, more),
            None => self.add_first(more),
        }
    }

    /// Adds where this thread has not yet a slot, or no cell in it, or will have none.
    #[cold]
    fn add_first(&self, more: u64) -> u64 {
        // A thread whose lease has ended takes no other: nothing would give it back.
        let _ = LEASE.try_with(|lease| _ = lease.get_or_init(Lease::take));
        match OWN.get() {
            Some(own) => add_alone(own.cell(self.place), more),
            None => SHARED.cell(self.place).fetch_add(more, Ordering::Relaxed),
        }
    }

    /// What all threads have added. It never goes down from one look to the next.
    pub fn sum(&self) -> u64 {
        self.cells()
            .map(|cell| cell.load(Ordering::Relaxed))
            .fold(0, u64::wrapping_add)
    }

    fn cells(&self) -> impl Iterator<Item = &'static AtomicU64> {
        let used = USED.load(Ordering::Relaxed);
        let slots = SLOTS.iter().take(used).chain([&SHARED]);
        slots.filter_map(|slot| slot.used_cell(self.place))
    }
}

impl Drop for Sharded {
    fn drop(&mut self) {
        // Nobody can add any more, so the cells may be written from here, and whoever has the place next begins at zero.
        for cell in self.cells() {
            cell.store(0, Ordering::Relaxed);
        }
        PLACES.lock().free.push(self.place);
    }
}

impl Atomic<u64> for Sharded {
    /// As [`Sharded::add`]: what is returned is of this thread.
    fn inc(&self) -> u64 {
        self.add(1)
    }

    /// As [`Sharded::add`]: what is returned is of this thread.
    fn inc_by(&self, more: u64) -> u64 {
        self.add(more)
    }

    fn get(&self) -> u64 {
        self.sum()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Barrier};
    use std::thread;

    use prometheus_client::metrics::family::Family;

    use super::*;
    use crate::telemetry::Registry;

    #[test]
    fn what_ended_threads_have_counted_stays() {
        let number = Sharded::default();
        // One after the other, so that slots are handed on.
        for _ in 0..100 {
            thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| (0..100).for_each(|_| _ = number.add(1)));
                }
            });
        }
        assert_eq!(number.sum(), 40_000);
    }

    #[test]
    fn more_threads_than_slots_lose_nothing() {
        let number = Sharded::default();
        let threads = OWNED + 32;
        // None ends before all have counted, so that some have found no slot free.
        let all = Barrier::new(threads);
        thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    (0..50).for_each(|_| _ = number.add(2));
                    all.wait();
                    (0..50).for_each(|_| _ = number.add(2));
                });
            }
        });
        assert_eq!(number.sum(), threads as u64 * 200);
    }

    #[test]
    fn an_ending_thread_still_counts() {
        struct Last(Arc<Sharded>);
        impl Drop for Last {
            fn drop(&mut self) {
                self.0.add(1);
            }
        }
        thread_local!(static BEFORE: OnceCell<Last> = const { OnceCell::new() });
        thread_local!(static AFTER: OnceCell<Last> = const { OnceCell::new() });
        let number = Arc::new(Sharded::default());
        let counted = number.clone();
        // Whichever way destructors go, one of the two comes when the slot is given back.
        let ended = thread::spawn(move || {
            let _ = BEFORE.with(|last| last.set(Last(counted.clone())));
            counted.add(1);
            let _ = AFTER.with(|last| last.set(Last(counted.clone())));
        });
        ended.join().expect("the thread ends");
        assert_eq!(number.sum(), 3);
    }

    #[test]
    fn a_sum_never_goes_down() {
        let number = Sharded::default();
        thread::scope(|scope| {
            let adding: Vec<_> = (0..2)
                .map(|_| scope.spawn(|| (0..20_000).for_each(|_| _ = number.add(1))))
                .collect();
            let mut before = 0;
            while !adding.iter().all(thread::ScopedJoinHandle::is_finished) {
                let now = number.sum();
                assert!(now >= before, "{now} after {before}");
                before = now;
            }
        });
        assert_eq!(number.sum(), 40_000);
    }

    #[test]
    fn numbers_do_not_mix_and_begin_at_zero() {
        for _ in 0..2 {
            // More than the first chunks hold.
            let numbers: Vec<_> = (0..1_000).map(|_| Sharded::default()).collect();
            for (number, more) in numbers.iter().zip(1..) {
                assert_eq!(number.sum(), 0);
                number.add(more);
            }
            thread::scope(|scope| {
                scope.spawn(|| numbers.iter().for_each(|number| _ = number.add(1)));
            });
            for (number, more) in numbers.iter().zip(1..) {
                assert_eq!(number.sum(), more + 1);
            }
        }
    }

    #[test]
    fn the_library_takes_it_for_a_counter() {
        let registry = Registry::new();
        let family: Family<[(&str, &str); 1], ShardedCounter> = Family::default();
        registry.register(|r| r.register("things", "Things", family.clone()));
        family.get_or_create(&[("of", "one")]).inc();
        family.get_or_create(&[("of", "one")]).inc_by(2);
        assert_eq!(family.get_or_create(&[("of", "one")]).get(), 3);
        let text = registry.encode();
        assert!(text.contains("forebay_things_total{of=\"one\"} 3\n"));
    }
}
