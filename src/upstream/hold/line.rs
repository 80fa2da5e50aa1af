//! The line and its phases: what each event makes of them. Knows no threads, no channels' ends, no log.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::oneshot;

use super::incident::{Incident, Note};
use super::{Draining, Pass};
use crate::clock::{self, Instant};
use crate::upstream::pool::Nobody;

/// Requests that may be without an answer when the ramp begins.
const WINDOW_FIRST: usize = 2;

/// A window this wide holds nobody back; the ramp is over.
const WINDOW_WIDE: usize = 1_024;

/// The window doubles this often, answers or not.
pub const STEP: Duration = Duration::from_millis(50);

/// Which ramp a pass belongs to: one of an earlier ramp counts for nothing in this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Era(u64);

/// Everything about holding that changes.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) phase: Phase,
    era: Era,
    /// By number: whoever has waited longest is first.
    pub(super) line: BTreeMap<u64, Waiter>,
    next_number: u64,
    pub(super) draining: bool,
    pub(super) incident: Option<Incident>,
}

#[derive(Debug, Default)]
pub(super) enum Phase {
    /// Nobody has to wait.
    #[default]
    Clear,
    /// Nobody may go.
    Shut,
    /// Some may go.
    Ramp(Ramp),
}

#[derive(Debug)]
pub(super) struct Ramp {
    window: usize,
    /// Let go, and not answered yet.
    pub(super) out: usize,
    stepped: Instant,
}

impl Ramp {
    fn has_room(&self) -> bool {
        self.out < self.window
    }
}

/// One request in line.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) go: oneshot::Sender<Result<Pass, Draining>>,
    /// False while it wants to wait for a while, whoever is available.
    pub(super) ready: bool,
}

impl State {
    /// A number for a request that has not waited before.
    pub(super) fn draw_number(&mut self) -> u64 {
        let number = self.next_number;
        self.next_number += 1;
        let incident = self.incident.get_or_insert_with(Incident::new);
        incident.ticket_drawn();
        number
    }

    pub(super) fn is_clear(&self) -> bool {
        matches!(self.phase, Phase::Clear)
    }

    /// A request found nobody.
    pub(super) fn shut(&mut self) {
        self.phase = Phase::Shut;
    }

    /// Somebody is available.
    pub(super) fn open(&mut self) {
        match self.phase {
            Phase::Shut => {
                self.era.0 += 1;
                self.phase = Phase::Ramp(Ramp {
                    window: WINDOW_FIRST,
                    out: 0,
                    stepped: clock::now(),
                });
                if let Some(incident) = &mut self.incident {
                    incident.opened();
                }
            }
            Phase::Clear | Phase::Ramp(_) => {}
        }
    }

    /// Nobody is available.
    pub(super) fn close(&mut self) {
        match self.phase {
            Phase::Ramp(_) => self.phase = Phase::Shut,
            // A clear upstream is shut by the next request: an incident begins with one.
            Phase::Clear | Phase::Shut => {}
        }
    }

    /// Widens the window by the time that has passed.
    pub(super) fn widen(&mut self) {
        if let Phase::Ramp(ramp) = &mut self.phase {
            let now = clock::now();
            while now.duration_since(ramp.stepped) >= STEP && ramp.window < WINDOW_WIDE {
                ramp.window *= 2;
                ramp.stepped += STEP;
            }
        }
    }

    /// A pass for a request that is not in line, where it need not be.
    pub(super) fn pass(&mut self) -> Option<Era> {
        let has_line = self.has_line();
        match &mut self.phase {
            Phase::Clear => Some(self.era),
            Phase::Ramp(ramp) if ramp.has_room() && !has_line => {
                ramp.out += 1;
                Some(self.era)
            }
            Phase::Ramp(_) | Phase::Shut => None,
        }
    }

    /// A pass came back, and the window grows by `growth`.
    pub(super) fn pass_returned(&mut self, era: Era, growth: usize) {
        match &mut self.phase {
            Phase::Ramp(ramp) if era == self.era => {
                ramp.out = ramp.out.saturating_sub(1);
                ramp.window += growth;
            }
            Phase::Ramp(_) | Phase::Clear | Phase::Shut => {}
        }
    }

    /// Takes the next one who may go out of the line.
    pub(super) fn next(&mut self) -> Option<(Waiter, Era)> {
        let room = match &self.phase {
            Phase::Clear => true,
            Phase::Shut => false,
            Phase::Ramp(ramp) => ramp.has_room(),
        };
        if !room {
            return None;
        }
        let number = *self.line.iter().find(|(_, waiter)| waiter.ready)?.0;
        if let Phase::Ramp(ramp) = &mut self.phase {
            ramp.out += 1;
        }
        let waiter = self.line.remove(&number)?;
        Some((waiter, self.era))
    }

    /// Ends the ramp where it holds nobody back any more; gives away the incident where that is over too.
    pub(super) fn settle(&mut self) -> Option<Incident> {
        let has_line = self.has_line();
        if let Phase::Ramp(ramp) = &self.phase
            && (ramp.out == 0 || ramp.window >= WINDOW_WIDE)
            && !has_line
        {
            self.phase = Phase::Clear;
        }
        if self.is_clear() {
            self.incident.take_if(|incident| incident.is_settled())
        } else {
            None
        }
    }

    /// Somebody looked, and nobody answers still: the line for the log, where it is due.
    pub(super) fn seen(&mut self, nobody: impl FnOnce() -> Nobody) -> Option<Note> {
        match (&self.phase, &mut self.incident) {
            (Phase::Shut, Some(incident)) => incident.seen(nobody),
            _ => None,
        }
    }

    fn has_line(&self) -> bool {
        self.line.values().any(|waiter| waiter.ready)
    }
}
