//! What a hit, a miss and a fill spend their time on, each by itself.

mod support;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use forebay::cache::Answer;
use forebay::cache::control::{RequestDirectives, ResponseDirectives};
use forebay::cache::fill::{Data, Event};
use forebay::cache::key::{CacheKey, Target};
use forebay::cache::policy::{Asked, Moment, reuse};
use forebay::cache::settings::{KeyRules, Rules};
use forebay::fields::view::FieldView;
use forebay::listen::gate::canonical::{self, LINES_MAX};
use forebay::listen::settings::LimitSettings;
use futures::FutureExt;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use std::hint::black_box;
use std::mem::MaybeUninit;
use support::{BROWSERS, PLAIN, Warm};

const TARGET: Target<'static> = Target {
    scheme: "https",
    authority: "www.example.org",
    path: "/assets/application-5e9f1c2b.css",
    query: Some("v=3"),
};

fn parts(criterion: &mut Criterion) {
    let none = HeaderMap::new();
    let rules = KeyRules::default();
    criterion.bench_function("key", |b| {
        b.iter(|| CacheKey::new(black_box(TARGET), &none, &rules));
    });
    let limits = LimitSettings::default();
    for (name, head) in [("plain", PLAIN), ("browser", BROWSERS)] {
        criterion.bench_function(&format!("canonical head/{name}"), |b| {
            b.iter(|| {
                let mut lines = [MaybeUninit::uninit(); LINES_MAX];
                canonical::read(black_box(head.as_bytes()), &mut lines, &limits).map(|it| it.length)
            });
        });
    }
    let value =
        HeaderValue::from_static("public, max-age=3600, s-maxage=60, stale-while-revalidate=30");
    criterion.bench_function("Cache-Control of a response", |b| {
        b.iter(|| ResponseDirectives::parse([black_box(&value)]));
    });
    let asked =
        HeaderMap::from_iter([(header::CACHE_CONTROL, HeaderValue::from_static("max-age=0"))]);
    criterion.bench_function("Cache-Control of a request", |b| {
        b.iter(|| RequestDirectives::of(black_box(&asked)));
    });
}

fn engine(criterion: &mut Criterion) {
    let mut warm = Warm::new();
    let Answer::Serve(serve) = warm.ask("/1k") else {
        panic!("it is stored");
    };
    let terms = serve.response.terms();
    let none = HeaderMap::new();
    let (rules, now) = (Rules::default(), Moment::now().at);
    let asked = Asked {
        method: &Method::GET,
        path: "/x",
        headers: FieldView::Map(&none),
    };
    criterion.bench_function("reuse", |b| {
        b.iter(|| reuse::decide(black_box(asked), &terms, &rules, now));
    });
    criterion.bench_function("lookup", |b| b.iter(|| warm.ask(black_box("/1k"))));
    criterion.bench_function("hit/plain", |b| b.iter(|| warm.answer(black_box(PLAIN))));
    criterion.bench_function("hit/browser", |b| {
        b.iter(|| warm.answer(black_box(BROWSERS)));
    });
}

/// A fetch of 64 KiB in pieces of 16, from the writer to one follower.
fn fill(criterion: &mut Criterion) {
    let warm = Warm::new();
    let piece = Bytes::from(vec![b'x'; 16 * 1024]);
    let fields =
        HeaderMap::from_iter([(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))]);
    let mut number = 0;
    let mut lead = || {
        number += 1;
        warm.ask(&format!("/{number}"))
    };
    criterion.bench_function("fill of 64 KiB, one follower", |b| {
        b.iter_batched(
            &mut lead,
            |answer| {
                let Answer::Lead(mut lead, mut follower) = answer else {
                    panic!("nobody asked before");
                };
                lead.writer
                    .head(StatusCode::OK, fields.clone(), Moment::now());
                let head = follower.event().now_or_never();
                assert!(matches!(head, Some(Event::Response(..))));
                for _ in 0..4 {
                    lead.writer.data(piece.clone());
                    let data = follower.data().now_or_never();
                    assert!(matches!(data, Some(Data::Chunk(_))));
                }
                lead.writer.end();
                assert!(matches!(follower.data().now_or_never(), Some(Data::End)));
            },
            BatchSize::SmallInput,
        );
    });
}

criterion_group!(benches, parts, engine, fill);
criterion_main!(benches);
