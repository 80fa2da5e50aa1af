//! Who holds how many connections: what one client may have, and who makes room when all places are taken.
//!
//! Connections are counted by [`client::group`]. Where as many are open as may be, those that are silent make room, of the
//! clients that hold at least their share of the places: all places by the number of clients. Somebody always holds that
//! much, and whoever holds less is left alone; so an idle flood from one address locks nobody out, and costs nobody else a
//! connection.

use super::lifecycle::Lifecycle;
use crate::clock::Instant;
use crate::rate::client;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

/// How long a connection is left alone after it was last used, or came, even where it is to make room: a page's next
/// request, and a hand-shake over a slow line, come within that.
pub(super) const QUIET: Duration = Duration::from_secs(1);

/// Parts of the table, so that accept loops do not wait for each other.
const PARTS: usize = 16;

/// All clients that hold connections.
#[derive(Debug)]
pub(super) struct Crowd {
    /// Each is locked to look one address up, and nothing is waited for meanwhile.
    parts: [Mutex<HashMap<IpAddr, Arc<AtomicUsize>>>; PARTS],
    hasher: RandomState,
    clients: AtomicUsize,
}

/// One connection's place in the crowd, until it is dropped.
#[derive(Debug)]
pub(super) struct Held {
    lifecycle: Arc<Lifecycle>,
    client: IpAddr,
    count: Arc<AtomicUsize>,
}

/// What a connection knows of its client's others, and of itself. Clones are of the same connection.
#[derive(Debug, Clone)]
pub struct Place(Arc<Known>);

#[derive(Debug)]
struct Known {
    lifecycle: Arc<Lifecycle>,
    /// `None` for what is nobody's, as in tests.
    count: Option<Arc<AtomicUsize>>,
    /// How often octets have come or gone on the socket, round and round.
    moves: AtomicU32,
}

impl Crowd {
    pub(super) fn new() -> Self {
        Self {
            parts: std::array::from_fn(|_| Mutex::default()),
            hasher: RandomState::new(),
            clients: AtomicUsize::new(0),
        }
    }

    fn part(&self, client: IpAddr) -> &Mutex<HashMap<IpAddr, Arc<AtomicUsize>>> {
        let hash = self.hasher.hash_one(client);
        &self.parts[usize::try_from(hash % PARTS as u64).unwrap_or_default()]
    }

    /// How many clients there are.
    fn clients(&self) -> usize {
        self.clients.load(Relaxed)
    }

    /// Who holds most, and how many. For the log: looks at everybody.
    pub(super) fn largest(&self) -> Option<(IpAddr, usize)> {
        let of_part = |part: &Mutex<HashMap<IpAddr, Arc<AtomicUsize>>>| {
            let part = part.lock();
            let all = part
                .iter()
                .map(|(client, count)| (*client, count.load(Relaxed)));
            all.max_by_key(|(_, count)| *count)
        };
        let largest = self.parts.iter().filter_map(of_part);
        largest.max_by_key(|(_, count)| *count)
    }
}

impl Held {
    /// One connection more for this address.
    pub(super) fn new(lifecycle: &Arc<Lifecycle>, address: IpAddr) -> Self {
        let client = client::group(address);
        let crowd = lifecycle.crowd();
        let mut part = crowd.part(client).lock();
        let count = part.entry(client).or_insert_with(|| {
            crowd.clients.fetch_add(1, Relaxed);
            Arc::default()
        });
        count.fetch_add(1, Relaxed);
        Self {
            lifecycle: lifecycle.clone(),
            client,
            count: count.clone(),
        }
    }

    /// How many its client holds, this one included.
    pub(super) fn count(&self) -> usize {
        self.count.load(Relaxed)
    }

    /// What the connection is told of it, once.
    pub(super) fn place(&self) -> Place {
        Place::new(self.lifecycle.clone(), Some(self.count.clone()))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let crowd = self.lifecycle.crowd();
        // Locked before it is counted, so that nobody takes up an entry that is about to go.
        let mut part = crowd.part(self.client).lock();
        if self.count.fetch_sub(1, Relaxed) == 1 {
            part.remove(&self.client);
            crowd.clients.fetch_sub(1, Relaxed);
        }
    }
}

impl Place {
    /// That of a connection which is nobody's.
    pub fn nobodys(lifecycle: Arc<Lifecycle>) -> Self {
        Self::new(lifecycle, None)
    }

    fn new(lifecycle: Arc<Lifecycle>, count: Option<Arc<AtomicUsize>>) -> Self {
        Self(Arc::new(Known {
            lifecycle,
            count,
            moves: AtomicU32::new(0),
        }))
    }

    /// Octets have come or gone.
    pub(super) fn moved(&self) {
        // One task at a time reads and writes: a locked instruction would be for nothing.
        self.0.moves.store(self.moves().wrapping_add(1), Relaxed);
    }

    /// How often that was so, round and round.
    pub(super) fn moves(&self) -> u32 {
        self.0.moves.load(Relaxed)
    }

    /// The lifecycle that it is part of.
    pub(super) fn lifecycle(&self) -> &Arc<Lifecycle> {
        &self.0.lifecycle
    }

    /// Whether a connection that is silent is to make room. Costs a load where there is room.
    pub(super) fn is_to_go(&self) -> bool {
        let Known {
            lifecycle, count, ..
        } = &*self.0;
        let Some(most) = lifecycle.is_full() else {
            return false;
        };
        let clients = lifecycle.crowd().clients();
        let held = count.as_ref().map_or(0, |count| count.load(Relaxed));
        // At least the share: `held >= most / clients`, without the rounding.
        held.saturating_mul(clients) >= most
    }

    /// The same of one that has been silent since then.
    pub(super) fn is_to_go_after(&self, since: Instant, now: Instant) -> bool {
        now.saturating_duration_since(since) >= QUIET && self.is_to_go()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[tokio::test(start_paused = true)]
    async fn who_holds_at_least_a_share_makes_room() {
        let lifecycle = Lifecycle::new();
        let hold = |text| (lifecycle.connected(), Held::new(&lifecycle, address(text)));
        let mut crowd: Vec<_> = (0..6).map(|_| hold("192.0.2.1")).collect();
        crowd.push(hold("2001:db8::1"));
        crowd.push(hold("2001:db8::2"));
        crowd.push(hold("192.0.2.2"));
        let to_go = |crowd: &[(_, Held)]| -> Vec<bool> {
            [0, 6, 8].map(|at| crowd[at].1.place().is_to_go()).to_vec()
        };
        lifecycle.has_room(10).await;
        assert_eq!(to_go(&crowd), [false; 3], "there is room");
        lifecycle.ask_for_room(9);
        // Nine places, three clients: three each.
        assert_eq!(to_go(&crowd), [true, false, false]);
        assert_eq!(lifecycle.crowd().largest(), Some((address("192.0.2.1"), 6)));
        assert_eq!(crowd[7].1.count(), 2, "of one customer");
        assert!(!Place::nobodys(lifecycle.clone()).is_to_go());
        // Where all hold the same, all do.
        crowd.drain(1..6);
        crowd.remove(1);
        tokio::time::advance(QUIET).await;
        lifecycle.ask_for_room(3);
        let all: Vec<_> = crowd.iter().map(|it| it.1.place().is_to_go()).collect();
        assert_eq!(all, [true; 3]);
        drop(crowd);
        assert_eq!(lifecycle.crowd().clients(), 0);
        assert!(lifecycle.crowd().largest().is_none());
    }
}
