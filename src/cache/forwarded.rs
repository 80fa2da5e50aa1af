//! What the answer to a request that was forwarded by itself means for the cache.

use super::derived;
use super::fill::{Begun, Classes, FillWriter, Lasting, PartKept, PartWriter, Wanted, Watch};
use super::key::{CacheKey, Target};
use super::lookup::{Cache, Forward};
use super::outcome::{Outcome, Reason};
use super::partial::PartHead;
use super::policy::fields;
use super::policy::storable::{self, Concerns};
use super::policy::validate::{HeadUpdate, update_by_head};
use super::policy::{Received, invalidation};
use super::purge::Place;
use super::purge::tags::Tags;
use super::request::Request;
use super::response::{About, Parts, StoredResponse};
use super::section::Section;
use super::vary::Nominated;
use crate::fields::content_length::{self, ContentLength};
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, header};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// A fetch that a client's own request feeds is on nobody's account of abandoned ones.
const NOBODY: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// Where the body of an answer to a forwarded request is kept.
#[derive(Debug)]
pub enum Tee {
    /// It has been told the head already; without followers, it never paces.
    Whole(FillWriter),
    /// A part.
    Part(PartWriter),
}

impl Tee {
    /// A piece of the body came.
    pub fn data(&mut self, data: Bytes) {
        match self {
            Self::Whole(writer) => writer.data(data),
            Self::Part(writer) => writer.data(&data),
        }
    }

    /// The body is whole, by its framing.
    pub fn end(self) {
        match self {
            Self::Whole(mut writer) => writer.end(),
            Self::Part(writer) => writer.end(),
        }
    }
}

impl Cache {
    /// The answer to a forwarded request came: invalidates what a write changed (§4.4), freshens by HEAD (§4.3.5), and
    /// notices what can be shared again. Where there is something to be kept of it (a storable answer to POST, a part), its
    /// body is to be given to what comes back.
    pub fn forwarded(&self, forward: &mut Forward, received: Received<'_>) -> Option<Tee> {
        let request = forward.request.take()?;
        let watch = forward.watch.take();
        let changes = request.why.1 == Some(Reason::OnWrite);
        if changes || !invalidation::is_safe(&request.method) {
            self.purge_written(&request, &received);
        }
        if changes {
            return None;
        }
        match request.method {
            Method::GET if received.status == StatusCode::PARTIAL_CONTENT => {
                let watch = watch.filter(|_| request.is_as_keyed())?;
                return self.keep_part(&request, watch, received, &mut forward.outcome);
            }
            Method::GET => {
                if let Err(reason) = self.shareable_again(&request, received)
                    && forward.outcome.reason == Some(Reason::HitForMiss)
                {
                    // Why it still cannot be shared is more to the point than that it is remembered.
                    forward.outcome.reason = Some(reason);
                }
            }
            Method::HEAD => {
                if request.is_as_keyed() {
                    self.freshen_by_head(&request, received);
                }
            }
            _ => {
                let own = self.invalidate_written(&request, received);
                if request.method == Method::POST && request.is_as_keyed() {
                    return self.store_posted(&request, received, own).map(Tee::Whole);
                }
            }
        }
        None
    }

    /// RFC 9111 §3.3: a part may be stored where the cache understands the range, "as if" it were a 200 by §3.
    fn keep_part(
        &self,
        request: &Arc<Request>,
        watch: Watch,
        received: Received<'_>,
        outcome: &mut Outcome,
    ) -> Option<Tee> {
        let largest = self.engine.object_max();
        let judged = PartHead::new(received.headers).and_then(|head| {
            let length = head.range.end.saturating_sub(head.range.start);
            if head.total.unwrap_or(length) > largest {
                return Err(Reason::TooLarge);
            }
            Ok(PartKept {
                terms: storable::evaluate(request.asked(), received, &request.rules)?,
                nominated: Nominated::new(received.headers, &request.headers)?,
                tags: Tags::of(received.headers, &request.rules)?,
                fields: fields::to_store(&received, &request.rules),
            })
        });
        match judged {
            Ok(kept) => {
                let ttl = kept.terms.remaining(received.received.at);
                let writer = PartWriter::new(watch, Arc::clone(request), kept)?;
                outcome.stored = true;
                outcome.reason = None;
                outcome.ttl = Some(ttl);
                Some(Tee::Part(writer))
            }
            Err(reason) => {
                outcome.reason = Some(reason);
                None
            }
        }
    }

    /// A response that could be stored ends the memory of those that could not. Else, why it could not.
    fn shareable_again(&self, request: &Request, received: Received<'_>) -> Result<(), Reason> {
        storable::evaluate(request.asked(), received, &request.rules)?;
        Nominated::new(received.headers, &request.headers)?;
        Tags::of(received.headers, &request.rules)?;
        let length = content_length::parse(received.headers.get_all(header::CONTENT_LENGTH));
        let length = length.ok().and_then(ContentLength::value);
        let fits = length.is_some_and(|length| length <= self.engine.object_max());
        let classes = Classes::of(&request.headers);
        let (key, route) = (&request.key, &request.route);
        // Of what one client wrote beside the key nothing follows for the others.
        if request.is_as_keyed() {
            self.engine.uncacheable.forget(key, route, classes, fits);
        }
        Ok(())
    }

    /// RFC 9111 §4.3.5, for the stored response that could have answered.
    fn freshen_by_head(&self, request: &Request, received: Received<'_>) {
        let store = &self.engine.store;
        let Some(resource) = store.get(&request.key) else {
            return;
        };
        let Some(stored) = resource.select(&request.route, &request.headers) else {
            return;
        };
        match update_by_head(request.asked(), received, stored, &request.rules) {
            HeadUpdate::Freshen(mut fields, Ok(terms)) => {
                let (status, length) = (stored.status(), Some(stored.body_length()));
                derived::announce(status, &mut fields, length, &request.rules);
                let headers = &request.headers;
                // What cannot vary any more as it did is found by its next GET.
                let nominated = Nominated::freshened(stored, received.headers, headers);
                let tags = Tags::freshened(stored.tags(), received.headers, &request.rules);
                if let (Ok(nominated), Ok(tags)) = (nominated, tags) {
                    let parts = Parts {
                        status,
                        fields: Section::new(&fields),
                        terms,
                        nominated,
                        route: Arc::clone(stored.route()),
                        body: stored.body(),
                        about: About {
                            tags,
                            cost: stored.cost(),
                            since: stored.checked().min(request.since.number()),
                        },
                    };
                    let fresh = store.make(&request.key, parts);
                    if stored.is_asked_for() {
                        fresh.ask_for();
                    }
                    store.replace(stored, &fresh);
                }
            }
            HeadUpdate::Freshen(_, Err(reason)) if Concerns::of(reason) == Concerns::All => {
                store.remove_variant(stored);
            }
            HeadUpdate::Stale => self.outdate(stored),
            HeadUpdate::Freshen(_, Err(_)) | HeadUpdate::None => {}
        }
    }

    /// "the cache SHOULD consider the stored response to be stale": it would be fetched in full the next time, since its
    /// validators are not the origin's any more, and serving it stale would be serving what is known to be old.
    fn outdate(&self, stored: &Arc<StoredResponse>) {
        self.engine.store.remove_variant(stored);
    }

    /// §4.4. How often that was about the request's own target.
    fn invalidate_written(&self, request: &Request, received: Received<'_>) -> u64 {
        let targets = invalidation::targets(
            &request.method,
            request.target(),
            received.status,
            received.headers,
        );
        let mut gone: Vec<Place> = Vec::new();
        let fills = &self.engine.fills;
        let mut own = 0;
        let mut invalidate = |key: &CacheKey| {
            own += u64::from(fills.are_touched_together(key, &request.key));
            if self.invalidate(key) {
                let place = Place::of(&key.target());
                if !gone.contains(&place) {
                    gone.push(place);
                }
            }
        };
        if !targets.is_empty() {
            // As the request itself spelt it, however that reads as a URI.
            invalidate(&request.key);
        }
        for uri in targets {
            let target = Target {
                scheme: uri.scheme(),
                authority: &uri.authority,
                path: &uri.path,
                query: uri.query.as_deref(),
            };
            self.keys_of(target).iter().for_each(&mut invalidate);
        }
        for place in gone {
            self.written(place);
        }
        own
    }

    /// RFC 9110 §9.3.3: such a response may answer a later GET.
    /// Not where its target was invalidated by others since the request came: what they were told is gone must not come back.
    fn store_posted(
        &self,
        request: &Arc<Request>,
        received: Received<'_>,
        own: u64,
    ) -> Option<FillWriter> {
        // An answer that is not to be stored must reach its client alone; a fill would only copy it.
        if !request.rules.enabled {
            return None;
        }
        let (asked, target) = (request.asked(), request.target());
        storable::evaluate_post(asked, target, received, &request.rules).ok()?;
        let engine = &self.engine;
        let flight = engine.fills.list(Begun {
            key: request.key.clone(),
            route: Arc::clone(&request.route),
            upstream: Arc::clone(&request.route),
            client: NOBODY,
            lasting: Lasting::Fed,
            permit: None,
            since: request.since.clone(),
            account: Arc::clone(&engine.abandoned),
            store: engine.store.clone(),
            metrics: engine.metrics.clone(),
        });
        let untouched = engine.fills.touched(&request.key) == request.touched.wrapping_add(own);
        let mut writer = FillWriter::new(
            Arc::clone(engine),
            flight,
            Arc::clone(request),
            None,
            received.requested,
        );
        if !untouched {
            writer.withdraw();
            return None;
        }
        let fields: HeaderMap = received.headers.clone();
        let wanted = writer.head(received.status, fields, received.received);
        (wanted == Wanted::Body).then_some(writer)
    }
}
