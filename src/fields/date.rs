//! HTTP dates (RFC 9110 §5.6.7): three formats are read, one is written.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The last second that the four-digit year of an HTTP date can name: 9999-12-31 23:59:59.
const LAST: Duration = Duration::from_secs(253_402_300_799);

/// Reads an IMF-fixdate, an RFC 850 date or an asctime date. To the second; `None` where it is none of the three.
pub fn parse(bytes: &[u8]) -> Option<SystemTime> {
    httpdate::parse_http_date(std::str::from_utf8(bytes).ok()?).ok()
}

/// Writes an IMF-fixdate: `Sun, 06 Nov 1994 08:49:37 GMT`. Fractions of a second are cut off. A time that the format
/// cannot name (a file older than 1970, a clock beyond 9999) is written as the nearest one that it can.
pub fn format(time: SystemTime) -> String {
    let since_epoch = time
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .min(LAST);
    httpdate::fmt_http_date(UNIX_EPOCH + since_epoch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EXAMPLE: Duration = Duration::from_secs(784_111_777);

    #[test]
    fn all_three_formats_are_read() {
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            assert_eq!(parse(text.as_bytes()), Some(UNIX_EPOCH + EXAMPLE), "{text}");
        }
    }

    #[test]
    fn nothing_else_is_read() {
        for text in [
            "",
            "0",
            "-1",
            "784111777",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 32 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 25:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37 +0100",
            "1994-11-06T08:49:37Z",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(parse(b"\xff\xfe"), None);
    }

    #[test]
    fn what_cannot_be_written_is_clamped() {
        assert_eq!(
            format(UNIX_EPOCH + EXAMPLE),
            "Sun, 06 Nov 1994 08:49:37 GMT"
        );
        let before = UNIX_EPOCH - Duration::from_secs(1);
        assert_eq!(format(before), "Thu, 01 Jan 1970 00:00:00 GMT");
        let after = UNIX_EPOCH + LAST + Duration::from_secs(1);
        assert_eq!(format(after), "Fri, 31 Dec 9999 23:59:59 GMT");
    }

    proptest! {
        #[test]
        fn writing_then_reading_is_identity(seconds in 0..=LAST.as_secs()) {
            let time = UNIX_EPOCH + Duration::from_secs(seconds);
            prop_assert_eq!(parse(format(time).as_bytes()), Some(time));
        }

        #[test]
        fn reading_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..48)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn reading_near_misses_never_panics(text in "[A-Za-z]{3,9},? ?[0-9]{1,2}[ -][A-Z][a-z]{2}[ -][0-9]{2,4} [0-9:]{8} (GMT)?") {
            let _ = parse(text.as_bytes());
        }
    }
}
