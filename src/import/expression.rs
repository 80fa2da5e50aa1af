//! Locations by regular expression: the patterns that each becomes within a prefix, and their order.
//!
//! nginx asks the expressions in the order of the file, Forebay the longer literal beginning first. So where a route would be
//! asked before that of an expression in front of it, what the two have in common is written before it. Of routes with one
//! beginning those with more conditions go first, so that what is written has those of the route that it is written for.

use super::location::{Location, Matches, Piece};
use super::note::Kind;
use super::pattern::{Globs, below, globs, literal_of};
use super::serve::Compiled;
use super::superset::superset;

/// Whether routes can be for just the requests of a location.
pub(super) fn is_exact(matches: &Matches) -> bool {
    match matches {
        Matches::Regex { regex, any_case } => {
            globs(regex).is_some_and(|globs| globs.exact) && !has_cases(regex, *any_case)
        }
        Matches::Exact(_) | Matches::Prefix { .. } | Matches::Named(_) => true,
    }
}

fn has_cases(regex: &str, any_case: bool) -> bool {
    any_case && regex.chars().any(char::is_alphabetic)
}

/// The patterns of an expression: for what refuses at least all that it matches, for all else no more than a `+` that may be empty.
fn taken(location: &Location<'_>, is_guarded: bool) -> Globs {
    let Matches::Regex { regex, any_case } = &location.matches else {
        return Globs::default();
    };
    match globs(regex) {
        Some(globs) if !is_guarded || !has_cases(regex, *any_case) => globs,
        _ if is_guarded => Globs {
            patterns: superset(regex, *any_case),
            exact: false,
        },
        _ => Globs::default(),
    }
}

/// All locations of a server, and what became of each.
#[derive(Debug, Clone, Copy)]
pub(super) struct Compilation<'c, 'a> {
    pub(super) locations: &'c [Location<'a>],
    pub(super) compiled: &'c [Compiled],
}

impl Compilation<'_, '_> {
    fn get(&self, at: usize) -> Option<(&Location<'_>, &Compiled)> {
        Some((self.locations.get(at)?, self.compiled.get(at)?))
    }

    /// What the expressions that come before a prefix take of it. `at` is the prefix's location.
    pub(super) fn within(
        &self,
        at: usize,
        prefix: &str,
        before: &[usize],
        pieces: &mut Vec<Piece>,
    ) {
        let Some((_, own)) = self.get(at) else {
            return;
        };
        for (position, regex) in before.iter().enumerate() {
            let Some((location, compiled)) = self.get(*regex) else {
                continue;
            };
            let is_own = |at: &usize| self.get(*at).is_some_and(|(_, it)| it.main == own.main);
            if before.iter().skip(position).all(is_own) {
                return;
            }
            let globs = taken(location, compiled.is_guarded);
            // What a `+` is taken for in excess stays with a prefix that guards it.
            if !globs.exact && !compiled.is_guarded && own.is_guarded {
                continue;
            }
            let is_guard = |at: &usize| self.get(*at).is_some_and(|(_, it)| it.is_guarded);
            let (earlier, later) = before.split_at(position);
            let mut earlier = earlier.to_vec();
            if !globs.exact && !compiled.is_guarded {
                earlier.extend(later.iter().copied().filter(is_guard));
            }
            for path in globs.patterns.iter().flat_map(|it| below(it, prefix)) {
                self.one(prefix, location, compiled, &path, &earlier, pieces);
            }
        }
    }

    fn one(
        &self,
        prefix: &str,
        location: &Location<'_>,
        compiled: &Compiled,
        path: &str,
        earlier: &[usize],
        pieces: &mut Vec<Piece>,
    ) {
        // A longer prefix has its own copy, or stops it.
        let literal = literal_of(path);
        let is_anothers = |l: &Location<'_>| matches!(&l.matches, Matches::Prefix { path, .. } if path.len() > prefix.len() && literal.starts_with(path.as_str()));
        let is_exact = !path.contains('*');
        let is_taken = |l: &Location<'_>| {
            is_exact && matches!(&l.matches, Matches::Exact(exact) if exact == path)
        };
        let others = self.locations;
        if others.iter().any(|l| is_anothers(l) || is_taken(l)) {
            return;
        }
        let sign = if is_exact { "=" } else { "" };
        for (methods, content) in &compiled.main {
            let piece = Piece {
                path: format!("{sign}{path}"),
                methods: methods.clone(),
                content: content.clone(),
                comment: location.comment(),
            };
            self.add(piece, earlier, pieces);
        }
    }

    /// Adds a route, behind what the expressions before it have in common with it.
    pub(super) fn add(&self, piece: Piece, before: &[usize], pieces: &mut Vec<Piece>) {
        let mut text = piece.path.trim_start_matches('=').to_owned();
        let is_exact = piece.path.starts_with('=');
        if !is_exact && !text.contains('*') && !text.ends_with('/') {
            text.push('/');
        }
        let literal = literal_of(&text);
        for at in before {
            let Some((location, compiled)) = self.get(*at) else {
                continue;
            };
            let globs = taken(location, compiled.is_guarded);
            if !globs.exact && !compiled.is_guarded && piece.content.is_guard() {
                continue;
            }
            // A pattern with more of a beginning is asked first anyway.
            let is_behind = |pattern: &&String| literal_of(pattern).len() <= literal.len();
            let common = globs.patterns.iter().filter(is_behind);
            let common = common.flat_map(|pattern| below(pattern, literal));
            let common = common.filter_map(|path| match () {
                () if !path.contains('*') => Some(format!("={path}")),
                () if is_exact => {
                    let rest = path.get(literal.len()..).unwrap_or_default();
                    rest.bytes()
                        .all(|c| c == b'*')
                        .then(|| format!("={literal}"))
                }
                () => Some(path),
            });
            let common: Vec<String> = common.collect();
            for path in common {
                for (methods, content) in &compiled.main {
                    let methods = match (methods.is_empty(), piece.methods.is_empty()) {
                        (true, _) => piece.methods.clone(),
                        (_, true) => methods.clone(),
                        _ => {
                            let is_common = |method: &&String| piece.methods.contains(method);
                            let common: Vec<String> =
                                methods.iter().filter(is_common).cloned().collect();
                            if common.is_empty() {
                                continue;
                            }
                            common
                        }
                    };
                    push(
                        pieces,
                        Piece {
                            path: path.clone(),
                            methods,
                            content: content.clone(),
                            comment: location.comment(),
                        },
                    );
                }
            }
        }
        push(pieces, piece);
    }
}

/// Of two routes for the same requests the first is asked.
fn push(pieces: &mut Vec<Piece>, piece: Piece) {
    let is_same = |other: &Piece| other.path == piece.path && other.methods == piece.methods;
    if !pieces.iter().any(is_same) {
        pieces.push(piece);
    }
}

/// Says what of an expression is not as it was.
pub(super) fn judge(location: &Location<'_>, compiled: &Compiled) {
    let (Some(directive), Matches::Regex { regex, any_case }) =
        (location.directive, &location.matches)
    else {
        return;
    };
    let scope = &location.scope;
    match globs(regex) {
        _ if compiled.is_guarded && !is_exact(&location.matches) => {
            let patterns = superset(regex, *any_case);
            let is_all = patterns.iter().any(|pattern| pattern == "/**");
            let kind = if is_all { Kind::Access } else { Kind::Differs };
            let what = if is_all { "everything beside it" } else { "more" };
            scope.notes.say(
                kind,
                directive,
                format!("only text, `.*`, `[^/]*`, groups, `|` and `?` can be carried over exactly, in one case; so that nothing is opened, {what} is refused than nginx refuses"),
            );
        }
        None if compiled.main.iter().any(|(_, content)| !content.rate_limits.is_empty()) => scope.notes.say(
            Kind::Open,
            directive,
            "only text, `.*`, `[^/]*`, groups, `|` and `?` can be carried over exactly, so what it limits is not limited; write routes with patterns and `rate_limit`",
        ),
        None => scope.missing(
            directive,
            "only text, `.*`, `[^/]*`, groups, `|` and `?` can be carried over exactly; its requests are answered by the other routes; write routes with patterns such as \"/img/*.png\"",
        ),
        Some(globs) => {
            if has_cases(regex, *any_case) {
                scope.differs(directive, "carried over as written, in one case only; other spellings are answered by the other routes");
            }
            if !globs.exact {
                scope.differs(directive, "`+` is carried over as any text, also none");
            }
        }
    }
    if !compiled.subs.is_empty() {
        scope.missing(directive, "redirects within it; write routes for them");
    }
}
