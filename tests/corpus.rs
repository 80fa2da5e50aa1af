//! The corpora of `fuzz/` as ordinary tests: each input that the fuzzers found worth keeping, through its target. What once broke
//! something, or led somewhere new, is tried with every change, without a fuzzer.

#[path = "../fuzz/src/lib.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    clippy::pedantic,
    clippy::unwrap_used,
    reason = "a crate of its own, with its own manifest, which is included here"
)]
mod properties;

use std::collections::BTreeSet;
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

/// Where the corpora are, each in a directory called like its target.
const CORPUS: &str = "fuzz/corpus";

/// All of them together, in octets: they are read with every change, and by everybody who clones.
const OCTETS_MAX: u64 = 2 * 1024 * 1024;

fn entries(directory: &Path) -> Vec<PathBuf> {
    let mut found: Vec<_> = fs::read_dir(directory)
        .unwrap_or_else(|error| panic!("{}: {error}", directory.display()))
        .map(|entry| entry.expect("an entry of a directory").path())
        .collect();
    found.sort();
    found
}

fn stems(paths: &[PathBuf]) -> BTreeSet<String> {
    let name = |path: &PathBuf| path.file_stem().map(|it| it.to_string_lossy().into_owned());
    paths.iter().filter_map(name).collect()
}

/// Every input of a target's corpus.
fn replay(target: &str) {
    let found = properties::TARGETS.iter().find(|(name, _)| *name == target);
    let (_, run) = found.unwrap_or_else(|| panic!("no target {target}"));
    let inputs = entries(&Path::new(CORPUS).join(target));
    assert!(inputs.len() >= 10, "{target}: only {}", inputs.len());
    for input in inputs {
        let data = fs::read(&input).expect("an input");
        let outcome = catch_unwind(|| run(&data));
        assert!(outcome.is_ok(), "{} breaks it", input.display());
    }
}

macro_rules! replays {
    ($($target:ident)*) => {
        /// Those with a test below.
        const REPLAYED: &[&str] = &[$(stringify!($target)),*];

        $(#[test]
        fn $target() {
            replay(stringify!($target));
        })*
    };
}

replays! {
    cache_control chunked_body config connection cookies dates differential directives etags express forwarded http2_head import key names parts
    paths proxy_protocol ranges request_head tags vary
}

/// A target without a program, a dictionary, a corpus or a replay is one that somebody forgot.
#[test]
fn every_target_has_all_that_belongs_to_it() {
    let targets: BTreeSet<_> = properties::TARGETS
        .iter()
        .map(|(name, _)| (*name).to_owned())
        .collect();
    let replayed: BTreeSet<_> = REPLAYED.iter().map(|&it| it.to_owned()).collect();
    assert_eq!(replayed, targets, "replayed in this file");
    for directory in ["fuzz/fuzz_targets", "fuzz/dictionaries", CORPUS] {
        assert_eq!(
            stems(&entries(Path::new(directory))),
            targets,
            "{directory}"
        );
    }
    let manifest = fs::read_to_string("fuzz/Cargo.toml").expect("a manifest");
    for target in &targets {
        let line = format!("name = \"{target}\"");
        assert!(manifest.contains(&line), "fuzz/Cargo.toml has no {target}");
    }
}

#[test]
fn the_corpora_are_small() {
    let octets: u64 = entries(Path::new(CORPUS))
        .iter()
        .flat_map(|directory| entries(directory))
        .map(|input| fs::metadata(input).expect("an input").len())
        .sum();
    assert!(octets <= OCTETS_MAX, "{octets} octets: make fuzz-minimise");
}
