//! The document behind every view of the running proxy: what `GET /stats` answers, the status page draws, and `top` shows.
//!
//! Its keys are a contract: scripts outside this repository read them. Counts are since the start unless their name says
//! otherwise, rates a second over the last ten, times in the unit that the key ends in.

use serde::{Deserialize, Serialize};

use crate::telemetry::figures::{Rates, Totals};
use crate::telemetry::histogram::Counts;
use crate::telemetry::history::{Curves, quantile_ms};
use crate::telemetry::journal::Event;

/// Routes that are listed, the busiest first.
pub const ROUTES_MAX: usize = 50;
/// Entries in each list of what is stored.
pub const ENTRIES_MAX: usize = 20;

/// Everything.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Stats {
    /// Of the program.
    pub version: String,
    /// The server's name, as in `Via`.
    pub name: String,
    /// When this was true, in seconds of Unix time.
    pub now: f64,
    /// Since the program began to serve.
    pub uptime_s: f64,
    /// Whether it is about to end.
    pub draining: bool,
    /// A second.
    pub rates: Rates,
    /// Since the start.
    pub totals: Totals,
    /// The part that was answered from the store.
    pub hit_ratio: HitRatio,
    /// How long answers took.
    pub latency: Latency,
    /// What the cache, the holding and the retrying have saved.
    pub saved: Saved,
    /// What is stored.
    pub cache: CacheStats,
    /// Who waits, and for what.
    pub waiting: Waiting,
    /// Client connections.
    pub connections: Connections,
    /// The process.
    pub process: Process,
    /// Each route, the busiest first.
    pub routes: Vec<RouteStats>,
    /// Routes that are not listed.
    pub routes_more: usize,
    /// Each upstream.
    pub upstreams: Vec<UpstreamStats>,
    /// Each rate limit, by name.
    #[serde(default)]
    pub rate_limits: Vec<RateLimitStats>,
    /// What is stored and served most often; at most two seconds old.
    pub hottest: Vec<EntryStats>,
    /// What is stored and took the origin longest; at most two seconds old.
    pub costliest: Vec<EntryStats>,
    /// The last purges and reloads, the newest first.
    pub events: Vec<Event>,
    /// The last five minutes.
    pub history: Curves,
}

/// Between 0 and 1; none where nothing was asked of the cache.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct HitRatio {
    /// In the last minute.
    pub minute: Option<f64>,
    /// Since the start.
    pub start: Option<f64>,
}

/// How long answers took, apart for the two that cannot be compared.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Latency {
    /// In the last minute.
    pub minute: Split,
    /// Since the start.
    pub start: Split,
}

/// Answers from the store, and those for which an upstream was asked.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Split {
    /// From the store.
    pub hit: Quantiles,
    /// For which an upstream was asked.
    pub miss: Quantiles,
}

impl Split {
    /// Of these counts.
    pub fn new(hits: &Counts, misses: &Counts) -> Self {
        Self {
            hit: Quantiles::new(hits),
            miss: Quantiles::new(misses),
        }
    }
}

/// Milliseconds within which so many of 100 answers were given; none where there were none. Interpolated within the buckets
/// of the histogram.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Quantiles {
    /// Answers.
    pub count: u64,
    /// Half of them.
    pub p50_ms: Option<f64>,
    /// 90 of 100.
    pub p90_ms: Option<f64>,
    /// 99 of 100.
    pub p99_ms: Option<f64>,
}

impl Quantiles {
    fn new(counts: &Counts) -> Self {
        Self {
            count: counts.count(),
            p50_ms: quantile_ms(counts, 0.5),
            p90_ms: quantile_ms(counts, 0.9),
            p99_ms: quantile_ms(counts, 0.99),
        }
    }
}

/// What did not have to be done, and what did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Saved {
    /// How long the origin would have taken for what came from the store.
    pub origin_s: f64,
    /// Octets of bodies that came from the store.
    pub bytes: u64,
    /// Requests that were held, and then answered.
    pub held: u64,
    /// Requests that were tried again, and then answered.
    pub retried: u64,
}

/// What is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CacheStats {
    /// Keys that something is stored for.
    pub entries: u64,
    /// Memory that it takes.
    pub bytes: u64,
    /// Memory that it may take.
    pub capacity_bytes: u64,
    /// Of the memory, that of responses under way.
    pub in_flight_bytes: u64,
    /// Keys evicted to make room.
    pub evictions: u64,
}

/// Who waits, and for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Waiting {
    /// Fetches under way whose responses may be shared.
    pub fills: u64,
    /// Clients at such a fetch, those who began it included.
    pub followers: u64,
    /// Requests held until somebody answers.
    pub held: u64,
    /// Requests queueing for `max_in_flight`.
    pub queued: u64,
}

/// Client connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Connections {
    /// Open now.
    pub open: u64,
    /// That may be open.
    pub limit: u64,
}

/// The process; what the system does not tell is none.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Process {
    /// Its id.
    pub pid: u32,
    /// Resident memory.
    pub resident_bytes: Option<f64>,
    /// Processor time since the start.
    pub cpu_s: Option<f64>,
    /// Processors kept busy in the last ten seconds: 1 is one of them.
    pub cpus: Option<f64>,
    /// Open file descriptors.
    pub open_fds: Option<f64>,
    /// File descriptors that may be open.
    pub max_fds: Option<f64>,
    /// Threads that serve clients.
    pub data_threads: u64,
}

/// One route.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct RouteStats {
    /// Its name; `-` is what no route is for.
    pub name: String,
    /// A second.
    pub rates: Rates,
    /// Since the start.
    pub totals: Totals,
}

/// One upstream.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct UpstreamStats {
    /// Its name.
    pub name: String,
    /// Whether a request would be given a server at once.
    pub available: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Requests held.
    pub held: u64,
    /// Requests queueing.
    pub queued: u64,
    /// Its addresses.
    pub servers: Vec<ServerStats>,
}

/// One rate limit.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RateLimitStats {
    /// Its name.
    pub name: String,
    /// As in the configuration.
    pub rate: String,
    /// Whether it refuses nothing, and only counts.
    pub dry_run: bool,
    /// Requests that it refused, or would have.
    pub refused: u64,
}

/// One address of a server.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ServerStats {
    /// The server as written.
    pub server: String,
    /// The address; none while its name has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub addr: Option<String>,
    /// `up`, `down`, `unhealthy`, `starting` or `ejected`; `unresolved` without an address.
    pub state: String,
    /// What is wrong with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Requests it is working on.
    pub in_flight: u64,
}

/// One stored response.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct EntryStats {
    /// What it is a response to.
    pub url: String,
    /// The route that it came by.
    pub route: String,
    /// Times it was served.
    pub hits: u64,
    /// How long the origin took for it.
    pub cost_ms: f64,
    /// Memory that it takes.
    pub bytes: u64,
    /// Its age.
    pub age_s: u64,
    /// Its freshness left; negative is stale.
    pub ttl_s: i64,
}
