//! What follows from the head of an answer, once it is judged: who is told what, what is stored, and what is remembered.

use super::{FillWriter, Kept, RESERVED_AT_FIRST, Step};
use crate::cache::body::SEGMENT_OVERHEAD;
use crate::cache::fill::state::{Audience, Ready, Settled};
use crate::cache::fill::verdict::{is_about_the_request, is_failure};
use crate::cache::fill::{Head, Wanted};
use crate::cache::metrics::RefreshResult;
use crate::cache::outcome::Reason;
use crate::cache::policy::stale::Trouble;
use crate::cache::policy::storable::Concerns;
use crate::cache::policy::{Moment, Terms};
use crate::cache::purge::tags::Tags;
use crate::cache::response::{About, Parts, StoredResponse};
use crate::cache::section::Section;
use crate::cache::store::BodyBuilder;
use crate::cache::vary::Nominated;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use std::sync::Arc;

impl FillWriter {
    /// The origin said that what is stored has not changed.
    pub(super) fn validated(
        &mut self,
        stored: &Arc<StoredResponse>,
        fields: &HeaderMap,
        judged: Result<(Terms, Nominated, Tags), Reason>,
        received: Moment,
    ) {
        self.answered();
        let refused = judged.as_ref().err().copied();
        let as_it_was = || (stored.terms(), Nominated::default(), Tags::default());
        let (terms, nominated, tags) = judged.unwrap_or_else(|_| as_it_was());
        // Compared once more: what is valid by now is not to be taken for older than it is.
        let purged = stored.is_invalidated();
        let parts = Parts {
            status: stored.status(),
            fields: Section::new(fields),
            terms,
            nominated,
            route: Arc::clone(stored.route()),
            body: stored.body(),
            about: About {
                tags,
                cost: stored.cost(),
                since: stored.checked().min(self.flight.since.number()),
            },
        };
        let fresh = self.engine.store.make(&self.request.key, parts);
        let (audience, kept) = match refused {
            None => {
                self.forget();
                let replaced =
                    !purged && self.change(|store| store.replace(stored, &fresh)) == Some(true);
                if replaced {
                    self.kept(&fresh, RefreshResult::Unchanged);
                }
                (Audience::Everyone, replaced)
            }
            Some(reason) => {
                self.refreshed(RefreshResult::Unstored);
                self.remember(reason, received);
                if Concerns::of(reason) == Concerns::All {
                    self.change(|store| store.remove_variant(stored));
                }
                (Audience::Leader(reason), false)
            }
        };
        self.settle(Settled::Stored(Ready {
            ttl: fresh.terms().remaining(received.at),
            response: fresh,
            audience,
            status: Some(StatusCode::NOT_MODIFIED),
            stored: kept,
            reason: Reason::Refreshed,
        }));
    }

    /// What is stored stands in for what did not come.
    pub(super) fn stale(
        &mut self,
        stored: Arc<StoredResponse>,
        status: Option<StatusCode>,
        reason: Reason,
        trouble: Trouble,
        now: Moment,
    ) {
        let (key, route) = (&self.request.key, &self.request.route);
        self.engine.back_off.failed(key, route, trouble, now.at);
        // An invalidated response is not to be used any more, however much the origin is in trouble.
        let invalidated = self.flight.step(|state, _| state.is_invalidated());
        if invalidated || stored.is_invalidated() {
            self.settle(Settled::AskAgain);
            return;
        }
        self.settle(Settled::Stored(Ready {
            ttl: stored.terms().remaining(now.at),
            response: stored,
            audience: Audience::Everyone,
            status,
            stored: false,
            reason,
        }));
    }

    pub(super) fn share(&mut self, head: Head, nominated: Nominated) -> Wanted {
        let wanted = head.length.unwrap_or(RESERVED_AT_FIRST);
        let wanted = wanted.saturating_add(SEGMENT_OVERHEAD);
        let room = match self.engine.store.reserve(wanted) {
            Some(room) => {
                self.kept = Kept::All(BodyBuilder::new(room));
                Ok(())
            }
            None => Err(Reason::Crowded),
        };
        let head = Arc::new(head);
        self.flight
            .step(|state, wakers| state.share(head, nominated, room, wakers));
        self.body_wanted()
    }

    pub(super) fn alone(&mut self, head: Head, reason: Reason, now: Moment) -> Wanted {
        if !head.status.is_server_error() {
            self.answered();
            self.refreshed(RefreshResult::Unstored);
        }
        let about_the_request = self.stored.is_some() && is_about_the_request(head.status);
        // A failure says nothing of what the target's responses are like. Remembered, it would send requests past what is
        // stored, which must stand in once the origin is away altogether.
        let failed = self.stored.is_some() && head.status.is_server_error();
        // Nor does an error that is not stored for the sake of something good.
        let spared = reason == Reason::StatusNotFinal && is_failure(head.status);
        if !about_the_request && !failed && !spared {
            self.remember(reason, now);
        }
        if let Some(stored) = &self.stored
            && Concerns::of(reason) == Concerns::All
            && !head.status.is_server_error()
            && !about_the_request
        {
            // The origin has something else now, which cannot be stored in the place of what is.
            self.change(|store| store.remove_variant(stored));
        }
        let head = Arc::new(head);
        self.flight
            .step(|state, wakers| state.alone(head, reason, wakers));
        self.body_wanted()
    }

    pub(super) fn body_wanted(&mut self) -> Wanted {
        let wanted = self.flight.step(|state, _| state.is_streaming());
        if wanted {
            self.step = Step::Body;
            Wanted::Body
        } else {
            self.over();
            Wanted::Nothing
        }
    }

    pub(super) fn store(&mut self, head: &Head, nominated: &Nominated, builder: BodyBuilder) {
        let Some(terms) = head.terms else {
            return;
        };
        let length = builder.length();
        if head.length.is_some_and(|promised| promised != length) {
            return;
        }
        let mut fields = head.fields.clone();
        fields.remove(header::AGE);
        if head.status != StatusCode::NO_CONTENT {
            fields.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        }
        let parts = Parts {
            status: head.status,
            fields: Section::new(&fields),
            terms,
            nominated: nominated.clone(),
            route: Arc::clone(&self.request.route),
            body: builder.finish(),
            about: About {
                tags: head.tags.clone(),
                cost: crate::clock::now().saturating_duration_since(self.requested.at),
                since: self.since(),
            },
        };
        let response = self.engine.store.make(&self.request.key, parts);
        match self.change(|store| store.insert(&response)) {
            Some(Ok(())) => {
                self.forget();
                self.kept(&response, RefreshResult::Stored);
                let pieces: Vec<Bytes> = response.body().pieces().collect();
                self.flight.step(|state, _| state.stored(&pieces));
            }
            // It was purged while it was fetched, which says nothing of what the next fetch brings.
            Some(Err(Reason::Invalidated)) | None => {}
            Some(Err(reason)) => {
                self.refreshed(RefreshResult::Unstored);
                self.remember(reason, Moment::now());
            }
        }
    }
}
