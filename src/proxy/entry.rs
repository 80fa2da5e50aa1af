//! What a request's head tells at the door, whichever lane it came by: whom it is from, its id, its scheme.

use super::Site;
use crate::fields::token::parse_digits;
use crate::fields::view::{FieldView, Marks};
use crate::fields::{forwarded, host, via};
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
/// change what the request means to an origin without changing what routes and caches see. What CDNs and application servers have
/// for it is among them: some framework believes each.
static ONLY_FROM_TRUSTED: [HeaderName; 28] = [
    X_REAL_IP,
    X_REQUEST_ID,
    FORWARDED,
    HeaderName::from_static("x-client-ip"),
    HeaderName::from_static("x-scheme"),
    HeaderName::from_static("x-url-scheme"),
    HeaderName::from_static("front-end-https"),
    HeaderName::from_static("x-original-url"),
    HeaderName::from_static("x-original-uri"),
    HeaderName::from_static("x-original-method"),
    HeaderName::from_static("x-rewrite-url"),
    HeaderName::from_static("x-http-method-override"),
    HeaderName::from_static("x-http-method"),
    HeaderName::from_static("x-method-override"),
    HeaderName::from_static("x-host"),
    HeaderName::from_static("x-original-host"),
    HeaderName::from_static("x-original-forwarded-for"),
    HeaderName::from_static("x-forwarded"),
    HeaderName::from_static("x-cluster-client-ip"),
    HeaderName::from_static("x-originating-ip"),
    HeaderName::from_static("x-proxyuser-ip"),
    HeaderName::from_static("x-remote-ip"),
    HeaderName::from_static("client-ip"),
    HeaderName::from_static("true-client-ip"),
    HeaderName::from_static("cf-connecting-ip"),
    HeaderName::from_static("fastly-client-ip"),
    HeaderName::from_static("proxy-client-ip"),
    HeaderName::from_static("wl-proxy-client-ip"),
];

/// Whether a field, named in any case, is one that a stranger has no say in.
pub fn is_claim(name: &str) -> bool {
    // Nearly every other field begins with another letter and does not end as `-IP` does.
    let octets = name.as_bytes();
    let (first, last) = match (octets.first(), octets.last()) {
        (Some(first), Some(last)) => (first | 0x20, last | 0x20),
        _ => return false,
    };
    if !matches!(first, b'x' | b'f') && last != b'p' {
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

/// What a trusted proxy may say of the request itself that is not in the target: how it has to read for the key to hold it.
#[derive(Debug, Clone, Copy)]
enum Told {
    /// The host that was asked.
    Host,
    /// Its port.
    Port,
    /// The scheme.
    Scheme,
    /// Whether that was https: "on" or "off".
    Tls,
    /// Scheme and host, in the parameters of RFC 7239.
    Forwarded,
    /// Another path or method: the key never holds it.
    Another,
}

static TOLD: [(HeaderName, Told); 21] = [
    (X_FORWARDED_HOST, Told::Host),
    (HeaderName::from_static("x-forwarded-port"), Told::Port),
    (X_FORWARDED_PROTO, Told::Scheme),
    (
        HeaderName::from_static("x-forwarded-protocol"),
        Told::Scheme,
    ),
    (HeaderName::from_static("x-forwarded-scheme"), Told::Scheme),
    (HeaderName::from_static("x-scheme"), Told::Scheme),
    (HeaderName::from_static("x-url-scheme"), Told::Scheme),
    (HeaderName::from_static("x-forwarded-ssl"), Told::Tls),
    (HeaderName::from_static("front-end-https"), Told::Tls),
    (FORWARDED, Told::Forwarded),
    (X_FORWARDED_PREFIX, Told::Another),
    (HeaderName::from_static("x-forwarded-path"), Told::Another),
    (HeaderName::from_static("x-forwarded-uri"), Told::Another),
    (HeaderName::from_static("x-forwarded-method"), Told::Another),
    (HeaderName::from_static("x-original-url"), Told::Another),
    (HeaderName::from_static("x-original-uri"), Told::Another),
    (HeaderName::from_static("x-original-method"), Told::Another),
    (HeaderName::from_static("x-rewrite-url"), Told::Another),
    (
        HeaderName::from_static("x-http-method-override"),
        Told::Another,
    ),
    (HeaderName::from_static("x-http-method"), Told::Another),
    (HeaderName::from_static("x-method-override"), Told::Another),
];

const TOLD_MARKS: Marks = Marks::of(&[
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-forwarded-protocol",
    "x-forwarded-scheme",
    "x-scheme",
    "x-url-scheme",
    "x-forwarded-ssl",
    "front-end-https",
    "forwarded",
    "x-forwarded-prefix",
    "x-forwarded-path",
    "x-forwarded-uri",
    "x-forwarded-method",
    "x-original-url",
    "x-original-uri",
    "x-original-method",
    "x-rewrite-url",
    "x-http-method-override",
    "x-http-method",
    "x-method-override",
]);

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

impl Peer {
    /// Whether it says more of what is asked than the cache's key holds, so that what comes of it is for nobody else: a trusted
    /// proxy hands on what its own clients send, unless it was told not to. `keyed` are the fields that are part of the key
    /// by the route's word.
    #[inline]
    pub fn exceeds_key(
        self,
        fields: FieldView<'_>,
        scheme: Scheme,
        authority: &str,
        keyed: &[HeaderName],
    ) -> bool {
        self.trusted && fields.may_have(TOLD_MARKS) && tells_more(fields, scheme, authority, keyed)
    }
}

fn tells_more(
    fields: FieldView<'_>,
    scheme: Scheme,
    authority: &str,
    keyed: &[HeaderName],
) -> bool {
    let is_scheme = |word: &[u8]| word.eq_ignore_ascii_case(scheme.as_str().as_bytes());
    let default_port = match scheme {
        Scheme::Http => 80,
        Scheme::Https => 443,
    };
    // Nearly always it is the same text; hits behind a balancer come by here.
    let is_host = |said: &[u8]| {
        said.eq_ignore_ascii_case(authority.as_bytes()) || {
            let normal = |text| host::parse(text).map(|it| it.normalise(default_port));
            // With the dot that an absolute name has, links made of it would be of another origin to a browser.
            let has_dot = |text| host::parse(text).is_some_and(|it| it.host.ends_with('.'));
            let said = str::from_utf8(said).ok().filter(|it| !has_dot(it));
            let said = said.and_then(normal);
            said.is_some() && said == normal(authority)
        }
    };
    let is_port = |said: &[u8]| {
        let port = host::parse(authority).and_then(|it| it.port);
        parse_digits(said) == Some(port.unwrap_or(default_port).into())
    };
    TOLD.iter().any(|(name, told)| {
        // Of several lines, applications differ in which they take.
        !keyed.contains(name)
            && fields.get_all(name).any(|said| match told {
                Told::Host => !is_host(said),
                Told::Port => !is_port(said),
                Told::Scheme => !is_scheme(said),
                Told::Tls => {
                    let word: &[u8] = match scheme {
                        Scheme::Http => b"off",
                        Scheme::Https => b"on",
                    };
                    !said.eq_ignore_ascii_case(word)
                }
                Told::Forwarded => {
                    let mut hosts = forwarded::wherever(said, "host");
                    let mut schemes = forwarded::wherever(said, "proto");
                    !hosts.all(|said| said.is_some_and(is_host))
                        || !schemes.all(|said| said.is_some_and(is_scheme))
                }
                Told::Another => true,
            })
    })
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
    for digits in id.as_chunks_mut().0 {
        *digits = hexadecimal(fastrand::u32(..)).to_le_bytes();
    }
    id
}

/// Eight digits for 32 bits, those of the lowest bits in the lowest octet. All at a time: a digit for each octet of a word.
fn hexadecimal(bits: u32) -> u64 {
    const EACH: u64 = 0x0101_0101_0101_0101;
    let halves = (u64::from(bits) | u64::from(bits) << 16) & 0x0000_ffff_0000_ffff;
    let octets = (halves | halves << 8) & 0x00ff_00ff_00ff_00ff;
    let digits = (octets | octets << 4) & 0x0f0f_0f0f_0f0f_0f0f;
    // What is ten or more has this bit once six are added; `a` is 39 behind the octet that follows `9`.
    let letters = (digits + 6 * EACH) >> 4 & EACH;
    digits + u64::from(b'0') * EACH + 39 * letters
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
    use crate::fields::view::FieldLines;

    #[test]
    fn claims_in_any_case() {
        for (name, expected) in [
            ("X-Forwarded-For", true),
            ("x-forwarded-anything", true),
            ("x-forwarded-", true),
            ("X-Forwarded", true),
            ("X-Host", true),
            ("Client-IP", true),
            ("true-client-ip", true),
            ("CF-Connecting-IP", true),
            ("WL-Proxy-Client-IP", true),
            ("X-Original-Forwarded-For", true),
            ("Sleep", false),
            ("X-Forward", false),
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
    fn what_a_trusted_proxy_says_beyond_the_key() {
        let says = |trusted, scheme, authority, name: &str, value: &str, keyed: &[HeaderName]| {
            let lines = [httparse::Header {
                name,
                value: value.as_bytes(),
            }];
            let fields = FieldView::Lines(FieldLines::new(&lines));
            let peer = Peer {
                address: IpAddr::from([127, 0, 0, 1]),
                trusted,
                tls: false,
            };
            peer.exceeds_key(fields, scheme, authority, keyed)
        };
        for (name, value, exceeds) in [
            ("X-Forwarded-For", "6.6.6.6", false),
            ("X-Forwarded-Host", "a.test", false),
            ("X-Forwarded-Host", "A.test:80", false),
            ("X-Forwarded-Host", "a.test.", true),
            ("x-forwarded-host", "evil", true),
            ("X-Forwarded-Host", "a.test, evil", true),
            ("X-Forwarded-Host", "", true),
            ("X-Forwarded-Port", "80", false),
            ("X-Forwarded-Port", "1337", true),
            ("X-Forwarded-Proto", "HTTP", false),
            ("X-Forwarded-Proto", "https, http", true),
            ("X-Forwarded-Scheme", "https", true),
            ("X-Forwarded-Ssl", "off", false),
            ("Front-End-Https", "on", true),
            ("Forwarded", "for=6.6.6.6", false),
            ("Forwarded", "for=6.6.6.6;host=a.test;proto=http", false),
            ("Forwarded", "for=6.6.6.6;Host=evil", true),
            ("Forwarded", "for=\"a;host=evil", true),
            ("Forwarded", "proto=https", true),
            ("X-Forwarded-Prefix", "/x", true),
            ("X-Original-URL", "/", true),
            ("X-Rewrite-URL", "/", true),
            ("X-HTTP-Method-Override", "POST", true),
            ("X-Request-Id", "1", false),
            ("Accept", "*/*", false),
        ] {
            let found = says(true, Scheme::Http, "a.test", name, value, &[]);
            assert_eq!(found, exceeds, "{name}: {value}");
            // A stranger's are taken off.
            assert!(!says(false, Scheme::Http, "a.test", name, value, &[]));
            let keyed = [HeaderName::from_bytes(name.as_bytes()).expect("a name")];
            assert!(!says(true, Scheme::Http, "a.test", name, value, &keyed));
        }
        for (scheme, authority, name, value) in [
            (Scheme::Https, "a.test", "X-Forwarded-Port", "443"),
            (Scheme::Http, "a.test:8080", "X-Forwarded-Port", "8080"),
            (Scheme::Https, "a.test", "X-Forwarded-Ssl", "on"),
            (Scheme::Http, "[::1]:81", "X-Forwarded-Host", "[::1]:81"),
        ] {
            assert!(!says(true, scheme, authority, name, value, &[]), "{name}");
        }
        // An HTTP/1.0 client may name no host; two that are none are not the same one.
        let evil = "evil,evil";
        assert!(says(true, Scheme::Http, "", "X-Forwarded-Host", evil, &[]));
    }

    #[test]
    fn every_name_that_is_told_has_a_mark() {
        for (name, _) in &TOLD {
            let lines = [httparse::Header {
                name: name.as_str(),
                value: b"x",
            }];
            let fields = FieldView::Lines(FieldLines::new(&lines));
            assert!(fields.may_have(TOLD_MARKS), "{name}");
        }
    }

    #[test]
    fn ids_are_hexadecimal_and_differ() {
        let (one, other) = (new_id(), new_id());
        assert!(one.iter().all(u8::is_ascii_hexdigit));
        assert_ne!(one, other);
    }

    #[test]
    fn hexadecimal_digits_of_a_word() {
        for bits in [0, 0x0123_4567, 0x89ab_cdef, 0x9a9a_a9a9, u32::MAX] {
            let mut digits = hexadecimal(bits).to_le_bytes();
            digits.reverse();
            assert_eq!(str::from_utf8(&digits), Ok(&*format!("{bits:08x}")));
        }
    }
}
