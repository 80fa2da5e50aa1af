//! What the answer to a request that was forwarded by itself means for the cache.

use super::derived;
use super::fill::{Begun, Classes, FillWriter, Lasting, Wanted};
use super::key::{CacheKey, Target};
use super::lookup::{Cache, Forward};
use super::policy::storable::{self, Concerns};
use super::policy::validate::{HeadUpdate, update_by_head};
use super::policy::{Received, invalidation};
use super::request::Request;
use super::response::{Parts, StoredResponse};
use super::section::Section;
use super::vary::Nominated;
use crate::fields::content_length::{self, ContentLength};
use http::{HeaderMap, Method, StatusCode, header};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// A fetch that a client's own request feeds is on nobody's account of abandoned ones.
const NOBODY: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

impl Cache {
    /// The answer to a forwarded request came: invalidates what a write changed (§4.4), freshens by HEAD (§4.3.5), and
    /// notices what can be shared again. The writer, where there is one, has been told the head already and is to be given
    /// the body (a storable answer to POST); without followers, it never paces.
    pub fn forwarded(&self, forward: &mut Forward, received: Received<'_>) -> Option<FillWriter> {
        let request = forward.request.take()?;
        match request.method {
            Method::GET => self.shareable_again(&request, received),
            Method::HEAD => self.freshen_by_head(&request, received),
            _ => {
                self.invalidate_written(&request, received);
                if request.method == Method::POST {
                    return self.store_posted(&request, received);
                }
            }
        }
        None
    }

    /// A response that could be stored ends the memory of those that could not.
    fn shareable_again(&self, request: &Request, received: Received<'_>) {
        // A part says nothing about how large the whole is.
        if received.status == StatusCode::PARTIAL_CONTENT {
            return;
        }
        let length = content_length::parse(received.headers.get_all(header::CONTENT_LENGTH));
        let length = length.ok().and_then(ContentLength::value);
        let fits = length.is_some_and(|length| length <= self.engine.settings.object.bytes());
        let storable = storable::evaluate(request.asked(), received, &request.rules).is_ok()
            && Nominated::new(received.headers, &request.headers).is_ok();
        if storable {
            let classes = Classes::of(&request.headers);
            let (key, route) = (&request.key, &request.route);
            self.engine.uncacheable.forget(key, route, classes, fits);
        }
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
                if let Ok(nominated) = Nominated::freshened(stored, received.headers, headers) {
                    let parts = Parts {
                        status,
                        fields: Section::new(&fields),
                        terms,
                        nominated,
                        route: Arc::clone(stored.route()),
                        body: stored.body(),
                    };
                    store.replace(stored, &store.make(&request.key, parts));
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

    /// §4.4.
    fn invalidate_written(&self, request: &Request, received: Received<'_>) {
        let targets = invalidation::targets(
            &request.method,
            request.target(),
            received.status,
            received.headers,
        );
        if !targets.is_empty() {
            // As the request itself spelt it, however that reads as a URI.
            self.invalidate(&request.key);
        }
        for uri in targets {
            let target = Target {
                scheme: uri.scheme(),
                authority: &uri.authority,
                path: &uri.path,
                query: uri.query.as_deref(),
            };
            self.invalidate(&CacheKey::of_target(target, &request.rules.key));
        }
    }

    /// RFC 9110 §9.3.3: such a response may answer a later GET.
    fn store_posted(&self, request: &Arc<Request>, received: Received<'_>) -> Option<FillWriter> {
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
            client: NOBODY,
            lasting: Lasting::Fed,
            permit: None,
            account: Arc::clone(&engine.abandoned),
            store: engine.store.clone(),
            metrics: engine.metrics.clone(),
        });
        let mut writer = FillWriter::new(
            Arc::clone(engine),
            flight,
            Arc::clone(request),
            None,
            received.requested,
        );
        let fields: HeaderMap = received.headers.clone();
        let wanted = writer.head(received.status, fields, received.received);
        (wanted == Wanted::Body).then_some(writer)
    }
}
