//! An entry as a line: JSON or combined, escaped so that no client can write a line of its own.

use std::io::Write;
use std::time::Duration;

use super::entry::AccessEntry;
use crate::telemetry::settings::AccessLogFormat;
use crate::telemetry::timestamp::{Common, Rfc3339};

/// What a client wrote is cut after this many bytes, and the cut is marked: a line of 64 KiB helps nobody, and log
/// collectors break lines at 16 KiB.
const TEXT_MAX: usize = 4 * 1024;

const HEX_LOWER: &[u8; 16] = b"0123456789abcdef";
const HEX_UPPER: &[u8; 16] = b"0123456789ABCDEF";

/// Appends the entry's line, its end included.
pub(super) fn write_line(out: &mut Vec<u8>, entry: &AccessEntry, format: AccessLogFormat) {
    match format {
        AccessLogFormat::Json => write_json(out, entry),
        AccessLogFormat::Combined => write_combined(out, entry),
    }
    out.push(b'\n');
}

/// The keys are a contract: queries and dashboards outside this repository read them. A key without a value is left out.
fn write_json(out: &mut Vec<u8>, entry: &AccessEntry) {
    out.extend_from_slice(b"{\"ts\":\"");
    // Writing to a Vec cannot fail, here and below.
    let _ = write!(
        out,
        "{}\",\"client\":\"{}\"",
        Rfc3339(entry.ts),
        entry.client
    );
    optional_text(out, "id", non_empty(&entry.id));
    text(out, "method", entry.method.as_str().as_bytes());
    optional_text(out, "host", non_empty(&entry.host));
    text(out, "path", &entry.path);
    optional_text(out, "query", entry.query.as_deref());
    text(out, "proto", entry.proto.as_bytes());
    out.extend_from_slice(if entry.tls {
        b",\"tls\":true"
    } else {
        b",\"tls\":false"
    });
    number(out, "status", entry.status.into());
    number(out, "bytes_in", entry.bytes_in);
    number(out, "bytes_out", entry.bytes_out);
    milliseconds(out, "duration_ms", Some(entry.duration));
    milliseconds(out, "ttfb_ms", entry.ttfb);
    text(out, "route", entry.route.as_bytes());
    optional_text(out, "cache", entry.cache.map(str::as_bytes));
    optional_text(out, "cache_reason", entry.cache_reason.map(str::as_bytes));
    if let Some(age) = entry.cache_age {
        number(out, "cache_age", age);
    }
    if let Some(ttl) = entry.cache_ttl {
        signed(out, "cache_ttl", ttl);
    }
    if entry.collapsed {
        out.extend_from_slice(b",\"collapsed\":true");
    }
    optional_text(
        out,
        "upstream",
        entry.upstream.as_deref().map(str::as_bytes),
    );
    optional_text(
        out,
        "upstream_addr",
        entry.upstream_addr.as_deref().map(str::as_bytes),
    );
    if let Some(status) = entry.upstream_status {
        number(out, "upstream_status", status.into());
    }
    milliseconds(out, "connect_ms", entry.connect);
    milliseconds(out, "hold_ms", entry.hold);
    milliseconds(out, "queue_ms", entry.queue);
    number(out, "tries", entry.tries.into());
    optional_text(out, "retry_reason", entry.retry_reason.map(str::as_bytes));
    text(out, "end", entry.end.word().as_bytes());
    optional_text(out, "error", entry.error.as_deref().map(str::as_bytes));
    optional_text(out, "user_agent", entry.user_agent.as_deref());
    optional_text(out, "referer", entry.referer.as_deref());
    out.push(b'}');
}

/// `$remote_addr - - [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent"`, as nginx's
/// predefined `combined` writes it, in UTC.
fn write_combined(out: &mut Vec<u8>, entry: &AccessEntry) {
    let _ = write!(out, "{} - - [{}] \"", entry.client, Common(entry.ts));
    combined_escaped(out, entry.method.as_str().as_bytes());
    out.push(b' ');
    combined_escaped(out, &entry.path);
    if let Some(query) = &entry.query {
        out.push(b'?');
        combined_escaped(out, query);
    }
    let _ = write!(
        out,
        " {}\" {:03} {} \"",
        entry.proto, entry.status, entry.bytes_out
    );
    combined_escaped(out, entry.referer.as_deref().unwrap_or(b"-"));
    out.extend_from_slice(b"\" \"");
    combined_escaped(out, entry.user_agent.as_deref().unwrap_or(b"-"));
    out.push(b'"');
}

/// A refused head has no id, and an HTTP/1.0 request may have no host.
fn non_empty(value: &[u8]) -> Option<&[u8]> {
    Some(value).filter(|value| !value.is_empty())
}

fn key(out: &mut Vec<u8>, key: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(b"\":");
}

fn text(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    key(out, name);
    out.push(b'"');
    json_escaped(out, value);
    out.push(b'"');
}

fn optional_text(out: &mut Vec<u8>, name: &str, value: Option<&[u8]>) {
    if let Some(value) = value {
        text(out, name, value);
    }
}

fn number(out: &mut Vec<u8>, name: &str, value: u64) {
    key(out, name);
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

fn signed(out: &mut Vec<u8>, name: &str, value: i64) {
    key(out, name);
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Milliseconds with three decimals, in integers so that no rounding of floats shows.
fn milliseconds(out: &mut Vec<u8>, name: &str, duration: Option<Duration>) {
    if let Some(duration) = duration {
        key(out, name);
        let micros = duration.as_micros();
        let _ = write!(out, "{}.{:03}", micros / 1_000, micros % 1_000);
    }
}

fn cut(value: &[u8]) -> (&[u8], bool) {
    match value.split_at_checked(TEXT_MAX) {
        Some((head, rest)) => (head, !rest.is_empty()),
        None => (value, false),
    }
}

/// The inside of a JSON string (RFC 8259 §7). Control characters, those of C1 included, become `\u00NN`; what is not
/// UTF-8 becomes U+FFFD.
fn json_escaped(out: &mut Vec<u8>, value: &[u8]) {
    let (value, shortened) = cut(value);
    for chunk in value.utf8_chunks() {
        let valid = chunk.valid();
        let mut from = 0;
        for (at, character) in valid.char_indices() {
            let simple = !character.is_control() && character != '"' && character != '\\';
            if simple {
                continue;
            }
            out.extend_from_slice(valid.get(from..at).unwrap_or_default().as_bytes());
            from = at + character.len_utf8();
            match character {
                '"' => out.extend_from_slice(b"\\\""),
                '\\' => out.extend_from_slice(b"\\\\"),
                '\n' => out.extend_from_slice(b"\\n"),
                '\r' => out.extend_from_slice(b"\\r"),
                '\t' => out.extend_from_slice(b"\\t"),
                // Every control character lies below U+00A0.
                other => {
                    out.extend_from_slice(b"\\u00");
                    hex(out, u8::try_from(other).unwrap_or(b'?'), HEX_LOWER);
                }
            }
        }
        out.extend_from_slice(valid.get(from..).unwrap_or_default().as_bytes());
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
    if shortened {
        out.extend_from_slice("…".as_bytes());
    }
}

/// nginx's default escaping: quotes, backslashes, control bytes and everything beyond ASCII as `\xNN`.
fn combined_escaped(out: &mut Vec<u8>, value: &[u8]) {
    let (value, shortened) = cut(value);
    for &octet in value {
        if matches!(octet, b'"' | b'\\' | 0..=0x1f | 0x7f..=0xff) {
            out.extend_from_slice(b"\\x");
            hex(out, octet, HEX_UPPER);
        } else {
            out.push(octet);
        }
    }
    if shortened {
        out.extend_from_slice(b"...");
    }
}

fn hex(out: &mut Vec<u8>, octet: u8, digits: &[u8; 16]) {
    for nibble in [octet >> 4, octet & 0x0f] {
        out.push(digits.get(usize::from(nibble)).copied().unwrap_or(b'0'));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::access_log::EndState;
    use bytes::Bytes;
    use proptest::prelude::*;
    use std::sync::Arc;

    fn line(entry: &AccessEntry, format: AccessLogFormat) -> String {
        let mut out = Vec::new();
        write_line(&mut out, entry, format);
        String::from_utf8(out).expect("both formats are UTF-8")
    }

    #[test]
    fn json_of_a_plain_request() {
        assert_eq!(
            line(&AccessEntry::sample(), AccessLogFormat::Json),
            "{\"ts\":\"2026-11-22T01:37:00.123Z\",\"client\":\"192.0.2.60\",\"id\":\"0123abcd\",\"method\":\"GET\",\
             \"host\":\"example.org\",\"path\":\"/a\",\"proto\":\"HTTP/1.1\",\"tls\":false,\"status\":200,\"bytes_in\":0,\
             \"bytes_out\":12,\"duration_ms\":1.234,\"route\":\"example.org/\",\"tries\":0,\"end\":\"complete\"}\n"
        );
    }

    #[test]
    fn json_of_a_retried_request() {
        let entry = AccessEntry {
            query: Some(Bytes::from_static(b"q=1")),
            ttfb: Some(Duration::from_micros(1_050)),
            cache: Some("stale"),
            cache_reason: Some("stale-if-error"),
            cache_age: Some(61),
            cache_ttl: Some(-1),
            collapsed: true,
            upstream: Some(Arc::from("api")),
            upstream_addr: Some("10.0.0.2:8000".to_owned()),
            upstream_status: Some(502),
            connect: Some(Duration::from_micros(5)),
            hold: Some(Duration::from_secs(2)),
            queue: Some(Duration::ZERO),
            tries: 2,
            retry_reason: Some("connect_failed"),
            end: EndState::UpstreamCut,
            error: Some("connection reset".into()),
            tls: true,
            user_agent: Some(Bytes::from_static(b"curl/8")),
            referer: Some(Bytes::from_static(b"https://a/")),
            ..AccessEntry::sample()
        };
        let parsed: serde_json::Value =
            serde_json::from_str(&line(&entry, AccessLogFormat::Json)).expect("valid JSON");
        for (key, value) in [
            ("query", "q=1".into()),
            ("ttfb_ms", 1.05.into()),
            ("cache", "stale".into()),
            ("cache_reason", "stale-if-error".into()),
            ("cache_age", 61.into()),
            ("cache_ttl", (-1).into()),
            ("collapsed", true.into()),
            ("upstream", "api".into()),
            ("upstream_addr", "10.0.0.2:8000".into()),
            ("upstream_status", 502.into()),
            ("connect_ms", 0.005.into()),
            ("hold_ms", 2_000.0.into()),
            ("queue_ms", 0.0.into()),
            ("tries", 2.into()),
            ("retry_reason", "connect_failed".into()),
            ("end", "upstream_cut".into()),
            ("error", "connection reset".into()),
            ("tls", true.into()),
            ("user_agent", "curl/8".into()),
            ("referer", "https://a/".into()),
        ] {
            assert_eq!(parsed.get(key), Some::<&serde_json::Value>(&value), "{key}");
        }
    }

    #[test]
    fn combined_is_nginx_s() {
        let entry = AccessEntry {
            query: Some(Bytes::from_static(b"q=1")),
            referer: Some(Bytes::from_static(b"https://a/")),
            user_agent: Some(Bytes::from_static(b"a\"b\\c\r\n\x1b[31m\xc3\xa4\x7f")),
            ..AccessEntry::sample()
        };
        assert_eq!(
            line(&entry, AccessLogFormat::Combined),
            "192.0.2.60 - - [22/Nov/2026:01:37:00 +0000] \"GET /a?q=1 HTTP/1.1\" 200 12 \"https://a/\" \
             \"a\\x22b\\x5Cc\\x0D\\x0A\\x1B[31m\\xC3\\xA4\\x7F\"\n"
        );
        assert!(
            line(&AccessEntry::sample(), AccessLogFormat::Combined)
                .ends_with(" 200 12 \"-\" \"-\"\n")
        );
    }

    #[test]
    fn long_text_is_cut_visibly() {
        let entry = AccessEntry {
            path: Bytes::from(vec![b'a'; TEXT_MAX + 1]),
            ..AccessEntry::sample()
        };
        let json = line(&entry, AccessLogFormat::Json);
        assert!(json.len() < TEXT_MAX + 400 && json.contains("a…\""));
        assert!(line(&entry, AccessLogFormat::Combined).contains("a... HTTP/1.1\""));
    }

    proptest! {
        /// Whatever a client sends, a line is one line, and JSON gives the bytes back as far as they are UTF-8.
        #[test]
        fn nobody_writes_a_line_of_his_own(path in prop::collection::vec(any::<u8>(), 0..64), agent in ".{0,32}") {
            let entry = AccessEntry {
                path: Bytes::from(path.clone()),
                user_agent: Some(Bytes::from(agent.clone())),
                ..AccessEntry::sample()
            };
            let json = line(&entry, AccessLogFormat::Json);
            prop_assert_eq!(json.find(char::is_control), Some(json.len() - 1));
            let parsed: serde_json::Value = serde_json::from_str(&json).expect("valid JSON");
            prop_assert_eq!(parsed["path"].as_str(), Some(&*String::from_utf8_lossy(&path)));
            prop_assert_eq!(parsed["user_agent"].as_str(), Some(&*agent));

            let combined = line(&entry, AccessLogFormat::Combined);
            prop_assert_eq!(combined.find(|c: char| !(' '..='~').contains(&c)), Some(combined.len() - 1));
            prop_assert_eq!(combined.matches('"').count(), 6);
        }
    }
}
