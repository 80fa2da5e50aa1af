//! Whole upstreams, with a fake network and paused time: names that change their mind, servers that come and go.

mod finding;
mod threads;
mod trying;
mod waiting;

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::{HeaderMap, StatusCode};
use parking_lot::Mutex;

use super::connect::Stream;
use super::discovery::{ResolveError, Resolved};
use super::settings::{Balance, EjectSettings, HealthSettings, Probe, ServerSettings};
use super::*;
use crate::clock::{self, Instant};

/// A network as it is now.
#[derive(Default)]
struct Network {
    names: Mutex<HashMap<String, Vec<IpAddr>>>,
    listening: Mutex<Vec<SocketAddr>>,
    look_ups: Mutex<Vec<Instant>>,
    dials: Mutex<Vec<Instant>>,
    /// Whether look-ups get no answer at all.
    silent: Mutex<bool>,
}

impl Network {
    fn name(&self, name: &str, last: &[u8]) {
        let ips = last.iter().map(|&n| IpAddr::from([10, 0, 0, n])).collect();
        self.names.lock().insert(name.to_owned(), ips);
    }

    fn forget(&self, name: &str) {
        self.names.lock().remove(name);
    }

    fn start(&self, last: u8) {
        self.listening.lock().push(addr(last));
    }

    fn stop(&self, last: u8) {
        self.listening.lock().retain(|known| *known != addr(last));
    }

    fn listens(&self, target: &Target) -> bool {
        match target.socket() {
            Socket::Tcp(addr) => self.listening.lock().contains(addr),
            Socket::Unix(_) => false,
        }
    }
}

fn addr(last: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, last], 5000))
}

#[async_trait]
impl Resolve for Network {
    async fn resolve(&self, host: &str) -> Result<Resolved, ResolveError> {
        self.look_ups.lock().push(clock::now());
        let silent = *self.silent.lock();
        if silent {
            std::future::pending::<()>().await;
        }
        let addresses = self.names.lock().get(host).cloned();
        Ok(Resolved {
            addresses: addresses.ok_or(ResolveError::NoSuchName)?,
            ttl: Duration::from_secs(600),
        })
    }
}

#[async_trait]
impl Dial for Network {
    async fn dial(&self, socket: &Socket) -> io::Result<Box<dyn Stream>> {
        self.dials.lock().push(clock::now());
        match socket {
            Socket::Tcp(addr) if self.listening.lock().contains(addr) => {
                Ok(Box::new(tokio::io::empty()))
            }
            _ => Err(io::ErrorKind::ConnectionRefused.into()),
        }
    }
}

struct Rig {
    network: Arc<Network>,
    environment: Environment,
    upstreams: Upstreams,
}

impl Rig {
    fn new(change: impl FnOnce(&mut UpstreamSettings)) -> Self {
        Self::with(&["app"], change)
    }

    fn with(hosts: &[&str], change: impl FnOnce(&mut UpstreamSettings)) -> Self {
        let network = Arc::new(Network::default());
        let environment = Environment {
            runtime: Handle::current(),
            resolver: network.clone(),
            dialer: network.clone(),
            metrics: UpstreamMetrics::default(),
        };
        let server = |host: &&str| {
            ServerSettings::new(Endpoint::Tcp {
                host: (*host).to_owned(),
                port: 5000,
            })
        };
        let mut settings = UpstreamSettings::new("api", hosts.iter().map(server).collect());
        change(&mut settings);
        let upstreams = Upstreams::build(&[settings], None, &environment).expect("built");
        Self {
            network,
            environment,
            upstreams,
        }
    }

    fn upstream(&self) -> &Arc<Upstream> {
        self.upstreams.get("api").expect("built")
    }

    fn claim(&self) -> Claim {
        self.upstream().claim(ClaimRequest {
            path: "/",
            client: None,
            headers: &HeaderMap::new(),
            arrived: clock::now(),
        })
    }

    /// A request that goes on until it is answered after `work`, or refused.
    fn request(&self, work: Duration) -> BoxFuture<'static, Result<(Claim, Instant), Refusal>> {
        let network = Arc::clone(&self.network);
        let mut claim = self.claim();
        async move {
            loop {
                let target = claim.next().await?;
                if network.listens(&target) {
                    claim.connected(false);
                    let at = clock::now();
                    tokio::time::sleep(work).await;
                    claim.answered(StatusCode::OK);
                    return Ok((claim, at));
                }
                claim.connect_failed(ConnectFailure::NotThere, "connection refused");
                claim.may_retry(ONCE).expect("a connect is always repeated");
            }
        }
        .boxed()
    }
}

/// What a POST allows.
const ONCE: RetryQuestion = RetryQuestion {
    idempotent: false,
    replayable: false,
};

const FREELY: RetryQuestion = RetryQuestion {
    idempotent: true,
    replayable: true,
};

/// Lets every task run that can, without moving time.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

async fn after(rig: &Rig, seconds: f32, event: impl FnOnce(&Network)) {
    tokio::time::sleep(Duration::from_secs_f32(seconds)).await;
    event(&rig.network);
}
