//! Incomplete responses (RFC 9111 §3.3), stored beside the complete ones of their key.

use super::account::{Account, Charge, allocated};
use super::resource::Resource;
use super::{Inner, Store};
use crate::cache::key::{self, CacheKey, Target};
use crate::cache::outcome::Reason;
use crate::cache::partial::Partial;
use crate::cache::purge::labels::Subject;
use crate::cache::purge::ledger::Standing;
use crate::cache::response::SLOT;
use crate::fields::view::FieldView;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A stored incomplete response. It never changes: a new part makes a new one.
#[derive(Debug)]
pub struct StoredPart {
    key: Box<[u8]>,
    partial: Partial,
    weight: u64,
    account: Arc<Account>,
    /// Whether its key has the operator's extras.
    has_extras: bool,
    /// The last purge that it was compared with.
    checked: AtomicU64,
    /// All but the octets of the parts, which have charges of their own.
    _charge: Charge,
}

impl StoredPart {
    fn new(account: &Arc<Account>, key: &CacheKey, partial: Partial) -> Self {
        let (partial, octets) = partial.counted(account);
        let own = allocated(size_of::<Self>() + 16)
            + allocated(key.as_bytes().len())
            + partial.head_bytes()
            + SLOT;
        let part = Self {
            key: key.as_bytes().into(),
            weight: own.saturating_add(octets),
            account: Arc::clone(account),
            has_extras: key.has_extras(),
            checked: AtomicU64::new(partial.about.since),
            partial,
            _charge: Charge::new(account, own),
        };
        if let Some(subject) = part.subject() {
            account.ledger.count(part.partial.about.since, &subject);
        }
        part
    }

    /// What is here of it.
    pub fn partial(&self) -> &Partial {
        &self.partial
    }

    /// Whether its `Vary` lets it be selected for a request of this route (§4.1).
    pub fn fits(&self, route: &str, request: FieldView<'_>) -> bool {
        *self.partial.route == *route
            && self.partial.nominated.matches(request)
            && !self.is_invalidated()
    }

    /// What it is a response to.
    pub fn target(&self) -> Option<Target<'_>> {
        key::read_target(&self.key)
    }

    /// The memory that it takes.
    pub fn weight(&self) -> u64 {
        self.weight
    }

    pub(super) fn key(&self) -> &[u8] {
        &self.key
    }

    /// Whether it stands for the same requests as what has these values.
    pub(in crate::cache) fn is_for(&self, route: &str, nominated: &[u8]) -> bool {
        *self.partial.route == *route && self.partial.nominated.as_bytes() == nominated
    }

    /// What purges make of it.
    pub(in crate::cache) fn standing(&self) -> Standing {
        match self.subject() {
            Some(subject) => self.account.ledger.check(&self.checked, &subject),
            None => Standing::Gone,
        }
    }

    /// The last purge that it was compared with.
    pub(in crate::cache) fn checked(&self) -> u64 {
        self.checked.load(Ordering::Relaxed)
    }

    /// Whether it is not to be used any more. What a purge makes stale is too little to be kept for that.
    pub(super) fn is_invalidated(&self) -> bool {
        self.standing() != Standing::Valid
    }

    fn subject(&self) -> Option<Subject<'_>> {
        Some(Subject {
            target: self.target()?,
            tags: self.partial.about.tags.as_bytes(),
            has_extras: self.has_extras,
        })
    }
}

impl Drop for StoredPart {
    fn drop(&mut self) {
        if let Some(subject) = self.subject() {
            self.account.ledger.discount(self.checked(), &subject);
        }
    }
}

impl Store {
    /// Makes a stored part, which is counted from now on, though it is not found before it is [put](Self::put_part) there.
    pub fn make_part(&self, key: &CacheKey, partial: Partial) -> Arc<StoredPart> {
        Arc::new(StoredPart::new(&self.inner.account, key, partial))
    }

    /// Stores a part in the place of `instead`, of which it was made; where that is none, there must be none of its route and
    /// nominated values.
    ///
    /// # Errors
    /// [`Reason::Invalidated`]: something else is there by now, or a complete response; [`Reason::TooLarge`] and
    /// [`Reason::Crowded`]: it is not stored, and what it was to replace may be gone.
    pub fn put_part(
        &self,
        part: &Arc<StoredPart>,
        instead: Option<&Arc<StoredPart>>,
    ) -> Result<(), Reason> {
        let stored = self.inner.put_part(part, instead);
        if let Err(reason @ (Reason::TooLarge | Reason::Crowded)) = stored {
            self.inner.metrics.refused(reason);
        }
        self.note();
        stored
    }

    /// Removes one stored part. True where it was there.
    pub fn remove_part(&self, part: &Arc<StoredPart>) -> bool {
        let hash = key::hash(part.key());
        let stripe = self.inner.stripe(hash).lock();
        let Some(known) = self.inner.peek(hash, part.key()) else {
            return false;
        };
        if !known.parts().iter().any(|it| Arc::ptr_eq(it, part)) {
            return false;
        }
        let left = known.without(&self.inner.account, |_| false, |it| Arc::ptr_eq(it, part));
        self.inner.leave(hash, part.key(), left);
        drop(stripe);
        self.note();
        true
    }
}

impl Inner {
    fn put_part(
        &self,
        part: &Arc<StoredPart>,
        instead: Option<&Arc<StoredPart>>,
    ) -> Result<(), Reason> {
        let hash = key::hash(part.key());
        if part.partial.octets() > self.limits.object.load(Ordering::Relaxed) {
            return Err(Reason::TooLarge);
        }
        if self.account.ledger.is_closed_to(part.checked()) || part.is_invalidated() {
            return Err(Reason::Invalidated);
        }
        let _stripe = self.stripe(hash).lock();
        let known = self.peek(hash, part.key());
        let (route, nominated) = (&part.partial.route, part.partial.nominated.as_bytes());
        if let Some(known) = &known {
            // A complete one answers more, and its validation tells whether it is still what the target is.
            let complete = known.variants().iter().any(|stored| {
                stored.route() == route
                    && stored.nominated() == nominated
                    && !stored.is_invalidated()
            });
            if complete {
                return Err(Reason::Invalidated);
            }
        }
        let there = known.as_ref().map(Resource::parts).unwrap_or_default();
        let there = there
            .iter()
            .find(|it| it.is_for(route, nominated) && !it.is_invalidated());
        let same = match (there, instead) {
            (None, None) => true,
            (Some(there), Some(instead)) => Arc::ptr_eq(there, instead),
            (Some(_), None) | (None, Some(_)) => false,
        };
        if !same {
            return Err(Reason::Invalidated);
        }
        let most = self.limits.variants.load(Ordering::Relaxed);
        let resource = Resource::with_part(&self.account, known.as_ref(), part, most);
        drop(known);
        self.place(hash, resource)
    }
}
