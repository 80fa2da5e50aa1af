//! Where requests wait while nobody answers, and how they are let go: in order, a few at first, then more and more.
//!
//! ```text
//!           a request finds nobody             somebody is available
//!   Clear ──────────────────────────▶ Shut ─────────────────────────────▶ Ramp
//!     ▲                                 ▲                                 │  │
//!     │                                 └───── nobody is available ───────┘  │
//!     └──── nobody is in line, and all are answered or the window is wide ───┘
//! ```
//!
//! * **Clear**: requests go by without taking the lock.
//! * **Shut**: every request waits in line, by the number it drew when it first had to wait. One that was let go and
//!   could not connect comes back with its number, and so with its place and its deadline.
//! * **Ramp**: at most `window` requests are out without an answer. The window grows by one for each answer, so that a
//!   fast app is at full speed at once, and doubles every [`STEP`], so that a slow one does not starve the line. New
//!   requests wait behind those already in line.
//!
//! A request that leaves, at any moment, gives back what it has: its place in line is removed by a guard in the
//! waiting future; its place in the window is a [`Pass`], sent through a channel and therefore dropped with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;

mod incident;
mod line;
#[cfg(test)]
mod tests;

use self::incident::{Incident, Note};
pub use self::line::STEP;
use self::line::{Era, Phase, State, Waiter};
use super::metrics::{HoldMetrics, HoldOutcome};
use super::pool::Nobody;
use crate::clock::{self, Instant};

/// The holding of one upstream's requests.
#[derive(Debug)]
pub struct Hold {
    name: Arc<str>,
    patience: Duration,
    line_max: usize,
    metrics: HoldMetrics,
    /// A copy of "the phase is `Clear`", for requests to read without the lock.
    clear: AtomicBool,
    /// Guards the line and its phase. Held for a look at one map; never while logging, waking or dropping a [`Pass`].
    state: Mutex<State>,
}

/// The process is ending.
#[derive(Debug)]
struct Draining;

/// Leave to go to the servers; while a ramp lasts, one place in its window. Given back when dropped.
#[derive(Debug)]
pub struct Pass {
    hold: Arc<Hold>,
    /// The ramp it belongs to, until it is given back.
    era: Option<Era>,
}

impl Pass {
    /// The request was answered: the window grows by one.
    pub fn answered(mut self) {
        if let Some(era) = self.era.take() {
            self.hold.pass_returned(era, 1);
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if let Some(era) = self.era.take() {
            self.hold.pass_returned(era, 0);
        }
    }
}

/// Why a request is not held any longer, or not at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HoldRefusal {
    /// As many as may be are held already.
    Full,
    /// It waited as long as it may.
    Expired,
    /// The process is ending.
    Draining,
}

/// One request's being held: its number, and its end for the books. Lives from the first wait to the answer.
#[derive(Debug)]
pub struct Ticket {
    hold: Arc<Hold>,
    number: u64,
    deadline: Instant,
    waited: Duration,
    /// Whether it was let go and has not come back.
    released: bool,
    outcome: Option<HoldOutcome>,
}

impl Ticket {
    /// How long it has waited in line, over all its waits.
    pub fn waited(&self) -> Duration {
        self.waited
    }

    /// When its patience ends.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// The request was answered.
    pub fn served(mut self) {
        self.outcome.get_or_insert(HoldOutcome::Served);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let outcome = self.outcome.unwrap_or(if self.released {
            HoldOutcome::Failed
        } else {
            HoldOutcome::Left
        });
        self.hold.metrics.ended(outcome, self.waited);
        self.hold.change(|state| {
            if let Some(incident) = &mut state.incident {
                incident.ticket_ended(outcome);
            }
        });
    }
}

impl Hold {
    /// Holds up to `line_max` requests for up to `patience` each; zero patience holds nobody.
    pub fn new(
        name: Arc<str>,
        patience: Duration,
        line_max: usize,
        metrics: HoldMetrics,
    ) -> Arc<Self> {
        Arc::new(Self {
            name,
            patience,
            line_max,
            metrics,
            clear: AtomicBool::new(true),
            state: Mutex::default(),
        })
    }

    /// Whether requests are held at all.
    pub fn is_on(&self) -> bool {
        !self.patience.is_zero()
    }

    /// Whether a request may go by without asking.
    pub fn is_clear(&self) -> bool {
        self.clear.load(Ordering::Acquire)
    }

    /// Requests that wait.
    pub fn held(&self) -> usize {
        self.state.lock().line.len()
    }

    /// Whether requests wait or a ramp lasts, so that somebody must look often.
    pub fn is_busy(&self) -> bool {
        let state = self.state.lock();
        !state.line.is_empty() || matches!(state.phase, Phase::Ramp(_))
    }

    /// A number for a request that has to wait for the first time. Its patience ends at `latest` at the latest.
    ///
    /// # Errors
    /// [`HoldRefusal::Full`] and [`HoldRefusal::Draining`].
    pub fn ticket(self: &Arc<Self>, latest: Option<Instant>) -> Result<Ticket, HoldRefusal> {
        let mut state = self.state.lock();
        if state.draining {
            return Err(HoldRefusal::Draining);
        }
        if state.line.len() >= self.line_max {
            drop(state);
            self.metrics.shed();
            return Err(HoldRefusal::Full);
        }
        let number = state.draw_number();
        drop(state);
        let deadline = clock::now() + self.patience;
        Ok(Ticket {
            hold: Arc::clone(self),
            number,
            deadline: latest.map_or(deadline, |latest| latest.min(deadline)),
            waited: Duration::ZERO,
            released: false,
            outcome: None,
        })
    }

    /// A pass without waiting: where nothing is wrong, or a ramp has room and nobody is in line.
    pub fn pass(self: &Arc<Self>) -> Option<Pass> {
        let era = self.state.lock().pass()?;
        Some(self.issue(era))
    }

    /// Waits until it is this ticket's turn.
    ///
    /// `nobody` says that the request found nobody, and why; `None` that it waits because others do, or because it
    /// wants to: then it does not line up before `not_before`. `somebody` is asked once the request is in line, so
    /// that an event between its finding nobody and its lining up is not lost.
    ///
    /// # Errors
    /// [`HoldRefusal::Expired`] and [`HoldRefusal::Draining`].
    pub async fn wait(
        self: &Arc<Self>,
        ticket: &mut Ticket,
        nobody: Option<&Nobody>,
        not_before: Option<Instant>,
        somebody: impl Fn() -> bool,
    ) -> Result<Pass, HoldRefusal> {
        let began = clock::now();
        ticket.released = false;
        let answer = match self.line_up(ticket.number, nobody, not_before.is_none()) {
            Ok(mut place) => {
                self.survey(somebody());
                place.turn(ticket.deadline, not_before).await
            }
            Err(draining) => Some(Err(draining)),
        };
        ticket.waited += clock::now() - began;
        match answer {
            Some(Ok(pass)) => {
                ticket.released = true;
                Ok(pass)
            }
            Some(Err(Draining)) => {
                ticket.outcome.get_or_insert(HoldOutcome::Draining);
                Err(HoldRefusal::Draining)
            }
            None => {
                ticket.outcome.get_or_insert(HoldOutcome::Expired);
                Err(HoldRefusal::Expired)
            }
        }
    }

    /// Takes note of whether anybody is available.
    pub fn survey(self: &Arc<Self>, somebody: bool) {
        self.change(|state| {
            if somebody {
                state.open();
            } else {
                state.close();
            }
        });
    }

    /// Widens the window by the time that has passed. To be called about every [`STEP`] while [`Hold::is_busy`];
    /// `nobody` is asked why, where an incident has not been logged yet.
    pub fn step(self: &Arc<Self>, nobody: impl FnOnce() -> Nobody) {
        self.change(State::widen);
        let note = self.state.lock().seen(nobody);
        self.say(note);
    }

    /// From now on nobody waits: those who do are told, and so is everyone who would.
    pub fn drain(&self) {
        let line = {
            let mut state = self.state.lock();
            state.draining = true;
            std::mem::take(&mut state.line)
        };
        self.metrics.waiting(-signed(line.len()));
        for waiter in line.into_values() {
            // An error is a request that left.
            let _ = waiter.go.send(Err(Draining));
        }
    }

    fn line_up(
        self: &Arc<Self>,
        number: u64,
        nobody: Option<&Nobody>,
        ready: bool,
    ) -> Result<Place, Draining> {
        let (go, turn) = oneshot::channel();
        let note = {
            let mut state = self.state.lock();
            if state.draining {
                return Err(Draining);
            }
            state.line.insert(number, Waiter { go, ready });
            nobody.and_then(|nobody| {
                state.shut();
                self.clear.store(false, Ordering::Release);
                state.seen(|| nobody.clone())
            })
        };
        self.metrics.waiting(1);
        self.say(note);
        Ok(Place {
            hold: Arc::clone(self),
            number,
            turn,
        })
    }

    fn issue(self: &Arc<Self>, era: Era) -> Pass {
        Pass {
            hold: Arc::clone(self),
            era: Some(era),
        }
    }

    fn pass_returned(self: &Arc<Self>, era: Era, growth: usize) {
        // Once the ramp is over, which is nearly always, there is nothing to give back to.
        if !self.is_clear() {
            self.change(|state| state.pass_returned(era, growth));
        }
    }

    /// Changes the state, lets go whoever may go now, and sees whether all is over.
    fn change(self: &Arc<Self>, change: impl FnOnce(&mut State)) {
        let mut let_go = Vec::new();
        let note = {
            let mut state = self.state.lock();
            change(&mut state);
            while let Some((waiter, era)) = state.next() {
                let_go.push((waiter, self.issue(era)));
            }
            let over = state.settle();
            self.clear.store(state.is_clear(), Ordering::Release);
            over.map(Incident::over)
        };
        self.metrics.waiting(-signed(let_go.len()));
        for (waiter, pass) in let_go {
            // An error is a request that left; the pass comes back with it, and is dropped without the lock.
            let _ = waiter.go.send(Ok(pass));
        }
        self.say(note);
    }

    fn say(&self, note: Option<Note>) {
        if let Some(note) = note {
            note.log(&self.name, self.patience);
        }
    }
}

/// A place in line; given up when dropped.
struct Place {
    hold: Arc<Hold>,
    number: u64,
    turn: oneshot::Receiver<Result<Pass, Draining>>,
}

impl Place {
    /// Waits to be let go; `None` when the deadline comes first.
    async fn turn(
        &mut self,
        deadline: Instant,
        mut not_before: Option<Instant>,
    ) -> Option<Result<Pass, Draining>> {
        loop {
            let alarm = not_before.map_or(deadline, |at| at.min(deadline));
            tokio::select! {
                // A pass that came in the same moment as the deadline is still a pass.
                biased;
                answer = &mut self.turn => return answer.ok(),
                () = tokio::time::sleep_until(alarm) => match not_before.take() {
                    Some(at) if at < deadline => self.ready(),
                    _ => return None,
                },
            }
        }
    }

    fn ready(&self) {
        self.hold.change(|state| {
            if let Some(waiter) = state.line.get_mut(&self.number) {
                waiter.ready = true;
            }
        });
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let waited = self.hold.state.lock().line.remove(&self.number).is_some();
        if waited {
            self.hold.metrics.waiting(-1);
        }
    }
}

fn signed(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
