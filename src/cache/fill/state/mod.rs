//! How far a response in flight is, who is there for it, and who is to be woken: the state machine of a fill.
//!
//! ```text
//!            share            ┌─────────┐ stop_storing ┌─────────┐
//!          ┌─────────────────▶│ Storing │─────────────▶│ Passing │    everyone who is there gets the body;
//!          │                  └────┬────┘              └────┬────┘    while Storing, others may still join
//!     ┌────┴────┐  alone           │                        │
//!     │ Waiting │─────────▶ Passing, to the leader only     │ end, break_off
//!     └────┬────┘                  │                        ▼
//!          │ settle                └──────────────────▶ ended: Whole or Broken
//!          ▼
//!      Settled: there is no body under way; everyone learns what there is instead
//! ```
//!
//! `give_up` may come at any time before the end: nobody is there, and the rest is not worth fetching. `invalidate` too:
//! what comes is no longer to be stored, and nobody joins.
//!
//! Each event is one method. A method never wakes: it collects [`Wakers`], which whoever holds the lock wakes after
//! letting go of it.

mod follow;
mod pace;

pub(in crate::cache::fill) use follow::{Open, Seen};
pub(in crate::cache::fill) use pace::Ahead;

use self::follow::Place;
use self::pace::counts;
use super::abandoned::Permit;
use super::body::GrowingBody;
use super::{Failure, Head};
use crate::cache::outcome::Reason;
use crate::cache::response::StoredResponse;
use crate::cache::vary::Nominated;
use crate::clock::Instant;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// Interim responses of one fetch beyond these are dropped.
const INTERIMS_MAX: usize = 16;

/// Those who are to be woken once the lock is let go of.
#[derive(Debug, Default)]
pub(in crate::cache::fill) struct Wakers(Vec<Waker>);

impl Wakers {
    pub(in crate::cache::fill) fn wake(self) {
        self.0.into_iter().for_each(Waker::wake);
    }
}

/// A response in flight.
#[derive(Debug, Default)]
pub(in crate::cache::fill) struct State {
    phase: Phase,
    places: Vec<Option<Place>>,
    interims: Vec<(StatusCode, Arc<HeaderMap>)>,
    invalidated: bool,
    given_up: bool,
    /// It waits for a server: nothing was sent yet, or nothing came of it.
    held: bool,
    lasting: Lasting,
    /// Held while nobody is there and it goes on all the same.
    permit: Option<Permit>,
    /// The writer's: more may be written.
    ready: Option<Waker>,
    /// The writer's: nobody wants the rest.
    cancelled: Option<Waker>,
    /// Since when a follower holds the others back.
    paced: Option<Instant>,
    /// What of the body is here and not stored.
    ahead: Ahead,
}

/// Whether a fill needs anybody to be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::cache) enum Lasting {
    /// It was begun for a client. Once all are gone it goes on within the account of abandoned ones.
    #[default]
    WhileWanted,
    /// The engine began it by itself; it has its place in that account from the start.
    Refresh,
    /// A client of its own paces it (the answer to its POST).
    Fed,
}

#[derive(Debug, Default)]
enum Phase {
    #[default]
    Waiting,
    Streaming(Box<Streaming>),
    Settled(Settled),
}

#[derive(Debug)]
struct Streaming {
    head: Arc<Head>,
    nominated: Arc<Nominated>,
    audience: Audience,
    keep: Keep,
    body: GrowingBody,
    ended: Option<Ending>,
}

/// Who may have the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cache::fill) enum Audience {
    /// All who are there.
    Everyone,
    /// It cannot be shared: the one whose request it answers.
    Leader(Reason),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keep {
    Storing,
    Passing(Reason),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Whole,
    Broken,
}

/// What there is instead of a body under way.
#[derive(Debug, Clone)]
pub(in crate::cache::fill) enum Settled {
    /// A stored response: validated, or stale.
    Stored(Ready),
    /// It cannot be shared, and the one whom it answers has left.
    Alone(Reason),
    /// What came was about something else; what misled the origin is no longer stored.
    AskAgain,
    /// Nothing.
    Failed(Failure),
}

/// A stored response that answers those who wait.
#[derive(Debug, Clone)]
pub(in crate::cache::fill) struct Ready {
    pub(in crate::cache::fill) response: Arc<StoredResponse>,
    pub(in crate::cache::fill) audience: Audience,
    /// The origin's status, where there was one.
    pub(in crate::cache::fill) status: Option<StatusCode>,
    /// Whether the origin's word was stored with it.
    pub(in crate::cache::fill) stored: bool,
    pub(in crate::cache::fill) reason: Reason,
    /// The freshness left.
    pub(in crate::cache::fill) ttl: i64,
}

impl State {
    /// A fill that nobody follows yet.
    pub(in crate::cache::fill) fn new(
        lasting: Lasting,
        permit: Option<Permit>,
        ahead: Ahead,
    ) -> Self {
        Self {
            lasting,
            permit,
            ahead,
            ..Self::default()
        }
    }

    fn give_up(&mut self, wakers: &mut Wakers) {
        self.given_up = true;
        self.permit = None;
        wakers.0.extend(self.cancelled.take());
        wakers.0.extend(self.ready.take());
    }

    /// It waits for a server, or no longer does. What has cost nobody anything yet is given up with the last who wants it.
    pub(in crate::cache::fill) fn hold(&mut self, held: bool, wakers: &mut Wakers) {
        self.held = held;
        if held && self.lasting == Lasting::WhileWanted && !self.anybody() {
            self.give_up(wakers);
        }
    }

    /// The target was invalidated: nobody joins any more, and what comes is not stored.
    pub(in crate::cache::fill) fn invalidate(&mut self, wakers: &mut Wakers) {
        self.invalidated = true;
        self.stop_storing(Reason::Invalidated, wakers);
        if !self.anybody() && matches!(self.phase, Phase::Waiting) {
            // Not even to be stored, and nobody is there.
            self.give_up(wakers);
        }
    }

    pub(in crate::cache::fill) fn is_invalidated(&self) -> bool {
        self.invalidated
    }

    pub(in crate::cache::fill) fn is_given_up(&self) -> bool {
        self.given_up
    }

    /// An interim response came.
    pub(in crate::cache::fill) fn interim(
        &mut self,
        status: StatusCode,
        fields: Arc<HeaderMap>,
        wakers: &mut Wakers,
    ) {
        if matches!(self.phase, Phase::Waiting) && self.interims.len() < INTERIMS_MAX {
            self.interims.push((status, fields));
            self.wake_all(wakers);
        }
    }

    /// The head came and the response may be shared. With room reserved it is stored, without it is passed on to those who
    /// are there, the reason being given.
    pub(in crate::cache::fill) fn share(
        &mut self,
        head: Arc<Head>,
        nominated: Nominated,
        room: Result<(), Reason>,
        wakers: &mut Wakers,
    ) {
        let keep = match room {
            Ok(()) if self.invalidated => Keep::Passing(Reason::Invalidated),
            Ok(()) => Keep::Storing,
            Err(reason) => Keep::Passing(reason),
        };
        self.stream(head, nominated, Audience::Everyone, keep, wakers);
    }

    /// The head came and the response may not be shared.
    pub(in crate::cache::fill) fn alone(
        &mut self,
        head: Arc<Head>,
        reason: Reason,
        wakers: &mut Wakers,
    ) {
        let led = self.places.iter().flatten().any(|place| place.leader);
        if led {
            self.stream(
                head,
                Nominated::default(),
                Audience::Leader(reason),
                Keep::Passing(reason),
                wakers,
            );
        } else {
            // The others must not see it: it was made for who has left.
            self.settle(Settled::Alone(reason), wakers);
        }
    }

    fn stream(
        &mut self,
        head: Arc<Head>,
        nominated: Nominated,
        audience: Audience,
        keep: Keep,
        wakers: &mut Wakers,
    ) {
        if !matches!(self.phase, Phase::Waiting) {
            return;
        }
        self.phase = Phase::Streaming(Box::new(Streaming {
            head,
            nominated: Arc::new(nominated),
            audience,
            keep,
            body: GrowingBody::default(),
            ended: None,
        }));
        self.wake_all(wakers);
        if keep != Keep::Storing && self.lasting != Lasting::Fed && !self.anybody() {
            self.give_up(wakers);
        }
    }

    /// There is something else instead of a body.
    pub(in crate::cache::fill) fn settle(&mut self, settled: Settled, wakers: &mut Wakers) {
        if matches!(self.phase, Phase::Waiting) {
            self.phase = Phase::Settled(settled);
            self.permit = None;
            self.wake_all(wakers);
        }
    }

    /// It grew too large, or there is no room: it goes on for those who are there.
    pub(in crate::cache::fill) fn stop_storing(&mut self, reason: Reason, wakers: &mut Wakers) {
        if let Phase::Streaming(streaming) = &mut self.phase
            && streaming.ended.is_none()
            && streaming.keep == Keep::Storing
        {
            streaming.keep = Keep::Passing(reason);
            self.recount();
            if self.lasting != Lasting::Fed && !self.anybody() {
                self.give_up(wakers);
            }
        }
    }

    /// Whether the writer is to see that there is room for more.
    pub(in crate::cache::fill) fn is_storing(&self) -> bool {
        matches!(&self.phase, Phase::Streaming(streaming) if streaming.keep == Keep::Storing)
    }

    /// Whether what came may be given to all who are there.
    pub(in crate::cache::fill) fn is_for_everyone(&self) -> bool {
        self.audience() == Audience::Everyone
    }

    /// A piece of the body came, to take the place of all octets from `begin` on.
    pub(in crate::cache::fill) fn push(&mut self, begin: u64, piece: Bytes, wakers: &mut Wakers) {
        let slowest = self.slowest();
        let Phase::Streaming(streaming) = &mut self.phase else {
            return;
        };
        if streaming.ended.is_some() {
            return;
        }
        match (streaming.keep, slowest) {
            (Keep::Storing, _) => streaming.body.put(begin, piece),
            (Keep::Passing(_), Some(slowest)) => {
                streaming.body.put(begin, piece);
                streaming.body.forget_before(slowest);
            }
            (Keep::Passing(_), None) => {
                let end = begin.saturating_add(piece.len() as u64);
                streaming.body.skip_to(end);
            }
        }
        self.recount();
        self.wake_all(wakers);
    }

    /// What a body is stored with that was kept all the way.
    pub(in crate::cache::fill) fn to_store(&self) -> Option<(Arc<Head>, Arc<Nominated>)> {
        match &self.phase {
            Phase::Streaming(streaming)
                if streaming.keep == Keep::Storing && streaming.ended.is_none() =>
            {
                let (head, nominated) = (&streaming.head, &streaming.nominated);
                Some((Arc::clone(head), Arc::clone(nominated)))
            }
            _ => None,
        }
    }

    /// Those who still read share the store's memory from here, where it took the body.
    pub(in crate::cache::fill) fn stored(&mut self, pieces: &[Bytes]) {
        if let Phase::Streaming(streaming) = &mut self.phase {
            streaming.body.replace(pieces);
        }
    }

    /// The body ended where its framing says so.
    pub(in crate::cache::fill) fn end(&mut self, wakers: &mut Wakers) {
        self.ended(Ending::Whole, wakers);
    }

    /// The body broke off.
    pub(in crate::cache::fill) fn break_off(&mut self, wakers: &mut Wakers) {
        self.ended(Ending::Broken, wakers);
    }

    fn ended(&mut self, ending: Ending, wakers: &mut Wakers) {
        self.permit = None;
        if let Phase::Streaming(streaming) = &mut self.phase
            && streaming.ended.is_none()
        {
            // A promise of the head that the framing did not hold is a broken body too.
            let promised = streaming.head.length;
            let kept = promised.is_none_or(|length| length == streaming.body.received());
            streaming.ended = Some(if kept { ending } else { Ending::Broken });
            self.wake_all(wakers);
            self.let_go();
        }
    }

    /// Frees what nobody reads any more: whoever holds the fill without a place at it must not keep its body alive.
    fn let_go(&mut self) {
        if let Phase::Streaming(streaming) = &mut self.phase
            && streaming.ended.is_some()
            && self.places.iter().all(Option::is_none)
        {
            streaming.body = GrowingBody::default();
            self.recount();
        }
    }

    /// Octets that came so far.
    pub(in crate::cache::fill) fn received(&self) -> u64 {
        match &self.phase {
            Phase::Streaming(streaming) => streaming.body.received(),
            Phase::Waiting | Phase::Settled(_) => 0,
        }
    }

    /// Whether a body is awaited, and by somebody.
    pub(in crate::cache::fill) fn is_streaming(&self) -> bool {
        matches!(self.phase, Phase::Streaming(_)) && !self.given_up
    }

    /// Whether nobody wants the rest.
    pub(in crate::cache::fill) fn poll_cancelled(&mut self, cx: &Context<'_>) -> Poll<()> {
        if self.given_up {
            return Poll::Ready(());
        }
        self.cancelled = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Whether anybody is there whom the response may be given to.
    fn anybody(&self) -> bool {
        let audience = self.audience();
        self.places
            .iter()
            .flatten()
            .any(|place| counts(place, audience))
    }

    fn slowest(&self) -> Option<u64> {
        let audience = self.audience();
        let counted = self.places.iter().flatten();
        counted
            .filter(|place| counts(place, audience))
            .map(|place| place.octet)
            .min()
    }

    fn audience(&self) -> Audience {
        match &self.phase {
            Phase::Streaming(streaming) => streaming.audience,
            Phase::Waiting | Phase::Settled(_) => Audience::Everyone,
        }
    }

    fn wake_all(&mut self, wakers: &mut Wakers) {
        let waiting = self.places.iter_mut().flatten();
        wakers
            .0
            .extend(waiting.filter_map(|place| place.waker.take()));
    }
}
