//! Entity tags and lists of them (RFC 9110 §8.8.3, §13.1.1, §13.1.2).

use crate::fields::token::is_ows;
use http::HeaderValue;

/// An entity tag. The opaque part is bytes: it may hold obs-text.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EntityTag {
    weak: bool,
    opaque: Box<[u8]>,
}

/// The value of `If-Match` or `If-None-Match`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntityTagList {
    /// `*`: whatever there is.
    Any,
    /// At least one tag.
    Tags(Vec<EntityTag>),
}

impl EntityTag {
    /// A strong tag, `"opaque"`. `None` where a byte of it may not stand in a tag (a quote, a space, a control byte).
    pub fn strong(opaque: impl Into<Vec<u8>>) -> Option<Self> {
        Self::new(false, opaque.into())
    }

    /// A weak tag, `W/"opaque"`. `None` as for [`EntityTag::strong`].
    pub fn weak(opaque: impl Into<Vec<u8>>) -> Option<Self> {
        Self::new(true, opaque.into())
    }

    fn new(weak: bool, opaque: Vec<u8>) -> Option<Self> {
        opaque.iter().all(|&octet| is_etagc(octet)).then(|| Self {
            weak,
            opaque: opaque.into_boxed_slice(),
        })
    }

    /// Reads one tag and nothing else, as `ETag` and `If-Range` carry it.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        match take(bytes)? {
            (tag, []) => Some(tag),
            _ => None,
        }
    }

    /// True for `W/"…"`.
    pub fn is_weak(&self) -> bool {
        self.weak
    }

    /// What stands between the quotes.
    pub fn opaque(&self) -> &[u8] {
        &self.opaque
    }

    /// The strong comparison of RFC 9110 §8.8.3.2: both strong and the same. For `If-Match`, `If-Range` and ranges.
    pub fn strong_eq(&self, other: &Self) -> bool {
        !self.weak && !other.weak && self.opaque == other.opaque
    }

    /// The weak comparison of RFC 9110 §8.8.3.2: the same opaque part. For `If-None-Match`.
    pub fn weak_eq(&self, other: &Self) -> bool {
        self.opaque == other.opaque
    }

    /// The tag as a field value.
    #[expect(
        clippy::missing_panics_doc,
        reason = "the constructors let no control byte into a tag"
    )]
    pub fn to_header_value(&self) -> HeaderValue {
        let mut bytes = Vec::with_capacity(self.opaque.len() + 4);
        if self.weak {
            bytes.extend_from_slice(b"W/");
        }
        bytes.push(b'"');
        bytes.extend_from_slice(&self.opaque);
        bytes.push(b'"');
        HeaderValue::from_maybe_shared(bytes::Bytes::from(bytes))
            .expect("the constructors let no control byte into a tag")
    }
}

impl EntityTagList {
    /// Whether any tag equals `tag` by the weak comparison; `*` does. The test of `If-None-Match`.
    pub fn contains_weak(&self, tag: &EntityTag) -> bool {
        match self {
            Self::Any => true,
            Self::Tags(tags) => tags.iter().any(|t| t.weak_eq(tag)),
        }
    }

    /// Whether any tag equals `tag` by the strong comparison; `*` does. The test of `If-Match`.
    pub fn contains_strong(&self, tag: &EntityTag) -> bool {
        match self {
            Self::Any => true,
            Self::Tags(tags) => tags.iter().any(|t| t.strong_eq(tag)),
        }
    }
}

/// Reads `"*" / #entity-tag` from all lines of a field. `None` where any member is malformed, where `*` stands beside
/// anything else, or where there is no member at all. A comma inside a tag belongs to it, and a backslash escapes
/// nothing, unlike in a quoted string.
pub fn parse_list<I>(lines: I) -> Option<EntityTagList>
where
    I: IntoIterator,
    I::Item: AsRef<[u8]>,
{
    let mut tags = Vec::new();
    let mut any = false;
    for line in lines {
        let mut rest = skip_separators(line.as_ref());
        while !rest.is_empty() {
            rest = if let [b'*', rest @ ..] = rest {
                if any {
                    return None;
                }
                any = true;
                rest
            } else {
                let (tag, rest) = take(rest)?;
                tags.push(tag);
                rest
            };
            rest = skip_ows(rest);
            rest = match rest {
                [] => rest,
                [b',', rest @ ..] => skip_separators(rest),
                _ => return None,
            };
        }
    }
    match (any, tags.is_empty()) {
        (true, true) => Some(EntityTagList::Any),
        (false, false) => Some(EntityTagList::Tags(tags)),
        (true, false) | (false, true) => None,
    }
}

/// Whether this is one tag and nothing else.
pub fn is_one(bytes: &[u8]) -> bool {
    matches!(split(bytes), Some((_, _, [])))
}

fn take(bytes: &[u8]) -> Option<(EntityTag, &[u8])> {
    let (weak, opaque, rest) = split(bytes)?;
    let opaque = opaque.into();
    Some((EntityTag { weak, opaque }, rest))
}

/// Splits `[ "W/" ] DQUOTE *etagc DQUOTE` off the front: whether it is weak, its opaque part, and the rest. `W` is
/// case-sensitive.
fn split(bytes: &[u8]) -> Option<(bool, &[u8], &[u8])> {
    let (weak, rest) = match bytes.strip_prefix(b"W/") {
        Some(rest) => (true, rest),
        None => (false, bytes),
    };
    let rest = rest.strip_prefix(b"\"")?;
    let end = rest.iter().position(|&octet| !is_etagc(octet))?;
    let (opaque, rest) = rest.split_at_checked(end)?;
    let rest = rest.strip_prefix(b"\"")?;
    Some((weak, opaque, rest))
}

/// `etagc = %x21 / %x23-7E / obs-text`.
fn is_etagc(octet: u8) -> bool {
    matches!(octet, 0x21 | 0x23..=0x7e | 0x80..=0xff)
}

fn skip_ows(mut bytes: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = bytes
        && is_ows(*first)
    {
        bytes = rest;
    }
    bytes
}

/// Skips white space and the commas of empty members, which a recipient must bear (RFC 9110 §5.6.1.2).
fn skip_separators(mut bytes: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = bytes
        && (is_ows(*first) || *first == b',')
    {
        bytes = rest;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tag(text: &str) -> EntityTag {
        EntityTag::parse(text.as_bytes()).expect("a valid tag in a test")
    }

    #[test]
    fn one_tag() {
        for (text, weak, opaque) in [
            ("\"xyzzy\"", false, "xyzzy"),
            ("W/\"xyzzy\"", true, "xyzzy"),
            ("\"\"", false, ""),
            (r#""a\""#, false, r"a\"),
            ("\"a,b\"", false, "a,b"),
        ] {
            let tag = tag(text);
            assert_eq!(
                (tag.is_weak(), tag.opaque()),
                (weak, opaque.as_bytes()),
                "{text}"
            );
            assert_eq!(tag.to_header_value().as_bytes(), text.as_bytes());
        }
        for text in [
            "", "xyzzy", "\"", "w/\"a\"", "W/a", "W/ \"a\"", "\"a\" ", "\"a b\"", "\"a\"b\"",
            "\"a\r\"",
        ] {
            assert_eq!(EntityTag::parse(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(EntityTag::strong("a\"b"), None);
        assert_eq!(EntityTag::weak("a b"), None);
    }

    /// The table of RFC 9110 §8.8.3.2.
    #[test]
    fn comparison() {
        for (one, other, strong, weak) in [
            ("W/\"1\"", "W/\"1\"", false, true),
            ("W/\"1\"", "W/\"2\"", false, false),
            ("W/\"1\"", "\"1\"", false, true),
            ("\"1\"", "\"1\"", true, true),
        ] {
            assert_eq!(tag(one).strong_eq(&tag(other)), strong, "{one} {other}");
            assert_eq!(tag(one).weak_eq(&tag(other)), weak, "{one} {other}");
        }
    }

    #[test]
    fn lists() {
        let tags =
            |texts: &[&str]| Some(EntityTagList::Tags(texts.iter().map(|t| tag(t)).collect()));
        for (lines, expected) in [
            (&["*"][..], Some(EntityTagList::Any)),
            (&[" * "], Some(EntityTagList::Any)),
            (&["\"a\""], tags(&["\"a\""])),
            (
                &["\"a\",W/\"b\" ,\t\"c,d\""],
                tags(&["\"a\"", "W/\"b\"", "\"c,d\""]),
            ),
            (&[", ,\"a\",,"], tags(&["\"a\""])),
            (&["\"a\"", "\"b\""], tags(&["\"a\"", "\"b\""])),
            (&[], None),
            (&[""], None),
            (&[","], None),
            (&["*, \"a\""], None),
            (&["\"a\"", "*"], None),
            (&["*", "*"], None),
            (&["\"a\" \"b\""], None),
            (&["\"a\", b"], None),
            (&["\"a"], None),
        ] {
            assert_eq!(parse_list(lines), expected, "{lines:?}");
        }
    }

    proptest! {
        #[test]
        fn writing_then_reading_is_identity(weak: bool, opaque in prop::collection::vec(any::<u8>(), 0..16)) {
            let made = if weak { EntityTag::weak(opaque) } else { EntityTag::strong(opaque) };
            if let Some(tag) = made {
                prop_assert_eq!(EntityTag::parse(tag.to_header_value().as_bytes()), Some(tag));
            }
        }

        #[test]
        fn reading_never_panics(bytes in prop::collection::vec(prop_oneof![Just(b'"'), Just(b','), Just(b'W'), Just(b'/'), any::<u8>()], 0..32)) {
            let _ = EntityTag::parse(&bytes);
            let _ = parse_list([&bytes]);
        }
    }
}
