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
    shared.access_log.record(*entry);
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
    end(&mut entries, unsent as u64, failed);
    let now = clock::now();
    for (mut entry, arrived) in entries {
        entry.duration = now - arrived;
        shared.access_log.record(*entry);
    }
}

/// How each of these answers ended. The last are those that were not taken; what is in front of them was. Where it failed, the last one
/// did, though all of its octets may be on their way (TLS and HTTP/2 have buffers of their own).
fn end(entries: &mut [(Box<AccessEntry>, Instant)], mut unsent: u64, failed: Option<&io::Error>) {
    for (behind, (entry, _)) in entries.iter_mut().rev().enumerate() {
        let left = unsent.min(entry.bytes_out);
        entry.bytes_out -= left;
        unsent -= left;
        entry.end = match failed.filter(|_| left > 0 || behind == 0) {
            None => EndState::Complete,
            Some(error) if error.kind() == io::ErrorKind::TimedOut => EndState::TimedOut,
            Some(_) => EndState::ClientGone,
        };
    }
}

/// A request was refused at the gate: nothing of it is known that could be trusted.
pub fn refused(shared: &Shared, client: &Arc<Client>, refusal: Refusal) {
    shared.metrics.refused(refusal.reason);
    shared.access_log.record(entry_of(client, refusal));
}

/// The same over HTTP/2.
pub fn refused_http2(shared: &Shared, client: &Arc<Client>, refusal: Refusal) {
    shared.metrics.refused(refusal.reason);
    shared.access_log.record(AccessEntry {
        proto: "HTTP/2.0",
        ..entry_of(client, refusal)
    });
}

fn entry_of(client: &Client, refusal: Refusal) -> AccessEntry {
    AccessEntry {
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
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listen::gate::refusals;

    /// Answers of so many octets, of which so many at the end were not taken: the octets and the end of each.
    fn ended(sizes: &[u64], unsent: u64, failed: Option<io::ErrorKind>) -> Vec<(u64, EndState)> {
        let addr = ([127, 0, 0, 1], 1).into();
        let client = Client {
            addr,
            local: addr,
            tls: false,
            certificate: None,
        };
        let now = clock::now();
        let entry = |size: &u64| {
            let mut entry = entry_of(&client, refusals::FIELD);
            entry.bytes_out = *size;
            (Box::new(entry), now)
        };
        let mut entries: Vec<_> = sizes.iter().map(entry).collect();
        let failed = failed.map(io::Error::from);
        end(&mut entries, unsent, failed.as_ref());
        let each = entries.into_iter();
        each.map(|(entry, _)| (entry.bytes_out, entry.end))
            .collect()
    }

    #[test]
    fn of_a_pipelined_batch_only_what_was_not_taken_has_failed() {
        use EndState::{ClientGone, Complete, TimedOut};
        use io::ErrorKind::{BrokenPipe, TimedOut as Late};
        let sizes = [10, 20, 30];
        for (unsent, failed, expected) in [
            (0, None, [(10, Complete), (20, Complete), (30, Complete)]),
            (
                0,
                Some(BrokenPipe),
                [(10, Complete), (20, Complete), (30, ClientGone)],
            ),
            (
                1,
                Some(BrokenPipe),
                [(10, Complete), (20, Complete), (29, ClientGone)],
            ),
            (
                30,
                Some(Late),
                [(10, Complete), (20, Complete), (0, TimedOut)],
            ),
            (
                35,
                Some(BrokenPipe),
                [(10, Complete), (15, ClientGone), (0, ClientGone)],
            ),
            (
                u64::MAX,
                Some(BrokenPipe),
                [(0, ClientGone), (0, ClientGone), (0, ClientGone)],
            ),
        ] {
            assert_eq!(ended(&sizes, unsent, failed), expected, "{unsent}");
        }
    }
}
