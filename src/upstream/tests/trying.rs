//! Requests that find somebody: who is asked, and asked again.

use super::*;

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
    (1..=2).for_each(|last| rig.network.start(last));
    settle().await;
    let mut claim = rig.claim();
    let mut seen = Vec::new();
    let refusal = loop {
        match claim.next().await {
            Ok(target) => seen.push(target.socket().clone()),
            Err(refusal) => break refusal,
        }
        claim.connected(false);
        claim.failed(FailureKind::Reset);
        assert_eq!(claim.may_retry(ONCE), Err(RetryRefusal::NotIdempotent));
        claim.may_retry(FREELY).expect("at least a doubt");
    };
    assert_eq!(refusal, Refusal::Broken);
    assert_eq!(refusal.status(), StatusCode::BAD_GATEWAY);
    assert_eq!(refusal.word(), "upstream-reset");
    assert_eq!(seen.len(), 3, "they are there still, so that was all");
    assert_ne!(seen[0], seen[1], "the other one first");
    assert_eq!(claim.report().tries, 3);
}

/// Lets a claim meet connections that break, until it is held or refused.
fn broken_until_held(claim: &mut Claim) -> Result<u32, Refusal> {
    loop {
        match claim.next().now_or_never() {
            None => return Ok(claim.report().tries),
            Some(target) => target?,
        };
        claim.connected(false);
        claim.failed(FailureKind::Reset);
        claim.may_retry(FREELY).expect("at least a doubt");
    }
}

#[tokio::test(start_paused = true)]
async fn servers_that_end_use_up_no_tries() {
    // Three containers are killed at once: each resets what waits in its queue.
    let rig = Rig::new(|_| {});
    rig.network.name("app", &[1, 2, 3]);
    settle().await;
    let mut claim = rig.claim();
    assert_eq!(broken_until_held(&mut claim), Ok(3));
    assert!(!rig.upstream().is_ready(), "it looked, and found nobody");
    let again = tokio::spawn(async move { claim.next().await.map(|_| claim) });
    after(&rig, 1.0, |network| network.start(2)).await;
    let mut claim = again.await.expect("no panic").expect("somebody");
    claim.connected(false);
    claim.answered(StatusCode::OK);
    let report = claim.report();
    assert_eq!(report.tries, 4);
    assert!(report.hold >= Duration::from_secs(1), "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn what_others_found_out_meanwhile_counts() {
    // It breaks, is found to be away by another request, and is back before this one is out of tries.
    let rig = Rig::new(|settings| settings.retry.tries = 2);
    rig.network.name("app", &[1]);
    rig.network.start(1);
    settle().await;
    let mut claim = rig.claim();
    for _ in 0..2 {
        claim.next().await.expect("somebody");
        claim.connected(false);
        let mut other = rig.claim();
        other.next().await.expect("somebody");
        other.connect_failed(ConnectFailure::NotThere, "connection refused");
        after(&rig, 1.1, |_| {}).await;
        assert!(rig.upstream().is_ready(), "the prober found it");
        claim.failed(FailureKind::Reset);
        assert_eq!(claim.may_retry(FREELY), Ok(RetryReason::Reset));
    }
    claim.next().await.expect("neither was its fault");
}

#[tokio::test(start_paused = true)]
async fn a_name_that_left_an_address_is_its_end() {
    let rig = Rig::new(|settings| settings.retry.tries = 2);
    rig.network.name("app", &[1]);
    (1..=2).for_each(|last| rig.network.start(last));
    settle().await;
    let mut claim = rig.claim();
    for _ in 0..2 {
        claim.next().await.expect("somebody");
        claim.connected(false);
        claim.failed(FailureKind::Reset);
        claim.may_retry(FREELY).expect("at least a doubt");
    }
    rig.network.name("app", &[2]);
    rig.upstream().ask_names();
    after(&rig, 1.1, |_| {}).await;
    let target = claim.next().await.expect("the new one");
    assert_eq!(*target.socket(), Socket::Tcp(addr(2)));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_ends_servers_is_found_out() {
    for (tries, sent) in [(1, 1), (2, 4), (3, 7)] {
        let rig = Rig::new(|settings| {
            settings.retry.tries = tries;
            settings.hold = Duration::from_secs(60);
        });
        rig.network.name("app", &[1]);
        rig.network.start(1);
        settle().await;
        let mut claim = rig.claim();
        let mut count = 0;
        loop {
            // Whatever ends it starts it again.
            let (target, ()) = tokio::join!(claim.next(), after(&rig, 0.5, |n| n.start(1)));
            target.expect("somebody");
            count += 1;
            claim.connected(false);
            rig.network.stop(1);
            claim.failed(FailureKind::Reset);
            if claim.may_retry(FREELY).is_err() {
                break;
            }
        }
        assert_eq!(count, sent, "of {tries} tries");
    }
}

#[tokio::test(start_paused = true)]
async fn retries_that_wait_in_line_are_not_on_the_budget() {
    let rig = Rig::new(|_| {});
    rig.network.name("app", &[1]);
    settle().await;
    let mut claims: Vec<_> = (0..200).map(|_| rig.claim()).collect();
    for claim in &mut claims {
        claim.next().await.expect("somebody");
        claim.connected(false);
    }
    // The server ends with all of them in its backlog: they are reset, and nobody listens.
    let mut late = rig.claim();
    late.next().await.expect("somebody");
    late.connect_failed(ConnectFailure::NotThere, "connection refused");
    for claim in &mut claims {
        claim.failed(FailureKind::Reset);
        assert_eq!(claim.may_retry(FREELY), Ok(RetryReason::Reset));
    }
    rig.network.start(1);
    after(&rig, 1.0, |_| {}).await;
    assert!(rig.upstream().is_ready());

    // With somebody there to be stormed, the budget holds.
    let mut refused = 0;
    for _ in 0..200 {
        let mut claim = rig.claim();
        claim.next().await.expect("somebody");
        claim.connected(false);
        claim.failed(FailureKind::Reset);
        refused += u32::from(claim.may_retry(FREELY) == Err(RetryRefusal::BudgetSpent));
    }
    assert!((100..190).contains(&refused), "{refused} of 200 refused");
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
