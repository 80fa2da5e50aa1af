//! `cache = …` of a `[[route]]`: what the cache may do there.

use std::time::Duration;

use http::StatusCode;

use super::reader::{Key, Section, key, table};
use super::scalars::Fault;
use super::value::At;
use super::{DAY, scalars};
use crate::cache::settings::{
    BypassRule, ClientDirectives, KeyRules, OriginFields, QueryRule, Rules, Scope, StatusMatch,
    TRACKING,
};
use crate::config::tree::{Kind, shortened};
use crate::units::format_duration;

pub(super) static KEYS: &[Key] = &[
    key("origin"),
    key("ttl"),
    key("ttl_by_status"),
    key("ttl_min"),
    key("ttl_max"),
    key("stale_while_revalidate"),
    key("stale_if_error"),
    key("stale_if_unreachable"),
    key("refresh_every"),
    key("uncacheable_for"),
    key("clients"),
    table("bypass", BYPASS_KEYS),
    table("key", KEY_KEYS),
    key("surrogate_control"),
    key("x_accel_expires"),
    key("deception_guard"),
    key("compress"),
    key("tags"),
    key("show_tags"),
];

static BYPASS_KEYS: &[Key] = &[
    key("cookie"),
    key("header"),
    key("query"),
    key("path"),
    key("value"),
];

/// What a bypass rule can be about; `value` only narrows.
const BYPASS_KINDS: [&str; 4] = ["cookie", "header", "query", "path"];

static KEY_KEYS: &[Key] = &[
    table("query", QUERY_KEYS),
    key("sort_query"),
    key("headers"),
    key("cookies"),
];

static QUERY_KEYS: &[Key] = &[key("drop"), key("allow")];

/// The word in `drop` that stands for a list of names.
const TRACKING_WORD: &str = "tracking";

/// Fields that are different for almost every client, and what may be done about it.
const ALMOST_UNIQUE: [(&str, &str); 3] = [
    ("authorization", ""),
    ("cookie", "; name the cookies that matter in `cookies`"),
    ("user-agent", ""),
];

pub(super) fn read(at: At<'_>) -> Option<Rules> {
    let enabled = match at.kind() {
        Kind::Table(_) => return Some(rules(at.section(KEYS)?)),
        Kind::Boolean(_)
        | Kind::Text {
            interpolated: true, ..
        } => at.boolean()?,
        _ => return at.expected("true, false, or a table such as { ttl = \"5m\" }"),
    };
    Some(if enabled {
        Rules::default()
    } else {
        Rules::off()
    })
}

fn rules(section: Section<'_>) -> Rules {
    let default = Rules::default();
    let year = DAY.saturating_mul(366);
    let window = |key| section.get(key, |at| at.duration(Duration::ZERO..=year));
    let flag = |key, default| section.or(key, default, At::boolean);
    let rules = Rules {
        enabled: true,
        origin: section.or("origin", default.origin, |at| {
            at.word(&[
                ("obey", OriginFields::Obey),
                ("ignore", OriginFields::Ignore),
            ])
        }),
        ttl: window("ttl"),
        ttl_by_status: section.or("ttl_by_status", Vec::new(), |at| Some(by_status(at, year))),
        ttl_min: window("ttl_min"),
        ttl_max: window("ttl_max"),
        stale_while_revalidate: window("stale_while_revalidate"),
        stale_if_error: window("stale_if_error"),
        stale_if_unreachable: window("stale_if_unreachable")
            .unwrap_or(default.stale_if_unreachable),
        clients: section.or("clients", default.clients, |at| {
            at.word(&[
                ("revalidate", ClientDirectives::Revalidate),
                ("honour", ClientDirectives::Honour),
                ("ignore", ClientDirectives::Ignore),
            ])
        }),
        bypass: section.or("bypass", Vec::new(), |at| match at.kind() {
            Kind::List(_) => at.list_or_empty(bypass),
            _ => bypass(at).map(|rule| vec![rule]),
        }),
        key: section.or("key", KeyRules::default(), key_rules),
        refresh_every: section.get("refresh_every", |at| {
            at.duration(Duration::from_secs(1)..=year)
        }),
        uncacheable_for: section.or("uncacheable_for", default.uncacheable_for, |at| {
            at.duration(Duration::ZERO..=DAY)
        }),
        surrogate_control: flag("surrogate_control", default.surrogate_control),
        x_accel_expires: flag("x_accel_expires", default.x_accel_expires),
        deception_guard: flag("deception_guard", default.deception_guard),
        compress: flag("compress", default.compress),
        tags: section.or("tags", Vec::new(), |at| {
            at.list_or_empty(|at| at.parse(tag))
        }),
        show_tags: flag("show_tags", default.show_tags),
        // The route's own, whatever its cache does.
        on_write: Vec::new(),
    };
    judge(&section, &rules);
    rules
}

/// Rules that contradict each other, or of which one makes the other idle.
fn judge(section: &Section<'_>, rules: &Rules) {
    let ignores = rules.origin == OriginFields::Ignore;
    // A lifetime that was written but could not be read has its own error.
    let gives_none = section.at("ttl").is_none() && section.at("ttl_by_status").is_none();
    if let Some(at) = section.at("origin")
        && ignores
        && gives_none
    {
        at.fail::<()>(
            "\"ignore\" leaves nothing that says how long a response is fresh; add a `ttl`, such as ttl = \"5m\"",
        );
    }
    if let (Some(at), Some(min), Some(max)) = (section.at("ttl_min"), rules.ttl_min, rules.ttl_max)
        && min > max
    {
        at.fail::<()>(format_args!(
            "`{}` is above `ttl_max`, which is \"{}\"",
            format_duration(min),
            format_duration(max)
        ));
    }
    let longest = rules.ttl_max.filter(|_| !ignores);
    let longest = longest.map(|longest| ("ttl_max", longest));
    let lifetime = rules.ttl.map(|ttl| ("ttl", ttl)).or(longest);
    if let (Some(at), Some(every), Some((key, lifetime))) =
        (section.at("refresh_every"), rules.refresh_every, lifetime)
        && every > lifetime
    {
        at.note(format_args!(
            "`{}` is longer than `{key}`, which is \"{}\", so what is stored goes stale before it is fetched anew",
            format_duration(every),
            format_duration(lifetime)
        ));
    }
    let without_origin = if ignores {
        Some("because `origin` is \"ignore\"")
    } else if rules.ttl.is_some() {
        Some("beside `ttl`, which holds whatever the origin says")
    } else {
        None
    };
    if let Some(why) = without_origin {
        section.idle_if(rules.ttl_min.is_some(), "ttl_min", why);
        section.idle_if(rules.ttl_max.is_some(), "ttl_max", why);
        section.idle_if(rules.surrogate_control && ignores, "surrogate_control", why);
        section.idle_if(rules.x_accel_expires, "x_accel_expires", why);
    }
}

/// `{ 404 = "30s", 5xx = "5s" }`, exact ones first, because the first that fits is taken.
fn by_status(at: At<'_>, longest: Duration) -> Vec<(StatusMatch, Duration)> {
    let pairs = at.entries().into_iter().filter_map(|entry| {
        let Some(status) = status_match(entry.key) else {
            return entry.bad_key(format_args!(
                "expected a status from 200 to 599, or a class such as `5xx`, as the key, found `{}`",
                entry.key
            ));
        };
        let ttl = entry.duration(Duration::ZERO..=longest)?;
        Some((status, ttl))
    });
    let mut pairs: Vec<_> = pairs.collect();
    pairs.sort_by_key(|(status, _)| match status {
        StatusMatch::Exact(status) => (0, status.as_u16()),
        StatusMatch::Class(class) => (1, *class),
    });
    pairs
}

fn status_match(text: &str) -> Option<StatusMatch> {
    if let Some(class) = text.strip_suffix("xx") {
        let class = class.parse().ok().filter(|class| (2..=5).contains(class));
        return class.map(StatusMatch::Class);
    }
    let status: u16 = text.parse().ok()?;
    let status = StatusCode::from_u16(status).ok();
    let status = status.filter(|status| (200..=599).contains(&status.as_u16()));
    status.map(StatusMatch::Exact)
}

fn tag(text: &str) -> Result<String, Fault> {
    match Scope::tags([text]) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(Fault(error.to_string())),
    }
}

/// One kind of thing, and for some its value.
fn bypass(at: At<'_>) -> Option<BypassRule> {
    let section = at.section(BYPASS_KEYS)?;
    let kinds: Vec<At<'_>> = BYPASS_KINDS
        .into_iter()
        .filter_map(|kind| section.at(kind))
        .collect();
    let [kind] = kinds.as_slice() else {
        return at.fail(if kinds.is_empty() {
            "a rule needs one of `cookie`, `header`, `query` and `path`"
        } else {
            "a rule is about one thing; any rule that holds is enough, so write several: \
             [{ cookie = \"a\" }, { header = \"B\" }]"
        });
    };
    let value = section.get("value", At::text).map(str::to_owned);
    match kind.key {
        "header" => Some(BypassRule::Header(kind.parse(scalars::header_name)?, value)),
        "query" => Some(BypassRule::Query(kind.parse(scalars::parameter)?, value)),
        other => {
            if let Some(value) = section.at("value") {
                value.bad_key::<()>(format_args!(
                    "\"value\" goes with `header` and `query`, not with `{other}`"
                ));
            }
            match other {
                "cookie" => Some(BypassRule::Cookie(kind.parse(scalars::token)?)),
                _ => Some(BypassRule::Path(kind.parse(scalars::path_start)?)),
            }
        }
    }
}

fn key_rules(at: At<'_>) -> Option<KeyRules> {
    let section = at.section(KEY_KEYS)?;
    Some(KeyRules {
        query: section.or("query", QueryRule::All, query),
        sort_query: section.or("sort_query", false, At::boolean),
        headers: section.or("headers", Vec::new(), |at| {
            at.list_or_empty(|at| {
                let name = at.parse(|text| whole_name(text, scalars::header_name))?;
                let almost_unique = ALMOST_UNIQUE.iter().find(|(known, _)| name == *known);
                if let Some((_, remedy)) = almost_unique {
                    at.note(format_args!(
                        "`{name}` is different for almost every client, so hardly anything is shared{remedy}"
                    ));
                }
                Some(name)
            })
        }),
        cookies: section.or("cookies", Vec::new(), |at| {
            at.list_or_empty(|at| at.parse(|text| whole_name(text, scalars::token)))
        }),
    })
}

/// A name as it is sent. A `*` would be lawful in it, but who writes one means any text, which a key cannot be made of.
fn whole_name<T>(text: &str, read: impl FnOnce(&str) -> Result<T, Fault>) -> Result<T, Fault> {
    if text.contains('*') {
        return Err(Fault(format!(
            "expected a whole name, found `{}`; a `*` stands for no other text here, so write each name out",
            shortened(text)
        )));
    }
    read(text)
}

fn query(at: At<'_>) -> Option<QueryRule> {
    if let Kind::Text { .. } = at.kind() {
        return at.word(&[
            ("all", QueryRule::All),
            ("none", QueryRule::Allow(Vec::new())),
        ]);
    }
    let section = at.section(QUERY_KEYS)?;
    let drop = section.get("drop", |at| {
        at.list(|at| at.parse(scalars::parameter_start))
    });
    let allow = section.get("allow", |at| {
        at.list_or_empty(|at| at.parse(scalars::parameter_start))
    });
    match (section.at("drop"), section.at("allow")) {
        (Some(_), Some(allow)) => {
            allow.bad_key("\"drop\" and \"allow\" exclude each other: the one names what does not count, the other all that does")
        }
        (None, None) => at.fail(
            "expected { drop = [\"tracking\"] }, { allow = [\"page\"] }, \"all\" or \"none\"",
        ),
        _ => drop
            .map(|names| QueryRule::Drop(expanded(names)))
            .or(allow.map(QueryRule::Allow)),
    }
}

/// The names, with the list in the place of its word, each once.
fn expanded(names: Vec<String>) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for name in names {
        let names = if name == TRACKING_WORD {
            TRACKING.iter().map(|&name| name.to_owned()).collect()
        } else {
            vec![name]
        };
        for name in names {
            if !all.contains(&name) {
                all.push(name);
            }
        }
    }
    all
}
