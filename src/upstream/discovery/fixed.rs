//! Endpoints that need no look-up: IP literals and unix sockets.

use std::net::{IpAddr, SocketAddr};

use crate::upstream::address::Socket;
use crate::upstream::settings::Endpoint;

/// The socket of an endpoint that is an address already; `None` where it is a name.
pub fn fixed(endpoint: &Endpoint) -> Option<Socket> {
    match endpoint {
        Endpoint::Tcp { host, port } => {
            let ip: IpAddr = host.parse().ok()?;
            Some(Socket::Tcp(SocketAddr::new(ip, *port)))
        }
        Endpoint::Unix(path) => Some(Socket::Unix(path.clone())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_and_sockets_are_fixed_and_names_are_not() {
        for (host, socket) in [
            ("127.0.0.1", Some("127.0.0.1:80")),
            ("::1", Some("[::1]:80")),
            ("app", None),
            ("localhost", None),
            ("127.1", None),
        ] {
            let endpoint = Endpoint::Tcp {
                host: host.to_owned(),
                port: 80,
            };
            let found = fixed(&endpoint).map(|socket| socket.to_string());
            assert_eq!(found.as_deref(), socket, "{host}");
        }
        let unix = fixed(&Endpoint::Unix("/run/a.sock".into()));
        assert_eq!(unix, Some(Socket::Unix("/run/a.sock".into())));
    }
}
