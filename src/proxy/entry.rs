//! What a request's head tells at the door, whichever lane it came by: whom it is from, its id, its scheme.

use super::Site;
use crate::fields::view::{FieldView, Marks};
use crate::fields::{forwarded, via};
use crate::listen::stream::Client;
use crate::routing::settings::Scheme;
use http::header::{FORWARDED, HeaderName, VIA};
use std::net::IpAddr;

/// `CDN-Loop` (RFC 8586).
pub const CDN_LOOP: HeaderName = HeaderName::from_static("cdn-loop");
/// `X-Forwarded-For`, `-Proto`, `-Host`, `-Port` and `X-Real-IP`, as everyone writes them.
pub const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// See [`X_FORWARDED_FOR`].
pub const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// What was stripped from the path in front of an application that knows nothing of it.
pub const X_FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");
/// See [`X_FORWARDED_FOR`].
pub const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
/// See [`X_FORWARDED_FOR`].
pub const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
/// The id by which a request is found in everybody's logs.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Fields that only a trusted proxy may send, besides everything called `X-Forwarded-…`: they say who the client is, or
/// change what the request means to an origin without changing what routes and caches see.
static ONLY_FROM_TRUSTED: [HeaderName; 12] = [
    X_REAL_IP,
    X_REQUEST_ID,
    FORWARDED,
    HeaderName::from_static("x-client-ip"),
    HeaderName::from_static("x-scheme"),
    HeaderName::from_static("x-url-scheme"),
    HeaderName::from_static("front-end-https"),
    HeaderName::from_static("x-original-url"),
    HeaderName::from_static("x-rewrite-url"),
    HeaderName::from_static("x-http-method-override"),
    HeaderName::from_static("x-http-method"),
    HeaderName::from_static("x-method-override"),
];

/// Whether a field, named in any case, is one that a stranger has no say in.
pub fn is_claim(name: &str) -> bool {
    // Nearly every other field begins with another letter.
    if !matches!(name.as_bytes().first(), Some(b'x' | b'X' | b'f' | b'F')) {
        return false;
    }
    let forwarded = name
        .get(..12)
        .is_some_and(|beginning| beginning.eq_ignore_ascii_case("x-forwarded-"));
    forwarded
        || ONLY_FROM_TRUSTED
            .iter()
            .any(|claim| name.eq_ignore_ascii_case(claim.as_str()))
}

/// Who sends us requests, and whether what it says of others is believed.
#[derive(Debug, Clone, Copy)]
pub struct Peer {
    /// The other end of the connection, or whom the PROXY protocol vouches for.
    pub address: IpAddr,
    /// Whether it is one of `trusted_proxies`.
    pub trusted: bool,
    /// Whether it speaks TLS to us.
    pub tls: bool,
}

impl Peer {
    /// That of a connection.
    pub fn new(site: &Site, client: &Client) -> Self {
        let address = client.addr.ip().to_canonical();
        Self {
            address,
            trusted: is_trusted(site, address),
            tls: client.tls,
        }
    }

    /// The client. Of a trusted proxy's list, the rightmost address that is not a proxy of ours: what stands left of it, the
    /// client itself may have written.
    pub fn client(self, site: &Site, fields: FieldView<'_>) -> IpAddr {
        let mut client = self.address;
        if !self.trusted || !fields.contains(&X_FORWARDED_FOR) {
            return client;
        }
        let hops = forwarded::parse_x_forwarded_for(fields.get_all(&X_FORWARDED_FOR));
        for hop in hops.into_iter().rev() {
            let Some(hop) = hop else { break };
            client = hop.to_canonical();
            if !is_trusted(site, client) {
                break;
            }
        }
        client
    }

    /// The scheme that the client used: what a trusted proxy says of it, as far as that is one plain word, else what it is
    /// between us and our peer.
    pub fn scheme(self, fields: FieldView<'_>) -> Scheme {
        // Of several we would have to know who of them said what.
        let said = self.trusted.then(|| fields.single(&X_FORWARDED_PROTO));
        said.flatten()
            .and_then(scheme_named)
            .unwrap_or(if self.tls {
                Scheme::Https
            } else {
                Scheme::Http
            })
    }
}

fn is_trusted(site: &Site, address: IpAddr) -> bool {
    let proxies = &site.settings.trusted_proxies;
    proxies.iter().any(|net| net.contains(&address))
}

fn scheme_named(word: &[u8]) -> Option<Scheme> {
    let named = |scheme: &Scheme| word.eq_ignore_ascii_case(scheme.as_str().as_bytes());
    [Scheme::Http, Scheme::Https].into_iter().find(named)
}

/// The id that a trusted proxy gave, where it is a plain word of reasonable length. A stranger's is gone by now.
pub fn given_id(fields: FieldView<'_>) -> Option<&str> {
    const MARKS: Marks = Marks::of(&["x-request-id"]);
    if !fields.may_have(MARKS) {
        return None;
    }
    let given = std::str::from_utf8(fields.get(&X_REQUEST_ID)?).ok()?;
    let is_plain = (1..=128).contains(&given.len())
        && given
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.:+/=".contains(&b));
    is_plain.then_some(given)
}

/// An id of ours: 32 hexadecimal digits.
pub fn new_id() -> [u8; 32] {
    let mut id = [0; 32];
    let random = fastrand::u128(..).to_le_bytes();
    for (pair, octet) in id.chunks_exact_mut(2).zip(random) {
        if let [high, low] = pair {
            (*high, *low) = (octet >> 4, octet & 0xf);
        }
    }
    // All at a time, which a table would prevent: `a` is 39 behind the octet that follows `9`.
    for digit in &mut id {
        *digit += b'0' + u8::from(*digit > 9) * 39;
    }
    id
}

/// Whether a request has been here before.
pub fn is_loop(site: &Site, fields: FieldView<'_>) -> bool {
    const MARKS: Marks = Marks::of(&["via", "cdn-loop"]);
    if !fields.may_have(MARKS) {
        return false;
    }
    let name = &site.settings.name;
    via::contains(fields.get_all(&VIA), name)
        || via::cdn_loop_contains(fields.get_all(&CDN_LOOP), name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_in_any_case() {
        for (name, expected) in [
            ("X-Forwarded-For", true),
            ("x-forwarded-anything", true),
            ("x-forwarded-", true),
            ("X-Forwarded", false),
            ("Forwarded", true),
            ("X-Real-IP", true),
            ("X-REQUEST-ID", true),
            ("Front-End-Https", true),
            ("X-HTTP-Method-Override", true),
            ("X-Custom", false),
            ("Host", false),
            ("", false),
            ("x-forwarde\u{e9}-for", false),
        ] {
            assert_eq!(is_claim(name), expected, "{name}");
        }
    }

    #[test]
    fn ids_are_hexadecimal_and_differ() {
        let (one, other) = (new_id(), new_id());
        assert!(one.iter().all(u8::is_ascii_hexdigit));
        assert_ne!(one, other);
    }
}
