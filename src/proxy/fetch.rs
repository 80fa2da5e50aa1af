//! A fetch for the cache: a request of our own through the same proxy, whose client is the fill.
//!
//! It is a task of its own, so it goes on when the client that caused it leaves. Hold, retry, balance and deadlines apply to it as
//! to any request. What it must not do is what belongs to one client only: it writes no access log, is not counted as a
//! client's request, and an error is told to the fill instead of being made a page.

use super::Site;
use super::accept;
use super::entry::Peer;
use super::front::Proxy;
use super::walk::{Entered, Verdict, Walk};
use crate::cache::Lead;
use crate::cache::fill::{Failure, FillWriter, Wanted};
use crate::cache::key::Target;
use crate::cache::policy::Moment;
use crate::cache::policy::stale::Trouble;
use crate::cache::refresh::Due;
use crate::fields::{host, uri};
use crate::listen::exchange::Exchange;
use crate::listen::exchange::inner::Recipient;
use crate::listen::exchange::ticket::Ticket;
use crate::listen::settings::LimitSettings;
use crate::listen::stream::Client;
use crate::routing::RequestView;
use crate::routing::settings::{RouteSettings, Scheme};
use crate::upstream::{ClaimReport, Upstream};
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, EXPECT, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, Method, StatusCode};
use parking_lot::Mutex;
use pingora::http::RequestHeader;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

/// What a fetch knows from the request that caused it, and what that request is told of it.
#[derive(Debug)]
pub struct Errand {
    site: Arc<Site>,
    route: Arc<RouteSettings>,
    client: IpAddr,
    peer: Peer,
    path: String,
    id: String,
    /// Whether there is something better to do than to wait for an origin that is away.
    hurried: bool,
    /// Whether it waits for a server.
    held: AtomicBool,
    /// Written by the fetch, read by the request that caused it. Held for a copy only.
    report: Mutex<Report>,
}

/// What became of a fetch, up to now.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// The upstream that was asked.
    pub upstream: Option<Arc<Upstream>>,
    /// Tries and waits.
    pub claim: ClaimReport,
    /// The status that it answered with.
    pub status: Option<StatusCode>,
    /// Why nothing came, or not all of it.
    pub failure: Option<Failure>,
}

impl Errand {
    /// It waits for a server, or no longer does: nobody waits who has left.
    pub fn hold(&self, held: bool) {
        self.held.store(held, Ordering::Relaxed);
    }

    /// Sends a request of our own on the way that its cause has walked already.
    pub fn enter(self: Arc<Self>, ticket: Arc<Ticket>, walk: &mut Walk) {
        walk.entered = Some(Entered {
            site: self.site.clone(),
            ticket,
            client: self.client,
            peer: self.peer,
            path: self.path.clone(),
            id: self.id.clone(),
        });
        walk.route = Some(self.route.clone());
        walk.errand = Some(self);
    }

    /// Whether it is not to be held: a stale answer now is better than one after the hold.
    pub fn is_hurried(&self) -> bool {
        self.hurried
    }

    /// Notes how far the fetch has come.
    pub fn note(&self, walk: &Walk) {
        let Some(forwarding) = &walk.forwarding else {
            return;
        };
        let mut report = self.report.lock();
        report.upstream = Some(forwarding.upstream.clone());
        report.claim = forwarding.claim.report();
        report.status = forwarding.status;
    }

    /// Notes that it failed; the fill hears of it when the answer is given up.
    pub fn failed(&self, verdict: Verdict) {
        let mut report = self.report.lock();
        let held = match verdict.reason {
            "hold_expired" => report.claim.hold,
            _ => Duration::ZERO,
        };
        report.failure = Some(Failure {
            status: verdict.status,
            word: verdict.reason,
            retry_after: verdict.retry_after,
            trouble: trouble(verdict.reason),
            held,
        });
    }

    /// What has become of it.
    pub fn report(&self) -> Report {
        self.report.lock().clone()
    }

    /// Why it failed, where it did.
    pub fn failure(&self) -> Option<Failure> {
        self.report.lock().failure
    }
}

/// A request of our own about another one: it goes straight to the upstream of this route.
pub(super) fn ask(
    proxy: &Proxy,
    header: RequestHeader,
    entered: &Entered,
    route: Arc<RouteSettings>,
    recipient: Box<dyn Recipient>,
) {
    let asked = uri::split_path_query(accept::target(&header));
    let errand = Arc::new(Errand {
        site: entered.site.clone(),
        route,
        client: entered.client,
        peer: entered.peer,
        path: asked.path.to_owned(),
        id: entered.id.clone(),
        hurried: false,
        held: AtomicBool::new(false),
        report: Mutex::default(),
    });
    let ticket = Arc::new(entered.ticket.of_our_own());
    dispatch(
        proxy,
        Box::new(Exchange::inner(header, recipient, ticket)),
        errand,
    );
}

/// Whether the origin was there. A TLS hand-shake that fails, and a wait that is refused because many wait already, are
/// cases of nobody being there to be asked.
fn trouble(word: &str) -> Trouble {
    match word {
        "connect" | "upstream-tls" | "nobody" | "hold_expired" | "hold_full" | "draining" => {
            Trouble::Unreachable
        }
        _ => Trouble::Failed,
    }
}

/// Begins the fetch that `lead` is for, because of the request `asked`. It runs on this thread.
pub fn begin(proxy: &Proxy, asked: &RequestHeader, walk: &Walk, lead: Lead) -> Option<Arc<Errand>> {
    // Without these there is nobody to ask, and the fill fails by being dropped.
    let (Some(entered), Some(route)) = (&walk.entered, &walk.route) else {
        return None;
    };
    let target = lead.writer.target();
    let mut ticket = entered.ticket.of_our_own();
    target.authority.clone_into(&mut ticket.host);
    let errand = Arc::new(Errand {
        site: entered.site.clone(),
        route: route.clone(),
        client: entered.client,
        peer: entered.peer,
        path: target.path.to_owned(),
        id: entered.id.clone(),
        hurried: lead.writer.stale_at_hand(Moment::now()),
        held: AtomicBool::new(false),
        report: Mutex::default(),
    });
    let mut header = asked.clone();
    header.set_method(Method::GET);
    let said = uri::split_path_query(accept::target(asked));
    if (said.path, said.query) != (target.path, target.query) {
        header.set_raw_path(request_line(&target).as_bytes()).ok()?;
    }
    adopt(&mut header, &lead.request);
    send(proxy, header, ticket, &errand, lead.writer);
    Some(errand)
}

/// Begins a fetch that no request has caused: what is stored is fetched anew before it expires. It runs on this thread.
pub fn refresh(proxy: &Proxy, site: &Arc<Site>, due: Due) {
    let Some(route) = route_of(site, &due) else {
        return;
    };
    let place = site.place(Some(&route));
    let ours = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let Some(lead) = site.cache.refresh(due, &place.rules, &place.upstream) else {
        return;
    };
    let target = lead.writer.target();
    let tls = target.scheme == Scheme::Https.as_str();
    let path = target.path.to_owned();
    let client = Client {
        addr: ours,
        local: ours,
        tls,
        certificate: None,
    };
    let host = target.authority.to_owned();
    let ticket = Ticket::new(Arc::new(client), host, &LimitSettings::default(), false);
    // It was a request line once.
    let line = request_line(&target);
    let Ok(mut header) = RequestHeader::build(Method::GET, line.as_bytes(), None) else {
        return;
    };
    adopt(&mut header, &lead.request);
    let errand = Arc::new(Errand {
        site: site.clone(),
        route,
        client: ours.ip(),
        peer: Peer {
            address: ours.ip(),
            trusted: false,
            tls,
        },
        path,
        id: accept::new_id(),
        hurried: true,
        held: AtomicBool::new(false),
        report: Mutex::default(),
    });
    send(proxy, header, ticket.of_our_own(), &errand, lead.writer);
}

/// What is asked for on behalf of all: spelt like their key, and without what is not in it. Were it as the first one's request
/// has it, an origin that tells `%2f` from `%2F`, writes links with the port that it is asked by, or shows a parameter that
/// does not count, would have one client choose what the others get.
fn request_line(target: &Target<'_>) -> String {
    let path = target.path;
    match target.query {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    }
}

/// The route that a refresh goes by: the one that its response was stored by, where that is still the one for it.
fn route_of(site: &Site, due: &Due) -> Option<Arc<RouteSettings>> {
    let target = due.target();
    let scheme = [Scheme::Http, Scheme::Https]
        .into_iter()
        .find(|scheme| scheme.as_str() == target.scheme)?;
    let host = host::parse(target.authority).map_or("", |authority| authority.host);
    let route = site.routes.find(&RequestView {
        scheme,
        host,
        path: target.path,
        query: target.query,
        method: &Method::GET,
        headers: due.headers().into(),
    })?;
    (site.place(Some(route)).name == *due.route()).then(|| route.clone())
}

fn send(
    proxy: &Proxy,
    mut header: RequestHeader,
    ticket: Ticket,
    errand: &Arc<Errand>,
    writer: FillWriter,
) {
    let host = ticket.host.as_bytes();
    let is_said = header.headers.get(HOST).is_some_and(|it| it == host);
    if !host.is_empty() && !is_said {
        // An authority that the gate let through is a value.
        let _ = header.insert_header(HOST, host);
    }
    let fill = Fill {
        writer,
        errand: errand.clone(),
        held: false,
        wanted: true,
        ended: false,
    };
    let exchange = Box::new(Exchange::inner(header, Box::new(fill), Arc::new(ticket)));
    dispatch(proxy, exchange, errand.clone());
}

fn dispatch(proxy: &Proxy, exchange: Box<Exchange>, errand: Arc<Errand>) {
    let proxy = proxy.clone();
    // In a box: a task is moved into its place, and a walk is large.
    tokio::spawn(Box::pin(async move { proxy.fetch(exchange, errand).await }));
}

/// Makes the fields of `header` those of `wanted`. What is the same in both stays as the client spelt it.
fn adopt(header: &mut RequestHeader, wanted: &HeaderMap) {
    let of_a_body = |name: &HeaderName| [CONTENT_LENGTH, TRANSFER_ENCODING, EXPECT].contains(name);
    let unwanted: Vec<HeaderName> = header
        .headers
        .keys()
        .filter(|name| !wanted.contains_key(*name) || of_a_body(name))
        .cloned()
        .collect();
    for name in &unwanted {
        header.remove_header(name);
    }
    for name in wanted.keys().filter(|name| !of_a_body(name)) {
        if header
            .headers
            .get_all(name)
            .iter()
            .eq(wanted.get_all(name).iter())
        {
            continue;
        }
        header.remove_header(name);
        for value in wanted.get_all(name) {
            // A name and a value out of a map are always valid.
            let _ = header.append_header(name.clone(), value.clone());
        }
    }
}

/// The fill as the recipient of an answer.
#[derive(Debug)]
struct Fill {
    writer: FillWriter,
    errand: Arc<Errand>,
    /// What the writer knows of [`Errand::hold`].
    held: bool,
    /// Whether the body is.
    wanted: bool,
    ended: bool,
}

impl Recipient for Fill {
    fn asked(&mut self) {
        self.writer.requested(Moment::now());
    }

    fn interim(&mut self, status: StatusCode, fields: HeaderMap) {
        self.writer.interim(status, fields);
    }

    fn head(&mut self, status: StatusCode, fields: HeaderMap) {
        let wanted = self.writer.head(status, fields, Moment::now());
        self.wanted = wanted == Wanted::Body;
    }

    fn data(&mut self, data: Bytes) {
        if self.wanted {
            self.writer.data(data);
        }
    }

    fn end(&mut self) {
        self.ended = true;
        self.writer.end();
    }

    fn takes_little(&self) -> bool {
        self.writer.takes_little()
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.wanted {
            self.writer.poll_ready(cx)
        } else {
            Poll::Ready(())
        }
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let held = self.errand.held.load(Ordering::Relaxed);
        if held != self.held {
            self.held = held;
            self.writer.hold(held);
        }
        if self.wanted {
            self.writer.poll_cancelled(cx)
        } else {
            Poll::Ready(())
        }
    }
}

impl Drop for Fill {
    fn drop(&mut self) {
        if let Some(failure) = self.errand.failure().filter(|_| !self.ended) {
            self.writer.fail(failure);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn the_fields_are_those_wanted_and_none_of_a_body() {
        let mut header = RequestHeader::build("GET", b"/", None).expect("a head");
        for (name, value) in [
            ("X-KEPT", "1"),
            ("If-None-Match", "\"client\""),
            ("Range", "bytes=0-1"),
            ("Accept", "a"),
            ("Accept", "b"),
            ("Content-Length", "0"),
        ] {
            header.append_header(name, value).expect("a field");
        }
        let mut wanted = HeaderMap::new();
        wanted.insert("x-kept", HeaderValue::from_static("1"));
        wanted.append("accept", HeaderValue::from_static("a"));
        wanted.append("accept", HeaderValue::from_static("b"));
        wanted.insert("if-none-match", HeaderValue::from_static("\"stored\""));
        wanted.insert("content-length", HeaderValue::from_static("0"));
        adopt(&mut header, &wanted);
        wanted.remove("content-length");
        assert_eq!(header.headers, wanted);
        let mut written = Vec::new();
        header.header_to_h1_wire(&mut written);
        let written = String::from_utf8(written).expect("ASCII");
        assert!(written.contains("X-KEPT: 1"), "{written}");
    }

    #[test]
    fn what_was_never_asked_is_unreachable() {
        for (word, expected) in [
            ("connect", Trouble::Unreachable),
            ("hold_expired", Trouble::Unreachable),
            ("nobody", Trouble::Unreachable),
            ("upstream-timeout", Trouble::Failed),
            ("upstream-reset", Trouble::Failed),
            ("upstream-malformed", Trouble::Failed),
            ("starting", Trouble::Failed),
            ("queue_timeout", Trouble::Failed),
        ] {
            assert_eq!(trouble(word), expected, "{word}");
        }
    }
}
