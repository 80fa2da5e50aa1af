//! Thousands of histories by chance: clients that come, leave and read slowly; an origin that answers in every way it can;
//! writes in between. Each history is made from a seed, which a failure prints.
//!
//! What must hold in all of them: a request finds at most one fetch to share; nobody waits for ever; a body is whole or
//! seen to be cut, and each octet is that of its own response; nothing is stored of a fetch that broke or that a write has
//! overtaken; what cannot be shared reaches one client; in the end nothing is left over.

mod parts;

use self::parts::{RANGES, check_part, part, part_head};
use super::rig::{OBJECT, Rig, headers};
use crate::cache::fill::{Data, Event, Failure, Follower, Wanted};
use crate::cache::lookup::{Answer, Lead};
use crate::cache::policy::Moment;
use crate::cache::policy::stale::Trouble;
use crate::cache::response::StoredResponse;
use bytes::Bytes;
use fastrand::Rng;
use http::{HeaderMap, StatusCode};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// Histories in one run of this test; `FOREBAY_HISTORIES` asks for more.
const HISTORIES: u64 = 2000;

const PATHS: [&str; 3] = ["/plain", "/varies", "/either"];

/// What is known of the fetches of one history, to judge what clients see.
#[derive(Default)]
struct Book {
    clock: u64,
    fetches: HashMap<u64, Fetch>,
    /// When each path was last written.
    written: HashMap<&'static str, u64>,
    /// What parts are of, by path and kind.
    current: HashMap<(&'static str, &'static str), u64>,
    /// Requests that a part answered, and fetches of the rest.
    of_parts: [u64; 2],
}

#[expect(
    clippy::struct_excessive_bools,
    reason = "what was seen of a fetch, each by itself"
)]
struct Fetch {
    begun: u64,
    kind: &'static str,
    length: u64,
    shared: bool,
    whole: bool,
    readers: usize,
    /// Somebody was told that it had broken off.
    cut: bool,
    /// It may be fetched in parts, and so more than once.
    parts: bool,
}

impl Book {
    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }
}

struct World {
    rig: Rig,
    book: Mutex<Book>,
}

fn octet(fetch: u64, at: u64) -> u8 {
    (fetch.wrapping_mul(31).wrapping_add(at.wrapping_mul(7)) % 251) as u8
}

fn id(fields: &HeaderMap) -> u64 {
    let text = fields["x-fetch"].to_str().expect("ASCII");
    text.parse().expect("a number")
}

async fn pause(rng: &mut Rng, most: u64) {
    sleep(Duration::from_millis(rng.u64(0..=most))).await;
}

/// Fetches: answers in one of the ways that an origin has.
async fn origin(world: Arc<World>, mut lead: Lead, path: &'static str, mut rng: Rng) {
    let begun = world.book.lock().tick();
    let rest = world.book.lock().rest(&lead.request, path);
    let kind = lead
        .request
        .get("x-kind")
        .map_or("", |kind| match kind.as_bytes() {
            b"a" => "a",
            _ => "b",
        });
    let mut number = begun;
    tokio::select! {
        () = poll_fn(|cx| lead.writer.poll_cancelled(cx)) => return,
        () = pause(&mut rng, 40) => {}
    }
    if rng.u8(0..5) == 0 {
        let hints = headers(&[("link", "</a>")]);
        lead.writer.interim(StatusCode::EARLY_HINTS, hints);
    }
    let failure = Failure {
        status: StatusCode::BAD_GATEWAY,
        word: "reset",
        retry_after: None,
        trouble: if rng.bool() {
            Trouble::Failed
        } else {
            Trouble::Unreachable
        },
        held: Duration::ZERO,
    };
    let etag = lead.request.get("if-none-match").cloned();
    let (mut status, mut shared) = (200, true);
    match rng.u8(0..12) {
        0 => return,
        1 => return lead.writer.fail(failure),
        2 | 3 => shared = false,
        4 => (status, shared) = (503, false),
        5..=7 if etag.is_some() => status = 304,
        _ => {}
    }
    let rest = rest.filter(|_| status == 200 && shared && rng.u8(0..4) > 0);
    let mut length = match rng.u8(0..6) {
        0 => 0,
        1 => rng.u64(OBJECT..OBJECT * 12),
        _ => rng.u64(1..OBJECT / 4),
    };
    let mut at = 0;
    let mut fields = HeaderMap::new();
    let mut field = |name, value: String| fields.append(name, value.parse().expect("a value"));
    if let Some((version, range)) = rest {
        let total = world.book.lock().fetches[&version].length;
        world.book.lock().of_parts[1] += 1;
        fields = part_head(version, path, &range, Some(total));
        (number, at, length, status) = (version, range.start, range.end, 206);
    } else if status == 304 {
        let about_another = rng.u8(0..4) == 0;
        let known = etag
            .as_ref()
            .and_then(|tag| tag.to_str().ok())
            .unwrap_or_default();
        field(
            "etag",
            if about_another {
                "\"another\"".into()
            } else {
                known.into()
            },
        );
        field("cache-control", "max-age=1".into());
    } else {
        let freshness = [
            "max-age=0",
            "max-age=1",
            "max-age=100",
            "max-age=1, stale-while-revalidate=9, stale-if-error=99",
        ];
        let control = if shared {
            freshness[rng.usize(0..freshness.len())]
        } else {
            "no-store"
        };
        field("cache-control", control.into());
        field("x-fetch", number.to_string());
        field("etag", format!("\"{number}\""));
        if path == "/varies" {
            field("vary", "x-kind".into());
        }
        if rng.bool() {
            field("content-length", length.to_string());
        }
        let fetch = Fetch {
            begun,
            kind,
            length,
            shared,
            whole: false,
            readers: 0,
            cut: false,
            parts: false,
        };
        world.book.lock().fetches.insert(number, fetch);
    }
    let status = StatusCode::from_u16(status).expect("a status");
    if lead.writer.head(status, fields, Moment::now()) == Wanted::Nothing {
        return;
    }
    let ends_at = if rng.u8(0..5) == 0 {
        rng.u64(at..=length)
    } else {
        length
    };
    while at < ends_at {
        let piece = rng.u64(1..=40_000).min(ends_at - at);
        let ready = async {
            poll_fn(|cx| {
                if lead.writer.poll_cancelled(cx).is_ready() {
                    return std::task::Poll::Ready(false);
                }
                lead.writer.poll_ready(cx).map(|()| true)
            })
            .await
        };
        if !ready.await {
            return;
        }
        let data: Bytes = (at..at + piece).map(|at| octet(number, at)).collect();
        at += piece;
        lead.writer.data(data);
        pause(&mut rng, 5).await;
    }
    match (ends_at == length, rng.u8(0..8)) {
        (_, 1) => lead.writer.fail(failure),
        // By its framing it is whole only where all was sent.
        (false, _) | (_, 0) => {}
        (true, _) => {
            if let Some(fetch) = world.book.lock().fetches.get_mut(&number) {
                fetch.whole = true;
            }
            lead.writer.end();
        }
    }
}

/// A stored response that somebody is given.
fn check_stored(
    world: &World,
    path: &'static str,
    kind: &str,
    asked: u64,
    stored: &Arc<StoredResponse>,
) {
    let book = world.book.lock();
    let number = id(&stored.fields().to_header_map());
    let fetch = &book.fetches[&number];
    assert!(fetch.whole, "{number} was stored and had broken off");
    assert!(fetch.shared, "{number} was stored and must not be");
    // Whoever asked before a write may get what was there before it.
    let written = book.written.get(path).copied().unwrap_or(0);
    assert!(
        fetch.begun > written || asked < written,
        "{number} was stored and overtaken by a write"
    );
    assert!(
        path != "/varies" || fetch.kind == kind,
        "{number} is of another kind"
    );
    let body = stored.body().pieces().collect::<Vec<_>>().concat();
    assert_eq!(body.len() as u64, fetch.length);
    assert!(
        (0..)
            .zip(&body)
            .all(|(at, found)| *found == octet(number, at))
    );
}

async fn client(world: Arc<World>, mut rng: Rng) {
    pause(&mut rng, 60).await;
    let path = PATHS[rng.usize(0..PATHS.len())];
    let kind = if rng.bool() { "a" } else { "b" };
    let mut fields = vec![("x-kind", kind)];
    match rng.u8(0..10) {
        0 => fields.push(("cache-control", "no-cache")),
        1 => fields.push(("range", "bytes=0-")),
        2 => fields.push(("range", "bytes=7-")),
        _ => {}
    }
    let range = (rng.u8(0..3) == 0).then(|| RANGES[rng.usize(0..RANGES.len())]);
    if let Some(range) = range {
        fields.retain(|(name, _)| *name != "range");
        fields.push(("range", range));
    }
    let method = match rng.u8(0..20) {
        0 => "HEAD",
        1 => "PUT",
        _ => "GET",
    };
    let patience = Duration::from_millis(if rng.u8(0..4) == 0 {
        rng.u64(0..80)
    } else {
        1 << 30
    });
    let _ = timeout(patience, async {
        for _ in 0..20 {
            let asked = world.book.lock().tick();
            let answer = world.rig.ask(method, path, &fields);
            at_most_one(&world.rig, &answer);
            let follower = match answer {
                Answer::Serve(serve) => {
                    check_stored(&world, path, kind, asked, &serve.response);
                    if let Some(lead) = serve.refresh {
                        tokio::spawn(origin(Arc::clone(&world), *lead, path, rng.fork()));
                    }
                    return;
                }
                Answer::Forward(forward) => {
                    if let (Some(range), "GET") = (range, method)
                        && rng.u8(0..6) > 0
                    {
                        part(&world, path, kind, range, forward, &mut rng).await;
                        return;
                    }
                    pause(&mut rng, 20).await;
                    if method == "PUT" {
                        let mut book = world.book.lock();
                        let now = book.tick();
                        book.written.insert(path, now);
                    }
                    let control = if rng.bool() { "no-store" } else { "max-age=9" };
                    world
                        .rig
                        .forwarded(forward, 200, &[("cache-control", control)]);
                    return;
                }
                Answer::ServePart(serve) => {
                    return check_part(&world, path, kind, asked, &serve);
                }
                Answer::OnlyIfCached(_) => panic!("nobody asked for that"),
                Answer::Follow(follower) => follower,
                Answer::Lead(lead, follower) => {
                    tokio::spawn(origin(Arc::clone(&world), *lead, path, rng.fork()));
                    follower
                }
            };
            if follow(&world, path, kind, asked, follower, &mut rng).await {
                return;
            }
        }
        panic!("asked again without end");
    })
    .await;
}

/// Follows to the end. False where the request is to be asked again.
async fn follow(
    world: &World,
    path: &'static str,
    kind: &str,
    asked: u64,
    mut follower: Follower,
    rng: &mut Rng,
) -> bool {
    let head = loop {
        match follower.event().await {
            Event::Interim(status, _) => assert_eq!(status, StatusCode::EARLY_HINTS),
            Event::Response(head, _) => break head,
            Event::Stored(stored, _) => {
                check_stored(world, path, kind, asked, &stored);
                return true;
            }
            Event::AskAgain => return false,
            Event::Forward(_) | Event::Failed(_) => return true,
        }
    };
    let number = id(&head.fields);
    {
        let mut book = world.book.lock();
        let fetch = book.fetches.get_mut(&number).expect("it was noted");
        fetch.readers += 1;
        assert!(
            fetch.shared || fetch.readers == 1,
            "{number} cannot be shared and was"
        );
        assert!(
            path != "/varies" || fetch.kind == kind,
            "{number} is of another kind"
        );
    }
    let slow = if rng.u8(0..4) == 0 { 40 } else { 0 };
    let mut at = 0;
    if rng.u8(0..6) == 0 && follower.seek(7) {
        at = 7;
    }
    loop {
        match follower.data().await {
            Data::Chunk(chunk) => {
                assert!(!chunk.is_empty());
                for found in &chunk {
                    assert_eq!(*found, octet(number, at), "{number}: octet {at}");
                    at += 1;
                }
            }
            Data::End => {
                let book = world.book.lock();
                let fetch = &book.fetches[&number];
                assert!(fetch.whole, "{number} broke off and seemed whole");
                assert_eq!(
                    at,
                    fetch.length.max(if at == 7 { 7 } else { 0 }),
                    "{number} is short"
                );
                return true;
            }
            Data::Cut => {
                let mut book = world.book.lock();
                let fetch = book.fetches.get_mut(&number).expect("it was noted");
                fetch.cut = true;
                return true;
            }
        }
        pause(rng, slow).await;
    }
}

/// Whoever leads has found nobody to follow, and whoever comes next with the same request finds one.
fn at_most_one(rig: &Rig, answer: &Answer) {
    if let Answer::Lead(lead, _) = answer {
        let fills = &rig.cache.engine.fills;
        assert_eq!(
            fills.fitting(&lead.writer),
            1,
            "fetches that the same request may share"
        );
    }
}

/// How often parts were of use in it.
fn history(seed: u64) -> [u64; 2] {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let mut rng = Rng::with_seed(seed);
        let world = Arc::new(World {
            rig: Rig::new(),
            book: Mutex::default(),
        });
        let clients: Vec<_> = (0..rng.usize(1..24))
            .map(|_| tokio::spawn(client(Arc::clone(&world), rng.fork())))
            .collect();
        for client in clients {
            // Time is paused: it passes as soon as nobody can do anything, so an hour is for ever.
            let ended = timeout(Duration::from_secs(3600), client).await;
            ended
                .expect("a client waits for ever")
                .expect("a client saw something wrong");
        }
        // Fetches that nobody waits for come to their end.
        sleep(Duration::from_secs(3600)).await;
        world.rig.assert_idle();
        // Nobody here is slow enough to be cut for that.
        let book = world.book.lock();
        for (number, fetch) in &book.fetches {
            assert!(
                !(fetch.cut && fetch.whole) || fetch.parts,
                "{number} was whole and seemed to break off"
            );
        }
        book.of_parts
    })
}

#[test]
fn what_must_hold_holds_in_every_history() {
    let histories = std::env::var("FOREBAY_HISTORIES").ok();
    let histories = histories
        .and_then(|text| text.parse().ok())
        .unwrap_or(HISTORIES);
    let first = std::env::var("FOREBAY_SEED")
        .ok()
        .and_then(|text| text.parse().ok());
    let mut of_parts = [0, 0];
    for seed in first.unwrap_or(0)..first.unwrap_or(0) + histories {
        let outcome = std::panic::catch_unwind(|| history(seed));
        let Ok([served, completed]) = outcome else {
            panic!("the history of FOREBAY_SEED={seed} FOREBAY_HISTORIES=1 went wrong");
        };
        of_parts = [of_parts[0] + served, of_parts[1] + completed];
    }
    // By chance alone they might never meet.
    let enough = of_parts.iter().all(|times| *times >= histories / 40);
    assert!(enough || histories < HISTORIES, "{of_parts:?}");
}
