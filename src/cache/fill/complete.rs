//! A fetch of what is missing of a response, so that those who want the whole get it from what is here and what comes
//! (RFC 9111 §3.4).

use super::Wanted;
use super::verdict::Verdict;
use super::writer::FillWriter;
use crate::cache::derived;
use crate::cache::fill::Head;
use crate::cache::partial::{Fit, Missing, PartHead};
use crate::cache::policy::{Received, fields, storable};
use crate::cache::purge::tags::Tags;
use crate::cache::request::Request;
use crate::cache::store::StoredPart;
use crate::cache::vary::Nominated;
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use std::ops::Range;
use std::sync::Arc;

/// What is here, and what was asked for.
#[derive(Debug)]
pub(in crate::cache) struct Completing {
    pub(in crate::cache) part: Arc<StoredPart>,
    pub(in crate::cache) missing: Missing,
}

/// What the answer to it means.
#[derive(Debug)]
pub(super) enum Answered {
    /// The rest of it: everybody gets the whole, of this head.
    Completes(Box<Verdict>, Rest),
    /// What is here is of no use any more; the answer itself is to be judged like any.
    Replaces,
    /// What is here is of no use any more, and the answer neither.
    Useless,
    /// It says nothing of what is here.
    Ordinary,
}

/// Which octets come, and what lies behind them.
#[derive(Debug)]
pub(super) struct Rest {
    /// What both lie around; dropped where the answer turns out not to be what its head said.
    part: Arc<StoredPart>,
    begin: Vec<Bytes>,
    /// Where the octets end that come.
    until: u64,
    tail: Vec<Bytes>,
}

impl Completing {
    /// Judges a head.
    pub(super) fn judge(
        &self,
        request: &Request,
        received: Received<'_>,
        largest: u64,
    ) -> Answered {
        let partial = self.part.partial();
        match partial.judge(&self.missing, received.status, received.headers) {
            Fit::Completes(range) => self
                .completed(request, received, range, largest)
                .unwrap_or(Answered::Useless),
            Fit::Replaces => Answered::Replaces,
            Fit::Drop => Answered::Useless,
            Fit::Keep => Answered::Ordinary,
        }
    }

    /// The whole that both make; `None` where that is not to be stored, which the next fetch of all of it may say better.
    fn completed(
        &self,
        request: &Request,
        received: Received<'_>,
        range: Range<u64>,
        largest: u64,
    ) -> Option<Answered> {
        let partial = self.part.partial();
        let (asked, rules) = (request.asked(), &request.rules);
        let terms = storable::evaluate(asked, received, rules).ok()?;
        let head = PartHead::new(received.headers).ok()?;
        let total = partial.total.or(head.total).filter(|it| *it <= largest)?;
        let newer = fields::to_store(&received, rules);
        let mut fields = partial.completed_fields(&head, &newer);
        // For those who get it now, as in any head that is shared.
        if let Some(age) = received.headers.get(header::AGE) {
            fields.insert(header::AGE, age.clone());
        }
        let nominated = Nominated::new(&fields, &request.headers).ok()?;
        derived::announce(StatusCode::OK, &mut fields, Some(total), rules);
        let pieces = |range: Range<u64>| -> Option<Vec<Bytes>> {
            if range.is_empty() {
                return Some(Vec::new());
            }
            Some(partial.answer(&range)?.collect())
        };
        let rest = Rest {
            part: Arc::clone(&self.part),
            begin: pieces(0..range.start)?,
            until: range.end,
            tail: pieces(range.end..total)?,
        };
        let head = Head {
            status: StatusCode::OK,
            fields,
            own: HeaderMap::new(),
            length: Some(total),
            terms: Some(terms),
            tags: Tags::freshened(partial.about.tags.as_bytes(), received.headers, rules).ok()?,
        };
        let verdict = Box::new(Verdict::Share(head, nominated));
        Some(Answered::Completes(verdict, rest))
    }
}

impl FillWriter {
    /// The same, for a fetch that was asked for what is missing.
    pub(in crate::cache) fn completing(mut self, completing: Option<Completing>) -> Self {
        self.completing = completing;
        self
    }

    /// The last purge that what is stored of it was compared with; of what is here in part, when that was last looked at.
    pub(super) fn since(&self) -> u64 {
        let begun = self.flight.since.number();
        let held = self.held.as_ref();
        held.map_or(begun, |held| begun.min(held.checked()))
    }

    /// Judges a head as the answer to what is missing. `None` where it is to be judged as any.
    pub(super) fn judge_rest(&mut self, received: Received<'_>) -> Option<Verdict> {
        let completing = self.completing.take()?;
        let largest = self.engine.object_max();
        let answered = completing.judge(&self.request, received, largest);
        if let Answered::Replaces | Answered::Useless = answered {
            self.change(|store| store.remove_part(&completing.part));
        }
        match answered {
            Answered::Completes(verdict, rest) => {
                self.held = Some(Arc::clone(&rest.part));
                self.rest = Some(rest);
                Some(*verdict)
            }
            Answered::Useless => Some(Verdict::AboutAnother),
            Answered::Replaces | Answered::Ordinary => None,
        }
    }

    /// Everybody begins with what is here.
    pub(super) fn begin_with_held(&mut self, wanted: Wanted) -> Wanted {
        if wanted == Wanted::Body
            && let Some(rest) = &mut self.rest
        {
            for piece in std::mem::take(&mut rest.begin) {
                self.push(&piece);
            }
        }
        wanted
    }

    /// Whether octets that come up to here are more than were promised: those behind are here already.
    pub(super) fn is_beyond_rest(&self, received: u64) -> bool {
        self.rest.as_ref().is_some_and(|rest| received > rest.until)
    }

    /// Everybody ends with what is here. False where not all came that lies before it.
    pub(super) fn end_with_held(&mut self) -> bool {
        let Some(rest) = &self.rest else {
            return true;
        };
        if self.flight.step(|state, _| state.received()) != rest.until {
            return false;
        }
        for piece in self.rest.take().into_iter().flat_map(|rest| rest.tail) {
            self.push(&piece);
        }
        true
    }

    /// The rest did not come as its head said. Asked again it may be the same: without what is here the whole is asked for.
    pub(super) fn drop_held(&mut self) {
        if let Some(rest) = self.rest.take() {
            self.change(|store| store.remove_part(&rest.part));
        }
    }
}
