//! Who may use the control plane.
//!
//! A loopback listener is reachable by every page in a browser on the same machine, so location alone proves nothing
//! there: a page of another site is refused by its `Origin`, and one that has rebound its own name to 127.0.0.1 by
//! its `Host`. Beyond the machine only the bearer token counts.

use std::hint::black_box;
use std::net::IpAddr;

use http::header::{AUTHORIZATION, HOST, ORIGIN};
use http::uri::Authority;
use http::{HeaderMap, StatusCode};

use super::settings::{AdminListen, AdminSettings};

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

/// Why a call is refused. The text is for the person who made it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error(
        "`Host: {0}` is not an address of this listener; use its IP address or localhost, or send the token"
    )]
    ForeignHost(String),
    #[error("`Origin: {0}` is another site")]
    ForeignOrigin(String),
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
            Self::ForeignHost(_) | Self::ForeignOrigin(_) | Self::TokenUnset => {
                StatusCode::FORBIDDEN
            }
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

    /// Whether a request with these fields may make a call that needs `need`.
    pub(super) fn admit(&self, need: Need, fields: &HeaderMap) -> Result<(), Refusal> {
        same_site(fields)?;
        let token = self.token(fields);
        match (need, self.reach, &self.token) {
            (Need::Probe, ..)
            | (Need::Read, Reach::Unix | Reach::Loopback, _)
            | (Need::Change, Reach::Unix | Reach::Loopback, None) => {}
            (Need::Read | Need::Change, Reach::Network, None) => return Err(Refusal::TokenUnset),
            (Need::Read, Reach::Network, Some(_)) | (Need::Change, _, Some(_)) => token.clone()?,
        }
        // Whoever has the token is no rebound page. Elsewhere than on loopback rebinding gains nothing.
        if self.reach == Reach::Loopback && token.is_err() {
            own_host(fields)?;
        }
        Ok(())
    }

    /// Whether the request carries the token.
    fn token(&self, fields: &HeaderMap) -> Result<(), Refusal> {
        let expected = self.token.as_deref().ok_or(Refusal::TokenUnset)?;
        let given = fields
            .get(AUTHORIZATION)
            .ok_or(Refusal::TokenMissing)?
            .as_bytes();
        let (scheme, given) = given.split_at_checked(7).ok_or(Refusal::TokenWrong)?;
        if scheme.eq_ignore_ascii_case(b"bearer ") && equal(given.trim_ascii(), expected.as_bytes())
        {
            Ok(())
        } else {
            Err(Refusal::TokenWrong)
        }
    }
}

/// Compares in a time that depends on the lengths only.
fn equal(a: &[u8], b: &[u8]) -> bool {
    let difference = a
        .iter()
        .zip(b)
        .fold(0, |difference, (a, b)| black_box(difference | (a ^ b)));
    a.len() == b.len() && difference == 0
}

/// Browsers name the site of a page in `Origin` with every call that could change something.
fn same_site(fields: &HeaderMap) -> Result<(), Refusal> {
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
/// A request without `Host` (HTTP/1.0 probes) comes from no browser.
fn own_host(fields: &HeaderMap) -> Result<(), Refusal> {
    let Some(host) = fields.get(HOST) else {
        return Ok(());
    };
    let host = host.to_str().unwrap_or_default();
    let name = Authority::try_from(host).ok().map(|authority| {
        let name = authority.host();
        name.trim_start_matches('[')
            .trim_end_matches(']')
            .to_ascii_lowercase()
    });
    match name {
        Some(name) if name == "localhost" || name.parse::<IpAddr>().is_ok() => Ok(()),
        _ => Err(Refusal::ForeignHost(host.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};

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
        list.iter()
            .map(|(name, value)| {
                let name = HeaderName::from_static(name);
                (name, HeaderValue::from_static(value))
            })
            .collect()
    }

    #[test]
    fn who_needs_a_token() {
        use Need::{Change, Probe, Read};
        let (bare, wrong, right): (&[_], &[_], &[_]) = (
            &[("host", "127.0.0.1")],
            &[("host", "127.0.0.1"), ("authorization", "Bearer secreT")],
            &[("host", "127.0.0.1"), ("authorization", "bearer secret")],
        );
        let (unset, missing, bad) = (
            Err(Refusal::TokenUnset),
            Err(Refusal::TokenMissing),
            Err(Refusal::TokenWrong),
        );
        for (listen, token, need, fields_sent, expected) in [
            ("127.0.0.1:9900", None, Change, bare, &Ok(())),
            ("127.0.0.1:9900", Some("secret"), Read, bare, &Ok(())),
            ("127.0.0.1:9900", Some("secret"), Change, bare, &missing),
            ("127.0.0.1:9900", Some("secret"), Change, wrong, &bad),
            ("127.0.0.1:9900", Some("secret"), Change, right, &Ok(())),
            ("[::1]:9900", None, Change, bare, &Ok(())),
            ("unix:/run/a.sock", None, Change, bare, &Ok(())),
            ("unix:/run/a.sock", Some("secret"), Change, bare, &missing),
            ("0.0.0.0:9900", None, Probe, bare, &Ok(())),
            ("0.0.0.0:9900", None, Read, bare, &unset),
            ("0.0.0.0:9900", None, Change, right, &unset),
            ("0.0.0.0:9900", Some("secret"), Read, bare, &missing),
            ("0.0.0.0:9900", Some("secret"), Read, right, &Ok(())),
        ] {
            let admitted = access(listen, token).admit(need, &fields(fields_sent));
            assert_eq!(
                &admitted, expected,
                "{listen} {token:?} {need:?} {fields_sent:?}"
            );
        }
    }

    #[test]
    fn pages_are_kept_out() {
        for (listen, sent, admitted) in [
            ("127.0.0.1:9900", &[("host", "127.0.0.1:9900")][..], true),
            ("127.0.0.1:9900", &[("host", "LocalHost:9900")], true),
            ("127.0.0.1:9900", &[("host", "[::1]:9900")], true),
            ("127.0.0.1:9900", &[], true),
            ("127.0.0.1:9900", &[("host", "evil.example:9900")], false),
            (
                "127.0.0.1:9900",
                &[("host", "127.0.0.1.evil.example")],
                false,
            ),
            ("127.0.0.1:9900", &[("host", "a b")], false),
            (
                "127.0.0.1:9900",
                &[("host", "evil.example"), ("authorization", "Bearer secret")],
                true,
            ),
            ("unix:/run/a.sock", &[("host", "anything")], true),
            ("0.0.0.0:9900", &[("host", "forebay:9900")], true),
            (
                "127.0.0.1:9900",
                &[
                    ("host", "localhost:9900"),
                    ("origin", "http://localhost:9900"),
                ],
                true,
            ),
            (
                "127.0.0.1:9900",
                &[
                    ("host", "localhost:9900"),
                    ("origin", "http://evil.example"),
                ],
                false,
            ),
            (
                "0.0.0.0:9900",
                &[("host", "forebay:9900"), ("origin", "null")],
                false,
            ),
        ] {
            let outcome = access(listen, Some("secret")).admit(Need::Probe, &fields(sent));
            assert_eq!(outcome.is_ok(), admitted, "{listen} {sent:?}: {outcome:?}");
        }
    }

    #[test]
    fn a_token_is_equal_only_to_itself() {
        for (a, b, same) in [
            ("secret", "secret", true),
            ("secret", "secre", false),
            ("", "x", false),
        ] {
            assert_eq!(equal(a.as_bytes(), b.as_bytes()), same, "{a} {b}");
        }
    }
}
