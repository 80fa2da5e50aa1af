//! A purge among a million entries with a hundred thousand tags: how long the call takes, what hits on another thread notice of
//! it and of the sweep behind it, and what the index of tags takes.
#![expect(clippy::print_stdout, reason = "its output is what it is for")]

use bytes::Bytes;
use forebay::cache::key::Target;
use forebay::cache::policy::Moment;
use forebay::cache::purge::{Mode, Purge};
use forebay::cache::settings::{CacheSettings, Rules};
use forebay::cache::{Answer, Ask, Cache};
use forebay::clock;
use forebay::telemetry::Registry;
use forebay::units::ByteSize;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

const ENTRIES: u32 = 1_000_000;
const TAGS: u32 = 100_000;
/// One entry in so many has the tag that is purged.
const ONE_IN: u32 = 100;

struct Engine {
    cache: Cache,
    rules: Arc<Rules>,
    route: Arc<str>,
}

impl Engine {
    fn asks<T>(&self, path: &str, does: impl FnOnce(&Cache, &Ask<'_>) -> T) -> T {
        let headers = HeaderMap::new();
        let ask = Ask {
            method: &Method::GET,
            target: Target {
                scheme: "https",
                authority: "www.example.org",
                path,
                query: None,
            },
            headers: (&headers).into(),
            has_body: false,
            upgrade: false,
            unshared: None,
            rules: &self.rules,
            route: &self.route,
            upstream: &self.route,
            client: Ipv4Addr::LOCALHOST.into(),
        };
        does(&self.cache, &ask)
    }

    /// Three tags each: its own among all, one of a thousand sections, and for some the one that is purged.
    fn store(&self, at: u32) {
        let special = if at.is_multiple_of(ONE_IN) {
            " special"
        } else {
            ""
        };
        let tags = format!("item-{} section-{}{special}", at % TAGS, at % 1000);
        let mut fields = HeaderMap::new();
        fields.insert("cache-control", HeaderValue::from_static("max-age=3600"));
        fields.insert("content-type", HeaderValue::from_static("text/html"));
        fields.insert(
            "surrogate-key",
            HeaderValue::from_str(&tags).expect("a value"),
        );
        let answer = self.asks(&path(at), |cache, ask| cache.ask(ask, Moment::now()));
        let Answer::Lead(mut lead, _follower) = answer else {
            panic!("{at} is not stored yet");
        };
        lead.writer.head(StatusCode::OK, fields, Moment::now());
        lead.writer.data(Bytes::from_static(&[b'x'; 200]));
        lead.writer.end();
    }

    fn hit(&self, at: u32) -> bool {
        self.asks(&path(at), |cache, ask| {
            cache.hit(ask, clock::now()).is_some()
        })
    }
}

fn path(at: u32) -> String {
    format!("/items/{}/{at}", at % 500)
}

fn main() {
    let engine = Arc::new(Engine {
        cache: Cache::new(CacheSettings::within(ByteSize::mib(2048))),
        rules: Arc::new(Rules::default()),
        route: "/".into(),
    });
    let registry = Registry::new();
    registry.register(|registry| engine.cache.register(registry));
    let began = clock::now();
    for at in 0..ENTRIES {
        engine.store(at);
    }
    println!("{ENTRIES} stored in {:?}", began.elapsed());
    let figures = || {
        let mut text = String::new();
        for line in registry.encode().lines() {
            let name = line.split(' ').next().unwrap_or_default();
            if ["entries", "bytes", "tags", "tag_index_bytes"]
                .iter()
                .any(|it| name.strip_prefix("forebay_cache_") == Some(it))
            {
                text = format!("{text} {};", line.trim_start_matches("forebay_cache_"));
            }
        }
        text
    };
    println!("stored:{}", figures());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let entered = runtime.enter();
    for round in 0..3 {
        let (quiet, _) = hits_during(&engine, || thread::park_timeout(Duration::from_secs(2)));
        println!("hits beside nothing: {quiet}");
        let mut took = Duration::ZERO;
        let mut matched = None;
        let mut swept = Duration::ZERO;
        let (busy, _) = hits_during(&engine, || {
            let scope = if round == 2 {
                "prefix:/items/7"
            } else {
                "tag:special"
            };
            let purge = Purge {
                scope: scope.parse().expect("a scope"),
                mode: Mode::Hard,
            };
            let began = clock::now();
            matched = engine.cache.purge(&purge).matched;
            took = began.elapsed();
            while !engine.cache.is_swept() {
                thread::park_timeout(Duration::from_millis(1));
            }
            swept = began.elapsed();
        });
        println!("purge: {took:?}, {matched:?} matched, swept after {swept:?}");
        println!("hits beside purge and sweep: {busy}");
        println!("left:{}", figures());
        if round == 0 {
            for at in (0..ENTRIES).step_by(ONE_IN as usize) {
                engine.store(at);
            }
        }
    }
    drop(entered);
}

/// The times of hits on another thread while something happens.
fn hits_during(engine: &Arc<Engine>, happens: impl FnOnce()) -> (String, u64) {
    let over = Arc::new(AtomicBool::new(false));
    let missed = Arc::new(AtomicU64::new(0));
    let hits = thread::spawn({
        let (engine, over, missed) = (engine.clone(), over.clone(), missed.clone());
        move || {
            let mut random = fastrand::Rng::with_seed(7);
            let mut times: Vec<u32> = Vec::with_capacity(8_000_000);
            while !over.load(Ordering::Relaxed) && times.len() < times.capacity() {
                let at = random.u32(..ENTRIES);
                let began = clock::now();
                let hit = engine.hit(at);
                let took = began.elapsed().as_nanos();
                times.push(u32::try_from(took).unwrap_or(u32::MAX));
                missed.fetch_add(u64::from(!hit), Ordering::Relaxed);
            }
            times
        }
    });
    happens();
    over.store(true, Ordering::Relaxed);
    let mut times = hits.join().expect("it ends");
    times.sort_unstable();
    let part = |part: usize| {
        times
            .get(times.len() * part / 10_000)
            .copied()
            .unwrap_or_default()
    };
    let missed = missed.load(Ordering::Relaxed);
    let text = format!(
        "{} hits, {missed} not there; p50 {} ns, p99 {} ns, p99.9 {} ns",
        times.len(),
        part(5000),
        part(9900),
        part(9990)
    );
    (text, missed)
}
