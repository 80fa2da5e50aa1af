//! Numbers as people read them in a terminal: three digits and a unit.

/// A count: 1234 is `1,234`, 56 789 is `56.8k`.
pub(super) fn count(n: f64) -> String {
    match n {
        n if !n.is_finite() => "–".to_owned(),
        n if n >= 1e9 => format!("{:.1}G", n / 1e9),
        n if n >= 1e6 => format!("{:.1}M", n / 1e6),
        n if n >= 1e4 => format!("{:.1}k", n / 1e3),
        n if n >= 1e3 => {
            let whole = format!("{n:.0}");
            let (thousands, rest) = whole.split_at(whole.len() - 3);
            format!("{thousands},{rest}")
        }
        n if n >= 10.0 || n.fract() == 0.0 => format!("{n:.0}"),
        n => format!("{n:.1}"),
    }
}

/// A whole count.
#[expect(clippy::cast_precision_loss, reason = "three digits of it are shown")]
pub(super) fn whole(n: u64) -> String {
    count(n as f64)
}

/// Octets, in the units of the configuration: `12.3MiB`.
pub(super) fn bytes(n: f64) -> String {
    let mut n = n;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if n < 1000.0 {
            let decimals = usize::from(unit != "B" && n < 10.0);
            return format!("{n:.decimals$}{unit}");
        }
        n /= 1024.0;
    }
    format!("{n:.1}TiB")
}

/// Milliseconds: `42µs`, `7.5ms`, `120ms`, `2.5s`, `3min`.
pub(super) fn millis(n: f64) -> String {
    match n {
        n if n < 0.9995 => format!("{:.0}µs", n * 1e3),
        n if n < 9.95 => format!("{n:.1}ms"),
        n if n < 999.5 => format!("{n:.0}ms"),
        n if n < 59_500.0 => format!("{:.1}s", n / 1e3),
        n => seconds(n / 1e3),
    }
}

/// The same, where there may be none.
pub(super) fn millis_or_none(n: Option<f64>) -> String {
    n.map_or_else(|| "–".to_owned(), millis)
}

/// Seconds: `59s`, `12min`, `3.2h`, `4.5d`; less than none has a minus.
pub(super) fn seconds(n: f64) -> String {
    match n {
        n if n < 0.0 => format!("-{}", seconds(-n)),
        n if n < 60.0 => format!("{:.0}s", n.floor()),
        n if n < 3_600.0 => format!("{:.0}min", (n / 60.0).floor()),
        n if n < 86_400.0 => format!("{:.1}h", n / 3_600.0),
        n => format!("{:.1}d", n / 86_400.0),
    }
}

/// A part of all: `94.2%`.
pub(super) fn percent(n: Option<f64>) -> String {
    match n {
        None => "–".to_owned(),
        Some(n) if n >= 0.9995 => "100%".to_owned(),
        Some(n) => format!("{:.1}%", n * 100.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        for (got, expected) in [
            (count(0.0), "0"),
            (count(0.25), "0.2"),
            (count(9.5), "9.5"),
            (count(12.7), "13"),
            (count(999.0), "999"),
            (count(1_234.0), "1,234"),
            (count(9_999.0), "9,999"),
            (count(56_789.0), "56.8k"),
            (count(2.5e6), "2.5M"),
            (count(7e9), "7.0G"),
            (whole(12), "12"),
            (bytes(0.0), "0B"),
            (bytes(999.0), "999B"),
            (bytes(1_000.0), "1.0KiB"),
            (bytes(256.0 * 1024.0 * 1024.0), "256MiB"),
            (bytes(5e15), "4547.5TiB"),
            (millis(0.0424), "42µs"),
            (millis(0.9996), "1.0ms"),
            (millis(7.46), "7.5ms"),
            (millis(120.4), "120ms"),
            (millis(2_449.0), "2.4s"),
            (millis(180_000.0), "3min"),
            (millis_or_none(None), "–"),
            (seconds(-5.0), "-5s"),
            (seconds(59.9), "59s"),
            (seconds(3_599.0), "59min"),
            (seconds(11_520.0), "3.2h"),
            (seconds(400_000.0), "4.6d"),
            (percent(Some(0.9424)), "94.2%"),
            (percent(Some(0.999_9)), "100%"),
            (percent(None), "–"),
        ] {
            assert_eq!(got, expected);
        }
    }
}
