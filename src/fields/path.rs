//! The one spelling of a path (RFC 3986 §6.2.2). What it is for: see [`routing`](crate::routing).

use std::borrow::Cow;

/// The path holds a dot segment that only some origins would see. The answer is 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the path hides a dot segment behind an encoded slash, a backslash, a parameter or a doubled escape"
)]
pub struct AmbiguousPath;

/// `path` without dot segments and with percent-encoded unreserved characters decoded (RFC 3986 §6.2.2).
///
/// Borrowed where nothing had to change, which is nearly always. Other percent-encodings, malformed ones included,
/// and empty segments stay as sent. A target that does not begin with a slash (`*`) is returned as it is. Idempotent.
///
/// # Errors
/// [`AmbiguousPath`] for segments such as `..%2fadmin`, `..\admin`, `..;x` and `%%32e%%32e`.
pub fn normalise(path: &str) -> Result<Cow<'_, str>, AmbiguousPath> {
    // Without an early end many octets are judged at a time.
    let suspicious = path
        .bytes()
        .map(|octet| octet == b'%' || octet == b'\\' || octet == b'.');
    let suspicious = suspicious.fold(false, |any, one| any | one);
    if !suspicious || !path.starts_with('/') {
        return Ok(Cow::Borrowed(path));
    }
    let decoded = decode_unreserved(path);
    // `%%32e`: next to a lone `%`, what was decoded has made an encoding that the sender did not write. An origin that
    // decodes too would see what was not matched here.
    if matches!(decoded, Cow::Owned(_)) && matches!(decode_unreserved(&decoded), Cow::Owned(_)) {
        return Err(AmbiguousPath);
    }
    let mut dots = false;
    for segment in decoded.split('/') {
        if is_dot_segment(segment) {
            dots = true;
        } else if hides_dot_segment(segment) {
            return Err(AmbiguousPath);
        }
    }
    if dots {
        Ok(Cow::Owned(remove_dot_segments(&decoded)))
    } else {
        Ok(decoded)
    }
}

/// `path` with the hex digits of its percent-encodings in upper case (RFC 3986 §6.2.2.1), for comparison only: some
/// clients sign what they sent, so the case they chose is forwarded.
pub fn upper_case_hex(path: &str) -> Cow<'_, str> {
    let lower = |triplet: &[u8]| match triplet {
        [b'%', digits @ ..] => {
            digits.iter().all(u8::is_ascii_hexdigit) && digits.iter().any(u8::is_ascii_lowercase)
        }
        _ => false,
    };
    let escaped = memchr::memchr(b'%', path.as_bytes()).is_some();
    if !escaped || !path.as_bytes().windows(3).any(lower) {
        return Cow::Borrowed(path);
    }
    let mut out = String::with_capacity(path.len());
    let mut hex_left = 0;
    for (at, c) in path.char_indices() {
        if c == '%' && hex_pair(path.as_bytes(), at).is_some() {
            hex_left = 3;
        }
        out.push(if hex_left > 0 {
            c.to_ascii_uppercase()
        } else {
            c
        });
        hex_left = u8::saturating_sub(hex_left, 1);
    }
    Cow::Owned(out)
}

/// `path` as applications may read it, as far as that is not as it stands: with all escapes decoded (WSGI); that with slashes
/// merged; and as the most obliging one does, with `\` a slash and parameters cut off (servlets), too. What is behind a NUL is
/// cut off each time, as it is by what hands it on to C. No paths to be forwarded: only to find out for what they may be taken.
pub fn readings(path: &str) -> Vec<String> {
    if !has_readings(path) {
        return Vec::new();
    }
    let decoded = decode(path);
    let (merged, obliging) = (merge(&decoded, false), merge(&decoded, true));
    let mut readings = vec![decoded, merged, obliging];
    readings.retain(|read| read != path);
    readings.dedup();
    readings
}

/// Whether there may be other readings.
pub fn has_readings(path: &str) -> bool {
    let odd = |octet: &u8| matches!(octet, b'%' | b';' | b'\\');
    path.as_bytes().iter().any(odd) || path.contains("//")
}

/// Whether a rule that is about paths is about this one, as it stands or [as an application may read it](readings).
pub fn in_any_reading(path: &str, rule: impl Fn(&str) -> bool) -> bool {
    rule(path) || readings(path).iter().any(|read| rule(read))
}

/// All escapes decoded, up to a NUL.
pub fn decode(path: &str) -> String {
    let decoded = percent_encoding::percent_decode_str(path).decode_utf8_lossy();
    decoded.split('\0').next().unwrap_or_default().to_owned()
}

/// With slashes merged; where it is to oblige, `\` is one, and parameters are cut off.
fn merge(decoded: &str, obliging: bool) -> String {
    let mut merged = String::with_capacity(decoded.len());
    let mut in_parameter = false;
    for c in decoded.chars() {
        match if obliging && c == '\\' { '/' } else { c } {
            '/' => {
                in_parameter = false;
                if !merged.ends_with('/') {
                    merged.push('/');
                }
            }
            ';' if obliging => in_parameter = true,
            _ if in_parameter => {}
            c => merged.push(c),
        }
    }
    merged
}

fn decode_unreserved(path: &str) -> Cow<'_, str> {
    let bytes = path.as_bytes();
    let unreserved_at = |at: usize| {
        hex_pair(bytes, at)
            .filter(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~'))
    };
    if !memchr::memchr_iter(b'%', bytes).any(|at| unreserved_at(at).is_some()) {
        return Cow::Borrowed(path);
    }
    let mut out = String::with_capacity(path.len());
    let mut copied = 0;
    for at in memchr::memchr_iter(b'%', bytes) {
        if let Some(byte) = unreserved_at(at) {
            out.push_str(&path[copied..at]);
            out.push(char::from(byte));
            copied = at + 3;
        }
    }
    out.push_str(&path[copied..]);
    Cow::Owned(out)
}

/// The byte that a percent-encoding at `at` stands for.
fn hex_pair(bytes: &[u8], at: usize) -> Option<u8> {
    let digit = |i: usize| char::from(*bytes.get(i)?).to_digit(16);
    if bytes.get(at) != Some(&b'%') {
        return None;
    }
    let value = digit(at + 1)? * 16 + digit(at + 2)?;
    u8::try_from(value).ok()
}

fn is_dot_segment(segment: &str) -> bool {
    matches!(segment, "." | "..")
}

/// Whether an origin that takes `%2f`, `%5c` or `\` for a slash, or cuts parameters off (`..;x`, as Tomcat does), would
/// find a dot segment here.
fn hides_dot_segment(segment: &str) -> bool {
    if !segment.contains('.') {
        return false;
    }
    let mut rest = segment;
    loop {
        let (piece, after) = split_at_hidden_slash(rest);
        let name = piece
            .find(';')
            .or_else(|| piece.to_ascii_lowercase().find("%3b"))
            .map_or(piece, |at| &piece[..at]);
        if is_dot_segment(name) {
            return true;
        }
        match after {
            Some(after) => rest = after,
            None => return false,
        }
    }
}

fn split_at_hidden_slash(segment: &str) -> (&str, Option<&str>) {
    let bytes = segment.as_bytes();
    for at in memchr::memchr2_iter(b'%', b'\\', bytes) {
        if bytes.get(at) == Some(&b'\\') {
            return (&segment[..at], Some(&segment[at + 1..]));
        }
        if matches!(hex_pair(bytes, at), Some(b'/' | b'\\')) {
            return (&segment[..at], Some(&segment[at + 3..]));
        }
    }
    (segment, None)
}

/// RFC 3986 §5.2.4 for a path that begins with a slash.
fn remove_dot_segments(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    let mut segments = path[1..].split('/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    out.truncate(out.rfind('/').unwrap_or(0));
                }
                // `/a/.` and `/a/b/..` name a directory: their slash stays.
                if last {
                    out.push('/');
                }
            }
            _ => {
                out.push('/');
                out.push_str(segment);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn as_applications_read_it() {
        for (path, read) in [
            ("/staff/x", &[][..]),
            ("/a.b/c-d_e~", &[]),
            ("/staff%2fx", &["/staff/x"]),
            ("//staff/x", &["/staff/x"]),
            ("/%2Fstaff", &["//staff", "/staff"]),
            ("/staff%2f", &["/staff/"]),
            ("/users/%40me", &["/users/@me"]),
            ("/staff;v=1/x;y", &["/staff/x"]),
            ("/staff\\x", &["/staff/x"]),
            ("/staff%5Cx", &["/staff\\x", "/staff/x"]),
            ("/a%3Bb/c", &["/a;b/c", "/a/c"]),
            ("/a%2f/b;c/d", &["/a//b;c/d", "/a/b;c/d", "/a/b/d"]),
            // Once only: what is decoded twice is nobody's path.
            ("/staff%252fx", &["/staff%2fx"]),
            ("/status%00", &["/status"]),
            ("/staff%00.html/x", &["/staff"]),
            ("/%", &[]),
            ("/%ff", &["/\u{fffd}"]),
        ] {
            assert_eq!(readings(path), read, "{path}");
        }
    }

    #[test]
    fn spellings() {
        for (sent, expected) in [
            ("/", "/"),
            ("*", "*"),
            ("/a/b", "/a/b"),
            ("/a//b", "/a//b"),
            ("/a.b/.well-known/..x/x..", "/a.b/.well-known/..x/x.."),
            ("/public/../admin", "/admin"),
            ("/public/%2e%2E/admin", "/admin"),
            ("/public/.%2e/admin", "/admin"),
            ("/a/./b/%2e/c", "/a/b/c"),
            ("/a/.", "/a/"),
            ("/a/b/..", "/a/"),
            ("/..", "/"),
            ("/../../etc/passwd", "/etc/passwd"),
            ("/a//../b", "/a/b"),
            ("/%61dmin", "/admin"),
            ("/%7Euser/a%2Db", "/~user/a-b"),
            // Reserved and other characters keep their encoding, and its case.
            ("/a%2fb%2Fc%20d", "/a%2fb%2Fc%20d"),
            // Decoded once: what is left is text.
            ("/%252e%252e/x", "/%252e%252e/x"),
            ("/%2", "/%2"),
            ("/%zz%", "/%zz%"),
            ("/a;v=1/..b;x", "/a;v=1/..b;x"),
        ] {
            assert_eq!(normalise(sent).as_deref(), Ok(expected), "{sent}");
        }
    }

    #[test]
    fn ambiguous() {
        for sent in [
            "/public/..%2fadmin",
            "/public/..%5Cadmin",
            "/public/..\\admin",
            "/public/a%2f..%2fadmin",
            "/public/%2e%2e%2fadmin",
            "/public/..;/admin",
            "/public/..;x=1/admin",
            "/public/..%3Bx/admin",
            "/public/.;/admin",
            "/x%2f.",
            "/public/%%32e%%32e/admin",
            "/public/.%%32E/admin",
            "/public/%2%65%2%65/admin",
            "/%%361dmin",
            "/x/%%32f%2e%2e",
        ] {
            assert_eq!(normalise(sent), Err(AmbiguousPath), "{sent}");
        }
    }

    #[test]
    fn hex_case() {
        for (sent, expected) in [
            ("/a%2fb", "/a%2Fb"),
            ("/%c3%a9/ab", "/%C3%A9/ab"),
            ("/a%zzb", "/a%zzb"),
            ("/%c", "/%c"),
            ("/plain", "/plain"),
        ] {
            assert_eq!(upper_case_hex(sent), expected);
        }
    }

    proptest! {
        #[test]
        fn the_result_is_canonical_and_stays(path in "/([a.;/]|%2e|%2E|%2f|%61|%25|%|%3|%32|%65|2|e|\\\\|é){0,12}") {
            if let Ok(once) = normalise(&path) {
                prop_assert!(once.starts_with('/'));
                prop_assert!(!once.split('/').any(is_dot_segment), "{}", once);
                let twice = normalise(&once);
                prop_assert_eq!(twice.as_deref(), Ok(&*once));
            }
        }
    }
}
