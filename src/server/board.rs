//! What the views of the running proxy are made of: a sampler that remembers the last minutes, and lists that are made at
//! most every two seconds, however many ask, and never while nobody does.

use super::control::Served;
use crate::admin::ReloadReport;
use crate::admin::stats::{
    CacheStats, Connections, ENTRIES_MAX, EntryStats, HitRatio, Latency, Process, ROUTES_MAX,
    RateLimitStats, RouteStats, Saved, ServerStats, Split, Stats, UpstreamStats, Waiting,
};
use crate::cache::Cache;
use crate::cache::inspect::{Entry, Filter, Order};
use crate::cache::purge::{Cause, PurgeEvent};
use crate::clock::{self, Instant};
use crate::proxy::Site;
use crate::rate::Limit;
use crate::telemetry::figures::{Figures, Rates};
use crate::telemetry::history::{History, STEP};
use crate::telemetry::journal::{Event, Journal, Kind};
use crate::telemetry::metrics::HttpMetrics;
use crate::telemetry::process::{self, ProcessFigures};
use crate::upstream::view::UpstreamView;
use parking_lot::Mutex;
use std::fmt::Write as _;
use std::sync::{Arc, Weak};
use std::time::{Duration, UNIX_EPOCH};
use tokio::sync::broadcast::error::RecvError;
use tokio::time::MissedTickBehavior;

/// Rates are those of so long a time: shorter jumps, longer lags.
const RATES_OF: Duration = Duration::from_secs(10);
/// What "now" means of ratios and latencies, which need some requests to mean anything.
const MINUTE: Duration = Duration::from_secs(60);
/// Lists of what is stored are made anew when they are older.
const LISTS_AGE: Duration = Duration::from_secs(2);

/// What is remembered for the views.
#[derive(Debug)]
pub struct Board {
    began: Instant,
    data_threads: usize,
    /// Held to add a sample and to read them out.
    history: Mutex<History>,
    /// Held while lists are made, so that those who ask meanwhile get the same.
    lists: tokio::sync::Mutex<Option<(Instant, Arc<Lists>)>>,
    /// The last purges and reloads.
    pub journal: Journal,
}

/// What walks the store to be known.
#[derive(Debug, Default)]
struct Lists {
    hottest: Vec<EntryStats>,
    costliest: Vec<EntryStats>,
    process: ProcessFigures,
}

impl Board {
    /// An empty one of a program that begins to serve on so many threads.
    pub fn new(data_threads: usize) -> Self {
        Self {
            began: clock::now(),
            data_threads,
            history: Mutex::default(),
            lists: tokio::sync::Mutex::default(),
            journal: Journal::default(),
        }
    }

    /// Notes what was counted by now.
    pub fn sample(&self, metrics: &HttpMetrics) {
        let (routes, cpu_seconds) = (metrics.figures(), process::cpu_seconds());
        self.history.lock().add(clock::now(), routes, cpu_seconds);
    }

    /// Notes what became of a reload.
    pub fn reloaded(&self, result: &Result<ReloadReport, String>) {
        let text = match result {
            Ok(report) if report.changes.is_empty() => "nothing has changed".to_owned(),
            Ok(report) => report.changes.join("; "),
            // The first error; the others are in the log.
            Err(errors) => errors.lines().next().unwrap_or_default().to_owned(),
        };
        let event = Event::new(clock::wall(), Kind::Reload, result.is_ok(), &text);
        self.journal.add(event);
    }

    /// The lists, made anew where those of the last who asked are too old.
    async fn lists(&self, cache: &Arc<Cache>) -> Arc<Lists> {
        let mut lists = self.lists.lock().await;
        if let Some((made, lists)) = &*lists
            && clock::now() - *made < LISTS_AGE
        {
            return lists.clone();
        }
        let cache = cache.clone();
        // A walk over all that is stored: not for the one thread that also answers the probes.
        let made = tokio::task::spawn_blocking(move || Lists::make(&cache)).await;
        let made = Arc::new(made.unwrap_or_default());
        *lists = Some((clock::now(), made.clone()));
        made
    }
}

impl Lists {
    fn make(cache: &Cache) -> Self {
        let first = |order| {
            let listing = cache.list(&Filter::default(), order, ENTRIES_MAX);
            listing.entries.into_iter().map(entry_stats).collect()
        };
        Self {
            hottest: first(Order::Hits),
            costliest: first(Order::Cost),
            process: ProcessFigures::read(),
        }
    }
}

fn entry_stats(entry: Entry) -> EntryStats {
    EntryStats {
        url: entry.url,
        route: entry.route,
        hits: entry.hits,
        cost_ms: entry.cost_ms,
        bytes: entry.bytes,
        age_s: entry.age,
        ttl_s: entry.ttl,
    }
}

/// Notes purges for as long as the server lives.
pub fn spawn_clerk(served: &Arc<Served>) {
    let mut purges = served.site.load().cache.purges();
    let journal = served.board.journal.clone();
    tokio::spawn(async move {
        loop {
            match purges.recv().await {
                Ok(event) if event.cause == Cause::Purge => journal.add(purge_event(&event)),
                // A write of the application's own is no news to its operator, and those that were missed are older than
                // what is remembered.
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return,
            }
        }
    });
}

fn purge_event(event: &PurgeEvent) -> Event {
    let mut text = format!("{}, {}", event.scope, event.mode.word());
    if let Some(matched) = event.matched {
        let _ = write!(text, ", {matched} found");
    }
    Event::new(event.at, Kind::Purge, true, &text)
}

/// Samples for as long as the server lives.
pub fn spawn_sampler(served: &Arc<Served>) {
    let served: Weak<Served> = Arc::downgrade(served);
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(STEP);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let Some(served) = served.upgrade() else {
                return;
            };
            served.board.sample(&served.shared.metrics);
        }
    });
}

/// Everything that the views show.
pub async fn stats(served: &Served) -> Stats {
    let board = &served.board;
    let site = served.site.load_full();
    let lists = board.lists(&site.cache).await;
    let figures = site.cache.figures();
    let upstreams: Vec<_> = site
        .upstreams
        .iter()
        .map(|upstream| upstream_stats(upstream.view()))
        .collect();
    let now = clock::wall().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut stats = Stats {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        name: site.settings.name.clone(),
        now: now.as_secs_f64(),
        uptime_s: (clock::now() - board.began).as_secs_f64(),
        draining: served.shared.lifecycle.is_draining(),
        cache: CacheStats {
            entries: figures.entries,
            bytes: figures.bytes,
            capacity_bytes: figures.capacity_bytes,
            in_flight_bytes: figures.in_flight_bytes,
            evictions: figures.evictions,
        },
        waiting: Waiting {
            fills: figures.fills,
            followers: figures.followers,
            held: upstreams.iter().map(|upstream| upstream.held).sum(),
            queued: upstreams.iter().map(|upstream| upstream.queued).sum(),
        },
        connections: Connections {
            open: served.shared.lifecycle.connections() as u64,
            limit: served.shared.limits.load().connections as u64,
        },
        process: Process {
            pid: std::process::id(),
            resident_bytes: lists.process.resident_bytes,
            cpu_s: lists.process.cpu_seconds,
            open_fds: lists.process.open_fds,
            max_fds: lists.process.max_fds,
            data_threads: board.data_threads as u64,
            cpus: None,
        },
        upstreams,
        rate_limits: site.limits.iter().map(rate_limit_stats).collect(),
        hottest: lists.hottest.clone(),
        costliest: lists.costliest.clone(),
        events: board.journal.events(),
        ..Stats::default()
    };
    fill_from_history(&mut stats, &board.history.lock(), &site);
    stats
}

/// What follows from the samples.
fn fill_from_history(stats: &mut Stats, history: &History, site: &Site) {
    if let Some(stretch) = history.within(RATES_OF) {
        stats.rates = stretch.totals.per_second(stretch.length);
        stats.process.cpus = stretch.cpus;
    }
    if let Some(minute) = history.within(MINUTE) {
        stats.hit_ratio.minute = minute.totals.hit_ratio();
        stats.latency.minute = Split::new(&minute.hits, &minute.misses);
    }
    let all = history
        .last()
        .map_or_else(Figures::default, |sample| sample.figures);
    stats.totals = all.totals;
    stats.hit_ratio = HitRatio {
        start: all.totals.hit_ratio(),
        ..stats.hit_ratio
    };
    stats.latency = Latency {
        start: Split::new(&all.hits, &all.misses),
        ..stats.latency
    };
    stats.saved = Saved {
        origin_s: all.saved.origin.as_secs_f64(),
        bytes: all.saved.bytes,
        held: all.saved.held,
        retried: all.saved.retried,
    };
    stats.history = history.curves();

    let mut routes = history.routes();
    // Those that a reload has taken away, and those that nothing came to, are not worth a line.
    routes.retain(|(name, totals, _)| {
        totals.requests > 0 || site.routes.in_order().any(|route| *route.name == **name)
    });
    routes.sort_by(|(_, totals, rates), (_, other, others)| {
        let by_rate = others.requests.total_cmp(&rates.requests);
        by_rate.then(other.requests.cmp(&totals.requests))
    });
    stats.routes_more = routes.len().saturating_sub(ROUTES_MAX);
    stats.routes = routes
        .into_iter()
        .take(ROUTES_MAX)
        .map(|(name, totals, rates): (_, _, Rates)| RouteStats {
            name: name.to_string(),
            rates,
            totals,
        })
        .collect();
}

fn rate_limit_stats(limit: &Limit) -> RateLimitStats {
    let settings = limit.settings();
    RateLimitStats {
        name: settings.name.clone(),
        rate: settings.rate.to_string(),
        dry_run: settings.dry_run,
        refused: limit.refused(),
    }
}

fn upstream_stats(view: UpstreamView) -> UpstreamStats {
    let servers = view.servers.into_iter().flat_map(|server| {
        let name = server.server;
        let unresolved = server.addresses.is_empty().then(|| ServerStats {
            server: name.clone(),
            state: "unresolved".to_owned(),
            reason: Some(server.dns),
            ..ServerStats::default()
        });
        let addresses = server
            .addresses
            .into_iter()
            .map(move |address| ServerStats {
                server: name.clone(),
                addr: Some(address.addr),
                state: address.state.to_owned(),
                reason: address.reason,
                in_flight: address.in_flight as u64,
            });
        unresolved.into_iter().chain(addresses)
    });
    UpstreamStats {
        servers: servers.collect(),
        name: view.name,
        available: view.available,
        reason: view.reason,
        held: view.held as u64,
        queued: view.queued as u64,
    }
}
