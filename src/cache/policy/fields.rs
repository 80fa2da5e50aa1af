//! Which fields of a response are stored (RFC 9111 §3.1).

use super::Received;
use crate::cache::control::Control;
use crate::cache::purge::{FOREBAY_PURGE, tags};
use crate::cache::settings::Rules;
use crate::fields::date;
use crate::fields::hop_by_hop::is_hop_by_hop;
use crate::fields::list;
use http::{HeaderMap, HeaderName, HeaderValue, header};

/// RFC 9110 §11.7.3, between a client and its proxy like `Proxy-Authenticate`.
const PROXY_AUTHENTICATION_INFO: HeaderName = HeaderName::from_static("proxy-authentication-info");

/// The fields that may be stored, as they came. What an earlier cache said of itself (`Cache-Status`, `Via`) stays: what
/// we say of ourselves is added to each answer. A `Date` that is missing is added (RFC 9110 §6.6.1).
pub fn to_store(received: &Received<'_>, rules: &Rules) -> HeaderMap {
    split(received, rules).0
}

/// The same, and the fields that may not be stored because `private` or `no-cache` names them: they are for the client that
/// asked.
pub fn split(received: &Received<'_>, rules: &Rules) -> (HeaderMap, HeaderMap) {
    let headers = received.headers;
    let named = withheld(&Control::of(headers, rules));
    let connection = nominated(headers);
    let mut stored = headers.clone();
    for name in dropped(headers, &connection, &named, rules) {
        stored.remove(name);
    }
    if !stored.contains_key(header::DATE)
        && let Ok(date) = HeaderValue::try_from(date::format(received.received.wall))
    {
        stored.insert(header::DATE, date);
    }
    let mut for_one = HeaderMap::new();
    for name in &named {
        if is_hop_by_hop(name) || connection.contains(name) || for_one.contains_key(name) {
            continue;
        }
        for value in headers.get_all(name) {
            for_one.append(name.clone(), value.clone());
        }
    }
    (stored, for_one)
}

/// The names of the fields that may not be stored, of those that are there.
pub fn to_drop(headers: &HeaderMap, rules: &Rules) -> Vec<HeaderName> {
    let named = withheld(&Control::of(headers, rules));
    dropped(headers, &nominated(headers), &named, rules)
}

fn dropped(
    headers: &HeaderMap,
    connection: &[HeaderName],
    named: &[HeaderName],
    rules: &Rules,
) -> Vec<HeaderName> {
    headers
        .keys()
        .filter(|name| {
            // "The Connection header field and fields whose names are listed in it […], fields […] required to be
            // removed before forwarding the message"; and "fields that are specific to the proxy".
            is_hop_by_hop(name)
                || **name == PROXY_AUTHENTICATION_INFO
                || connection.contains(name)
                // §5.2.2.4, §5.2.2.7: `no-cache="…"`, `private="…"`.
                || named.contains(name)
                // It was true on arrival only; `Terms` know the age, and each answer says it (§5.1).
                || **name == header::AGE
                || ours(rules).contains(name)
        })
        .cloned()
        .collect()
}

/// The fields that are for this cache, and not for clients. `Cache-Groups` is for browsers' caches too (RFC 9875); where
/// nothing is cached here, tags are for a cache in front.
pub fn ours(rules: &Rules) -> &'static [HeaderName] {
    static OURS: [HeaderName; 4] = [
        FOREBAY_PURGE,
        tags::SURROGATE_KEY,
        tags::XKEY,
        tags::CACHE_TAG,
    ];
    let shown = rules.show_tags || !rules.enabled;
    OURS.get(..if shown { 1 } else { OURS.len() })
        .unwrap_or_default()
}

/// The fields that `Connection` names, besides those that are dropped anyway.
fn nominated(headers: &HeaderMap) -> Vec<HeaderName> {
    let lines = headers.get_all(header::CONNECTION).iter();
    let members = lines.flat_map(|line| list::members(line.as_bytes()));
    members
        .filter_map(|member| HeaderName::from_bytes(member).ok())
        .filter(|name| !is_hop_by_hop(name))
        .collect()
}

/// The fields that `private` and `no-cache` name. What is withheld by `no-cache` could be used after a validation; it is
/// not worth keeping for that.
pub(super) fn withheld(control: &Control) -> Vec<HeaderName> {
    let directives = &control.directives;
    [directives.private.fields(), directives.no_cache.fields()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::policy::testing::{headers, received};

    fn kept(fields: &[(&str, &str)]) -> Vec<String> {
        let fields = headers(fields);
        let mut names: Vec<_> = to_store(&received(200, &fields), &Rules::default())
            .keys()
            .map(|name| name.as_str().to_owned())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn what_is_kept() {
        for (clause, fields, names) in [
            (
                "all others",
                &[("x", "1"), ("date", "d"), ("etag", "\"a\"")][..],
                &["date", "etag", "x"][..],
            ),
            (
                "§3.1: hop-by-hop",
                &[
                    ("date", "d"),
                    ("connection", "close"),
                    ("keep-alive", "timeout=1"),
                    ("te", "x"),
                    ("transfer-encoding", "chunked"),
                    ("upgrade", "x"),
                    ("trailer", "x"),
                    ("proxy-authenticate", "x"),
                    ("proxy-authentication-info", "x"),
                    ("proxy-connection", "x"),
                ],
                &["date"],
            ),
            (
                "§3.1: nominated, in any case, on several lines",
                &[
                    ("date", "d"),
                    ("connection", "close, X-a"),
                    ("connection", "x-B"),
                    ("x-a", "1"),
                    ("x-b", "2"),
                    ("x-c", "3"),
                ],
                &["date", "x-c"],
            ),
            ("§5.1: Age", &[("date", "d"), ("age", "1")], &["date"]),
            (
                "§5.2.2.4: no-cache of fields",
                &[
                    ("date", "d"),
                    ("cache-control", "max-age=1, no-cache=\"X-a, set-cookie\""),
                    ("x-a", "1"),
                    ("set-cookie", "a=1"),
                    ("x-b", "2"),
                ],
                &["cache-control", "date", "x-b"],
            ),
            (
                "§5.2.2.7: private of fields",
                &[
                    ("date", "d"),
                    ("cache-control", "PRIVATE=x-a"),
                    ("x-a", "1"),
                ],
                &["cache-control", "date"],
            ),
            (
                "RFC 9213 §2.2: of the field that counts",
                &[
                    ("date", "d"),
                    ("cache-control", "private=x-a"),
                    ("cdn-cache-control", "private=\"x-b\""),
                    ("x-a", "1"),
                    ("x-b", "1"),
                ],
                &["cache-control", "cdn-cache-control", "date", "x-a"],
            ),
            (
                "an earlier cache's",
                &[("date", "d"), ("cache-status", "a; hit"), ("via", "1.1 a")],
                &["cache-status", "date", "via"],
            ),
            ("RFC 9110 §6.6.1: no Date", &[("x", "1")], &["date", "x"]),
        ] {
            assert_eq!(kept(fields), names, "{clause}");
        }
    }

    #[test]
    fn the_origins_date_is_kept() {
        let fields = headers(&[("date", "Sun, 06 Nov 1994 08:00:00 GMT")]);
        let stored = to_store(&received(200, &fields), &Rules::default());
        assert_eq!(stored.get("date"), fields.get("date"));
        let stored = to_store(&received(200, &HeaderMap::new()), &Rules::default());
        assert_eq!(
            stored.get("date").map(HeaderValue::as_bytes),
            Some(&b"Sun, 06 Nov 1994 08:49:37 GMT"[..])
        );
    }
}
