//! Whether a request comes within the rate limits of its route, and what a client is told that asks too often.

use super::site::Place;
use super::walk::{Entered, Verdict, Walk};
use crate::clock::{self, Instant};
use crate::fields::view::FieldView;
use crate::rate::settings::RateLimitSettings;
use crate::rate::{self, Refused, Subject};
use crate::routing::settings::RouteSettings;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::Serialize;
use std::fmt::Write as _;
use std::time::Duration;

/// draft-ietf-httpapi-ratelimit-headers: what is left, of which limit. On refusals only: in an answer that others may share it
/// would be somebody else's.
const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
/// The same draft: what the limit is.
const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// What a client is told that asks too often.
#[derive(Debug)]
pub struct TooMany {
    /// 429, and when to come back.
    pub verdict: Verdict,
    /// Which limit it is about.
    pub fields: HeaderMap,
}

/// A limit, as far as it concerns a request.
#[derive(Debug, Serialize)]
pub struct Concerned {
    /// Its name.
    pub name: String,
    /// "100/s".
    pub rate: String,
    /// What may be done at once.
    pub burst: u32,
    /// What is counted by: "client".
    pub key: String,
    /// Whether it refuses nothing.
    pub dry_run: bool,
    /// How many requests are left, this one included; none where the client is excepted.
    pub left: Option<u64>,
}

/// Takes one from each limit of the request's route.
///
/// # Errors
/// [`TooMany`] where one of them has none left.
pub fn admit(fields: FieldView<'_>, walk: &Walk) -> Result<(), Box<TooMany>> {
    let Some((entered, route)) = limited(walk) else {
        return Ok(());
    };
    let subject = subject(entered, route, fields);
    let limits = &entered.site.place(Some(route)).limits;
    rate::admit(limits, &subject, entered.ticket.arrived).map_err(|refused| {
        refused.limit.count_refusal(&subject);
        Box::new(TooMany::from(refused))
    })
}

/// The answer of [`admit`], without taking anything.
///
/// # Errors
/// As [`admit`].
pub fn would_admit(fields: FieldView<'_>, walk: &Walk) -> Result<(), Box<TooMany>> {
    let Some((entered, route)) = limited(walk) else {
        return Ok(());
    };
    let subject = subject(entered, route, fields);
    let limits = &entered.site.place(Some(route)).limits;
    let admitted = rate::would_admit(limits, &subject, clock::now());
    admitted.map_err(|refused| Box::new(TooMany::from(refused)))
}

/// The limits that concern the request, and what is left of each.
pub fn concerned(fields: FieldView<'_>, walk: &Walk) -> Vec<Concerned> {
    let Some((entered, route)) = limited(walk) else {
        return Vec::new();
    };
    let subject = subject(entered, route, fields);
    let limits = entered.site.place(Some(route)).limits.iter();
    let now = clock::now();
    limits
        .map(|limit| {
            let settings = limit.settings();
            Concerned {
                name: settings.name.clone(),
                rate: settings.rate.to_string(),
                burst: settings.burst,
                key: settings.key.to_string(),
                dry_run: settings.dry_run,
                left: limit.left(&subject, now),
            }
        })
        .collect()
}

/// For the express lane, which has no walk: whether the request is let in. One that is not has taken nothing, and is
/// refused by [`admit`] again.
pub fn lets_in(subject: &Subject<'_>, place: &Place, now: Instant) -> bool {
    rate::admit(&place.limits, subject, now).is_ok()
}

/// The answer of [`lets_in`], without taking anything.
pub fn would_let_in(subject: &Subject<'_>, place: &Place, now: Instant) -> bool {
    rate::would_admit(&place.limits, subject, now).is_ok()
}

fn limited(walk: &Walk) -> Option<(&Entered, &RouteSettings)> {
    let route = walk.route.as_deref()?;
    let entered = walk.entered.as_ref()?;
    (!route.rate_limits.is_empty()).then_some((entered, route))
}

fn subject<'a>(entered: &Entered, route: &'a RouteSettings, fields: FieldView<'a>) -> Subject<'a> {
    Subject {
        client: entered.client,
        route: &route.name,
        fields,
    }
}

impl From<Refused<'_>> for TooMany {
    fn from(refused: Refused<'_>) -> Self {
        let seconds = |time: Duration| time.as_secs() + u64::from(time.subsec_nanos() > 0);
        let wait = seconds(refused.wait).max(1);
        let window = seconds(refused.limit.window()).max(1);
        let settings = refused.limit.settings();
        let name = string(settings);
        let mut fields = HeaderMap::new();
        for (field, value) in [
            (
                RATELIMIT_POLICY,
                format!("{name};q={};w={window}", settings.burst),
            ),
            (RATELIMIT, format!("{name};r=0;t={wait}")),
        ] {
            // A limit's name is visible ASCII by the rules of the configuration.
            if let Ok(value) = HeaderValue::from_str(&value) {
                fields.insert(field, value);
            }
        }
        Self {
            verdict: Verdict {
                retry_after: Some(Duration::from_secs(wait)),
                ..Verdict::new(StatusCode::TOO_MANY_REQUESTS, "rate-limited")
            },
            fields,
        }
    }
}

/// The limit's name as a string of a structured field (RFC 9651 §3.3.3).
fn string(settings: &RateLimitSettings) -> String {
    let mut out = String::from("\"");
    for c in settings.name.chars() {
        let escape = if matches!(c, '"' | '\\') { "\\" } else { "" };
        let _ = write!(out, "{escape}{c}");
    }
    out.push('"');
    out
}
