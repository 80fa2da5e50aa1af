//! All that is stored for one key, and which of it fits.

use super::super::outcome::ForwardReason;
use super::super::purge::ledger::Standing;
use super::super::response::StoredResponse;
use super::account::{Account, Charge, allocated};
use super::part::StoredPart;
use crate::fields::view::FieldView;
use std::sync::Arc;

/// All that is stored for one key: at most `variants` responses, complete ones and incomplete ones, of both the newest
/// first. Clones share it.
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
    parts: Box<[Arc<StoredPart>]>,
    weight: u64,
    _charge: Charge,
}

impl Resource {
    /// The newest response that fits a request on this route (§4.1).
    pub fn select<'r>(
        &self,
        route: &str,
        request: impl Into<FieldView<'r>>,
    ) -> Option<&Arc<StoredResponse>> {
        let request = request.into();
        self.variants()
            .iter()
            .find(|stored| stored.fits(route, request))
    }

    /// What is stored of the response that fits a request on this route, where that is not all of it (§3.3).
    pub fn select_part<'r>(
        &self,
        route: &str,
        request: impl Into<FieldView<'r>>,
    ) -> Option<&Arc<StoredPart>> {
        let request = request.into();
        self.parts().iter().find(|part| part.fits(route, request))
    }

    /// Why nothing fits: whether this route has something stored here for other requests.
    pub fn miss(&self, route: &str) -> ForwardReason {
        let of_route =
            |stored: &Arc<StoredResponse>| **stored.route() == *route && !stored.is_invalidated();
        let part_of_route =
            |part: &Arc<StoredPart>| *part.partial().route == *route && !part.is_invalidated();
        if self.variants().iter().any(of_route) || self.parts().iter().any(part_of_route) {
            ForwardReason::VaryMiss
        } else {
            ForwardReason::UriMiss
        }
    }

    /// The complete responses, the newest first.
    pub fn variants(&self) -> &[Arc<StoredResponse>] {
        match &self.0 {
            Kind::One(stored) => std::slice::from_ref(stored),
            Kind::Many(many) => &many.list,
        }
    }

    /// The incomplete ones, the newest first.
    pub fn parts(&self) -> &[Arc<StoredPart>] {
        match &self.0 {
            Kind::One(_) => &[],
            Kind::Many(many) => &many.parts,
        }
    }

    /// Of these. `None` where there are none.
    pub(super) fn new(
        account: &Arc<Account>,
        mut list: Vec<Arc<StoredResponse>>,
        parts: Vec<Arc<StoredPart>>,
    ) -> Option<Self> {
        // What a form weighs is known when it is made, and this must not change: then there is another of these.
        let derived: u64 = list.iter().map(|stored| stored.derived_weight()).sum();
        if list.len() > 1 || derived > 0 || !parts.is_empty() {
            let own = allocated(list.len() * size_of::<Arc<StoredResponse>>())
                + allocated(parts.len() * size_of::<Arc<StoredPart>>())
                + allocated(size_of::<Many>() + 16);
            let complete = list.iter().map(|stored| stored.weight()).sum::<u64>();
            let weight =
                own + complete + derived + parts.iter().map(|part| part.weight()).sum::<u64>();
            return Some(Self(Kind::Many(Arc::new(Many {
                list: list.into_boxed_slice(),
                parts: parts.into_boxed_slice(),
                weight,
                _charge: Charge::new(account, own),
            }))));
        }
        list.pop().map(|stored| Self(Kind::One(stored)))
    }

    /// Whether there is a response for the same requests that no purge was about.
    pub(super) fn has_newer(&self, response: &StoredResponse) -> bool {
        let (route, nominated) = (response.route(), response.nominated());
        self.variants().iter().any(|stored| {
            stored.route() == route
                && stored.nominated() == nominated
                && stored.standing() == Standing::Valid
        })
    }

    /// The same with a response in front, in the place of those that it stands for: those of its route with its nominated
    /// values, incomplete ones too, and `instead` itself. The oldest go beyond `most`.
    pub(super) fn with(
        account: &Arc<Account>,
        known: Option<&Self>,
        response: &Arc<StoredResponse>,
        instead: Option<&Arc<StoredResponse>>,
        most: usize,
    ) -> Option<Self> {
        let (route, nominated) = (response.route(), response.nominated());
        let replaced = |stored: &Arc<StoredResponse>| {
            let same = stored.route() == route && stored.nominated() == nominated;
            same || stored.is_invalidated()
                || instead.is_some_and(|instead| Arc::ptr_eq(instead, stored))
        };
        let others = known.map(Self::variants).unwrap_or_default();
        let others = others.iter().filter(|stored| !replaced(stored));
        let list: Vec<_> = std::iter::once(response)
            .chain(others)
            .take(most.max(1))
            .cloned()
            .collect();
        let parts = known.map(Self::parts).unwrap_or_default().iter();
        let parts = parts
            .filter(|part| !part.is_for(route, nominated) && !part.is_invalidated())
            .take(most.saturating_sub(list.len()))
            .cloned()
            .collect();
        Self::new(account, list, parts)
    }

    /// The same with an incomplete response in front of the other ones, in the place of the one that it stands for. The oldest
    /// go beyond `most`.
    pub(super) fn with_part(
        account: &Arc<Account>,
        known: Option<&Self>,
        part: &Arc<StoredPart>,
        most: usize,
    ) -> Option<Self> {
        let (route, nominated) = (&part.partial().route, part.partial().nominated.as_bytes());
        let most = most.max(1);
        let list: Vec<_> = known
            .map(Self::variants)
            .unwrap_or_default()
            .iter()
            .filter(|stored| !stored.is_invalidated())
            .take(most - 1)
            .cloned()
            .collect();
        let others = known.map(Self::parts).unwrap_or_default().iter();
        let others =
            others.filter(|other| !other.is_for(route, nominated) && !other.is_invalidated());
        let parts = std::iter::once(part)
            .chain(others)
            .take(most - list.len())
            .cloned()
            .collect();
        Self::new(account, list, parts)
    }

    /// The same without some.
    pub(super) fn without(
        &self,
        account: &Arc<Account>,
        response: impl Fn(&Arc<StoredResponse>) -> bool,
        part: impl Fn(&Arc<StoredPart>) -> bool,
    ) -> Option<Self> {
        let list = self.variants().iter().filter(|it| !response(it));
        let parts = self.parts().iter().filter(|it| !part(it));
        Self::new(account, list.cloned().collect(), parts.cloned().collect())
    }

    /// Whether nothing was stored or removed between one and the other.
    pub fn is_as(&self, other: &Self) -> bool {
        let same_list = self.variants().len() == other.variants().len()
            && self.parts().len() == other.parts().len();
        let mut variants = self.variants().iter().zip(other.variants());
        let mut parts = self.parts().iter().zip(other.parts());
        same_list
            && variants.all(|(one, other)| Arc::ptr_eq(one, other))
            && parts.all(|(one, other)| Arc::ptr_eq(one, other))
    }

    /// The octets of all. It never changes, as `quick_cache` demands.
    pub(super) fn weight(&self) -> u64 {
        match &self.0 {
            Kind::One(stored) => stored.weight(),
            Kind::Many(many) => many.weight,
        }
    }

    /// Whether this is what is stored for a key: what is found is found by a hash only.
    pub(super) fn is_of(&self, key: &[u8]) -> bool {
        match (self.variants().first(), self.parts().first()) {
            (Some(stored), _) => stored.key() == key,
            (None, Some(part)) => part.key() == key,
            (None, None) => false,
        }
    }

    pub(super) fn is_same(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Kind::One(one), Kind::One(other)) => Arc::ptr_eq(one, other),
            (Kind::Many(one), Kind::Many(other)) => Arc::ptr_eq(one, other),
            (Kind::One(_), Kind::Many(_)) | (Kind::Many(_), Kind::One(_)) => false,
        }
    }
}
