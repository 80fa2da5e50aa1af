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
use std::path::PathBuf;
use std::sync::{Arc, Weak};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

pub mod address;
pub mod balance;
pub mod claim;
pub mod connect;
pub mod discovery;
mod health;
pub mod hold;
pub mod metrics;
pub mod pingora;
pub mod pool;
pub mod queue;
pub mod retry;
pub mod settings;
#[cfg(test)]
mod tests;
pub mod trust;
pub mod view;

pub use claim::{Claim, ClaimReport, ClaimRequest, ConnectFailure, Refusal, Target};
pub use hold::HoldRefusal;
pub use retry::{FailureKind, RetryQuestion, RetryReason, RetryRefusal};

use self::address::{Address, Server, Socket};
use self::balance::Balancer;
use self::connect::{Dial, SystemDialer};
use self::discovery::{Lead, Resolve, SystemResolver};
use self::health::{active, passive, prober};
use self::hold::Hold;
use self::metrics::{Numbers, UpstreamMetrics};
use self::pingora::PeerTrust;
use self::pool::{Change, Pool};
use self::queue::Queue;
use self::retry::Budget;
use self::settings::{Endpoint, UpstreamHttp, UpstreamSettings};
use self::trust::Trust;
use crate::clock;

/// The longest path of a unix socket, its end mark included (`sun_path` in unix(7)).
const UNIX_PATH_MAX: usize = 108;

/// Why upstreams cannot be built. All of it is the operator's to mend.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UpstreamError {
    /// A file of `tls` cannot be read, or holds something else.
    #[error("upstream `{upstream}`: `{}`: {why}; expected {expected}", file.display())]
    Unreadable {
        /// The upstream.
        upstream: String,
        /// The file.
        file: PathBuf,
        /// What it should be.
        expected: &'static str,
        /// What was found.
        why: String,
    },
    /// `tls.ca` holds something that is no authority.
    #[error("upstream `{upstream}`: `{}` cannot serve as an authority: {why}", file.display())]
    BadAuthority {
        /// The upstream.
        upstream: String,
        /// The file.
        file: PathBuf,
        /// Why.
        why: String,
    },
    /// `tls.cert` and `tls.key` do not go together.
    #[error("upstream `{upstream}`: `{}` and `{}` cannot be used together: {why}", cert.display(), key.display())]
    BadIdentity {
        /// The upstream.
        upstream: String,
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Why.
        why: String,
    },
    /// The system's authorities cannot be read.
    #[error(
        "upstream `{upstream}`: cannot read the system's certificate authorities: {why}; install `ca-certificates`, or set `tls.ca`"
    )]
    NoAuthorities {
        /// The upstream.
        upstream: String,
        /// Why.
        why: String,
    },
    /// The path of a unix socket cannot be connected to.
    #[error("upstream `{upstream}`: `{}` cannot be the path of a unix socket: expected UTF-8, shorter than {UNIX_PATH_MAX} bytes", path.display())]
    BadSocketPath {
        /// The upstream.
        upstream: String,
        /// The path.
        path: PathBuf,
    },
    /// The name for SNI is none.
    #[error(
        "upstream `{upstream}`: `{name}` cannot be verified in a certificate: expected a DNS name or an IP address; set `tls.sni`"
    )]
    BadName {
        /// The upstream.
        upstream: String,
        /// The name.
        name: String,
    },
}

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

/// A task that ends with its owner.
#[derive(Debug)]
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// One upstream: its servers, and the requests that wait for them.
pub struct Upstream {
    settings: UpstreamSettings,
    pool: Pool,
    hold: Arc<Hold>,
    queue: Queue,
    budget: Budget,
    metrics: Numbers,
    peer_trust: ArcSwap<PeerTrust>,
    trust_fingerprint: Mutex<u64>,
    /// Rung for the prober.
    bell: Arc<Notify>,
    /// Rung for the checks of ill addresses, while requests are held.
    hurry: Arc<Notify>,
    leads: Vec<Lead>,
    check: Option<Arc<dyn active::Check>>,
    runtime: Handle,
    this: Weak<Self>,
    /// Look-ups and the prober. Locked when they are started.
    tasks: Mutex<Vec<Task>>,
    /// Checks, by address. Locked when addresses come and go.
    checks: Mutex<HashMap<(Arc<str>, Socket), Task>>,
}

impl std::fmt::Debug for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upstream")
            .field("name", &self.settings.name)
            .field("pool", &self.pool)
            .finish_non_exhaustive()
    }
}

impl Upstream {
    /// Its name in logs, metrics and routes.
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// What it was built from.
    pub fn settings(&self) -> &UpstreamSettings {
        &self.settings
    }

    /// Whether a request would be given a server at once.
    pub fn is_ready(&self) -> bool {
        self.pool.has_somebody(clock::now())
    }

    /// A request's claim on it.
    pub fn claim(self: &Arc<Self>, request: ClaimRequest<'_>) -> Claim {
        Claim::new(Arc::clone(self), request)
    }

    /// Everything about the settings that can be wrong, found out before anything is started.
    fn prepare(
        settings: &UpstreamSettings,
        trust: &Trust,
        environment: &Environment,
    ) -> Result<Option<Arc<dyn active::Check>>, UpstreamError> {
        for server in &settings.servers {
            if let Endpoint::Unix(path) = &server.endpoint {
                let bytes = path.to_str().map(str::len);
                if !bytes.is_some_and(|n| (1..UNIX_PATH_MAX).contains(&n)) {
                    return Err(UpstreamError::BadSocketPath {
                        upstream: settings.name.clone(),
                        path: path.clone(),
                    });
                }
            }
            if server.tls {
                let server = Server::new(server, &settings.tls);
                if rustls_pki_types::ServerName::try_from(server.sni.as_str()).is_err() {
                    return Err(UpstreamError::BadName {
                        upstream: settings.name.clone(),
                        name: server.sni,
                    });
                }
            }
        }
        let Some(health) = &settings.health else {
            return Ok(None);
        };
        let encrypted = settings.servers.iter().any(|server| server.tls);
        Ok(Some(Arc::new(active::NetworkCheck {
            probe: health.probe.clone(),
            dialer: Arc::clone(&environment.dialer),
            tls: encrypted.then(|| trust.connector(settings)).transpose()?,
            http2: settings.http == UpstreamHttp::Http2,
        })))
    }

    fn start(
        settings: UpstreamSettings,
        trust: &Trust,
        check: Option<Arc<dyn active::Check>>,
        previous: Option<&Upstreams>,
        environment: &Environment,
    ) -> Arc<Self> {
        if settings.tls.insecure {
            tracing::warn!(
                "upstream `{}`: `insecure = true` accepts any certificate; use it for tests only",
                settings.name
            );
        }
        let metrics = environment.metrics.of(&settings.name);
        let servers = settings.servers.iter().map(|server| {
            let mut server = Server::new(server, &settings.tls);
            server.numbers = metrics.server(&server);
            Arc::new(server)
        });
        let pool = Pool::new(servers.collect(), Balancer::new(settings.balance.clone()));
        let leads = pool.servers().iter().enumerate();
        let leads = leads.filter_map(|(index, server)| Lead::new(index, &server.endpoint));
        let leads: Vec<Lead> = leads.collect();
        for lead in &leads {
            if let (Some(previous), Some(server)) = (previous, pool.servers().get(lead.server)) {
                let known = previous.known(&server.endpoint);
                if !known.is_empty() {
                    pool.replace(lead.server, known);
                }
            }
        }
        let upstream = Arc::new_cyclic(|this| Self {
            hold: Hold::new(
                settings.name.as_str().into(),
                settings.hold,
                settings.hold_max,
                metrics.hold(),
            ),
            queue: Queue::new(
                settings.max_in_flight,
                settings.queue_max,
                settings.queue_timeout,
                metrics.queue(),
            ),
            budget: Budget::new(settings.retry.budget),
            peer_trust: ArcSwap::from_pointee(PeerTrust::new(trust)),
            trust_fingerprint: Mutex::new(trust.fingerprint),
            bell: Arc::new(Notify::new()),
            hurry: Arc::new(Notify::new()),
            check,
            runtime: environment.runtime.clone(),
            this: Weak::clone(this),
            tasks: Mutex::default(),
            checks: Mutex::default(),
            settings,
            pool,
            metrics,
            leads,
        });
        upstream.addresses_changed(&Change {
            added: upstream.pool.members().to_vec(),
            removed: Vec::new(),
        });
        upstream.start_tasks(environment);
        upstream
    }

    fn start_tasks(&self, environment: &Environment) {
        let mut tasks = self.tasks.lock();
        for lead in &self.leads {
            let resolver = Arc::clone(&environment.resolver);
            let follow = discovery::follow(Weak::clone(&self.this), resolver, lead.clone());
            tasks.push(Task(self.runtime.spawn(follow)));
        }
        let bell = Arc::clone(&self.bell);
        let dialer = Arc::clone(&environment.dialer);
        let prober = prober::run(Weak::clone(&self.this), bell, dialer);
        tasks.push(Task(self.runtime.spawn(prober)));
    }

    /// Addresses came and went: checks begin and end, and those who wait may have found somebody.
    fn addresses_changed(&self, change: &Change) {
        let mut checks = self.checks.lock();
        for address in &change.removed {
            self.metrics.up(address, None);
            checks.remove(&(Arc::clone(&address.server.name), address.socket.clone()));
        }
        for address in &change.added {
            self.metrics.up(address, Some(true));
            if let (Some(check), Some(settings)) = (&self.check, &self.settings.health) {
                let watch = active::watch(
                    Weak::clone(&self.this),
                    Arc::clone(address),
                    Arc::clone(check),
                    settings.clone(),
                    Arc::clone(&self.hurry),
                );
                let key = (Arc::clone(&address.server.name), address.socket.clone());
                checks.insert(key, Task(self.runtime.spawn(watch)));
            }
        }
        drop(checks);
        self.metrics.addresses(self.pool.members().len());
        self.survey();
    }

    /// Somebody connected to the address: a request, the prober or a check.
    fn reached(&self, address: &Arc<Address>) {
        if address.connected() {
            self.tell_standing(address);
            self.survey();
        }
    }

    /// Somebody tried to connect to the address, in vain.
    fn not_reached(&self, address: &Arc<Address>, complaint: &str) {
        if address.connect_failed(complaint) {
            self.tell_standing(address);
            self.survey();
            self.ring();
        }
        self.ask_names();
    }

    /// The active checks came to a verdict.
    fn judged(&self, address: &Arc<Address>, healthy: bool, complaint: &str) {
        if address.judge(healthy, complaint) {
            self.tell_standing(address);
            self.survey();
        }
    }

    /// The address failed a request.
    fn failed(&self, address: &Arc<Address>, complaint: &str) {
        let failures = address.failed(complaint);
        let now = clock::now();
        let others = || self.pool.has_other(address, now);
        if passive::ejects(failures, &self.settings.eject, others) {
            address.eject(now + self.settings.eject.duration);
            address.server.numbers.ejections.inc();
            tracing::warn!(
                "upstream `{}`: {} ({}) is left out for {}: it failed {failures} requests in a row, the last one {complaint}",
                self.name(),
                address.server.name,
                address.socket,
                crate::units::format_duration(self.settings.eject.duration)
            );
        }
    }

    /// One line, and one number, for each change of an address' standing.
    fn tell_standing(&self, address: &Address) {
        let now = clock::now();
        let standing = address.standing(now);
        let up = standing == address::Standing::Available;
        self.metrics.up(address, Some(up));
        let left = self.pool.members().len();
        let complaint = if up {
            String::new()
        } else {
            format!(" ({})", address.complaint())
        };
        tracing::info!(
            addresses = left,
            "upstream `{}`: {} ({}) is {}{complaint}",
            self.name(),
            address.server.name,
            address.socket,
            standing.word()
        );
    }

    /// Lets go those who wait, where somebody is available; holds back the others, where nobody is.
    fn survey(&self) {
        if !self.hold.is_clear() {
            self.hold.survey(self.pool.has_somebody(clock::now()));
        }
    }

    /// Something is wrong: the prober looks.
    fn ring(&self) {
        self.bell.notify_one();
    }

    /// Names are looked up now, or as soon as may be.
    fn ask_names(&self) {
        self.leads.iter().for_each(|lead| lead.ask.notify_one());
    }

    /// The files behind the same settings may have changed.
    fn trust_anew(&self, trust: &Trust) {
        let mut known = self.trust_fingerprint.lock();
        if *known != trust.fingerprint {
            *known = trust.fingerprint;
            self.peer_trust.store(Arc::new(PeerTrust::new(trust)));
        }
    }

    fn forget_numbers(&self) {
        for address in self.pool.members().iter() {
            self.metrics.up(address, None);
        }
    }
}
