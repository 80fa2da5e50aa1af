//! Holds docs/replace-nginx.md to `forebay import`: what the page shows as its output is its output.

use super::{Block, blocks, pages};
use forebay::import::{self, Imported};
use std::fs;

fn page() -> Vec<Block> {
    let page = pages()
        .into_iter()
        .find(|page| page.name == "docs/replace-nginx.md");
    blocks(&page.expect("the page is there"))
}

fn imported(nginx: &str) -> Imported {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("nginx.conf");
    fs::write(&path, nginx).expect("it can be written");
    let mut made = import::nginx(&path).expect("it is nginx's");
    made.toml = made.toml.replace(&format!("{}/", dir.path().display()), "");
    made
}

/// What is in force of a file: its lines without comments and empty ones.
fn in_force(toml: &str) -> Vec<&str> {
    let lines = toml.lines().map(str::trim_end);
    lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect()
}

#[test]
fn the_file_beside_the_nginx_conf_is_what_import_prints() {
    let blocks = page();
    let at = blocks
        .iter()
        .position(|block| block.info == "nginx")
        .expect("an nginx.conf");
    let made = imported(&blocks[at].text);
    let shown = blocks[at..]
        .iter()
        .find(|block| block.info == "toml")
        .expect("a proxy.toml");
    assert_eq!(
        in_force(&shown.text),
        in_force(&made.toml),
        "{}\n{}",
        shown.place,
        made.toml
    );
}

#[test]
fn the_notes_that_are_shown_are_printed() {
    let blocks = page();
    let nginx = blocks
        .iter()
        .find(|block| block.info == "nginx")
        .expect("an nginx.conf");
    let made = imported(&nginx.text);
    let shown = blocks
        .iter()
        .find(|block| block.info == "text")
        .expect("some notes");
    for line in shown.text.lines().filter(|line| !line.trim().is_empty()) {
        assert!(
            made.toml.contains(line),
            "{}: {line}\nis not in\n{}",
            shown.place,
            made.toml
        );
    }
}

/// Every fragment of nginx's in the page and its counterpart: both are read.
#[test]
fn every_fragment_of_nginx_is_understood() {
    for block in page().iter().filter(|block| block.info == "nginx") {
        let made = imported(&block.text);
        assert!(
            !made.toml.contains("not known here"),
            "{}\n{}",
            block.place,
            made.toml
        );
    }
}
