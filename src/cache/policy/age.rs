//! How old a response is (RFC 9111 §4.2.3).

use super::{Received, Terms};
use crate::clock::Instant;
use crate::fields::date;
use crate::fields::delta_seconds::DeltaSeconds;
use crate::fields::list;
use http::{HeaderMap, header};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// §4.2.3 `corrected_initial_age`.
pub fn initial_age(received: &Received<'_>) -> Duration {
    // apparent_age = max(0, response_time - date_value);
    let apparent_age = whole_seconds(received.received.wall)
        .duration_since(date_value(received))
        .unwrap_or_default();
    // response_delay = response_time - request_time;
    let response_delay = received
        .received
        .at
        .saturating_duration_since(received.requested.at);
    // corrected_age_value = age_value + response_delay;
    let corrected_age_value = age_value(received.headers).saturating_add(response_delay);
    // corrected_initial_age = max(apparent_age, corrected_age_value);
    apparent_age.max(corrected_age_value)
}

/// `Date`, or when the response came where it has none that can be read (RFC 9110 §6.6.1). The first of several.
pub fn date_value(received: &Received<'_>) -> SystemTime {
    received
        .headers
        .get(header::DATE)
        .and_then(|value| date::parse(value.as_bytes()))
        .unwrap_or_else(|| whole_seconds(received.received.wall))
}

/// `Age`, or zero. §5.1: of a list or several lines the first member counts, and what is no number is ignored.
pub fn age_value(headers: &HeaderMap) -> Duration {
    headers
        .get(header::AGE)
        .and_then(|value| list::members(value.as_bytes()).next())
        .and_then(DeltaSeconds::parse)
        .unwrap_or_default()
        .duration()
}

/// `Date` counts whole seconds: compared with fractions, every response would be up to a second old on arrival.
fn whole_seconds(time: SystemTime) -> SystemTime {
    time.duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| UNIX_EPOCH.checked_add(Duration::from_secs(since.as_secs())))
        .unwrap_or(time)
}

impl Terms {
    /// §4.2.3 `current_age`.
    pub fn current_age(&self, now: Instant) -> Duration {
        self.initial_age
            .saturating_add(now.saturating_duration_since(self.received))
    }

    /// The freshness left in whole seconds, as RFC 9211's `ttl`; negative is stale.
    pub fn remaining(&self, now: Instant) -> i64 {
        self.remaining_at(self.current_age(now))
    }

    /// The same at this age.
    pub fn remaining_at(&self, age: Duration) -> i64 {
        let whole = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
        let lifetime = self.lifetime.duration();
        if let Some(left) = lifetime.checked_sub(age) {
            return whole(left);
        }
        // Rounded away from zero: what went stale half a second ago does not have zero seconds left.
        let over = age.saturating_sub(lifetime);
        let fraction = i64::from(over.subsec_nanos() > 0);
        whole(over).saturating_add(fraction).saturating_neg()
    }

    /// Whether it is fresh (§4.2): the lifetime exceeds the age.
    pub fn is_fresh(&self, now: Instant) -> bool {
        self.lifetime.duration() > self.current_age(now)
    }

    /// How long it has been stale (§4.2.4); zero while it is fresh.
    pub fn staleness(&self, now: Instant) -> Duration {
        self.current_age(now)
            .saturating_sub(self.lifetime.duration())
    }

    /// The value of `Age` for an answer from store (§5.1).
    pub fn age_field(&self, now: Instant) -> DeltaSeconds {
        DeltaSeconds::of(self.current_age(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::policy::testing::{at, headers, received_by, start, terms};
    use proptest::prelude::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn corrected_initial_age() {
        let now = date::format(start());
        let earlier = date::format(start() - seconds(100));
        let later = date::format(start() + seconds(100));
        for (clause, fields, delay, age) in [
            ("§4.2.3: nothing", vec![], 0, 0),
            ("§4.2.3 age_value", vec![("age", "7")], 0, 7),
            ("§4.2.3 response_delay", vec![], 19, 19),
            ("§4.2.3 corrected_age_value", vec![("age", "7")], 19, 26),
            (
                "§4.2.3 apparent_age",
                vec![("date", earlier.as_str())],
                0,
                100,
            ),
            (
                "§4.2.3 apparent_age is never negative",
                vec![("date", &later)],
                0,
                0,
            ),
            (
                "§4.2.3 the larger one: apparent",
                vec![("date", &earlier), ("age", "7")],
                19,
                100,
            ),
            (
                "§4.2.3 the larger one: corrected",
                vec![("date", &earlier), ("age", "90")],
                19,
                109,
            ),
            ("§4.2.3 the same second", vec![("date", &now)], 0, 0),
            (
                "RFC 9110 §6.6.1: Date unreadable",
                vec![("date", "0")],
                3,
                3,
            ),
            (
                "RFC 9110 §6.6.1: first of two Dates",
                vec![("date", &earlier), ("date", &now)],
                0,
                100,
            ),
            ("§5.1: negative", vec![("age", "-7")], 0, 0),
            ("§5.1: float", vec![("age", "7.5")], 0, 0),
            ("§5.1: suffix", vec![("age", "7s")], 0, 0),
            ("§5.1: prefix", vec![("age", "a7")], 0, 0),
            ("§5.1: empty", vec![("age", "")], 0, 0),
            ("§5.1: list, the first", vec![("age", "7, 9")], 0, 7),
            (
                "§5.1: list, the first is no number",
                vec![("age", "x, 9")],
                0,
                0,
            ),
            (
                "§5.1: several lines, the first",
                vec![("age", "7"), ("age", "9")],
                0,
                7,
            ),
            ("§1.2.2: over 2^31", vec![("age", "2147483649")], 0, 1 << 31),
            (
                "§1.2.2: over 2^64",
                vec![("age", "18446744073709551616")],
                0,
                1 << 31,
            ),
        ] {
            let fields = headers(&fields);
            assert_eq!(
                initial_age(&received_by(200, &fields, delay)),
                seconds(age),
                "{clause}"
            );
        }
    }

    #[test]
    fn remaining_and_staleness() {
        let terms = terms(10);
        for (millis, remaining, fresh, staleness) in [
            (0, 10, true, 0),
            (9_600, 0, true, 0),
            (10_000, 0, false, 0),
            (10_400, -1, false, 400),
            (11_000, -1, false, 1_000),
            (11_001, -2, false, 1_001),
        ] {
            let now = at(Duration::from_millis(millis));
            assert_eq!(terms.remaining(now), remaining, "{millis}");
            assert_eq!(terms.is_fresh(now), fresh, "{millis}");
            assert_eq!(
                terms.staleness(now),
                Duration::from_millis(staleness),
                "{millis}"
            );
        }
        assert_eq!(
            terms.age_field(at(Duration::from_millis(3_999))).seconds(),
            3
        );
    }

    proptest! {
        #[test]
        fn age_never_falls_and_what_is_stale_stays_stale(lifetime in 0u64..100, initial in any::<u64>(), steps in prop::collection::vec(0u64..50, 1..8)) {
            let mut terms = terms(lifetime);
            terms.initial_age = if initial % 2 == 0 { seconds(initial) } else { seconds(initial % 64) };
            let (mut now, mut age, mut fresh) = (Duration::ZERO, Duration::ZERO, true);
            for step in steps {
                now += seconds(step);
                let (age_now, fresh_now) = (terms.current_age(at(now)), terms.is_fresh(at(now)));
                prop_assert!(age_now >= age);
                prop_assert!(fresh || !fresh_now);
                (age, fresh) = (age_now, fresh_now);
            }
        }
    }
}
