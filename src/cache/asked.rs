//! What a request says of itself, as far as the way through the engine depends on it.

use super::bypass;
use super::control::RequestDirectives;
use super::engine::Engine;
use super::key::CacheKey;
use super::lookup::{Ask, Forward};
use super::outcome::{ForwardReason, Outcome, Reason};
use super::policy::{Asked, invalidation};
use super::request::Request;
use super::settings::ClientDirectives;
use crate::fields::range::{self, ByteRangeSpec};
use crate::fields::view::FieldView;
use http::header;
use std::sync::Arc;

pub(super) fn asked<'a>(ask: &Ask<'a>) -> Asked<'a> {
    Asked {
        method: ask.method,
        path: ask.target.path,
        headers: ask.headers,
    }
}

/// A request that goes past the cache. What may change what is stored is kept, to be judged by.
pub(super) fn passed(
    engine: &Engine,
    ask: &Ask<'_>,
    forward: ForwardReason,
    reason: Reason,
) -> Forward {
    let why = (forward, Some(reason));
    let changes = !invalidation::is_safe(ask.method) || reason == Reason::OnWrite;
    let request = changes.then(|| {
        let key = CacheKey::new(ask.target, ask.headers, &ask.rules.key);
        let touched = engine.fills.touched(&key);
        let since = engine.store.ledger().begin();
        let request = Request::since(ask, key, why, since);
        Arc::new(request.passed(touched, bypass::is_for_nobody_else(ask)))
    });
    Forward::new(Outcome::forwarded(forward, Some(reason)), request)
}

/// RFC 9111 §5.2.1.7.
pub(super) fn only_if_cached(ask: &Ask<'_>) -> bool {
    ask.rules.clients != ClientDirectives::Ignore
        && RequestDirectives::of(ask.headers).only_if_cached
}

/// Whether a request wants the body from its first octet to its end, so that fetching all of it is no more than was asked.
pub(super) fn from_its_beginning(headers: FieldView<'_>) -> bool {
    let Some(value) = headers.get(&header::RANGE) else {
        return true;
    };
    // RFC 9110 §14.2: a field that cannot be read is ignored.
    let Some(specs) = range::parse(value) else {
        return true;
    };
    matches!(specs[..], [ByteRangeSpec::From { first: 0 }])
}

/// Whether a request is for one range of octets.
pub(super) fn is_single_range(headers: FieldView<'_>) -> bool {
    let range = headers.single(&header::RANGE);
    range
        .and_then(range::parse)
        .is_some_and(|specs| specs.len() == 1)
}
