//! `proxy_cache` and its directives, as the `cache` of a route and the memory of all.

use std::collections::BTreeMap;
use std::time::Duration;

use super::document::{Cache, CacheRules, KeyQuery};
use super::note::Notes;
use super::scope::Scope;
use super::tree::Directive;
use super::value::{self, Part};

/// What nginx bounds by the cache's size alone, Forebay bounds by a window.
const STALE_WHILE_REVALIDATE: Duration = Duration::from_secs(3_600);
const STALE_IF_ERROR: Duration = Duration::from_secs(86_400);

/// The longest lifetime that Forebay takes.
const LIFETIME_MAX: Duration = Duration::from_secs(366 * 86_400);

/// A disk's size is no memory's: above this nobody is given what was not asked for.
const MEMORY_MAX: u64 = 1 << 30;
const MEMORY_MIN: u64 = 1 << 20;

/// `[cache] memory` of all `proxy_cache_path`s.
pub(super) fn memory(notes: &Notes, http: &[Directive]) -> Option<u64> {
    let scope = Scope::new(notes, http);
    let mut total: u64 = 0;
    for path in http.iter().filter(|d| d.name == "proxy_cache_path") {
        notes.seen(path);
        let option = |key: &str| {
            let found = path.args.iter().find_map(|arg| arg.strip_prefix(key));
            found.and_then(value::size)
        };
        match option("max_size=") {
            Some(size) if size <= MEMORY_MAX => {
                total = total.saturating_add(size);
                scope.differs(
                    path,
                    "max_size is `[cache] memory` here: responses are kept in memory, and gone after a restart; inactive needs nothing, what is asked for least goes first",
                );
            }
            Some(_) => scope.missing(
                path,
                "that is much for memory, where Forebay keeps responses; `[cache] memory` is left at its default of 256MiB",
            ),
            None => scope.needless(
                path,
                "responses are kept in memory; `[cache] memory` says how much, 256MiB by default",
            ),
        }
    }
    (total > 0).then_some(total.clamp(MEMORY_MIN, MEMORY_MAX))
}

/// What the cache may do at a place that forwards.
pub(super) fn rules(scope: &Scope<'_>) -> Cache {
    let on = scope.one("proxy_cache");
    let Some(on) = on.filter(|d| d.arg(0) != "off") else {
        return Cache::Off;
    };
    let mut rules = CacheRules::default();
    if let Some(ignored) = scope.one("proxy_ignore_headers") {
        ignore(scope, ignored, &mut rules);
    }
    rules.ttl_by_status = ttl_by_status(scope, rules.ignores_origin);
    if rules.ignores_origin && rules.ttl_by_status.is_empty() {
        // Nothing would say how long anything is fresh, and nginx keeps nothing then.
        return Cache::Off;
    }
    if rules.ttl_by_status.is_empty() {
        scope.differs(
            on,
            "where a response has `Last-Modified` and says no more, nginx stores nothing and Forebay keeps it for a tenth of its age (RFC 9111 §4.2.2)",
        );
    }
    stale(scope, &mut rules);
    let mut is_safe = bypass(scope, &mut rules);
    if let Some(key) = scope.one("proxy_cache_key") {
        is_safe &= self::key(scope, key, &mut rules);
    }
    // What keeps clients apart and cannot be said here must not be left out: better nothing is kept.
    if is_safe {
        Cache::Rules(Box::new(rules))
    } else {
        Cache::Off
    }
}

fn ignore(scope: &Scope<'_>, directive: &Directive, rules: &mut CacheRules) {
    for name in &directive.args {
        match name.to_ascii_lowercase().as_str() {
            "cache-control" | "expires" => rules.ignores_origin = true,
            "x-accel-expires" | "x-accel-buffering" | "x-accel-charset" | "x-accel-limit-rate"
            | "x-accel-redirect" => {}
            "set-cookie" => scope.missing(
                directive,
                "Set-Cookie: a response that sets a cookie is never shared here; have the application not set it, or remove it there",
            ),
            _ => scope.missing(
                directive,
                format!("{name}: it is obeyed all the same, for what it says keeps clients apart"),
            ),
        }
    }
}

fn ttl_by_status(scope: &Scope<'_>, ignores_origin: bool) -> Vec<(String, Duration)> {
    let mut all: BTreeMap<String, Duration> = BTreeMap::new();
    let said = scope.all("proxy_cache_valid");
    for valid in &said {
        let Some((time, statuses)) = valid.args.split_last() else {
            continue;
        };
        let Some(ttl) = value::duration(time) else {
            scope.missing(valid, "no duration that could be read");
            continue;
        };
        let ttl = ttl.min(LIFETIME_MAX);
        let usual = ["200", "301", "302"].map(str::to_owned);
        let statuses = if statuses.is_empty() {
            &usual
        } else {
            statuses
        };
        for status in statuses {
            if status == "any" {
                for class in ["2xx", "3xx", "4xx", "5xx"] {
                    all.entry(class.to_owned()).or_insert(ttl);
                }
                continue;
            }
            match status.parse::<u16>() {
                Ok(code @ 200..=599) => {
                    all.entry(code.to_string()).or_insert(ttl);
                }
                _ => scope.missing(valid, format!("{status} is no status of an answer")),
            }
        }
        if !ignores_origin {
            scope.differs(
                valid,
                "nginx takes this where the response says nothing, `ttl_by_status` is stronger than its `Cache-Control` (not than `no-store` and `private`); where the application says it, leave it out",
            );
        }
    }
    all.into_iter().collect()
}

fn stale(scope: &Scope<'_>, rules: &mut CacheRules) {
    let Some(stale) = scope.one("proxy_cache_use_stale") else {
        return;
    };
    let has = |word: &str| stale.args.iter().any(|arg| arg == word);
    if has("off") {
        return;
    }
    let is_error = |arg: &String| {
        arg.starts_with("http_5") || matches!(arg.as_str(), "error" | "timeout" | "invalid_header")
    };
    if stale.args.iter().any(is_error) {
        rules.stale_if_error = Some(STALE_IF_ERROR);
    }
    if has("updating") {
        rules.stale_while_revalidate = Some(STALE_WHILE_REVALIDATE);
    }
    if stale.args.iter().any(|arg| arg.starts_with("http_4")) {
        scope.missing(
            stale,
            "4xx are no reason to serve what is stale; they are passed on",
        );
    }
    scope.differs(
        stale,
        "nginx serves what is stale for as long as it is kept, Forebay within a window past its freshness: an hour while it is fetched anew, a day after an error; choose your own",
    );
}

/// False where a condition is lost.
fn bypass(scope: &Scope<'_>, rules: &mut CacheRules) -> bool {
    let mut is_whole = true;
    let past = scope.one("proxy_cache_bypass");
    let unstored = scope.one("proxy_no_cache");
    for directive in [past, unstored].into_iter().flatten() {
        for condition in &directive.args {
            let name = scope.plain(condition);
            let name = name.strip_prefix('$').unwrap_or_default();
            let rule = match (
                name.strip_prefix("cookie_"),
                name.strip_prefix("http_"),
                name.strip_prefix("arg_"),
            ) {
                (Some(cookie), _, _) => Some(("cookie", cookie.to_owned())),
                (_, Some(field), _) => Some(("header", field_name(field))),
                (_, _, Some(parameter)) => Some(("query", parameter.to_owned())),
                _ => None,
            };
            match rule {
                Some(rule) if !rules.bypass.contains(&rule) => rules.bypass.push(rule),
                Some(_) => {}
                None => {
                    is_whole = false;
                    scope.missing(
                        directive,
                        format!("{condition}: so nothing is cached there; write the cookie, header, parameter or path that it comes from into `cache.bypass`"),
                    );
                }
            }
        }
    }
    let args = |directive: Option<&Directive>| directive.map(|d| d.args.clone());
    if let Some(one) = past.or(unstored)
        && args(past) != args(unstored)
    {
        scope.differs(
            one,
            "a request that goes past the cache leaves it as it is: it neither takes from it nor stores",
        );
    }
    is_whole
}

/// `http_x_preview` is the field `X-Preview`.
fn field_name(variable: &str) -> String {
    let words = variable.split('_').map(|word| {
        let mut chars = word.chars();
        let first = chars.next().map(|c| c.to_ascii_uppercase());
        first.into_iter().chain(chars).collect::<String>()
    });
    words.collect::<Vec<_>>().join("-")
}

/// False where a part is lost.
fn key(scope: &Scope<'_>, directive: &Directive, rules: &mut CacheRules) -> bool {
    let mut is_whole = true;
    let mut has_query = false;
    let mut parameters = Vec::new();
    for part in scope.parts(directive.arg(0)) {
        let Part::Variable(name) = part else {
            continue;
        };
        match name.as_str() {
            "scheme" | "host" | "http_host" | "server_name" | "proxy_host" | "uri"
            | "document_uri" | "request_method" | "is_args" | "server_port" => {}
            "request_uri" | "args" | "query_string" => has_query = true,
            name => match (
                name.strip_prefix("cookie_"),
                name.strip_prefix("http_"),
                name.strip_prefix("arg_"),
            ) {
                (Some(cookie), _, _) => rules.key_cookies.push(cookie.to_owned()),
                (_, Some(field), _) => rules.key_headers.push(field_name(field)),
                (_, _, Some(parameter)) => parameters.push(parameter.to_owned()),
                _ => {
                    is_whole = false;
                    scope.missing(
                    directive,
                    format!("${name}: so nothing is cached there; the key is made of scheme, host, path and query, and of `headers` and `cookies` by name"),
                    );
                }
            },
        }
    }
    if !has_query {
        rules.key_query = Some(if parameters.is_empty() {
            KeyQuery::None
        } else {
            KeyQuery::Allow(parameters)
        });
    }
    is_whole
}
