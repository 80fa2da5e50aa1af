//! How many fetches go on that nobody waits for: a client that asks and leaves, again and again, must not keep an origin
//! busy without end, nor must all clients together one upstream.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// All together may leave behind this many times what one may.
const ALL: usize = 64;

/// The account.
#[derive(Debug)]
pub(in crate::cache) struct Abandoned {
    /// For each client, and for each upstream.
    each: AtomicUsize,
    counts: Mutex<Counts>,
}

/// Whom a fetch is counted against once nobody waits for it.
#[derive(Debug, Clone)]
pub(in crate::cache) struct LeftBy {
    pub(in crate::cache) client: IpAddr,
    pub(in crate::cache) upstream: Arc<str>,
}

/// Guarded by a lock that is the last in order: nothing else happens while it is held.
#[derive(Debug, Default)]
struct Counts {
    by_client: Tally<IpAddr>,
    by_upstream: Tally<Arc<str>>,
    all: usize,
}

/// Counts that are above zero.
#[derive(Debug)]
struct Tally<K>(HashMap<K, usize>);

impl<K> Default for Tally<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Eq + Hash> Tally<K> {
    fn of(&self, key: &K) -> usize {
        self.0.get(key).copied().unwrap_or_default()
    }

    fn add(&mut self, key: K) {
        *self.0.entry(key).or_default() += 1;
    }

    fn subtract(&mut self, key: &K) {
        if let Some(count) = self.0.get_mut(key) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.0.remove(key);
            }
        }
    }
}

impl Abandoned {
    /// An account that allows so many to each client, and of each upstream.
    pub(in crate::cache) fn new(each: usize) -> Arc<Self> {
        Arc::new(Self {
            each: AtomicUsize::new(each),
            counts: Mutex::default(),
        })
    }

    /// Allows so many from now on. Those that have their place keep it.
    pub(in crate::cache) fn resize(&self, each: usize) {
        self.each.store(each, Ordering::Relaxed);
    }

    /// A place in the account, until it is dropped. A fetch that the engine began by itself was left by nobody.
    pub(in crate::cache) fn enter(self: &Arc<Self>, left_by: Option<&LeftBy>) -> Option<Permit> {
        let each = self.each.load(Ordering::Relaxed);
        let mut counts = self.counts.lock();
        if counts.all >= each.saturating_mul(ALL) {
            return None;
        }
        if let Some(LeftBy { client, upstream }) = left_by {
            if counts.by_client.of(client) >= each || counts.by_upstream.of(upstream) >= each {
                return None;
            }
            counts.by_client.add(*client);
            counts.by_upstream.add(Arc::clone(upstream));
        }
        counts.all += 1;
        Some(Permit {
            account: Arc::clone(self),
            left_by: left_by.cloned(),
        })
    }

    /// Places taken.
    #[cfg(test)]
    pub(in crate::cache) fn len(&self) -> usize {
        let counts = self.counts.lock();
        assert!(counts.by_client.0.values().sum::<usize>() <= counts.all);
        assert!(counts.by_upstream.0.values().sum::<usize>() <= counts.all);
        counts.all
    }
}

/// A place in the account.
#[derive(Debug)]
pub(in crate::cache) struct Permit {
    account: Arc<Abandoned>,
    left_by: Option<LeftBy>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut counts = self.account.counts.lock();
        counts.all = counts.all.saturating_sub(1);
        if let Some(LeftBy { client, upstream }) = &self.left_by {
            counts.by_client.subtract(client);
            counts.by_upstream.subtract(upstream);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn left_by(client: u8, upstream: &str) -> LeftBy {
        LeftBy {
            client: Ipv4Addr::new(192, 0, 2, client).into(),
            upstream: upstream.into(),
        }
    }

    #[test]
    fn each_client_and_each_upstream_has_its_share() {
        let account = Abandoned::new(2);
        let enter = |client, upstream| account.enter(Some(&left_by(client, upstream)));
        let first = enter(1, "a").expect("the first");
        let second = enter(1, "b").expect("the second");
        assert!(enter(1, "c").is_none(), "one client's third");
        let third = enter(2, "a").expect("somebody else's first");
        assert!(enter(3, "a").is_none(), "one upstream's third");
        assert!(enter(3, "c").is_some(), "another upstream's first");
        drop(first);
        assert!(enter(1, "c").is_some(), "after one has ended");
        assert!(enter(3, "a").is_some(), "after one has ended");
        drop((second, third));
        assert_eq!(account.len(), 0);
    }

    #[test]
    fn all_together_have_theirs() {
        let account = Abandoned::new(1);
        let held: Vec<_> = (0..ALL)
            .map(|at| {
                let client = u8::try_from(at).expect("small");
                account.enter(Some(&left_by(client, &at.to_string())))
            })
            .collect();
        assert!(held.iter().all(Option::is_some));
        assert!(account.enter(Some(&left_by(200, "another"))).is_none());
        assert!(account.enter(None).is_none());
        drop(held);
        assert_eq!(account.len(), 0);
        let counts = account.counts.lock();
        assert!(counts.by_client.0.is_empty() && counts.by_upstream.0.is_empty());
    }

    #[test]
    fn none_at_all_and_a_change_of_mind() {
        let account = Abandoned::new(0);
        assert!(account.enter(Some(&left_by(1, "a"))).is_none());
        account.resize(2);
        let held = [1, 2].map(|client| account.enter(Some(&left_by(client, "a"))));
        assert!(held.iter().all(Option::is_some));
        account.resize(1);
        assert!(account.enter(Some(&left_by(3, "a"))).is_none());
        assert_eq!(account.len(), 2, "who has a place keeps it");
    }
}
