//! [`Terms`] as they are stored: in a third of their octets, rounded towards what is older and less fresh.

use super::policy::{Lifetime, Terms, WhenStale};
use crate::clock::{self, Instant};
use http::StatusCode;
use std::sync::LazyLock;
use std::time::Duration;

/// The instants of stored responses are counted from here, in half of an instant's octets.
static ANCHOR: LazyLock<Instant> = LazyLock::new(clock::now);

/// [`Terms`] in a third of the octets, with the status, which fits beside them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Packed {
    /// Nanoseconds since [`ANCHOR`]; 292 years either way.
    received: i64,
    initial_age: Short,
    lifetime: Short,
    while_revalidate: Short,
    if_error: Short,
    if_unreachable: Short,
    pub(super) status: StatusCode,
    lifetime_by: By,
    when_stale: WhenStale,
}

/// By whose word a lifetime is, and whether the body changes in it or a purge has cut it: all in one octet, because another
/// would cost eight. What a purge has cut is stale, so whether its body changes while it is fresh is not asked any more.
#[derive(Debug, Clone, Copy)]
enum By {
    Explicit,
    Heuristic,
    Operator,
    ExplicitImmutable,
    HeuristicImmutable,
    OperatorImmutable,
    ExplicitPurged,
    HeuristicPurged,
    OperatorPurged,
}

impl By {
    fn of(terms: &Terms) -> Self {
        match (terms.lifetime, terms.purged, terms.immutable) {
            (Lifetime::Explicit(_), true, _) => Self::ExplicitPurged,
            (Lifetime::Heuristic(_), true, _) => Self::HeuristicPurged,
            (Lifetime::Operator(_), true, _) => Self::OperatorPurged,
            (Lifetime::Explicit(_), false, false) => Self::Explicit,
            (Lifetime::Heuristic(_), false, false) => Self::Heuristic,
            (Lifetime::Operator(_), false, false) => Self::Operator,
            (Lifetime::Explicit(_), false, true) => Self::ExplicitImmutable,
            (Lifetime::Heuristic(_), false, true) => Self::HeuristicImmutable,
            (Lifetime::Operator(_), false, true) => Self::OperatorImmutable,
        }
    }

    fn lifetime(self, duration: Duration) -> Lifetime {
        match self {
            Self::Explicit | Self::ExplicitImmutable | Self::ExplicitPurged => {
                Lifetime::Explicit(duration)
            }
            Self::Heuristic | Self::HeuristicImmutable | Self::HeuristicPurged => {
                Lifetime::Heuristic(duration)
            }
            Self::Operator | Self::OperatorImmutable | Self::OperatorPurged => {
                Lifetime::Operator(duration)
            }
        }
    }

    fn immutable(self) -> bool {
        matches!(
            self,
            Self::ExplicitImmutable | Self::HeuristicImmutable | Self::OperatorImmutable
        )
    }

    fn purged(self) -> bool {
        matches!(
            self,
            Self::ExplicitPurged | Self::HeuristicPurged | Self::OperatorPurged
        )
    }
}

impl Packed {
    pub(super) fn new(status: StatusCode, terms: &Terms) -> Self {
        let nanos = |duration: Duration| i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
        let received = match terms.received.checked_duration_since(*ANCHOR) {
            Some(since) => nanos(since),
            None => -nanos(ANCHOR.saturating_duration_since(terms.received)),
        };
        Self {
            received,
            status,
            // What cannot be kept exactly makes it older and less fresh, never the reverse.
            initial_age: Short::at_least(terms.initial_age),
            lifetime: Short::at_most(terms.lifetime.duration()),
            while_revalidate: Short::at_most(terms.while_revalidate),
            if_error: Short::at_most(terms.if_error),
            if_unreachable: Short::at_most(terms.if_unreachable),
            lifetime_by: By::of(terms),
            when_stale: terms.when_stale,
        }
    }

    /// When it was received.
    pub(super) fn received(&self) -> Instant {
        let since = Duration::from_nanos(self.received.unsigned_abs());
        let received = if self.received < 0 {
            ANCHOR.checked_sub(since)
        } else {
            ANCHOR.checked_add(since)
        };
        received.unwrap_or(*ANCHOR)
    }

    pub(super) fn unpack(&self) -> Terms {
        Terms {
            received: self.received(),
            initial_age: self.initial_age.duration(),
            lifetime: self.lifetime_by.lifetime(self.lifetime.duration()),
            when_stale: self.when_stale,
            immutable: self.lifetime_by.immutable(),
            purged: self.lifetime_by.purged(),
            while_revalidate: self.while_revalidate.duration(),
            if_error: self.if_error.duration(),
            if_unreachable: self.if_unreachable.duration(),
        }
    }
}

/// A duration in four octets: milliseconds up to 24 days, then seconds, up to 2³¹ (which RFC 9111 §1.2.2 takes for ever).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Short(u32);

impl Short {
    const SECONDS: u32 = 1 << 31;

    fn at_most(duration: Duration) -> Self {
        match u32::try_from(duration.as_millis()) {
            Ok(millis) if millis < Self::SECONDS => Self(millis),
            _ => Self::seconds(duration.as_secs()),
        }
    }

    fn at_least(duration: Duration) -> Self {
        let millis = duration.as_nanos().div_ceil(1_000_000);
        match u32::try_from(millis) {
            Ok(millis) if millis < Self::SECONDS => Self(millis),
            _ => Self::seconds(duration.as_secs().saturating_add(1)),
        }
    }

    fn seconds(seconds: u64) -> Self {
        let seconds = u32::try_from(seconds).unwrap_or(u32::MAX);
        Self(Self::SECONDS | seconds.min(Self::SECONDS - 1))
    }

    fn duration(self) -> Duration {
        if self.0 < Self::SECONDS {
            Duration::from_millis(u64::from(self.0))
        } else {
            Duration::from_secs(u64::from(self.0 & !Self::SECONDS))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::response::StoredResponse;
    use proptest::prelude::*;

    #[test]
    fn durations_that_are_kept() {
        let day = Duration::from_secs(86_400);
        for (duration, most, least) in [
            (Duration::ZERO, Duration::ZERO, Duration::ZERO),
            (
                Duration::from_millis(1500),
                Duration::from_millis(1500),
                Duration::from_millis(1500),
            ),
            (
                Duration::from_nanos(1),
                Duration::ZERO,
                Duration::from_millis(1),
            ),
            (day * 24, day * 24, day * 24),
            (day * 365, day * 365, day * 365 + Duration::from_secs(1)),
            (
                Duration::MAX,
                Duration::from_secs((1 << 31) - 1),
                Duration::from_secs((1 << 31) - 1),
            ),
        ] {
            assert_eq!(Short::at_most(duration).duration(), most, "{duration:?}");
            assert_eq!(Short::at_least(duration).duration(), least, "{duration:?}");
        }
    }

    #[test]
    fn a_response_is_no_larger_than_it_was() {
        assert!(
            size_of::<StoredResponse>() <= 112,
            "{}",
            size_of::<StoredResponse>()
        );
    }

    #[test]
    fn terms_survive() {
        let now = clock::now();
        let earlier = now
            .checked_sub(Duration::from_millis(7))
            .expect("the machine ran for that long");
        for (received, lifetime, when_stale) in [
            (
                now,
                Lifetime::Explicit(Duration::from_secs(60)),
                WhenStale::Windows,
            ),
            (
                earlier,
                Lifetime::Heuristic(Duration::ZERO),
                WhenStale::MustRevalidate,
            ),
            (
                now + Duration::from_nanos(1),
                Lifetime::Operator(Duration::from_millis(5)),
                WhenStale::AlwaysValidate,
            ),
        ] {
            for (immutable, purged) in [(false, false), (true, false), (false, true)] {
                let terms = Terms {
                    immutable,
                    purged,
                    received,
                    initial_age: Duration::from_secs(3),
                    lifetime,
                    when_stale,
                    while_revalidate: Duration::from_secs(1),
                    if_error: Duration::from_secs(2),
                    if_unreachable: Duration::from_secs(86_400),
                };
                let packed = Packed::new(StatusCode::NOT_FOUND, &terms);
                assert_eq!(packed.unpack(), terms);
                assert_eq!(packed.status, StatusCode::NOT_FOUND);
            }
        }
    }

    proptest! {
        #[test]
        fn packing_never_makes_fresher(millis in 0u64..1 << 42, nanos in 0u64..1_000_000) {
            let duration = Duration::from_millis(millis) + Duration::from_nanos(nanos);
            let (most, least) = (Short::at_most(duration).duration(), Short::at_least(duration).duration());
            prop_assert!(most <= duration || most.as_secs() == (1 << 31) - 1);
            prop_assert!(least >= duration || least.as_secs() == (1 << 31) - 1);
            prop_assert_eq!(Short::at_most(most), Short::at_most(duration));
        }
    }
}
