//! Limits as a whole: who shares a bucket, what several limits take, what a reload keeps.

use super::settings::{Per, Rate, RateKey, RateLimitSettings};
use super::*;
use crate::fields::view::FieldView;
use http::{HeaderMap, HeaderName, HeaderValue};

const NOBODY: &str = "192.0.2.1";

fn limit(name: &str, requests: u32, key: RateKey) -> RateLimitSettings {
    let rate = Rate {
        requests,
        per: Per::Hour,
    };
    RateLimitSettings {
        burst: requests,
        key,
        ..RateLimitSettings::new(name, rate)
    }
}

fn limits(settings: &[RateLimitSettings]) -> Limits {
    Limits::new(settings, None, &RateMetrics::default())
}

fn all(limits: &Limits) -> Vec<Arc<Limit>> {
    let names: Vec<_> = limits.all.iter().map(|it| it.name().to_owned()).collect();
    limits.of(&names)
}

fn subject<'a>(client: &str, route: &'a str, fields: &'a HeaderMap) -> Subject<'a> {
    Subject {
        client: client.parse().expect("an address"),
        route,
        fields: FieldView::from(fields),
    }
}

fn fields(lines: &[(&'static str, &'static str)]) -> HeaderMap {
    let line = |(name, value): &(&'static str, &'static str)| {
        (
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        )
    };
    lines.iter().map(line).collect()
}

/// Asks once for each; says who was admitted.
fn ask(limits: &[Arc<Limit>], subjects: &[Subject<'_>]) -> Vec<bool> {
    let now = clock::now();
    let admitted = |subject| {
        let would = would_admit(limits, subject, now).is_ok();
        let admitted = admit(limits, subject, now).is_ok();
        assert_eq!(would, admitted, "what is foretold comes true");
        admitted
    };
    subjects.iter().map(admitted).collect()
}

#[tokio::test(start_paused = true)]
async fn who_shares_a_bucket() {
    let none = fields(&[]);
    let one = fields(&[("x-key", "one"), ("cookie", "a=b; sid=one")]);
    let other = fields(&[("x-key", "other"), ("cookie", "sid=other")]);
    let several = fields(&[("x-key", "one"), ("x-key", "other"), ("cookie", "sid=")]);
    let header = RateKey::Header(HeaderName::from_static("x-key"));
    let cookie = RateKey::Cookie("sid".to_owned());
    let rows: [(RateKey, [Subject<'_>; 3], [bool; 3]); 8] = [
        (
            RateKey::Client,
            [
                subject("192.0.2.1", "a", &one),
                subject("192.0.2.2", "a", &one),
                subject("192.0.2.1", "b", &other),
            ],
            [true, true, false],
        ),
        (
            RateKey::Client,
            [
                subject("2001:db8::1", "a", &none),
                subject("2001:db8::2", "a", &none),
                subject("2001:db8:0:1::1", "a", &none),
            ],
            [true, false, true],
        ),
        (
            RateKey::Route,
            [
                subject("192.0.2.1", "a", &none),
                subject("192.0.2.2", "a", &none),
                subject("192.0.2.1", "b", &none),
            ],
            [true, false, true],
        ),
        (
            RateKey::All,
            [
                subject("192.0.2.1", "a", &none),
                subject("192.0.2.2", "b", &none),
                subject("192.0.2.3", "c", &none),
            ],
            [true, false, false],
        ),
        (
            header.clone(),
            [
                subject("192.0.2.1", "a", &one),
                subject("192.0.2.1", "a", &other),
                subject("192.0.2.2", "a", &one),
            ],
            [true, true, false],
        ),
        (
            header,
            [
                subject("192.0.2.1", "a", &none),
                subject("192.0.2.1", "a", &several),
                subject("192.0.2.1", "b", &none),
            ],
            [true, false, false],
        ),
        (
            cookie.clone(),
            [
                subject("192.0.2.1", "a", &one),
                subject("192.0.2.1", "a", &other),
                subject("192.0.2.2", "a", &one),
            ],
            [true, true, false],
        ),
        (
            cookie,
            [
                subject("192.0.2.1", "a", &none),
                subject("192.0.2.1", "a", &several),
                subject("192.0.2.1", "a", &none),
            ],
            [true, true, false],
        ),
    ];
    for (key, subjects, expected) in rows {
        let limits = limits(&[limit("one", 1, key.clone())]);
        assert_eq!(ask(&all(&limits), &subjects), expected, "{key}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_one_limit_refuses_costs_the_others_nothing() {
    let limits = limits(&[
        limit("wide", 3, RateKey::Client),
        limit("narrow", 1, RateKey::Route),
    ]);
    let both = all(&limits);
    let none = fields(&[]);
    let (a, b) = (subject(NOBODY, "a", &none), subject(NOBODY, "b", &none));
    assert_eq!(
        ask(&both, &[a, a, a, a, b]),
        [true, false, false, false, true]
    );
    let [wide, narrow] = &both[..] else {
        panic!("two limits");
    };
    let now = clock::now();
    assert_eq!(
        (wide.left(&a, now), narrow.left(&a, now)),
        (Some(1), Some(0))
    );
}

#[tokio::test(start_paused = true)]
async fn waiting_as_long_as_one_is_told_is_enough() {
    let limits = limits(&[limit("one", 2, RateKey::All)]);
    let all = all(&limits);
    let none = fields(&[]);
    let a = subject(NOBODY, "a", &none);
    assert_eq!(ask(&all, &[a, a]), [true, true]);
    let refused = admit(&all, &a, clock::now()).expect_err("there is nothing left");
    assert_eq!(refused.wait, Duration::from_secs(1_800));
    assert_eq!(refused.limit.window(), Duration::from_secs(3_600));
    tokio::time::advance(Duration::from_secs(1_799)).await;
    assert!(admit(&all, &a, clock::now()).is_err());
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(admit(&all, &a, clock::now()).is_ok());
}

#[tokio::test(start_paused = true)]
async fn exceptions_and_dry_runs_refuse_nobody() {
    let mut excepted = limit("excepted", 1, RateKey::All);
    excepted.except = vec!["192.0.2.0/24".parse().expect("a network")];
    let dry = RateLimitSettings {
        dry_run: true,
        ..limit("dry", 1, RateKey::All)
    };
    let limits = limits(&[dry, excepted]);
    let all = all(&limits);
    assert_eq!(all[1].name(), "dry", "what refuses is asked first");
    let none = fields(&[]);
    let (within, without) = (
        subject(NOBODY, "a", &none),
        subject("198.51.100.1", "a", &none),
    );
    let asked = ask(&all, &[within, within, without, without, within]);
    assert_eq!(asked, [true, true, true, false, true]);
    assert_eq!(all[0].left(&within, clock::now()), None);
    assert_eq!(all[1].metrics.limited.get(), 3, "one of four was within it");
    assert_eq!(all[0].metrics.limited.get(), 0, "whoever refuses counts");
}

#[tokio::test(start_paused = true)]
async fn what_counts_in_the_same_way_goes_on_counting() {
    let before = limit("one", 1, RateKey::Client);
    let running = limits(std::slice::from_ref(&before));
    let none = fields(&[]);
    let a = subject(NOBODY, "a", &none);
    assert_eq!(ask(&all(&running), &[a]), [true]);
    let same = [
        before.clone(),
        RateLimitSettings {
            dry_run: false,
            except: vec!["10.0.0.0/8".parse().expect("a network")],
            ..before.clone()
        },
    ];
    for settings in same {
        let reloaded = running.replaced_by(&[settings]);
        assert_eq!(ask(&all(&reloaded), &[a]), [false]);
    }
    let other = [
        limit("other", 1, RateKey::Client),
        limit("one", 2, RateKey::Client),
        limit("one", 1, RateKey::Route),
        RateLimitSettings { keys: 64, ..before },
    ];
    for settings in other {
        let reloaded = running.replaced_by(&[settings]);
        assert_eq!(ask(&all(&reloaded), &[a]), [true]);
    }
}
