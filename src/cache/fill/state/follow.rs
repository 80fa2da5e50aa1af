//! A follower's side of the state: coming, seeing what there is, reading, leaving.

use super::{Audience, Ending, Keep, Lasting, Phase, Settled, State, Wakers};
use crate::cache::fill::abandoned::{Abandoned, LeftBy};
use crate::cache::fill::{Data, Head};
use crate::cache::outcome::Reason;
use crate::cache::vary::Nominated;
use crate::clock::Instant;
use http::{HeaderMap, StatusCode};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

#[derive(Debug)]
pub(super) struct Place {
    pub(super) leader: bool,
    pub(super) cut: bool,
    /// The next octet wanted.
    pub(super) octet: u64,
    /// When it last took something.
    pub(super) moved: Option<Instant>,
    /// The next interim response.
    interim: usize,
    pub(super) waker: Option<Waker>,
}

/// What a follower sees first.
#[derive(Debug)]
pub(in crate::cache::fill) enum Seen {
    Interim(StatusCode, Arc<HeaderMap>),
    Streaming {
        head: Arc<Head>,
        nominated: Arc<Nominated>,
        audience: Audience,
        /// Why it is not being stored.
        unstored: Option<Reason>,
    },
    Settled(Settled),
}

/// Whether another may join.
#[derive(Debug)]
pub(in crate::cache::fill) enum Open {
    /// Its head is awaited.
    Waiting,
    /// It is being stored.
    Storing(Arc<Head>, Arc<Nominated>),
    /// None may.
    Closed,
}

impl State {
    /// Whether another may join.
    pub(in crate::cache::fill) fn open(&self) -> Open {
        match &self.phase {
            _ if self.given_up || self.invalidated => Open::Closed,
            Phase::Waiting => Open::Waiting,
            Phase::Streaming(streaming)
                if streaming.keep == Keep::Storing && streaming.ended.is_none() =>
            {
                Open::Storing(
                    Arc::clone(&streaming.head),
                    Arc::clone(&streaming.nominated),
                )
            }
            Phase::Streaming(_) | Phase::Settled(_) => Open::Closed,
        }
    }

    /// A follower comes. None where it is too late.
    pub(in crate::cache::fill) fn join(&mut self, leader: bool) -> Option<usize> {
        if matches!(self.open(), Open::Closed) {
            return None;
        }
        if self.lasting == Lasting::WhileWanted {
            self.permit = None;
        }
        let place = Some(Place {
            leader,
            cut: false,
            octet: 0,
            moved: None,
            interim: self.interims.len(),
            waker: None,
        });
        let free = self.places.iter().position(Option::is_none);
        match free {
            Some(at) => self.places[at] = place,
            None => self.places.push(place),
        }
        Some(free.unwrap_or(self.places.len() - 1))
    }

    /// A follower goes.
    pub(in crate::cache::fill) fn leave(
        &mut self,
        at: usize,
        account: &Arc<Abandoned>,
        left_by: &LeftBy,
        wakers: &mut Wakers,
    ) {
        if let Some(place) = self.places.get_mut(at) {
            *place = None;
        }
        if self.anybody() {
            // It may have been the one that the others waited for.
            wakers.0.extend(self.ready.take());
            return;
        }
        let worth_it = match &self.phase {
            Phase::Settled(_) => return,
            Phase::Streaming(streaming) if streaming.ended.is_some() => return self.let_go(),
            Phase::Waiting => !self.invalidated && !self.held,
            Phase::Streaming(streaming) => streaming.keep == Keep::Storing,
        };
        match self.lasting {
            Lasting::Fed => wakers.0.extend(self.ready.take()),
            Lasting::Refresh if worth_it => {}
            Lasting::WhileWanted if worth_it => {
                self.permit = account.enter(Some(left_by));
                if self.permit.is_none() {
                    self.give_up(wakers);
                }
            }
            Lasting::WhileWanted | Lasting::Refresh => self.give_up(wakers),
        }
    }

    /// What a follower sees next, before any body.
    pub(in crate::cache::fill) fn poll_seen(&mut self, at: usize, cx: &Context<'_>) -> Poll<Seen> {
        let Some(place) = self.places.get_mut(at).and_then(Option::as_mut) else {
            return Poll::Pending;
        };
        // What comes before the head may be one client's own: there is no telling yet.
        if place.leader
            && let Some((status, fields)) = self.interims.get(place.interim)
        {
            place.interim += 1;
            return Poll::Ready(Seen::Interim(*status, Arc::clone(fields)));
        }
        Poll::Ready(match &self.phase {
            Phase::Waiting => {
                place.wait(cx);
                return Poll::Pending;
            }
            Phase::Streaming(streaming) => Seen::Streaming {
                head: Arc::clone(&streaming.head),
                nominated: Arc::clone(&streaming.nominated),
                audience: streaming.audience,
                unstored: match streaming.keep {
                    Keep::Storing => None,
                    Keep::Passing(reason) => Some(reason),
                },
            },
            Phase::Settled(settled) => Seen::Settled(settled.clone()),
        })
    }

    /// The next piece for a follower.
    pub(in crate::cache::fill) fn poll_data(
        &mut self,
        at: usize,
        now: Instant,
        cx: &Context<'_>,
        wakers: &mut Wakers,
    ) -> Poll<Data> {
        let is_only = self.places.len() == 1;
        let Phase::Streaming(streaming) = &mut self.phase else {
            return Poll::Ready(Data::Cut);
        };
        let Some(place) = self.places.get_mut(at).and_then(Option::as_mut) else {
            return Poll::Ready(Data::Cut);
        };
        if place.cut {
            return Poll::Ready(Data::Cut);
        }
        let received = streaming.body.received();
        if let Some(piece) = streaming.body.at(place.octet) {
            place.octet += piece.len() as u64;
            place.moved = Some(now);
            if is_only && streaming.keep != Keep::Storing {
                streaming.body.forget_before(place.octet);
            }
            if !self.ahead.blocks(place, received) {
                wakers.0.extend(self.ready.take());
            }
            self.recount();
            return Poll::Ready(Data::Chunk(piece));
        }
        match streaming.ended {
            Some(Ending::Whole) if place.octet >= received => Poll::Ready(Data::End),
            Some(_) => Poll::Ready(Data::Cut),
            // What it wants is gone: it was not counted when the rest was let go of.
            None if place.octet < received => Poll::Ready(Data::Cut),
            None => {
                place.wait(cx);
                Poll::Pending
            }
        }
    }

    /// A follower goes to this octet, where that is here or at most `near` ahead.
    pub(in crate::cache::fill) fn seek(
        &mut self,
        at: usize,
        octet: u64,
        near: u64,
        now: Instant,
        wakers: &mut Wakers,
    ) -> bool {
        let Phase::Streaming(streaming) = &self.phase else {
            return false;
        };
        let Some(place) = self.places.get_mut(at).and_then(Option::as_mut) else {
            return false;
        };
        let reachable = octet <= streaming.body.received().saturating_add(near)
            && streaming.head.length.is_none_or(|length| octet <= length);
        if octet < place.octet || !reachable {
            return false;
        }
        place.octet = octet;
        place.moved = Some(now);
        wakers.0.extend(self.ready.take());
        true
    }
}

impl Place {
    fn wait(&mut self, cx: &Context<'_>) {
        match &mut self.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
    }
}
