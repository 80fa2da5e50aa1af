//! `[admin]`: where the control plane listens, and what its callers must show.

use super::reader::{At, Key, Section, Spotted, key};
use super::scalars;
use crate::admin::settings::{AdminListen, AdminSettings};
use crate::config::source::Place;

pub(super) static KEYS: &[Key] = &[key("listen"), key("token")];

/// The settings and the place of the address, or `start` when there is none.
pub(super) fn read(section: Option<Section<'_>>, start: Place) -> Spotted<AdminSettings> {
    let mut value = AdminSettings::default();
    let mut place = start;
    if let Some(section) = section {
        place = section.at("listen").map_or(section.place, At::place);
        value.listen = section.or("listen", value.listen, listen);
        value.token = section.get("token", |at| {
            at.parse(scalars::header_value)?;
            match at.text()? {
                "" => at.fail("expected a secret text, found nothing"),
                token => Some(token.to_owned()),
            }
        });
    }
    Spotted { value, place }
}

fn listen(at: At<'_>) -> Option<Option<AdminListen>> {
    at.parse(|text| {
        if text == "off" {
            return Ok(None);
        }
        match scalars::unix_path(text) {
            Some(path) => path.map(|path| Some(AdminListen::Unix(path))),
            None => scalars::address(text).map(|address| Some(AdminListen::Tcp(address))),
        }
    })
}
