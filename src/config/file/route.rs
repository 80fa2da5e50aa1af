//! `[[route]]`: which requests a route is for, and how they are changed. What becomes of them is in `route_action`.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use http::{HeaderName, StatusCode};

use super::reader::{Key, Section, Spotted, Title, key, table};
use super::route_access::{self, Service};
use super::route_action::{self, FILES_KEYS, REDIRECT_KEYS, RESPOND_KEYS, TARGET_KEYS, Target};
use super::value::At;
use super::{addresses, route_cache, route_events, route_rate, route_write, scalars};
use crate::access::settings::AccessSettings;
use crate::cache::settings::Rules;
use crate::config::error::nearest;
use crate::config::source::Place;
use crate::config::tree::{Entry, Kind, shortened};
use crate::routing::settings::{
    Action, HeaderEdits, HostMatch, MatchSettings, PathMatch, Rewrite, RouteSettings, Scheme,
};
use crate::units::ByteSize;

pub(super) static KEYS: &[Key] = &[
    key("name"),
    key("scheme"),
    key("host"),
    key("path"),
    key("method"),
    key("header"),
    key("query"),
    table("to", TARGET_KEYS),
    table("redirect", REDIRECT_KEYS),
    table("respond", RESPOND_KEYS),
    table("files", FILES_KEYS),
    key("strip_prefix"),
    key("replace_prefix"),
    table("request_headers", EDIT_KEYS),
    table("response_headers", EDIT_KEYS),
    key("error_pages"),
    key("body_limit"),
    key("hold_on"),
    table("rate_limit", route_rate::KEYS),
    route_access::ALLOW,
    route_access::DENY,
    route_access::AUTH,
    route_access::SECURITY_HEADERS,
    table("cache", route_cache::KEYS),
    table("events", route_events::KEYS),
    table("on_write", route_write::KEYS),
];

/// Where a default name is cut, so that with its number it is still a label.
const PATTERN_MAX: usize = 200;

static EDIT_KEYS: &[Key] = &[key("set"), key("remove")];

/// One route whose upstreams have not been looked up yet.
#[derive(Debug)]
pub(crate) struct Route {
    /// Where it stands: its header.
    pub(crate) place: Place,
    /// The name the operator gave it.
    pub(crate) name: Option<Spotted<String>>,
    /// Host and path as written, of which the default name is made.
    pub(crate) pattern: String,
    /// Everything else; the name is still empty.
    pub(crate) settings: RouteSettings,
    /// The upstreams of [`Action::Forward`], in its order.
    pub(crate) targets: Vec<Target>,
    /// What the cache may do.
    pub(crate) rules: Rules,
    /// What its requests are limited by.
    pub(crate) rate_limits: Vec<route_rate::RateRef>,
    /// Who may use it.
    pub(crate) access: AccessSettings,
    /// The service that is asked, where one is.
    pub(crate) service: Option<Service>,
}

pub(super) fn read(at: At<'_>) -> Option<Route> {
    let section = at.titled(Title::Section("[[route]]"), KEYS)?;
    let name = section.get("name", |at| {
        let value = at.parse(scalars::label)?;
        let place = at.place();
        Some(Spotted { value, place })
    });
    let matches = matches(&section);
    let rewrite = rewrite(&section, &matches.path);
    let events = section.get("events", |at| route_events::read(at, &matches.path));
    let events = events.flatten();
    let action = route_action::read(&section);
    let (action, targets) = action.unzip();
    let settings = RouteSettings {
        name: String::new(),
        matches,
        // Without an action there is an error, and these settings are never used.
        action: action.unwrap_or(Action::Forward(Vec::new())),
        rewrite,
        request_headers: section.or("request_headers", HeaderEdits::default(), header_edits),
        response_headers: section.or("response_headers", HeaderEdits::default(), header_edits),
        error_pages: section.or("error_pages", BTreeMap::new(), |at| Some(error_pages(at))),
        body_limit: section.get("body_limit", |at| {
            at.size(ByteSize::new(0)..=ByteSize::new(1 << 60))
        }),
        hold_on: section.or("hold_on", Vec::new(), hold_on),
        events,
        rate_limits: Vec::new(),
        index: 0,
    };
    let mut rules = section.or("cache", Rules::default(), route_cache::read);
    rules.on_write = section.or("on_write", Vec::new(), route_write::read);
    let (access, service) = route_access::read(&section);
    // Answers may depend on who asks, so what tells it is part of the key.
    for name in access.identity() {
        if !rules.key.headers.contains(&name) {
            rules.key.headers.push(name);
        }
    }
    let written = |key, default| section.get(key, At::text).unwrap_or(default);
    let pattern = [written("host", ""), written("path", "/")].concat();
    judge(&section, &settings);
    Some(Route {
        place: section.place,
        name,
        pattern: pattern.chars().take(PATTERN_MAX).collect(),
        targets: targets.unwrap_or_default(),
        rate_limits: section.or("rate_limit", Vec::new(), route_rate::of_route),
        rules: match &settings.action {
            Action::Forward(_) => rules,
            _ => Rules::off(),
        },
        access,
        service,
        settings,
    })
}

/// What is lawful but without effect.
fn judge(section: &Section<'_>, route: &RouteSettings) {
    let (why, has_path) = match &route.action {
        Action::Forward(_) => return,
        Action::Files { root, .. } => {
            same_twice(section, route, root);
            ("where files are served", true)
        }
        Action::Redirect { .. } => ("on a redirect", true),
        Action::Respond { .. } => ("on a fixed response", false),
    };
    let edits = route.request_headers != HeaderEdits::default();
    section.idle_if(edits, "request_headers", why);
    section.idle_if(!route.hold_on.is_empty(), "hold_on", why);
    section.idle_if(section.at("on_write").is_some(), "on_write", why);
    let at = section.at("cache");
    let has_rules = at.is_some_and(|at| matches!(at.kind(), Kind::Table(_)));
    let forwarded_only = format!("{why}: only what comes from an upstream (`to`) is cached");
    section.idle_if(has_rules, "cache", &forwarded_only);
    if !has_path {
        let strips = matches!(route.rewrite, Rewrite::StripPrefix(_));
        let replaces = matches!(route.rewrite, Rewrite::ReplacePrefix { .. });
        section.idle_if(strips, "strip_prefix", why);
        section.idle_if(replaces, "replace_prefix", why);
    }
}

/// `path = "/static/"` with `files = "/srv/static"`: the directory was probably meant to stand for the prefix.
fn same_twice(section: &Section<'_>, route: &RouteSettings, root: &Path) {
    let (PathMatch::Prefix(path), Rewrite::None) = (&route.matches.path, &route.rewrite) else {
        return;
    };
    let path = path.trim_matches('/');
    let last = path.rsplit('/').next().filter(|last| !last.is_empty());
    if let Some(at) = section.at("files")
        && root.file_name().and_then(OsStr::to_str) == last
        && last.is_some()
    {
        at.note(format_args!(
            "`/{path}/x` is `{}`; to leave the prefix out, set `strip_prefix = true`",
            root.join(path).join("x").display()
        ));
    }
}

fn matches(section: &Section<'_>) -> MatchSettings {
    MatchSettings {
        scheme: section.get("scheme", |at| {
            at.word(&[("http", Scheme::Http), ("https", Scheme::Https)])
        }),
        host: section.or("host", HostMatch::Any, |at| at.parse(addresses::host_match)),
        path: section.or("path", PathMatch::Prefix("/".to_owned()), |at| {
            at.parse(scalars::path_match)
        }),
        methods: section.or("method", Vec::new(), |at| {
            let mut methods = at.one_or_more(|at| at.parse(scalars::method))?;
            let mut seen = Vec::new();
            methods.retain(|method| {
                let is_new = !seen.contains(method);
                seen.push(method.clone());
                is_new
            });
            Some(methods)
        }),
        headers: section.or("header", Vec::new(), |at| {
            Some(named(at, |key| scalars::header_name(key).ok(), condition))
        }),
        query: section.or("query", Vec::new(), |at| {
            Some(named(at, |key| Some(key.to_owned()), condition))
        }),
    }
}

/// The value that a field or parameter must have; `true` for any.
#[expect(
    clippy::option_option,
    reason = "the outer one is whether it could be read, the inner one is the setting"
)]
fn condition(at: At<'_>) -> Option<Option<String>> {
    match at.kind() {
        Kind::Boolean(true) => Some(None),
        Kind::Boolean(false) => at.fail("expected a value, or true for any value, found `false`"),
        _ => at.text().map(|value| Some(value.to_owned())),
    }
}

/// A table whose keys are names of the operator's: fields, parameters.
fn named<'a, N: PartialEq, T>(
    at: At<'a>,
    name: impl Fn(&str) -> Option<N>,
    value: impl Fn(At<'a>) -> Option<T>,
) -> Vec<(N, T)> {
    let mut all: Vec<(N, T)> = Vec::new();
    for entry in at.entries() {
        let Some(name) = name(entry.key) else {
            entry.bad_key::<()>(format_args!("\"{}\" is no header name", entry.key));
            continue;
        };
        if all.iter().any(|(other, _)| *other == name) {
            entry.bad_key::<()>(format_args!(
                "\"{}\" is here twice; names of headers have no case",
                entry.key
            ));
            continue;
        }
        if let Some(value) = value(entry) {
            all.push((name, value));
        }
    }
    all
}

fn rewrite(section: &Section<'_>, path: &PathMatch) -> Rewrite {
    let strip = section.or("strip_prefix", false, At::boolean);
    let replace = section.get("replace_prefix", |at| at.parse(scalars::path));
    let Some(at) = section
        .at("replace_prefix")
        .or_else(|| section.at("strip_prefix").filter(|_| strip))
    else {
        return Rewrite::None;
    };
    if strip && at.key == "replace_prefix" {
        at.bad_key::<()>("\"strip_prefix\" and \"replace_prefix\" exclude each other");
    }
    let PathMatch::Prefix(from) = path else {
        at.bad_key::<()>(format_args!(
            "\"{}\" needs a `path` that is a prefix, such as \"/api/\"",
            at.key
        ));
        return Rewrite::None;
    };
    let from = from.clone();
    match replace {
        Some(to) => Rewrite::ReplacePrefix { from, to },
        None if strip => Rewrite::StripPrefix(from),
        None => Rewrite::None,
    }
}

fn header_edits(at: At<'_>) -> Option<HeaderEdits> {
    if let Kind::Table(table) = at.kind()
        && let Some(header) = table.0.iter().find(|entry| is_bare_header(entry))
    {
        let name = shortened(&header.key);
        return at.fail(format_args!(
            "expected `set` and `remove`; write {{ set = {{ \"{name}\" = … }} }}"
        ));
    }
    let section = at.section(EDIT_KEYS)?;
    let set = section.get("set", |at| {
        for entry in at.entries() {
            if let Err(fault) = scalars::editable_header(entry.key) {
                entry.bad_key::<()>(fault);
            }
        }
        let name = |key: &str| HeaderName::from_bytes(key.as_bytes()).ok();
        Some(named(at, name, |at| at.parse(scalars::header_value)))
    });
    let remove = section.get("remove", |at| {
        at.one_or_more(|at| at.parse(scalars::editable_header))
    });
    Some(HeaderEdits {
        set: set.unwrap_or_default(),
        remove: remove.unwrap_or_default(),
    })
}

/// `"X-A" = "b"` where `set` should stand around it.
fn is_bare_header(entry: &Entry) -> bool {
    matches!(entry.value.kind, Kind::Text { .. })
        && nearest(&entry.key, EDIT_KEYS.iter().map(|key| key.name)).is_none()
}

fn error_pages(at: At<'_>) -> BTreeMap<u16, PathBuf> {
    let pages = at.entries().into_iter().filter_map(|page| {
        let status: Option<u16> = page.key.parse().ok();
        match status.filter(|status| (400..=599).contains(status)) {
            Some(status) => page.path().map(|path| (status, path)),
            None => page.bad_key(format_args!(
                "expected a status from 400 to 599 as the key, found `{}`",
                page.key
            )),
        }
    });
    pages.collect()
}

fn hold_on(at: At<'_>) -> Option<Vec<StatusCode>> {
    at.list_or_empty(|at| match at.whole(100..=599)? {
        502 => Some(StatusCode::BAD_GATEWAY),
        503 => Some(StatusCode::SERVICE_UNAVAILABLE),
        504 => Some(StatusCode::GATEWAY_TIMEOUT),
        other => at.fail(format_args!("expected 502, 503 or 504, found `{other}`")),
    })
}
