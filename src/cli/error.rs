//! Why a subcommand failed, and the exit code that says so to scripts.

use crate::config::{ConfigErrors, FindError};
use crate::import::ImportError;
use crate::server::RunError;

use super::client::ClientError;

/// Why a subcommand failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum CliError {
    /// The configuration's errors, each with its place.
    #[error("{0}")]
    Config(#[from] ConfigErrors),
    /// The same, found by a running proxy.
    #[error("{0}")]
    Rejected(String),
    /// There is no configuration to read.
    #[error("forebay: {0}")]
    Find(#[from] FindError),
    /// A file of nginx's that cannot be read, or not be made into one of ours.
    #[error("forebay: {0}")]
    Import(#[from] ImportError),
    /// Arguments that are well formed but mean nothing.
    #[error("forebay: {0}")]
    Usage(String),
    /// The proxy did not start or ended badly.
    #[error("forebay: {0}")]
    Run(#[from] RunError),
    /// A running proxy did not answer.
    #[error("forebay: {0}")]
    Client(#[from] ClientError),
    /// A running proxy answered that it is not well, or would not.
    #[error("forebay: {0}")]
    Refused(String),
    /// What was asked for is not there.
    #[error("forebay: {0}")]
    Nothing(String),
    /// The machine has no place for the demo application.
    #[error("forebay: cannot start the demo application: {0}")]
    Demo(#[source] std::io::Error),
    /// The terminal is none, or is gone.
    #[error("forebay: cannot draw on the terminal: {0}")]
    Terminal(#[source] std::io::Error),
    /// A log that cannot be read.
    #[error("forebay: cannot read the log `{file}`: {source}")]
    Log {
        /// Its file.
        file: String,
        /// What the system said.
        source: std::io::Error,
    },
}

impl CliError {
    /// 1 while running, 2 configuration and usage, 3 cannot listen, 4 nothing matched.
    pub(super) fn exit_code(&self) -> u8 {
        match self {
            Self::Client(_)
            | Self::Refused(_)
            | Self::Demo(_)
            | Self::Terminal(_)
            | Self::Log { .. }
            | Self::Import(ImportError::Invalid(_)) => 1,
            Self::Import(_)
            | Self::Config(_)
            | Self::Rejected(_)
            | Self::Find(_)
            | Self::Usage(_) => 2,
            Self::Run(error) => error.exit_code(),
            Self::Nothing(_) => 4,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[test]
    fn each_failure_has_its_exit_code() {
        let bind = RunError::Bind {
            address: "0.0.0.0:8080".to_owned(),
            source: io::ErrorKind::AddrInUse.into(),
        };
        let runtime = RunError::Runtime {
            attempt: "start a thread",
            source: io::ErrorKind::OutOfMemory.into(),
        };
        let unreadable = ImportError::Read {
            file: "nginx.conf".to_owned(),
            source: io::ErrorKind::NotFound.into(),
        };
        for (error, code) in [
            (CliError::Refused("unready".to_owned()), 1),
            (CliError::Client(ClientError::Off), 1),
            (CliError::Demo(io::ErrorKind::AddrNotAvailable.into()), 1),
            (CliError::Run(runtime), 1),
            (CliError::Rejected("proxy.toml:1:1: …".to_owned()), 2),
            (CliError::Find(FindError::Nowhere), 2),
            (CliError::Usage("…".to_owned()), 2),
            (ImportError::Invalid("…".to_owned()).into(), 1),
            (unreadable.into(), 2),
            (CliError::Run(RunError::Config("…".to_owned())), 2),
            (CliError::Run(bind), 3),
            (CliError::Nothing("…".to_owned()), 4),
        ] {
            assert_eq!(error.exit_code(), code, "{error:?}");
        }
    }
}
