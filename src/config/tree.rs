//! One configuration as a tree of values that know their places: TOML, interpolated and with its includes merged.

use super::error::Report;
use super::interpolate::{InterpolationError, interpolate};
use super::source::Place;
use std::fmt;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Value {
    pub(super) place: Place,
    pub(super) kind: Kind,
}

/// What a value is.
#[derive(Debug, Clone)]
pub(super) enum Kind {
    Text {
        text: String,
        /// Whether the environment had a part in it: then it may stand for a number or a boolean.
        interpolated: bool,
    },
    Integer(i64),
    Float(f64),
    Boolean(bool),
    Datetime,
    List(Vec<Value>),
    Table(Table),
    /// Already reported; readers pass over it.
    Faulty,
}

/// Keys and values in the order of the file.
#[derive(Debug, Clone, Default)]
pub(super) struct Table(pub(super) Vec<Entry>);

/// One key and its value.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_place: Place,
    pub(super) value: Value,
}

impl Table {
    /// The entry of a key.
    pub(super) fn get(&self, key: &str) -> Option<&Entry> {
        self.0.iter().find(|entry| entry.key == key)
    }

    pub(super) fn get_mut(&mut self, key: &str) -> Option<&mut Entry> {
        self.0.iter_mut().find(|entry| entry.key == key)
    }

    /// Takes an entry out.
    pub(super) fn take(&mut self, key: &str) -> Option<Entry> {
        let index = self.0.iter().position(|entry| entry.key == key)?;
        Some(self.0.remove(index))
    }
}

/// As a message names it after "found".
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Text { text, .. } => write!(f, "the string `{}`", shortened(text)),
            Kind::Integer(number) => write!(f, "the number `{number}`"),
            Kind::Float(number) => write!(f, "the number `{number}`"),
            Kind::Boolean(value) => write!(f, "`{value}`"),
            Kind::Datetime => f.write_str("a date or time"),
            Kind::List(_) => f.write_str("an array"),
            Kind::Table(_) | Kind::Faulty => f.write_str("a table"),
        }
    }
}

/// A text as a message quotes it: one line, not endless.
pub(super) fn shortened(text: &str) -> String {
    const MAX: usize = 80;
    let mut short: String = text
        .chars()
        .take(MAX)
        .flat_map(char::escape_debug)
        .collect();
    if text.chars().nth(MAX).is_some() {
        short.push('…');
    }
    short
}

/// Makes the tree of one source.
///
/// # Errors
/// What could be made out of a source with syntax errors. These are reported, the first of each line, and nothing else.
pub(super) fn parse(
    source: usize,
    text: &str,
    variable: &dyn Fn(&str) -> Option<String>,
    report: &Report,
) -> Result<Table, Table> {
    let (table, errors) = DeTable::parse_recoverable(text);
    let plant = |report| {
        let planter = Planter {
            source,
            text,
            variable,
            report,
        };
        planter.table(table.into_inner())
    };
    if errors.is_empty() {
        return Ok(plant(report));
    }
    let mut found: Vec<(usize, Place, &str)> = errors
        .iter()
        .map(|error| {
            let span = error.span().unwrap_or(text.len()..text.len());
            let line = text.as_bytes().iter().take(span.start);
            let line = line.filter(|&&byte| byte == b'\n').count();
            let place = Place {
                source,
                start: span.start,
                end: span.end,
            };
            (line, place, error.message())
        })
        .collect();
    // The parser goes on after an error, but what it says about the rest of that line is mostly an echo.
    found.sort();
    found.dedup_by_key(|(line, ..)| *line);
    for (_, place, message) in found {
        let message = message.trim_end_matches(", expected literal string");
        report.error(place, message);
    }
    // Half a file judges badly, so nobody hears what else would be said of it.
    Err(plant(&Report::default()))
}

struct Planter<'a> {
    source: usize,
    text: &'a str,
    variable: &'a dyn Fn(&str) -> Option<String>,
    report: &'a Report,
}

impl Planter<'_> {
    fn place<T>(&self, spanned: &Spanned<T>) -> Place {
        let span = spanned.span();
        Place {
            source: self.source,
            start: span.start,
            end: span.end,
        }
    }

    fn table(&self, table: DeTable<'_>) -> Table {
        let mut entries: Vec<Entry> = table
            .into_iter()
            .map(|(key, value)| Entry {
                key_place: self.place(&key),
                key: key.into_inner().into_owned(),
                value: self.value(value),
            })
            .collect();
        // The TOML crate sorts by key; upstreams and header edits keep the operator's order.
        entries.sort_by_key(|entry| entry.key_place);
        Table(entries)
    }

    fn value(&self, value: Spanned<DeValue<'_>>) -> Value {
        let place = self.place(&value);
        let kind = match value.into_inner() {
            DeValue::String(text) => self.text(place, &text),
            DeValue::Integer(digits) => {
                match i64::from_str_radix(digits.as_str(), digits.radix()) {
                    Ok(number) => Kind::Integer(number),
                    Err(_) => self.faulty(place, "expected a whole number that fits 64 bits"),
                }
            }
            DeValue::Float(digits) => match digits.as_str().parse() {
                Ok(number) => Kind::Float(number),
                Err(_) => self.faulty(place, "expected a number"),
            },
            DeValue::Boolean(value) => Kind::Boolean(value),
            DeValue::Datetime(_) => Kind::Datetime,
            DeValue::Array(values) => {
                Kind::List(values.into_iter().map(|value| self.value(value)).collect())
            }
            DeValue::Table(table) => Kind::Table(self.table(table)),
        };
        Value { place, kind }
    }

    fn text(&self, place: Place, text: &str) -> Kind {
        match interpolate(text, self.variable) {
            Ok(None) => Kind::Text {
                text: text.to_owned(),
                interpolated: false,
            },
            Ok(Some(text)) => Kind::Text {
                text,
                interpolated: true,
            },
            Err(error) => self.faulty(self.variable_place(place, &error), error.to_string()),
        }
    }

    /// Where in a string the faulty variable stands, if it is written there without escapes.
    fn variable_place(&self, place: Place, error: &InterpolationError) -> Place {
        let written = self.text.get(place.start..place.end).unwrap_or_default();
        match written.find(&error.written()) {
            Some(offset) => Place {
                start: place.start + offset,
                end: place.start + offset + error.written().len(),
                ..place
            },
            None => place,
        }
    }

    fn faulty(&self, place: Place, message: impl Into<String>) -> Kind {
        self.report.error(place, message);
        Kind::Faulty
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::source::{Source, Sources};

    fn errors(text: &str) -> String {
        let mut sources = Sources::default();
        let source = sources.add(Source {
            name: "t".to_owned(),
            text: text.to_owned(),
            path: None,
        });
        let report = Report::default();
        let tree = parse(source, text, &|_| None, &report);
        let errors = report.finish(&sources).err();
        errors.map_or_else(|| format!("{tree:?}"), |errors| errors.to_string())
    }

    #[test]
    fn every_line_with_a_syntax_error_is_told_once() {
        assert_eq!(
            errors("a = \nb = hello world\nb = 2\n[x\ny = 1\n"),
            "t:1:5: string values must be quoted\n    a = \n        ^\n\
             t:2:5: string values must be quoted\n    b = hello world\n        ^^^^^^^^^^^\n\
             t:3:1: duplicate key\n    b = 2\n    ^\n\
             t:4:3: unclosed table, expected `]`\n    [x\n      ^"
        );
    }

    #[test]
    fn a_missing_variable_is_shown_inside_its_string() {
        assert_eq!(
            errors("to = 'http://${APP}:80'"),
            "t:1:14: environment variable `APP` is not set; set it, or give a default as in `${APP:-value}`\n    \
             to = 'http://${APP}:80'\n                 ^^^^^^"
        );
    }

    #[test]
    fn endless_nesting_is_an_error_and_no_overflow() {
        for text in [
            "a.".repeat(100_000) + "a = 1",
            "a = ".to_owned() + &"[".repeat(100_000),
            "a = ".to_owned() + &"{a=".repeat(100_000),
            "[".to_owned() + &"a.".repeat(100_000) + "a]",
        ] {
            assert!(errors(&text).starts_with("t:1:"), "{}", &text[..8]);
        }
    }
}
