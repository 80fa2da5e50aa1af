//! Request targets (RFC 9112 §3.2): which bytes one may hold, and where its parts are.
//!
//! Percent-encoding is never undone here: what the client sent is what is matched, cached and forwarded.

use std::borrow::Cow;
use std::fmt;

/// Why a text is not an origin-form target that all recipients read alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// It does not begin with a slash.
    #[error("the target does not begin with a slash")]
    NotOriginForm,
    /// It holds an octet that must be percent-encoded: a control byte, a space, `"`, `<` or `>`; in the path also
    /// `` ` `` and the backslash, which some origins take for a slash.
    #[error("the target holds byte {0:#04x}, which must be percent-encoded")]
    IllegalByte(u8),
    /// It holds `#`: a fragment is never sent.
    #[error("the target holds a fragment")]
    Fragment,
    /// Its bytes beyond ASCII are not UTF-8.
    #[error("the target is neither ASCII nor UTF-8")]
    NotUtf8,
}

/// A target split at its first question mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PathQuery<'a> {
    /// The path, beginning with a slash.
    pub path: &'a str,
    /// The query without its question mark; `None` without one, `Some("")` where nothing follows it.
    pub query: Option<&'a str>,
}

/// An absolute-form target taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Absolute<'a> {
    /// True for `https`, false for `http`.
    pub https: bool,
    /// The authority, unchecked: `host::parse` reads it.
    pub authority: &'a [u8],
    /// The origin-form target that remains, unchecked: an empty path has become a slash (RFC 9112 §3.2.1).
    pub target: Cow<'a, [u8]>,
}

/// Checks an origin-form target.
///
/// Bytes that RFC 3986 does not allow but browsers and command-line clients do send are accepted as long as they mean
/// the same to everybody: `| { } [ ] ^`, in a query also `` ` `` and the backslash, and UTF-8 that nobody encoded.
///
/// # Errors
/// [`TargetError`], the first one from the left (`NotUtf8` last).
pub fn check_origin_form(target: &[u8]) -> Result<&str, TargetError> {
    check_octets(target)?;
    std::str::from_utf8(target).map_err(|_| TargetError::NotUtf8)
}

/// The same for a target that is known to be text.
///
/// # Errors
/// As [`check_origin_form`].
pub fn check_octets(target: &[u8]) -> Result<(), TargetError> {
    if target.first() != Some(&b'/') {
        return Err(TargetError::NotOriginForm);
    }
    let end = memchr::memchr(b'?', target).unwrap_or(target.len());
    let (path, query) = target.split_at(end);
    // Without an early end many octets are judged at a time; which one it was is asked afterwards.
    let path_fits = path.iter().fold(true, |all, &it| all & is_path_octet(it));
    let query_fits = query
        .iter()
        .fold(true, |all, &it| all & is_target_octet(it));
    if path_fits && query_fits {
        return Ok(());
    }
    let in_path = path.iter().find(|&&octet| !is_path_octet(octet));
    match in_path.or_else(|| query.iter().find(|&&octet| !is_target_octet(octet))) {
        None => Ok(()),
        Some(b'#') => Err(TargetError::Fragment),
        Some(&octet) => Err(TargetError::IllegalByte(octet)),
    }
}

fn is_target_octet(octet: u8) -> bool {
    octet > b' ' && octet != 0x7f && !matches!(octet, b'"' | b'<' | b'>' | b'#')
}

fn is_path_octet(octet: u8) -> bool {
    is_target_octet(octet) && octet != b'\\' && octet != b'`'
}

/// Splits a target at its first question mark.
pub fn split_path_query(target: &str) -> PathQuery<'_> {
    // Not `split_once`, which is made for longer texts.
    let mark = memchr::memchr(b'?', target.as_bytes());
    match mark.and_then(|at| Some((target.get(..at)?, target.get(at + 1..)?))) {
        Some((path, query)) => PathQuery {
            path,
            query: Some(query),
        },
        None => PathQuery {
            path: target,
            query: None,
        },
    }
}

/// Takes an `http://` or `https://` target apart, the scheme in any case. `None` where it has another shape.
pub fn split_absolute(target: &[u8]) -> Option<Absolute<'_>> {
    let (scheme, rest) = target.split_at_checked(memchr::memmem::find(target, b"://")?)?;
    let https = match scheme {
        scheme if scheme.eq_ignore_ascii_case(b"http") => false,
        scheme if scheme.eq_ignore_ascii_case(b"https") => true,
        _ => return None,
    };
    let rest = rest.strip_prefix(b"://")?;
    let end = rest
        .iter()
        .position(|octet| matches!(octet, b'/' | b'?' | b'#'))
        .unwrap_or(rest.len());
    let (authority, target) = rest.split_at_checked(end)?;
    let target = if target.first() == Some(&b'/') {
        Cow::Borrowed(target)
    } else {
        Cow::Owned([b"/", target].concat())
    };
    Some(Absolute {
        https,
        authority,
        target,
    })
}

/// Whether each `%` is followed by two hexadecimal digits.
pub fn is_percent_encoding_valid(text: &str) -> bool {
    let mut rest = text.as_bytes();
    while let Some(at) = memchr::memchr(b'%', rest) {
        rest = match rest.split_at_checked(at) {
            Some((_, [b'%', a, b, after @ ..]))
                if a.is_ascii_hexdigit() && b.is_ascii_hexdigit() =>
            {
                after
            }
            _ => return false,
        };
    }
    true
}

/// Shows bytes of a stranger in a line of the log: printable ASCII as it is, all else (quotes and backslashes included)
/// as `\xNN`, so that nobody can end the line or colour the terminal.
pub fn escaped(bytes: &[u8]) -> Escaped<'_> {
    Escaped(bytes)
}

/// See [`escaped`].
#[derive(Debug, Clone, Copy)]
pub struct Escaped<'a>(&'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for &octet in self.0 {
            match octet {
                b'"' | b'\\' => write!(f, "\\x{octet:02x}")?,
                b' '..=b'~' => fmt::Write::write_char(f, char::from(octet))?,
                _ => write!(f, "\\x{octet:02x}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn origin_form() {
        for valid in [
            "/",
            "//",
            "/a/../b",
            "/%00%zz%",
            "/a?b?c",
            "/a?",
            "/?a[]=1&b={|}^",
            r"/?path=C:\x`",
            "/héllo?q=ü",
            "/*;p=1:@&=+$,!~'()",
        ] {
            assert_eq!(check_origin_form(valid.as_bytes()), Ok(valid));
        }
        for (target, expected) in [
            (&b""[..], TargetError::NotOriginForm),
            (b"*", TargetError::NotOriginForm),
            (b"a/b", TargetError::NotOriginForm),
            (b"http://a/", TargetError::NotOriginForm),
            (b"/a b", TargetError::IllegalByte(b' ')),
            (b"/a\tb", TargetError::IllegalByte(b'\t')),
            (b"/a\0", TargetError::IllegalByte(0)),
            (b"/a\x7f", TargetError::IllegalByte(0x7f)),
            (b"/a\r\nX: y", TargetError::IllegalByte(b'\r')),
            (b"/a\"", TargetError::IllegalByte(b'"')),
            (b"/a?<script>", TargetError::IllegalByte(b'<')),
            (b"/a\\..\\b", TargetError::IllegalByte(b'\\')),
            (b"/`", TargetError::IllegalByte(b'`')),
            (b"/a#b", TargetError::Fragment),
            (b"/a?b#c", TargetError::Fragment),
            (b"/\xff", TargetError::NotUtf8),
        ] {
            assert_eq!(
                check_origin_form(target),
                Err(expected),
                "{}",
                escaped(target)
            );
        }
    }

    #[test]
    fn splitting() {
        for (target, path, query) in [
            ("/a", "/a", None),
            ("/a?", "/a", Some("")),
            ("/a?b?c", "/a", Some("b?c")),
        ] {
            assert_eq!(split_path_query(target), PathQuery { path, query });
        }
    }

    #[test]
    fn absolute_form() {
        for (target, https, authority, rest) in [
            ("http://a/b?c", false, "a", "/b?c"),
            ("HTTPS://a:1", true, "a:1", "/"),
            ("http://a?q", false, "a", "/?q"),
            ("http:///x", false, "", "/x"),
            ("http://u@a/x", false, "u@a", "/x"),
            ("http://a#f", false, "a", "/#f"),
        ] {
            let expected = Absolute {
                https,
                authority: authority.as_bytes(),
                target: Cow::Borrowed(rest.as_bytes()),
            };
            assert_eq!(
                split_absolute(target.as_bytes()),
                Some(expected),
                "{target}"
            );
        }
        for target in ["", "/a", "*", "a:80", "ftp://a/", "http:/a", "/http://a/"] {
            assert_eq!(split_absolute(target.as_bytes()), None, "{target}");
        }
    }

    #[test]
    fn percent_encoding() {
        for valid in ["", "/a", "%41", "a%2fb%2F"] {
            assert!(is_percent_encoding_valid(valid), "{valid}");
        }
        for invalid in ["%", "%4", "%zz", "%41%", "%%41"] {
            assert!(!is_percent_encoding_valid(invalid), "{invalid}");
        }
    }

    #[test]
    fn escaping_for_the_log() {
        assert_eq!(escaped(b"/a b").to_string(), "/a b");
        assert_eq!(
            escaped(b"\r\n\x1b\"\\\xff").to_string(),
            r"\x0d\x0a\x1b\x22\x5c\xff"
        );
    }

    proptest! {
        #[test]
        fn splitting_loses_nothing(target in "/[a-z?/]{0,16}") {
            let parts = split_path_query(&target);
            let joined = match parts.query {
                Some(query) => format!("{}?{query}", parts.path),
                None => parts.path.to_owned(),
            };
            prop_assert_eq!(joined, target);
        }

        #[test]
        fn reading_never_panics(bytes in prop::collection::vec(prop_oneof![Just(b'/'), Just(b'%'), Just(b':'), any::<u8>()], 0..32)) {
            let _ = check_origin_form(&bytes);
            let _ = split_absolute(&bytes);
            prop_assert!(escaped(&bytes).to_string().bytes().all(|b| (b' '..=b'~').contains(&b)));
            let _ = is_percent_encoding_valid(&String::from_utf8_lossy(&bytes));
        }
    }
}
