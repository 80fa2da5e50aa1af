//! What the cache does on a route, in a few words: for `check`, `routes` and the banner.

use std::fmt::Write;

use crate::cache::settings::{OriginFields, Rules};
use crate::routing::settings::{Action, RouteSettings};
use crate::units::format_duration;

/// "off", "5m", "origin", "origin, refreshed every 5m"; nothing where nothing is forwarded.
pub(super) fn state(route: &RouteSettings, rules: &Rules) -> Option<String> {
    if !matches!(route.action, Action::Forward(_)) {
        return None;
    }
    if !rules.enabled {
        return Some("off".to_owned());
    }
    let mut text = match rules.ttl {
        Some(ttl) => format_duration(ttl),
        None if rules.origin == OriginFields::Ignore => "by status".to_owned(),
        None => "origin".to_owned(),
    };
    if let Some(every) = rules.refresh_every {
        let _ = write!(text, ", refreshed every {}", format_duration(every));
    }
    Some(text)
}
