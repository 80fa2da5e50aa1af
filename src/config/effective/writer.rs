//! Writing TOML: sections, keys, and values in the notation that the readers read.

use std::fmt::{Display, Write};
use std::path::Path;
use std::time::Duration;

use crate::config::interpolate::escape;
use crate::units::{ByteSize, format_duration};

/// A TOML text that grows section by section.
#[derive(Debug, Default)]
pub(super) struct Writer(String);

impl Writer {
    /// Begins a section, `[server]` or `[[route]]`.
    pub(super) fn section(&mut self, header: &str) {
        if !self.0.is_empty() {
            self.0.push('\n');
        }
        self.line(format_args!("{header}"));
    }

    /// Writes a key; the value is in TOML's notation already.
    pub(super) fn set(&mut self, key: &str, value: impl Display) {
        self.line(format_args!("{key} = {value}"));
    }

    /// Writes a key, or a comment where it is not set.
    pub(super) fn set_or_none(&mut self, key: &str, value: Option<impl Display>) {
        match value {
            Some(value) => self.set(key, value),
            None => self.line(format_args!("# {key}: none")),
        }
    }

    /// The text.
    pub(super) fn finish(self) -> String {
        self.0
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        writeln!(self.0, "{line}").expect("writing to a String cannot fail");
    }
}

/// A string in quotes, on one line, safe from interpolation.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in escape(text).chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => {
                write!(out, "\\u{:04X}", u32::from(c)).expect("writing to a String cannot fail");
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A path in quotes. It came from a string, so nothing is lost.
pub(super) fn quoted_path(path: &Path) -> String {
    quoted(&path.to_string_lossy())
}

/// A key: bare where TOML allows it. Keys are not interpolated, so `${` needs no care.
pub(super) fn bare_or_quoted(key: &str) -> String {
    let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if !key.is_empty() && key.bytes().all(is_bare) {
        return key.to_owned();
    }
    quoted(key).replace("$${", "${")
}

/// "10s".
pub(super) fn duration(duration: Duration) -> String {
    quoted(&format_duration(duration))
}

/// "64KiB".
pub(super) fn size(size: ByteSize) -> String {
    quoted(&size.to_string())
}

/// `[a, b]`.
pub(super) fn list(values: impl IntoIterator<Item = impl Display>) -> String {
    let values: Vec<String> = values.into_iter().map(|value| value.to_string()).collect();
    format!("[{}]", values.join(", "))
}

/// `{ a = 1, b = 2 }`.
pub(super) fn inline<K: AsRef<str>>(entries: impl IntoIterator<Item = (K, String)>) -> String {
    let entries: Vec<String> = entries
        .into_iter()
        .map(|(key, value)| format!("{} = {value}", bare_or_quoted(key.as_ref())))
        .collect();
    match entries.as_slice() {
        [] => "{}".to_owned(),
        entries => format!("{{ {} }}", entries.join(", ")),
    }
}
