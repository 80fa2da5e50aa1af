//! Finds the addresses of an upstream's servers, again and again, off the request path.
//!
//! One task per named server asks the resolver when the record's time is over, at once when a connect failed, and
//! a few times a second while requests are held. What was found last stays in use while look-ups fail, but for addresses
//! where nobody answers and whose name is gone.

use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::Notify;

mod dns;
mod fixed;

pub use dns::{Resolve, ResolveError, Resolved, SystemResolver};
pub use fixed::fixed;

use super::Upstream;
use super::address::Socket;
use super::pool::Change;
use super::settings::Endpoint;
use crate::clock;

/// The shortest time between the starts of two look-ups of a name, whatever asks for them.
pub const APART: Duration = Duration::from_millis(250);

/// A record's time is not taken for shorter than this, nor a failed look-up repeated later where nothing is known.
const TTL_MIN: Duration = Duration::from_secs(1);

/// A look-up that takes longer has failed. hickory's own deadlines are shorter, unless there are many servers.
const LOOK_UP_MAX: Duration = Duration::from_secs(10);

/// One name to be looked up again and again.
#[derive(Debug, Clone)]
pub(super) struct Lead {
    /// The server's place in the pool.
    pub(super) server: usize,
    /// The name.
    pub(super) host: String,
    /// The port that goes with each address.
    pub(super) port: u16,
    /// Rung to have it looked up now. Rings while a look-up is under way, or too soon after one, become one.
    pub(super) ask: Arc<Notify>,
}

impl Lead {
    /// The lead that an endpoint is; `None` where it is an address already.
    pub(super) fn new(server: usize, endpoint: &Endpoint) -> Option<Self> {
        match endpoint {
            Endpoint::Tcp { host, port } if fixed(endpoint).is_none() => Some(Self {
                server,
                host: host.clone(),
                port: *port,
                ask: Arc::new(Notify::new()),
            }),
            _ => None,
        }
    }
}

/// Follows one lead until the upstream is gone.
pub(super) async fn follow(upstream: Weak<Upstream>, resolver: Arc<dyn Resolve>, lead: Lead) {
    let mut failures = 0u32;
    loop {
        let started = clock::now();
        let answer = match tokio::time::timeout(LOOK_UP_MAX, resolver.resolve(&lead.host)).await {
            Ok(answer) => answer,
            Err(_) => Err(ResolveError::TimedOut),
        };
        let Some(upstream) = upstream.upgrade() else {
            return;
        };
        upstream.metrics.looked_up(answer.as_ref());
        let pause = match answer {
            Ok(found) => {
                failures = 0;
                tracing::debug!(
                    "upstream `{}`: `{}` resolves to {:?}, for {:?}",
                    upstream.name(),
                    lead.host,
                    found.addresses,
                    found.ttl
                );
                let ttl_max = upstream.settings.dns_ttl_max;
                let pause = found.ttl.clamp(TTL_MIN.min(ttl_max), ttl_max);
                let socket = |ip| Socket::Tcp(SocketAddr::new(ip, lead.port));
                let sockets = found.addresses.into_iter().map(socket).collect();
                let change = upstream.pool.replace(lead.server, sockets);
                if !change.is_empty() {
                    say(&upstream, &lead, &change);
                    upstream.addresses_changed(&change);
                }
                pause
            }
            Err(error) => {
                if error.says_gone() {
                    let change = upstream.pool.forget_unreachable(lead.server, started);
                    if !change.is_empty() {
                        say(&upstream, &lead, &change);
                        upstream.addresses_changed(&change);
                    }
                }
                let known = !upstream.pool.known_of(lead.server).is_empty();
                if upstream.pool.look_up_failed(lead.server, error.to_string()) {
                    let rest = if known {
                        "the addresses found earlier stay in use"
                    } else {
                        "requests wait until it does"
                    };
                    tracing::warn!(
                        "upstream `{}`: name `{}` does not resolve: {error}; {rest}",
                        upstream.name(),
                        lead.host
                    );
                }
                upstream.survey();
                let longest = if known {
                    upstream.settings.dns_ttl_max.max(TTL_MIN)
                } else {
                    TTL_MIN
                };
                let pause = (APART * 2u32.pow(failures.min(8))).min(longest);
                failures += 1;
                pause
            }
        };
        drop(upstream);
        tokio::select! {
            () = tokio::time::sleep_until(started + pause) => {}
            () = lead.ask.notified() => tokio::time::sleep_until(started + APART).await,
        }
    }
}

/// One line for each change, so that a deploy can be followed in the log.
fn say(upstream: &Upstream, lead: &Lead, change: &Change) {
    let list = |addresses: &[Arc<super::address::Address>]| {
        let sockets = addresses.iter().map(|a| a.socket.to_string());
        sockets.collect::<Vec<_>>().join(", ")
    };
    tracing::info!(
        added = list(&change.added),
        removed = list(&change.removed),
        "upstream `{}`: `{}` has new addresses",
        upstream.name(),
        lead.host
    );
}
