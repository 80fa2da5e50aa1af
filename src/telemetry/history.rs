//! The last minutes of what was counted, a sample a second, so that who looks now sees how it came to this.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Instant;
use crate::telemetry::figures::{Figures, Rates, Totals};
use crate::telemetry::histogram::Counts;

/// The time between two samples.
pub const STEP: Duration = Duration::from_secs(1);
/// Steps that are remembered: five minutes.
pub const STEPS: usize = 300;
/// Of single routes, only so many: there may be many routes, and what they do now is all that is shown.
const ROUTE_STEPS: usize = 10;

/// What was counted by one moment.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// When.
    pub at: Instant,
    /// Of all routes together.
    pub figures: Figures,
    /// Processor time of the process, in seconds.
    pub cpu_seconds: Option<f64>,
}

/// The samples. About 150 KiB, and for each route another KiB.
#[derive(Debug, Default)]
pub struct History {
    samples: VecDeque<Sample>,
    routes: VecDeque<(Instant, ByRoute)>,
}

/// In the order of the routes' names.
type ByRoute = Vec<(Arc<str>, Totals)>;

/// What happened between two moments.
#[derive(Debug, Clone, Copy)]
pub struct Stretch {
    /// How long it was.
    pub length: Duration,
    /// How many.
    pub totals: Totals,
    /// How long answers from the store took.
    pub hits: Counts,
    /// How long answers took for which an upstream was asked.
    pub misses: Counts,
    /// Processors kept busy.
    pub cpus: Option<f64>,
}

/// A step of the past as it is drawn: a point of each curve, the oldest first.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Curves {
    /// Seconds from point to point.
    pub step_s: u64,
    /// Requests a second.
    pub requests: Vec<f64>,
    /// Of them, those answered from the store.
    pub cached: Vec<f64>,
    /// Of them, those answered with a 5xx or not at all.
    pub errors: Vec<f64>,
    /// Octets a second.
    pub bytes_out: Vec<f64>,
    /// The part that was answered from the store; none where nothing was asked of it.
    pub hit_ratio: Vec<Option<f64>>,
    /// Milliseconds within which 99 of 100 answers from the store were given.
    pub hit_p99_ms: Vec<Option<f64>>,
    /// The same of answers for which an upstream was asked.
    pub miss_p99_ms: Vec<Option<f64>>,
}

impl History {
    /// Adds what was counted of each route by now.
    pub fn add(&mut self, at: Instant, routes: Vec<(Arc<str>, Figures)>, cpu_seconds: Option<f64>) {
        let sum = |sum: Figures, (_, figures): &(_, Figures)| sum.and(figures);
        let figures = routes.iter().fold(Figures::default(), sum);
        self.samples.push_back(Sample {
            at,
            figures,
            cpu_seconds,
        });
        // A step lies between two samples.
        while self.samples.len() > STEPS + 1 {
            self.samples.pop_front();
        }
        let totals = routes.into_iter().map(|(name, it)| (name, it.totals));
        self.routes.push_back((at, totals.collect()));
        while self.routes.len() > ROUTE_STEPS + 1 {
            self.routes.pop_front();
        }
    }

    /// The last sample.
    pub fn last(&self) -> Option<&Sample> {
        self.samples.back()
    }

    /// What happened within `window` before the last sample, or since the first that is remembered; `None` where there are
    /// not two samples to compare.
    pub fn within(&self, window: Duration) -> Option<Stretch> {
        let last = self.samples.back()?;
        let of_window = |sample: &&Sample| last.at - sample.at <= window;
        let first = self.samples.iter().find(of_window)?;
        (last.at > first.at).then(|| stretch(first, last))
    }

    /// What each route does now: how many by the last sample, and how many a second in those before.
    pub fn routes(&self) -> Vec<(Arc<str>, Totals, Rates)> {
        let (Some((before, earlier)), Some((now, latest))) =
            (self.routes.front(), self.routes.back())
        else {
            return Vec::new();
        };
        let rate = |(name, totals): &(Arc<str>, Totals)| {
            // Both are in the order of their names.
            let then = earlier.binary_search_by(|(earlier, _)| earlier.cmp(name));
            let then = then.ok().and_then(|at| earlier.get(at));
            let then = then.map_or_else(Totals::default, |(_, then)| *then);
            let rates = totals.since(&then).per_second(*now - *before);
            (name.clone(), *totals, rates)
        };
        latest.iter().map(rate).collect()
    }

    /// The past to be drawn.
    pub fn curves(&self) -> Curves {
        let mut curves = Curves {
            step_s: STEP.as_secs(),
            ..Curves::default()
        };
        for (earlier, later) in self.samples.iter().zip(self.samples.iter().skip(1)) {
            let step = stretch(earlier, later);
            let rates = step.totals.per_second(step.length);
            curves.requests.push(rates.requests);
            curves.cached.push(round(rates.hit + rates.stale));
            curves.errors.push(rates.errors);
            curves.bytes_out.push(rates.bytes_out.round());
            curves.hit_ratio.push(step.totals.hit_ratio().map(round));
            curves.hit_p99_ms.push(quantile_ms(&step.hits, 0.99));
            curves.miss_p99_ms.push(quantile_ms(&step.misses, 0.99));
        }
        curves
    }
}

/// A quantile in milliseconds, as it is shown.
pub fn quantile_ms(counts: &Counts, part: f64) -> Option<f64> {
    let duration = counts.quantile(part)?;
    // Microseconds are what is told apart.
    Some((duration.as_secs_f64() * 1e6).round() / 1e3)
}

fn round(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

fn stretch(earlier: &Sample, later: &Sample) -> Stretch {
    let length = later.at - earlier.at;
    let (then, now) = (&earlier.figures, &later.figures);
    let cpu = earlier.cpu_seconds.zip(later.cpu_seconds);
    Stretch {
        length,
        totals: now.totals.since(&then.totals),
        hits: now.hits.since(&then.hits),
        misses: now.misses.since(&then.misses),
        cpus: cpu
            .filter(|_| !length.is_zero())
            .map(|(then, now)| round((now - then).max(0.0) / length.as_secs_f64())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    /// A route of which so many requests were answered by now.
    fn route(name: &str, hits: u64, misses: u64) -> (Arc<str>, Figures) {
        let totals = Totals {
            requests: hits + misses,
            hit: hits,
            miss: misses,
            ..Totals::default()
        };
        let figures = Figures {
            totals,
            ..Figures::default()
        };
        (name.into(), figures)
    }

    fn history(seconds: u32) -> History {
        let began = clock::now();
        let mut history = History::default();
        for second in 0..=seconds {
            let done = u64::from(second);
            let mut routes = vec![route("a", 3 * done, done)];
            // It comes with a reload, in the fourth second.
            if second >= 4 {
                routes.push(route("b", 0, 10 * (done - 4)));
            }
            let cpu = Some(f64::from(second) / 2.0);
            history.add(began + STEP * second, routes, cpu);
        }
        history
    }

    #[test]
    fn nothing_is_said_of_one_sample() {
        let history = history(0);
        assert!(history.within(STEP).is_none());
        assert_eq!(history.curves().requests, [0.0; 0]);
        let [(_, _, rates)] = &history.routes()[..] else {
            panic!("one route");
        };
        assert_eq!(*rates, Rates::default());
    }

    #[test]
    fn rates_are_those_of_the_window() {
        let history = history(6);
        for (window, seconds, requests) in [(1, 1, 14), (3, 3, 4 * 3 + 20), (60, 6, 4 * 6 + 20)] {
            let stretch = history.within(STEP * window).expect("two samples");
            assert_eq!(stretch.length, STEP * seconds, "{window}");
            assert_eq!(stretch.totals.requests, requests, "{window}");
            assert_eq!(stretch.cpus, Some(0.5), "{window}");
        }
        let curves = history.curves();
        assert_eq!(curves.requests, [4.0, 4.0, 4.0, 4.0, 14.0, 14.0]);
        assert_eq!(curves.cached, [3.0; 6]);
        assert_eq!(curves.hit_ratio.first(), Some(&Some(0.75)));
        let routes = history.routes();
        let shown: Vec<_> = routes
            .iter()
            .map(|(name, totals, rates)| (&**name, totals.requests, rates.requests))
            .collect();
        assert_eq!(shown, [("a", 24, 4.0), ("b", 20, 3.33)]);
    }

    #[test]
    fn it_is_bounded() {
        let history = history(1_000);
        assert_eq!(history.curves().requests.len(), STEPS);
        assert_eq!(history.samples.len(), STEPS + 1);
        assert_eq!(history.routes.len(), ROUTE_STEPS + 1);
        let minute = history.within(STEP * 60).expect("two samples");
        assert_eq!(minute.length, STEP * 60);
    }
}
