//! How old the oldest fetch under way is, in purges.

use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;

/// The last purge when a fetch began. Clones are the same fetch.
#[derive(Debug, Clone, Default)]
pub(in crate::cache) struct Since(Arc<u64>);

impl Since {
    /// Its number.
    pub(in crate::cache) fn number(&self) -> u64 {
        *self.0
    }
}

/// The numbers with which what is under way began.
#[derive(Debug, Default)]
pub(super) struct Epochs {
    /// In their order. Guards nothing else, and is held for a few moves of pointers.
    list: Mutex<VecDeque<Arc<u64>>>,
}

impl Epochs {
    /// A fetch begins. The number is asked for while nobody else can look for the oldest.
    pub(super) fn enter(&self, now: impl FnOnce() -> u64) -> Since {
        let mut list = self.list.lock();
        let now = now();
        if let Some(last) = list.back().filter(|last| ***last == now) {
            return Since(Arc::clone(last));
        }
        let epoch = Arc::new(now);
        list.push_back(Arc::clone(&epoch));
        Since(epoch)
    }

    /// The number of the oldest that is under way, or `now` where none is older.
    pub(super) fn oldest(&self, now: u64) -> u64 {
        let mut list = self.list.lock();
        list.retain(|epoch| Arc::strong_count(epoch) > 1);
        list.front().map_or(now, |oldest| now.min(**oldest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_counts_until_its_last_holder_is_gone() {
        let epochs = Epochs::default();
        assert_eq!(epochs.oldest(7), 7);
        let first = epochs.enter(|| 3);
        let (second, third) = (first.clone(), epochs.enter(|| 5));
        assert_eq!((first.number(), third.number()), (3, 5));
        assert_eq!(epochs.oldest(7), 3);
        drop(first);
        assert_eq!(epochs.oldest(7), 3);
        drop(second);
        assert_eq!(epochs.oldest(7), 5);
        drop(third);
        assert_eq!(epochs.oldest(7), 7);
        assert_eq!(epochs.list.lock().len(), 0);
    }
}
