//! Writes what the cache has, or what a shared fetch brings, to one client: all of it, or what of it was asked for.

use super::walk::{Verdict, Walk};
use super::{deliver, encode, failure};
use crate::cache::fill::{Data, Follower, Head};
use crate::cache::lookup::ServePart;
use crate::cache::policy::Moment;
use crate::cache::response::StoredResponse;
use crate::cache::segments::MOVED_FROM;
use crate::cache::serve::{self, Piece, Plan, StoredView};
use crate::clock;
use crate::fields::section::HeaderSection;
use crate::listen::exchange::calls::Part;
use crate::listen::exchange::head::ResponseHead;
use crate::listen::exchange::{CLIENT_GONE, Exchange};
use bytes::{Buf, Bytes};
use futures::FutureExt;
use http::header::{AGE, CONTENT_RANGE};
use http::{HeaderMap, Method, StatusCode};
use pingora::{Error, ErrorType, Result};
use std::sync::Arc;

/// The word for a 416 of ours.
pub(super) const UNSATISFIABLE: &str = "unsatisfiable";

/// The fetch broke off in the middle of the body.
const CUT: ErrorType = ErrorType::new("Cut");

/// Resolves when the client leaves; writes meanwhile what it takes.
pub async fn client_leaves(session: &mut Exchange) -> Box<Error> {
    let gone = session.read_body_or_idle(true).await;
    gone.err().unwrap_or_else(|| Error::new_down(CLIENT_GONE))
}

/// Passes an interim response on.
pub async fn interim(session: &mut Exchange, status: StatusCode, fields: &HeaderMap) -> Result<()> {
    let head = ResponseHead::new(status, HeaderSection::from(fields));
    session.write([Part::Head(head)]).await
}

/// Sends a stored response.
pub async fn stored(
    session: &mut Exchange,
    walk: &mut Walk,
    stored: &Arc<StoredResponse>,
) -> Result<()> {
    if let Some(seen) = &mut walk.seen {
        seen.age = Some(stored.terms().current_age(clock::now()));
    }
    let view = StoredView::stored(stored, Moment::now());
    let plan = plan(session, &view);
    let Some(head) = begin(session, walk, &plan, &view, false).await? else {
        return Ok(());
    };
    let bodiless = is_bodiless(session, head.status);
    let mut parcel = Parcel::new(head);
    if !bodiless && !leave_to_kernel(walk, stored, &plan) {
        for piece in plan.body(&stored.body()) {
            parcel.add(session, piece).await?;
        }
    }
    parcel.finish(session).await
}

/// Leaves the body to the kernel, which sends it when the answer ends. False where it cannot, or would not save anything: it
/// is to be written. What could be left another time is moved meanwhile to where that is possible.
fn leave_to_kernel(walk: &Walk, stored: &Arc<StoredResponse>, plan: &Plan) -> bool {
    let Some(entered) = walk.entered.as_ref().filter(|it| it.ticket.sends_files()) else {
        return false;
    };
    let range = match plan {
        Plan::Whole => 0..stored.body_length(),
        Plan::Part { range, .. } => range.clone(),
        Plan::HeadOnly | Plan::NotModified | Plan::Parts(_) | Plan::Unsatisfiable { .. } => {
            return false;
        }
    };
    if range.end.saturating_sub(range.start) < MOVED_FROM {
        return false;
    }
    let Some(file) = stored.body().file_range(range) else {
        entered.site.cache.sent_by_kernel(stored);
        return false;
    };
    entered.ticket.leave_file(file);
    true
}

/// Sends what was asked for of a response that is stored in part.
pub async fn stored_part(session: &mut Exchange, walk: &mut Walk, serve: &ServePart) -> Result<()> {
    let partial = serve.part.partial();
    if let Some(seen) = &mut walk.seen {
        seen.age = Some(partial.terms.current_age(clock::now()));
    }
    let view = partial.view(Moment::now());
    let Some(head) = begin(session, walk, &serve.plan, &view, false).await? else {
        return Ok(());
    };
    let bodiless = is_bodiless(session, head.status);
    let mut parcel = Parcel::new(head);
    if !bodiless {
        for piece in partial.body(&serve.plan) {
            parcel.add(session, piece).await?;
        }
    }
    parcel.finish(session).await
}

/// Sends a response that is still coming. False where the octets that were asked for are too far behind what is here: the
/// request is to be forwarded by itself, and nothing was sent.
pub async fn under_way(
    session: &mut Exchange,
    walk: &mut Walk,
    head: &Head,
    follower: &mut Follower,
) -> Result<bool> {
    age(walk, head);
    let view = StoredView::in_flight(head, Moment::now());
    let plan = plan(session, &view);
    let pieces = plan.pieces(head.length);
    let mut feed = Feed::new(follower);
    let first = pieces.iter().find_map(|piece| match piece {
        Piece::Octets(range) => Some(range.start),
        Piece::Frame(_) => None,
    });
    if first.is_some_and(|octet| !feed.go_to(octet)) {
        return Ok(false);
    }
    let alone = head.terms.is_none();
    let shared = walk.seen.as_ref().is_some_and(|it| it.outcome.collapsed);
    let own = (!shared).then_some(&head.own);
    let Some(mut head) = begin(session, walk, &plan, &view, alone).await? else {
        return Ok(true);
    };
    for (name, value) in own.into_iter().flatten() {
        head.fields.append(name, value);
    }
    let bodiless = is_bodiless(session, head.status);
    let mut parcel = Parcel::new(head);
    if bodiless {
        return parcel.finish(session).await.map(|()| true);
    }
    for piece in pieces {
        let range = match piece {
            Piece::Frame(frame) => {
                parcel.add(session, frame).await?;
                continue;
            }
            Piece::Octets(range) => range,
        };
        if !feed.go_to(range.start) {
            parcel.send(session).await?;
            return cut(walk);
        }
        while feed.at < range.end {
            let here = feed.next(range.end).now_or_never();
            let data = if let Some(data) = here {
                data
            } else {
                parcel.send(session).await?;
                tokio::select! {
                    biased;
                    data = feed.next(range.end) => data,
                    gone = client_leaves(session) => return Err(gone),
                }
            };
            match data {
                Data::Chunk(chunk) => {
                    let mut body = Some(chunk);
                    encode::piece(&mut body, false, walk)?;
                    if let Some(body) = body.filter(|body| !body.is_empty()) {
                        parcel.add(session, body).await?;
                    }
                }
                Data::End if range.end == u64::MAX => break,
                // What was promised did not come, or broke off.
                Data::End | Data::Cut => {
                    parcel.send(session).await?;
                    return cut(walk);
                }
            }
        }
    }
    // Before the client has its answer and may ask for more.
    feed.follower.leave();
    let mut rest = Some(Bytes::new());
    encode::piece(&mut rest, true, walk)?;
    if let Some(rest) = rest.filter(|rest| !rest.is_empty()) {
        parcel.add(session, rest).await?;
    }
    parcel.finish(session).await.map(|()| true)
}

/// What is ready to be sent, collected so that head and body leave in one packet where they are small.
struct Parcel {
    parts: Vec<Part>,
    /// Octets of the body among them.
    octets: usize,
}

impl Parcel {
    /// No more is collected than a client that reads slowly would be written ahead.
    const OCTETS_MAX: usize = 64 * 1024;

    fn new(head: ResponseHead) -> Self {
        Self {
            parts: vec![Part::Head(head)],
            octets: 0,
        }
    }

    async fn add(&mut self, session: &mut Exchange, piece: Bytes) -> Result<()> {
        self.octets += piece.len();
        self.parts.push(Part::Data(piece));
        if self.octets < Self::OCTETS_MAX {
            return Ok(());
        }
        self.send(session).await
    }

    async fn send(&mut self, session: &mut Exchange) -> Result<()> {
        self.octets = 0;
        if self.parts.is_empty() {
            return Ok(());
        }
        session.write(self.parts.drain(..)).await
    }

    /// The answer is whole.
    async fn finish(mut self, session: &mut Exchange) -> Result<()> {
        self.parts.push(Part::End);
        self.send(session).await
    }
}

/// What of the response is sent to this client.
fn plan(session: &Exchange, view: &StoredView<'_>) -> Plan {
    let asked = session.req_header();
    serve::plan(&asked.method, &asked.headers, view)
}

/// The head as this client gets it. None where another answer took its place, which is sent. What is this client's alone may be
/// coded from here on; what is shared goes as it comes.
async fn begin(
    session: &mut Exchange,
    walk: &mut Walk,
    plan: &Plan,
    view: &StoredView<'_>,
    alone: bool,
) -> Result<Option<ResponseHead>> {
    let (status, fields) = plan.head(view);
    if matches!(plan, Plan::Unsatisfiable { .. }) {
        let verdict = Verdict::new(status, UNSATISFIABLE);
        let mut kept = HeaderMap::new();
        kept.extend(
            fields
                .get(CONTENT_RANGE)
                .map(|it| (CONTENT_RANGE, it.clone())),
        );
        deliver::own_answer_with(session, walk, verdict, kept).await?;
        return Ok(None);
    }
    let mut response = ResponseHead::new(status, HeaderSection::from(&fields));
    if failure::replaced(session, walk, &response).await? {
        return Ok(None);
    }
    if alone {
        encode::begin(session.req_header(), &mut response, walk)?;
    } else {
        encode::not_modified_by_store(session.req_header(), &mut response, walk)?;
    }
    deliver::write_response(session.req_header(), &mut response, walk)?;
    Ok(Some(response))
}

/// Whether the head is the whole answer.
fn is_bodiless(session: &Exchange, status: StatusCode) -> bool {
    session.req_header().method == Method::HEAD
        || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

/// The connection sees an answer that is not whole, and makes the cut visible.
fn cut<T>(walk: &mut Walk) -> Result<T> {
    let failed = walk
        .seen
        .as_ref()
        .and_then(|seen| seen.errand.as_ref()?.failure());
    walk.verdict = Some(failed.map_or(
        Verdict::new(StatusCode::BAD_GATEWAY, "upstream-reset"),
        failure::verdict_of,
    ));
    Err(Error::new_up(CUT))
}

/// What is shared is as old as its `Age` and the time since it came (RFC 9111 §4: what answers several requests is reused by
/// all but one). To the one that caused the fetch it is as old as the origin says.
fn age(walk: &mut Walk, head: &Head) {
    if let (Some(seen), Some(terms)) = (&mut walk.seen, &head.terms)
        && (seen.outcome.collapsed || head.fields.contains_key(AGE))
    {
        seen.age = Some(terms.current_age(clock::now()));
    }
}

/// A body under way, read range by range.
struct Feed<'a> {
    follower: &'a mut Follower,
    /// Where the next octet is.
    at: u64,
    /// Octets from there on that came with those before them.
    held: Bytes,
}

impl<'a> Feed<'a> {
    fn new(follower: &'a mut Follower) -> Self {
        Self {
            follower,
            at: 0,
            held: Bytes::new(),
        }
    }

    /// Goes forward to this octet. False where it cannot.
    fn go_to(&mut self, octet: u64) -> bool {
        let Some(skipped) = octet.checked_sub(self.at) else {
            return false;
        };
        self.at = octet;
        match usize::try_from(skipped) {
            Ok(skipped) if skipped <= self.held.len() => {
                self.held.advance(skipped);
                true
            }
            _ => {
                self.held.clear();
                self.follower.seek(octet)
            }
        }
    }

    /// What comes next, in front of the octet `end`.
    async fn next(&mut self, end: u64) -> Data {
        if self.held.is_empty() {
            match self.follower.data().await {
                Data::Chunk(chunk) => self.held = chunk,
                over @ (Data::End | Data::Cut) => return over,
            }
        }
        let most = usize::try_from(end.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let piece = self.held.split_to(most.min(self.held.len()));
        self.at += piece.len() as u64;
        Data::Chunk(piece)
    }
}
