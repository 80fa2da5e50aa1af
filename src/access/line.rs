//! Who waits for a place at the [`desk`](super::desk), and whose turn it is: each client's in its turn, however many one has.

use hashbrown::HashMap;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::RecvError;

/// Requests that wait or have a place.
const MAX: usize = 256;
/// Those of one address among them; with IPv6, of one network of 64 bits.
const EACH: usize = 8;

/// The line, with its places.
#[derive(Debug)]
pub(super) struct Line(Mutex<State>);

/// Held to count, and to find the next.
#[derive(Debug)]
struct State {
    /// Places that nobody has.
    free: usize,
    /// By client, those that wait or have a place.
    counts: HashMap<IpAddr, usize>,
    /// Clients in the order of their turns, each with its requests in theirs. Who left is still among them.
    turns: VecDeque<(IpAddr, VecDeque<oneshot::Sender<Place>>)>,
}

/// A request in the line, or at a place.
#[derive(Debug)]
pub(super) struct Waiting {
    line: Arc<Line>,
    of: IpAddr,
}

/// A place. Given on when dropped.
#[derive(Debug)]
pub(super) struct Place(Option<Arc<Line>>);

impl Line {
    /// One with so many places.
    pub(super) fn new(places: usize) -> Self {
        Self(Mutex::new(State {
            free: places,
            counts: HashMap::new(),
            turns: VecDeque::new(),
        }))
    }

    /// Joins the line. None where it is full, or where the client has its share of it.
    pub(super) fn enter(self: &Arc<Self>, client: IpAddr) -> Option<Waiting> {
        let of = network(client);
        let mut state = self.0.lock();
        let all: usize = state.counts.values().sum();
        let theirs = state.counts.get(&of).copied().unwrap_or_default();
        if all >= MAX || theirs >= EACH {
            return None;
        }
        state.counts.insert(of, theirs + 1);
        let line = self.clone();
        Some(Waiting { line, of })
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.0.lock().counts.is_empty()
    }

    /// A place is free: it is the next one's.
    fn give(self: Arc<Self>) {
        loop {
            let next = self.0.lock().next();
            let Some(next) = next else { return };
            // Not under the lock: who left gives it back.
            let Err(mut back) = next.send(Place(Some(self.clone()))) else {
                return;
            };
            back.0 = None;
        }
    }
}

impl State {
    /// The next in turn. Where there is none, the place stays free.
    fn next(&mut self) -> Option<oneshot::Sender<Place>> {
        while let Some((client, mut requests)) = self.turns.pop_front() {
            let next = requests.pop_front();
            if !requests.is_empty() {
                self.turns.push_back((client, requests));
            }
            if next.is_some() {
                return next;
            }
        }
        self.free += 1;
        None
    }

    fn push(&mut self, of: IpAddr, request: oneshot::Sender<Place>) {
        let queued: usize = self.turns.iter().map(|(_, requests)| requests.len()).sum();
        if queued >= MAX {
            // No more than that are here, so the others have left.
            for (_, requests) in &mut self.turns {
                requests.retain(|request| !request.is_closed());
            }
            self.turns.retain(|(_, requests)| !requests.is_empty());
        }
        match self.turns.iter_mut().find(|(client, _)| *client == of) {
            Some((_, requests)) => requests.push_back(request),
            None => self.turns.push_back((of, [request].into())),
        }
    }
}

impl Waiting {
    /// Resolves with a place when it is this one's turn.
    ///
    /// # Errors
    /// None: the line outlives who waits in it.
    pub(super) async fn turn(&self) -> Result<Place, RecvError> {
        let turn = {
            let mut state = self.line.0.lock();
            if state.free > 0 {
                state.free -= 1;
                return Ok(Place(Some(self.line.clone())));
            }
            let (request, turn) = oneshot::channel();
            state.push(self.of, request);
            turn
        };
        turn.await
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut state = self.line.0.lock();
        let left = state.counts.get(&self.of).map_or(0, |count| count - 1);
        if left == 0 {
            state.counts.remove(&self.of);
        } else {
            state.counts.insert(self.of, left);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(line) = self.0.take() {
            line.give();
        }
    }
}

/// Whose the address is: somebody with IPv6 has 2^64 of them.
fn network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) => {
            let network = address.to_bits() >> 64 << 64;
            Ipv6Addr::from_bits(network).into()
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn nobody_fills_the_line_alone() {
        let line = Arc::new(Line::new(1));
        let mut places: Vec<_> = (0..EACH).map(|_| line.enter(address(1))).collect();
        assert!(places.iter().all(Option::is_some));
        assert!(line.enter(address(1)).is_none());
        assert!(line.enter(address(2)).is_some());
        places.pop();
        assert!(line.enter(address(1)).is_some());
    }

    /// One client has eight in the line when others come with one each: they are not behind all eight.
    #[tokio::test]
    async fn clients_take_turns() {
        let line = Arc::new(Line::new(1));
        let enter = |client| line.enter(address(client)).expect("room");
        let first = enter(9);
        let mut place = Some(first.turn().await.expect("a place"));
        let waiting: Vec<_> = [1, 1, 1, 2, 3, 1].map(enter).into();
        let mut turns: Vec<_> = waiting.iter().map(|it| Box::pin(it.turn())).collect();
        let mut order = Vec::new();
        for turn in &mut turns {
            assert!(turn.now_or_never().is_none());
        }
        while order.len() < waiting.len() {
            drop(place.take());
            for (at, turn) in turns.iter_mut().enumerate() {
                if !order.contains(&at)
                    && let Some(given) = turn.now_or_never()
                {
                    assert!(place.is_none(), "one place is one place");
                    place = Some(given.expect("the line is there"));
                    order.push(at);
                }
            }
        }
        assert_eq!(order, [0, 3, 4, 1, 2, 5]);
    }

    #[tokio::test]
    async fn who_left_has_no_turn_and_no_room() {
        let line = Arc::new(Line::new(1));
        let first = line.enter(address(9)).expect("room");
        let place = first.turn().await.expect("a place");
        for round in 0..3 * MAX {
            let client = u8::try_from(round % 200).expect("small");
            let gone = line.enter(address(client)).expect("room");
            assert!(gone.turn().now_or_never().is_none());
        }
        let queued: usize = line.0.lock().turns.iter().map(|(_, all)| all.len()).sum();
        assert!(queued <= MAX, "{queued}");
        let here = line.enter(address(1)).expect("room");
        let mut turn = Box::pin(here.turn());
        assert!((&mut turn).now_or_never().is_none());
        drop(place);
        let place = turn.now_or_never().expect("its turn").expect("a place");
        drop((place, here, first));
        assert!(line.is_empty());
        assert_eq!(line.0.lock().free, 1);
    }

    #[test]
    fn a_network_is_one_client() {
        for (one, other, same) in [
            ("2001:db8::1", "2001:db8::ffff:0:0:1", true),
            ("2001:db8::1", "2001:db8:0:1::1", false),
            ("::ffff:192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
        ] {
            let of = |text: &str| network(text.parse().expect("an address"));
            assert_eq!(of(one) == of(other), same, "{one} {other}");
        }
    }
}
