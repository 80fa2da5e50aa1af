//! What the failures of requests say about an address.

use crate::upstream::settings::EjectSettings;

/// Whether an address that has failed `failures` times in a row is left out for a while. Never the last one that is
/// available: an origin that fails some requests is better than none.
pub fn ejects(
    failures: u32,
    settings: &EjectSettings,
    others_available: impl FnOnce() -> bool,
) -> bool {
    settings.failures != 0 && failures >= settings.failures && others_available()
}

/// Whether an answer of this status counts as the server's failure. 500 does not: it is one request's bug, where these
/// three are what a gateway or a worker that is overwhelmed says.
pub fn is_failure(status: http::StatusCode) -> bool {
    matches!(status.as_u16(), 502..=504)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_ejected() {
        for (failures, limit, others, ejected) in [
            (2, 3, true, false),
            (3, 3, true, true),
            (9, 3, true, true),
            (9, 3, false, false),
            (9, 0, true, false),
        ] {
            let settings = EjectSettings {
                failures: limit,
                ..EjectSettings::default()
            };
            assert_eq!(
                ejects(failures, &settings, || others),
                ejected,
                "{failures} of {limit}, others: {others}"
            );
        }
    }
}
