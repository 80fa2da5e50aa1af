//! Whole upstreams, with a fake network and paused time: names that change their mind, servers that come and go.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::{HeaderMap, StatusCode};

use super::connect::Stream;
use super::discovery::{ResolveError, Resolved};
use super::settings::{Balance, EjectSettings, HealthSettings, Probe, ServerSettings};
use super::*;
use crate::clock::Instant;

/// A network as it is now.
#[derive(Default)]
struct Network {
    names: Mutex<HashMap<String, Vec<IpAddr>>>,
    listening: Mutex<Vec<SocketAddr>>,
    look_ups: Mutex<Vec<Instant>>,
    dials: Mutex<Vec<Instant>>,
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

#[tokio::test(start_paused = true)]
async fn a_name_that_resolves_is_used_at_once() {
    let rig = Rig::new(|_| {});
    rig.network.name("app", &[1]);
    rig.network.start(1);
    settle().await;
    let began = clock::now();
    let (claim, _) = rig.request(Duration::ZERO).await.expect("answered");
    assert_eq!(began.elapsed(), Duration::ZERO);
    let report = claim.report();
    assert_eq!(report.server.as_deref(), Some("app:5000"));
    assert_eq!(report.addr, Some(Socket::Tcp(addr(1))));
    assert_eq!((report.tries, report.hold), (1, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn twenty_clients_wait_four_seconds_and_are_answered_within_half_a_second() {
    for work in [0, 100, 2_000].map(Duration::from_millis) {
        let rig = Rig::new(|_| {});
        let requests: Vec<_> = (0..20).map(|_| tokio::spawn(rig.request(work))).collect();
        after(&rig, 2.0, |network| network.name("app", &[1])).await;
        after(&rig, 2.0, |network| network.start(1)).await;
        let started = clock::now();
        for request in requests {
            let answered = request.await.expect("no panic").expect("answered");
            let (claim, at) = answered;
            assert!(
                at - started <= Duration::from_millis(400),
                "{:?}",
                at - started
            );
            assert!(claim.report().hold >= Duration::from_secs(4));
        }
        assert!(rig.upstream().hold.is_clear());
    }
}

#[tokio::test(start_paused = true)]
async fn a_recreated_container_is_found_at_its_new_address() {
    let rig = Rig::new(|_| {});
    rig.network.name("app", &[1]);
    rig.network.start(1);
    settle().await;
    rig.request(Duration::ZERO).await.expect("answered");

    rig.network.stop(1);
    rig.network.forget("app");
    let request = tokio::spawn(rig.request(Duration::ZERO));
    after(&rig, 1.0, |network| {
        network.start(2);
        network.name("app", &[2]);
    })
    .await;
    let there = clock::now();
    let (claim, at) = request.await.expect("no panic").expect("answered");
    assert!(at - there <= Duration::from_millis(300), "{:?}", at - there);
    assert_eq!(claim.report().addr, Some(Socket::Tcp(addr(2))));
    assert_eq!(claim.report().tries, 2);
    assert_eq!(claim.report().retry_reason, Some(RetryReason::Connect));
    let view = rig.upstream().view();
    assert_eq!(view.servers[0].addresses.len(), 1, "the old one is gone");
}

#[tokio::test(start_paused = true)]
async fn look_ups_are_neither_frantic_nor_lazy() {
    let rig = Rig::new(|_| {});
    rig.network.name("app", &[1]);
    rig.network.start(1);
    after(&rig, 59.0, |_| {}).await;
    let quiet = std::mem::take(&mut *rig.network.look_ups.lock()).len();
    assert_eq!(quiet, 12, "the record says 600 s, the settings 5 s");

    rig.network.stop(1);
    let requests: Vec<_> = (0..50)
        .map(|_| tokio::spawn(rig.request(Duration::ZERO)))
        .collect();
    after(&rig, 5.0, |network| network.start(1)).await;
    for request in requests {
        request.await.expect("no panic").expect("answered");
    }
    let times = std::mem::take(&mut *rig.network.look_ups.lock());
    assert!((15..=22).contains(&times.len()), "{} in 5 s", times.len());
    let apart = times.windows(2).map(|pair| pair[1] - pair[0]);
    assert!(apart.min() >= Some(discovery::APART));
}

#[tokio::test(start_paused = true)]
async fn the_prober_looks_often_only_while_somebody_waits() {
    let rig = Rig::new(|_| {});
    rig.network.name("app", &[1]);
    settle().await;
    let request = rig.request(Duration::ZERO);
    assert!(request.await.is_err(), "ten seconds in vain");
    let dials = std::mem::take(&mut *rig.network.dials.lock()).len();
    assert!((150..=210).contains(&dials), "{dials} in 10 s");

    after(&rig, 10.0, |_| {}).await;
    let dials = std::mem::take(&mut *rig.network.dials.lock()).len();
    assert!((9..=11).contains(&dials), "{dials} in 10 s");

    rig.network.start(1);
    after(&rig, 1.1, |_| {}).await;
    assert!(rig.upstream().hold.is_clear());
    rig.network.dials.lock().clear();
    after(&rig, 60.0, |_| {}).await;
    assert_eq!(rig.network.dials.lock().len(), 0, "all is well");
}

#[tokio::test(start_paused = true)]
async fn who_waits_in_vain_is_told_why() {
    let rig = Rig::new(|_| {});
    let began = clock::now();
    let refusal = rig.request(Duration::ZERO).await.expect_err("no such name");
    assert_eq!(began.elapsed(), Duration::from_secs(10));
    assert_eq!(
        refusal.to_string(),
        "nobody answered while the request was held: name `app` does not resolve: no such name"
    );
    rig.network.name("app", &[1]);
    after(&rig, 2.0, |_| {}).await;
    let refusal = rig.request(Duration::ZERO).await.expect_err("refused");
    assert_eq!(
        refusal.to_string(),
        "nobody answered while the request was held: app:5000: connection refused"
    );
    assert_eq!(refusal.word(), "hold_expired");
}

#[tokio::test(start_paused = true)]
async fn without_hold_the_refusal_is_immediate() {
    let rig = Rig::new(|settings| settings.hold = Duration::ZERO);
    rig.network.name("app", &[1]);
    settle().await;
    let began = clock::now();
    let refusal = rig.request(Duration::ZERO).await.expect_err("refused");
    assert!(matches!(refusal, Refusal::Nobody(_)), "{refusal:?}");
    assert_eq!(refusal.status(), StatusCode::BAD_GATEWAY);
    assert_eq!(began.elapsed(), Duration::ZERO);
    rig.network.start(1);
    after(&rig, 1.1, |_| {}).await;
    rig.request(Duration::ZERO)
        .await
        .expect("the prober saw it");
}

#[tokio::test(start_paused = true)]
async fn the_one_that_is_down_is_left_out_and_comes_back() {
    let rig = Rig::new(|_| {});
    rig.network.name("app", &[1, 2]);
    rig.network.start(2);
    settle().await;
    for _ in 0..10 {
        let (claim, _) = rig.request(Duration::ZERO).await.expect("answered");
        assert_eq!(claim.report().addr, Some(Socket::Tcp(addr(2))));
        assert_eq!(claim.report().hold, Duration::ZERO);
    }
    assert_eq!(rig.network.dials.lock().len(), 0, "the first try found out");
    settle().await;
    after(&rig, 1.0, |network| network.start(1)).await;
    after(&rig, 1.1, |_| {}).await;
    let mut seen = Vec::new();
    for _ in 0..4 {
        let (claim, _) = rig.request(Duration::ZERO).await.expect("answered");
        seen.push(claim.report().addr);
    }
    assert!(seen.contains(&Some(Socket::Tcp(addr(1)))), "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn failures_eject_but_never_the_last_one() {
    let rig = Rig::new(|settings| {
        settings.balance = Balance::LeastConn;
        settings.eject = EjectSettings {
            failures: 2,
            duration: Duration::from_secs(5),
        };
    });
    rig.network.name("app", &[1, 2]);
    settle().await;
    for _ in 0..12 {
        let mut claim = rig.claim();
        claim.next().await.expect("somebody");
        claim.connected(false);
        claim.answered(StatusCode::BAD_GATEWAY);
    }
    let states = |rig: &Rig| {
        let view = rig.upstream().view();
        let mut states: Vec<_> = view.servers[0].addresses.iter().map(|a| a.state).collect();
        states.sort_unstable();
        states
    };
    assert_eq!(states(&rig), ["ejected", "up"]);
    after(&rig, 5.1, |_| {}).await;
    assert_eq!(states(&rig), ["up", "up"]);
}

#[tokio::test(start_paused = true)]
async fn retries_go_elsewhere_and_end() {
    let rig = Rig::new(|_| {});
    rig.network.name("app", &[1, 2]);
    settle().await;
    let mut claim = rig.claim();
    let mut seen = Vec::new();
    let refusal = loop {
        let target = claim.next().await.expect("somebody");
        seen.push(target.socket().clone());
        claim.connected(false);
        claim.failed(FailureKind::Reset);
        if let Err(refusal) = claim.may_retry(FREELY) {
            break refusal;
        }
    };
    assert_eq!(refusal, RetryRefusal::TriesExhausted);
    assert_eq!(seen.len(), 3);
    assert_ne!(seen[0], seen[1], "the other one first");
    assert_eq!(claim.may_retry(ONCE), Err(RetryRefusal::NotIdempotent));
}

#[tokio::test(start_paused = true)]
async fn a_dead_kept_connection_is_nobodys_fault() {
    let rig = Rig::new(|settings| settings.retry.tries = 1);
    rig.network.name("app", &[1]);
    settle().await;
    let mut claim = rig.claim();
    claim.next().await.expect("somebody");
    claim.connected(true);
    claim.failed(FailureKind::StaleConnection);
    assert_eq!(claim.may_retry(FREELY), Ok(RetryReason::StaleConnection));
    claim.next().await.expect("the same one");
    claim.connected(false);
    claim.answered(StatusCode::OK);
    assert_eq!(rig.upstream().view().servers[0].addresses[0].failures, 0);
}

#[tokio::test(start_paused = true)]
async fn a_held_request_occupies_no_place() {
    let rig = Rig::new(|settings| settings.max_in_flight = Some(1));
    rig.network.name("app", &[1]);
    settle().await;
    let first = tokio::spawn(rig.request(Duration::from_millis(10)));
    let second = tokio::spawn(rig.request(Duration::from_millis(10)));
    settle().await;
    assert_eq!(rig.upstream().hold.held(), 2);
    assert_eq!(rig.upstream().queue.len(), 0);
    after(&rig, 1.0, |network| network.start(1)).await;
    let (first, _) = first.await.expect("no panic").expect("answered");
    assert!(
        !second.is_finished(),
        "the first has not given its place back"
    );
    drop(first);
    let (second, _) = second.await.expect("no panic").expect("answered");
    assert!(second.report().queue > Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn release_gives_the_place_back_before_the_claim_ends() {
    let rig = Rig::new(|settings| {
        settings.max_in_flight = Some(1);
        settings.queue_max = 0;
    });
    rig.network.name("app", &[1]);
    rig.network.start(1);
    settle().await;
    let (mut claim, _) = rig.request(Duration::ZERO).await.expect("answered");
    let refusal = rig.request(Duration::ZERO).await.expect_err("no place");
    assert_eq!(refusal, Refusal::QueueFull);
    assert_eq!(refusal.retry_after(), Some(Duration::from_secs(1)));
    claim.release();
    rig.request(Duration::ZERO).await.expect("a place");
    assert_eq!(rig.upstream().view().servers[0].addresses[0].in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn clients_that_leave_free_their_places_everywhere() {
    let rig = Rig::new(|settings| {
        settings.hold_max = 3;
        settings.max_in_flight = Some(2);
    });
    rig.network.name("app", &[1]);
    settle().await;
    let held: Vec<_> = (0..3)
        .map(|_| tokio::spawn(rig.request(Duration::from_secs(9))))
        .collect();
    settle().await;
    let refusal = rig.request(Duration::ZERO).await.expect_err("no room");
    assert_eq!(refusal, Refusal::HoldFull);
    held[0].abort();
    settle().await;
    assert_eq!(rig.upstream().hold.held(), 2);
    rig.network.start(1);
    after(&rig, 0.5, |_| {}).await;
    assert_eq!(rig.upstream().view().servers[0].addresses[0].in_flight, 2);
    // Working, and queueing.
    let queueing = tokio::spawn(rig.request(Duration::ZERO));
    settle().await;
    assert_eq!(rig.upstream().queue.len(), 1);
    queueing.abort();
    held.iter().for_each(|request| request.abort());
    settle().await;
    assert_eq!(rig.upstream().queue.len(), 0);
    assert_eq!(rig.upstream().view().servers[0].addresses[0].in_flight, 0);
    assert!(rig.upstream().hold.is_clear());
    rig.request(Duration::ZERO).await.expect("all is free");
}

#[tokio::test(start_paused = true)]
async fn an_app_that_says_it_is_starting_is_waited_for() {
    let rig = Rig::new(|_| {});
    rig.network.name("app", &[1]);
    rig.network.start(1);
    settle().await;
    let starts = clock::now() + Duration::from_secs(3);
    let asked = Arc::new(Mutex::new(0));
    let request = |rig: &Rig| {
        let asked = Arc::clone(&asked);
        let mut claim = rig.claim();
        async move {
            loop {
                claim.next().await.expect("held, not refused");
                claim.connected(false);
                *asked.lock() += 1;
                if clock::now() >= starts {
                    claim.answered(StatusCode::OK);
                    return clock::now();
                }
                claim
                    .hold_again(StatusCode::SERVICE_UNAVAILABLE)
                    .expect("it has patience");
            }
        }
    };
    let requests: Vec<_> = (0..20).map(|_| tokio::spawn(request(&rig))).collect();
    for request in requests {
        let answered = request.await.expect("no panic");
        assert!(
            answered - starts < Duration::from_secs(1),
            "{:?}",
            answered - starts
        );
    }
    let asked = *asked.lock();
    assert!(asked < 80, "{asked} questions to a starting app");
    assert!(rig.upstream().hold.is_clear());
}

#[tokio::test(start_paused = true)]
async fn one_routes_503_does_not_hold_the_others() {
    let rig = Rig::new(|_| {});
    rig.network.name("app", &[1]);
    rig.network.start(1);
    settle().await;
    rig.request(Duration::ZERO).await.expect("well");
    let mut claim = rig.claim();
    claim.next().await.expect("somebody");
    claim
        .hold_again(StatusCode::SERVICE_UNAVAILABLE)
        .expect("it has patience");
    let began = clock::now();
    let other = rig.request(Duration::ZERO).await.expect("well");
    assert_eq!(began.elapsed(), Duration::ZERO);
    drop(other);
    claim.next().await.expect("somebody");
    assert_eq!(began.elapsed(), Duration::from_millis(100));
}

#[tokio::test(start_paused = true)]
async fn draining_ends_the_waiting() {
    let rig = Rig::new(|_| {});
    let held = tokio::spawn(rig.request(Duration::ZERO));
    settle().await;
    let began = clock::now();
    rig.upstreams.drain();
    let refusal = held.await.expect("no panic").expect_err("refused");
    assert_eq!(refusal, Refusal::Draining);
    assert_eq!(refusal.status(), StatusCode::SERVICE_UNAVAILABLE);
    let later = rig.request(Duration::ZERO).await.expect_err("refused");
    assert_eq!(later, Refusal::Draining);
    assert_eq!(began.elapsed(), Duration::ZERO);
    rig.network.name("app", &[1]);
    rig.network.start(1);
    after(&rig, 2.0, |_| {}).await;
    rig.request(Duration::ZERO)
        .await
        .expect("nobody has to wait");
}

#[tokio::test(start_paused = true)]
async fn the_total_deadline_ends_the_waiting_too() {
    let rig = Rig::new(|settings| settings.timeouts.total = Some(Duration::from_secs(3)));
    let began = clock::now();
    let refusal = rig.request(Duration::ZERO).await.expect_err("in vain");
    assert!(matches!(refusal, Refusal::HoldExpired(_)));
    assert_eq!(began.elapsed(), Duration::from_secs(3));
}

#[tokio::test(start_paused = true)]
async fn all_unhealthy_is_held_until_a_check_passes() {
    let rig = Rig::new(|settings| {
        settings.health = Some(HealthSettings {
            probe: Probe::Tcp,
            every: Duration::from_secs(5),
            every_down: Duration::from_secs(1),
            timeout: Duration::from_secs(2),
            healthy: 1,
            unhealthy: 2,
        });
    });
    rig.network.name("app", &[1]);
    after(&rig, 3.0, |_| {}).await;
    let view = rig.upstream().view();
    assert_eq!(view.servers[0].addresses[0].state, "unhealthy");
    assert!(!rig.upstream().is_ready());
    let request = tokio::spawn(rig.request(Duration::ZERO));
    after(&rig, 2.0, |network| network.start(1)).await;
    let there = clock::now();
    let (_, at) = request.await.expect("no panic").expect("answered");
    assert!(at - there <= Duration::from_millis(300), "{:?}", at - there);
    assert!(rig.upstream().is_ready());
}

#[tokio::test(start_paused = true)]
async fn a_reload_keeps_what_did_not_change() {
    let mut rig = Rig::new(|_| {});
    rig.network.name("app", &[1]);
    rig.network.start(1);
    settle().await;
    let before = Arc::clone(rig.upstream());
    let same = [before.settings().clone()];
    let again = Upstreams::build(&same, Some(&rig.upstreams), &rig.environment).expect("built");
    assert!(Arc::ptr_eq(again.get("api").expect("there"), &before));

    let mut changed = before.settings().clone();
    changed.balance = Balance::LeastConn;
    let next = Upstreams::build(&[changed], Some(&rig.upstreams), &rig.environment);
    let next = next.expect("built");
    assert!(!Arc::ptr_eq(next.get("api").expect("there"), &before));
    rig.upstreams = next;
    drop(again);
    let began = clock::now();
    rig.request(Duration::ZERO).await.expect("answered");
    assert_eq!(began.elapsed(), Duration::ZERO, "it knew the addresses");

    let gone = Arc::downgrade(&before);
    drop(before);
    settle().await;
    assert!(gone.upgrade().is_none(), "its tasks do not keep it");
    rig.network.look_ups.lock().clear();
    after(&rig, 60.0, |_| {}).await;
    assert!((11..=13).contains(&rig.network.look_ups.lock().len()));
}

#[tokio::test(start_paused = true)]
async fn weights_and_backups() {
    let rig = Rig::with(&["10.0.0.1", "10.0.0.2", "10.0.0.3"], |settings| {
        settings.servers[0].weight = 3;
        settings.servers[2].backup = true;
    });
    (1..=3).for_each(|last| rig.network.start(last));
    let mut counts: HashMap<Option<Socket>, usize> = HashMap::new();
    for _ in 0..40 {
        let (claim, _) = rig.request(Duration::ZERO).await.expect("answered");
        *counts.entry(claim.report().addr).or_default() += 1;
    }
    let count = |last| counts.get(&Some(Socket::Tcp(addr(last)))).copied();
    assert_eq!([count(1), count(2), count(3)], [Some(30), Some(10), None]);
    rig.network.stop(1);
    rig.network.stop(2);
    let (claim, _) = rig.request(Duration::ZERO).await.expect("answered");
    assert_eq!(claim.report().addr, Some(Socket::Tcp(addr(3))));
    assert_eq!(claim.report().hold, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_work_is_refused_with_its_name() {
    let rig = Rig::new(|_| {});
    let build = |server: ServerSettings| {
        let settings = [UpstreamSettings::new("bad", vec![server])];
        let built = Upstreams::build(&settings, None, &rig.environment);
        built.err().map(|e| e.to_string()).unwrap_or_default()
    };
    let long = PathBuf::from(format!("/run/{}.sock", "a".repeat(108)));
    let message = build(ServerSettings::new(Endpoint::Unix(long)));
    assert!(
        message.starts_with("upstream `bad`: `/run/aaa"),
        "{message}"
    );
    let mut server = ServerSettings::new(Endpoint::Tcp {
        host: "not a name".to_owned(),
        port: 443,
    });
    server.tls = true;
    let message = build(server);
    assert!(
        message.contains("`not a name` cannot be verified"),
        "{message}"
    );
}
