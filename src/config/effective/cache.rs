//! `[cache]` and `cache` of a route written back.

use std::time::Duration;

use super::writer::{Writer, duration, inline, list, quoted, size};
use crate::cache::settings::{
    BypassRule, CacheSettings, ClientDirectives, KeyRules, OriginFields, QueryRule, Rules,
    StatusMatch, WriteRule,
};
use crate::routing::settings::{Action, RouteSettings};

pub(super) fn write(out: &mut Writer, cache: &CacheSettings) {
    out.section("[cache]");
    out.set("memory", size(cache.memory));
    out.set("object", size(cache.object));
    out.set("in_flight", size(cache.in_flight));
    out.set("variants", cache.variants);
    out.set("abandoned", cache.abandoned);
}

/// Behind the route that they belong to. Where nothing is forwarded there is nothing to say.
pub(super) fn write_rules(out: &mut Writer, route: &RouteSettings, rules: &Rules) {
    if !matches!(route.action, Action::Forward(_)) {
        return;
    }
    out.set("on_write", list(rules.on_write.iter().map(write_rule)));
    if !rules.enabled {
        out.set("cache", false);
        return;
    }
    let maybe = |window: Option<Duration>| window.map(duration);
    out.section("[route.cache]");
    out.set(
        "origin",
        quoted(match rules.origin {
            OriginFields::Obey => "obey",
            OriginFields::Ignore => "ignore",
        }),
    );
    out.set_or_none("ttl", maybe(rules.ttl));
    let by_status = rules.ttl_by_status.iter();
    out.set(
        "ttl_by_status",
        inline(by_status.map(|(status, ttl)| (status_match(*status), duration(*ttl)))),
    );
    out.set_or_none("ttl_min", maybe(rules.ttl_min));
    out.set_or_none("ttl_max", maybe(rules.ttl_max));
    out.set_or_none(
        "stale_while_revalidate",
        maybe(rules.stale_while_revalidate),
    );
    out.set_or_none("stale_if_error", maybe(rules.stale_if_error));
    out.set("stale_if_unreachable", duration(rules.stale_if_unreachable));
    out.set_or_none("refresh_every", maybe(rules.refresh_every));
    out.set("uncacheable_for", duration(rules.uncacheable_for));
    out.set(
        "clients",
        quoted(match rules.clients {
            ClientDirectives::Revalidate => "revalidate",
            ClientDirectives::Honour => "honour",
            ClientDirectives::Ignore => "ignore",
        }),
    );
    out.set("bypass", list(rules.bypass.iter().map(bypass)));
    out.set("key", key(&rules.key));
    out.set("surrogate_control", rules.surrogate_control);
    out.set("x_accel_expires", rules.x_accel_expires);
    out.set("deception_guard", rules.deception_guard);
    out.set("compress", rules.compress);
    out.set("tags", list(rules.tags.iter().map(|tag| quoted(tag))));
    out.set("show_tags", rules.show_tags);
}

fn write_rule(rule: &WriteRule) -> String {
    let methods: Vec<&str> = rule.methods.iter().map(http::Method::as_str).collect();
    let methods = match methods.as_slice() {
        [] => "*".to_owned(),
        methods => methods.join("|"),
    };
    let purge = rule.purge.iter().map(|scope| quoted(&scope.to_string()));
    inline([
        ("match", quoted(&format!("{methods} {}", rule.path))),
        ("purge", list(purge)),
    ])
}

fn status_match(status: StatusMatch) -> String {
    match status {
        StatusMatch::Exact(status) => status.as_str().to_owned(),
        StatusMatch::Class(class) => format!("{class}xx"),
    }
}

fn bypass(rule: &BypassRule) -> String {
    let (kind, name, value) = match rule {
        BypassRule::Cookie(name) => ("cookie", name.as_str(), None),
        BypassRule::Header(name, value) => ("header", name.as_str(), value.as_deref()),
        BypassRule::Query(name, value) => ("query", name.as_str(), value.as_deref()),
        BypassRule::Path(path) => ("path", path.as_str(), None),
    };
    let value = value.map(|value| ("value", quoted(value)));
    inline([(kind, quoted(name))].into_iter().chain(value))
}

fn key(key: &KeyRules) -> String {
    let names = |names: &[String]| list(names.iter().map(|name| quoted(name)));
    let query = match &key.query {
        QueryRule::All => quoted("all"),
        QueryRule::Drop(dropped) => inline([("drop", names(dropped))]),
        QueryRule::Allow(none) if none.is_empty() => quoted("none"),
        QueryRule::Allow(allowed) => inline([("allow", names(allowed))]),
    };
    let headers = key.headers.iter();
    inline([
        ("query", query),
        ("sort_query", key.sort_query.to_string()),
        ("headers", list(headers.map(|name| quoted(name.as_str())))),
        ("cookies", names(&key.cookies)),
    ])
}
