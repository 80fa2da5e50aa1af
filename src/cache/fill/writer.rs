//! The origin's end of a fill: what comes is judged, kept, and told.

mod answered;

use super::complete::{Completing, Rest};
use super::flight::Flight;
use super::memory::Classes;
use super::state::{Settled, State};
use super::verdict::{Verdict, judge, spoils};
use super::{Failure, Wanted};
use crate::cache::body::SEGMENT;
use crate::cache::engine::Engine;
use crate::cache::key::Target;
use crate::cache::metrics::RefreshResult;
use crate::cache::outcome::Reason;
use crate::cache::policy::stale::{self, Trouble};
use crate::cache::policy::{Moment, Received};
use crate::cache::refresh::Running;
use crate::cache::request::Request;
use crate::cache::response::StoredResponse;
use crate::cache::store::{BodyBuilder, Reservation, Sealed, Store, StoredPart};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Sleep;

/// What is reserved at first where the length is not known.
const RESERVED_AT_FIRST: u64 = 64 * 1024;

/// The writer was dropped before the head.
const DROPPED: Failure = Failure {
    status: StatusCode::BAD_GATEWAY,
    word: "fetch-dropped",
    retry_after: None,
    trouble: Trouble::Failed,
    held: Duration::ZERO,
};

/// The writing end. Dropped without [`end`](Self::end), the fetch has failed.
///
/// It is polled on a Tokio runtime, because patience with followers needs a timer.
#[derive(Debug)]
pub struct FillWriter {
    pub(super) engine: Arc<Engine>,
    pub(super) flight: Arc<Flight>,
    pub(super) request: Arc<Request>,
    /// What is validated, and may stand in for an answer.
    stored: Option<Arc<StoredResponse>>,
    /// What is here in part, where the rest of it was asked for.
    pub(super) completing: Option<Completing>,
    /// What of it is sent behind what comes.
    pub(super) rest: Option<Rest>,
    /// What was here in part of what is made whole.
    pub(super) held: Option<Arc<StoredPart>>,
    requested: Moment,
    step: Step,
    kept: Kept,
    patience: Option<Pin<Box<Sleep>>>,
    /// Where it is a refresh ahead of an expiry.
    refresh: Option<Running>,
}

/// What is there of a body, to be stored.
#[derive(Debug)]
enum Kept {
    /// Nothing, and nothing is reserved.
    Nothing,
    /// All that came.
    All(BodyBuilder),
    /// It is no longer to be stored, but what was reserved for it stays so while it is fetched.
    GivenUp { _reservation: Reservation },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Head,
    Body,
    Over,
}

impl FillWriter {
    pub(in crate::cache) fn new(
        engine: Arc<Engine>,
        flight: Arc<Flight>,
        request: Arc<Request>,
        stored: Option<Arc<StoredResponse>>,
        requested: Moment,
    ) -> Self {
        Self {
            engine,
            flight,
            request,
            stored,
            completing: None,
            rest: None,
            held: None,
            requested,
            step: Step::Head,
            kept: Kept::Nothing,
            patience: None,
            refresh: None,
        }
    }

    /// The same as a refresh ahead of an expiry.
    pub(in crate::cache) fn refreshing(mut self, running: Running) -> Self {
        self.refresh = Some(running);
        self
    }

    /// What is fetched, as the key spells it, and nothing that is not in the key.
    pub fn target(&self) -> Target<'_> {
        self.request.key.target()
    }

    /// The request is sent only now: what was spent in a queue does not age the response.
    pub fn requested(&mut self, now: Moment) {
        self.requested = now;
    }

    /// Whether a stale response may be served at once, should the origin be away.
    pub fn stale_at_hand(&self, now: Moment) -> bool {
        self.stored.as_ref().is_some_and(|stored| {
            stale::may_serve(&stored.terms(), Trouble::Unreachable, now.at).is_some()
        })
    }

    /// An interim response came.
    pub fn interim(&mut self, status: StatusCode, fields: HeaderMap) {
        // 100 is about a request's body and 101 the end of HTTP: neither is for those who share (RFC 9110 §15.2).
        let relayed = status.is_informational() && !matches!(status.as_u16(), 100 | 101);
        if self.step == Step::Head && relayed {
            let fields = Arc::new(fields);
            self.flight
                .step(|state, wakers| state.interim(status, fields, wakers));
        }
    }

    /// The head came. Decides whether it is stored and tells the followers.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "whoever fetched is done with them"
    )]
    pub fn head(&mut self, status: StatusCode, fields: HeaderMap, received: Moment) -> Wanted {
        if self.step != Step::Head || self.flight.step(|state, _| state.is_given_up()) {
            self.over();
            return Wanted::Nothing;
        }
        let response = Received {
            status,
            headers: &fields,
            requested: self.requested,
            received,
        };
        let stored = self.stored.clone();
        let largest = self.engine.object_max();
        let verdict = self.judge_rest(response).unwrap_or_else(|| {
            let request = &self.request;
            let spoils = || {
                let known = self.engine.store.glance(&request.key);
                spoils(known.as_ref(), &request.route, received.at)
            };
            judge(request, stored.as_deref(), response, largest, spoils)
        });
        match (verdict, stored) {
            (Verdict::Validated(fields, terms), Some(stored)) => {
                self.validated(&stored, &fields, terms, received);
            }
            (Verdict::Stale(reason), Some(stored)) => {
                self.stale(stored, Some(status), reason, Trouble::Failed, received);
            }
            (Verdict::Share(head, nominated), _) => {
                let wanted = self.share(head, nominated);
                return self.begin_with_held(wanted);
            }
            (Verdict::Alone(head, reason), _) => return self.alone(head, reason, received),
            (Verdict::Unusable(failure), _) => self.fail(failure),
            (Verdict::AboutAnother | Verdict::Validated(..) | Verdict::Stale(_), stored) => {
                // §4.3.3: what the origin took our validators for is not what is stored. Without it, whoever asks again
                // asks without them.
                if let Some(stored) = stored {
                    self.change(|store| store.remove_variant(&stored));
                }
                self.settle(Settled::AskAgain);
            }
        }
        self.over();
        Wanted::Nothing
    }

    /// A piece of the body came.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "whoever fetched is done with it"
    )]
    pub fn data(&mut self, data: Bytes) {
        if self.step != Step::Body || data.is_empty() {
            return;
        }
        let received = self.flight.step(|state, _| state.received());
        if self.is_beyond_rest(received.saturating_add(data.len() as u64)) {
            return self.fail(DROPPED);
        }
        self.push(&data);
    }

    /// Octets for all who are there, and for the store as long as it wants them.
    pub(super) fn push(&mut self, data: &Bytes) {
        let storing = self.flight.step(|state, _| state.is_storing());
        let mut at = 0;
        if storing && let Kept::All(builder) = &mut self.kept {
            // Copied here, while no lock is held.
            for piece in data.chunks(SEGMENT) {
                match builder.push(piece) {
                    Ok(Sealed { begin, segment }) => {
                        at += piece.len();
                        self.flight
                            .step(|state, wakers| state.push(begin, segment, wakers));
                    }
                    Err(reason) => {
                        self.stop_storing(reason);
                        break;
                    }
                }
            }
        } else {
            self.let_go();
        }
        let rest = data.slice(at..);
        if !rest.is_empty() {
            self.flight.step(|state, wakers| {
                let begin = state.received();
                state.push(begin, rest, wakers);
            });
        }
    }

    /// The body is whole, by its framing.
    pub fn end(&mut self) {
        match self.step {
            // Without a head there is nothing whole.
            Step::Head => return self.fail(DROPPED),
            Step::Over => return,
            Step::Body => {}
        }
        if !self.end_with_held() {
            return self.fail(DROPPED);
        }
        let to_store = self.flight.step(|state, _| state.to_store());
        let kept = std::mem::replace(&mut self.kept, Kept::Nothing);
        if self.flight.step(|state, _| state.is_for_everyone()) {
            self.answered();
        }
        if let (Some((head, nominated)), Kept::All(builder)) = (to_store, kept) {
            self.store(&head, &nominated, builder);
        }
        self.flight.step(State::end);
        self.over();
    }

    /// The fetch failed.
    pub fn fail(&mut self, failure: Failure) {
        match self.step {
            Step::Over => return,
            Step::Body => {
                self.drop_held();
                self.noted_cut();
                self.flight.step(State::break_off);
            }
            Step::Head => self.fail_before_head(failure),
        }
        self.over();
    }

    /// It is no answer for others after all: whoever has joined asks again.
    pub fn withdraw(mut self) {
        self.settle(Settled::AskAgain);
        self.over();
    }

    /// Whether little of the body is to come at once.
    pub fn takes_little(&self) -> bool {
        self.flight.step(|state, _| state.takes_little())
    }

    /// Ready when more of the body may be written: at once while it is being stored, else when the slowest follower has
    /// come near enough.
    pub fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let now = crate::clock::now();
            let deadline = match self.flight.step(|state, _| state.poll_ready(now, cx)) {
                Ok(()) => {
                    self.patience = None;
                    return Poll::Ready(());
                }
                Err(Some(deadline)) => deadline,
                Err(None) => {
                    self.patience = None;
                    return Poll::Pending;
                }
            };
            let sleep = self
                .patience
                .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
            if sleep.deadline() != deadline {
                sleep.as_mut().reset(deadline);
            }
            if sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            let now = crate::clock::now().max(deadline);
            self.flight
                .step(|state, wakers| state.cut_overdue(now, wakers));
        }
    }

    /// No server is there to be asked yet, or one is.
    pub fn hold(&mut self, held: bool) {
        self.flight.step(|state, wakers| state.hold(held, wakers));
    }

    /// Ready when nobody wants the rest, so that the fetch is to be given up.
    pub fn poll_cancelled(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.flight.step(|state, _| state.poll_cancelled(cx))
    }

    /// A body broke off that was to take the place of what is stored: for a while that is served, where it may be.
    fn noted_cut(&self) {
        let now = crate::clock::now();
        let stands_in = |stored: &Arc<StoredResponse>| {
            stale::may_serve(&stored.terms(), Trouble::Failed, now).is_some()
        };
        let given_up = self.flight.step(|state, _| state.is_given_up());
        if !given_up && self.stored.as_ref().is_some_and(stands_in) {
            let (key, route) = (&self.request.key, &self.request.route);
            let back_off = &self.engine.back_off;
            back_off.failed(key, route, Trouble::Failed, now);
        }
    }

    fn fail_before_head(&mut self, failure: Failure) {
        if self.flight.step(|state, _| state.is_given_up()) {
            return;
        }
        let now = Moment::now();
        let stale = self.stored.clone().and_then(|stored| {
            let reason = stale::may_serve(&stored.terms(), failure.trouble, now.at)?;
            Some((stored, reason))
        });
        match stale {
            Some((stored, reason)) => self.stale(stored, None, reason, failure.trouble, now),
            None => self.settle(Settled::Failed(failure)),
        }
    }

    #[cfg(test)]
    pub(super) fn request(&self) -> &Request {
        &self.request
    }

    fn settle(&self, settled: Settled) {
        self.flight
            .step(|state, wakers| state.settle(settled, wakers));
    }

    /// Changes the store, unless the target was invalidated since the fetch began.
    pub(super) fn change<T>(&self, change: impl FnOnce(&Store) -> T) -> Option<T> {
        let engine = &self.engine;
        engine
            .fills
            .unless_invalidated(&self.flight, || change(&engine.store))
    }

    /// There is no room for more of it, or it grew too large.
    fn stop_storing(&mut self, reason: Reason) {
        if reason == Reason::TooLarge {
            self.remember(reason, Moment::now());
        }
        self.flight
            .step(|state, wakers| state.stop_storing(reason, wakers));
        self.let_go();
    }

    /// Keeps nothing alive for the store any more.
    fn let_go(&mut self) {
        self.kept = match std::mem::replace(&mut self.kept, Kept::Nothing) {
            Kept::All(builder) => Kept::GivenUp {
                _reservation: builder.give_up(),
            },
            kept @ (Kept::Nothing | Kept::GivenUp { .. }) => kept,
        };
    }

    fn answered(&self) {
        let (key, route) = (&self.request.key, &self.request.route);
        self.engine.back_off.answered(key, route);
    }

    fn remember(&self, reason: Reason, now: Moment) {
        let (key, route) = (&self.request.key, &self.request.route);
        let until = now.at + self.request.rules.uncacheable_for;
        self.engine.uncacheable.remember(key, route, reason, until);
    }

    fn forget(&self) {
        let (key, route) = (&self.request.key, &self.request.route);
        let classes = Classes::of(&self.request.headers);
        self.engine.uncacheable.forget(key, route, classes, true);
    }

    /// A response is stored: it may be refreshed ahead of its expiry, or is what came of that.
    fn kept(&mut self, response: &StoredResponse, result: RefreshResult) {
        if let Some(running) = &mut self.refresh {
            running.replaced_by(response, result);
        }
        self.engine.schedule(&self.request, response);
    }

    fn refreshed(&mut self, result: RefreshResult) {
        if let Some(running) = &mut self.refresh {
            running.becomes(result);
        }
    }

    fn over(&mut self) {
        self.step = Step::Over;
        self.refresh = None;
        self.kept = Kept::Nothing;
        self.patience = None;
        self.engine.fills.remove(&self.flight);
    }
}

impl Drop for FillWriter {
    fn drop(&mut self) {
        self.fail(DROPPED);
        self.over();
    }
}
