//! Conditional requests and what comes back, one row a clause.

use super::*;
use crate::cache::policy::Lifetime;
use crate::cache::policy::testing::{self, headers, received, terms};
use std::sync::Arc;
use std::time::Duration;

const DATE: &str = "Sun, 06 Nov 1994 08:00:00 GMT";
const MODIFIED: &str = "Sun, 06 Nov 1994 07:49:37 GMT";
const LATER: &str = "Sun, 06 Nov 1994 07:49:38 GMT";

type Fields<'a> = &'a [(&'a str, &'a str)];

fn stored(fields: Fields<'_>) -> Arc<StoredResponse> {
    testing::stored(StatusCode::OK, &headers(fields), terms(10), b"12345")
}

fn lines(headers: &HeaderMap) -> Vec<String> {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let mut lines: Vec<_> = headers
        .iter()
        .map(|(name, value)| format!("{name}: {}", text(value)))
        .collect();
    lines.sort();
    lines
}

fn asked(headers: &HeaderMap) -> Asked<'_> {
    Asked {
        method: &Method::GET,
        path: "/x",
        headers: headers.into(),
    }
}

#[test]
fn our_requests() {
    let client = headers(&[
        ("accept", "*/*"),
        ("if-match", "\"c\""),
        ("if-none-match", "\"c\""),
        ("if-modified-since", DATE),
        ("if-unmodified-since", DATE),
        ("if-range", "\"c\""),
        ("range", "bytes=0-1"),
    ]);
    for (clause, fields, expected) in [
        ("§4.3.1: no validator", &[][..], &["accept: */*"][..]),
        (
            "§4.3.1: both",
            &[("etag", "W/\"a\""), ("last-modified", MODIFIED)],
            &[
                "accept: */*",
                "if-modified-since: Sun, 06 Nov 1994 07:49:37 GMT",
                "if-none-match: W/\"a\"",
            ],
        ),
        (
            "§4.3.1: Last-Modified",
            &[("last-modified", MODIFIED)],
            &[
                "accept: */*",
                "if-modified-since: Sun, 06 Nov 1994 07:49:37 GMT",
            ],
        ),
        (
            "§4.3.1: no date",
            &[("last-modified", "0")],
            &["accept: */*"],
        ),
        (
            "§4.3.1: as it came",
            &[("etag", "abc")],
            &["accept: */*", "if-none-match: abc"],
        ),
    ] {
        assert_eq!(
            lines(&request_headers(&client, Some(&*stored(fields)))),
            expected,
            "{clause}"
        );
    }
    assert_eq!(
        lines(&request_headers(&client, None)),
        ["accept: */*"],
        "nothing stored"
    );
}

#[test]
fn which_one_a_304_means() {
    for (clause, not_modified, ours, expected) in [
        (
            "§4.3.4: strong",
            &[("etag", "\"a\"")][..],
            &[("etag", "\"a\"")][..],
            true,
        ),
        (
            "§4.3.4: another strong",
            &[("etag", "\"b\"")],
            &[("etag", "\"a\"")],
            false,
        ),
        (
            "§4.3.4: strong, ours weak",
            &[("etag", "\"a\"")],
            &[("etag", "W/\"a\"")],
            false,
        ),
        (
            "§4.3.4: weak",
            &[("etag", "W/\"a\"")],
            &[("etag", "W/\"a\"")],
            true,
        ),
        (
            "§4.3.4: weak, ours strong",
            &[("etag", "W/\"a\"")],
            &[("etag", "\"a\"")],
            true,
        ),
        (
            "§4.3.4: another weak",
            &[("etag", "W/\"b\"")],
            &[("etag", "W/\"a\"")],
            false,
        ),
        (
            "§4.3.4: ours has none",
            &[("etag", "\"a\"")],
            &[("last-modified", MODIFIED)],
            false,
        ),
        (
            "§4.3.4: the tag decides",
            &[("etag", "\"b\""), ("last-modified", MODIFIED)],
            &[("etag", "\"a\""), ("last-modified", MODIFIED)],
            false,
        ),
        (
            "§4.3.4: Last-Modified",
            &[("last-modified", MODIFIED)],
            &[("last-modified", MODIFIED)],
            true,
        ),
        (
            "§4.3.4: Last-Modified in another format",
            &[("last-modified", "Sunday, 06-Nov-94 07:49:37 GMT")],
            &[("last-modified", MODIFIED)],
            true,
        ),
        (
            "§4.3.4: another Last-Modified",
            &[("last-modified", LATER)],
            &[("last-modified", MODIFIED)],
            false,
        ),
        (
            "no tags by the grammar",
            &[("etag", "abc")],
            &[("etag", "abc")],
            true,
        ),
        (
            "no tags by the grammar",
            &[("etag", "abd")],
            &[("etag", "abc")],
            false,
        ),
        (
            "§4.3.4, departed from: no validator",
            &[("date", DATE)],
            &[("etag", "\"a\"")],
            true,
        ),
    ] {
        assert_eq!(
            is_about(&headers(not_modified), &stored(ours)),
            expected,
            "{clause}"
        );
    }
}

#[test]
fn freshening() {
    let ours: Fields<'_> = &[
        ("date", DATE),
        ("cache-control", "max-age=10"),
        ("etag", "\"a\""),
        ("content-length", "5"),
        ("content-type", "text/plain"),
        ("content-encoding", "br"),
        ("x-a", "1"),
        ("x-a", "2"),
        ("x-b", "1"),
    ];
    let theirs: Fields<'_> = &[
        ("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("cache-control", "max-age=60"),
        ("age", "5"),
        ("etag", "W/\"a\""),
        ("content-length", "0"),
        ("content-type", "text/html"),
        ("content-encoding", "gzip"),
        ("content-range", "bytes 0-1/2"),
        ("x-a", "3"),
        ("x-c", "4"),
        ("x-c", "5"),
        ("connection", "x-d"),
        ("x-d", "1"),
        ("keep-alive", "timeout=1"),
        ("set-cookie2", "x"),
    ];
    let (request, not_modified) = (HeaderMap::new(), headers(theirs));
    let (fields, terms) = freshen(
        asked(&request),
        received(304, &not_modified),
        &stored(ours),
        &Rules::default(),
    );
    assert_eq!(
        lines(&fields),
        [
            "cache-control: max-age=60",
            "content-encoding: br",
            "content-length: 5",
            "content-type: text/html",
            "date: Sun, 06 Nov 1994 08:49:37 GMT",
            "etag: W/\"a\"",
            "set-cookie2: x",
            "x-a: 3",
            "x-b: 1",
            "x-c: 4",
            "x-c: 5",
        ],
        "§3.2"
    );
    let terms = terms.map(|terms| (terms.lifetime, terms.initial_age));
    let seconds = Duration::from_secs;
    assert_eq!(
        terms,
        Ok((Lifetime::Explicit(seconds(60)), seconds(5))),
        "§4.3.4, §4.2.3"
    );
}

#[test]
fn what_a_304_does_to_the_terms() {
    let ours: Fields<'_> = &[
        ("date", DATE),
        ("cache-control", "max-age=10, public"),
        ("etag", "\"a\""),
        ("x-a", "1"),
    ];
    for (clause, request, theirs, expected) in [
        ("§4.3.4: no new directives", &[][..], &[][..], Ok(10)),
        (
            "§4.3.4: the old Date says nothing of the new age",
            &[],
            &[("etag", "\"a\"")],
            Ok(10),
        ),
        (
            "§4.3.4: longer",
            &[],
            &[("cache-control", "max-age=100")],
            Ok(100),
        ),
        (
            "§5.2.2.5",
            &[],
            &[("cache-control", "no-store")],
            Err(Reason::NoStore),
        ),
        (
            "§5.2.2.7",
            &[],
            &[("cache-control", "private")],
            Err(Reason::Private),
        ),
        (
            "Set-Cookie",
            &[],
            &[("cache-control", "max-age=9"), ("set-cookie", "a=1")],
            Err(Reason::SetCookie),
        ),
        ("Set-Cookie, public", &[], &[("set-cookie", "a=1")], Ok(10)),
        (
            "§5.2.1.5",
            &[("cache-control", "no-store")],
            &[],
            Err(Reason::RequestNoStore),
        ),
        ("stale again", &[], &[("cache-control", "max-age=0")], Ok(0)),
    ] {
        let (request, theirs) = (headers(request), headers(theirs));
        let (fields, terms) = freshen(
            asked(&request),
            received(304, &theirs),
            &stored(ours),
            &Rules::default(),
        );
        let found = terms.map(|terms| terms.lifetime.duration().as_secs());
        assert_eq!(found, expected, "{clause}");
        assert_eq!(
            terms.map_or(Duration::ZERO, |terms| terms.initial_age),
            Duration::ZERO,
            "{clause}"
        );
        assert!(fields.contains_key("x-a"), "{clause}");
    }
    let named = headers(&[("cache-control", "max-age=9, no-cache=x-a")]);
    let request = HeaderMap::new();
    let (fields, _) = freshen(
        asked(&request),
        received(304, &named),
        &stored(ours),
        &Rules::default(),
    );
    assert!(
        !fields.contains_key("x-a"),
        "§5.2.2.4: a field stored before it was named"
    );
}

#[test]
fn updates_by_head() {
    let ours: Fields<'_> = &[
        ("date", DATE),
        ("cache-control", "max-age=10"),
        ("etag", "\"a\""),
        ("last-modified", MODIFIED),
        ("content-length", "5"),
    ];
    for (clause, status, head, expected) in [
        (
            "§4.3.5: the same",
            200,
            &[
                ("etag", "\"a\""),
                ("last-modified", MODIFIED),
                ("content-length", "5"),
            ][..],
            Some(true),
        ),
        (
            "§4.3.5: any received ones",
            200,
            &[("etag", "\"a\"")],
            Some(true),
        ),
        (
            "§4.3.5: none received",
            200,
            &[("cache-control", "max-age=60")],
            Some(true),
        ),
        (
            "§4.3.5: another tag",
            200,
            &[("etag", "\"b\"")],
            Some(false),
        ),
        (
            "§4.3.5: another Last-Modified",
            200,
            &[("etag", "\"a\""), ("last-modified", LATER)],
            Some(false),
        ),
        (
            "§4.3.5: another length",
            200,
            &[("etag", "\"a\""), ("content-length", "6")],
            Some(false),
        ),
        (
            "§4.3.5: no length",
            200,
            &[("content-length", "x")],
            Some(false),
        ),
        ("§4.3.5: only 200", 204, &[("etag", "\"b\"")], None),
        ("§4.3.5: only 200", 404, &[], None),
        ("§4.3.5: only 200", 304, &[("etag", "\"a\"")], None),
    ] {
        let (request, head) = (HeaderMap::new(), headers(head));
        let update = update_by_head(
            asked(&request),
            received(status, &head),
            &stored(ours),
            &Rules::default(),
        );
        let found = match update {
            HeadUpdate::None => None,
            HeadUpdate::Freshen(fields, terms) => {
                assert_eq!(
                    fields.get("content-length").map(HeaderValue::as_bytes),
                    Some(&b"5"[..]),
                    "{clause}"
                );
                Some(terms.is_ok())
            }
            HeadUpdate::Stale => Some(false),
        };
        assert_eq!(found, expected, "{clause}");
    }
    let status = StatusCode::MOVED_PERMANENTLY;
    let redirect = testing::stored(status, &headers(ours), terms(10), b"12345");
    let (request, head) = (HeaderMap::new(), headers(&[("etag", "\"a\"")]));
    let update = update_by_head(
        asked(&request),
        received(200, &head),
        &redirect,
        &Rules::default(),
    );
    assert_eq!(update, HeadUpdate::Stale, "the status has changed");
}
