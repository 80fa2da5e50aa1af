//! What all threads share of the engine: the store, the fetches under way, and what was learnt of keys.

use super::fill::{Abandoned, BackOff, FillMetrics, Table, Uncacheable};
use super::settings::CacheSettings;
use super::store::Store;
use std::sync::Arc;

/// The parts.
#[derive(Debug)]
pub(super) struct Engine {
    pub(super) settings: CacheSettings,
    pub(super) store: Store,
    pub(super) fills: Table,
    pub(super) uncacheable: Uncacheable,
    pub(super) back_off: BackOff,
    pub(super) abandoned: Arc<Abandoned>,
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
            metrics,
            settings,
        }
    }
}
