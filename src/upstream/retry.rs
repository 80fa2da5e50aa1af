//! When a failed try is repeated: what the failure proves, what the request allows, and a budget against storms.
//!
//! | the try failed                                    | repeated                                                    |
//! |---------------------------------------------------|-------------------------------------------------------------|
//! | while connecting                                  | always: nothing was sent                                    |
//! | on a kept connection that was dead before a byte  | when idempotent and replayable; free, but not without end   |
//! | otherwise after sending                           | when idempotent and replayable, within `tries` and `budget` |
//!
//! A try that met the end of its server is not one of `tries` (see [`ending`](super::ending)). What has to wait in line for its next try is not on the budget.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::clock::{self, Instant};

/// Dead kept connections that one request may meet for free. A pool holds several to one server, and all die at once
/// when it restarts; but after these, a try is a try like any other.
const STALE_MAX: u32 = 8;

/// Failed connects that one request may go through while somebody else is left to be asked. Connects that end in
/// holding are bounded by the hold's deadline instead.
const CONNECTS_MAX: u32 = 16;

/// How many tries of one request may meet the end of a server without counting: few enough that a request which ends servers by
/// itself is found out, and none where the operator wants what was sent to be sent once.
pub fn endings_max(tries_max: u32) -> u32 {
    2 * tries_max.saturating_sub(1)
}

/// How a try failed after the connection was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// A connection kept from an earlier request was closed or reset before any byte of the answer.
    StaleConnection,
    /// A connection made for this try was closed or reset before the answer's head was complete.
    Reset,
    /// The answer's head did not come in time.
    Timeout,
    /// The answer is not HTTP.
    Malformed,
}

/// Why a request was tried once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryReason {
    /// The connect failed.
    Connect,
    /// The kept connection was dead.
    StaleConnection,
    /// The connection broke.
    Reset,
    /// The answer did not come in time.
    Timeout,
    /// The answer was not HTTP.
    Malformed,
    /// The app said that it is starting.
    Starting,
}

impl RetryReason {
    /// The word in the access log and metrics.
    pub fn word(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::StaleConnection => "stale_connection",
            Self::Reset => "reset",
            Self::Timeout => "timeout",
            Self::Malformed => "malformed",
            Self::Starting => "starting",
        }
    }
}

impl From<FailureKind> for RetryReason {
    fn from(kind: FailureKind) -> Self {
        match kind {
            FailureKind::StaleConnection => Self::StaleConnection,
            FailureKind::Reset => Self::Reset,
            FailureKind::Timeout => Self::Timeout,
            FailureKind::Malformed => Self::Malformed,
        }
    }
}

/// What the request allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryQuestion {
    /// Whether sending it twice does what sending it once does (RFC 9110 §9.2.2).
    pub idempotent: bool,
    /// Whether its body can be sent again from the start; true without a body.
    pub replayable: bool,
}

/// Why a failed try is not repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryRefusal {
    /// No try has failed.
    NothingFailed,
    /// The request may have had its effect already.
    NotIdempotent,
    /// The request's body is gone.
    NotReplayable,
    /// `retry.tries` are used up.
    TriesExhausted,
    /// `retry.budget` is used up.
    BudgetSpent,
}

impl RetryRefusal {
    /// The word in the access log and metrics.
    pub fn word(self) -> &'static str {
        match self {
            Self::NothingFailed => "nothing_failed",
            Self::NotIdempotent => "not_idempotent",
            Self::NotReplayable => "not_replayable",
            Self::TriesExhausted => "tries_exhausted",
            Self::BudgetSpent => "budget_spent",
        }
    }
}

/// How a request's last try ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// While connecting; `held` when the next try will wait in hold, which has a deadline of its own.
    Connect {
        /// Whether nobody is left but to wait.
        held: bool,
        /// Whether waiting will not mend it: the hand-shake failed, or we could not even try.
        hopeless: bool,
    },
    /// After the connection was made.
    Sent(FailureKind),
}

/// What one request has been through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Tries that count.
    pub tries: u32,
    /// Kept connections that were dead.
    pub stale: u32,
    /// Connects that failed.
    pub connects: u32,
}

/// Whether to try again.
///
/// # Errors
/// [`RetryRefusal`]. The budget is asked last, and only spent when the answer is yes.
pub fn decide(
    failure: Failure,
    question: RetryQuestion,
    tally: Tally,
    tries_max: u32,
    spend: impl FnOnce() -> bool,
) -> Result<RetryReason, RetryRefusal> {
    let kind = match failure {
        Failure::Connect { held: true, .. } => return Ok(RetryReason::Connect),
        Failure::Connect { hopeless, .. } => {
            let max = if hopeless {
                tries_max
            } else {
                CONNECTS_MAX.max(tries_max)
            };
            return if tally.connects < max {
                Ok(RetryReason::Connect)
            } else {
                Err(RetryRefusal::TriesExhausted)
            };
        }
        Failure::Sent(kind) => kind,
    };
    if !question.idempotent {
        return Err(RetryRefusal::NotIdempotent);
    }
    if !question.replayable {
        return Err(RetryRefusal::NotReplayable);
    }
    if kind == FailureKind::StaleConnection && tally.stale <= STALE_MAX {
        return Ok(kind.into());
    }
    // Dead connections beyond the free ones are tries like any other.
    if tally.tries + tally.stale.saturating_sub(STALE_MAX) >= tries_max {
        return Err(RetryRefusal::TriesExhausted);
    }
    if !spend() {
        return Err(RetryRefusal::BudgetSpent);
    }
    Ok(kind.into())
}

/// Seconds over which the share of retries is taken.
const WINDOW: usize = 10;

/// Retries that are allowed in any second, whatever the share: without them, an upstream with little traffic could
/// never retry.
const ALWAYS: u32 = 10;

/// The share of an upstream's requests that may be retries, over the last ten seconds.
///
/// Each second has a cell of its own, so that old requests are forgotten without a timer. Counting is a relaxed atomic
/// addition; two threads that meet at the turn of a second may lose a count, which a budget can bear.
#[derive(Debug)]
pub struct Budget {
    share: f32,
    born: Instant,
    cells: [Cell; WINDOW],
}

#[derive(Debug, Default)]
struct Cell {
    second: AtomicU64,
    requests: AtomicU32,
    retries: AtomicU32,
}

impl Budget {
    /// At most `share` (0.0 to 1.0) of requests.
    pub fn new(share: f32) -> Self {
        Self {
            share,
            born: clock::now(),
            cells: Default::default(),
        }
    }

    /// Counts a request.
    pub fn request(&self) {
        self.cell(self.second())
            .requests
            .fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a retry, where one may be made.
    pub fn spend(&self) -> bool {
        let now = self.second();
        let cell = self.cell(now);
        let (mut requests, mut retries) = (0u64, 0u64);
        for cell in &self.cells {
            if now.saturating_sub(cell.second.load(Ordering::Relaxed)) < WINDOW as u64 {
                requests += u64::from(cell.requests.load(Ordering::Relaxed));
                retries += u64::from(cell.retries.load(Ordering::Relaxed));
            }
        }
        #[expect(clippy::cast_precision_loss, reason = "a share needs no more digits")]
        let within_share = ((retries + 1) as f64) <= requests as f64 * f64::from(self.share);
        let allowed = within_share || cell.retries.load(Ordering::Relaxed) < ALWAYS;
        if allowed {
            cell.retries.fetch_add(1, Ordering::Relaxed);
        }
        allowed
    }

    /// Seconds since the budget was made, from 1 on: 0 is a cell that was never used.
    fn second(&self) -> u64 {
        self.born.elapsed().as_secs() + 1
    }

    fn cell(&self, second: u64) -> &Cell {
        let index = usize::try_from(second % WINDOW as u64).unwrap_or(0);
        let cell = &self.cells[index];
        let found = cell.second.load(Ordering::Relaxed);
        if found != second {
            let swapped =
                cell.second
                    .compare_exchange(found, second, Ordering::Relaxed, Ordering::Relaxed);
            if swapped.is_ok() {
                cell.requests.store(0, Ordering::Relaxed);
                cell.retries.store(0, Ordering::Relaxed);
            }
        }
        cell
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_log_knows_the_reasons() {
        use RetryReason::{Connect, Malformed, Reset, StaleConnection, Starting, Timeout};
        let all = [
            Connect,
            StaleConnection,
            Reset,
            Timeout,
            Malformed,
            Starting,
        ];
        assert_eq!(
            all.map(RetryReason::word),
            crate::telemetry::access_log::RETRY_REASON
        );
    }

    #[test]
    fn what_is_repeated() {
        use FailureKind::{Reset, StaleConnection, Timeout};
        const FREE: RetryQuestion = RetryQuestion {
            idempotent: true,
            replayable: true,
        };
        const POST: RetryQuestion = RetryQuestion {
            idempotent: false,
            replayable: true,
        };
        const SENT: RetryQuestion = RetryQuestion {
            idempotent: true,
            replayable: false,
        };
        let connect = |held, hopeless| Failure::Connect { held, hopeless };
        let tally = |tries, stale, connects| Tally {
            tries,
            stale,
            connects,
        };
        let yes = |reason| Ok::<_, RetryRefusal>(reason);
        #[rustfmt::skip]
        let table = [
            ("a connect, whatever the method", connect(false, false), POST, tally(1, 0, 1), true, yes(RetryReason::Connect)),
            ("a connect, whatever the body", connect(false, false), SENT, tally(1, 0, 1), true, yes(RetryReason::Connect)),
            ("connects end", connect(false, false), FREE, tally(1, 0, 16), true, Err(RetryRefusal::TriesExhausted)),
            ("connects that end in hold do not", connect(true, false), POST, tally(9, 0, 99), false, yes(RetryReason::Connect)),
            ("a failed hand-shake is a try", connect(false, true), FREE, tally(1, 0, 3), true, Err(RetryRefusal::TriesExhausted)),
            ("a reset", Failure::Sent(Reset), FREE, tally(1, 0, 0), true, yes(RetryReason::Reset)),
            ("a reset, the last try", Failure::Sent(Reset), FREE, tally(3, 0, 0), true, Err(RetryRefusal::TriesExhausted)),
            ("a reset, not idempotent", Failure::Sent(Reset), POST, tally(1, 0, 0), true, Err(RetryRefusal::NotIdempotent)),
            ("a reset, body gone", Failure::Sent(Reset), SENT, tally(1, 0, 0), true, Err(RetryRefusal::NotReplayable)),
            ("a timeout, budget spent", Failure::Sent(Timeout), FREE, tally(1, 0, 0), false, Err(RetryRefusal::BudgetSpent)),
            ("a dead kept connection is free", Failure::Sent(StaleConnection), FREE, tally(3, 1, 0), false, yes(RetryReason::StaleConnection)),
            ("and several more", Failure::Sent(StaleConnection), FREE, tally(3, 8, 0), false, yes(RetryReason::StaleConnection)),
            ("but not for ever", Failure::Sent(StaleConnection), FREE, tally(0, 11, 0), true, Err(RetryRefusal::TriesExhausted)),
            ("nor beyond the tries", Failure::Sent(StaleConnection), FREE, tally(3, 9, 0), true, Err(RetryRefusal::TriesExhausted)),
            ("nor for POST", Failure::Sent(StaleConnection), POST, tally(1, 1, 0), true, Err(RetryRefusal::NotIdempotent)),
        ];
        for (name, failure, question, tally, budget, expected) in table {
            let decided = decide(failure, question, tally, 3, || budget);
            assert_eq!(decided, expected, "{name}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_budget() {
        for (requests, share, allowed) in [
            (0, 0.2, 10),
            (10, 0.2, 10),
            (100, 0.2, 20),
            (1_000, 0.2, 200),
            (1_000, 0.0, 10),
            (100, 1.0, 100),
        ] {
            let budget = Budget::new(share);
            (0..requests).for_each(|_| budget.request());
            let spent = (0..2_000).filter(|_| budget.spend()).count();
            assert_eq!(spent, allowed, "{requests} requests, share {share}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_budget_forgets() {
        let budget = Budget::new(0.2);
        (0..1_000).for_each(|_| budget.request());
        assert_eq!((0..1_000).filter(|_| budget.spend()).count(), 200);
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(
            (0..1_000).filter(|_| budget.spend()).count(),
            10,
            "ten a second all the same"
        );
        tokio::time::advance(Duration::from_secs(10)).await;
        (0..100).for_each(|_| budget.request());
        assert_eq!((0..1_000).filter(|_| budget.spend()).count(), 20);
    }
}
