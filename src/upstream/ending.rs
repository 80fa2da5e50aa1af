//! Whether a server that broke a request's connection was on its way out: a try that met its end is not held against the request.
//!
//! A server that ends resets what waits in its queue, and nobody connects to it afterwards. A request may meet several such
//! ends in one deploy, and would be out of `tries` although nothing is wrong with it. A server that resets requests and
//! stays is another matter: there the tries are what keeps one request from breaking worker after worker.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;

use super::Upstream;
use super::address::Address;
use super::connect::plain;

/// A connect that has not succeeded by then meets nobody.
const LOOK_MAX: Duration = Duration::from_secs(1);

/// A try that broke, and what was known of its address when it began.
#[derive(Debug)]
pub(super) struct Broken {
    address: Arc<Address>,
    downs: u32,
}

impl Broken {
    /// A try at `address` that began when it had gone down `downs` times.
    pub(super) fn new(address: &Arc<Address>, downs: u32) -> Self {
        Self {
            address: Arc::clone(address),
            downs,
        }
    }

    /// Whether nobody was at the address at some time since the try began, or its name no longer stands for it.
    fn met_the_end(&self, upstream: &Upstream) -> bool {
        let is_it = |member: &Arc<Address>| Arc::ptr_eq(member, &self.address);
        self.address.downs() != self.downs || !upstream.pool.members().iter().any(is_it)
    }
}

/// How many of these tries met a server's end. Connects to find out where nobody knows yet.
pub(super) async fn met(broken: &mut Vec<Broken>, upstream: &Upstream) -> u32 {
    let known = forget_met(broken, upstream);
    if known > 0 {
        return known;
    }
    let mut asked: Vec<&Arc<Address>> = Vec::new();
    for Broken { address, .. } in broken.iter() {
        if !asked.iter().any(|other| Arc::ptr_eq(other, address)) {
            asked.push(address);
        }
    }
    join_all(asked.into_iter().map(|address| look(address, upstream))).await;
    forget_met(broken, upstream)
}

fn forget_met(broken: &mut Vec<Broken>, upstream: &Upstream) -> u32 {
    let before = broken.len();
    broken.retain(|broken| !broken.met_the_end(upstream));
    u32::try_from(before - broken.len()).unwrap_or(u32::MAX)
}

/// Connects, and tells everybody what came of it.
async fn look(address: &Arc<Address>, upstream: &Upstream) {
    let limit = upstream.settings.timeouts.connect.min(LOOK_MAX);
    match tokio::time::timeout(limit, upstream.dialer.dial(&address.socket)).await {
        Ok(Ok(_connection)) => upstream.reached(address),
        Ok(Err(error)) => upstream.not_reached(address, &plain(&error)),
        Err(_) => upstream.not_reached(address, "connect timed out"),
    }
}
