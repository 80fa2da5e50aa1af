//! What an operator may decide about logs.

use std::path::PathBuf;

/// `[log]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// Where the access log goes. Default standard output.
    pub access: AccessLogTarget,
    /// How a line looks. Default JSON.
    pub format: AccessLogFormat,
    /// The program's own log: "error", "warn", "info", "debug", "trace", or a filter such as
    /// `info,forebay::upstream=debug`. Default "info". Goes to standard error.
    pub level: String,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self {
            access: AccessLogTarget::Stdout,
            format: AccessLogFormat::Json,
            level: "info".to_owned(),
        }
    }
}

/// Where the access log goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessLogTarget {
    /// Nowhere.
    Off,
    /// Standard output.
    Stdout,
    /// A file, appended to; opened again on SIGUSR1.
    File(PathBuf),
}

/// How an access log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessLogFormat {
    /// One JSON object a line.
    Json,
    /// The combined log format of Apache and nginx.
    Combined,
}
