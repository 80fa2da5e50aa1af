//! How much of answers is held in memory for clients that do not take it: by the streams of one connection, and by all clients.
//!
//! Reading ahead sets applications free, and costs what slow clients may ask for. Where that has become too much, answers come as
//! fast as they are taken, and no faster.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// What all clients together may hold, in octets.
const ALL_MAX: usize = 256 * 1024 * 1024;
/// What all streams of an HTTP/2 connection together may hold.
const STREAMS_MAX: usize = 2 * 1024 * 1024;

/// What all clients hold. Clones are the same one.
#[derive(Debug, Clone, Default)]
pub struct Total(Arc<AtomicUsize>);

impl Total {
    /// Whether nothing more is to be read ahead.
    pub fn is_over(&self) -> bool {
        self.0.load(Relaxed) > ALL_MAX
    }

    fn changed(&self, before: usize, now: usize) {
        if now > before {
            self.0.fetch_add(now - before, Relaxed);
        } else if now < before {
            self.0.fetch_sub(before - now, Relaxed);
        }
    }
}

/// What one client's connection holds, until it is dropped.
#[derive(Debug)]
pub struct Held {
    all: Total,
    octets: usize,
}

impl Held {
    /// Nothing as yet.
    pub fn new(all: Total) -> Self {
        Self { all, octets: 0 }
    }

    /// It is so many octets by now.
    pub fn set(&mut self, octets: usize) {
        self.all.changed(self.octets, octets);
        self.octets = octets;
    }

    /// Whether nothing more is to be read ahead.
    pub fn is_over(&self) -> bool {
        self.all.is_over()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.set(0);
    }
}

/// What the streams of one connection hold. Clones are the same one.
#[derive(Debug, Clone, Default)]
pub struct Streams {
    all: Total,
    octets: Arc<AtomicUsize>,
}

impl Streams {
    /// Nothing as yet.
    pub fn new(all: Total) -> Self {
        Self {
            all,
            octets: Arc::default(),
        }
    }

    /// So many more.
    pub fn add(&self, octets: usize) {
        self.octets.fetch_add(octets, Relaxed);
        self.all.changed(0, octets);
    }

    /// So many less.
    pub fn take(&self, octets: usize) {
        self.octets.fetch_sub(octets, Relaxed);
        self.all.changed(octets, 0);
    }

    /// Whether nothing more is to be read ahead: a client that opens a hundred streams and takes nothing of them gets no more
    /// memory than one that opens a few.
    pub fn is_over(&self) -> bool {
        self.octets.load(Relaxed) > STREAMS_MAX || self.all.is_over()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_all_hold_is_counted_once_and_given_back() {
        let all = Total::default();
        let mut one = Held::new(all.clone());
        one.set(ALL_MAX);
        assert!(!one.is_over());
        let streams = Streams::new(all.clone());
        streams.add(10);
        streams.add(1);
        assert!(one.is_over() && streams.is_over() && all.is_over());
        one.set(ALL_MAX - 11);
        assert!(!one.is_over() && !streams.is_over());
        drop(one);
        streams.take(11);
        assert_eq!(all.0.load(Relaxed), 0);
        streams.add(STREAMS_MAX + 1);
        assert!(streams.is_over() && !all.is_over());
    }
}
