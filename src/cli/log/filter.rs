//! Which lines of the access log are wanted: conditions on its keys, all of which must be true.
//!
//! ```text
//! filter    = condition *( ("and" / ",") condition )
//! condition = key operator value
//! operator  = "=" / "!=" / "^=" / "$=" / "*=" / "<" / "<=" / ">" / ">="
//! value     = word / DQUOTE text DQUOTE          ; within the quotes, \" and \\
//! ```

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::telemetry::access_log;
use crate::units::{self, ByteSize};

/// What a key's values are, which decides how they are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    /// One of these, as they are written in the log.
    Word(&'static [&'static str]),
    Number,
    /// A number, or a class such as `5xx`.
    Status,
    /// Milliseconds in the log, times as in the configuration here.
    Time,
    /// Octets in the log, sizes as in the configuration here.
    Size,
    /// True or absent in the log.
    Flag,
}

impl Kind {
    /// A part of a word is a text.
    fn compared_by(self, operator: Operator) -> Self {
        match (self, operator) {
            (Self::Word(_), Operator::Begins | Operator::Ends | Operator::Contains) => Self::Text,
            _ => self,
        }
    }
}

/// What may stand for a key, the key in the log, and its kind.
const KEYS: &[(&str, &str, Kind)] = &[
    ("age", "cache_age", Kind::Number),
    ("agent", "user_agent", Kind::Text),
    ("bytes", "bytes_out", Kind::Size),
    ("bytes_in", "bytes_in", Kind::Size),
    ("bytes_out", "bytes_out", Kind::Size),
    ("cache", "cache", Kind::Word(&access_log::CACHE)),
    ("cache_age", "cache_age", Kind::Number),
    ("cache_reason", "cache_reason", Kind::Text),
    ("cache_ttl", "cache_ttl", Kind::Number),
    ("client", "client", Kind::Text),
    ("collapsed", "collapsed", Kind::Flag),
    ("connect", "connect_ms", Kind::Time),
    ("duration", "duration_ms", Kind::Time),
    ("end", "end", Kind::Word(&access_log::END)),
    ("error", "error", Kind::Text),
    ("hold", "hold_ms", Kind::Time),
    ("host", "host", Kind::Text),
    ("id", "id", Kind::Text),
    ("method", "method", Kind::Text),
    ("path", "path", Kind::Text),
    ("proto", "proto", Kind::Word(&access_log::PROTO)),
    ("query", "query", Kind::Text),
    ("queue", "queue_ms", Kind::Time),
    ("reason", "cache_reason", Kind::Text),
    ("referer", "referer", Kind::Text),
    (
        "retry_reason",
        "retry_reason",
        Kind::Word(&access_log::RETRY_REASON),
    ),
    ("route", "route", Kind::Text),
    ("server", "upstream_addr", Kind::Text),
    ("status", "status", Kind::Status),
    ("tls", "tls", Kind::Flag),
    ("tries", "tries", Kind::Number),
    ("ttfb", "ttfb_ms", Kind::Time),
    ("ttl", "cache_ttl", Kind::Number),
    ("upstream", "upstream", Kind::Text),
    ("upstream_addr", "upstream_addr", Kind::Text),
    ("upstream_status", "upstream_status", Kind::Status),
    ("user_agent", "user_agent", Kind::Text),
];

/// How a value is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Is,
    IsNot,
    Begins,
    Ends,
    Contains,
    Below,
    AtMost,
    Above,
    AtLeast,
}

impl Operator {
    /// Longer ones before those that they begin with.
    const ALL: [(&'static str, Self); 9] = [
        ("!=", Self::IsNot),
        ("^=", Self::Begins),
        ("$=", Self::Ends),
        ("*=", Self::Contains),
        ("<=", Self::AtMost),
        (">=", Self::AtLeast),
        ("=", Self::Is),
        ("<", Self::Below),
        (">", Self::Above),
    ];

    fn word(self) -> &'static str {
        let own = Self::ALL.iter().find(|(_, operator)| *operator == self);
        own.map_or("=", |(word, _)| word)
    }

    fn suits(self, kind: Kind) -> bool {
        let order = matches!(
            self,
            Self::Below | Self::AtMost | Self::Above | Self::AtLeast
        );
        let part = matches!(self, Self::Begins | Self::Ends | Self::Contains);
        match kind {
            Kind::Text | Kind::Word(_) => !order,
            Kind::Number | Kind::Status | Kind::Time | Kind::Size => !part,
            Kind::Flag => !order && !part,
        }
    }
}

/// What a value is compared with.
#[derive(Debug, Clone, PartialEq)]
enum Operand {
    Text(String),
    Number(f64),
    /// The hundreds of a status.
    Class(f64),
    Flag(bool),
}

/// One condition.
#[derive(Debug, Clone, PartialEq)]
struct Condition {
    /// As in the log.
    key: &'static str,
    operator: Operator,
    operand: Operand,
    /// As it was written, to be said again.
    written: (String, String),
}

/// All conditions.
#[derive(Debug, Clone, PartialEq, Default)]
pub(in crate::cli) struct Filter {
    conditions: Vec<Condition>,
}

/// What is wrong with a filter, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) struct FilterError {
    text: String,
    filter: String,
    /// In characters.
    at: usize,
    length: usize,
}

impl std::error::Error for FilterError {}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        writeln!(f, "  {}", self.filter)?;
        let (at, length) = (self.at, self.length.max(1));
        write!(f, "  {:at$}{}", "", "^".repeat(length))
    }
}

impl Filter {
    /// Reads a filter. An empty one takes everything.
    ///
    /// # Errors
    /// What was found, what was expected, and where.
    pub(in crate::cli) fn parse(text: &str) -> Result<Self, FilterError> {
        let mut reader = Reader { text, at: 0 };
        let mut conditions = Vec::new();
        reader.skip_blanks();
        if reader.rest().is_empty() {
            return Ok(Self::default());
        }
        loop {
            conditions.push(reader.condition()?);
            if !reader.joint()? {
                return Ok(Self { conditions });
            }
        }
    }

    /// Whether a line of the log is wanted.
    pub(super) fn takes(&self, entry: &Map<String, Value>) -> bool {
        self.conditions
            .iter()
            .all(|condition| condition.holds(entry.get(condition.key)))
    }

    /// Whether all are.
    pub(super) fn is_everything(&self) -> bool {
        self.conditions.is_empty()
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, condition) in self.conditions.iter().enumerate() {
            let joint = if n == 0 { "" } else { " and " };
            let (key, value) = &condition.written;
            let value = value.replace('\\', "\\\\").replace('"', "\\\"");
            write!(f, "{joint}{key}{}\"{value}\"", condition.operator.word())?;
        }
        Ok(())
    }
}

impl Condition {
    /// Whether it is so. What is absent is nothing, neither small nor large; but it is not what it is compared with, either.
    fn holds(&self, value: Option<&Value>) -> bool {
        let value = match (value, &self.operand) {
            (None, Operand::Flag(_)) => &Value::Bool(false),
            (None, _) => return self.operator == Operator::IsNot,
            (Some(value), _) => value,
        };
        match &self.operand {
            Operand::Text(operand) => match (value.as_str(), self.operator) {
                (Some(text), Operator::Is) => text == operand,
                (Some(text), Operator::IsNot) => text != operand,
                (Some(text), Operator::Begins) => text.starts_with(operand.as_str()),
                (Some(text), Operator::Ends) => text.ends_with(operand.as_str()),
                (Some(text), Operator::Contains) => text.contains(operand.as_str()),
                _ => false,
            },
            Operand::Number(operand) => value
                .as_f64()
                .is_some_and(|number| self.compares(number, *operand)),
            Operand::Class(operand) => value
                .as_f64()
                .is_some_and(|number| self.compares((number / 100.0).floor(), *operand)),
            Operand::Flag(operand) => {
                let same = value.as_bool() == Some(*operand);
                same == (self.operator == Operator::Is)
            }
        }
    }

    #[expect(
        clippy::float_cmp,
        reason = "both were written in decimals, and read the same way"
    )]
    fn compares(&self, number: f64, operand: f64) -> bool {
        match self.operator {
            Operator::Is => number == operand,
            Operator::IsNot => number != operand,
            Operator::Below => number < operand,
            Operator::AtMost => number <= operand,
            Operator::Above => number > operand,
            Operator::AtLeast => number >= operand,
            Operator::Begins | Operator::Ends | Operator::Contains => false,
        }
    }
}

/// A filter being read.
struct Reader<'a> {
    text: &'a str,
    /// In octets, at the beginning of a character.
    at: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn skip_blanks(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    /// Takes what comes as long as it is so.
    fn take(&mut self, is: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|c| !is(c)).unwrap_or(rest.len());
        self.at += end;
        rest.get(..end).unwrap_or_default()
    }

    fn condition(&mut self) -> Result<Condition, FilterError> {
        self.skip_blanks();
        let begin = self.at;
        let key = self.take(|c| c.is_ascii_alphanumeric() || c == '_');
        let Some((_, in_log, kind)) = KEYS.iter().find(|(known, ..)| *known == key) else {
            return Err(self.unknown_key(key, begin));
        };
        self.skip_blanks();
        let begin = self.at;
        let rest = self.rest();
        let found = Operator::ALL
            .iter()
            .find(|(word, _)| rest.starts_with(word));
        let Some((word, operator)) = found else {
            let text = format!("expected a comparison behind `{key}`, such as `=`");
            return Err(self.error(text, begin, 1));
        };
        self.at += word.len();
        if !operator.suits(*kind) {
            let suit = Operator::ALL.iter().filter(|(_, it)| it.suits(*kind));
            let suit: Vec<&str> = suit.map(|(word, _)| *word).collect();
            let text = format!(
                "`{key}` cannot be compared by `{word}`; expected one of {}",
                suit.join("  ")
            );
            return Err(self.error(text, begin, word.len()));
        }
        self.skip_blanks();
        let begin = self.at;
        let value = self.value(key)?;
        let operand = operand(kind.compared_by(*operator), &value).map_err(|expected| {
            let length = self.at - begin;
            let text = format!("`{value}` is not a value of `{key}`; expected {expected}");
            self.error(text, begin, length)
        })?;
        Ok(Condition {
            key: in_log,
            operator: *operator,
            operand,
            written: (key.to_owned(), value),
        })
    }

    /// A word, or a text in quotes.
    fn value(&mut self, key: &str) -> Result<String, FilterError> {
        let begin = self.at;
        if !self.rest().starts_with('"') {
            let word = self.take(|c| !c.is_whitespace() && c != ',' && c != '"');
            if word.is_empty() {
                let text = format!("expected a value for `{key}`");
                return Err(self.error(text, begin, 1));
            }
            return Ok(word.to_owned());
        }
        let mut text = String::new();
        let mut characters = self.rest().char_indices().skip(1);
        while let Some((at, character)) = characters.next() {
            match character {
                '"' => {
                    self.at += at + 1;
                    return Ok(text);
                }
                '\\' => text.extend(characters.next().map(|(_, escaped)| escaped)),
                other => text.push(other),
            }
        }
        let length = self.rest().len();
        Err(self.error("a quote is not closed".to_owned(), begin, length))
    }

    /// What joins this condition to the next. False at the end.
    fn joint(&mut self) -> Result<bool, FilterError> {
        self.skip_blanks();
        let begin = self.at;
        if self.rest().is_empty() {
            return Ok(false);
        }
        if self.rest().starts_with(',') {
            self.at += 1;
            return Ok(true);
        }
        let word = self.take(|c| !c.is_whitespace() && c != ',');
        match word {
            "and" => Ok(true),
            "or" => {
                let text = "there is no `or`: run `forebay log` twice, or choose a wider condition";
                Err(self.error(text.to_owned(), begin, word.len()))
            }
            _ => {
                let text = format!("expected `and` or `,` between conditions, found `{word}`");
                Err(self.error(text, begin, word.len()))
            }
        }
    }

    fn unknown_key(&self, key: &str, begin: usize) -> FilterError {
        if key.is_empty() {
            let text = "expected a key, such as `status`".to_owned();
            return self.error(text, begin, 1);
        }
        let near = KEYS
            .iter()
            .map(|(known, ..)| (strsim::osa_distance(key, known), *known))
            .min();
        let text = if let Some((0..=2, known)) = near {
            format!("unknown key `{key}`; did you mean `{known}`?")
        } else {
            let known: Vec<&str> = KEYS.iter().map(|(known, ..)| *known).collect();
            format!("unknown key `{key}`; known: {}", known.join(", "))
        };
        self.error(text, begin, key.len())
    }

    fn error(&self, text: String, begin: usize, length: usize) -> FilterError {
        let before = self.text.get(..begin).unwrap_or_default();
        let marked = self.text.get(begin..begin + length).unwrap_or_default();
        FilterError {
            text,
            filter: self.text.replace(char::is_control, " "),
            at: before.chars().count(),
            length: marked.chars().count(),
        }
    }
}

/// What a value means for a key of this kind, or what would.
fn operand(kind: Kind, value: &str) -> Result<Operand, Cow<'static, str>> {
    let number = |value: &str| value.parse().ok().filter(|number: &f64| number.is_finite());
    match kind {
        Kind::Text => Ok(Operand::Text(value.to_owned())),
        Kind::Word(words) => words
            .contains(&value)
            .then(|| Operand::Text(value.to_owned()))
            .ok_or_else(|| format!("one of {}", words.join(", ")).into()),
        Kind::Number => number(value).map(Operand::Number).ok_or("a number".into()),
        Kind::Status => match value.strip_suffix("xx").and_then(number) {
            Some(class) => Some(Operand::Class(class)),
            None => number(value).map(Operand::Number),
        }
        .ok_or("a status such as 404, or a class such as 5xx".into()),
        Kind::Time => units::parse_duration(value)
            .map(|time: Duration| Operand::Number(time.as_secs_f64() * 1e3))
            .map_err(|_| "a time such as 250ms or 1s".into()),
        #[expect(
            clippy::cast_precision_loss,
            reason = "nobody filters by single octets of petabytes"
        )]
        Kind::Size => ByteSize::parse(value)
            .map(|size| Operand::Number(size.bytes() as f64))
            .ok()
            .or_else(|| number(value).map(Operand::Number))
            .ok_or("a size such as 500, 10KiB or 1MiB".into()),
        Kind::Flag => match value {
            "true" => Ok(Operand::Flag(true)),
            "false" => Ok(Operand::Flag(false)),
            _ => Err("true or false".into()),
        },
    }
}

#[cfg(test)]
#[path = "filter_tests.rs"]
mod tests;
