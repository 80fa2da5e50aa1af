//! `[rate_limit.NAME]` written back, those of single routes too: their name is the route's.

use super::writer::{Writer, bare_or_quoted, list, quoted};
use crate::rate::settings::RateLimitSettings;

pub(super) fn write(out: &mut Writer, limit: &RateLimitSettings) {
    let networks = limit.except.iter();
    out.section(&format!("[rate_limit.{}]", bare_or_quoted(&limit.name)));
    out.set("rate", quoted(&limit.rate.to_string()));
    out.set("burst", limit.burst);
    out.set("key", quoted(&limit.key.to_string()));
    out.set(
        "except",
        list(networks.map(|network| quoted(&network.to_string()))),
    );
    out.set("keys", limit.keys);
    out.set("dry_run", limit.dry_run);
}
