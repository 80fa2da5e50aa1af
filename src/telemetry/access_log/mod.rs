//! The access log: one line a request, written by one thread off the request path.
//!
//! A request's thread only moves its entry into a bounded queue; formatting and writing happen on the log's own thread,
//! many entries at a time. Where the queue is full (a disk or a reader that stands still) entries are lost and counted:
//! a request never waits for its log line. A write error is counted too, said once, and stops nothing.

mod entry;
mod format;
mod output;
mod writer;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use prometheus_client::metrics::counter::Counter;

pub use entry::{AccessEntry, CACHE, END, EndState, PROTO, RETRY_REASON};

use crate::clock::{self, Instant};
use crate::telemetry::settings::{AccessLogTarget, LogSettings};
use crate::telemetry::{Registry, TelemetryError};
use output::Output;

/// Entries that may wait for the writer.
const QUEUE_ENTRIES_MAX: usize = 8_192;
/// Bytes that waiting entries may hold together; a flood of 64 KiB targets reaches this first.
const QUEUE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// From this many waiting entries on, the writer is woken from its pause between two writes.
const QUEUE_ENTRIES_URGENT: usize = QUEUE_ENTRIES_MAX / 4;
/// Losses are said at most this often.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// A handle to the access log; clones share it. The thread ends when the last one is dropped.
#[derive(Debug, Clone)]
pub struct AccessLog {
    owner: Arc<Owner>,
}

/// Ends the thread when dropped.
#[derive(Debug)]
struct Owner {
    shared: Arc<Shared>,
}

/// What the recording threads and the writer share.
#[derive(Debug)]
struct Shared {
    /// False while the log is off: then recording is this one load.
    enabled: AtomicBool,
    /// Guards the queue and the orders. Held for a push or a swap, never while formatting or writing.
    state: Mutex<State>,
    /// The writer waits here.
    wake: Condvar,
    /// Those who flush wait here.
    written: Condvar,
    lost: Counter,
}

#[derive(Debug, Default)]
struct State {
    queue: Vec<AccessEntry>,
    queued_bytes: usize,
    /// Entries and orders ever given, and those of them that the writer is done with, in whatever way.
    given_ever: u64,
    done_ever: u64,
    writer: WriterState,
    /// Callers waiting in `flush`: they make the writer skip its pause.
    flushing: usize,
    reopen: bool,
    replace: Option<Output>,
    closed: bool,
    warned_at: Option<Instant>,
}

/// What the writer is about.
#[derive(Debug, Default, PartialEq, Eq)]
enum WriterState {
    /// There is no thread yet.
    #[default]
    Absent,
    /// It writes or pauses, and will look at the queue of its own accord.
    Busy,
    /// It waits without a deadline and nobody has woken it: only then a record must.
    Idle,
}

impl AccessLog {
    /// Opens the target and starts the writer's thread; with the log off, neither.
    ///
    /// # Errors
    /// [`TelemetryError`] when the target cannot be opened or the thread not be started.
    pub fn start(settings: &LogSettings) -> Result<Self, TelemetryError> {
        let shared = Arc::new(Shared {
            enabled: AtomicBool::new(false),
            state: Mutex::default(),
            wake: Condvar::new(),
            written: Condvar::new(),
            lost: Counter::default(),
        });
        let log = Self {
            owner: Arc::new(Owner { shared }),
        };
        log.reconfigure(settings)?;
        Ok(log)
    }

    /// Takes on new settings. What is queued goes to the old target; on an error the old target stays.
    ///
    /// # Errors
    /// As [`AccessLog::start`].
    pub fn reconfigure(&self, settings: &LogSettings) -> Result<(), TelemetryError> {
        let shared = &self.owner.shared;
        if settings.access == AccessLogTarget::Off {
            shared.enabled.store(false, Ordering::Relaxed);
            return Ok(());
        }
        let output = Output::open(&settings.access, settings.format)?;
        let mut state = shared.state.lock();
        if state.writer == WriterState::Absent {
            writer::spawn(Arc::clone(shared))?;
            state.writer = WriterState::Busy;
        }
        state.replace = Some(output);
        state.given_ever += 1;
        drop(state);
        shared.wake.notify_one();
        shared.enabled.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Whether entries are wanted at all. Ask before gathering what only the log needs.
    pub fn is_enabled(&self) -> bool {
        self.owner.shared.enabled.load(Ordering::Relaxed)
    }

    /// Queues an entry: one short lock, no formatting, no system call unless the writer sleeps. Never blocks; where the
    /// queue is full the entry is lost and counted.
    pub fn record(&self, entry: AccessEntry) {
        if !self.is_enabled() {
            return;
        }
        let shared = &self.owner.shared;
        let weight = entry.weight();
        let mut state = shared.state.lock();
        if state.queue.len() >= QUEUE_ENTRIES_MAX || state.queued_bytes + weight > QUEUE_BYTES_MAX {
            let warn = state.may_warn();
            drop(state);
            shared.lost.inc();
            if warn {
                tracing::warn!(
                    lost_in_all = shared.lost.get(),
                    "access log lines are lost: whoever reads or stores the log is too slow"
                );
            }
            return;
        }
        state.queued_bytes += weight;
        state.given_ever += 1;
        state.queue.push(entry);
        let wake = state.writer == WriterState::Idle || state.queue.len() == QUEUE_ENTRIES_URGENT;
        if wake {
            state.writer = WriterState::Busy;
        }
        drop(state);
        if wake {
            shared.wake.notify_one();
        }
    }

    /// Opens the file again, after logrotate has moved it away. Queued entries go to the old one. Returns at once; a
    /// failure is logged and the old file kept.
    pub fn reopen(&self) {
        let mut state = self.owner.shared.state.lock();
        state.reopen = true;
        state.given_ever += 1;
        drop(state);
        self.owner.shared.wake.notify_one();
    }

    /// Waits until all that was recorded or ordered before this call is done or lost, blocking the calling thread for `timeout`
    /// at most. False where the time was not enough.
    pub fn flush(&self, timeout: Duration) -> bool {
        let shared = &self.owner.shared;
        let mut state = shared.state.lock();
        let target = state.given_ever;
        state.flushing += 1;
        shared.wake.notify_one();
        shared
            .written
            .wait_while_for(&mut state, |state| state.done_ever < target, timeout);
        state.flushing -= 1;
        state.done_ever >= target
    }

    /// Lines lost since the start: queue full, or not written.
    pub fn lost(&self) -> u64 {
        self.owner.shared.lost.get()
    }

    /// Registers `access_log_lost_total`.
    pub fn register(&self, registry: &Registry) {
        let lost = self.owner.shared.lost.clone();
        registry.register(|r| {
            r.register(
                "access_log_lost",
                "Access log lines lost: queue full or not written",
                lost,
            );
        });
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.shared.state.lock().closed = true;
        self.shared.wake.notify_one();
    }
}

impl State {
    /// Whether the writer has anything to do.
    fn has_work(&self) -> bool {
        !self.queue.is_empty() || self.reopen || self.replace.is_some() || self.closed
    }

    /// Whether it is worth to interrupt the writer's pause.
    fn is_urgent(&self) -> bool {
        self.flushing > 0
            || self.queue.len() >= QUEUE_ENTRIES_URGENT
            || self.reopen
            || self.replace.is_some()
            || self.closed
    }

    fn may_warn(&mut self) -> bool {
        let now = clock::now();
        let due = self
            .warned_at
            .is_none_or(|at| now.saturating_duration_since(at) >= WARN_EVERY);
        if due {
            self.warned_at = Some(now);
        }
        due
    }
}

#[cfg(test)]
mod tests;
