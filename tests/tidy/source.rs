//! Source files as the house rules read them: their code without comments and strings, their tests, their imports.

use std::fs;
use std::ops::RangeInclusive;
use std::path::Path;

/// A Rust file of ours.
pub(crate) struct Source {
    /// From the root of the repository.
    pub(crate) path: String,
    pub(crate) text: String,
    /// The text with comments, strings and character literals blanked; the same lines.
    pub(crate) code: String,
    /// The lines under `#[cfg(test)]`, the first one being 1.
    test_lines: Vec<RangeInclusive<usize>>,
}

impl Source {
    pub(crate) fn new(path: String, text: String) -> Self {
        let code = code_of(&text);
        let test_lines = test_regions(&code);
        Self {
            path,
            text,
            code,
            test_lines,
        }
    }

    pub(crate) fn code_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code
            .lines()
            .enumerate()
            .map(|(index, line)| (index + 1, line))
    }

    /// `src/a/b.rs` and `src/a/b/mod.rs` are `[a, b]`.
    pub(crate) fn module(&self) -> Vec<String> {
        let Some(path) = self
            .path
            .strip_prefix("src/")
            .and_then(|path| path.strip_suffix(".rs"))
        else {
            return Vec::new();
        };
        let path = path.strip_suffix("/mod").unwrap_or(path);
        path.split('/').map(str::to_owned).collect()
    }

    pub(crate) fn is_test(&self, line: usize) -> bool {
        let named = self.path.ends_with("/tests.rs")
            || self.path.ends_with("_tests.rs")
            || self.path.contains("/tests/");
        named
            || !self.path.starts_with("src/")
            || self.test_lines.iter().any(|lines| lines.contains(&line))
    }
}

/// All Rust files of the package, in the order of their paths.
pub(crate) fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for directory in ["src", "tests", "benches"] {
        collect(&root.join(directory), root, &mut found);
    }
    assert!(
        found.len() > 10,
        "the sources were not found below {}",
        root.display()
    );
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn collect(directory: &Path, root: &Path, found: &mut Vec<Source>) {
    // `benches` need not be there.
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for entry in entries {
        let path = entry.expect("a readable directory").path();
        if path.is_dir() {
            // Applications under test are other people's code, or have manifests of their own.
            if !path.ends_with("tests/apps") {
                collect(&path, root, found);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("a source file is UTF-8");
            let path = path.strip_prefix(root).expect("below the root");
            found.push(Source::new(path.display().to_string(), text));
        }
    }
}

/// `source` with everything blanked that is not code. Positions of lines and of ASCII columns stay.
fn code_of(source: &str) -> String {
    let chars: Vec<char> = source.chars().collect();
    let mut out = String::with_capacity(source.len());
    let mut at = 0;
    while at < chars.len() {
        let end = match &chars[at..] {
            ['/', '/', ..] => at + chars[at..].iter().take_while(|c| **c != '\n').count(),
            ['/', '*', ..] => end_of_comment(&chars, at),
            ['r', '"' | '#', ..] if !is_word_before(&chars, at) => end_of_raw_string(&chars, at),
            ['"', ..] => end_of_quoted(&chars, at, '"'),
            // A character, not a lifetime.
            ['\'', '\\', ..] | ['\'', _, '\'', ..] => end_of_quoted(&chars, at, '\''),
            _ => at,
        };
        if end == at {
            out.push(chars[at]);
            at += 1;
        } else {
            out.extend(
                chars[at..end]
                    .iter()
                    .map(|c| if *c == '\n' { '\n' } else { ' ' }),
            );
            at = end;
        }
    }
    out
}

fn is_word_before(chars: &[char], at: usize) -> bool {
    // The `r` of `br"…"` begins a string all the same.
    at > 0 && chars[at - 1] != 'b' && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_')
}

fn end_of_comment(chars: &[char], start: usize) -> usize {
    let (mut at, mut depth) = (start, 0);
    while at < chars.len() {
        match &chars[at..] {
            ['/', '*', ..] => (at, depth) = (at + 2, depth + 1),
            ['*', '/', ..] => (at, depth) = (at + 2, depth - 1),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn end_of_quoted(chars: &[char], start: usize, quote: char) -> usize {
    let mut at = start + 1;
    while at < chars.len() && chars[at] != quote {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(chars.len())
}

/// `start` itself where it is no raw string (`r#type`).
fn end_of_raw_string(chars: &[char], start: usize) -> usize {
    let hashes = chars[start + 1..].iter().take_while(|c| **c == '#').count();
    let mut at = start + 1 + hashes;
    if chars.get(at) != Some(&'"') {
        return start;
    }
    loop {
        at += 1;
        let closes = chars[at.min(chars.len())..]
            .iter()
            .skip(1)
            .take_while(|c| **c == '#')
            .count()
            >= hashes;
        if at >= chars.len() || (chars[at] == '"' && closes) {
            return (at + 1 + hashes).min(chars.len());
        }
    }
}

/// The lines of items under `#[cfg(test)]`, from the attribute to the item's end.
fn test_regions(code: &str) -> Vec<RangeInclusive<usize>> {
    let line_of = |at: usize| code[..at].matches('\n').count() + 1;
    let mut regions = Vec::new();
    for (start, _) in code.match_indices("#[cfg(test)]") {
        let mut depth = 0_usize;
        let end = code[start..].char_indices().find(|(_, c)| {
            match c {
                '{' => depth += 1,
                // One more than was opened is the end of what a last variant or arm stands in, and so its own.
                '}' => depth = depth.saturating_sub(1),
                _ => {}
            }
            depth == 0 && matches!(c, '}' | ';')
        });
        regions.push(line_of(start)..=line_of(end.map_or(code.len(), |(at, _)| start + at)));
    }
    regions
}

/// The first-level modules that code names, each with what follows its name. `depth` is the length of the file's own
/// module path: so many `super::` lead to the root.
pub(crate) fn imports(code: &str, depth: usize) -> Vec<(&str, &str)> {
    let mut found = Vec::new();
    let supers = "super::".repeat(depth);
    let starts = [("crate::", false), (supers.as_str(), true)];
    for (start, relative) in starts.into_iter().filter(|(start, _)| !start.is_empty()) {
        for (at, _) in code.match_indices(start) {
            // One `super::` more, or a longer word.
            if code[..at]
                .ends_with(|c: char| c.is_alphanumeric() || c == '_' || (relative && c == ':'))
            {
                continue;
            }
            let rest = &code[at + start.len()..];
            if let Some(group) = rest.strip_prefix('{') {
                found.extend(members(group).into_iter().map(split_name));
            } else if !rest.starts_with("super::") {
                found.push(split_name(rest));
            }
        }
    }
    found
}

/// The members of a `{…}` group, up to its end.
fn members(group: &str) -> Vec<&str> {
    let (mut depth, mut start, mut found) = (0_usize, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                found.push(group[start..at].trim());
                start = at + 1;
                if c == '}' {
                    return found;
                }
            }
            _ => {}
        }
    }
    found.push(group[start..].trim());
    found
}

fn split_name(path: &str) -> (&str, &str) {
    path.split_at(
        path.find(|c: char| !c.is_alphanumeric() && c != '_')
            .unwrap_or(path.len()),
    )
}

/// The line of `code` that `part`, a slice of it, stands on.
pub(crate) fn line_of(code: &str, part: &str) -> usize {
    let at = part.as_ptr() as usize - code.as_ptr() as usize;
    code[..at].matches('\n').count() + 1
}

/// The words of a line, each with its position.
pub(crate) fn words(line: &str) -> impl Iterator<Item = (usize, &str)> {
    line.split(|c: char| !c.is_alphanumeric() && c != '_')
        .filter(|word| !word.is_empty())
        .map(|word| (word.as_ptr() as usize - line.as_ptr() as usize, word))
}

#[test]
fn the_reader_of_source_reads_source() {
    let source = "a(\"x{\\\"\"); // b\nlet c = '\"'; /* d /* e */ f\n */ fn g<'h>(i: &'h str) {}\nlet j = r#\"k\" }\"#;\n";
    let expected = "a(      );     \nlet c =    ;               \n    fn g<'h>(i: &'h str) {}\nlet j =          ;\n";
    assert_eq!(code_of(source), expected);

    let found = |code, depth| -> Vec<String> {
        imports(code, depth)
            .into_iter()
            .map(|(name, rest)| format!("{name}{rest}"))
            .collect()
    };
    assert_eq!(
        found("use crate::cache::{Key, key};", 2),
        ["cache::{Key, key};"]
    );
    assert_eq!(
        found("x: crate::tls::A, y: crate::fields::B", 2),
        ["tls::A, y: crate::fields::B", "fields::B"]
    );
    assert_eq!(
        found("use crate::{cache::{a, b}, tls};", 2),
        ["cache::{a, b}", "tls"]
    );
    assert_eq!(found("use super::super::tls::A;", 2), ["tls::A;"]);
    assert_eq!(found("use super::tls::A;", 2), [""; 0]);

    let source = "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\nfn c() {}\n";
    let file = Source::new("src/x/y.rs".to_owned(), source.to_owned());
    let in_tests: Vec<usize> = (1..=6).filter(|&line| file.is_test(line)).collect();
    assert_eq!(in_tests, [2, 3, 4, 5]);
    assert_eq!(file.module(), ["x", "y"]);
}
