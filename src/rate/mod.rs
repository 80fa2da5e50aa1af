//! Whether a client asks too often: token buckets by client, key or route, which both lanes take from by the same function.
//!
//! | part | question |
//! |---|---|
//! | [`settings`] | how many requests in what time, counted by what? |
//! | `bucket` | is there one left, and if not, when? |
//! | `table` | whose bucket is it, and which one goes where there are too many? |
//! | [`client`] | whom does an address stand for? |
//! | [`metrics`] | what was refused? |
//!
//! A limit's buckets outlive a reload that leaves its rate, burst, key and size as they are. They are this process's own: an
//! instance beside it, and a successor, begin with full ones.

mod bucket;
pub mod client;
pub mod metrics;
pub mod settings;
mod table;

use crate::clock::{self, Instant};
use crate::fields::cookie;
use crate::fields::view::FieldView;
use bucket::Rule;
use http::header::COOKIE;
use metrics::{LimitMetrics, RateMetrics};
use settings::{RateKey, RateLimitSettings};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use table::Table;

/// Between two lines of the program's log about one limit.
const TOLD_EVERY: u64 = 60 * 1_000_000_000;

/// One limit at work.
#[derive(Debug)]
pub struct Limit {
    settings: RateLimitSettings,
    rule: Rule,
    state: Arc<State>,
    metrics: LimitMetrics,
}

/// What outlives a reload.
#[derive(Debug)]
struct State {
    table: Table,
    /// What the table's instants count from.
    began: Instant,
    /// When the log was last told, and how much has been refused since.
    told: AtomicU64,
    untold: AtomicU64,
}

/// A request, as far as limits are concerned.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The client, as far as those in front of us are believed.
    pub client: IpAddr,
    /// The name of its route.
    pub route: &'a str,
    /// Its fields.
    pub fields: FieldView<'a>,
}

/// A request that comes too often.
#[derive(Debug, Clone, Copy)]
pub struct Refused<'a> {
    /// By which limit.
    pub limit: &'a Limit,
    /// When it would be admitted, if nobody else came.
    pub wait: Duration,
}

/// All limits of a configuration.
#[derive(Debug, Clone, Default)]
pub struct Limits {
    all: Vec<Arc<Limit>>,
    metrics: RateMetrics,
}

impl Limits {
    /// Those of the settings. Where one of `previous` counts in the same way, it goes on counting.
    pub fn new(
        settings: &[RateLimitSettings],
        previous: Option<&Self>,
        metrics: &RateMetrics,
    ) -> Self {
        let limit = |settings: &RateLimitSettings| {
            let before = previous.and_then(|it| it.named(&settings.name));
            let state = before
                .filter(|before| before.settings.counts_like(settings))
                .map_or_else(|| Arc::new(State::new(settings)), |it| it.state.clone());
            Arc::new(Limit {
                settings: settings.clone(),
                rule: Rule::new(settings.rate, settings.burst),
                state,
                metrics: metrics.of(&settings.name, settings.dry_run),
            })
        };
        let all: Vec<_> = settings.iter().map(limit).collect();
        metrics.show(&all);
        Self {
            all,
            metrics: metrics.clone(),
        }
    }

    /// Those of other settings, in the place of these.
    #[must_use]
    pub fn replaced_by(&self, settings: &[RateLimitSettings]) -> Self {
        Self::new(settings, Some(self), &self.metrics)
    }

    /// Those of these names, to be asked in this order: what refuses first, so that nothing is counted that was not served.
    pub fn of(&self, names: &[String]) -> Vec<Arc<Limit>> {
        let mut limits: Vec<_> = names
            .iter()
            .filter_map(|name| self.named(name).cloned())
            .collect();
        limits.sort_by_key(|limit| limit.settings.dry_run);
        limits
    }

    /// All of them, in the order of the configuration.
    pub fn iter(&self) -> impl Iterator<Item = &Limit> {
        self.all.iter().map(Arc::as_ref)
    }

    fn named(&self, name: &str) -> Option<&Arc<Limit>> {
        self.all.iter().find(|limit| limit.settings.name == name)
    }
}

impl RateLimitSettings {
    /// Whether buckets of one may go on as buckets of the other.
    fn counts_like(&self, other: &Self) -> bool {
        let counting = |it: &Self| (it.rate, it.burst, it.key.clone(), it.keys);
        counting(self) == counting(other)
    }
}

/// Takes one from each limit's bucket, or from none. `now` is when the request came.
///
/// # Errors
/// [`Refused`] by the first that has none left. The caller says whether that is the last word on it:
/// [`Limit::count_refusal`].
pub fn admit<'a>(
    limits: &'a [Arc<Limit>],
    subject: &Subject<'_>,
    now: Instant,
) -> Result<(), Refused<'a>> {
    for (index, limit) in limits.iter().enumerate() {
        let Err(wait) = limit.take(subject, now) else {
            continue;
        };
        if limit.settings.dry_run {
            limit.count_refusal(subject);
            continue;
        }
        for before in limits.get(..index).unwrap_or_default() {
            before.give_back(subject, now);
        }
        return Err(Refused { limit, wait });
    }
    Ok(())
}

/// Whether [`admit`] would admit it; nothing is taken.
///
/// # Errors
/// As [`admit`].
pub fn would_admit<'a>(
    limits: &'a [Arc<Limit>],
    subject: &Subject<'_>,
    now: Instant,
) -> Result<(), Refused<'a>> {
    for limit in limits.iter().filter(|limit| !limit.settings.dry_run) {
        if let Some(key) = limit.key(subject) {
            let (full, now) = (limit.state.table.full(key), limit.state.nanos(now));
            let taken = limit.rule.take(full, now);
            taken.map_err(|wait| Refused { limit, wait })?;
        }
    }
    Ok(())
}

impl State {
    fn new(settings: &RateLimitSettings) -> Self {
        // One bucket is enough for everybody.
        let keys = match settings.key {
            RateKey::All => 1,
            _ => settings.keys,
        };
        Self {
            table: Table::new(keys),
            began: clock::now(),
            told: AtomicU64::new(0),
            untold: AtomicU64::new(0),
        }
    }

    /// An instant as the table has it. Never 0, which stands for no bucket.
    fn nanos(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.began).as_nanos();
        u64::try_from(since).unwrap_or(u64::MAX).saturating_add(1)
    }
}

impl Limit {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// What the operator decided.
    pub fn settings(&self) -> &RateLimitSettings {
        &self.settings
    }

    /// How long an empty bucket takes to fill.
    pub fn window(&self) -> Duration {
        self.rule.window()
    }

    /// Requests that it refused, or would have.
    pub fn refused(&self) -> u64 {
        self.metrics.limited.get()
    }

    /// Keys that have something to remember.
    pub fn keys(&self) -> usize {
        self.state.table.len(self.state.nanos(clock::now()))
    }

    /// How many requests this one's bucket has left, itself included. `None` where it is not counted.
    pub fn left(&self, subject: &Subject<'_>, now: Instant) -> Option<u64> {
        let full = self.state.table.full(self.key(subject)?);
        Some(self.rule.left(full, self.state.nanos(now)))
    }

    /// Counts a request that it refused, or would refuse, and tells the program's log now and then.
    pub fn count_refusal(&self, subject: &Subject<'_>) {
        self.metrics.limited.inc();
        let now = self.state.nanos(clock::now());
        let untold = self.state.untold.fetch_add(1, Relaxed) + 1;
        let told = self.state.told.load(Relaxed);
        let due = told == 0 || now.saturating_sub(told) >= TOLD_EVERY;
        let mine = || {
            let (set, fail) = (Relaxed, Relaxed);
            self.state
                .told
                .compare_exchange(told, now, set, fail)
                .is_ok()
        };
        if !due || !mine() {
            return;
        }
        self.state.untold.fetch_sub(untold, Relaxed);
        let does = if self.settings.dry_run {
            "would refuse"
        } else {
            "refuses"
        };
        tracing::warn!(
            "rate limit `{}` ({}) {does} requests: {untold} since it was last said, now one of {} on route `{}`",
            self.settings.name,
            self.settings.rate,
            subject.client,
            subject.route
        );
    }

    fn take(&self, subject: &Subject<'_>, now: Instant) -> Result<(), Duration> {
        let Some(key) = self.key(subject) else {
            return Ok(());
        };
        let now = self.state.nanos(now);
        let table = &self.state.table;
        let looked = table.change(key, now, |full| self.rule.take(full, now));
        if looked.displaced {
            self.metrics.forgotten.inc();
        }
        looked.became
    }

    fn give_back(&self, subject: &Subject<'_>, now: Instant) {
        if let Some(key) = self.key(subject) {
            let now = self.state.nanos(now);
            let table = &self.state.table;
            // What has been displaced meanwhile is full anyway.
            let give = |full: u64| (full > 0).then(|| self.rule.give_back(full)).ok_or(());
            let _ = table.change(key, now, give);
        }
    }

    /// What the request is counted by; `None` where it is not.
    fn key(&self, subject: &Subject<'_>) -> Option<u64> {
        let of_exempt = |net: &ipnet::IpNet| net.contains(&subject.client);
        if self.settings.except.iter().any(of_exempt) {
            return None;
        }
        let table = &self.state.table;
        let by_client = || table.key((CLIENT, client::group(subject.client)));
        // A value that a client chose never stands for an address.
        Some(match &self.settings.key {
            RateKey::Client => by_client(),
            RateKey::All => 0,
            RateKey::Route => table.key(subject.route),
            RateKey::Header(name) => match only(subject.fields.get_all(name)) {
                Some(value) => table.key((VALUE, value)),
                None => by_client(),
            },
            RateKey::Cookie(name) => {
                match only(cookie::find_all(subject.fields.get_all(&COOKIE), name)) {
                    Some(value) => table.key((VALUE, value)),
                    None => by_client(),
                }
            }
        })
    }
}

/// The value, where there is one. Of several an application takes one, and a client that adds another each time would have a new
/// bucket with each.
fn only<T>(mut values: impl Iterator<Item = T>) -> Option<T> {
    let value = values.next()?;
    values.next().is_none().then_some(value)
}

/// Keeps keys of two kinds apart.
const CLIENT: u8 = 0;
const VALUE: u8 = 1;

#[cfg(test)]
mod tests;
