//! Pingora's phases for what needs its connectors: HTTP/2 to servers, and upgrades. Each leads to the stop of this
//! room that answers its question; those before it is known who is asked have been passed by then.

use super::walk::Walk;
use super::{cached, deliver, encode, failure, forward, record};
use crate::listen::exchange::head::ResponseHead;
use async_trait::async_trait;
use bytes::Bytes;
use http::HeaderMap;
use parking_lot::Mutex;
use pingora::apps::HttpServerApp;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::protocols::Digest;
use pingora::protocols::http::ServerSession;
use pingora::proxy::{FailToProxy, HttpProxy, ProxyHttp, ProxyWarnLogContext, Session};
use pingora::server::configuration::ServerConf;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, Result};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Idle connections to all upstreams that one thread keeps.
const POOL_SIZE: usize = 512;
/// Pingora stops trying after this many; our own rules are stricter, but holding may lead through many refusals.
const TRIES_MAX: usize = 100_000;

/// The proxy's application: what Pingora asks at each phase.
#[derive(Debug, Default)]
pub struct FrontDoor;

/// A walk that begins where another has led. Travels in the request's extensions.
#[derive(Debug, Clone)]
struct Handed(Arc<Mutex<Option<Walk>>>);

/// Pingora's proxy for one data thread, with connections of its own.
pub fn http_proxy() -> HttpProxy<FrontDoor> {
    let conf = ServerConf {
        threads: 1,
        upstream_keepalive_pool_size: POOL_SIZE,
        max_retries: TRIES_MAX,
        ..ServerConf::default()
    };
    pingora::proxy::http_proxy(&Arc::new(conf), FrontDoor)
}

/// Lets Pingora forward a request that no stop has answered, and do what follows.
pub async fn forward(
    http: &Arc<HttpProxy<FrontDoor>>,
    mut session: ServerSession,
    walk: Walk,
    stopped: &watch::Receiver<bool>,
) {
    let handed = Handed(Arc::new(Mutex::new(Some(walk))));
    session.req_header_mut().extensions_mut().insert(handed);
    // What Pingora would reuse is the exchange, which holds nothing: the connection has been given back.
    let _ = http.process_new_http(session, stopped).await;
}

#[async_trait]
impl ProxyHttp for FrontDoor {
    type CTX = Walk;

    fn new_ctx(&self) -> Walk {
        Walk::default()
    }

    /// None: what Pingora would add by itself is a compression that is off, made anew for each request.
    fn init_downstream_modules(&self, _: &mut HttpModules) {}

    async fn early_request_filter(&self, session: &mut Session, walk: &mut Walk) -> Result<()> {
        let handed = session.req_header_mut().extensions_mut().remove::<Handed>();
        *walk = handed
            .and_then(|handed| handed.0.lock().take())
            .ok_or_else(|| Error::explain(pingora::InternalError, "a request without a walk"))?;
        Ok(())
    }

    async fn upstream_peer(&self, session: &mut Session, walk: &mut Walk) -> Result<Box<HttpPeer>> {
        forward::next_peer(&mut **session, walk).await
    }

    async fn connected_to_upstream(
        &self,
        _session: &mut Session,
        reused: bool,
        peer: &HttpPeer,
        fd: std::os::fd::RawFd,
        _digest: Option<&Digest>,
        walk: &mut Walk,
    ) -> Result<()> {
        forward::connected(walk, reused, peer, fd)
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        walk: &mut Walk,
    ) -> Result<()> {
        if let Some(target) = forward::rewritten(session.req_header(), walk) {
            request.set_raw_path(target.as_bytes())?;
        }
        forward::write_fields(&mut **session, request, walk)
    }

    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        walk: &mut Walk,
    ) -> Result<()> {
        let response = ResponseHead::from(&*response);
        forward::answered_in(response.version, walk);
        failure::judge_answer(&**session, &response, walk)?;
        cached::heard(&response, walk);
        Ok(())
    }

    async fn adjust_upstream_modules(
        &self,
        _session: &mut Session,
        _response: &ResponseHeader,
        end: bool,
        walk: &mut Walk,
    ) -> Result<()> {
        walk.ends_with_head = end;
        Ok(())
    }

    fn upstream_response_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        end: bool,
        walk: &mut Walk,
    ) -> Result<Option<Duration>> {
        cached::passed(body.as_ref(), end, walk);
        if end {
            forward::release(walk);
        }
        Ok(None)
    }

    fn upstream_response_trailer_filter(
        &self,
        _session: &mut Session,
        _trailers: &mut HeaderMap,
        walk: &mut Walk,
    ) -> Result<()> {
        forward::release(walk);
        Ok(())
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        walk: &mut Walk,
    ) -> Result<()> {
        let mut head = ResponseHead::from(&*response);
        if walk.ends_with_head {
            encode::ends_with_head(session.req_header(), &mut head);
        }
        encode::begin(session.req_header(), &mut head, walk)?;
        deliver::write_response(session.req_header(), &mut head, walk)?;
        *response = head.to_pingora()?;
        Ok(())
    }

    fn response_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        end: bool,
        walk: &mut Walk,
    ) -> Result<Option<Duration>> {
        encode::piece(body, end, walk).map(|()| None)
    }

    async fn response_trailer_filter(
        &self,
        _session: &mut Session,
        trailers: &mut HeaderMap,
        walk: &mut Walk,
    ) -> Result<Option<Bytes>> {
        encode::end(trailers, walk)
    }

    fn fail_to_connect(
        &self,
        _session: &mut Session,
        _peer: &HttpPeer,
        walk: &mut Walk,
        error: Box<Error>,
    ) -> Box<Error> {
        failure::connect_failed(walk, error)
    }

    fn error_while_proxy(
        &self,
        _peer: &HttpPeer,
        session: &mut Session,
        error: Box<Error>,
        walk: &mut Walk,
        reused: bool,
    ) -> Box<Error> {
        failure::try_failed(&**session, walk, error, reused)
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &Error,
        walk: &mut Walk,
    ) -> FailToProxy {
        failure::tell_client(&mut **session, walk, error).await
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, walk: &mut Walk) {
        if error.is_none() {
            // An answer without a body, or with trailers, ends without a last piece.
            cached::passed(None, true, walk);
        }
        record::leave_entry(&**session, walk, error);
    }

    // Each request's fate is one line of the access log; an upstream's, one line an incident.
    fn suppress_error_log(&self, _: &Session, _: &Walk, _: &Error) -> bool {
        true
    }

    fn suppress_proxy_warn_log(
        &self,
        _: &Session,
        _: &Walk,
        _: &Error,
        _: ProxyWarnLogContext,
    ) -> bool {
        true
    }
}
