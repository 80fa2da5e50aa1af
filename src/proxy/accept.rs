//! Whether a request may enter, whom it is from, and which route it is for.

use super::Site;
use super::walk::{Entered, Verdict, Walk};
use crate::fields::{forwarded, hop_by_hop, host, uri, via};
use crate::listen::exchange::ticket::Ticket;
use crate::routing::settings::Scheme;
use crate::routing::{self, RequestView};
use http::header::{HeaderName, MAX_FORWARDS};
use http::{HeaderMap, Method, StatusCode, Version};
use pingora::http::RequestHeader;
use std::net::IpAddr;
use std::sync::Arc;

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
const ONLY_FROM_TRUSTED: [HeaderName; 12] = [
    X_REAL_IP,
    X_REQUEST_ID,
    http::header::FORWARDED,
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

/// Takes away what a stranger has no say in.
fn remove_claims(header: &mut RequestHeader) {
    let claims = |name: &&HeaderName| name.as_str().starts_with("x-forwarded-");
    let forwarded: Vec<HeaderName> = header.headers.keys().filter(claims).cloned().collect();
    for name in forwarded.iter().chain(&ONLY_FROM_TRUSTED) {
        header.remove_header(name);
    }
}

impl Entered {
    /// A request about which nothing is known but its connection.
    pub fn new(site: Arc<Site>, ticket: Arc<Ticket>) -> Self {
        let peer = ticket.client.addr.ip().to_canonical();
        let trusted = site
            .settings
            .trusted_proxies
            .iter()
            .any(|net| net.contains(&peer));
        Self {
            site,
            ticket,
            client: peer,
            trusted,
            path: String::new(),
            id: String::new(),
        }
    }
}

/// Decides; on success the walk knows its client, id, path and, where one matches, its route.
///
/// # Errors
/// The [`Verdict`] that the client is to be answered.
pub fn accept(header: &mut RequestHeader, walk: &mut Walk) -> Result<(), Verdict> {
    let Some(entered) = &mut walk.entered else {
        return Err(Verdict::new(StatusCode::INTERNAL_SERVER_ERROR, "internal"));
    };
    if entered.trusted {
        entered.client = client_behind(&header.headers, entered);
    } else {
        remove_claims(header);
    }
    entered.id = request_id(&header.headers);
    entered.path = path_of(header)?;
    let name = &entered.site.settings.name;
    if via::contains(header.headers.get_all(http::header::VIA), name)
        || via::cdn_loop_contains(header.headers.get_all(&CDN_LOOP), name)
    {
        return Err(Verdict::new(StatusCode::LOOP_DETECTED, "loop"));
    }
    count_forwards(header)?;

    let query = uri::split_path_query(target(header))
        .query
        .map(str::to_owned);
    let host = host::parse(entered.ticket.host.as_bytes()).map_or("", |authority| authority.host);
    let view = RequestView {
        scheme: scheme(&header.headers, entered),
        host,
        path: &entered.path,
        query: query.as_deref(),
        method: &header.method,
        headers: &header.headers,
    };
    walk.route = entered.site.routes.find(&view).cloned();
    let Some(route) = &walk.route else {
        return Err(Verdict::new(StatusCode::NOT_FOUND, "no-route"));
    };
    if let Some(limit) = route.body_limit {
        entered
            .ticket
            .set_terms(|terms| terms.body_limit = limit.bytes());
    }
    let declared = header
        .headers
        .get(http::header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse().ok());
    if declared.is_some_and(|length: u64| length > entered.ticket.terms().body_limit) {
        return Err(Verdict::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body-too-large",
        ));
    }
    Ok(())
}

/// The request's target as text; the gate lets nothing but ASCII through.
pub fn target(header: &RequestHeader) -> &str {
    std::str::from_utf8(header.raw_path()).unwrap_or("/")
}

fn path_of(header: &RequestHeader) -> Result<String, Verdict> {
    let path = uri::split_path_query(target(header)).path;
    routing::normalise(path)
        .map(std::borrow::Cow::into_owned)
        .map_err(|_| Verdict::new(StatusCode::BAD_REQUEST, "ambiguous-path"))
}

/// The rightmost address that is not a proxy of ours: what stands left of it, the client itself may have written.
fn client_behind(headers: &HeaderMap, entered: &Entered) -> IpAddr {
    let trusted = |ip: IpAddr| {
        entered
            .site
            .settings
            .trusted_proxies
            .iter()
            .any(|net| net.contains(&ip))
    };
    let mut client = entered.client;
    for hop in forwarded::parse_x_forwarded_for(headers.get_all(&X_FORWARDED_FOR))
        .into_iter()
        .rev()
    {
        let Some(hop) = hop else { break };
        client = hop.to_canonical();
        if !trusted(client) {
            break;
        }
    }
    client
}

/// The scheme that the client used: what a trusted proxy says of it, as far as that is one plain word, else what it is
/// between us and our peer.
pub fn scheme(headers: &HeaderMap, entered: &Entered) -> Scheme {
    let mut said = headers.get_all(&X_FORWARDED_PROTO).iter();
    match (said.next(), said.next()) {
        // Of several we would have to know who of them said what.
        (Some(said), None) if entered.trusted => scheme_named(said.as_bytes()),
        _ => None,
    }
    .unwrap_or_else(|| connection_scheme(entered))
}

fn scheme_named(word: &[u8]) -> Option<Scheme> {
    let named = |scheme: &Scheme| word.eq_ignore_ascii_case(scheme.as_str().as_bytes());
    [Scheme::Http, Scheme::Https].into_iter().find(named)
}

fn connection_scheme(entered: &Entered) -> Scheme {
    if entered.ticket.client.tls {
        Scheme::Https
    } else {
        Scheme::Http
    }
}

/// The id that a trusted proxy gave, where it is a plain word of reasonable length, else one of ours.
fn request_id(headers: &HeaderMap) -> String {
    let given = headers
        .get(&X_REQUEST_ID)
        .and_then(|value| value.to_str().ok());
    let is_plain = |id: &&str| {
        (1..=128).contains(&id.len())
            && id
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_.:+/=".contains(&b))
    };
    given.filter(is_plain).map_or_else(new_id, str::to_owned)
}

/// An id of ours.
pub fn new_id() -> String {
    format!("{:032x}", fastrand::u128(..))
}

/// RFC 9110 §7.6.2: an OPTIONS request that may go no further is answered here; else it has one step less to go.
fn count_forwards(header: &mut RequestHeader) -> Result<(), Verdict> {
    if header.method != Method::OPTIONS {
        return Ok(());
    }
    let Some(left) = header.headers.get(MAX_FORWARDS) else {
        return if header.raw_path() == b"*" {
            Err(OPTIONS_HERE)
        } else {
            Ok(())
        };
    };
    let left: u32 = left
        .to_str()
        .ok()
        .and_then(|left| left.parse().ok())
        .ok_or(Verdict::new(StatusCode::BAD_REQUEST, "max-forwards"))?;
    if left == 0 {
        return Err(OPTIONS_HERE);
    }
    // A decimal number is always a field value.
    let _ = header.insert_header(MAX_FORWARDS, left - 1);
    Ok(())
}

/// Answered by us: `OPTIONS *`, or one that may not be forwarded.
pub const OPTIONS_HERE: Verdict = Verdict::new(StatusCode::NO_CONTENT, "options");

/// Writes what the upstream is told about the client and the way so far.
///
/// # Errors
/// Never for values made here; Pingora's header type says so in its signature.
pub fn write_forwarding_fields(
    asked_by: Version,
    request: &mut RequestHeader,
    entered: &Entered,
) -> pingora::Result<()> {
    let peer = entered.ticket.client.addr.ip().to_canonical();
    let scheme = connection_scheme(entered).as_str();
    let host = entered.ticket.host.as_str();
    let chain = forwarded::append_x_forwarded_for(request.headers.get_all(&X_FORWARDED_FOR), peer);
    request.insert_header(X_FORWARDED_FOR, chain)?;
    if !request.headers.contains_key(&X_FORWARDED_PROTO) {
        request.insert_header(X_FORWARDED_PROTO, scheme)?;
    }
    if !request.headers.contains_key(&X_FORWARDED_HOST) && !host.is_empty() {
        request.insert_header(X_FORWARDED_HOST, host)?;
    }
    request.insert_header(X_REAL_IP, entered.client.to_string())?;
    request.insert_header(X_REQUEST_ID, entered.id.as_str())?;
    if entered.site.settings.forwarded {
        let host = Some(host).filter(|host| !host.is_empty());
        request.append_header(
            http::header::FORWARDED,
            forwarded::element(peer, host, scheme),
        )?;
    }
    request.append_header(http::header::VIA, entered.site.via(asked_by))?;
    request.append_header(CDN_LOOP, entered.site.settings.name.as_str())?;
    debug_assert!(
        !request.headers.contains_key(hop_by_hop::KEEP_ALIVE),
        "the gate takes hop-by-hop fields away"
    );
    Ok(())
}
