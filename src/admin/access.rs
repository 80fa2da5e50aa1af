//! Who may use the control plane.
//!
//! A loopback listener is reachable by every page in a browser on the same machine, so location alone proves nothing
//! there: a page of another site is refused by its `Sec-Fetch-Site` or its `Origin`, and one that has rebound its own name
//! to 127.0.0.1, which sends neither, by its `Host`. Beyond the machine only the bearer token counts, which no page has.

use std::net::IpAddr;

use http::header::{AUTHORIZATION, HOST, ORIGIN};
use http::uri::Authority;
use http::{HeaderMap, HeaderName, Method, StatusCode};
use subtle::ConstantTimeEq;

use super::settings::{AdminListen, AdminSettings};
use crate::fields::credentials;

/// What a browser says of the page that made it ask (Fetch Metadata Request Headers); no page can set or hide them.
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// See [`SEC_FETCH_SITE`].
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
/// See [`SEC_FETCH_SITE`].
const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");

/// What a call needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// Probes of orchestrators, which send no token.
    Probe,
    /// Reads the state.
    Read,
    /// Changes the state.
    Change,
}

/// How much a caller that is let in may be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admitted {
    /// All.
    InFull,
    /// Whether, but neither what nor why: it may be a page.
    Briefly,
}

/// Why a call is refused. The text is for the person who made it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error(
        "`Host: {0}` is not an address of this listener; use its IP address or localhost, or send the token"
    )]
    ForeignHost(String),
    #[error(
        "`Origin: {0}` is another site than this listener's; pages of other sites are not served here"
    )]
    ForeignOrigin(String),
    #[error(
        "a page of another site made the browser ask (`Sec-Fetch-Site: {0}`); open this address itself instead"
    )]
    ForeignPage(String),
    #[error("a token is needed: `Authorization: Bearer …` with the `token` of [admin]")]
    TokenMissing,
    #[error("this is not the `token` of [admin]")]
    TokenWrong,
    #[error("this listener is reachable from other machines and [admin] has no `token`; set one")]
    TokenUnset,
}

impl Refusal {
    /// The status of its answer.
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::TokenMissing | Self::TokenWrong => StatusCode::UNAUTHORIZED,
            Self::ForeignHost(_)
            | Self::ForeignOrigin(_)
            | Self::ForeignPage(_)
            | Self::TokenUnset => StatusCode::FORBIDDEN,
        }
    }
}

/// From where a listener can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// By processes of our user, which no browser is.
    Unix,
    /// By everything on this machine.
    Loopback,
    /// By other machines.
    Network,
}

/// The rules of one listener.
#[derive(Clone)]
pub struct Access {
    reach: Reach,
    token: Option<String>,
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Access")
            .field("reach", &self.reach)
            .field("token", &self.token.as_ref().map(|_| "…"))
            .finish()
    }
}

impl Access {
    /// The rules that follow from `[admin]`.
    pub fn new(settings: &AdminSettings) -> Self {
        let reach = match &settings.listen {
            Some(AdminListen::Tcp(addr)) if addr.ip().to_canonical().is_loopback() => {
                Reach::Loopback
            }
            Some(AdminListen::Tcp(_)) => Reach::Network,
            Some(AdminListen::Unix(_)) | None => Reach::Unix,
        };
        Self {
            reach,
            token: settings.token.clone(),
        }
    }

    /// Whether a request of this method with these fields may make a call that needs `need`.
    pub(super) fn admit(
        &self,
        need: Need,
        method: &Method,
        fields: &HeaderMap,
    ) -> Result<Admitted, Refusal> {
        own_page(need, method, fields)?;
        own_origin(fields)?;
        let token = self.token(fields);
        match (need, self.reach, &self.token) {
            (Need::Probe, ..)
            | (Need::Read, Reach::Unix | Reach::Loopback, _)
            | (Need::Change, Reach::Unix | Reach::Loopback, None) => {}
            (Need::Read | Need::Change, Reach::Network, None) => return Err(Refusal::TokenUnset),
            (Need::Read, Reach::Network, Some(_)) | (Need::Change, _, Some(_)) => token.clone()?,
        }
        // Whoever has the token is no rebound page. Elsewhere than on loopback rebinding gains nothing.
        if self.reach != Reach::Loopback || token.is_ok() {
            return Ok(Admitted::InFull);
        }
        match own_host(fields) {
            Ok(()) => Ok(Admitted::InFull),
            // Orchestrators probe under whatever name they gave the service.
            Err(_) if need == Need::Probe => Ok(Admitted::Briefly),
            Err(refusal) => Err(refusal),
        }
    }

    /// Whether the request carries the token.
    fn token(&self, fields: &HeaderMap) -> Result<(), Refusal> {
        let expected = self.token.as_deref().ok_or(Refusal::TokenUnset)?;
        let mut given = fields.get_all(AUTHORIZATION).iter();
        let (given, again) = (given.next().ok_or(Refusal::TokenMissing)?, given.next());
        match credentials::bearer(given.as_bytes()) {
            Some(given) if again.is_none() && bool::from(given.ct_eq(expected.as_bytes())) => {
                Ok(())
            }
            _ => Err(Refusal::TokenWrong),
        }
    }
}

/// A browser says whether a page of ours asks, or its user. Following a link from elsewhere is the user's doing, and the
/// page with the link does not see where it leads; that must not change anything, and is not asked for by a frame.
fn own_page(need: Need, method: &Method, fields: &HeaderMap) -> Result<(), Refusal> {
    let is = |name, value: &str| fields.get(name).is_some_and(|given| given == value);
    let Some(site) = fields.get(SEC_FETCH_SITE) else {
        return Ok(());
    };
    let followed = need != Need::Change
        && method == Method::GET
        && is(SEC_FETCH_MODE, "navigate")
        && is(SEC_FETCH_DEST, "document");
    if followed || site == "same-origin" || site == "none" {
        return Ok(());
    }
    let site = String::from_utf8_lossy(site.as_bytes()).into_owned();
    Err(Refusal::ForeignPage(site))
}

/// Browsers name the site of a page in `Origin` with every call that could change something.
fn own_origin(fields: &HeaderMap) -> Result<(), Refusal> {
    let Some(origin) = fields.get(ORIGIN) else {
        return Ok(());
    };
    let site = origin.to_str().unwrap_or_default();
    let host = fields.get(HOST).and_then(|host| host.to_str().ok());
    let authority = site.split_once("://").map(|(_, authority)| authority);
    match (authority, host) {
        (Some(authority), Some(host)) if authority.eq_ignore_ascii_case(host) => Ok(()),
        _ => Err(Refusal::ForeignOrigin(site.to_owned())),
    }
}

/// A page can reach us under its own name, but never under an IP address or localhost, which need no name to be resolved.
/// A request without `Host` (HTTP/1.0 probes) comes from no browser, and none sends two.
fn own_host(fields: &HeaderMap) -> Result<(), Refusal> {
    let mut hosts = fields.get_all(HOST).iter();
    let (Some(host), again) = (hosts.next(), hosts.next()) else {
        return Ok(());
    };
    let host = String::from_utf8_lossy(host.as_bytes());
    if again.is_some() {
        return Err(Refusal::ForeignHost(format!("{host}, …")));
    }
    let name = Authority::try_from(&*host).ok().map(|authority| {
        let name = authority.host();
        name.trim_start_matches('[')
            .trim_end_matches(']')
            .to_ascii_lowercase()
    });
    match name {
        // RFC 6761 §6.3 has all below `localhost` resolved to this machine, without asking anybody.
        Some(name)
            if name == "localhost"
                || name.ends_with(".localhost")
                || name.parse::<IpAddr>().is_ok() =>
        {
            Ok(())
        }
        _ => Err(Refusal::ForeignHost(host.into_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn access(listen: &str, token: Option<&str>) -> Access {
        let listen = match listen.strip_prefix("unix:") {
            Some(path) => AdminListen::Unix(path.into()),
            None => AdminListen::Tcp(listen.parse().expect("an address")),
        };
        Access::new(&AdminSettings {
            listen: Some(listen),
            token: token.map(str::to_owned),
        })
    }

    fn fields(list: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut fields = HeaderMap::new();
        for (name, value) in list {
            fields.append(*name, HeaderValue::from_static(value));
        }
        fields
    }

    #[test]
    fn who_needs_a_token() {
        use Need::{Change, Probe, Read};
        let (bare, wrong, right): (&[_], &[_], &[_]) = (
            &[("host", "127.0.0.1")],
            &[("host", "127.0.0.1"), ("authorization", "Bearer secreT")],
            &[("host", "127.0.0.1"), ("authorization", "bearer secret")],
        );
        let twice: &[_] = &[
            ("authorization", "Bearer secret"),
            ("authorization", "Bearer x"),
        ];
        let full = Ok(Admitted::InFull);
        let (unset, missing, bad) = (
            Err(Refusal::TokenUnset),
            Err(Refusal::TokenMissing),
            Err(Refusal::TokenWrong),
        );
        for (listen, token, need, fields_sent, expected) in [
            ("127.0.0.1:9900", None, Change, bare, &full),
            ("127.0.0.1:9900", Some("secret"), Read, bare, &full),
            ("127.0.0.1:9900", Some("secret"), Change, bare, &missing),
            ("127.0.0.1:9900", Some("secret"), Change, wrong, &bad),
            ("127.0.0.1:9900", Some("secret"), Change, right, &full),
            ("127.0.0.1:9900", Some("secret"), Change, twice, &bad),
            ("[::1]:9900", None, Change, bare, &full),
            ("unix:/run/a.sock", None, Change, bare, &full),
            ("unix:/run/a.sock", Some("secret"), Change, bare, &missing),
            ("0.0.0.0:9900", None, Probe, bare, &full),
            ("0.0.0.0:9900", None, Read, bare, &unset),
            ("0.0.0.0:9900", None, Change, right, &unset),
            ("0.0.0.0:9900", Some("secret"), Read, bare, &missing),
            ("0.0.0.0:9900", Some("secret"), Read, right, &full),
        ] {
            let admitted = access(listen, token).admit(need, &Method::GET, &fields(fields_sent));
            assert_eq!(
                &admitted, expected,
                "{listen} {token:?} {need:?} {fields_sent:?}"
            );
        }
    }

    /// What a browser adds when a page of `site` asks in the background, as the Fetch standard has it.
    const BACKGROUND: (&str, &str) = ("sec-fetch-mode", "no-cors");

    #[test]
    fn pages_are_kept_out() {
        let (loopback, network, unix) = ("127.0.0.1:9900", "0.0.0.0:9900", "unix:/run/a.sock");
        let right = ("authorization", "Bearer secret");
        for (what, listen, sent, admitted) in [
            ("curl", loopback, &[("host", "127.0.0.1:9900")][..], true),
            ("curl", loopback, &[("host", "LocalHost:9900")], true),
            ("curl", loopback, &[("host", "[::1]:9900")], true),
            ("curl", loopback, &[("host", "edge.localhost:9900")], true),
            ("HTTP/1.0", loopback, &[], true),
            ("rebound", loopback, &[("host", "evil.test:9900")], false),
            (
                "rebound",
                loopback,
                &[("host", "127.0.0.1.evil.test")],
                false,
            ),
            (
                "rebound",
                loopback,
                &[("host", "localhost.evil.test")],
                false,
            ),
            ("rebound", loopback, &[("host", "xlocalhost")], false),
            ("garbage", loopback, &[("host", "a b")], false),
            (
                "smuggled",
                loopback,
                &[("host", "localhost"), ("host", "evil.test")],
                false,
            ),
            (
                "the token",
                loopback,
                &[("host", "forebay:9900"), right],
                true,
            ),
            (
                "a service's name",
                network,
                &[("host", "forebay:9900"), right],
                true,
            ),
            ("a socket", unix, &[("host", "anything")], true),
            (
                "a page of ours",
                loopback,
                &[
                    ("host", "localhost:9900"),
                    ("origin", "http://localhost:9900"),
                    ("sec-fetch-site", "same-origin"),
                ],
                true,
            ),
            (
                "its address typed",
                loopback,
                &[("host", "localhost:9900"), ("sec-fetch-site", "none")],
                true,
            ),
            (
                "a form elsewhere",
                loopback,
                &[("host", "localhost:9900"), ("origin", "http://evil.test")],
                false,
            ),
            (
                "the app beside us",
                loopback,
                &[
                    ("host", "localhost:9900"),
                    ("origin", "http://localhost:8080"),
                ],
                false,
            ),
            (
                "an image elsewhere",
                loopback,
                &[
                    ("host", "localhost:9900"),
                    ("sec-fetch-site", "cross-site"),
                    BACKGROUND,
                ],
                false,
            ),
            (
                "an image beside us",
                loopback,
                &[
                    ("host", "localhost:9900"),
                    ("sec-fetch-site", "same-site"),
                    BACKGROUND,
                ],
                false,
            ),
            (
                "a frame elsewhere",
                loopback,
                &[
                    ("host", "localhost:9900"),
                    ("sec-fetch-site", "cross-site"),
                    ("sec-fetch-mode", "navigate"),
                    ("sec-fetch-dest", "iframe"),
                ],
                false,
            ),
            (
                "a link elsewhere",
                loopback,
                &[
                    ("host", "localhost:9900"),
                    ("sec-fetch-site", "cross-site"),
                    ("sec-fetch-mode", "navigate"),
                    ("sec-fetch-dest", "document"),
                ],
                true,
            ),
            (
                "a file opened",
                network,
                &[("host", "forebay:9900"), ("origin", "null"), right],
                false,
            ),
            (
                "a page with the token",
                network,
                &[
                    ("host", "forebay:9900"),
                    ("sec-fetch-site", "cross-site"),
                    right,
                ],
                false,
            ),
            (
                "a page's socket",
                unix,
                &[("host", "localhost"), ("origin", "http://evil.test")],
                false,
            ),
        ] {
            let outcome =
                access(listen, Some("secret")).admit(Need::Read, &Method::GET, &fields(sent));
            assert_eq!(
                outcome.is_ok(),
                admitted,
                "{what}: {listen} {sent:?}: {outcome:?}"
            );
        }
    }

    #[test]
    fn a_link_reads_and_never_changes() {
        let sent = fields(&[
            ("host", "localhost:9900"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "document"),
        ]);
        for (need, method, admitted) in [
            (Need::Read, Method::GET, true),
            (Need::Read, Method::POST, false),
            (Need::Change, Method::POST, false),
            (Need::Change, Method::GET, false),
        ] {
            let outcome = access("127.0.0.1:9900", None).admit(need, &method, &sent);
            assert_eq!(outcome.is_ok(), admitted, "{need:?} {method}: {outcome:?}");
        }
    }

    #[test]
    fn probes_come_under_any_name() {
        for (listen, host, expected) in [
            ("127.0.0.1:9900", "127.0.0.1:9900", Admitted::InFull),
            ("127.0.0.1:9900", "10.2.3.4:9900", Admitted::InFull),
            ("127.0.0.1:9900", "forebay:9900", Admitted::Briefly),
            ("0.0.0.0:9900", "forebay:9900", Admitted::InFull),
            ("unix:/run/a.sock", "forebay", Admitted::InFull),
        ] {
            let sent = fields(&[("host", host)]);
            let outcome = access(listen, Some("secret")).admit(Need::Probe, &Method::GET, &sent);
            assert_eq!(outcome, Ok(expected), "{listen} {host}");
        }
    }
}
