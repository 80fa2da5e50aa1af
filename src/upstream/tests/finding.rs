//! Where servers are: names, look-ups, probes, reloads.

use super::*;

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
async fn a_stranger_at_an_old_address_is_not_asked() {
    let rig = Rig::new(|_| {});
    rig.network.name("app", &[1]);
    rig.network.start(1);
    settle().await;
    rig.request(Duration::ZERO).await.expect("answered");

    rig.network.stop(1);
    rig.network.forget("app");
    let request = tokio::spawn(rig.request(Duration::ZERO));
    // Another service is started first, and is given the address that has become free.
    after(&rig, 1.0, |network| network.start(1)).await;
    after(&rig, 2.0, |network| {
        network.start(2);
        network.name("app", &[2]);
    })
    .await;
    let (claim, _) = request.await.expect("no panic").expect("answered");
    assert_eq!(claim.report().addr, Some(Socket::Tcp(addr(2))));
}

#[tokio::test(start_paused = true)]
async fn an_address_that_answers_is_kept_though_its_name_is_gone() {
    let rig = Rig::new(|_| {});
    rig.network.name("app", &[1, 2]);
    rig.network.start(1);
    settle().await;
    for _ in 0..2 {
        rig.request(Duration::ZERO).await.expect("answered");
    }
    rig.network.forget("app");
    after(&rig, 6.0, |_| {}).await;
    let (claim, _) = rig.request(Duration::ZERO).await.expect("answered");
    assert_eq!(claim.report().addr, Some(Socket::Tcp(addr(1))));
    assert_eq!(claim.report().hold, Duration::ZERO);
    let known = rig.upstream().pool.known_of(0).len();
    assert_eq!(known, 1, "the one that nobody answered at is forgotten");
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
async fn a_resolver_that_does_not_answer_is_waited_for_by_nobody_with_addresses() {
    let rig = Rig::new(|_| {});
    rig.network.name("app", &[1]);
    rig.network.start(1);
    settle().await;
    rig.request(Duration::ZERO).await.expect("well");
    *rig.network.silent.lock() = true;
    for _ in 0..60 {
        after(&rig, 10.0, |_| {}).await;
        let began = clock::now();
        let (claim, _) = rig.request(Duration::ZERO).await.expect("well");
        assert_eq!(began.elapsed(), Duration::ZERO);
        assert_eq!(claim.report().hold, Duration::ZERO);
    }
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
