//! Holds docs/grafana.json and docs/alerts.yml to the program: they name no metric and no label that docs/watching.md does not list,
//! which is itself held to what is registered.

use serde_yaml::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;

/// Labels that a scrape or a histogram adds.
const ADDED: [&str; 3] = ["instance", "job", "le"];
/// Of every target, whatever it is.
const OF_EVERY_TARGET: [&str; 1] = ["up"];

/// A metric, as the table on the page has it.
struct Listed {
    labels: BTreeSet<String>,
    histogram: bool,
}

/// What docs/watching.md lists, by name.
fn listed() -> BTreeMap<String, Listed> {
    let page =
        fs::read_to_string(super::root().join("docs/watching.md")).expect("the page is there");
    let rows = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `forebay_"));
    let row = |row: &str| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let labels = cells.get(1).expect("a row has labels").split(", ");
        let name = format!("forebay_{}", cells[0].trim_end_matches('`'));
        let listed = Listed {
            labels: labels.map(str::to_owned).collect(),
            histogram: cells
                .get(2)
                .is_some_and(|text| text.starts_with("histogram")),
        };
        (name, listed)
    };
    let mut all: BTreeMap<String, Listed> = rows.map(row).collect();
    for word in page.split('`').filter(|word| word.starts_with("process_")) {
        let none = Listed {
            labels: BTreeSet::new(),
            histogram: false,
        };
        all.insert(word.to_owned(), none);
    }
    all
}

/// Every query of both files, with where it stands.
fn queries() -> Vec<(String, String)> {
    let mut queries = Vec::new();
    for name in ["grafana.json", "alerts.yml"] {
        let text = fs::read_to_string(super::root().join("docs").join(name)).expect("it is there");
        // JSON is YAML.
        let document: Value = serde_yaml::from_str(&text).expect("it is YAML");
        gather(&document, name, &mut queries);
    }
    queries
}

/// What stands behind `expr`, however deep.
fn gather(value: &Value, place: &str, queries: &mut Vec<(String, String)>) {
    match value {
        Value::Mapping(members) => {
            let title = ["title", "alert", "name"]
                .iter()
                .find_map(|key| value.get(*key)?.as_str());
            let place = title.map_or(place.to_owned(), |title| format!("{place}: {title}"));
            for (key, member) in members {
                match (key.as_str(), member.as_str()) {
                    (Some("expr"), Some(query)) => queries.push((place.clone(), query.to_owned())),
                    _ => gather(member, &place, queries),
                }
            }
        }
        Value::Sequence(members) => members
            .iter()
            .for_each(|member| gather(member, place, queries)),
        _ => {}
    }
}

/// The words of a query outside its quotes, each with what follows it.
fn words(query: &str) -> Vec<(String, String)> {
    let mut plain = String::new();
    for (n, part) in query.split('"').enumerate() {
        plain.push_str(if n % 2 == 0 { part } else { "\"\"" });
    }
    let is_word = |c: char| c.is_ascii_alphanumeric() || "_:$".contains(c);
    let mut words = Vec::new();
    let mut rest = plain.as_str();
    while let Some(begin) = rest.find(is_word) {
        rest = &rest[begin..];
        let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        words.push((rest[..end].to_owned(), rest[end..].trim_start().to_owned()));
        rest = &rest[end..];
    }
    words
}

/// What is within the braces or parentheses that this begins with, outside quotes.
fn within(text: &str, open: char, close: char) -> &str {
    let inner = text
        .strip_prefix(open)
        .and_then(|text| text.split(close).next());
    inner.unwrap_or_default()
}

#[test]
fn every_metric_of_a_dashboard_or_a_rule_exists() {
    let listed = listed();
    assert!(
        listed.len() > 40,
        "only {} metrics were found",
        listed.len()
    );
    let queries = queries();
    assert!(
        queries.len() > 50,
        "only {} queries were found",
        queries.len()
    );
    let mut wrong = String::new();
    for (place, query) in &queries {
        let mut allowed: BTreeSet<&str> = ADDED.into();
        let mut asked = BTreeSet::new();
        for (word, behind) in words(query) {
            if word.starts_with("forebay_") || word.starts_with("process_") || word == "up" {
                let base = ["_bucket", "_sum", "_count"]
                    .iter()
                    .find_map(|end| word.strip_suffix(end))
                    .filter(|base| listed.get(*base).is_some_and(|it| it.histogram));
                let known = listed.get(base.unwrap_or(&word));
                match known.filter(|it| it.histogram == base.is_some()) {
                    Some(known) => allowed.extend(known.labels.iter().map(String::as_str)),
                    None if OF_EVERY_TARGET.contains(&word.as_str()) => {}
                    None => {
                        let _ = writeln!(wrong, "{place}: there is no metric `{word}`");
                    }
                }
                let matchers = within(&behind, '{', '}').split(',');
                let labels = matchers.filter_map(|matcher| matcher.split(['=', '!']).next());
                asked.extend(labels.map(|label| label.trim().to_owned()));
            } else if word == "by" && behind.starts_with('(') {
                let labels = within(&behind, '(', ')').split(',');
                asked.extend(labels.map(|label| label.trim().to_owned()));
            }
        }
        for label in asked.iter().filter(|label| !label.is_empty()) {
            if !allowed.contains(label.as_str()) {
                let _ = writeln!(wrong, "{place}: there is no label `{label}`");
            }
        }
        for (open, close) in [('(', ')'), ('{', '}'), ('[', ']')] {
            if query.matches(open).count() != query.matches(close).count() {
                let _ = writeln!(wrong, "{place}: `{open}` and `{close}` do not match");
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn panels_do_not_lie_on_each_other() {
    let text = fs::read_to_string(super::root().join("docs/grafana.json")).expect("it is there");
    let dashboard: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
    let mut taken = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for panel in dashboard["panels"].as_array().expect("it has panels") {
        assert!(ids.insert(panel["id"].as_u64()), "{}", panel["title"]);
        let at = |side: &str| panel["gridPos"][side].as_u64().expect("it has a place");
        assert!(at("x") + at("w") <= 24, "{}", panel["title"]);
        for x in at("x")..at("x") + at("w") {
            for y in at("y")..at("y") + at("h") {
                assert!(taken.insert((x, y)), "{} at {x}, {y}", panel["title"]);
            }
        }
    }
}
