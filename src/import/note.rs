//! What is said about directives that did not become a line of the `proxy.toml`, and which of them have been looked at.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt::Write;

use super::tree::Directive;

/// How much a reader has to do with a note, the most first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// It protected something, and does not any more.
    Open,
    /// It protected something, which is closed now.
    Access,
    /// It has no counterpart, or none that is exact enough.
    Missing,
    /// It was carried over, and what came of it is not the same in every case.
    Differs,
    /// It is how Forebay works anyway, or says nothing to it.
    Needless,
}

impl Kind {
    const ALL: [Self; 5] = [
        Self::Open,
        Self::Access,
        Self::Missing,
        Self::Differs,
        Self::Needless,
    ];

    fn heading(self) -> &'static str {
        match self {
            Self::Open => "GUARDS THAT ARE LOST. What they refused IS LET THROUGH by this file:",
            Self::Access => {
                "ACCESS CONTROL THAT IS NOT CARRIED OVER. What it guarded is answered 403, unless the line says otherwise."
            }
            Self::Missing => "Not carried over:",
            Self::Differs => "Carried over, with a difference:",
            Self::Needless => "Needs nothing here:",
        }
    }

    fn count(self, count: usize) -> String {
        let lines = if count == 1 { "line" } else { "lines" };
        match self {
            Self::Open => format!("{count} {lines} that refused requests and would NOT any more"),
            Self::Access => format!("{count} {lines} of access control NOT carried over"),
            Self::Missing => format!("{count} {lines} not carried over"),
            Self::Differs => format!("{count} {lines} carried over with a difference"),
            Self::Needless => format!("{count} {lines} that need nothing"),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Note {
    kind: Kind,
    /// Directives are numbered in the order in which they are read.
    id: usize,
    place: String,
    text: String,
}

/// All notes of one import.
#[derive(Debug, Default)]
pub(super) struct Notes {
    notes: RefCell<BTreeSet<Note>>,
    seen: RefCell<BTreeSet<usize>>,
}

impl Notes {
    /// This directive has been looked at: it is carried over, or a note says more.
    pub(super) fn seen(&self, directive: &Directive) {
        self.seen.borrow_mut().insert(directive.id);
    }

    /// The same of a block and all that stands in it: what is said of the block is said of them.
    pub(super) fn seen_with_all(&self, directive: &Directive) {
        self.seen(directive);
        for inner in directive.inner() {
            self.seen_with_all(inner);
        }
    }

    pub(super) fn was_seen(&self, directive: &Directive) -> bool {
        self.seen.borrow().contains(&directive.id)
    }

    /// Says why a directive is not, or not quite, carried over, and what to do.
    pub(super) fn say(&self, kind: Kind, directive: &Directive, why: impl AsRef<str>) {
        self.seen(directive);
        let why: String = why
            .as_ref()
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        self.notes.borrow_mut().insert(Note {
            kind,
            id: directive.id,
            place: one_line(&directive.place()),
            text: format!("{}: {why}", one_line(&directive.to_string())),
        });
    }

    /// How many notes of a kind there are.
    pub(super) fn count(&self, kind: Kind) -> usize {
        let notes = self.notes.borrow();
        notes.iter().filter(|note| note.kind == kind).count()
    }

    /// Says that Forebay does not take what was made of something.
    pub(super) fn refused(&self, kind: Kind, what: &str, why: &str) {
        self.notes.borrow_mut().insert(Note {
            kind,
            id: usize::MAX,
            place: one_line(what),
            text: format!("left out, for Forebay does not take it: {}", one_line(why)),
        });
    }

    /// Everything, as comments at the head of a file.
    pub(super) fn comments(&self) -> String {
        self.listed(&Kind::ALL, "# ")
    }

    /// What wants attention, for standard error.
    pub(super) fn summary(&self) -> String {
        let mut text = self.listed(&[Kind::Open, Kind::Access, Kind::Missing], "");
        let counts: Vec<String> = Kind::ALL
            .into_iter()
            .filter_map(|kind| {
                let count = self.count(kind);
                (count > 0).then(|| kind.count(count))
            })
            .collect();
        if !counts.is_empty() {
            let _ = writeln!(
                text,
                "{}; each is listed at the head of the file",
                counts.join(", ")
            );
        }
        text
    }

    fn listed(&self, kinds: &[Kind], prefix: &str) -> String {
        let notes = self.notes.borrow();
        let mut text = String::new();
        for &kind in kinds {
            let mut of_kind = notes.iter().filter(|note| note.kind == kind).peekable();
            if of_kind.peek().is_none() {
                continue;
            }
            let _ = writeln!(text, "{}", prefix.trim_end());
            let _ = writeln!(text, "{prefix}{}", kind.heading());
            for note in of_kind {
                let _ = writeln!(text, "{prefix}  {}: {}", note.place, note.text);
            }
        }
        text
    }
}

fn one_line(text: &str) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().map(plain).collect()
}
