//! What may be stored, one row a clause.

use super::*;
use crate::cache::policy::testing::{headers, received};
use crate::cache::settings::StatusMatch;
use http::HeaderMap;

type Fields = &'static [(&'static str, &'static str)];

const ETAG: (&str, &str) = ("etag", "\"a\"");
const MODIFIED: (&str, &str) = ("last-modified", "Sun, 06 Nov 1994 07:49:37 GMT");

fn judged(request: Fields, status: u16, response: Fields, rules: &Rules) -> Result<Terms, Reason> {
    let (request, response) = (headers(request), headers(response));
    let asked = Asked {
        method: &Method::GET,
        headers: &request,
    };
    evaluate(asked, received(status, &response), rules)
}

fn check(
    clause: &str,
    request: Fields,
    status: u16,
    response: Fields,
    rules: &Rules,
    expected: Result<(), Reason>,
) {
    let found = judged(request, status, response, rules).map(|_| ());
    assert_eq!(
        found, expected,
        "{clause}: {request:?} {status} {response:?}"
    );
}

#[test]
fn statuses() {
    let rules = Rules::default();
    let fresh: Fields = &[("cache-control", "max-age=60")];
    for status in [
        200, 201, 202, 203, 204, 205, 206, 299, 300, 301, 302, 303, 307, 308, 400, 401, 403, 404,
        405, 410, 414, 416, 418, 429, 451, 499, 500, 501, 502, 503, 504, 599, 600, 999,
    ] {
        check(
            "§3: explicitly fresh, final",
            &[],
            status,
            fresh,
            &rules,
            Ok(()),
        );
    }
    for status in [100, 101, 102, 103, 199, 304] {
        check(
            "§3: not final",
            &[],
            status,
            fresh,
            &rules,
            Err(Reason::StatusNotFinal),
        );
    }
    check(
        "about a range",
        &[("range", "bytes=9-")],
        416,
        fresh,
        &rules,
        Err(Reason::StatusNotFinal),
    );
    for status in [200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501] {
        check("RFC 9110 §15.1", &[], status, &[MODIFIED], &rules, Ok(()));
        check(
            "RFC 9110 §15.1: validator only",
            &[],
            status,
            &[ETAG],
            &rules,
            Ok(()),
        );
        check(
            "nothing to go by",
            &[],
            status,
            &[],
            &rules,
            Err(Reason::NoFreshness),
        );
    }
    for status in [201, 302, 307, 403, 500, 503, 599] {
        check(
            "RFC 9110 §15.1: not these",
            &[],
            status,
            &[MODIFIED, ETAG],
            &rules,
            Err(Reason::NoFreshness),
        );
        check(
            "§3: public",
            &[],
            status,
            &[MODIFIED, ("cache-control", "public")],
            &rules,
            Ok(()),
        );
    }
}

#[test]
fn methods() {
    let fields = headers(&[("cache-control", "max-age=60")]);
    for method in ["HEAD", "POST", "PUT", "OPTIONS", "QUERY", "X", "get"] {
        let method = Method::from_bytes(method.as_bytes()).expect("a method in a test");
        let asked = Asked {
            method: &method,
            headers: &HeaderMap::new(),
        };
        let found = evaluate(asked, received(200, &fields), &Rules::default());
        assert_eq!(found, Err(Reason::UnsafeMethod), "{method}");
    }
}

#[test]
fn directives() {
    let rules = Rules::default();
    for (clause, request, status, response, expected) in [
        (
            "§5.2.2.5",
            &[][..],
            200,
            &[("cache-control", "no-store, max-age=60")][..],
            Err(Reason::NoStore),
        ),
        (
            "§5.2.2.5: any case",
            &[],
            200,
            &[
                ("cache-control", "MAX-AGE=60"),
                ("cache-control", "No-Store"),
            ],
            Err(Reason::NoStore),
        ),
        (
            "§5.2.1.5",
            &[("cache-control", "no-store")],
            200,
            &[("cache-control", "max-age=60")],
            Err(Reason::RequestNoStore),
        ),
        (
            "§5.2.2.3: understood",
            &[],
            200,
            &[("cache-control", "must-understand, no-store, max-age=60")],
            Ok(()),
        ),
        (
            "§5.2.2.3: not understood",
            &[],
            599,
            &[("cache-control", "must-understand, max-age=60")],
            Err(Reason::StatusUnknown),
        ),
        (
            "§5.2.2.3: not understood",
            &[],
            599,
            &[("cache-control", "must-understand, no-store, max-age=60")],
            Err(Reason::StatusUnknown),
        ),
        (
            "§5.2.2.3: not as it is defined",
            &[],
            200,
            &[("cache-control", "must-understand=1, no-store, max-age=60")],
            Err(Reason::NoStore),
        ),
        (
            "§5.2.2.7",
            &[],
            200,
            &[("cache-control", "private, max-age=60")],
            Err(Reason::Private),
        ),
        (
            "§5.2.2.7: conflicting",
            &[],
            200,
            &[("cache-control", "public, private, s-maxage=60")],
            Err(Reason::Private),
        ),
        (
            "§5.2.2.7: fields",
            &[],
            200,
            &[("cache-control", "private=\"x-a\", max-age=60")],
            Ok(()),
        ),
        (
            "§5.2.2.4: to be validated",
            &[],
            200,
            &[("cache-control", "no-cache, max-age=60"), ETAG],
            Ok(()),
        ),
        (
            "§5.2.2.4: nothing to validate by",
            &[],
            200,
            &[("cache-control", "no-cache, max-age=60")],
            Err(Reason::ExpiredNoValidator),
        ),
        (
            "§5.2.2.4: fields",
            &[],
            200,
            &[("cache-control", "no-cache=x-a, max-age=60")],
            Ok(()),
        ),
        (
            "§5.4: Pragma",
            &[],
            200,
            &[
                ("pragma", "no-cache, no-store"),
                ("cache-control", "max-age=60"),
            ],
            Ok(()),
        ),
        (
            "§5.4: Pragma in the request",
            &[("pragma", "no-cache")],
            200,
            &[("cache-control", "max-age=60")],
            Ok(()),
        ),
        (
            "§5.2.3: unknown",
            &[],
            200,
            &[("cache-control", "foo=no-store, max-age=60")],
            Ok(()),
        ),
        (
            "§4.2.4: stale on arrival",
            &[],
            200,
            &[("cache-control", "max-age=60"), ("age", "60")],
            Err(Reason::ExpiredNoValidator),
        ),
        (
            "§4.2.4: stale on arrival, validator",
            &[],
            200,
            &[("cache-control", "max-age=60"), ("age", "60"), ETAG],
            Ok(()),
        ),
        (
            "§4.2.4: stale on arrival, Last-Modified",
            &[],
            200,
            &[("cache-control", "max-age=0"), MODIFIED],
            Ok(()),
        ),
        (
            "§4.2.4: stale on arrival, no date",
            &[],
            200,
            &[("cache-control", "max-age=0"), ("last-modified", "0")],
            Err(Reason::ExpiredNoValidator),
        ),
        (
            "RFC 5861 §3: useful in its window",
            &[],
            200,
            &[("cache-control", "max-age=0, stale-while-revalidate=9")],
            Ok(()),
        ),
        (
            "RFC 5861 §4: useful in its window",
            &[],
            200,
            &[("cache-control", "max-age=0, stale-if-error=9")],
            Ok(()),
        ),
        (
            "§4.2.4: no window",
            &[],
            200,
            &[(
                "cache-control",
                "max-age=0, stale-if-error=9, must-revalidate",
            )],
            Err(Reason::ExpiredNoValidator),
        ),
        (
            "§5.3: expired",
            &[],
            200,
            &[("expires", "0")],
            Err(Reason::ExpiredNoValidator),
        ),
        (
            "RFC 9213 §2.2",
            &[],
            200,
            &[
                ("cache-control", "no-store, private"),
                ("cdn-cache-control", "max-age=60"),
            ],
            Ok(()),
        ),
        (
            "RFC 9213 §2.2",
            &[],
            200,
            &[
                ("cache-control", "max-age=60"),
                ("cdn-cache-control", "no-store"),
            ],
            Err(Reason::NoStore),
        ),
        (
            "RFC 9213 §2.2: invalid",
            &[],
            200,
            &[
                ("cache-control", "no-store"),
                ("cdn-cache-control", "max-age=60,"),
            ],
            Err(Reason::NoStore),
        ),
    ] {
        check(clause, request, status, response, &rules, expected);
    }
}

#[test]
fn credentials() {
    let rules = Rules::default();
    let password: Fields = &[("authorization", "Basic eDp5")];
    for (clause, value, expected) in [
        ("§3.5", "max-age=60", Err(Reason::Authorization)),
        ("§3.5: public", "public, max-age=60", Ok(())),
        ("§3.5: s-maxage", "s-maxage=60", Ok(())),
        (
            "§3.5: s-maxage unreadable",
            "s-maxage=x, max-age=60",
            Err(Reason::Authorization),
        ),
        (
            "§3.5: must-revalidate",
            "must-revalidate, max-age=60",
            Ok(()),
        ),
        (
            "§3.5: proxy-revalidate is not named",
            "proxy-revalidate, max-age=60",
            Err(Reason::Authorization),
        ),
        (
            "§5.2.2.7",
            "public, private, max-age=60",
            Err(Reason::Private),
        ),
    ] {
        let response = headers(&[("cache-control", value)]);
        let request = headers(password);
        let asked = Asked {
            method: &Method::GET,
            headers: &request,
        };
        let found = evaluate(asked, received(200, &response), &rules).map(|_| ());
        assert_eq!(found, expected, "{clause}");
    }
    let cookie: Fields = &[("cookie", "a=1")];
    for (rule, request, response, expected) in [
        (
            "Set-Cookie",
            &[][..],
            &[("set-cookie", "a=1"), ("cache-control", "max-age=60")][..],
            Err(Reason::SetCookie),
        ),
        (
            "Set-Cookie: public",
            &[],
            &[
                ("set-cookie", "a=1"),
                ("cache-control", "max-age=60, public"),
            ],
            Ok(()),
        ),
        (
            "Set-Cookie: s-maxage",
            &[],
            &[("set-cookie", "a=1"), ("cache-control", "s-maxage=60")],
            Ok(()),
        ),
        (
            "Set-Cookie: not stored (no-cache)",
            &[],
            &[
                ("set-cookie", "a=1"),
                ("cache-control", "max-age=60, no-cache=\"Set-Cookie\""),
            ],
            Ok(()),
        ),
        (
            "Set-Cookie: not stored (private)",
            &[],
            &[
                ("set-cookie", "a=1"),
                ("cache-control", "max-age=60, private=\"Set-Cookie\""),
            ],
            Ok(()),
        ),
        (
            "Cookie: explicitly fresh",
            cookie,
            &[("cache-control", "max-age=60")],
            Ok(()),
        ),
        (
            "Cookie: Expires",
            cookie,
            &[("expires", "Sun, 06 Nov 1994 09:49:37 GMT")],
            Ok(()),
        ),
        (
            "Cookie: a guess",
            cookie,
            &[MODIFIED],
            Err(Reason::CookieHeuristic),
        ),
        (
            "Cookie: a guess, public",
            cookie,
            &[MODIFIED, ("cache-control", "public")],
            Err(Reason::CookieHeuristic),
        ),
        (
            "Cookie: validator only",
            cookie,
            &[ETAG, ("cache-control", "no-cache")],
            Err(Reason::CookieHeuristic),
        ),
        (
            "Cookie: explicitly to be validated",
            cookie,
            &[ETAG, ("cache-control", "max-age=0")],
            Ok(()),
        ),
    ] {
        check(rule, request, 200, response, &rules, expected);
    }
}

#[test]
fn the_operators_rules() {
    let plain = Rules::default;
    let seconds = Duration::from_secs;
    let ttl = || Rules {
        ttl: Some(seconds(9)),
        ..plain()
    };
    let ignore = || Rules {
        origin: OriginFields::Ignore,
        ..ttl()
    };
    let negative = || Rules {
        ttl_by_status: vec![(StatusMatch::Class(5), seconds(1))],
        ..plain()
    };
    let clients = || Rules {
        clients: ClientDirectives::Ignore,
        ..plain()
    };
    let stored = Ok(());
    for (rule, rules, request, status, response, expected) in [
        ("ttl", ttl(), &[][..], 200, &[][..], stored),
        ("ttl: any status", ttl(), &[], 500, &[], stored),
        (
            "ttl: never no-store",
            ttl(),
            &[],
            200,
            &[("cache-control", "no-store")],
            Err(Reason::NoStore),
        ),
        (
            "ttl: never private",
            ttl(),
            &[],
            200,
            &[("cache-control", "private")],
            Err(Reason::Private),
        ),
        (
            "ttl: never Set-Cookie",
            ttl(),
            &[],
            200,
            &[("set-cookie", "a=1")],
            Err(Reason::SetCookie),
        ),
        (
            "ttl: never Authorization",
            ttl(),
            &[("authorization", "x")],
            200,
            &[],
            Err(Reason::Authorization),
        ),
        (
            "ttl: with a cookie",
            ttl(),
            &[("cookie", "a=1")],
            200,
            &[],
            stored,
        ),
        (
            "ttl: no-cache without a validator",
            ttl(),
            &[],
            200,
            &[("cache-control", "no-cache")],
            Err(Reason::ExpiredNoValidator),
        ),
        (
            "ignore",
            ignore(),
            &[],
            200,
            &[("cache-control", "max-age=0, no-cache"), ("expires", "0")],
            stored,
        ),
        (
            "ignore: never no-store",
            ignore(),
            &[],
            200,
            &[("cache-control", "no-store")],
            Err(Reason::NoStore),
        ),
        (
            "ignore: never private",
            ignore(),
            &[],
            200,
            &[("cache-control", "private")],
            Err(Reason::Private),
        ),
        (
            "ignore: never Set-Cookie",
            ignore(),
            &[],
            200,
            &[("set-cookie", "a=1")],
            Err(Reason::SetCookie),
        ),
        (
            "ignore: never Authorization",
            ignore(),
            &[("authorization", "x")],
            200,
            &[],
            Err(Reason::Authorization),
        ),
        (
            "ignore without ttl",
            Rules {
                ttl: None,
                ..ignore()
            },
            &[],
            200,
            &[("cache-control", "max-age=60"), ETAG],
            Err(Reason::NoFreshness),
        ),
        (
            "ttl_by_status: negative caching",
            negative(),
            &[],
            503,
            &[],
            stored,
        ),
        (
            "ttl_by_status: another status",
            negative(),
            &[],
            404,
            &[],
            Err(Reason::NoFreshness),
        ),
        (
            "a window of the operator is a use",
            Rules {
                stale_if_error: Some(seconds(9)),
                ..plain()
            },
            &[],
            200,
            &[("cache-control", "max-age=0")],
            stored,
        ),
        (
            "but not without any lifetime",
            Rules {
                stale_if_error: Some(seconds(9)),
                ..plain()
            },
            &[],
            200,
            &[],
            Err(Reason::NoFreshness),
        ),
        (
            "clients = ignore",
            clients(),
            &[("cache-control", "no-store")],
            200,
            &[("cache-control", "max-age=9")],
            stored,
        ),
        (
            "x_accel_expires = 0",
            Rules {
                x_accel_expires: true,
                ..plain()
            },
            &[],
            200,
            &[
                ("x-accel-expires", "0"),
                ("cache-control", "max-age=9"),
                ETAG,
            ],
            Err(Reason::NoStore),
        ),
    ] {
        check(rule, request, status, response, &rules, expected);
    }
}

#[test]
fn windows() {
    use WhenStale::{AlwaysValidate, MustRevalidate, Windows, WindowsOnly};
    let plain = || Rules {
        stale_if_unreachable: Duration::from_secs(50),
        ..Rules::default()
    };
    let seconds = Duration::from_secs;
    let operator = || Rules {
        stale_while_revalidate: Some(seconds(7)),
        stale_if_error: Some(seconds(8)),
        ..plain()
    };
    let ignore = || Rules {
        origin: OriginFields::Ignore,
        ttl: Some(seconds(9)),
        ..plain()
    };
    for (clause, rules, value, expected) in [
        ("§4.2.4: none", plain(), "max-age=9", (Windows, 0, 0, 50)),
        (
            "RFC 5861",
            plain(),
            "max-age=9, stale-while-revalidate=1, stale-if-error=2",
            (Windows, 1, 2, 50),
        ),
        (
            "RFC 5861 §4: longer than the operator's for no connection",
            plain(),
            "max-age=9, stale-if-error=60",
            (Windows, 0, 60, 60),
        ),
        (
            "RFC 5861: unreadable",
            plain(),
            "max-age=9, stale-while-revalidate=x, stale-if-error",
            (Windows, 0, 0, 50),
        ),
        (
            "the operator's replace the origin's",
            operator(),
            "max-age=9, stale-while-revalidate=1, stale-if-error=2",
            (Windows, 7, 8, 50),
        ),
        (
            "§5.2.2.10",
            plain(),
            "s-maxage=9",
            (MustRevalidate, 0, 0, 0),
        ),
        (
            "§5.2.2.10: unreadable",
            plain(),
            "s-maxage=x",
            (MustRevalidate, 0, 0, 0),
        ),
        (
            "§5.2.2.10 with its own window",
            plain(),
            "s-maxage=9, stale-while-revalidate=1",
            (WindowsOnly, 1, 0, 1),
        ),
        (
            "§5.2.2.10 with its own window",
            plain(),
            "s-maxage=9, stale-if-error=2",
            (WindowsOnly, 0, 2, 2),
        ),
        (
            "§5.2.2.10 with the operator's window",
            operator(),
            "s-maxage=9",
            (WindowsOnly, 7, 8, 8),
        ),
        (
            "§5.2.2.2",
            operator(),
            "max-age=9, must-revalidate, stale-while-revalidate=1",
            (MustRevalidate, 0, 0, 0),
        ),
        (
            "§5.2.2.8",
            operator(),
            "max-age=9, proxy-revalidate, stale-if-error=1",
            (MustRevalidate, 0, 0, 0),
        ),
        (
            "§5.2.2.4",
            operator(),
            "max-age=9, no-cache, stale-if-error=1",
            (AlwaysValidate, 0, 0, 0),
        ),
        (
            "§5.2.2.4: fields",
            plain(),
            "max-age=9, no-cache=x-a",
            (Windows, 0, 0, 50),
        ),
        (
            "ignore",
            ignore(),
            "no-cache, s-maxage=9, stale-if-error=1",
            (Windows, 0, 0, 50),
        ),
        (
            "ignore: never stale stays",
            ignore(),
            "must-revalidate",
            (MustRevalidate, 0, 0, 0),
        ),
    ] {
        let response = headers(&[("cache-control", value), ETAG]);
        let asked = Asked {
            method: &Method::GET,
            headers: &HeaderMap::new(),
        };
        let terms = evaluate(asked, received(200, &response), &rules);
        let found = terms.map(|terms| {
            (
                terms.when_stale,
                terms.while_revalidate.as_secs(),
                terms.if_error.as_secs(),
                terms.if_unreachable.as_secs(),
            )
        });
        assert_eq!(found, Ok(expected), "{clause}");
    }
}

#[test]
fn immutable() {
    let value: Fields = &[("cache-control", "immutable, max-age=9")];
    let immutable = |rules: &Rules| judged(&[], 200, value, rules).map(|terms| terms.immutable);
    assert_eq!(immutable(&Rules::default()), Ok(true));
    let ignore = Rules {
        origin: OriginFields::Ignore,
        ttl: Some(Duration::from_secs(1)),
        ..Rules::default()
    };
    assert_eq!(immutable(&ignore), Ok(false));
}

#[test]
fn post() {
    const TARGET: Target<'_> = Target {
        scheme: "http",
        authority: "a.example",
        path: "/x",
        query: Some("q"),
    };
    const FRESH: (&str, &str) = ("cache-control", "max-age=60");
    let ttl = Rules {
        ttl: Some(Duration::from_secs(9)),
        ..Rules::default()
    };
    let plain = Rules::default();
    let refused = Err(Reason::UnsafeMethod);
    for (clause, rules, method, status, response, expected) in [
        (
            "RFC 9110 §9.3.3",
            &plain,
            Method::POST,
            200,
            &[FRESH, ("content-location", "/x?q")][..],
            Ok(()),
        ),
        (
            "RFC 9110 §9.3.3: absolute",
            &plain,
            Method::POST,
            200,
            &[FRESH, ("content-location", "http://A.example:80/x?q")],
            Ok(()),
        ),
        (
            "RFC 9110 §9.3.3: relative",
            &plain,
            Method::POST,
            201,
            &[FRESH, ("content-location", "x?q")],
            Ok(()),
        ),
        (
            "RFC 9110 §9.3.3: no Content-Location",
            &plain,
            Method::POST,
            200,
            &[FRESH],
            refused,
        ),
        (
            "RFC 9110 §9.3.3: another path",
            &plain,
            Method::POST,
            200,
            &[FRESH, ("content-location", "/y?q")],
            refused,
        ),
        (
            "RFC 9110 §9.3.3: another query",
            &plain,
            Method::POST,
            200,
            &[FRESH, ("content-location", "/x")],
            refused,
        ),
        (
            "RFC 9110 §9.3.3: another origin",
            &plain,
            Method::POST,
            200,
            &[FRESH, ("content-location", "https://a.example/x?q")],
            refused,
        ),
        (
            "RFC 9110 §9.3.3: no explicit freshness",
            &plain,
            Method::POST,
            200,
            &[MODIFIED, ("content-location", "/x?q")],
            refused,
        ),
        (
            "the operator's ttl is not the origin's word",
            &ttl,
            Method::POST,
            200,
            &[FRESH, ("content-location", "/x?q")],
            refused,
        ),
        (
            "a failure",
            &plain,
            Method::POST,
            404,
            &[FRESH, ("content-location", "/x?q")],
            refused,
        ),
        (
            "a part",
            &plain,
            Method::POST,
            206,
            &[FRESH, ("content-location", "/x?q")],
            refused,
        ),
        (
            "another method",
            &plain,
            Method::PUT,
            200,
            &[FRESH, ("content-location", "/x?q")],
            refused,
        ),
        (
            "§5.2.2.5",
            &plain,
            Method::POST,
            200,
            &[
                ("cache-control", "no-store, max-age=60"),
                ("content-location", "/x?q"),
            ],
            Err(Reason::NoStore),
        ),
    ] {
        let response = headers(response);
        let asked = Asked {
            method: &method,
            headers: &HeaderMap::new(),
        };
        let found = evaluate_post(asked, TARGET, received(status, &response), rules).map(|_| ());
        assert_eq!(found, expected, "{clause}");
    }
}

#[test]
fn what_is_remembered_against_a_target() {
    for reason in [
        Reason::NoStore,
        Reason::Private,
        Reason::SetCookie,
        Reason::NoFreshness,
        Reason::VaryStar,
    ] {
        assert!(is_about_response(reason), "{}", reason.word());
    }
    for reason in [
        Reason::RequestNoStore,
        Reason::Authorization,
        Reason::CookieHeuristic,
        Reason::Invalidated,
    ] {
        assert!(!is_about_response(reason), "{}", reason.word());
    }
}
