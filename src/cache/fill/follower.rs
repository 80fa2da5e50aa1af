//! A client's end of a fill.

use super::flight::Flight;
use super::state::{Audience, Ready, Seen, Settled};
use super::{Data, Event, Head};
use crate::cache::lookup::Forward;
use crate::cache::outcome::{Outcome, Reason};
use crate::cache::policy::reuse::{self, Reuse};
use crate::cache::policy::storable::Concerns;
use crate::cache::request::Request;
use crate::cache::vary::Nominated;
use http::StatusCode;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

/// How far ahead of what is here a follower may go and wait.
const NEAR: u64 = 1024 * 1024;

/// One client's place at a fetch. Dropping it is leaving.
#[derive(Debug)]
pub struct Follower {
    flight: Arc<Flight>,
    request: Arc<Request>,
    leader: bool,
    /// None once it has left: all was read, or what came is not for it.
    place: Option<usize>,
    last: Data,
}

impl Follower {
    pub(in crate::cache) fn new(
        flight: Arc<Flight>,
        place: usize,
        request: Arc<Request>,
        leader: bool,
    ) -> Self {
        Self {
            flight,
            request,
            leader,
            place: Some(place),
            last: Data::Cut,
        }
    }

    /// The next event. To be dropped freely while it waits. After any but [`Event::Interim`] there are no more.
    pub async fn event(&mut self) -> Event {
        poll_fn(|cx| self.poll_event(cx)).await
    }

    /// The next piece of the body, after [`Event::Response`]. To be dropped freely while it waits.
    pub async fn data(&mut self) -> Data {
        poll_fn(|cx| self.poll_data(cx)).await
    }

    /// Whether the fetch was begun for it.
    pub fn is_leader(&self) -> bool {
        self.leader
    }

    /// Goes to this octet of the body, forward only; pieces begin there. True where it is here or near enough to wait for.
    pub fn seek(&mut self, octet: u64) -> bool {
        let Some(place) = self.place else {
            return false;
        };
        let now = crate::clock::now();
        self.flight
            .step(|state, wakers| state.seek(place, octet, NEAR, now, wakers))
    }

    /// This request, to be forwarded by itself after [`Event::Forward`]; what came is to be told to
    /// [`Cache::forwarded`](crate::cache::Cache::forwarded).
    pub fn forward(self, reason: Reason) -> Forward {
        Forward::new(
            Outcome::forwarded(self.request.why.0, Some(reason)),
            Some(Arc::clone(&self.request)),
        )
    }

    /// [`Self::event`], polled.
    pub fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        let Some(place) = self.place else {
            return Poll::Ready(Event::AskAgain);
        };
        let seen = self.flight.step(|state, _| state.poll_seen(place, cx));
        let Poll::Ready(seen) = seen else {
            return Poll::Pending;
        };
        let event = match seen {
            Seen::Interim(status, fields) => return Poll::Ready(Event::Interim(status, fields)),
            Seen::Streaming {
                head,
                nominated,
                audience,
                unstored,
            } => self
                .refused(audience, &nominated, &head)
                .unwrap_or_else(|| self.response(head, unstored)),
            Seen::Settled(settled) => self.settled(settled),
        };
        match &event {
            Event::Response(..) => self.collapsed(),
            Event::Stored(..) => {
                self.collapsed();
                self.leave();
            }
            _ => self.leave(),
        }
        Poll::Ready(event)
    }

    /// [`Self::data`], polled.
    pub fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Data> {
        let Some(place) = self.place else {
            return Poll::Ready(self.last.clone());
        };
        let now = crate::clock::now();
        let data = self
            .flight
            .step(|state, wakers| state.poll_data(place, now, cx, wakers));
        if let Poll::Ready(end @ (Data::End | Data::Cut)) = &data {
            self.last = end.clone();
            self.leave();
        }
        data
    }

    /// What came is for the leader only. Where that lies in the leader's own request (its credentials, its `no-store`), the
    /// others share another fetch: one client must not be able to send a crowd to the origin one by one.
    fn left_out(&self, reason: Reason) -> Event {
        if Concerns::of(reason).includes(&self.request.headers) {
            Event::Forward(reason)
        } else {
            Event::AskAgain
        }
    }

    /// Why a response under way is not for this request.
    fn refused(&self, audience: Audience, nominated: &Nominated, head: &Head) -> Option<Event> {
        if self.leader {
            return self.asks_in_own_words(audience, head.status);
        }
        if let Audience::Leader(reason) = audience {
            return Some(self.left_out(reason));
        }
        if !nominated.matches(&self.request.headers) {
            return Some(Event::AskAgain);
        }
        // Whoever waited while it was made may have it, though the next one must validate it (RFC 9111 §4: "A cache can use
        // a response that is stored or storable to satisfy multiple requests, provided that it is allowed to reuse that
        // response for the requests in question"). What is not to be reused for this request at all is another matter.
        let terms = head.terms.as_ref()?;
        let (asked, rules) = (self.request.asked(), &self.request.rules);
        match reuse::decide(asked, terms, rules, terms.received) {
            Reuse::Ignore(_, reason) => Some(Event::Forward(reason)),
            Reuse::Serve(_) | Reuse::ServeAndRefresh | Reuse::Validate(..) => None,
        }
    }

    /// What is not for all was asked for without parameters that no rule names, which may count for the one: it is asked for
    /// again, in the client's own words. A failure is one in any words.
    fn asks_in_own_words(&self, audience: Audience, status: StatusCode) -> Option<Event> {
        let Audience::Leader(reason) = audience else {
            return None;
        };
        let again = self.request.asks_for_more() && !status.is_server_error();
        again.then_some(Event::Forward(reason))
    }

    fn response(&self, head: Arc<Head>, unstored: Option<Reason>) -> Event {
        let (forward, reason) = self.request.why;
        let outcome = Outcome {
            forward: Some(forward),
            stored: unstored.is_none(),
            collapsed: !self.leader,
            ttl: head.terms.map(|terms| terms.remaining(terms.received)),
            reason: unstored.or(reason),
            ..Outcome::default()
        };
        Event::Response(head, outcome)
    }

    fn settled(&self, settled: Settled) -> Event {
        match settled {
            Settled::Stored(ready) => self.stored(ready),
            Settled::Alone(reason) => self.left_out(reason),
            Settled::AskAgain => Event::AskAgain,
            Settled::Failed(failure) => Event::Failed(failure),
        }
    }

    fn stored(&self, ready: Ready) -> Event {
        if self.leader {
            let again = self.asks_in_own_words(ready.audience, ready.response.status());
            if let Some(again) = again {
                return again;
            }
        } else {
            if let Audience::Leader(reason) = ready.audience {
                return self.left_out(reason);
            }
            let (route, headers) = (&self.request.route, &self.request.headers);
            if !ready.response.fits(route, headers.into()) {
                return Event::AskAgain;
            }
        }
        let outcome = Outcome {
            hit: false,
            forward: Some(self.request.why.0),
            forward_status: ready.status,
            stored: ready.stored,
            collapsed: !self.leader,
            ttl: Some(ready.ttl),
            reason: Some(ready.reason),
        };
        let request = &self.request;
        let response = match ready.audience {
            Audience::Everyone if request.rules.compress => {
                let store = &self.flight.store;
                store.form(ready.response, &request.headers)
            }
            Audience::Everyone | Audience::Leader(_) => ready.response,
        };
        Event::Stored(response, outcome)
    }

    fn collapsed(&self) {
        if !self.leader {
            self.flight.count_collapsed();
        }
    }

    /// Gives its place back: all that is wanted was read.
    pub fn leave(&mut self) {
        if let Some(place) = self.place.take() {
            self.flight.leave(place);
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.leave();
    }
}
