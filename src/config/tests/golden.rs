//! `tests/golden/*.txt`: a `proxy.toml`, a line of dashes, then what it means or what is wrong with it.
//!
//! What it means is the part of the effective settings that differs from the defaults, then the notes. After a change
//! that is meant, `UPDATE_GOLDEN=1 cargo test --lib golden` writes the files anew; read the difference.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::Path;

use super::{Loaded, effective, load, round_trip};

const DIRECTORY: &str = "tests/golden";
const DASHES: &str = "\n----------\n";

#[test]
fn golden_files_are_what_they_were() -> std::io::Result<()> {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut differing = Vec::new();
    let mut count = 0;
    for entry in fs::read_dir(DIRECTORY)? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "txt") {
            continue;
        }
        count += 1;
        let text = fs::read_to_string(&path)?;
        let (input, expected) = text.split_once(DASHES).unwrap_or((&text, ""));
        let actual = outcome(input);
        if update {
            let input = input.trim_end();
            fs::write(&path, format!("{input}\n{DASHES}{actual}"))?;
        } else if actual != expected {
            differing.push(format!(
                "{}\n--- expected\n{expected}\n--- actual\n{actual}",
                path.display()
            ));
        }
    }
    assert!(count >= 20, "only {count} golden files in {DIRECTORY}");
    assert!(differing.is_empty(), "{}", differing.join("\n"));
    Ok(())
}

/// The part of the effective settings that matters, or the errors.
fn outcome(input: &str) -> String {
    let name = Path::new(DIRECTORY).join("proxy.toml");
    let text = match load(input, &name.to_string_lossy()) {
        Err(errors) => format!("{errors}\n"),
        Ok(loaded) => {
            let mut text = changed(&round_trip(&loaded));
            for note in &loaded.notes {
                writeln!(text, "note: {note}").expect("writing to a String cannot fail");
            }
            text
        }
    };
    text.replace(&format!("{DIRECTORY}/"), "")
}

/// The lines of effective settings that are not the defaults'. Headers of lists stay, for they say how many.
fn changed(written: &str) -> String {
    let defaults = defaults();
    let mut out = String::new();
    for (header, lines) in sections(written) {
        let known = defaults.get(&general(header)).cloned().unwrap_or_default();
        let lines: Vec<&str> = lines.into_iter().filter(|l| !known.contains(*l)).collect();
        let is_list = header.starts_with("[[")
            || ["[upstream.*]", "[rate_limit.*]"].contains(&&*general(header));
        if is_list || !lines.is_empty() {
            writeln!(out, "{header}").expect("writing to a String cannot fail");
        }
        for line in lines {
            writeln!(out, "{line}").expect("writing to a String cannot fail");
        }
    }
    out
}

/// The lines that each kind of section has by default.
fn defaults() -> BTreeMap<String, BTreeSet<String>> {
    let text = "[[listen]]\naddr = '0.0.0.0:1'\n[upstream.x]\nservers = ['http://x']\n\
                [rate_limit.x]\nrate = '1/s'\n[[route]]\nname = 'x'\nto = 'x'";
    let Ok(Loaded { settings, .. }) = load(text, "defaults.toml") else {
        panic!("the default settings must load");
    };
    let written = effective(&settings);
    let sections = sections(&written).into_iter().map(|(header, lines)| {
        let lines = lines.into_iter().map(str::to_owned).collect();
        (general(header), lines)
    });
    sections.collect()
}

fn sections(written: &str) -> Vec<(&str, Vec<&str>)> {
    let mut sections: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in written.lines().filter(|line| !line.is_empty()) {
        match sections.last_mut() {
            Some((_, lines)) if !line.starts_with('[') => lines.push(line),
            _ => sections.push((line, Vec::new())),
        }
    }
    sections
}

/// `[upstream.api.retry]` is one of `[upstream.*.retry]`.
fn general(header: &str) -> String {
    if header.starts_with("[rate_limit.") {
        return "[rate_limit.*]".to_owned();
    }
    if !header.starts_with("[upstream.") {
        return header.to_owned();
    }
    let part = ["retry", "timeouts"]
        .into_iter()
        .find(|part| header.ends_with(&format!(".{part}]")));
    part.map_or_else(
        || "[upstream.*]".to_owned(),
        |part| format!("[upstream.*.{part}]"),
    )
}
