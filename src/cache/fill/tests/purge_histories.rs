//! Thousands of histories by chance of fetches, hits, changes, purges and sweeps: whatever their order, nothing is served that
//! a purge was about which was answered before the request came.

use super::rig::{Fields, Rig, body, event, read};
use crate::cache::fill::{Event, Follower};
use crate::cache::lookup::{Answer, Lead};
use crate::cache::purge::{Mode, Scope};
use fastrand::Rng;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};

/// Histories in one run of this test; `FOREBAY_HISTORIES` asks for more.
const HISTORIES: u64 = 3000;

/// What happens in one of them.
const STEPS: usize = 60;

const PATHS: [&str; 3] = ["/a/1", "/a/2", "/b"];

const SCOPES: [&str; 12] = [
    "all",
    "host:a.example",
    "prefix:/a",
    "prefix:http://a.example/b",
    "url:http://a.example/a/1",
    "url:/a/2",
    "url:http://a.example/b",
    "tag:odd",
    "tag:even",
    "tag:/b",
    "tag:/a/1",
    "tag:none",
];

/// A target at the origin, and which of its versions must not be served any more, or not as fresh.
#[derive(Default)]
struct Known {
    version: u64,
    gone: HashSet<u64>,
    stale: HashSet<u64>,
}

/// A fetch, and what the origin made of it when it was asked.
struct Fetch {
    lead: Lead,
    path: &'static str,
    version: u64,
    unchanged: bool,
    has_head: bool,
}

/// A client that waits with a fetch, and what it must not be given.
struct Waiting {
    follower: Follower,
    gone: HashSet<u64>,
    stale: HashSet<u64>,
}

struct World {
    rig: Rig,
    known: HashMap<&'static str, Known>,
    fetches: Vec<Fetch>,
    waiting: Vec<Waiting>,
}

fn parity(version: u64) -> &'static str {
    if version.is_multiple_of(2) {
        "even"
    } else {
        "odd"
    }
}

fn version_of(body: &str) -> u64 {
    body.parse().expect("a version")
}

impl World {
    fn at(&mut self, path: &'static str) -> &mut Known {
        self.known.entry(path).or_default()
    }

    fn began(&mut self, lead: Lead, path: &'static str) {
        let version = self.at(path).version;
        let asked = lead.request.get("if-none-match");
        let tag = format!("\"{version}\"");
        let unchanged = asked.is_some_and(|asked| asked.as_bytes() == tag.as_bytes());
        self.fetches.push(Fetch {
            lead,
            path,
            version,
            unchanged,
            has_head: false,
        });
    }

    fn ask(&mut self, path: &'static str) {
        if let Some(served) = self.rig.hit(path, &[]) {
            let (version, known) = (version_of(&served), self.at(path));
            assert!(
                !known.gone.contains(&version),
                "a hit of {version} at {path}"
            );
            assert!(
                !known.stale.contains(&version),
                "a fresh hit of {version} at {path}"
            );
        }
        match self.rig.get(path) {
            Answer::Serve(serve) => {
                let (version, known) = (version_of(&body(&serve.response)), self.at(path));
                assert!(!known.gone.contains(&version), "{version} at {path}");
                let fresh = serve.outcome.ttl.is_some_and(|ttl| ttl > 0);
                assert!(
                    !(fresh && known.stale.contains(&version)),
                    "fresh {version} at {path}"
                );
                if let Some(lead) = serve.refresh {
                    self.began(*lead, path);
                }
            }
            Answer::Lead(lead, follower) => {
                self.wait(path, follower);
                self.began(*lead, path);
            }
            Answer::Follow(follower) => self.wait(path, follower),
            other => panic!("{other:?}"),
        }
    }

    fn wait(&mut self, path: &'static str, follower: Follower) {
        let known = self.at(path);
        let (gone, stale) = (known.gone.clone(), known.stale.clone());
        self.waiting.push(Waiting {
            follower,
            gone,
            stale,
        });
    }

    /// The origin changes what the purge is about, and then says so.
    fn purge(&mut self, text: &str, mode: Mode) {
        let scope: Scope = text.parse().expect("a scope");
        for path in PATHS {
            let known = self.at(path);
            let target = crate::cache::key::Target {
                scheme: "http",
                authority: "a.example",
                path,
                query: None,
            };
            let covers =
                |version: u64| scope.covers(&target, |tag| tag == parity(version) || tag == path);
            let about: Vec<u64> = (0..=known.version).filter(|it| covers(*it)).collect();
            if covers(known.version) {
                known.version += 1;
            }
            match mode {
                Mode::Hard => known.gone.extend(about),
                Mode::Soft => known.stale.extend(about),
            }
        }
        self.rig.purge(text, mode);
    }

    fn head(&mut self, at: usize) {
        let Some(fetch) = self.fetches.get_mut(at).filter(|fetch| !fetch.has_head) else {
            return;
        };
        fetch.has_head = true;
        let (tag, tags) = (
            format!("\"{}\"", fetch.version),
            format!("{} {}", parity(fetch.version), fetch.path),
        );
        let fields: Fields<'_> = &[
            ("cache-control", "max-age=600"),
            ("etag", &tag),
            ("surrogate-key", &tags),
        ];
        if fetch.unchanged {
            fetch.lead.head(304, fields);
            self.fetches.swap_remove(at);
            self.settle();
        } else {
            fetch.lead.head(200, fields);
        }
    }

    fn end(&mut self, at: usize) {
        self.head(at);
        if self.fetches.get(at).is_some_and(|fetch| fetch.has_head) {
            let mut fetch = self.fetches.swap_remove(at);
            fetch.lead.writer.data(fetch.version.to_string().into());
            fetch.lead.writer.end();
        }
        self.settle();
    }

    /// What those who wait are given.
    fn settle(&mut self) {
        let waiting = std::mem::take(&mut self.waiting);
        for mut one in waiting {
            let given = match event(&mut one.follower) {
                None => {
                    self.waiting.push(one);
                    continue;
                }
                Some(Event::Response(..)) => {
                    let (mut text, mut end) = read(&mut one.follower);
                    while end.is_none() {
                        // It ends with its fetch, whichever that is.
                        let at = (0..self.fetches.len()).find(|at| self.fetches[*at].has_head);
                        let mut fetch = self.fetches.swap_remove(at.expect("one is under way"));
                        fetch.lead.writer.data(fetch.version.to_string().into());
                        fetch.lead.writer.end();
                        let (more, ended) = read(&mut one.follower);
                        (text, end) = (text + &more, ended);
                    }
                    version_of(&text)
                }
                Some(Event::Stored(stored, _)) => version_of(&body(&stored)),
                Some(_) => continue,
            };
            assert!(!one.gone.contains(&given), "a follower got {given}");
            assert!(
                !one.stale.contains(&given),
                "a follower got {given}, which is stale"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_served_that_was_purged_before() {
    let more = std::env::var("FOREBAY_HISTORIES").ok();
    let histories = more.and_then(|it| it.parse().ok()).unwrap_or(HISTORIES);
    for seed in 0..histories {
        let mut random = Rng::with_seed(seed);
        let mut world = World {
            rig: Rig::new(),
            known: HashMap::new(),
            fetches: Vec::new(),
            waiting: Vec::new(),
        };
        for _ in 0..STEPS {
            let path = PATHS[random.usize(..PATHS.len())];
            let one = random.usize(..4);
            match random.u8(..16) {
                0..6 => world.ask(path),
                6..8 => world.head(one),
                8..11 => world.end(one),
                11 => world.at(path).version += 1,
                12..15 => {
                    let mode = if random.bool() {
                        Mode::Hard
                    } else {
                        Mode::Soft
                    };
                    world.purge(SCOPES[random.usize(..SCOPES.len())], mode);
                }
                _ => {
                    world.rig.cache.engine.sweep(|| {});
                }
            }
        }
        while !world.fetches.is_empty() {
            world.end(0);
        }
        for path in PATHS {
            world.ask(path);
        }
    }
}

/// The same with threads, in whatever order these come to it.
#[test]
fn nothing_is_served_that_was_purged_before_on_another_thread() {
    const READERS: u64 = 3;
    const PURGES: u64 = 2000;
    let rig = Rig::new();
    // What the origin has, and what the last purge that was answered left.
    let (current, least) = (AtomicU64::new(0), AtomicU64::new(0));
    let reads = |seed: u64| {
        let mut random = Rng::with_seed(seed);
        while least.load(Ordering::SeqCst) < PURGES {
            let path = PATHS[random.usize(..PATHS.len())];
            let known = least.load(Ordering::SeqCst);
            let served = if random.bool() {
                rig.hit(path, &[])
            } else {
                match rig.get(path) {
                    Answer::Serve(serve) => Some(body(&serve.response)),
                    Answer::Lead(mut lead, _follower) => {
                        let version = current.load(Ordering::SeqCst);
                        lead.head(200, &[("cache-control", "max-age=600"), ("xkey", "t")]);
                        lead.writer.data(version.to_string().into());
                        lead.writer.end();
                        None
                    }
                    _ => None,
                }
            };
            let version = served.as_deref().map(version_of);
            assert!(
                version.is_none_or(|version| version >= known),
                "{version:?} after {known}"
            );
        }
    };
    std::thread::scope(|scope| {
        for seed in 0..READERS {
            let reads = &reads;
            scope.spawn(move || reads(seed));
        }
        scope.spawn(|| {
            while least.load(Ordering::SeqCst) < PURGES {
                rig.cache.engine.sweep(|| {});
            }
        });
        for version in 1..=PURGES {
            current.store(version, Ordering::SeqCst);
            let about = ["all", "tag:t", "host:a.example", "prefix:/"];
            rig.purge(
                about[usize::try_from(version).unwrap_or(0) % about.len()],
                Mode::Hard,
            );
            least.store(version, Ordering::SeqCst);
        }
    });
    assert!(rig.cache.engine.store.ledger().known.get() <= 1);
}
