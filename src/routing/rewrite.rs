//! How a path changes on its way to the upstream or the directory.

use super::matcher::rest_below;
use super::settings::Rewrite;
use crate::fields::path::upper_case_hex;
use std::borrow::Cow;

/// The path that the upstream sees for `path`, which is normalised and belongs to the rewrite's route.
///
/// Prefixes go by whole segments, so `/api` and `/api/` are the same prefix. Stripping it from `/api` itself leaves `/`.
/// Exactly one slash joins a replacement and the rest. A path that does not begin with the prefix is not changed.
pub fn path<'p>(rewrite: &Rewrite, path: &'p str) -> Cow<'p, str> {
    match rewrite {
        Rewrite::None => Cow::Borrowed(path),
        Rewrite::StripPrefix(prefix) => match rest(path, prefix) {
            Some("") => Cow::Borrowed("/"),
            Some(rest) => Cow::Borrowed(rest),
            None => Cow::Borrowed(path),
        },
        Rewrite::ReplacePrefix { from, to } => match rest(path, from) {
            Some("") if to.is_empty() => Cow::Borrowed("/"),
            Some("") => Cow::Owned(to.clone()),
            Some(rest) => Cow::Owned(format!("{}{rest}", to.trim_end_matches('/'))),
            None => Cow::Borrowed(path),
        },
    }
}

/// What follows the prefix: empty, or from a slash on.
fn rest<'p>(path: &'p str, prefix: &str) -> Option<&'p str> {
    let prefix = prefix.trim_end_matches('/');
    rest_below(path, prefix).or_else(|| {
        // Routes match whatever the case of hex digits; the lengths are the same.
        let upper = upper_case_hex(path);
        let rest = rest_below(&upper, &upper_case_hex(prefix))?;
        path.get(path.len() - rest.len()..)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rewrites() {
        let strip = |prefix: &str| Rewrite::StripPrefix(prefix.to_owned());
        let replace = |from: &str, to: &str| Rewrite::ReplacePrefix {
            from: from.to_owned(),
            to: to.to_owned(),
        };
        for (rewrite, sent, expected) in [
            (Rewrite::None, "/api/x", "/api/x"),
            (strip("/api"), "/api/x", "/x"),
            (strip("/api/"), "/api/x", "/x"),
            (strip("/api"), "/api", "/"),
            (strip("/api"), "/api/", "/"),
            (strip("/api"), "/apix", "/apix"),
            (strip("/api"), "*", "*"),
            (strip("/"), "/x", "/x"),
            (strip("/api"), "/api//x", "//x"),
            (strip("/caf%C3%A9"), "/caf%c3%a9/%2f", "/%2f"),
            (replace("/api", "/v1"), "/api/x", "/v1/x"),
            (replace("/api/", "/v1/"), "/api/x", "/v1/x"),
            (replace("/api", "/v1"), "/api", "/v1"),
            (replace("/api", "/v1/"), "/api", "/v1/"),
            (replace("/api", "/"), "/api/x", "/x"),
            (replace("/api", "/"), "/api", "/"),
            (replace("/api", ""), "/api", "/"),
            (replace("/", "/v1"), "/x", "/v1/x"),
            (replace("/", "/v1"), "/", "/v1/"),
            (replace("/api", "/v1"), "/other", "/other"),
        ] {
            assert_eq!(path(&rewrite, sent), expected, "{rewrite:?} {sent}");
        }
    }
}
