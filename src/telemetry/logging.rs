//! The program's own log: readable lines in UTC on standard error, filtered by `[log] level`.
//!
//! Records of the `log` crate (Pingora's) come the same way. Libraries are quieter than we are unless the operator's
//! filter names them: what they say of single requests is in the access log, with its reason. What Pingora says below "info" is
//! never let through: it writes whole heads, with the cookies and passwords of clients.

use std::fmt;
use std::io::{self, IsTerminal};
use std::str::FromStr;

use tracing::level_filters::LevelFilter;
use tracing::{Level, Metadata};
use tracing_log::AsLog;
use tracing_subscriber::filter::{EnvFilter, FilterFn, filter_fn};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;

use crate::clock;
use crate::telemetry::TelemetryError;
use crate::telemetry::settings::LogSettings;
use crate::telemetry::timestamp::Rfc3339;

/// How much of each library is let through at most. Targets match by prefix, the longest one decides.
const QUIET: [(&str, LevelFilter); 9] = [
    ("pingora", LevelFilter::WARN),
    // It reports every request that failed ("Fail to proxy"), which is a line of the access log.
    ("pingora_proxy", LevelFilter::OFF),
    // It warns of each connection that is ended for a flood, without its client; we name one a minute.
    ("h2", LevelFilter::ERROR),
    ("hickory", LevelFilter::WARN),
    ("hyper", LevelFilter::INFO),
    ("mio", LevelFilter::INFO),
    ("notify", LevelFilter::INFO),
    ("rustls", LevelFilter::WARN),
    ("tokio", LevelFilter::INFO),
];

/// The handle to the program's log, for changing its level.
#[derive(Debug)]
pub struct Logging {
    filter: reload::Handle<EnvFilter, tracing_subscriber::Registry>,
}

/// Sets the program's log up, once in a process.
///
/// # Errors
/// [`TelemetryError::Level`] when the level is not a filter, [`TelemetryError::AlreadySetUp`] the second time.
pub fn init(settings: &LogSettings) -> Result<Logging, TelemetryError> {
    let (filter, handle) = reload::Layer::new(filter(&settings.level)?);
    let lines = tracing_subscriber::fmt::layer()
        .compact()
        .with_timer(Utc)
        .with_ansi(io::stderr().is_terminal())
        // Its report of a failed write goes through a macro that panics when standard error is gone.
        .log_internal_errors(false)
        .with_writer(io::stderr);
    tracing_subscriber::registry()
        .with(filter)
        .with(discretion())
        .with(lines)
        .try_init()
        .map_err(|_| TelemetryError::AlreadySetUp)?;
    Ok(Logging { filter: handle })
}

impl Logging {
    /// Changes the level of the running program; on an error the old one stays.
    ///
    /// # Errors
    /// [`TelemetryError::Level`] when the level is not a filter.
    pub fn set_level(&self, level: &str) -> Result<(), TelemetryError> {
        let filter = filter(level)?;
        // Only fails when the subscriber is gone, and then there is no log to change.
        let _ = self.filter.reload(filter);
        // The `log` crate keeps a ceiling of its own, which was set from the filter at start.
        tracing_log::log::set_max_level(LevelFilter::current().as_log());
        Ok(())
    }
}

/// Whether `level` is a filter, for checking a configuration without running it.
///
/// # Errors
/// [`TelemetryError::Level`] when it is not.
pub fn check_level(level: &str) -> Result<(), TelemetryError> {
    filter(level).map(drop)
}

/// The operator's filter behind the defaults that it leaves standing. Without a bare level in it, that is "info".
fn filter(level: &str) -> Result<EnvFilter, TelemetryError> {
    let mut general = LevelFilter::INFO;
    let mut named = Vec::new();
    for directive in level.split(',').map(str::trim).filter(|d| !d.is_empty()) {
        let malformed = || TelemetryError::Level {
            found: directive.to_owned(),
        };
        if let Ok(level) = LevelFilter::from_str(directive) {
            general = level;
            continue;
        }
        // The library takes a bare word for a target at "trace": with "inof" for "info" nothing would be logged.
        let target_ends = directive.find(['=', '[']).ok_or_else(malformed)?;
        EnvFilter::builder()
            .with_regex(false)
            .parse(directive)
            .map_err(|_| malformed())?;
        named.push((directive.get(..target_ends).unwrap_or_default(), directive));
    }
    if level.trim().is_empty() {
        return Err(TelemetryError::Level {
            found: level.to_owned(),
        });
    }
    let is_left_to_us = |target: &str| {
        !named
            .iter()
            .any(|(name, _)| !name.is_empty() && target.starts_with(name))
    };
    let quiet = QUIET
        .iter()
        .filter(|(target, _)| is_left_to_us(target))
        .map(|(target, ceiling)| format!("{target}={}", (*ceiling).min(general)));
    let directives: Vec<String> = std::iter::once(general.to_string())
        .chain(quiet)
        .chain(named.iter().map(|(_, directive)| (*directive).to_owned()))
        .collect();
    EnvFilter::builder()
        .with_regex(false)
        .parse(directives.join(","))
        .map_err(|_| TelemetryError::Level {
            found: level.to_owned(),
        })
}

/// Keeps what Pingora says of single heads, whatever the operator's filter names.
fn discretion() -> FilterFn<impl Fn(&Metadata<'_>) -> bool> {
    filter_fn(|metadata| {
        *metadata.level() <= Level::INFO || !metadata.target().starts_with("pingora")
    })
}

/// The time in front of a line.
struct Utc;

impl FormatTime for Utc {
    fn format_time(&self, w: &mut Writer<'_>) -> fmt::Result {
        write!(w, "{}", Rfc3339(clock::wall()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use parking_lot::Mutex;
    use std::io::Write;
    use std::sync::Arc;
    use tracing_log::log;

    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Which targets pass at which level, tried out on a subscriber of this thread.
    fn passes(level: &str, record: log::Level, target: &str) -> bool {
        let memory = Memory::default();
        let writer = memory.clone();
        let subscriber = tracing_subscriber::registry()
            .with(filter(level).expect("a valid filter"))
            .with(discretion())
            .with(tracing_subscriber::fmt::layer().with_writer(move || writer.clone()));
        tracing::subscriber::with_default(subscriber, || {
            let record = log::Record::builder()
                .level(record)
                .target(target)
                .args(format_args!("said"))
                .build();
            tracing_log::format_trace(&record).expect("a record");
        });
        !memory.0.lock().is_empty()
    }

    #[test]
    fn who_is_heard() {
        use log::Level::{Debug, Error, Info, Warn};
        for (level, record, target, expected) in [
            ("info", Info, "forebay::upstream", true),
            ("info", Debug, "forebay::upstream", false),
            ("info", Warn, "pingora_core::server", true),
            ("info", Info, "pingora_core::server", false),
            ("info", Error, "pingora_proxy", false),
            ("debug", Info, "pingora_core", false),
            ("debug", Debug, "h2::codec", false),
            ("debug", Debug, "forebay::listen", true),
            ("error", Warn, "pingora_core", false),
            ("info,pingora_proxy=error", Error, "pingora_proxy", true),
            ("info,pingora_proxy=error", Info, "pingora_core", false),
            ("info,pingora=debug", Info, "pingora_proxy", true),
            ("info,pingora=debug", Debug, "pingora_proxy", false),
            (
                "pingora_core=trace",
                Debug,
                "pingora_core::protocols",
                false,
            ),
            (
                "forebay::upstream=debug",
                Debug,
                "forebay::upstream::dns",
                true,
            ),
            ("forebay::upstream=debug", Info, "forebay::listen", true),
            (
                "warn, forebay::upstream=debug",
                Info,
                "forebay::listen",
                false,
            ),
            ("off", Error, "forebay", false),
        ] {
            assert_eq!(
                passes(level, record, target),
                expected,
                "{level}: {record} of {target}"
            );
        }
    }

    #[test]
    fn what_is_no_level() {
        for (level, part) in [
            ("inof", "inof"),
            ("", ""),
            ("info,forebay", "forebay"),
            ("info,forebay=loud", "forebay=loud"),
            ("info;debug", "info;debug"),
        ] {
            let error = check_level(level).expect_err(level).to_string();
            assert!(
                error.starts_with(&format!("`{part}` is not a log level; ")),
                "{error}"
            );
        }
    }

    #[test]
    fn the_level_changes_while_running() {
        let (layer, handle) = reload::Layer::new(filter("info").expect("a valid filter"));
        let logging = Logging { filter: handle };
        let memory = Memory::default();
        let writer = memory.clone();
        let subscriber = tracing_subscriber::registry()
            .with(layer)
            .with(tracing_subscriber::fmt::layer().with_writer(move || writer.clone()));
        tracing::subscriber::with_default(subscriber, || {
            tracing::debug!("one");
            logging.set_level("debug").expect("a valid filter");
            tracing::debug!("two");
            assert!(logging.set_level("loud").is_err());
            tracing::debug!("three");
        });
        let text = String::from_utf8(memory.0.lock().clone()).expect("UTF-8");
        assert!(
            !text.contains("one") && text.contains("two") && text.contains("three"),
            "{text}"
        );
    }
}
