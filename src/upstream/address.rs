//! One address of one server: where it is, how it has been doing, and whether it may be given a request now.
//!
//! Every field that a request reads is an atomic, so that looking at an address takes no lock. The verdicts are
//! kept apart, because each has its own judge, and each is lifted by its own event:
//!
//! | verdict     | given by                          | lifted by                                            |
//! |-------------|-----------------------------------|------------------------------------------------------|
//! | `Down`      | a connect that failed             | a connect that succeeds: prober, check or request    |
//! | `Unhealthy` | active checks                     | active checks                                        |
//! | `Starting`  | an answer the route calls that so | time (a fraction of a second), or a good answer      |
//! | `Ejected`   | passive checks                    | time, or nobody else being left                      |

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::metrics::ServerNumbers;
use super::settings::{Endpoint, ServerSettings, UpstreamTls};
use crate::clock::{self, Instant};

/// How long an address that was said to be starting is left alone, at first and at most.
const STARTING_PAUSE: Duration = Duration::from_millis(100);
const STARTING_PAUSE_MAX: Duration = Duration::from_millis(500);

/// An address that answered well within this time is not starting, whatever one route says of one answer.
const PROVEN: Duration = Duration::from_secs(1);

/// A server as the operator wrote it; it has one address or, once its name is resolved, several.
#[derive(Debug)]
pub struct Server {
    /// `app:5000` or `unix:/run/app.sock`: the name in logs and metrics.
    pub name: Arc<str>,
    /// The `Host` this server would call its own: `app:5000`, without the port where it is the scheme's.
    pub authority: String,
    /// The host as written, for SNI and verification; `localhost` for a unix socket.
    pub host: String,
    /// The name in SNI and verification.
    pub sni: String,
    /// Whether TLS is spoken to it.
    pub tls: bool,
    /// The share of each of its addresses, relative to the others.
    pub weight: u32,
    /// Whether it waits for the others to be unavailable.
    pub backup: bool,
    /// Where it is.
    pub endpoint: Endpoint,
    /// What is counted of it.
    pub(super) numbers: ServerNumbers,
}

impl Server {
    /// The server that these settings describe.
    pub fn new(settings: &ServerSettings, tls: &UpstreamTls) -> Self {
        let (name, authority, host) = match &settings.endpoint {
            Endpoint::Tcp { host, port } => {
                let literal_v6 = host.contains(':');
                let bracketed = if literal_v6 {
                    format!("[{host}]")
                } else {
                    host.clone()
                };
                let name = format!("{bracketed}:{port}");
                let authority = match (settings.tls, port) {
                    (false, 80) | (true, 443) => bracketed,
                    _ => name.clone(),
                };
                (name, authority, host.clone())
            }
            Endpoint::Unix(path) => (
                format!("unix:{}", path.display()),
                "localhost".to_owned(),
                "localhost".to_owned(),
            ),
        };
        Self {
            name: name.into(),
            authority,
            sni: tls.sni.clone().unwrap_or_else(|| host.clone()),
            host,
            tls: settings.tls,
            weight: settings.weight.max(1),
            backup: settings.backup,
            endpoint: settings.endpoint.clone(),
            numbers: ServerNumbers::default(),
        }
    }
}

/// Something that can be connected to without asking anybody.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Socket {
    /// An IP address and port.
    Tcp(SocketAddr),
    /// A unix socket.
    Unix(PathBuf),
}

impl fmt::Display for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(addr) => addr.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Whether an address may be given a request, and if not, why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It may.
    Available,
    /// The last connect to it failed.
    Down,
    /// Active checks found it ill.
    Unhealthy,
    /// It answered that it is not ready yet, a moment ago.
    Starting,
    /// It failed several requests in a row. Used all the same when nobody else is left.
    Ejected,
}

impl Standing {
    /// The word in the admin view.
    pub fn word(self) -> &'static str {
        match self {
            Self::Available => "up",
            Self::Down => "down",
            Self::Unhealthy => "unhealthy",
            Self::Starting => "starting",
            Self::Ejected => "ejected",
        }
    }
}

/// One address of one server, and what is known of it.
#[derive(Debug)]
pub struct Address {
    /// Whose address it is.
    pub server: Arc<Server>,
    /// Where it is.
    pub socket: Socket,
    born: Instant,
    reachable: AtomicBool,
    /// How often it went from reachable to not.
    downs: AtomicU32,
    /// Whether it picked HTTP/2 when that was last offered over TLS.
    picks_http2: AtomicBool,
    healthy: AtomicBool,
    ejected_until: Moment,
    starting_until: Moment,
    /// Pauses doubled since the last good answer.
    starting_pauses: AtomicU32,
    last_good: Moment,
    /// Failures in a row.
    failures: AtomicU32,
    in_flight: AtomicUsize,
    /// Its turn in smooth weighted round robin; written only under the balancer's lock.
    pub(super) turn: AtomicI64,
    /// What was last wrong with it, for people. Locked only when a verdict is given or read aloud.
    complaint: Mutex<String>,
}

impl Address {
    /// A new address; it is taken for available until something is known against it.
    pub fn new(server: Arc<Server>, socket: Socket) -> Self {
        Self {
            server,
            socket,
            born: clock::now(),
            reachable: AtomicBool::new(true),
            downs: AtomicU32::new(0),
            picks_http2: AtomicBool::new(false),
            healthy: AtomicBool::new(true),
            ejected_until: Moment::default(),
            starting_until: Moment::default(),
            starting_pauses: AtomicU32::new(0),
            last_good: Moment::default(),
            failures: AtomicU32::new(0),
            in_flight: AtomicUsize::new(0),
            turn: AtomicI64::new(0),
            complaint: Mutex::new(String::new()),
        }
    }

    /// Whether it may be given a request at `now`.
    pub fn standing(&self, now: Instant) -> Standing {
        if !self.reachable.load(Ordering::Relaxed) {
            Standing::Down
        } else if !self.healthy.load(Ordering::Relaxed) {
            Standing::Unhealthy
        } else if self.starting_until.is_after(self.born, now) {
            Standing::Starting
        } else if self.ejected_until.is_after(self.born, now) {
            Standing::Ejected
        } else {
            Standing::Available
        }
    }

    /// A connect failed. True when that is news.
    pub fn connect_failed(&self, complaint: &str) -> bool {
        complaint.clone_into(&mut self.complaint.lock());
        let news = self.reachable.swap(false, Ordering::Relaxed);
        if news {
            self.downs.fetch_add(1, Ordering::Relaxed);
        }
        news
    }

    /// How often it went down since it is known. What differs from an earlier look says that somebody was in vain there meanwhile.
    pub fn downs(&self) -> u32 {
        self.downs.load(Ordering::Relaxed)
    }

    /// A connect succeeded. True when that is news.
    pub fn connected(&self) -> bool {
        // Read first: this runs once per connection made, and nearly always finds nothing to write.
        !self.reachable.load(Ordering::Relaxed) && !self.reachable.swap(true, Ordering::Relaxed)
    }

    pub(super) fn picks_http2(&self) -> bool {
        self.picks_http2.load(Ordering::Relaxed)
    }

    pub(super) fn picked_http2(&self, picked: bool) {
        if self.picks_http2() != picked {
            self.picks_http2.store(picked, Ordering::Relaxed);
        }
    }

    /// The verdict of the active checks. True when it changed.
    pub fn judge(&self, healthy: bool, complaint: &str) -> bool {
        if !healthy {
            complaint.clone_into(&mut self.complaint.lock());
        }
        self.healthy.swap(healthy, Ordering::Relaxed) != healthy
    }

    /// Whether active checks think well of it (they may have none).
    pub fn is_healthy(&self) -> bool {
        self.healthy.load(Ordering::Relaxed)
    }

    /// It answered a request well.
    pub fn answered_well(&self, now: Instant) {
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
        if self.starting_pauses.load(Ordering::Relaxed) != 0 {
            self.starting_pauses.store(0, Ordering::Relaxed);
            self.starting_until.clear();
        }
        self.last_good.set(self.born, now);
    }

    /// It answered that it is starting. Returns how long to leave it alone, and leaves it alone where it has not
    /// proven itself lately: one route's maintenance page must not stop the other routes' requests.
    pub fn answered_starting(&self, now: Instant, complaint: &str) -> Duration {
        let pauses = self.starting_pauses.fetch_add(1, Ordering::Relaxed).min(8);
        let pause = (STARTING_PAUSE * 2u32.pow(pauses)).min(STARTING_PAUSE_MAX);
        complaint.clone_into(&mut self.complaint.lock());
        if !self.last_good.is_within(self.born, now, PROVEN) {
            self.starting_until.set(self.born, now + pause);
        }
        pause
    }

    /// Counts a failure; returns how many there were in a row.
    pub fn failed(&self, complaint: &str) -> u32 {
        complaint.clone_into(&mut self.complaint.lock());
        self.failures
            .fetch_add(1, Ordering::Relaxed)
            .saturating_add(1)
    }

    /// Failures in a row.
    pub fn failures(&self) -> u32 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Leaves it out until `until`, and starts counting failures anew.
    pub fn eject(&self, until: Instant) {
        self.ejected_until.set(self.born, until);
        self.failures.store(0, Ordering::Relaxed);
    }

    /// What was last wrong with it.
    pub fn complaint(&self) -> String {
        self.complaint.lock().clone()
    }

    /// Requests it is working on.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    pub(super) fn enter(&self) {
        tracing::debug!("{} ({}) is tried", self.server.name, self.socket);
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn leave(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An instant in an atomic: milliseconds since a base, plus one; zero is never.
#[derive(Debug, Default)]
struct Moment(AtomicU64);

impl Moment {
    fn millis(base: Instant, at: Instant) -> u64 {
        let millis = at.saturating_duration_since(base).as_millis();
        u64::try_from(millis).unwrap_or(u64::MAX - 1) + 1
    }

    fn set(&self, base: Instant, at: Instant) {
        self.0.store(Self::millis(base, at), Ordering::Relaxed);
    }

    fn clear(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    fn is_after(&self, base: Instant, now: Instant) -> bool {
        self.0.load(Ordering::Relaxed) > Self::millis(base, now)
    }

    fn is_within(&self, base: Instant, now: Instant, span: Duration) -> bool {
        let at = self.0.load(Ordering::Relaxed);
        let span = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        at != 0 && Self::millis(base, now).saturating_sub(at) <= span
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(endpoint: Endpoint, tls: bool) -> Server {
        let settings = ServerSettings {
            tls,
            ..ServerSettings::new(endpoint)
        };
        Server::new(&settings, &UpstreamTls::default())
    }

    fn address() -> Address {
        let endpoint = Endpoint::Tcp {
            host: "app".to_owned(),
            port: 5000,
        };
        let socket = Socket::Tcp(SocketAddr::from(([10, 0, 0, 1], 5000)));
        Address::new(Arc::new(server(endpoint, false)), socket)
    }

    #[test]
    fn names_and_authorities() {
        for (host, port, tls, name, authority) in [
            ("app", 5000, false, "app:5000", "app:5000"),
            ("app", 80, false, "app:80", "app"),
            ("app", 443, true, "app:443", "app"),
            ("app", 80, true, "app:80", "app:80"),
            ("::1", 80, false, "[::1]:80", "[::1]"),
        ] {
            let endpoint = Endpoint::Tcp {
                host: host.to_owned(),
                port,
            };
            let server = server(endpoint, tls);
            assert_eq!(
                (&*server.name, &*server.authority, &*server.sni),
                (name, authority, host)
            );
        }
        let unix = server(Endpoint::Unix("/run/a.sock".into()), false);
        assert_eq!(
            (&*unix.name, &*unix.authority),
            ("unix:/run/a.sock", "localhost")
        );
    }

    #[tokio::test(start_paused = true)]
    async fn each_verdict_has_its_own_judge() {
        let address = address();
        let now = clock::now();
        assert_eq!(address.standing(now), Standing::Available);
        assert!(address.judge(false, "GET /healthz answered 500"));
        assert!(address.connect_failed("connection refused"), "news");
        assert!(!address.connect_failed("connection refused"), "no news");
        assert_eq!(address.standing(now), Standing::Down);
        assert!(address.connected());
        assert!(!address.connected());
        assert_eq!(
            address.standing(now),
            Standing::Unhealthy,
            "a connect is no health check"
        );
        assert!(address.judge(true, ""));
        address.eject(now + Duration::from_secs(5));
        assert_eq!(address.standing(now), Standing::Ejected);
        assert_eq!(
            address.standing(now + Duration::from_secs(6)),
            Standing::Available
        );
    }

    #[tokio::test(start_paused = true)]
    async fn starting_pauses_double_until_a_good_answer() {
        let address = address();
        let mut now = clock::now();
        let pauses: Vec<u128> = (0..4)
            .map(|_| address.answered_starting(now, "answers 503").as_millis())
            .collect();
        assert_eq!(pauses, [100, 200, 400, 500]);
        assert_eq!(address.standing(now), Standing::Starting);
        address.answered_well(now);
        assert_eq!(address.standing(now), Standing::Available);

        assert_eq!(
            address.answered_starting(now, "answers 503").as_millis(),
            100
        );
        assert_eq!(
            address.standing(now),
            Standing::Available,
            "it has just proven itself"
        );
        now += PROVEN * 2;
        address.answered_starting(now, "answers 503");
        assert_eq!(address.standing(now), Standing::Starting);
    }
}
