//! Values as nginx writes them: variables within text, durations, sizes.

use std::collections::BTreeMap;
use std::time::Duration;

/// Values of `set` that do not depend on the request, by their names.
pub(super) type Variables = BTreeMap<String, String>;

/// A piece of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    /// Text as it is.
    Text(String),
    /// `$name`, `${name}` or `$1`, without the `$`.
    Variable(String),
}

/// How often a variable's value may name another one.
const DEPTH_MAX: usize = 8;

/// Longer than any value is after its variables are filled in.
const LENGTH_MAX: usize = 8192;

/// The pieces of a value, constant variables filled in. Texts are never neighbours.
pub(super) fn parts(text: &str, variables: &Variables) -> Vec<Part> {
    let mut all = Vec::new();
    fill(text, variables, DEPTH_MAX, &mut all);
    all
}

/// The value, where it is the same for every request.
pub(super) fn constant(text: &str, variables: &Variables) -> Option<String> {
    match parts(text, variables).as_slice() {
        [] => Some(String::new()),
        [Part::Text(text)] => Some(text.clone()),
        _ => None,
    }
}

/// The value with its constant variables filled in, in one spelling: `${a}` is `$a`.
pub(super) fn plain(text: &str, variables: &Variables) -> String {
    let parts = parts(text, variables);
    let parts = parts.iter().map(|part| match part {
        Part::Text(text) => text.clone(),
        Part::Variable(name) => format!("${name}"),
    });
    parts.collect()
}

fn fill(text: &str, variables: &Variables, depth: usize, all: &mut Vec<Part>) {
    for part in split(text) {
        match part {
            Part::Variable(name) => match variables.get(&name) {
                Some(value) if depth > 0 && length(all) < LENGTH_MAX => {
                    fill(value, variables, depth - 1, all);
                }
                _ => all.push(Part::Variable(name)),
            },
            Part::Text(text) => match all.last_mut() {
                Some(Part::Text(before)) => before.push_str(&text),
                _ => all.push(Part::Text(text)),
            },
        }
    }
}

fn length(all: &[Part]) -> usize {
    let length = |part: &Part| match part {
        Part::Text(text) | Part::Variable(text) => text.len(),
    };
    all.iter().map(length).sum()
}

fn split(text: &str) -> Vec<Part> {
    let mut all = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        let (name, behind) = match after.strip_prefix('{').and_then(|a| a.split_once('}')) {
            Some((name, behind)) if is_name(name) => (name, behind),
            _ => {
                let end = after
                    .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                    .unwrap_or(after.len());
                // `$1x` is the capture 1 and an `x`.
                let end = if after.starts_with(|c: char| c.is_ascii_digit()) {
                    1
                } else {
                    end
                };
                after.split_at(end)
            }
        };
        let literal = if name.is_empty() {
            format!("{before}$")
        } else {
            before.to_owned()
        };
        if !literal.is_empty() {
            all.push(Part::Text(literal));
        }
        if !name.is_empty() {
            all.push(Part::Variable(name.to_owned()));
        }
        rest = behind;
    }
    if !rest.is_empty() {
        all.push(Part::Text(rest.to_owned()));
    }
    all
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// `30`, `30s`, `1h30m`, `1d 12h`, `500ms`; a bare number is seconds. A month is 30 days, a year 365.
pub(super) fn duration(text: &str) -> Option<Duration> {
    const UNITS: [(&str, u64); 8] = [
        ("ms", 1),
        ("s", 1_000),
        ("m", 60_000),
        ("h", 3_600_000),
        ("d", 86_400_000),
        ("w", 7 * 86_400_000),
        ("M", 30 * 86_400_000),
        ("y", 365 * 86_400_000),
    ];
    let mut rest = text.trim();
    let mut total: u64 = 0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let end = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        let (number, behind) = rest.split_at(end);
        let number: u64 = number.parse().ok()?;
        let (factor, behind) = UNITS
            .iter()
            .find_map(|(unit, factor)| Some((*factor, behind.strip_prefix(unit)?)))
            .or_else(|| behind.is_empty().then_some((1_000, behind)))?;
        total = total.checked_add(number.checked_mul(factor)?)?;
        rest = behind.trim_start();
    }
    Some(Duration::from_millis(total))
}

/// `8k`, `10m`, `1g`, `4096`, in bytes.
pub(super) fn size(text: &str) -> Option<u64> {
    let (number, factor) = match text.as_bytes().last()? {
        b'k' | b'K' => (&text[..text.len() - 1], 1 << 10),
        b'm' | b'M' => (&text[..text.len() - 1], 1 << 20),
        b'g' | b'G' => (&text[..text.len() - 1], 1 << 30),
        _ => (text, 1),
    };
    let digits = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    digits
        .then(|| number.parse::<u64>().ok()?.checked_mul(factor))
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, expected) in [
            ("30", Some(30_000)),
            ("500ms", Some(500)),
            ("1h30m", Some(5_400_000)),
            ("1d 12h", Some(129_600_000)),
            ("1M", Some(2_592_000_000)),
            ("0", Some(0)),
            ("", None),
            ("s", None),
            ("5x", None),
            ("99999999999999999999s", None),
        ] {
            let found = duration(text).map(|d| d.as_millis());
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn sizes() {
        for (text, expected) in [
            ("0", Some(0)),
            ("10m", Some(10 << 20)),
            ("8K", Some(8192)),
            ("1g", Some(1 << 30)),
            ("m", None),
            ("", None),
            ("1é", None),
            ("-1", None),
        ] {
            assert_eq!(size(text), expected, "{text}");
        }
    }

    #[test]
    fn variables() {
        let known: Variables = [("a", "x"), ("b", "$a/$host"), ("loop", "$loop$loop")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
        for (text, expected) in [
            ("$a", "x"),
            ("${a}b$c", "xb$c"),
            ("$b", "x/$host"),
            ("/$1$2x", "/$1$2x"),
            ("50$", "50$"),
            ("$$a", "$x"),
            ("${a", "${a"),
        ] {
            assert_eq!(plain(text, &known), expected, "{text}");
        }
        assert!(plain("$loop", &known).len() < 100_000);
        assert_eq!(constant("$a$a", &known).as_deref(), Some("xx"));
        assert_eq!(constant("$a$host", &known), None);
    }
}
