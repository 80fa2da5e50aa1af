//! What an operator may decide about one upstream: its servers, how they are chosen, waited for, checked and retried.

use crate::units::ByteSize;
use std::path::PathBuf;
use std::time::Duration;

/// One `[upstream.NAME]`, or the upstream that a route's inline URL declares.
#[derive(Debug, Clone, PartialEq)]
pub struct UpstreamSettings {
    /// The name in logs, metrics and routes. An inline URL's upstream is named by the URL as written.
    pub name: String,
    /// At least one. Several servers, and several addresses of one name, are balanced alike.
    pub servers: Vec<ServerSettings>,
    /// How a server is chosen among the healthy ones.
    pub balance: Balance,
    /// The HTTP version spoken to the servers.
    pub http: UpstreamHttp,
    /// The `Host` that the servers see.
    pub host: HostPolicy,
    /// For `https://` servers.
    pub tls: UpstreamTls,
    /// How long a request waits while nobody answers; zero turns holding off. Default 10 s.
    pub hold: Duration,
    /// How many requests may be held at once; more are answered 503 with `Retry-After`. Default 10 000.
    pub hold_max: usize,
    /// At most this many requests are with the servers at once; `None` is no limit.
    pub max_in_flight: Option<usize>,
    /// How many more may queue for a place when `max_in_flight` is reached. Default 1000.
    pub queue_max: usize,
    /// How long one may queue before it is answered 503. Default 30 s.
    pub queue_timeout: Duration,
    /// When a failed try is repeated.
    pub retry: RetrySettings,
    /// Deadlines of a try.
    pub timeouts: UpstreamTimeouts,
    /// Idle connections kept for reuse.
    pub keepalive: KeepaliveSettings,
    /// Active health checks; `None` is none.
    pub health: Option<HealthSettings>,
    /// Passive ejection of servers that fail requests.
    pub eject: EjectSettings,
    /// Names are resolved anew at least this often, whatever their record says. Default 5 s.
    pub dns_ttl_max: Duration,
    /// A request body up to this size is received before a server is taken. Default 1 MiB; 0 streams at once.
    pub buffer_request: ByteSize,
    /// A response is read ahead of a slow client up to this size. Default 1 MiB.
    pub buffer_response: ByteSize,
}

impl UpstreamSettings {
    /// The defaults, for an upstream called `name` with these servers.
    pub fn new(name: impl Into<String>, servers: Vec<ServerSettings>) -> Self {
        Self {
            name: name.into(),
            servers,
            balance: Balance::RoundRobin,
            http: UpstreamHttp::Http1,
            host: HostPolicy::Pass,
            tls: UpstreamTls::default(),
            hold: Duration::from_secs(10),
            hold_max: 10_000,
            max_in_flight: None,
            queue_max: 1_000,
            queue_timeout: Duration::from_secs(30),
            retry: RetrySettings::default(),
            timeouts: UpstreamTimeouts::default(),
            keepalive: KeepaliveSettings::default(),
            health: None,
            eject: EjectSettings::default(),
            dns_ttl_max: Duration::from_secs(5),
            buffer_request: ByteSize::mib(1),
            buffer_response: ByteSize::mib(1),
        }
    }
}

/// One server as written: an address that may stand for several once its name is resolved.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerSettings {
    /// Where it is.
    pub endpoint: Endpoint,
    /// Whether TLS is spoken to it (`https://`).
    pub tls: bool,
    /// Its share relative to the others, 1 to 1000. Default 1.
    pub weight: u32,
    /// Used only while no server that is not a backup is available.
    pub backup: bool,
}

impl ServerSettings {
    /// A plain-HTTP server of weight 1.
    pub fn new(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            tls: false,
            weight: 1,
            backup: false,
        }
    }
}

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// A host name or literal address, and a port. Names are resolved at run time, again and again.
    Tcp {
        /// A DNS name or an IP literal (IPv6 without brackets).
        host: String,
        /// 1 to 65535.
        port: u16,
    },
    /// A unix socket (`unix:/run/app.sock`).
    Unix(PathBuf),
}

/// How a server is chosen among the available ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Balance {
    /// In turn, by weight.
    RoundRobin,
    /// The one with the fewest requests in flight relative to its weight.
    LeastConn,
    /// The same server for the same key (rendezvous hashing, so that few keys move when servers change).
    Hash(HashKey),
}

/// What a hashing balancer hashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HashKey {
    /// The request's path without its query.
    Path,
    /// The client's address.
    Client,
    /// A request header's value; requests without it are balanced in turn.
    Header(http::HeaderName),
    /// A cookie's value; requests without it are balanced in turn.
    Cookie(String),
}

/// The HTTP version spoken to the servers of an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpstreamHttp {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2: by prior knowledge (h2c) without TLS; with it, nothing else is offered. What gRPC needs. A server that picks nothing
    /// is spoken to in HTTP/1.1.
    Http2,
    /// HTTP/2 where the server's ALPN offers it, else HTTP/1.1. Without TLS this is HTTP/1.1.
    Auto,
}

/// The `Host` (or `:authority`) that the servers see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostPolicy {
    /// What the client sent. The default.
    Pass,
    /// The host and port of the server's own address as written.
    Server,
    /// This value.
    Fixed(String),
}

/// TLS towards the servers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UpstreamTls {
    /// The name in SNI and for verification; default: the server's host as written.
    pub sni: Option<String>,
    /// PEM file of the authorities to trust instead of the public ones.
    pub ca: Option<PathBuf>,
    /// PEM file of the client certificate (with its chain); goes with `key`.
    pub cert: Option<PathBuf>,
    /// PEM file of the client certificate's key.
    pub key: Option<PathBuf>,
    /// True to accept any certificate. For tests only; said in the log at start.
    pub insecure: bool,
}

/// When a failed try is repeated.
#[derive(Debug, Clone, PartialEq)]
pub struct RetrySettings {
    /// Tries per request, the first included; waiting in hold is not a try. 1 to 16, default 3.
    pub tries: u32,
    /// Retries after something was sent may be at most this share of requests (0.0 to 1.0, default 0.2), and
    /// always at least ten a second. A connect failure is not counted: nothing was sent.
    pub budget: f32,
    /// Deadline of one try up to its response header; `None` leaves it to `first_byte`.
    pub per_try: Option<Duration>,
}

impl Default for RetrySettings {
    fn default() -> Self {
        Self {
            tries: 3,
            budget: 0.2,
            per_try: None,
        }
    }
}

/// Deadlines of one try. Zero is not allowed; `None` is no deadline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamTimeouts {
    /// TCP connect and TLS hand-shake together. Default 3 s.
    pub connect: Duration,
    /// From the request sent to the response's header. Default 60 s.
    pub first_byte: Duration,
    /// Between two reads of the response's body. Default 60 s. Not for upgraded connections.
    pub between_bytes: Duration,
    /// Writing to the server without progress. Default 60 s.
    pub send: Duration,
    /// From the request's arrival to the end of the response, holds and retries included. Default none.
    pub total: Option<Duration>,
}

impl Default for UpstreamTimeouts {
    fn default() -> Self {
        let minute = Duration::from_secs(60);
        Self {
            connect: Duration::from_secs(3),
            first_byte: minute,
            between_bytes: minute,
            send: minute,
            total: None,
        }
    }
}

/// Idle connections kept for reuse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeepaliveSettings {
    /// An idle connection is closed after this. Default 1.5 s: below gunicorn's 2 s, so that we close first.
    pub idle: Duration,
}

impl Default for KeepaliveSettings {
    fn default() -> Self {
        Self {
            idle: Duration::from_millis(1_500),
        }
    }
}

/// Active health checks of every address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthSettings {
    /// What is asked.
    pub probe: Probe,
    /// Time between two checks of a healthy address. Default 5 s.
    pub every: Duration,
    /// Time between two checks of an unhealthy one. Default 1 s.
    pub every_down: Duration,
    /// A check without an answer by then has failed. Default 2 s.
    pub timeout: Duration,
    /// Successes in a row that make an address healthy. Default 1.
    pub healthy: u32,
    /// Failures in a row that make it unhealthy. Default 2.
    pub unhealthy: u32,
}

/// What an active health check asks of an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// A TCP (or unix) connect.
    Tcp,
    /// `GET path`; healthy when the status is in the list, or 200 to 399 when the list is empty.
    Http {
        /// Origin-form target.
        path: String,
        /// The `Host` sent; default: the server's host as written.
        host: Option<String>,
        /// Statuses that count as healthy.
        status: Vec<u16>,
    },
}

/// Passive ejection: an address whose requests fail is left out for a while, but never the last one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EjectSettings {
    /// Failures in a row (connect errors, resets, timeouts, 502/503/504) that eject; 0 turns ejection off. Default 3.
    pub failures: u32,
    /// How long an address stays out. Default 5 s.
    pub duration: Duration,
}

impl Default for EjectSettings {
    fn default() -> Self {
        Self {
            failures: 3,
            duration: Duration::from_secs(5),
        }
    }
}
