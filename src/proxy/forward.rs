//! Who is asked, on which connection, and in which words.

use super::accept::{target, write_forwarding_fields};
use super::cached;
use super::deliver::{Fields, edit};
use super::entry::X_FORWARDED_PREFIX;
use super::session::Session;
use super::walk::{Forwarding, Verdict, Walk};
use crate::fields::uri;
use crate::listen::exchange::{BODY_TOO_LARGE, CLIENT_GONE, Exchange};
use crate::routing::rewrite;
use crate::routing::settings::{Action, Rewrite};
use crate::upstream::settings::{HostPolicy, UpstreamHttp, UpstreamSettings};
use crate::upstream::{self, ClaimRequest, Refusal, Target};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, TE};
use http::{Method, Version};
use nix::sys::socket::MsgFlags;
use pingora::http::RequestHeader;
use pingora::protocols::ALPN;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType, Result};
use std::os::fd::RawFd;

/// Room for the piece that the last read brought, behind what is received ahead of a try.
const LAST_PIECE: usize = 64 * 1024;

/// The server of the next try, for Pingora's connectors.
pub async fn next_peer(session: &mut impl Session, walk: &mut Walk) -> Result<Box<HttpPeer>> {
    let handed_on = |walk: &mut Walk| walk.forwarding.as_mut()?.handed_on.take();
    let target = match handed_on(walk) {
        Some(target) => target,
        None => next_target(session, walk).await?,
    };
    let Some(forwarding) = &walk.forwarding else {
        return Err(Error::new_in(ErrorType::InternalError));
    };
    let mut peer = upstream::pingora::peer(&target, &forwarding.upstream)?;
    // The exchange keeps the reading deadlines: it knows uploads, upgrades and the client's own pace.
    peer.options.read_timeout = None;
    Ok(peer)
}

/// Chooses the upstream, and receives what is to be received before a server of it is taken.
pub async fn prepare(session: &mut Exchange, walk: &mut Walk) -> Result<()> {
    begin(session, walk)?;
    receive_ahead(session, walk).await
}

/// The server of the next try; waits where nobody is there or the upstream is full.
pub async fn next_target(session: &mut impl Session, walk: &mut Walk) -> Result<Target> {
    let Some(forwarding) = &mut walk.forwarding else {
        return Err(Error::explain(
            ErrorType::InternalError,
            "nobody to forward to",
        ));
    };
    let ticket = walk.entered.as_ref().map(|entered| entered.ticket.clone());
    let first_byte = |deadline| {
        ticket
            .as_ref()
            .map(|ticket| ticket.set_terms(|terms| terms.first_byte = deadline))
    };
    // Waiting for a server is not waiting for its answer: what is left of the last try's deadline is forgotten.
    first_byte(None);
    session.begin_try();
    // The client's end of the connection is watched meanwhile: who leaves frees the place, and a body that comes early
    // is not read.
    let body_done = session.is_body_done();
    let hold = |held| walk.errand.as_ref().map(|errand| errand.hold(held));
    hold(true);
    let target = tokio::select! {
        biased;
        target = forwarding.claim.next() => target,
        gone = session.read_body_or_idle(true), if body_done => {
            return Err(gone.err().unwrap_or_else(|| Error::new_down(CLIENT_GONE)));
        }
    };
    hold(false);
    let target = target.map_err(|refusal| {
        walk.verdict = Some(verdict_on(&refusal));
        Error::explain(
            ErrorType::HTTPStatus(refusal.status().as_u16()),
            refusal.to_string(),
        )
    })?;
    first_byte(Some(forwarding.claim.per_try()));
    forwarding.target = Some(target.clone());
    Ok(target)
}

/// Chooses the upstream and takes a claim on it.
fn begin(session: &Exchange, walk: &mut Walk) -> Result<()> {
    let (Some(entered), Some(route)) = (&walk.entered, &walk.route) else {
        return Err(Error::explain(
            ErrorType::InternalError,
            "a request without a route",
        ));
    };
    let Action::Forward(shares) = &route.action else {
        return Err(Error::explain(
            ErrorType::InternalError,
            "a route that does not forward",
        ));
    };
    let chosen = crate::routing::choose(shares, fastrand::u32(..))
        .and_then(|name| entered.site.upstreams.get(name));
    let upstream = chosen
        .cloned()
        .ok_or_else(|| Error::explain(ErrorType::InternalError, "an unknown upstream"))?;
    let settings = upstream.settings();
    let total = settings
        .timeouts
        .total
        .map(|total| entered.ticket.arrived + total);
    let streams = is_streamed(session, settings);
    entered.ticket.set_terms(|terms| {
        terms.replay_limit = settings.buffer_request.as_usize().max(LAST_PIECE) + LAST_PIECE;
        terms.read_ahead = settings.buffer_response.as_usize();
        if streams {
            terms.body_timeout = None;
        }
        terms.between_bytes = (!streams).then_some(settings.timeouts.between_bytes);
        terms.total = total;
    });
    let mut claim = upstream.claim(ClaimRequest {
        path: &entered.path,
        client: Some(entered.client),
        headers: &session.req_header().headers,
        arrived: entered.ticket.arrived,
    });
    if walk.errand.as_ref().is_some_and(|it| it.is_hurried()) {
        claim.will_not_wait();
    }
    walk.forwarding = Some(Forwarding {
        upstream,
        claim,
        target: None,
        handed_on: None,
        status: None,
    });
    Ok(())
}

/// Whether request and response run side by side for as long as they like: upgrades, and gRPC where it can be that.
/// Else the word of a client would do to take a server before its body is in.
fn is_streamed(session: &Exchange, settings: &UpstreamSettings) -> bool {
    session.is_upgrade_req() || is_grpc(session.req_header(), settings)
}

fn is_grpc(asked: &RequestHeader, settings: &UpstreamSettings) -> bool {
    asked.version == Version::HTTP_2
        && settings.http != UpstreamHttp::Http1
        && asked
            .headers
            .get(CONTENT_TYPE)
            .is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

/// Whether a request of this method has a body even if that is empty (RFC 9110 §8.6).
fn takes_a_body(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::PUT | Method::PATCH)
}

/// Receives the request's body, up to the upstream's limit, before a server is taken: a slow upload costs the
/// application nothing, and what is here can be sent again.
async fn receive_ahead(session: &mut Exchange, walk: &mut Walk) -> Result<()> {
    let (Some(entered), Some(forwarding)) = (&walk.entered, &walk.forwarding) else {
        return Ok(());
    };
    let limit = forwarding.upstream.settings().buffer_request.bytes();
    if limit == 0 || is_streamed(session, forwarding.upstream.settings()) {
        return Ok(());
    }
    session.begin_try();
    while !session.is_body_done() && entered.ticket.bytes_in() < limit {
        if session.read_request_body().await?.is_none() {
            break;
        }
    }
    Ok(())
}

/// A kept connection was closed, or holds bytes that nobody asked for.
pub const STALE: ErrorType = ErrorType::new("StaleConnection");

/// A connection is there; `fd` is its descriptor.
///
/// # Errors
/// [`STALE`] for a kept connection that must not be used; nothing was sent on it.
pub fn connected(walk: &mut Walk, reused: bool, peer: &HttpPeer, fd: RawFd) -> Result<()> {
    if reused && !peer.is_tls() && peer.options.alpn == ALPN::H1 && !is_quiet(fd) {
        return Err(Error::new_up(STALE));
    }
    if let Some(forwarding) = &mut walk.forwarding {
        forwarding.claim.connected(reused);
    }
    Ok(())
}

/// A server that may pick HTTP/2 has answered in this version.
pub fn answered_in(version: Version, walk: &Walk) {
    if let Some(forwarding) = &walk.forwarding
        && forwarding.upstream.settings().http != UpstreamHttp::Http1
        && let Some(target) = &forwarding.target
    {
        target.picked_http2(version == Version::HTTP_2);
    }
}

/// Whether nothing is there to be read on a connection. Pingora looks too, but through the reactor, which may not have
/// heard yet of bytes or an end that the kernel holds: they would be read as the answer to what is sent next.
fn is_quiet(fd: RawFd) -> bool {
    let look = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
    nix::sys::socket::recv(fd, &mut [0], look) == Err(nix::errno::Errno::EAGAIN)
}

/// The upstream's part is over: its place is free, though the client may still be reading.
pub fn release(walk: &mut Walk) {
    if let Some(forwarding) = &mut walk.forwarding {
        forwarding.claim.release();
    }
}

/// The request's target as the upstream is to see it, where that is another than the client's.
pub fn rewritten(request: &RequestHeader, walk: &Walk) -> Option<String> {
    let (entered, route) = (walk.entered.as_ref()?, walk.route.as_ref()?);
    let path = rewrite::path(&route.rewrite, &entered.path);
    let asked = uri::split_path_query(target(request));
    if asked.path == path {
        return None;
    }
    Some(match asked.query {
        Some(query) => format!("{path}?{query}"),
        None => path.into_owned(),
    })
}

/// Writes the fields as the upstream is to see them.
pub fn write_fields(
    session: &mut impl Session,
    fields: &mut impl Fields,
    walk: &mut Walk,
) -> Result<()> {
    cached::sent(walk);
    let asked_by = session.req_header().version;
    let (Some(entered), Some(route), Some(forwarding)) =
        (&walk.entered, &walk.route, &walk.forwarding)
    else {
        return Ok(());
    };
    write_forwarding_fields(asked_by, fields, entered)?;
    if let Rewrite::StripPrefix(prefix) = &route.rewrite {
        let prefix = prefix.trim_end_matches('/');
        if !prefix.is_empty() && !fields.view().contains(&X_FORWARDED_PREFIX) {
            fields.put_text(&X_FORWARDED_PREFIX, prefix)?;
        }
    }
    let settings = forwarding.upstream.settings();
    let server = forwarding.target.as_ref().map(Target::authority);
    let host = match (&settings.host, fields.view().get(&HOST), server) {
        (HostPolicy::Fixed(host), _, _) => Some(host.as_str()),
        // An HTTP/1.0 client may name no host; the server's own name is the best guess.
        (HostPolicy::Server, _, server) | (HostPolicy::Pass, None, server) => server,
        (HostPolicy::Pass, Some(_), _) => None,
    };
    if let Some(host) = host {
        fields.put_text(&HOST, host)?;
    }
    // Received whole, a chunked upload has a length: many applications read no body without one.
    if session.is_body_done()
        && !fields.view().contains(&CONTENT_LENGTH)
        && !session.is_upgrade_req()
        && (entered.ticket.bytes_in() > 0 || takes_a_body(&session.req_header().method))
        && !session.retry_buffer_truncated()
    {
        fields.put(&CONTENT_LENGTH, &entered.ticket.bytes_in().into())?;
    }
    // RFC 9113 §8.2.2 allows it, and gRPC wants to know that trailers arrive; they do, where both sides speak HTTP/2.
    if is_grpc(session.req_header(), settings) {
        fields.put_text(&TE, "trailers")?;
    }
    edit(fields, &route.request_headers)
}

/// What a client is told where it got no server.
fn verdict_on(refusal: &Refusal) -> Verdict {
    Verdict {
        status: refusal.status(),
        reason: refusal.word(),
        retry_after: refusal.retry_after(),
    }
}

/// Whether an error is the client's doing, so that nothing is held against the upstream.
pub fn is_clients_fault(error: &Error) -> bool {
    use crate::listen::exchange::{ANSWERED_EARLY, BODY_MALFORMED, CLIENT_SILENT, CLIENT_SLOW};
    [
        CLIENT_GONE,
        CLIENT_SILENT,
        CLIENT_SLOW,
        BODY_TOO_LARGE,
        BODY_MALFORMED,
        ANSWERED_EARLY,
    ]
    .contains(error.etype())
}
