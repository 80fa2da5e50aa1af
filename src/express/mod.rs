//! The express lane: answers what is fresh in memory, in front of the proxy.
//!
//! A hit needs no map of fields, no session, no task and no wait: the request is read where it lies, the stored head is copied as
//! it is stored, and head and body leave in one write. The questions are those of the full lane and the functions that answer them
//! too: [`proxy::entry`](crate::proxy::entry) says whom a request is from and which route it is for, [`Cache::hit`](crate::cache::Cache::hit) what may be served.
//! Whatever is not a plain hit, or has a rule that this lane does not enforce, goes on to the proxy with nothing done about it.
//!
//! | part | question |
//! |---|---|
//! | [`hit`] | may this request be answered here, and by what? |
//! | [`head`] | the answer's head, as HTTP/1 writes it |
//! | [`http2`] | the same for HTTP/2: what is asked, and the answer as the connection sends it |
//! | [`record`] | what goes into the metrics and the access log? |

pub mod head;
pub mod hit;
mod http2;
mod record;

use crate::clock;
use crate::listen::Handler;
use crate::listen::at_once::{Circumstances, Given};
use crate::listen::burst::Burst;
use crate::listen::exchange::Exchange;
use crate::listen::gate::canonical::{self, Canonical};
use crate::listen::gate::http2::Asked;
use crate::listen::reply::Reply;
use crate::listen::settings::LimitSettings;
use crate::listen::stream::Client;
use crate::proxy::{Proxy, Site};
use arc_swap::ArcSwap;
use std::mem::MaybeUninit;
use std::sync::Arc;

/// Whether the lane would answer this request, which is one as a client sends it over HTTP/1.1.
pub fn would_answer(site: &Site, octets: &[u8], limits: &LimitSettings, client: &Client) -> bool {
    let mut lines = [MaybeUninit::uninit(); canonical::LINES_MAX];
    let Some(asked) = canonical::read(octets, &mut lines, limits) else {
        return false;
    };
    hit::would_find(site, &hit::Request::new(site, asked, client), clock::now())
}

/// Both lanes of one data thread.
#[derive(Debug, Clone)]
pub struct Lane {
    site: Arc<ArcSwap<Site>>,
    proxy: Proxy,
}

impl Lane {
    /// The express lane in front of this proxy.
    pub fn new(site: Arc<ArcSwap<Site>>, proxy: Proxy) -> Self {
        Self { site, proxy }
    }
}

impl Handler for Lane {
    async fn handle(&self, exchange: Box<Exchange>) {
        // In a box: an idle connection need not hold room for a walk.
        Box::pin(self.proxy.answer(exchange)).await;
    }

    fn at_once(
        &self,
        asked: Canonical<'_, '_>,
        circumstances: &Circumstances<'_>,
        burst: &mut Burst,
    ) -> Option<Given> {
        let site = self.site.load();
        let request = hit::Request::new(&site, asked, circumstances.client);
        let hit = hit::find(&site, &request, circumstances.arrived, None)?;
        burst.write_with(|out| head::write(out, &site, &hit, circumstances.close));
        let sent = hit.send_body(&site, !circumstances.client.tls, burst);
        Some(record::given(&request, &hit, circumstances, sent))
    }

    fn at_once_http2(&self, asked: Asked<'_>, circumstances: &Circumstances<'_>) -> Option<Reply> {
        http2::reply(&self.site.load(), asked, circumstances)
    }
}
