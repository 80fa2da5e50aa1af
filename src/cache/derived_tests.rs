//! Coded forms: what is made of what, and when.

use super::body::Body;
use super::derived::{Derived, Found, derive};
use super::policy::{Lifetime, Terms, WhenStale};
use super::response::{About, Parts, StoredResponse};
use super::section::Section;
use super::vary::Nominated;
use crate::coding::Coding;
use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, ETAG, RANGE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

fn stored(content_type: &'static str, body: &[u8]) -> Arc<StoredResponse> {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static(content_type));
    headers.insert(CONTENT_LENGTH, body.len().into());
    headers.insert(ETAG, HeaderValue::from_static("\"v1\""));
    let terms = Terms {
        received: crate::clock::now(),
        initial_age: Duration::ZERO,
        lifetime: Lifetime::Explicit(Duration::from_secs(60)),
        when_stale: WhenStale::Windows,
        while_revalidate: Duration::ZERO,
        if_error: Duration::ZERO,
        if_unreachable: Duration::ZERO,
        immutable: false,
        purged: false,
    };
    // In pieces that are no multiple of anything.
    let pieces = body.chunks(3001).map(Bytes::copy_from_slice).collect();
    StoredResponse::detached(Parts {
        status: StatusCode::OK,
        fields: Section::new(&headers),
        terms,
        nominated: Nominated::default(),
        route: "r".into(),
        body: Body::new(pieces),
        about: About::default(),
    })
}

fn text() -> String {
    let lines: Vec<_> = (0..400)
        .map(|n| format!("<li>line number {n}</li>"))
        .collect();
    lines.join("\n")
}

/// Octets that no coding makes shorter.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1u32;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[1]
    })
    .take(length)
    .collect()
}

fn decoded(coding: Coding, body: &Body) -> Vec<u8> {
    let coded = body.pieces().collect::<Vec<_>>().concat();
    let mut plain = Vec::new();
    match coding {
        Coding::Zstd => zstd::stream::read::Decoder::new(&*coded)
            .and_then(|mut decoder| decoder.read_to_end(&mut plain)),
        Coding::Brotli => brotli::Decompressor::new(&*coded, 4096).read_to_end(&mut plain),
        Coding::Gzip => flate2::read::GzDecoder::new(&*coded).read_to_end(&mut plain),
    }
    .expect("it is whole");
    plain
}

fn request(fields: &[(HeaderName, &'static str)]) -> HeaderMap {
    fields
        .iter()
        .map(|(name, value)| (name.clone(), HeaderValue::from_static(value)))
        .collect()
}

fn places(n: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(n))
}

#[test]
fn a_coded_form_has_its_own_head_and_the_same_content() {
    let plain = stored("text/html", text().as_bytes());
    for coding in Coding::BY_SIZE {
        let coded = derive(&plain, coding).expect("it is worth it");
        assert_eq!(decoded(coding, &coded.body), text().as_bytes());
        let length = coded.body.length().to_string();
        for (name, expected) in [
            (CONTENT_ENCODING, coding.name()),
            (CONTENT_LENGTH, length.as_str()),
            (ETAG, "W/\"v1\""),
        ] {
            let found: Vec<_> = coded.fields.lines().get_all(&name).collect();
            assert_eq!(found, [expected.as_bytes()], "{name}");
        }
        assert_eq!((coded.status, coded.terms), (plain.status(), plain.terms()));
        assert!(coded.body.length() * 5 < plain.body_length());
    }
}

#[test]
fn what_is_not_worth_it_or_not_allowed_has_none() {
    let text = text();
    let mut mixed = noise(9200);
    mixed.extend_from_slice(&[b' '; 800]);
    for (why, plain) in [
        ("a type", stored("image/png", text.as_bytes())),
        ("short", stored("text/html", &text.as_bytes()[..1000])),
        ("noise", stored("text/html", &noise(100_000))),
        ("8 % is less than 10", stored("text/html", &mixed)),
    ] {
        for coding in Coding::BY_SIZE {
            assert!(derive(&plain, coding).is_none(), "{why} {coding:?}");
        }
    }
}

/// A form by its name; how it is made is not the bookkeeping's affair.
fn find(
    derived: &Derived<&'static str>,
    accept: &'static str,
    places: &Arc<Semaphore>,
) -> Found<&'static str> {
    derived.find((&request(&[(ACCEPT_ENCODING, accept)])).into(), places)
}

#[test]
fn made_when_asked_for_and_served_from_then_on() {
    let (derived, places) = (Derived::default(), places(1));
    let first = find(&derived, "br", &places);
    let making = first.make.expect("it is wanted");
    assert_eq!((first.coded, making.coding), (None, Coding::Brotli));
    // Nobody else makes it meanwhile.
    let second = find(&derived, "br", &places);
    assert!(second.coded.is_none() && second.make.is_none());
    making.publish(Some("coded"));
    assert_eq!(places.available_permits(), 1);
    let third = find(&derived, "gzip, br", &places);
    assert_eq!(third.coded, Some("coded"));
    assert!(third.make.is_none());
    assert_eq!(derived.made(), ["coded"]);
}

#[test]
fn the_next_best_serves_until_the_preferred_one_is_made() {
    let (derived, places) = (Derived::default(), places(9));
    let making = find(&derived, "gzip", &places).make.expect("gzip");
    making.publish(Some("gzip"));
    let found = find(&derived, "br, gzip", &places);
    assert_eq!(found.coded, Some("gzip"));
    found.make.expect("br").publish(Some("br"));
    assert_eq!(find(&derived, "br, gzip", &places).coded, Some("br"));
    assert_eq!(find(&derived, "gzip", &places).coded, Some("gzip"));
}

#[test]
fn what_was_not_worth_it_is_not_tried_again() {
    let (derived, places) = (Derived::default(), places(1));
    let making = find(&derived, "gzip", &places).make.expect("gzip");
    making.publish(None);
    for _ in 0..3 {
        let found = find(&derived, "gzip", &places);
        assert!(found.coded.is_none() && found.make.is_none());
    }
}

#[test]
fn a_maker_that_is_dropped_leaves_it_to_the_next() {
    let (derived, places) = (Derived::default(), places(1));
    drop(find(&derived, "zstd", &places).make.expect("zstd"));
    assert!(find(&derived, "zstd", &places).make.is_some());
}

#[test]
fn no_more_are_made_at_once_than_there_are_places() {
    let (one, other, places) = (Derived::default(), Derived::default(), places(1));
    let making = find(&one, "br", &places).make.expect("a place is free");
    assert!(find(&other, "br", &places).make.is_none());
    making.publish(None);
    assert!(find(&other, "br", &places).make.is_some());
}

#[test]
fn who_gets_the_plain_form() {
    let (derived, places) = (Derived::default(), places(1));
    let making = find(&derived, "br", &places).make.expect("br");
    making.publish(Some("coded"));
    for fields in [
        &[][..],
        &[(ACCEPT_ENCODING, "identity")],
        &[(ACCEPT_ENCODING, "br"), (RANGE, "bytes=0-9")],
        &[(ACCEPT_ENCODING, "br"), (CACHE_CONTROL, "no-transform")],
    ] {
        let found = derived.find((&request(fields)).into(), &places);
        assert!(found.coded.is_none() && found.make.is_none(), "{fields:?}");
    }
}

#[test]
fn a_freshened_entry_keeps_what_was_made() {
    let (old, new, places) = (Derived::default(), Derived::default(), places(2));
    let br = find(&old, "br", &places).make.expect("br");
    br.publish(Some("old"));
    let gzip = find(&old, "gzip", &places).make.expect("gzip");
    gzip.publish(None);
    let under_way = find(&old, "zstd", &places).make.expect("zstd");
    new.carry(&old, |form, coding| {
        assert_eq!((*form, coding), ("old", Coding::Brotli));
        Some("new")
    });
    assert_eq!(find(&new, "br", &places).coded, Some("new"));
    assert!(find(&new, "gzip", &places).make.is_none());
    // What is made of the old one's is the old one's; here somebody else makes it.
    assert!(find(&new, "zstd", &places).make.is_some());
    under_way.publish(Some("late"));
    assert_eq!(new.made(), ["new"]);
}
