//! Wall time as log lines write it, always in UTC.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// A moment taken apart. Times before 1970 are written as 1970.
struct Timestamp {
    year: u64,
    month: usize,
    day: u64,
    hour: u64,
    minute: u64,
    second: u64,
    millisecond: u32,
}

impl Timestamp {
    fn new(time: SystemTime) -> Self {
        let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let seconds = since_epoch.as_secs();
        // Days to civil date, counted in eras of 400 years that begin on 1 March (Hinnant, "chrono-compatible low-level
        // date algorithms"), so that the leap day is the last of its year.
        let days = seconds / 86_400 + 719_468;
        let era = days / 146_097;
        let day_of_era = days % 146_097;
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let month = if shifted_month < 10 {
            shifted_month + 3
        } else {
            shifted_month - 9
        };
        Self {
            year: era * 400 + year_of_era + u64::from(month <= 2),
            month: usize::try_from(month).unwrap_or(1),
            day: day_of_year - (153 * shifted_month + 2) / 5 + 1,
            hour: seconds % 86_400 / 3_600,
            minute: seconds % 3_600 / 60,
            second: seconds % 60,
            millisecond: since_epoch.subsec_millis(),
        }
    }
}

/// RFC 3339: `2026-11-22T01:37:00.123Z`.
pub(super) struct Rfc3339(pub(super) SystemTime);

impl fmt::Display for Rfc3339 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Timestamp {
            year,
            month,
            day,
            hour,
            minute,
            second,
            millisecond,
        } = Timestamp::new(self.0);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millisecond:03}Z"
        )
    }
}

/// As Apache and nginx write it: `22/Nov/2026:01:37:00 +0000`.
pub(super) struct Common(pub(super) SystemTime);

impl fmt::Display for Common {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Timestamp {
            year,
            month,
            day,
            hour,
            minute,
            second,
            millisecond: _,
        } = Timestamp::new(self.0);
        let month = MONTHS.get(month.wrapping_sub(1)).unwrap_or(&"Jan");
        write!(
            f,
            "{day:02}/{month}/{year:04}:{hour:02}:{minute:02}:{second:02} +0000"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    fn written(seconds: u64) -> (String, String) {
        let time = UNIX_EPOCH + Duration::from_secs(seconds);
        (Rfc3339(time).to_string(), Common(time).to_string())
    }

    #[test]
    fn known_moments() {
        for (seconds, rfc3339, common) in [
            (0, "1970-01-01T00:00:00.000Z", "01/Jan/1970:00:00:00 +0000"),
            (
                951_782_399,
                "2000-02-28T23:59:59.000Z",
                "28/Feb/2000:23:59:59 +0000",
            ),
            (
                951_782_400,
                "2000-02-29T00:00:00.000Z",
                "29/Feb/2000:00:00:00 +0000",
            ),
            (
                1_795_311_420,
                "2026-11-22T01:37:00.000Z",
                "22/Nov/2026:01:37:00 +0000",
            ),
            (
                4_107_542_400,
                "2100-03-01T00:00:00.000Z",
                "01/Mar/2100:00:00:00 +0000",
            ),
        ] {
            assert_eq!(written(seconds), (rfc3339.to_owned(), common.to_owned()));
        }
    }

    proptest! {
        #[test]
        fn agrees_with_httpdate(seconds in 0..253_402_300_799u64) {
            let date = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds));
            let (_, common) = written(seconds);
            // "Sun, 06 Nov 1994 08:49:37 GMT" against "06/Nov/1994:08:49:37 +0000".
            let expected = format!("{}/{}/{}:{} +0000", &date[5..7], &date[8..11], &date[12..16], &date[17..25]);
            prop_assert_eq!(common, expected);
        }
    }
}
