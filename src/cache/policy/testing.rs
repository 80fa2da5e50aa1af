//! What the tests of the policy share: one moment, and messages made of tables.

use super::{Lifetime, Moment, Received, Terms, WhenStale};
use crate::cache::body::Body;
use crate::cache::response::{About, Parts, StoredResponse};
use crate::cache::section::Section;
use crate::cache::vary::Nominated;
use crate::clock::Instant;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use std::sync::Arc;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The wall's time when every response arrives: Sun, 06 Nov 1994 08:49:37 GMT, and a half.
pub(crate) fn start() -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(784_111_777_500)
}

static ARRIVAL: LazyLock<Instant> =
    LazyLock::new(|| crate::clock::now() + Duration::from_secs(1 << 20));

/// The monotonic time so long after every response's arrival.
pub(crate) fn at(after: Duration) -> Instant {
    *ARRIVAL + after
}

/// The moment so many seconds after every response's arrival.
pub(crate) fn moment(after: u64) -> Moment {
    let after = Duration::from_secs(after);
    Moment {
        at: at(after),
        wall: start() + after,
    }
}

/// Fields.
pub(crate) fn headers(fields: &[(&str, &str)]) -> HeaderMap {
    fields
        .iter()
        .map(|(name, value)| {
            (
                HeaderName::from_bytes(name.as_bytes()).expect("a field name in a test"),
                HeaderValue::from_bytes(value.as_bytes()).expect("a field value in a test"),
            )
        })
        .fold(HeaderMap::new(), |mut map, (name, value)| {
            map.append(name, value);
            map
        })
}

/// A response that was there at once.
pub(crate) fn received(status: u16, headers: &HeaderMap) -> Received<'_> {
    received_by(status, headers, 0)
}

/// A response that took so many seconds.
pub(crate) fn received_by(status: u16, headers: &HeaderMap, delay: u64) -> Received<'_> {
    let arrival = moment(0);
    let delay = Duration::from_secs(delay);
    Received {
        status: StatusCode::from_u16(status).expect("a status in a test"),
        headers,
        requested: Moment {
            at: arrival.at - delay,
            wall: arrival.wall - delay,
        },
        received: arrival,
    }
}

/// Terms of a response that is fresh for so many seconds by its origin's word.
pub(crate) fn terms(lifetime: u64) -> Terms {
    Terms {
        received: at(Duration::ZERO),
        initial_age: Duration::ZERO,
        lifetime: Lifetime::Explicit(Duration::from_secs(lifetime)),
        when_stale: WhenStale::Windows,
        while_revalidate: Duration::ZERO,
        if_error: Duration::ZERO,
        if_unreachable: Duration::ZERO,
        immutable: false,
        purged: false,
    }
}

/// A stored response with these fields.
pub(crate) fn stored(
    status: StatusCode,
    fields: &HeaderMap,
    terms: Terms,
    body: &'static [u8],
) -> Arc<StoredResponse> {
    let parts = Parts {
        status,
        fields: Section::new(fields),
        terms,
        nominated: Nominated::default(),
        route: "r".into(),
        body: Body::new(vec![Bytes::from_static(body)]),
        about: About::default(),
    };
    StoredResponse::detached(parts)
}
