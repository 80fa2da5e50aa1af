//! A stored response. It never changes: a validation makes a new one around the same body.
//!
//! Most of what a cache holds is small, so what a response costs beside its octets decides how many there are: key, fields,
//! nominated values and a small body lie in one allocation, the terms are packed, and no part has a reference count of its
//! own. `store/overhead_tests.rs` holds the sum.

use super::body::{Body, INLINE_MAX, Segments};
use super::derived::{self, Derived};
use super::key::{CacheKey, Target, read_target};
use super::policy::{Lifetime, Terms, WhenStale};
use super::section::{Lines, Section};
use super::store::account::{Account, Extras, allocated};
use super::vary::{self, Nominated};
use crate::clock::{self, Instant};
use crate::coding::compressible;
use http::{HeaderMap, StatusCode};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
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
    route: Arc<str>,
    /// The body, where it is not in the block.
    segments: Option<Arc<Segments>>,
    /// Where the key has extras.
    extras: Option<Box<Extras>>,
    /// Its coded forms, which live as long as it does.
    derived: Derived<Arc<StoredResponse>>,
    account: Arc<Account>,
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
        let headers = parts.fields.lines().to_header_map();
        let judged = compressible::judge(parts.status, &headers, Some(parts.body.length()));
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
            terms: Packed {
                may_be_coded: judged.is_ok(),
                ..Packed::new(parts.status, &parts.terms)
            },
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
        let key = CacheKey::new(target, &HeaderMap::new(), &rules);
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
    pub fn fits(&self, route: &str, request: &HeaderMap) -> bool {
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

    /// The body where it is small, to be copied without a reference of its own.
    pub fn inline_body(&self) -> Option<&[u8]> {
        match &self.segments {
            Some(_) => None,
            None => self.block.get(self.body_begin()..),
        }
    }

    /// Whether a client may get it coded.
    pub(super) fn may_be_coded(&self) -> bool {
        self.terms.may_be_coded
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
        let body = self.segments.as_ref().map_or(0, |body| body.allocated());
        self.head_bytes().saturating_add(body)
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
                .map_or(0, |_| allocated(size_of::<Segments>() + COUNTS))
            + self.extras.as_ref().map_or(0, |_| Extras::BYTES)
    }
}

/// What an `Arc` counts with.
const COUNTS: usize = 16;

/// What an entry costs in quick_cache: 40 to 48 octets of slab and 5 to 11 of index, both grown by doubling, of which the
/// unused half is not touched.
pub(super) const SLOT: u64 = 56;

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

/// The instants of stored responses are counted from here, in half of an instant's octets.
static ANCHOR: LazyLock<Instant> = LazyLock::new(clock::now);

/// [`Terms`] in a third of the octets, with the status, which fits beside them.
#[derive(Debug, Clone, Copy)]
struct Packed {
    /// Nanoseconds since [`ANCHOR`]; 292 years either way.
    received: i64,
    initial_age: Short,
    lifetime: Short,
    while_revalidate: Short,
    if_error: Short,
    if_unreachable: Short,
    status: StatusCode,
    lifetime_by: By,
    when_stale: WhenStale,
    /// Whether a coding would be allowed, and worth it: asked at each hit, and a matter of the fields.
    may_be_coded: bool,
}

/// By whose word a lifetime is, and whether the body changes in it: two answers in one octet, because another octet would
/// cost eight.
#[derive(Debug, Clone, Copy)]
enum By {
    Explicit,
    Heuristic,
    Operator,
    ExplicitImmutable,
    HeuristicImmutable,
    OperatorImmutable,
}

impl By {
    fn of(lifetime: Lifetime, immutable: bool) -> Self {
        match (lifetime, immutable) {
            (Lifetime::Explicit(_), false) => Self::Explicit,
            (Lifetime::Heuristic(_), false) => Self::Heuristic,
            (Lifetime::Operator(_), false) => Self::Operator,
            (Lifetime::Explicit(_), true) => Self::ExplicitImmutable,
            (Lifetime::Heuristic(_), true) => Self::HeuristicImmutable,
            (Lifetime::Operator(_), true) => Self::OperatorImmutable,
        }
    }

    fn lifetime(self, duration: Duration) -> Lifetime {
        match self {
            Self::Explicit | Self::ExplicitImmutable => Lifetime::Explicit(duration),
            Self::Heuristic | Self::HeuristicImmutable => Lifetime::Heuristic(duration),
            Self::Operator | Self::OperatorImmutable => Lifetime::Operator(duration),
        }
    }

    fn immutable(self) -> bool {
        match self {
            Self::Explicit | Self::Heuristic | Self::Operator => false,
            Self::ExplicitImmutable | Self::HeuristicImmutable | Self::OperatorImmutable => true,
        }
    }
}

impl Packed {
    fn new(status: StatusCode, terms: &Terms) -> Self {
        let nanos = |duration: Duration| i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
        let received = match terms.received.checked_duration_since(*ANCHOR) {
            Some(since) => nanos(since),
            None => -nanos(ANCHOR.saturating_duration_since(terms.received)),
        };
        Self {
            received,
            status,
            // What cannot be kept exactly makes it older and less fresh, never the reverse.
            initial_age: Short::at_least(terms.initial_age),
            lifetime: Short::at_most(terms.lifetime.duration()),
            while_revalidate: Short::at_most(terms.while_revalidate),
            if_error: Short::at_most(terms.if_error),
            if_unreachable: Short::at_most(terms.if_unreachable),
            lifetime_by: By::of(terms.lifetime, terms.immutable),
            when_stale: terms.when_stale,
            may_be_coded: false,
        }
    }

    fn unpack(&self) -> Terms {
        let since = Duration::from_nanos(self.received.unsigned_abs());
        let received = if self.received < 0 {
            ANCHOR.checked_sub(since)
        } else {
            ANCHOR.checked_add(since)
        };
        Terms {
            received: received.unwrap_or(*ANCHOR),
            initial_age: self.initial_age.duration(),
            lifetime: self.lifetime_by.lifetime(self.lifetime.duration()),
            when_stale: self.when_stale,
            immutable: self.lifetime_by.immutable(),
            while_revalidate: self.while_revalidate.duration(),
            if_error: self.if_error.duration(),
            if_unreachable: self.if_unreachable.duration(),
        }
    }
}

/// A duration in four octets: milliseconds up to 24 days, then seconds, up to 2³¹ (which RFC 9111 §1.2.2 takes for ever).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Short(u32);

impl Short {
    const SECONDS: u32 = 1 << 31;

    fn at_most(duration: Duration) -> Self {
        match u32::try_from(duration.as_millis()) {
            Ok(millis) if millis < Self::SECONDS => Self(millis),
            _ => Self::seconds(duration.as_secs()),
        }
    }

    fn at_least(duration: Duration) -> Self {
        let millis = duration.as_nanos().div_ceil(1_000_000);
        match u32::try_from(millis) {
            Ok(millis) if millis < Self::SECONDS => Self(millis),
            _ => Self::seconds(duration.as_secs().saturating_add(1)),
        }
    }

    fn seconds(seconds: u64) -> Self {
        let seconds = u32::try_from(seconds).unwrap_or(u32::MAX);
        Self(Self::SECONDS | seconds.min(Self::SECONDS - 1))
    }

    fn duration(self) -> Duration {
        if self.0 < Self::SECONDS {
            Duration::from_millis(u64::from(self.0))
        } else {
            Duration::from_secs(u64::from(self.0 & !Self::SECONDS))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_that_are_kept() {
        let day = Duration::from_secs(86_400);
        for (duration, most, least) in [
            (Duration::ZERO, Duration::ZERO, Duration::ZERO),
            (
                Duration::from_millis(1500),
                Duration::from_millis(1500),
                Duration::from_millis(1500),
            ),
            (
                Duration::from_nanos(1),
                Duration::ZERO,
                Duration::from_millis(1),
            ),
            (day * 24, day * 24, day * 24),
            (day * 365, day * 365, day * 365 + Duration::from_secs(1)),
            (
                Duration::MAX,
                Duration::from_secs((1 << 31) - 1),
                Duration::from_secs((1 << 31) - 1),
            ),
        ] {
            assert_eq!(Short::at_most(duration).duration(), most, "{duration:?}");
            assert_eq!(Short::at_least(duration).duration(), least, "{duration:?}");
        }
    }

    #[test]
    fn a_response_is_no_larger_than_it_was() {
        assert!(
            size_of::<StoredResponse>() <= 104,
            "{}",
            size_of::<StoredResponse>()
        );
    }

    #[test]
    fn terms_survive() {
        let now = clock::now();
        let earlier = now
            .checked_sub(Duration::from_millis(7))
            .expect("the machine ran for that long");
        for (received, lifetime, when_stale) in [
            (
                now,
                Lifetime::Explicit(Duration::from_secs(60)),
                WhenStale::Windows,
            ),
            (
                earlier,
                Lifetime::Heuristic(Duration::ZERO),
                WhenStale::MustRevalidate,
            ),
            (
                now + Duration::from_nanos(1),
                Lifetime::Operator(Duration::from_millis(5)),
                WhenStale::AlwaysValidate,
            ),
        ] {
            for immutable in [false, true] {
                let terms = Terms {
                    immutable,
                    received,
                    initial_age: Duration::from_secs(3),
                    lifetime,
                    when_stale,
                    while_revalidate: Duration::from_secs(1),
                    if_error: Duration::from_secs(2),
                    if_unreachable: Duration::from_secs(86_400),
                };
                let packed = Packed::new(StatusCode::NOT_FOUND, &terms);
                assert_eq!(packed.unpack(), terms);
                assert_eq!(packed.status, StatusCode::NOT_FOUND);
            }
        }
    }

    proptest! {
        #[test]
        fn packing_never_makes_fresher(millis in 0u64..1 << 42, nanos in 0u64..1_000_000) {
            let duration = Duration::from_millis(millis) + Duration::from_nanos(nanos);
            let (most, least) = (Short::at_most(duration).duration(), Short::at_least(duration).duration());
            prop_assert!(most <= duration || most.as_secs() == (1 << 31) - 1);
            prop_assert!(least >= duration || least.as_secs() == (1 << 31) - 1);
            prop_assert_eq!(Short::at_most(most), Short::at_most(duration));
        }
    }
}
