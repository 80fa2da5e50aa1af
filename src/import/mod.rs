//! From an `nginx.conf` to a `proxy.toml`, and a line about everything that did not come along.
//!
//! `source` reads files, `words` and `tree` nginx's syntax, `scope` what is inherited. `server` makes routes of servers, `location` of
//! their locations, `serve` says what each does, with `access` and `ask`, `limit`, `rewrite`, `files`, `header`, `cache` and `upstream`.
//! `expression` and `superset` turn regular expressions into paths. `document` writes.
//!
//! What is printed means what nginx did, as far as it can be said. Where it cannot, a note says so. Nothing that was guarded is
//! opened: what let in some clients only is answered 403, what nobody here can answer 501. Where not even that can be said,
//! the guard is lost ([`Imported::lost`]), and nothing is printed unless it is asked for.
//!
//! Before it is printed the text is loaded as any configuration is. What Forebay refuses of it is left out, and said.

mod source;
mod tree;
mod words;

mod note;
mod scope;
mod value;

mod expression;
mod listen;
mod location;
mod pattern;
mod server;
mod superset;

mod access;
mod ask;
mod cache;
mod condition;
mod files;
mod header;
mod limit;
mod pass;
mod rewrite;
mod serve;
mod upstream;

mod known;

mod check;
mod document;

#[cfg(test)]
mod tests;

use std::path::Path;

use note::{Kind, Notes};
use tree::Directive;

/// What an `nginx.conf` became.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// The whole file, notes at its head. It loads.
    pub toml: String,
    /// What wants attention, for a terminal.
    pub summary: String,
    /// How many directives refused requests that the file lets through. It must not be used unread.
    pub lost: usize,
}

/// Why there is nothing to print.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// A file that cannot be read.
    #[error("cannot read `{file}`: {source}")]
    Read {
        /// As it was named.
        file: String,
        /// Why.
        source: std::io::Error,
    },
    /// A file that is not nginx's.
    #[error("{file}:{line}: {message}")]
    Syntax {
        /// As it was named.
        file: String,
        /// From 1.
        line: usize,
        /// What was found.
        message: String,
    },
    /// What was made does not load, which is our mistake.
    #[error(
        "what was made of it is no valid configuration; please report this with the file:\n{0}"
    )]
    Invalid(String),
}

/// Reads an `nginx.conf` with its includes, and makes a `proxy.toml` of it.
///
/// # Errors
/// [`ImportError`]: a file that cannot be read, or is not nginx's.
pub fn nginx(path: &Path) -> Result<Imported, ImportError> {
    let tree = source::read(path)?;
    of_tree(&tree, &path.display().to_string())
}

fn of_tree(tree: &[Directive], name: &str) -> Result<Imported, ImportError> {
    let notes = Notes::default();
    let document = server::document(&notes, tree);
    known::sweep(&notes, tree);
    let text = check::passing(document, &notes)?;
    let toml = format!(
        "# Made of {name} by `forebay import`. What stands below is checked; what it means is yours to read.\n{}{text}",
        notes.comments(),
    );
    Ok(Imported {
        toml,
        summary: notes.summary(),
        lost: notes.count(Kind::Open),
    })
}
