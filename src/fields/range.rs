//! Byte ranges (RFC 9110 §14): the `Range` of a request read and resolved, `Content-Range` read and written.

use crate::fields::token::trim_ows;
use std::ops::Range;

/// One member of a byte range set, as written. Positions count from zero and are inclusive. A number beyond 64 bits is
/// kept as the largest one: no representation reaches that far, so the meaning is the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByteRangeSpec {
    /// `first-last`, with `first <= last`.
    FromTo {
        /// The first byte wanted.
        first: u64,
        /// The last byte wanted.
        last: u64,
    },
    /// `first-`: all from there.
    From {
        /// The first byte wanted.
        first: u64,
    },
    /// `-length`: the last bytes.
    Suffix {
        /// How many.
        length: u64,
    },
}

impl ByteRangeSpec {
    /// The bytes this selects of a representation of `length` bytes, end exclusive and never empty; `None` where the
    /// range is unsatisfiable (RFC 9110 §14.1.2): it starts past the end, or is a suffix of nothing.
    pub fn resolve(self, length: u64) -> Option<Range<u64>> {
        let range = match self {
            Self::FromTo { first, last } => first..last.saturating_add(1).min(length),
            Self::From { first } => first..length,
            Self::Suffix { length: wanted } => length.saturating_sub(wanted)..length,
        };
        (range.start < range.end).then_some(range)
    }
}

/// Reads `bytes=` and its members. `None` where the unit is another or any member is malformed (RFC 9110 §14.2: such a
/// field is ignored). Members keep their order and may overlap; how many are too many is the caller's decision.
pub fn parse(bytes: &[u8]) -> Option<Vec<ByteRangeSpec>> {
    let (unit, set) = bytes.split_at_checked(memchr::memchr(b'=', bytes)?)?;
    let set = set.strip_prefix(b"=")?;
    if !unit.eq_ignore_ascii_case(b"bytes") {
        return None;
    }
    let specs = set
        .split(|&octet| octet == b',')
        .map(trim_ows)
        .filter(|member| !member.is_empty())
        .map(parse_spec)
        .collect::<Option<Vec<_>>>()?;
    (!specs.is_empty()).then_some(specs)
}

/// The value of `Content-Range` on a 206: `bytes 0-499/1234`, or `bytes 0-499/*` where the whole length is not known.
/// `range` is as [`ByteRangeSpec::resolve`] made it: never empty.
pub fn content_range(range: &Range<u64>, length: Option<u64>) -> String {
    let (first, last) = (range.start, range.end.saturating_sub(1));
    match length {
        Some(length) => format!("bytes {first}-{last}/{length}"),
        None => format!("bytes {first}-{last}/*"),
    }
}

/// The value of `Content-Range` on a 416: `bytes */1234`.
pub fn unsatisfied_range(length: u64) -> String {
    format!("bytes */{length}")
}

/// What a response says of the bytes that it carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContentRange {
    /// `bytes 0-499/1234`: these bytes, the end exclusive, of so many where that is known.
    Bytes {
        /// Not empty, and within `length`.
        range: Range<u64>,
        /// Of the whole representation.
        length: Option<u64>,
    },
    /// `bytes */1234`: none, for there are only so many.
    Unsatisfied {
        /// Of the whole representation.
        length: u64,
    },
}

/// Reads the value of `Content-Range` (RFC 9110 §14.4). `None` where the unit is another or the value is invalid: its last
/// position lies before its first, its length does not exceed its last position, or a number is beyond 64 bits, which,
/// unlike in a request, must not be taken for a smaller one.
pub fn parse_content_range(bytes: &[u8]) -> Option<ContentRange> {
    let (unit, rest) = bytes.split_at_checked(memchr::memchr(b' ', bytes)?)?;
    if !unit.eq_ignore_ascii_case(b"bytes") {
        return None;
    }
    let rest = rest.strip_prefix(b" ")?;
    let (positions, length) = rest.split_at_checked(memchr::memchr(b'/', rest)?)?;
    let length = match length.strip_prefix(b"/")? {
        b"*" => None,
        digits => Some(exact_digits(digits)?),
    };
    if positions == b"*" {
        return length.map(|length| ContentRange::Unsatisfied { length });
    }
    let (first, last) = positions.split_at_checked(memchr::memchr(b'-', positions)?)?;
    let (first, last) = (
        exact_digits(first)?,
        exact_digits(last.strip_prefix(b"-")?)?,
    );
    let range = first..last.checked_add(1)?;
    let valid = !range.is_empty() && length.is_none_or(|length| range.end <= length);
    valid.then_some(ContentRange::Bytes { range, length })
}

fn exact_digits(bytes: &[u8]) -> Option<u64> {
    if bytes.is_empty() {
        return None;
    }
    bytes.iter().try_fold(0u64, |value, &octet| {
        let digit = octet.is_ascii_digit().then(|| u64::from(octet - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    })
}

fn parse_spec(member: &[u8]) -> Option<ByteRangeSpec> {
    let (first, last) = member.split_at_checked(memchr::memchr(b'-', member)?)?;
    let last = last.strip_prefix(b"-")?;
    match (first, last) {
        (b"", length) => Some(ByteRangeSpec::Suffix {
            length: saturating_digits(length)?,
        }),
        (first, b"") => Some(ByteRangeSpec::From {
            first: saturating_digits(first)?,
        }),
        (first, last) => {
            let (first, last) = (saturating_digits(first)?, saturating_digits(last)?);
            (first <= last).then_some(ByteRangeSpec::FromTo { first, last })
        }
    }
}

fn saturating_digits(bytes: &[u8]) -> Option<u64> {
    if bytes.is_empty() {
        return None;
    }
    bytes.iter().try_fold(0u64, |value, &octet| {
        let digit = octet.is_ascii_digit().then(|| u64::from(octet - b'0'))?;
        Some(value.saturating_mul(10).saturating_add(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::ByteRangeSpec::{From, FromTo, Suffix};
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reading() {
        for (text, expected) in [
            (
                "bytes=0-499",
                Some(vec![FromTo {
                    first: 0,
                    last: 499,
                }]),
            ),
            ("Bytes=0-0", Some(vec![FromTo { first: 0, last: 0 }])),
            ("bytes=9500-", Some(vec![From { first: 9_500 }])),
            ("bytes=-500", Some(vec![Suffix { length: 500 }])),
            ("bytes=-0", Some(vec![Suffix { length: 0 }])),
            (
                "bytes=0-0,-1",
                Some(vec![FromTo { first: 0, last: 0 }, Suffix { length: 1 }]),
            ),
            (
                "bytes= 0-9 ,, 5-\t",
                Some(vec![FromTo { first: 0, last: 9 }, From { first: 5 }]),
            ),
            (
                "bytes=18446744073709551616-",
                Some(vec![From { first: u64::MAX }]),
            ),
            (
                "bytes=-99999999999999999999999",
                Some(vec![Suffix { length: u64::MAX }]),
            ),
            ("bytes=500-499", None),
            ("bytes=0-1,x", None),
            ("bytes=-", None),
            ("bytes=--1", None),
            ("bytes=1-2-3", None),
            ("bytes=+1-2", None),
            ("bytes=0 - 1", None),
            ("bytes =0-1", None),
            ("bytes=", None),
            ("bytes=,", None),
            ("bytes", None),
            ("", None),
            ("items=0-1", None),
        ] {
            assert_eq!(parse(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn resolving() {
        for (spec, length, expected) in [
            (
                FromTo {
                    first: 0,
                    last: 499,
                },
                1_000,
                Some(0..500),
            ),
            (
                FromTo {
                    first: 0,
                    last: 5_000,
                },
                1_000,
                Some(0..1_000),
            ),
            (
                FromTo {
                    first: 999,
                    last: 999,
                },
                1_000,
                Some(999..1_000),
            ),
            (
                FromTo {
                    first: 1_000,
                    last: 1_000,
                },
                1_000,
                None,
            ),
            (
                FromTo {
                    first: 0,
                    last: u64::MAX,
                },
                u64::MAX,
                Some(0..u64::MAX),
            ),
            (From { first: 0 }, 1, Some(0..1)),
            (From { first: 1 }, 1, None),
            (From { first: 0 }, 0, None),
            (Suffix { length: 500 }, 1_000, Some(500..1_000)),
            (Suffix { length: u64::MAX }, 1_000, Some(0..1_000)),
            (Suffix { length: 0 }, 1_000, None),
            (Suffix { length: 1 }, 0, None),
        ] {
            assert_eq!(spec.resolve(length), expected, "{spec:?} of {length}");
        }
    }

    #[test]
    fn writing() {
        assert_eq!(content_range(&(0..500), Some(1_234)), "bytes 0-499/1234");
        assert_eq!(content_range(&(0..500), None), "bytes 0-499/*");
        assert_eq!(unsatisfied_range(0), "bytes */0");
    }

    /// RFC 9110 §14.4, its examples and what it calls invalid.
    #[test]
    fn reading_what_a_response_carries() {
        let bytes = |range, length| Some(ContentRange::Bytes { range, length });
        for (text, expected) in [
            ("bytes 42-1233/1234", bytes(42..1_234, Some(1_234))),
            ("bytes 42-1233/*", bytes(42..1_234, None)),
            ("BYTES 0-0/1", bytes(0..1, Some(1))),
            ("bytes 00-01/02", bytes(0..2, Some(2))),
            (
                "bytes */1234",
                Some(ContentRange::Unsatisfied { length: 1_234 }),
            ),
            ("bytes */0", Some(ContentRange::Unsatisfied { length: 0 })),
            // "invalid if … last-pos less than first-pos"
            ("bytes 2-1/10", None),
            // "complete-length value less than or equal to its last-pos value"
            ("bytes 0-10/10", None),
            ("bytes 0-9/0", None),
            ("bytes 0-18446744073709551615/*", None),
            ("bytes 0-9/18446744073709551616", None),
            ("bytes */*", None),
            ("bytes=0-9/10", None),
            ("bytes  0-9/10", None),
            ("bytes 0-9/10 ", None),
            ("bytes 0-9/10/11", None),
            ("bytes 0-9", None),
            ("bytes 0 - 9/10", None),
            ("bytes 0-/10", None),
            ("bytes -9/10", None),
            ("bytes +0-9/10", None),
            ("bytes", None),
            ("", None),
            ("items 0-9/10", None),
        ] {
            assert_eq!(parse_content_range(text.as_bytes()), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_resolved_lies_inside(text in "bytes=[0-9,-]{0,24}", length: u64) {
            for spec in parse(text.as_bytes()).unwrap_or_default() {
                if let Some(range) = spec.resolve(length) {
                    prop_assert!(range.start < range.end && range.end <= length);
                }
            }
        }

        #[test]
        fn reading_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..48)) {
            let _ = parse(&bytes);
            let _ = parse_content_range(&bytes);
        }

        #[test]
        fn reading_near_misses_is_sound(text in "bytes [0-9*]{1,21}-?[0-9]{0,21}/?[0-9*]{0,21}") {
            if let Some(ContentRange::Bytes { range, length }) = parse_content_range(text.as_bytes()) {
                prop_assert!(range.start < range.end && length.is_none_or(|length| range.end <= length));
            }
        }

        #[test]
        fn writing_then_reading_is_identity(first in 0..u64::MAX - 1, count in 1u64.., beyond in prop::option::of(any::<u64>())) {
            let range = first..first.saturating_add(count).min(u64::MAX - 1);
            prop_assume!(!range.is_empty());
            let length = beyond.map(|beyond| range.end.saturating_add(beyond));
            let text = content_range(&range, length);
            let read = parse_content_range(text.as_bytes());
            prop_assert_eq!(read, Some(ContentRange::Bytes { range, length }));
        }
    }
}
