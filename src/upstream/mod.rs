//! Origins: where they are, whether they are well, which one is next, and how long a request waits for one.
//!
//! A request makes a [`Claim`] on an [`Upstream`] and asks it for a [`Target`], once per try. Everything that takes
//! time (look-ups, checks, probes) is done by tasks on the control runtime; requests on the data threads read what
//! those have found, and wait for events.
//!
//! In reading order: [`claim`] is one request's walk; [`pool`], [`address`] and [`balance`] say who is asked;
//! [`hold`] and [`queue`] are where requests wait; [`retry`] says when a try is repeated; [`discovery`] and `health`
//! keep the pool true; [`trust`] and [`pingora`] are about connections; [`metrics`] and [`view`] are for watching.
//!
//! What is deliberately absent: connections and their reuse, which are Pingora's, and the timeouts of a try, which
//! the proxy applies.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::runtime::Handle;

pub mod address;
pub mod balance;
pub mod claim;
pub mod connect;
pub mod discovery;
mod error;
mod health;
pub mod hold;
pub mod metrics;
mod origin;
pub mod pingora;
pub mod pool;
pub mod queue;
mod refusal;
pub mod retry;
pub mod settings;
#[cfg(test)]
mod tests;
pub mod trust;
pub mod view;

pub use claim::{Claim, ClaimReport, ClaimRequest, ConnectFailure, Target};
pub use error::UpstreamError;
pub use hold::HoldRefusal;
pub use origin::Upstream;
pub use refusal::Refusal;
pub use retry::{FailureKind, RetryQuestion, RetryReason, RetryRefusal};

use self::address::Socket;
use self::connect::{Dial, SystemDialer};
use self::discovery::{Resolve, SystemResolver};
use self::metrics::UpstreamMetrics;
use self::settings::{Endpoint, UpstreamSettings};
use self::trust::Trust;

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
            let trust = Trust::load(settings)?;
            let check = Upstream::prepare(settings, &trust, environment)?;
            prepared.push((settings, trust, check));
        }
        let mut all = Self::default();
        for (settings, trust, check) in prepared {
            let before = previous.and_then(|previous| previous.get(&settings.name));
            let upstream = match before.filter(|before| before.settings == *settings) {
                Some(unchanged) => {
                    unchanged.trust_anew(&trust);
                    Arc::clone(unchanged)
                }
                None => Upstream::start(settings.clone(), &trust, check, previous, environment),
            };
            let name = settings.name.clone();
            all.by_name.insert(name, Arc::clone(&upstream));
            all.in_order.push(upstream);
        }
        for gone in previous.into_iter().flat_map(Self::iter) {
            if all.get(gone.name()).is_none() {
                gone.forget_numbers();
            }
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

    /// The process is ending: requests that are held are refused, and nobody is held any more.
    pub fn drain(&self) {
        self.iter().for_each(|upstream| upstream.hold.drain());
    }

    /// The addresses that an endpoint is known to have, so that a changed upstream need not begin with a look-up.
    fn known(&self, endpoint: &Endpoint) -> Vec<Socket> {
        self.iter()
            .map(|upstream| upstream.pool.known(endpoint))
            .find(|known| !known.is_empty())
            .unwrap_or_default()
    }
}
