//! One value that is being read: as a string, number, duration, size, list or table, within its range.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::reader::{Key, Section, Title};
use super::scalars::{Fault, none_of};
use crate::config::error::{Report, listed};
use crate::config::source::Place;
use crate::config::tree::{Kind, Value, shortened};
use crate::units::{ByteSize, format_duration, parse_duration};

/// A value that is being read, and the key it belongs to.
#[derive(Debug, Clone, Copy)]
pub(super) struct At<'a> {
    pub(super) key: &'a str,
    pub(super) key_place: Place,
    pub(super) value: &'a Value,
    pub(super) title: Title<'a>,
    pub(super) report: &'a Report,
}

impl<'a> At<'a> {
    /// Reports an error of this value.
    pub(super) fn fail<T>(self, message: impl Display) -> Option<T> {
        let key = self.key;
        self.report
            .error(self.value.place, format!("{key}: {message}"));
        None
    }

    /// Says what was expected and what was found.
    pub(super) fn expected<T>(self, what: impl Display) -> Option<T> {
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
        let all: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let Kind::Text { text, .. } = &self.value.kind else {
            return self.expected(format_args!("one of {}", listed(all)));
        };
        let found = words.iter().find(|(word, _)| word == text);
        match found {
            Some((_, value)) => Some(value.clone()),
            None => self.parse(|text| none_of(&all, text)),
        }
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
                return self
                    .expected("a string with a size, such as \"64KiB\", \"10MiB\" or \"1GB\"");
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
            Kind::Text { text, .. } => self.fail(format_args!(
                "expected an array, such as [\"{0}\"], found the string `{0}`",
                shortened(text)
            )),
            _ => self.expected("an array"),
        }
    }

    /// The sections of one name, `[[route]]`; `line` is an example of what stands in one.
    pub(super) fn sections<T>(
        self,
        line: &str,
        each: impl FnMut(At<'a>) -> Option<T>,
    ) -> Option<Vec<T>> {
        let key = self.key;
        match &self.value.kind {
            Kind::List(_) => self.list(each),
            Kind::Table(_) => self.fail(format_args!(
                "there may be several: write [[{key}]] in double brackets"
            )),
            _ => self.expected(format_args!("[[{key}]] and below it {line}")),
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
            _ => self.expected(format_args!(
                "a table with keys such as {}",
                listed(keys.iter().take(2).map(|key| key.name))
            )),
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
