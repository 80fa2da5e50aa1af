//! What holds at a place of nginx's configuration: its own directives, then those of the blocks around it.

use super::note::{Kind, Notes};
use super::tree::Directive;
use super::value::{self, Part, Variables};

/// A place: the blocks around it and the variables that are constant there.
#[derive(Debug, Clone)]
pub(super) struct Scope<'a> {
    pub(super) notes: &'a Notes,
    /// The innermost first.
    levels: Vec<&'a [Directive]>,
    variables: Variables,
    /// What conditions may ask for, such as `$host`. Values keep the variable's name.
    known: Variables,
}

impl<'a> Scope<'a> {
    pub(super) fn new(notes: &'a Notes, directives: &'a [Directive]) -> Self {
        Self {
            notes,
            levels: Vec::new(),
            variables: Variables::new(),
            known: Variables::new(),
        }
        .within(directives)
    }

    /// A block in this place.
    pub(super) fn within(&self, directives: &'a [Directive]) -> Self {
        let mut inner = self.clone();
        inner.levels.insert(0, directives);
        for set in directives.iter().filter(|d| d.name == "set") {
            let Some(name) = set.arg(0).strip_prefix('$') else {
                continue;
            };
            if value::constant(set.arg(1), &inner.variables).is_some() {
                self.notes.seen(set);
            }
            let value = value::plain(set.arg(1), &inner.variables);
            inner.variables.insert(name.to_owned(), value);
        }
        // What is set under a condition is not known.
        let conditional = directives.iter().filter(|d| d.name == "if");
        for set in conditional.flat_map(Directive::inner) {
            if set.name == "set" {
                inner.variables.remove(set.arg(0).trim_start_matches('$'));
            }
        }
        inner
    }

    /// The same place, where a variable is known.
    pub(super) fn knowing(&self, name: &str, value: &str) -> Self {
        let mut known = self.clone();
        known.variables.insert(name.to_owned(), value.to_owned());
        known
    }

    /// The same place, where conditions may ask for a variable.
    pub(super) fn where_known(&self, name: &str, value: &str) -> Self {
        let mut known = self.clone();
        known.known.insert(name.to_owned(), value.to_owned());
        known
    }

    /// The value that a condition compares, where it is known.
    pub(super) fn compared(&self, text: &str) -> Option<String> {
        let known = text.strip_prefix('$').and_then(|name| self.known.get(name));
        known.cloned().or_else(|| self.constant(text))
    }

    /// The directives of this block.
    pub(super) fn own(&self) -> &'a [Directive] {
        self.levels.first().copied().unwrap_or_default()
    }

    /// All directives of this name on the nearest level that has any: what nginx inherits.
    pub(super) fn all(&self, name: &str) -> Vec<&'a Directive> {
        self.all_of(&[name])
    }

    /// The same for directives that are inherited together.
    pub(super) fn all_of(&self, names: &[&str]) -> Vec<&'a Directive> {
        let found = self.nearest(names);
        for directive in &found {
            self.notes.seen(directive);
        }
        found
    }

    /// The same, as long as it is not certain that something is made of them.
    pub(super) fn nearest(&self, names: &[&str]) -> Vec<&'a Directive> {
        for level in &self.levels {
            let found = level.iter().filter(|d| names.contains(&d.name.as_str()));
            let found: Vec<&Directive> = found.collect();
            if !found.is_empty() {
                return found;
            }
        }
        Vec::new()
    }

    /// The directive of this name in this very block, for those that are not inherited.
    pub(super) fn here(&self, name: &str) -> Option<&'a Directive> {
        let found = self.own().iter().rev().find(|d| d.name == name)?;
        self.notes.seen(found);
        Some(found)
    }

    /// The directive of this name on the nearest level that has it.
    pub(super) fn one(&self, name: &str) -> Option<&'a Directive> {
        self.all(name).pop()
    }

    /// Whether a switch is on.
    pub(super) fn is_on(&self, name: &str) -> bool {
        self.one(name)
            .is_some_and(|directive| directive.arg(0) == "on")
    }

    /// The value, where it is the same for every request.
    pub(super) fn constant(&self, text: &str) -> Option<String> {
        value::constant(text, &self.variables)
    }

    /// The value in pieces, constant variables filled in.
    pub(super) fn parts(&self, text: &str) -> Vec<Part> {
        value::parts(text, &self.variables)
    }

    /// The value in one spelling.
    pub(super) fn plain(&self, text: &str) -> String {
        value::plain(text, &self.variables)
    }

    pub(super) fn missing(&self, directive: &Directive, why: impl AsRef<str>) {
        self.notes.say(Kind::Missing, directive, why);
    }

    pub(super) fn differs(&self, directive: &Directive, why: impl AsRef<str>) {
        self.notes.say(Kind::Differs, directive, why);
    }

    pub(super) fn needless(&self, directive: &Directive, why: impl AsRef<str>) {
        self.notes.say(Kind::Needless, directive, why);
    }
}
