//! What the command line hands to the server, and why a server could not run or had to stop.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use crate::admin::settings::AdminListen;
use crate::config::settings::Settings;

/// How a reload gets its settings: read again and complete, or the text of all errors.
pub type ReadAgain = Arc<dyn Fn() -> Result<Settings, String> + Send + Sync>;

/// Called once, when every listener is bound.
type OnReady = Box<dyn FnOnce(&Listening) + Send>;

/// Everything that one run of the server needs.
pub struct Start {
    /// What to run on.
    pub settings: Settings,
    /// The file the settings came from; `None` where they came from the command line.
    pub config: Option<PathBuf>,
    /// Where a reload gets its settings. It reads files, so it is called where blocking is allowed.
    pub read_again: ReadAgain,
    on_ready: Option<OnReady>,
}

impl Start {
    /// Settings that no file stands behind: every reload finds them unchanged.
    pub fn fixed(settings: Settings) -> Self {
        let same = settings.clone();
        Self {
            settings,
            config: None,
            read_again: Arc::new(move || Ok(same.clone())),
            on_ready: None,
        }
    }

    /// Settings read from `config`, which `read_again` reads once more for each reload.
    pub fn from_file(settings: Settings, config: PathBuf, read_again: ReadAgain) -> Self {
        Self {
            settings,
            config: Some(config),
            read_again,
            on_ready: None,
        }
    }

    /// Asks for a call once every listener is bound: the banner, the demo application.
    #[must_use]
    pub fn on_ready(mut self, call: impl FnOnce(&Listening) + Send + 'static) -> Self {
        self.on_ready = Some(Box::new(call));
        self
    }

    /// Tells whoever asked with [`Start::on_ready`]. Later calls do nothing.
    pub fn announce(&mut self, listening: &Listening) {
        if let Some(call) = self.on_ready.take() {
            call(listening);
        }
    }
}

impl fmt::Debug for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Start")
            .field("settings", &self.settings)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// Where the server listens: the addresses as bound, so that port 0 has become a real one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listening {
    /// One for each `[[listen]]`, in their order.
    pub addresses: Vec<SocketAddr>,
    /// The admin listener; `None` where it is off.
    pub admin: Option<AdminListen>,
}

/// Why the server could not start, or ended other than by a drain.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The settings are complete, but what they name is not there: a certificate that cannot be read, say.
    #[error("{0}")]
    Config(String),
    /// A listening socket could not be had.
    #[error("cannot listen on `{address}`: {source}{}", bind_remedy(source))]
    Bind {
        /// The address or unix socket as written.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// The admin listener's socket could not be had.
    #[error(
        "cannot listen on `{address}` for `[admin]`: {source}{}",
        admin_remedy(source)
    )]
    BindAdmin {
        /// The address or unix socket as written, or the default.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// A second signal ended the drain before its time.
    #[error("stopped by a second signal; {connections} connections were cut")]
    Forced {
        /// Connections still open by then.
        connections: usize,
    },
    /// The system refused something that a running server needs.
    #[error("cannot {attempt}: {source}")]
    Runtime {
        /// What was attempted, to stand after "cannot": "start a data thread".
        attempt: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl RunError {
    /// The exit code of a process that ends with this error.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Runtime { .. } => 1,
            // What a shell says of a program that SIGINT ended.
            Self::Forced { .. } => 130,
            Self::Config(_) => 2,
            Self::Bind { .. } | Self::BindAdmin { .. } => 3,
        }
    }
}

/// What an operator can do about a socket that could not be bound, to stand behind the system's own words.
fn bind_remedy(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::AddrInUse => {
            "; another program has that port: stop it, or choose another address with `--listen` or in proxy.toml"
        }
        io::ErrorKind::PermissionDenied => {
            "; a port below 1024 needs root or CAP_NET_BIND_SERVICE, a unix socket a writable directory"
        }
        io::ErrorKind::AddrNotAvailable => "; no interface of this machine has that address",
        _ => "",
    }
}

/// The same of the admin listener's, which has a default that two programs on one machine cannot both have.
fn admin_remedy(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::AddrInUse => {
            "; another Forebay may have it, for it is the default: give each its own `listen` in `[admin]`, or \"off\""
        }
        _ => bind_remedy(source),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bind(kind: io::ErrorKind) -> RunError {
        RunError::Bind {
            address: "0.0.0.0:80".to_owned(),
            source: io::Error::from(kind),
        }
    }

    #[test]
    fn each_error_has_its_exit_code() {
        let runtime = RunError::Runtime {
            attempt: "start a data thread",
            source: io::Error::other("no more threads"),
        };
        for (error, code) in [
            (runtime, 1),
            (RunError::Config("no certificate".to_owned()), 2),
            (bind(io::ErrorKind::AddrInUse), 3),
        ] {
            assert_eq!(error.exit_code(), code, "{error}");
        }
    }

    #[test]
    fn a_bind_error_names_the_remedy() {
        for (kind, remedy) in [
            (io::ErrorKind::AddrInUse, "--listen"),
            (io::ErrorKind::PermissionDenied, "CAP_NET_BIND_SERVICE"),
            (io::ErrorKind::AddrNotAvailable, "no interface"),
        ] {
            let message = bind(kind).to_string();
            assert!(message.contains(remedy), "{message}");
        }
        let admin = RunError::BindAdmin {
            address: "127.0.0.1:9900".to_owned(),
            source: io::ErrorKind::AddrInUse.into(),
        };
        assert_eq!(admin.exit_code(), 3);
        let message = admin.to_string();
        assert!(message.contains("`listen` in `[admin]`"), "{message}");
    }
}
