//! Completes and writes the access log: how each request ended is known here, where its last byte went out.

use super::Shared;
use super::exchange::ticket::Ticket;
use super::gate::Refusal;
use super::stream::Client;
use crate::clock::{self, Instant};
use crate::telemetry::access_log::{AccessEntry, EndState};
use bytes::Bytes;
use http::Method;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// A request that was handed to the proxy is over. `unsent` octets that were queued for the client stay where they are.
pub fn finished(
    shared: &Shared,
    ticket: &Ticket,
    complete: bool,
    unsent: usize,
    failed: Option<&io::Error>,
) {
    let Some(mut entry) = ticket.take_entry() else {
        return;
    };
    entry.bytes_in = ticket.bytes_in();
    entry.bytes_out = ticket.bytes_out().saturating_sub(unsent as u64);
    entry.duration = clock::now() - ticket.arrived;
    entry.end = match (complete, failed) {
        (true, None) => entry.end,
        (_, Some(error)) if error.kind() == io::ErrorKind::TimedOut => EndState::TimedOut,
        (_, Some(_)) => EndState::ClientGone,
        (false, None) if entry.error.as_deref() == Some("client-gone") => EndState::ClientGone,
        (false, None) => EndState::UpstreamCut,
    };
    shared.access_log.record(entry);
}

/// Answers that were given at once are written, or will not be: of these, so many octets.
pub fn given(
    shared: &Shared,
    mut entries: Vec<(Box<AccessEntry>, Instant)>,
    unsent: usize,
    failed: Option<&io::Error>,
) {
    if entries.is_empty() {
        return;
    }
    // The last answers are those that were not taken.
    let mut unsent = unsent as u64;
    for (entry, _) in entries.iter_mut().rev() {
        let left = unsent.min(entry.bytes_out);
        entry.bytes_out -= left;
        unsent -= left;
    }
    let now = clock::now();
    for (mut entry, arrived) in entries {
        entry.duration = now - arrived;
        entry.end = match failed {
            None => EndState::Complete,
            Some(error) if error.kind() == io::ErrorKind::TimedOut => EndState::TimedOut,
            Some(_) => EndState::ClientGone,
        };
        shared.access_log.record(*entry);
    }
}

/// A request was refused at the gate: nothing of it is known that could be trusted.
pub fn refused(shared: &Shared, client: &Arc<Client>, refusal: Refusal) {
    shared.metrics.refused(refusal.reason);
    shared.access_log.record(AccessEntry {
        ts: clock::wall(),
        id: Bytes::new(),
        client: client.addr.ip().to_canonical(),
        method: Method::from_bytes(b"-").unwrap_or_default(),
        host: Bytes::new(),
        path: Bytes::from_static(b"-"),
        query: None,
        proto: "HTTP/1.1",
        status: refusal.status.as_u16(),
        bytes_in: 0,
        bytes_out: 0,
        duration: Duration::ZERO,
        ttfb: None,
        route: "-".into(),
        cache: None,
        cache_reason: None,
        cache_age: None,
        cache_ttl: None,
        collapsed: false,
        upstream: None,
        upstream_addr: None,
        upstream_status: None,
        connect: None,
        hold: None,
        queue: None,
        tries: 0,
        retry_reason: None,
        end: EndState::Refused,
        error: Some(refusal.reason.into()),
        tls: client.tls,
        user_agent: None,
        referer: None,
    });
}
