//! All that is stored for one key, and which of it fits.

use super::super::outcome::ForwardReason;
use super::super::response::StoredResponse;
use super::account::{Account, Charge, allocated};
use http::HeaderMap;
use std::sync::Arc;

/// All that is stored for one key: at most `variants` responses, the newest first. Clones share it.
///
/// Nearly all keys have one response without coded forms, which then needs no list.
#[derive(Debug, Clone)]
pub struct Resource(Kind);

#[derive(Debug, Clone)]
enum Kind {
    One(Arc<StoredResponse>),
    Many(Arc<Many>),
}

#[derive(Debug)]
struct Many {
    list: Box<[Arc<StoredResponse>]>,
    weight: u64,
    _charge: Charge,
}

impl Resource {
    /// The newest response that fits a request on this route (§4.1).
    pub fn select(&self, route: &str, request: &HeaderMap) -> Option<&Arc<StoredResponse>> {
        self.variants()
            .iter()
            .find(|stored| stored.fits(route, request))
    }

    /// Why nothing fits: whether this route has something stored here for other requests.
    pub fn miss(&self, route: &str) -> ForwardReason {
        let of_route =
            |stored: &Arc<StoredResponse>| **stored.route() == *route && !stored.is_invalidated();
        if self.variants().iter().any(of_route) {
            ForwardReason::VaryMiss
        } else {
            ForwardReason::UriMiss
        }
    }

    /// The responses, the newest first; not empty.
    pub fn variants(&self) -> &[Arc<StoredResponse>] {
        match &self.0 {
            Kind::One(stored) => std::slice::from_ref(stored),
            Kind::Many(many) => &many.list,
        }
    }

    /// Of these. `None` where there are none.
    pub(super) fn new(account: &Arc<Account>, mut list: Vec<Arc<StoredResponse>>) -> Option<Self> {
        // What a form weighs is known when it is made, and this must not change: then there is another of these.
        let derived: u64 = list.iter().map(|stored| stored.derived_weight()).sum();
        if list.len() > 1 || derived > 0 {
            let own = allocated(list.len() * size_of::<Arc<StoredResponse>>())
                + allocated(size_of::<Many>() + 16);
            let weight = list.iter().map(|stored| stored.weight()).sum::<u64>();
            let weight = weight + derived + own;
            return Some(Self(Kind::Many(Arc::new(Many {
                list: list.into_boxed_slice(),
                weight,
                _charge: Charge::new(account, own),
            }))));
        }
        list.pop().map(|stored| Self(Kind::One(stored)))
    }

    /// The same with a response in front, in the place of those that it stands for: those of its route with its nominated
    /// values, and `instead` itself. The oldest go beyond `most`.
    pub(super) fn with(
        account: &Arc<Account>,
        known: Option<&Self>,
        response: &Arc<StoredResponse>,
        instead: Option<&Arc<StoredResponse>>,
        most: usize,
    ) -> Option<Self> {
        let replaced = |stored: &Arc<StoredResponse>| {
            let same =
                stored.route() == response.route() && stored.nominated() == response.nominated();
            same || stored.is_invalidated()
                || instead.is_some_and(|instead| Arc::ptr_eq(instead, stored))
        };
        let others = known.map(Self::variants).unwrap_or_default();
        let others = others.iter().filter(|stored| !replaced(stored));
        let list = std::iter::once(response)
            .chain(others)
            .take(most.max(1))
            .cloned()
            .collect();
        Self::new(account, list)
    }

    /// The octets of all. It never changes, as quick_cache demands.
    pub(super) fn weight(&self) -> u64 {
        match &self.0 {
            Kind::One(stored) => stored.weight(),
            Kind::Many(many) => many.weight,
        }
    }

    /// Whether this is what is stored for a key: what is found is found by a hash only.
    pub(super) fn is_of(&self, key: &[u8]) -> bool {
        self.variants()
            .first()
            .is_some_and(|stored| stored.key() == key)
    }

    pub(super) fn is_invalidated(&self) -> bool {
        self.variants().iter().all(|stored| stored.is_invalidated())
    }

    pub(super) fn is_same(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Kind::One(one), Kind::One(other)) => Arc::ptr_eq(one, other),
            (Kind::Many(one), Kind::Many(other)) => Arc::ptr_eq(one, other),
            (Kind::One(_), Kind::Many(_)) | (Kind::Many(_), Kind::One(_)) => false,
        }
    }
}
