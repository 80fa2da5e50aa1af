//! An answer that is given at once to a stream of HTTP/2.

use crate::telemetry::access_log::AccessEntry;
use bytes::Bytes;
use http::Response;

/// The answer.
#[derive(Debug)]
pub struct Reply {
    /// Its head, without fields that are a connection's.
    pub head: Response<()>,
    /// The beginning of its body; empty where it has none.
    pub first: Bytes,
    /// What follows.
    pub rest: Vec<Bytes>,
    /// For the access log, where that is on: all but how it ends.
    pub entry: Option<Box<AccessEntry>>,
}
