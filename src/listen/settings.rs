//! What an operator may decide about listening: addresses, TLS, PROXY protocol and the limits of a client.

use super::pace::Patience;
use crate::tls::settings::TlsSettings;
use crate::units::ByteSize;
use ipnet::IpNet;
use std::net::SocketAddr;
use std::time::Duration;

/// One `[[listen]]`.
#[derive(Debug, Clone, PartialEq)]
pub struct ListenSettings {
    /// Where connections are accepted.
    pub addr: SocketAddr,
    /// TLS with these certificates; `None` is plain TCP.
    pub tls: Option<TlsSettings>,
    /// True where every connection starts with a PROXY protocol v1 or v2 header; one without is closed.
    pub proxy_protocol: bool,
    /// Whether HTTP/2 is spoken: by ALPN over TLS, by prior knowledge without. Default true.
    pub http2: bool,
}

impl ListenSettings {
    /// A plain listener at `addr`.
    pub fn new(addr: SocketAddr) -> Self {
        Self {
            addr,
            tls: None,
            proxy_protocol: false,
            http2: true,
        }
    }
}

/// `[limits]`: what one client may take, in bytes, numbers and time. Each breach is a named refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitSettings {
    /// The whole request head. More is 431 (414 when the request line alone is too long). Default 64 KiB.
    pub head: ByteSize,
    /// Header fields in a request. More is 431. Default 100.
    pub head_fields: usize,
    /// From a request's first byte to the end of its head, in all. Then 408. Default 10 s.
    pub head_timeout: Duration,
    /// The TLS hand-shake and the PROXY protocol header, in all. Default 10 s.
    pub handshake_timeout: Duration,
    /// An idle keep-alive connection is closed after this. Default 75 s.
    pub idle_timeout: Duration,
    /// Between two reads of a request body. Then 408 and close. Default 30 s.
    pub body_timeout: Duration,
    /// Octets of a request body that must come in a second, on the average of each `body_timeout` of waiting for them; 0 is
    /// any. Then 408 and close. Default 240.
    pub body_rate: ByteSize,
    /// Writing to a client without progress. Then the connection is cut. Default 30 s.
    pub write_timeout: Duration,
    /// Octets that a client must take in a second, on the average of each `write_timeout` of waiting for it; 0 is any.
    /// Default 240.
    pub write_rate: ByteSize,
    /// A request body. More is 413. Default 2 GiB; a route may set its own.
    pub body: ByteSize,
    /// Client connections at once, over all listeners. More wait in the kernel's queue. Default 10 000.
    pub connections: usize,
    /// Of these, connections of one client: one address, of IPv6 its first 64 bits. One more is closed. 0 is any number.
    /// Default 0.
    pub connections_per_client: usize,
    /// Whose connections are not counted for that: the trusted proxies.
    pub uncounted: Vec<IpNet>,
    /// HTTP/2 streams at once on a connection. Default 100.
    pub http2_streams: u32,
    /// Malformed HTTP/2 requests and resets a connection may cause before it is ended. Default 64.
    pub http2_faults: u32,
}

impl Default for LimitSettings {
    fn default() -> Self {
        Self {
            head: ByteSize::kib(64),
            head_fields: 100,
            head_timeout: Duration::from_secs(10),
            handshake_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            body_timeout: Duration::from_secs(30),
            body_rate: ByteSize::new(240),
            write_timeout: Duration::from_secs(30),
            write_rate: ByteSize::new(240),
            body: ByteSize::mib(2048),
            connections: 10_000,
            connections_per_client: 0,
            uncounted: Vec::new(),
            http2_streams: 100,
            http2_faults: 64,
        }
    }
}

impl LimitSettings {
    /// What is asked of a client that reads an answer.
    pub fn writing(&self) -> Patience {
        Patience {
            silence: self.write_timeout,
            rate: self.write_rate.bytes(),
        }
    }

    /// What is asked of a client that sends a body.
    pub fn reading(&self) -> Patience {
        Patience {
            silence: self.body_timeout,
            rate: self.body_rate.bytes(),
        }
    }
}
