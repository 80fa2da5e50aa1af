//! How an entry of the access log looks to people: a line with columns, the unusual behind them.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use crate::cli::amounts::{bytes, millis, millis_or_none};
use crate::cli::output;

const RED: &str = "31";
const GREEN: &str = "32";
const YELLOW: &str = "33";
const CYAN: &str = "36";
const SOFT: &str = "90";

/// The line, coloured where that is wanted.
pub(super) fn readable(entry: &Map<String, Value>, coloured: bool) -> String {
    let paint = |color: &str, text: &str| {
        if coloured && !text.is_empty() {
            format!("\x1b[{color}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    };
    let text =
        |key: &str| output::harmless(entry.get(key).and_then(Value::as_str).unwrap_or_default());
    let number = |key: &str| entry.get(key).and_then(Value::as_f64);
    // "2026-11-22T02:46:41.727Z": the day is known, or in the file's name.
    let ts = text("ts");
    let clock = ts.get(11..23).unwrap_or(&ts);
    let status = number("status").unwrap_or_default();
    let of_status = match status {
        status if !(100.0..500.0).contains(&status) => RED,
        status if status >= 400.0 => YELLOW,
        status if status >= 300.0 => CYAN,
        _ => GREEN,
    };
    let cache = entry.get("cache").and_then(Value::as_str).unwrap_or("-");
    let of_cache = match cache {
        "hit" | "stale" | "revalidated" => CYAN,
        _ => SOFT,
    };
    let mut line = format!(
        "{} {} {} {:>6} {:>7}  {:<4} {}",
        paint(SOFT, clock),
        paint(of_status, &format!("{status:03.0}")),
        paint(of_cache, &format!("{:<11}", output::harmless(cache))),
        millis_or_none(number("duration_ms")),
        number("bytes_out").map_or("–".to_owned(), bytes),
        text("method"),
        target(entry),
    );
    let mut add = |color: &str, more: String| {
        let _ = write!(line, "  {}", paint(color, &more));
    };
    let route = text("route");
    if !route.is_empty() && route != "-" {
        add(SOFT, format!("route={route}"));
    }
    let reason = text("cache_reason");
    if !reason.is_empty() {
        add(YELLOW, format!("reason={reason}"));
    }
    let upstream = text("upstream_addr");
    if !upstream.is_empty() {
        add(SOFT, format!("server={upstream}"));
    }
    for (key, name) in [("hold_ms", "held"), ("queue_ms", "queued")] {
        if let Some(waited) = number(key) {
            add(YELLOW, format!("{name}={}", millis(waited)));
        }
    }
    if let Some(tries) = number("tries").filter(|tries| *tries > 1.0) {
        add(YELLOW, format!("tries={tries:.0}"));
    }
    let end = text("end");
    if !end.is_empty() && end != "complete" {
        add(YELLOW, format!("end={end}"));
    }
    let error = text("error");
    if !error.is_empty() {
        add(RED, format!("error={error}"));
    }
    add(SOFT, text("client"));
    line
}

/// What was asked for: host, path and query.
fn target(entry: &Map<String, Value>) -> String {
    let text = |key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default();
    let mut target = format!("{}{}", text("host"), text("path"));
    if let Some(query) = entry.get("query").and_then(Value::as_str) {
        target.push('?');
        target.push_str(query);
    }
    output::harmless(&target)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn entry(value: Value) -> Map<String, Value> {
        let Value::Object(entry) = value else {
            panic!("an object");
        };
        entry
    }

    fn held() -> Map<String, Value> {
        entry(json!({
            "ts": "2026-11-22T02:46:41.727Z", "client": "127.0.0.1", "method": "GET", "host": "shop.example",
            "path": "/hello", "query": "a=1", "status": 502, "bytes_out": 244, "duration_ms": 2607.832,
            "route": "shop", "cache": "miss", "cache_reason": "set-cookie", "upstream_addr": "127.0.0.1:5000",
            "hold_ms": 2605.119, "tries": 2, "end": "upstream_cut", "error": "connect"
        }))
    }

    #[test]
    fn columns_first_and_the_unusual_behind_them() {
        assert_eq!(
            readable(&held(), false),
            "02:46:41.727 502 miss          2.6s    244B  GET  shop.example/hello?a=1  route=shop  reason=set-cookie  \
             server=127.0.0.1:5000  held=2.6s  tries=2  end=upstream_cut  error=connect  127.0.0.1"
        );
        let plain = entry(json!({
            "ts": "2026-11-22T02:46:41.727Z", "client": "::1", "method": "HEAD", "host": "a", "path": "/", "status": 200,
            "bytes_out": 0, "duration_ms": 0.042, "route": "-", "cache": "hit", "tries": 0, "end": "complete"
        }));
        assert_eq!(
            readable(&plain, false),
            "02:46:41.727 200 hit           42µs      0B  HEAD a/  ::1"
        );
        let coloured = readable(&held(), true);
        assert!(coloured.contains("\x1b[31m502\x1b[0m"), "{coloured:?}");
        assert_eq!(
            readable(&entry(json!({ "status": 0 })), false),
            " 000 -                –       –         "
        );
    }

    proptest! {
        /// Nobody who sends a request can do anything to the terminal of whoever reads the log.
        #[test]
        fn nothing_gets_through_to_the_terminal(path in any::<String>(), agent in "[\\u{0}-\\u{2fff}]{0,20}") {
            let mut entry = held();
            entry.insert("path".to_owned(), Value::String(path));
            for key in ["host", "query", "method", "route", "error", "cache"] {
                entry.insert(key.to_owned(), Value::String(agent.clone()));
            }
            let line = readable(&entry, false);
            prop_assert!(!line.contains(char::is_control), "{line:?}");
            prop_assert!(!line.contains('\u{202e}'), "{line:?}");
        }
    }
}
