//! Lifetimes, one row a clause.

use super::*;
use crate::cache::policy::testing::{headers, received, start};
use crate::cache::settings::StatusMatch;

fn days(days: u64) -> Duration {
    Duration::from_secs(days * 24 * 60 * 60)
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn lifetime_of(status: u16, fields: &[(&str, &str)], rules: &Rules) -> Option<Lifetime> {
    let fields = headers(fields);
    lifetime(
        &received(status, &fields),
        &Control::of(&fields, rules),
        rules,
    )
}

#[test]
fn explicit_lifetimes() {
    let expires = |after: u64| date::format(start() + seconds(after));
    let (soon, later, past) = (
        expires(60),
        expires(120),
        date::format(start() - seconds(60)),
    );
    for (clause, fields, expected) in [
        (
            "§4.2.1: s-maxage first",
            &[
                ("cache-control", "max-age=1, s-maxage=2"),
                ("expires", &soon),
            ][..],
            2,
        ),
        (
            "§4.2.1: max-age second",
            &[("expires", &soon), ("cache-control", "max-age=1")],
            1,
        ),
        ("§4.2.1: Expires third", &[("expires", &soon)], 60),
        (
            "§4.2.1: Expires minus Date",
            &[("expires", &later), ("date", &soon)],
            60,
        ),
        (
            "§4.2.1: s-maxage unreadable",
            &[("cache-control", "max-age=1, s-maxage=x")],
            0,
        ),
        (
            "§4.2.1: max-age unreadable",
            &[("cache-control", "max-age=x"), ("expires", &soon)],
            0,
        ),
        (
            "§4.2.1: s-maxage before an unreadable max-age",
            &[("cache-control", "max-age=x, s-maxage=2")],
            2,
        ),
        (
            "§5.3: the first of several",
            &[("expires", &soon), ("expires", &later)],
            60,
        ),
        ("§5.3: past", &[("expires", &past)], 0),
        ("§5.3: 0", &[("expires", "0")], 0),
        ("§5.3: -1", &[("expires", "-1")], 0),
        ("§5.3: empty", &[("expires", "")], 0),
        (
            "§5.3: no HTTP date",
            &[("expires", "1994-11-06T08:50:37Z")],
            0,
        ),
        (
            "§5.3: another zone",
            &[("expires", "Sun, 06 Nov 1994 08:50:37 UTC")],
            0,
        ),
        (
            "§5.3: two on a line",
            &[(
                "expires",
                "Sun, 06 Nov 1994 08:50:37 GMT, Sun, 06 Nov 1994 08:50:37 GMT",
            )],
            0,
        ),
        (
            "§5.3: IMF-fixdate",
            &[("expires", "Sun, 06 Nov 1994 08:50:37 GMT")],
            60,
        ),
        (
            "§5.3: RFC 850",
            &[("expires", "Sunday, 06-Nov-94 08:50:37 GMT")],
            60,
        ),
        (
            "§5.3: asctime",
            &[("expires", "Sun Nov  6 08:50:37 1994")],
            60,
        ),
        (
            "§5.3: far past",
            &[("expires", "Thu, 01 Jan 1970 00:00:00 GMT")],
            0,
        ),
        (
            "§5.3: far future",
            &[("expires", "Fri, 31 Dec 9999 23:59:59 GMT")],
            253_402_300_799 - 784_111_777,
        ),
        (
            "§5.3: Date unreadable",
            &[("expires", &soon), ("date", "yesterday")],
            60,
        ),
        (
            "RFC 9213 §2.2: Expires is ignored",
            &[
                ("cdn-cache-control", "max-age=5"),
                ("expires", &soon),
                ("cache-control", "max-age=9"),
            ],
            5,
        ),
    ] {
        let found = lifetime_of(200, fields, &Rules::default());
        assert_eq!(
            found,
            Some(Lifetime::Explicit(seconds(expected))),
            "{clause}"
        );
    }
}

#[test]
fn guessed_lifetimes() {
    let before = |since: Duration| date::format(start() - since);
    let (young, old) = (before(seconds(1_000)), before(days(3_650)));
    let future = date::format(start() + days(1));
    let none = None;
    let guess = |secs| Some(Lifetime::Heuristic(seconds(secs)));
    for (clause, status, fields, expected) in [
        (
            "§4.2.2: a tenth",
            200,
            &[("last-modified", young.as_str())][..],
            guess(100),
        ),
        (
            "§4.2.2: capped",
            200,
            &[("last-modified", &old)],
            Some(Lifetime::Heuristic(HEURISTIC_MAX)),
        ),
        (
            "§4.2.2: of Date",
            200,
            &[("last-modified", &young), ("date", &future)],
            guess(8_740),
        ),
        (
            "§4.2.2: in the future",
            200,
            &[("last-modified", &future)],
            guess(0),
        ),
        (
            "§4.2.2: unreadable",
            200,
            &[("last-modified", "0")],
            guess(0),
        ),
        ("§4.2.2: none", 200, &[], guess(0)),
        (
            "§4.2.2: public",
            302,
            &[("last-modified", &young), ("cache-control", "public")],
            guess(100),
        ),
        (
            "§4.2.2: no such status",
            302,
            &[("last-modified", &young)],
            none,
        ),
        (
            "§4.2.2: no such status",
            500,
            &[("last-modified", &young)],
            none,
        ),
        (
            "§4.2.2: unknown status",
            599,
            &[("last-modified", &young)],
            none,
        ),
        (
            "RFC 9213 §2.2: Expires is no lifetime then",
            200,
            &[("cdn-cache-control", "public"), ("expires", &future)],
            guess(0),
        ),
    ] {
        assert_eq!(
            lifetime_of(status, fields, &Rules::default()),
            expected,
            "{clause}"
        );
    }
    for status in [200, 203, 204, 206, 300, 301, 308, 404, 410] {
        let found = lifetime_of(status, &[("last-modified", &young)], &Rules::default());
        assert_eq!(found, guess(100), "RFC 9110 §15.1: {status}");
    }
    for status in [405, 414, 501] {
        let found = lifetime_of(status, &[("last-modified", &young)], &Rules::default());
        assert_eq!(
            found, None,
            "allowed, and may be one request's own doing: {status}"
        );
    }
}

#[test]
fn what_the_operator_makes_of_it() {
    let exactly =
        |status| StatusMatch::Exact(StatusCode::from_u16(status).expect("a status in a test"));
    let some = |secs| Some(seconds(secs));
    let plain = Rules::default;
    let explicit = |secs| Some(Lifetime::Explicit(seconds(secs)));
    let operator = |secs| Some(Lifetime::Operator(seconds(secs)));
    let max_age = &[("cache-control", "max-age=60")][..];
    let by_status = || {
        vec![
            (exactly(404), seconds(5)),
            (StatusMatch::Class(4), seconds(6)),
        ]
    };
    for (rule, rules, status, fields, expected) in [
        (
            "ttl",
            Rules {
                ttl: some(9),
                ..plain()
            },
            200,
            max_age,
            operator(9),
        ),
        (
            "ttl without the origin's word",
            Rules {
                ttl: some(9),
                ..plain()
            },
            404,
            &[],
            operator(9),
        ),
        (
            "ttl is not for what one request may have brought about",
            Rules {
                ttl: some(9),
                ..plain()
            },
            400,
            &[],
            None,
        ),
        (
            "ttl counts from arrival",
            Rules {
                ttl: some(9),
                ..plain()
            },
            200,
            &[("age", "100")],
            operator(109),
        ),
        (
            "ttl_by_status",
            Rules {
                ttl: some(9),
                ttl_by_status: by_status(),
                ..plain()
            },
            404,
            max_age,
            operator(5),
        ),
        (
            "ttl_by_status, class",
            Rules {
                ttl_by_status: by_status(),
                ..plain()
            },
            410,
            &[],
            operator(6),
        ),
        (
            "ttl_by_status, another",
            Rules {
                ttl_by_status: by_status(),
                ..plain()
            },
            200,
            max_age,
            explicit(60),
        ),
        (
            "ttl_min raises",
            Rules {
                ttl_min: some(90),
                ..plain()
            },
            200,
            max_age,
            explicit(90),
        ),
        (
            "ttl_min leaves zero",
            Rules {
                ttl_min: some(90),
                ..plain()
            },
            200,
            &[("cache-control", "max-age=0")],
            explicit(0),
        ),
        (
            "ttl_max cuts",
            Rules {
                ttl_max: some(30),
                ..plain()
            },
            200,
            max_age,
            explicit(30),
        ),
        (
            "ttl_max cuts what ttl_min raised",
            Rules {
                ttl_min: some(90),
                ttl_max: some(30),
                ..plain()
            },
            200,
            max_age,
            explicit(30),
        ),
        (
            "ttl_max is not for ttl",
            Rules {
                ttl: some(90),
                ttl_max: some(30),
                ..plain()
            },
            200,
            max_age,
            operator(90),
        ),
        (
            "origin = ignore",
            Rules {
                origin: OriginFields::Ignore,
                ..plain()
            },
            200,
            max_age,
            None,
        ),
        (
            "origin = ignore, ttl",
            Rules {
                origin: OriginFields::Ignore,
                ttl: some(9),
                ..plain()
            },
            200,
            max_age,
            operator(9),
        ),
        (
            "x_accel_expires",
            Rules {
                x_accel_expires: true,
                ..plain()
            },
            200,
            &[
                ("x-accel-expires", "7"),
                ("age", "2"),
                ("cache-control", "max-age=60"),
            ],
            explicit(9),
        ),
        (
            "x_accel_expires, a time",
            Rules {
                x_accel_expires: true,
                ..plain()
            },
            200,
            &[("x-accel-expires", "@784111700")],
            explicit(0),
        ),
    ] {
        assert_eq!(lifetime_of(status, fields, &rules), expected, "{rule}");
    }
}
