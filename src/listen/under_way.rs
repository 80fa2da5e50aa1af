//! How many HTTP/2 requests may be under way: of a connection one always, and more while there is room for all.
//!
//! A connection of HTTP/1 has one request at a time, so as many are under way as connections may be open. HTTP/2 says in a few octets
//! that there is one more, and each costs what a request costs. What all connections have beyond their first shares the same number.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Requests of all connections. Clones are the same number.
#[derive(Debug, Clone, Default)]
pub struct Total(Arc<AtomicUsize>);

/// Requests of one connection.
#[derive(Debug)]
pub struct UnderWay {
    all: Total,
    /// Cloned into each request, so that its count tells how many there are.
    own: Arc<()>,
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub struct Running {
    all: Total,
    _own: Arc<()>,
}

impl UnderWay {
    /// None as yet.
    pub fn new(all: Total) -> Self {
        Self {
            all,
            own: Arc::default(),
        }
    }

    /// Whether there is any.
    pub fn is_busy(&self) -> bool {
        Arc::strong_count(&self.own) > 1
    }

    /// One more, where the connection has none or all together have fewer than `most`.
    pub fn begin(&self, most: usize) -> Option<Running> {
        // Where two begin at once there may be one too many, which nobody notices.
        if self.is_busy() && self.all.0.load(Relaxed) >= most {
            return None;
        }
        self.all.0.fetch_add(1, Relaxed);
        Some(Running {
            all: self.all.clone(),
            _own: self.own.clone(),
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.all.0.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_connection_has_one_and_what_is_left_is_shared() {
        let all = Total::default();
        let (one, other) = (UnderWay::new(all.clone()), UnderWay::new(all));
        let first: Vec<_> = (0..3).map_while(|_| one.begin(3)).collect();
        assert_eq!(first.len(), 3);
        assert!(one.begin(3).is_none());
        // There is no room, but it has none.
        let its_only = other.begin(3);
        assert!(its_only.is_some() && other.begin(3).is_none());
        drop(first);
        assert!(!one.is_busy());
        let more = (other.begin(3), other.begin(3));
        assert!(more.0.is_some() && more.1.is_some() && other.begin(3).is_none());
    }
}
