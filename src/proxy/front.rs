//! One request's walk: the stops in their order, and what follows whichever of them ends it.
//!
//! Pingora's own walk is kept for what needs its connectors ([`super::phases`]). Its future has room for every way that a
//! request may go, some hundred kilobytes, which are made and moved for each request whichever way that goes.

use super::direct::kept::Kept;
use super::fetch::Errand;
use super::phases::{self, FrontDoor};
use super::walk::{Entered, Walk};
use super::{
    Site, accept, admit, answer, cached, deliver, direct, events, failure, fetch, purge, rate,
    record,
};
use crate::listen::exchange::Exchange;
use crate::listen::lifecycle::Lifecycle;
use arc_swap::ArcSwap;
use pingora::Result;
use pingora::protocols::http::ServerSession;
use pingora::proxy::HttpProxy;
use std::sync::Arc;
use tokio::sync::watch;

/// A data thread's proxy, with its own connections to the upstreams: a socket is only ever polled by the reactor that
/// opened it.
#[derive(Clone)]
pub struct Proxy(Arc<Parts>);

struct Parts {
    site: Arc<ArcSwap<Site>>,
    /// Connections to servers that speak plain HTTP/1.1.
    kept: Arc<Kept>,
    /// Forwards to all others, with connections of its own.
    http: Arc<HttpProxy<FrontDoor>>,
    /// Pingora asks it whether to keep connections alive; ours is decided by the connection, so it never changes.
    running: watch::Sender<bool>,
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Proxy").finish_non_exhaustive()
    }
}

impl Proxy {
    /// A proxy for one data thread.
    pub fn new(site: Arc<ArcSwap<Site>>) -> Self {
        let (running, _) = watch::channel(false);
        Self(Arc::new(Parts {
            site,
            kept: Arc::default(),
            http: Arc::new(phases::http_proxy()),
            running,
        }))
    }

    /// Fetches anew what is due for it, on this thread, until a drain begins. One thread of the process does it: it is
    /// a few requests at once, and they are nobody's hurry.
    pub async fn refresh(&self, lifecycle: Arc<Lifecycle>) {
        let cache = self.0.site.load().cache.clone();
        loop {
            let due = tokio::select! {
                due = cache.due() => due,
                () = lifecycle.draining() => return,
            };
            fetch::refresh(self, &self.0.site.load_full(), due);
        }
    }

    /// Answers a client's request.
    pub async fn answer(&self, session: Box<Exchange>) {
        self.go(session, None).await;
    }

    /// Answers a request of our own.
    pub(super) async fn fetch(&self, session: Box<Exchange>, errand: Arc<Errand>) {
        self.go(session, Some(errand)).await;
    }

    async fn go(&self, mut session: Box<Exchange>, errand: Option<Arc<Errand>>) {
        let mut walk = Walk::default();
        let ticket = session.ticket().clone();
        match errand {
            Some(errand) => errand.enter(ticket, &mut walk),
            None => walk.entered = Some(Entered::new(self.0.site.load_full(), ticket)),
        }
        let error = match self.walk(&mut session, &mut walk).await {
            Ok(true) => None,
            Ok(false) => {
                let stopped = self.0.running.subscribe();
                // In a box, so that only who goes this way makes room for it.
                let session = ServerSession::new_custom(session);
                return Box::pin(phases::forward(&self.0.http, session, walk, &stopped)).await;
            }
            Err(error) => Some(error),
        };
        if let Some(error) = &error {
            failure::tell_client(&mut *session, &mut walk, error).await;
        } else {
            // An answer without a body ends without a last piece.
            cached::passed(None, true, &mut walk);
        }
        record::leave_entry(&*session, &walk, error.as_deref());
        if error.is_none() {
            // What cannot be written is the connection's to find out.
            let _ = session.finish().await;
        }
    }

    /// From stop to stop. True where the request is answered, false where Pingora is to forward it.
    async fn walk(&self, session: &mut Exchange, walk: &mut Walk) -> Result<bool> {
        // A request of our own was accepted as what caused it.
        if walk.errand.is_none() {
            let entered = accept::enter(session.req_header_mut(), walk);
            if entered.is_ok() && purge::answer(session, walk).await? {
                return Ok(true);
            }
            let routed = entered
                .and_then(|()| accept::find_route(session.req_header(), walk))
                .and_then(|()| admit::by_address(walk));
            if let Err(verdict) = routed {
                deliver::own_answer(session, walk, verdict).await?;
                return Ok(true);
            }
            if let Err(too_many) = rate::admit((&session.req_header().headers).into(), walk) {
                let (verdict, fields) = (too_many.verdict, too_many.fields);
                deliver::own_answer_with(session, walk, verdict, fields).await?;
                return Ok(true);
            }
            if admit::by_credentials(self, session, walk).await?
                || events::answer(session, walk).await?
                || answer::without_asking(session, walk).await?
                || cached::answer(self, session, walk).await?
            {
                return Ok(true);
            }
        }
        direct::forward(&self.0.kept, session, walk).await
    }
}
