//! Whether a request may enter, whom it is from, and which route it is for.

use super::Site;
use super::deliver::Fields;
use super::entry::{
    self, CDN_LOOP, Peer, X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PROTO, X_REAL_IP,
    X_REQUEST_ID, is_claim,
};
use super::walk::{Entered, Verdict, Walk};
use crate::fields::view::FieldView;
use crate::fields::{forwarded, hop_by_hop, host, uri};
use crate::listen::exchange::ticket::Ticket;
use crate::routing::{self, RequestView};
use http::header::{HeaderName, MAX_FORWARDS};
use http::{Method, StatusCode, Version};
use pingora::http::RequestHeader;
use std::sync::Arc;

/// Takes away what a stranger has no say in.
fn remove_claims(header: &mut RequestHeader) {
    let names = header.headers.keys();
    let claims: Vec<HeaderName> = names
        .filter(|name| is_claim(name.as_str()))
        .cloned()
        .collect();
    for name in &claims {
        header.remove_header(name);
    }
}

impl Entered {
    /// A request about which nothing is known but its connection.
    pub fn new(site: Arc<Site>, ticket: Arc<Ticket>) -> Self {
        let peer = Peer::new(&site, &ticket.client);
        Self {
            site,
            ticket,
            client: peer.address,
            peer,
            path: String::new(),
            id: String::new(),
        }
    }
}

/// Decides whether it may enter; then the walk knows its client, id and path.
///
/// # Errors
/// The [`Verdict`] that the client is to be answered.
pub fn enter(header: &mut RequestHeader, walk: &mut Walk) -> Result<(), Verdict> {
    let Some(entered) = &mut walk.entered else {
        return Err(Verdict::new(StatusCode::INTERNAL_SERVER_ERROR, "internal"));
    };
    if !entered.peer.trusted {
        remove_claims(header);
    }
    let trusted = entered.peer.trusted;
    entered
        .site
        .guards()
        .claims(trusted)
        .iter()
        .for_each(|name| {
            header.remove_header(name);
        });
    let fields = FieldView::from(&header.headers);
    entered.client = entered.peer.client(&entered.site, fields);
    entered.id = entry::given_id(fields).map_or_else(new_id, str::to_owned);
    entered.path = path_of(header)?;
    if entry::is_loop(&entered.site, fields) {
        return Err(Verdict::new(StatusCode::LOOP_DETECTED, "loop"));
    }
    count_forwards(header)
}

/// Finds the route of a request that has entered; then the walk knows it, where one matches.
///
/// # Errors
/// The [`Verdict`] that the client is to be answered.
pub fn find_route(header: &RequestHeader, walk: &mut Walk) -> Result<(), Verdict> {
    let Some(entered) = &walk.entered else {
        return Err(Verdict::new(StatusCode::INTERNAL_SERVER_ERROR, "internal"));
    };
    let fields = FieldView::from(&header.headers);
    let sought = RequestView {
        scheme: entered.peer.scheme(fields),
        host: host::parse(&entered.ticket.host).map_or("", |authority| authority.host),
        path: &entered.path,
        query: uri::split_path_query(target(header)).query,
        method: &header.method,
        headers: fields,
    };
    walk.route = entered.site.routes.find(&sought).cloned();
    let own = entered.site.place(walk.route.as_deref());
    for meant in entered.site.others(walk.route.as_deref(), &sought) {
        // Has it a guard or a rate limit, what that asks for has not been asked.
        if meant.is_guarded() {
            return Err(AMBIGUOUS_PATH);
        }
        walk.is_path_ambiguous |= meant.rules != own.rules;
    }
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

/// A path that is one thing here and may be another behind.
const AMBIGUOUS_PATH: Verdict = Verdict::new(StatusCode::BAD_REQUEST, "ambiguous-path");

/// The request's target as text; the gate lets nothing but ASCII through.
pub fn target(header: &RequestHeader) -> &str {
    std::str::from_utf8(header.raw_path()).unwrap_or("/")
}

fn path_of(header: &RequestHeader) -> Result<String, Verdict> {
    let path = uri::split_path_query(target(header)).path;
    routing::normalise(path)
        .map(std::borrow::Cow::into_owned)
        .map_err(|_| AMBIGUOUS_PATH)
}

/// An id of ours, for the access log and everybody behind us.
pub fn new_id() -> String {
    str::from_utf8(&entry::new_id())
        .unwrap_or_default()
        .to_owned()
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

/// What `Allow` says where it is about no resource.
pub const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// Answered by us: `OPTIONS *`, or one that may not be forwarded.
pub const OPTIONS_HERE: Verdict = Verdict::new(StatusCode::NO_CONTENT, "options");

/// Writes what the upstream is told about the client and the way so far.
///
/// # Errors
/// Never for values made here; Pingora's header type says so in its signature.
pub fn write_forwarding_fields(
    asked_by: Version,
    fields: &mut impl Fields,
    entered: &Entered,
) -> pingora::Result<()> {
    let peer = entered.ticket.client.addr.ip().to_canonical();
    let scheme = if entered.peer.tls { "https" } else { "http" };
    let host = entered.ticket.host.as_str();
    let chain = forwarded::append_x_forwarded_for(fields.view().get_all(&X_FORWARDED_FOR), peer);
    fields.put_text(&X_FORWARDED_FOR, &chain)?;
    if !fields.view().contains(&X_FORWARDED_PROTO) {
        fields.put_text(&X_FORWARDED_PROTO, scheme)?;
    }
    if !fields.view().contains(&X_FORWARDED_HOST) && !host.is_empty() {
        fields.put_text(&X_FORWARDED_HOST, host)?;
    }
    fields.put_text(&X_REAL_IP, &forwarded::address(entered.client))?;
    fields.put_text(&X_REQUEST_ID, &entered.id)?;
    if entered.site.settings.forwarded {
        let host = Some(host).filter(|host| !host.is_empty());
        let element = forwarded::element(peer, host, scheme);
        fields.add_text(&http::header::FORWARDED, &element)?;
    }
    fields.add(&http::header::VIA, entered.site.via(asked_by))?;
    fields.add_text(&CDN_LOOP, &entered.site.settings.name)?;
    debug_assert!(
        !fields.view().contains(&hop_by_hop::KEEP_ALIVE),
        "the gate takes hop-by-hop fields away"
    );
    Ok(())
}
