//! `Content-Length` (RFC 9110 §8.6), read so strictly that no two recipients can read it differently.

use crate::fields::token::{parse_digits, trim_ows};

/// The largest length accepted: beyond it some recipient's signed arithmetic wraps.
const MAX: u64 = i64::MAX as u64;

/// What all `Content-Length` lines of a message say together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContentLength {
    /// There is no such field.
    Absent,
    /// Said once.
    Once(u64),
    /// Said several times, on several lines or as a list, always the same. A recipient may refuse it or send it on as
    /// one line, never as it is (RFC 9110 §8.6).
    Repeated(u64),
}

impl ContentLength {
    /// The length, if there is one.
    pub fn value(self) -> Option<u64> {
        match self {
            Self::Absent => None,
            Self::Once(length) | Self::Repeated(length) => Some(length),
        }
    }
}

/// Why the framing of a message is unrecoverable (RFC 9112 §6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ContentLengthError {
    /// Empty, or not `1*DIGIT`: a sign, a point, a unit, a quote, white space inside.
    #[error("content-length is not a number")]
    Malformed,
    /// A number of 2^63 or more.
    #[error("content-length is too large")]
    TooLarge,
    /// Two lines or list members differ.
    #[error("content-length is given twice with different values")]
    Differing,
}

/// Reads all `Content-Length` lines of a message.
///
/// # Errors
/// [`ContentLengthError`]; each of them makes the message's framing unrecoverable.
pub fn parse<I>(lines: I) -> Result<ContentLength, ContentLengthError>
where
    I: IntoIterator,
    I::Item: AsRef<[u8]>,
{
    let mut seen = ContentLength::Absent;
    for line in lines {
        for member in line.as_ref().split(|&octet| octet == b',') {
            let length = parse_one(trim_ows(member))?;
            seen = match seen.value() {
                None => ContentLength::Once(length),
                Some(before) if before == length => ContentLength::Repeated(length),
                Some(_) => return Err(ContentLengthError::Differing),
            };
        }
    }
    Ok(seen)
}

fn parse_one(digits: &[u8]) -> Result<u64, ContentLengthError> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(ContentLengthError::Malformed);
    }
    parse_digits(digits)
        .filter(|&length| length <= MAX)
        .ok_or(ContentLengthError::TooLarge)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_read() {
        use ContentLength::{Absent, Once, Repeated};
        use ContentLengthError::{Differing, Malformed, TooLarge};
        for (lines, expected) in [
            (&[][..], Ok(Absent)),
            (&["0"], Ok(Once(0))),
            (&[" 5\t"], Ok(Once(5))),
            (&["9223372036854775807"], Ok(Once(MAX))),
            (&["5", "5"], Ok(Repeated(5))),
            (&["5, 5"], Ok(Repeated(5))),
            (&["5", "5,5"], Ok(Repeated(5))),
            (&["9223372036854775808"], Err(TooLarge)),
            (&["18446744073709551616"], Err(TooLarge)),
            (&["5", "6"], Err(Differing)),
            (&["5, 6"], Err(Differing)),
            (&["5, 5", "0"], Err(Differing)),
            (&["5,"], Err(Malformed)),
            (&[",5"], Err(Malformed)),
            (&[""], Err(Malformed)),
            (&[" "], Err(Malformed)),
            (&["+5"], Err(Malformed)),
            (&["-5"], Err(Malformed)),
            (&["0x5"], Err(Malformed)),
            (&["5.0"], Err(Malformed)),
            (&["5e0"], Err(Malformed)),
            (&["\"5\""], Err(Malformed)),
            (&["5;"], Err(Malformed)),
            (&["5_0"], Err(Malformed)),
            (&["5 0"], Err(Malformed)),
            (&["\u{b}5"], Err(Malformed)),
            (&["٥"], Err(Malformed)),
        ] {
            assert_eq!(parse(lines), expected, "{lines:?}");
        }
    }

    proptest! {
        #[test]
        fn writing_then_reading_is_identity(length in 0..=MAX) {
            prop_assert_eq!(parse([length.to_string()]), Ok(ContentLength::Once(length)));
        }

        #[test]
        fn reading_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..32)) {
            let _ = parse([bytes]);
        }
    }
}
