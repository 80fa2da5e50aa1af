//! What may be stored, one row a clause.

#[path = "storable_credentials_tests.rs"]
mod credentials;
#[path = "storable_rules_tests.rs"]
mod rules;

use super::*;
use crate::cache::policy::testing::{headers, received};
use crate::fields::view::FieldView;

type Fields = &'static [(&'static str, &'static str)];

const ETAG: (&str, &str) = ("etag", "\"a\"");
const MODIFIED: (&str, &str) = ("last-modified", "Sun, 06 Nov 1994 07:49:37 GMT");

fn judged(request: Fields, status: u16, response: Fields, rules: &Rules) -> Result<Terms, Reason> {
    let (request, response) = (headers(request), headers(response));
    let asked = Asked {
        method: &Method::GET,
        path: "/x",
        headers: (&request).into(),
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
        200, 201, 202, 203, 204, 205, 206, 299, 300, 301, 302, 307, 308, 400, 401, 403, 404, 405,
        410, 414, 418, 429, 451, 500, 501, 502, 503, 599, 600, 999,
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
    for status in [100, 101, 102, 103, 199, 304, 412, 416] {
        check(
            "§3: not final, or about a condition or a range",
            &[],
            status,
            fresh,
            &rules,
            Err(Reason::StatusNotFinal),
        );
    }
    for status in [200, 203, 204, 206, 300, 301, 308, 404, 410] {
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
    for status in [201, 302, 307, 403, 405, 414, 500, 501, 503, 599] {
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
            path: "/x",
            headers: FieldView::Map(&HeaderMap::new()),
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
            path: "/x",
            headers: FieldView::Map(&HeaderMap::new()),
        };
        let found = evaluate_post(asked, TARGET, received(status, &response), rules).map(|_| ());
        assert_eq!(found, expected, "{clause}");
    }
}

#[test]
fn whom_a_verdict_concerns() {
    let [plain, password, cookie] =
        [&[][..], &[("authorization", "x")], &[("cookie", "a=1")]].map(headers);
    for (reason, expected) in [
        (Reason::NoStore, [true, true, true]),
        (Reason::Private, [true, true, true]),
        (Reason::SetCookie, [true, true, true]),
        (Reason::VaryStar, [true, true, true]),
        (Reason::Authorization, [false, true, false]),
        (Reason::CookieHeuristic, [false, false, true]),
        (Reason::RequestNoStore, [false, false, false]),
        (Reason::Invalidated, [false, false, false]),
    ] {
        let concerns = Concerns::of(reason);
        let found = [&plain, &password, &cookie].map(|request| concerns.includes(request));
        assert_eq!(found, expected, "{}", reason.word());
    }
}
