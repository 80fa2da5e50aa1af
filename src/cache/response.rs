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
use super::purge::labels::Subject;
use super::purge::ledger::Standing;
use super::purge::tags::Tags;
use super::section::{Lines, Section};
use super::segments::{Moving, Segments};
use super::store::account::{Account, allocated};
use super::vary::{self, Nominated};
use crate::clock::Instant;
use crate::coding::compressible;
use crate::fields::view::{FieldLines, FieldView};
use http::{HeaderName, StatusCode, header};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

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
    /// What else is known of it.
    pub about: About,
}

/// What is known of a response besides what it says to clients.
#[derive(Debug, Clone, Default)]
pub struct About {
    /// What it can be purged by, beside its place.
    pub tags: Tags,
    /// The time that the origin took to make it, to its last octet; zero where that is not known.
    pub cost: Duration,
    /// The last purge when its fetch began.
    pub since: u64,
}

/// A complete stored response.
pub struct StoredResponse {
    /// Key, fields, nominated values, cost and tags, and the body where it is small; in this order, without gaps.
    block: Box<[u8]>,
    key: KeyPart,
    fields_length: u32,
    nominated_length: u32,
    /// How often it was served, and above that whether it was since its last refresh.
    hits: AtomicU32,
    terms: Packed,
    route: Arc<str>,
    /// The body, where it is not in the block.
    segments: Option<Arc<Segments>>,
    /// The last purge that it was compared with.
    checked: AtomicU64,
    /// Its coded forms, which live as long as it does.
    derived: Derived<Arc<StoredResponse>>,
    account: Arc<Account>,
}

/// `X-Request-Id`.
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The length of the key, and above it what each hit asks of the fields, a bit for each: an octet more, and the whole falls
/// into a larger class of memory.
#[derive(Debug, Clone, Copy)]
struct KeyPart(u32);

impl KeyPart {
    /// A coding would be allowed, and worth it.
    const MAY_BE_CODED: u32 = 1 << 31;
    /// There is a `Date`.
    const DATED: u32 = 1 << 30;
    /// There is an `X-Request-Id`.
    const IDENTIFIED: u32 = 1 << 29;
    /// The key has the operator's extras.
    const EXTRAS: u32 = 1 << 28;
    /// A key is shorter: a request's head is.
    const LENGTH: u32 = Self::EXTRAS - 1;

    fn has(self, mark: u32) -> bool {
        self.0 & mark != 0
    }

    fn length(self) -> u32 {
        self.0 & Self::LENGTH
    }
}

/// Of [`StoredResponse::hits`]: somebody asked for it since it was last refreshed.
const ASKED_FOR: u32 = 1 << 31;

/// What stands in front of the tags: the cost in tenths of a millisecond, and their length.
const ABOUT: usize = size_of::<u32>() + size_of::<u16>();

impl StoredResponse {
    /// On an account, from here to its last holder.
    pub(super) fn new(account: &Arc<Account>, key: &CacheKey, parts: Parts) -> Self {
        let response = Self::build(account, key.as_bytes(), key.has_extras(), parts);
        if let Some(subject) = response.subject() {
            account.ledger.count(response.checked(), &subject);
        }
        response
    }

    /// The same with other parts.
    pub(super) fn anew(&self, parts: Parts) -> Arc<Self> {
        let extras = self.key.has(KeyPart::EXTRAS);
        let response = Self::build(&self.account, self.key(), extras, parts);
        if let Some(subject) = response.subject() {
            self.account.ledger.count(response.checked(), &subject);
        }
        Arc::new(response)
    }

    /// A form of this one: on the same account, found only by way of it, and so purged with it.
    pub(super) fn beside(&self, parts: Parts) -> Arc<Self> {
        Arc::new(Self::build(&self.account, self.key(), false, parts))
    }

    fn build(account: &Arc<Account>, key: &[u8], extras: bool, parts: Parts) -> Self {
        let lines = parts.fields.lines().headers();
        let view = FieldView::Lines(FieldLines::new(&lines));
        let judged = compressible::judge(parts.status, view, Some(parts.body.length()));
        let fields = parts.fields.lines().as_bytes();
        let nominated = parts.nominated.as_bytes();
        let tags = parts.about.tags.as_bytes();
        let inline = usize::try_from(parts.body.length())
            .ok()
            .filter(|length| *length <= INLINE_MAX);
        let head = key.len() + fields.len() + nominated.len() + ABOUT + tags.len();
        let mut block = Vec::with_capacity(head + inline.unwrap_or_default());
        block.extend_from_slice(key);
        block.extend_from_slice(fields);
        block.extend_from_slice(nominated);
        let cost = parts.about.cost.as_micros() / 100;
        let cost = u32::try_from(cost).unwrap_or(u32::MAX);
        block.extend_from_slice(&cost.to_le_bytes());
        // They are fewer, or the response were not stored.
        let tags_length = u16::try_from(tags.len()).unwrap_or(u16::MAX);
        block.extend_from_slice(&tags_length.to_le_bytes());
        block.extend_from_slice(tags);
        let segments = if inline.is_some() {
            parts.body.write_to(&mut block);
            None
        } else {
            Some(parts.body.counted(account))
        };
        let short = |length| u32::try_from(length).unwrap_or(u32::MAX);
        let mark = |mark: u32, is_so: bool| if is_so { mark } else { 0 };
        let response = Self {
            key: KeyPart(
                short(key.len()).min(KeyPart::LENGTH)
                    | mark(KeyPart::MAY_BE_CODED, judged.is_ok())
                    | mark(KeyPart::DATED, view.contains(&header::DATE))
                    | mark(KeyPart::IDENTIFIED, view.contains(&X_REQUEST_ID))
                    | mark(KeyPart::EXTRAS, extras),
            ),
            fields_length: short(fields.len()),
            nominated_length: short(nominated.len()),
            block: block.into_boxed_slice(),
            hits: AtomicU32::new(0),
            terms: Packed::new(parts.status, &parts.terms),
            route: parts.route,
            segments,
            checked: AtomicU64::new(parts.about.since),
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
        let begin = self.key.length() as usize;
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
        if !self.is_asked_for() {
            self.hits.fetch_or(ASKED_FOR, Ordering::Relaxed);
        }
    }

    /// Whether somebody asked for it.
    pub(super) fn is_asked_for(&self) -> bool {
        self.hits.load(Ordering::Relaxed) & ASKED_FOR != 0
    }

    /// Begins to note anew.
    pub(super) fn forget_asked_for(&self) {
        self.hits.fetch_and(!ASKED_FOR, Ordering::Relaxed);
    }

    /// It was served once more.
    pub(super) fn count_hit(&self) {
        self.hits.fetch_add(1, Ordering::Relaxed);
    }

    /// How often it was served, freshened or not.
    pub fn hits(&self) -> u64 {
        u64::from(self.hits.load(Ordering::Relaxed) & !ASKED_FOR)
    }

    /// The time that the origin took to make it; zero where that is not known.
    pub fn cost(&self) -> Duration {
        let cost = self.about().map_or([0; 4], |(cost, _)| *cost);
        Duration::from_micros(u64::from(u32::from_le_bytes(cost)).saturating_mul(100))
    }

    /// What is known of it besides.
    pub(super) fn about_it(&self) -> About {
        About {
            tags: Tags::of_bytes(self.tags()),
            cost: self.cost(),
            since: self.checked(),
        }
    }

    /// What it can be purged by beside its place, as [`tags::each`](super::purge::tags::each) reads it.
    pub(super) fn tags(&self) -> &[u8] {
        let length = self.tags_length();
        let begin = (self.about_begin() + ABOUT).min(self.block.len());
        let tags = self.block.get(begin..begin.saturating_add(length));
        tags.unwrap_or_default()
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
        self.key.has(KeyPart::MAY_BE_CODED)
    }

    /// Whether its fields have a `Date`.
    pub fn is_dated(&self) -> bool {
        self.key.has(KeyPart::DATED)
    }

    /// Whether its fields have an `X-Request-Id`.
    pub fn is_identified(&self) -> bool {
        self.key.has(KeyPart::IDENTIFIED)
    }

    /// Its coded forms.
    pub(super) fn derived(&self) -> &Derived<Arc<Self>> {
        &self.derived
    }

    /// Takes over the coded forms and the hits of the one that it was freshened from. To be called before it is stored.
    pub(super) fn carry(&self, old: &Self) {
        self.hits.fetch_add(
            old.hits.load(Ordering::Relaxed) & !ASKED_FOR,
            Ordering::Relaxed,
        );
        self.derived.carry(&old.derived, |form, coding| {
            let parts = derived::around(self, coding, form.body())?;
            Some(self.beside(parts))
        });
    }

    /// The codings of the forms that are made by now.
    pub(super) fn codings(&self) -> Vec<String> {
        let forms = self.derived.made();
        let coding = |form: &Arc<Self>| {
            let coding = form.fields().get(&header::CONTENT_ENCODING)?;
            Some(String::from_utf8_lossy(coding).into_owned())
        };
        forms.iter().filter_map(coding).collect()
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
        self.part(0, self.key.length())
    }

    /// The values that the fields nominated by its `Vary` had in its request.
    pub(super) fn nominated_values(&self) -> Nominated {
        Nominated::of_bytes(self.nominated())
    }

    pub(super) fn nominated(&self) -> &[u8] {
        let begin = self.key.length() as usize + self.fields_length as usize;
        self.part(begin, self.nominated_length)
    }

    /// What purges make of it.
    pub(super) fn standing(&self) -> Standing {
        match self.subject() {
            Some(subject) => self.account.ledger.check(&self.checked, &subject),
            None => Standing::Gone,
        }
    }

    /// Whether there was no purge since it was last found to be none's. All that a hit asks as long as there is none.
    pub(super) fn is_checked(&self) -> bool {
        self.checked() == self.account.ledger.now()
    }

    /// The last purge that it was compared with.
    pub(super) fn checked(&self) -> u64 {
        self.checked.load(Ordering::Relaxed)
    }

    /// Whether it is not to be used any more.
    pub(super) fn is_invalidated(&self) -> bool {
        !self.is_checked() && self.standing() == Standing::Gone
    }

    fn subject(&self) -> Option<Subject<'_>> {
        Some(Subject {
            target: self.target()?,
            tags: self.tags(),
            has_extras: self.key.has(KeyPart::EXTRAS),
        })
    }

    pub(super) fn is_on(&self, account: &Arc<Account>) -> bool {
        Arc::ptr_eq(&self.account, account)
    }

    fn body_begin(&self) -> usize {
        self.about_begin() + ABOUT + self.tags_length()
    }

    fn about_begin(&self) -> usize {
        self.key.length() as usize + self.fields_length as usize + self.nominated_length as usize
    }

    fn about(&self) -> Option<(&[u8; 4], &[u8; 2])> {
        let about = self.block.get(self.about_begin()..)?;
        let (cost, rest) = about.split_first_chunk()?;
        Some((cost, rest.first_chunk()?))
    }

    fn tags_length(&self) -> usize {
        let length = self.about().map_or([0; 2], |(_, length)| *length);
        usize::from(u16::from_le_bytes(length))
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
        if let Some(subject) = self.subject() {
            self.account.ledger.discount(self.checked(), &subject);
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
