//! What all threads share of the engine: the store, the fetches under way, and what was learnt of keys.

use super::fill::{Abandoned, BackOff, FillMetrics, Table, Uncacheable};
use super::purge::{EVENTS_KEPT, PurgeEvent};
use super::refresh::Refreshes;
use super::settings::{CacheSettings, KeyRules};
use super::store::Store;
use arc_swap::ArcSwap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tokio::sync::broadcast;

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
    /// What a target may be stored under: the key rules of all routes, each once.
    pub(super) key_rules: ArcSwap<Vec<KeyRules>>,
    /// Tells of purges.
    pub(super) purges: broadcast::Sender<Arc<PurgeEvent>>,
    /// Whether somebody sweeps.
    pub(super) sweeping: AtomicBool,
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
            sweeping: AtomicBool::new(false),
            key_rules: ArcSwap::from_pointee(vec![KeyRules::default()]),
            purges: broadcast::Sender::new(EVENTS_KEPT),
            settings: ArcSwap::from_pointee(settings),
        }
    }

    /// The largest body that is stored, in octets.
    pub(super) fn object_max(&self) -> u64 {
        self.settings.load().object.bytes()
    }

    /// `[cache] memory`, in octets.
    pub(super) fn memory(&self) -> u64 {
        self.settings.load().memory.bytes()
    }

    /// Takes over other settings. What is under way keeps what it has.
    pub(super) fn resize(&self, settings: CacheSettings) {
        self.store.resize(&settings);
        self.abandoned.resize(settings.abandoned);
        self.settings.store(Arc::new(settings));
    }
}
