//! What is stored, in columns that fit a terminal.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io::IsTerminal;

use serde::Deserialize;

use super::amounts::{bytes, millis, seconds, whole};
use super::output;

/// A list of entries, as the control plane gives it.
#[derive(Debug, Deserialize)]
pub(super) struct Listing {
    entries: Vec<Entry>,
    /// All that fit; a dry run calls it otherwise.
    #[serde(alias = "matched")]
    total: u64,
}

/// A stored response.
#[derive(Debug, Deserialize)]
struct Entry {
    url: String,
    route: String,
    status: u16,
    state: String,
    bytes: u64,
    body: u64,
    age: u64,
    ttl: i64,
    hits: u64,
    cost_ms: f64,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default)]
    vary: Vec<String>,
    #[serde(default)]
    coded: Vec<String>,
}

/// How much is stored.
#[derive(Debug, Deserialize)]
pub(super) struct Stats {
    capacity: u64,
    bytes: u64,
    in_flight: u64,
    keys: u64,
    evictions: u64,
    total: Part,
    routes: BTreeMap<String, Part>,
}

#[derive(Debug, Deserialize)]
struct Part {
    entries: u64,
    fresh: u64,
    partial: u64,
    bytes: u64,
    hits: u64,
}

/// `1 response`, `1,234 responses`.
pub(super) fn responses(count: u64) -> String {
    counted(count, "response")
}

fn counted(count: u64, what: &str) -> String {
    let s = if count == 1 { "" } else { "s" };
    format!("{} {what}{s}", whole(count))
}

/// One line for each entry, and how many there are.
pub(super) fn listing(listing: &Listing) -> String {
    listing_within(listing, width())
}

fn listing_within(listing: &Listing, width: usize) -> String {
    const HEAD: [&str; 8] = ["HITS", "SIZE", "AGE", "TTL", "COST", "STATE", "CODE", "URL"];
    let mut text = String::new();
    if !listing.entries.is_empty() {
        let rows = listing.entries.iter().map(|entry| {
            [
                whole(entry.hits),
                octets(entry.bytes),
                duration(entry.age),
                remaining(entry.ttl),
                cost(entry.cost_ms),
                entry.state.clone(),
                entry.status.to_string(),
                output::harmless(&entry.url),
            ]
        });
        text = in_columns(HEAD, rows, width);
    }
    let shown = listing.entries.len() as u64;
    let total = responses(listing.total);
    let _ = match shown {
        shown if shown == listing.total => writeln!(text, "{total}"),
        shown => writeln!(text, "{} of {total}; --limit lists more", whole(shown)),
    };
    text
}

/// A paragraph for each entry.
pub(super) fn entries(listing: &Listing) -> String {
    let paragraphs = listing.entries.iter().map(|entry| {
        let mut text = format!("{}\n", output::harmless(&entry.url));
        let list = |words: &[String]| match words {
            [] => "-".to_owned(),
            words => output::harmless(&words.join(", ")),
        };
        let fresh = match entry.ttl {
            0.. => format!("fresh for {} more", remaining(entry.ttl)),
            _ => format!("stale for {}", duration(entry.ttl.unsigned_abs())),
        };
        for (name, value) in [
            ("route", output::harmless(&entry.route)),
            ("status", entry.status.to_string()),
            (
                "state",
                format!("{}, {fresh}", output::harmless(&entry.state)),
            ),
            ("age", duration(entry.age)),
            (
                "size",
                format!(
                    "{}, of these {} of body",
                    octets(entry.bytes),
                    octets(entry.body)
                ),
            ),
            ("hits", whole(entry.hits)),
            ("cost", format!("{} at the origin", cost(entry.cost_ms))),
            ("tags", list(&entry.tags)),
            ("vary", list(&entry.vary)),
            ("coded", list(&entry.coded)),
        ] {
            let _ = writeln!(text, "  {name:6}  {value}");
        }
        text
    });
    paragraphs.collect::<Vec<_>>().join("\n")
}

/// The whole, then the routes.
pub(super) fn stats(stats: &Stats) -> String {
    const HEAD: [&str; 7] = ["STORED", "FRESH", "STALE", "PARTS", "SIZE", "HITS", "ROUTE"];
    let total = &stats.total;
    let mut text = format!(
        "{} of {} in use, {} under way\n{} for {}, {}, {} evicted\n",
        octets(stats.bytes),
        octets(stats.capacity),
        octets(stats.in_flight),
        responses(total.entries),
        counted(stats.keys, "key"),
        counted(total.hits, "hit"),
        counted(stats.evictions, "key"),
    );
    if !stats.routes.is_empty() {
        let rows = stats.routes.iter().map(|(route, part)| {
            let stale = part.entries.saturating_sub(part.fresh);
            [
                whole(part.entries),
                whole(part.fresh),
                whole(stale),
                whole(part.partial),
                octets(part.bytes),
                whole(part.hits),
                output::harmless(route),
            ]
        });
        let _ = write!(text, "\n{}", in_columns(HEAD, rows, width()));
    }
    text
}

/// Rows under a head: numbers to the right, and what is last, the longest, as long as there is room.
fn in_columns<const N: usize>(
    head: [&str; N],
    rows: impl Iterator<Item = [String; N]>,
    width: usize,
) -> String {
    let mut all = vec![head.map(str::to_owned)];
    all.extend(rows);
    let mut widths = [0; N];
    for row in &all {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let before: usize = widths.iter().rev().skip(1).map(|width| width + 2).sum();
    let mut text = String::new();
    for row in &all {
        if let [cells @ .., last] = row.as_slice() {
            for (cell, width) in cells.iter().zip(widths) {
                let _ = write!(text, "{cell:>width$}  ");
            }
            text.push_str(&shortened(last, width.saturating_sub(before)));
            text.push('\n');
        }
    }
    text
}

/// At most so many characters, the middle left out: addresses are told apart by their ends.
fn shortened(text: &str, most: usize) -> String {
    let length = text.chars().count();
    let most = most.max(16);
    if length <= most {
        return text.to_owned();
    }
    let ahead = most / 2;
    let behind = most - ahead - 1;
    let beginning: String = text.chars().take(ahead).collect();
    let end: String = text.chars().skip(length - behind).collect();
    format!("{beginning}…{end}")
}

/// The terminal's width where the shell tells it; what is piped elsewhere has some more.
fn width() -> usize {
    let told = std::env::var("COLUMNS").ok();
    let told = told.and_then(|columns| columns.parse().ok());
    let usual = if std::io::stdout().is_terminal() {
        100
    } else {
        120
    };
    told.unwrap_or(usual).clamp(80, 400)
}

#[expect(clippy::cast_precision_loss, reason = "three digits of it are shown")]
fn octets(count: u64) -> String {
    bytes(count as f64)
}

#[expect(clippy::cast_precision_loss, reason = "three digits of it are shown")]
fn duration(secs: u64) -> String {
    seconds(secs as f64)
}

fn remaining(secs: i64) -> String {
    let sign = if secs < 0 { "-" } else { "" };
    format!("{sign}{}", duration(secs.unsigned_abs()))
}

fn cost(ms: f64) -> String {
    if ms > 0.0 { millis(ms) } else { "-".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn listed() -> Listing {
        let entry = |url: &str, ttl: i64| {
            json!({
                "url": url, "route": "/", "status": 200, "state": if ttl < 0 { "stale" } else { "fresh" },
                "bytes": 12_345, "body": 12_000, "age": 75, "ttl": ttl, "hits": 1_234, "cost_ms": 120.4,
                "tags": ["items", "a\u{1b}[31m"], "vary": ["accept"], "coded": []
            })
        };
        let long = format!("http://site.test/{}?page=2", "deep/".repeat(40));
        let value = json!({
            "entries": [entry("http://site.test/a", 3_600), entry(&long, -5)],
            "total": 1_500, "more": true
        });
        serde_json::from_value(value).expect("as the control plane writes it")
    }

    #[test]
    fn a_list_fits() {
        let text = listing_within(&listed(), 80);
        assert_eq!(
            text,
            [
                " HITS   SIZE   AGE   TTL   COST  STATE  CODE  URL\n",
                "1,234  12KiB  1min  1.0h  120ms  fresh   200  http://site.test/a\n",
                "1,234  12KiB  1min   -5s  120ms  stale   200  http://site.test/…eep/deep/?page=2\n",
                "2 of 1,500 responses; --limit lists more\n",
            ]
            .concat()
        );
        assert!(text.lines().all(|line| line.chars().count() <= 80));
    }

    #[test]
    fn all_that_is_known_of_an_entry() {
        let text = entries(&listed());
        for part in [
            "http://site.test/a\n  route   /\n",
            "state   fresh, fresh for 1.0h more\n",
            "state   stale, stale for 5s\n",
            "tags    items, a\\u{1b}[31m\n",
            "coded   -\n",
        ] {
            assert!(text.contains(part), "no {part:?} in {text}");
        }
    }

    #[test]
    fn the_whole_and_its_parts() {
        let part = json!({"entries": 2, "fresh": 1, "partial": 0, "bytes": 2_048, "hits": 7});
        let value = json!({
            "capacity": 268_435_456, "bytes": 4_096, "stored": 2_048, "in_flight": 0, "keys": 1, "evictions": 0,
            "total": part, "routes": {"/api/": part}
        });
        let text = stats(&serde_json::from_value(value).expect("as the control plane writes it"));
        assert_eq!(
            text,
            "\
4.0KiB of 256MiB in use, 0B under way
2 responses for 1 key, 7 hits, 0 keys evicted

STORED  FRESH  STALE  PARTS    SIZE  HITS  ROUTE
     2      1      1      0  2.0KiB     7  /api/
"
        );
    }
}
