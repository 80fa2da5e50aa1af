//! Writes the head of a hit as HTTP/1: the stored lines as they are stored, and behind them what is this answer's own.

use super::hit::Hit;
use crate::cache::policy::Moment;
use crate::cache::serve::{Plan, StoredView};
use crate::clock;
use crate::fields::{case, date};
use crate::proxy::Site;
use http::{HeaderName, StatusCode, Version};

/// Writes it. `close` says that the connection ends behind the answer.
pub fn write(out: &mut Vec<u8>, site: &Site, hit: &Hit<'_>, close: bool) {
    let response = &hit.serve.response;
    write_status(out, hit.status());
    let edits = &hit.route.response_headers;
    let as_stored = edits.remove.is_empty() && edits.set.is_empty();
    match hit.plan {
        Plan::Whole | Plan::HeadOnly if as_stored => {
            out.extend_from_slice(response.fields().as_bytes());
        }
        Plan::NotModified if as_stored => out.extend_from_slice(response.fields().on_304()),
        _ => write_edited(out, hit),
    }
    if hit.place.guard.is_some() {
        write_added(out, hit);
    }
    // Each name in one piece with the line end before it: what the compiler knows the length of is copied without a call.
    out.extend_from_slice(b"Age: ");
    let age = hit.serve.age.as_secs();
    out.extend_from_slice(itoa::Buffer::new().format(age).as_bytes());
    if site.settings.via {
        out.extend_from_slice(b"\r\nVia: ");
        out.extend_from_slice(site.via(Version::HTTP_11).as_bytes());
    }
    if !response.is_identified() {
        out.extend_from_slice(b"\r\nX-Request-Id: ");
        out.extend_from_slice(hit.id.as_bytes());
    }
    if !response.is_dated() {
        out.extend_from_slice(b"\r\nDate: ");
        out.extend_from_slice(date::format(clock::wall()).as_bytes());
    }
    if close {
        out.extend_from_slice(b"\r\nConnection: close");
    }
    out.extend_from_slice(b"\r\nCache-Status: ");
    hit.serve.outcome.write_to(out, &site.cache_name);
    out.extend_from_slice(b"\r\n\r\n");
}

fn write_added(out: &mut Vec<u8>, hit: &Hit<'_>) {
    for (name, value) in hit.added() {
        case::write_usual(out, name.as_str());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}

fn write_status(out: &mut Vec<u8>, status: StatusCode) {
    if status == StatusCode::OK {
        return out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
    }
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// The stored lines as far as the plan and the route leave them, and what both set.
fn write_edited(out: &mut Vec<u8>, hit: &Hit<'_>) {
    let response = &hit.serve.response;
    let planned = hit.plan.edits(&StoredView::stored(response, Moment::now()));
    let told = &hit.route.response_headers;
    let is_told = |name: &[u8]| {
        let named = |told: &HeaderName| name.eq_ignore_ascii_case(told.as_str().as_bytes());
        told.remove.iter().any(named) || told.set.iter().any(|(told, _)| named(told))
    };
    for (name, line) in response.fields().whole() {
        if planned.keeps(name) && !is_told(name) {
            out.extend_from_slice(line);
        }
    }
    for (name, value) in planned.set().iter().chain(&told.set) {
        case::write_usual(out, name.as_str());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}
