//! The same histories with requests for parts: of representations that the origin keeps for a while.

use super::{Book, Fetch, World, id, octet, pause};
use crate::cache::fill::tests::rig::{OBJECT, headers};
use crate::cache::lookup::{Forward, ServePart};
use crate::cache::policy::{Moment, Received};
use crate::cache::serve::Plan;
use crate::fields::range;
use fastrand::Rng;
use http::{HeaderMap, StatusCode};
use std::ops::Range;

impl Book {
    /// The representation that parts of a path are of now, and its length: what it was, unless a write came or chance wills it.
    fn version(&mut self, path: &'static str, kind: &'static str, rng: &mut Rng) -> (u64, u64) {
        let key = (path, if path == "/varies" { kind } else { "" });
        let current = self.current.get(&key).copied();
        if let Some(number) = current.filter(|number| self.is_current(*number, path))
            && rng.u8(0..8) > 0
        {
            return (number, self.fetches[&number].length);
        }
        let number = self.tick();
        let length = match rng.u8(0..12) {
            0 => OBJECT * 2,
            _ => rng.u64(1..OBJECT / 4),
        };
        let fetch = Fetch {
            begun: number,
            kind,
            length,
            shared: true,
            whole: true,
            readers: 0,
            cut: false,
            parts: true,
        };
        self.fetches.insert(number, fetch);
        self.current.insert(key, number);
        (number, length)
    }

    fn is_current(&self, number: u64, path: &str) -> bool {
        let written = self.written.get(path).copied().unwrap_or(0);
        self.current.values().any(|it| *it == number) && self.fetches[&number].begun > written
    }

    /// What a fetch asks for that has some of it already, where the origin has that still.
    pub(super) fn rest(&self, request: &HeaderMap, path: &str) -> Option<(u64, Range<u64>)> {
        let tag = request.get("if-range")?.to_str().ok()?;
        let number: u64 = tag.trim_matches('"').parse().ok()?;
        let length = self.fetches.get(&number)?.length;
        let specs = range::parse(request["range"].as_bytes())?;
        let range = specs.first()?.resolve(length)?;
        self.is_current(number, path).then_some((number, range))
    }
}

/// The head of a part.
pub(super) fn part_head(
    number: u64,
    path: &str,
    range: &Range<u64>,
    total: Option<u64>,
) -> HeaderMap {
    let (tag, number) = (format!("\"{number}\""), number.to_string());
    let content_range = range::content_range(range, total);
    let mut fields = vec![
        ("cache-control", "max-age=9"),
        ("x-fetch", &number),
        ("etag", &tag),
        ("content-range", &content_range),
    ];
    if path == "/varies" {
        fields.push(("vary", "x-kind"));
    }
    headers(&fields)
}

/// A part of a stored response that somebody is given.
pub(super) fn check_part(
    world: &World,
    path: &'static str,
    kind: &str,
    asked: u64,
    serve: &ServePart,
) {
    let mut book = world.book.lock();
    book.of_parts[0] += 1;
    let partial = serve.part.partial();
    let number = id(&partial.fields.lines().to_header_map());
    let fetch = &book.fetches[&number];
    let written = book.written.get(path).copied().unwrap_or(0);
    assert!(
        fetch.begun > written || asked < written,
        "{number} was stored in part and overtaken by a write"
    );
    assert!(
        path != "/varies" || fetch.kind == kind,
        "{number} is of another kind"
    );
    let Plan::Part { range, .. } = &serve.plan else {
        panic!("one range was asked for: {serve:?}");
    };
    let body = partial.body(&serve.plan).concat();
    assert_eq!(body.len() as u64, range.end - range.start);
    assert!(
        (range.start..)
            .zip(&body)
            .all(|(at, found)| *found == octet(number, at))
    );
}

/// The origin answers a request for a part that came by itself.
pub(super) async fn part(
    world: &World,
    path: &'static str,
    kind: &'static str,
    asked: &str,
    mut forward: Forward,
    rng: &mut Rng,
) {
    let requested = Moment::now();
    let (number, total) = world.book.lock().version(path, kind, rng);
    pause(rng, 20).await;
    let specs = range::parse(asked.as_bytes()).expect("it is one");
    let range = specs.first().and_then(|spec| spec.resolve(total));
    let Some(range) = range else { return };
    let known = (rng.u8(0..4) > 0).then_some(total);
    let fields = part_head(number, path, &range, known);
    let received = Received {
        status: StatusCode::PARTIAL_CONTENT,
        headers: &fields,
        requested,
        received: Moment::now(),
    };
    let tee = world.rig.cache.forwarded(&mut forward, received);
    let Some(mut tee) = tee else { return };
    let ends_at = if rng.u8(0..5) == 0 {
        rng.u64(range.start..=range.end)
    } else {
        range.end
    };
    let mut at = range.start;
    while at < ends_at {
        let piece = rng.u64(1..=4000).min(ends_at - at);
        tee.data((at..at + piece).map(|at| octet(number, at)).collect());
        at += piece;
        pause(rng, 5).await;
    }
    if rng.u8(0..8) > 0 {
        tee.end();
    }
}

pub(super) const RANGES: [&str; 6] = [
    "bytes=0-3999",
    "bytes=2000-5999",
    "bytes=4000-",
    "bytes=7-9",
    "bytes=-3000",
    "bytes=1-",
];
