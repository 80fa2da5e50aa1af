//! Which requests ask for the same thing: the cache key (RFC 9111 §2), ours and length-framed.
//!
//! A key is scheme, authority, path and query, each in its frame, and behind these the values of the fields and cookies that
//! the operator chose, if any. The front part by itself is the *target*: what an invalidation is about, whatever the
//! operator chose. The method and the route are no part of it: only GET and HEAD are answered, from the same response;
//! and a route is told apart where variants are.
//!
//! Invariants: equal octets if and only if equal parts; one allocation a key (a second where `sort_query` asks for one).

use super::settings::{KeyRules, QueryRule};
use crate::fields::view::FieldView;
use crate::fields::{cookie, path};
use http::header;
use percent_encoding::percent_decode_str;
use std::borrow::Cow;
use std::fmt;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::LazyLock;

/// Seeded anew in each process. Keyed, because clients choose keys: who could foresee the hashes could make all of them meet
/// in one bucket. One for the process, so that a key's hash is counted once and holds everywhere.
static HASHING: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// What of a request the key is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target<'a> {
    /// "http" or "https".
    pub scheme: &'a str,
    /// The authority as the client named it.
    pub authority: &'a str,
    /// The path in its one spelling.
    pub path: &'a str,
    /// The query without its question mark.
    pub query: Option<&'a str>,
}

/// A cache key with its hash. Scheme, authority, path and query come first and can be read back.
#[derive(Clone, Default)]
pub struct CacheKey {
    bytes: Vec<u8>,
    target_length: usize,
    hash: u64,
}

impl CacheKey {
    /// The key of a request.
    pub fn new<'h>(
        target: Target<'_>,
        headers: impl Into<FieldView<'h>>,
        rules: &KeyRules,
    ) -> Self {
        let mut key = Self::default();
        key.renew(target, headers.into(), rules);
        key
    }

    /// Makes it the key of another request, in the same memory.
    pub(super) fn renew(&mut self, target: Target<'_>, headers: FieldView<'_>, rules: &KeyRules) {
        self.bytes.clear();
        write_target(&mut self.bytes, target, rules, extras_size(headers, rules));
        self.target_length = self.bytes.len();
        write_extras(&mut self.bytes, headers, rules);
        self.hash = hash(&self.bytes);
    }

    /// The key of a target, whatever else the operator's rules look at: what an invalidation is about.
    pub fn of_target(target: Target<'_>, rules: &KeyRules) -> Self {
        let mut bytes = Vec::new();
        write_target(&mut bytes, target, rules, 0);
        Self {
            target_length: bytes.len(),
            hash: hash(&bytes),
            bytes,
        }
    }

    /// Its octets.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The octets of its target, without what the operator chose besides.
    pub fn target_bytes(&self) -> &[u8] {
        self.bytes.get(..self.target_length).unwrap_or_default()
    }

    /// Whether the operator's fields or cookies are part of it.
    pub fn has_extras(&self) -> bool {
        self.target_length < self.bytes.len()
    }

    /// Its hash: of this process only.
    pub fn hash_value(&self) -> u64 {
        self.hash
    }

    /// The hash of its target, which is the hash of the key that has nothing besides.
    pub(super) fn target_hash(&self) -> u64 {
        if self.has_extras() {
            hash(self.target_bytes())
        } else {
            self.hash
        }
    }

    /// Its parts, as they count: folded, and with the query that is left.
    pub fn target(&self) -> Target<'_> {
        read_target(&self.bytes).unwrap_or(Target {
            scheme: "",
            authority: "",
            path: "",
            query: None,
        })
    }
}

/// A field or cookie of the operator's choice, as it stands in a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extra {
    /// Whether it is a cookie; else a field.
    pub cookie: bool,
    /// Its name.
    pub name: String,
    /// Its values, none where it is absent.
    pub values: Vec<Vec<u8>>,
}

impl CacheKey {
    /// What of the request is in it besides the target.
    pub fn extras(&self) -> Vec<Extra> {
        let mut rest = self.bytes.get(self.target_length..).unwrap_or_default();
        let mut extras = Vec::new();
        while let Some((extra, after)) = read_extra(rest) {
            extras.push(extra);
            rest = after;
        }
        extras
    }
}

impl PartialEq for CacheKey {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash && self.bytes == other.bytes
    }
}

impl Eq for CacheKey {}

impl Hash for CacheKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl fmt::Debug for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheKey")
            .field("target", &self.target())
            .field("extras", &self.has_extras())
            .finish_non_exhaustive()
    }
}

/// For what belongs to keys and is looked up by other parts of them.
pub(super) fn hasher() -> impl Hasher + Clone {
    HASHING.build_hasher()
}

pub(super) fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = hasher();
    hasher.write(bytes);
    hasher.finish()
}

/// The parts of a key's octets. `None` where they are not a key's.
pub(super) fn read_target(bytes: &[u8]) -> Option<Target<'_>> {
    let (scheme, rest) = read_number(bytes)?;
    let (scheme, rest) = match scheme.checked_sub(SCHEMES.len()) {
        None => (*SCHEMES.get(scheme)?, rest),
        Some(length) => read_part(rest, length)?,
    };
    let (authority, rest) = read_framed(rest)?;
    let (path, rest) = read_framed(rest)?;
    let (more, rest) = read_number(rest)?;
    let query = match more.checked_sub(1) {
        Some(length) => Some(read_part(rest, length)?.0),
        None => None,
    };
    Some(Target {
        scheme,
        authority,
        path,
        query,
    })
}

/// The two that are always meant take one octet; others are written out, behind their length and as many more.
const SCHEMES: [&str; 2] = ["http", "https"];

/// In the same order.
const DEFAULT_PORTS: [&str; 2] = [":80", ":443"];

fn write_target(bytes: &mut Vec<u8>, target: Target<'_>, rules: &KeyRules, extras: usize) {
    let scheme = SCHEMES
        .iter()
        .position(|scheme| scheme.eq_ignore_ascii_case(target.scheme));
    let default_port = scheme.and_then(|scheme| DEFAULT_PORTS.get(scheme));
    // RFC 3986 §6.2.3: an empty port and the scheme's default are the same as none.
    let authority = target.authority;
    let authority = default_port
        .and_then(|port| authority.strip_suffix(port))
        .unwrap_or(authority);
    let authority = authority.strip_suffix(':').unwrap_or(authority);
    let query = target.query.and_then(|query| kept(query, &rules.query));
    let size = authority.len() + target.path.len() + query.map_or(0, |kept| kept.1);
    let scheme_size = scheme.map_or(target.scheme.len(), |_| 0);
    bytes.reserve_exact(size + scheme_size + 4 * NUMBER_MAX + extras);
    if let Some(known) = scheme {
        write_number(bytes, known);
    } else {
        write_number(bytes, target.scheme.len() + SCHEMES.len());
        bytes.extend_from_slice(target.scheme.as_bytes());
    }
    write_framed(bytes, authority.as_bytes());
    let folded = bytes.len().saturating_sub(authority.len());
    if let Some(written) = bytes.get_mut(folded..) {
        written.make_ascii_lowercase();
    }
    // RFC 3986 §6.2.2.1: the letters of an escape mean the same in either case. Forwarded is what the client wrote.
    write_framed(bytes, path::upper_case_hex(target.path).as_bytes());
    match query {
        None => write_number(bytes, 0),
        Some((query, length)) => {
            write_number(bytes, length.saturating_add(1));
            write_query(bytes, query, rules);
        }
    }
}

/// A query with the length of what counts of it; `None` where nothing is left of its parameters.
fn kept<'q>(query: &'q str, rule: &QueryRule) -> Option<(&'q str, usize)> {
    if *rule == QueryRule::All {
        return Some((query, query.len()));
    }
    parameters(query, rule)
        .map(|parameter| parameter.len() + 1)
        .reduce(|all, one| all + one)
        .map(|length| (query, length - 1))
}

fn write_query(bytes: &mut Vec<u8>, query: &str, rules: &KeyRules) {
    if rules.sort_query {
        let mut parameters: Vec<_> = parameters(query, &rules.query).collect();
        // Stable: the order of equal names is meant.
        parameters.sort_by_key(|parameter| name_of(parameter));
        write_joined(bytes, parameters.into_iter());
    } else if rules.query == QueryRule::All {
        bytes.extend_from_slice(query.as_bytes());
    } else {
        write_joined(bytes, parameters(query, &rules.query));
    }
}

fn write_joined<'q>(bytes: &mut Vec<u8>, parameters: impl Iterator<Item = &'q str>) {
    for (index, parameter) in parameters.enumerate() {
        if index > 0 {
            bytes.push(b'&');
        }
        bytes.extend_from_slice(parameter.as_bytes());
    }
}

impl KeyRules {
    /// Whether a query has parameters that are left out though no rule names them.
    pub(super) fn ignores(&self, query: &str) -> bool {
        matches!(&self.query, QueryRule::Allow(names) if query.split('&').any(|it| !any_matches(names, name_of(it))))
    }
}

fn parameters<'q>(query: &'q str, rule: &'q QueryRule) -> impl Iterator<Item = &'q str> {
    query.split('&').filter(move |parameter| match rule {
        QueryRule::All => true,
        QueryRule::Drop(names) => !any_matches(names, name_of(parameter)),
        QueryRule::Allow(names) => any_matches(names, name_of(parameter)),
    })
}

fn name_of(parameter: &str) -> &str {
    parameter
        .split_once('=')
        .map_or(parameter, |(name, _)| name)
}

/// Rules are plain text; a client may spell a name with escapes.
fn any_matches(names: &[String], name: &str) -> bool {
    let name: Cow<'_, [u8]> = percent_decode_str(name).into();
    names.iter().any(|rule| match rule.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix.as_bytes()),
        None => rule.as_bytes() == &*name,
    })
}

/// About as many octets as [`write_extras`] writes, and rarely less.
fn extras_size(headers: FieldView<'_>, rules: &KeyRules) -> usize {
    let of_field = |name: &http::HeaderName| {
        let values = headers.get_all(name);
        let values = values.map(|value| value.len() + NUMBER_MAX);
        name.as_str().len() + 3 * NUMBER_MAX + values.sum::<usize>()
    };
    let lines = || headers.get_all(&header::COOKIE);
    let of_cookie = |name: &String| {
        name.len()
            + 3 * NUMBER_MAX
            + cookie::find_all(lines(), name)
                .map(|value| value.len() + NUMBER_MAX)
                .sum::<usize>()
    };
    rules.headers.iter().map(of_field).sum::<usize>()
        + rules.cookies.iter().map(of_cookie).sum::<usize>()
}

/// Each with its name, so that after a reload a value of one is not taken for a value of another.
fn write_extras(bytes: &mut Vec<u8>, headers: FieldView<'_>, rules: &KeyRules) {
    for name in &rules.headers {
        bytes.push(b'h');
        write_framed(bytes, name.as_str().as_bytes());
        let values = headers.get_all(name);
        write_number(bytes, headers.get_all(name).count());
        for value in values {
            write_framed(bytes, value);
        }
    }
    for name in &rules.cookies {
        bytes.push(b'c');
        write_framed(bytes, name.as_bytes());
        // All of its name: applications differ in which of several they take.
        let values = || cookie::find_all(headers.get_all(&header::COOKIE), name);
        write_number(bytes, values().count());
        for value in values() {
            write_framed(bytes, value);
        }
    }
}

fn read_extra(bytes: &[u8]) -> Option<(Extra, &[u8])> {
    let (kind, rest) = bytes.split_first()?;
    let (name, rest) = read_framed(rest)?;
    let (count, mut rest) = read_number(rest)?;
    let mut values = Vec::new();
    for _ in 0..count {
        let (length, after) = read_number(rest)?;
        let (value, after) = after.split_at_checked(length)?;
        values.push(value.to_vec());
        rest = after;
    }
    let extra = Extra {
        cookie: *kind == b'c',
        name: name.to_owned(),
        values,
    };
    Some((extra, rest))
}

/// The most octets that a number takes here: lengths are below 2³⁵.
const NUMBER_MAX: usize = 5;

fn write_framed(bytes: &mut Vec<u8>, part: &[u8]) {
    write_number(bytes, part.len());
    bytes.extend_from_slice(part);
}

/// Seven bits an octet, the lowest first, the highest bit set where more follow (LEB128).
fn write_number(bytes: &mut Vec<u8>, mut number: usize) {
    let low = |number: usize| number.to_le_bytes()[0] & 0x7f;
    while number >= 0x80 {
        bytes.push(low(number) | 0x80);
        number >>= 7;
    }
    bytes.push(low(number));
}

fn read_number(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut number = 0usize;
    for (index, &octet) in bytes.iter().take(NUMBER_MAX).enumerate() {
        number |= usize::from(octet & 0x7f) << (7 * index);
        if octet < 0x80 {
            return Some((number, bytes.get(index + 1..)?));
        }
    }
    None
}

fn read_framed(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (length, rest) = read_number(bytes)?;
    read_part(rest, length)
}

fn read_part(bytes: &[u8], length: usize) -> Option<(&str, &[u8])> {
    let (part, rest) = bytes.split_at_checked(length)?;
    Some((std::str::from_utf8(part).ok()?, rest))
}

#[cfg(test)]
#[path = "key_tests.rs"]
mod tests;
