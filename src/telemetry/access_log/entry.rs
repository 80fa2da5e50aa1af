//! One request as the access log tells it.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::Method;

/// What [`AccessEntry::cache`] may be.
pub const CACHE: [&str; 6] = ["hit", "stale", "revalidated", "miss", "collapsed", "bypass"];

/// What [`AccessEntry::proto`] may be.
pub const PROTO: [&str; 3] = ["HTTP/1.0", "HTTP/1.1", "HTTP/2.0"];

/// What [`AccessEntry::retry_reason`] may be.
pub const RETRY_REASON: [&str; 6] = [
    "connect",
    "stale_connection",
    "reset",
    "timeout",
    "malformed",
    "starting",
];

/// What [`EndState::word`] may be.
pub const END: [&str; 7] = [
    "complete",
    "client_gone",
    "upstream_cut",
    "timed_out",
    "refused",
    "shutdown",
    "failed",
];

/// One request, recorded when its last byte is out or it is given up. What a client wrote is kept as bytes, which the
/// writer escapes; a `HeaderValue` turns into `Bytes` without copying. Secrets (`Authorization`, `Cookie`) have no place.
#[derive(Debug, Clone)]
pub struct AccessEntry {
    /// When the request's first byte arrived.
    pub ts: SystemTime,
    /// The request's id, as in `X-Request-Id`.
    pub id: Bytes,
    /// Who asked: the address believed, after PROXY protocol and trusted proxies.
    pub client: IpAddr,
    /// The method.
    pub method: Method,
    /// The authority asked for; empty where the request had none.
    pub host: Bytes,
    /// The path as sent.
    pub path: Bytes,
    /// The query as sent, without its question mark.
    pub query: Option<Bytes>,
    /// "HTTP/1.0", "HTTP/1.1" or "HTTP/2.0".
    pub proto: &'static str,
    /// The final status sent; 0 where none was.
    pub status: u16,
    /// Bytes of the request's body.
    pub bytes_in: u64,
    /// Bytes of the response's body.
    pub bytes_out: u64,
    /// From the first byte of the request to the last of the response.
    pub duration: Duration,
    /// From the first byte of the request to the first of the response.
    pub ttfb: Option<Duration>,
    /// The route's name; "-" where none matched.
    pub route: Arc<str>,
    /// What the cache did, in a word; `None` where it was not concerned.
    pub cache: Option<&'static str>,
    /// Why, in a word.
    pub cache_reason: Option<&'static str>,
    /// The answer's age in seconds, where it came from the store or was shared.
    pub cache_age: Option<u64>,
    /// Its freshness left in seconds; negative is stale.
    pub cache_ttl: Option<i64>,
    /// Whether another request's fetch was shared.
    pub collapsed: bool,
    /// The upstream's name.
    pub upstream: Option<Arc<str>>,
    /// The server's address that answered, or was tried last.
    pub upstream_addr: Option<String>,
    /// The status it answered with.
    pub upstream_status: Option<u16>,
    /// How long the last connect took; `None` on a reused connection.
    pub connect: Option<Duration>,
    /// How long the request was held because nobody was available.
    pub hold: Option<Duration>,
    /// How long it queued for `max_in_flight`.
    pub queue: Option<Duration>,
    /// Tries made; 0 where no upstream was asked.
    pub tries: u32,
    /// Why there was more than one, in a word.
    pub retry_reason: Option<&'static str>,
    /// How it ended.
    pub end: EndState,
    /// What went wrong, for people.
    pub error: Option<Cow<'static, str>>,
    /// Whether the client's connection was encrypted.
    pub tls: bool,
    /// `User-Agent`.
    pub user_agent: Option<Bytes>,
    /// `Referer`.
    pub referer: Option<Bytes>,
}

impl AccessEntry {
    /// Bytes that this entry holds beyond its own size: what bounds the queue in memory.
    pub(super) fn weight(&self) -> usize {
        let optional = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        size_of::<Self>()
            + self.id.len()
            + self.host.len()
            + self.path.len()
            + optional(&self.query)
            + optional(&self.user_agent)
            + optional(&self.referer)
            + self.error.as_ref().map_or(0, |text| text.len())
    }
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EndState {
    /// The response went out whole, whatever its status.
    Complete,
    /// The client left before it had everything.
    ClientGone,
    /// The upstream ended a response before its end; the client saw a cut.
    UpstreamCut,
    /// A deadline of ours passed in the middle of a response.
    TimedOut,
    /// The gate or a limit refused the request before any route saw it.
    Refused,
    /// The drain's grace ended first.
    Shutdown,
    /// We are to blame.
    Failed,
}

impl EndState {
    /// The word in the log.
    pub fn word(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::ClientGone => "client_gone",
            Self::UpstreamCut => "upstream_cut",
            Self::TimedOut => "timed_out",
            Self::Refused => "refused",
            Self::Shutdown => "shutdown",
            Self::Failed => "failed",
        }
    }
}

#[cfg(test)]
impl AccessEntry {
    /// A plain request, for tests to vary.
    pub(super) fn sample() -> Self {
        Self {
            ts: SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_311_420_123),
            id: Bytes::from_static(b"0123abcd"),
            client: IpAddr::from([192, 0, 2, 60]),
            method: Method::GET,
            host: Bytes::from_static(b"example.org"),
            path: Bytes::from_static(b"/a"),
            query: None,
            proto: "HTTP/1.1",
            status: 200,
            bytes_in: 0,
            bytes_out: 12,
            duration: Duration::from_micros(1_234),
            ttfb: None,
            route: Arc::from("example.org/"),
            cache: None,
            cache_reason: None,
            cache_age: None,
            cache_ttl: None,
            collapsed: false,
            upstream: None,
            upstream_addr: None,
            upstream_status: None,
            connect: None,
            hold: None,
            queue: None,
            tries: 0,
            retry_reason: None,
            end: EndState::Complete,
            error: None,
            tls: false,
            user_agent: None,
            referer: None,
        }
    }
}
