//! A header section in one compact piece of memory: as it is stored and, almost, as HTTP/1 writes it.

use http::{HeaderMap, HeaderName, HeaderValue};

/// Field lines, each `Name: value\r\n`, in their order; names with the case that HTTP/1 usually gives them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    lines: Box<[u8]>,
}

impl Section {
    /// Of a map. Names keep their order as far as the map does.
    pub fn new(headers: &HeaderMap) -> Self {
        let mut lines = Vec::new();
        for (name, value) in headers {
            lines.extend_from_slice(name.as_str().as_bytes());
            lines.extend_from_slice(b": ");
            lines.extend_from_slice(value.as_bytes());
            lines.extend_from_slice(b"\r\n");
        }
        Self {
            lines: lines.into_boxed_slice(),
        }
    }

    /// The lines as HTTP/1 writes them.
    pub fn as_bytes(&self) -> &[u8] {
        &self.lines
    }

    /// As a map.
    pub fn to_header_map(&self) -> HeaderMap {
        self.iter()
            .filter_map(|(name, value)| {
                Some((
                    HeaderName::from_bytes(name).ok()?,
                    HeaderValue::from_bytes(value).ok()?,
                ))
            })
            .fold(HeaderMap::new(), |mut map, (name, value)| {
                map.append(name, value);
                map
            })
    }

    /// Name and value of each line.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.lines
            .split(|&octet| octet == b'\n')
            .filter_map(|line| {
                let line = line.strip_suffix(b"\r")?;
                let colon = memchr::memchr(b':', line)?;
                let (name, value) = line.split_at_checked(colon)?;
                Some((name, value.strip_prefix(b": ")?))
            })
    }

    /// The values of a field, compared without case.
    pub fn get_all<'a>(&'a self, name: &'a HeaderName) -> impl Iterator<Item = &'a [u8]> {
        self.iter()
            .filter(|(found, _)| found.eq_ignore_ascii_case(name.as_str().as_bytes()))
            .map(|(_, value)| value)
    }

    /// The first value of a field.
    pub fn get<'a>(&'a self, name: &'a HeaderName) -> Option<&'a [u8]> {
        self.get_all(name).next()
    }
}
