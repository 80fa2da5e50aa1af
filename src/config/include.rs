//! Reading files: the main one, and those that its `include` names, merged into one tree.
//!
//! Patterns are relative to the file that holds them; `*` and `?` stand for any text within one name. What a pattern
//! matches is read in the order of the names. A plain name must exist, a pattern may match nothing. A file that is
//! named twice is read once; one that includes itself, directly or not, is an error.

use super::error::{ConfigErrors, Report};
use super::source::{Place, Source, Sources};
use super::tree::{self, Entry, Kind, Table, Value};
use crate::file;
use std::fs;
use std::path::{Component, Path, PathBuf};

/// All sources of one load and the tree they make together.
pub(super) struct Loader<'a> {
    pub(super) sources: Sources,
    pub(super) report: Report,
    /// False once a file could not be parsed: then the rest is not judged, because half a file judges badly.
    pub(super) complete: bool,
    variable: &'a dyn Fn(&str) -> Option<String>,
    /// The files that are being read, outermost first, to find cycles.
    open: Vec<PathBuf>,
    /// The files that have been read.
    done: Vec<PathBuf>,
}

impl<'a> Loader<'a> {
    pub(super) fn new(variable: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self {
            sources: Sources::default(),
            report: Report::default(),
            complete: true,
            variable,
            open: Vec::new(),
            done: Vec::new(),
        }
    }

    /// Reads the main file with all it includes.
    pub(super) fn file(&mut self, path: &Path) -> Result<Table, ConfigErrors> {
        let text = read(path).map_err(|why| {
            ConfigErrors::placeless(format!("cannot read `{}`: {why}", path.display()))
        })?;
        self.open.push(identity(path));
        let source = Source {
            name: shown(path),
            text,
            path: Some(path.to_owned()),
        };
        Ok(self.source(source, path))
    }

    /// Reads a text as if it were the file `name`, which need not exist.
    pub(super) fn text(&mut self, text: &str, name: &str) -> Table {
        let source = Source {
            name: name.to_owned(),
            text: text.to_owned(),
            path: None,
        };
        self.source(source, Path::new(name))
    }

    fn source(&mut self, source: Source, path: &Path) -> Table {
        let index = self.sources.add(source);
        let text = self.sources.text(index).to_owned();
        let mut table = match tree::parse(index, &text, self.variable, &self.report) {
            Ok(table) => table,
            Err(mut broken) => {
                self.complete = false;
                // Where the proxy that runs can be told of it is all that is looked for in it.
                broken.0.retain(|entry| entry.key == "admin");
                return broken;
            }
        };
        if let Some(include) = table.take("include") {
            let base = path.parent().unwrap_or(Path::new(""));
            for (place, pattern) in self.patterns(&include.value) {
                self.include(&mut table, base, &pattern, place);
            }
        }
        table
    }

    fn patterns(&self, include: &Value) -> Vec<(Place, String)> {
        let mut patterns = Vec::new();
        let Kind::List(values) = &include.kind else {
            self.expected_patterns(include);
            return patterns;
        };
        for value in values {
            match &value.kind {
                Kind::Text { text, .. } if !text.is_empty() => {
                    patterns.push((value.place, text.clone()));
                }
                Kind::Faulty => {}
                _ => self.expected_patterns(value),
            }
        }
        patterns
    }

    fn expected_patterns(&self, found: &Value) {
        self.report.error(
            found.place,
            format!(
                "include: expected an array of paths, such as [\"conf.d/*.toml\"], found {found}"
            ),
        );
    }

    fn include(&mut self, table: &mut Table, base: &Path, pattern: &str, place: Place) {
        for path in matching(base, Path::new(pattern)) {
            let identity = identity(&path);
            if self.open.contains(&identity) {
                self.report
                    .error(place, format!("`{}` includes itself", shown(&path)));
                continue;
            }
            if self.done.contains(&identity) {
                continue;
            }
            let text = match read(&path) {
                Ok(text) => text,
                Err(why) => {
                    self.report
                        .error(place, format!("cannot read `{}`: {why}", shown(&path)));
                    continue;
                }
            };
            self.open.push(identity.clone());
            let source = Source {
                name: shown(&path),
                text,
                path: Some(path.clone()),
            };
            let included = self.source(source, &path);
            self.open.pop();
            self.done.push(identity);
            self.merge(table, included, Level::Top);
        }
    }

    /// Arrays of tables at the top append, tables merge; anything else may be said only once.
    fn merge(&self, into: &mut Table, from: Table, level: Level) {
        for Entry {
            key,
            key_place,
            value,
        } in from.0
        {
            let Some(present) = into.get_mut(&key) else {
                into.0.push(Entry {
                    key,
                    key_place,
                    value,
                });
                continue;
            };
            match (&mut present.value.kind, value.kind) {
                (Kind::Table(into), Kind::Table(from)) => self.merge(into, from, Level::Below),
                (Kind::List(into), Kind::List(from)) if level == Level::Top => into.extend(from),
                (Kind::Faulty, _) | (_, Kind::Faulty) => {}
                _ => {
                    let first = self.sources.position(present.key_place);
                    self.report
                        .error(key_place, format!("\"{key}\" is already set at {first}"));
                }
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Top,
    Below,
}

/// Reads a file as text; the error is a phrase that ends "cannot read `x`: ".
fn read(path: &Path) -> Result<String, String> {
    let bytes = file::read(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => "no such file".to_owned(),
        std::io::ErrorKind::IsADirectory => "it is a directory".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    })?;
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let before = error.as_bytes().iter().take(valid);
        let line = before.filter(|&&byte| byte == b'\n').count() + 1;
        format!("line {line} is not UTF-8")
    })
}

/// The file itself, whatever links lead to it.
fn identity(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

/// A path as messages show it: as written, without a leading `./`.
fn shown(path: &Path) -> String {
    path.strip_prefix(".").unwrap_or(path).display().to_string()
}

/// The paths that a pattern stands for, sorted. A pattern without wildcards stands for itself, existing or not.
pub fn matching(base: &Path, pattern: &Path) -> Vec<PathBuf> {
    let mut paths = vec![base.to_owned()];
    for component in pattern.components() {
        let wildcards = match component {
            Component::Normal(name) => name.to_str().filter(|name| name.contains(['*', '?'])),
            _ => None,
        };
        paths = match wildcards {
            None => paths.iter().map(|path| path.join(component)).collect(),
            Some(name) => paths.iter().flat_map(|path| entries(path, name)).collect(),
        };
    }
    paths
}

/// The entries of a directory whose names match, sorted. Hidden ones only when the pattern begins with a dot.
fn entries(directory: &Path, pattern: &str) -> Vec<PathBuf> {
    let readable = if directory.as_os_str().is_empty() {
        Path::new(".")
    } else {
        directory
    };
    let names = fs::read_dir(readable).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = names
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| pattern.starts_with('.') || !name.starts_with('.'))
        .filter(|name| wildcard_matches(pattern.as_bytes(), name.as_bytes()))
        .map(|name| directory.join(name))
        .collect();
    found.sort();
    found
}

/// Whether `*` (any text) and `?` (one byte) in `pattern` can stand for `name`. Linear in their product.
fn wildcard_matches(pattern: &[u8], name: &[u8]) -> bool {
    // reachable[i]: the pattern read so far can stand for the first i bytes of the name.
    let mut reachable = vec![false; name.len() + 1];
    if let Some(start) = reachable.first_mut() {
        *start = true;
    }
    for &wanted in pattern {
        let mut next = vec![false; reachable.len()];
        let mut any_before = false;
        for (i, slot) in next.iter_mut().enumerate() {
            let here = reachable.get(i).copied().unwrap_or(false);
            any_before |= here;
            let one_before = i > 0 && reachable.get(i - 1).copied().unwrap_or(false);
            let byte = i.checked_sub(1).and_then(|i| name.get(i));
            *slot = match wanted {
                b'*' => any_before,
                b'?' => one_before,
                _ => one_before && byte == Some(&wanted),
            };
        }
        reachable = next;
    }
    reachable.last().copied().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards() {
        for (pattern, name, expected) in [
            ("*.toml", "a.toml", true),
            ("*.toml", ".toml", true),
            ("*.toml", "a.tom", false),
            ("a*b*c", "aXbYbc", true),
            ("a*b*c", "acb", false),
            ("?0-*.toml", "10-app.toml", true),
            ("?", "", false),
            ("**", "x", true),
            ("", "", true),
        ] {
            assert_eq!(
                wildcard_matches(pattern.as_bytes(), name.as_bytes()),
                expected,
                "{pattern} {name}"
            );
        }
    }
}
