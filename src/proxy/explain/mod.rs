//! What would become of a request: its walk from stop to stop, without a connection and without asking anybody.
//!
//! A question is written as the octets that a client would send, read by the gate, and led to the stops that every request is
//! led to: [`accept`](mod@super::accept) for client, path and route, [`cached::asking`] for what the cache is asked. Only the last step is
//! another: the cache [explains](crate::cache::Cache::explain) instead of acting.

mod question;
mod text;

pub use question::{Asked, Fault, Question};

use super::Site;
use super::probe::Fetched;
use super::relay::UNSATISFIABLE;
use super::walk::{Entered, Verdict, Walk};
use super::{accept, admit, cached, forward, rate, words};
use crate::cache::explain::Explained;
use crate::cache::outcome::Reason;
use crate::cache::policy::Moment;
use crate::fields::{host, uri};
use crate::listen::exchange::ticket::Ticket;
use crate::listen::gate::{Framing, Refusal, Request};
use crate::listen::settings::LimitSettings;
use crate::listen::stream::Client;
use crate::routing::RequestView;
use crate::routing::settings::{Action, RouteSettings};
use http::StatusCode;
use pingora::http::RequestHeader;
use serde::Serialize;
use std::sync::Arc;

/// Routes that were tried and did not match are named up to this many: those nearest to the one that did.
const TRIED_MAX: usize = 16;

/// What would become of a request.
#[derive(Debug, Serialize)]
pub struct Explanation {
    /// The answer in one line.
    pub verdict: String,
    /// The request as it was understood.
    pub request: Understood,
    /// Why it would be answered by us without a route or an upstream, where it would.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<Refused>,
    /// The route that it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<Route>,
    /// The routes that were tried before it and did not match, the nearest last.
    pub not_matched: Vec<NotMatched>,
    /// Who would be asked, where somebody has to be.
    pub upstreams: Vec<Share>,
    /// The rate limits of the route, and what the client has left of each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rate_limits: Vec<rate::Concerned>,
    /// What the cache makes of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache: Option<Explained>,
    /// `Cache-Status` as it would be, where it is known before anybody was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_status: Option<String>,
    /// Whether the express lane would answer it, over HTTP/1.1.
    pub express: bool,
    /// What came of a real request, where one was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fetched: Option<Fetched>,
}

/// A request as it was understood.
#[derive(Debug, Serialize)]
pub struct Understood {
    /// The method.
    pub method: String,
    /// "http" or "https".
    pub scheme: String,
    /// The host and port that were asked for.
    pub authority: String,
    /// The path in its one spelling.
    pub path: String,
    /// The query as sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// The client, as far as those in front of us are believed.
    pub client: String,
}

/// An answer of our own.
#[derive(Debug, Serialize)]
pub struct Refused {
    /// Its status.
    pub status: u16,
    /// Why, as `error` in the access log.
    pub word: &'static str,
    /// What that means.
    pub sentence: &'static str,
    /// Where it stands with what to do about it.
    pub page: String,
}

/// The route that a request is for.
#[derive(Debug, Serialize)]
pub struct Route {
    /// Its name.
    pub name: String,
    /// What it does: "forward", "redirect", "respond", "files" or "events".
    pub does: &'static str,
    /// The target as the upstream sees it.
    pub target: String,
    /// What stands between a client and it, where something does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access: Option<String>,
}

/// A route that is tried before the one that matches, and does not.
#[derive(Debug, Serialize)]
pub struct NotMatched {
    /// Its name.
    pub route: String,
    /// The first of its conditions that does not hold.
    pub why: String,
}

/// An upstream that the route leads to.
#[derive(Debug, Serialize)]
pub struct Share {
    /// Its name.
    pub name: String,
    /// Its share of the route's requests.
    pub weight: u32,
    /// Whether it has a server that is up.
    pub available: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A question that passed the gate, on its walk.
struct Walked {
    header: RequestHeader,
    walk: Walk,
    has_body: bool,
    upgrade: bool,
}

/// Explains what would become of a question now.
pub fn explain(
    site: &Arc<Site>,
    asked: &Asked,
    client: Arc<Client>,
    limits: &LimitSettings,
) -> Explanation {
    let mut explanation = match asked.through_the_gate(limits) {
        Ok(request) => of_request(site, request, client, limits),
        Err(refusal) => of_refusal(asked, &client, refusal),
    };
    explanation.verdict = text::verdict(&explanation);
    explanation
}

impl Explanation {
    /// Adds what came of a real request, which is then the answer.
    pub fn add_fetched(&mut self, fetched: Fetched) {
        self.fetched = Some(fetched);
        self.verdict = text::verdict(self);
    }

    /// The same for people: the answer first, then the evidence.
    pub fn to_text(&self) -> String {
        text::whole(self)
    }
}

fn of_refusal(asked: &Asked, client: &Client, refusal: Refusal) -> Explanation {
    Explanation {
        verdict: String::new(),
        request: Understood {
            method: asked.method().to_owned(),
            scheme: scheme_of(client).to_owned(),
            authority: asked.host().to_owned(),
            path: asked.target().to_owned(),
            query: None,
            client: client.addr.ip().to_string(),
        },
        refused: Some(Refused {
            status: refusal.status.as_u16(),
            word: refusal.reason,
            sentence: refusal.message,
            page: format!("docs/reasons.md#gate-{}", refusal.reason),
        }),
        route: None,
        not_matched: Vec::new(),
        upstreams: Vec::new(),
        rate_limits: Vec::new(),
        cache: None,
        cache_status: None,
        express: false,
        fetched: None,
    }
}

fn scheme_of(client: &Client) -> &'static str {
    if client.tls { "https" } else { "http" }
}

fn of_request(
    site: &Arc<Site>,
    request: Request,
    client: Arc<Client>,
    limits: &LimitSettings,
) -> Explanation {
    let ticket = Ticket::new(client, request.host.clone(), limits, false);
    let mut walked = Walked {
        has_body: request.framing != Framing::None,
        upgrade: request.upgrade,
        header: request.header,
        walk: Walk {
            entered: Some(Entered::new(site.clone(), Arc::new(ticket))),
            ..Walk::default()
        },
    };
    let entered = accept::enter(&mut walked.header, &mut walked.walk);
    let refused = entered
        .and_then(|()| accept::find_route(&walked.header, &mut walked.walk))
        .and_then(|()| admit::foreseen_by_address(&walked.walk))
        .and_then(|()| {
            let fields = (&walked.header.headers).into();
            rate::would_admit(fields, &walked.walk).map_err(|too_many| too_many.verdict)
        })
        .and_then(|()| admit::foreseen(&mut walked.header, &walked.walk))
        .err();
    let looked = refused.is_none().then(|| walked.looked()).flatten();
    let route = walked.walk.route.clone();
    Explanation {
        verdict: String::new(),
        request: walked.understood(),
        refused: refused.map(Refused::from),
        rate_limits: rate::concerned((&walked.header.headers).into(), &walked.walk),
        not_matched: walked.not_matched(site),
        upstreams: route
            .as_deref()
            .filter(|route| !walked.is_of_events(route))
            .map(|route| shares(site, route))
            .unwrap_or_default(),
        route: route.map(|route| walked.route(&route)),
        cache_status: looked.as_ref().map(|it| cache_status(it, site)),
        cache: looked,
        express: false,
        fetched: None,
    }
}

/// As [`cached::tell`] writes it, before anything came.
fn cache_status(looked: &Explained, site: &Site) -> String {
    let member = looked.lookup.outcome.write(&site.cache_name);
    let mut member = String::from_utf8_lossy(member.as_bytes()).into_owned();
    let status = looked.answer.as_ref().map(|answer| answer.status);
    if status == Some(StatusCode::RANGE_NOT_SATISFIABLE.as_u16()) && looked.lookup.reason.is_none()
    {
        member.push_str("; detail=");
        member.push_str(UNSATISFIABLE);
    }
    member
}

impl From<Verdict> for Refused {
    fn from(verdict: Verdict) -> Self {
        Self {
            status: verdict.status.as_u16(),
            word: verdict.reason,
            sentence: words::sentence(verdict.reason),
            page: format!("docs/reasons.md#{}", verdict.reason),
        }
    }
}

impl Walked {
    fn looked(&self) -> Option<Explained> {
        let forwards = |route: &RouteSettings| matches!(route.action, Action::Forward(_));
        let route = self.walk.route.as_deref();
        route.filter(|it| forwards(it) && !self.is_of_events(it))?;
        let (body, upgrade) = (self.has_body, self.upgrade);
        cached::asking(&self.header, &self.walk, body, upgrade, |cache, ask| {
            cache.explain(ask, Moment::now())
        })
    }

    fn understood(&self) -> Understood {
        let entered = self.walk.entered.as_ref();
        let fields = (&self.header.headers).into();
        let scheme = entered.map_or("http", |it| it.peer.scheme(fields).as_str());
        let asked = uri::split_path_query(accept::target(&self.header));
        let path = entered.map_or("", |entered| entered.path.as_str());
        Understood {
            method: self.header.method.as_str().to_owned(),
            scheme: scheme.to_owned(),
            authority: entered.map_or_else(String::new, |it| it.ticket.host.clone()),
            // It has none yet where it was refused for it.
            path: if path.is_empty() { asked.path } else { path }.to_owned(),
            query: asked.query.map(str::to_owned),
            client: entered.map_or_else(String::new, |it| it.client.to_string()),
        }
    }

    /// Whether it is for what the route tells its viewers.
    fn is_of_events(&self, route: &RouteSettings) -> bool {
        let path = self.walk.entered.as_ref().map(|it| it.path.as_str());
        let events = route.events.as_ref();
        events.is_some_and(|events| Some(events.path.as_str()) == path)
    }

    fn route(&self, route: &RouteSettings) -> Route {
        let target = forward::rewritten(&self.header, &self.walk);
        Route {
            name: route.name.clone(),
            does: match &route.action {
                _ if self.is_of_events(route) => "events",
                Action::Forward(_) => "forward",
                Action::Redirect { .. } => "redirect",
                Action::Respond { .. } => "respond",
                Action::Files { .. } => "files",
            },
            target: target.unwrap_or_else(|| accept::target(&self.header).to_owned()),
            access: admit::summary(&self.walk),
        }
    }

    fn not_matched(&self, site: &Site) -> Vec<NotMatched> {
        let Some(entered) = self.walk.entered.as_ref().filter(|it| !it.path.is_empty()) else {
            return Vec::new();
        };
        let fields = (&self.header.headers).into();
        let tried = site.routes.explain(&RequestView {
            scheme: entered.peer.scheme(fields),
            host: host::parse(&entered.ticket.host).map_or("", |authority| authority.host),
            path: &entered.path,
            query: uri::split_path_query(accept::target(&self.header)).query,
            method: &self.header.method,
            headers: fields,
        });
        let missed = tried.iter().filter_map(|tried| {
            Some(NotMatched {
                route: tried.route.name.clone(),
                why: tried.mismatch?.to_string(),
            })
        });
        let mut missed: Vec<_> = missed.collect();
        missed.drain(..missed.len().saturating_sub(TRIED_MAX));
        missed
    }
}

fn shares(site: &Site, route: &RouteSettings) -> Vec<Share> {
    let Action::Forward(shares) = &route.action else {
        return Vec::new();
    };
    let shares = shares.iter().map(|share| {
        let view = site.upstreams.get(&share.upstream).map(|it| it.view());
        Share {
            name: share.upstream.clone(),
            weight: share.weight,
            available: view.as_ref().is_some_and(|view| view.available),
            reason: view.and_then(|view| view.reason),
        }
    });
    shares.collect()
}

/// The reason that a word of `Cache-Status; detail=` stands for.
pub(super) fn reason_of(word: &str) -> Option<Reason> {
    Reason::ALL.iter().copied().find(|it| it.word() == word)
}
