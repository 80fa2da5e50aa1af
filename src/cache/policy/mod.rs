//! What RFC 9111 allows and demands, as pure functions: no clock, no I/O, no lock.
//!
//! A response is judged once, when it arrives ([`storable::evaluate`]), into [`Terms`]; a hit consults only these.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

pub mod fields;
pub mod names;
pub mod storable;

pub mod age;
pub mod freshness;

pub mod reuse;
pub mod stale;

pub mod invalidation;
pub mod validate;

#[cfg(test)]
mod oracle_tests;
#[cfg(test)]
mod properties;
#[cfg(test)]
pub(crate) mod testing;

use crate::clock::Instant;
use crate::fields::view::FieldView;
use http::{HeaderMap, Method, StatusCode};
use std::time::{Duration, SystemTime};

/// A point in time on both clocks: ages are counted on the monotonic one, dates compared on the wall's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Monotonic.
    pub at: Instant,
    /// Wall.
    pub wall: SystemTime,
}

impl Moment {
    /// Now, for callers outside this room's `policy`.
    pub fn now() -> Self {
        Self {
            at: crate::clock::now(),
            wall: crate::clock::wall(),
        }
    }
}

/// What was asked.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The method.
    pub method: &'a Method,
    /// The path in its one spelling.
    pub path: &'a str,
    /// The fields, as the client sent them.
    pub headers: FieldView<'a>,
}

/// What came, and when.
#[derive(Debug, Clone, Copy)]
pub struct Received<'a> {
    /// The status.
    pub status: StatusCode,
    /// The fields, as the origin sent them.
    pub headers: &'a HeaderMap,
    /// When it was asked for (§4.2.3 `request_time`).
    pub requested: Moment,
    /// When its head arrived (§4.2.3 `response_time`).
    pub received: Moment,
}

/// What a stored response may be used for and until when: all that a hit consults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// When its head arrived; the resident time counts from here.
    pub received: Instant,
    /// §4.2.3 `corrected_initial_age`.
    pub initial_age: Duration,
    /// §4.2.1.
    pub lifetime: Lifetime,
    /// What may be done once it is stale.
    pub when_stale: WhenStale,
    /// May be served this long past its freshness while it is validated (RFC 5861 §3); zero is never.
    pub while_revalidate: Duration,
    /// May be served this long past its freshness when the origin answers 5xx or not in time (RFC 5861 §4).
    pub if_error: Duration,
    /// May be served this long past its freshness while the origin cannot be reached (§4.2.4).
    pub if_unreachable: Duration,
    /// The body never changes while it is fresh (RFC 8246): a reload need not ask for it.
    pub immutable: bool,
    /// A soft purge has made it stale: its lifetime ended with that. Then it is not immutable any more.
    pub purged: bool,
}

/// How long a response is fresh, and by whose word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    /// The origin said so.
    Explicit(Duration),
    /// A guess from `Last-Modified` (§4.2.2), or zero where there is none.
    Heuristic(Duration),
    /// The operator said so. It counts from the arrival, so the age on arrival is in it.
    Operator(Duration),
}

impl Lifetime {
    /// How long.
    pub fn duration(self) -> Duration {
        match self {
            Self::Explicit(duration) | Self::Heuristic(duration) | Self::Operator(duration) => {
                duration
            }
        }
    }
}

/// What may be done with a stale response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenStale {
    /// The windows decide, and what the request allows.
    Windows,
    /// The windows decide and nothing else: `s-maxage` with an explicit window.
    WindowsOnly,
    /// Never without validation: `must-revalidate`, `proxy-revalidate`, `s-maxage` without an explicit window.
    MustRevalidate,
    /// Not even fresh without validation: `no-cache`.
    AlwaysValidate,
}
