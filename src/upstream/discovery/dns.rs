//! Asks for the addresses of a name: the hosts file first, then DNS, as the system's own files say.
//!
//! hickory-resolver caches by itself; that cache is kept empty, because a container that was recreated has a new
//! address at once while Docker's DNS calls the old one good for 600 s. How often to ask is the caller's business.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use hickory_resolver::config::{LookupIpStrategy, ResolveHosts};
use hickory_resolver::net::NetError;
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::{Hosts, TokioResolver};
use parking_lot::Mutex;

const RESOLV_CONF: &str = "/etc/resolv.conf";
const HOSTS: &str = "/etc/hosts";

/// A DNS server that has not answered by then is asked again, or the next one. The system's default is 5 s; while
/// requests are held, that is half of their patience.
const TIMEOUT_MAX: Duration = Duration::from_secs(2);

/// What a name stands for now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// At least one, each once.
    pub addresses: Vec<IpAddr>,
    /// How long its records are said to be good.
    pub ttl: Duration,
}

/// Why a name could not be resolved. The message is what the operator reads.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// There is no such name, as far as DNS knows.
    #[error("no such name")]
    NoSuchName,
    /// The name exists and has no address.
    #[error("the name has no A or AAAA record")]
    NoAddress,
    /// Nobody answered in time.
    #[error("no DNS server answered in time")]
    TimedOut,
    /// It cannot be a name.
    #[error("not a valid host name")]
    Malformed,
    /// The system names no DNS server.
    #[error("`{RESOLV_CONF}` names no usable DNS server: {0}")]
    NoServer(String),
    /// The servers answered with something else.
    #[error("{0}")]
    Failed(String),
}

impl ResolveError {
    /// The word in metrics.
    pub fn word(&self) -> &'static str {
        match self {
            Self::NoSuchName => "no_such_name",
            Self::NoAddress => "no_address",
            Self::TimedOut => "timed_out",
            Self::Malformed => "malformed",
            Self::NoServer(_) => "no_server",
            Self::Failed(_) => "failed",
        }
    }
}

/// Turns names into addresses. A trait, so that tests can let a name change its mind.
#[async_trait]
pub trait Resolve: Send + Sync {
    /// The addresses of `host` as of now, from no cache.
    async fn resolve(&self, host: &str) -> Result<Resolved, ResolveError>;
}

/// Resolves as the system's `resolv.conf` and `hosts` files say, and reads them again when they change.
#[derive(Default)]
pub struct SystemResolver {
    /// Guards the parsed files; held while two files are looked at and perhaps read, never during a look-up.
    files: Mutex<Option<Files>>,
}

impl std::fmt::Debug for SystemResolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SystemResolver").finish_non_exhaustive()
    }
}

/// The two files as parsed at some time.
#[derive(Clone)]
struct Files {
    stamps: [Option<SystemTime>; 2],
    hosts: Arc<Hosts>,
    dns: Result<TokioResolver, ResolveError>,
}

impl Files {
    fn stamps() -> [Option<SystemTime>; 2] {
        [RESOLV_CONF, HOSTS].map(|path| std::fs::metadata(path).and_then(|m| m.modified()).ok())
    }

    fn read(stamps: [Option<SystemTime>; 2]) -> Self {
        let no_server = |error: NetError| ResolveError::NoServer(error.to_string());
        let dns = TokioResolver::builder_tokio()
            .and_then(|mut builder| {
                let options = builder.options_mut();
                options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
                // We look there ourselves: hickory would ask DNS for the AAAA of a name whose A the file has,
                // and wait for that answer.
                options.use_hosts_file = ResolveHosts::Never;
                options.timeout = options.timeout.min(TIMEOUT_MAX);
                options.cache_size = 0;
                options.negative_max_ttl = Some(Duration::ZERO);
                builder.build()
            })
            .map_err(no_server);
        Self {
            stamps,
            // No hosts file is an empty one.
            hosts: Arc::new(Hosts::from_system().unwrap_or_default()),
            dns,
        }
    }

    /// The addresses that the hosts file has for `name`.
    fn in_hosts(&self, name: &Name) -> Vec<IpAddr> {
        [RecordType::A, RecordType::AAAA]
            .into_iter()
            .filter_map(|kind| {
                self.hosts
                    .lookup_static_host(&Query::query(name.clone(), kind))
            })
            .flat_map(|lookup| {
                let ips = lookup.answers().iter().filter_map(|r| r.data.ip_addr());
                ips.collect::<Vec<_>>()
            })
            .collect()
    }
}

impl SystemResolver {
    fn files(&self) -> Files {
        let stamps = Files::stamps();
        let mut files = self.files.lock();
        match &*files {
            Some(known) if known.stamps == stamps => known.clone(),
            _ => files.insert(Files::read(stamps)).clone(),
        }
    }
}

#[async_trait]
impl Resolve for SystemResolver {
    async fn resolve(&self, host: &str) -> Result<Resolved, ResolveError> {
        let name = Name::from_utf8(host).map_err(|_| ResolveError::Malformed)?;
        let files = self.files();
        let in_hosts = files.in_hosts(&name);
        if !in_hosts.is_empty() {
            return Ok(resolved(in_hosts, Duration::MAX));
        }
        if name.is_localhost() {
            // RFC 6761 §6.3: these names are never asked for.
            let loopback = vec![
                IpAddr::from(Ipv4Addr::LOCALHOST),
                IpAddr::from(Ipv6Addr::LOCALHOST),
            ];
            return Ok(resolved(loopback, Duration::MAX));
        }
        let dns = files.dns?;
        // A cache of size zero may still hold an entry until its housekeeping runs.
        dns.clear_cache();
        let found = dns.lookup_ip(name).await.map_err(explain)?;
        let records = found.as_lookup().answers();
        let ttl = records.iter().map(|record| record.ttl).min().unwrap_or(0);
        let addresses: Vec<IpAddr> = found.iter().collect();
        if addresses.is_empty() {
            return Err(ResolveError::NoAddress);
        }
        Ok(resolved(addresses, Duration::from_secs(u64::from(ttl))))
    }
}

/// In order, each address once: a stable order makes logs and the admin view readable.
fn resolved(mut addresses: Vec<IpAddr>, ttl: Duration) -> Resolved {
    addresses.sort_unstable();
    addresses.dedup();
    Resolved { addresses, ttl }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "it is what `map_err` gives away"
)]
fn explain(error: NetError) -> ResolveError {
    if error.is_nx_domain() {
        ResolveError::NoSuchName
    } else if error.is_no_records_found() {
        ResolveError::NoAddress
    } else if matches!(error, NetError::Timeout) {
        ResolveError::TimedOut
    } else {
        ResolveError::Failed(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn localhost_needs_no_dns() {
        let resolver = SystemResolver::default();
        let found = resolver.resolve("localhost").await.expect("resolves");
        assert!(found.addresses.iter().all(IpAddr::is_loopback));
        assert!(!found.addresses.is_empty());
    }

    #[tokio::test]
    async fn what_cannot_be_a_name_is_refused_without_asking() {
        let resolver = SystemResolver::default();
        let long = "a".repeat(64);
        assert_eq!(
            resolver.resolve(&long).await,
            Err(ResolveError::Malformed),
            "a label of 64"
        );
    }
}
