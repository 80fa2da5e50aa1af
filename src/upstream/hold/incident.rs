//! One outage as the operator reads of it: a line when holding begins, a line when it has ended, nothing between.

use std::time::Duration;

use super::super::metrics::HoldOutcome;
use super::super::pool::Nobody;
use crate::clock::{self, Instant};
use crate::units::format_duration;

/// A first look-up is given this long before waiting for it is called an incident: it happens at every start.
const LOOK_UP_GRACE: Duration = Duration::from_millis(500);

/// From the first request that had to wait to the last one's end.
#[derive(Debug)]
pub(super) struct Incident {
    began: Instant,
    /// When somebody was last found to be available again.
    opened: Option<Instant>,
    logged: bool,
    /// Tickets drawn, and those of them that have not ended.
    held: usize,
    open: usize,
    served: usize,
    expired: usize,
    failed: usize,
}

/// A line for the log, to be written once no lock is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Note {
    Began(Nobody),
    Over {
        lasted: Duration,
        held: usize,
        served: usize,
        expired: usize,
        failed: usize,
    },
    /// It ended before it was worth a line.
    Nothing,
}

impl Incident {
    pub(super) fn new() -> Self {
        Self {
            began: clock::now(),
            opened: None,
            logged: false,
            held: 0,
            open: 0,
            served: 0,
            expired: 0,
            failed: 0,
        }
    }

    pub(super) fn ticket_drawn(&mut self) {
        self.held += 1;
        self.open += 1;
    }

    pub(super) fn ticket_ended(&mut self, outcome: HoldOutcome) {
        self.open = self.open.saturating_sub(1);
        match outcome {
            HoldOutcome::Served => self.served += 1,
            HoldOutcome::Expired => self.expired += 1,
            HoldOutcome::Failed => self.failed += 1,
            HoldOutcome::Left | HoldOutcome::Draining | HoldOutcome::Shed => {}
        }
    }

    pub(super) fn opened(&mut self) {
        self.opened = Some(clock::now());
    }

    /// Nobody answers still. The line for the log, where it is due and was not written yet.
    pub(super) fn seen(&mut self, nobody: impl FnOnce() -> Nobody) -> Option<Note> {
        if self.logged {
            return None;
        }
        let nobody = nobody();
        let young = self.began.elapsed() < LOOK_UP_GRACE;
        if young && matches!(nobody, Nobody::NotResolvedYet { .. }) {
            return None;
        }
        self.logged = true;
        Some(Note::Began(nobody))
    }

    /// Whether everyone who was held has come to an end.
    pub(super) fn is_settled(&self) -> bool {
        self.open == 0
    }

    #[expect(clippy::needless_pass_by_value, reason = "an incident ends but once")]
    pub(super) fn over(self) -> Note {
        if !self.logged {
            return Note::Nothing;
        }
        Note::Over {
            lasted: self.opened.unwrap_or_else(clock::now) - self.began,
            held: self.held,
            served: self.served,
            expired: self.expired,
            failed: self.failed,
        }
    }
}

impl Note {
    pub(super) fn log(self, upstream: &str, patience: Duration) {
        match self {
            Self::Began(nobody) => tracing::warn!(
                reason = nobody.word(),
                "upstream `{upstream}`: nobody answers ({nobody}); requests wait up to {}",
                format_duration(patience)
            ),
            Self::Over {
                lasted,
                held,
                served,
                expired,
                failed,
            } => {
                let mut rest = String::new();
                for (n, what) in [(expired, "waited in vain"), (failed, "failed")] {
                    if n > 0 {
                        rest += &format!(", {n} {what}");
                    }
                }
                let s = if held == 1 { " was" } else { "s were" };
                tracing::info!(
                    "upstream `{upstream}` answers again after {:.1}s; {held} request{s} held, {served} served{rest}",
                    lasted.as_secs_f64()
                );
            }
            Self::Nothing => {}
        }
    }
}
