//! Which requests share a key and which do not.

use super::*;
use crate::cache::settings::TRACKING;
use http::HeaderMap;
use http::{HeaderName, HeaderValue};
use proptest::prelude::*;

fn target(url: &str) -> Target<'_> {
    let (scheme, rest) = url.split_once("://").expect("a URL");
    let (rest, query) = rest
        .split_once('?')
        .map_or((rest, None), |(rest, query)| (rest, Some(query)));
    let path = rest.find('/').unwrap_or(rest.len());
    Target {
        scheme,
        authority: &rest[..path],
        path: &rest[path..],
        query,
    }
}

fn key(url: &str, rules: &KeyRules) -> CacheKey {
    CacheKey::new(target(url), &HeaderMap::new(), rules)
}

fn strings(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

/// Which of several cookies of a name counts, applications decide differently: all of them do.
#[test]
fn a_repeated_cookie_is_not_taken_for_its_first() {
    let rules = KeyRules {
        cookies: strings(&["lang"]),
        ..KeyRules::default()
    };
    let with = |cookies: &'static str| {
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, HeaderValue::from_static(cookies));
        CacheKey::new(target("http://a/"), &headers, &rules)
    };
    assert_eq!(with("lang=de"), with("x=1; lang=de"));
    assert_ne!(with("lang=de"), with("lang=de; lang=fr"));
    assert_ne!(with("lang=de; lang=fr"), with("lang=fr; lang=de"));
}

#[test]
fn what_makes_a_target_the_same() {
    let rules = KeyRules::default();
    for (one, other, same) in [
        ("http://a/", "http://a/", true),
        ("http://a/", "HTTP://A/", true),
        ("http://a/", "http://a:80/", true),
        ("http://a/", "http://a:/", true),
        ("https://a/", "https://a:443/", true),
        ("https://[::1]:443/", "https://[::1]/", true),
        ("http://a/", "https://a/", false),
        ("http://a:443/", "http://a/", false),
        ("https://a:80/", "https://a/", false),
        ("http://a:8080/", "http://a/", false),
        ("http://a/b", "http://a/B", false),
        ("http://a/%2e", "http://a/.", false),
        ("http://a/b", "http://a/b?", false),
        ("http://a/b?", "http://a/b?x", false),
        ("http://a/b?x=1&y=2", "http://a/b?y=2&x=1", false),
        ("http://a/b?x", "http://a/b?X", false),
        ("http://ab/c", "http://a/bc", false),
        ("ws://a/", "http://a/", false),
        ("ws://a/", "wss://a/", false),
    ] {
        assert_eq!(
            key(one, &rules) == key(other, &rules),
            same,
            "{one} {other}"
        );
    }
}

#[test]
fn what_counts_of_a_query() {
    let drop = |names: &[&str]| KeyRules {
        query: QueryRule::Drop(strings(names)),
        ..KeyRules::default()
    };
    let sorted = KeyRules {
        sort_query: true,
        ..KeyRules::default()
    };
    let allow = KeyRules {
        query: QueryRule::Allow(strings(&["id", "p*"])),
        sort_query: true,
        ..KeyRules::default()
    };
    for (rules, query, left) in [
        (
            &drop(TRACKING),
            Some("utm_source=x&id=1&gclid=2"),
            Some("id=1"),
        ),
        (&drop(TRACKING), Some("utm_source=x&fbclid"), None),
        (&drop(TRACKING), Some("utm=x&utm_"), Some("utm=x")),
        (&drop(TRACKING), Some(""), Some("")),
        (&drop(TRACKING), None, None),
        (&drop(&["*"]), Some("a&b"), None),
        (&drop(&["a"]), Some("ab&a=1&a&&=a"), Some("ab&&=a")),
        (&sorted, Some("b=1&a=2&b=0&a=1"), Some("a=2&a=1&b=1&b=0")),
        (&sorted, Some("a=&a&"), Some("&a=&a")),
        (&sorted, Some("a-b=1&a=2"), Some("a=2&a-b=1")),
        (&allow, Some("x=1&page=2&id=3&idx=4"), Some("id=3&page=2")),
        (&allow, Some("x=1"), None),
    ] {
        let asked = Target {
            query,
            ..target("http://a/b")
        };
        let key = CacheKey::new(asked, &HeaderMap::new(), rules);
        assert_eq!(key.target().query, left, "{query:?} {rules:?}");
    }
}

#[test]
fn what_the_operator_chose_counts() {
    let rules = KeyRules {
        headers: vec![HeaderName::from_static("x-country")],
        cookies: strings(&["theme"]),
        ..KeyRules::default()
    };
    let of = |lines: &[(&'static str, &'static str)]| {
        let mut headers = HeaderMap::new();
        for &(name, value) in lines {
            headers.append(name, HeaderValue::from_static(value));
        }
        CacheKey::new(target("http://a/b"), &headers, &rules)
    };
    let different = [
        of(&[]),
        of(&[("x-country", "")]),
        of(&[("x-country", "de")]),
        of(&[("x-country", "DE")]),
        of(&[("x-country", "de"), ("x-country", "fr")]),
        of(&[("x-country", "de, fr")]),
        of(&[("cookie", "theme=")]),
        of(&[("cookie", "theme=de")]),
        of(&[("cookie", "theme=dark"), ("x-country", "de")]),
    ];
    let bare = CacheKey::of_target(target("http://a/b"), &rules);
    for (index, one) in different.iter().enumerate() {
        assert!(one.has_extras());
        assert_eq!(one.target_hash(), bare.hash_value());
        assert_eq!(one.target_bytes(), bare.as_bytes());
        for other in &different[index + 1..] {
            assert_ne!(one, other);
        }
    }
    assert!(!bare.has_extras());
    assert_eq!(of(&[]), of(&[("cookie", "other=1"), ("accept", "x")]));

    // What a reload renames is another thing, even with the same value.
    let renamed = KeyRules {
        headers: vec![HeaderName::from_static("x-region")],
        ..rules.clone()
    };
    let mut headers = HeaderMap::new();
    headers.append("x-country", HeaderValue::from_static("de"));
    headers.append("x-region", HeaderValue::from_static("de"));
    let asked = target("http://a/b");
    assert_ne!(
        CacheKey::new(asked, &headers, &rules),
        CacheKey::new(asked, &headers, &renamed)
    );
}

#[test]
fn a_key_needs_one_allocation() {
    let mut headers = HeaderMap::new();
    headers.append("x-country", HeaderValue::from_static("de"));
    headers.append("cookie", HeaderValue::from_static("theme=dark; id=1"));
    let rules = KeyRules {
        query: QueryRule::Drop(strings(TRACKING)),
        headers: vec![HeaderName::from_static("x-country")],
        cookies: strings(&["theme", "none"]),
        ..KeyRules::default()
    };
    // Room for all was there from the start, so it never moved.
    let asked = target("https://www.example.org:443/b/c/d?page=1&utm_source=x");
    let mut reserved = Vec::new();
    let extras = extras_size((&headers).into(), &rules);
    write_target(&mut reserved, asked, &rules, extras);
    let mut key = CacheKey::new(asked, &headers, &rules);
    assert_eq!(key.bytes.capacity(), reserved.capacity());
    // Nor does it when the memory is used again, and nothing of the former key is left.
    let again = key.bytes.as_ptr();
    key.renew(target("http://a/"), (&headers).into(), &KeyRules::default());
    assert_eq!(
        key,
        CacheKey::new(target("http://a/"), &headers, &KeyRules::default())
    );
    assert_eq!(key.bytes.as_ptr(), again);
}

#[test]
fn octets_that_are_no_key_are_not_read() {
    for bytes in [&b""[..], &[1], &[1, 9, b'a'], &[0xff; 8], &[1, 0, 0]] {
        assert_eq!(read_target(bytes), None, "{bytes:?}");
    }
}

prop_compose! {
    fn parts()(
        scheme in prop_oneof![Just("http"), Just("https"), Just("ws"), Just("w")],
        authority in "[a-c.]{0,3}",
        path in "/[a-c/]{0,3}",
        query in prop::option::of("[a-c&=]{0,4}"),
        country in prop::collection::vec("[a-c]{0,2}", 0..3),
        theme in prop::option::of("[a-c]{0,2}"),
    ) -> (&'static str, String, String, Option<String>, Vec<String>, Option<String>) {
        (scheme, authority, path, query, country, theme)
    }
}

proptest! {
    #[test]
    fn equal_if_and_only_if_the_parts_are(one in parts(), other in parts()) {
        let rules = KeyRules {
            headers: vec![HeaderName::from_static("x-country")],
            cookies: strings(&["theme"]),
            ..KeyRules::default()
        };
        let key = |parts: &(&'static str, String, String, Option<String>, Vec<String>, Option<String>)| {
            let (scheme, authority, path, query, country, theme) = parts;
            let mut headers = HeaderMap::new();
            for value in country {
                headers.append("x-country", value.parse().expect("a value"));
            }
            if let Some(theme) = theme {
                headers.append("cookie", format!("theme={theme}").parse().expect("a value"));
            }
            let target = Target { scheme, authority, path, query: query.as_deref() };
            let key = CacheKey::new(target, &headers, &rules);
            assert_eq!(key.target(), target);
            key
        };
        prop_assert_eq!(key(&one) == key(&other), one == other);
        prop_assert_eq!(key(&one).as_bytes() == key(&other).as_bytes(), one == other);
    }

    #[test]
    fn long_parts_are_read_back(path in "/[a-z]{0,400}", query in prop::option::of("[a-z&=]{0,20000}")) {
        let target = Target { scheme: "https", authority: "a", path: &path, query: query.as_deref() };
        let key = CacheKey::new(target, &HeaderMap::new(), &KeyRules::default());
        prop_assert_eq!(key.target(), target);
    }

    #[test]
    fn sorting_is_idempotent_and_forgets_the_order_of_names(mut names in prop::collection::vec("[a-c]{1,2}(=[a-c]?)?", 0..6)) {
        let rules = KeyRules { sort_query: true, ..KeyRules::default() };
        let of = |query: &str| CacheKey::new(Target { query: Some(query), ..target("http://a/") }, &HeaderMap::new(), &rules);
        let one = of(&names.join("&"));
        let sorted = one.target().query.map(str::to_owned).unwrap_or_default();
        prop_assert_eq!(&of(&sorted), &one);
        names.sort_by(|a, b| name_of(b).cmp(name_of(a)));
        prop_assert_eq!(&of(&names.join("&")), &one);
    }
}
