//! Parts of a response: kept from 206 answers, put together, and served or completed (RFC 9111 §3.3, §3.4).
//!
//! A [`Partial`] is stored beside the complete responses of its key and chosen like them, by its nominated values. It is never
//! used for a request for the whole; to such a request it only says what is [missing](Partial::missing_request).
//!
//! Invariants: all parts of a [`Partial`] came with the same strong validator and the same whole length, they are disjoint
//! and in ascending order, at most 16, and no octet between them is ever sent.

mod octets;

use super::body::Body;
use super::outcome::Reason;
use super::policy::{Moment, Terms};
use super::response::{About, Parts};
use super::section::Section;
use super::serve::ranges::{Wanted, wanted, wanted_of_unknown};
use super::serve::{self, Fields, Order, Plan, StoredView, strong_date};
use super::store::account::{Account, allocated};
use super::vary::Nominated;
use crate::fields::range::{ContentRange, parse_content_range};
use crate::fields::view::FieldView;
use crate::fields::{content_length, date, etag::EntityTag};
use bytes::Bytes;
use http::header::{
    CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, DATE, ETAG, IF_RANGE, LAST_MODIFIED, RANGE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use octets::Part;
use std::ops::Range;
use std::sync::Arc;
use std::time::SystemTime;

/// What is here of a response, and what of it is not.
#[derive(Debug, Clone)]
pub struct Partial {
    /// The length of the whole, where any part told it.
    pub total: Option<u64>,
    /// The fields that the whole would have, without `Content-Length` and `Content-Range`.
    pub fields: Section,
    /// What it may be used for.
    pub terms: Terms,
    /// The values that the fields nominated by its `Vary` had in its request.
    pub nominated: Nominated,
    /// The route that it came by.
    pub route: Arc<str>,
    /// What else is known of it.
    pub about: About,
    validator: StrongValidator,
    parts: Vec<Part>,
}

/// What parts must share to be of one representation.
#[derive(Debug, Clone, PartialEq, Eq)]
enum StrongValidator {
    Tag(EntityTag),
    Date(SystemTime),
}

/// What a new part and what is stored make together.
#[derive(Debug)]
pub enum Combined {
    /// More than before, but not all.
    Partial(Partial),
    /// All of it.
    Complete(Parts),
    /// They are not of one representation: the new part alone is left.
    Replaced(Partial),
}

impl Combined {
    /// Of a part where nothing is stored: it may be all of it.
    pub fn of_one(part: Partial) -> Self {
        match part.complete() {
            Some(whole) => Self::Complete(whole),
            None => Self::Partial(part),
        }
    }
}

/// What a 206 carries, as its head says.
#[derive(Debug, Clone)]
pub struct PartHead {
    /// The octets, the end exclusive.
    pub range: Range<u64>,
    /// Of the whole, where that is known.
    pub total: Option<u64>,
    validator: StrongValidator,
}

/// What is to be asked for to make it whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// From the first octet that is missing to behind the last; no end where the length of the whole is not known.
    pub start: u64,
    /// Exclusive.
    pub end: Option<u64>,
    /// `Range` and `If-Range`, to be set on the request in the place of the client's.
    pub fields: [(HeaderName, HeaderValue); 2],
}

/// What an answer to a request for what was missing means, told from its head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fit {
    /// With these octets it will be whole: what is stored may be sent up to where they begin.
    Completes(Range<u64>),
    /// It is to be treated as any answer, and takes the place of what is stored.
    Replaces,
    /// What is stored is of no use any more: drop it, and ask for the whole.
    Drop,
    /// It says nothing about what is stored (503, 429): pass it on.
    Keep,
}

impl PartHead {
    /// Of a 206.
    ///
    /// # Errors
    /// [`Reason::PartialUnusable`]: it cannot be combined with anything.
    pub fn new(fields: &HeaderMap) -> Result<Self, Reason> {
        let unusable = Reason::PartialUnusable;
        let view = Fields::Map(fields);
        // RFC 9110 §15.3.7.2: its ranges are in its body, where we do not look. It must not have `Content-Range`.
        let multipart = view
            .single(&CONTENT_TYPE)
            .is_some_and(is_multipart_byteranges);
        if multipart {
            return Err(unusable);
        }
        // RFC 9111 §3.3: not "if it does not understand the range units used in those fields".
        let content_range = view.single(&CONTENT_RANGE).and_then(parse_content_range);
        let Some(ContentRange::Bytes { range, length }) = content_range else {
            return Err(unusable);
        };
        let said = content_length::parse(fields.get_all(CONTENT_LENGTH));
        let said = said.map_err(|_| unusable)?.value();
        if said.is_some_and(|said| said != range.end.saturating_sub(range.start)) {
            return Err(unusable);
        }
        Ok(Self {
            range,
            total: length,
            validator: StrongValidator::of(view).ok_or(unusable)?,
        })
    }
}

fn is_multipart_byteranges(content_type: &[u8]) -> bool {
    let essence = content_type.split(|&octet| octet == b';').next();
    essence.is_some_and(|essence| {
        essence
            .trim_ascii()
            .eq_ignore_ascii_case(b"multipart/byteranges")
    })
}

impl StrongValidator {
    /// Of a response. One that has a weak or unreadable tag says that its versions are not to be told apart by it, and its
    /// date is no better.
    fn of(fields: Fields<'_>) -> Option<Self> {
        if fields.contains(&ETAG) {
            let tag = fields.single(&ETAG).and_then(EntityTag::parse)?;
            return (!tag.is_weak()).then_some(Self::Tag(tag));
        }
        let modified = fields.single(&LAST_MODIFIED).and_then(date::parse);
        let date = fields.single(&DATE).and_then(date::parse);
        strong_date(modified, date).map(Self::Date)
    }

    fn to_if_range(&self) -> HeaderValue {
        match self {
            Self::Tag(tag) => tag.to_header_value(),
            Self::Date(date) => serve::ascii(date::format(*date)),
        }
    }
}

impl Partial {
    /// Of one 206, whose body came whole. `fields` are those that may be stored (§3.1), with the origin's `Date`.
    ///
    /// # Errors
    /// [`Reason::PartialUnusable`]: it cannot be combined with others; [`Reason::Incomplete`]: the body is not as long as
    /// `Content-Range` says; [`Reason::TooLarge`]: the whole, or the part, is larger than what is stored.
    pub fn from_206(
        mut fields: HeaderMap,
        terms: Terms,
        nominated: Nominated,
        route: Arc<str>,
        body: Body,
        octets_max: u64,
    ) -> Result<Self, Reason> {
        let PartHead {
            range,
            total,
            validator,
        } = PartHead::new(&fields)?;
        if range.end.checked_sub(range.start) != Some(body.length()) {
            return Err(Reason::Incomplete);
        }
        // What can never be made whole here is not begun; that also bounds the parts of a known whole together.
        if total.unwrap_or(body.length()) > octets_max {
            return Err(Reason::TooLarge);
        }
        fields.remove(CONTENT_LENGTH);
        fields.remove(CONTENT_RANGE);
        Ok(Self {
            total,
            fields: Section::new(&fields),
            terms,
            nominated,
            route,
            about: About::default(),
            validator,
            parts: vec![Part {
                start: range.start,
                body,
            }],
        })
    }

    /// This and a newer part, which [`from_206`](Self::from_206) has just made for the same key and nominated values.
    pub fn with(&self, newer: Self, octets_max: u64) -> Combined {
        // RFC 9111 §3.4: parts are combined "if they all share the same strong validator".
        let parts = self.is_of_one_representation(&newer).then(|| {
            let mut arriving = newer.parts.iter();
            arriving.try_fold(self.parts.clone(), |parts, part| {
                octets::combine(&parts, part)
            })
        });
        let total = self.total.or(newer.total);
        let combined = parts.and_then(Result::ok).map(|parts| Self {
            total,
            fields: Section::new(&updated(
                &self.fields,
                &newer.fields.lines().to_header_map(),
            )),
            parts,
            ..newer.clone()
        });
        match combined {
            Some(combined) if combined.is_coherent(octets_max) => Combined::of_one(combined),
            _ => Combined::Replaced(newer),
        }
    }

    fn is_of_one_representation(&self, newer: &Self) -> bool {
        let same_length = match (self.total, newer.total) {
            (Some(ours), Some(theirs)) => ours == theirs,
            _ => true,
        };
        self.validator == newer.validator
            && self.nominated == newer.nominated
            && self.route == newer.route
            && same_length
    }

    /// No part reaches beyond the whole, and all together are not too many.
    fn is_coherent(&self, octets_max: u64) -> bool {
        let end = self.parts.last().map_or(0, |part| part.range().end);
        self.total.is_none_or(|total| end <= total) && self.octets() <= octets_max
    }

    /// The same with its octets on an account, and the memory that these take.
    pub(super) fn counted(mut self, account: &Arc<Account>) -> (Self, u64) {
        let mut octets = 0u64;
        for part in &mut self.parts {
            let segments = part.body.counted(account);
            octets = octets.saturating_add(segments.allocated());
            part.body = Body::of_shared(segments);
        }
        self.parts.shrink_to_fit();
        (self, octets)
    }

    /// The memory that it takes beside its octets and itself.
    pub(super) fn head_bytes(&self) -> u64 {
        let parts = self.parts.len();
        allocated(self.fields.lines().as_bytes().len())
            + allocated(self.nominated.as_bytes().len())
            + allocated(self.about.tags.as_bytes().len())
            + allocated(parts * size_of::<Part>())
            + self.parts.iter().map(|it| it.body.own_bytes()).sum::<u64>()
    }

    /// How many octets are here.
    pub fn octets(&self) -> u64 {
        self.parts.iter().map(|part| part.body.length()).sum()
    }

    /// The ranges that are here: ascending, disjoint, and never two that touch.
    pub fn ranges(&self) -> impl Iterator<Item = Range<u64>> {
        self.parts.iter().map(Part::range)
    }

    /// The octets of a range where all of them are here.
    pub fn answer(
        &self,
        range: &Range<u64>,
    ) -> Option<impl Iterator<Item = Bytes> + Send + use<'_>> {
        Some(self.part_with(range)?.slice(range))
    }

    fn part_with(&self, range: &Range<u64>) -> Option<&Part> {
        self.parts.iter().find(|part| {
            let held = part.range();
            range.start < range.end && held.start <= range.start && range.end <= held.end
        })
    }

    /// What is sent to a request where this is enough for it: where it "is partial and specifies a range wholly within
    /// the incomplete response" (RFC 9111 §3.3). Only then are its preconditions evaluated too.
    pub fn plan<'h>(
        &self,
        method: &Method,
        headers: impl Into<FieldView<'h>>,
        now: Moment,
    ) -> Option<Plan> {
        let headers = headers.into();
        if *method != Method::GET {
            return None;
        }
        let view = self.view(now);
        let validators = view.validators();
        let Some(total) = self.total else {
            let range = wanted_of_unknown(headers, &validators)?;
            self.part_with(&range)?;
            return Some(
                if serve::conditions::is_not_modified(headers, &validators) {
                    Plan::NotModified
                } else {
                    Plan::Part { range, total: None }
                },
            );
        };
        match wanted(headers, &validators, total) {
            Wanted::Parts(parts) if parts.iter().all(|part| self.part_with(part).is_some()) => {
                Some(serve::plan(method, headers, &view))
            }
            // §3.3: "MUST NOT use an incomplete response to answer requests" that are for anything else.
            Wanted::Parts(_) | Wanted::Whole | Wanted::Unsatisfiable => None,
        }
    }

    /// As [`serve::plan`] sees it, and [`Plan::head`] is to be given it: as the 200 that it is a part of.
    pub fn view(&self, now: Moment) -> StoredView<'_> {
        StoredView::new(
            StatusCode::OK,
            Fields::Section(self.fields.lines()),
            self.total,
            Some(self.terms.received),
            Order::Any,
            now,
        )
    }

    /// The octets that a plan sends that [`plan`](Self::plan) made.
    pub fn body(&self, plan: &Plan) -> Vec<Bytes> {
        let mut pieces = Vec::new();
        for piece in plan.pieces(self.total) {
            match piece {
                serve::Piece::Frame(frame) => pieces.push(frame),
                serve::Piece::Octets(range) => {
                    pieces.extend(self.answer(&range).into_iter().flatten());
                }
            }
        }
        pieces
    }

    /// The whole, once nothing is missing.
    pub fn complete(&self) -> Option<Parts> {
        let total = self.total?;
        let [part] = self.parts.as_slice() else {
            return None;
        };
        if part.range() != (0..total) {
            return None;
        }
        let mut fields = self.fields.lines().to_header_map();
        fields.insert(CONTENT_LENGTH, total.into());
        Some(Parts {
            status: StatusCode::OK,
            fields: Section::new(&fields),
            terms: self.terms,
            nominated: self.nominated.clone(),
            route: self.route.clone(),
            body: part.body.clone(),
            about: self.about.clone(),
        })
    }

    /// What is to be asked for so that a request for the whole can be answered. One range, for a multipart answer cannot be
    /// stored: where several are missing it spans what lies between them. `None` where asking for all is as good.
    pub fn missing_request(&self) -> Option<Missing> {
        let (first, last) = (self.parts.first()?.range(), self.parts.last()?.range());
        let start = if first.start == 0 { first.end } else { 0 };
        let end = match self.total {
            Some(total) if last.end == total => Some(last.start),
            total => total,
        };
        // Nothing at its beginning and nothing at its end is here.
        if start == 0 && end == self.total {
            return None;
        }
        let range = match end {
            Some(end) => format!("bytes={start}-{}", end.checked_sub(1)?),
            None => format!("bytes={start}-"),
        };
        Some(Missing {
            start,
            end,
            fields: [
                (RANGE, serve::ascii(range)),
                (IF_RANGE, self.validator.to_if_range()),
            ],
        })
    }

    /// What the answer to [`missing_request`](Self::missing_request) means, from its head. Its octets are then made a part
    /// ([`from_206`](Self::from_206)) and joined ([`with`](Self::with)).
    pub fn judge(&self, missing: &Missing, status: StatusCode, fields: &HeaderMap) -> Fit {
        match status {
            StatusCode::PARTIAL_CONTENT => self
                .completing(missing, fields)
                .map_or(Fit::Drop, Fit::Completes),
            // §15.5.17: there is no such range, so it is shorter now.
            StatusCode::RANGE_NOT_SATISFIABLE => Fit::Drop,
            // The target is something else now, or gone.
            StatusCode::NOT_FOUND | StatusCode::GONE => Fit::Replaces,
            _ if status.is_client_error() || status.is_server_error() => Fit::Keep,
            // 200: `If-Range` did not hold, or the origin knows no ranges.
            _ => Fit::Replaces,
        }
    }

    fn completing(&self, missing: &Missing, fields: &HeaderMap) -> Option<Range<u64>> {
        let head = PartHead::new(fields).ok()?;
        let total = match (self.total, head.total) {
            (Some(ours), Some(theirs)) if ours != theirs => return None,
            (ours, theirs) => ours.or(theirs)?,
        };
        let end = missing.end.unwrap_or(total);
        // What is here must not reach beyond the whole as it is known now.
        let fits = head.validator == self.validator
            && self.parts.last()?.range().end <= total
            && head.range.start == missing.start
            && head.range.end >= end;
        fits.then_some(head.range)
    }

    /// The fields that a 200 with this and what completes it has: those of the newer head over these (§3.2), with
    /// the whole's length.
    pub fn completed_fields(&self, head: &PartHead, fields: &HeaderMap) -> HeaderMap {
        let mut fields = updated(&self.fields, fields);
        if let Some(total) = self.total.or(head.total) {
            fields.insert(CONTENT_LENGTH, total.into());
        }
        fields
    }
}

/// RFC 9111 §3.2, as §3.4 demands of a new part: "the cache MUST add each header field in the provided response to the stored
/// response, replacing field values that are already present, with the following exceptions: … the Content-Length header
/// field"; and `Content-Range`, by RFC 9110 §15.3.7.3. What is not to be stored is not in `newer`.
fn updated(stored: &Section, newer: &HeaderMap) -> HeaderMap {
    let mut fields = stored.lines().to_header_map();
    for name in newer.keys() {
        if name == CONTENT_LENGTH || name == CONTENT_RANGE {
            continue;
        }
        fields.remove(name);
        for value in newer.get_all(name) {
            fields.append(name, value.clone());
        }
    }
    fields
}

#[cfg(test)]
mod tests;
