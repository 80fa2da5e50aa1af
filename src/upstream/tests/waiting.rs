//! Requests that find nobody: who waits how long, and how it ends.

use super::*;

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
async fn who_has_something_better_to_do_is_not_held() {
    let rig = Rig::new(|_| {});
    rig.network.name("app", &[1]);
    settle().await;
    let waiting = tokio::spawn(rig.request(Duration::ZERO));
    settle().await;
    let began = clock::now();
    let mut claim = rig.claim();
    claim.will_not_wait();
    let refusal = claim.next().await.expect_err("nobody is there");
    assert!(matches!(refusal, Refusal::Nobody(_)), "{refusal:?}");
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert_eq!(rig.upstream().hold.held(), 1, "the other one is");
    after(&rig, 1.0, |network| network.start(1)).await;
    waiting.await.expect("no panic").expect("answered");
    claim.next().await.expect("somebody is there by now");
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
    assert_eq!(rig.upstream().queue.queued(), 0);
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
    assert_eq!(rig.upstream().queue.queued(), 1);
    queueing.abort();
    for request in &held {
        request.abort();
    }
    settle().await;
    assert_eq!(rig.upstream().queue.queued(), 0);
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
async fn draining_reaches_those_who_began_with_earlier_settings() {
    let mut rig = Rig::new(|_| {});
    let held = tokio::spawn(rig.request(Duration::ZERO));
    settle().await;
    for balance in [Balance::LeastConn, Balance::RoundRobin] {
        let mut settings = rig.upstream().settings().clone();
        settings.balance = balance;
        let next = Upstreams::build(&[settings], Some(&rig.upstreams), &rig.environment);
        rig.upstreams = next.expect("built");
    }
    rig.upstreams.drain();
    let refusal = held.await.expect("no panic").expect_err("refused");
    assert_eq!(refusal, Refusal::Draining);
}
