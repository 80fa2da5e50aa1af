//! A message's fields to be looked up in, whoever read them: a map, or lines as they lie in a buffer.
//!
//! Routes, keys and policy take a [`FieldView`], so that the lane that makes no map and the one that has one ask the same
//! functions.

use super::section::{self, HeaderSection};
use http::header::ValueIter;
use http::{HeaderMap, HeaderName, HeaderValue};

/// A message's fields. Cheap to copy.
#[derive(Debug, Clone, Copy)]
pub enum FieldView<'a> {
    /// In a map.
    Map(&'a HeaderMap),
    /// As lines.
    Lines(FieldLines<'a>),
    /// As a section of lines.
    Section(&'a HeaderSection),
}

/// Field lines in their order, with a mark of which names may be among them.
#[derive(Debug, Clone, Copy)]
pub struct FieldLines<'a> {
    lines: &'a [httparse::Header<'a>],
    /// One bit or more for each name: most lookups are for fields that are not there, and end with a look at this.
    marks: u64,
}

impl<'a> FieldLines<'a> {
    /// Of lines whose names are tokens and whose values are field values, trimmed.
    pub fn new(lines: &'a [httparse::Header<'a>]) -> Self {
        let marks = lines
            .iter()
            .fold(0, |marks, line| marks | mark(line.name.as_bytes()));
        Self { lines, marks }
    }

    /// Name and value of each.
    pub fn iter(self) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        self.lines.iter().map(|line| (line.name, line.value))
    }
}

/// The bit of a name, whatever its case: of its length and its last two letters. The factors are such that no field that is
/// looked for with each request has the bit of one that browsers send with each.
pub(super) const fn mark(name: &[u8]) -> u64 {
    let ends = match name {
        [.., last_but_one, last] => folded(*last_but_one) * 4 + folded(*last) * 18,
        [only] => folded(*only) * 18,
        [] => 0,
    };
    1 << ((ends + name.len() * 13) % 64)
}

const fn folded(octet: u8) -> usize {
    (octet | 0x20) as usize
}

/// Names that are looked for together: of most requests one look tells that none of them is there.
#[derive(Debug, Clone, Copy)]
pub struct Marks(u64);

impl Marks {
    /// Of names in any case.
    pub const fn of(names: &[&str]) -> Self {
        let mut marks = 0;
        let mut rest = names;
        while let [name, others @ ..] = rest {
            marks |= mark(name.as_bytes());
            rest = others;
        }
        Self(marks)
    }

    /// False where a name is none of them. True says nothing.
    pub(super) fn may_have(self, name: &str) -> bool {
        self.0 & mark(name.as_bytes()) != 0
    }
}

impl<'a> FieldView<'a> {
    /// False where none of these is there. True says nothing.
    #[inline]
    pub fn may_have(self, any: Marks) -> bool {
        match self {
            Self::Map(_) => true,
            Self::Lines(lines) => lines.marks & any.0 != 0,
            Self::Section(section) => section.marks() & any.0 != 0,
        }
    }

    /// The values of a field, in the order of its lines.
    pub fn get_all(self, name: &HeaderName) -> Values<'a, '_> {
        Values(match self {
            Self::Map(map) => Kind::Map(map.get_all(name).iter()),
            Self::Lines(lines) => {
                let name = name.as_str().as_bytes();
                let there = lines.marks & mark(name) != 0;
                let lines = if there { lines.lines } else { &[] };
                Kind::Lines { lines, name }
            }
            Self::Section(section) => Kind::Section(section.get_all(name)),
        })
    }

    /// The first value of a field.
    pub fn get(self, name: &HeaderName) -> Option<&'a [u8]> {
        self.get_all(name).next()
    }

    /// The value of a field that stands there once.
    pub fn single(self, name: &HeaderName) -> Option<&'a [u8]> {
        let mut values = self.get_all(name);
        let value = values.next()?;
        values.next().is_none().then_some(value)
    }

    /// Whether a field is there.
    pub fn contains(self, name: &HeaderName) -> bool {
        self.get(name).is_some()
    }

    /// As a map of its own.
    pub fn to_header_map(self) -> HeaderMap {
        match self {
            Self::Map(map) => map.clone(),
            Self::Section(section) => section.to_header_map(),
            Self::Lines(lines) => {
                let mut map = HeaderMap::with_capacity(lines.lines.len());
                for (name, value) in lines.iter() {
                    if let (Ok(name), Ok(value)) = (
                        HeaderName::from_bytes(name.as_bytes()),
                        HeaderValue::from_bytes(value),
                    ) {
                        map.append(name, value);
                    }
                }
                map
            }
        }
    }
}

impl<'a> From<&'a HeaderSection> for FieldView<'a> {
    fn from(section: &'a HeaderSection) -> Self {
        Self::Section(section)
    }
}

impl<'a> From<&'a HeaderMap> for FieldView<'a> {
    fn from(map: &'a HeaderMap) -> Self {
        Self::Map(map)
    }
}

/// The values of one field.
#[derive(Debug)]
pub struct Values<'a, 'n>(Kind<'a, 'n>);

#[derive(Debug)]
enum Kind<'a, 'n> {
    Map(ValueIter<'a, HeaderValue>),
    Lines {
        lines: &'a [httparse::Header<'a>],
        name: &'n [u8],
    },
    Section(section::Values<'a, 'n>),
}

impl<'a> Iterator for Values<'a, '_> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        match &mut self.0 {
            Kind::Map(values) => values.next().map(HeaderValue::as_bytes),
            Kind::Section(values) => values.next(),
            Kind::Lines { lines, name } => loop {
                let (line, rest) = lines.split_first()?;
                *lines = rest;
                if line.name.as_bytes().eq_ignore_ascii_case(name) {
                    return Some(line.value);
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// The two forms answer alike, whatever is asked.
        #[test]
        fn lines_are_as_the_map(
            fields in prop::collection::vec(("[a-cA-C-]{1,3}|[Cc]ookie|[Hh]ost|[Rr]ange", "[!-~]{0,4}"), 0..12),
            asked in prop::collection::vec("[a-c-]{1,3}|cookie|host|range|age", 1..12),
        ) {
            let lines: Vec<_> = fields
                .iter()
                .map(|(name, value)| httparse::Header { name, value: value.as_bytes() })
                .collect();
            let lines = FieldView::Lines(FieldLines::new(&lines));
            let map = lines.to_header_map();
            let view = FieldView::from(&map);
            for name in &asked {
                let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
                let one: Vec<_> = lines.get_all(&name).collect();
                let other: Vec<_> = view.get_all(&name).collect();
                prop_assert_eq!(&one, &other);
                prop_assert_eq!(lines.get(&name), view.get(&name));
                prop_assert_eq!(lines.single(&name), view.single(&name));
                prop_assert_eq!(lines.contains(&name), view.contains(&name));
                prop_assert!(lines.may_have(Marks::of(&["x", name.as_str()])) || !view.contains(&name));
            }
        }
    }
}
