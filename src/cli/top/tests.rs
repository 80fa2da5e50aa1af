//! The screen of `top` as it looks, at several sizes and in several states.

use super::screen::Sort;
use super::*;
use crate::admin::stats::*;
use crate::telemetry::figures::Counted;
use crate::telemetry::history::Curves;
use crate::telemetry::journal::{Event as Noted, Kind};

/// A proxy that is busy, with one upstream in trouble.
fn busy() -> Stats {
    let entry = |url: &str, hits, cost_ms, bytes, ttl_s| EntryStats {
        url: format!("http://shop.example{url}"),
        route: "shop".to_owned(),
        hits,
        cost_ms,
        bytes,
        age_s: 10,
        ttl_s,
    };
    let server = |addr: &str, state: &str, in_flight, reason: Option<&str>| ServerStats {
        server: addr.to_owned(),
        addr: Some(addr.to_owned()),
        state: state.to_owned(),
        reason: reason.map(str::to_owned),
        in_flight,
    };
    let quantiles = |p50, p90, p99| Quantiles {
        count: 100,
        p50_ms: Some(p50),
        p90_ms: Some(p90),
        p99_ms: Some(p99),
    };
    let wave = |n: u32| f64::from(n % 20) * 10.0;
    Stats {
        version: "0.1.0".to_owned(),
        name: "edge-1".to_owned(),
        now: 1_000_000.0,
        uptime_s: 11_520.0,
        rates: Counted {
            requests: 1_234.0,
            errors: 0.4,
            hit: 1_100.0,
            bytes_out: 12.3 * 1024.0 * 1024.0,
            ..Counted::default()
        },
        hit_ratio: HitRatio {
            minute: Some(0.942),
            start: Some(0.91),
        },
        latency: Latency {
            minute: Split {
                hit: quantiles(0.042, 0.09, 0.21),
                miss: quantiles(12.4, 40.0, 1_250.0),
            },
            ..Latency::default()
        },
        saved: Saved {
            origin_s: 11_000.0,
            bytes: 5 << 30,
            held: 12,
            retried: 30,
        },
        cache: CacheStats {
            entries: 12_345,
            bytes: 120 << 20,
            capacity_bytes: 256 << 20,
            ..CacheStats::default()
        },
        waiting: Waiting {
            fills: 3,
            followers: 12,
            held: 2,
            queued: 0,
        },
        connections: Connections {
            open: 87,
            limit: 10_000,
        },
        process: Process {
            resident_bytes: Some(45.0 * 1024.0 * 1024.0),
            cpus: Some(0.42),
            ..Process::default()
        },
        routes: vec![RouteStats {
            name: "shop".to_owned(),
            rates: Counted {
                requests: 900.0,
                ..Counted::default()
            },
            totals: Counted {
                hit: 5_000_000,
                miss: 70_000,
                ..Counted::default()
            },
        }],
        routes_more: 3,
        upstreams: vec![
            UpstreamStats {
                name: "shop".to_owned(),
                available: true,
                servers: vec![server("10.0.0.2:8000", "up", 3, None)],
                ..UpstreamStats::default()
            },
            UpstreamStats {
                name: "api".to_owned(),
                held: 2,
                servers: vec![server(
                    "10.0.0.9:8000",
                    "down",
                    0,
                    Some("connection refused"),
                )],
                ..UpstreamStats::default()
            },
        ],
        hottest: vec![
            entry("/", 91_000, 120.0, 14_000, 42),
            entry(
                "/a/rather/long/path/that/will/not/fit/into/eighty/columns?at=all",
                1_200,
                8.0,
                2_000_000,
                -3,
            ),
            entry("/logo.svg", 800, 0.4, 900, 86_000),
        ],
        costliest: vec![entry("/search?q=slow", 4, 2_600.0, 40_000, 100)],
        events: vec![
            Noted {
                at: 999_940,
                kind: Kind::Purge,
                ok: true,
                text: "tag:items, soft, 12 found".to_owned(),
            },
            Noted {
                at: 990_000,
                kind: Kind::Reload,
                ok: false,
                text: "proxy.toml:3:1: unknown key `tt`".to_owned(),
            },
        ],
        history: Curves {
            step_s: 1,
            requests: (0..300).map(wave).collect(),
            hit_ratio: (0..300).map(|n| Some(wave(n) / 190.0)).collect(),
            ..Curves::default()
        },
        ..Stats::default()
    }
}

fn drawn(width: u16, height: u16, view: &View) -> Terminal<TestBackend> {
    let Ok(mut terminal) = Terminal::new(TestBackend::new(width, height));
    let Ok(_) = terminal.draw(|frame| screen::draw(frame, view));
    terminal
}

fn view() -> View {
    View {
        stats: Some(busy()),
        ..View::default()
    }
}

#[test]
fn eighty_by_twenty_four() {
    insta::assert_snapshot!(drawn(80, 24, &view()).backend());
}

#[test]
fn more_room_shows_more() {
    insta::assert_snapshot!(drawn(120, 40, &view()).backend());
}

#[test]
fn routes_paused_and_in_trouble() {
    let view = View {
        lists: Lists::Routes,
        paused: true,
        trouble: Some("no answer".to_owned()),
        ..view()
    };
    insta::assert_snapshot!(drawn(80, 20, &view).backend());
}

#[test]
fn rate_limits_stand_below_the_routes() {
    let limit = |name: &str, dry_run, refused| RateLimitStats {
        name: name.to_owned(),
        rate: "100/s".to_owned(),
        dry_run,
        refused,
    };
    let mut stats = busy();
    stats.rate_limits = vec![
        limit("calm", false, 0),
        limit("api", false, 12),
        limit("all", true, 3),
    ];
    let view = View {
        stats: Some(stats),
        lists: Lists::Routes,
        ..View::default()
    };
    let screen = drawn(80, 24, &view).backend().to_string();
    let at = |text: &str| {
        screen
            .find(text)
            .unwrap_or_else(|| panic!("no {text} in {screen}"))
    };
    let (most, dry, least) = (at("refused 12"), at("would refuse 3"), at("refused 0"));
    assert!(
        at("Rate limits") < most && most < dry && dry < least,
        "{screen}"
    );
}

#[test]
fn events() {
    let view = View {
        lists: Lists::Events,
        ..view()
    };
    insta::assert_snapshot!(drawn(80, 24, &view).backend());
}

#[test]
fn a_proxy_that_has_just_begun() {
    let view = View {
        stats: Some(Stats::default()),
        ..View::default()
    };
    insta::assert_snapshot!(drawn(80, 24, &view).backend());
}

#[test]
fn no_size_is_too_small_to_be_drawn() {
    for (width, height) in [(1, 1), (59, 24), (80, 15), (60, 16), (500, 200)] {
        for view in [view(), View::default()] {
            drawn(width, height, &view);
        }
    }
}

#[test]
fn what_keys_do() {
    let mut view = view();
    let key = |code| KeyEvent::new(code, KeyModifiers::NONE);
    for (code, end) in [
        (KeyCode::Char('p'), false),
        (KeyCode::Char('s'), false),
        (KeyCode::Char('r'), false),
        (KeyCode::Char('x'), false),
        (KeyCode::Char('c'), false),
        (KeyCode::Esc, true),
        (KeyCode::Char('q'), true),
    ] {
        assert_eq!(pressed(&mut view, key(code)), end, "{code:?}");
    }
    assert_eq!(
        (view.paused, view.sort, view.lists),
        (true, Sort::Size, Lists::Routes)
    );
    let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert!(pressed(&mut view, interrupt));
}

#[test]
fn sorting_takes_turns() {
    let mut sort = Sort::default();
    for word in ["size", "expiry", "rank"] {
        sort = sort.next();
        assert!(format!("{}", drawn(80, 24, &View { sort, ..view() }).backend()).contains(word));
    }
}
