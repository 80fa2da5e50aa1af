//! `[[route]]` written back.

use http::HeaderValue;

use super::writer::{Writer, inline, list, quoted, quoted_path, size};
use crate::routing::settings::{
    Action, EventSettings, HeaderEdits, HostMatch, PathMatch, Rewrite, RouteSettings,
};
use crate::units::format_duration;

pub(super) fn write(out: &mut Writer, route: &RouteSettings) {
    out.section("[[route]]");
    out.set("name", quoted(&route.name));
    conditions(out, route);
    action(out, &route.action);
    match &route.rewrite {
        Rewrite::None => out.set("strip_prefix", false),
        Rewrite::StripPrefix(_) => out.set("strip_prefix", true),
        Rewrite::ReplacePrefix { to, .. } => out.set("replace_prefix", quoted(to)),
    }
    out.set("request_headers", edits(&route.request_headers));
    out.set("response_headers", edits(&route.response_headers));
    let pages = route.error_pages.iter();
    out.set(
        "error_pages",
        inline(pages.map(|(status, path)| (status.to_string(), quoted_path(path)))),
    );
    out.set_or_none("body_limit", route.body_limit.map(size));
    let statuses = route.hold_on.iter();
    out.set("hold_on", list(statuses.map(http::StatusCode::as_u16)));
    let limits = route.rate_limits.iter();
    out.set("rate_limit", list(limits.map(|name| quoted(name))));
    out.set("events", events(route.events.as_ref()));
}

fn events(events: Option<&EventSettings>) -> String {
    match events {
        None => "false".to_owned(),
        Some(events) => inline([
            ("viewers", events.viewers.to_string()),
            ("heartbeat", quoted(&format_duration(events.heartbeat))),
        ]),
    }
}

fn conditions(out: &mut Writer, route: &RouteSettings) {
    let matches = &route.matches;
    out.set_or_none(
        "scheme",
        matches.scheme.map(|scheme| quoted(scheme.as_str())),
    );
    let host = match &matches.host {
        HostMatch::Any => None,
        HostMatch::Exact(host) => Some(quoted(host)),
        HostMatch::Wildcard(suffix) => Some(quoted(&format!("*.{suffix}"))),
    };
    out.set_or_none("host", host);
    out.set(
        "path",
        quoted(&match &matches.path {
            PathMatch::Prefix(path) | PathMatch::Glob(path) => path.clone(),
            PathMatch::Exact(path) => format!("={path}"),
        }),
    );
    let methods = matches.methods.iter();
    let methods =
        (!matches.methods.is_empty()).then(|| list(methods.map(|method| quoted(method.as_str()))));
    out.set_or_none("method", methods);
    let wanted = |value: &Option<String>| value.as_deref().map_or("true".to_owned(), quoted);
    let headers = matches.headers.iter();
    out.set(
        "header",
        inline(headers.map(|(name, value)| (name.as_str(), wanted(value)))),
    );
    let query = matches.query.iter();
    out.set(
        "query",
        inline(query.map(|(name, value)| (name, wanted(value)))),
    );
}

fn action(out: &mut Writer, action: &Action) {
    match action {
        Action::Forward(targets) => match targets.as_slice() {
            [only] if only.weight == 1 => out.set("to", quoted(&only.upstream)),
            targets => out.set(
                "to",
                list(targets.iter().map(|target| {
                    inline([
                        ("to", quoted(&target.upstream)),
                        ("weight", target.weight.to_string()),
                    ])
                })),
            ),
        },
        Action::Redirect { to, status } => out.set(
            "redirect",
            inline([("to", quoted(to)), ("status", status.as_u16().to_string())]),
        ),
        Action::Respond {
            status,
            body,
            content_type,
        } => out.set(
            "respond",
            inline([
                ("status", status.as_u16().to_string()),
                ("body", quoted(body)),
                ("content_type", header_value(content_type)),
            ]),
        ),
        Action::Files {
            root,
            index,
            fallback,
        } => {
            let mut entries = vec![("root", quoted_path(root)), ("index", quoted(index))];
            entries.extend(fallback.as_deref().map(|path| ("fallback", quoted(path))));
            out.set("files", inline(entries));
        }
    }
}

fn edits(edits: &HeaderEdits) -> String {
    let set = edits.set.iter();
    let remove = edits.remove.iter();
    let set = set.map(|(name, value)| (name.as_str(), header_value(value)));
    let remove = remove.map(|name| quoted(name.as_str()));
    let mut entries = Vec::new();
    if !edits.set.is_empty() {
        entries.push(("set", inline(set)));
    }
    if !edits.remove.is_empty() {
        entries.push(("remove", list(remove)));
    }
    inline(entries)
}

/// The readers take visible ASCII only, so nothing is lost.
fn header_value(value: &HeaderValue) -> String {
    quoted(&String::from_utf8_lossy(value.as_bytes()))
}
