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

/// `path` as the most obliging application reads it: all escapes decoded (WSGI), `\` a slash, parameters cut off (servlets),
/// slashes merged, all behind a NUL cut off (what hands it on to C). None where that is the path itself. No path to be forwarded: only to find out for which route it may be taken.
pub fn read_loosely(path: &str) -> Option<String> {
    let odd = |octet: &u8| matches!(octet, b'%' | b';' | b'\\');
    if !path.as_bytes().iter().any(odd) && !path.contains("//") {
        return None;
    }
    let decoded = percent_encoding::percent_decode_str(path).decode_utf8_lossy();
    let mut read = String::with_capacity(decoded.len());
    let mut in_parameter = false;
    for c in decoded.chars().take_while(|c| *c != '\0') {
        match if c == '\\' { '/' } else { c } {
            '/' => {
                in_parameter = false;
                if !read.ends_with('/') {
                    read.push('/');
                }
            }
            ';' => in_parameter = true,
            _ if in_parameter => {}
            c => read.push(c),
        }
    }
    (read != path).then_some(read)
}

/// Whether a rule that is about paths is about this one, as it stands or as [an application may read it](read_loosely).
pub fn in_any_reading(path: &str, rule: impl Fn(&str) -> bool) -> bool {
    rule(path) || read_loosely(path).is_some_and(|read| rule(&read))
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
    fn as_an_obliging_application_reads_it() {
        for (path, read) in [
            ("/staff/x", None),
            ("/a.b/c-d_e~", None),
            ("/staff%2fx", Some("/staff/x")),
            ("//staff/x", Some("/staff/x")),
            ("/%2Fstaff", Some("/staff")),
            ("/staff%2f", Some("/staff/")),
            ("/users/%40me", Some("/users/@me")),
            ("/staff;v=1/x;y", Some("/staff/x")),
            ("/staff\\x", Some("/staff/x")),
            ("/staff%5Cx", Some("/staff/x")),
            ("/a%3Bb/c", Some("/a/c")),
            // Once only: what is decoded twice is nobody's path.
            ("/staff%252fx", Some("/staff%2fx")),
            ("/status%00", Some("/status")),
            ("/staff%00.html/x", Some("/staff")),
            ("/%", None),
            ("/%ff", Some("/\u{fffd}")),
        ] {
            assert_eq!(read_loosely(path).as_deref(), read, "{path}");
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
