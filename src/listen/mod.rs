//! Accepts connections, gates every request head, and hands exactly one request at a time to the proxy.
//!
//! A connection's way: [`accept`] takes it from the kernel, reads a PROXY protocol header and does the TLS hand-shake
//! where the listener says so, and finds out the HTTP version. [`http1`] or [`http2`] then serves it: each request
//! is answered [`at_once`] where it can be; every other passes the [`gate`], becomes an [`exchange`] that is given to the proxy, and leaves the connection where the next
//! request begins.
//!
//! Architecture invariant: bytes from a client are parsed here and nowhere else. Pingora is given heads that the gate
//! wrote and bodies without framing.

pub mod accept;
pub mod crowd;
pub mod idle;
pub mod lifecycle;
pub mod proxy_protocol;
pub mod socket;
pub mod stream;
pub mod tcp;

pub mod at_once;
mod backlog;
pub mod burst;
mod cork;
mod frames;
pub mod reply;
mod rouse;
mod sending;
mod turns;
mod under_way;

pub mod fault;
pub mod http1;
pub mod http2;

pub mod gate;

pub mod exchange;
pub mod outbox;
pub mod pace;

mod record;
pub mod settings;

#[cfg(test)]
mod scripted;

use crate::telemetry::access_log::AccessLog;
use crate::telemetry::metrics::HttpMetrics;
use arc_swap::ArcSwap;
use at_once::{Circumstances, Given};
use burst::Burst;
use exchange::Exchange;
use gate::canonical::Canonical;
use gate::http2::Asked;
use lifecycle::Lifecycle;
use reply::Reply;
use settings::LimitSettings;
use std::future::Future;
use std::sync::Arc;

/// Whoever answers requests: the proxy.
pub trait Handler: Clone + Send + Sync + 'static {
    /// Answers the one request that the exchange is about. What is written is still on its way when this returns.
    fn handle(&self, exchange: Box<Exchange>) -> impl Future<Output = ()> + Send;

    /// Answers a request at once, into the burst, where nobody needs to be waited for. `None` leaves it to
    /// [`Handler::handle`], and the burst as it was.
    fn at_once(
        &self,
        asked: Canonical<'_, '_>,
        circumstances: &Circumstances<'_>,
        burst: &mut Burst,
    ) -> Option<Given>;

    /// The same for a stream of HTTP/2, of which the connection writes the answer.
    fn at_once_http2(&self, asked: Asked<'_>, circumstances: &Circumstances<'_>) -> Option<Reply>;
}

/// What every connection needs, whichever listener and thread it came by.
#[derive(Debug)]
pub struct Shared {
    /// The limits now in force; a connection sees a change with its next request.
    pub limits: ArcSwap<LimitSettings>,
    /// Whether requests are taken, and how many connections there are.
    pub lifecycle: Arc<Lifecycle>,
    /// Where each request is recorded.
    pub access_log: AccessLog,
    /// What is counted.
    pub metrics: Arc<HttpMetrics>,
    /// What the program's log was told of clients that HTTP/2 connections were ended for.
    pub faults_told: fault::Told,
    /// When the log was last told of clients without a certificate that is trusted.
    pub untrusted_told: fault::Told,
    /// When the log was last told of requests that were refused since too many were under way.
    pub crowds_told: fault::Told,
}
