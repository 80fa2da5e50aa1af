//! Comma-separated lists (RFC 9110 §5.6.1) whose members may hold quoted strings.

use crate::fields::token::{is_token, trim_ows};

/// The members of one line: split at commas outside quoted strings, without surrounding white space, empty ones left
/// out. A quoted string that does not end takes the rest of the line. Members are not checked further.
pub fn members(line: &[u8]) -> Members<'_> {
    Members { rest: Some(line) }
}

/// The members of one line that must all be tokens. An item is `None` where a member is not a token.
pub fn tokens(line: &[u8]) -> impl Iterator<Item = Option<&[u8]>> {
    members(line).map(|member| is_token(member).then_some(member))
}

/// Whether any member on any line is `token`, ignoring case.
pub fn contains_token<I>(lines: I, token: &str) -> bool
where
    I: IntoIterator,
    I::Item: AsRef<[u8]>,
{
    lines.into_iter().any(|line| {
        members(line.as_ref()).any(|member| member.eq_ignore_ascii_case(token.as_bytes()))
    })
}

/// See [`members`].
#[derive(Debug, Clone)]
pub struct Members<'a> {
    rest: Option<&'a [u8]>,
}

impl<'a> Iterator for Members<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        loop {
            let rest = self.rest.take()?;
            let end = end_of_member(rest);
            let (member, after) = rest.split_at_checked(end)?;
            self.rest = after.strip_prefix(b",");
            let member = trim_ows(member);
            if !member.is_empty() {
                return Some(member);
            }
        }
    }
}

/// Where the first comma outside a quoted string stands, or the length. A backslash escapes only inside quotes.
fn end_of_member(bytes: &[u8]) -> usize {
    let mut quoted = false;
    let mut escaped = false;
    bytes
        .iter()
        .position(|&octet| {
            if escaped {
                escaped = false;
                return false;
            }
            match octet {
                b'"' => quoted = !quoted,
                b'\\' if quoted => escaped = true,
                b',' if !quoted => return true,
                _ => {}
            }
            false
        })
        .unwrap_or(bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn splitting() {
        for (line, expected) in [
            ("", &[][..]),
            (" , ,\t", &[]),
            ("a", &["a"]),
            ("a,b", &["a", "b"]),
            ("a , , b\t,", &["a", "b"]),
            (r#"a="x,y", b"#, &[r#"a="x,y""#, "b"]),
            (r#"a="\",", b"#, &[r#"a="\",""#, "b"]),
            (r"a\,b", &[r"a\", "b"]),
            (r#"a="x, b"#, &[r#"a="x, b"#]),
        ] {
            let found: Vec<_> = members(line.as_bytes()).collect();
            let expected: Vec<_> = expected.iter().map(|m| m.as_bytes()).collect();
            assert_eq!(found, expected, "{line}");
        }
    }

    #[test]
    fn membership() {
        assert!(contains_token(["close"], "close"));
        assert!(contains_token(["keep-alive", "x, Close"], "close"));
        assert!(!contains_token(["closed", "x\"close\""], "close"));
        assert!(!contains_token(["a=\"x, close\""], "close"));
        assert!(!contains_token([""; 0], "close"));
    }

    #[test]
    fn members_that_are_no_tokens_are_said() {
        let found: Vec<_> = tokens(b"a, b c, d").collect();
        assert_eq!(found, [Some(&b"a"[..]), None, Some(&b"d"[..])]);
    }

    proptest! {
        #[test]
        fn tokens_survive_joining(words in prop::collection::vec("[a-z0-9!#-]{1,8}", 0..8)) {
            let line = words.join(" ,\t");
            let found: Vec<_> = members(line.as_bytes()).map(<[u8]>::to_vec).collect();
            let words: Vec<_> = words.into_iter().map(String::into_bytes).collect();
            prop_assert_eq!(found, words);
        }

        #[test]
        fn reading_never_panics_and_ends(bytes in prop::collection::vec(prop_oneof![Just(b'"'), Just(b','), Just(b'\\'), any::<u8>()], 0..48)) {
            prop_assert!(members(&bytes).count() <= bytes.len() + 1);
        }
    }
}
