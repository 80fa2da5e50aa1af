//! `location`: what each matches, which one nginx would take, and the paths by which Forebay takes the same.
//!
//! nginx takes an exact location, else the longest prefix, unless one of the regular expressions comes before it in the file's
//! order. Forebay takes the longest literal beginning. So each regular expression becomes a pattern within each prefix that
//! lets it have its way; longer than that prefix, it is tried before it.

use super::document::{Action, Content, Rewrite};
use super::note::Kind;
use super::pattern::{below, cautious, globs, literal_of};
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
        let Some(matches) = matches(directive) else {
            scope.missing(directive, "the path holds a `*`, which is a pattern here");
            continue;
        };
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

fn matches(directive: &Directive) -> Option<Matches> {
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
    Some(match modifier {
        "~" => regex(false),
        "~*" => regex(true),
        _ if text.starts_with('@') => Matches::Named(text.to_owned()),
        "=" => Matches::Exact(encoded(text)?),
        _ => Matches::Prefix {
            path: encoded(text)?,
            stops: modifier == "^~",
        },
    })
}

/// nginx compares decoded paths, Forebay encoded ones. `None` for what would be a pattern.
fn encoded(text: &str) -> Option<String> {
    if text.contains('*') {
        return None;
    }
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
    Some(out)
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
    let mut pieces = Vec::new();
    for (at, location) in locations.iter().enumerate() {
        match &location.matches {
            Matches::Exact(path) => exact(location, path, &compiled[at], &mut pieces),
            Matches::Prefix { path, .. } => {
                let own = &compiled[at].main;
                let is_rewritten = own
                    .iter()
                    .any(|(_, content)| content.rewrite != Rewrite::None);
                // A prefix that is rewritten goes by whole segments, and comes before patterns of its length.
                let slash = if is_rewritten && !path.ends_with('/') {
                    "/"
                } else {
                    ""
                };
                for regex in having_their_way(locations, at) {
                    if compiled[regex].main != *own {
                        let prefix = format!("{path}{slash}");
                        patterns(locations, regex, &prefix, &compiled[regex], &mut pieces);
                    }
                }
                prefix(locations, at, path, &compiled, &mut pieces);
            }
            Matches::Regex { .. } | Matches::Named(_) => {}
        }
    }
    for (at, location) in locations.iter().enumerate() {
        if let Matches::Regex { regex, any_case } = &location.matches {
            judge(location, regex, *any_case, &compiled[at]);
            order(locations, at);
        }
    }
    pieces
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

fn comment(location: &Location<'_>) -> String {
    match location.directive {
        Some(directive) => format!("{} {directive}", directive.place()),
        None => "what no location is for".to_owned(),
    }
}

fn exact(location: &Location<'_>, path: &str, compiled: &Compiled, pieces: &mut Vec<Piece>) {
    for (methods, content) in &compiled.main {
        let is_rewritten = content.rewrite != Rewrite::None;
        if let (true, Some(directive)) = (is_rewritten, location.directive) {
            location.scope.differs(
                directive,
                format!("a path that is rewritten is a prefix here, so what lies below `{path}/` is taken, too"),
            );
        }
        pieces.push(Piece {
            path: format!("{}{path}", if is_rewritten { "" } else { "=" }),
            methods: methods.clone(),
            content: content.clone(),
            comment: comment(location),
        });
    }
}

/// What a regular expression takes of a prefix.
fn patterns(
    locations: &[Location<'_>],
    regex: usize,
    prefix: &str,
    compiled: &Compiled,
    pieces: &mut Vec<Piece>,
) {
    let Some(location) = locations.get(regex) else {
        return;
    };
    let Matches::Regex { regex, .. } = &location.matches else {
        return;
    };
    let cautiously = || compiled.is_guarded.then(|| cautious(regex)).flatten();
    let Some(globs) = globs(regex).or_else(cautiously) else {
        return;
    };
    for pattern in globs.patterns {
        for path in below(&pattern, prefix) {
            // A longer prefix has its own copy, or stops it.
            let literal = literal_of(&path);
            let is_anothers = |l: &Location<'_>| matches!(&l.matches, Matches::Prefix { path, .. } if path.len() > prefix.len() && literal.starts_with(path.as_str()));
            let is_exact = !path.contains('*');
            let is_taken = is_exact
                && locations
                    .iter()
                    .any(|l| matches!(&l.matches, Matches::Exact(exact) if *exact == path));
            let sign = if is_exact { "=" } else { "" };
            let path = format!("{sign}{path}");
            let is_there = pieces.iter().any(|piece| piece.path == path);
            if locations.iter().any(is_anothers) || is_taken || is_there {
                continue;
            }
            for (methods, content) in &compiled.main {
                pieces.push(Piece {
                    path: path.clone(),
                    methods: methods.clone(),
                    content: content.clone(),
                    comment: comment(location),
                });
            }
        }
    }
}

fn prefix(
    locations: &[Location<'_>],
    at: usize,
    path: &str,
    compiled: &[Compiled],
    pieces: &mut Vec<Piece>,
) {
    let (Some(location), Some(own)) = (locations.get(at), compiled.get(at)) else {
        return;
    };
    for sub in &own.subs {
        // What another location is for never gets here.
        if locate(locations, literal_of(sub.path.trim_start_matches('='))) != Some(at) {
            continue;
        }
        pieces.push(Piece {
            comment: comment(location),
            ..sub.clone()
        });
    }
    // All of them have one path, or one would be asked before the others.
    let is_rewritten = own
        .main
        .iter()
        .any(|(_, content)| content.rewrite != Rewrite::None);
    let is_forwarded = own
        .main
        .iter()
        .any(|(_, content)| matches!(content.action, Action::To(_)));
    for (methods, content) in &own.main {
        let ends_with_slash = path.ends_with('/');
        let goes_by_segments = ends_with_slash && (is_forwarded || own.is_guarded);
        let written = if path == "/" || is_rewritten || goes_by_segments {
            // What is guarded is so without its slash, too: nginx redirects there, and an application answers the same.
            path.to_owned()
        } else {
            // `location /a` is for `/ab`, too, and `location /a/` not for `/a`.
            format!("{path}**")
        };
        let takes_bare = ends_with_slash && path != "/" && written == *path && !own.is_guarded;
        if takes_bare {
            bare(locations, at, path, is_forwarded, compiled, pieces);
        }
        if let (true, false, Some(directive)) = (is_rewritten, ends_with_slash, location.directive)
        {
            location.scope.differs(
                directive,
                format!("prefixes that are rewritten go by whole segments: `{path}` and what lies below `{path}/`, and not `{path}x`"),
            );
        }
        pieces.push(Piece {
            path: written,
            methods: methods.clone(),
            content: content.clone(),
            comment: comment(location),
        });
    }
}

/// `/api` where the location is `/api/`: Forebay's prefix takes it along, nginx redirects it, or gives it to another location.
fn bare(
    locations: &[Location<'_>],
    at: usize,
    path: &str,
    is_forwarded: bool,
    compiled: &[Compiled],
    pieces: &mut Vec<Piece>,
) {
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
                    comment: comment(owner),
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
            comment: format!("{}: nginx redirects `{bare}` to it", comment(location)),
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

/// Says what of a regular expression is not as it was.
fn judge(location: &Location<'_>, regex: &str, any_case: bool, compiled: &Compiled) {
    let Some(directive) = location.directive else {
        return;
    };
    let kind = if compiled.is_guarded {
        Kind::Access
    } else {
        Kind::Missing
    };
    let lost = if compiled.is_guarded {
        "; what it refuses, or gives to an interpreter, is answered by other routes here: CHECK THEM"
    } else {
        "; its requests are answered by the other routes"
    };
    match globs(regex) {
        None if compiled.is_guarded && cautious(regex).is_some() => location.scope.differs(
            directive,
            "only text, `.*`, `[^/]*`, groups, `|` and `?` can be carried over exactly; so that nothing is opened, more is refused than nginx refuses",
        ),
        None => location.scope.notes.say(
            kind,
            directive,
            format!("only text, `.*`, `[^/]*`, groups, `|` and `?` can be carried over exactly{lost}; write routes with patterns such as \"/img/*.png\""),
        ),
        Some(globs) => {
            if any_case && regex.chars().any(char::is_alphabetic) {
                location.scope.notes.say(
                    if compiled.is_guarded { Kind::Access } else { Kind::Differs },
                    directive,
                    format!("carried over as written, in one case only{}", if compiled.is_guarded { lost } else { "; other spellings are answered by the other routes" }),
                );
            }
            if !globs.exact {
                location.scope.differs(directive, "`+` is carried over as any text, also none");
            }
        }
    }
    if !compiled.subs.is_empty() {
        location
            .scope
            .missing(directive, "redirects within it; write routes for them");
    }
}

/// Where two regular expressions match the same path, nginx asks the first of the file, Forebay the longer beginning.
fn order(locations: &[Location<'_>], at: usize) {
    let patterns = |l: &Location<'_>| match &l.matches {
        Matches::Regex { regex, .. } => {
            globs(regex).map(|globs| globs.patterns).unwrap_or_default()
        }
        _ => Vec::new(),
    };
    let (Some(location), Some(earlier)) = (locations.get(at), locations.get(..at)) else {
        return;
    };
    let own = patterns(location);
    for before in earlier {
        let comes_first = patterns(before).iter().any(|first| {
            let short = literal_of(first);
            own.iter().any(|later| {
                let long = literal_of(later);
                long.len() > short.len() && !below(first, long).is_empty()
            })
        });
        if let (true, Some(directive), Some(first)) =
            (comes_first, location.directive, before.directive)
        {
            location.scope.differs(
                directive,
                format!("the longer beginning is asked first, so this one goes before the one of line {}, which nginx asks first", first.line),
            );
        }
    }
}
