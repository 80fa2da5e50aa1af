//! Pingora's phases, each leading to the stop of this room that answers its question.

use super::fetch::Errand;
use super::walk::{Entered, Walk};
use super::{Site, accept, answer, cached, deliver, encode, failure, fetch, forward, record};
use crate::listen::Handler;
use crate::listen::exchange::ticket::Ticket;
use crate::listen::lifecycle::Lifecycle;
use arc_swap::ArcSwap;
use async_trait::async_trait;
use bytes::Bytes;
use http::HeaderMap;
use pingora::apps::HttpServerApp;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::protocols::Digest;
use pingora::protocols::http::ServerSession;
use pingora::proxy::{FailToProxy, HttpProxy, ProxyHttp, ProxyWarnLogContext, Session};
use pingora::server::configuration::ServerConf;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, Result};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::watch;

/// Idle connections to all upstreams that one thread keeps.
const POOL_SIZE: usize = 512;
/// Pingora stops trying after this many; our own rules are stricter, but holding may lead through many refusals.
const TRIES_MAX: usize = 100_000;

/// The proxy's application: what Pingora asks at each phase.
pub struct FrontDoor {
    site: Arc<ArcSwap<Site>>,
    /// The proxy that this is the application of, for requests of our own.
    proxy: Weak<HttpProxy<FrontDoor>>,
    shutdown: watch::Receiver<bool>,
}

impl FrontDoor {
    /// The proxy on this thread; `None` when it is going down.
    pub(super) fn proxy(&self) -> Option<Arc<HttpProxy<Self>>> {
        self.proxy.upgrade()
    }

    /// What Pingora wants to look at.
    pub(super) fn shutdown(&self) -> watch::Receiver<bool> {
        self.shutdown.clone()
    }
}

impl std::fmt::Debug for FrontDoor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FrontDoor").finish_non_exhaustive()
    }
}

/// A data thread's proxy, with its own connections to the upstreams: a socket is only ever polled by the reactor that
/// opened it.
pub struct Proxy {
    http: Arc<HttpProxy<FrontDoor>>,
    site: Arc<ArcSwap<Site>>,
    /// Pingora asks it whether to keep connections alive; ours is decided by the connection, so it never changes.
    shutdown: watch::Receiver<bool>,
    running: Arc<watch::Sender<bool>>,
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Proxy").finish_non_exhaustive()
    }
}

impl Clone for Proxy {
    fn clone(&self) -> Self {
        Self {
            http: self.http.clone(),
            site: self.site.clone(),
            shutdown: self.shutdown.clone(),
            running: self.running.clone(),
        }
    }
}

impl Proxy {
    /// A proxy for one data thread.
    pub fn new(site: Arc<ArcSwap<Site>>) -> Self {
        let conf = ServerConf {
            threads: 1,
            upstream_keepalive_pool_size: POOL_SIZE,
            max_retries: TRIES_MAX,
            ..ServerConf::default()
        };
        let (running, shutdown) = watch::channel(false);
        let http = Arc::new_cyclic(|proxy| {
            let door = FrontDoor {
                site: site.clone(),
                proxy: proxy.clone(),
                shutdown: shutdown.clone(),
            };
            pingora::proxy::http_proxy(&Arc::new(conf), door)
        });
        Self {
            http,
            site,
            shutdown,
            running: Arc::new(running),
        }
    }

    /// What a request of our own is given to.
    pub(super) fn parts(&self) -> (Arc<HttpProxy<FrontDoor>>, watch::Receiver<bool>) {
        (self.http.clone(), self.shutdown.clone())
    }

    /// Fetches anew what is due for it, on this thread, until a drain begins. One thread of the process does it: it is
    /// a few requests at once, and they are nobody's hurry.
    pub async fn refresh(&self, lifecycle: Arc<Lifecycle>) {
        let cache = self.site.load().cache.clone();
        loop {
            let due = tokio::select! {
                due = cache.due() => due,
                () = lifecycle.draining() => return,
            };
            fetch::refresh(self, &self.site.load_full(), due);
        }
    }
}

impl Handler for Proxy {
    async fn handle(&self, session: ServerSession) {
        // What Pingora would reuse is the exchange, which holds nothing: the connection has been given back.
        let _ = self.http.process_new_http(session, &self.shutdown).await;
    }
}

#[async_trait]
impl ProxyHttp for FrontDoor {
    type CTX = Walk;

    fn new_ctx(&self) -> Walk {
        Walk::default()
    }

    /// None: what Pingora would add by itself is a compression that is off, made anew for each request.
    fn init_downstream_modules(&self, _: &mut HttpModules) {}

    /// Enters the request; nothing is decided yet, so that whatever follows can be recorded.
    async fn early_request_filter(&self, session: &mut Session, walk: &mut Walk) -> Result<()> {
        let header = session.req_header_mut();
        let ticket = header.extensions_mut().remove::<Arc<Ticket>>();
        let ticket = ticket
            .ok_or_else(|| Error::explain(pingora::InternalError, "a request without a ticket"))?;
        match header.extensions_mut().remove::<Arc<Errand>>() {
            Some(errand) => errand.enter(ticket, walk),
            None => walk.entered = Some(Entered::new(self.site.load_full(), ticket)),
        }
        Ok(())
    }

    async fn request_filter(&self, session: &mut Session, walk: &mut Walk) -> Result<bool> {
        if walk.errand.is_some() {
            // It was accepted as what caused it.
            return Ok(false);
        }
        match accept::accept(session.req_header_mut(), walk) {
            Ok(()) => Ok(answer::without_asking(session, walk).await?
                || cached::answer(self, session, walk).await?),
            Err(verdict) => deliver::own_answer(session, walk, verdict)
                .await
                .map(|()| true),
        }
    }

    async fn upstream_peer(&self, session: &mut Session, walk: &mut Walk) -> Result<Box<HttpPeer>> {
        forward::next_peer(session, walk).await
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
        forward::write_request(session, request, walk)
    }

    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        walk: &mut Walk,
    ) -> Result<()> {
        failure::judge_answer(session, response, walk)?;
        cached::heard(response, walk);
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
        if walk.ends_with_head {
            encode::ends_with_head(session.req_header(), response)?;
        }
        encode::begin(session.req_header(), response, walk)?;
        deliver::write_response(session.req_header(), response, walk)
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
        failure::try_failed(session, walk, error, reused)
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &Error,
        walk: &mut Walk,
    ) -> FailToProxy {
        failure::tell_client(session, walk, error).await
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, walk: &mut Walk) {
        if error.is_none() {
            // An answer without a body, or with trailers, ends without a last piece.
            cached::passed(None, true, walk);
        }
        record::leave_entry(session, walk, error);
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
