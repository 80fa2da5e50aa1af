//! Whether a request may be answered by the express lane, and by what.

use crate::access::Guard;
use crate::cache::Ask;
use crate::cache::key::Target;
use crate::cache::lookup::Serve;
use crate::cache::policy::Moment;
use crate::cache::segments::MOVED_FROM;
use crate::cache::serve::{self, Plan, StoredView};
use crate::clock::Instant;
use crate::fields::uri::{self, PathQuery};
use crate::fields::view::{FieldLines, FieldView};
use crate::listen::burst::Burst;
use crate::listen::gate::canonical::{Canonical, Line};
use crate::listen::stream::Client;
use crate::proxy::entry::{self, Peer};
use crate::proxy::site::Place;
use crate::proxy::{Site, rate};
use crate::rate::Subject;
use crate::routing::settings::{Action, EventSettings, RouteSettings, Scheme};
use crate::routing::{self, RequestView};
use http::header::{ETAG, HeaderName, IF_NONE_MATCH};
use http::{Method, StatusCode};
use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;

/// A request, as both lanes see it.
#[derive(Debug)]
pub struct Request<'a> {
    /// GET or HEAD.
    pub method: &'a Method,
    /// The authority as the gate chose it.
    pub authority: &'a str,
    /// The host in it.
    pub host: &'a str,
    /// Path and query as sent.
    pub target: PathQuery<'a>,
    /// The end-to-end fields, without a stranger's claims.
    pub fields: FieldView<'a>,
    /// Who sent it.
    pub peer: Peer,
}

impl<'a> Request<'a> {
    /// One in canonical form.
    pub fn new<'b: 'a>(site: &Site, asked: Canonical<'a, 'b>, client: &Client) -> Self {
        let Canonical {
            method,
            target,
            authority,
            host,
            lines,
            ..
        } = asked;
        let peer = Peer::new(site, client);
        let lines = if peer.trusted {
            lines
        } else {
            without_claims(lines)
        };
        Self {
            method,
            authority,
            host,
            target: uri::split_path_query(target),
            fields: FieldView::Lines(FieldLines::new(lines)),
            peer,
        }
    }
}

/// The lines that a stranger has a say in, in their order.
fn without_claims<'a, 'b>(lines: &'a mut [Line<'b>]) -> &'a [Line<'b>] {
    let first = lines.iter().position(|line| entry::is_claim(line.name));
    let Some(mut kept) = first else {
        return lines;
    };
    for at in first.unwrap_or_default()..lines.len() {
        if lines
            .get(at)
            .is_some_and(|line| !entry::is_claim(line.name))
        {
            lines.swap(kept, at);
            kept += 1;
        }
    }
    lines.get(..kept).unwrap_or_default()
}

/// An id, given by a trusted proxy or made here.
#[derive(Debug)]
pub enum Id<'a> {
    /// By a trusted proxy.
    Given(&'a str),
    /// By us.
    Ours([u8; 32]),
}

impl Id<'_> {
    /// As it is written.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Given(id) => id.as_bytes(),
            Self::Ours(id) => id,
        }
    }
}

/// What a request is answered by.
#[derive(Debug)]
pub struct Hit<'a> {
    /// The route.
    pub route: &'a RouteSettings,
    /// What the site keeps for it.
    pub place: &'a Place,
    /// What is stored, and what to say of it.
    pub serve: Serve,
    /// What of it is sent.
    pub plan: Plan,
    /// The client, as far as those in front of us are believed.
    pub client: IpAddr,
    /// What it speaks.
    pub scheme: Scheme,
    /// The request's id.
    pub id: Id<'a>,
}

/// Looks. `None` says nothing about the request, and nothing was done about it: the full lane answers it. So does it where
/// more than `most` octets would be sent.
#[inline]
pub fn find<'a>(
    site: &'a Site,
    request: &Request<'a>,
    now: Instant,
    most: Option<u64>,
) -> Option<Hit<'a>> {
    let hit = find_by(site, request, |ask| site.cache.hit(ask, now))?;
    if most.is_some_and(|most| hit.length() > most) {
        return None;
    }
    // The last question: whoever is let in is answered here.
    let admitted =
        hit.place.limits.is_empty() || rate::lets_in(&hit.subject(request), hit.place, now);
    admitted.then_some(hit)
}

/// Whether [`find`] would find something; counts as no use of it.
pub fn would_find(site: &Site, request: &Request<'_>, now: Instant) -> bool {
    let hit = find_by(site, request, |ask| site.cache.would_hit(ask, now));
    hit.is_some_and(|hit| rate::would_let_in(&hit.subject(request), hit.place, now))
}

#[inline]
fn find_by<'a>(
    site: &'a Site,
    request: &Request<'a>,
    hit: impl FnOnce(&Ask<'_>) -> Option<Serve>,
) -> Option<Hit<'a>> {
    let Request {
        method,
        authority,
        host,
        target,
        fields,
        peer,
    } = *request;
    if entry::is_loop(site, fields) {
        return None;
    }
    let path = routing::normalise(target.path).ok()?;
    let scheme = peer.scheme(fields);
    let sought = RequestView {
        scheme,
        host,
        path: &path,
        query: target.query,
        method,
        headers: fields,
    };
    let route = site.routes.find(&sought)?;
    let is_stream = |events: &EventSettings| events.path == path;
    let place = site.place(Some(route));
    if site.tells_apart() && site.may_be_read_otherwise(&path) {
        let mut others = site.others(Some(route), &sought);
        if others.any(|other| other.is_guarded() || other.rules != place.rules) {
            return None;
        }
    }
    if !matches!(route.action, Action::Forward(_))
        || place.edits_framing
        || route.events.as_ref().is_some_and(is_stream)
    {
        return None;
    }
    if peer.exceeds_key(fields, scheme, authority, &place.rules.key.headers) {
        return None;
    }
    let client = peer.client(site, fields);
    let open = |guard: &Arc<Guard>| guard.is_open_to(client);
    if !place.guard.as_ref().is_none_or(open) || site.has_claims(fields, peer.trusted) {
        return None;
    }
    let ask = Ask {
        method,
        target: Target {
            scheme: scheme.as_str(),
            authority,
            path: &path,
            query: target.query,
        },
        headers: fields,
        has_body: false,
        upgrade: false,
        unshared: None,
        rules: &place.rules,
        route: &place.name,
        upstream: &place.upstream,
        client,
    };
    let serve = hit(&ask)?;
    let response = &serve.response;
    let plan = if serve::has_conditions(fields) {
        serve::plan(method, fields, &StoredView::stored(response, Moment::now()))
    } else if *method == Method::HEAD {
        Plan::HeadOnly
    } else {
        Plan::Whole
    };
    let status = plan.status(response.status());
    if !is_written_here(&plan, response.status())
        || route.error_pages.contains_key(&status.as_u16())
        || plan == Plan::NotModified && holds_coded(fields, place, &serve)
    {
        return None;
    }
    let id = entry::given_id(fields).map_or_else(|| Id::Ours(entry::new_id()), Id::Given);
    Some(Hit {
        route,
        place,
        serve,
        plan,
        client,
        scheme,
        id,
    })
}

/// Several ranges, and none that there are, have answers that are made in the full lane; so do statuses without content.
fn is_written_here(plan: &Plan, stored: StatusCode) -> bool {
    match plan {
        Plan::Whole | Plan::HeadOnly => {
            stored != StatusCode::NO_CONTENT && stored != StatusCode::NOT_MODIFIED
        }
        Plan::NotModified | Plan::Part { .. } => true,
        Plan::Parts(_) | Plan::Unsatisfiable { .. } => false,
    }
}

/// Whether the client may hold a coded form of what is stored plain, and so another tag than the one stored.
fn holds_coded(fields: FieldView<'_>, place: &Place, serve: &Serve) -> bool {
    let weak = |tag: &[u8]| memchr::memmem::find(tag, b"W/").is_some();
    place.rules.compress
        && fields.get_all(&IF_NONE_MATCH).any(weak)
        && serve
            .response
            .fields()
            .get(&ETAG)
            .is_some_and(|tag| !weak(tag))
}

impl Hit<'_> {
    /// Fields that are added because the route wants them and neither the stored response nor the route itself has them: as
    /// [`proxy::admit`](crate::proxy) adds them in the full lane.
    pub fn added(&self) -> impl Iterator<Item = (&'static HeaderName, &'static str)> {
        let set = self.place.guard.as_ref().map(|guard| guard.headers);
        let fields = set.map(|set| set.fields(self.status(), self.scheme == Scheme::Https));
        let told = &self.route.response_headers;
        let stored = self.serve.response.fields();
        fields.into_iter().flatten().filter(move |(name, _)| {
            stored.get(name).is_none()
                && !told.remove.contains(name)
                && !told.set.iter().any(|(told, _)| told == *name)
        })
    }

    /// The status that is sent.
    pub fn status(&self) -> StatusCode {
        self.plan.status(self.serve.response.status())
    }

    /// The request, as far as rate limits are concerned.
    fn subject<'s>(&'s self, request: &Request<'s>) -> Subject<'s> {
        Subject {
            client: self.client,
            route: &self.route.name,
            fields: request.fields,
        }
    }

    /// Which octets of the stored body are sent.
    pub fn body_range(&self) -> Range<u64> {
        match &self.plan {
            Plan::Whole => 0..self.serve.response.body_length(),
            Plan::Part { range, .. } => range.clone(),
            Plan::HeadOnly | Plan::NotModified | Plan::Parts(_) | Plan::Unsatisfiable { .. } => {
                0..0
            }
        }
    }

    /// How many they are.
    pub fn length(&self) -> u64 {
        let range = self.body_range();
        range.end.saturating_sub(range.start)
    }

    /// Adds the body to the burst, and says how many octets it has. `plain` says that the kernel may send it by itself.
    pub fn send_body(&self, site: &Site, plain: bool, burst: &mut Burst) -> u64 {
        let response = &self.serve.response;
        let range = self.body_range();
        if range.is_empty() {
            return 0;
        }
        if let Some(body) = response.inline_body() {
            let at = |octet: u64| usize::try_from(octet).unwrap_or(usize::MAX);
            burst.copy(body.get(at(range.start)..at(range.end)).unwrap_or_default());
        } else {
            let body = response.body();
            let large = plain && body.length() >= MOVED_FROM;
            match large.then(|| body.file_range(range.clone())) {
                Some(Some(file)) => burst.push_file(file),
                other => {
                    if other.is_some() {
                        site.cache.sent_by_kernel(response);
                    }
                    let pieces = body.slice(range.clone());
                    pieces.for_each(|piece| burst.push(piece));
                }
            }
        }
        range.end.saturating_sub(range.start)
    }
}
