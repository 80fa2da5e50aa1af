//! The engine's refreshes under a paused clock: nobody drives them but the tests.

use super::*;
use crate::cache::fill::Wanted;
use crate::cache::lookup::{Answer, Ask, Serve};
use crate::cache::settings::{CacheSettings, KeyRules};
use crate::fields::view::FieldView;
use bytes::Bytes;
use futures::FutureExt;
use http::{HeaderValue, StatusCode};
use std::ops::RangeInclusive;

type Fields<'a> = &'a [(&'static str, &'a str)];

const HOUR: Fields<'_> = &[("cache-control", "max-age=3600"), ("etag", "\"1\"")];
const PUBLIC: Fields<'_> = &[("cache-control", "public, max-age=3600")];
const EVERY: Duration = Duration::from_secs(300);

fn headers(fields: Fields<'_>) -> HeaderMap {
    let fields = fields.iter().map(|(name, value)| {
        let value = HeaderValue::from_str(value).expect("a value");
        (HeaderName::from_static(name), value)
    });
    fields.collect()
}

fn every(every: Duration) -> Rules {
    Rules {
        refresh_every: Some(every),
        ..Rules::default()
    }
}

/// What a refresh would remember of a request with these fields.
pub(super) fn request(fields: Fields<'_>) -> Arc<Request> {
    Arc::new(asked("/", &headers(fields), &Arc::new(every(EVERY))))
}

fn asked(path: &str, headers: &HeaderMap, rules: &Arc<Rules>) -> Request {
    let target = target(path);
    let ask = Ask {
        method: &Method::GET,
        target,
        headers: headers.into(),
        has_body: false,
        upgrade: false,
        unshared: None,
        rules,
        route: &"r".into(),
        upstream: &"u".into(),
        client: Ipv4Addr::LOCALHOST.into(),
    };
    let key = CacheKey::new(target, headers, &rules.key);
    Request::new(&ask, key, (ForwardReason::UriMiss, None))
}

fn target(path: &str) -> Target<'_> {
    Target {
        scheme: "http",
        authority: "a.example",
        path,
        query: Some("q"),
    }
}

struct Rig {
    cache: Cache,
    rules: Arc<Rules>,
}

impl Rig {
    fn new(rules: Rules) -> Self {
        Self {
            cache: Cache::new(CacheSettings::default()),
            rules: Arc::new(rules),
        }
    }

    fn ask(&self, path: &str, fields: Fields<'_>) -> Answer {
        let ask = Ask {
            method: &Method::GET,
            target: target(path),
            headers: FieldView::Map(&headers(fields)),
            has_body: false,
            upgrade: false,
            unshared: None,
            rules: &self.rules,
            route: &"r".into(),
            upstream: &"u".into(),
            client: Ipv4Addr::LOCALHOST.into(),
        };
        self.cache.ask(&ask, Moment::now())
    }

    /// Fetches and stores a response for one client.
    fn store(&self, path: &str, asked: Fields<'_>, fields: Fields<'_>) {
        let Answer::Lead(lead, _follower) = self.ask(path, asked) else {
            panic!("{path} is there already");
        };
        answer(*lead, 200, fields, "old");
    }

    /// A client is served what is stored.
    fn hit(&self, path: &str) -> Serve {
        match self.ask(path, &[]) {
            Answer::Serve(serve) => serve,
            other => panic!("expected to be served, got {other:?}"),
        }
    }

    /// What is due now.
    fn due(&self) -> Option<Due> {
        self.cache.due().now_or_never()
    }

    /// What leads of what is due now.
    fn leads(&self) -> Vec<Lead> {
        std::iter::from_fn(|| self.due())
            .filter_map(|due| self.refresh(due))
            .collect()
    }

    fn refresh(&self, due: Due) -> Option<Lead> {
        self.cache.refresh(due, &self.rules, &"u".into())
    }

    fn counted(&self, result: RefreshResult) -> u64 {
        self.cache.engine.refreshes.metrics.counted(result)
    }

    fn scheduled(&self) -> usize {
        self.cache.engine.refreshes.len()
    }
}

fn answer(mut lead: Lead, status: u16, fields: Fields<'_>, body: &'static str) {
    let status = StatusCode::from_u16(status).expect("a status");
    if lead.writer.head(status, headers(fields), Moment::now()) == Wanted::Body {
        lead.writer.data(Bytes::from_static(body.as_bytes()));
        lead.writer.end();
    }
}

fn body(serve: &Serve) -> Vec<u8> {
    let pieces: Vec<Bytes> = serve.response.body().pieces().collect();
    pieces.concat()
}

/// Lets an interval pass, and as much as it may be late.
async fn an_interval() {
    tokio::time::advance(EVERY.mul_f64(1.0 + JITTER)).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_for_is_fetched_anew_and_the_rest_is_not() {
    let rig = Rig::new(every(EVERY));
    for path in ["/asked", "/never-again"] {
        rig.store(path, &[], HOUR);
    }
    rig.hit("/asked");
    tokio::time::advance(EVERY.mul_f64(1.0 - JITTER - 0.001)).await;
    assert!(rig.due().is_none(), "too early");
    an_interval().await;
    let mut leads = rig.leads();
    assert_eq!(leads.len(), 1);
    let lead = leads.remove(0);
    assert_eq!(lead.request["if-none-match"], "\"1\"");
    // Nobody waits for it, and it goes on; who asks meanwhile is served what is there.
    assert_eq!(body(&rig.hit("/asked")), b"old");
    answer(lead, 200, HOUR, "new");
    assert_eq!(body(&rig.hit("/asked")), b"new");
    assert_eq!(rig.counted(RefreshResult::Stored), 1);
    assert_eq!(rig.cache.engine.fills.flights().len(), 0);
    // That hit was of the new one; without another there is no third time after the second.
    an_interval().await;
    let mut leads = rig.leads();
    assert_eq!(leads.len(), 1);
    answer(leads.remove(0), 304, HOUR, "");
    assert_eq!(rig.counted(RefreshResult::Unchanged), 1);
    an_interval().await;
    assert_eq!(rig.leads().len(), 0);
    // Who asked while it was fetched, asked since.
    rig.hit("/asked");
    an_interval().await;
    let lead = rig.leads().remove(0);
    rig.hit("/asked");
    answer(lead, 200, HOUR, "newer");
    an_interval().await;
    assert_eq!(rig.leads().len(), 1);
    assert_eq!(
        rig.scheduled(),
        2,
        "they are fresh, so somebody may ask yet"
    );
}

#[tokio::test(start_paused = true)]
async fn what_expires_unasked_for_is_forgotten() {
    let rig = Rig::new(every(EVERY));
    rig.store("/", &[], &[("cache-control", "max-age=310")]);
    an_interval().await;
    assert!(rig.leads().is_empty());
    assert_eq!(rig.scheduled(), 0);
    // Whoever asks then is the next to store it.
    assert!(matches!(rig.ask("/", &[]), Answer::Lead(..)));
}

#[tokio::test(start_paused = true)]
async fn what_was_asked_for_is_refreshed_though_it_is_stale_by_then() {
    let rig = Rig::new(every(EVERY));
    rig.store("/", &[], &[("cache-control", "max-age=60")]);
    rig.hit("/");
    an_interval().await;
    assert_eq!(rig.leads().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_failed_refresh_leaves_what_is_there_and_is_tried_again() {
    let rig = Rig::new(every(EVERY));
    rig.store("/", &[], HOUR);
    rig.hit("/");
    for (times, status) in [(1, Some(500)), (2, Some(503)), (3, None)] {
        an_interval().await;
        let lead = rig.leads().pop().expect("it was asked for");
        match status {
            // Though the error says that it may be stored.
            Some(status) => answer(lead, status, HOUR, "broken"),
            None => drop(lead),
        }
        assert_eq!(rig.counted(RefreshResult::Failed), times);
        let stored = rig.cache.engine.store.stats().entries;
        assert_eq!(stored, 1, "after {status:?}");
    }
    assert_eq!(body(&rig.hit("/")), b"old");
    an_interval().await;
    answer(rig.leads().pop().expect("again"), 200, HOUR, "new");
    assert_eq!(body(&rig.hit("/")), b"new");
}

#[tokio::test(start_paused = true)]
async fn an_origin_that_has_just_failed_is_left_alone() {
    let rig = Rig::new(every(Duration::from_secs(1)));
    rig.store("/", &[], HOUR);
    rig.hit("/");
    let mut tries = 0;
    for _ in 0..120 {
        tokio::time::advance(Duration::from_secs(1)).await;
        for lead in rig.leads() {
            tries += 1;
            answer(lead, 500, &[], "");
        }
    }
    // After 1, 2, 4, 8, 16 and then each 30 s, a second or two later.
    assert!((6..=9).contains(&tries), "{tries}");
}

#[tokio::test(start_paused = true)]
async fn so_many_at_once_and_no_more() {
    let rig = Rig::new(every(EVERY));
    let paths: Vec<_> = (0..3 * AT_ONCE).map(|n| format!("/{n}")).collect();
    for path in &paths {
        rig.store(path, &[], HOUR);
        rig.hit(path);
    }
    an_interval().await;
    let mut running = rig.leads();
    assert_eq!(running.len(), AT_ONCE);
    assert!(rig.due().is_none());
    // One that ends makes room for one, whichever way it ends.
    answer(running.remove(0), 200, HOUR, "new");
    running.extend(rig.leads());
    drop(running.remove(0));
    running.extend(rig.leads());
    assert_eq!(running.len(), AT_ONCE);
    running.clear();
    assert_eq!(rig.leads().len(), AT_ONCE);
    assert_eq!(rig.leads().len(), 2 * AT_ONCE - 2 - AT_ONCE);
}

#[tokio::test(start_paused = true)]
async fn those_stored_at_once_are_not_due_at_once() {
    let rig = Rig::new(every(EVERY));
    let begin = clock::now();
    for n in 0..500 {
        rig.store(&format!("/{n}"), &[], HOUR);
    }
    let times: Vec<_> = std::iter::from_fn(|| {
        let mut schedule = rig.cache.engine.refreshes.schedule.lock();
        match schedule.next(begin + 2 * EVERY) {
            Next::Due(slot) => Some(slot.due - begin),
            Next::At(_) | Next::Nothing => None,
        }
    })
    .collect();
    assert_eq!(times.len(), 500);
    let allowed: RangeInclusive<_> = EVERY.mul_f64(1.0 - JITTER)..=EVERY.mul_f64(1.0 + JITTER);
    assert!(times.iter().all(|time| allowed.contains(time)), "{times:?}");
    let tenth = |from: f64| {
        let (from, to) = (EVERY.mul_f64(from), EVERY.mul_f64(from + 0.02));
        times
            .iter()
            .filter(|time| (from..to).contains(*time))
            .count()
    };
    // A tenth of them each; by chance a third of that or twice as many.
    for from in [0.9, 0.94, 0.98, 1.02, 1.06] {
        assert!((16..=100).contains(&tenth(from)), "{}", tenth(from));
    }
}

#[tokio::test(start_paused = true)]
async fn a_refresh_asks_in_nobodys_name() {
    let rig = Rig::new(every(EVERY));
    let asked: Fields<'_> = &[
        ("host", "a.example"),
        ("accept", "text/html"),
        ("cookie", "id=1"),
        ("cache-control", "max-age=0"),
        ("x-forwarded-for", "192.0.2.1"),
        ("if-none-match", "\"theirs\""),
        ("range", "bytes=0-"),
    ];
    rig.store("/", asked, HOUR);
    rig.hit("/");
    an_interval().await;
    let due = rig.due().expect("it is scheduled");
    assert_eq!((due.target(), &**due.route()), (target("/"), "r"));
    let expected = headers(&[("host", "a.example"), ("accept", "text/html")]);
    assert_eq!(due.headers(), &expected);
    let lead = rig.refresh(due).expect("it was asked for");
    assert_eq!(lead.request["if-none-match"], "\"1\"");
    assert!(!lead.request.contains_key("cookie"));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_had_without_its_client_is_not_refreshed() {
    let by_cookie = Rules {
        key: KeyRules {
            cookies: vec!["lang".into()],
            ..KeyRules::default()
        },
        ..every(EVERY)
    };
    for (what, rules, asked, fields, scheduled) in [
        ("nothing special", every(EVERY), &[][..], PUBLIC, 1),
        (
            "a cookie of no concern",
            every(EVERY),
            &[("cookie", "id=1")],
            PUBLIC,
            1,
        ),
        (
            "authorised",
            every(EVERY),
            &[("authorization", "Basic x")],
            PUBLIC,
            0,
        ),
        (
            "another key",
            by_cookie.clone(),
            &[("cookie", "lang=de")],
            PUBLIC,
            0,
        ),
        ("the same key", by_cookie, &[("cookie", "id=1")], PUBLIC, 1),
        (
            "another variant",
            every(EVERY),
            &[("cookie", "id=1")],
            &[("cache-control", "max-age=3600"), ("vary", "cookie")],
            0,
        ),
        (
            "validated anyway",
            every(EVERY),
            &[],
            &[("cache-control", "no-cache"), ("etag", "\"1\"")],
            0,
        ),
        ("no wish for it", Rules::default(), &[], PUBLIC, 0),
    ] {
        let rig = Rig::new(rules);
        rig.store("/", asked, fields);
        assert_eq!(rig.cache.engine.store.stats().entries, 1, "{what}");
        assert_eq!(rig.scheduled(), scheduled, "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn each_variant_has_its_own_time() {
    let rig = Rig::new(every(EVERY));
    let fields: Fields<'_> = &[
        ("cache-control", "max-age=3600"),
        ("vary", "accept-language"),
    ];
    for language in ["de", "en"] {
        rig.store("/", &[("accept-language", language)], fields);
    }
    assert_eq!(rig.scheduled(), 2);
    rig.ask("/", &[("accept-language", "de")]);
    an_interval().await;
    let leads = rig.leads();
    assert_eq!(leads.len(), 1);
    assert_eq!(leads[0].request["accept-language"], "de");
}

#[tokio::test(start_paused = true)]
async fn what_the_operator_or_a_write_took_away_is_refreshed_no_more() {
    let rig = Rig::new(every(EVERY));
    let other_rules = [
        Rules::default(),
        Rules {
            enabled: false,
            ..every(EVERY)
        },
        Rules {
            key: KeyRules {
                query: crate::cache::settings::QueryRule::Allow(Vec::new()),
                ..KeyRules::default()
            },
            ..every(EVERY)
        },
    ];
    for rules in other_rules {
        let key = CacheKey::new(target("/"), &HeaderMap::new(), &rig.rules.key);
        rig.cache.invalidate(&key);
        rig.store("/", &[], HOUR);
        rig.hit("/");
        an_interval().await;
        let due = rig.due().expect("it is scheduled");
        let lead = rig
            .cache
            .refresh(due, &Arc::new(rules.clone()), &"u".into());
        assert!(lead.is_none(), "{rules:?}");
        assert_eq!(rig.scheduled(), 0, "{rules:?}");
    }
    // Invalidated, and nobody has asked since.
    rig.cache.invalidate(&CacheKey::new(
        target("/"),
        &HeaderMap::new(),
        &rig.rules.key,
    ));
    rig.store("/", &[], HOUR);
    rig.hit("/");
    rig.cache.invalidate(&CacheKey::new(
        target("/"),
        &HeaderMap::new(),
        &rig.rules.key,
    ));
    an_interval().await;
    assert!(rig.leads().is_empty());
    assert_eq!(rig.scheduled(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_driver_is_woken_by_what_is_due_first() {
    let rig = Rig::new(every(EVERY));
    rig.store("/later", &[], HOUR);
    let rig_soon = Rules {
        refresh_every: Some(Duration::from_secs(2)),
        ..Rules::default()
    };
    let mut due = Box::pin(rig.cache.due());
    assert!(due.as_mut().now_or_never().is_none());
    let soon = Rig {
        cache: Cache {
            engine: Arc::clone(&rig.cache.engine),
        },
        rules: Arc::new(rig_soon),
    };
    soon.store("/soon", &[], HOUR);
    let begun = clock::now();
    let first = due.await;
    assert_eq!(first.target().path, "/soon");
    assert!(clock::now() - begun < Duration::from_secs(3));
}
