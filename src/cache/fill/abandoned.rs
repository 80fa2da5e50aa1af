//! How many fetches go on that nobody waits for: a client that asks and leaves, again and again, must not keep an origin
//! busy without end.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

/// All clients together may leave behind this many times what one may.
const ALL: usize = 64;

/// The account.
#[derive(Debug)]
pub(in crate::cache) struct Abandoned {
    each: usize,
    counts: Mutex<Counts>,
}

/// Guarded by a lock that is the last in order: nothing else happens while it is held.
#[derive(Debug, Default)]
struct Counts {
    by_client: HashMap<IpAddr, usize>,
    all: usize,
}

impl Abandoned {
    /// An account that allows so many to each client.
    pub(in crate::cache) fn new(each: usize) -> Arc<Self> {
        Arc::new(Self {
            each,
            counts: Mutex::default(),
        })
    }

    /// A place in the account, until it is dropped. A fetch that the engine began by itself has no client.
    pub(in crate::cache) fn enter(self: &Arc<Self>, client: Option<IpAddr>) -> Option<Permit> {
        let mut counts = self.counts.lock();
        if counts.all >= self.each.saturating_mul(ALL) {
            return None;
        }
        if let Some(client) = client {
            let count = counts.by_client.entry(client).or_default();
            if *count >= self.each {
                // A count of zero is not kept, where none is allowed at all.
                if *count == 0 {
                    counts.by_client.remove(&client);
                }
                return None;
            }
            *count += 1;
        }
        counts.all += 1;
        Some(Permit {
            account: Arc::clone(self),
            client,
        })
    }

    /// Places taken.
    #[cfg(test)]
    pub(in crate::cache) fn len(&self) -> usize {
        let counts = self.counts.lock();
        assert!(counts.by_client.values().sum::<usize>() <= counts.all);
        counts.all
    }
}

/// A place in the account.
#[derive(Debug)]
pub(in crate::cache) struct Permit {
    account: Arc<Abandoned>,
    client: Option<IpAddr>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut counts = self.account.counts.lock();
        counts.all = counts.all.saturating_sub(1);
        if let Some(client) = self.client
            && let Some(count) = counts.by_client.get_mut(&client)
        {
            *count = count.saturating_sub(1);
            if *count == 0 {
                counts.by_client.remove(&client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn client(last: u8) -> IpAddr {
        Ipv4Addr::new(192, 0, 2, last).into()
    }

    #[test]
    fn each_client_has_its_share() {
        let account = Abandoned::new(2);
        let first = account.enter(Some(client(1))).expect("the first");
        let _second = account.enter(Some(client(1))).expect("the second");
        assert!(account.enter(Some(client(1))).is_none(), "the third");
        assert!(
            account.enter(Some(client(2))).is_some(),
            "somebody else's first"
        );
        drop(first);
        assert!(
            account.enter(Some(client(1))).is_some(),
            "after one has ended"
        );
    }

    #[test]
    fn all_together_have_theirs() {
        let account = Abandoned::new(1);
        let held: Vec<_> = (0..ALL)
            .map(|at| account.enter(Some(client(u8::try_from(at).expect("small")))))
            .collect();
        assert!(held.iter().all(Option::is_some));
        assert!(account.enter(Some(client(200))).is_none());
        assert!(account.enter(None).is_none());
        drop(held);
        assert_eq!(account.len(), 0);
        assert!(account.counts.lock().by_client.is_empty());
    }

    #[test]
    fn none_at_all() {
        let account = Abandoned::new(0);
        assert!(account.enter(Some(client(1))).is_none());
        assert!(account.counts.lock().by_client.is_empty());
    }
}
