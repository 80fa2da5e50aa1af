//! What goes into the metrics and the access log about a request that was answered here.

use super::hit::{Hit, Request};
use crate::cache::outcome::Reason;
use crate::clock;
use crate::listen::at_once::{Circumstances, Given};
use crate::telemetry::access_log::{AccessEntry, EndState};
use crate::telemetry::ended::{Ended, Source};
use bytes::Bytes;
use http::HeaderName;
use http::header::{REFERER, USER_AGENT};
use std::time::Duration;

/// Counts it, and makes its entry where one is wanted: all but how it ends.
pub fn given(
    request: &Request<'_>,
    hit: &Hit<'_>,
    circumstances: &Circumstances<'_>,
    sent: u64,
) -> Given {
    let status = hit.status().as_u16();
    let ttfb = clock::now() - circumstances.arrived;
    let outcome = &hit.serve.outcome;
    let reason = outcome.reason.map(Reason::word);
    let metrics = &hit.place.metrics;
    metrics.observe(&Ended {
        method: request.method.into(),
        status,
        source: Source::Cache,
        duration: ttfb,
        bytes: sent,
    });
    metrics.saved(hit.serve.saved);
    metrics.cached(outcome.result(), reason.unwrap_or("none"));
    metrics.expressed();
    if !circumstances.logged {
        return Given { entry: None };
    }
    let field = |name: &HeaderName| request.fields.get(name).map(Bytes::copy_from_slice);
    let text = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    Given {
        entry: Some(Box::new(AccessEntry {
            ts: clock::wall() - ttfb,
            id: Bytes::copy_from_slice(hit.id.as_bytes()),
            client: hit.client,
            method: request.method.clone(),
            host: text(request.authority),
            path: text(request.target.path),
            query: request.target.query.map(text),
            proto: "HTTP/1.1",
            status,
            bytes_in: 0,
            bytes_out: sent,
            duration: Duration::ZERO,
            ttfb: Some(ttfb),
            route: hit.place.name.clone(),
            cache: Some(outcome.result()),
            cache_reason: reason,
            cache_age: Some(hit.serve.age.as_secs()),
            cache_ttl: outcome.ttl,
            collapsed: false,
            upstream: None,
            upstream_addr: None,
            upstream_status: None,
            connect: None,
            hold: None,
            queue: None,
            tries: 0,
            retry_reason: None,
            end: EndState::Complete,
            error: None,
            tls: circumstances.client.tls,
            user_agent: field(&USER_AGENT),
            referer: field(&REFERER),
        })),
    }
}
