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
    pub(super) fn log(&self, upstream: &str, patience: Duration) {
        match self {
            Self::Began(nobody) => {
                let reason = nobody.word();
                tracing::warn!(reason, "{}", self.line(upstream, patience));
            }
            Self::Over { .. } => tracing::info!("{}", self.line(upstream, patience)),
            Self::Nothing => {}
        }
    }

    fn line(&self, upstream: &str, patience: Duration) -> String {
        match self {
            Self::Began(nobody) => format!(
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
                let some = |n: &usize, what| match n {
                    0 => String::new(),
                    n => format!(", {n} {what}"),
                };
                let were = if *held == 1 { " was" } else { "s were" };
                format!(
                    "upstream `{upstream}` answers again after {:.1}s; {held} request{were} held, {served} served{}{}",
                    lasted.as_secs_f64(),
                    some(expired, "waited in vain"),
                    some(failed, "failed")
                )
            }
            Self::Nothing => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    fn refused() -> Nobody {
        Nobody::Unreachable {
            server: "app:5000".into(),
            why: "connection refused".to_owned(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_two_lines_of_an_incident() {
        let mut incident = Incident::new();
        (0..20).for_each(|_| incident.ticket_drawn());
        let began = incident.seen(refused).expect("a line");
        assert_eq!(
            began.line("app", PATIENCE),
            "upstream `app`: nobody answers (app:5000: connection refused); requests wait up to 10s"
        );
        assert_eq!(incident.seen(refused), None, "one is enough");
        tokio::time::advance(Duration::from_millis(4_100)).await;
        incident.opened();
        tokio::time::advance(Duration::from_secs(2)).await;
        (0..20).for_each(|_| incident.ticket_ended(HoldOutcome::Served));
        assert!(incident.is_settled());
        assert_eq!(
            incident.over().line("app", PATIENCE),
            "upstream `app` answers again after 4.1s; 20 requests were held, 20 served"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_waited_in_vain_are_not_passed_over() {
        let mut incident = Incident::new();
        incident.seen(refused);
        for outcome in [
            HoldOutcome::Served,
            HoldOutcome::Expired,
            HoldOutcome::Expired,
            HoldOutcome::Failed,
            HoldOutcome::Left,
        ] {
            incident.ticket_drawn();
            incident.ticket_ended(outcome);
        }
        assert_eq!(
            incident.over().line("app", PATIENCE),
            "upstream `app` answers again after 0.0s; 5 requests were held, 1 served, 2 waited in vain, 1 failed"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_quick_first_look_up_is_no_incident() {
        let pending = || Nobody::NotResolvedYet {
            name: "app".to_owned(),
        };
        let mut incident = Incident::new();
        assert_eq!(incident.seen(pending), None);
        assert_eq!(incident.over(), Note::Nothing);
        let mut incident = Incident::new();
        tokio::time::advance(LOOK_UP_GRACE).await;
        assert!(incident.seen(pending).is_some(), "a slow one is");
    }
}
