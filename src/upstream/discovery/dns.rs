//! Asks for the addresses of a name: the hosts file first, then DNS, as the system's own files say.
//!
//! hickory-resolver caches by itself; that cache is kept empty, because a container that was recreated has a new
//! address at once while Docker's DNS calls the old one good for 600 s. How often to ask is the caller's business.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use hickory_resolver::config::{LookupIpStrategy, ResolveHosts};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::{Hosts, TokioResolver, system_conf};
use parking_lot::Mutex;

use crate::upstream::connect::plain;

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
    #[error("`/etc/resolv.conf` names no usable DNS server: {0}")]
    NoServer(String),
    /// The servers answered with something else.
    #[error("{0}")]
    Failed(String),
}

impl ResolveError {
    /// Whether DNS answered, and its answer is that nobody goes by this name.
    pub fn says_gone(&self) -> bool {
        matches!(self, Self::NoSuchName | Self::NoAddress)
    }

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
pub struct SystemResolver {
    resolv_conf: PathBuf,
    hosts: PathBuf,
    /// The port of the DNS servers, which `resolv.conf` cannot say.
    port: u16,
    /// Guards the parsed files; held while two files are looked at and perhaps read, never during a look-up.
    files: Mutex<Option<Files>>,
}

impl Default for SystemResolver {
    fn default() -> Self {
        Self {
            resolv_conf: RESOLV_CONF.into(),
            hosts: HOSTS.into(),
            port: 53,
            files: Mutex::default(),
        }
    }
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
    /// The files as they are now.
    fn files(&self) -> Files {
        let stamp = |path: &Path| std::fs::metadata(path).and_then(|m| m.modified()).ok();
        let stamps = [stamp(&self.resolv_conf), stamp(&self.hosts)];
        let mut files = self.files.lock();
        match &*files {
            Some(known) if known.stamps == stamps => known.clone(),
            _ => files.insert(self.read(stamps)).clone(),
        }
    }

    fn read(&self, stamps: [Option<SystemTime>; 2]) -> Files {
        let mut hosts = Hosts::default();
        // No hosts file, or one that is not text, is an empty one.
        let _ = std::fs::File::open(&self.hosts).and_then(|file| hosts.read_hosts_conf(file));
        Files {
            stamps,
            hosts: Arc::new(hosts),
            dns: self.dns().map_err(ResolveError::NoServer),
        }
    }

    fn dns(&self) -> Result<TokioResolver, String> {
        let text = std::fs::read(&self.resolv_conf).map_err(|error| plain(&error))?;
        let parsed = system_conf::parse_resolv_conf(text);
        let (mut config, mut options) = parsed.map_err(|error| error.to_string())?;
        let servers = config.name_servers.iter_mut();
        for connection in servers.flat_map(|server| &mut server.connections) {
            connection.port = self.port;
        }
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        // We look there ourselves: hickory would ask DNS for the AAAA of a name whose A the file has, and wait.
        options.use_hosts_file = ResolveHosts::Never;
        options.timeout = options.timeout.min(TIMEOUT_MAX);
        options.cache_size = 0;
        options.negative_max_ttl = Some(Duration::ZERO);
        let mut builder =
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        *builder.options_mut() = options;
        builder.build().map_err(|error| error.to_string())
    }
}

#[async_trait]
impl Resolve for SystemResolver {
    async fn resolve(&self, host: &str) -> Result<Resolved, ResolveError> {
        // Relaxed: Compose services and projects may have underscores, which strict host names may not.
        let name = Name::from_str_relaxed(host.to_ascii_lowercase())
            .map_err(|_| ResolveError::Malformed)?;
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
    use std::collections::HashMap;
    use std::net::SocketAddr;

    use hickory_resolver::proto::op::{Message, OpCode, ResponseCode};
    use hickory_resolver::proto::rr::Record;
    use tokio::net::UdpSocket;

    use super::*;

    type Zone = Arc<Mutex<HashMap<&'static str, Vec<IpAddr>>>>;

    /// A DNS server that knows a zone, and calls everything in it good for 600 s, as Docker's does.
    async fn serve(zone: Zone) -> (SocketAddr, tokio::task::JoinHandle<()>) {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        let addr = socket.local_addr().expect("bound");
        let serve = async move {
            let mut packet = [0; 1500];
            while let Ok((n, client)) = socket.recv_from(&mut packet).await {
                let asked = Message::from_vec(&packet[..n]).expect("a question");
                let query = asked.queries[0].clone();
                let mut answer = Message::response(asked.metadata.id, OpCode::Query);
                answer.add_query(query.clone());
                match zone.lock().get(query.name().to_string().as_str()) {
                    None => answer.metadata.response_code = ResponseCode::NXDomain,
                    Some(ips) => {
                        for ip in ips
                            .iter()
                            .filter(|ip| (query.query_type() == RecordType::A) == ip.is_ipv4())
                        {
                            let data = (*ip).into();
                            answer.add_answer(Record::from_rdata(query.name().clone(), 600, data));
                        }
                    }
                }
                let bytes = answer.to_vec().expect("encodes");
                socket.send_to(&bytes, client).await.expect("sent");
            }
        };
        (addr, tokio::spawn(serve))
    }

    struct Rig {
        zone: Zone,
        files: tempfile::TempDir,
        resolver: SystemResolver,
    }

    impl Rig {
        async fn new(resolv_conf: &str, hosts: &str) -> Self {
            let zone = Zone::default();
            let (addr, _) = serve(Arc::clone(&zone)).await;
            let files = tempfile::tempdir().expect("a directory");
            let resolver = SystemResolver {
                resolv_conf: files.path().join("resolv.conf"),
                hosts: files.path().join("hosts"),
                port: addr.port(),
                ..SystemResolver::default()
            };
            std::fs::write(&resolver.resolv_conf, resolv_conf).expect("written");
            std::fs::write(&resolver.hosts, hosts).expect("written");
            Self {
                zone,
                files,
                resolver,
            }
        }

        fn knows(&self, name: &'static str, ips: &[&str]) {
            let ips = ips.iter().map(|ip| ip.parse().expect("an address"));
            self.zone.lock().insert(name, ips.collect());
        }

        async fn resolve(&self, host: &str) -> Result<Vec<String>, ResolveError> {
            let found = self.resolver.resolve(host).await?;
            Ok(found.addresses.iter().map(IpAddr::to_string).collect())
        }
    }

    const DOCKER: &str = "nameserver 127.0.0.1\noptions ndots:0\n";

    #[tokio::test]
    async fn every_address_of_both_kinds_and_no_cache() {
        let rig = Rig::new(DOCKER, "").await;
        assert_eq!(rig.resolve("app").await, Err(ResolveError::NoSuchName));
        rig.knows("app.", &["10.0.0.2", "10.0.0.1", "fd00::1"]);
        let found = rig.resolver.resolve("app").await.expect("resolves");
        assert_eq!(found.ttl, Duration::from_secs(600));
        assert_eq!(
            rig.resolve("app").await,
            Ok(vec![
                "10.0.0.1".to_owned(),
                "10.0.0.2".to_owned(),
                "fd00::1".to_owned()
            ])
        );
        rig.knows("app.", &["10.0.0.9"]);
        assert_eq!(rig.resolve("app").await, Ok(vec!["10.0.0.9".to_owned()]));
        rig.knows("app.", &[]);
        assert_eq!(rig.resolve("app").await, Err(ResolveError::NoAddress));
    }

    #[tokio::test]
    async fn search_domains_as_in_kubernetes() {
        let conf = "nameserver 127.0.0.1\nsearch ns.svc.local svc.local\noptions ndots:5\n";
        let rig = Rig::new(conf, "").await;
        rig.knows("app.svc.local.", &["10.0.0.1"]);
        rig.knows("app.", &["10.0.0.2"]);
        assert_eq!(rig.resolve("app").await, Ok(vec!["10.0.0.1".to_owned()]));
        assert_eq!(rig.resolve("app.").await, Ok(vec!["10.0.0.2".to_owned()]));
    }

    #[tokio::test]
    async fn the_hosts_file_comes_first_and_is_read_again() {
        let rig = Rig::new(DOCKER, "10.1.1.1 app\n").await;
        rig.knows("app.", &["10.0.0.1"]);
        assert_eq!(rig.resolve("app").await, Ok(vec!["10.1.1.1".to_owned()]));
        std::fs::remove_file(rig.files.path().join("hosts")).expect("removed");
        assert_eq!(rig.resolve("app").await, Ok(vec!["10.0.0.1".to_owned()]));
    }

    #[tokio::test]
    async fn without_resolv_conf_the_hosts_file_still_serves() {
        let rig = Rig::new("", "10.1.1.1 app\n").await;
        assert_eq!(rig.resolve("app").await, Ok(vec!["10.1.1.1".to_owned()]));
        let no_server = |answer| matches!(answer, Err(ResolveError::NoServer(_)));
        assert!(no_server(rig.resolve("api").await), "it names none");
        std::fs::remove_file(rig.files.path().join("resolv.conf")).expect("removed");
        assert!(no_server(rig.resolve("api").await), "it is not there");
        assert_eq!(
            rig.resolve("localhost").await,
            Ok(vec!["127.0.0.1".to_owned(), "::1".to_owned()])
        );
        let conf = rig.files.path().join("resolv.conf");
        std::fs::write(conf, DOCKER).expect("written");
        rig.knows("api.", &["10.0.0.3"]);
        assert_eq!(rig.resolve("api").await, Ok(vec!["10.0.0.3".to_owned()]));
    }

    #[tokio::test]
    async fn names_as_compose_files_have_them() {
        let rig = Rig::new(DOCKER, "").await;
        for (written, asked) in [
            ("my_app", "my_app."),
            ("App", "app."),
            ("app-1.proj_default", "app-1.proj_default."),
            ("tasks.app", "tasks.app."),
        ] {
            rig.knows(asked, &["10.0.0.1"]);
            let found = rig.resolve(written).await;
            assert_eq!(found, Ok(vec!["10.0.0.1".to_owned()]), "{written}");
        }
    }

    #[tokio::test]
    async fn what_cannot_be_a_name_is_refused_without_asking() {
        let rig = Rig::new(DOCKER, "").await;
        let long = "a".repeat(64);
        assert_eq!(rig.resolve(&long).await, Err(ResolveError::Malformed));
    }
}
