//! What the operator's rules make of a response, and which windows it gets.

use super::*;
use crate::cache::settings::StatusMatch;
use crate::fields::view::FieldView;

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
        ("ttl: a redirection", ttl(), &[], 302, &[], stored),
        ("ttl: what is not there", ttl(), &[], 404, &[], stored),
        (
            "ttl: never a failure",
            ttl(),
            &[],
            500,
            &[],
            Err(Reason::NoFreshness),
        ),
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
            path: "/x",
            headers: FieldView::Map(&HeaderMap::new()),
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

/// What the guard makes of a page, `/x.css`.
fn guarded(status: u16, response: &[(&str, &str)], rules: &Rules) -> Result<(), Reason> {
    let response = headers(response);
    let asked = Asked {
        method: &Method::GET,
        path: "/account/x.css",
        headers: FieldView::Map(&HeaderMap::new()),
    };
    evaluate(asked, received(status, &response), rules).map(|_| ())
}

#[test]
fn whose_word_lets_a_page_be_stored_under_the_name_of_a_file() {
    const PAGE: (&str, &str) = ("content-type", "text/html");
    let ttl = || Rules {
        ttl: Some(Duration::from_secs(9)),
        ..Rules::default()
    };
    let ignore = || Rules {
        origin: OriginFields::Ignore,
        ..ttl()
    };
    let by_status = |status| Rules {
        ttl_by_status: vec![(StatusMatch::Class(status), Duration::from_secs(9))],
        ..Rules::default()
    };
    let off = Rules {
        deception_guard: false,
        ..ttl()
    };
    let said = |directive| [PAGE, ("cache-control", directive)];
    let deceived = Err(Reason::TypeMismatch);
    for (case, rules, status, response, expected) in [
        ("ttl", ttl(), 200, &[PAGE][..], deceived),
        ("ttl, no type", ttl(), 200, &[], deceived),
        (
            "ttl, a sheet",
            ttl(),
            200,
            &[("content-type", "text/css")],
            Ok(()),
        ),
        ("off", off, 200, &[PAGE], Ok(())),
        (
            "a guess",
            Rules::default(),
            200,
            &[PAGE, MODIFIED],
            deceived,
        ),
        (
            "a guess, to be validated",
            Rules::default(),
            200,
            &[PAGE, ETAG],
            deceived,
        ),
        ("max-age", Rules::default(), 200, &said("max-age=9"), Ok(())),
        ("max-age beside ttl", ttl(), 200, &said("max-age=9"), Ok(())),
        (
            "max-age=0 beside ttl",
            ttl(),
            200,
            &said("max-age=0"),
            deceived,
        ),
        (
            "max-age, ignored",
            ignore(),
            200,
            &said("max-age=9"),
            deceived,
        ),
        ("public beside ttl", ttl(), 200, &said("public"), Ok(())),
        ("public, ignored", ignore(), 200, &said("public"), deceived),
        ("a class of good ones", by_status(2), 200, &[PAGE], deceived),
        ("a class of errors", by_status(4), 404, &[PAGE], Ok(())),
        ("an error's page by ttl", ttl(), 404, &[PAGE], deceived),
        ("a redirection", ttl(), 301, &[PAGE], Ok(())),
        ("nothing", ttl(), 204, &[], Ok(())),
        (
            "an empty body",
            ttl(),
            200,
            &[("content-length", "0")],
            Ok(()),
        ),
    ] {
        assert_eq!(guarded(status, response, &rules), expected, "{case}");
    }
}
