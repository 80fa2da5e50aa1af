//! Can the cache answer, alone or by a fetch that is shared? What the engine says is done here.

use super::accept::target;
use super::fetch::{self, Errand};
use super::front::Proxy;
use super::relay::{self, client_leaves};
use super::walk::{Verdict, Walk};
use super::{deliver, failure};
use crate::cache::fill::{Event, Failure, Follower};
use crate::cache::key::Target;
use crate::cache::lookup::Forward;
use crate::cache::outcome::{ForwardReason, Outcome, Reason};
use crate::cache::policy::stale::Trouble;
use crate::cache::policy::{Moment, Received, fields};
use crate::cache::{Answer, Ask, Cache, Tee};
use crate::clock;
use crate::fields::uri;
use crate::fields::view::FieldView;
use crate::listen::exchange::Exchange;
use crate::listen::exchange::head::ResponseHead;
use crate::routing::settings::Action;
use bytes::Bytes;
use http::header::AGE;
use http::{HeaderName, HeaderValue, StatusCode};
use pingora::Result;
use pingora::http::RequestHeader;
use std::sync::Arc;
use std::time::Duration;

/// `Cache-Status` (RFC 9211).
const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// A request that has shared fetches this often, and got nothing that fits it, is forwarded by itself.
const ROUNDS: usize = 4;

/// A request, as the cache has seen it.
#[derive(Debug, Default)]
pub struct Seen {
    /// What became of it.
    pub outcome: Outcome,
    /// The answer's age, where it came from the store or was shared.
    pub age: Option<Duration>,
    /// How long the origin took for what came from the store.
    pub saved: Duration,
    /// The fetch that it caused.
    pub errand: Option<Arc<Errand>>,
    /// Whether a fetch that it shared has broken off before.
    has_failed: bool,
    /// What the engine wants to hear of the answer, where the request is forwarded.
    forward: Option<Forward>,
    /// When it was last sent to an upstream.
    requested: Option<Moment>,
    /// Where a forwarded request's answer is stored.
    tee: Option<Box<Tee>>,
}

impl Seen {
    /// A request with this outcome.
    pub fn new(outcome: Outcome) -> Self {
        Self {
            outcome,
            ..Self::default()
        }
    }

    fn forwarded(forward: Forward) -> Self {
        Self {
            outcome: forward.outcome,
            forward: Some(forward),
            ..Self::default()
        }
    }
}

/// What is to be done next about a request.
enum Next {
    /// Nothing: it is answered.
    Done,
    /// It is forwarded by itself.
    Forward,
    /// The engine is asked again.
    Ask,
}

/// Answers a request on a forwarding route, as far as the cache can. False where it is to be forwarded by itself.
pub async fn answer(proxy: &Proxy, session: &mut Exchange, walk: &mut Walk) -> Result<bool> {
    let forwards = |route: &_| matches!(route, Action::Forward(_));
    if !walk.route.as_ref().is_some_and(|it| forwards(&it.action)) {
        return Ok(false);
    }
    for _ in 0..ROUNDS {
        let Some(answer) = ask(session, walk) else {
            return Ok(false);
        };
        match act(proxy, session, walk, answer).await? {
            Next::Done => return Ok(true),
            Next::Forward => return Ok(false),
            Next::Ask => {}
        }
    }
    walk.seen = Some(Seen::new(Outcome::forwarded(ForwardReason::VaryMiss, None)));
    Ok(false)
}

/// Asks the engine, also where the route keeps it from answering: what is written there may be stored by another route.
fn ask(session: &mut Exchange, walk: &mut Walk) -> Option<Answer> {
    let has_body = !session.is_body_empty();
    let upgrade = session.is_upgrade_req();
    asking(
        session.req_header(),
        walk,
        has_body,
        upgrade,
        |cache, ask| cache.ask(ask, Moment::now()),
    )
}

/// What the engine is asked about an accepted request; None where it was not accepted.
pub(super) fn asking<T>(
    header: &RequestHeader,
    walk: &Walk,
    has_body: bool,
    upgrade: bool,
    with: impl FnOnce(&Cache, &Ask<'_>) -> T,
) -> Option<T> {
    let entered = walk.entered.as_ref()?;
    let place = entered.site.place(walk.route.as_deref());
    let fields = FieldView::from(&header.headers);
    let (peer, host) = (entered.peer, &entered.ticket.host);
    let scheme = peer.scheme(fields);
    let unshared = if walk.is_path_ambiguous {
        Some(Reason::PathSpelling)
    } else {
        let keyed = &place.rules.key.headers;
        let claims = peer.exceeds_key(fields, scheme, host, keyed);
        claims.then_some(Reason::UnkeyedClaim)
    };
    let ask = Ask {
        method: &header.method,
        target: Target {
            scheme: scheme.as_str(),
            authority: host,
            path: &entered.path,
            query: uri::split_path_query(target(header)).query,
        },
        headers: fields,
        has_body,
        upgrade,
        unshared,
        rules: &place.rules,
        route: &place.name,
        upstream: &place.upstream,
        client: entered.client,
    };
    Some(with(&entered.site.cache, &ask))
}

async fn act(
    proxy: &Proxy,
    session: &mut Exchange,
    walk: &mut Walk,
    answer: Answer,
) -> Result<Next> {
    match answer {
        Answer::Serve(serve) => {
            if let Some(lead) = serve.refresh {
                fetch::begin(proxy, session.req_header(), walk, *lead);
            }
            let seen = Seen::new(serve.outcome);
            let saved = serve.saved;
            see(walk, Seen { saved, ..seen });
            relay::stored(session, walk, &serve.response).await?;
            Ok(Next::Done)
        }
        Answer::ServePart(serve) => {
            see(walk, Seen::new(serve.outcome));
            relay::stored_part(session, walk, &serve).await?;
            Ok(Next::Done)
        }
        Answer::Follow(follower) => {
            let collapsed = Outcome {
                collapsed: true,
                ..Outcome::forwarded(ForwardReason::UriMiss, None)
            };
            see(walk, Seen::new(collapsed));
            // In a box, as below, so that only who waits makes room for it.
            Box::pin(follow(session, walk, follower)).await
        }
        Answer::Lead(lead, follower) => {
            let errand = fetch::begin(proxy, session.req_header(), walk, *lead);
            let outcome = Outcome::forwarded(ForwardReason::UriMiss, None);
            let seen = Seen {
                errand,
                ..Seen::new(outcome)
            };
            see(walk, seen);
            Box::pin(follow(session, walk, follower)).await
        }
        Answer::Forward(forward) => {
            see(walk, Seen::forwarded(forward));
            Ok(Next::Forward)
        }
        Answer::OnlyIfCached(outcome) => {
            see(walk, Seen::new(outcome));
            let verdict = Verdict::new(StatusCode::GATEWAY_TIMEOUT, "only-if-cached");
            deliver::own_answer(session, walk, verdict).await?;
            Ok(Next::Done)
        }
    }
}

/// Waits with a fetch and passes on what it brings. The client's end of the connection is watched meanwhile: who leaves
/// gives up its place.
async fn follow(session: &mut Exchange, walk: &mut Walk, mut follower: Follower) -> Result<Next> {
    loop {
        let event = tokio::select! {
            biased;
            event = follower.event() => event,
            gone = client_leaves(session) => return Err(gone),
        };
        match event {
            Event::Interim(status, fields) => relay::interim(session, status, &fields).await?,
            Event::Response(head, outcome) => {
                became(walk, outcome);
                if !relay::under_way(session, walk, &head, &mut follower).await? {
                    see(
                        walk,
                        Seen::forwarded(follower.forward(Reason::RangeUncached)),
                    );
                    return Ok(Next::Forward);
                }
                return Ok(Next::Done);
            }
            Event::Stored(stored, outcome) => {
                became(walk, outcome);
                relay::stored(session, walk, &stored).await?;
                return Ok(Next::Done);
            }
            Event::AskAgain => return Ok(Next::Ask),
            Event::Forward(reason) => {
                // Never to wait again: nobody queues behind what cannot be shared.
                see(walk, Seen::forwarded(follower.forward(reason)));
                return Ok(Next::Forward);
            }
            // What broke off may have done so because of who had asked for it: others find out once for themselves, together.
            Event::Failed(failure) if once_more(walk, &follower, failure) => return Ok(Next::Ask),
            // It came late to a fetch that was held from before: it has a right to more of a hold than was left of that one.
            Event::Failed(failure) if waited(walk) < failure.held / 2 => return Ok(Next::Ask),
            Event::Failed(failure) => {
                let verdict = failure::verdict_of(failure);
                deliver::own_answer(session, walk, verdict).await?;
                return Ok(Next::Done);
            }
        }
    }
}

/// Whether a request that shared a fetch in vain asks again: the first time, and not where it has waited out a time limit.
fn once_more(walk: &mut Walk, follower: &Follower, failure: Failure) -> bool {
    let broke_off = failure.trouble == Trouble::Failed && failure.status == StatusCode::BAD_GATEWAY;
    let Some(seen) = walk.seen.as_mut().filter(|_| broke_off) else {
        return false;
    };
    !follower.is_leader() && !std::mem::replace(&mut seen.has_failed, true)
}

/// Since the request came.
fn waited(walk: &Walk) -> Duration {
    let entered = walk.entered.as_ref();
    entered.map_or(Duration::MAX, |entered| {
        clock::now() - entered.ticket.arrived
    })
}

/// What the engine says now. A fetch that the request has caused stays in its log line.
fn see(walk: &mut Walk, seen: Seen) {
    let before = walk.seen.take().unwrap_or_default();
    walk.seen = Some(Seen {
        errand: seen.errand.or(before.errand),
        has_failed: before.has_failed,
        ..seen
    });
}

fn became(walk: &mut Walk, outcome: Outcome) {
    walk.seen.get_or_insert_default().outcome = outcome;
}

/// A forwarded request is about to be sent.
pub fn sent(walk: &mut Walk) {
    if let Some(seen) = &mut walk.seen {
        seen.requested = Some(Moment::now());
    }
}

/// The head of the final answer to a forwarded request came: what it changes, the engine knows.
pub fn heard(response: &ResponseHead, walk: &mut Walk) {
    let (Some(entered), Some(seen)) = (&walk.entered, &mut walk.seen) else {
        return;
    };
    let Some(forward) = seen.forward.as_mut().filter(|it| it.is_heard()) else {
        return;
    };
    if response.status.is_informational() {
        return;
    }
    let received = Moment::now();
    let headers = response.fields.to_header_map();
    let received = Received {
        status: response.status,
        headers: &headers,
        requested: seen.requested.unwrap_or(received),
        received,
    };
    let tee = entered.site.cache.forwarded(forward, received);
    seen.tee = tee.map(Box::new);
    seen.outcome = forward.outcome;
}

/// A piece of a forwarded request's answer came.
pub fn passed(data: Option<&Bytes>, end: bool, walk: &mut Walk) {
    let Some(seen) = &mut walk.seen else { return };
    if let (Some(tee), Some(data)) = (&mut seen.tee, data)
        && !data.is_empty()
    {
        tee.data(data.clone());
    }
    if end && let Some(tee) = seen.tee.take() {
        tee.end();
    }
}

/// Takes out of an answer what was for the cache and is not for clients. What comes from the store is without it.
pub fn withhold(response: &mut ResponseHead, walk: &Walk) {
    if let (Some(entered), Some(_), Some(route)) = (&walk.entered, &walk.seen, &walk.route) {
        let rules = entered.site.rules(route);
        for name in fields::ours(rules) {
            response.fields.remove(name);
        }
    }
}

/// Writes what the cache has to say into an answer: `Cache-Status` behind what came from upstream, and `Age`.
pub fn tell(response: &mut ResponseHead, walk: &Walk) {
    let (Some(entered), Some(seen)) = (&walk.entered, &walk.seen) else {
        return;
    };
    let mut outcome = seen.outcome;
    // Where nobody could answer, that says more than what kept the request from the cache.
    let failed = |verdict: &Verdict| verdict.status.is_server_error();
    let verdict = walk
        .verdict
        .filter(|verdict| outcome.reason.is_none() || failed(verdict));
    let member = if let Some(verdict) = verdict {
        outcome.reason = None;
        let member = outcome.write(&entered.site.cache_name);
        let told = [member.as_bytes(), b"; detail=", verdict.reason.as_bytes()].concat();
        HeaderValue::from_maybe_shared(Bytes::from(told)).unwrap_or(member)
    } else {
        outcome.write(&entered.site.cache_name)
    };
    let fields = &mut response.fields;
    fields.append(&CACHE_STATUS, &member);
    if let Some(age) = seen.age {
        fields.insert_number(&AGE, age.as_secs());
    }
}
