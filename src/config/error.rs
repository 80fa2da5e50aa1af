//! What is said about a configuration: errors and notes, each with its place, its line and a caret.

use super::source::{Location, Place, Sources};
use std::cell::RefCell;
use std::fmt;

/// Everything that is wrong with a configuration, in the order of the files and lines. Never empty.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", lines(.0))]
pub struct ConfigErrors(pub Vec<Finding>);

impl ConfigErrors {
    /// One error that has no place in a file: a missing file, a command line argument.
    pub(super) fn placeless(message: impl Into<String>) -> Self {
        Self(vec![Finding {
            location: None,
            message: message.into(),
        }])
    }
}

/// One thing to say about one place. Its `Display` is the whole message: place, sentence, line and caret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Where; `None` when it is in no file.
    pub location: Option<Location>,
    /// What was found, what was expected, and the remedy.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(at) = &self.location else {
            return f.write_str(&self.message);
        };
        // Tabs stay tabs, so that the caret stands right whatever their width is.
        let indent = at.text.chars().take(at.column - 1);
        let indent: String = indent.map(|c| if c == '\t' { c } else { ' ' }).collect();
        writeln!(f, "{}:{}:{}: {}", at.file, at.line, at.column, self.message)?;
        writeln!(f, "    {}", at.text)?;
        write!(f, "    {indent}{}", "^".repeat(at.width))
    }
}

fn lines(findings: &[Finding]) -> String {
    let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

/// Collects what the readers find, so that reading goes on after an error and all are told at once.
#[derive(Debug, Default)]
pub(super) struct Report {
    errors: RefCell<Vec<(Place, String)>>,
    notes: RefCell<Vec<(Place, String)>>,
}

impl Report {
    /// Something that must be mended before the program can run.
    pub(super) fn error(&self, place: Place, message: impl Into<String>) {
        self.errors.borrow_mut().push((place, message.into()));
    }

    /// Something that is lawful but probably not meant.
    pub(super) fn note(&self, place: Place, message: impl Into<String>) {
        self.notes.borrow_mut().push((place, message.into()));
    }

    /// The notes, or all errors if there is any.
    pub(super) fn finish(self, sources: &Sources) -> Result<Vec<Finding>, ConfigErrors> {
        let located = |mut found: Vec<(Place, String)>| -> Vec<Finding> {
            found.sort();
            found.dedup();
            let located = found.into_iter().map(|(place, message)| Finding {
                location: Some(sources.locate(place)),
                message,
            });
            located.collect()
        };
        match located(self.errors.into_inner()) {
            errors if errors.is_empty() => Ok(located(self.notes.into_inner())),
            errors => Err(ConfigErrors(errors)),
        }
    }
}

/// The candidate that `word` is probably a slip of: other case, other separators, or a few wrong letters.
pub(super) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let plain = |s: &str| -> String {
        let letters = s.chars().filter(|c| !matches!(c, '-' | '_' | ' '));
        letters.flat_map(char::to_lowercase).collect()
    };
    // Long words are no slips, and the distance is quadratic in their length.
    if word.len() > 64 {
        return None;
    }
    let wanted = plain(word);
    candidates
        .into_iter()
        .map(|candidate| {
            let distance = strsim::damerau_levenshtein(&wanted, &plain(candidate));
            (distance, candidate)
        })
        .filter(|(distance, candidate)| *distance <= (candidate.len().max(word.len()) / 3).min(3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// ` (did you mean "ttl"?)`, or nothing.
pub(super) fn hint<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str> + Clone,
) -> String {
    // "warning" is too far from "warn" for a slip, but begins with it.
    let begun = |candidate: &&str| candidate.len() >= 4 && word.starts_with(*candidate);
    let near = nearest(word, candidates.clone()).or_else(|| candidates.into_iter().find(begun));
    near.map_or_else(String::new, |near| format!(" (did you mean \"{near}\"?)"))
}

/// `` `api`, `img` ``.
pub(super) fn listed<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let quoted: Vec<String> = words.into_iter().map(|word| format!("`{word}`")).collect();
    quoted.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_of_the_pen() {
        let keys = ["ttl", "to", "host", "strip_prefix", "request_headers"];
        for (word, meant) in [
            ("tll", Some("ttl")),
            ("TTL", Some("ttl")),
            ("hots", Some("host")),
            ("strip-prefix", Some("strip_prefix")),
            ("stripPrefix", Some("strip_prefix")),
            ("request_header", Some("request_headers")),
            ("colour", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, keys), meant, "{word}");
        }
    }
}
