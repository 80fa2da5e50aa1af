//! What all threads share of the engine: the store, the fetches under way, and what was learnt of keys.

use super::fill::{Abandoned, BackOff, FillMetrics, Table, Uncacheable};
use super::refresh::Refreshes;
use super::settings::CacheSettings;
use super::store::Store;
use arc_swap::ArcSwap;
use std::sync::Arc;

/// The parts.
#[derive(Debug)]
pub(super) struct Engine {
    /// Those in force; a reload changes them.
    settings: ArcSwap<CacheSettings>,
    pub(super) store: Store,
    pub(super) fills: Table,
    pub(super) uncacheable: Uncacheable,
    pub(super) back_off: BackOff,
    pub(super) abandoned: Arc<Abandoned>,
    pub(super) refreshes: Refreshes,
    pub(super) metrics: FillMetrics,
}

impl Engine {
    pub(super) fn new(settings: CacheSettings) -> Self {
        let metrics = FillMetrics::default();
        Self {
            store: Store::new(&settings),
            fills: Table::new(metrics.clone()),
            uncacheable: Uncacheable::default(),
            back_off: BackOff::default(),
            abandoned: Abandoned::new(settings.abandoned),
            refreshes: Refreshes::default(),
            metrics,
            settings: ArcSwap::from_pointee(settings),
        }
    }

    /// The largest body that is stored, in octets.
    pub(super) fn object_max(&self) -> u64 {
        self.settings.load().object.bytes()
    }

    /// Takes over other settings. What is under way keeps what it has.
    pub(super) fn resize(&self, settings: CacheSettings) {
        self.store.resize(&settings);
        self.abandoned.resize(settings.abandoned);
        self.settings.store(Arc::new(settings));
    }
}
