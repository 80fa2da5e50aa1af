//! From `proxy.toml` to settings, or to all of its errors at once, each with line, column and remedy.
//!
//! The way of a file: `include` reads it and what it includes, `tree` makes values with places of it and fills in the
//! environment, `file` reads each section, `resolve` checks what concerns several of them. None of these stops at an
//! error. `effective` is the way back: settings as a `proxy.toml` that says everything.

mod search;
mod secret;
mod source;

mod error;

mod include;
mod interpolate;
mod tree;

mod file;

mod https;
mod rates;
mod resolve;

mod defaults;

mod effective;

pub mod settings;

#[cfg(test)]
mod tests;

use std::path::Path;

pub use effective::{effective, without_secrets};
pub use error::{ConfigErrors, Finding};
pub use search::{FindError, find, from_url, override_listen};
pub use secret::is_secret_field;
pub use source::Location;

use crate::admin::settings::AdminSettings;
use error::Report;
use include::Loader;
pub use include::matching;
use settings::Settings;
use tree::Table;

/// Settings, and what is lawful in their file but probably not meant.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// Complete and checked.
    pub settings: Settings,
    /// Worth a warning at start and in `forebay check`.
    pub notes: Vec<Finding>,
}

/// Loads a file and everything it includes.
///
/// # Errors
/// All that is wrong, at once. Nothing has been applied then.
pub fn load(path: &Path) -> Result<Settings, ConfigErrors> {
    load_with_notes(path).map(|loaded| loaded.settings)
}

/// Loads a file like [`load`], and keeps the notes.
///
/// # Errors
/// As [`load`].
pub fn load_with_notes(path: &Path) -> Result<Loaded, ConfigErrors> {
    let around = Surroundings::of_this_process();
    let mut loader = Loader::new(around.variable);
    let root = loader.file(path)?;
    finish(loader, &root, &around)
}

/// Loads a text as if it were the file `name`; `include` is relative to that name's directory.
///
/// # Errors
/// As [`load`].
pub fn load_str(text: &str, name: &str) -> Result<Settings, ConfigErrors> {
    let around = Surroundings::of_this_process();
    load_within(text, name, &around).map(|loaded| loaded.settings)
}

/// `[admin]` of a file that has errors, so that the proxy that runs on it can be told of them. `None` where the errors are
/// in that section too, or where the file cannot be read.
pub fn admin_despite_errors(path: &Path) -> Option<AdminSettings> {
    let around = Surroundings::of_this_process();
    let mut loader = Loader::new(around.variable);
    let root = loader.file(path).ok()?;
    let report = Report::default();
    let admin = file::read_admin(&root, &report)?;
    report.finish(&loader.sources).is_ok().then_some(admin)
}

/// Every key of `proxy.toml`, as "section.key" or "section.key.key": "server.name", "route.cache.ttl".
pub fn keys() -> Vec<String> {
    fn walk(prefix: &str, keys: &[file::Key], all: &mut Vec<String>) {
        for key in keys {
            let path = format!("{prefix}{}", key.name);
            all.push(path.clone());
            walk(&format!("{path}."), key.inner, all);
        }
    }
    let mut all = Vec::new();
    walk("", file::KEYS, &mut all);
    all
}

/// What settings depend on besides the text: the environment and the machine. Fixed in tests.
struct Surroundings<'a> {
    variable: &'a dyn Fn(&str) -> Option<String>,
    host_name: String,
    cores: usize,
}

impl Surroundings<'_> {
    fn of_this_process() -> Self {
        Self {
            variable: &|name| std::env::var(name).ok(),
            host_name: defaults::host_name(),
            cores: defaults::cores(),
        }
    }
}

fn load_within(text: &str, name: &str, around: &Surroundings<'_>) -> Result<Loaded, ConfigErrors> {
    let mut loader = Loader::new(around.variable);
    let root = loader.text(text, name);
    finish(loader, &root, around)
}

fn finish(
    loader: Loader<'_>,
    root: &Table,
    around: &Surroundings<'_>,
) -> Result<Loaded, ConfigErrors> {
    let Loader {
        sources,
        report,
        complete,
        ..
    } = loader;
    let mut settings = defaults::settings(around);
    if complete {
        let file = file::read(root, around, &report);
        settings = resolve::resolve(file, around, &sources, &report);
    }
    let notes = report.finish(&sources)?;
    Ok(Loaded { settings, notes })
}
