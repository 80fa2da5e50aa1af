//! What can be put together, asked for and served, one row for each clause.

use super::*;
use crate::cache::policy::{Lifetime, WhenStale};
use crate::fields::range::content_range;
use http::header::{CACHE_CONTROL, IF_NONE_MATCH};
use std::time::{Duration, UNIX_EPOCH};

mod completion;
mod properties;

const MODIFIED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const LATER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";
const MOST: u64 = 1024 * 1024;

fn map(fields: &[(HeaderName, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(name, HeaderValue::from_str(value).expect("a value"));
    }
    headers
}

fn now() -> Moment {
    Moment {
        at: crate::clock::now(),
        wall: UNIX_EPOCH + Duration::from_secs(784_111_800),
    }
}

fn terms(lifetime: u64) -> Terms {
    Terms {
        received: crate::clock::now(),
        initial_age: Duration::ZERO,
        lifetime: Lifetime::Explicit(Duration::from_secs(lifetime)),
        when_stale: WhenStale::Windows,
        while_revalidate: Duration::ZERO,
        if_error: Duration::ZERO,
        if_unreachable: Duration::ZERO,
        immutable: false,
        purged: false,
    }
}

/// An octet of a version: neighbours and versions differ.
fn octet(version: u8, at: u64) -> u8 {
    let low = u8::try_from(at % 251).expect("below 256");
    low.wrapping_mul(7).wrapping_add(version.wrapping_mul(101))
}

fn octets(version: u8, range: Range<u64>) -> Vec<u8> {
    range.map(|at| octet(version, at)).collect()
}

/// A part of a version, of so many octets where that is told, its body in two pieces.
fn part(version: u8, range: Range<u64>, total: Option<u64>) -> Partial {
    let tag = format!("\"v{version}\"");
    let fields = map(&[(ETAG, &tag), (CONTENT_RANGE, &content_range(&range, total))]);
    let mut body = Bytes::from(octets(version, range));
    let front = body.split_to(body.len() / 2);
    Partial::from_206(
        fields,
        terms(60),
        Nominated::default(),
        "r".into(),
        Body::new(vec![front, body]),
        MOST,
    )
    .expect("a usable part")
}

/// What is left of two.
fn partial(combined: Combined) -> Partial {
    match combined {
        Combined::Partial(partial) => partial,
        other => panic!("not all, and of one representation: {other:?}"),
    }
}

fn held(partial: &Partial) -> Vec<Range<u64>> {
    partial.ranges().collect()
}

fn all(body: &Body) -> Vec<u8> {
    body.slice(0..body.length()).flatten().collect()
}

/// RFC 9111 §3.3, §3.4; RFC 9110 §14.4, §15.3.7.2, §15.3.7.3.
#[test]
fn what_can_be_combined() {
    let tag = (ETAG, "\"a\"");
    let range = (CONTENT_RANGE, "bytes 2-4/10");
    let unusable = Err(Reason::PartialUnusable);
    for (clause, fields, octets, expected) in [
        ("a strong tag", vec![tag.clone(), range.clone()], 3, Ok(())),
        (
            "a strong date",
            vec![(LAST_MODIFIED, MODIFIED), (DATE, LATER), range.clone()],
            3,
            Ok(()),
        ),
        (
            "an unknown length",
            vec![tag.clone(), (CONTENT_RANGE, "bytes 2-4/*")],
            3,
            Ok(()),
        ),
        ("no validator", vec![range.clone()], 3, unusable),
        (
            "a weak tag",
            vec![(ETAG, "W/\"a\""), range.clone()],
            3,
            unusable,
        ),
        (
            "a weak tag and a date",
            vec![
                (ETAG, "W/\"a\""),
                (LAST_MODIFIED, MODIFIED),
                (DATE, LATER),
                range.clone(),
            ],
            3,
            unusable,
        ),
        (
            "an unreadable tag",
            vec![(ETAG, "a"), range.clone()],
            3,
            unusable,
        ),
        (
            "two tags",
            vec![tag.clone(), tag.clone(), range.clone()],
            3,
            unusable,
        ),
        (
            "a date within its second",
            vec![(LAST_MODIFIED, MODIFIED), (DATE, MODIFIED), range.clone()],
            3,
            unusable,
        ),
        (
            "a date without another",
            vec![(LAST_MODIFIED, MODIFIED), range.clone()],
            3,
            unusable,
        ),
        ("no Content-Range", vec![tag.clone()], 3, unusable),
        (
            "two of them",
            vec![tag.clone(), range.clone(), range.clone()],
            3,
            unusable,
        ),
        (
            "beyond the whole",
            vec![tag.clone(), (CONTENT_RANGE, "bytes 2-10/10")],
            9,
            unusable,
        ),
        (
            "unsatisfied",
            vec![tag.clone(), (CONTENT_RANGE, "bytes */10")],
            0,
            unusable,
        ),
        (
            "another unit",
            vec![tag.clone(), (CONTENT_RANGE, "items 2-4/10")],
            3,
            unusable,
        ),
        (
            "multipart",
            vec![
                tag.clone(),
                range.clone(),
                (CONTENT_TYPE, "Multipart/Byteranges ;boundary=x"),
            ],
            3,
            unusable,
        ),
        (
            "too short",
            vec![tag.clone(), range.clone()],
            2,
            Err(Reason::Incomplete),
        ),
        (
            "too long",
            vec![tag.clone(), range.clone()],
            4,
            Err(Reason::Incomplete),
        ),
        (
            "of a whole too large",
            vec![tag.clone(), (CONTENT_RANGE, "bytes 2-4/1048577")],
            3,
            Err(Reason::TooLarge),
        ),
    ] {
        let body = Body::new(vec![Bytes::from(vec![0; octets])]);
        let made = Partial::from_206(
            map(&fields),
            terms(60),
            Nominated::default(),
            "r".into(),
            body,
            MOST,
        );
        assert_eq!(made.map(|_| ()), expected, "{clause}");
    }
}

/// RFC 9111 §3.4.
#[test]
fn parts_of_one_representation_are_joined() {
    let first = part(1, 0..10, Some(40));
    let second = partial(first.with(part(1, 20..30, Some(40)), MOST));
    assert_eq!(held(&second), [0..10, 20..30]);
    let overlapping = partial(second.with(part(1, 5..22, None), MOST));
    assert_eq!(
        held(&overlapping).as_slice(),
        std::slice::from_ref(&(0..30))
    );
    let answer: Vec<u8> = overlapping
        .answer(&(3..28))
        .expect("held")
        .flatten()
        .collect();
    assert_eq!(answer, octets(1, 3..28));
    match overlapping.with(part(1, 30..40, Some(40)), MOST) {
        Combined::Complete(whole) => {
            assert_eq!(whole.status, 200);
            assert_eq!(all(&whole.body), octets(1, 0..40));
            assert_eq!(whole.fields.lines().get(&CONTENT_LENGTH), Some(&b"40"[..]));
            assert_eq!(whole.fields.lines().get(&CONTENT_RANGE), None);
        }
        other => panic!("nothing is missing: {other:?}"),
    }
}

/// RFC 9111 §3.4: "if they all share the same strong validator".
#[test]
fn nothing_else_is_joined() {
    let first = part(1, 0..10, Some(40));
    let longer = part(1, 10..20, Some(50));
    let another = part(2, 10..20, Some(40));
    let mut lying = part(2, 5..15, Some(40));
    lying.validator = first.validator.clone();
    let mut beyond = part(1, 50..60, None);
    beyond.total = None;
    let unlike_kinds = Partial {
        validator: StrongValidator::Date(UNIX_EPOCH),
        ..part(1, 10..20, Some(40))
    };
    for (why, newer) in [
        ("another tag", another),
        ("another length", longer),
        ("other octets where both have some", lying),
        ("octets beyond the end", beyond),
        ("a date and a tag", unlike_kinds),
    ] {
        let expected = held(&newer);
        match first.with(newer, MOST) {
            Combined::Replaced(left) => assert_eq!(held(&left), expected, "{why}"),
            other => panic!("{why}: {other:?}"),
        }
    }
}

/// RFC 9111 §3.2, RFC 9110 §15.3.7.3.
#[test]
fn the_newer_fields_count() {
    let stored_fields = map(&[
        (ETAG, "\"a\""),
        (CONTENT_RANGE, "bytes 0-0/9"),
        (CONTENT_LENGTH, "1"),
        (CACHE_CONTROL, "max-age=1"),
        (CACHE_CONTROL, "public"),
        (DATE, MODIFIED),
        (CONTENT_TYPE, "text/plain"),
    ]);
    let newer_fields = map(&[
        (ETAG, "\"a\""),
        (CONTENT_RANGE, "bytes 5-5/9"),
        (CONTENT_LENGTH, "1"),
        (CACHE_CONTROL, "max-age=2"),
        (DATE, LATER),
    ]);
    let make = |fields, lifetime| {
        let body = Body::new(vec!["x".into()]);
        Partial::from_206(
            fields,
            terms(lifetime),
            Nominated::default(),
            "r".into(),
            body,
            MOST,
        )
        .expect("a usable part")
    };
    let newer = make(newer_fields, 2);
    let newer_terms = newer.terms;
    let combined = partial(make(stored_fields, 1).with(newer, MOST));
    let expected = map(&[
        (ETAG, "\"a\""),
        (CACHE_CONTROL, "max-age=2"),
        (DATE, LATER),
        (CONTENT_TYPE, "text/plain"),
    ]);
    assert_eq!(combined.fields.lines().to_header_map(), expected);
    assert_eq!(combined.terms, newer_terms);
}

/// RFC 9111 §3.3: only what "specifies a range wholly within the incomplete response".
#[test]
fn requests_that_a_part_is_enough_for() {
    let known = partial(part(1, 0..10, Some(40)).with(part(1, 30..40, Some(40)), MOST));
    let unknown = part(1, 10..20, None);
    for (stored, request, expected) in [
        (
            &known,
            vec![(RANGE, "bytes=0-9")],
            Some((206, "bytes 0-9/40")),
        ),
        (
            &known,
            vec![(RANGE, "bytes=3-4")],
            Some((206, "bytes 3-4/40")),
        ),
        (
            &known,
            vec![(RANGE, "bytes=-10")],
            Some((206, "bytes 30-39/40")),
        ),
        (
            &known,
            vec![(RANGE, "bytes=35-")],
            Some((206, "bytes 35-39/40")),
        ),
        (
            &known,
            vec![(RANGE, "bytes=35-99")],
            Some((206, "bytes 35-39/40")),
        ),
        (&known, vec![(RANGE, "bytes=0-1,-1")], Some((206, ""))),
        (&known, vec![(RANGE, "bytes=0-1,15-16")], None),
        (&known, vec![(RANGE, "bytes=0-10")], None),
        (&known, vec![(RANGE, "bytes=9-30")], None),
        (&known, vec![(RANGE, "bytes=-11")], None),
        (&known, vec![(RANGE, "bytes=10-")], None),
        (&known, vec![(RANGE, "bytes=40-")], None),
        (&known, vec![], None),
        (&known, vec![(RANGE, "lines=0-1")], None),
        // The condition is about the whole, so is its answer.
        (&known, vec![(IF_NONE_MATCH, "\"v1\"")], None),
        (
            &known,
            vec![(IF_NONE_MATCH, "\"v1\""), (RANGE, "bytes=0-1")],
            Some((304, "")),
        ),
        (
            &known,
            vec![(IF_RANGE, "\"v1\""), (RANGE, "bytes=0-1")],
            Some((206, "bytes 0-1/40")),
        ),
        (
            &known,
            vec![(IF_RANGE, "\"v2\""), (RANGE, "bytes=0-1")],
            None,
        ),
        (
            &unknown,
            vec![(RANGE, "bytes=10-19")],
            Some((206, "bytes 10-19/*")),
        ),
        (&unknown, vec![(RANGE, "bytes=10-20")], None),
        (&unknown, vec![(RANGE, "bytes=10-")], None),
        (&unknown, vec![(RANGE, "bytes=-1")], None),
        (&unknown, vec![(RANGE, "bytes=11-12,14-15")], None),
        (
            &unknown,
            vec![(IF_NONE_MATCH, "\"v1\""), (RANGE, "bytes=11-12")],
            Some((304, "")),
        ),
    ] {
        let found = stored.plan(&Method::GET, &map(&request), now());
        let seen = found.as_ref().map(|plan| {
            let (status, headers) = plan.head(&stored.view(now()));
            let octets = stored.body(plan).iter().map(Bytes::len).sum::<usize>();
            assert_eq!(plan.length(stored.total), Some(octets as u64));
            if status == 206 {
                assert_eq!(headers[CONTENT_LENGTH], octets.to_string(), "{request:?}");
            }
            let range = headers
                .get(CONTENT_RANGE)
                .map(|value| value.to_str().expect("ASCII"));
            (status.as_u16(), range.unwrap_or_default().to_owned())
        });
        let expected = expected.map(|(status, range)| (status, range.to_owned()));
        assert_eq!(seen, expected, "{request:?}");
        assert_eq!(stored.plan(&Method::HEAD, &map(&request), now()), None);
    }
}

#[test]
fn parts_are_bounded() {
    let mut stored = part(1, 0..3, Some(1_000));
    for n in 1..40 {
        let start = n * 10;
        stored = partial(stored.with(part(1, start..start + 1 + n % 2, Some(1_000)), MOST));
        assert!(held(&stored).len() <= octets::MOST_PARTS);
        assert_eq!(held(&stored).last().map(|range| range.start), Some(start));
    }
    assert_eq!(
        held(&stored).first(),
        Some(&(0..3)),
        "the smallest go first"
    );
    // Of an unknown whole the octets are bounded all the same.
    let unknown = part(1, 0..600, None);
    match unknown.with(part(1, 700..1_200, None), 1_000) {
        Combined::Replaced(left) => assert_eq!(left.octets(), 500),
        other => panic!("too many octets: {other:?}"),
    }
}

/// A client that asks octet by octet does not make each of them cost a piece.
#[test]
fn small_pieces_are_copied_together() {
    let mut stored = part(1, 0..1, Some(500));
    for at in 1..400 {
        stored = partial(stored.with(part(1, at..at + 1, Some(500)), MOST));
    }
    let [only] = stored.parts.as_slice() else {
        panic!("all of them touch");
    };
    assert_eq!(only.body.pieces().count(), 1);
    assert_eq!(all(&only.body), octets(1, 0..400));
}

/// What is cut off is not kept alive by what is left: memory is what [`Partial::octets`] says.
#[test]
fn what_is_cut_off_is_let_go() {
    let stored = part(1, 0..100_000, Some(500_000));
    let probe = stored.parts[0].body.pieces().next().expect("a piece");
    let combined = partial(stored.with(part(1, 40_000..200_000, Some(500_000)), MOST));
    drop(stored);
    assert!(probe.is_unique());
    let sent: Vec<u8> = combined
        .answer(&(0..200_000))
        .expect("held")
        .flatten()
        .collect();
    assert_eq!(sent, octets(1, 0..200_000));
}
