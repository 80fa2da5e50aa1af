//! What the cache does on a route, in a few words: for `check`, `routes` and the banner.

use std::fmt::Write;

use crate::cache::settings::{OriginFields, Rules};
use crate::routing::settings::{Action, RouteSettings};
use crate::units::format_duration;

/// "off", "5m", "origin", "by status, else origin", "origin, refreshed every 5m"; nothing where nothing is forwarded.
pub(super) fn state(route: &RouteSettings, rules: &Rules) -> Option<String> {
    if !matches!(route.action, Action::Forward(_)) {
        return None;
    }
    if !rules.enabled {
        return Some("off".to_owned());
    }
    let others = match rules.ttl {
        Some(ttl) => Some(format_duration(ttl)),
        None if rules.origin == OriginFields::Ignore => None,
        None => Some("origin".to_owned()),
    };
    let mut text = match others {
        Some(others) if rules.ttl_by_status.is_empty() => others,
        Some(others) => format!("by status, else {others}"),
        None => "by status".to_owned(),
    };
    if let Some(every) = rules.refresh_every {
        let _ = write!(text, ", refreshed every {}", format_duration(every));
    }
    Some(text)
}
