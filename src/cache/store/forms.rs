//! Which form of a stored response a client gets; what is missing is made meanwhile.

use super::super::derived::{Making, derive};
use super::super::response::StoredResponse;
use super::{Inner, Resource, Store};
use crate::fields::view::FieldView;
use std::sync::Arc;
use tokio::runtime::Handle;

/// Forms made at once. An encoder holds some 10 MiB and a core; beside it, pages are to be served.
pub(super) const AT_ONCE: usize = 2;

/// One that may be made now.
type Duty = Making<Arc<StoredResponse>>;

impl Store {
    /// The form of a stored response that a request gets: the coding that it prefers, where it may have one and that is
    /// made; else what is made by now, and at last as it came. What is missing is made behind its back, on a thread that
    /// may block.
    pub fn form<'r>(
        &self,
        stored: Arc<StoredResponse>,
        request: impl Into<FieldView<'r>>,
    ) -> Arc<StoredResponse> {
        if !stored.may_be_coded() {
            return stored;
        }
        let found = stored.derived().find(request.into(), &self.inner.makers);
        if let Some(duty) = found.make {
            self.make_behind(&stored, duty);
        }
        found.coded.unwrap_or(stored)
    }

    /// Without a runtime, or without room for what comes, the duty falls to a later request.
    fn make_behind(&self, stored: &Arc<StoredResponse>, duty: Duty) {
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        // What is kept of it is shorter: it counts itself, when this is given back.
        let Some(room) = self.reserve(stored.body_length()) else {
            return;
        };
        let (store, stored) = (self.clone(), Arc::clone(stored));
        runtime.spawn_blocking(move || {
            store.make_form(&stored, duty);
            drop(room);
        });
    }

    pub(super) fn make_form(&self, stored: &Arc<StoredResponse>, duty: Duty) {
        let coding = duty.coding;
        let form = derive(stored, coding).map(|parts| stored.beside(parts));
        let made = form.is_some();
        duty.publish(form);
        if made {
            self.inner.metrics.derived(coding.name());
            self.inner.reweigh(stored);
            self.note();
        }
    }
}

impl Inner {
    /// Something was made beside a response: what is stored for its key weighs more. Where it is no longer stored, the form
    /// goes with it.
    fn reweigh(&self, response: &Arc<StoredResponse>) {
        // Where that cannot be, what is to be sent is what is too much; it does not become less by dropping this.
        self.make_room();
        let hash = super::super::key::hash(response.key());
        let _stripe = self.stripe(hash).lock();
        let Some(known) = self.peek(hash, response.key()) else {
            return;
        };
        let variants = known.variants().to_vec();
        if !variants.iter().any(|stored| Arc::ptr_eq(stored, response)) {
            return;
        }
        if let Some(resource) = Resource::new(&self.account, variants, known.parts().to_vec()) {
            drop(known);
            self.settle(hash, &resource);
        }
    }
}
