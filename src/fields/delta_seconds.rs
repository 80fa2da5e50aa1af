//! Delta-seconds (RFC 9111 §1.2.2): a whole, non-negative number of seconds.

use crate::fields::token::parse_digits;
use std::fmt;
use std::time::Duration;

/// A number of seconds as fields carry it: 0 to 2³¹.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct DeltaSeconds(u32);

impl DeltaSeconds {
    /// What everything larger is taken for (§1.2.2): 2³¹ seconds, some 68 years.
    pub const MAX: Self = Self(1 << 31);

    /// Of whole seconds; [`Self::MAX`] where there are more.
    pub fn new(seconds: u64) -> Self {
        u32::try_from(seconds).map_or(Self::MAX, |seconds| Self(seconds.min(Self::MAX.0)))
    }

    /// Of a duration, its fraction of a second cut off.
    pub fn of(duration: Duration) -> Self {
        Self::new(duration.as_secs())
    }

    /// Reads `1*DIGIT`. `None` for a sign, a fraction, a suffix, a list, white space or nothing at all.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        match parse_digits(bytes) {
            Some(seconds) => Some(Self::new(seconds)),
            // Only digits, but beyond 64 bits: large all the same.
            None if !bytes.is_empty() && bytes.iter().all(u8::is_ascii_digit) => Some(Self::MAX),
            None => None,
        }
    }

    /// As a number.
    pub fn seconds(self) -> u32 {
        self.0
    }

    /// As a duration.
    pub fn duration(self) -> Duration {
        Duration::from_secs(u64::from(self.0))
    }
}

impl fmt::Display for DeltaSeconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reading() {
        for (text, seconds) in [
            ("0", Some(0)),
            ("60", Some(60)),
            ("0060", Some(60)),
            ("2147483647", Some(2_147_483_647)),
            ("2147483648", Some(2_147_483_648)),
            ("2147483649", Some(2_147_483_648)),
            ("99999999999", Some(2_147_483_648)),
            ("18446744073709551616", Some(2_147_483_648)),
            ("", None),
            ("-1", None),
            ("+1", None),
            ("1.0", None),
            ("1.5", None),
            ("60s", None),
            ("a60", None),
            ("1, 2", None),
            (" 1", None),
            ("1 ", None),
            ("0x10", None),
            ("1e3", None),
            ("\"1\"", None),
            ("١", None),
        ] {
            assert_eq!(
                DeltaSeconds::parse(text.as_bytes()).map(DeltaSeconds::seconds),
                seconds,
                "{text:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn writing_then_reading_is_identity(seconds in any::<u64>()) {
            let delta = DeltaSeconds::new(seconds);
            prop_assert_eq!(DeltaSeconds::parse(delta.to_string().as_bytes()), Some(delta));
            prop_assert_eq!(DeltaSeconds::of(delta.duration()), delta);
        }

        #[test]
        fn reading_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = DeltaSeconds::parse(&bytes);
        }
    }
}
