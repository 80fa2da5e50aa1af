//! When what is to be refreshed is next looked at. A value: no clock, no lock.

use crate::cache::request::Request;
use crate::cache::store::account::Charge;
use crate::clock::Instant;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::HashMap;
use std::sync::Arc;

/// Entries that are kept in it at most. Each holds the fields of a request, which count as the cache's memory.
pub(super) const ENTRIES_MAX: usize = 16 * 1024;

/// What is due, by when. Of each entry there is one slot, and one place in the order.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    slots: HashMap<u64, Slot>,
    /// A slot may have been put off since; the order learns of it when it comes to it.
    order: BinaryHeap<Reverse<(Instant, u64)>>,
}

/// One entry.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) id: u64,
    pub(super) request: Arc<Request>,
    pub(super) due: Instant,
    pub(super) _charge: Charge,
}

/// What a look brings.
#[derive(Debug)]
pub(super) enum Next {
    /// It is due, and no longer in the schedule.
    Due(Slot),
    /// Nothing is before then.
    At(Instant),
    /// There is nothing at all.
    Nothing,
}

/// What became of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entered {
    /// It is next.
    Next,
    /// It has its place behind others.
    Behind,
    /// There is no place.
    Full,
}

impl Schedule {
    /// Enters an entry, or puts it off where it is there already.
    pub(super) fn enter(&mut self, slot: Slot) -> Entered {
        if let Some(known) = self.slots.get_mut(&slot.id) {
            let due = known.due.max(slot.due);
            *known = Slot { due, ..slot };
            return Entered::Behind;
        }
        if self.slots.len() >= ENTRIES_MAX {
            return Entered::Full;
        }
        let next = self
            .order
            .peek()
            .is_none_or(|Reverse((first, _))| slot.due < *first);
        self.order.push(Reverse((slot.due, slot.id)));
        self.slots.insert(slot.id, slot);
        if next { Entered::Next } else { Entered::Behind }
    }

    /// What is due now, or when something will be.
    pub(super) fn next(&mut self, now: Instant) -> Next {
        while let Some(&Reverse((at, id))) = self.order.peek() {
            if at > now {
                return Next::At(at);
            }
            self.order.pop();
            match self.slots.remove(&id) {
                Some(slot) if slot.due > now => {
                    self.order.push(Reverse((slot.due, id)));
                    self.slots.insert(id, slot);
                }
                Some(slot) => return Next::Due(slot),
                None => debug_assert!(false, "a place in the order without a slot"),
            }
        }
        Next::Nothing
    }

    /// Entries in it.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        debug_assert_eq!(self.slots.len(), self.order.len());
        self.slots.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::refresh::tests::request;
    use std::time::Duration;

    fn slot(id: u64, due: Instant) -> Slot {
        Slot {
            id,
            request: request(&[]),
            due,
            _charge: Charge::new(&Arc::default(), 0),
        }
    }

    fn due(schedule: &mut Schedule, now: Instant) -> Vec<u64> {
        std::iter::from_fn(|| match schedule.next(now) {
            Next::Due(slot) => Some(slot.id),
            Next::At(_) | Next::Nothing => None,
        })
        .collect()
    }

    #[test]
    fn what_is_due_comes_in_its_order() {
        let (mut schedule, now) = (Schedule::default(), crate::clock::now());
        let at = |seconds| now + Duration::from_secs(seconds);
        assert!(matches!(schedule.next(now), Next::Nothing));
        assert_eq!(schedule.enter(slot(1, at(3))), Entered::Next);
        assert_eq!(schedule.enter(slot(2, at(1))), Entered::Next);
        assert_eq!(schedule.enter(slot(3, at(2))), Entered::Behind);
        assert!(matches!(schedule.next(now), Next::At(when) if when == at(1)));
        assert_eq!(due(&mut schedule, at(2)), [2, 3]);
        assert_eq!(schedule.len(), 1);
        assert_eq!(due(&mut schedule, at(3)), [1]);
        assert!(matches!(schedule.next(at(9)), Next::Nothing));
    }

    #[test]
    fn an_entry_is_in_it_once_however_often_it_is_stored() {
        let (mut schedule, now) = (Schedule::default(), crate::clock::now());
        let at = |seconds| now + Duration::from_secs(seconds);
        for seconds in 1..100 {
            schedule.enter(slot(1, at(seconds)));
            assert_eq!(schedule.len(), 1);
        }
        // Never before the last time, and not brought forward by an earlier one.
        schedule.enter(slot(1, at(5)));
        assert_eq!(due(&mut schedule, at(98)), [0; 0]);
        assert!(matches!(schedule.next(at(98)), Next::At(when) if when == at(99)));
        assert_eq!(due(&mut schedule, at(99)), [1]);
    }

    #[test]
    fn it_has_an_end() {
        let (mut schedule, now) = (Schedule::default(), crate::clock::now());
        for id in 0..ENTRIES_MAX as u64 {
            assert_ne!(schedule.enter(slot(id, now)), Entered::Full);
        }
        let later = now + Duration::from_secs(1);
        assert_eq!(schedule.enter(slot(u64::MAX, later)), Entered::Full);
        assert_eq!(schedule.enter(slot(7, later)), Entered::Behind);
        assert_eq!(due(&mut schedule, now).len(), ENTRIES_MAX - 1);
        assert_eq!(schedule.enter(slot(u64::MAX, later)), Entered::Behind);
        assert_eq!(schedule.len(), 2);
    }
}
