//! What is counted about fetches and those who share them.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// The figures.
#[derive(Debug, Clone, Default)]
pub struct FillMetrics {
    pub(super) fills: Gauge,
    pub(super) followers: Gauge,
    /// Octets.
    pub(super) ahead: Gauge,
    pub(super) collapsed: Counter,
}

impl FillMetrics {
    /// Makes them known to the registry. Once per registry.
    pub fn register(&self, registry: &mut Registry) {
        let Self {
            fills,
            followers,
            ahead,
            collapsed,
        } = self.clone();
        let r = registry;
        r.register(
            "cache_fills_in_flight",
            "Fetches under way whose responses may be shared",
            fills,
        );
        r.register(
            "cache_followers",
            "Clients at such a fetch, those who began it included",
            followers,
        );
        r.register(
            "cache_ahead_bytes",
            "Octets that were fetched for clients who have yet to take them, and are not stored",
            ahead,
        );
        r.register(
            "cache_collapsed",
            "Requests that were answered by another request's fetch",
            collapsed,
        );
    }

    /// Fetches under way, and clients at them.
    pub(in crate::cache) fn now(&self) -> (u64, u64) {
        let count = |gauge: &Gauge| u64::try_from(gauge.get()).unwrap_or_default();
        (count(&self.fills), count(&self.followers))
    }

    /// Fetches under way.
    #[cfg(test)]
    pub(in crate::cache) fn fills(&self) -> i64 {
        self.fills.get()
    }

    /// Clients at one.
    #[cfg(test)]
    pub(in crate::cache) fn followers(&self) -> i64 {
        self.followers.get()
    }

    /// Octets that are ahead of clients.
    #[cfg(test)]
    pub(in crate::cache) fn ahead(&self) -> usize {
        usize::try_from(self.ahead.get()).unwrap_or_default()
    }

    /// Requests that shared one.
    #[cfg(test)]
    pub(in crate::cache) fn collapsed(&self) -> u64 {
        self.collapsed.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_figure_is_registered_under_its_name() {
        let mut registry = Registry::default();
        FillMetrics::default().register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry)
            .expect("a String takes everything");
        for name in [
            "cache_fills_in_flight 0",
            "cache_followers 0",
            "cache_ahead_bytes 0",
            "cache_collapsed_total 0",
        ] {
            assert!(text.contains(name), "{name} in {text}");
        }
    }
}
