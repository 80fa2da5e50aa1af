//! What is stored, for people: a bounded list of entries with all that is known of each.

mod summary;

pub use summary::{Part, Summary};

use super::key::Target;
use super::lookup::Cache;
use super::policy::{Moment, Terms, stale};
use super::purge::ledger::Standing;
use super::purge::{Scope, tags};
use super::response::StoredResponse;
use super::store::StoredPart;
use super::vary;
use crate::clock::Instant;
use http::header;
use serde::Serialize;
use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

/// Which entries.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Those that a purge of this would be about.
    pub scope: Option<Scope>,
    /// Those of this route.
    pub route: Option<String>,
}

/// Which of them first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// The most asked for.
    #[default]
    Hits,
    /// The largest.
    Size,
    /// The oldest.
    Age,
    /// Those that the origin took longest for.
    Cost,
    /// Those whose hits have saved the origin most time.
    Saved,
}

/// Some entries.
#[derive(Debug, Clone, Serialize)]
pub struct Listing {
    /// In the order that was asked for.
    pub entries: Vec<Entry>,
    /// All that fit the filter, those that are not in the list included.
    pub total: u64,
    /// Whether there are such.
    pub more: bool,
}

/// A stored response.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Entry {
    /// What it answers.
    pub url: String,
    /// The route that it came by.
    pub route: String,
    /// Its status.
    pub status: u16,
    /// Whether it is fresh.
    pub state: State,
    /// The memory that it takes, its coded forms included.
    pub bytes: u64,
    /// The octets of its body that are here.
    pub body: u64,
    /// Seconds since the origin made it.
    pub age: u64,
    /// Seconds that it is fresh for; negative is stale.
    pub ttl: i64,
    /// How often it was served, since it was last fetched.
    pub hits: u64,
    /// Milliseconds that the origin took to make it; 0 where that is not known.
    pub cost_ms: f64,
    /// Its tags.
    pub tags: Vec<String>,
    /// The request fields whose values it was chosen by.
    pub vary: Vec<String>,
    /// The codings that it is here in besides the one it came in.
    pub coded: Vec<String>,
}

/// What an entry may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// All of it, as it is.
    Fresh,
    /// Stale: to be validated, or served in need.
    Stale,
    /// Not all of it is here.
    Partial,
}

/// One that may be listed.
#[derive(Debug, Clone)]
enum Found {
    Whole(Arc<StoredResponse>),
    Part(Arc<StoredPart>),
}

impl Cache {
    /// The first of those that fit. Looks at every entry, so it is nothing for a data thread.
    pub fn list(&self, filter: &Filter, order: Order, limit: usize) -> Listing {
        let now = Moment::now().at;
        let mut total = 0;
        let mut kept: Vec<(u64, Found)> = Vec::new();
        // Sorting twice what is wanted, once in a while, costs less than keeping the order all the time.
        let most = limit.saturating_mul(2).saturating_add(64);
        let mut keep = |found: Found| {
            total += 1;
            kept.push((found.rank(order, now), found));
            if kept.len() >= most {
                kept.sort_by_key(|(rank, _)| Reverse(*rank));
                kept.truncate(limit);
            }
        };
        self.engine.store.for_each(|resource| {
            let whole = resource.variants().iter().cloned().map(Found::Whole);
            let parts = resource.parts().iter().cloned().map(Found::Part);
            whole
                .chain(parts)
                .filter(|found| found.fits(filter))
                .for_each(&mut keep);
        });
        kept.sort_by_key(|(rank, _)| Reverse(*rank));
        kept.truncate(limit);
        let entries: Vec<_> = kept.iter().map(|(_, found)| found.entry(now)).collect();
        Listing {
            more: total > entries.len() as u64,
            total,
            entries,
        }
    }
}

impl Found {
    fn target(&self) -> Option<Target<'_>> {
        match self {
            Self::Whole(stored) => stored.target(),
            Self::Part(part) => part.target(),
        }
    }

    fn route(&self) -> &str {
        match self {
            Self::Whole(stored) => stored.route(),
            Self::Part(part) => &part.partial().route,
        }
    }

    fn terms(&self) -> Terms {
        match self {
            Self::Whole(stored) => match self.standing() {
                Standing::Outdated(at) => stale::since_purge(&stored.terms(), at),
                Standing::Valid | Standing::Gone => stored.terms(),
            },
            Self::Part(part) => part.partial().terms,
        }
    }

    fn bytes(&self) -> u64 {
        match self {
            Self::Whole(stored) => stored.weight().saturating_add(stored.derived_weight()),
            Self::Part(part) => part.weight(),
        }
    }

    fn hits(&self) -> u64 {
        match self {
            Self::Whole(stored) => stored.hits(),
            Self::Part(_) => 0,
        }
    }

    fn cost(&self) -> Duration {
        match self {
            Self::Whole(stored) => stored.cost(),
            Self::Part(part) => part.partial().about.cost,
        }
    }

    fn tags(&self) -> &[u8] {
        match self {
            Self::Whole(stored) => stored.tags(),
            Self::Part(part) => part.partial().about.tags.as_bytes(),
        }
    }

    /// Purges that nobody has noticed yet are looked up here.
    fn standing(&self) -> Standing {
        match self {
            Self::Whole(stored) => stored.standing(),
            Self::Part(part) => part.standing(),
        }
    }

    fn fits(&self, filter: &Filter) -> bool {
        let of_route = |route: &String| *route == self.route();
        let of_scope = |scope: &Scope| {
            let target = self.target();
            let has = |tag: &str| tags::each(self.tags()).any(|known| known.name == tag.as_bytes());
            target.is_some_and(|target| scope.covers(&target, has))
        };
        filter.route.as_ref().is_none_or(of_route)
            && filter.scope.as_ref().is_none_or(of_scope)
            && self.standing() != Standing::Gone
    }

    fn rank(&self, order: Order, now: Instant) -> u64 {
        let micros = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        match order {
            Order::Hits => self.hits(),
            Order::Size => self.bytes(),
            Order::Age => micros(self.terms().current_age(now)),
            Order::Cost => micros(self.cost()),
            Order::Saved => micros(self.cost()).saturating_mul(self.hits()),
        }
    }

    fn entry(&self, now: Instant) -> Entry {
        let terms = self.terms();
        let (status, body, vary, coded) = match self {
            Self::Whole(stored) => (
                stored.status().as_u16(),
                stored.body_length(),
                vary::names(stored.nominated()),
                stored.codings(),
            ),
            Self::Part(part) => (
                206,
                part.partial().octets(),
                vary::names(part.partial().nominated.as_bytes()),
                Vec::new(),
            ),
        };
        let vary = vary.get_all(header::VARY).iter();
        Entry {
            url: self.target().map(url).unwrap_or_default(),
            route: self.route().to_owned(),
            status,
            state: match self {
                Self::Part(_) => State::Partial,
                Self::Whole(_) if terms.is_fresh(now) => State::Fresh,
                Self::Whole(_) => State::Stale,
            },
            bytes: self.bytes(),
            body,
            age: terms.current_age(now).as_secs(),
            ttl: terms.remaining(now),
            hits: self.hits(),
            cost_ms: self.cost().as_secs_f64() * 1000.0,
            tags: tags::each(self.tags())
                .map(|tag| String::from_utf8_lossy(tag.name).into_owned())
                .collect(),
            vary: vary
                .map(|name| String::from_utf8_lossy(name.as_bytes()).into_owned())
                .collect(),
            coded,
        }
    }
}

/// A target as people write it.
pub(super) fn url(target: Target<'_>) -> String {
    let Target {
        scheme,
        authority,
        path,
        query,
    } = target;
    match query {
        Some(query) => format!("{scheme}://{authority}{path}?{query}"),
        None => format!("{scheme}://{authority}{path}"),
    }
}
