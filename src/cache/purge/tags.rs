//! The tags of a response: what its fields (`Surrogate-Key`, `xkey`, `Cache-Tag`, `Cache-Groups`) and its route say it is part
//! of.

use crate::cache::outcome::Reason;
use crate::cache::settings::Rules;
use crate::fields::list;
use http::{HeaderMap, HeaderName, HeaderValue};
use sfv::{BareItem, ListEntry, Parser};
use std::collections::BTreeMap;

use super::scope::TAG_MAX;

/// Fastly's, and what many applications send. Names between spaces.
pub const SURROGATE_KEY: HeaderName = HeaderName::from_static("surrogate-key");
/// Varnish's (`vmod_xkey`). Names between spaces, on as many lines as there are.
pub const XKEY: HeaderName = HeaderName::from_static("xkey");
/// Cloudflare's and Akamai's. Names between commas.
pub const CACHE_TAG: HeaderName = HeaderName::from_static("cache-tag");
/// RFC 9875 §2: a list of strings, each of which names a group within its origin.
pub const CACHE_GROUPS: HeaderName = HeaderName::from_static("cache-groups");

/// Names of one response, all octets together; more, and it is not stored.
const OCTETS_MAX: usize = 16 * 1024;

/// Names of one response; more, and it is not stored.
const TAGS_MAX: usize = 1024;

/// Stands in front of the name of a group; no field's value can hold it.
const GROUP: u8 = 1;

/// Stands between names; no field's value can hold it.
const BETWEEN: u8 = b'\n';

/// The names, each once, in their order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tags(Box<[u8]>);

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tag<'a> {
    /// As it was sent.
    pub name: &'a [u8],
    /// Whether it is also a group of its origin (RFC 9875).
    pub group: bool,
}

impl Tags {
    /// Those of a response with these fields on a route with these rules.
    ///
    /// # Errors
    /// [`Reason::TagsMany`].
    pub fn of(fields: &HeaderMap, rules: &Rules) -> Result<Self, Reason> {
        let mut names: BTreeMap<&[u8], bool> = BTreeMap::new();
        for tag in &rules.tags {
            names.insert(tag.as_bytes(), false);
        }
        for value in spaced(fields) {
            let between_spaces = value
                .as_bytes()
                .split(|octet| matches!(octet, b' ' | b'\t'));
            names.extend(between_spaces.map(|name| (name, false)));
        }
        for value in fields.get_all(CACHE_TAG) {
            let members = value.as_bytes().split(|&octet| octet == b',');
            names.extend(members.map(|name| (name.trim_ascii(), false)));
        }
        let groups = groups(fields.get_all(CACHE_GROUPS));
        names.extend(groups.iter().map(|name| (name.as_bytes(), true)));
        names.remove(&b""[..]);
        let octets = names.keys().map(|name| name.len()).sum::<usize>();
        let longest = names.keys().map(|name| name.len()).max();
        if names.len() > TAGS_MAX || octets > OCTETS_MAX || longest.is_some_and(|it| it > TAG_MAX) {
            return Err(Reason::TagsMany);
        }
        let mut encoded = Vec::with_capacity(octets + 2 * names.len());
        for (name, group) in names {
            if !encoded.is_empty() {
                encoded.push(BETWEEN);
            }
            if group {
                encoded.push(GROUP);
            }
            encoded.extend_from_slice(name);
        }
        Ok(Self(encoded.into()))
    }

    /// Those of what is stored with `before`, after an answer with these fields about it: they stay unless it names others.
    ///
    /// # Errors
    /// [`Reason::TagsMany`].
    pub fn freshened(before: &[u8], fields: &HeaderMap, rules: &Rules) -> Result<Self, Reason> {
        let named = [SURROGATE_KEY, XKEY, CACHE_TAG, CACHE_GROUPS];
        if named.iter().any(|name| fields.contains_key(name)) {
            Self::of(fields, rules)
        } else {
            Ok(Self(before.into()))
        }
    }

    /// What [`Self::as_bytes`] gave.
    pub(in crate::cache) fn of_bytes(encoded: &[u8]) -> Self {
        Self(encoded.into())
    }

    /// As they are stored.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Those that are stored in these octets.
pub fn each(encoded: &[u8]) -> impl Iterator<Item = Tag<'_>> {
    let names = encoded.split(|&octet| octet == BETWEEN);
    names
        .filter(|name| !name.is_empty())
        .map(|name| match name.split_first() {
            Some((&GROUP, name)) => Tag { name, group: true },
            _ => Tag { name, group: false },
        })
}

fn spaced(fields: &HeaderMap) -> impl Iterator<Item = &HeaderValue> {
    fields
        .get_all(SURROGATE_KEY)
        .iter()
        .chain(fields.get_all(XKEY))
}

/// The strings of lists (RFC 9875 §2, §3). A field that is no list is ignored, and so is a member that is no string.
pub(super) fn groups<'a>(lines: impl IntoIterator<Item = &'a HeaderValue>) -> Vec<String> {
    let lines: Vec<&[u8]> = lines.into_iter().map(HeaderValue::as_bytes).collect();
    if lines.is_empty() {
        return Vec::new();
    }
    let whole = lines.join(&b", "[..]);
    let Ok(members) = Parser::parse_list(&whole) else {
        return Vec::new();
    };
    let strings = members.into_iter().filter_map(|member| match member {
        ListEntry::Item(item) => match item.bare_item {
            BareItem::String(string) => Some(string.clone()),
            _ => None,
        },
        ListEntry::InnerList(_) => None,
    });
    strings.collect()
}

/// The members of an answer's `Forebay-Purge`, in their order.
pub(super) fn members<'a>(lines: impl IntoIterator<Item = &'a HeaderValue>) -> Vec<String> {
    let lines = lines.into_iter();
    lines
        .flat_map(|line| list::members(line.as_bytes()))
        .map(|member| String::from_utf8_lossy(member).into_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::policy::testing::headers;

    fn written(fields: &[(&str, &str)], own: &[&str]) -> Result<Vec<String>, Reason> {
        let rules = Rules {
            tags: own.iter().map(|&tag| tag.to_owned()).collect(),
            ..Rules::default()
        };
        let tags = Tags::of(&headers(fields), &rules)?;
        let shown = |tag: Tag<'_>| {
            let group = if tag.group { "group " } else { "" };
            format!("{group}{}", String::from_utf8_lossy(tag.name))
        };
        Ok(each(tags.as_bytes()).map(shown).collect())
    }

    #[test]
    fn names() {
        for (fields, own, expected) in [
            (&[][..], &[][..], &[][..]),
            (&[("surrogate-key", "b  a\tc a ")], &[], &["a", "b", "c"]),
            (&[("xkey", "a,b"), ("xkey", "c d")], &[], &["a,b", "c", "d"]),
            (
                &[("cache-tag", "a b, c,,d ")],
                &["own"],
                &["a b", "c", "d", "own"],
            ),
            (
                &[
                    ("cache-groups", "\"a b\";x=1, tok, (\"i\")"),
                    ("cache-groups", "\"c\""),
                ],
                &[],
                &["group a b", "group c"],
            ),
            (&[("cache-groups", "a b")], &[], &[]),
            // What is both is a group, which is a tag too.
            (
                &[("surrogate-key", "a b"), ("cache-groups", "\"a\"")],
                &[],
                &["group a", "b"],
            ),
        ] {
            let expected = expected.iter().map(|&name| name.to_owned()).collect();
            assert_eq!(written(fields, own), Ok(expected), "{fields:?}");
        }
    }

    #[test]
    fn too_many_or_too_much() {
        let many = |count: usize| {
            let names: Vec<_> = (0..count).map(|at| format!("t{at}")).collect();
            names.join(" ")
        };
        let (fits, exceeds) = (many(TAGS_MAX), many(TAGS_MAX + 1));
        assert_eq!(
            written(&[("xkey", &fits)], &[]).map(|tags| tags.len()),
            Ok(TAGS_MAX)
        );
        assert_eq!(written(&[("xkey", &exceeds)], &[]), Err(Reason::TagsMany));
        let (longest, longer) = ("x".repeat(TAG_MAX), "x".repeat(TAG_MAX + 1));
        assert!(written(&[("cache-tag", &longest)], &[]).is_ok());
        assert_eq!(
            written(&[("cache-tag", &longer)], &[]),
            Err(Reason::TagsMany)
        );
        let much: Vec<_> = (0..17).map(|at| format!("{at:0>1000}")).collect();
        let much = much.join(" ");
        assert_eq!(written(&[("xkey", &much)], &[]), Err(Reason::TagsMany));
    }

    #[test]
    fn what_a_validation_says_replaces_them() {
        let rules = Rules::default();
        let freshened = |fields: &[(&str, &str)]| Tags::freshened(b"a", &headers(fields), &rules);
        assert_eq!(
            freshened(&[]).map(|it| it.as_bytes().to_vec()),
            Ok(b"a".to_vec())
        );
        let other = freshened(&[("cache-tag", "b")]);
        assert_eq!(other.map(|it| it.as_bytes().to_vec()), Ok(b"b".to_vec()));
    }
}
