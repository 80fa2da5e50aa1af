//! The process as the kernel sees it, read from `/proc/self` when somebody asks. Where there is no `/proc`, the metrics
//! are left out.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// Ticks a second in `/proc`: `USER_HZ`, part of the kernel's interface and 100 on every platform we build for.
const TICKS_PER_SECOND: f64 = 100.0;

/// Writes the metrics that Prometheus asks of every process, under their common names.
#[derive(Debug)]
pub(super) struct ProcessMetrics {
    started: SystemTime,
}

impl ProcessMetrics {
    /// `started` is when the process began, near enough.
    pub(super) fn new(started: SystemTime) -> Self {
        Self { started }
    }
}

impl Collector for ProcessMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let mut gauge = |name: &str, help: &str, value: Option<f64>| match value {
            Some(value) => ConstGauge::new(value).encode(encoder.encode_descriptor(
                name,
                help,
                None,
                MetricType::Gauge,
            )?),
            None => Ok(()),
        };
        gauge(
            "process_resident_memory_bytes",
            "Resident memory",
            resident_bytes(),
        )?;
        gauge("process_open_fds", "Open file descriptors", open_fds())?;
        gauge(
            "process_max_fds",
            "File descriptors that may be open",
            max_fds(),
        )?;
        let started = self.started.duration_since(UNIX_EPOCH).unwrap_or_default();
        gauge(
            "process_start_time_seconds",
            "When the process began, in Unix time",
            Some(started.as_secs_f64()),
        )?;
        if let Some(seconds) = cpu_seconds() {
            let counter = ConstCounter::new(seconds);
            counter.encode(encoder.encode_descriptor(
                "process_cpu_seconds",
                "Processor time, user and system",
                None,
                MetricType::Counter,
            )?)?;
        }
        Ok(())
    }
}

/// What the process takes of the machine; `None` where the system does not tell.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ProcessFigures {
    /// Resident memory, in bytes.
    pub resident_bytes: Option<f64>,
    /// Processor time so far, user and system, in seconds.
    pub cpu_seconds: Option<f64>,
    /// Open file descriptors.
    pub open_fds: Option<f64>,
    /// File descriptors that may be open.
    pub max_fds: Option<f64>,
}

impl ProcessFigures {
    /// Those of now. Reads files of the kernel's, which takes some microseconds, and one for each open descriptor.
    pub fn read() -> Self {
        Self {
            resident_bytes: resident_bytes(),
            cpu_seconds: cpu_seconds(),
            open_fds: open_fds(),
            max_fds: max_fds(),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "memory is below 2^53 bytes")]
fn resident_bytes() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some((kib * 1024) as f64)
}

#[expect(clippy::cast_precision_loss, reason = "descriptors are below 2^53")]
fn open_fds() -> Option<f64> {
    // The directory being read is open too.
    let count = fs::read_dir("/proc/self/fd")
        .ok()?
        .count()
        .saturating_sub(1);
    Some(count as f64)
}

#[expect(clippy::cast_precision_loss, reason = "descriptors are below 2^53")]
fn max_fds() -> Option<f64> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current.map(|limit| limit as f64)
}

/// Processor time so far, user and system.
pub fn cpu_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is the program's name in parentheses and may hold anything; the third follows the last one.
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ').skip(11).map(str::parse::<f64>);
    let (user, system) = (fields.next()?.ok()?, fields.next()?.ok()?);
    Some((user + system) / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_s_files_are_understood() {
        assert!(resident_bytes().is_some_and(|bytes| bytes > 100_000.0));
        assert!(open_fds().is_some_and(|count| count >= 3.0));
        assert!(max_fds().is_some_and(|count| count >= 3.0));
        assert!(cpu_seconds().is_some_and(|seconds| (0.0..1e6).contains(&seconds)));
    }
}
