//! `/cache`, `/cache/entry` and `/cache/stats`: what is stored.

use http::StatusCode;

use super::Outcome;
use crate::admin::answer::{self, Failure};
use crate::admin::asked::{Asked, ticked};
use crate::admin::control::Control;
use crate::cache::inspect::{Filter, Order};
use crate::cache::purge::{Scope, ScopeError};

/// Entries in a list, where the caller does not say.
const LIMIT: usize = 50;
/// Entries in a list, at most: it is made of a look at all of them, and held as a whole.
pub(super) const LIMIT_MAX: usize = 10_000;
/// Variants of one URL, at most; the store keeps fewer.
const VARIANTS_MAX: usize = 1_000;

const ORDERS: &[(&str, Order)] = &[
    ("hits", Order::Hits),
    ("size", Order::Size),
    ("age", Order::Age),
    ("cost", Order::Cost),
    ("saved", Order::Saved),
];

/// `/cache?prefix=&host=&tag=&route=&order=&limit=`: the first entries of those that fit.
pub(super) async fn list(asked: Asked) -> Outcome {
    let query = &asked.query;
    query.expect(&["prefix", "host", "tag", "route", "order", "limit"])?;
    let mut scopes: Vec<Scope> = Vec::new();
    if let Some(prefix) = query.one("prefix")? {
        scopes.push(read("prefix", Scope::prefix(prefix))?);
    }
    if let Some(host) = query.one("host")? {
        scopes.push(read("host", Scope::host(host))?);
    }
    let tags: Vec<&str> = query.all("tag").collect();
    if !tags.is_empty() {
        scopes.push(read("tag", Scope::tags(tags))?);
    }
    if scopes.len() > 1 {
        let text = "expected one of `prefix`, `host` and `tag`, found several; write a host into the prefix: \
                    `prefix=http://example.org/api/`";
        return Err(Failure::bad(text));
    }
    let filter = Filter {
        scope: scopes.pop(),
        route: query.one("route")?.map(str::to_owned),
    };
    let order = match query.one("order")? {
        None => Order::default(),
        Some(word) => named(word)?,
    };
    let limit = query.number("limit", 0..=LIMIT_MAX)?.unwrap_or(LIMIT);
    let listing = asked.apart(move |control| control.cached(&filter, order, limit));
    Ok(answer::json(&listing.await?))
}

/// `/cache/entry?url=`: all that is stored for one URL, with either scheme.
pub(super) async fn entry(asked: Asked) -> Outcome {
    asked.query.expect(&["url"])?;
    let url = asked
        .query
        .needed("url", "/cache/entry?url=http://example.org/items")?;
    let scope = read("url", Scope::url(url))?;
    let text = format!("nothing is stored for `{url}`");
    let filter = Filter {
        scope: Some(scope),
        route: None,
    };
    let listing = asked.apart(move |control| control.cached(&filter, Order::Hits, VARIANTS_MAX));
    let listing = listing.await?;
    if listing.entries.is_empty() {
        return Err(Failure::new(StatusCode::NOT_FOUND, text));
    }
    Ok(answer::json(&listing))
}

/// `/cache/stats`: how much of what.
pub(super) async fn stats(asked: Asked) -> Outcome {
    asked.query.expect(&[])?;
    Ok(answer::json(&asked.apart(Control::cache_stats).await?))
}

fn named(word: &str) -> Result<Order, Failure> {
    let order = ORDERS.iter().find(|(name, _)| *name == word);
    order.map(|(_, order)| *order).ok_or_else(|| {
        let names: Vec<&str> = ORDERS.iter().map(|(name, _)| *name).collect();
        Failure::bad(format!(
            "the parameter `order` is `{word}`; expected one of {}",
            ticked(&names)
        ))
    })
}

fn read(parameter: &str, scope: Result<Scope, ScopeError>) -> Result<Scope, Failure> {
    scope.map_err(|error| Failure::bad(format!("the parameter `{parameter}`: {error}")))
}
