//! What is counted about the cache. Labels are words of this program's own, never anything a client sent.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::lookup::Cache;
use super::outcome::Reason;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WithReason {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WithResult {
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WithCoding {
    coding: &'static str,
}

/// The numbers of the store. Clones count into the same ones.
#[derive(Debug, Clone)]
pub struct StoreMetrics {
    entries: Gauge,
    bytes: Gauge,
    capacity: Gauge,
    in_flight: Gauge,
    in_arena: Gauge,
    evictions: Counter,
    refused: Family<WithReason, Counter>,
    derived: Family<WithCoding, Counter>,
    tags: Gauge,
    tag_bytes: Gauge,
}

impl StoreMetrics {
    /// With the account's own gauges: what is scraped is what the budget is held by.
    pub(super) fn new(
        bytes: &Gauge,
        in_flight: &Gauge,
        in_arena: &Gauge,
        (tags, tag_bytes): (&Gauge, &Gauge),
    ) -> Self {
        Self {
            entries: Gauge::default(),
            bytes: bytes.clone(),
            capacity: Gauge::default(),
            in_flight: in_flight.clone(),
            in_arena: in_arena.clone(),
            evictions: Counter::default(),
            refused: Family::default(),
            derived: Family::default(),
            tags: tags.clone(),
            tag_bytes: tag_bytes.clone(),
        }
    }

    /// Makes them known to the registry. Once per registry.
    pub fn register(&self, registry: &mut Registry) {
        let Self {
            entries,
            bytes,
            capacity,
            in_flight,
            in_arena,
            evictions,
            refused,
            derived,
            tags,
            tag_bytes,
        } = self.clone();
        let r = registry;
        r.register(
            "cache_entries",
            "Keys that something is stored for",
            entries,
        );
        r.register(
            "cache_bytes",
            "Memory that the cache keeps alive: stored, still being sent, under way",
            bytes,
        );
        r.register(
            "cache_capacity_bytes",
            "Memory that the cache may take",
            capacity,
        );
        r.register(
            "cache_in_flight_bytes",
            "Memory of responses under way",
            in_flight,
        );
        r.register(
            "cache_sendfile_bytes",
            "Memory of bodies that lie where the kernel sends them from",
            in_arena,
        );
        r.register("cache_evictions", "Keys evicted to make room", evictions);
        r.register(
            "cache_refused",
            "Responses that found no room, by reason",
            refused,
        );
        r.register(
            "cache_derived",
            "Coded forms made of what is stored, by coding",
            derived,
        );
        r.register(
            "cache_tags",
            "Tags and groups that something stored has, or that were purged lately",
            tags,
        );
        r.register(
            "cache_tag_index_bytes",
            "Memory that the counts of tags take; part of cache_bytes",
            tag_bytes,
        );
    }

    pub(super) fn entries(&self, entries: u64) {
        self.entries.set(i64::try_from(entries).unwrap_or(i64::MAX));
    }

    pub(super) fn capacity(&self, bytes: u64) {
        self.capacity.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    pub(super) fn evictions(&self) -> &Counter {
        &self.evictions
    }

    pub(super) fn evicted(&self, entries: u64) {
        self.evictions.inc_by(entries);
    }

    pub(super) fn derived(&self, coding: &'static str) {
        self.derived.get_or_create(&WithCoding { coding }).inc();
    }

    pub(super) fn refused(&self, reason: Reason) {
        let labels = WithReason {
            reason: reason.word(),
        };
        self.refused.get_or_create(&labels).inc();
    }
}

/// What the cache holds and does now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CacheFigures {
    /// Keys that something is stored for.
    pub entries: u64,
    /// Memory that the cache keeps alive.
    pub bytes: u64,
    /// Memory that it may take.
    pub capacity_bytes: u64,
    /// Of the memory, that of responses under way.
    pub in_flight_bytes: u64,
    /// Keys evicted since the start.
    pub evictions: u64,
    /// Fetches under way whose responses may be shared.
    pub fills: u64,
    /// Clients at such a fetch, those who began it included.
    pub followers: u64,
}

impl Cache {
    /// The figures of now, as a scrape has them.
    pub fn figures(&self) -> CacheFigures {
        let count = |gauge: &Gauge| u64::try_from(gauge.get()).unwrap_or_default();
        let store = self.engine.store.metrics();
        let (fills, followers) = self.engine.metrics.now();
        CacheFigures {
            entries: count(&store.entries),
            bytes: count(&store.bytes),
            capacity_bytes: count(&store.capacity),
            in_flight_bytes: count(&store.in_flight),
            evictions: store.evictions.get(),
            fills,
            followers,
        }
    }
}

/// What became of a fetch ahead of an expiry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RefreshResult {
    /// Something else came and was stored.
    Stored,
    /// The origin said that nothing has changed.
    Unchanged,
    /// What came may not or cannot be stored.
    Unstored,
    /// Nothing came, or an error.
    Failed,
    /// There was no place in the schedule, so it will not be made.
    Full,
}

/// The numbers of refreshes ahead of an expiry. Clones count into the same ones.
#[derive(Debug, Clone, Default)]
pub(super) struct RefreshMetrics {
    refreshes: Family<WithResult, Counter>,
}

impl RefreshMetrics {
    /// Makes them known to the registry. Once per registry.
    pub(super) fn register(&self, registry: &mut Registry) {
        let r = registry;
        r.register(
            "cache_refreshes",
            "Fetches ahead of an expiry, by what became of them",
            self.refreshes.clone(),
        );
    }

    pub(super) fn count(&self, result: RefreshResult) {
        self.of(result).inc();
    }

    fn of(&self, result: RefreshResult) -> Counter {
        let result = match result {
            RefreshResult::Stored => "stored",
            RefreshResult::Unchanged => "unchanged",
            RefreshResult::Unstored => "unstored",
            RefreshResult::Failed => "failed",
            RefreshResult::Full => "full",
        };
        self.refreshes.get_or_create_owned(&WithResult { result })
    }

    /// How many.
    #[cfg(test)]
    pub(super) fn counted(&self, result: RefreshResult) -> u64 {
        self.of(result).get()
    }
}
