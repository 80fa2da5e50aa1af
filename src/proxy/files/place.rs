//! From a request's path to a relative file name that cannot climb, and is not hidden.

use percent_encoding::percent_decode_str;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

/// A place below the root.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Relative; only ordinary names. Empty for the root itself.
    pub(super) path: PathBuf,
    /// Whether the path ended with a slash, and so can only be a directory.
    pub(super) is_directory: bool,
}

impl Place {
    /// The place that `path` names; `None` for what is never served.
    ///
    /// Each segment is percent-decoded once and must then be an ordinary name: no `.` or `..`, no slash or backslash
    /// (they were encoded), no NUL. What is still encoded after that is text. Empty segments are skipped, as the file
    /// system does. Names that begin with a dot are not served (`.git`, `.env`), except below `/.well-known/` (RFC 8615).
    pub(super) fn of(path: &str) -> Option<Self> {
        let mut place = PathBuf::new();
        let segments = path.strip_prefix('/')?.split('/');
        for segment in segments.filter(|segment| !segment.is_empty()) {
            let name: Vec<u8> = percent_decode_str(segment).collect();
            let well_known = name == b".well-known" && place.as_os_str().is_empty();
            let hidden = name.starts_with(b".") && !well_known;
            if hidden || name.iter().any(|byte| matches!(byte, 0 | b'/' | b'\\')) {
                return None;
            }
            place.push(OsStr::from_bytes(&name));
        }
        Some(Self {
            path: place,
            is_directory: path.ends_with('/'),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        for (path, expected) in [
            ("/", Some("")),
            ("/a.txt", Some("a.txt")),
            ("/a//b/", Some("a/b")),
            ("/%61%20b", Some("a b")),
            ("/100%25.txt", Some("100%.txt")),
            ("/%252e%252e/x", Some("%2e%2e/x")),
            ("/%zz", Some("%zz")),
            ("/%c3%a9", Some("é")),
            ("/.well-known/acme", Some(".well-known/acme")),
            ("/a..b", Some("a..b")),
            ("/..", None),
            ("/a/../b", None),
            ("/%2e%2e/x", None),
            ("/.%2e/x", None),
            ("/./x", None),
            ("/a%2fb", None),
            ("/..%2fetc", None),
            ("/a%5cb", None),
            ("/a\\..\\b", None),
            ("/a%00.txt", None),
            ("/.git/config", None),
            ("/a/.env", None),
            ("/a/.well-known/x", None),
            ("/.well-known/.env", None),
            ("/%2eenv", None),
            ("*", None),
            ("", None),
        ] {
            let place = Place::of(path);
            let found = place.as_ref().and_then(|place| place.path.to_str());
            assert_eq!(found, expected, "{path}");
            if let Some(place) = place {
                assert_eq!(place.is_directory, path.ends_with('/'));
                assert!(place.path.is_relative());
            }
        }
    }
}
