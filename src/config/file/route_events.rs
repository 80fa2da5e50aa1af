//! `events` of a route: whether viewers may follow what changes below it.

use std::time::Duration;

use super::reader::{Key, key};
use super::value::At;
use crate::config::tree::Kind;
use crate::routing::normalise;
use crate::routing::settings::{EventSettings, PathMatch};

pub(super) static KEYS: &[Key] = &[key("viewers"), key("heartbeat")];

/// Viewers that one route may be set to.
const VIEWERS_MAX: usize = 1_000_000;

/// `true`, `false`, or a table with limits.
#[expect(
    clippy::option_option,
    reason = "the outer one is whether it could be read, the inner one is the setting"
)]
pub(super) fn read(at: At<'_>, path: &PathMatch) -> Option<Option<EventSettings>> {
    if matches!(at.kind(), Kind::Boolean(false)) {
        return Some(None);
    }
    let PathMatch::Prefix(prefix) = path else {
        return at.bad_key("\"events\" needs a `path` that is a prefix, such as \"/shop/\": the stream is `_events` below it");
    };
    // As requests' paths are compared.
    let prefix = normalise(prefix).map_or_else(|_| prefix.clone(), Into::into);
    let settings = EventSettings::below(&prefix);
    match at.kind() {
        Kind::Boolean(_) => Some(Some(settings)),
        Kind::Table(_) => {
            let section = at.section(KEYS)?;
            Some(Some(EventSettings {
                viewers: section.or("viewers", settings.viewers, |at| at.whole(1..=VIEWERS_MAX)),
                heartbeat: section.or("heartbeat", settings.heartbeat, |at| {
                    at.duration(Duration::from_secs(1)..=Duration::from_secs(300))
                }),
                ..settings
            }))
        }
        _ => at.expected("true, or a table such as { viewers = 1000 }"),
    }
}
