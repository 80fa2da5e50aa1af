//! Coded forms in the store: found, weighed, carried, dropped.

use super::super::body::Body;
use super::super::response::{Parts, StoredResponse};
use super::super::section::Section;
use super::tests::{key, parts, store};
use super::*;
use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING};
use http::{HeaderMap, HeaderValue};

fn page(length: usize) -> Parts {
    let mut fields = HeaderMap::new();
    fields.insert("content-type", HeaderValue::from_static("text/html"));
    fields.insert("etag", HeaderValue::from_static("\"v1\""));
    Parts {
        fields: Section::new(&fields),
        ..parts(Body::new(vec![Bytes::from(vec![b'x'; length])]))
    }
}

fn wants(coding: &'static str) -> HeaderMap {
    [(ACCEPT_ENCODING, HeaderValue::from_static(coding))]
        .into_iter()
        .collect()
}

/// What a request gets after everything that it causes was done.
fn made(store: &Store, stored: &Arc<StoredResponse>, coding: &'static str) -> Arc<StoredResponse> {
    let places = Arc::new(Semaphore::new(1));
    let found = stored.derived().find((&wants(coding)).into(), &places);
    if let Some(duty) = found.make {
        store.make_form(stored, duty);
    }
    store.form(Arc::clone(stored), &wants(coding))
}

fn coding(response: &StoredResponse) -> Option<&[u8]> {
    response.fields().get(&CONTENT_ENCODING)
}

#[test]
fn forms_are_weighed_with_their_entry_and_go_with_it() {
    for length in [2000, 300_000] {
        let store = store(64 << 20);
        let plain = store.make(&key("/a"), page(length));
        store.insert(&plain).expect("there is room");
        let alone = store.stats();
        let form = made(&store, &plain, "br");
        assert_eq!(coding(&form), Some(&b"br"[..]));
        let (one, of_one) = (store.stats(), form.weight());
        // The list that they are in is on the account too.
        let list = one.stored - alone.stored - of_one;
        assert!(list <= 128, "{list}");
        assert_eq!((one.entries, one.bytes, one.in_flight), (1, one.stored, 0));
        let second = made(&store, &plain, "gzip");
        assert_eq!(store.stats().stored, one.stored + second.weight());
        // It is still what is found.
        let found = store.get(&key("/a")).expect("it is stored");
        assert!(Arc::ptr_eq(&found.variants()[0], &plain));
        drop((form, second, found));
        assert!(store.remove(&key("/a")));
        assert_eq!(store.stats().stored, 0);
        drop(plain);
        assert_eq!(store.stats().bytes, 0);
    }
}

#[test]
fn a_freshened_response_has_the_forms_of_the_old() {
    let store = store(64 << 20);
    let old = store.make(&key("/a"), page(20_000));
    store.insert(&old).expect("there is room");
    let form = made(&store, &old, "zstd");
    let fresh = Parts {
        body: old.body(),
        ..page(0)
    };
    let fresh = store.make(&key("/a"), fresh);
    assert!(store.replace(&old, &fresh));
    let carried = store.form(Arc::clone(&fresh), &wants("zstd"));
    assert_eq!(coding(&carried), Some(&b"zstd"[..]));
    assert!(carried.body().pieces().eq(form.body().pieces()));
    drop((old, form, carried, fresh));
    assert_eq!(store.stats().bytes, store.stats().stored);
    store.remove(&key("/a"));
    assert_eq!(store.stats().bytes, 0);
}

/// A form that is done when its entry is gone is nobody's.
#[test]
fn what_is_made_too_late_is_forgotten() {
    let store = store(64 << 20);
    let plain = store.make(&key("/a"), page(20_000));
    store.insert(&plain).expect("there is room");
    let places = Arc::new(Semaphore::new(1));
    let found = plain.derived().find((&wants("br")).into(), &places);
    assert!(store.invalidate(&key("/a")));
    store.make_form(&plain, found.make.expect("it is wanted"));
    assert!(store.get(&key("/a")).is_none());
    drop(plain);
    assert_eq!((store.stats().stored, store.stats().bytes), (0, 0));
}

#[tokio::test]
async fn the_first_who_asks_gets_it_plain_and_it_is_made_meanwhile() {
    let store = store(64 << 20);
    let plain = store.make(&key("/a"), page(20_000));
    store.insert(&plain).expect("there is room");
    let first = store.form(Arc::clone(&plain), &wants("br"));
    assert!(Arc::ptr_eq(&first, &plain));
    while plain.derived().made().is_empty() {
        tokio::task::yield_now().await;
    }
    let form = store.form(Arc::clone(&plain), &wants("br"));
    assert_eq!(coding(&form), Some(&b"br"[..]));
}

#[test]
fn what_may_not_be_coded_is_as_it_was() {
    let store = store(64 << 20);
    let mut image = HeaderMap::new();
    image.insert("content-type", HeaderValue::from_static("image/png"));
    let image = Parts {
        fields: Section::new(&image),
        ..page(9000)
    };
    let plain = store.make(&key("/a"), image);
    let form = made(&store, &plain, "br");
    assert!(Arc::ptr_eq(&form, &plain) && plain.derived().made().is_empty());
}
