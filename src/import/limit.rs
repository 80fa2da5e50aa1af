//! `limit_req` and `limit_conn`, as rate limits and as `[limits] connections_per_client`.
//!
//! nginx's zone is a bucket for each key, and each `limit_req` says how much of it may be used at once; a limit of Forebay's has
//! both. So a zone that is used with two bursts becomes two limits.

use std::cell::RefCell;
use std::collections::BTreeMap;

use toml_edit::{Table, Value};

use super::document::{number, text};
use super::pass::label;
use super::scope::Scope;
use super::tree::Directive;

/// `[rate_limit.NAME]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RateLimit {
    rate: String,
    burst: u64,
    key: String,
    dry_run: bool,
}

impl RateLimit {
    pub(super) fn table(&self) -> Table {
        let mut table = Table::new();
        table.insert("rate", text(&self.rate).into());
        table.insert("burst", number(self.burst));
        if self.key != "client" {
            table.insert("key", text(&self.key).into());
        }
        if self.dry_run {
            table.insert("dry_run", Value::from(true).into());
        }
        table
    }
}

/// The zones of the configuration, and the limits that were made so far.
#[derive(Debug, Default)]
pub(super) struct Limits<'a> {
    zones: BTreeMap<&'a str, &'a Directive>,
    made: RefCell<Vec<(String, RateLimit)>>,
}

/// More requests at once than Forebay counts.
const MOST: u64 = 1_000_000;

impl<'a> Limits<'a> {
    pub(super) fn new(http: &'a [Directive]) -> Self {
        let zones = http.iter().filter(|d| d.name == "limit_req_zone");
        Self {
            zones: zones.filter_map(|d| Some((zone_of(d)?, d))).collect(),
            made: RefCell::default(),
        }
    }

    /// All that were made, in the order of their making.
    pub(super) fn into_made(self) -> Vec<(String, RateLimit)> {
        self.made.into_inner()
    }

    /// The names of what a place is limited by.
    pub(super) fn of(&self, scope: &Scope<'_>) -> Vec<String> {
        let all = scope.all("limit_req").into_iter();
        let mut names: Vec<String> = Vec::new();
        for said in all {
            let name = self.one(scope, said);
            names.extend(name.filter(|name| !names.contains(name)));
        }
        names
    }

    fn one(&self, scope: &Scope<'_>, said: &Directive) -> Option<String> {
        let zone = option(said, "zone=")?;
        let Some(directive) = self.zones.get(zone) else {
            scope.missing(said, "no `limit_req_zone` of that name is there to say how often; write `rate_limit` in the route");
            return None;
        };
        let rate = rate(option(directive, "rate=").unwrap_or_default());
        let burst = option(said, "burst=").map_or(Some(0), |burst| burst.parse::<u64>().ok());
        let (Some(rate), Some(burst)) = (rate, burst) else {
            scope.missing(said, "no rate that could be read");
            return None;
        };
        // nginx counts what is beyond the rate, Forebay what there is at once.
        let burst = burst.saturating_add(1).min(MOST);
        let Some((key, how)) = key(directive.arg(0)) else {
            scope.missing(
                said,
                format!("a limit counts by client, field, cookie, or all together, and not by `{}`; write rate_limit = {{ rate = \"{rate}\", burst = {burst} }} with a `key` that does", directive.arg(0)),
            );
            return None;
        };
        scope.notes.seen(directive);
        if let Some(how) = how {
            scope.differs(directive, how);
        }
        let status = scope.one("limit_req_status");
        let status = status.map_or("503", |status| status.arg(0));
        let is_delayed = !said.args.iter().any(|arg| arg == "nodelay") && burst > 1;
        let mut why: Vec<String> = Vec::new();
        if is_delayed {
            why.push(format!(
                "nothing is delayed here: {burst} are let in at once, and then {rate}"
            ));
        }
        if status != "429" {
            why.push(format!("what is beyond is answered 429, not {status}"));
        }
        if !why.is_empty() {
            scope.differs(said, why.join("; "));
        }
        let limit = RateLimit {
            rate,
            burst,
            key,
            dry_run: scope.is_on("limit_req_dry_run"),
        };
        let (name, is_second) = self.named(zone, limit);
        if is_second {
            scope.differs(
                said,
                "this zone is used with another burst elsewhere, and is counted apart from it here",
            );
        }
        Some(name)
    }

    /// The name of this limit, and whether its zone has another one.
    fn named(&self, zone: &str, limit: RateLimit) -> (String, bool) {
        let mut made = self.made.borrow_mut();
        let base = label(zone);
        let begins = |name: &str| name == base || name.starts_with(&format!("{base}-"));
        let mut same = made.iter();
        if let Some((name, _)) = same.find(|(name, other)| begins(name) && *other == limit) {
            return (name.clone(), *name != base);
        }
        let is_taken = |name: &String| made.iter().any(|(other, _)| other == name);
        let names = (2..).map(|count| format!("{base}-{count}"));
        let mut names = std::iter::once(base.clone()).chain(names);
        let name = names.find(|name| !is_taken(name)).unwrap_or(base.clone());
        made.push((name.clone(), limit));
        let is_second = name != base;
        (name, is_second)
    }
}

/// `zone=login:10m` and `zone=login`
fn option<'d>(directive: &'d Directive, key: &str) -> Option<&'d str> {
    directive.args.iter().find_map(|arg| arg.strip_prefix(key))
}

fn zone_of(directive: &Directive) -> Option<&str> {
    let zone = option(directive, "zone=")?;
    Some(zone.split_once(':').map_or(zone, |(name, _)| name))
}

/// `5r/m` as `5/m`.
fn rate(text: &str) -> Option<String> {
    let (count, per) = ["s", "m"]
        .iter()
        .find_map(|per| Some((text.strip_suffix(&format!("r/{per}"))?, per)))?;
    let count: u64 = count.parse().ok()?;
    (1..=MOST)
        .contains(&count)
        .then(|| format!("{count}/{per}"))
}

const WITHOUT: &str = "a request without it is counted by its client, nginx does not count it";

const COARSER: &str = "counted by client alone, for all together that nginx counts apart: raise `rate` where that is too little";

/// Whether the client is a part of a key of several.
fn by_client(text: &str) -> bool {
    let names = text.split('$').skip(1);
    let mut names = names.map(|name| name.trim_start_matches('{'));
    names.any(|name| name.starts_with("binary_remote_addr") || name.starts_with("remote_addr"))
}

/// What counts alike, and what is not quite the same.
fn key(text: &str) -> Option<(String, Option<&'static str>)> {
    let variable = text.strip_prefix('$');
    let variable = variable.map(|name| name.trim_start_matches('{').trim_end_matches('}'));
    let is_name = |name: &str| {
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    match variable {
        Some("binary_remote_addr" | "remote_addr") => Some(("client".to_owned(), None)),
        Some("server_name") => Some((
            "all".to_owned(),
            Some("counted together for all servers that use it"),
        )),
        Some(_) if text.matches('$').count() > 1 => {
            by_client(text).then(|| ("client".to_owned(), Some(COARSER)))
        }
        Some(name) => {
            let (kind, name) = if let Some(name) = name.strip_prefix("http_") {
                ("header", name.replace('_', "-"))
            } else {
                ("cookie", name.strip_prefix("cookie_")?.to_owned())
            };
            let lawful = is_name(&name.replace('-', "_"));
            lawful.then(|| (format!("{kind}:{name}"), Some(WITHOUT)))
        }
        None if !text.contains('$') && !text.is_empty() => Some(("all".to_owned(), None)),
        None => by_client(text).then(|| ("client".to_owned(), Some(COARSER))),
    }
}

/// `[limits] connections_per_client`, where each server that does more than answer all alike has the same `limit_conn` by client.
pub(super) fn connections<'a, 'b>(
    http: &'b Scope<'a>,
    servers: impl Iterator<Item = &'b Scope<'a>>,
) -> Option<u64>
where
    'a: 'b,
{
    let by_client = |said: &'a Directive| {
        let mut zones = http.own().iter().filter(|d| d.name == "limit_conn_zone");
        let zone = zones.find(|d| zone_of(d) == Some(said.arg(0)))?;
        let is_client = matches!(zone.arg(0), "$binary_remote_addr" | "$remote_addr");
        let most = said.arg(1).parse::<u64>().ok()?;
        let most = Some(most.min(10_000_000)).filter(|most| *most > 0)?;
        is_client.then_some((most, said, zone))
    };
    let of = |server: &Scope<'a>| {
        let mut level = server.nearest(&["limit_conn"]).into_iter();
        level.find_map(by_client)
    };
    let servers = servers.filter(|server| server.own().iter().any(|d| d.name == "location"));
    let found: Option<Vec<_>> = servers.map(of).collect();
    let found = found?;
    let (most, ..) = *found.first()?;
    if found.iter().any(|(other, ..)| *other != most) {
        return None;
    }
    for (_, said, zone) in found {
        http.notes.seen(zone);
        http.differs(
            said,
            "connections are counted here, idle ones too and whatever is asked on them, and one more is closed, not answered 503",
        );
    }
    Some(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_counts_alike() {
        for (text, expected, coarser) in [
            ("$binary_remote_addr", Some("client"), false),
            ("${remote_addr}", Some("client"), false),
            ("$binary_remote_addr$uri", Some("client"), true),
            ("$server_name:${binary_remote_addr}", Some("client"), true),
            ("ip-$remote_addr", Some("client"), true),
            ("$http_x_api_key", Some("header:x-api-key"), false),
            ("$cookie_sid", Some("cookie:sid"), false),
            ("global", Some("all"), false),
            ("$uri", None, false),
            ("$cookie_sid$uri", None, false),
            ("", None, false),
        ] {
            let found = key(text);
            let named = found.as_ref().map(|(key, _)| key.as_str());
            assert_eq!(named, expected, "{text}");
            let said = found.and_then(|(_, how)| how);
            assert_eq!(said == Some(COARSER), coarser, "{text}");
        }
    }
}
