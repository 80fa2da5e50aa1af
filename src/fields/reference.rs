//! URI references as `Location` and `Content-Location` carry them, resolved against the target (RFC 3986 §5.2).

use crate::fields::host;
use crate::fields::uri::{self, PathQuery};

/// What a reference is resolved against, and what it becomes: an `http` or `https` URI without its fragment.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HttpUri {
    /// True for `https`.
    pub https: bool,
    /// The authority in its one spelling: host in lower case, the scheme's own port left out.
    pub authority: String,
    /// The path, beginning with a slash, without dot segments.
    pub path: String,
    /// The query without its question mark.
    pub query: Option<String>,
}

impl HttpUri {
    /// Of its parts. `None` where the authority is none.
    pub fn new(https: bool, authority: &str, path: &str, query: Option<&str>) -> Option<Self> {
        Some(Self {
            https,
            authority: host::parse(authority)?.normalise(default_port(https)),
            path: remove_dot_segments(path),
            query: query.map(str::to_owned),
        })
    }

    /// "http" or "https".
    pub fn scheme(&self) -> &'static str {
        if self.https { "https" } else { "http" }
    }

    /// Whether scheme, host and port are the same (RFC 9110 §4.3.1).
    pub fn same_origin(&self, other: &Self) -> bool {
        self.https == other.https && self.authority == other.authority
    }

    /// Resolves a reference. `None` where it is not `http(s)`, has no valid authority, or holds what no URI may.
    pub fn resolve(&self, reference: &[u8]) -> Option<Self> {
        let end = memchr::memchr(b'#', reference).unwrap_or(reference.len());
        let (reference, _fragment) = reference.split_at_checked(end)?;
        if let Some(absolute) = uri::split_absolute(reference) {
            return Self::of_absolute(absolute.https, absolute.authority, &absolute.target);
        }
        if let Some(rest) = reference.strip_prefix(b"//") {
            let at = rest
                .iter()
                .position(|octet| matches!(octet, b'/' | b'?'))
                .unwrap_or(rest.len());
            let (authority, target) = rest.split_at_checked(at)?;
            return Self::of_absolute(self.https, authority, target);
        }
        let text = std::str::from_utf8(reference).ok()?;
        if has_scheme(text) {
            return None;
        }
        let PathQuery { path, query } = uri::split_path_query(text);
        let (path, query) = match path {
            "" => (self.path.clone(), query.or(self.query.as_deref())),
            path if path.starts_with('/') => (path.to_owned(), query),
            path => {
                let base = self.path.rsplit_once('/').map_or("", |(base, _)| base);
                (format!("{base}/{path}"), query)
            }
        };
        self.with_target(&path, query)
    }

    fn of_absolute(https: bool, authority: &[u8], target: &[u8]) -> Option<Self> {
        let authority =
            host::parse(std::str::from_utf8(authority).ok()?)?.normalise(default_port(https));
        let text = std::str::from_utf8(target).ok()?;
        let PathQuery { path, query } = uri::split_path_query(text);
        let base = Self {
            https,
            authority,
            path: String::new(),
            query: None,
        };
        base.with_target(if path.is_empty() { "/" } else { path }, query)
    }

    fn with_target(&self, path: &str, query: Option<&str>) -> Option<Self> {
        uri::check_origin_form(path.as_bytes()).ok()?;
        if let Some(query) = query {
            uri::check_origin_form(format!("/?{query}").as_bytes()).ok()?;
        }
        Some(Self {
            https: self.https,
            authority: self.authority.clone(),
            path: remove_dot_segments(path),
            query: query.map(str::to_owned),
        })
    }
}

fn default_port(https: bool) -> u16 {
    if https { 443 } else { 80 }
}

/// RFC 3986 §3.1, §4.2: a colon before the first slash, question mark or end makes what is before it a scheme.
fn has_scheme(text: &str) -> bool {
    let first = text.split(['/', '?']).next().unwrap_or("");
    first.contains(':')
}

/// RFC 3986 §5.2.4, for a path that begins with a slash.
fn remove_dot_segments(path: &str) -> String {
    let mut out: Vec<&str> = Vec::new();
    let mut rest = path.strip_prefix('/').unwrap_or(path).split('/').peekable();
    while let Some(segment) = rest.next() {
        let last = rest.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    out.pop();
                }
                if last {
                    out.push("");
                }
            }
            segment => out.push(segment),
        }
    }
    format!("/{}", out.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn base() -> HttpUri {
        HttpUri::new(false, "A.example:80", "/b/c/d;p", Some("q")).expect("a valid URI")
    }

    fn show(uri: &HttpUri) -> String {
        let query = uri
            .query
            .as_ref()
            .map_or(String::new(), |query| format!("?{query}"));
        format!("{}://{}{}{query}", uri.scheme(), uri.authority, uri.path)
    }

    /// The examples of RFC 3986 §5.4, as far as they end in `http`.
    #[test]
    fn resolving() {
        for (reference, expected) in [
            ("g", "http://a.example/b/c/g"),
            ("./g", "http://a.example/b/c/g"),
            ("g/", "http://a.example/b/c/g/"),
            ("/g", "http://a.example/g"),
            ("//g", "http://g/"),
            ("?y", "http://a.example/b/c/d;p?y"),
            ("g?y", "http://a.example/b/c/g?y"),
            ("#s", "http://a.example/b/c/d;p?q"),
            ("g#s", "http://a.example/b/c/g"),
            (";x", "http://a.example/b/c/;x"),
            ("", "http://a.example/b/c/d;p?q"),
            (".", "http://a.example/b/c/"),
            ("..", "http://a.example/b/"),
            ("../g", "http://a.example/b/g"),
            ("../..", "http://a.example/"),
            ("../../../../g", "http://a.example/g"),
            ("/./g", "http://a.example/g"),
            ("/../g", "http://a.example/g"),
            ("g.", "http://a.example/b/c/g."),
            ("..g", "http://a.example/b/c/..g"),
            ("./g/.", "http://a.example/b/c/g/"),
            ("g/../h", "http://a.example/b/c/h"),
            ("g?y/../x", "http://a.example/b/c/g?y/../x"),
            ("http://A.example:80/x", "http://a.example/x"),
            ("https://a.example:443?z", "https://a.example/?z"),
            ("HTTP://a.example#f", "http://a.example/"),
        ] {
            let resolved = base().resolve(reference.as_bytes());
            assert_eq!(
                resolved.as_ref().map(show).as_deref(),
                Some(expected),
                "{reference}"
            );
        }
        for reference in [
            &b"g:h"[..],
            b"ftp://a/",
            b"http://",
            b"http:///x",
            b"//u@a/",
            b"/a b",
            b"mailto:x",
            b"\xff",
            b"http://a b/",
            b"/a\r\nX: y",
            b"?a b",
        ] {
            assert_eq!(
                base().resolve(reference),
                None,
                "{}",
                uri::escaped(reference)
            );
        }
    }

    #[test]
    fn origins() {
        let same = |reference: &str| {
            base()
                .resolve(reference.as_bytes())
                .is_some_and(|uri| uri.same_origin(&base()))
        };
        assert!(same("/x") && same("//a.EXAMPLE/") && same("http://a.example:80"));
        assert!(
            !same("//b.example/") && !same("https://a.example/") && !same("http://a.example:8080/")
        );
    }

    proptest! {
        #[test]
        fn resolving_never_panics_and_is_idempotent(bytes in prop::collection::vec(prop_oneof![Just(b'/'), Just(b'.'), Just(b'?'), Just(b':'), any::<u8>()], 0..32)) {
            if let Some(uri) = base().resolve(&bytes) {
                prop_assert!(uri.path.starts_with('/'));
                prop_assert_eq!(base().resolve(show(&uri).as_bytes()), Some(uri));
            }
        }
    }
}
