//! What an operator may decide about rate limits: how many requests in what time, counted by what.

use http::HeaderName;
use ipnet::IpNet;
use std::fmt;

/// One `[rate_limit.NAME]`, or the table that stands in its place in a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateLimitSettings {
    /// The name in logs, metrics and `RateLimit`; the route's where it has none of its own.
    pub name: String,
    /// What each key may do in the long run.
    pub rate: Rate,
    /// What it may do at once after a pause, 1 to 1 000 000. Default: a second's worth of `rate`, at least 1.
    pub burst: u32,
    /// What requests are counted by. Default: the client.
    pub key: RateKey,
    /// Clients that are never counted. Default: none.
    pub except: Vec<IpNet>,
    /// Keys that are remembered at once, 64 to 16 777 216; 17 octets each, taken at start. Beyond it those go first that
    /// have used least. Default 65 536.
    pub keys: usize,
    /// Whether it only counts and tells what it would refuse. Default false.
    pub dry_run: bool,
}

impl RateLimitSettings {
    /// The defaults for this rate.
    pub fn new(name: &str, rate: Rate) -> Self {
        Self {
            name: name.to_owned(),
            rate,
            burst: rate.in_a_second(),
            key: RateKey::Client,
            except: Vec::new(),
            keys: 65_536,
            dry_run: false,
        }
    }
}

/// So many requests in so much time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// 1 to 1 000 000.
    pub requests: u32,
    /// In which time.
    pub per: Per,
}

impl Rate {
    /// How many of them come to a second, at least 1.
    pub fn in_a_second(self) -> u32 {
        (self.requests / self.per.seconds()).max(1)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.requests, self.per.letter())
    }
}

/// The unit of a rate's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Per {
    /// `/s`
    Second,
    /// `/m`
    Minute,
    /// `/h`
    Hour,
}

impl Per {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Second, Self::Minute, Self::Hour];

    /// As it is written.
    pub fn letter(self) -> char {
        match self {
            Self::Second => 's',
            Self::Minute => 'm',
            Self::Hour => 'h',
        }
    }

    /// How many seconds it has.
    pub fn seconds(self) -> u32 {
        match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 3_600,
        }
    }
}

/// What requests are counted by: those that are alike in it share a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RateKey {
    /// `client`: the client's address, as far as proxies in front are believed; of IPv6 the first 64 bits, which is what one
    /// customer has.
    Client,
    /// `route`: all requests of a route together.
    Route,
    /// `all`: all requests of all routes that name the limit.
    All,
    /// `header:X-Api-Key`: the value of a field. A request without it is counted by its client.
    Header(HeaderName),
    /// `cookie:sid`: the value of a cookie. A request without it is counted by its client.
    Cookie(String),
}

impl fmt::Display for RateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client => f.write_str("client"),
            Self::Route => f.write_str("route"),
            Self::All => f.write_str("all"),
            Self::Header(name) => write!(f, "header:{name}"),
            Self::Cookie(name) => write!(f, "cookie:{name}"),
        }
    }
}
