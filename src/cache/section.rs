//! A header section in one compact piece of memory: as it is stored and, almost, as HTTP/1 writes it.
//!
//! Names have the case that HTTP/1 usually gives them: what the origin wrote is lower-cased by the time it gets here.

use super::serve::is_on_304;
use crate::fields::case;
use http::header::ETAG;
use http::{HeaderMap, HeaderName, HeaderValue};

/// Field lines, each `Name: value\r\n`, in their order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Section {
    lines: Box<[u8]>,
}

impl Section {
    /// Of a map. What a 304 repeats comes first, and its `ETag` before all else, so that neither is looked for. Otherwise
    /// names keep their order as far as the map does; the lines of one name stay together, in theirs.
    pub fn new(headers: &HeaderMap) -> Self {
        let tagged = headers.contains_key(ETAG);
        let rank = |name: &HeaderName| match name {
            &ETAG => 0,
            name if is_on_304(name.as_str().as_bytes(), tagged) => 1,
            _ => 2,
        };
        let mut sorted: Vec<_> = headers.iter().collect();
        sorted.sort_by_key(|(name, _)| rank(name));
        let length = headers
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len() + 4)
            .sum();
        let mut lines = Vec::with_capacity(length);
        for (name, value) in sorted {
            case::write_usual(&mut lines, name.as_str());
            lines.extend_from_slice(b": ");
            lines.extend_from_slice(value.as_bytes());
            lines.extend_from_slice(b"\r\n");
        }
        Self {
            lines: lines.into_boxed_slice(),
        }
    }

    /// To be read.
    pub fn lines(&self) -> Lines<'_> {
        Lines { lines: &self.lines }
    }
}

/// The field lines of a stored response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lines<'a> {
    lines: &'a [u8],
}

impl<'a> Lines<'a> {
    /// Of what [`Section`] wrote.
    pub(super) fn of_bytes(lines: &'a [u8]) -> Self {
        Self { lines }
    }

    /// The lines as HTTP/1 writes them.
    pub fn as_bytes(self) -> &'a [u8] {
        self.lines
    }

    /// Each line's name and value, to be looked up in.
    pub fn headers(self) -> Vec<httparse::Header<'a>> {
        let named = |(name, value)| {
            let name = str::from_utf8(name).ok()?;
            Some(httparse::Header { name, value })
        };
        let mut headers = Vec::with_capacity(16);
        headers.extend(self.iter().filter_map(named));
        headers
    }

    /// As a map.
    pub fn to_header_map(self) -> HeaderMap {
        let mut map = HeaderMap::with_capacity(16);
        for (name, value) in self.iter() {
            // Both were taken from a map.
            if let (Ok(name), Ok(value)) =
                (HeaderName::from_bytes(name), HeaderValue::from_bytes(value))
            {
                map.append(name, value);
            }
        }
        map
    }

    /// Name and value of each line.
    pub fn iter(self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        self.whole().filter_map(|(name, line)| {
            let value = line.get(name.len()..)?.strip_prefix(b": ")?;
            Some((name, value.strip_suffix(b"\r\n")?))
        })
    }

    /// Name of each line, and the line from its name to its end.
    pub fn whole(self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let mut rest = self.lines;
        std::iter::from_fn(move || {
            // Names are short: what looks at many octets at a time takes longer to begin than to find.
            let name = rest.iter().position(|&octet| octet == b':')?;
            let end = memchr::memchr(b'\n', rest)?;
            let (line, after) = rest.split_at_checked(end + 1)?;
            rest = after;
            Some((line.get(..name)?, line))
        })
    }

    /// The lines that a 304 repeats.
    pub fn on_304(self) -> &'a [u8] {
        let tagged = self.get(&ETAG).is_some();
        let repeated = self.whole().take_while(|(name, _)| is_on_304(name, tagged));
        let length = repeated.map(|(_, line)| line.len()).sum();
        self.lines.get(..length).unwrap_or_default()
    }

    /// The values of a field, compared without case.
    pub fn get_all<'n>(self, name: &'n HeaderName) -> impl Iterator<Item = &'a [u8]> + 'n
    where
        'a: 'n,
    {
        let name = name.as_str().as_bytes();
        let mut rest = self.lines;
        std::iter::from_fn(move || {
            loop {
                let (line, after) = split_line(rest)?;
                rest = after;
                if is_named(line, name) {
                    return line.get(name.len() + 2..);
                }
            }
        })
    }

    /// The value of a field that stands there once.
    pub fn single(self, name: &HeaderName) -> Option<&'a [u8]> {
        let name = name.as_str().as_bytes();
        let mut rest = self.lines;
        loop {
            let (line, after) = split_line(rest)?;
            if is_named(line, name) {
                // Another would follow it.
                return line
                    .get(name.len() + 2..)
                    .filter(|_| !is_named(after, name));
            }
            rest = after;
        }
    }

    /// The first value of a field.
    pub fn get(self, name: &HeaderName) -> Option<&'a [u8]> {
        self.get_all(name).next()
    }
}

/// Whether a line is a field's. The length is compared before the letters: most lines fall at the first look.
fn is_named(line: &[u8], name: &[u8]) -> bool {
    line.get(name.len()) == Some(&b':')
        && line
            .get(..name.len())
            .is_some_and(|found| found.eq_ignore_ascii_case(name))
}

/// The first line without its end, and what follows. No value has a line's end in it: `HeaderValue` refuses that.
fn split_line(lines: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memchr(b'\n', lines)?;
    let (line, rest) = lines.split_at_checked(end)?;
    Some((line.strip_suffix(b"\r")?, rest.strip_prefix(b"\n")?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header;
    use proptest::prelude::*;

    #[test]
    fn names_look_as_usual() {
        for (name, usual) in [
            ("content-type", "Content-Type"),
            ("etag", "ETag"),
            ("te", "TE"),
            ("dnt", "DNT"),
            ("www-authenticate", "WWW-Authenticate"),
            ("x-xss-protection", "X-XSS-Protection"),
            ("cdn-cache-control", "CDN-Cache-Control"),
            ("x-request-id", "X-Request-Id"),
            ("x--a_b", "X--A_b"),
            ("age", "Age"),
        ] {
            let mut map = HeaderMap::new();
            map.append(HeaderName::from_static(name), HeaderValue::from_static("v"));
            let section = Section::new(&map);
            assert_eq!(
                section.lines().as_bytes(),
                format!("{usual}: v\r\n").as_bytes()
            );
        }
    }

    #[test]
    fn reading_one_field() {
        let mut map = HeaderMap::new();
        for (name, value) in [
            ("x-a", "a: b"),
            ("x-ab", ""),
            ("set-cookie", "a=1"),
            ("set-cookie", "b=2"),
        ] {
            map.append(name, HeaderValue::from_static(value));
        }
        let section = Section::new(&map);
        let lines = section.lines();
        let all = |name: &'static str| -> Vec<_> {
            let name = HeaderName::from_static(name);
            lines.get_all(&name).map(<[u8]>::to_vec).collect()
        };
        assert_eq!(all("x-a"), [b"a: b"]);
        assert_eq!(all("x-ab"), [b""]);
        assert_eq!(all("set-cookie"), [b"a=1", b"b=2"]);
        assert!(all("x").is_empty());
        assert!(all("cookie").is_empty());
        assert_eq!(lines.get(&header::SET_COOKIE), Some(&b"a=1"[..]));
        assert_eq!(lines.get(&header::AGE), None);
        assert_eq!(Section::default().lines().iter().count(), 0);
    }

    proptest! {
        #[test]
        fn a_map_survives(fields in prop::collection::vec(("[a-z][a-z0-9-]{0,12}", prop::collection::vec(prop_oneof![b' '..=b'~', 0x80u8..=0xff, Just(b'\t')], 0..24)), 0..12)) {
            let mut map = HeaderMap::new();
            for (name, value) in &fields {
                let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
                map.append(name, HeaderValue::from_bytes(value).expect("a value"));
            }
            let section = Section::new(&map);
            prop_assert_eq!(&section.lines().to_header_map(), &map);
            prop_assert_eq!(section.lines().iter().count(), map.len());
            for name in map.keys() {
                let found: Vec<_> = section.lines().get_all(name).map(<[u8]>::to_vec).collect();
                let expected: Vec<_> = map.get_all(name).iter().map(|value| value.as_bytes().to_vec()).collect();
                prop_assert_eq!(found, expected);
            }
        }

        #[test]
        fn reading_never_panics(bytes in prop::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b':'), Just(b' '), any::<u8>()], 0..48)) {
            let lines = Lines::of_bytes(&bytes);
            let _ = lines.to_header_map();
            let _ = lines.get(&header::AGE);
        }
    }
}
