//! What is kept, under which key, for whom: directives, `Vary`, keys, tags.

use super::{asked, put, received};
use forebay::cache::control::{Control, Flag, RequestDirectives, ResponseDirectives};
use forebay::cache::key::{CacheKey, Target};
use forebay::cache::policy::storable;
use forebay::cache::purge::tags::{self as groups, Tags};
use forebay::cache::settings::{KeyRules, Rules};
use forebay::cache::vary::{self as variants, Nominated};
use forebay::fields::path::upper_case_hex;
use forebay::fields::view::{FieldLines, FieldView};
use forebay::routing;
use http::{HeaderMap, HeaderName, HeaderValue, header};

/// What forbids is found wherever it stands, and a response that forbids is not stored.
pub fn cache_control(data: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in data.split(|&octet| octet == b'\n') {
        let (name, value) = match line {
            [b'1', value @ ..] => (HeaderName::from_static("cdn-cache-control"), value),
            [b'2', value @ ..] => (HeaderName::from_static("surrogate-control"), value),
            [b'3', value @ ..] => (HeaderName::from_static("x-accel-expires"), value),
            value => (header::CACHE_CONTROL, value),
        };
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(name, value);
        }
    }
    let rules = Rules::default();
    let control = Control::of(&headers, &rules);
    let _ = RequestDirectives::of(&headers);
    let terms = storable::evaluate(asked(&HeaderMap::new()), received(200, &headers), &rules);
    let d = &control.directives;
    if d.private.is_response() || (d.has(Flag::NoStore) && !d.has(Flag::MustUnderstand)) {
        assert!(terms.is_err());
    }
    let first = headers
        .get(header::CACHE_CONTROL)
        .map(HeaderValue::as_bytes)
        .unwrap_or_default();
    for (before, behind) in [(&b"no-store, "[..], &b""[..]), (b"", b"\n")] {
        let mut lines =
            vec![HeaderValue::from_bytes(&[before, first].concat()).expect("of values")];
        if !behind.is_empty() {
            // On a line of its own, nothing in front can swallow it.
            lines.push(HeaderValue::from_static("NO-STORE"));
        }
        assert!(
            ResponseDirectives::parse(&lines).has(Flag::NoStore),
            "{lines:?}"
        );
    }
}

/// Two requests fit the same stored response if and only if what it nominates is equal, and normal forms are normal.
pub fn vary(data: &[u8]) {
    let mut lines = data.split(|&octet| octet == b'\n');
    let mut response = HeaderMap::new();
    put(&mut response, header::VARY, lines.next());
    let (mut one, mut other) = (HeaderMap::new(), HeaderMap::new());
    for name in [
        header::ACCEPT_ENCODING,
        header::ACCEPT_LANGUAGE,
        header::COOKIE,
        header::ACCEPT,
    ] {
        put(&mut one, name.clone(), lines.next());
        put(&mut other, name, lines.next());
    }
    for vary in [
        None,
        Some("accept-encoding"),
        Some("accept-language, cookie, accept"),
    ] {
        if let Some(vary) = vary {
            response.insert(header::VARY, HeaderValue::from_static(vary));
        }
        let (Ok(of_one), Ok(of_other)) = (
            Nominated::new(&response, &one),
            Nominated::new(&response, &other),
        ) else {
            continue;
        };
        assert!(of_one.matches(&one));
        // Whoever read the request: a map, or lines in a buffer.
        let lines = lines_of(&other);
        let lines = FieldView::Lines(FieldLines::new(&lines));
        assert_eq!(Nominated::new(&response, lines).as_ref(), Ok(&of_other));
        assert_eq!(of_one.matches(&other), of_one.matches(lines));
        assert_eq!(
            variants::accept_encoding((&other).into()),
            variants::accept_encoding(lines)
        );
        assert_eq!(of_one == of_other, of_one.matches(&other));
        assert_eq!(of_one == of_other, of_other.matches(&one));
        if vary == Some("accept-encoding") {
            let (normal, others) = (
                variants::accept_encoding((&one).into()),
                variants::accept_encoding((&other).into()),
            );
            assert_eq!(of_one == of_other, normal == others);
            if let Some(normal) = normal {
                let mut again = one.clone();
                again.insert(header::ACCEPT_ENCODING, normal.clone());
                assert_eq!(variants::accept_encoding((&again).into()), Some(normal));
                assert!(of_one.matches(&again));
            }
        }
    }
}

/// The same fields as the gate's lines have them.
fn lines_of(headers: &HeaderMap) -> Vec<httparse::Header<'_>> {
    let lines = headers.iter().map(|(name, value)| httparse::Header {
        name: name.as_str(),
        value: value.as_bytes(),
    });
    lines.collect()
}

/// Different parts, different keys; and a key gives its parts back.
pub fn key(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let mut parts = text.split('\n');
    let rules = KeyRules::default();
    let (Some(one), Some(other)) = (target(&mut parts), target(&mut parts)) else {
        return;
    };
    let none = HeaderMap::new();
    let (of_one, of_other) = (
        CacheKey::new(one, &none, &rules),
        CacheKey::new(other, &none, &rules),
    );
    assert_eq!(of_one == of_other, folded(one) == folded(other));
    assert_eq!(of_one == of_other, of_one.as_bytes() == of_other.as_bytes());
    let back = of_one.target();
    let path = upper_case_hex(one.path);
    assert_eq!((back.path, back.query), (&*path, one.query));
    assert_eq!(CacheKey::new(back, &none, &rules), of_one);
    if let Ok(path) = routing::normalise(one.path) {
        assert_eq!(routing::normalise(&path).as_deref(), Ok(&*path));
    }
    // The operator's fields and cookies: equal values, equal keys.
    let rules = KeyRules {
        headers: vec![header::ACCEPT],
        cookies: vec!["a".to_owned()],
        ..KeyRules::default()
    };
    let mut with = [HeaderMap::new(), HeaderMap::new()];
    for headers in &mut with {
        put(headers, header::ACCEPT, parts.next().map(str::as_bytes));
        put(headers, header::ACCEPT, parts.next().map(str::as_bytes));
    }
    let keys = with
        .each_ref()
        .map(|headers| CacheKey::new(one, headers, &rules));
    assert_eq!(keys[0] == keys[1], with[0] == with[1]);
    assert_eq!(keys[0].target_bytes(), keys[1].target_bytes());
}

fn target<'a>(parts: &mut impl Iterator<Item = &'a str>) -> Option<Target<'a>> {
    let (scheme, authority) = (parts.next()?, parts.next()?);
    // As the gate lets it through: one port at most.
    if authority.matches(':').count() > 1 {
        return None;
    }
    let (path, query) = (parts.next()?, parts.next()?);
    Some(Target {
        scheme: if scheme.len() % 2 == 0 {
            "http"
        } else {
            "https"
        },
        authority,
        path,
        query: query.strip_prefix('?'),
    })
}

fn folded(target: Target<'_>) -> (String, String, String, Option<String>) {
    let port = if target.scheme == "http" {
        ":80"
    } else {
        ":443"
    };
    let authority = target.authority.to_ascii_lowercase();
    let authority = authority
        .strip_suffix(port)
        .or(authority.strip_suffix(':'))
        .unwrap_or(&authority);
    let query = target.query.map(str::to_owned);
    (
        target.scheme.to_owned(),
        authority.to_owned(),
        upper_case_hex(target.path).into_owned(),
        query,
    )
}

/// The tags of a response are what its fields say, each once, and read back as they were kept.
pub fn tags(data: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in data.split(|&octet| octet == b'\n') {
        let (name, value) = match line {
            [b'1', value @ ..] => (groups::SURROGATE_KEY, value),
            [b'2', value @ ..] => (groups::XKEY, value),
            [b'3', value @ ..] => (groups::CACHE_GROUPS, value),
            value => (groups::CACHE_TAG, value),
        };
        put(&mut headers, name, Some(value));
    }
    let rules = Rules {
        tags: vec!["own".to_owned()],
        ..Rules::default()
    };
    let Ok(found) = Tags::of(&headers, &rules) else {
        return;
    };
    let all: Vec<_> = groups::each(found.as_bytes()).collect();
    assert!(all.iter().any(|tag| tag.name == b"own"));
    for tag in &all {
        assert!(!tag.name.is_empty());
        let same = all.iter().filter(|it| it.name == tag.name).count();
        assert_eq!(same, 1);
    }
    // An answer that names no tags leaves them.
    let kept = Tags::freshened(found.as_bytes(), &HeaderMap::new(), &rules);
    assert_eq!(
        kept.map(|kept| kept.as_bytes().to_vec()),
        Ok(found.as_bytes().to_vec())
    );
}
