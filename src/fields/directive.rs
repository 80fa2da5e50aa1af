//! Directives as `Cache-Control` carries them (RFC 9111 §5.2): `token [ "=" ( token / quoted-string ) ]`, in a list.

use crate::fields::list;
use crate::fields::token::{is_token, trim_ows};
use std::borrow::Cow;

/// One directive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directive<'a> {
    /// Its name, in the case it came in. Compare it without case.
    pub name: &'a [u8],
    /// What stands behind its equals sign.
    pub argument: Argument<'a>,
}

/// The argument of a directive. A token and a quoted string mean the same (§5.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Argument<'a> {
    /// There is no equals sign.
    Absent,
    /// A token, or what a quoted string says.
    Value(Cow<'a, [u8]>),
    /// Neither: nothing at all, white space beside the equals sign, a string that does not end, something behind it.
    Malformed,
}

/// The directives of one line. A member whose name is not a token is left out: it is not a directive that anybody knows.
pub fn directives(line: &[u8]) -> impl Iterator<Item = Directive<'_>> {
    list::members(line).filter_map(parse)
}

/// Members of a line that are no directives, or whose argument is none.
pub fn unreadable(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let is_bad = |directive: Directive<'_>| directive.argument == Argument::Malformed;
    list::members(line).filter(move |member| parse(member).is_none_or(is_bad))
}

/// Writes a directive's argument as a quoted string.
pub fn quote(value: &[u8]) -> Vec<u8> {
    let mut quoted = Vec::with_capacity(value.len().saturating_add(2));
    quoted.push(b'"');
    for &octet in value {
        if matches!(octet, b'"' | b'\\') {
            quoted.push(b'\\');
        }
        quoted.push(octet);
    }
    quoted.push(b'"');
    quoted
}

fn parse(member: &[u8]) -> Option<Directive<'_>> {
    let Some((name, after)) =
        memchr::memchr(b'=', member).and_then(|at| member.split_at_checked(at))
    else {
        return is_token(member).then_some(Directive {
            name: member,
            argument: Argument::Absent,
        });
    };
    // White space before the equals sign is no reason to overlook a `private`: the name counts, the argument does not.
    let trimmed = trim_ows(name);
    if !is_token(trimmed) {
        return None;
    }
    let argument = if trimmed.len() == name.len() {
        after.strip_prefix(b"=").and_then(value)
    } else {
        None
    };
    Some(Directive {
        name: trimmed,
        argument: argument.map_or(Argument::Malformed, Argument::Value),
    })
}

fn value(bytes: &[u8]) -> Option<Cow<'_, [u8]>> {
    match bytes.strip_prefix(b"\"") {
        Some(rest) => unquote(rest),
        None => is_token(bytes).then_some(Cow::Borrowed(bytes)),
    }
}

/// What a quoted string says, without its first quote; it must end with the input.
fn unquote(rest: &[u8]) -> Option<Cow<'_, [u8]>> {
    let end = rest
        .iter()
        .position(|octet| matches!(octet, b'"' | b'\\'))?;
    if rest.get(end..) == Some(b"\"") {
        return rest.get(..end).map(Cow::Borrowed);
    }
    let mut text = Vec::with_capacity(rest.len());
    let mut octets = rest.iter();
    loop {
        match *octets.next()? {
            b'"' => break,
            b'\\' => text.push(*octets.next()?),
            octet => text.push(octet),
        }
    }
    octets.next().is_none().then_some(Cow::Owned(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(line: &str) -> Vec<(String, Option<String>)> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        directives(line.as_bytes())
            .map(|directive| {
                let argument = match directive.argument {
                    Argument::Absent => None,
                    Argument::Value(value) => Some(text(&value)),
                    Argument::Malformed => Some("<malformed>".to_owned()),
                };
                (text(directive.name), argument)
            })
            .collect()
    }

    #[test]
    fn reading() {
        let bad = Some("<malformed>");
        for (line, expected) in [
            ("", vec![]),
            (" , ,", vec![]),
            ("no-store", vec![("no-store", None)]),
            ("max-age=60", vec![("max-age", Some("60"))]),
            ("max-age=\"60\"", vec![("max-age", Some("60"))]),
            ("max-age=\"6\\0\"", vec![("max-age", Some("60"))]),
            (
                "A ,\tb=c,,no-cache=\"x, y\"",
                vec![("A", None), ("b", Some("c")), ("no-cache", Some("x, y"))],
            ),
            ("a=\"\"", vec![("a", Some(""))]),
            ("a=", vec![("a", bad)]),
            ("a =1", vec![("a", bad)]),
            ("a= 1", vec![("a", bad)]),
            ("a=1 2", vec![("a", bad)]),
            ("a=-1", vec![("a", Some("-1"))]),
            ("a=\"x", vec![("a", bad)]),
            ("a=\"x\"y", vec![("a", bad)]),
            (
                "a='x, y'",
                vec![("a", Some("'x")), /* y' is a token */ ("y'", None)],
            ),
            ("=1, (, private", vec![("private", None)]),
            ("no store", vec![]),
        ] {
            let expected: Vec<_> = expected
                .into_iter()
                .map(|(name, value): (&str, Option<&str>)| {
                    (name.to_owned(), value.map(str::to_owned))
                })
                .collect();
            assert_eq!(read(line), expected, "{line}");
        }
    }

    proptest! {
        #[test]
        fn quoting_then_reading_is_identity(value in "[ -~]{0,16}", name in "[a-z-]{1,8}") {
            let line = [name.as_bytes(), b"=", &quote(value.as_bytes())].concat();
            let found: Vec<_> = directives(&line).collect();
            let argument = Argument::Value(Cow::Owned(value.into_bytes()));
            prop_assert_eq!(found, vec![Directive { name: name.as_bytes(), argument }]);
        }

        #[test]
        fn reading_never_panics(bytes in prop::collection::vec(prop_oneof![Just(b'"'), Just(b','), Just(b'\\'), Just(b'='), any::<u8>()], 0..48)) {
            prop_assert!(directives(&bytes).count() <= bytes.len());
        }
    }
}
