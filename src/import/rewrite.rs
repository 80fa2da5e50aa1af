//! `return`, `rewrite` and `if`: what nginx does before it asks who answers.

use super::condition::{Judgement, Only, judge, unknown};
use super::document::{Action, Content, Rewrite};
use super::location::{Piece, percent};
use super::pattern::{Source, literal_of, source};
use super::scope::Scope;
use super::tree::Directive;
use super::value::Part;

/// What the rewrite phase of a place comes to.
#[derive(Debug, Default)]
pub(super) struct Phase<'a> {
    /// Every request is answered with this.
    pub(super) returned: Option<Content>,
    /// What requests of one method are answered with.
    pub(super) by_method: Vec<(String, Content)>,
    /// Which methods go on.
    pub(super) only: Only,
    /// Paths that are redirected.
    pub(super) redirects: Vec<Piece>,
    /// Paths that are rewritten and go on.
    pub(super) internals: Vec<Internal<'a>>,
}

/// A `rewrite` that clients do not see.
#[derive(Debug, Clone)]
pub(super) struct Internal<'a> {
    pub(super) directive: &'a Directive,
    pub(super) source: Source,
    to: Vec<Part>,
    /// `break`: the location stays the same.
    pub(super) stays: bool,
}

impl Internal<'_> {
    /// The change of the prefix that does the same.
    pub(super) fn rewrite(&self) -> Option<Rewrite> {
        let one = |part: &Part| *part == Part::Variable("1".to_owned());
        let (to, captured) = match self.to.as_slice() {
            [Part::Text(to), part] if one(part) => (to.as_str(), true),
            [part] if one(part) => ("", true),
            _ => ("", false),
        };
        let from_slash = match &self.source {
            Source::Prefix(from) => from.ends_with('/'),
            Source::All(skipped) => *skipped == 1,
            Source::Exact(_) => return None,
        };
        // `^/a(.*)$` captures the slash, `^/a/(.*)$` does not.
        let fits = if from_slash {
            to.ends_with('/')
        } else {
            !to.ends_with('/')
        };
        if !captured || !fits || to.contains(['?', '#']) {
            return None;
        }
        Some(match to {
            "" | "/" => Rewrite::Strip,
            to if to.starts_with('/') => Rewrite::Replace(to.to_owned()),
            _ => return None,
        })
    }
}

/// The rewrite phase of a place whose paths begin with `prefix`.
pub(super) fn phase<'a>(scope: &Scope<'a>, prefix: &str) -> Phase<'a> {
    let mut phase = Phase::default();
    walk(scope, scope.own(), prefix, &mut phase);
    phase
}

fn walk<'a>(scope: &Scope<'a>, directives: &'a [Directive], prefix: &str, phase: &mut Phase<'a>) {
    for directive in directives {
        if phase.returned.is_some() {
            return;
        }
        match directive.name.as_str() {
            "return" => phase.returned = returned(scope, directive),
            "rewrite" => rewrite(scope, directive, prefix, phase),
            "if" => condition(scope, directive, prefix, phase),
            _ => {}
        }
    }
}

fn condition<'a>(scope: &Scope<'a>, directive: &'a Directive, prefix: &str, phase: &mut Phase<'a>) {
    match judge(scope, directive) {
        Judgement::Holds => {
            scope.notes.seen(directive);
            walk(scope, directive.inner(), prefix, phase);
        }
        Judgement::Never => scope.notes.seen(directive),
        Judgement::ForMethods { methods, are_meant } => {
            let mut inner = Phase::default();
            walk(scope, directive.inner(), prefix, &mut inner);
            let Some(content) = inner.returned else {
                return unknown(scope, directive);
            };
            scope.notes.seen(directive);
            if are_meant {
                let all = methods.into_iter();
                phase
                    .by_method
                    .extend(all.map(|method| (method, content.clone())));
            } else {
                phase.only.restrict(methods, content);
            }
        }
        Judgement::Unknown => unknown(scope, directive),
    }
}

/// What a `return` answers.
fn returned(scope: &Scope<'_>, directive: &Directive) -> Option<Content> {
    scope.notes.seen(directive);
    let (status, text) = match directive.args.as_slice() {
        [url] if url.parse::<u16>().is_err() => (302, Some(url)),
        [status] => (status.parse().unwrap_or(0), None),
        [status, text, ..] => (status.parse().unwrap_or(0), Some(text)),
        [] => (0, None),
    };
    match (status, text) {
        (301 | 302 | 303 | 307 | 308, Some(url)) => {
            let Some(to) = template(&scope.parts(url), &Captured::Nothing) else {
                scope.missing(
                    directive,
                    "a redirect knows `{scheme}`, `{host}`, `{path}`, `{query}` and `{uri}`; answered 501 until then",
                );
                return Some(Content::status(501));
            };
            Some(Content::of(Action::Redirect { to, status }))
        }
        (444, _) => {
            scope.differs(
                directive,
                "nginx closes the connection without an answer, here there is one: 404",
            );
            Some(Content::status(404))
        }
        (200..=599, text) => {
            let body = text.map_or(Some(String::new()), |text| scope.constant(text));
            let Some(body) = body else {
                scope.missing(
                    directive,
                    "the answer depends on the request; `respond` has a fixed one; answered 501 until then",
                );
                return Some(Content::status(501));
            };
            let added = scope.all("add_header");
            let added = added
                .iter()
                .find(|d| d.arg(0).eq_ignore_ascii_case("content-type"));
            let default = scope.one("default_type").map(|d| d.arg(0).to_owned());
            let kind = added.and_then(|d| scope.constant(d.arg(1))).or(default);
            let kind = kind.filter(|_| !body.is_empty());
            Some(Content::of(Action::Respond {
                status,
                body,
                content_type: kind.filter(|kind| kind != "text/plain; charset=utf-8"),
            }))
        }
        _ => {
            scope.missing(directive, "no status of an answer");
            None
        }
    }
}

fn rewrite<'a>(scope: &Scope<'a>, directive: &'a Directive, prefix: &str, phase: &mut Phase<'a>) {
    scope.notes.seen(directive);
    let refused = || {
        scope.missing(
            directive,
            "only `^/prefix/(.*)$`, `^/path$` and `^(.*)$` can be carried over; write a route with `replace_prefix` or `redirect`",
        );
    };
    let Some(source) = source(directive.arg(0)) else {
        return refused();
    };
    let flag = directive.arg(2);
    let to = scope.parts(directive.arg(1));
    let is_absolute = match to.first() {
        Some(Part::Text(text)) => text.starts_with("http://") || text.starts_with("https://"),
        Some(Part::Variable(name)) => name == "scheme",
        None => false,
    };
    let status = match flag {
        "permanent" => 301,
        _ if flag == "redirect" || is_absolute => 302,
        _ => {
            phase.internals.push(Internal {
                directive,
                source,
                to,
                stays: flag == "break",
            });
            return;
        }
    };
    match redirects(&source, to, status) {
        Some(Redirects::All(content)) => phase.returned = Some(*content),
        Some(Redirects::Some(pieces)) => {
            let here = pieces.into_iter().filter_map(|piece| within(piece, prefix));
            phase.redirects.extend(here);
        }
        None => refused(),
    }
}

/// What of a redirect gets to a place whose paths begin with `prefix`.
fn within(mut piece: Piece, prefix: &str) -> Option<Piece> {
    let path = piece.path.trim_start_matches('=');
    let from = literal_of(path);
    if from.starts_with(prefix) {
        return Some(piece);
    }
    if piece.path.starts_with('=') || !prefix.starts_with(from) {
        return None;
    }
    piece.content.rewrite = rebased(&piece.content.rewrite, from, prefix);
    piece.path = format!("{prefix}{}", if path.ends_with('*') { "**" } else { "" });
    Some(piece)
}

/// The rewrite of a longer prefix that does what this one does of `from`.
pub(super) fn rebased(rewrite: &Rewrite, from: &str, prefix: &str) -> Rewrite {
    let base = match rewrite {
        Rewrite::None => return Rewrite::None,
        Rewrite::Strip if from.ends_with('/') => "/",
        Rewrite::Strip => "",
        Rewrite::Replace(to) => to.as_str(),
    };
    let to = format!("{base}{}", prefix.get(from.len()..).unwrap_or_default());
    match to.as_str() {
        "" | "/" => Rewrite::Strip,
        _ => Rewrite::Replace(to),
    }
}

enum Redirects {
    All(Box<Content>),
    Some(Vec<Piece>),
}

/// What stands for `$1`.
enum Captured {
    Nothing,
    /// The path, after the route's own rewrite.
    Path,
    /// The path without its first slash.
    BehindSlash,
}

fn redirects(source: &Source, mut to: Vec<Part>, status: u16) -> Option<Redirects> {
    let keeps_query = !drop_question_mark(&mut to)?;
    let query = if keeps_query { "{query}" } else { "" };
    let piece = |path: String, to: String, rewrite: Rewrite| {
        let mut content = Content::of(Action::Redirect { to, status });
        content.rewrite = rewrite;
        Piece {
            path,
            methods: Vec::new(),
            content,
            comment: String::new(),
        }
    };
    match source {
        Source::All(skipped) => {
            let captured = if *skipped == 0 {
                Captured::Path
            } else {
                Captured::BehindSlash
            };
            let to = template(&to, &captured)?;
            let to = if to.contains("{uri}") { to } else { to + query };
            Some(Redirects::All(Box::new(Content::of(Action::Redirect {
                to,
                status,
            }))))
        }
        Source::Exact(paths) => {
            let to = template(&to, &Captured::Nothing)? + query;
            let pieces = paths
                .iter()
                .map(|path| piece(format!("={path}"), to.clone(), Rewrite::None));
            Some(Redirects::Some(pieces.collect()))
        }
        Source::Prefix(from) => {
            let Some((Part::Variable(last), before)) = to.split_last() else {
                let to = template(&to, &Captured::Nothing)? + query;
                return Some(Redirects::Some(vec![piece(
                    format!("{from}**"),
                    to,
                    Rewrite::None,
                )]));
            };
            if last != "1" {
                let to = template(&to, &Captured::Nothing)? + query;
                return Some(Redirects::Some(vec![piece(
                    format!("{from}**"),
                    to,
                    Rewrite::None,
                )]));
            }
            let before = template(before, &Captured::Nothing)?;
            // The site is the redirect's, the path the rewrite's.
            let at = match before.split_once("://") {
                Some((scheme, rest)) => scheme.len() + 3 + rest.find('/').unwrap_or(rest.len()),
                None => 0,
            };
            let (site, path) = before.split_at(at);
            if from.ends_with('/') != path.ends_with('/') || path.contains(['{', '?', '#']) {
                return None;
            }
            let rewrite = match path {
                "" | "/" => Rewrite::Strip,
                path => Rewrite::Replace(path.to_owned()),
            };
            let to = format!("{site}{{path}}{query}");
            Some(Redirects::Some(vec![piece(
                from.clone(),
                to.replace("{path}{query}", "{uri}"),
                rewrite,
            )]))
        }
    }
}

/// Takes the `?` at the end away, by which nginx leaves out the query. `None` where there is one further in front.
fn drop_question_mark(to: &mut [Part]) -> Option<bool> {
    let mut dropped = false;
    if let Some(Part::Text(text)) = to.last_mut()
        && let Some(before) = text.strip_suffix('?')
    {
        *text = before.to_owned();
        dropped = true;
    }
    let has_query = |part: &Part| matches!(part, Part::Text(text) if text.contains('?'));
    (!to.iter().any(has_query)).then_some(dropped)
}

/// nginx's text with Forebay's placeholders. `None` where a variable has none.
fn template(parts: &[Part], captured: &Captured) -> Option<String> {
    let mut out = String::new();
    for part in parts {
        match part {
            Part::Text(text) => {
                for byte in text.bytes() {
                    if byte.is_ascii_graphic() && !b"{}".contains(&byte) {
                        out.push(char::from(byte));
                    } else {
                        out.extend(percent(byte));
                    }
                }
            }
            Part::Variable(name) => match (name.as_str(), captured) {
                ("scheme", _) => out.push_str("{scheme}"),
                ("host" | "http_host", _) => out.push_str("{host}"),
                ("request_uri", _) => out.push_str("{uri}"),
                ("uri" | "document_uri", _) | ("1", Captured::Path) => out.push_str("{path}"),
                ("1", Captured::BehindSlash) => {
                    out.truncate(out.strip_suffix('/')?.len());
                    out.push_str("{path}");
                }
                ("is_args", _) => {}
                ("args" | "query_string", _) => {
                    out.truncate(out.trim_end_matches('?').len());
                    out.push_str("{query}");
                }
                _ => return None,
            },
        }
    }
    let out = out.replace("{path}{query}", "{uri}");
    (!out.is_empty()).then_some(out)
}
