//! One fetch, many followers: the response in flight.
//!
//! Whoever fetches holds a [`FillWriter`]; every client, the first included, holds a [`Follower`]. The two know nothing of
//! each other's runtime or socket.
//!
//! | part | question |
//! |---|---|
//! | `state` | how far is the response, who is there, who is to be woken? The state machine. |
//! | `body` | what of the body is here? |
//! | `flight` | the state under its lock |
//! | `table` | which fetches are under way, which of them may a request join, which may store? |
//! | `verdict` | what does a head mean for those who wait? |
//! | `writer`, `follower` | the two ends |
//! | `complete` | how is a response that is here in part made whole? |
//! | `part` | how is a part kept that one client fetches? |
//! | `abandoned` | how many fetches may go on that nobody waits for? |
//! | `memory` | what was learnt of keys: cannot be shared; its validation failed |
//!
//! Locks, in the order in which they may be held together: a shard of the table, a flight's state, the store's own, the
//! account of abandoned fetches. Nobody is woken while one is held.

mod abandoned;
mod body;
mod complete;
mod flight;
mod follower;
mod memory;
mod metrics;
mod part;
mod state;
mod table;
mod verdict;
mod writer;

#[cfg(test)]
mod tests;

pub use follower::Follower;
pub use metrics::FillMetrics;
pub use part::PartWriter;
pub use writer::FillWriter;

pub(super) use abandoned::{Abandoned, Permit};
pub(super) use complete::Completing;
pub(super) use flight::{Begun, Joiner};
pub(super) use memory::{BackOff, Classes, Uncacheable};
pub(super) use part::{PartKept, Watch};
pub(super) use state::Lasting;
pub(super) use table::{Found, Glimpse, Table};

use super::outcome::{Outcome, Reason};
use super::policy::Terms;
use super::policy::stale::Trouble;
use super::purge::tags::Tags;
use super::response::StoredResponse;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use std::sync::Arc;
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
    /// What of a shared response is for the one client that caused the fetch: the fields that `private` and `no-cache` name.
    pub own: HeaderMap,
    /// The length of the body, where it is known.
    pub length: Option<u64>,
    /// Its terms, where it is being stored.
    pub terms: Option<Terms>,
    /// Its tags, where it is.
    pub tags: Tags,
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
    /// How long the fetch was held in vain. Who came after it began has not waited that long.
    pub held: Duration,
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

/// What is still wanted of the origin after its head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// The body.
    Body,
    /// Nothing: the fetch may end.
    Nothing,
}
