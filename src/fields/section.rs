//! A header section that is read, edited and written as lines in one buffer, in the case and the order of who wrote them.
//!
//! What passes through is looked at a few times, changed in a few places and written once: for that a map, with another one of the
//! written names beside it, costs more than all the rest. Names that are given as a [`HeaderName`] are written in their usual case.

use super::case;
use super::view::mark;
use http::{HeaderMap, HeaderName, HeaderValue};

/// Field lines in their order. What it is made of are names and values that were checked: none has a line's end in it.
#[derive(Debug, Clone, Default)]
pub struct HeaderSection {
    /// Lines as HTTP/1 writes them, `Name: value\r\n`, and octets between them that belong to none.
    octets: Vec<u8>,
    lines: Vec<Line>,
    /// One bit or more for each name that is there: most lookups are for fields that are not, and end with a look at this.
    marks: u64,
}

/// Where a line is.
#[derive(Debug, Clone, Copy)]
struct Line {
    begin: usize,
    /// Behind its name.
    colon: usize,
    /// Behind its value.
    end: usize,
}

impl HeaderSection {
    /// An empty one, with room for so many lines.
    pub fn with_capacity(lines: usize) -> Self {
        Self {
            octets: Vec::with_capacity(lines * 48),
            lines: Vec::with_capacity(lines),
            marks: 0,
        }
    }

    /// What a parser found in `head`, whose lines then need not be copied one by one. A value that was folded is put on one line
    /// (RFC 9112 §5.2).
    pub fn parsed(head: &[u8], fields: &[httparse::Header<'_>]) -> Self {
        // A few lines are added to most.
        let mut octets = Vec::with_capacity(head.len() + 256);
        octets.extend_from_slice(head);
        let mut section = Self {
            octets,
            lines: Vec::with_capacity(fields.len() + 8),
            marks: 0,
        };
        let offset = |part: &[u8]| (part.as_ptr() as usize).wrapping_sub(head.as_ptr() as usize);
        for field in fields {
            let begin = offset(field.name.as_bytes());
            let colon = begin.wrapping_add(field.name.len());
            let end = colon.wrapping_add(2 + field.value.len());
            let plain = offset(field.value) == colon.wrapping_add(2)
                && head.get(colon..colon.wrapping_add(2)) == Some(b": ")
                && head.get(end..end.wrapping_add(2)) == Some(b"\r\n")
                && !field.value.contains(&b'\n');
            if plain {
                section.marks |= mark(field.name.as_bytes());
                section.lines.push(Line { begin, colon, end });
            } else {
                section.put(
                    |out| out.extend_from_slice(field.name.as_bytes()),
                    |out| unfold(out, field.value),
                );
            }
        }
        section
    }

    /// The first value of a field.
    pub fn get(&self, name: &HeaderName) -> Option<&[u8]> {
        self.get_all(name).next()
    }

    /// The values of a field, in the order of its lines.
    pub fn get_all<'s, 'n>(&'s self, name: &'n HeaderName) -> Values<'s, 'n> {
        let name = name.as_str().as_bytes();
        let there = self.marks & mark(name) != 0;
        let lines: &[Line] = if there { &self.lines } else { &[] };
        Values {
            octets: &self.octets,
            lines: lines.iter(),
            name,
        }
    }

    /// Whether a field is there.
    pub fn contains(&self, name: &HeaderName) -> bool {
        self.get(name).is_some()
    }

    /// One bit or more for each name that is there.
    pub(super) fn marks(&self) -> u64 {
        self.marks
    }

    /// Octets of all lines, about.
    pub fn length(&self) -> usize {
        self.octets.len()
    }

    /// Name and value of each line.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.lines
            .iter()
            .filter_map(|line| Some((line.name(&self.octets)?, line.value(&self.octets)?)))
    }

    /// Name of each line, and the line as HTTP/1 writes it.
    pub fn written(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.lines.iter().filter_map(|line| {
            let whole = self.octets.get(line.begin..line.end + 2)?;
            Some((line.name(&self.octets)?, whole))
        })
    }

    /// A line behind those that are there.
    pub fn append(&mut self, name: &HeaderName, value: &HeaderValue) {
        self.append_as(name, |out| out.extend_from_slice(value.as_bytes()));
    }

    /// The same in the place of all lines of its name.
    pub fn insert(&mut self, name: &HeaderName, value: &HeaderValue) {
        self.remove(name);
        self.append(name, value);
    }

    /// The same for a number.
    pub fn insert_number(&mut self, name: &HeaderName, number: u64) {
        self.remove(name);
        self.append_as(name, |out| {
            out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
        });
    }

    /// The same for text that is a field's value; text that is none is not written.
    pub fn insert_text(&mut self, name: &HeaderName, text: &str) {
        self.remove(name);
        self.append_text(name, text);
    }

    /// A line of text behind those that are there; text that is no field's value is not written.
    pub fn append_text(&mut self, name: &HeaderName, text: &str) {
        let controls = text
            .bytes()
            .filter(|octet| octet.is_ascii_control() && *octet != b'\t');
        // Counted and not sought: so, many are looked at in one step.
        if controls.count() == 0 {
            self.append_as(name, |out| out.extend_from_slice(text.as_bytes()));
        }
    }

    /// Takes all lines of a name away.
    pub fn remove(&mut self, name: &HeaderName) {
        let (octets, name) = (&self.octets, name.as_str().as_bytes());
        if self.marks & mark(name) != 0 {
            self.lines.retain(|line| !line.is_named(octets, name));
        }
    }

    /// As a map. Names lose their case.
    pub fn to_header_map(&self) -> HeaderMap {
        let mut map = HeaderMap::with_capacity(self.lines.len());
        for (name, value) in self.iter() {
            // Both were checked when they came.
            if let (Ok(name), Ok(value)) =
                (HeaderName::from_bytes(name), HeaderValue::from_bytes(value))
            {
                map.append(name, value);
            }
        }
        map
    }

    /// A line whose name was written by somebody, in their case.
    pub fn append_written(&mut self, name: &[u8], value: &HeaderValue) {
        self.put(
            |out| out.extend_from_slice(name),
            |out| out.extend_from_slice(value.as_bytes()),
        );
    }

    fn append_as(&mut self, name: &HeaderName, value: impl FnOnce(&mut Vec<u8>)) {
        self.put(|out| case::write_usual(out, name.as_str()), value);
    }

    fn put(&mut self, name: impl FnOnce(&mut Vec<u8>), value: impl FnOnce(&mut Vec<u8>)) {
        let begin = self.octets.len();
        name(&mut self.octets);
        let colon = self.octets.len();
        self.marks |= mark(self.octets.get(begin..).unwrap_or_default());
        self.octets.extend_from_slice(b": ");
        value(&mut self.octets);
        let end = self.octets.len();
        self.octets.extend_from_slice(b"\r\n");
        self.lines.push(Line { begin, colon, end });
    }
}

impl From<&HeaderMap> for HeaderSection {
    fn from(map: &HeaderMap) -> Self {
        let mut section = Self::with_capacity(map.len() + 8);
        for (name, value) in map {
            section.append(name, value);
        }
        section
    }
}

impl Line {
    fn name<'o>(&self, octets: &'o [u8]) -> Option<&'o [u8]> {
        octets.get(self.begin..self.colon)
    }

    fn value<'o>(&self, octets: &'o [u8]) -> Option<&'o [u8]> {
        octets.get(self.colon + 2..self.end)
    }

    /// The length is compared before the letters: most lines fall at the first look.
    fn is_named(&self, octets: &[u8], name: &[u8]) -> bool {
        self.colon - self.begin == name.len()
            && self
                .name(octets)
                .is_some_and(|here| here.eq_ignore_ascii_case(name))
    }
}

/// A value without its line folding: each is a space (RFC 9112 §5.2).
fn unfold(out: &mut Vec<u8>, value: &[u8]) {
    let lines = value.split(|&octet| octet == b'\n').map(<[u8]>::trim_ascii);
    let begin = out.len();
    for line in lines.filter(|line| !line.is_empty()) {
        if out.len() > begin {
            out.push(b' ');
        }
        out.extend_from_slice(line);
    }
}

/// The values of one field.
#[derive(Debug, Clone)]
pub struct Values<'s, 'n> {
    octets: &'s [u8],
    lines: std::slice::Iter<'s, Line>,
    name: &'n [u8],
}

impl<'s> Iterator for Values<'s, '_> {
    type Item = &'s [u8];

    fn next(&mut self) -> Option<&'s [u8]> {
        let Self {
            octets,
            lines,
            name,
        } = self;
        lines
            .find(|line| line.is_named(octets, name))
            .and_then(|line| line.value(octets))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields::view::FieldView;
    use http::header::{CONTENT_LENGTH, ETAG, VARY};
    use proptest::prelude::*;

    fn written(section: &HeaderSection) -> String {
        let lines: Vec<_> = section.written().map(|(_, line)| line).collect();
        String::from_utf8_lossy(&lines.concat()).into_owned()
    }

    fn parsed(head: &str) -> HeaderSection {
        let mut fields = [httparse::EMPTY_HEADER; 16];
        let mut response = httparse::Response::new(&mut fields);
        httparse::ParserConfig::default()
            .allow_spaces_after_header_name_in_responses(true)
            .allow_obsolete_multiline_headers_in_responses(true)
            .parse_response(&mut response, head.as_bytes())
            .expect("a head");
        HeaderSection::parsed(head.as_bytes(), response.headers)
    }

    #[test]
    fn lines_keep_their_case_and_lose_what_is_loose() {
        let head = "HTTP/1.1 200 OK\r\nX-CASE : a\r\nfold: a\r\n \r\n\t b\r\nEmpty:\r\nTight:b\r\nWide:  c  \r\nPlain: d\r\nBare: e\n\r\n";
        assert_eq!(
            written(&parsed(head)),
            "X-CASE: a\r\nfold: a b\r\nEmpty: \r\nTight: b\r\nWide: c\r\nPlain: d\r\nBare: e\r\n"
        );
    }

    #[test]
    fn edits_are_of_all_lines_of_a_name() {
        let head = "HTTP/1.1 200 OK\r\nvary: a\r\nX: 1\r\nVARY: b\r\nContent-Length: 5\r\n\r\n";
        let mut section = parsed(head);
        section.insert_number(&CONTENT_LENGTH, 7);
        section.append(&ETAG, &HeaderValue::from_static("\"a\""));
        section.append_text(&ETAG, "broken\r\nX: 2");
        assert_eq!(section.get_all(&VARY).count(), 2);
        section.insert_text(&VARY, "c");
        assert_eq!(
            written(&section),
            "X: 1\r\nContent-Length: 7\r\nETag: \"a\"\r\nVary: c\r\n"
        );
    }

    proptest! {
        /// A section answers as the map of the same lines does, whatever was edited before.
        #[test]
        fn a_section_is_as_the_map(
            edits in prop::collection::vec((0..3u8, "[a-c]{1,2}|cookie|etag|range", "[!-~]{0,4}"), 0..16),
            asked in prop::collection::vec("[a-c]{1,2}|cookie|etag|range|age", 1..12),
        ) {
            let (mut section, mut map) = (HeaderSection::default(), HeaderMap::new());
            for (edit, name, value) in &edits {
                let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
                let value = HeaderValue::from_str(value).expect("a value");
                match edit {
                    0 => {
                        section.append(&name, &value);
                        map.append(name, value);
                    }
                    1 => {
                        section.insert(&name, &value);
                        map.insert(name, value);
                    }
                    _ => {
                        section.remove(&name);
                        map.remove(name);
                    }
                }
            }
            let (lines, view) = (FieldView::from(&section), FieldView::from(&map));
            for name in &asked {
                let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
                let one: Vec<_> = lines.get_all(&name).collect();
                let other: Vec<_> = view.get_all(&name).collect();
                prop_assert_eq!(one, other);
                prop_assert_eq!(section.contains(&name), map.contains_key(&name));
            }
            prop_assert_eq!(&section.to_header_map(), &map);
            prop_assert_eq!(HeaderSection::from(&map).to_header_map(), map);
        }

        /// Nothing that is parsed has a line's end in it, whatever is folded.
        #[test]
        fn lines_are_whole(value in "[ -~]{0,6}(\r\n[ \t][ -~]{0,6}){0,3}", name in "[a-zA-Z]{1,4}") {
            let head = format!("HTTP/1.1 200 OK\r\n{name}: {value}\r\nB: c\r\n\r\n");
            let section = parsed(&head);
            for (_, line) in section.written() {
                let inner = line.strip_suffix(b"\r\n").expect("a line's end");
                prop_assert!(!inner.contains(&b'\n') && !inner.contains(&b'\r'));
            }
            prop_assert_eq!(section.iter().count(), 2);
        }
    }
}
