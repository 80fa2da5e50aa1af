//! What one request has come to know on its walk.

use super::Site;
use super::cached::Seen;
use super::encode::BodyCoder;
use super::entry::Peer;
use super::fetch::Errand;
use crate::access::forward::Granted;
use crate::clock::Instant;
use crate::listen::exchange::ticket::Ticket;
use crate::routing::settings::RouteSettings;
use crate::upstream::{Claim, Target, Upstream};
use http::{HeaderMap, StatusCode};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// The state that Pingora carries from phase to phase.
#[derive(Debug, Default)]
pub struct Walk {
    /// Set by the first phase.
    pub entered: Option<Entered>,
    /// The route, once it is known.
    pub route: Option<Arc<RouteSettings>>,
    /// Whether an application may read the path as that of another route, whose cache rules are others.
    pub is_path_ambiguous: bool,
    /// What the cache has to do with it, where it has.
    pub seen: Option<Seen>,
    /// Set where this is a request of our own.
    pub errand: Option<Arc<Errand>>,
    /// Being forwarded.
    pub forwarding: Option<Forwarding>,
    /// Why the proxy itself answers, where it does.
    pub verdict: Option<Verdict>,
    /// What a check of credentials leaves for the answer.
    pub granted: Option<Arc<Granted>>,
    /// Interim responses that the upstream sent.
    pub interim: u32,
    /// Of an upstream's answer that our page takes the place of: what the status is worth nothing without.
    pub kept: HeaderMap,
    /// Whether the upstream's answer was over with its head.
    pub ends_with_head: bool,
    /// Codes the body, where the client gets it coded.
    pub coder: Option<Box<BodyCoder>>,
    /// When the first byte of the answer was written.
    pub first_byte: Option<Instant>,
}

/// A request that came in by the door.
#[derive(Debug)]
pub struct Entered {
    /// The settings it began with.
    pub site: Arc<Site>,
    /// What it shares with its connection.
    pub ticket: Arc<Ticket>,
    /// The client, as far as those in front of us are believed.
    pub client: IpAddr,
    /// Who sent it to us.
    pub peer: Peer,
    /// The path in its one spelling, before any rewrite.
    pub path: String,
    /// `X-Request-Id`.
    pub id: String,
}

/// A request on its way to an upstream.
#[derive(Debug)]
pub struct Forwarding {
    /// The upstream.
    pub upstream: Arc<Upstream>,
    /// Its place there; counts tries, waits and ends.
    pub claim: Claim,
    /// The server of the present try.
    pub target: Option<Target>,
    /// The same, where that try was found to be Pingora's, and is to be made by it.
    pub handed_on: Option<Target>,
    /// The status of the last answer.
    pub status: Option<StatusCode>,
}

/// An answer of our own: a status, a word for the log, and what may be said to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// The status.
    pub status: StatusCode,
    /// The word in the log and, where it helps, in the answer.
    pub reason: &'static str,
    /// For `Retry-After`, in whole seconds.
    pub retry_after: Option<Duration>,
}

impl Verdict {
    /// A verdict without `Retry-After`.
    pub const fn new(status: StatusCode, reason: &'static str) -> Self {
        Self {
            status,
            reason,
            retry_after: None,
        }
    }
}
