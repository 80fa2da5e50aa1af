//! Which purges there were lately, and who is told of them: one for the process, all routes and threads share it.

use crate::cache::purge::PurgeEvent;
use crate::telemetry::Registry;
use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

/// Events that a viewer may be behind, and that one who comes back is told of. Beyond, it is told to load anew.
const KEPT: usize = 128;

/// A purge with its number.
#[derive(Debug, Clone)]
pub struct Event {
    /// What a browser names when it comes back.
    pub id: Id,
    /// What happened. `None`: more than could be told of.
    pub purge: Option<Arc<PurgeEvent>>,
}

/// The process, so that what another one counted is not taken for ours, and how many there were.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Id {
    run: u64,
    number: u64,
}

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:x}-{}", self.run, self.number)
    }
}

/// The hub.
#[derive(Debug)]
pub struct Hub {
    run: u64,
    /// Guards numbers, what is kept, and who follows. Held for a push, a clone of what is kept, or a count.
    state: Mutex<State>,
    events: broadcast::Sender<Event>,
    viewers: Gauge,
    refused: Counter,
    missed: Counter,
}

#[derive(Debug, Default)]
struct State {
    /// Of the newest event.
    number: u64,
    kept: VecDeque<Event>,
    following: HashMap<Arc<str>, usize>,
}

/// What a viewer hears next.
#[derive(Debug)]
pub enum Heard {
    /// This has happened.
    Event(Event),
    /// More than it could be told of; the newest it is to know of.
    Missed(Id),
    /// The hub is gone.
    Over,
}

/// A viewer's place, until it is dropped.
#[derive(Debug)]
pub struct Viewer {
    hub: Arc<Hub>,
    route: Arc<str>,
    last: Id,
    /// What it missed while it was away.
    waiting: VecDeque<Heard>,
    events: broadcast::Receiver<Event>,
}

impl Default for Hub {
    fn default() -> Self {
        let (events, _) = broadcast::channel(KEPT);
        Self {
            run: fastrand::u64(..),
            state: Mutex::default(),
            events,
            viewers: Gauge::default(),
            refused: Counter::default(),
            missed: Counter::default(),
        }
    }
}

impl Hub {
    /// Makes its figures known to the registry. Once per registry.
    pub fn register(&self, registry: &Registry) {
        registry.register(|r| {
            r.register(
                "event_viewers",
                "Clients that follow a route's events",
                self.viewers.clone(),
            );
            r.register(
                "event_viewers_refused",
                "Clients that were not let follow a route's events, because as many do as may",
                self.refused.clone(),
            );
            r.register(
                "event_viewers_behind",
                "Times that a client had missed events and was told to load anew",
                self.missed.clone(),
            );
        });
    }

    /// Passes purges on for as long as there are any.
    pub async fn run(self: Arc<Self>, mut purges: broadcast::Receiver<Arc<PurgeEvent>>) {
        loop {
            match purges.recv().await {
                Ok(purge) => self.tell(Some(purge)),
                Err(RecvError::Lagged(_)) => self.tell(None),
                Err(RecvError::Closed) => return,
            }
        }
    }

    fn tell(&self, purge: Option<Arc<PurgeEvent>>) {
        let mut state = self.state.lock();
        state.number += 1;
        let id = Id {
            run: self.run,
            number: state.number,
        };
        let event = Event { id, purge };
        state.kept.push_back(event.clone());
        if state.kept.len() > KEPT {
            state.kept.pop_front();
        }
        // Nobody may be listening. Under the lock, so that who enters hears each event once.
        let _ = self.events.send(event);
    }

    /// A place for one more viewer of a route, who saw the event `last` before. None where there are as many as may be.
    pub fn enter(self: &Arc<Self>, route: &str, most: usize, last: Option<&str>) -> Option<Viewer> {
        let route: Arc<str> = route.into();
        let mut state = self.state.lock();
        let following = state.following.entry(route.clone()).or_default();
        if *following >= most {
            self.refused.inc();
            return None;
        }
        *following += 1;
        self.viewers.inc();
        let newest = Id {
            run: self.run,
            number: state.number,
        };
        Some(Viewer {
            waiting: last
                .map(|last| state.since(last, newest))
                .unwrap_or_default(),
            events: self.events.subscribe(),
            last: newest,
            route,
            hub: self.clone(),
        })
    }
}

impl State {
    /// What came behind the event that a viewer saw last.
    fn since(&self, last: &str, newest: Id) -> VecDeque<Heard> {
        let seen = last
            .split_once('-')
            .filter(|(run, _)| u64::from_str_radix(run, 16) == Ok(newest.run))
            .and_then(|(_, number)| number.parse::<u64>().ok())
            .filter(|seen| *seen <= newest.number);
        // Of another process, or longer ago than is remembered.
        let forgotten = newest.number - self.kept.len() as u64;
        let Some(seen) = seen.filter(|seen| *seen >= forgotten) else {
            return VecDeque::from([Heard::Missed(newest)]);
        };
        let missed = self.kept.iter().filter(|event| event.id.number > seen);
        missed.cloned().map(Heard::Event).collect()
    }
}

impl Viewer {
    /// The newest event that it knows of, or is about to hear of.
    pub fn last(&self) -> Id {
        match self.waiting.front() {
            Some(Heard::Event(event)) => Id {
                number: event.id.number - 1,
                ..event.id
            },
            _ => self.last,
        }
    }

    /// What it hears next. To be dropped freely while it waits.
    pub async fn next(&mut self) -> Heard {
        if let Some(heard) = self.waiting.pop_front() {
            if matches!(heard, Heard::Missed(_)) {
                self.hub.missed.inc();
            }
            return heard;
        }
        match self.events.recv().await {
            Ok(Event { id, purge: None }) => self.missed(id),
            Ok(event) => Heard::Event(event),
            Err(RecvError::Lagged(_)) => {
                // From here on it hears all again.
                self.events = self.events.resubscribe();
                let number = self.hub.state.lock().number;
                let run = self.hub.run;
                self.missed(Id { run, number })
            }
            Err(RecvError::Closed) => Heard::Over,
        }
    }

    fn missed(&self, id: Id) -> Heard {
        self.hub.missed.inc();
        Heard::Missed(id)
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        let mut state = self.hub.state.lock();
        if let Some(following) = state.following.get_mut(&self.route) {
            *following = following.saturating_sub(1);
            if *following == 0 {
                state.following.remove(&self.route);
            }
        }
        self.hub.viewers.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::purge::{Cause, Mode, Scope};

    fn purge(tag: &str) -> Arc<PurgeEvent> {
        Arc::new(PurgeEvent {
            cause: Cause::Purge,
            scope: Scope::tags([tag]).expect("a tag"),
            mode: Mode::Hard,
            matched: None,
            at: crate::clock::wall(),
        })
    }

    async fn hears(viewer: &mut Viewer) -> String {
        match viewer.next().await {
            Heard::Event(Event {
                id,
                purge: Some(it),
            }) => format!("{} {}", id.number, it.scope),
            Heard::Event(Event { id, purge: None }) => format!("{} nothing", id.number),
            Heard::Missed(id) => format!("{} missed", id.number),
            Heard::Over => "over".to_owned(),
        }
    }

    #[tokio::test]
    async fn who_comes_back_hears_what_was_missed() {
        let hub = Arc::new(Hub::default());
        let mut first = hub.enter("r", 9, None).expect("a place");
        let begin = first.last().to_string();
        for tag in ["a", "b", "c"] {
            hub.tell(Some(purge(tag)));
        }
        assert_eq!(hears(&mut first).await, "1 tag:a");
        let mut second = hub.enter("r", 9, Some(&begin)).expect("a place");
        assert_eq!(second.last().to_string(), begin);
        for expected in ["1 tag:a", "2 tag:b", "3 tag:c"] {
            assert_eq!(hears(&mut second).await, expected);
        }
        hub.tell(Some(purge("d")));
        assert_eq!(hears(&mut second).await, "4 tag:d");
        // Of nobody's, another process's, and of the future.
        for last in ["", "x-1", "1-1", &begin.replace("-0", "-99")] {
            let mut viewer = hub.enter("r", 9, Some(last)).expect("a place");
            assert_eq!(hears(&mut viewer).await, "4 missed", "{last}");
            hub.tell(Some(purge("e")));
            hub.state.lock().kept.pop_back();
            hub.state.lock().number -= 1;
            assert_eq!(hears(&mut viewer).await, "5 tag:e", "{last}");
        }
    }

    #[tokio::test]
    async fn who_is_behind_is_told_so_and_goes_on() {
        let hub = Arc::new(Hub::default());
        let mut slow = hub.enter("r", 1, None).expect("a place");
        for _ in 0..=KEPT {
            hub.tell(Some(purge("a")));
        }
        assert_eq!(hears(&mut slow).await, format!("{} missed", KEPT + 1));
        hub.tell(Some(purge("b")));
        assert_eq!(hears(&mut slow).await, format!("{} tag:b", KEPT + 2));
        hub.tell(None);
        assert_eq!(hears(&mut slow).await, format!("{} missed", KEPT + 3));
        assert_eq!(hub.state.lock().kept.len(), KEPT);
        assert_eq!(hub.missed.get(), 2);
    }

    #[tokio::test]
    async fn each_route_has_so_many_places() {
        let hub = Arc::new(Hub::default());
        let first = hub.enter("a", 1, None).expect("the first");
        assert!(hub.enter("a", 1, None).is_none(), "the second");
        assert!(hub.enter("b", 1, None).is_some(), "another route's first");
        drop(first);
        assert!(hub.enter("a", 1, None).is_some(), "after it has left");
        assert_eq!(hub.viewers.get(), 0);
        assert_eq!(hub.refused.get(), 1);
        assert!(hub.state.lock().following.is_empty());
    }
}
