//! What the program says of itself: its log, the access log, the metrics.

pub mod settings;

pub mod logging;

pub mod access_log;

pub mod ended;
pub mod figures;
pub mod histogram;
pub mod history;
pub mod journal;
pub mod label;
pub mod metrics;
pub mod process;
pub mod registry;
pub mod route;
pub mod seldom;
pub mod sharded;

mod timestamp;
mod words;

use std::io;
use std::path::PathBuf;

pub use access_log::{AccessEntry, AccessLog, EndState};
pub use metrics::HttpMetrics;
pub use registry::Registry;
pub use route::RouteMetrics;

/// Why the program cannot speak of itself as it was told to.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// `[log] level` is not a filter. The operator's to mend.
    #[error(
        "`{found}` is not a log level; expected \"error\", \"warn\", \"info\", \"debug\", \"trace\", \"off\" or a list such \
         as \"info,forebay::upstream=debug\""
    )]
    Level {
        /// The part of the filter that cannot be read.
        found: String,
    },
    /// The access log's file cannot be opened. The operator's to mend.
    #[error("cannot open access log `{}`: {source}; the directory must exist and be writable", path.display())]
    OpenAccessLog {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Standard output cannot be used for the access log.
    #[error(
        "cannot use standard output for the access log: {0}; set `access = \"off\"` where there is none"
    )]
    Stdout(io::Error),
    /// The access log's thread cannot be started.
    #[error("cannot start the access log's thread: {0}")]
    Thread(io::Error),
    /// Another logger was installed in this process before.
    #[error("the program's log is already set up")]
    AlreadySetUp,
}

/// A moment as the logs write it, RFC 3339 in UTC, for the messages of other rooms.
pub fn rfc3339(time: std::time::SystemTime) -> impl std::fmt::Display {
    timestamp::Rfc3339(time)
}
