//! `location`: what each matches, which one nginx would take, and the paths by which Forebay takes the same.
//!
//! nginx takes an exact location, else the longest prefix, unless one of the regular expressions comes before it in the file's
//! order. Forebay takes the longest literal beginning. So each regular expression becomes a pattern within each prefix that
//! lets it have its way; longer than that prefix, it is tried before it.

use super::document::{Action, Content, Rewrite};
use super::expression::{self, Compilation};
use super::pattern::literal_of;
use super::scope::Scope;
use super::serve::{Compiled, Site, compile};
use super::tree::Directive;

/// What a location is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Matches {
    /// `= /x`
    Exact(String),
    /// `/x`; with `^~` regular expressions are not asked.
    Prefix { path: String, stops: bool },
    /// `~ x`, `~* x`
    Regex { regex: String, any_case: bool },
    /// `@x`
    Named(String),
}

/// A location, wherever it stands.
#[derive(Debug, Clone)]
pub(super) struct Location<'a> {
    pub(super) matches: Matches,
    /// `None` for what a server does where no location matches.
    pub(super) directive: Option<&'a Directive>,
    pub(super) scope: Scope<'a>,
    /// The location that it is nested in.
    parent: Option<usize>,
}

/// A route without host and scheme.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Piece {
    pub(super) path: String,
    pub(super) methods: Vec<String>,
    pub(super) content: Content,
    pub(super) comment: String,
}

/// All locations of a server, nested ones included, and one for everything else.
pub(super) fn collect<'a>(server: &Scope<'a>) -> Vec<Location<'a>> {
    let mut all = Vec::new();
    collect_into(server, None, &mut all);
    let is_root = |location: &Location<'_>| matches!(&location.matches, Matches::Prefix { path, .. } if path == "/");
    if !all.iter().any(is_root) {
        all.push(Location {
            matches: Matches::Prefix {
                path: "/".to_owned(),
                stops: false,
            },
            directive: None,
            scope: server.clone(),
            parent: None,
        });
    }
    all
}

fn collect_into<'a>(scope: &Scope<'a>, parent: Option<usize>, all: &mut Vec<Location<'a>>) {
    for directive in scope.own().iter().filter(|d| d.name == "location") {
        scope.notes.seen(directive);
        let matches = matches(directive);
        let inner = scope.within(directive.inner());
        all.push(Location {
            matches,
            directive: Some(directive),
            scope: inner.clone(),
            parent,
        });
        collect_into(&inner, Some(all.len() - 1), all);
    }
}

fn matches(directive: &Directive) -> Matches {
    let (modifier, text) = match directive.args.as_slice() {
        [modifier, text, ..] => (modifier.as_str(), text.as_str()),
        [text] => ["^~", "~*", "~", "="]
            .into_iter()
            .find_map(|modifier| Some((modifier, text.strip_prefix(modifier)?)))
            .unwrap_or(("", text.as_str())),
        [] => ("", "/"),
    };
    let regex = |any_case| Matches::Regex {
        regex: text.to_owned(),
        any_case,
    };
    match modifier {
        "~" => regex(false),
        "~*" => regex(true),
        _ if text.starts_with('@') => Matches::Named(text.to_owned()),
        // A star is a pattern's here.
        _ if text.contains('*') => Matches::Regex {
            regex: quoted(text) + if modifier == "=" { "$" } else { "" },
            any_case: false,
        },
        "=" => Matches::Exact(encoded(text)),
        _ => Matches::Prefix {
            path: encoded(text),
            stops: modifier == "^~",
        },
    }
}

/// The regular expression of paths that begin with this text.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '/';
    let chars = text.chars().map(|c| match c {
        c if plain(c) => c.to_string(),
        c if c.is_ascii() => format!("\\{c}"),
        c => c.to_string(),
    });
    format!("^{}", chars.collect::<String>())
}

/// nginx compares decoded paths, Forebay encoded ones.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 1);
    if !text.starts_with('/') {
        out.push('/');
    }
    for byte in text.bytes() {
        if byte.is_ascii_graphic() && !b"?#\\\"<>^`{|}%".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.extend(percent(byte));
        }
    }
    out
}

/// A byte percent-encoded.
pub(super) fn percent(byte: u8) -> [char; 3] {
    let digit = |value: u8| char::from(b"0123456789ABCDEF"[usize::from(value & 15)]);
    ['%', digit(byte >> 4), digit(byte)]
}

/// The location that nginx takes for this path, regular expressions left aside.
pub(super) fn locate(locations: &[Location<'_>], path: &str) -> Option<usize> {
    let exact = |l: &Location<'_>| matches!(&l.matches, Matches::Exact(exact) if exact == path);
    if let Some(at) = locations.iter().position(exact) {
        return Some(at);
    }
    let length = |l: &Location<'_>| match &l.matches {
        Matches::Prefix { path: prefix, .. } if path.starts_with(prefix) => Some(prefix.len()),
        _ => None,
    };
    let found = locations.iter().enumerate();
    let found = found.filter_map(|(at, location)| Some((length(location)?, at)));
    found
        .max_by_key(|(length, at)| (*length, usize::MAX - at))
        .map(|(_, at)| at)
}

/// The location of this name.
pub(super) fn named(locations: &[Location<'_>], name: &str) -> Option<usize> {
    let is_it = |l: &Location<'_>| matches!(&l.matches, Matches::Named(own) if own == name);
    locations.iter().position(is_it)
}

/// The routes of a server's locations.
pub(super) fn pieces(site: &Site<'_>, locations: &[Location<'_>]) -> Vec<Piece> {
    let compiled: Vec<Compiled> = (0..locations.len())
        .map(|at| compile(site, locations, at))
        .collect();
    let all = Compilation {
        locations,
        compiled: &compiled,
    };
    let mut pieces = Vec::new();
    for (at, location) in locations.iter().enumerate() {
        match &location.matches {
            Matches::Exact(path) => exact(all, at, path, &mut pieces),
            Matches::Prefix { path, .. } => {
                let before = having_their_way(locations, at);
                // A prefix that is rewritten goes by whole segments, and comes before patterns of its length.
                let slash = if is_rewritten(&compiled[at]) && !path.ends_with('/') {
                    "/"
                } else {
                    ""
                };
                all.within(at, &format!("{path}{slash}"), &before, &mut pieces);
                prefix(all, at, path, &before, &mut pieces);
            }
            Matches::Regex { .. } | Matches::Named(_) => {}
        }
    }
    for (location, compiled) in locations.iter().zip(&compiled) {
        expression::judge(location, compiled);
    }
    pieces
}

fn is_rewritten(compiled: &Compiled) -> bool {
    let mut contents = compiled.main.iter().map(|(_, content)| content);
    contents.any(|content| content.rewrite != Rewrite::None)
}

/// The regular expressions that come before this prefix, in nginx's order: those within it, then those beside it, unless it
/// stops them, then those beside what it is nested in.
fn having_their_way(locations: &[Location<'_>], at: usize) -> Vec<usize> {
    let siblings = |parent: Option<usize>| {
        let all = locations.iter().enumerate();
        all.filter(move |(_, l)| l.parent == parent && matches!(l.matches, Matches::Regex { .. }))
            .map(|(at, _)| at)
    };
    let mut all: Vec<usize> = siblings(Some(at)).collect();
    let mut here = Some(at);
    while let Some(location) = here.and_then(|at| locations.get(at)) {
        if !matches!(location.matches, Matches::Prefix { stops: true, .. }) {
            all.extend(siblings(location.parent));
        }
        here = location.parent;
    }
    all
}

impl Location<'_> {
    /// What stands above its routes.
    pub(super) fn comment(&self) -> String {
        match self.directive {
            Some(directive) => format!("{} {directive}", directive.place()),
            None => "what no location is for".to_owned(),
        }
    }
}

fn exact(all: Compilation<'_, '_>, at: usize, path: &str, pieces: &mut Vec<Piece>) {
    let (Some(location), Some(compiled)) = (all.locations.get(at), all.compiled.get(at)) else {
        return;
    };
    let is_rewritten = is_rewritten(compiled);
    // A path that is rewritten is a prefix here; what lies below it is another location's.
    let owner = locate(all.locations, &format!("{path}/")).filter(|_| is_rewritten);
    if let Some((at, owner)) = owner.and_then(|at| Some((at, all.compiled.get(at)?))) {
        let below = format!("{}/", path.trim_end_matches('/'));
        let before = having_their_way(all.locations, at);
        for (methods, content) in &owner.main {
            let is_lost = content.rewrite != Rewrite::None;
            if let (true, Some(directive)) = (is_lost, location.directive) {
                location.scope.missing(
                    directive,
                    format!("a path that is rewritten is a prefix here; what lies below `{below}` is answered 501"),
                );
            }
            let piece = Piece {
                path: format!("{below}**"),
                methods: methods.clone(),
                content: if is_lost {
                    Content::status(501)
                } else {
                    content.clone()
                },
                comment: all.locations[at].comment(),
            };
            all.add(piece, &before, pieces);
        }
    }
    for (methods, content) in &compiled.main {
        pieces.push(Piece {
            path: format!("{}{path}", if is_rewritten { "" } else { "=" }),
            methods: methods.clone(),
            content: content.clone(),
            comment: location.comment(),
        });
    }
}

fn prefix(
    all: Compilation<'_, '_>,
    at: usize,
    path: &str,
    before: &[usize],
    pieces: &mut Vec<Piece>,
) {
    let (Some(location), Some(own)) = (all.locations.get(at), all.compiled.get(at)) else {
        return;
    };
    for sub in &own.subs {
        // What another location is for never gets here.
        if locate(all.locations, literal_of(sub.path.trim_start_matches('='))) != Some(at) {
            continue;
        }
        let piece = Piece {
            comment: location.comment(),
            ..sub.clone()
        };
        all.add(piece, before, pieces);
    }
    // All of them have one path, or one would be asked before the others.
    let is_rewritten = is_rewritten(own);
    let is_forwarded = own
        .main
        .iter()
        .any(|(_, content)| matches!(content.action, Action::To(_)));
    let ends_with_slash = path.ends_with('/');
    let goes_by_segments = ends_with_slash && (is_forwarded || own.is_guarded);
    let is_prefix = path == "/" || is_rewritten || goes_by_segments;
    for (methods, content) in &own.main {
        let written = if is_prefix {
            // What is guarded is so without its slash, too: nginx redirects there, and an application answers the same.
            path.to_owned()
        } else {
            // `location /a` is for `/ab`, too, and `location /a/` not for `/a`.
            format!("{path}**")
        };
        let takes_bare = ends_with_slash && path != "/" && is_prefix && !own.is_guarded;
        if takes_bare {
            bare(all, at, path, is_forwarded, pieces);
        }
        if let (true, false, Some(directive)) = (is_rewritten, ends_with_slash, location.directive)
        {
            location.scope.differs(
                directive,
                format!("prefixes that are rewritten go by whole segments: `{path}` and what lies below `{path}/`, and not `{path}x`"),
            );
        }
        let piece = Piece {
            path: written,
            methods: methods.clone(),
            content: content.clone(),
            comment: location.comment(),
        };
        if is_prefix {
            pieces.push(piece);
        } else {
            all.add(piece, before, pieces);
        }
    }
    if is_rewritten && !ends_with_slash && own.is_guarded {
        let piece = Piece {
            path: format!("{path}**"),
            methods: Vec::new(),
            content: Content::status(403),
            comment: format!("{}: `{path}x` is guarded, too", location.comment()),
        };
        all.add(piece, before, pieces);
    }
}

/// `/api` where the location is `/api/`: Forebay's prefix takes it along, nginx redirects it, or gives it to another location.
fn bare(
    all: Compilation<'_, '_>,
    at: usize,
    path: &str,
    is_forwarded: bool,
    pieces: &mut Vec<Piece>,
) {
    let (locations, compiled) = (all.locations, all.compiled);
    let bare = path.trim_end_matches('/');
    let exact = format!("={bare}");
    if bare.is_empty() || pieces.iter().any(|piece| piece.path == exact) {
        return;
    }
    let Some(location) = locations.get(at) else {
        return;
    };
    let owner = locate(locations, bare).filter(|owner| *owner != at);
    let owner = owner.and_then(|at| Some((locations.get(at)?, compiled.get(at)?)));
    match owner.map(|(owner, compiled)| (&owner.matches, owner, compiled)) {
        Some((Matches::Exact(_), ..)) => {}
        Some((Matches::Prefix { path: other, .. }, owner, compiled)) if other == bare => {
            for (methods, content) in &compiled.main {
                pieces.push(Piece {
                    path: exact.clone(),
                    methods: methods.clone(),
                    content: Content {
                        rewrite: Rewrite::None,
                        ..content.clone()
                    },
                    comment: owner.comment(),
                });
            }
        }
        _ if is_forwarded => pieces.push(Piece {
            path: exact,
            methods: Vec::new(),
            content: Content::of(Action::Redirect {
                to: format!("{path}{{query}}"),
                status: 301,
            }),
            comment: format!("{}: nginx redirects `{bare}` to it", location.comment()),
        }),
        _ => {
            if let Some(directive) = location.directive {
                location.scope.differs(
                    directive,
                    format!("`{bare}`, without its slash, is taken, too, and redirected; nginx gives it to another location"),
                );
            }
        }
    }
}
