//! What a reload changed, in words: each section and the keys of it that have another value, and what waits for a restart.

use crate::admin::ReloadReport;
use crate::config::effective;
use crate::config::settings::Settings;
use toml::{Table, Value};

/// Sections of which there are several, by what tells them apart; and what they are called.
const NAMED: [(&str, &str, &str); 4] = [
    ("route", "name", "route"),
    ("upstream", "", "upstream"),
    ("rate_limit", "", "rate limit"),
    ("listen", "addr", "listener"),
];

/// Keys that wait for a restart, and why.
const AT_START: [(&str, &str); 2] = [
    ("server.threads", "threads are started once"),
    ("admin", "its listener is bound once"),
];

/// What is different, and what is not in force before a restart.
pub fn report(before: &Settings, after: &Settings) -> ReloadReport {
    let (before, after) = (tables(before), tables(after));
    let mut changes = Vec::new();
    for (section, name, title) in NAMED {
        let (then, now) = (
            named(before.get(section), name),
            named(after.get(section), name),
        );
        compare(title, &then, &now, &mut changes);
    }
    let mut needs_restart = Vec::new();
    let single = |table: &Table| -> Vec<String> {
        let is_single = |key: &&String| NAMED.iter().all(|(section, ..)| section != key);
        table.keys().filter(is_single).cloned().collect()
    };
    let mut sections = single(&before);
    sections.extend(single(&after));
    sections.sort();
    sections.dedup();
    for section in sections {
        let mut keys = different(before.get(&section), after.get(&section));
        for (key, why) in AT_START {
            let (of, key) = key.split_once('.').unwrap_or((key, ""));
            if of == section {
                let waits = |changed: &String| key.is_empty() || changed == key;
                if keys.iter().any(waits) {
                    needs_restart.push(match key {
                        "" => format!("{of}: {why}"),
                        key => format!("{of}.{key}: {why}"),
                    });
                }
                keys.retain(|changed| !waits(changed));
            }
        }
        if !keys.is_empty() {
            changes.push(format!("{section}: changed ({})", keys.join(", ")));
        }
    }
    ReloadReport {
        changes,
        needs_restart,
    }
}

/// The settings as a file that leaves nothing unsaid, so that each key that there ever will be is compared.
fn tables(settings: &Settings) -> Table {
    toml::from_str(&effective(settings)).unwrap_or_default()
}

/// The tables of a section by their names, in their order. Several may have one name.
fn named<'a>(section: Option<&'a Value>, name: &str) -> Vec<(String, Vec<&'a Value>)> {
    let mut found: Vec<(String, Vec<&Value>)> = Vec::new();
    match section {
        Some(Value::Array(tables)) => {
            for table in tables {
                let called = table.get(name).and_then(Value::as_str).unwrap_or_default();
                match found.iter_mut().find(|(known, _)| known == called) {
                    Some((_, tables)) => tables.push(table),
                    None => found.push((called.to_owned(), vec![table])),
                }
            }
        }
        Some(Value::Table(tables)) => {
            found.extend(
                tables
                    .iter()
                    .map(|(name, table)| (name.clone(), vec![table])),
            );
        }
        _ => {}
    }
    found
}

fn compare(
    title: &str,
    before: &[(String, Vec<&Value>)],
    after: &[(String, Vec<&Value>)],
    changes: &mut Vec<String>,
) {
    let of = |all: &'_ [(String, Vec<&Value>)], name: &str| {
        all.iter().position(|(known, _)| known == name)
    };
    for (name, now) in after {
        let Some((_, then)) = of(before, name).and_then(|at| before.get(at)) else {
            changes.push(format!("{title} `{name}`: added"));
            continue;
        };
        let mut keys: Vec<String> = Vec::new();
        for (then, now) in then.iter().zip(now) {
            keys.extend(different(Some(then), Some(now)));
        }
        keys.sort();
        keys.dedup();
        if !keys.is_empty() {
            changes.push(format!("{title} `{name}`: changed ({})", keys.join(", ")));
        } else if then.len() != now.len() {
            changes.push(format!("{title} `{name}`: changed"));
        }
    }
    for (name, _) in before {
        if of(after, name).is_none() {
            changes.push(format!("{title} `{name}`: removed"));
        }
    }
}

/// The keys that have another value, as dotted names. Values are not told: some are secrets.
fn different(before: Option<&Value>, after: Option<&Value>) -> Vec<String> {
    let mut keys = Vec::new();
    let none = Table::new();
    let table = |value: Option<&Value>| value.and_then(Value::as_table).cloned();
    let (before, after) = (
        table(before).unwrap_or_else(|| none.clone()),
        table(after).unwrap_or(none),
    );
    let mut all: Vec<&String> = before.keys().chain(after.keys()).collect();
    all.sort();
    all.dedup();
    for key in all {
        match (before.get(key), after.get(key)) {
            (then, now) if then == now => {}
            (Some(then @ Value::Table(_)), Some(now @ Value::Table(_))) => {
                let inner = different(Some(then), Some(now));
                keys.extend(inner.into_iter().map(|inner| format!("{key}.{inner}")));
            }
            _ => keys.push(key.clone()),
        }
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn told(before: &str, after: &str) -> (Vec<String>, Vec<String>) {
        let settings = |text: &str| config::load_str(text, "proxy.toml").expect("a good file");
        let report = report(&settings(before), &settings(after));
        (report.changes, report.needs_restart)
    }

    #[test]
    fn what_changed_is_told_and_nothing_else() {
        let route = |path: &str, cache: &str| {
            format!("[[route]]\npath = '{path}'\nto = 'http://a'\ncache = {cache}\n")
        };
        let before = [route("/a", "true"), route("/b", "true")].concat();
        let after = [
            "[cache]\nmemory = '64MiB'\n".to_owned(),
            route("/new", "true"),
            route("/a", "true"),
            route("/b", "{ ttl = '5m' }"),
        ]
        .concat();
        let (changes, needs_restart) = told(&before, &after);
        assert_eq!(
            changes,
            [
                "route `/new`: added",
                "route `/b`: changed (cache.ttl)",
                "cache: changed (in_flight, memory, object)"
            ]
        );
        assert_eq!(needs_restart, [""; 0]);
        assert_eq!(told(&after, &after), (Vec::new(), Vec::new()));
    }

    #[test]
    fn keys_are_told_and_values_are_not() {
        let before = "[server]\nthreads = 1\n[admin]\ntoken = 'old'\n[limits]\nhead = '1KiB'\n[[listen]]\naddr = '0.0.0.0:1'\n\
                      [upstream.api]\nservers = ['http://a']\n[upstream.old]\nservers = ['http://a']\n[[route]]\nto = 'api'\n";
        let after = "[server]\nthreads = 2\nvia = false\n[admin]\ntoken = 's3cret'\n[limits]\nhead = '2KiB'\nhead_timeout = '1s'\n\
                     [[listen]]\naddr = '0.0.0.0:2'\n[upstream.api]\nservers = ['http://b']\nhold = '1s'\nretry = { tries = 5 }\n[[route]]\nto = 'api'\n";
        let (changes, needs_restart) = told(before, after);
        assert_eq!(
            changes,
            [
                "upstream `api`: changed (hold, retry.tries, servers)",
                "upstream `old`: removed",
                "listener `0.0.0.0:2`: added",
                "listener `0.0.0.0:1`: removed",
                "limits: changed (head, head_timeout)",
                "server: changed (via)"
            ]
        );
        assert_eq!(
            needs_restart,
            [
                "admin: its listener is bound once",
                "server.threads: threads are started once"
            ]
        );
    }
}
