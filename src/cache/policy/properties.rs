//! What holds for every message, however strange: nothing panics, ages only grow, and what is stale stays so.

use super::fields::to_store;
use super::invalidation::targets;
use super::reuse::{Reuse, decide};
use super::stale::{Trouble, may_serve};
use super::storable::{evaluate, evaluate_post};
use super::testing::{at, moment};
use super::validate::{freshen, is_about, request_headers, update_by_head};
use super::{Asked, Received, Terms, WhenStale};
use crate::cache::key::Target;
use crate::cache::response::StoredResponse;
use crate::cache::settings::{ClientDirectives, OriginFields, Rules, StatusMatch};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use proptest::prelude::*;
use std::time::Duration;

const NAMES: &[&str] = &[
    "age",
    "authorization",
    "cache-control",
    "cdn-cache-control",
    "connection",
    "content-length",
    "content-location",
    "cookie",
    "date",
    "etag",
    "expires",
    "last-modified",
    "location",
    "pragma",
    "range",
    "set-cookie",
    "surrogate-control",
    "vary",
    "x-a",
    "x-accel-expires",
];

const VALUES: &[&str] = &[
    "",
    "0",
    "1",
    "60",
    "-1",
    "99999999999999999999",
    "@1",
    "*",
    "\"a\"",
    "W/\"a\"",
    "x-a",
    "public",
    "private",
    "no-store",
    "no-cache",
    "no-cache=\"x-a\"",
    "max-age=0",
    "max-age=60",
    "max-age=99999999999",
    "max-age=\"",
    "s-maxage=60",
    "s-maxage=60, stale-while-revalidate=60",
    "must-revalidate",
    "immutable, max-age=60",
    "max-age=9, stale-if-error=60",
    "max-stale",
    "max-stale=60",
    "min-fresh=5",
    "only-if-cached",
    "Sun, 06 Nov 1994 08:49:37 GMT",
    "Sun Nov  6 08:00:00 1994",
    "Fri, 31 Dec 9999 23:59:59 GMT",
    "Thu, 01 Jan 1970 00:00:00 GMT",
    "/x?q",
    "//b/",
];

fn fields() -> impl Strategy<Value = HeaderMap> {
    let value = prop_oneof![
        8 => prop::sample::select(VALUES).prop_map(HeaderValue::from_static),
        1 => prop::collection::vec(prop_oneof![Just(b'\t'), b' '..=b'~', 0x80..=0xffu8], 0..24)
            .prop_filter_map("a field value", |bytes| HeaderValue::from_bytes(&bytes).ok()),
    ];
    let line = (
        prop::sample::select(NAMES).prop_map(HeaderName::from_static),
        value,
    );
    prop::collection::vec(line, 0..7).prop_map(|lines| {
        lines
            .into_iter()
            .fold(HeaderMap::new(), |mut map, (name, value)| {
                map.append(name, value);
                map
            })
    })
}

fn rules() -> impl Strategy<Value = Rules> {
    let duration = || {
        prop::option::weighted(
            0.2,
            prop_oneof![
                (0u64..90).prop_map(Duration::from_secs),
                Just(Duration::MAX)
            ],
        )
    };
    let clients = prop::sample::select(vec![
        ClientDirectives::Revalidate,
        ClientDirectives::Honour,
        ClientDirectives::Ignore,
    ]);
    (
        duration(),
        duration(),
        duration(),
        duration(),
        duration(),
        duration(),
        clients,
        any::<[bool; 3]>(),
    )
        .prop_map(
            |(
                ttl,
                ttl_min,
                ttl_max,
                revalidate,
                error,
                by_status,
                clients,
                [surrogate, accel, ignore],
            )| Rules {
                ttl,
                ttl_min,
                ttl_max,
                ttl_by_status: by_status
                    .map(|ttl| (StatusMatch::Class(4), ttl))
                    .into_iter()
                    .collect(),
                stale_while_revalidate: revalidate,
                stale_if_error: error,
                clients,
                surrogate_control: surrogate,
                x_accel_expires: accel,
                origin: if ignore {
                    OriginFields::Ignore
                } else {
                    OriginFields::Obey
                },
                ..Rules::default()
            },
        )
}

fn stored(fields: &HeaderMap, terms: Terms) -> std::sync::Arc<StoredResponse> {
    super::testing::stored(StatusCode::OK, fields, terms, b"")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn nothing_panics(request in fields(), response in fields(), other in fields(), status in 100u16..1_000, delay in prop_oneof![0u64..100, Just(1 << 19)], rules in rules(), method in prop::sample::select(vec![Method::GET, Method::POST, Method::PUT])) {
        let asked = Asked { method: &method, path: "/x", headers: (&request).into() };
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
        let arrival = moment(delay);
        let received = Received { status, headers: &response, requested: moment(0), received: arrival };
        let target = Target { scheme: "http", authority: "a", path: "/x", query: Some("q") };
        let _ = evaluate_post(asked, target, received, &rules);
        let _ = targets(&method, target, status, &response);
        let kept = to_store(&received, &rules);
        prop_assert!(!kept.contains_key("age") && !kept.contains_key("connection") && kept.contains_key("date"));
        if let Ok(terms) = evaluate(asked, received, &rules) {
            let _ = (decide(asked, &terms, &rules, arrival.at), terms.remaining(arrival.at), terms.age_field(arrival.at));
            let stored = stored(&kept, terms);
            let ours = request_headers(&request, Some(&stored));
            prop_assert!(!ours.contains_key("range"));
            let later = Received { headers: &other, received: moment(delay.saturating_mul(2)), ..received };
            let _ = is_about(&other, &stored);
            let _ = update_by_head(asked, Received { status: StatusCode::OK, ..later }, &stored, &rules);
            let (fields, _) = freshen(asked, later, &stored, &rules);
            prop_assert!(!fields.contains_key("age"));
        }
    }

    /// Time alone never brings an answer back: not fresh again, not in a window again, not young again.
    #[test]
    fn what_is_stale_stays_stale_until_it_is_validated(request in fields(), response in fields(), rules in rules(), steps in prop::collection::vec(0u64..40, 1..8)) {
        let asked = Asked { method: &Method::GET, path: "/x", headers: (&request).into() };
        let received = Received { status: StatusCode::OK, headers: &response, requested: moment(0), received: moment(0) };
        let Ok(terms) = evaluate(asked, received, &rules) else {
            return Ok(());
        };
        let rank = |now| match decide(asked, &terms, &rules, now) {
            Reuse::Serve(None) => 0,
            Reuse::Serve(Some(_)) | Reuse::ServeAndRefresh => 1,
            Reuse::Validate(..) | Reuse::Ignore(..) => 2,
        };
        let troubled = |now| may_serve(&terms, Trouble::Unreachable, now).is_some();
        let mut now = Duration::ZERO;
        let mut before = (rank(at(now)), terms.remaining(at(now)), terms.current_age(at(now)), troubled(at(now)));
        for step in steps {
            now += Duration::from_secs(step);
            let after = (rank(at(now)), terms.remaining(at(now)), terms.current_age(at(now)), troubled(at(now)));
            prop_assert!(after.0 >= before.0, "{:?} after {:?}", after, before);
            prop_assert!(after.1 <= before.1);
            prop_assert!(after.2 >= before.2);
            prop_assert!(before.3 || !after.3);
            before = after;
        }
    }

    /// What must not be served stale is not, whatever the operator and the client say.
    #[test]
    fn never_stale_means_never(request in fields(), response in fields(), rules in rules(), age in 0u64..1_000) {
        let asked = Asked { method: &Method::GET, path: "/x", headers: (&request).into() };
        let received = Received { status: StatusCode::OK, headers: &response, requested: moment(0), received: moment(0) };
        if let Ok(terms) = evaluate(asked, received, &rules) {
            let now = at(Duration::from_secs(age));
            let strict = matches!(terms.when_stale, WhenStale::MustRevalidate | WhenStale::AlwaysValidate);
            if strict && !terms.is_fresh(now) {
                let decision = decide(asked, &terms, &rules, now);
                prop_assert!(matches!(decision, Reuse::Validate(..) | Reuse::Ignore(..)), "{decision:?}");
                prop_assert_eq!(may_serve(&terms, Trouble::Unreachable, now), None);
            }
        }
    }
}
