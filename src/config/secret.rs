//! A line of the file as errors may show it: tokens and passwords in it are covered, character by character.

/// Keys whose values are secrets.
const KEYS: [&str; 4] = [
    "token",
    "authorization",
    "proxy-authorization",
    "set-cookie",
];
/// Fields whose names end so are some service's credentials (`X-Api-Key`, `Private-Token`); no key of ours has a hyphen.
const ENDINGS: [&str; 4] = ["-key", "-token", "-secret", "-password"];
/// Where fields are set or asked for. Elsewhere the key is a cookie's name.
const COOKIE: &str = "cookie";
/// Keys whose values are URLs with a query that may be one.
const URLS: [&str; 1] = ["forward"];

/// The line with its secrets covered. What is not, is where it was, so that carets stand right.
pub(super) fn covered(line: &str) -> String {
    let mut letters: Vec<char> = line.chars().collect();
    cover_passwords(&mut letters);
    at_values(&mut letters, &KEYS, Whole, cover_string);
    at_values(&mut letters, &ENDINGS, Ending, cover_string);
    let of_fields = line.contains("_headers") || line.trim_start().starts_with("header ");
    if of_fields || line.contains("Cookie") {
        at_values(&mut letters, &[COOKIE], Whole, cover_string);
    }
    at_values(&mut letters, &URLS, Whole, cover_query);
    letters.into_iter().collect()
}

/// Whether a field's value is for nobody's eyes, by its name in lower case.
pub fn is_secret_field(name: &str) -> bool {
    KEYS.contains(&name) || name == COOKIE || ENDINGS.iter().any(|ending| name.ends_with(ending))
}

/// Which part of a key is looked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Whole,
    Ending,
}
use Part::{Ending, Whole};

/// `http://user:password@host`: what stands between `://` and `@`.
fn cover_passwords(letters: &mut [char]) {
    let mut at = 0;
    while at + 3 <= letters.len() {
        if letters.get(at..at + 3) != Some(&[':', '/', '/']) {
            at += 1;
            continue;
        }
        at += 3;
        let rest = letters.get_mut(at..).unwrap_or_default();
        let ends = |c: &char| matches!(c, '/' | '?' | '#' | '"' | '\'' | ' ');
        let length = rest.iter().position(ends).unwrap_or(rest.len());
        let authority = rest.get_mut(..length).unwrap_or_default();
        if let Some(sign) = authority.iter().rposition(|c| *c == '@') {
            authority.iter_mut().take(sign).for_each(|c| *c = '*');
        }
    }
}

/// Covers the values of these keys: `token = "…"`, also with the key in quotes and within an inline table.
fn at_values(letters: &mut [char], keys: &[&str], part: Part, cover: fn(&mut [char], usize)) {
    let text: String = letters.iter().map(char::to_ascii_lowercase).collect();
    let lower: Vec<char> = text.chars().collect();
    for key in keys {
        let key: Vec<char> = key.chars().collect();
        for start in 0..lower.len() {
            let end = start + key.len();
            let part_of_word = |at: Option<usize>| {
                let c = at.and_then(|at| lower.get(at));
                c.is_some_and(|c| c.is_alphanumeric() || matches!(c, '-' | '_'))
            };
            if lower.get(start..end) != Some(&key[..])
                || part == Whole && part_of_word(start.checked_sub(1))
                || part_of_word(Some(end))
            {
                continue;
            }
            let rest = lower.get(end..).unwrap_or_default();
            let blank = |c: &&char| matches!(c, ' ' | '\t' | '"' | '\'');
            let before = rest.iter().take_while(blank).count();
            if rest.get(before) != Some(&'=') {
                continue;
            }
            let mut from = end + before + 1;
            while lower.get(from).is_some_and(|c| matches!(c, ' ' | '\t')) {
                from += 1;
            }
            cover(letters, from);
        }
    }
}

/// Covers a string's content; of one without an end, the rest of the line.
fn cover_string(letters: &mut [char], from: usize) {
    let quote = letters.get(from).copied();
    let Some(quote) = quote.filter(|c| matches!(c, '"' | '\'')) else {
        return;
    };
    let content: String = letters
        .iter()
        .skip(from + 1)
        .take_while(|c| **c != quote)
        .collect();
    // A variable's name is no secret; what stands for it where it is not set may be.
    if content.starts_with("${") && content.ends_with('}') && !content.contains(":-") {
        return;
    }
    for c in letters.iter_mut().skip(from + 1) {
        if *c == quote {
            return;
        }
        *c = '*';
    }
}

/// Covers what stands behind the `?` of a string.
fn cover_query(letters: &mut [char], from: usize) {
    let Some(quote) = letters.get(from).copied() else {
        return;
    };
    let content = letters.iter_mut().skip(from + 1);
    let behind = content
        .take_while(|c| **c != quote)
        .skip_while(|c| **c != '?');
    behind.skip(1).for_each(|c| *c = '*');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_covered_and_nothing_else() {
        for (line, expected) in [
            ("token = \"abc\"", "token = \"***\""),
            ("token = 'abc' # x", "token = '***' # x"),
            ("token=\"abc", "token=\"***"),
            ("tokens = \"abc\"", "tokens = \"abc\""),
            ("token = 5", "token = 5"),
            ("token = \"${T}\"", "token = \"${T}\""),
            ("token = \"${T:-x}\"", "token = \"*******\""),
            (
                "request_headers = { set = { \"Authorization\" = \"Basic x\", X = \"y\" } }",
                "request_headers = { set = { \"Authorization\" = \"*******\", X = \"y\" } }",
            ),
            (
                "request_headers = { set = { X-Api-Key = \"k\", \"cookie\" = 'a=b' } }",
                "request_headers = { set = { X-Api-Key = \"*\", \"cookie\" = '***' } }",
            ),
            ("Cookie = \"a=b\"", "Cookie = \"***\""),
            (
                "bypass = [{ cookie = \"session\" }]",
                "bypass = [{ cookie = \"session\" }]",
            ),
            ("key = \"/etc/tls/key.pem\"", "key = \"/etc/tls/key.pem\""),
            (
                "to = \"http://ann:pw@api:80/\"",
                "to = \"http://******@api:80/\"",
            ),
            ("to = \"http://api/a@b\"", "to = \"http://api/a@b\""),
            (
                "auth = { forward = \"http://auth/verify?key=1\", copy = [] }",
                "auth = { forward = \"http://auth/verify?*****\", copy = [] }",
            ),
            (
                "forward = 'http://auth/?' # ?",
                "forward = 'http://auth/?' # ?",
            ),
            ("to = \"http://auth/?a\"", "to = \"http://auth/?a\""),
            ("é = 'http://é@x'", "é = 'http://*@x'"),
        ] {
            assert_eq!(covered(line), expected);
        }
    }
}
