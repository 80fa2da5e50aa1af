//! `[admin]`: where the control plane listens, and what its callers must show.

use super::reader::{Key, Section, Spotted, key};
use super::value::At;
use super::{addresses, scalars};
use crate::admin::settings::AdminSettings;
use crate::config::source::Place;

pub(super) static KEYS: &[Key] = &[key("listen"), key("token")];

/// The settings and the place of the address, or `start` when there is none.
pub(super) fn read(section: Option<Section<'_>>, start: Place) -> Spotted<AdminSettings> {
    let mut value = AdminSettings::default();
    let mut place = start;
    if let Some(section) = section {
        place = section.at("listen").map_or(section.place, At::place);
        value.listen = section.or("listen", value.listen, |at| {
            at.parse(addresses::admin_listen)
        });
        value.token = section.get("token", secret);
    }
    Spotted { value, place }
}

/// A token that callers show in a field.
pub(super) fn secret(at: At<'_>) -> Option<String> {
    match at.text()? {
        // Without the text, which is a secret.
        token if scalars::header_value(token).is_err() => {
            at.fail("expected a secret of visible ASCII on one line, without outer spaces")
        }
        "" => at.fail("expected a secret text, found nothing"),
        token => Some(token.to_owned()),
    }
}
