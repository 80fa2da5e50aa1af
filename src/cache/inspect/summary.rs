//! How much is stored, in what state, and for which routes.

use super::Found;
use crate::cache::lookup::Cache;
use crate::cache::policy::Moment;
use serde::Serialize;
use std::collections::BTreeMap;

/// What the cache holds, counted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Memory that it may take, in octets: `[cache] memory`, of which a part is the allocator's.
    pub capacity: u64,
    /// Memory that it keeps alive: stored, still being sent, under way.
    pub bytes: u64,
    /// Of that, what is stored.
    pub stored: u64,
    /// Of that, what is under way.
    pub in_flight: u64,
    /// Keys that something is stored for.
    pub keys: u64,
    /// Keys that made room for others, since the start.
    pub evictions: u64,
    /// All that is stored.
    pub total: Part,
    /// The same by route.
    pub routes: BTreeMap<String, Part>,
}

/// Some of what is stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Part {
    /// Stored responses, each variant by itself.
    pub entries: u64,
    /// Of these, the fresh ones.
    pub fresh: u64,
    /// Those of which not all is here.
    pub partial: u64,
    /// The memory that they take.
    pub bytes: u64,
    /// How often they were served.
    pub hits: u64,
}

impl Part {
    fn add(&mut self, other: Self) {
        let Self {
            entries,
            fresh,
            partial,
            bytes,
            hits,
        } = other;
        self.entries += entries;
        self.fresh += fresh;
        self.partial += partial;
        self.bytes += bytes;
        self.hits += hits;
    }
}

impl Cache {
    /// Counts. Looks at every entry, so it is nothing for a data thread.
    pub fn summary(&self) -> Summary {
        let now = Moment::now().at;
        let stats = self.engine.store.stats();
        let mut routes: BTreeMap<String, Part> = BTreeMap::new();
        self.engine.store.for_each(|resource| {
            let whole = resource.variants().iter().cloned().map(Found::Whole);
            let parts = resource.parts().iter().cloned().map(Found::Part);
            for found in whole.chain(parts) {
                let one = Part {
                    entries: 1,
                    fresh: u64::from(found.terms().is_fresh(now)),
                    partial: u64::from(matches!(found, Found::Part(_))),
                    bytes: found.bytes(),
                    hits: found.hits(),
                };
                // Looked up first: there are few routes, and their names are not copied for each entry.
                match routes.get_mut(found.route()) {
                    Some(part) => part.add(one),
                    None => drop(routes.insert(found.route().to_owned(), one)),
                }
            }
        });
        let mut total = Part::default();
        for part in routes.values() {
            total.add(*part);
        }
        Summary {
            capacity: self.engine.memory(),
            bytes: stats.bytes,
            stored: stats.stored,
            in_flight: stats.in_flight,
            keys: stats.entries,
            evictions: stats.evictions,
            total,
            routes,
        }
    }
}
