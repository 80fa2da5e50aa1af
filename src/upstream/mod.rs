//! Origins: where they are, whether they are well, which one is next, and how long a request waits for one.
//!
//! A request makes a [`Claim`] on an [`Upstream`] and asks it for a [`Target`], once per try. Everything that takes
//! time (look-ups, checks, probes) is done by tasks on the control runtime; requests on the data threads read what
//! those have found, and wait for events.
//!
//! [`claim`] is one request's walk, and the place to begin reading; `origin` puts the parts of an upstream together;
//! [`address`], [`balance`] and [`pool`] say who is asked; [`hold`] and [`queue`] are where requests wait; [`retry`]
//! says when a try is repeated, `ending` which tries are not counted; [`discovery`] and `health` keep the pool true; [`connect`], [`pingora`] and [`trust`]
//! are about connections; [`metrics`] and [`view`] are for watching.
//!
//! What is deliberately absent: connections and their reuse, which are the proxy's and Pingora's, and the timeouts of a
//! try, which the proxy applies.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use tokio::runtime::Handle;

pub mod claim;
mod ending;
pub mod refusal;
mod target;

mod origin;

pub mod address;
pub mod balance;
pub mod pool;

pub mod hold;
pub mod queue;
pub mod retry;

pub mod discovery;
mod health;

pub mod connect;
pub mod pingora;
pub mod trust;

pub mod error;
pub mod metrics;
pub mod settings;
pub mod view;

#[cfg(test)]
mod tests;

pub use claim::{Claim, ClaimReport, ClaimRequest, ConnectFailure};
pub use error::UpstreamError;
pub use hold::HoldRefusal;
pub use origin::Upstream;
pub use refusal::Refusal;
pub use retry::{FailureKind, RetryQuestion, RetryReason, RetryRefusal};
pub use target::Target;

use self::address::Socket;
use self::connect::{Dial, SystemDialer};
use self::discovery::{Resolve, SystemResolver};
use self::metrics::UpstreamMetrics;
use self::settings::{Endpoint, UpstreamSettings};

/// What upstreams need from the process.
#[derive(Clone)]
pub struct Environment {
    /// The control runtime.
    pub runtime: Handle,
    /// Turns names into addresses.
    pub resolver: Arc<dyn Resolve>,
    /// Connects for probes and checks.
    pub dialer: Arc<dyn Dial>,
    /// Where things are counted.
    pub metrics: UpstreamMetrics,
}

impl Environment {
    /// The real one: the system's resolver, real connections.
    pub fn new(runtime: Handle, metrics: UpstreamMetrics) -> Self {
        Self {
            runtime,
            resolver: Arc::new(SystemResolver::default()),
            dialer: Arc::new(SystemDialer),
            metrics,
        }
    }
}

impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Environment").finish_non_exhaustive()
    }
}

/// All upstreams of one set of settings.
#[derive(Debug, Default)]
pub struct Upstreams {
    by_name: HashMap<String, Arc<Upstream>>,
    /// In the order of the settings.
    in_order: Vec<Arc<Upstream>>,
    /// Those whose settings are what they were, and whose files of certificates are not.
    pub reread: Vec<Arc<Upstream>>,
    /// Those of earlier settings; each lives for as long as requests that began with it.
    retired: Vec<Weak<Upstream>>,
}

impl Upstreams {
    /// Builds and starts them. An upstream of `previous` whose settings are equal is taken over with all its state,
    /// and only reads its certificate files again; the tasks of one that is not taken over end when its last request
    /// does.
    ///
    /// # Errors
    /// [`UpstreamError`]; nothing is changed or started then.
    pub fn build(
        settings: &[UpstreamSettings],
        previous: Option<&Self>,
        environment: &Environment,
    ) -> Result<Self, UpstreamError> {
        let mut prepared = Vec::with_capacity(settings.len());
        for settings in settings {
            prepared.push((settings, Upstream::prepare(settings, environment)?));
        }
        let mut all = Self::default();
        for (settings, prepared) in prepared {
            let before = previous.and_then(|previous| previous.get(&settings.name));
            let upstream = match before.filter(|before| before.settings == *settings) {
                Some(unchanged) => {
                    if unchanged.trust_anew(&prepared) {
                        all.reread.push(Arc::clone(unchanged));
                    }
                    Arc::clone(unchanged)
                }
                None => Upstream::start(settings.clone(), prepared, previous, environment),
            };
            let name = settings.name.clone();
            all.by_name.insert(name, Arc::clone(&upstream));
            all.in_order.push(upstream);
        }
        if let Some(previous) = previous {
            all.succeed(previous);
        }
        Ok(all)
    }

    /// The upstream of this name.
    pub fn get(&self, name: &str) -> Option<&Arc<Upstream>> {
        self.by_name.get(name)
    }

    /// All of them, in the order of the settings.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Upstream>> {
        self.in_order.iter()
    }

    /// The process is ending: requests that are held are refused, and nobody is held any more. Also at upstreams of
    /// earlier settings.
    pub fn drain(&self) {
        let retired: Vec<_> = self.retired.iter().filter_map(Weak::upgrade).collect();
        for upstream in self.iter().chain(&retired) {
            upstream.hold.drain();
        }
    }

    /// Takes leave of the upstreams of `previous` that are not among these.
    fn succeed(&mut self, previous: &Self) {
        let earlier = previous.retired.iter().filter(|old| old.strong_count() > 0);
        self.retired.extend(earlier.cloned());
        for old in previous.iter() {
            match self.get(old.name()) {
                Some(new) if Arc::ptr_eq(new, old) => {}
                Some(_) => self.retired.push(Arc::downgrade(old)),
                None => {
                    old.forget_numbers();
                    self.retired.push(Arc::downgrade(old));
                }
            }
        }
    }

    /// The addresses that an endpoint is known to have, so that a changed upstream need not begin with a look-up.
    fn known(&self, endpoint: &Endpoint) -> Vec<Socket> {
        self.iter()
            .map(|upstream| upstream.pool.known(endpoint))
            .find(|known| !known.is_empty())
            .unwrap_or_default()
    }
}
