//! A typed reader over the tree: every question either gives a value or reports why not, and reading goes on.
//!
//! This file reads tables by their known keys; [`At`] in `value` reads the values.

use std::fmt::{self, Display};

use super::familiar;
use super::value::At;
use crate::config::error::{Report, nearest};
use crate::config::source::Place;
use crate::config::tree::{Entry, Table, shortened};

/// One key of `proxy.toml`, and the keys of the table it may hold.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) inner: &'static [Key],
}

/// A key with a plain value, or with a table whose keys are the operator's.
pub(super) const fn key(name: &'static str) -> Key {
    Key { name, inner: &[] }
}

/// A key whose value is, or may be, a table with these keys.
pub(super) const fn table(name: &'static str, inner: &'static [Key]) -> Key {
    Key { name, inner }
}

/// What messages call the section that is being read.
#[derive(Debug, Clone, Copy)]
pub(super) enum Title<'a> {
    /// The file outside of any section.
    Top,
    /// `[server]`, `[[route]]`.
    Section(&'static str),
    /// `[upstream.NAME]`.
    Upstream(&'a str),
    /// `[rate_limit.NAME]`.
    RateLimit(&'a str),
}

impl Display for Title<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Top => f.write_str("at the top level"),
            Self::Section(title) => write!(f, "in {title}"),
            Self::Upstream(name) => write!(f, "in [upstream.{name}]"),
            Self::RateLimit(name) => write!(f, "in [rate_limit.{name}]"),
        }
    }
}

/// A value together with its place, for what is checked against other sections.
#[derive(Debug, Clone)]
pub(crate) struct Spotted<T> {
    pub(crate) value: T,
    pub(crate) place: Place,
}

/// A table that is being read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Section<'a> {
    title: Title<'a>,
    table: &'a Table,
    keys: &'static [Key],
    /// The section's header, or its inline table.
    pub(super) place: Place,
    report: &'a Report,
}

impl<'a> Section<'a> {
    /// Begins to read a table: reports every key that is not in `keys`.
    pub(super) fn new(
        title: Title<'a>,
        table: &'a Table,
        place: Place,
        keys: &'static [Key],
        report: &'a Report,
    ) -> Self {
        let section = Self {
            title,
            table,
            keys,
            place,
            report,
        };
        for entry in &table.0 {
            if !keys.iter().any(|key| key.name == entry.key) {
                section.unknown(entry);
            }
        }
        section
    }

    fn unknown(&self, entry: &Entry) {
        let word = &entry.key;
        let below: Vec<String> = self.keys.iter().flat_map(Key::inner_paths).collect();
        let is_same = |path: &&str| path.rsplit('.').next() == Some(word);
        let everywhere = crate::config::keys();
        let mut elsewhere = everywhere.iter().map(String::as_str).filter(is_same);
        // A slip within the section; a key of one of its tables; or, if only one section has it, of another.
        let meant = nearest(word, self.keys.iter().map(|key| key.name))
            .or_else(|| {
                let leaf = nearest(
                    word,
                    below.iter().filter_map(|path| path.rsplit('.').next()),
                );
                below
                    .iter()
                    .map(String::as_str)
                    .find(|path| path.rsplit('.').next() == leaf)
            })
            .or_else(|| elsewhere.next().filter(|_| elsewhere.next().is_none()));
        let hint = familiar::advice(word).unwrap_or_else(|| match meant {
            Some(key) if key == word => " (it belongs at the top of the file)".to_owned(),
            Some(key) => format!(" (did you mean \"{key}\"?)"),
            None => String::new(),
        });
        self.report.error(
            entry.key_place,
            format!("unknown key \"{}\" {}{hint}", shortened(word), self.title),
        );
    }

    /// The value of a key, if it is there.
    pub(super) fn at(&self, key: &'static str) -> Option<At<'a>> {
        debug_assert!(
            self.keys.iter().any(|known| known.name == key),
            "`{key}` is read but not listed among the section's keys"
        );
        let entry = self.table.get(key)?;
        Some(At {
            key: &entry.key,
            key_place: entry.key_place,
            value: &entry.value,
            title: self.title,
            report: self.report,
        })
    }

    /// Reads a key; `None` when it is missing or faulty.
    pub(super) fn get<T>(
        &self,
        key: &'static str,
        read: impl FnOnce(At<'a>) -> Option<T>,
    ) -> Option<T> {
        self.at(key).and_then(read)
    }

    /// Reads a key that has a default.
    pub(super) fn or<T>(
        &self,
        key: &'static str,
        default: T,
        read: impl FnOnce(At<'a>) -> Option<T>,
    ) -> T {
        self.get(key, read).unwrap_or(default)
    }

    /// Reads a key that must be there.
    pub(super) fn required<T>(
        &self,
        key: &'static str,
        read: impl FnOnce(At<'a>) -> Option<T>,
    ) -> Option<T> {
        if self.table.get(key).is_none() {
            self.error(self.place, format!("\"{key}\" is missing {}", self.title));
        }
        self.get(key, read)
    }

    /// Reports an error of this section.
    pub(super) fn error(&self, place: Place, message: impl Into<String>) {
        self.report.error(place, message);
    }

    /// Notes what is lawful about this section and probably not meant.
    pub(super) fn note(&self, place: Place, message: impl Into<String>) {
        self.report.note(place, message);
    }

    /// Notes that a key is lawful here but without effect, and why, if it is `set` to something that asks for one.
    pub(super) fn idle_if(&self, set: bool, key: &'static str, why: &str) {
        if let Some(at) = self.at(key).filter(|_| set) {
            self.report
                .note(at.key_place, format!("\"{key}\" has no effect {why}"));
        }
    }
}

impl Key {
    /// "cache.ttl" of "cache".
    fn inner_paths(&self) -> impl Iterator<Item = String> {
        self.inner
            .iter()
            .map(|inner| format!("{}.{}", self.name, inner.name))
    }
}
