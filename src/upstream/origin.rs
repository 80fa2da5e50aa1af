//! One upstream: its parts put together, and what each event means to the others.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use arc_swap::{ArcSwap, ArcSwapOption};
use parking_lot::Mutex;
use rustls_pki_types::ServerName;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::address::{Address, Server, Socket, Standing};
use super::balance::Balancer;
use super::claim::{Claim, ClaimRequest};
use super::connect::Dial;
use super::discovery::{self, Lead};
use super::error::{UNIX_PATH_MAX, UpstreamError};
use super::health::{active, passive, prober};
use super::hold::Hold;
use super::metrics::Numbers;
use super::pingora::PeerTrust;
use super::pool::{Change, Pool};
use super::queue::Queue;
use super::retry::Budget;
use super::settings::{Endpoint, UpstreamHttp, UpstreamSettings};
use super::trust::{Encryption, Secured, Trust};
use super::{Environment, Target, Upstreams};
use crate::clock;
use crate::units::format_duration;

/// A task that ends with its owner.
#[derive(Debug)]
pub(super) struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What may fail about an upstream, made before anything is started.
pub(super) struct Prepared {
    trust: Trust,
    encryption: Arc<ArcSwapOption<Encryption>>,
    check: Option<Arc<dyn active::Check>>,
}

/// One upstream: its servers, and the requests that wait for them.
pub struct Upstream {
    pub(super) settings: UpstreamSettings,
    pub(super) pool: Pool,
    pub(super) hold: Arc<Hold>,
    pub(super) queue: Queue,
    pub(super) budget: Budget,
    pub(super) metrics: Numbers,
    pub(super) peer_trust: ArcSwap<PeerTrust>,
    /// None where no server speaks TLS. Shared with the checks.
    encryption: Arc<ArcSwapOption<Encryption>>,
    pub(super) trust_fingerprint: Mutex<u64>,
    /// Rung for the prober.
    pub(super) bell: Arc<Notify>,
    /// Rung for the checks of ill addresses, while requests are held.
    pub(super) hurry: Arc<Notify>,
    pub(super) leads: Vec<Lead>,
    pub(super) check: Option<Arc<dyn active::Check>>,
    /// Connects to see whether anybody is there.
    pub(super) dialer: Arc<dyn Dial>,
    pub(super) runtime: Handle,
    pub(super) this: Weak<Self>,
    /// Look-ups and the prober. Locked when they are started.
    pub(super) tasks: Mutex<Vec<Task>>,
    /// Checks, by address. Locked when addresses come and go.
    pub(super) checks: Mutex<HashMap<(Arc<str>, Socket), Task>>,
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

    /// How TLS is spoken to `target`. None where it is not, and where the name to prove is none, which
    /// [`Upstreams::build`] refuses.
    pub fn secured(&self, target: &Target) -> Option<Secured> {
        let encryption = self.encryption.load_full().filter(|_| target.tls())?;
        let name = ServerName::try_from(target.sni().to_owned()).ok()?;
        Some(Secured { encryption, name })
    }

    /// Everything about the settings that can be wrong, found out before anything is started.
    pub(super) fn prepare(
        settings: &UpstreamSettings,
        environment: &Environment,
    ) -> Result<Prepared, UpstreamError> {
        let trust = Trust::load(settings)?;
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
                if ServerName::try_from(server.sni.as_str()).is_err() {
                    return Err(UpstreamError::BadName {
                        upstream: settings.name.clone(),
                        name: server.sni,
                    });
                }
            }
        }
        let encrypted = settings.servers.iter().any(|server| server.tls);
        let encryption = encrypted.then(|| trust.encryption(settings)).transpose()?;
        let encryption = Arc::new(ArcSwapOption::from_pointee(encryption));
        let check = settings.health.as_ref().map(|health| {
            let check: Arc<dyn active::Check> = Arc::new(active::NetworkCheck {
                probe: health.probe.clone(),
                dialer: Arc::clone(&environment.dialer),
                tls: Arc::clone(&encryption),
                http2: settings.http == UpstreamHttp::Http2,
            });
            check
        });
        Ok(Prepared {
            trust,
            encryption,
            check,
        })
    }

    pub(super) fn start(
        settings: UpstreamSettings,
        prepared: Prepared,
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
            peer_trust: ArcSwap::from_pointee(PeerTrust::new(&prepared.trust)),
            encryption: prepared.encryption,
            trust_fingerprint: Mutex::new(prepared.trust.fingerprint),
            bell: Arc::new(Notify::new()),
            hurry: Arc::new(Notify::new()),
            check: prepared.check,
            dialer: Arc::clone(&environment.dialer),
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
    pub(super) fn addresses_changed(&self, change: &Change) {
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
    pub(super) fn reached(&self, address: &Arc<Address>) {
        if address.connected() {
            self.tell_standing(address);
            self.survey();
        }
    }

    /// Somebody tried to connect to the address, in vain.
    pub(super) fn not_reached(&self, address: &Arc<Address>, complaint: &str) {
        self.say_failed(address, complaint);
        if address.connect_failed(complaint) {
            self.tell_standing(address);
            self.survey();
            self.ring();
        }
        self.ask_names();
    }

    /// The active checks came to a verdict.
    pub(super) fn judged(&self, address: &Arc<Address>, healthy: bool, complaint: &str) {
        if address.judge(healthy, complaint) {
            self.tell_standing(address);
            self.survey();
        }
    }

    /// The address failed a request.
    pub(super) fn failed(&self, address: &Arc<Address>, complaint: &str) {
        self.say_failed(address, complaint);
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
                format_duration(self.settings.eject.duration)
            );
        }
    }

    /// A try failed, which is a line only for who looks closely: the access log has a request's last one.
    fn say_failed(&self, address: &Address, complaint: &str) {
        tracing::debug!(
            "upstream `{}`: a try failed: {} ({}) {complaint}",
            self.name(),
            address.server.name,
            address.socket
        );
    }

    /// One line, and one number, for each change of an address' standing.
    fn tell_standing(&self, address: &Address) {
        let now = clock::now();
        let standing = address.standing(now);
        let up = standing == Standing::Available;
        let members = self.pool.members();
        if !members
            .iter()
            .any(|member| std::ptr::eq(Arc::as_ptr(member), address))
        {
            // A request that is still with it found out; its number is gone, and nobody cares.
            return;
        }
        self.metrics.up(address, Some(up));
        let complaint = if up {
            String::new()
        } else {
            format!(" ({})", address.complaint())
        };
        // A literal address is its own name.
        let (server, socket) = (&address.server.name, address.socket.to_string());
        let place = if **server == socket {
            socket
        } else {
            format!("{server} ({socket})")
        };
        let state = standing.word();
        tracing::info!("upstream `{}`: {place} is {state}{complaint}", self.name());
    }

    /// Lets go those who wait, where somebody is available; holds back the others, where nobody is.
    pub(super) fn survey(&self) {
        if !self.hold.is_clear() {
            self.hold.survey(self.pool.has_somebody(clock::now()));
        }
    }

    /// Something is wrong: the prober looks.
    pub(super) fn ring(&self) {
        self.bell.notify_one();
    }

    /// Names are looked up now, or as soon as may be.
    pub(super) fn ask_names(&self) {
        self.leads.iter().for_each(|lead| lead.ask.notify_one());
    }

    /// The files behind the same settings may have changed. True where they have.
    pub(super) fn trust_anew(&self, prepared: &Prepared) -> bool {
        let trust = &prepared.trust;
        let mut known = self.trust_fingerprint.lock();
        if *known == trust.fingerprint {
            return false;
        }
        *known = trust.fingerprint;
        self.peer_trust.store(Arc::new(PeerTrust::new(trust)));
        self.encryption.store(prepared.encryption.load_full());
        true
    }

    pub(super) fn forget_numbers(&self) {
        for address in self.pool.members().iter() {
            self.metrics.up(address, None);
        }
    }
}
