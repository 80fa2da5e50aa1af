//! `https = "redirect"`: what it makes of the routes, which is all that it does.
//!
//! Every route that says nothing of the scheme becomes one for `https`, and one more route redirects what is left. A route that is
//! for `http` in so many words stays: certificates are renewed over it (`/.well-known/acme-challenge/`).

use http::StatusCode;

use super::error::Report;
use super::file::{File, Route};
use crate::access::settings::AccessSettings;
use crate::cache::settings::Rules;
use crate::routing::settings::{Action, RouteSettings, Scheme};

/// Changes the routes as it is told.
pub(super) fn redirect(file: &mut File, report: &Report) {
    let Some(place) = file.server.https else {
        return;
    };
    let has_tls = file.listen.iter().any(|listen| listen.value.tls.is_some());
    if !has_tls && file.server.proxy.trusted_proxies.is_empty() {
        report.error(
            place,
            "every request would be redirected for ever: no listener has `tls`, and there are no `trusted_proxies` \
             whose word would count",
        );
    }
    for route in &mut file.routes {
        let scheme = &mut route.settings.matches.scheme;
        scheme.get_or_insert(Scheme::Https);
    }
    file.routes.push(Route {
        place,
        name: None,
        pattern: "https".to_owned(),
        settings: {
            let mut settings = RouteSettings::for_all(Action::Redirect {
                to: "https://{host}{uri}".to_owned(),
                // 301 would let a client make a GET of a POST.
                status: StatusCode::PERMANENT_REDIRECT,
            });
            settings.matches.scheme = Some(Scheme::Http);
            settings
        },
        targets: Vec::new(),
        rules: Rules::off(),
        rate_limits: Vec::new(),
        access: AccessSettings::default(),
        service: None,
    });
}
