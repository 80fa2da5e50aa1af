//! The texts that settings are read from, and places in them as people count: lines and columns from 1.

use std::path::PathBuf;

use super::secret::covered;

/// A stretch of one source, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// Index into [`Sources`].
    pub(super) source: usize,
    /// The first byte.
    pub(super) start: usize,
    /// The byte after the last.
    pub(super) end: usize,
}

/// One file, or one text that came from none.
#[derive(Debug)]
pub(super) struct Source {
    /// As messages call it: the path as the operator wrote it.
    pub(super) name: String,
    /// The whole text.
    pub(super) text: String,
    /// Where it was read; `None` for a text that came from no file.
    pub(super) path: Option<PathBuf>,
}

/// Every text of one load, in the order of inclusion, the main one first.
#[derive(Debug, Default)]
pub(super) struct Sources(Vec<Source>);

/// A place as a message shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// The file as the operator wrote it.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// The line's text, without its end.
    pub text: String,
    /// How many characters of the line are meant; at least 1.
    pub width: usize,
}

impl Sources {
    /// Adds a text and returns its index.
    pub(super) fn add(&mut self, source: Source) -> usize {
        self.0.push(source);
        self.0.len() - 1
    }

    /// The text of the source with this index.
    pub(super) fn text(&self, source: usize) -> &str {
        self.0.get(source).map_or("", |source| &source.text)
    }

    /// The files among the sources.
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        self.0.iter().filter_map(|s| s.path.clone()).collect()
    }

    /// `proxy.toml:14:9`.
    pub(super) fn position(&self, place: Place) -> String {
        let Location {
            file, line, column, ..
        } = self.locate(place);
        format!("{file}:{line}:{column}")
    }

    /// The line and column of a place. A place that spans lines is cut at the end of its first.
    pub(super) fn locate(&self, place: Place) -> Location {
        let text = self.text(place.source);
        let start = char_start(text, place.start);
        let (before, after) = text.split_at(start);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = text.get(line_start..).and_then(|rest| rest.lines().next());
        let end = char_start(text, place.end).max(start);
        let meant = after
            .get(..end - start)
            .and_then(|rest| rest.lines().next());
        Location {
            file: self
                .0
                .get(place.source)
                .map_or_else(String::new, |source| source.name.clone()),
            line: before.bytes().filter(|&byte| byte == b'\n').count() + 1,
            column: before.get(line_start..).map_or(0, |s| s.chars().count()) + 1,
            text: covered(line.unwrap_or_default()),
            width: meant.unwrap_or_default().chars().count().max(1),
        }
    }
}

/// The start of the character that the byte at `index` is part of; the end of the text if there is none.
fn char_start(text: &str, index: usize) -> usize {
    let starts = (0..=index.min(text.len())).rev();
    starts
        .into_iter()
        .find(|&at| text.is_char_boundary(at))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_count_from_one_in_characters() {
        let mut sources = Sources::default();
        let source = sources.add(Source {
            name: "proxy.toml".to_owned(),
            text: "a = 'é'  # é\r\nbé = 12\n".to_owned(),
            path: None,
        });
        for (start, end, line, column, width, text) in [
            (0, 1, 1, 1, 1, "a = 'é'  # é"),
            (10, 11, 1, 10, 1, "a = 'é'  # é"),
            (16, 19, 2, 1, 2, "bé = 12"),
            (22, 24, 2, 6, 2, "bé = 12"),
            (24, 25, 2, 8, 1, "bé = 12"),
            (99, 99, 3, 1, 1, ""),
        ] {
            let location = sources.locate(Place { source, start, end });
            assert_eq!(
                (location.line, location.column, location.width),
                (line, column, width),
                "{start}..{end}"
            );
            assert_eq!(location.text, text);
        }
    }
}
