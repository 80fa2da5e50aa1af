//! A typed reader over the tree: every question either gives a value or reports why not, and reading goes on.

use std::fmt::{self, Display};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::scalars::Fault;
use crate::config::error::{Report, listed, nearest};
use crate::config::source::Place;
use crate::config::tree::{Entry, Kind, Table, Value, shortened};
use crate::units::{ByteSize, format_duration, parse_duration};

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
}

impl Display for Title<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Top => f.write_str("at the top level"),
            Self::Section(title) => write!(f, "in {title}"),
            Self::Upstream(name) => write!(f, "in [upstream.{name}]"),
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
        let here = self.keys.iter().map(|key| key.name);
        let below: Vec<String> = self.keys.iter().flat_map(Key::inner_paths).collect();
        let elsewhere = || {
            super::KEYS
                .iter()
                .flat_map(Key::inner_paths)
                .find(|path| path.rsplit('.').next() == Some(&entry.key))
        };
        let meant = nearest(&entry.key, here)
            .or_else(|| {
                let suffix = |path: &&String| path.rsplit('.').next() == Some(&entry.key);
                below.iter().find(suffix).map(String::as_str)
            })
            .map(str::to_owned)
            .or_else(elsewhere);
        let hint = meant.map_or_else(String::new, |key| format!(" (did you mean \"{key}\"?)"));
        self.report.error(
            entry.key_place,
            format!(
                "unknown key \"{}\" {}{hint}",
                shortened(&entry.key),
                self.title
            ),
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

    /// Reports that a key is lawful here but without effect, and why.
    pub(super) fn idle(&self, key: &'static str, why: &str) {
        if let Some(at) = self.at(key) {
            self.report
                .note(at.key_place, format!("\"{key}\" has no effect {why}"));
        }
    }
}

impl Key {
    fn inner_paths(&self) -> impl Iterator<Item = String> {
        self.inner
            .iter()
            .map(|inner| format!("{}.{}", self.name, inner.name))
    }
}

/// A value that is being read, and the key it belongs to.
#[derive(Debug, Clone, Copy)]
pub(super) struct At<'a> {
    pub(super) key: &'a str,
    pub(super) key_place: Place,
    value: &'a Value,
    title: Title<'a>,
    report: &'a Report,
}

impl<'a> At<'a> {
    /// Reports an error of this value.
    pub(super) fn fail<T>(self, message: impl Display) -> Option<T> {
        let key = self.key;
        self.report
            .error(self.value.place, format!("{key}: {message}"));
        None
    }

    fn expected<T>(self, what: impl Display) -> Option<T> {
        match self.value.kind {
            Kind::Faulty => None,
            _ => self.fail(format_args!("expected {what}, found {}", self.value)),
        }
    }

    /// Where the value stands.
    pub(super) fn place(self) -> Place {
        self.value.place
    }

    /// Something lawful but probably not meant.
    pub(super) fn note(self, message: impl Display) {
        let key = self.key;
        self.report
            .note(self.value.place, format!("{key}: {message}"));
    }

    /// Whether the value is a string, a table, … for keys that take several kinds.
    pub(super) fn kind(self) -> &'a Kind {
        &self.value.kind
    }

    /// Any string, the empty one too.
    pub(super) fn text(self) -> Option<&'a str> {
        match &self.value.kind {
            Kind::Text { text, .. } => Some(text),
            _ => self.expected("a string"),
        }
    }

    /// A string in a small language of its own.
    pub(super) fn parse<T>(self, read: impl FnOnce(&'a str) -> Result<T, Fault>) -> Option<T> {
        read(self.text()?).map_or_else(|fault| self.fail(fault), Some)
    }

    /// A path to a file or directory, kept as written: relative ones are relative to the working directory.
    pub(super) fn path(self) -> Option<PathBuf> {
        match self.text()? {
            text if text.is_empty() || text.contains('\0') => self.expected("a path"),
            text => Some(PathBuf::from(text)),
        }
    }

    /// One of a few words.
    pub(super) fn word<T: Clone>(self, words: &[(&str, T)]) -> Option<T> {
        let text = self.text()?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
            return Some(value.clone());
        }
        let hint = nearest(text, words.iter().map(|(word, _)| *word));
        let hint = hint.map_or_else(String::new, |word| format!(" (did you mean \"{word}\"?)"));
        self.fail(format_args!(
            "expected one of {}, found `{}`{hint}",
            listed(words.iter().map(|(word, _)| *word)),
            shortened(text)
        ))
    }

    /// `true` or `false`.
    pub(super) fn boolean(self) -> Option<bool> {
        match &self.value.kind {
            Kind::Boolean(value) => Some(*value),
            Kind::Text {
                text,
                interpolated: true,
            } if text == "true" || text == "false" => Some(text == "true"),
            _ => self.expected("true or false"),
        }
    }

    /// A whole number within a range.
    pub(super) fn whole<T>(self, range: RangeInclusive<T>) -> Option<T>
    where
        T: TryFrom<i64> + PartialOrd + Display,
    {
        let number = match &self.value.kind {
            Kind::Integer(number) => Some(*number),
            Kind::Text {
                text,
                interpolated: true,
            } => text.trim().parse().ok(),
            _ => None,
        };
        let number = number.and_then(|number| T::try_from(number).ok());
        match number.filter(|number| range.contains(number)) {
            Some(number) => Some(number),
            None => self.expected(format_args!(
                "a whole number from {} to {}",
                range.start(),
                range.end()
            )),
        }
    }

    /// A number within a range, with or without a fraction.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "a share between two small numbers, for which f32 is more than enough"
    )]
    pub(super) fn number(self, range: RangeInclusive<f32>) -> Option<f32> {
        let number = match &self.value.kind {
            Kind::Integer(number) => Some(*number as f32),
            Kind::Float(number) => Some(*number as f32),
            Kind::Text {
                text,
                interpolated: true,
            } => text.trim().parse().ok(),
            _ => None,
        };
        match number.filter(|number| range.contains(number)) {
            // Zero has one sign only, so that equal settings print alike.
            Some(number) => Some(number + 0.0),
            None => self.expected(format_args!(
                "a number from {:?} to {:?}",
                range.start(),
                range.end()
            )),
        }
    }

    /// A duration within a range.
    pub(super) fn duration(self, range: RangeInclusive<Duration>) -> Option<Duration> {
        let Kind::Text { text, .. } = &self.value.kind else {
            return self.expected("a string with a duration, such as \"500ms\", \"10s\" or \"5m\"");
        };
        match parse_duration(text) {
            Ok(duration) if range.contains(&duration) => Some(duration),
            Ok(_) => self.fail(format_args!(
                "expected a duration from {} to {}, found `{text}`",
                format_duration(*range.start()),
                format_duration(*range.end())
            )),
            Err(error) => self.fail(error),
        }
    }

    /// A size within a range: a string with a unit, or a number of bytes.
    pub(super) fn size(self, range: RangeInclusive<ByteSize>) -> Option<ByteSize> {
        let size = match &self.value.kind {
            Kind::Text { text, .. } => match ByteSize::parse(text) {
                Ok(size) => size,
                Err(error) => return self.fail(error),
            },
            Kind::Integer(bytes) if *bytes >= 0 => ByteSize::new(bytes.unsigned_abs()),
            _ => {
                return self.expected("a string with a size, such as \"64KiB\", \"10MiB\" or \"1GB\"");
            }
        };
        if range.contains(&size) {
            return Some(size);
        }
        self.expected(format_args!(
            "a size from {} to {}",
            range.start(),
            range.end()
        ))
    }

    /// A list of at least one thing; the faulty ones are reported and left out.
    pub(super) fn list<T>(self, each: impl FnMut(At<'a>) -> Option<T>) -> Option<Vec<T>> {
        match &self.value.kind {
            Kind::List(values) if values.is_empty() => self.fail("expected at least one element"),
            _ => self.list_or_empty(each),
        }
    }

    /// A list of things, perhaps of none.
    pub(super) fn list_or_empty<T>(
        self,
        mut each: impl FnMut(At<'a>) -> Option<T>,
    ) -> Option<Vec<T>> {
        match &self.value.kind {
            Kind::List(values) => Some(
                values
                    .iter()
                    .filter_map(|value| each(At { value, ..self }))
                    .collect(),
            ),
            _ => self.expected("an array"),
        }
    }

    /// One thing, or a list of them.
    pub(super) fn one_or_more<T>(
        self,
        mut each: impl FnMut(At<'a>) -> Option<T>,
    ) -> Option<Vec<T>> {
        match &self.value.kind {
            Kind::List(_) => self.list(each),
            _ => each(self).map(|one| vec![one]),
        }
    }

    /// A table with known keys.
    pub(super) fn section(self, keys: &'static [Key]) -> Option<Section<'a>> {
        self.titled(self.title, keys)
    }

    /// A table with known keys that messages call by its own title.
    pub(super) fn titled(self, title: Title<'a>, keys: &'static [Key]) -> Option<Section<'a>> {
        match &self.value.kind {
            Kind::Table(table) => Some(Section::new(
                title,
                table,
                self.value.place,
                keys,
                self.report,
            )),
            _ => self.expected("a table"),
        }
    }

    /// A table whose keys are the operator's own; each value is read under its key.
    pub(super) fn entries(self) -> Vec<At<'a>> {
        let Kind::Table(table) = &self.value.kind else {
            self.expected::<()>("a table");
            return Vec::new();
        };
        let entries = table.0.iter().map(|entry| At {
            key: &entry.key,
            key_place: entry.key_place,
            value: &entry.value,
            ..self
        });
        entries.collect()
    }

    /// Reports that the key itself, not its value, is wrong.
    pub(super) fn bad_key<T>(self, message: impl Display) -> Option<T> {
        self.report.error(self.key_place, message.to_string());
        None
    }
}
