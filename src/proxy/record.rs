//! What goes into the access log about a request, as far as the proxy knows; the connection adds how it ended.

use super::accept::target;
use super::fetch::Report;
use super::session::Session;
use super::walk::Walk;
use crate::cache::outcome::Reason;
use crate::clock;
use crate::fields::uri;
use crate::telemetry::access_log::{AccessEntry, EndState};
use crate::telemetry::ended::{Ended, Rescue, Source};
use crate::upstream;
use bytes::Bytes;
use http::header::{REFERER, USER_AGENT};
use http::{HeaderName, Version};
use pingora::Error;
use pingora::http::RequestHeader;
use std::time::Duration;

/// A place that was free is had within this; what took longer was a wait.
const QUEUED: Duration = Duration::from_micros(100);

/// Why a request's body is refused, which is found out behind the gate and counted with what the gate refuses.
const OF_BODIES: [&str; 4] = ["body-timeout", "body-slow", "body-too-large", "chunk"];

/// Leaves the entry with the ticket, and counts the request.
pub fn leave_entry(session: &impl Session, walk: &Walk, error: Option<&Error>) {
    let Some(entered) = &walk.entered else { return };
    if walk.errand.is_some() {
        // Whoever caused it has a line, and was counted.
        return;
    }
    let header = session.req_header();
    let status = session
        .answered()
        .or(walk.verdict.map(|verdict| verdict.status))
        .map_or(0, |status| status.as_u16());
    let now = clock::now();
    let duration = now - entered.ticket.arrived;
    let place = entered.site.place(walk.route.as_deref());
    let seen = walk.seen.as_ref();
    let asked_of = asked_of(walk);
    place.metrics.observe(&Ended {
        method: (&header.method).into(),
        status,
        source: source(walk),
        duration,
        bytes: entered.ticket.bytes_out(),
    });
    if let Some(verdict) = walk.verdict
        && OF_BODIES.contains(&verdict.reason)
    {
        entered.site.refused(verdict.reason);
    }
    if let Some(by) = rescued(walk, status, asked_of.as_ref()) {
        place.metrics.rescued(by);
    }
    let cache_reason = seen.and_then(|seen| seen.outcome.reason).map(Reason::word);
    if let Some(seen) = seen {
        let reason = cache_reason.unwrap_or("none");
        place.metrics.cached(seen.outcome.result(), reason);
        place.metrics.saved(seen.saved);
    }
    if !entered.ticket.is_logged() {
        return;
    }
    let asked = uri::split_path_query(target(header));
    let report = asked_of.as_ref().map(|report| &report.claim);
    let reason = walk.verdict.map(|verdict| verdict.reason);
    entered.ticket.leave_entry(Box::new(AccessEntry {
        ts: clock::wall() - duration,
        id: Bytes::copy_from_slice(entered.id.as_bytes()),
        client: entered.client,
        method: header.method.clone(),
        host: Bytes::copy_from_slice(entered.ticket.host.as_bytes()),
        path: Bytes::copy_from_slice(asked.path.as_bytes()),
        query: asked
            .query
            .map(|query| Bytes::copy_from_slice(query.as_bytes())),
        proto: match header.version {
            Version::HTTP_2 => "HTTP/2.0",
            Version::HTTP_10 => "HTTP/1.0",
            _ => "HTTP/1.1",
        },
        status,
        bytes_in: entered.ticket.bytes_in(),
        bytes_out: entered.ticket.bytes_out(),
        duration,
        ttfb: walk.first_byte.map(|at| at - entered.ticket.arrived),
        route: place.name.clone(),
        cache: seen.map(|seen| seen.outcome.result()),
        cache_reason,
        cache_age: seen.and_then(|seen| seen.age).map(|age| age.as_secs()),
        cache_ttl: seen.and_then(|seen| seen.outcome.ttl),
        collapsed: seen.is_some_and(|seen| seen.outcome.collapsed),
        upstream: asked_of
            .as_ref()
            .and_then(|report| Some(report.upstream.as_ref()?.name().into())),
        upstream_addr: report
            .as_ref()
            .and_then(|report| report.addr.as_ref().map(ToString::to_string)),
        upstream_status: asked_of
            .as_ref()
            .and_then(|report| report.status)
            .map(|status| status.as_u16()),
        connect: report.as_ref().and_then(|report| report.connect),
        hold: report
            .as_ref()
            .map(|report| report.hold)
            .filter(|hold| !hold.is_zero()),
        queue: report
            .as_ref()
            .map(|report| report.queue)
            .filter(|queue| *queue >= QUEUED),
        tries: report.as_ref().map_or(0, |report| report.tries),
        retry_reason: report
            .as_ref()
            .filter(|report| report.tries > 1)
            .and_then(|report| report.retry_reason)
            .map(upstream::RetryReason::word),
        end: EndState::Complete,
        error: reason
            .map(std::borrow::Cow::Borrowed)
            .or_else(|| error.map(|error| error.to_string().into())),
        tls: entered.ticket.client.tls,
        user_agent: field(header, &USER_AGENT),
        referer: field(header, &REFERER),
    }));
}

/// Whose answer it was. What is stale and served because the origin failed was waited for.
fn source(walk: &Walk) -> Source {
    match &walk.seen {
        Some(seen) if seen.outcome.hit => Source::Cache,
        Some(_) => Source::Upstream,
        None if walk.forwarding.is_some() => Source::Upstream,
        None => Source::Proxy,
    }
}

/// What kept the request from failing, where something did: nobody answered its first try, and then somebody did. Those who
/// shared its fetch are not counted, for they do not know.
fn rescued(walk: &Walk, status: u16, asked_of: Option<&Report>) -> Option<Rescue> {
    let claim = &asked_of?.claim;
    if walk.verdict.is_some() || !(100..500).contains(&status) {
        return None;
    }
    if !claim.hold.is_zero() {
        Some(Rescue::Hold)
    } else if claim.tries > 1 {
        Some(Rescue::Retry)
    } else {
        None
    }
}

/// What an upstream was asked for this request: by itself, or by the fetch that it caused.
fn asked_of(walk: &Walk) -> Option<Report> {
    let errand = || Some(walk.seen.as_ref()?.errand.as_ref()?.report());
    walk.forwarding
        .as_ref()
        .map(|forwarding| Report {
            upstream: Some(forwarding.upstream.clone()),
            claim: forwarding.claim.report(),
            status: forwarding.status,
            failure: None,
        })
        .or_else(errand)
        .filter(|report| report.upstream.is_some())
}

fn field(header: &RequestHeader, name: &HeaderName) -> Option<Bytes> {
    header
        .headers
        .get(name)
        .map(|value| Bytes::copy_from_slice(value.as_bytes()))
}
