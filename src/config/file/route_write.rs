//! `on_write = …` of a `[[route]]`: which requests change something, and what is purged then.

use super::reader::{Key, key};
use super::scalars::{self, Fault, expected};
use super::value::At;
use crate::cache::settings::{Scope, WriteRule};
use crate::config::tree::Kind;
use http::Method;

pub(super) static KEYS: &[Key] = &[key("match"), key("purge")];

/// One rule or several.
pub(super) fn read(at: At<'_>) -> Option<Vec<WriteRule>> {
    match at.kind() {
        Kind::List(_) => at.list_or_empty(rule),
        _ => rule(at).map(|rule| vec![rule]),
    }
}

fn rule(at: At<'_>) -> Option<WriteRule> {
    let section = at.section(KEYS)?;
    let matched = section.required("match", |at| at.parse(matched));
    let purge = section.required("purge", |at| at.one_or_more(|at| at.parse(scope)));
    let (methods, path) = matched?;
    Some(WriteRule {
        methods,
        path,
        purge: purge?,
    })
}

fn scope(text: &str) -> Result<Scope, Fault> {
    text.parse()
        .map_err(|error: <Scope as std::str::FromStr>::Err| Fault(error.to_string()))
}

/// `POST /api/items/*`; several methods as `POST|PUT`, any as `*`.
fn matched(text: &str) -> Result<(Vec<Method>, String), Fault> {
    let Some((methods, path)) = text.split_once(' ') else {
        return expected(
            "a method and a path, such as \"POST /api/items/*\"; several methods are \"POST|PUT\", any is \"*\"",
            text,
        );
    };
    let path = path.trim();
    if !path.starts_with(['/', '*']) || path.contains(['?', '#', ' ']) {
        return expected(
            "a path such as \"/api/items/*\" behind the method, percent-encoded and without a query",
            path,
        );
    }
    let methods = match methods {
        "*" => Vec::new(),
        methods => methods
            .split('|')
            .map(scalars::method)
            .collect::<Result<_, _>>()?,
    };
    Ok((methods, path.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_matched() {
        let read = |text: &str| {
            let (methods, path) = matched(text).map_err(|fault| fault.to_string())?;
            let methods: Vec<_> = methods.iter().map(Method::as_str).collect();
            Ok::<_, String>(format!("{} {path}", methods.join("|")))
        };
        for (text, expected) in [
            ("POST /a/*", Ok("POST /a/*")),
            ("POST|PUT  /a", Ok("POST|PUT /a")),
            ("* *", Ok(" *")),
            ("/a", Err("a method and a path")),
            ("POST a", Err("a path such as")),
            ("POST /a?b", Err("without a query")),
            ("post /a", Err("upper case")),
            ("POST| /a", Err("a method such as")),
        ] {
            match (read(text), expected) {
                (Ok(read), Ok(expected)) => assert_eq!(read, expected),
                (Err(read), Err(expected)) => assert!(read.contains(expected), "{text}: {read}"),
                (read, expected) => panic!("{text}: {read:?} instead of {expected:?}"),
            }
        }
    }
}
