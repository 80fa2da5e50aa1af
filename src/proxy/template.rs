//! Redirect targets: `https://{host}{uri}` filled in from a request, and never more than one header value.

use crate::routing::settings::Scheme;
use http::HeaderValue;
use std::borrow::Cow;
use std::fmt::Write as _;

/// What the placeholders of a target stand for.
#[derive(Debug, Clone, Copy)]
pub struct Placeholders<'a> {
    /// `{scheme}`: `http` or `https`.
    pub scheme: Scheme,
    /// `{host}`: the host without its port.
    pub host: &'a str,
    /// `{path}`: the path after the route's rewrite.
    pub path: &'a str,
    /// `{query}`, with its `?` where there is one. `{uri}` is `{path}{query}`.
    pub query: Option<&'a str>,
}

/// The `Location` for `target`. Text in braces that is no placeholder stays as it is.
///
/// Whatever comes from the request is percent-encoded where it could end the field or be read as something else: control
/// bytes, spaces, quotes, angle brackets, backslashes, non-ASCII. Where a target begins with the path (`{path}/`), several slashes at its
/// start become one: browsers take `//evil.example` for another site.
pub fn location(target: &str, values: &Placeholders<'_>) -> HeaderValue {
    let filled = fill(target, values);
    let filled = match filled.strip_prefix("//") {
        Some(rest) if !target.starts_with("//") => format!("/{}", rest.trim_start_matches('/')),
        _ => filled,
    };
    // What `escaped` lets through is always a value.
    HeaderValue::from_str(&escaped(&filled)).unwrap_or(HeaderValue::from_static("/"))
}

fn fill(target: &str, values: &Placeholders<'_>) -> String {
    let mut out = String::with_capacity(target.len() + values.path.len());
    let mut rest = target;
    while let Some((before, after)) = rest.split_once('{') {
        out.push_str(before);
        let known = after
            .split_once('}')
            .filter(|(name, _)| push_value(&mut out, name, values));
        rest = if let Some((_, behind)) = known {
            behind
        } else {
            out.push('{');
            after
        };
    }
    out.push_str(rest);
    out
}

/// Whether `name` is a placeholder; its value is then written.
fn push_value(out: &mut String, name: &str, values: &Placeholders<'_>) -> bool {
    // `OPTIONS *` has no path to send anybody to.
    let path = if values.path.starts_with('/') {
        values.path
    } else {
        "/"
    };
    let query = values.query.map(|query| ["?", query]).unwrap_or_default();
    match name {
        "scheme" => out.push_str(values.scheme.as_str()),
        "host" => out.push_str(values.host),
        "path" => out.push_str(path),
        "query" => out.extend(query),
        "uri" => {
            out.push_str(path);
            out.extend(query);
        }
        _ => return false,
    }
    true
}

/// `text` with every byte that may not stand in a URI, or that browsers read in two ways, percent-encoded. A `%` stays:
/// what is encoded already is not encoded again.
pub(super) fn escaped(text: &str) -> Cow<'_, str> {
    let allowed = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'<' | b'>' | b'\\');
    if text.bytes().all(allowed) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for byte in text.bytes() {
        if allowed(byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn filled(target: &str, path: &str, query: Option<&str>) -> String {
        let host = "example.org";
        let values = Placeholders {
            scheme: Scheme::Https,
            host,
            path,
            query,
        };
        let value = location(target, &values);
        value.to_str().expect("ASCII").to_owned()
    }

    #[test]
    fn targets() {
        for (target, path, query, expected) in [
            (
                "https://{host}{uri}",
                "/a",
                Some("b=1"),
                "https://example.org/a?b=1",
            ),
            ("https://{host}{uri}", "/a", None, "https://example.org/a"),
            (
                "{scheme}://{host}:8443{path}",
                "/a",
                Some("b"),
                "https://example.org:8443/a",
            ),
            (
                "https://{host}{uri}",
                "/a",
                Some(""),
                "https://example.org/a?",
            ),
            (
                "https://x{path}?old{query}",
                "/a",
                Some("b"),
                "https://x/a?old?b",
            ),
            ("/fixed", "/a", Some("b"), "/fixed"),
            ("{path}/", "/a", None, "/a/"),
            ("{path}/", "//evil.example", None, "/evil.example/"),
            ("{uri}", "///evil.example", Some("x"), "/evil.example?x"),
            ("{path}", "/\\evil.example", None, "/%5Cevil.example"),
            ("//cdn.example{path}", "/a", None, "//cdn.example/a"),
            ("{uri}", "*", None, "/"),
            ("/{unknown}/{", "/a", None, "/{unknown}/{"),
            ("/{x{path}", "/a", None, "/{x/a"),
            (
                "{path}",
                "/a\r\nSet-Cookie: x",
                None,
                "/a%0D%0ASet-Cookie:%20x",
            ),
            ("{path}", "/é%20\"", None, "/%C3%A9%20%22"),
            ("{path}", "/{host}", None, "/{host}"),
        ] {
            assert_eq!(filled(target, path, query), expected, "{target} {path}");
        }
    }

    proptest! {
        #[test]
        fn always_one_value_and_on_this_site(path in "/\\PC{0,20}|[/\\\\\r\n\t a.]{1,9}", query in proptest::option::of("\\PC{0,9}")) {
            let location = filled("{uri}", &path, query.as_deref());
            prop_assert!(location.starts_with('/') && !location.starts_with("//"));
            prop_assert!(location.bytes().all(|b| b.is_ascii_graphic() && b != b'\\'));
        }
    }
}
