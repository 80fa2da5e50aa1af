//! A response as [`plan`](super::plan) sees it: the same for one that is stored, in flight, or held in parts.

use super::conditions::Validators;
use crate::cache::fill::Head;
use crate::cache::policy::Moment;
use crate::cache::response::StoredResponse;
use crate::cache::section::Lines;
use crate::clock::Instant;
use crate::fields::view::FieldView;
use crate::fields::{date, etag::EntityTag};
use http::header::{DATE, ETAG, HeaderName, IF_MODIFIED_SINCE, IF_RANGE, LAST_MODIFIED};
use http::{HeaderMap, HeaderValue, StatusCode};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A response that a request is to be answered with.
#[derive(Debug, Clone, Copy)]
pub struct StoredView<'a> {
    /// The status.
    pub status: StatusCode,
    /// The fields.
    pub fields: Fields<'a>,
    /// The length of the whole body, where it is known.
    pub length: Option<u64>,
    /// When its head arrived.
    pub received: Arrival,
    /// In which order its octets can be had.
    pub order: Order,
}

/// When a head arrived. By the wall clock it is counted out only where a precondition asks.
#[derive(Debug, Clone, Copy)]
pub enum Arrival {
    /// Then.
    At(SystemTime),
    /// Then, on the monotonic clock, seen from now.
    Since(Instant, Moment),
}

impl Arrival {
    /// By the wall clock of now.
    pub fn wall(self) -> SystemTime {
        match self {
            Self::At(time) => time,
            Self::Since(received, now) => {
                let since = now.at.saturating_duration_since(received);
                now.wall.checked_sub(since).unwrap_or(UNIX_EPOCH)
            }
        }
    }
}

/// In which order octets can be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Any.
    Any,
    /// As they come: later ones after earlier ones.
    Ascending,
}

/// Fields, however they are kept.
#[derive(Debug, Clone, Copy)]
pub enum Fields<'a> {
    /// As they are stored.
    Section(Lines<'a>),
    /// As they came.
    Map(&'a HeaderMap),
}

impl<'a> Fields<'a> {
    /// The value of a field that stands there once. A field that must not be repeated and is says nothing reliable.
    pub fn single(self, name: &HeaderName) -> Option<&'a [u8]> {
        match self {
            Self::Section(section) => section.single(name),
            Self::Map(map) => sole(map.get_all(name).iter().map(HeaderValue::as_bytes)),
        }
    }

    /// Whether a field is there.
    pub fn contains(self, name: &HeaderName) -> bool {
        match self {
            Self::Section(section) => section.get(name).is_some(),
            Self::Map(map) => map.contains_key(name),
        }
    }

    /// As a map.
    pub fn to_header_map(self) -> HeaderMap {
        match self {
            Self::Section(section) => section.to_header_map(),
            Self::Map(map) => map.clone(),
        }
    }
}

fn sole<'a>(mut values: impl Iterator<Item = &'a [u8]>) -> Option<&'a [u8]> {
    let value = values.next()?;
    values.next().is_none().then_some(value)
}

impl<'a> StoredView<'a> {
    /// Of a stored response.
    pub fn stored(response: &'a StoredResponse, now: Moment) -> Self {
        let (fields, length) = (Fields::Section(response.fields()), response.body_length());
        Self::new(
            response.status(),
            fields,
            Some(length),
            Some(response.received()),
            Order::Any,
            now,
        )
    }

    /// Of a response in flight.
    pub fn in_flight(head: &'a Head, now: Moment) -> Self {
        let received = head.terms.as_ref().map(|terms| terms.received);
        Self::new(
            head.status,
            Fields::Map(&head.fields),
            head.length,
            received,
            Order::Ascending,
            now,
        )
    }

    /// Of its parts. Where it is not said when it was received, it has just arrived.
    pub fn new(
        status: StatusCode,
        fields: Fields<'a>,
        length: Option<u64>,
        received: Option<Instant>,
        order: Order,
        now: Moment,
    ) -> Self {
        Self {
            status,
            fields,
            length,
            received: received.map_or(Arrival::At(now.wall), |at| Arrival::Since(at, now)),
            order,
        }
    }

    /// What a request's preconditions are compared with; dates are read only where it names one.
    pub fn validators_for(self, request: FieldView<'_>) -> Validators {
        if request.contains(&IF_MODIFIED_SINCE) || request.contains(&IF_RANGE) {
            return self.validators();
        }
        Validators {
            etag: self.fields.single(&ETAG).and_then(EntityTag::parse),
            ..Validators::default()
        }
    }

    /// What preconditions are compared with.
    pub fn validators(self) -> Validators {
        let modified = self.fields.single(&LAST_MODIFIED).and_then(date::parse);
        let date = self.fields.single(&DATE).and_then(date::parse);
        let changed = if self.fields.contains(&LAST_MODIFIED) {
            // One that cannot be read is no reason to say "not modified" by a date that means something else.
            modified
        } else {
            // RFC 9111 §4.3.2: "if … Last-Modified … is not present in a stored response, a cache SHOULD use the stored
            // response's Date field value (or, if no Date field is present, the time that the stored response was received)"
            date.or(Some(whole_seconds(self.received.wall())))
        };
        Validators {
            etag: self.fields.single(&ETAG).and_then(EntityTag::parse),
            changed,
            strong_date: strong_date(modified, date),
        }
    }
}

/// The date of the last modification where it is a strong validator. RFC 9110 §8.8.2.2: "The validator is being compared by
/// an intermediate cache to the validator stored in its cache entry for the representation, and … that cache entry includes a
/// Date value … at least one second after the Last-Modified value".
pub fn strong_date(modified: Option<SystemTime>, date: Option<SystemTime>) -> Option<SystemTime> {
    let (modified, date) = (modified?, date?);
    let apart = date.duration_since(modified).ok()?;
    (apart >= Duration::from_secs(1)).then_some(modified)
}

/// As an HTTP date shows it: without fractions.
pub fn whole_seconds(time: SystemTime) -> SystemTime {
    let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    UNIX_EPOCH + Duration::from_secs(since_epoch.as_secs())
}
