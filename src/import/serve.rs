//! What a location does with a request, in nginx's order: rewrite, access, then who answers.

use super::access::{self, Access, Guard};
use super::ask;
use super::cache;
use super::document::{Action, Content, Rewrite};
use super::expression;
use super::files;
use super::header;
use super::limit::Limits;
use super::location::{Location, Matches, Piece, locate, named};
use super::pass::Pass;
use super::pattern::{Source, literal_of};
use super::rewrite::{self, Internal, Phase};
use super::tree::Directive;
use super::upstream::Upstreams;
use super::value;

/// What all locations of an import share.
#[derive(Debug)]
pub(super) struct Site<'a> {
    pub(super) upstreams: Upstreams<'a>,
    pub(super) limits: Limits<'a>,
    /// `client_max_body_size` of `http`, in bytes.
    pub(super) body_limit: u64,
}

/// What became of a location.
#[derive(Debug, Clone)]
pub(super) struct Compiled {
    /// By methods; none stands for all of them. Never empty.
    pub(super) main: Vec<(Vec<String>, Content)>,
    /// What of its paths is treated otherwise.
    pub(super) subs: Vec<Piece>,
    /// Whether it refuses requests, or gives them to what interprets files.
    pub(super) is_guarded: bool,
}

/// Without `client_max_body_size`.
pub(super) const BODY_LIMIT: u64 = 1 << 20;

/// Whoever answers where nobody here can.
const NOT_IMPLEMENTED: u16 = 501;

/// Directives that hand a request to what is not an HTTP server, and what to do instead.
const HANDLERS: [(&str, &str); 14] = [
    (
        "fastcgi_pass",
        "Forebay speaks HTTP: put an HTTP server in front of it, for PHP one such as FrankenPHP, RoadRunner or Apache",
    ),
    (
        "uwsgi_pass",
        "Forebay speaks HTTP: start uWSGI with `--http-socket :8000` instead of `--socket`, or use gunicorn",
    ),
    ("scgi_pass", "Forebay speaks HTTP"),
    ("memcached_pass", "Forebay speaks HTTP"),
    ("redis_pass", "Forebay speaks HTTP"),
    (
        "stub_status",
        "`/metrics` of the admin listener has more; make no route for it",
    ),
    ("empty_gif", "serve the picture from `files`"),
    ("content_by_lua_block", "Forebay runs no scripts"),
    ("content_by_lua_file", "Forebay runs no scripts"),
    ("js_content", "Forebay runs no scripts"),
    ("perl", "Forebay runs no scripts"),
    ("dav_methods", "files are for reading"),
    (
        "mp4",
        "files are served with ranges; an application has to cut them",
    ),
    (
        "flv",
        "files are served with ranges; an application has to cut them",
    ),
];

/// Compiles the location with this index.
pub(super) fn compile<'a>(site: &Site<'a>, locations: &[Location<'a>], at: usize) -> Compiled {
    let mut compiled = compile_within(site, locations, at, 0);
    let is_exact = locations
        .get(at)
        .is_some_and(|location| expression::is_exact(&location.matches));
    let mut contents = compiled.main.iter().map(|(_, content)| content);
    if !is_exact && contents.any(Content::is_guard) {
        // Routes are for more than the expression was, which does for refusing only.
        let mut refusals = compiled.main.iter().rev();
        let is_refusal = |content: &Content| matches!(content.action, Action::Respond { .. });
        let refusal = refusals.find(|(_, content)| is_refusal(content));
        let refusal = refusal.map_or_else(|| Content::status(403), |(_, content)| content.clone());
        compiled.main = vec![(Vec::new(), refusal)];
        compiled.is_guarded = true;
    }
    compiled
}

/// A location that another one leads to is compiled for that one, but not for ever.
const LEADS_MAX: usize = 3;

fn compile_within<'a>(
    site: &Site<'a>,
    locations: &[Location<'a>],
    at: usize,
    depth: usize,
) -> Compiled {
    let mut compiled = Compiled {
        main: Vec::new(),
        subs: Vec::new(),
        is_guarded: false,
    };
    let Some(location) = locations.get(at) else {
        compiled.main.push((Vec::new(), Content::status(404)));
        return compiled;
    };
    let scope = &location.scope;
    let prefix = match &location.matches {
        Matches::Prefix { path, .. } => path.as_str(),
        Matches::Exact(_) | Matches::Regex { .. } | Matches::Named(_) => "/",
    };
    // What a server does before any location is asked is not this one's.
    let phase = match location.directive {
        Some(_) => rewrite::phase(scope, prefix),
        None => Phase::default(),
    };
    let fields = header::of_response(scope);
    compiled.subs = phase.redirects;
    for sub in &mut compiled.subs {
        sub.content.response_headers = fields.clone();
    }
    // A redirect of all that comes here is all that is here.
    let is_all =
        |sub: &Piece| !sub.path.starts_with('=') && prefix.starts_with(literal_of(&sub.path));
    if let (Some(at), Matches::Prefix { .. }) =
        (compiled.subs.iter().position(is_all), &location.matches)
    {
        let all = compiled.subs.swap_remove(at);
        compiled.main.push((Vec::new(), all.content));
        return compiled;
    }
    for (method, mut content) in phase.by_method {
        content.response_headers = fields.clone();
        compiled.main.push((vec![method], content));
    }
    if let Some(mut content) = phase.returned {
        compiled.is_guarded = matches!(content.action, Action::Respond { status: 400.., .. });
        content.response_headers = fields;
        compiled.main.extend(phase.only.split(Vec::new(), content));
        return compiled;
    }
    // Patterns may be for more than the expression was, which does for refusing only.
    let carries = expression::is_exact(&location.matches);
    let (guard, allowed) = access::guard(scope, carries, |rule| {
        ask::service(&site.upstreams, locations, scope, rule)
    });
    if let Some(guard) = guard {
        compiled.is_guarded = true;
        let mut content = refusal(guard);
        content.response_headers = fields;
        compiled.main.push((Vec::new(), content));
        return compiled;
    }
    let mut content = answer(site, locations, at, depth);
    compiled.is_guarded |= allowed != Access::default();
    compiled.is_guarded |= content.action == Content::status(NOT_IMPLEMENTED).action;
    let redirects = compiled.subs.len();
    for internal in phase.internals {
        internally(
            site,
            locations,
            at,
            depth,
            &internal,
            &mut content,
            &mut compiled.subs,
        );
    }
    // What another location answers in this one's stead is guarded by that one, or else as this one is.
    let inner = compiled
        .subs
        .iter_mut()
        .skip(redirects)
        .map(|sub| &mut sub.content);
    let limits = site.limits.of(scope);
    for content in inner.chain([&mut content]) {
        if content.access == Access::default() {
            content.access = allowed.clone();
        } else if allowed != Access::default() && content.access != allowed {
            // Both would have to hold, and a route has one of each kind.
            content.clone_from(&Content::status(403));
        }
        // A request is limited once, where it comes in.
        if !limits.is_empty() {
            content.rate_limits.clone_from(&limits);
        }
    }
    let mut only = phase.only;
    if let Some(methods) = access::excepted_methods(scope) {
        only.restrict(methods, Content::status(403));
    }
    if let Some((_, refusal)) = &mut only.0 {
        refusal.response_headers = fields;
    }
    compiled.main.extend(only.split(Vec::new(), content));
    compiled
}

fn refusal(guard: Guard) -> Content {
    match guard {
        Guard::NotFound => Content::status(404),
        Guard::Forbidden => Content::status(403),
    }
}

/// Who answers, with all that goes with it.
fn answer<'a>(site: &Site<'a>, locations: &[Location<'a>], at: usize, depth: usize) -> Content {
    let Some(location) = locations.get(at) else {
        return Content::status(404);
    };
    let scope = &location.scope;
    for (name, why) in HANDLERS {
        if let Some(handler) = scope.here(name) {
            scope.missing(
                handler,
                format!("{why}; answered {NOT_IMPLEMENTED} until then"),
            );
            return Content::status(NOT_IMPLEMENTED);
        }
    }
    if let Some(pass) = scope.here("proxy_pass").or_else(|| scope.here("grpc_pass")) {
        return forwarded(site, locations, at, pass);
    }
    match files::serve(locations, at) {
        files::Served::Content(mut content) => {
            content.response_headers = header::of_response(scope);
            content.error_pages = files::error_pages(locations, scope, false);
            *content
        }
        files::Served::By(other) if depth < LEADS_MAX => {
            let compiled = compile_within(site, locations, other, depth + 1);
            let main = compiled.main.into_iter().next_back();
            main.map_or_else(|| Content::status(404), |(_, content)| content)
        }
        files::Served::By(_) => Content::status(404),
    }
}

fn forwarded<'a>(
    site: &Site<'a>,
    locations: &[Location<'a>],
    at: usize,
    directive: &Directive,
) -> Content {
    let Some(location) = locations.get(at) else {
        return Content::status(404);
    };
    let scope = &location.scope;
    let refused = |why: &str| {
        scope.missing(
            directive,
            format!("{why}; answered {NOT_IMPLEMENTED} until then"),
        );
        Content::status(NOT_IMPLEMENTED)
    };
    let Some(pass) = Pass::read(scope, directive.arg(0)) else {
        return refused(
            "where it leads depends on the request; write a route for each server, by `host`, `path` or `header`",
        );
    };
    let Some(to) = site.upstreams.to(scope, &pass, directive) else {
        return refused("no server that Forebay can ask");
    };
    let mut content = Content::of(Action::To(to));
    if let Some(uri) = &pass.uri {
        match rewritten(location, directive, uri) {
            Some(rewrite) => content.rewrite = rewrite,
            None => {
                return refused(
                    "the path cannot be rewritten so; write `strip_prefix` or `replace_prefix` on a route whose path is a prefix",
                );
            }
        }
    }
    let is_off = |redirect: &Directive| redirect.arg(0) == "off";
    if !header::says_host(scope) && !scope.one("proxy_redirect").is_some_and(is_off) {
        scope.differs(
            directive,
            "without `proxy_set_header Host` the application knows itself by this name, here too (`host`), and nginx puts the client's in its `Location`; Forebay passes it on: leave `host` out, and the application has the client's",
        );
    }
    content.request_headers = header::of_request(scope);
    content.response_headers = header::of_response(scope);
    content.error_pages = files::error_pages(locations, scope, true);
    content.cache = cache::rules(scope);
    let limit = scope.one("client_max_body_size");
    let limit = limit.and_then(|limit| value::size(limit.arg(0)));
    let limit = limit.map_or(BODY_LIMIT, unlimited);
    if limit != site.body_limit {
        content.body_limit = Some(limit);
    }
    content
}

/// 0 is no limit; Forebay's largest stands for it.
pub(super) fn unlimited(limit: u64) -> u64 {
    const MOST: u64 = 1 << 60;
    if limit == 0 { 1 << 40 } else { limit.min(MOST) }
}

/// The URI of a `proxy_pass` in the place of a location's prefix. `None` where no rewrite does the same.
fn rewritten(location: &Location<'_>, directive: &Directive, uri: &str) -> Option<Rewrite> {
    if uri.contains(['?', '#']) || !uri.starts_with('/') {
        return None;
    }
    let scope = &location.scope;
    match &location.matches {
        Matches::Exact(path) if path == uri => Some(Rewrite::None),
        Matches::Exact(_) => Some(replaced(uri)),
        Matches::Prefix { path, .. } if path == uri => Some(Rewrite::None),
        Matches::Prefix { path, .. } => {
            let (from, to) = (path.ends_with('/'), uri.ends_with('/'));
            if from && !to {
                scope.differs(
                    directive,
                    format!("nginx joins `{uri}` and what follows `{path}` without a slash, here there is one"),
                );
            } else if !from && to {
                scope.differs(
                    directive,
                    format!("nginx asks for `{uri}/x` when it is asked for `{path}/x`, with two slashes; here there is one"),
                );
            }
            Some(replaced(uri))
        }
        Matches::Regex { .. } | Matches::Named(_) => None,
    }
}

fn replaced(uri: &str) -> Rewrite {
    if uri == "/" {
        Rewrite::Strip
    } else {
        Rewrite::Replace(uri.to_owned())
    }
}

/// A rewrite that stays within nginx: of the whole location, of a part of its paths, or into another location.
fn internally<'a>(
    site: &Site<'a>,
    locations: &[Location<'a>],
    at: usize,
    depth: usize,
    internal: &Internal<'_>,
    content: &mut Content,
    subs: &mut Vec<Piece>,
) {
    let Some(location) = locations.get(at) else {
        return;
    };
    let scope = &location.scope;
    let refused = || {
        scope.missing(
            internal.directive,
            "only a prefix that is taken away or replaced can be carried over; the path stays as it is",
        );
    };
    let (Matches::Prefix { path, .. }, Source::Prefix(_) | Source::All(_)) =
        (&location.matches, &internal.source)
    else {
        return refused();
    };
    let Some(rewrite) = internal.rewrite() else {
        return refused();
    };
    let from = match &internal.source {
        Source::Prefix(from) => from.as_str(),
        Source::All(_) | Source::Exact(_) => "/",
    };
    let mut target = content.clone();
    if !internal.stays {
        let to = match &rewrite {
            Rewrite::Replace(to) => to.as_str(),
            Rewrite::Strip | Rewrite::None => "/",
        };
        match locate(locations, to).filter(|other| *other != at) {
            Some(other) if depth < LEADS_MAX => {
                let compiled = compile_within(site, locations, other, depth + 1);
                let Some((_, other)) = compiled.main.into_iter().next_back() else {
                    return refused();
                };
                if other.rewrite != Rewrite::None {
                    return refused();
                }
                target = other;
            }
            Some(_) => return refused(),
            None => {}
        }
    }
    if matches!(
        target.action,
        Action::Respond { .. } | Action::Redirect { .. }
    ) {
        // Where nothing is forwarded, no path is needed.
    } else if target.rewrite == Rewrite::None || internal.stays {
        target.rewrite = rewrite;
    } else {
        return refused();
    }
    let trimmed = |path: &str| path.trim_end_matches('/').to_owned();
    if trimmed(from) == trimmed(path) {
        *content = target;
    } else if path.starts_with(from) {
        target.rewrite = rewrite::rebased(&target.rewrite, from, path);
        *content = target;
    } else if !from.starts_with(path.as_str()) {
        refused();
    } else {
        subs.push(Piece {
            path: from.to_owned(),
            methods: Vec::new(),
            content: target,
            comment: String::new(),
        });
    }
}

/// The location of this name forwards, for `try_files`.
pub(super) fn is_forwarding(location: &Location<'_>) -> bool {
    let own = location.scope.own();
    own.iter()
        .any(|d| matches!(d.name.as_str(), "proxy_pass" | "grpc_pass"))
}

/// Where `@name` or a path leads.
pub(super) fn target(locations: &[Location<'_>], to: &str) -> Option<usize> {
    if to.starts_with('@') {
        named(locations, to)
    } else {
        locate(locations, to)
    }
}
