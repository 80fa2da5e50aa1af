//! The access log's thread: takes the whole queue, formats it, writes it at once, pauses, and takes the next.
//!
//! The pause makes batches: without it, every request of a busy proxy would wake this thread. A lone request is written
//! at once, because the writer is idle then.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::output::Output;
use super::{AccessEntry, Shared, WriterState, format};
use crate::telemetry::TelemetryError;

/// After a write, lines gather this long before the next one.
const PAUSE: Duration = Duration::from_millis(20);
/// One write is at most about this long.
const WRITE_BYTES: usize = 256 * 1024;
/// A queue that a burst has stretched gives its memory back down to this many entries.
const QUEUE_ENTRIES_KEPT: usize = 512;

/// What the writer found when it woke.
struct Work {
    entries: Vec<AccessEntry>,
    reopen: bool,
    replace: Option<Output>,
    closed: bool,
    /// What `State::given_ever` was when this was taken.
    given_ever: u64,
}

struct Writer {
    shared: Arc<Shared>,
    output: Option<Output>,
    buffer: Vec<u8>,
    /// Lines lost since writes began to fail; 0 while they succeed.
    failing: u64,
}

/// Starts the thread.
pub(super) fn spawn(shared: Arc<Shared>) -> Result<(), TelemetryError> {
    let writer = Writer {
        shared,
        output: None,
        buffer: Vec::new(),
        failing: 0,
    };
    thread::Builder::new()
        .name("access-log".to_owned())
        .spawn(move || writer.run())
        .map(drop)
        .map_err(TelemetryError::Thread)
}

impl Writer {
    fn run(mut self) {
        let mut spare = Vec::new();
        loop {
            let Work {
                mut entries,
                reopen,
                replace,
                closed,
                given_ever,
            } = self.wait(spare);
            // Before the very first output there is nothing queued; later ones come after what the old one is owed.
            if self.output.is_none() {
                self.output = replace;
                self.write(&mut entries);
            } else {
                self.write(&mut entries);
                if replace.is_some() {
                    self.output = replace;
                }
            }
            if reopen {
                self.reopen();
            }
            entries.clear();
            entries.shrink_to(QUEUE_ENTRIES_KEPT);
            spare = entries;
            self.shared.state.lock().done_ever = given_ever;
            self.shared.written.notify_all();
            if closed {
                return;
            }
        }
    }

    /// Pauses unless something is urgent, then waits for work. `spare` becomes the next queue.
    fn wait(&self, spare: Vec<AccessEntry>) -> Work {
        let mut state = self.shared.state.lock();
        self.shared
            .wake
            .wait_while_for(&mut state, |state| !state.is_urgent(), PAUSE);
        state.writer = WriterState::Idle;
        self.shared
            .wake
            .wait_while(&mut state, |state| !state.has_work());
        state.writer = WriterState::Busy;
        state.queued_bytes = 0;
        Work {
            entries: std::mem::replace(&mut state.queue, spare),
            reopen: std::mem::take(&mut state.reopen),
            replace: state.replace.take(),
            closed: state.closed,
            given_ever: state.given_ever,
        }
    }

    fn write(&mut self, entries: &mut Vec<AccessEntry>) {
        let Some(line_format) = self.output.as_ref().map(|output| output.format) else {
            return;
        };
        for entry in entries.drain(..) {
            format::write_line(&mut self.buffer, &entry, line_format);
            if self.buffer.len() >= WRITE_BYTES {
                self.write_buffer();
            }
        }
        self.write_buffer();
    }

    fn write_buffer(&mut self) {
        let Some(output) = &mut self.output else {
            return;
        };
        if self.buffer.is_empty() {
            return;
        }
        match output.write(&self.buffer) {
            Ok(()) if self.failing > 0 => {
                tracing::info!(lost = self.failing, "the access log is written again");
                self.failing = 0;
            }
            Ok(()) => {}
            Err(failed) => {
                self.shared.lost.inc_by(failed.lost);
                if self.failing == 0 {
                    tracing::error!(
                        error = %failed.source,
                        "cannot write the access log to {}; lines are lost until it works again",
                        output.name()
                    );
                }
                self.failing += failed.lost;
            }
        }
        self.buffer.clear();
        self.buffer.shrink_to(2 * WRITE_BYTES);
    }

    fn reopen(&mut self) {
        let Some(output) = &mut self.output else {
            return;
        };
        match output.reopen() {
            Ok(()) => tracing::info!("access log {} opened again", output.name()),
            Err(error) => tracing::error!("{error}; the file that was open is kept"),
        }
    }
}
