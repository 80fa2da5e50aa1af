//! The registry of all metrics: each room registers its own, the admin room writes them out.

use parking_lot::RwLock;
use prometheus_client::encoding::text;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry as Metrics;

use crate::clock;
use crate::telemetry::process::ProcessMetrics;

/// The `Content-Type` of [`Registry::encode`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All metrics of the program. Names begin with `forebay_`, but for the ones that every process has.
#[derive(Debug)]
pub struct Registry {
    /// Guards the lists of metrics, not their values: registering waits for a scrape, counting never does.
    ours: RwLock<Metrics>,
    process: Metrics,
}

impl Registry {
    /// A registry that holds `build_info` and the process metrics.
    pub fn new() -> Self {
        let mut ours = Metrics::with_prefix("forebay");
        ours.register(
            "build",
            "The version that runs",
            Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]),
        );
        let mut process = Metrics::default();
        process.register_collector(Box::new(ProcessMetrics::new(clock::wall())));
        Self {
            ours: RwLock::new(ours),
            process,
        }
    }

    /// Lets a room register its metrics. The library appends `_total` to counters and `_info` to infos. The same name
    /// twice would be written twice, so register once in a process, not on each reload.
    pub fn register<T>(&self, register: impl FnOnce(&mut Metrics) -> T) -> T {
        register(&mut self.ours.write())
    }

    /// All metrics as `OpenMetrics` text, of [`CONTENT_TYPE`].
    pub fn encode(&self) -> String {
        let mut out = String::with_capacity(16 * 1024);
        // Writing to a String cannot fail, and no collector of ours does.
        let _ = text::encode_registry(&mut out, &self.process);
        let _ = text::encode_registry(&mut out, &self.ours.read());
        let _ = text::encode_eof(&mut out);
        out
    }
}

impl Default for Registry {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus_client::metrics::counter::Counter;

    #[test]
    fn what_a_scrape_gets() {
        let registry = Registry::new();
        let counter: Counter = Counter::default();
        registry.register(|r| r.register("things", "Things", counter.clone()));
        counter.inc();
        let text = registry.encode();
        for part in [
            "# TYPE process_resident_memory_bytes gauge\n",
            "process_cpu_seconds_total ",
            "process_open_fds ",
            "process_start_time_seconds ",
            concat!(
                "forebay_build_info{version=\"",
                env!("CARGO_PKG_VERSION"),
                "\"} 1\n"
            ),
            "forebay_things_total 1\n",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(text.ends_with("# EOF\n"));
        assert_eq!(text.matches("# EOF").count(), 1);
    }
}
