//! A stored response. It never changes: a validation makes a new one around the same body.
//!
//! Most of what a cache holds is small, so what a response costs beside its octets decides how many there are: key, fields,
//! nominated values and a small body lie in one allocation, the terms are packed, and no part has a reference count of its
//! own. `store/overhead_tests.rs` holds the sum.

use super::body::{Body, INLINE_MAX};
use super::derived::{self, Derived};
use super::key::{CacheKey, Target, read_target};
use super::packed::Packed;
use super::policy::Terms;
use super::section::{Lines, Section};
use super::segments::{Moving, Segments};
use super::store::account::{Account, Extras, allocated};
use super::vary::{self, Nominated};
use crate::clock::Instant;
use crate::coding::compressible;
use crate::fields::view::{FieldLines, FieldView};
use http::{HeaderName, StatusCode, header};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What a stored response is made of.
#[derive(Debug)]
pub struct Parts {
    /// The status.
    pub status: StatusCode,
    /// The end-to-end fields that may be stored (§3.1), without `Age`; with the origin's `Date`, and with `Content-Length`.
    pub fields: Section,
    /// What it may be used for.
    pub terms: Terms,
    /// The values that the fields nominated by its `Vary` had in its request.
    pub nominated: Nominated,
    /// The route that it came by: no other may use it.
    pub route: Arc<str>,
    /// The body.
    pub body: Body,
}

/// A complete stored response.
pub struct StoredResponse {
    /// Key, fields, nominated values, and the body where it is small; in this order, without gaps.
    block: Box<[u8]>,
    key_length: u32,
    fields_length: u32,
    nominated_length: u32,
    /// Whether it was served since it was made, where its route wants to know.
    asked_for: AtomicBool,
    terms: Packed,
    marks: Marks,
    route: Arc<str>,
    /// The body, where it is not in the block.
    segments: Option<Arc<Segments>>,
    /// Where the key has extras.
    extras: Option<Box<Extras>>,
    /// Its coded forms, which live as long as it does.
    derived: Derived<Arc<StoredResponse>>,
    account: Arc<Account>,
}

/// `X-Request-Id`.
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What each hit asks of the fields, a bit for each: an octet more, and the whole falls into a larger class of memory.
#[derive(Debug, Clone, Copy)]
struct Marks(u8);

impl Marks {
    /// A coding would be allowed, and worth it.
    const MAY_BE_CODED: u8 = 1;
    /// There is a `Date`.
    const DATED: u8 = 2;
    /// There is an `X-Request-Id`.
    const IDENTIFIED: u8 = 4;

    fn has(self, mark: u8) -> bool {
        self.0 & mark != 0
    }
}

impl StoredResponse {
    /// On an account, from here to its last holder.
    pub(super) fn new(account: &Arc<Account>, key: &CacheKey, parts: Parts) -> Self {
        Self::build(account, key.as_bytes(), account.extras(key), parts)
    }

    /// A form of this one: on the same account, found only by way of it, and so invalidated with it.
    pub(super) fn beside(&self, parts: Parts) -> Arc<Self> {
        Arc::new(Self::build(&self.account, self.key(), None, parts))
    }

    fn build(
        account: &Arc<Account>,
        key: &[u8],
        extras: Option<Box<Extras>>,
        parts: Parts,
    ) -> Self {
        let lines = parts.fields.lines().headers();
        let view = FieldView::Lines(FieldLines::new(&lines));
        let judged = compressible::judge(parts.status, view, Some(parts.body.length()));
        let fields = parts.fields.lines().as_bytes();
        let nominated = parts.nominated.as_bytes();
        let inline = usize::try_from(parts.body.length())
            .ok()
            .filter(|length| *length <= INLINE_MAX);
        let length = key.len() + fields.len() + nominated.len() + inline.unwrap_or_default();
        let mut block = Vec::with_capacity(length);
        block.extend_from_slice(key);
        block.extend_from_slice(fields);
        block.extend_from_slice(nominated);
        let segments = if inline.is_some() {
            parts.body.write_to(&mut block);
            None
        } else {
            Some(parts.body.counted(account))
        };
        let short = |length| u32::try_from(length).unwrap_or(u32::MAX);
        let response = Self {
            key_length: short(key.len()),
            fields_length: short(fields.len()),
            nominated_length: short(nominated.len()),
            block: block.into_boxed_slice(),
            asked_for: AtomicBool::new(false),
            terms: Packed::new(parts.status, &parts.terms),
            marks: Marks(
                u8::from(judged.is_ok()) * Marks::MAY_BE_CODED
                    + u8::from(view.contains(&header::DATE)) * Marks::DATED
                    + u8::from(view.contains(&X_REQUEST_ID)) * Marks::IDENTIFIED,
            ),
            route: parts.route,
            segments,
            extras,
            derived: Derived::default(),
            account: Arc::clone(account),
        };
        account.add(response.head_bytes());
        response
    }

    /// One that no store has, for tests of what is made of it.
    #[cfg(test)]
    pub(crate) fn detached(parts: Parts) -> Arc<Self> {
        let target = Target {
            scheme: "http",
            authority: "a",
            path: "/",
            query: None,
        };
        let rules = super::settings::KeyRules::default();
        let key = CacheKey::new(target, &http::HeaderMap::new(), &rules);
        Arc::new(Self::new(&Arc::default(), &key, parts))
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.terms.status
    }

    /// The fields, with `Content-Length` and without `Age`.
    pub fn fields(&self) -> Lines<'_> {
        let begin = self.key_length as usize;
        Lines::of_bytes(self.part(begin, self.fields_length))
    }

    /// What it may be used for.
    pub fn terms(&self) -> Terms {
        self.terms.unpack()
    }

    /// When its head arrived.
    pub fn received(&self) -> Instant {
        self.terms.received()
    }

    /// The route that it came by.
    pub fn route(&self) -> &Arc<str> {
        &self.route
    }

    /// Notes that somebody asked for it.
    pub(super) fn ask_for(&self) {
        // All threads serve it: only the first of them writes where the others read.
        if !self.asked_for.load(Ordering::Relaxed) {
            self.asked_for.store(true, Ordering::Relaxed);
        }
    }

    /// Whether somebody asked for it.
    pub(super) fn is_asked_for(&self) -> bool {
        self.asked_for.load(Ordering::Relaxed)
    }

    /// Begins to note anew.
    pub(super) fn forget_asked_for(&self) {
        self.asked_for.store(false, Ordering::Relaxed);
    }

    /// What it is a response to.
    pub fn target(&self) -> Option<Target<'_>> {
        read_target(self.key())
    }

    /// Whether its `Vary` lets it answer a request of this route (§4.1).
    pub fn fits(&self, route: &str, request: FieldView<'_>) -> bool {
        *self.route == *route && vary::matches(self.nominated(), request) && !self.is_invalidated()
    }

    /// The octets of its body.
    pub fn body_length(&self) -> u64 {
        match &self.segments {
            Some(segments) => segments.length(),
            None => self.block.len().saturating_sub(self.body_begin()) as u64,
        }
    }

    /// The body.
    pub fn body(self: &Arc<Self>) -> Body {
        match &self.segments {
            Some(segments) => Body::of_shared(Arc::clone(segments)),
            None => Body::of_response(Arc::clone(self)),
        }
    }

    /// The right to move the body to where the kernel can send it from, where that is worth it and nobody has it.
    pub(super) fn claim_move(&self) -> Option<Moving> {
        self.segments.as_ref()?.claim()
    }

    /// The body where it is small, to be copied without a reference of its own.
    pub fn inline_body(&self) -> Option<&[u8]> {
        match &self.segments {
            Some(_) => None,
            None => self.block.get(self.body_begin()..),
        }
    }

    /// Whether a client may get it coded.
    pub(super) fn may_be_coded(&self) -> bool {
        self.marks.has(Marks::MAY_BE_CODED)
    }

    /// Whether its fields have a `Date`.
    pub fn is_dated(&self) -> bool {
        self.marks.has(Marks::DATED)
    }

    /// Whether its fields have an `X-Request-Id`.
    pub fn is_identified(&self) -> bool {
        self.marks.has(Marks::IDENTIFIED)
    }

    /// Its coded forms.
    pub(super) fn derived(&self) -> &Derived<Arc<Self>> {
        &self.derived
    }

    /// Takes over the coded forms of the one that it was freshened from. To be called before it is stored.
    pub(super) fn carry(&self, old: &Self) {
        self.derived.carry(&old.derived, |form, coding| {
            let parts = derived::around(self, coding, form.body())?;
            Some(self.beside(parts))
        });
    }

    /// The memory of the coded forms that are made by now.
    pub(super) fn derived_weight(&self) -> u64 {
        let forms = self.derived.made();
        forms.iter().map(|form| form.weight()).sum()
    }

    /// The memory that it takes, its place in the store included, without that of its coded forms.
    pub fn weight(&self) -> u64 {
        self.head_bytes().saturating_add(self.body_weight())
    }

    /// Of that the octets of a body that is not small.
    pub(super) fn body_weight(&self) -> u64 {
        self.segments.as_ref().map_or(0, |body| body.allocated())
    }

    pub(super) fn key(&self) -> &[u8] {
        self.part(0, self.key_length)
    }

    /// The values that the fields nominated by its `Vary` had in its request.
    pub(super) fn nominated_values(&self) -> Nominated {
        Nominated::of_bytes(self.nominated())
    }

    pub(super) fn nominated(&self) -> &[u8] {
        let begin = self.key_length as usize + self.fields_length as usize;
        self.part(begin, self.nominated_length)
    }

    /// Whether its target was invalidated since it was made; known here only where its key has extras.
    pub(super) fn is_invalidated(&self) -> bool {
        self.extras
            .as_ref()
            .is_some_and(|extras| extras.is_invalidated())
    }

    pub(super) fn is_on(&self, account: &Arc<Account>) -> bool {
        Arc::ptr_eq(&self.account, account)
    }

    fn body_begin(&self) -> usize {
        self.key_length as usize + self.fields_length as usize + self.nominated_length as usize
    }

    fn part(&self, begin: usize, length: u32) -> &[u8] {
        self.block
            .get(begin..begin.saturating_add(length as usize))
            .unwrap_or_default()
    }

    /// All but the segments, which have charges of their own.
    fn head_bytes(&self) -> u64 {
        allocated(size_of::<Self>() + COUNTS)
            + allocated(self.block.len())
            + SLOT
            + self
                .segments
                .as_ref()
                .map_or(0, |segments| segments.own_bytes())
            + self.extras.as_ref().map_or(0, |_| Extras::BYTES)
    }
}

/// What an `Arc` counts with.
const COUNTS: usize = 16;

/// What an entry costs in `quick_cache`: 40 to 48 octets of slab and 5 to 16 of index, both grown by doubling, of which the
/// unused half is not touched.
pub(super) const SLOT: u64 = 64;

impl Drop for StoredResponse {
    fn drop(&mut self) {
        self.account.subtract(self.head_bytes());
        if let Some(extras) = self.extras.take() {
            self.account.drop_extras(extras);
        }
    }
}

impl fmt::Debug for StoredResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredResponse")
            .field("target", &self.target())
            .field("route", &self.route)
            .field("status", &self.status())
            .field("body_length", &self.body_length())
            .field("weight", &self.weight())
            .finish_non_exhaustive()
    }
}
