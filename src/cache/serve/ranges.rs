//! Which bytes of a representation a request wants: all, some ranges of them, or none that there are (RFC 9110 §14).

use super::conditions::{Validators, range_applies};
use crate::fields::range::{self, ByteRangeSpec};
use crate::fields::view::FieldView;
use http::header::RANGE;
use std::ops::Range;

/// Ranges in one request; with more the whole is sent, as RFC 9110 §14.2 allows against many small ranges.
const MOST_RANGES: usize = 16;

/// What a request wants of a representation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// All of it.
    Whole,
    /// At least one range, at most 16, none of which overlap, in the request's order. Ends are exclusive.
    Parts(Vec<Range<u64>>),
    /// All ranges begin past the end.
    Unsatisfiable,
}

/// What `Range` and `If-Range` of a GET want of a representation of `length` bytes.
pub fn wanted<'h>(
    headers: impl Into<FieldView<'h>>,
    validators: &Validators,
    length: u64,
) -> Wanted {
    let Some(specs) = specs(headers.into(), validators) else {
        return Wanted::Whole;
    };
    let parts: Vec<Range<u64>> = specs.iter().filter_map(|s| s.resolve(length)).collect();
    if parts.is_empty() {
        return Wanted::Unsatisfiable;
    }
    // Overlapping ranges could ask for more than there is (CVE-2011-3192), and no client needs them: §14.2 lets them be
    // ignored. What does not overlap cannot sum up to more than the whole.
    let disjoint = {
        let mut sorted = parts.clone();
        sorted.sort_unstable_by_key(|part| part.start);
        sorted
            .windows(2)
            .all(|pair| matches!(pair, [one, next] if one.end <= next.start))
    };
    if disjoint {
        Wanted::Parts(parts)
    } else {
        Wanted::Whole
    }
}

/// The range that a GET wants where the length of the whole is not known: only one that names its end means the same
/// whatever the length. It may reach beyond the end that nobody knows.
pub fn wanted_of_unknown<'h>(
    headers: impl Into<FieldView<'h>>,
    validators: &Validators,
) -> Option<Range<u64>> {
    match specs(headers.into(), validators)?.as_slice() {
        [ByteRangeSpec::FromTo { first, last }] => Some(*first..last.checked_add(1)?),
        _ => None,
    }
}

/// The members of `Range` where it stands there once, can be read, is not abuse, and `If-Range` lets it apply.
fn specs(headers: FieldView<'_>, validators: &Validators) -> Option<Vec<ByteRangeSpec>> {
    let specs = range::parse(headers.single(&RANGE)?)?;
    (specs.len() <= MOST_RANGES && range_applies(headers, validators)).then_some(specs)
}
