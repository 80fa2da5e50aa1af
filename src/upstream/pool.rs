//! The set of servers and their addresses, and who of them a request goes to.
//!
//! Readers (every request, on every thread) load one pointer. Writers are discovery tasks: they replace the
//! addresses of one server as a whole, and an address that remains keeps its state.

use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::address::{Address, Server, Socket, Standing};
use super::balance::Balancer;
use super::settings::Endpoint;
use crate::clock::Instant;

/// Why nobody can be given a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Nobody {
    /// The first look-up of the name is still under way.
    #[error("name `{name}` is not resolved yet")]
    NotResolvedYet {
        /// The name.
        name: String,
    },
    /// The name has never been resolved.
    #[error("name `{name}` does not resolve: {why}")]
    DoesNotResolve {
        /// The name.
        name: String,
        /// What the resolver said.
        why: String,
    },
    /// Connects fail.
    #[error("{server}: {why}")]
    Unreachable {
        /// The server as written.
        server: Arc<str>,
        /// What the last connect said.
        why: String,
    },
    /// Active checks fail.
    #[error("{server} is unhealthy: {why}")]
    Unhealthy {
        /// The server as written.
        server: Arc<str>,
        /// What the last check said.
        why: String,
    },
    /// It answers that it is starting.
    #[error("{server} is starting: {why}")]
    Starting {
        /// The server as written.
        server: Arc<str>,
        /// What it answered.
        why: String,
    },
}

impl Nobody {
    /// The word in the access log.
    pub fn word(&self) -> &'static str {
        match self {
            Self::NotResolvedYet { .. } => "not_resolved_yet",
            Self::DoesNotResolve { .. } => "does_not_resolve",
            Self::Unreachable { .. } => "unreachable",
            Self::Unhealthy { .. } => "unhealthy",
            Self::Starting { .. } => "starting",
        }
    }
}

/// How the last look-up of a server's name went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LookUp {
    /// There is none to make: a literal address or a unix socket.
    Needless,
    /// The first one has not come back.
    Pending,
    /// It gave addresses.
    Resolved,
    /// It failed; addresses found earlier stay in use.
    Failed(String),
}

/// What an update of a server's addresses did.
#[derive(Debug, Default)]
pub struct Change {
    /// Addresses that are new.
    pub added: Vec<Arc<Address>>,
    /// Addresses that are gone from the pool; requests they are working on go on.
    pub removed: Vec<Arc<Address>>,
}

impl Change {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty()
    }
}

/// The servers of one upstream and their addresses.
#[derive(Debug)]
pub struct Pool {
    servers: Vec<Arc<Server>>,
    balancer: Balancer,
    members: ArcSwap<Vec<Arc<Address>>>,
    /// By server, in step with `servers`. Also the writers' lock: held while `members` is replaced, never by a
    /// request that finds somebody.
    look_ups: Mutex<Vec<LookUp>>,
}

/// In which order candidates are looked for; the first group with anybody in it is balanced over.
const TIERS: [Tier; 3] = [Tier::Primary, Tier::Backup, Tier::Ejected];

#[derive(Clone, Copy)]
enum Tier {
    Primary,
    Backup,
    /// Better one that failed lately than nobody: this is what makes "ejection never takes the last" true without
    /// any thread having to know what another one is ejecting.
    Ejected,
}

impl Tier {
    fn takes(self, address: &Address, now: Instant) -> bool {
        match (self, address.standing(now)) {
            (Self::Primary, Standing::Available) => !address.server.backup,
            (Self::Backup, Standing::Available) => address.server.backup,
            (Self::Ejected, Standing::Ejected) => true,
            _ => false,
        }
    }
}

impl Pool {
    /// The pool of these servers; fixed addresses are in it from the start.
    pub fn new(servers: Vec<Arc<Server>>, balancer: Balancer) -> Self {
        let look_ups = servers
            .iter()
            .map(|server| match super::discovery::fixed(&server.endpoint) {
                Some(_) => LookUp::Needless,
                None => LookUp::Pending,
            })
            .collect();
        let members = servers
            .iter()
            .filter_map(|server| {
                let socket = super::discovery::fixed(&server.endpoint)?;
                Some(Arc::new(Address::new(Arc::clone(server), socket)))
            })
            .collect();
        Self {
            servers,
            balancer,
            members: ArcSwap::from_pointee(members),
            look_ups: Mutex::new(look_ups),
        }
    }

    /// The servers as written.
    pub fn servers(&self) -> &[Arc<Server>] {
        &self.servers
    }

    /// How requests are spread.
    pub fn balancer(&self) -> &Balancer {
        &self.balancer
    }

    /// Every address of every server.
    pub fn members(&self) -> arc_swap::Guard<Arc<Vec<Arc<Address>>>> {
        self.members.load()
    }

    /// By server: how its last look-up went.
    pub fn look_ups(&self) -> Vec<LookUp> {
        self.look_ups.lock().clone()
    }

    /// The server at `index` has exactly these addresses. What is known of those that remain is kept.
    pub fn replace(&self, index: usize, mut sockets: Vec<Socket>) -> Change {
        let mut change = Change::default();
        let mut seen = std::collections::HashSet::new();
        sockets.retain(|socket| seen.insert(socket.clone()));
        let mut look_ups = self.look_ups.lock();
        let (Some(server), Some(look_up)) = (self.servers.get(index), look_ups.get_mut(index))
        else {
            return change;
        };
        *look_up = LookUp::Resolved;
        let before = self.members.load_full();
        let is_of_server = |address: &Address| Arc::ptr_eq(&address.server, server);
        let mut after = Vec::with_capacity(before.len());
        for address in before.iter() {
            if !is_of_server(address) || sockets.contains(&address.socket) {
                after.push(Arc::clone(address));
            } else {
                change.removed.push(Arc::clone(address));
            }
        }
        for socket in sockets {
            let known = |a: &Arc<Address>| is_of_server(a) && a.socket == socket;
            if !before.iter().any(known) {
                let address = Arc::new(Address::new(Arc::clone(server), socket));
                change.added.push(Arc::clone(&address));
                after.push(address);
            }
        }
        if !change.is_empty() {
            self.members.store(Arc::new(after));
        }
        change
    }

    /// The look-up for the server at `index` failed; its addresses stay. True when that is news.
    pub fn look_up_failed(&self, index: usize, why: String) -> bool {
        let mut look_ups = self.look_ups.lock();
        let Some(look_up) = look_ups.get_mut(index) else {
            return false;
        };
        let news = !matches!(look_up, LookUp::Failed(_));
        *look_up = LookUp::Failed(why);
        news
    }

    /// The name of the server at `index` is gone: of its addresses, those at which nobody answered are forgotten. Where
    /// addresses are handed out again, whoever is next heard there may be another service.
    pub fn forget_unreachable(&self, index: usize, now: Instant) -> Change {
        let _writers = self.look_ups.lock();
        let Some(server) = self.servers.get(index) else {
            return Change::default();
        };
        let is_gone = |address: &Arc<Address>| {
            Arc::ptr_eq(&address.server, server) && address.standing(now) == Standing::Down
        };
        let members = self.members.load_full();
        let (removed, kept): (Vec<_>, Vec<_>) = members.iter().cloned().partition(is_gone);
        if !removed.is_empty() {
            self.members.store(Arc::new(kept));
        }
        Change {
            added: Vec::new(),
            removed,
        }
    }

    /// The addresses of the server at `index`.
    pub fn known_of(&self, index: usize) -> Vec<Arc<Address>> {
        let Some(server) = self.servers.get(index) else {
            return Vec::new();
        };
        let members = self.members.load();
        let of_server = |address: &&Arc<Address>| Arc::ptr_eq(&address.server, server);
        members.iter().filter(of_server).cloned().collect()
    }

    /// Whether anybody can be given a request.
    pub fn has_somebody(&self, now: Instant) -> bool {
        self.members.load().iter().any(|address| {
            matches!(
                address.standing(now),
                Standing::Available | Standing::Ejected
            )
        })
    }

    /// Whether anybody but `address` is available.
    pub fn has_other(&self, address: &Arc<Address>, now: Instant) -> bool {
        self.members
            .load()
            .iter()
            .any(|other| !Arc::ptr_eq(other, address) && other.standing(now) == Standing::Available)
    }

    /// Who gets a request with this key that `tried` have failed already. Those are asked again only when nobody
    /// else is left.
    pub fn choose(
        &self,
        key: Option<u64>,
        tried: &[Arc<Address>],
        now: Instant,
    ) -> Option<Arc<Address>> {
        let members = self.members.load();
        let was_tried = |address: &Arc<Address>| tried.iter().any(|t| Arc::ptr_eq(t, address));
        for tier in TIERS {
            let fresh = members
                .iter()
                .filter(|address| tier.takes(address, now) && !was_tried(address));
            if let Some(address) = self.balancer.pick(fresh, key) {
                return Some(Arc::clone(address));
            }
        }
        if tried.is_empty() {
            return None;
        }
        TIERS.into_iter().find_map(|tier| {
            let any = members.iter().filter(|address| tier.takes(address, now));
            self.balancer.pick(any, key).map(Arc::clone)
        })
    }

    /// Why nobody can be given a request: the most telling of the servers' reasons, for people.
    pub fn nobody(&self, now: Instant) -> Nobody {
        let members = self.members.load();
        let reason = |address: &Arc<Address>| {
            let server = Arc::clone(&address.server.name);
            let why = address.complaint();
            match address.standing(now) {
                Standing::Unhealthy => Nobody::Unhealthy { server, why },
                Standing::Starting => Nobody::Starting { server, why },
                Standing::Down => Nobody::Unreachable { server, why },
                // It became available while we were asking.
                Standing::Available | Standing::Ejected => Nobody::Unreachable {
                    server,
                    why: "was unavailable a moment ago".to_owned(),
                },
            }
        };
        if let Some(reason) = members.first().map(reason) {
            return reason;
        }
        let look_ups = self.look_ups.lock();
        let failed = |(server, look_up): (&Arc<Server>, &LookUp)| match look_up {
            LookUp::Failed(why) => Some(Nobody::DoesNotResolve {
                name: server.host.clone(),
                why: why.clone(),
            }),
            _ => None,
        };
        let mut pairs = self.servers.iter().zip(look_ups.iter());
        pairs.find_map(failed).unwrap_or_else(|| {
            let name = self.servers.first().map(|s| s.host.clone());
            Nobody::NotResolvedYet {
                name: name.unwrap_or_default(),
            }
        })
    }

    /// The addresses that a name is known to have, from any server that has it.
    pub fn known(&self, endpoint: &Endpoint) -> Vec<Socket> {
        self.members
            .load()
            .iter()
            .filter(|address| address.server.endpoint == *endpoint)
            .map(|address| address.socket.clone())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::clock;
    use crate::upstream::settings::{Balance, ServerSettings, UpstreamTls};

    fn endpoint(host: &str) -> Endpoint {
        Endpoint::Tcp {
            host: host.to_owned(),
            port: 80,
        }
    }

    fn pool(hosts: &[(&str, bool)]) -> Pool {
        let server = |&(host, backup): &(&str, bool)| {
            let settings = ServerSettings {
                backup,
                ..ServerSettings::new(endpoint(host))
            };
            Arc::new(Server::new(&settings, &UpstreamTls::default()))
        };
        Pool::new(
            hosts.iter().map(server).collect(),
            Balancer::new(Balance::RoundRobin),
        )
    }

    fn socket(last: u8) -> Socket {
        Socket::Tcp(SocketAddr::from(([10, 0, 0, last], 80)))
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_remains_keeps_its_state() {
        let pool = pool(&[("app", false)]);
        let now = clock::now();
        assert_eq!(
            pool.nobody(now).to_string(),
            "name `app` is not resolved yet"
        );
        assert_eq!(
            pool.replace(0, vec![socket(1), socket(2), socket(2)])
                .added
                .len(),
            2
        );
        pool.members()[1].connect_failed("connection refused");
        let change = pool.replace(0, vec![socket(2), socket(3)]);
        assert_eq!(
            (change.added.len(), change.removed.len()),
            (1, 1),
            "one came, one went"
        );
        assert_eq!(pool.members()[0].socket, socket(2));
        assert_eq!(pool.members()[0].standing(now), Standing::Down);
        assert!(pool.look_up_failed(0, "timed out".to_owned()), "news");
        assert!(!pool.look_up_failed(0, "timed out".to_owned()));
        assert_eq!(pool.members().len(), 2, "the last good set is kept");
        assert!(pool.replace(0, vec![socket(2), socket(3)]).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_asked_in_which_order() {
        let pool = pool(&[("10.0.0.1", false), ("10.0.0.2", true)]);
        let now = clock::now();
        let (primary, backup) = (pool.members()[0].clone(), pool.members()[1].clone());
        let choose = |tried: &[Arc<Address>]| pool.choose(None, tried, now);
        let is = |a: &Option<Arc<Address>>, b| a.as_ref().is_some_and(|a| Arc::ptr_eq(a, b));

        assert!(is(&choose(&[]), &primary));
        assert!(
            is(&choose(std::slice::from_ref(&primary)), &backup),
            "others first"
        );
        assert!(
            is(&choose(&[primary.clone(), backup.clone()]), &primary),
            "then those that failed, again"
        );
        primary.eject(now + Duration::from_secs(5));
        assert!(is(&choose(&[]), &backup), "a backup before an ejected one");
        backup.connect_failed("connection refused");
        assert!(is(&choose(&[]), &primary), "an ejected one before nobody");
        primary.connect_failed("connection refused");
        assert!(choose(&[]).is_none());
        assert!(!pool.has_somebody(now));
        assert_eq!(
            pool.nobody(now).to_string(),
            "10.0.0.1:80: connection refused"
        );
    }

    proptest! {
        #[test]
        fn never_one_that_was_tried_while_others_remain(
            states in prop::collection::vec((any::<bool>(), any::<bool>(), any::<bool>()), 1..8),
        ) {
            let rt = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
            let _in_rt = rt.enter();
            let pool = pool(&[("app", false)]);
            let now = clock::now();
            pool.replace(0, (1..=states.len()).map(|i| socket(u8::try_from(i).expect("few"))).collect());
            let members = pool.members().to_vec();
            let mut tried = Vec::new();
            for (address, (was_tried, down, ejected)) in members.iter().zip(&states) {
                if *was_tried { tried.push(address.clone()); }
                if *down { address.connect_failed("refused"); }
                if *ejected { address.eject(now + Duration::from_secs(5)); }
            }
            let usable = |a: &Arc<Address>| a.standing(now) != Standing::Down;
            let fresh = |a: &Arc<Address>| usable(a) && !tried.iter().any(|t| Arc::ptr_eq(t, a));
            match pool.choose(None, &tried, now) {
                None => prop_assert!(!members.iter().any(usable)),
                Some(chosen) => {
                    prop_assert!(usable(&chosen));
                    prop_assert!(fresh(&chosen) || !members.iter().any(fresh));
                }
            }
        }
    }
}
