//! Frees what was purged, and makes stale what was purged softly, before anybody asks for it.
//!
//! A purge is done when its rule is written; what it was about would be found useless one by one, and the rest be compared
//! one by one. This does both for all of it, so that the memory is free, the next hits compare nothing, and the rules can go.

use super::ledger::Standing;
use crate::cache::engine::Engine;
use crate::cache::key::CacheKey;
use crate::cache::policy::stale;
use crate::cache::response::{About, Parts, StoredResponse};
use crate::cache::section::Section;
use crate::clock;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::runtime::Handle;

/// Keys that are looked at between two rests.
const AT_ONCE: u64 = 256;

/// A rest: there are others who want the core, and the shards.
const REST: Duration = Duration::from_micros(200);

/// Sweeps on a thread that may block, unless somebody does. Without a runtime, whoever asks finds out by himself.
pub(super) fn behind(engine: &Arc<Engine>) {
    let Ok(runtime) = Handle::try_current() else {
        return;
    };
    if engine.store.ledger().is_swept() || engine.sweeping.swap(true, Ordering::AcqRel) {
        return;
    }
    let engine = Arc::clone(engine);
    runtime.spawn_blocking(move || {
        loop {
            let up_to = engine.sweep(|| std::thread::park_timeout(REST));
            engine.sweeping.store(false, Ordering::Release);
            // Who purged meanwhile has seen that somebody sweeps.
            let more = engine.store.ledger().now() != up_to;
            if !more || engine.sweeping.swap(true, Ordering::AcqRel) {
                return;
            }
        }
    });
}

impl Engine {
    /// Compares everything that is stored with the purges up to now, which are returned.
    pub(in crate::cache) fn sweep(&self, mut rest: impl FnMut()) -> u64 {
        let (store, ledger) = (&self.store, self.store.ledger());
        let now = ledger.now();
        let sweepable = ledger.sweepable().min(now);
        let mut seen = 0;
        store.for_each(|resource| {
            for stored in resource.variants() {
                match stored.standing() {
                    Standing::Valid => {}
                    Standing::Gone => {
                        store.remove_variant(stored);
                    }
                    Standing::Outdated(_) => {
                        self.outdated(stored);
                    }
                }
            }
            for part in resource.parts() {
                if part.standing() != Standing::Valid {
                    store.remove_part(part);
                }
            }
            seen += 1;
            if seen % AT_ONCE == 0 {
                rest();
            }
        });
        ledger.swept(sweepable);
        now
    }

    /// Where something stored was purged softly: what is put in its place, stale since then.
    pub(in crate::cache) fn outdated(
        &self,
        stored: &Arc<StoredResponse>,
    ) -> Option<Arc<StoredResponse>> {
        if stored.is_checked() {
            return None;
        }
        // Asked for first: a purge that comes meanwhile is not to be missed.
        let now = self.store.ledger().now();
        let Standing::Outdated(at) = stored.standing() else {
            return None;
        };
        Some(self.made_stale(stored, at, now))
    }

    /// Makes stale what is stored for a key. How many that were.
    pub(in crate::cache) fn outdate(&self, key: &CacheKey) -> u64 {
        let (now, at) = (self.store.ledger().now(), clock::now());
        let mut matched = self.store.purge_extras(key, super::Mode::Soft);
        let Some(resource) = self.store.get(key) else {
            return matched;
        };
        for stored in resource.variants() {
            if !stored.is_invalidated() {
                matched += 1;
                self.made_stale(stored, at, now);
            }
        }
        for part in resource.parts() {
            matched += u64::from(self.store.remove_part(part));
        }
        matched
    }

    fn made_stale(
        &self,
        stored: &Arc<StoredResponse>,
        at: clock::Instant,
        since: u64,
    ) -> Arc<StoredResponse> {
        let parts = Parts {
            status: stored.status(),
            fields: Section::new(&stored.fields().to_header_map()),
            terms: stale::since_purge(&stored.terms(), at),
            nominated: stored.nominated_values(),
            route: Arc::clone(stored.route()),
            body: stored.body(),
            about: About {
                since,
                ..stored.about_it()
            },
        };
        let made = stored.anew(parts);
        if stored.is_asked_for() {
            made.ask_for();
        }
        self.store.replace(stored, &made);
        made
    }
}
