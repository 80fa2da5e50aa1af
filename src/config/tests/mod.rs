//! Tests of the room as a whole, under fixed surroundings: no environment of the machine shows in them.

mod golden;
mod include;
mod reference;
mod robust;

use super::error::{ConfigErrors, Finding, Report};
use super::source::{Source, Sources};
use super::tree::{self, Table};
use super::{Loaded, Surroundings, effective, load_within};

const VARIABLES: [(&str, &str); 4] = [
    ("APP", "app"),
    ("N", "3"),
    ("EMPTY", ""),
    ("EVIL", "x\"\n[admin]\nlisten = \"0.0.0.0:1\""),
];

fn variable(name: &str) -> Option<String> {
    let found = VARIABLES.iter().find(|(known, _)| *known == name);
    found.map(|(_, value)| (*value).to_owned())
}

fn load(text: &str, name: &str) -> Result<Loaded, ConfigErrors> {
    let around = Surroundings {
        variable: &variable,
        host_name: "edge-1".to_owned(),
        cores: 2,
    };
    load_within(text, name, &around)
}

/// Asserts that settings survive being written and read, and returns what was written.
fn round_trip(loaded: &Loaded) -> String {
    let mut settings = loaded.settings.clone();
    // What was written is one file, whatever the settings came from.
    settings.server.sources.clear();
    let written = effective(&settings);
    match load(&written, "effective.toml") {
        Ok(again) => {
            assert_eq!(again.settings, settings, "{written}");
            // Saying a default aloud is nothing to remark on.
            let known = |note: &Finding| loaded.notes.iter().any(|n| n.message == note.message);
            assert!(again.notes.iter().all(known), "{:?}", again.notes);
        }
        Err(errors) => panic!("{errors}\n\nin\n\n{written}"),
    }
    written
}

/// The tree of a text that has no syntax errors.
fn tree_of(text: &str) -> Table {
    let mut sources = Sources::default();
    let source = sources.add(Source {
        name: "proxy.toml".to_owned(),
        text: text.to_owned(),
        path: None,
    });
    let report = Report::default();
    tree::parse(source, text, &variable, &report).unwrap_or_default()
}
