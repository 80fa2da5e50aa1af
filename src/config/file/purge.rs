//! `[purge]`: who may purge by the `PURGE` method, over the listeners that everybody uses.

use super::reader::{Key, Section, key};
use super::{admin, server};
use crate::proxy::settings::PurgeSettings;

pub(super) static KEYS: &[Key] = &[key("allow"), key("token")];

pub(super) fn read(section: Option<Section<'_>>) -> PurgeSettings {
    let Some(section) = section else {
        return PurgeSettings::default();
    };
    let settings = PurgeSettings {
        allow: section
            .get("allow", |at| {
                let everybody = "every client can purge; list the addresses of those who are to";
                server::networks(at, everybody)
            })
            .unwrap_or_default(),
        token: section.get("token", admin::secret),
    };
    if section.at("allow").is_none() && section.at("token").is_none() {
        section.note(
            section.place,
            "nobody may purge: neither `allow` nor `token` is set",
        );
    }
    settings
}
