//! The line, its ramp, and everybody who leaves it.

use std::cell::Cell;
use std::pin::Pin;

use futures::FutureExt;
use futures::future::BoxFuture;

use super::line::Ramp;
use super::*;
use crate::upstream::metrics::UpstreamMetrics;

const PATIENCE: Duration = Duration::from_secs(10);

fn hold(line_max: usize) -> Arc<Hold> {
    let metrics = UpstreamMetrics::default().of("app").hold();
    Hold::new("app".into(), PATIENCE, line_max, metrics)
}

fn refused() -> Nobody {
    Nobody::Unreachable {
        server: "app:5000".into(),
        why: "connection refused".to_owned(),
    }
}

/// A request that has found nobody, and waits.
struct Request {
    waiting: BoxFuture<'static, (Ticket, Result<Pass, HoldRefusal>)>,
}

impl Request {
    fn new(hold: &Arc<Hold>) -> Self {
        let ticket = hold.ticket(None).expect("a ticket");
        let mut request = Self::waiting(hold, ticket, Some(refused()), None);
        assert!(request.outcome().is_none(), "nobody is there");
        request
    }

    fn waiting(
        hold: &Arc<Hold>,
        mut ticket: Ticket,
        nobody: Option<Nobody>,
        not_before: Option<Instant>,
    ) -> Self {
        let hold = Arc::clone(hold);
        let waiting = async move {
            let wait = hold.wait(&mut ticket, nobody.as_ref(), not_before, || {
                nobody.is_none()
            });
            let outcome = wait.await;
            (ticket, outcome)
        };
        Self {
            waiting: waiting.boxed(),
        }
    }

    /// The outcome, where there is one by now.
    fn outcome(&mut self) -> Option<(Ticket, Result<Pass, HoldRefusal>)> {
        Pin::new(&mut self.waiting).now_or_never()
    }
}

/// The places in line of those who may go by now, with what they got.
fn let_go(requests: &mut Vec<Request>) -> Vec<(Ticket, Pass)> {
    let mut gone = Vec::new();
    requests.retain_mut(|request| match request.outcome() {
        Some((ticket, Ok(pass))) => {
            gone.push((ticket, pass));
            false
        }
        Some((_, Err(refusal))) => panic!("{refusal:?}"),
        None => true,
    });
    gone
}

fn numbers(gone: &[(Ticket, Pass)]) -> Vec<u64> {
    gone.iter().map(|(ticket, _)| ticket.number).collect()
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_while_all_is_well() {
    let hold = hold(10);
    assert!(hold.is_clear());
    assert!(hold.pass().is_some());
    hold.survey(false);
    assert!(hold.is_clear(), "an incident begins with a request");
}

#[tokio::test(start_paused = true)]
async fn a_ramp_lets_go_two_and_one_more_for_each_answer() {
    let hold = hold(100);
    let mut line: Vec<_> = (0..20).map(|_| Request::new(&hold)).collect();
    assert_eq!(hold.held(), 20);
    hold.survey(true);
    let mut out = let_go(&mut line);
    assert_eq!(numbers(&out), [0, 1]);
    let mut next = 2;
    while !line.is_empty() {
        let (ticket, pass) = out.remove(0);
        ticket.served();
        pass.answered();
        let more = let_go(&mut line);
        let expected: Vec<u64> = (next..20.min(next + 2)).collect();
        assert_eq!(numbers(&more), expected, "one place back and one new");
        next += 2;
        out.extend(more);
    }
    assert!(!hold.is_clear(), "some are out still");
    for (ticket, pass) in out {
        ticket.served();
        pass.answered();
    }
    assert!(hold.is_clear());
    assert_eq!(hold.metrics.outcome(HoldOutcome::Served), 20);
    assert_eq!(hold.metrics.held_now(), 0);
    assert!(hold.state.lock().incident.is_none(), "the incident is over");
}

#[tokio::test(start_paused = true)]
async fn a_slow_app_gets_twenty_within_a_quarter_of_a_second() {
    let hold = hold(100);
    let mut line: Vec<_> = (0..20).map(|_| Request::new(&hold)).collect();
    hold.survey(true);
    let mut out = let_go(&mut line);
    let mut counts = vec![out.len()];
    for _ in 0..4 {
        tokio::time::advance(STEP).await;
        hold.step(refused);
        out.extend(let_go(&mut line));
        counts.push(out.len());
    }
    assert_eq!(counts, [2, 4, 8, 16, 20]);
}

#[tokio::test(start_paused = true)]
async fn nobody_overtakes_those_in_line() {
    let hold = hold(100);
    let mut line: Vec<_> = (0..4).map(|_| Request::new(&hold)).collect();
    hold.survey(true);
    let out = let_go(&mut line);
    assert!(hold.pass().is_none(), "there is a line");
    let ticket = hold.ticket(None).expect("a ticket");
    line.push(Request::waiting(&hold, ticket, None, None));
    for (_, pass) in out {
        pass.answered();
    }
    let out = let_go(&mut line);
    assert_eq!(numbers(&out), [2, 3, 4], "in order");
    let pass = hold.pass();
    assert!(pass.is_some(), "no line, and room in the window of four");
    assert!(hold.pass().is_none(), "no more room");
}

#[tokio::test(start_paused = true)]
async fn one_that_could_not_connect_comes_back_to_its_place() {
    let hold = hold(100);
    let mut line: Vec<_> = (0..4).map(|_| Request::new(&hold)).collect();
    hold.survey(true);
    let mut out = let_go(&mut line);
    let (ticket, pass) = out.remove(0);
    let deadline = ticket.deadline();
    tokio::time::advance(Duration::from_secs(3)).await;
    drop(pass);
    let more = let_go(&mut line);
    assert_eq!(numbers(&more), [2], "its place in the window was given on");

    let mut back = Request::waiting(&hold, ticket, Some(refused()), None);
    assert!(back.outcome().is_none());
    assert_eq!(
        hold.state.lock().line.keys().copied().collect::<Vec<_>>(),
        [0, 3]
    );
    hold.survey(true);
    let (ticket, pass) = back.outcome().expect("it is the first");
    assert!(pass.is_ok());
    assert_eq!(ticket.deadline(), deadline);
    drop(out);
    assert!(
        matches!(hold.state.lock().phase, Phase::Ramp(Ramp { out: 2, .. })),
        "a pass of the earlier ramp counts for nothing in this one"
    );
}

#[tokio::test(start_paused = true)]
async fn patience_ends_and_the_place_is_freed() {
    let hold = hold(1);
    let request = Request::new(&hold);
    assert_eq!(hold.ticket(None).err(), Some(HoldRefusal::Full));
    let began = clock::now();
    let (ticket, outcome) = request.waiting.await;
    assert_eq!(outcome.err(), Some(HoldRefusal::Expired));
    assert_eq!(began.elapsed(), PATIENCE);
    drop(ticket);
    assert_eq!(hold.held(), 0);
    assert_eq!(hold.metrics.outcome(HoldOutcome::Expired), 1);
    assert_eq!(hold.metrics.outcome(HoldOutcome::Shed), 1);
    let latest = Some(clock::now() + Duration::from_secs(1));
    let mut hasty = hold.ticket(latest).expect("there is room");
    let outcome = hold
        .wait(&mut hasty, Some(&refused()), None, || false)
        .await;
    assert_eq!(outcome.err(), Some(HoldRefusal::Expired));
    assert_eq!(began.elapsed(), PATIENCE + Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn whoever_leaves_gives_back_what_it_has() {
    let hold = hold(100);
    let mut line: Vec<_> = (0..6).map(|_| Request::new(&hold)).collect();
    // In line.
    drop(line.remove(0));
    assert_eq!(hold.held(), 5);
    assert_eq!(hold.metrics.outcome(HoldOutcome::Left), 1);
    hold.survey(true);
    // Let go, without having been told: its pass lies in the channel.
    drop(line.remove(0));
    assert_eq!(numbers(&let_go(&mut line)), [2, 3]);
    // Let go and told: the pass was dropped at the end of the line above.
    assert_eq!(numbers(&let_go(&mut line)), [4, 5]);
    assert!(line.is_empty());
    assert!(hold.is_clear());
    assert_eq!(hold.metrics.held_now(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_event_between_finding_nobody_and_lining_up_is_not_lost() {
    let hold = hold(10);
    let mut ticket = hold.ticket(None).expect("a ticket");
    let asked = Cell::new(0);
    let somebody = || {
        asked.set(asked.get() + 1);
        true
    };
    let outcome = hold
        .wait(&mut ticket, Some(&refused()), None, somebody)
        .await;
    assert!(outcome.is_ok());
    assert_eq!(asked.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn draining_refuses_everybody_at_once() {
    let hold = hold(10);
    let mut request = Request::new(&hold);
    hold.drain();
    let (_, outcome) = request.outcome().expect("told at once");
    assert_eq!(outcome.err(), Some(HoldRefusal::Draining));
    assert_eq!(hold.ticket(None).err(), Some(HoldRefusal::Draining));
    assert_eq!(hold.metrics.held_now(), 0);
}

#[tokio::test(start_paused = true)]
async fn one_that_wants_to_wait_holds_back_nobody() {
    let hold = hold(10);
    let ticket = hold.ticket(None).expect("a ticket");
    let at = clock::now() + Duration::from_millis(200);
    let mut patient = Request::waiting(&hold, ticket, None, Some(at));
    assert!(patient.outcome().is_none());
    assert!(hold.is_clear(), "others go by");
    let began = clock::now();
    let (_ticket, outcome) = patient.waiting.await;
    assert!(outcome.is_ok());
    assert_eq!(began.elapsed(), Duration::from_millis(200));
}

#[tokio::test(start_paused = true)]
async fn an_outage_that_outlives_its_requests_is_one_incident() {
    let hold = hold(10);
    let (ticket, _) = Request::new(&hold).waiting.await;
    drop(ticket);
    assert!(hold.state.lock().incident.is_some(), "nobody answers still");
    let (ticket, _) = Request::new(&hold).waiting.await;
    drop(ticket);
    hold.survey(true);
    assert!(hold.is_clear());
    assert!(hold.state.lock().incident.is_none());
}
