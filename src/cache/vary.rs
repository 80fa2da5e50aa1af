//! Which of several stored responses fits a request: the values of the fields that `Vary` names (RFC 9111 §4.1).
//!
//! "The selecting header fields from two requests are defined to match if and only if those in the first request can be
//! transformed to those in the second" by white space, by joining lines, and by what a field's own definition allows: so
//! `Accept-Encoding` and `Accept-Language` are compared as the preferences that they state, `Cookie` as its pairs, and any
//! other field as a list whose members keep their case.
//!
//! Absent and empty are different. What is compared is normalised alike on both sides, so a comparison allocates nothing
//! (but for `Accept-Language`, whose ranges must be sorted).

use super::outcome::Reason;
use super::response::StoredResponse;
use crate::fields::list;
use crate::fields::token::trim_ows;
use crate::fields::view::FieldView;
use http::{HeaderMap, HeaderName, HeaderValue, header};

/// A `Vary` that names more fields is taken for one that names all: nearly every request would be a variant of its own, and
/// each comparison costs.
pub const FIELDS_MAX: usize = 8;

/// The fields that a response's `Vary` names, with the values that its request had, normalised.
///
/// Each name with its length in front, and its value with its length and one more in front, or 0 where it was absent; in
/// the order of the names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Nominated {
    encoded: Box<[u8]>,
}

impl Nominated {
    /// What a response nominates, of its request.
    ///
    /// # Errors
    /// [`Reason::VaryStar`] and [`Reason::VaryMany`]: it fits no other request.
    pub fn new<'r>(
        response: &HeaderMap,
        request: impl Into<FieldView<'r>>,
    ) -> Result<Self, Reason> {
        let request = request.into();
        let mut names: Vec<HeaderName> = Vec::new();
        for line in response.get_all(header::VARY) {
            for member in list::members(line.as_bytes()) {
                // "A stored response with a Vary header field value containing a member "*" always fails to match." What
                // is no name might be meant to say as much.
                let name = (member != b"*")
                    .then(|| HeaderName::from_bytes(member).ok())
                    .flatten()
                    .ok_or(Reason::VaryStar)?;
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        }
        if names.len() > FIELDS_MAX {
            return Err(Reason::VaryMany);
        }
        names.sort_by(|one, other| one.as_str().cmp(other.as_str()));
        let mut encoded = Vec::new();
        for name in &names {
            write_part(&mut encoded, Some(name.as_str().as_bytes()));
            let mut value = Vec::new();
            let present = normalise(name, request, &mut |piece| {
                value.extend_from_slice(piece);
            });
            write_part(&mut encoded, present.then_some(value.as_slice()));
        }
        Ok(Self {
            encoded: encoded.into_boxed_slice(),
        })
    }

    /// What a stored response nominates once an answer with these fields has freshened it. Not by its own `Vary`, which may
    /// name a field for our sake.
    ///
    /// # Errors
    /// As [`Nominated::new`].
    pub(super) fn freshened(
        stored: &StoredResponse,
        update: &HeaderMap,
        request: &HeaderMap,
    ) -> Result<Self, Reason> {
        if update.contains_key(header::VARY) {
            Self::new(update, request)
        } else {
            // The request fitted it: its values are these.
            Ok(stored.nominated_values())
        }
    }

    /// What [`Nominated::as_bytes`] gave.
    pub(super) fn of_bytes(encoded: &[u8]) -> Self {
        Self {
            encoded: encoded.into(),
        }
    }

    /// Whether a request has the same values.
    pub fn matches<'r>(&self, request: impl Into<FieldView<'r>>) -> bool {
        matches(&self.encoded, request.into())
    }

    /// As it is stored.
    pub fn as_bytes(&self) -> &[u8] {
        &self.encoded
    }
}

/// [`Nominated::matches`] for what [`Nominated::as_bytes`] gave.
pub(super) fn matches(encoded: &[u8], request: FieldView<'_>) -> bool {
    let mut rest = encoded;
    while !rest.is_empty() {
        let Some((Some(name), after)) = read_part(rest) else {
            return false;
        };
        let Some((value, after)) = read_part(after) else {
            return false;
        };
        rest = after;
        let Ok(name) = HeaderName::from_bytes(name) else {
            return false;
        };
        let mut left = Some(value.unwrap_or_default());
        let present = normalise(&name, request, &mut |piece| {
            left = left.and_then(|left| left.strip_prefix(piece));
        });
        if present != value.is_some() || left.is_none_or(|left| !left.is_empty()) {
            return false;
        }
    }
    true
}

/// The names in what [`Nominated::as_bytes`] gave, as a `Vary` of the origin's.
pub(super) fn names(encoded: &[u8]) -> HeaderMap {
    let mut names = HeaderMap::new();
    let mut rest = encoded;
    while let Some((Some(name), after)) = read_part(rest)
        && let Some((_, after)) = read_part(after)
        && let Ok(name) = HeaderValue::from_bytes(name)
    {
        names.append(header::VARY, name);
        rest = after;
    }
    names
}

/// A field that a stored response nominates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Nominee {
    pub(super) name: HeaderName,
    /// What the stored response's request had, normalised; `None` where it was absent.
    pub(super) stored: Option<Vec<u8>>,
    /// What this request has, normalised alike.
    pub(super) asked: Option<Vec<u8>>,
}

/// The fields in what [`Nominated::as_bytes`] gave, beside those of a request.
pub(super) fn beside(encoded: &[u8], request: FieldView<'_>) -> Vec<Nominee> {
    let mut nominees = Vec::new();
    let mut rest = encoded;
    while let Some((Some(name), after)) = read_part(rest)
        && let Some((stored, after)) = read_part(after)
        && let Ok(name) = HeaderName::from_bytes(name)
    {
        let mut asked = Vec::new();
        let present = normalise(&name, request, &mut |piece| asked.extend_from_slice(piece));
        nominees.push(Nominee {
            name,
            stored: stored.map(<[u8]>::to_vec),
            asked: present.then_some(asked),
        });
        rest = after;
    }
    nominees
}

fn write_part(encoded: &mut Vec<u8>, part: Option<&[u8]>) {
    let length = part.map_or(0, |part| part.len().saturating_add(1));
    let length = u32::try_from(length).unwrap_or(u32::MAX);
    // Nearly all are short: one octet, or 255 and then four.
    match u8::try_from(length) {
        Ok(short) if short < u8::MAX => encoded.push(short),
        _ => {
            encoded.push(u8::MAX);
            encoded.extend_from_slice(&length.to_be_bytes());
        }
    }
    encoded.extend_from_slice(part.unwrap_or_default());
}

/// A part (`None` is an absent one) and what follows it.
fn read_part(encoded: &[u8]) -> Option<(Option<&[u8]>, &[u8])> {
    let (&short, rest) = encoded.split_first()?;
    let (length, rest) = if short == u8::MAX {
        let (length, rest) = rest.split_first_chunk()?;
        (usize::try_from(u32::from_be_bytes(*length)).ok()?, rest)
    } else {
        (usize::from(short), rest)
    };
    match length.checked_sub(1) {
        None => Some((None, rest)),
        Some(length) => {
            let (part, rest) = rest.split_at_checked(length)?;
            Some((Some(part), rest))
        }
    }
}

/// Hands the normalised value of a field out in pieces. False where the request does not have it.
fn normalise(name: &HeaderName, request: FieldView<'_>, emit: &mut impl FnMut(&[u8])) -> bool {
    let lines = || request.get_all(name);
    if lines().next().is_none() {
        return false;
    }
    match name.as_str() {
        "accept-encoding" => AcceptEncoding::read(lines()).write(emit),
        "accept-language" => write_languages(lines(), emit),
        // HTTP/2 sends each pair on a line of its own (RFC 9113 §8.2.3).
        "cookie" => write_members(
            lines().flat_map(|line| line.split(|&octet| octet == b';')),
            b"; ",
            emit,
        ),
        _ => write_members(lines().flat_map(list::members), b",", emit),
    }
    true
}

fn write_members<'a>(
    members: impl Iterator<Item = &'a [u8]>,
    between: &[u8],
    emit: &mut impl FnMut(&[u8]),
) {
    let members = members.map(trim_ows).filter(|member| !member.is_empty());
    for (index, member) in members.enumerate() {
        if index > 0 {
            emit(between);
        }
        emit(member);
    }
}

/// A request's `Accept-Encoding` as it counts here: to be sent to the upstream in the place of the client's, so that what
/// comes back is right for every request that compares equal. `None` where the request has none.
pub fn accept_encoding(request: FieldView<'_>) -> Option<HeaderValue> {
    let mut value = Vec::new();
    normalise(&header::ACCEPT_ENCODING, request, &mut |piece| {
        value.extend_from_slice(piece);
    })
    .then(|| HeaderValue::from_bytes(&value).ok())
    .flatten()
}

/// The codings that count, the better ones first, and `identity`. Others (`deflate`, `compress`) are not asked for: every
/// client that takes one of them takes one of these.
const CODINGS: [&str; 4] = ["zstd", "br", "gzip", "identity"];

const IDENTITY: usize = CODINGS.len() - 1;

/// What a client accepts: indexes into [`CODINGS`], the preferred one first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct AcceptEncoding {
    ranked: [Option<usize>; CODINGS.len()],
    identity_refused: bool,
}

impl AcceptEncoding {
    fn read<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut weights = [None; CODINGS.len()];
        let mut any = None;
        for (name, weight) in lines.flat_map(list::members).filter_map(weighted) {
            let name = if name.eq_ignore_ascii_case(b"x-gzip") {
                b"gzip"
            } else {
                name
            };
            if name == b"*" {
                any = any.or(Some(weight));
            } else if let Some(slot) = CODINGS
                .iter()
                .position(|coding| name.eq_ignore_ascii_case(coding.as_bytes()))
                .and_then(|at| weights.get_mut(at))
            {
                *slot = slot.or(Some(weight));
            }
        }
        // RFC 9110 §12.5.3: "*" matches any coding not listed; identity is acceptable unless refused by "identity;q=0", or
        // by "*;q=0" without a more specific entry.
        let identity_refused = weights[IDENTITY].or(any) == Some(0);
        let mut ranked: [Option<(usize, u16)>; CODINGS.len()] = std::array::from_fn(|coding| {
            let weight = if coding == IDENTITY {
                weights[coding]
            } else {
                weights[coding].or(any)
            };
            weight.filter(|&w| w > 0).map(|weight| (coding, weight))
        });
        // Stable: among equals, ours.
        ranked.sort_by_key(|slot| std::cmp::Reverse(slot.map(|(_, weight)| weight)));
        let mut ranked = ranked.map(|slot| slot.map(|(coding, _)| coding));
        // Identity at the end is what everybody means who does not name it.
        let last = ranked.iter_mut().rev().find(|slot| slot.is_some());
        if let Some(last) = last.filter(|last| **last == Some(IDENTITY)) {
            *last = None;
        }
        Self {
            ranked,
            identity_refused,
        }
    }

    /// In our order, without weights: the origin may choose. In another, with weights that state it.
    fn write(self, emit: &mut impl FnMut(&[u8])) {
        const WEIGHTS: [&str; CODINGS.len()] = ["", ";q=0.9", ";q=0.8", ";q=0.7"];
        let ours =
            self.ranked.iter().flatten().is_sorted() && !self.ranked.contains(&Some(IDENTITY));
        for (coding, weight) in self.ranked.into_iter().flatten().zip(WEIGHTS) {
            if !weight.is_empty() {
                emit(b", ");
            }
            emit(CODINGS[coding].as_bytes());
            if !ours {
                emit(weight.as_bytes());
            }
        }
        match (self.ranked[0].is_some(), self.identity_refused) {
            (true, false) => {}
            (true, true) => emit(b", identity;q=0"),
            (false, true) => emit(b"identity;q=0"),
            (false, false) => emit(b"identity"),
        }
    }
}

/// The ranges in the order of their weights, lower case, each once; those refused at the end.
fn write_languages<'a>(lines: impl Iterator<Item = &'a [u8]>, emit: &mut impl FnMut(&[u8])) {
    let mut ranges: Vec<(Vec<u8>, u16)> = Vec::new();
    for (name, weight) in lines.flat_map(list::members).filter_map(weighted) {
        let name = name.to_ascii_lowercase();
        if !ranges
            .iter()
            .take(RANGES_MAX)
            .any(|(known, _)| *known == name)
        {
            ranges.push((name, weight));
        }
    }
    ranges.sort_by_key(|&(_, weight)| std::cmp::Reverse(weight));
    for (index, (name, weight)) in ranges.iter().enumerate() {
        if index > 0 {
            emit(b",");
        }
        emit(name);
        if *weight == 0 {
            emit(b";q=0");
        }
    }
}

/// As many ranges are looked through for one that is there already, so that a long list does not cost its square.
const RANGES_MAX: usize = 32;

/// A member with its weight in thousandths (RFC 9110 §12.4.2). `None` where that is malformed: such a member says nothing.
fn weighted(member: &[u8]) -> Option<(&[u8], u16)> {
    let mut parts = member.split(|&octet| octet == b';').map(trim_ows);
    let name = parts.next().filter(|name| !name.is_empty())?;
    let mut weight = 1000;
    for part in parts {
        if let Some(value) = part
            .strip_prefix(b"q=")
            .or_else(|| part.strip_prefix(b"Q="))
        {
            weight = thousandths(value)?;
        }
    }
    Some((name, weight))
}

/// `qvalue = ( "0" [ "." 0*3DIGIT ] ) / ( "1" [ "." 0*3("0") ] )`
fn thousandths(value: &[u8]) -> Option<u16> {
    let (whole, fraction) = match value {
        [whole] => (whole, &[][..]),
        [whole, b'.', fraction @ ..] if fraction.len() <= 3 => (whole, fraction),
        _ => return None,
    };
    let mut weight = match whole {
        b'0' => 0,
        b'1' => 1,
        _ => return None,
    };
    for index in 0..3 {
        let digit = fraction.get(index).copied().unwrap_or(b'0');
        weight = weight * 10 + u16::from(digit.checked_sub(b'0').filter(|digit| *digit < 10)?);
    }
    (weight <= 1000).then_some(weight)
}

#[cfg(test)]
#[path = "vary_tests.rs"]
mod tests;
