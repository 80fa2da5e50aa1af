//! One fetch, many followers: the response in flight.
//!
//! Whoever fetches holds a [`FillWriter`]; every client, the first included, holds a [`Follower`]. The two know nothing of
//! each other's runtime or socket.

use super::lookup::Forward;
use super::outcome::{ForwardReason, Outcome, Reason};
use super::policy::stale::Trouble;
use super::policy::{Moment, Terms};
use super::response::StoredResponse;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// What a follower is told before any body.
#[derive(Debug, Clone)]
pub enum Event {
    /// An interim response, to be passed on (102, 103). More follows.
    Interim(StatusCode, Arc<HeaderMap>),
    /// The head of a response under way: its body follows with [`Follower::data`].
    Response(Arc<Head>, Outcome),
    /// A stored response is the answer: validated by the fetch, or stale because that failed.
    Stored(Arc<StoredResponse>, Outcome),
    /// What came is not for this request, but the engine knows more by now: ask again.
    AskAgain,
    /// What came cannot be shared: forward the request by itself.
    Forward(Reason),
    /// Nothing came and nothing stale may be served.
    Failed(Failure),
}

/// The head of a response under way.
#[derive(Debug)]
pub struct Head {
    /// The status.
    pub status: StatusCode,
    /// The end-to-end fields. Of what is shared, only those that may be stored.
    pub fields: HeaderMap,
    /// The length of the body, where it is known.
    pub length: Option<u64>,
    /// Its terms, where it is being stored.
    pub terms: Option<Terms>,
}

/// Why a fetch brought nothing: what the client is to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    /// 502, 503 or 504.
    pub status: StatusCode,
    /// The word for the log.
    pub word: &'static str,
    /// For `Retry-After`.
    pub retry_after: Option<Duration>,
    /// What kind of trouble it is, for stale responses.
    pub trouble: Trouble,
}

/// The next piece of a body.
#[derive(Debug, Clone)]
pub enum Data {
    /// Octets, never none.
    Chunk(Bytes),
    /// It is whole.
    End,
    /// It broke off: what is out must be seen to be cut.
    Cut,
}

/// One client's place at a fetch.
#[derive(Debug)]
pub struct Follower {}

impl Follower {
    /// The next event. To be dropped freely while it waits.
    pub async fn event(&mut self) -> Event {
        Event::AskAgain
    }

    /// The next piece of the body, after [`Event::Response`]. To be dropped freely while it waits.
    pub async fn data(&mut self) -> Data {
        Data::Cut
    }

    /// This request, to be forwarded by itself after [`Event::Forward`]; what came is to be told to
    /// [`Cache::forwarded`](crate::cache::Cache::forwarded).
    pub fn forward(self, reason: Reason) -> Forward {
        Forward {
            outcome: Outcome::forwarded(ForwardReason::UriMiss, Some(reason)),
        }
    }

    /// Goes to this octet of the body, forward only; pieces begin there. True where it is here or near enough to wait for.
    pub fn seek(&mut self, octet: u64) -> bool {
        let _ = octet;
        false
    }
}

/// The writing end. Dropped without [`end`](Self::end), the fetch has failed.
#[derive(Debug)]
pub struct FillWriter {}

/// What is still wanted of the origin after its head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// The body.
    Body,
    /// Nothing: the fetch may end.
    Nothing,
}

impl FillWriter {
    /// The request is sent only now: what was spent in a queue does not age the response.
    pub fn requested(&mut self, now: Moment) {
        let _ = now;
    }

    /// Whether a stale response may be served at once, should the origin be away.
    pub fn stale_at_hand(&self, now: Moment) -> bool {
        let _ = now;
        false
    }

    /// An interim response came.
    pub fn interim(&mut self, status: StatusCode, fields: HeaderMap) {
        let _ = (status, fields);
    }

    /// The head came. Decides whether it is stored and tells the followers.
    pub fn head(&mut self, status: StatusCode, fields: HeaderMap, received: Moment) -> Wanted {
        let _ = (status, fields, received);
        Wanted::Nothing
    }

    /// A piece of the body came.
    pub fn data(&mut self, data: Bytes) {
        let _ = data;
    }

    /// The body is whole, by its framing.
    pub fn end(&mut self) {}

    /// The fetch failed.
    pub fn fail(&mut self, failure: Failure) {
        let _ = failure;
    }

    /// Ready when more of the body may be written: at once while it is being stored, else when the slowest follower has
    /// come near enough.
    pub fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let _ = cx;
        Poll::Ready(())
    }

    /// Ready when nobody wants the rest, so that the fetch is to be given up.
    pub fn poll_cancelled(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let _ = cx;
        Poll::Pending
    }
}
