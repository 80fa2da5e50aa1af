//! What an operator may decide about the control plane.

use std::net::SocketAddr;
use std::path::PathBuf;

/// `[admin]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminSettings {
    /// Where it listens; `None` is nowhere. Default 127.0.0.1:9900.
    pub listen: Option<AdminListen>,
    /// The bearer token that changing calls need; required where `listen` is neither loopback nor a unix socket.
    pub token: Option<String>,
}

impl Default for AdminSettings {
    fn default() -> Self {
        Self {
            listen: Some(AdminListen::Tcp(SocketAddr::from(([127, 0, 0, 1], 9900)))),
            token: None,
        }
    }
}

/// Where the admin listener listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AdminListen {
    /// A TCP address.
    Tcp(SocketAddr),
    /// A unix socket, mode 0600 (`unix:/run/forebay.sock`).
    Unix(PathBuf),
}

impl std::fmt::Display for AdminListen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(addr) => addr.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}
