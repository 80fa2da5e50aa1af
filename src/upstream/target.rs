//! Where a try goes: one address of one server.

use std::sync::Arc;

use super::address::{Address, Socket};

/// Where a try goes.
#[derive(Debug, Clone)]
pub struct Target {
    address: Arc<Address>,
}

impl Target {
    pub(super) fn new(address: Arc<Address>) -> Self {
        Self { address }
    }

    /// What to connect to.
    pub fn socket(&self) -> &Socket {
        &self.address.socket
    }

    /// The server as written, such as `app:5000`.
    pub fn server(&self) -> &str {
        &self.address.server.name
    }

    /// The `Host` that the server would call its own, for [`HostPolicy::Server`](super::settings::HostPolicy).
    pub fn authority(&self) -> &str {
        &self.address.server.authority
    }

    /// Whether TLS is spoken to it.
    pub fn tls(&self) -> bool {
        self.address.server.tls
    }

    /// The name in SNI and for verification.
    pub fn sni(&self) -> &str {
        &self.address.server.sni
    }

    /// Whether it picked HTTP/2 when that was last offered over TLS.
    pub fn picks_http2(&self) -> bool {
        self.address.picks_http2()
    }

    /// It was offered HTTP/2 over TLS, and picked it or did not.
    pub fn picked_http2(&self, picked: bool) {
        self.address.picked_http2(picked);
    }
}
