//! Counters by two of the program's own words, found without a lock and without a hash.

use std::sync::OnceLock;

use crate::telemetry::sharded::ShardedCounter;

/// Those met so far, in the order of their first use: few enough to be looked through. None ever leaves, so nothing is locked.
///
/// A word is known by its address. Another copy of the same literal is another pair here, which must be given the same counter.
#[derive(Debug, Default)]
pub(super) struct CountersByWords {
    met: [OnceLock<Met>; 8],
    more: OnceLock<Box<Self>>,
}

#[derive(Debug)]
struct Met {
    words: [&'static str; 2],
    counter: ShardedCounter,
}

impl Met {
    fn is_of(&self, words: [&'static str; 2]) -> bool {
        std::ptr::eq(self.words[0], words[0]) && std::ptr::eq(self.words[1], words[1])
    }
}

impl CountersByWords {
    /// The counter of the two words, made by `make` when they are met for the first time.
    #[inline]
    pub(super) fn of(
        &self,
        words: [&'static str; 2],
        make: impl Fn() -> ShardedCounter,
    ) -> &ShardedCounter {
        match self.find(words) {
            Some(counter) => counter,
            None => self.find_or_make(words, make),
        }
    }

    /// All pairs met so far, with what was counted of each.
    pub(super) fn counted(&self) -> impl Iterator<Item = ([&'static str; 2], u64)> {
        let parts = std::iter::successors(Some(self), |part| part.more.get().map(|more| &**more));
        parts
            .flat_map(|part| part.met.iter().map_while(OnceLock::get))
            .map(|met| (met.words, met.counter.get()))
    }

    fn find(&self, words: [&'static str; 2]) -> Option<&ShardedCounter> {
        let mut part = self;
        loop {
            for cell in &part.met {
                // Behind the first that is empty there is nothing.
                let met = cell.get()?;
                if met.is_of(words) {
                    return Some(&met.counter);
                }
            }
            part = part.more.get()?;
        }
    }

    /// Where two threads meet a new pair at once, one of them makes it and the other waits for that.
    #[cold]
    fn find_or_make(
        &self,
        words: [&'static str; 2],
        make: impl Fn() -> ShardedCounter,
    ) -> &ShardedCounter {
        let mut part = self;
        loop {
            for cell in &part.met {
                let met = cell.get_or_init(|| Met {
                    words,
                    counter: make(),
                });
                if met.is_of(words) {
                    return &met.counter;
                }
            }
            part = part.more.get_or_init(Box::default);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn each_pair_is_made_once() {
        const WORDS: [&str; 5] = ["hit", "miss", "stale", "none", "collapsed"];
        let pairs = || WORDS.into_iter().flat_map(|a| WORDS.map(|b| [a, b]));
        let counters = CountersByWords::default();
        let made = Cell::new(0);
        for _ in 0..2 {
            for words in pairs() {
                let make = || {
                    made.set(made.get() + 1);
                    ShardedCounter::default()
                };
                counters.of(words, make).inc();
            }
        }
        assert_eq!(made.get(), pairs().count());
        for words in pairs() {
            assert_eq!(counters.of(words, ShardedCounter::default).get(), 2);
        }
        let counted: Vec<_> = counters.counted().collect();
        assert_eq!(counted, pairs().map(|words| (words, 2)).collect::<Vec<_>>());
    }
}
