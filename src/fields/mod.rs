//! HTTP field syntax: parses and writes, decides nothing.
//!
//! Every parser takes bytes as they came, returns borrowed or small owned values, and says `None` (or a named error)
//! where the grammar does not fit; what follows from that is the caller's decision. Functions that read a field which
//! may be spread over several lines take an iterator of lines, so that `headers.get_all(NAME)` can be passed as it is.
//!
//! Invariants: nothing here panics on any input, indexes without a check, or allocates more than a small multiple of
//! what it was given.
#![warn(clippy::indexing_slicing)]

pub mod case;
pub mod list;
pub mod section;
pub mod token;
pub mod weight;

pub mod delta_seconds;
pub mod directive;

pub mod content_length;
pub mod host;
pub mod path;
pub mod reference;
pub mod uri;

pub mod forwarded;
pub mod hop_by_hop;
pub mod via;
pub mod view;

pub mod cookie;
pub mod credentials;
pub mod date;
pub mod etag;
pub mod range;
