//! One bucket's arithmetic: the generic cell rate algorithm, for which a bucket is one instant, the one at which it is full
//! again.
//!
//! A request moves that instant on by its cost. It is refused where the bucket would then need longer to fill than it does
//! when it is empty. Nothing runs in the background, and a bucket that is full is one that need not be remembered.

use super::settings::Rate;
use std::time::Duration;

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// The rule that all buckets of a limit follow. Instants are nanoseconds since the limit was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// How far a request moves the instant on.
    cost: u64,
    /// How long an empty bucket takes to fill.
    depth: u64,
}

impl Rule {
    /// That of a rate with room for `burst` requests at once.
    pub fn new(rate: Rate, burst: u32) -> Self {
        let cost =
            u64::from(rate.per.seconds()) * NANOS_PER_SECOND / u64::from(rate.requests.max(1));
        // An hour's nanoseconds a million times are a fifth of what 64 bits hold.
        let depth = cost.saturating_mul(u64::from(burst.max(1)));
        Self { cost, depth }
    }

    /// A request comes at `now` to a bucket that is full at `full`: when it will be full then, or how long the request
    /// would have to wait.
    ///
    /// # Errors
    /// The wait, where the bucket has nothing left.
    pub fn take(self, full: u64, now: u64) -> Result<u64, Duration> {
        let then = full.max(now).saturating_add(self.cost);
        match then.saturating_sub(now).checked_sub(self.depth) {
            None | Some(0) => Ok(then),
            Some(over) => Err(Duration::from_nanos(over)),
        }
    }

    /// What a request took is given back.
    pub fn give_back(self, full: u64) -> u64 {
        full.saturating_sub(self.cost)
    }

    /// How many requests a bucket has left.
    pub fn left(self, full: u64, now: u64) -> u64 {
        self.depth.saturating_sub(full.saturating_sub(now)) / self.cost.max(1)
    }

    /// How long an empty bucket takes to fill: the window of the policy that clients are told.
    pub fn window(self) -> Duration {
        Duration::from_nanos(self.depth)
    }
}

#[cfg(test)]
mod tests {
    use super::super::settings::Per;
    use super::*;
    use proptest::prelude::*;

    const MILLISECOND: u64 = 1_000_000;

    fn rule(requests: u32, per: Per, burst: u32) -> Rule {
        Rule::new(Rate { requests, per }, burst)
    }

    #[test]
    fn a_burst_and_then_the_rate() {
        let rule = rule(10, Per::Second, 3);
        let mut full = 0;
        for left in [2, 1, 0] {
            full = rule
                .take(full, MILLISECOND)
                .expect("there is something left");
            assert_eq!(rule.left(full, MILLISECOND), left);
        }
        let wait = Duration::from_millis(100);
        assert_eq!(rule.take(full, MILLISECOND), Err(wait));
        // A refusal costs nothing: a moment before its time it is still refused, and then not.
        assert_eq!(
            rule.take(full, 100 * MILLISECOND),
            Err(Duration::from_millis(1))
        );
        assert!(rule.take(full, 101 * MILLISECOND).is_ok());
        // After a pause there is a burst again, and no more than that.
        let later = 3_600 * NANOS_PER_SECOND;
        assert_eq!(rule.left(full, later), 3);
        assert_eq!(rule.give_back(full), full - 100 * MILLISECOND);
    }

    #[test]
    fn slow_and_fast_rates_are_counted_exactly_enough() {
        for (requests, per, burst, window) in [
            (1, Per::Hour, 1, 3_600.0),
            (5, Per::Minute, 5, 60.0),
            (1_000_000, Per::Second, 1_000_000, 1.0),
            (3, Per::Second, 3, 1.0),
        ] {
            let rule = rule(requests, per, burst);
            assert!((rule.window().as_secs_f64() - window).abs() < 0.001);
        }
        // The largest there is overflows nothing.
        let largest = rule(1, Per::Hour, 1_000_000);
        assert!(largest.take(u64::MAX / 2, 0).is_err());
        assert!(largest.take(0, u64::MAX / 2).is_ok());
    }

    proptest! {
        /// However requests come, no span of time sees more of them than a burst and the rate for its length.
        #[test]
        fn no_more_than_burst_and_rate(
            requests in 1u32..1_000,
            burst in 1u32..50,
            pauses in prop::collection::vec(0u64..20 * MILLISECOND, 1..300),
        ) {
            let rule = rule(requests, Per::Second, burst);
            let (mut now, mut full) = (0, 0);
            let mut admitted: Vec<u64> = Vec::new();
            for pause in pauses {
                now += pause;
                match rule.take(full, now) {
                    Ok(then) => {
                        full = then;
                        admitted.push(now);
                    }
                    Err(wait) => {
                        // Who waits as long as it is told is admitted, if nobody else comes.
                        let waited = now + u64::try_from(wait.as_nanos()).expect("it fits");
                        prop_assert!(rule.take(full, waited).is_ok());
                    }
                }
            }
            for (index, from) in admitted.iter().enumerate() {
                for (more, to) in admitted[index..].iter().enumerate() {
                    let most = u128::from(burst) + u128::from(to - from) / u128::from(rule.cost);
                    prop_assert!((more as u128) < most + 1);
                }
            }
        }
    }
}
