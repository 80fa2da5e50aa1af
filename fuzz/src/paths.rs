//! Paths: the one that is matched is the one that is keyed, purged and forwarded; and what their ends promise.

use super::received;
use forebay::cache::key::{CacheKey, Target};
use forebay::cache::outcome::Reason;
use forebay::cache::policy::{Asked, storable};
use forebay::cache::purge::Scope;
use forebay::cache::settings::{KeyRules, Rules};
use forebay::fields::path::upper_case_hex;
use forebay::fields::reference::HttpUri;
use forebay::fields::uri;
use forebay::routing;
use forebay::routing::rewrite;
use forebay::routing::settings::Rewrite;
use http::{HeaderMap, HeaderValue, Method, header};
use std::time::Duration;

/// Two lines, each a target. One spelling is found, once and for all; it is what a purge by the same URL is about; and two
/// targets with one key are asked for in the same octets.
pub fn paths(data: &[u8]) {
    let mut lines = data.split(|&octet| octet == b'\n');
    let (one, other) = (lines.next().unwrap_or_default(), lines.next());
    let one = keyed(one);
    let other = other.and_then(keyed);
    let Some((key, target)) = one else {
        return;
    };
    if let Some((other_key, other)) = other {
        assert_eq!(key == other_key, target == other, "{target} {other}");
    }
    let back = key.target();
    let url = format!("http://a{target}");
    if !target.starts_with("//") {
        let scope = Scope::url(&url).expect("what may be asked for may be purged");
        assert!(scope.covers(&back, |_| false), "{url}");
        let below = Scope::prefix(&format!("http://a{}", back.path));
        assert!(below.is_err() || below.is_ok_and(|it| it.covers(&back, |_| false)));
    }
    // What a `Location` names is the same target.
    let base = HttpUri::new(false, "a", "/", None).expect("a URI");
    if let Some(found) = base.resolve(url.as_bytes()) {
        assert_eq!(
            (&*found.path, found.query.as_deref()),
            (back.path, back.query)
        );
    }
    // Taken off is a whole beginning, and what is left is in its one spelling.
    let strip = Rewrite::StripPrefix("/a/b".to_owned());
    let stripped = rewrite::path(&strip, back.path);
    assert!(stripped.starts_with('/') || stripped == back.path);
    assert!(back.path.ends_with(&*stripped) || stripped == "/");
}

/// The key of a target that passes the gate, and the target as it is asked for.
fn keyed(target: &[u8]) -> Option<(CacheKey, String)> {
    let target = uri::check_origin_form(target).ok()?;
    let asked = uri::split_path_query(target);
    let path = routing::normalise(asked.path).ok()?;
    assert_eq!(routing::normalise(&path).as_deref(), Ok(&*path));
    assert!(path.starts_with('/'));
    assert!(!path.split('/').any(|segment| matches!(segment, "." | "..")));
    let sent = upper_case_hex(&path);
    assert_eq!(upper_case_hex(&sent), sent);
    assert_eq!(routing::normalise(&sent).as_deref(), Ok(&*sent));
    let whole = match asked.query {
        Some(query) => format!("{sent}?{query}"),
        None => sent.clone().into_owned(),
    };
    assert!(uri::check_origin_form(whole.as_bytes()).is_ok(), "{whole}");
    let key = Target {
        scheme: "http",
        authority: "a",
        path: &path,
        query: asked.query,
    };
    let key = CacheKey::new(key, &HeaderMap::new(), &KeyRules::default());
    assert_eq!(
        (key.target().path, key.target().query),
        (&*sent, asked.query)
    );
    Some((key, whole))
}

/// Path, then type. Under a name that ends like a file's, no page is kept by a rule or a guess, whatever leads up to the end.
pub fn names(data: &[u8]) {
    let mut lines = data.split(|&octet| octet == b'\n');
    let Ok(path) = std::str::from_utf8(lines.next().unwrap_or_default()) else {
        return;
    };
    let path = format!("/{path}");
    let mut response = HeaderMap::new();
    if let Some(Ok(value)) = lines.next().map(HeaderValue::from_bytes) {
        response.insert(header::CONTENT_TYPE, value);
    }
    let guarded = Rules {
        ttl: Some(Duration::from_secs(60)),
        ..Rules::default()
    };
    let unguarded = Rules {
        deception_guard: false,
        ..guarded.clone()
    };
    let none = HeaderMap::new();
    let judged = |path: &str, response: &HeaderMap, rules: &Rules| {
        let asked = Asked {
            method: &Method::GET,
            path,
            headers: (&none).into(),
        };
        storable::evaluate(asked, received(200, response), rules).map(|_| ())
    };
    assert_eq!(judged(&path, &response, &unguarded), Ok(()));
    let found = judged(&path, &response, &guarded);
    assert!(matches!(found, Ok(()) | Err(Reason::TypeMismatch)));
    let mut page = HeaderMap::new();
    page.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("Text/HTML;charset=utf-8"),
    );
    for end in [
        "css", "js", "png", "woff2", "json", "xml", "txt", "mp4", "pdf",
    ] {
        let named = format!("{path}.{end}");
        assert_eq!(
            judged(&named, &page, &guarded),
            Err(Reason::TypeMismatch),
            "{named}"
        );
    }
    // A name that promises nothing is nobody's business, nor is what the origin itself calls fresh.
    let plain = format!("{path}/account");
    assert_eq!(judged(&plain, &page, &guarded), Ok(()));
    page.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("max-age=60"),
    );
    assert_eq!(judged(&format!("{path}.css"), &page, &guarded), Ok(()));
}
