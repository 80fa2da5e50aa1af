//! A part of a response on its way to one client (RFC 9111 §3.3): kept when it is here.
//!
//! Nobody shares it: it is listed with the fetches under way so that an invalidation finds it, and closed from the start.

use super::flight::Flight;
use super::table::Table;
use crate::cache::body::SEGMENT;
use crate::cache::derived;
use crate::cache::engine::Engine;
use crate::cache::outcome::Reason;
use crate::cache::partial::{Combined, Partial};
use crate::cache::policy::Terms;
use crate::cache::purge::tags::Tags;
use crate::cache::request::Request;
use crate::cache::response::About;
use crate::cache::section::Section;
use crate::cache::store::{BodyBuilder, StoredPart};
use crate::cache::vary::Nominated;
use http::{HeaderMap, header};
use std::sync::Arc;
use std::time::Duration;

/// What is stored may change while a part is joined with it; after this often the part is let go of.
const TRIES: usize = 4;

/// A request for a part that is under way, from before it is sent.
#[derive(Debug)]
pub(in crate::cache) struct Watch {
    engine: Arc<Engine>,
    flight: Arc<Flight>,
}

impl Watch {
    /// `None` where too many fetches are under way.
    pub(in crate::cache) fn new(
        engine: &Arc<Engine>,
        flight: impl FnOnce(&Table) -> Option<Arc<Flight>>,
    ) -> Option<Self> {
        Some(Self {
            flight: flight(&engine.fills)?,
            engine: Arc::clone(engine),
        })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.engine.fills.remove(&self.flight);
    }
}

/// What a 206 is kept as.
#[derive(Debug)]
pub(in crate::cache) struct PartKept {
    /// Those that may be stored.
    pub(in crate::cache) fields: HeaderMap,
    pub(in crate::cache) terms: Terms,
    pub(in crate::cache) nominated: Nominated,
    pub(in crate::cache) tags: Tags,
}

/// The writing end of a part: given its octets, it stores them with those that are here. Dropped without
/// [`end`](Self::end), nothing is stored.
#[derive(Debug)]
pub struct PartWriter {
    watch: Watch,
    request: Arc<Request>,
    kept: PartKept,
    /// None once it is not to be stored.
    body: Option<BodyBuilder>,
}

impl PartWriter {
    pub(in crate::cache) fn new(
        watch: Watch,
        request: Arc<Request>,
        kept: PartKept,
    ) -> Option<Self> {
        let room = watch.engine.store.reserve(0)?;
        let body = Some(BodyBuilder::new(room));
        Some(Self {
            watch,
            request,
            kept,
            body,
        })
    }

    /// A piece came.
    pub fn data(&mut self, data: &[u8]) {
        let Some(body) = &mut self.body else { return };
        if data.chunks(SEGMENT).any(|piece| body.push(piece).is_err()) {
            self.body = None;
        }
    }

    /// It is whole, by its framing.
    pub fn end(self) {
        let Self {
            watch,
            request,
            kept,
            body,
        } = self;
        let Some(body) = body else { return };
        let part = Partial::from_206(
            kept.fields,
            kept.terms,
            kept.nominated,
            Arc::clone(&request.route),
            body.finish(),
            watch.engine.object_max(),
        );
        if let Ok(mut part) = part {
            part.about = About {
                tags: kept.tags,
                cost: Duration::ZERO,
                since: watch.flight.since.number(),
            };
            watch.keep(&request, &part);
        }
    }
}

impl Watch {
    /// Stores a part with what is here.
    fn keep(&self, request: &Request, part: &Partial) {
        let store = &self.engine.store;
        let most = self.engine.object_max();
        // RFC 9110 §15.3.7: a 206 to a request with `If-Range` may leave out what its client has. What has not all of
        // its fields is of use only beside what has.
        let lacks_fields = request.headers.contains_key(header::IF_RANGE);
        for _ in 0..TRIES {
            let resource = store.get(&request.key);
            let known = resource
                .as_ref()
                .and_then(|it| it.select_part(&request.route, &request.headers));
            // What is made of both is as old as the older one.
            let mut part = part.clone();
            if let Some(known) = known {
                part.about.since = part.about.since.min(known.checked());
            }
            let combined = match known {
                Some(known) => known.partial().with(part.clone(), most),
                None => Combined::of_one(part.clone()),
            };
            let alone = known.is_none() || matches!(combined, Combined::Replaced(_));
            if alone && lacks_fields {
                // What is here is not what the origin has now.
                if let Some(known) = known {
                    self.change(|| store.remove_part(known));
                }
                return;
            }
            let stored = match combined {
                Combined::Complete(mut parts) => {
                    let mut fields = parts.fields.lines().to_header_map();
                    let length = Some(parts.body.length());
                    derived::announce(parts.status, &mut fields, length, &request.rules);
                    parts.fields = Section::new(&fields);
                    let whole = store.make(&request.key, parts);
                    self.change(|| store.insert(&whole))
                }
                Combined::Partial(partial) | Combined::Replaced(partial) => {
                    self.put(request, partial, known)
                }
            };
            if stored != Some(Err(Reason::Invalidated)) {
                return;
            }
        }
    }

    fn put(
        &self,
        request: &Request,
        partial: Partial,
        known: Option<&Arc<StoredPart>>,
    ) -> Option<Result<(), Reason>> {
        let store = &self.engine.store;
        let made = store.make_part(&request.key, partial);
        // One whose `Vary` names other fields now stands for other requests.
        let (route, values) = (&made.partial().route, made.partial().nominated.as_bytes());
        let instead = known.filter(|known| known.is_for(route, values));
        self.change(|| store.put_part(&made, instead))
    }

    /// Changes the store, unless the target was invalidated since the request was sent.
    fn change<T>(&self, change: impl FnOnce() -> T) -> Option<T> {
        self.engine.fills.unless_invalidated(&self.flight, change)
    }
}
