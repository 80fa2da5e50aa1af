//! Which rate limits there are in all, and which of them each route is limited by.

use std::collections::BTreeSet;

use super::error::{Report, listed, nearest};
use super::file::{RateRef, Route, Spotted};
use crate::rate::settings::RateLimitSettings;

/// The declared limits, then those that routes have of their own, which are called as the routes are; and beside each route
/// the names of its limits.
pub(super) fn resolve(
    declared: Vec<Spotted<RateLimitSettings>>,
    routes: &[Route],
    names: &[String],
    report: &Report,
) -> (Vec<RateLimitSettings>, Vec<Vec<String>>) {
    unused(&declared, routes, report);
    let known: Vec<String> = declared.iter().map(|it| it.value.name.clone()).collect();
    let mut limits: Vec<_> = declared.into_iter().map(|limit| limit.value).collect();
    let mut of_routes = Vec::new();
    for (route, name) in routes.iter().zip(names) {
        let mut of_route: Vec<String> = Vec::new();
        for reference in &route.rate_limits {
            let name = match reference {
                RateRef::Named(named) if known.contains(&named.value) => named.value.clone(),
                RateRef::Named(named) => {
                    report.error(named.place, unknown(&named.value, &known));
                    continue;
                }
                RateRef::Inline(limit) => {
                    let name = name_of_own(name, &limits);
                    limits.push(RateLimitSettings {
                        name: name.clone(),
                        ..limit.clone()
                    });
                    name
                }
            };
            if !of_route.contains(&name) {
                of_route.push(name);
            }
        }
        of_routes.push(of_route);
    }
    (limits, of_routes)
}

/// The route's name, with a number where another limit is called so.
fn name_of_own(route: &str, taken: &[RateLimitSettings]) -> String {
    let mut name = route.to_owned();
    let mut count = 1;
    while taken.iter().any(|limit| limit.name == name) {
        count += 1;
        name = format!("{route}#{count}");
    }
    name
}

/// A limit that limits nobody was probably meant to.
fn unused(declared: &[Spotted<RateLimitSettings>], routes: &[Route], report: &Report) {
    let named = routes.iter().flat_map(|route| &route.rate_limits);
    let named: BTreeSet<&str> = named
        .filter_map(|reference| match reference {
            RateRef::Named(named) => Some(named.value.as_str()),
            RateRef::Inline(_) => None,
        })
        .collect();
    for limit in declared {
        let name = limit.value.name.as_str();
        if !named.contains(name) {
            report.note(limit.place, format!("no route has the rate limit `{name}`"));
        }
    }
}

/// `` unknown rate limit `ap1`; declared: `api`, `login` ``, with the likeliest remedy.
fn unknown(name: &str, declared: &[String]) -> String {
    if declared.is_empty() {
        return format!(
            "unknown rate limit `{name}`; none is declared; add [rate_limit.{name}], or write {{ rate = \"10/s\" }}"
        );
    }
    let names = || declared.iter().map(String::as_str);
    let hint = nearest(name, names())
        .map_or_else(String::new, |near| format!(" (did you mean \"{near}\"?)"));
    format!(
        "unknown rate limit `{name}`; declared: {}{hint}",
        listed(names())
    )
}
