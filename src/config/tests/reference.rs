//! The root `proxy.toml` documents every key, shows true defaults, and every key it shows is read and judged.

use super::super::keys;
use super::super::tree::{Kind, Table, Value};
use super::{load, round_trip, tree_of};

pub(super) const REFERENCE: &str = include_str!("../../../proxy.toml");

/// `#key = value` and `#[section]` are keys that are commented out; `# text` is prose.
pub(super) fn is_key_in_comment(line: &str) -> bool {
    let after = line.strip_prefix('#');
    after.is_some_and(|after| after.starts_with(|c: char| c == '[' || c.is_ascii_lowercase()))
}

/// The reference with every key in force.
pub(super) fn uncommented() -> String {
    let lines = REFERENCE.lines().map(|line| match line.strip_prefix('#') {
        Some(rest) if is_key_in_comment(line) => rest,
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn it_loads_as_it_is_and_with_every_key_in_force() {
    for text in [REFERENCE, &uncommented()] {
        match load(text, "proxy.toml") {
            Ok(loaded) => drop(round_trip(&loaded)),
            Err(errors) => panic!("{errors}"),
        }
    }
}

#[test]
fn every_key_is_in_it() {
    let tree = tree_of(&uncommented());
    let missing: Vec<String> = keys()
        .into_iter()
        .filter(|path| !contains(&tree, &path.split('.').collect::<Vec<_>>()))
        .collect();
    assert!(missing.is_empty(), "not in proxy.toml: {missing:?}");
}

fn contains(table: &Table, path: &[&str]) -> bool {
    let Some((first, rest)) = path.split_first() else {
        return true;
    };
    let Some(entry) = table.get(first) else {
        return false;
    };
    let inner: Vec<&Table> = match &entry.value.kind {
        // The level of the upstreams' names.
        Kind::Table(upstreams) if *first == "upstream" => {
            let upstreams = upstreams.0.iter();
            upstreams.filter_map(|u| as_table(&u.value)).collect()
        }
        // The same, and the one that a route has in its place.
        Kind::Table(limits) if *first == "rate_limit" => {
            let named = limits.0.iter().filter_map(|limit| as_table(&limit.value));
            named.chain([limits]).collect()
        }
        Kind::Table(table) => vec![table],
        Kind::List(values) => values.iter().filter_map(as_table).collect(),
        _ => Vec::new(),
    };
    rest.is_empty() || inner.into_iter().any(|table| contains(table, rest))
}

fn as_table(value: &Value) -> Option<&Table> {
    match &value.kind {
        Kind::Table(table) => Some(table),
        _ => None,
    }
}

/// No key takes a date. So a date in a value's stead must be an error at that very place; where it is not, a key is
/// listed but never read, or its place is wrong.
#[test]
fn every_value_is_read_and_errors_point_at_it() {
    let text = uncommented();
    let mut places = Vec::new();
    for entry in &tree_of(&text).0 {
        collect(&entry.value, &text, &mut places);
    }
    assert!(places.len() > 100, "{}", places.len());
    for (start, end) in places {
        let mut broken = text.clone();
        broken.replace_range(start..end, "1979-05-27");
        let line = text[..start].matches('\n').count() + 1;
        let column = start - text[..start].rfind('\n').map_or(0, |newline| newline + 1) + 1;
        let Err(errors) = load(&broken, "proxy.toml") else {
            panic!("`{}` on line {line} is not read", &text[start..end]);
        };
        assert!(
            errors.0.iter().any(|error| {
                let at = error.location.as_ref();
                at.is_some_and(|at| (at.line, at.column) == (line, column))
            }),
            "no error at {line}:{column}:\n{errors}"
        );
    }
}

/// The places of all values that are written as values, not as sections.
fn collect(value: &Value, text: &str, places: &mut Vec<(usize, usize)>) {
    let written = &text[value.place.start..value.place.end];
    let is_section = matches!(value.kind, Kind::Table(_)) && !written.starts_with('{')
        || written.starts_with("[[");
    if !is_section {
        places.push((value.place.start, value.place.end));
    }
    match &value.kind {
        Kind::Table(table) => {
            for entry in &table.0 {
                collect(&entry.value, text, places);
            }
        }
        Kind::List(values) => {
            for value in values {
                collect(value, text, places);
            }
        }
        _ => {}
    }
}

/// "The value shown is the default unless the text says otherwise."
#[test]
fn the_defaults_it_shows_are_the_defaults() {
    let mut section = String::new();
    let mut prose = String::new();
    let mut checked = 0;
    for line in REFERENCE.lines() {
        let key = line.strip_prefix('#').filter(|_| is_key_in_comment(line));
        match key {
            Some(header) if header.starts_with('[') => header.clone_into(&mut section),
            Some(key) if shows_default(&prose) => {
                let Some(base) = least(&section) else {
                    continue;
                };
                let without = load(&base, "proxy.toml").map(|loaded| loaded.settings);
                let with = load(&format!("{base}\n{key}"), "proxy.toml").map(|l| l.settings);
                assert_eq!(with, without, "{section} {key}");
                assert!(with.is_ok(), "{with:?}");
                checked += 1;
            }
            Some(_) => {}
            None if line.starts_with("# ") => prose.push_str(line),
            None => prose.clear(),
        }
    }
    assert!(checked > 35, "{checked}");
}

/// Prose that speaks of no other default; an address at the head of a section has none at all.
fn shows_default(prose: &str) -> bool {
    !prose.is_empty() && !prose.contains("Default") && !prose.contains("Required")
}

/// The least that a section needs for one of its keys to be judged; `None` for routes, whose other keys all tell.
fn least(section: &str) -> Option<String> {
    const UPSTREAM: &str = "[upstream.api]\nservers = ['http://api']";
    const ROUTE: &str = "[[route]]\nto = 'http://api'";
    match section {
        "[[route]]" => None,
        section if section.starts_with("[route.") => Some(format!("{ROUTE}\n{section}")),
        "[[listen]]" => Some("[[listen]]\naddr = ':1'".to_owned()),
        "[upstream.api]" => Some(UPSTREAM.to_owned()),
        "[rate_limit.api]" => Some(format!("{section}\nrate = '100/s'")),
        "[upstream.api.health]" => Some(format!("{UPSTREAM}\n{section}\npath = '/'")),
        section if section.starts_with("[upstream.") => Some(format!("{UPSTREAM}\n{section}")),
        section => Some(section.to_owned()),
    }
}
