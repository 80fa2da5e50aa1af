//! Values with units as people write them in `proxy.toml`: durations ("10s") and sizes ("256MiB").

use std::fmt;
use std::time::Duration;

/// Why a duration or size could not be read. The message says what was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// The text is not a number followed by a unit.
    #[error("expected a {expected}, found `{found}`")]
    Malformed {
        /// What a valid value looks like, with an example.
        expected: &'static str,
        /// The text as written.
        found: String,
    },
    /// The number is well formed but larger than the program can count.
    #[error("`{found}` is too large")]
    TooLarge {
        /// The text as written.
        found: String,
    },
}

/// A number of bytes, written as "4KiB", "256MiB", "1GB" or a plain number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ByteSize(u64);

const SIZE_EXPECTED: &str = "size with a unit, such as \"64KiB\", \"256MiB\" or \"1GB\"";
const DURATION_EXPECTED: &str =
    "duration with a unit, such as \"500ms\", \"10s\", \"5m\" or \"24h\"";

impl ByteSize {
    /// A size of `bytes` bytes.
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// A size of `n` times 1024 bytes.
    pub const fn kib(n: u64) -> Self {
        Self(n * 1024)
    }

    /// A size of `n` times 1024² bytes.
    pub const fn mib(n: u64) -> Self {
        Self(n * 1024 * 1024)
    }

    /// The number of bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// The number of bytes as an index; saturates where `usize` is narrower.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }

    /// Reads "4KiB", "256 MiB", "1GB", "4096". Binary units are powers of 1024, decimal ones of 1000.
    ///
    /// # Errors
    /// [`UnitError`] when the text is not a number with a known unit, or does not fit 64 bits.
    pub fn parse(text: &str) -> Result<Self, UnitError> {
        let malformed = || UnitError::Malformed {
            expected: SIZE_EXPECTED,
            found: text.to_owned(),
        };
        let (number, unit) = split_number(text).ok_or_else(malformed)?;
        let factor: u64 = match unit.to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "kib" | "k" => 1 << 10,
            "mib" | "m" => 1 << 20,
            "gib" | "g" => 1 << 30,
            "tib" | "t" => 1 << 40,
            "kb" => 1_000,
            "mb" => 1_000_000,
            "gb" => 1_000_000_000,
            "tb" => 1_000_000_000_000,
            _ => return Err(malformed()),
        };
        let too_large = || UnitError::TooLarge {
            found: text.to_owned(),
        };
        if number.contains('.') {
            return Err(malformed());
        }
        let whole: u64 = number.parse().map_err(|_| too_large())?;
        whole.checked_mul(factor).map(Self).ok_or_else(too_large)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u64, &str); 4] = [
            (1 << 40, "TiB"),
            (1 << 30, "GiB"),
            (1 << 20, "MiB"),
            (1 << 10, "KiB"),
        ];
        for (factor, unit) in UNITS {
            if self.0 >= factor && self.0.is_multiple_of(factor) {
                return write!(f, "{}{unit}", self.0 / factor);
            }
        }
        write!(f, "{}B", self.0)
    }
}

/// Reads "500ms", "1.5s", "10s", "5m", "24h", "7d". Units are required, except for "0".
///
/// # Errors
/// [`UnitError`] when the text is not a number with a known unit, or is longer than about 584 years.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let malformed = || UnitError::Malformed {
        expected: DURATION_EXPECTED,
        found: text.to_owned(),
    };
    let (number, unit) = split_number(text).ok_or_else(malformed)?;
    let nanos_per_unit: u64 = match unit {
        "ns" => 1,
        "us" | "µs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" | "min" => 60 * 1_000_000_000,
        "h" => 3_600 * 1_000_000_000,
        "d" => 86_400 * 1_000_000_000,
        "" if number == "0" => 1,
        _ => return Err(malformed()),
    };
    let too_large = || UnitError::TooLarge {
        found: text.to_owned(),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let whole: u64 = whole.parse().map_err(|_| too_large())?;
    let mut nanos = whole.checked_mul(nanos_per_unit).ok_or_else(too_large)?;
    let mut place = nanos_per_unit;
    for digit in fraction.bytes() {
        place /= 10;
        nanos = nanos
            .checked_add(u64::from(digit - b'0') * place)
            .ok_or_else(too_large)?;
    }
    Ok(Duration::from_nanos(nanos))
}

/// Writes a duration the way [`parse_duration`] reads it: "1.5s", "10s", "250ms", "0s".
pub fn format_duration(duration: Duration) -> String {
    const UNITS: [(u128, &str); 5] = [
        (86_400_000_000_000, "d"),
        (3_600_000_000_000, "h"),
        (60_000_000_000, "m"),
        (1_000_000_000, "s"),
        (1_000_000, "ms"),
    ];
    let nanos = duration.as_nanos();
    if nanos == 0 {
        return "0s".to_owned();
    }
    for (factor, unit) in UNITS {
        if nanos.is_multiple_of(factor) && (factor > 1_000_000 || nanos < 1_000_000_000) {
            return format!("{}{unit}", nanos / factor);
        }
    }
    if nanos > 1_000_000_000 && nanos.is_multiple_of(1_000_000) {
        let millis = format!("{:03}", nanos / 1_000_000 % 1_000);
        let fraction = millis.trim_end_matches('0');
        format!("{}.{fraction}s", nanos / 1_000_000_000)
    } else if nanos.is_multiple_of(1_000) {
        format!("{}us", nanos / 1_000)
    } else {
        format!("{nanos}ns")
    }
}

/// Splits "256 MiB" into its number (digits, at most one inner point) and its unit.
fn split_number(text: &str) -> Option<(&str, &str)> {
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let well_formed = number.starts_with(|c: char| c.is_ascii_digit())
        && number.ends_with(|c: char| c.is_ascii_digit())
        && number.bytes().filter(|&b| b == b'.').count() <= 1;
    well_formed.then(|| (number, unit.trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("64KiB", 65_536),
            ("256 MiB", 268_435_456),
            ("1GB", 1_000_000_000),
            ("2g", 2 << 30),
        ] {
            assert_eq!(
                ByteSize::parse(text).map(ByteSize::bytes),
                Ok(bytes),
                "{text}"
            );
        }
        for text in [
            "",
            "MiB",
            "-1",
            "1.5MiB",
            "1XB",
            "1 2",
            "99999999999TiB",
            "18446744073709551616",
        ] {
            assert!(ByteSize::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations() {
        for (text, millis) in [
            ("0", 0),
            ("500ms", 500),
            ("1.5s", 1_500),
            ("10s", 10_000),
            ("5m", 300_000),
            ("24h", 86_400_000),
        ] {
            assert_eq!(
                parse_duration(text),
                Ok(Duration::from_millis(millis)),
                "{text}"
            );
        }
        for text in [
            "",
            "10",
            "s",
            "-1s",
            "1..5s",
            ".5s",
            "5.s",
            "1 fortnight",
            "999999999999d",
        ] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_are_written_as_people_would() {
        for (millis, text) in [
            (0, "0s"),
            (250, "250ms"),
            (1_000, "1s"),
            (1_500, "1.5s"),
            (1_050, "1.05s"),
            (75_000, "75s"),
            (60_000, "1m"),
            (90_001, "90.001s"),
            (86_400_000, "1d"),
        ] {
            assert_eq!(format_duration(Duration::from_millis(millis)), text);
        }
    }

    proptest! {
        #[test]
        fn writing_then_reading_is_identity(nanos in any::<u64>(), bytes in any::<u64>()) {
            let duration = Duration::from_nanos(nanos);
            prop_assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
            let size = ByteSize::new(bytes);
            prop_assert_eq!(ByteSize::parse(&size.to_string()), Ok(size));
        }

        #[test]
        fn reading_never_panics(text in ".{0,24}") {
            let _ = parse_duration(&text);
            let _ = ByteSize::parse(&text);
        }
    }
}
