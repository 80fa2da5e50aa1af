//! `forebay routes`: prints the routes in the order in which they are tried.

use std::path::PathBuf;
use std::process::ExitCode;

use super::{caching, check, output};
use crate::access::settings::AccessSettings;
use crate::config::{is_secret_field, settings::Settings};
use crate::rate::settings::{RateKey, RateLimitSettings};
use crate::routing::Table;
use crate::routing::settings::{
    Action, HostMatch, MatchSettings, PathMatch, Rewrite, RouteSettings, WeightedUpstream,
};

/// Prints a table of the routes, or all errors. Code 0 or 2.
#[expect(
    clippy::needless_pass_by_value,
    reason = "one signature for all subcommands"
)]
pub fn run(config: Option<PathBuf>) -> ExitCode {
    match check::load(config.as_deref()) {
        Ok((_, loaded)) => {
            output::print(&table(loaded.settings));
            ExitCode::SUCCESS
        }
        Err(code) => code,
    }
}

const COLUMNS: usize = 6;
const HEAD: [&str; COLUMNS] = ["HOST", "PATH", "WHEN", "THEN", "CACHE", "NAME"];

fn table(settings: Settings) -> String {
    let (rules, access, rates) = (settings.rules, settings.access, settings.rate_limits);
    let table = Table::new(settings.routes);
    let rows = table.in_order().map(|route| {
        let state = rules
            .get(route.index)
            .and_then(|rules| caching::state(route, rules));
        let guard = access.get(route.index).and_then(AccessSettings::summary);
        row(route, state, guard, limits(route, &rates))
    });
    in_columns(rows)
}

fn row(
    route: &RouteSettings,
    cache: Option<String>,
    guard: Option<String>,
    limits: Option<String>,
) -> [String; COLUMNS] {
    let host = match &route.matches.host {
        HostMatch::Any => "*".to_owned(),
        HostMatch::Exact(host) => host.clone(),
        HostMatch::Wildcard(suffix) => format!("*.{suffix}"),
    };
    let path = match &route.matches.path {
        PathMatch::Prefix(path) | PathMatch::Glob(path) => path.clone(),
        PathMatch::Exact(path) => format!("={path}"),
    };
    [
        host,
        path,
        conditions(&route.matches),
        then(route, guard, limits),
        cache.unwrap_or_else(|| "-".to_owned()),
        route.name.clone(),
    ]
}

fn conditions(matches: &MatchSettings) -> String {
    let mut all = Vec::new();
    all.extend(matches.scheme.map(|scheme| scheme.as_str().to_owned()));
    if !matches.methods.is_empty() {
        let methods: Vec<&str> = matches.methods.iter().map(http::Method::as_str).collect();
        all.push(methods.join("|"));
    }
    let wanted = |name: &str, separator, value: &Option<String>| match value {
        Some(value) => format!("{name}{separator}{}", value.escape_debug()),
        None => name.to_owned(),
    };
    for (name, value) in &matches.headers {
        if value.is_some() && is_secret_field(name.as_str()) {
            all.push(format!("{name}: (secret)"));
        } else {
            all.push(wanted(name.as_str(), ": ", value));
        }
    }
    for (name, value) in &matches.query {
        let name = format!("?{}", name.escape_debug());
        all.push(wanted(&name, "=", value));
    }
    if all.is_empty() {
        return "-".to_owned();
    }
    all.join(", ")
}

fn action(action: &Action) -> String {
    match action {
        Action::Forward(targets) => match targets.as_slice() {
            [only] => format!("to {}", only.upstream),
            targets => {
                let shares = targets
                    .iter()
                    .map(|WeightedUpstream { upstream, weight }| format!("{upstream} ({weight})"));
                format!("to {}", shares.collect::<Vec<_>>().join(", "))
            }
        },
        Action::Redirect { to, status } => format!("redirect {} to {to}", status.as_u16()),
        Action::Respond { status, .. } => format!("respond {}", status.as_u16()),
        Action::Files { root, .. } => format!("files {}", root.display()),
    }
}

/// How often it may be asked: `10/s`, or `5/m by cookie:sid`.
fn limits(route: &RouteSettings, rates: &[RateLimitSettings]) -> Option<String> {
    let of = |name: &String| rates.iter().find(|rate| rate.name == *name);
    let limits = route.rate_limits.iter().filter_map(of).map(|limit| {
        let by = match &limit.key {
            RateKey::Client => String::new(),
            key => format!(" by {key}"),
        };
        let only_counted = if limit.dry_run { " (dry run)" } else { "" };
        format!("{}{by}{only_counted}", limit.rate)
    });
    let limits: Vec<String> = limits.collect();
    (!limits.is_empty()).then(|| limits.join(" and "))
}

/// What becomes of a request, whose, and how often.
fn then(route: &RouteSettings, guard: Option<String>, limits: Option<String>) -> String {
    let mut then = action(&route.action) + &rewrite(&route.rewrite);
    if let Some(guard) = guard {
        then = format!("{then}, for {guard}");
    }
    if let Some(limits) = limits {
        then = format!("{then}, at most {limits}");
    }
    then
}

/// The key that changes the path, as it was written.
fn rewrite(rewrite: &Rewrite) -> String {
    match rewrite {
        Rewrite::None => String::new(),
        Rewrite::StripPrefix(_) => ", strip_prefix".to_owned(),
        Rewrite::ReplacePrefix { to, .. } => format!(", replace_prefix {to}"),
    }
}

/// Rows under a head, each column as wide as its widest cell.
fn in_columns(rows: impl Iterator<Item = [String; COLUMNS]>) -> String {
    let mut all = vec![HEAD.map(str::to_owned)];
    all.extend(rows);
    let mut widths = [0; COLUMNS];
    for row in &all {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut text = String::new();
    for row in &all {
        let cells = row.iter().zip(widths);
        let cells: Vec<String> = cells
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[test]
    fn routes_come_in_the_order_in_which_they_are_tried() {
        let text = r#"
            [[route]]
            to = [{ to = "http://app:5000", weight = 9 }, "http://new:5000"]
            cache = { ttl = "5m", refresh_every = "1m" }

            [[route]]
            path = "/live/"
            to = "http://app:5000"
            cache = false

            [[route]]
            host = "example.org"
            path = "/api/"
            scheme = "http"
            method = ["GET", "POST"]
            header = { X-Canary = "1" }
            query = { debug = true }
            redirect = "https://{host}{uri}"
            replace_prefix = "/v1/"

            [[route]]
            name = "ping"
            path = "=/ping"
            respond = "pong"
            allow = ["10.0.0.0/8"]
            rate_limit = [{ rate = "10/s" }, { rate = "5/m", key = "cookie:sid", dry_run = true }]

            [[route]]
            path = "/status/"
            to = "http://app:5000"
            cache = { ttl_by_status = { 404 = "30s" } }
        "#;
        let settings = config::load_str(text, "proxy.toml").map_err(|errors| errors.to_string());
        let printed = settings.map(table);
        assert_eq!(
            printed.as_deref(),
            Ok("\
HOST         PATH      WHEN                                 THEN                                                                             CACHE                   NAME
example.org  /api/     http, GET|POST, x-canary: 1, ?debug  redirect 308 to https://{host}{uri}, replace_prefix /v1/                         -                       example.org/api/
*            =/ping    -                                    respond 200, for allow 10.0.0.0/8, at most 10/s and 5/m by cookie:sid (dry run)  -                       ping
*            /status/  -                                    to http://app:5000                                                               by status, else origin  /status/
*            /live/    -                                    to http://app:5000                                                               off                     /live/
*            /         -                                    to http://app:5000 (9), http://new:5000 (1)                                      5m, refreshed every 1m  /
")
        );
    }
}
