//! One request's walk through an upstream: hold, queue, balance, try, and perhaps again.
//!
//! ```text
//! next ─▶ (held while nobody is available) ─▶ (queued for max_in_flight) ─▶ Target
//!   ▲                                                                         │
//!   │ may_retry: yes          connect_failed ◀── the connect ──▶ connected    │
//!   └──────────────────────── failed ◀───────── the answer ────▶ answered ◀───┘
//! ```
//!
//! Whatever a claim has (a place in line, in the window, in the queue, at the upstream, on an address) is given back
//! when it is dropped, at any point.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, StatusCode};

use super::Upstream;
use super::address::{Address, Socket};
use super::ending::{self, Broken};
use super::health::passive;
use super::hold::{HoldRefusal, Pass, Ticket};
use super::pool::Nobody;
use super::queue::Place;
use super::refusal::Refusal;
use super::retry::{self, Failure, FailureKind, RetryQuestion, RetryReason, RetryRefusal, Tally};
use super::target::Target;
use crate::clock::{self, Instant};

/// What balancing and deadlines need to know of a request. Borrowed only while the claim is made.
#[derive(Debug, Clone, Copy)]
pub struct ClaimRequest<'a> {
    /// The path without its query.
    pub path: &'a str,
    /// The client, as far as it is believed.
    pub client: Option<IpAddr>,
    /// The request's fields.
    pub headers: &'a HeaderMap,
    /// When the request arrived: `timeouts.total` runs from here.
    pub arrived: Instant,
}

/// How a connect failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectFailure {
    /// Nobody is there: refused, unreachable, timed out, no such socket. The address is down from now on.
    NotThere,
    /// Somebody is there, but speaks otherwise: the TLS or HTTP/2 hand-shake failed. Waiting will not mend that.
    Handshake,
    /// We could not even try (out of descriptors or ports). The address is not to blame.
    Local,
}

/// What became of a request, for the access log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClaimReport {
    /// The server of the last try, as written.
    pub server: Option<Arc<str>>,
    /// The address of the last try.
    pub addr: Option<Socket>,
    /// Whether its connection was kept from an earlier request.
    pub reused: bool,
    /// From the last try's beginning to its connection, where one was made for it.
    pub connect: Option<Duration>,
    /// From the last try's beginning to its answer's header.
    pub first_byte: Option<Duration>,
    /// Held, in all.
    pub hold: Duration,
    /// Queued, in all.
    pub queue: Duration,
    /// Tries, the first included; waiting is not one.
    pub tries: u32,
    /// Why there was more than one, the last time.
    pub retry_reason: Option<RetryReason>,
}

/// One request's claim on an upstream.
#[derive(Debug)]
pub struct Claim {
    upstream: Arc<Upstream>,
    key: Option<u64>,
    /// Whether it may be held while nobody is available.
    waits: bool,
    /// When `timeouts.total` ends.
    latest: Option<Instant>,
    attempt: Option<Attempt>,
    pass: Option<Pass>,
    ticket: Option<Ticket>,
    place: Option<Place>,
    /// Addresses that failed this request since it was last held.
    tried: Vec<Arc<Address>>,
    failure: Option<Failure>,
    tally: Tally,
    /// Tries that broke, and are not known to have met the end of their server.
    broken: Vec<Broken>,
    /// How many did meet that.
    endings: u32,
    /// The tries are used up, unless some of them met the end of a server.
    doubtful: bool,
    /// Set when an app said that it is starting: not before then.
    again: Option<Instant>,
    report: ClaimReport,
}

/// A try under way; counted on its address until it is dropped.
#[derive(Debug)]
struct Attempt {
    address: Arc<Address>,
    began: Instant,
    /// How often the address had gone down by then.
    downs: u32,
}

impl Attempt {
    fn new(address: Arc<Address>) -> Self {
        address.enter();
        address.server.numbers.requests.inc();
        address.server.numbers.in_flight.inc();
        Self {
            downs: address.downs(),
            address,
            began: clock::now(),
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.address.leave();
        self.address.server.numbers.in_flight.dec();
    }
}

impl Claim {
    pub(super) fn new(upstream: Arc<Upstream>, request: ClaimRequest<'_>) -> Self {
        upstream.budget.request();
        let balancer = upstream.pool.balancer();
        let key = balancer.key(request.path, request.client, request.headers);
        let total = upstream.settings.timeouts.total;
        Self {
            key,
            waits: true,
            latest: total.map(|total| request.arrived + total),
            upstream,
            attempt: None,
            pass: None,
            ticket: None,
            place: None,
            tried: Vec::new(),
            failure: None,
            tally: Tally::default(),
            broken: Vec::new(),
            endings: 0,
            doubtful: false,
            again: None,
            report: ClaimReport::default(),
        }
    }

    /// Is not held from here on: where nobody is available, that is the answer. For who has something better to do than
    /// to wait.
    pub fn will_not_wait(&mut self) {
        self.waits = false;
    }

    fn may_wait(&self) -> bool {
        self.waits && self.upstream.hold.is_on()
    }

    /// The server for the next try, once there is one: held while nobody is available, queued while too many are
    /// with the servers. To be called once per try. May be dropped while it waits; the claim may be used on.
    ///
    /// # Errors
    /// [`Refusal`]; nothing was sent in this try.
    pub async fn next(&mut self) -> Result<Target, Refusal> {
        self.attempt = None;
        self.failure = None;
        if self.doubtful {
            self.doubt().await?;
        }
        if let Some(at) = self.again.take() {
            self.wait(None, Some(at)).await?;
        }
        loop {
            self.follow_the_line().await?;
            if self.place.is_none() {
                self.place = self.upstream.queue.free_place();
            }
            if self.place.is_none() {
                let began = clock::now();
                let place = self.upstream.queue.place(self.latest).await;
                self.report.queue += clock::now() - began;
                self.place = Some(place?);
            }
            let now = clock::now();
            let pool = &self.upstream.pool;
            if let Some(address) = pool.choose(self.key, &self.tried, now) {
                return Ok(self.begin(address));
            }
            let nobody = pool.nobody(now);
            if !self.may_wait() {
                return Err(Refusal::Nobody(nobody));
            }
            self.wait(Some(nobody), None).await?;
        }
    }

    /// The connection is there: made now, or kept from an earlier request.
    pub fn connected(&mut self, reused: bool) {
        let Some(attempt) = &self.attempt else {
            return;
        };
        self.report.reused = reused;
        if !reused {
            self.report.connect = Some(attempt.began.elapsed());
            self.upstream.reached(&attempt.address);
        }
    }

    /// The connect failed; nothing was sent. `complaint` is for the operator: what was said, in lower case.
    pub fn connect_failed(&mut self, failure: ConnectFailure, complaint: &str) {
        let Some(attempt) = self.attempt.take() else {
            return;
        };
        let address = &attempt.address;
        address.server.numbers.connect_failures.inc();
        self.tally.connects += 1;
        match failure {
            ConnectFailure::NotThere => {
                self.upstream.not_reached(address, complaint);
            }
            ConnectFailure::Handshake => self.upstream.failed(address, complaint),
            ConnectFailure::Local => {}
        }
        let not_there = failure == ConnectFailure::NotThere;
        let now = clock::now();
        let held = self.may_wait() && !self.upstream.pool.has_somebody(now);
        self.failure = Some(Failure::Connect {
            held: not_there && held,
            hopeless: !not_there,
        });
        self.tried.push(Arc::clone(address));
    }

    /// The answer's header arrived, and is passed on to the client. Not for an answer that is held again.
    pub fn answered(&mut self, status: StatusCode) {
        let Some(attempt) = &self.attempt else {
            return;
        };
        self.report.first_byte = Some(attempt.began.elapsed());
        if passive::is_failure(status) {
            let complaint = format!("answers {}", status.as_u16());
            self.upstream.failed(&attempt.address, &complaint);
        } else {
            attempt.address.answered_well(clock::now());
        }
        if let Some(pass) = self.pass.take() {
            pass.answered();
        }
        if let Some(ticket) = self.ticket.take() {
            ticket.served();
        }
    }

    /// The try failed after the connection was made.
    pub fn failed(&mut self, kind: FailureKind) {
        let Some(attempt) = self.attempt.take() else {
            return;
        };
        self.failure = Some(Failure::Sent(kind));
        if kind == FailureKind::StaleConnection {
            // That connection is dead; the server may be fine, and is not avoided.
            self.tally.stale += 1;
            return;
        }
        self.tally.tries += 1;
        if kind == FailureKind::Reset {
            self.broken
                .push(Broken::new(&attempt.address, attempt.downs));
        }
        let complaint = match kind {
            FailureKind::StaleConnection | FailureKind::Reset => "breaks connections",
            FailureKind::Timeout => "does not answer in time",
            FailureKind::Malformed => "answers with something that is not HTTP",
        };
        self.upstream.failed(&attempt.address, complaint);
        self.tried.push(Arc::clone(&attempt.address));
    }

    /// Whether the try that just failed may be repeated, with [`Claim::next`].
    ///
    /// # Errors
    /// [`RetryRefusal`]. Where `Ok` is doubtful, [`Claim::next`] finds out and may refuse.
    pub fn may_retry(&mut self, question: RetryQuestion) -> Result<RetryReason, RetryRefusal> {
        let failure = self.failure.ok_or(RetryRefusal::NothingFailed)?;
        let tries_max = self.upstream.settings.retry.tries;
        // Nobody is stormed by what waits in line: the line lets go a few at a time.
        let waits = || {
            let hold = &self.upstream.hold;
            self.may_wait() && !(hold.is_clear() && self.upstream.pool.has_somebody(clock::now()))
        };
        let spend = || waits() || self.upstream.budget.spend();
        let decision = retry::decide(failure, question, self.tally, tries_max, spend);
        if decision == Err(RetryRefusal::TriesExhausted)
            && failure == Failure::Sent(FailureKind::Reset)
            && self.endings < retry::endings_max(tries_max)
            && self.may_wait()
        {
            self.doubtful = true;
            return Ok(RetryReason::Reset);
        }
        match decision {
            Ok(reason) => {
                self.report.retry_reason = Some(reason);
                self.upstream.metrics.retried(reason);
            }
            Err(refusal) => self.upstream.metrics.not_retried(refusal),
        }
        decision
    }

    /// The app answered that it is not ready (`hold_on`), and the request may be sent again: instead of
    /// [`Claim::answered`]. After `Ok`, drop the answer and call [`Claim::next`].
    ///
    /// # Errors
    /// [`HoldRefusal`]: pass the answer on, and call [`Claim::answered`].
    pub fn hold_again(&mut self, status: StatusCode) -> Result<(), HoldRefusal> {
        if !self.may_wait() {
            return Err(HoldRefusal::Expired);
        }
        let Some(attempt) = &self.attempt else {
            return Err(HoldRefusal::Expired);
        };
        let address = Arc::clone(&attempt.address);
        self.ensure_ticket()?;
        let now = clock::now();
        let deadline = self.ticket.as_ref().map_or(now, Ticket::deadline);
        let complaint = format!("answers {}", status.as_u16());
        let pause = address.answered_starting(now, &complaint);
        if now + pause >= deadline {
            return Err(HoldRefusal::Expired);
        }
        self.attempt = None;
        self.again = Some(now + pause);
        self.report.retry_reason = Some(RetryReason::Starting);
        self.upstream.metrics.retried(RetryReason::Starting);
        self.tried.push(address);
        self.upstream.survey();
        self.upstream.ring();
        Ok(())
    }

    /// The server is done with the request, though the client may still be reading: the places at the upstream and on
    /// the address are given to others.
    pub fn release(&mut self) {
        self.attempt = None;
        self.place = None;
        self.pass = None;
    }

    /// Deadline of this try up to its answer's header: `retry.per_try`, or else `timeouts.first_byte`.
    pub fn per_try(&self) -> Duration {
        let settings = &self.upstream.settings;
        let first_byte = settings.timeouts.first_byte;
        settings
            .retry
            .per_try
            .map_or(first_byte, |per_try| per_try.min(first_byte))
    }

    /// The upstream this is a claim on.
    pub fn upstream(&self) -> &Arc<Upstream> {
        &self.upstream
    }

    /// What has become of the request up to now.
    pub fn report(&self) -> ClaimReport {
        self.report.clone()
    }

    /// The tries are used up. Those that met the end of their server do not count; where there are none, that was all.
    async fn doubt(&mut self) -> Result<(), Refusal> {
        let met = ending::met(&mut self.broken, &self.upstream).await;
        self.doubtful = false;
        let left = retry::endings_max(self.upstream.settings.retry.tries) - self.endings;
        let met = met.min(left);
        if met == 0 {
            let refusal = RetryRefusal::TriesExhausted;
            self.upstream.metrics.not_retried(refusal);
            return Err(Refusal::Broken);
        }
        self.endings += met;
        self.tally.tries = self.tally.tries.saturating_sub(met);
        self.report.retry_reason = Some(RetryReason::Reset);
        self.upstream.metrics.retried(RetryReason::Reset);
        Ok(())
    }

    fn begin(&mut self, address: Arc<Address>) -> Target {
        self.report.tries += 1;
        self.report.server = Some(Arc::clone(&address.server.name));
        self.report.addr = Some(address.socket.clone());
        (self.report.connect, self.report.first_byte) = (None, None);
        self.attempt = Some(Attempt::new(Arc::clone(&address)));
        Target::new(address)
    }

    /// Behind those who wait already, where anybody does.
    async fn follow_the_line(&mut self) -> Result<(), Refusal> {
        let hold = &self.upstream.hold;
        if hold.is_clear() || self.pass.is_some() {
            return Ok(());
        }
        self.pass = hold.pass();
        if self.pass.is_some() {
            return Ok(());
        }
        if !self.may_wait() {
            return Err(Refusal::Nobody(self.upstream.pool.nobody(clock::now())));
        }
        self.wait(None, None).await
    }

    async fn wait(
        &mut self,
        nobody: Option<Nobody>,
        not_before: Option<Instant>,
    ) -> Result<(), Refusal> {
        // A request that waits occupies nothing.
        self.pass = None;
        self.place = None;
        let refused = |refusal, upstream: &Upstream| match refusal {
            HoldRefusal::Full => Refusal::HoldFull,
            HoldRefusal::Draining => Refusal::Draining,
            HoldRefusal::Expired => Refusal::HoldExpired(upstream.pool.nobody(clock::now())),
        };
        self.ensure_ticket()
            .map_err(|refusal| refused(refusal, &self.upstream))?;
        let Some(ticket) = &mut self.ticket else {
            return Err(Refusal::HoldFull);
        };
        let upstream = &self.upstream;
        upstream.ring();
        let began = clock::now();
        let somebody = || upstream.pool.has_somebody(clock::now());
        let waited = upstream
            .hold
            .wait(ticket, nobody.as_ref(), not_before, somebody);
        let outcome = waited.await;
        self.report.hold += clock::now() - began;
        self.pass = Some(outcome.map_err(|refusal| refused(refusal, upstream))?);
        self.tried.clear();
        Ok(())
    }

    fn ensure_ticket(&mut self) -> Result<(), HoldRefusal> {
        if self.ticket.is_none() {
            self.ticket = Some(self.upstream.hold.ticket(self.latest)?);
        }
        Ok(())
    }
}
