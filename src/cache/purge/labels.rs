//! What a stored response can be purged by, each as a number: everything, its host, the paths above it, its URL, its tags.
//!
//! Keyed hashes of 64 bits: who chooses paths or tags cannot make two meet, and where two met by chance, something were
//! purged that need not have been.

use super::scope::{Place, without_port};
use super::tags;
use crate::cache::key::{Target, hasher};
use std::hash::Hasher;

/// One of them.
pub(super) type Label = u64;

/// What it is of: the first octet that is hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Everything,
    Host,
    Prefix,
    Url,
    Target,
    Tag,
    Group,
}

/// What is stored, as far as a purge can be about it.
#[derive(Debug, Clone, Copy)]
pub(in crate::cache) struct Subject<'a> {
    /// What it answers.
    pub(in crate::cache) target: Target<'a>,
    /// As [`tags::each`] reads them.
    pub(in crate::cache) tags: &'a [u8],
    /// Whether its key has the operator's extras.
    pub(in crate::cache) has_extras: bool,
}

/// Which kinds of places there are rules for: what nobody asks about need not be hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Asked {
    pub(super) urls: bool,
    /// The most slashes that a prefix has, and one more; zero where there is none.
    pub(super) segments: usize,
}

fn begin(kind: Kind) -> impl Hasher + Clone {
    let mut hasher = hasher();
    hasher.write(&[kind as u8]);
    hasher
}

fn of(kind: Kind, parts: &[&[u8]]) -> Label {
    let mut hasher = begin(kind);
    for part in parts {
        hasher.write(part);
        // Neither a URL nor a tag can hold it.
        hasher.write(&[0]);
    }
    hasher.finish()
}

pub(super) fn everything() -> Label {
    of(Kind::Everything, &[])
}

pub(super) fn host(host: &str) -> Label {
    of(Kind::Host, &[host.as_bytes()])
}

pub(super) fn url(place: &Place) -> Label {
    let authority = place.authority.as_deref();
    url_of(authority, &place.path, place.query.as_deref())
}

fn url_of(authority: Option<&str>, path: &str, query: Option<&str>) -> Label {
    let authority = authority.unwrap_or_default().as_bytes();
    match query {
        Some(query) => of(Kind::Url, &[authority, path.as_bytes(), query.as_bytes()]),
        None => of(Kind::Url, &[authority, path.as_bytes()]),
    }
}

pub(super) fn prefix(place: &Place) -> Label {
    let mut hasher = begin(Kind::Prefix);
    hasher.write(place.authority.as_deref().unwrap_or_default().as_bytes());
    hasher.write(&[0]);
    hasher.write(without_slash(&place.path).as_bytes());
    hasher.finish()
}

/// How many slashes one has to look behind for it.
pub(super) fn segments(place: &Place) -> usize {
    let slashes = without_slash(&place.path).bytes();
    slashes.filter(|&octet| octet == b'/').count() + 1
}

fn without_slash(path: &str) -> &str {
    path.strip_suffix('/').unwrap_or(path)
}

pub(super) fn target(target: &Target<'_>) -> Label {
    let query = target.query.map_or(&b"\n"[..], str::as_bytes);
    let parts = [target.scheme, target.authority, target.path].map(str::as_bytes);
    let [scheme, authority, path] = parts;
    of(Kind::Target, &[scheme, authority, path, query])
}

pub(super) fn tag(name: &[u8]) -> Label {
    of(Kind::Tag, &[name])
}

/// A group is one within its origin (RFC 9875 §2).
pub(super) fn group(origin: &Target<'_>, name: &[u8]) -> Label {
    let parts = [origin.scheme.as_bytes(), origin.authority.as_bytes(), name];
    of(Kind::Group, &parts)
}

impl Subject<'_> {
    /// The labels that are counted: what of them is stored is known.
    pub(super) fn counted(&self, mut each: impl FnMut(Label)) {
        if self.has_extras {
            each(target(&self.target));
        }
        for named in tags::each(self.tags) {
            each(tag(named.name));
            if named.group {
                each(group(&self.target, named.name));
            }
        }
    }

    /// The others, as far as they are asked about.
    pub(super) fn places(&self, asked: Asked, mut each: impl FnMut(Label)) {
        let Target {
            authority,
            path,
            query,
            ..
        } = self.target;
        each(everything());
        each(host(authority));
        if let Some(bare) = without_port(authority) {
            each(host(bare));
        }
        if asked.urls {
            each(url_of(Some(authority), path, query));
            each(url_of(None, path, query));
        }
        if asked.segments > 0 {
            for authority in [authority, ""] {
                above(authority, path, asked.segments, &mut each);
            }
        }
    }
}

/// The path and those above it, without the slash at their ends, from the top down.
fn above(authority: &str, path: &str, most: usize, each: &mut impl FnMut(Label)) {
    let mut hasher = begin(Kind::Prefix);
    hasher.write(authority.as_bytes());
    hasher.write(&[0]);
    let mut from = 0;
    let slashes = memchr::memchr_iter(b'/', path.as_bytes()).take(most);
    for slash in slashes.chain([path.len()]) {
        // Where there are more slashes than any rule has, the rest is none of theirs, and harmless.
        hasher.write(path.as_bytes().get(from..slash).unwrap_or_default());
        each(hasher.clone().finish());
        from = slash;
    }
}
