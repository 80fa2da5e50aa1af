//! Coded forms of what is stored as it came: made once, kept beside it, dropped with it.
//!
//! [`derive`] makes one, on a thread that may be busy for a second: never on one that has connections. [`Derived`] is what an
//! entry knows of its three: it belongs into the entry, so that whatever removes the one removes the other, and what is being
//! made meanwhile ends nowhere.
//!
//! ```text
//!            asked for             asked for again, and a place is free          done
//! (nothing) ───────────▶ Asked ──────────────────────────────────────▶ Making ───────────▶ Made
//!                          ▲                                             │  └────────────▶ NotWorthIt
//!                          └────────── the maker was dropped ────────────┘
//! ```
//!
//! The first request that wants a coding gets the plain form and only leaves a mark: most of what is stored is never asked for
//! twice, and coding that would be work and memory for nobody. While one is being made, the plain form serves.
//!
//! Until an entry that may be coded is asked for by a client that wants it, all this is 16 octets.

use super::body::Body;
use super::response::{Parts, StoredResponse};
use super::section::Section;
use crate::coding::encoder::{Effort, Encoder};
use crate::coding::{Coding, compressible, fields, negotiate};
use bytes::Bytes;
use http::HeaderMap;
use http::header::RANGE;
use parking_lot::Mutex;
use std::sync::{Arc, OnceLock};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A coded form is kept where it is shorter by this part of the plain one.
const SAVING_MIN: u64 = 10;

/// Above this, a second of work becomes several: the effort is that of content which passes.
const LONG: u64 = 8 * 1024 * 1024;

/// The coded form of a stored response: its own head, and a body that is at least 10 % shorter. `None` where it is not, or
/// where the response may not be coded.
pub fn derive(plain: &Arc<StoredResponse>, coding: Coding) -> Option<Parts> {
    let headers = plain.fields().to_header_map();
    let length = plain.body_length();
    compressible::judge(plain.status(), &headers, Some(length)).ok()?;
    let body = code(plain.body().pieces(), length, coding)?;
    let mut changed = headers.clone();
    fields::coded(&headers, coding, Some(body.len())).apply(&mut changed);
    Some(Parts {
        status: plain.status(),
        fields: Section::new(&changed),
        terms: plain.terms(),
        nominated: plain.nominated_values(),
        route: plain.route().clone(),
        body: Body::new(vec![body]),
    })
}

/// The octets, where they are few enough; given up as soon as they are not.
fn code(pieces: impl Iterator<Item = Bytes>, length: u64, coding: Coding) -> Option<Bytes> {
    let effort = if length > LONG {
        Effort::Passing
    } else {
        Effort::Once
    };
    let most = usize::try_from(length - length / SAVING_MIN).ok()?;
    let mut encoder = Encoder::new(coding, effort).ok()?;
    let mut coded = Vec::new();
    for piece in pieces {
        coded.extend_from_slice(&encoder.push(&piece).ok()?);
        if coded.len() > most {
            return None;
        }
    }
    coded.extend_from_slice(&encoder.finish().ok()?);
    (coded.len() <= most).then(|| coded.into())
}

/// What an entry knows of its coded forms. `T` is how it holds one.
#[derive(Debug)]
pub struct Derived<T> {
    /// Set by the first request that wants a coding; `None` inside where the entry may not be coded at all.
    shelf: OnceLock<Option<Arc<Shelf<T>>>>,
}

/// Guards three words; nothing is computed while it is held.
type Shelf<T> = Mutex<[Slot<T>; Coding::BY_SIZE.len()]>;

#[derive(Debug, Clone, Default)]
enum Slot<T> {
    #[default]
    Nothing,
    Asked,
    Making,
    Made(T),
    NotWorthIt,
}

/// Which form a request gets, and what is to be done beside it.
#[derive(Debug)]
pub struct Found<T> {
    /// The coded form; `None` is the plain one.
    pub coded: Option<T>,
    /// One to be made, on a blocking thread.
    pub make: Option<Making<T>>,
}

/// The duty to make one form. Dropped without [`publish`](Self::publish), it falls to a later request.
#[derive(Debug)]
pub struct Making<T> {
    /// Which one.
    pub coding: Coding,
    shelf: Arc<Shelf<T>>,
    _place: OwnedSemaphorePermit,
}

impl<T> Default for Derived<T> {
    fn default() -> Self {
        Self {
            shelf: OnceLock::new(),
        }
    }
}

impl<T> Found<T> {
    const fn plain() -> Self {
        Self {
            coded: None,
            make: None,
        }
    }
}

impl<T: Clone> Derived<T> {
    /// The form for a request: the one that it prefers where that is made, else the best of those that are.
    ///
    /// `may_be_coded` is asked once in the entry's life. `places` bounds how many forms are made at a time, all entries
    /// together; where none is free, a later request makes it.
    pub fn find(
        &self,
        request: &HeaderMap,
        may_be_coded: impl FnOnce() -> bool,
        places: &Arc<Semaphore>,
    ) -> Found<T> {
        // A range is one of the plain octets: the tag of a coded form is weak, so nothing could be put together with it.
        if request.contains_key(RANGE) || compressible::forbids_transformation(request) {
            return Found::plain();
        }
        if negotiate::choose(request, &Coding::BY_SIZE).is_none() {
            return Found::plain();
        }
        let shelf = self
            .shelf
            .get_or_init(|| may_be_coded().then(Arc::<Shelf<T>>::default));
        let Some(shelf) = shelf else {
            return Found::plain();
        };
        let mut slots = shelf.lock();
        let wanted = wish(request, &slots[..], |slot| {
            !matches!(slot, Slot::NotWorthIt)
        });
        let begin = wanted.filter(|coding| slots[place_of(*coding)].is_asked_for());
        let place = begin.and_then(|_| places.clone().try_acquire_owned().ok());
        let make = begin.zip(place).map(|(coding, place)| {
            slots[place_of(coding)] = Slot::Making;
            Making {
                coding,
                shelf: shelf.clone(),
                _place: place,
            }
        });
        let made = wish(request, &slots[..], |slot| matches!(slot, Slot::Made(_)));
        let coded = made.and_then(|coding| slots[place_of(coding)].made().cloned());
        Found { coded, make }
    }

    /// Those of an entry that was freshened: its body is the same, so each form is made anew around its own by `remake`, without
    /// coding anything. What was being made falls to a later request.
    #[must_use]
    pub fn carried(&self, mut remake: impl FnMut(&T, Coding) -> Option<T>) -> Self {
        let new = Self::default();
        let Some(Some(shelf)) = self.shelf.get() else {
            return new;
        };
        let mut slots = shelf.lock().clone();
        for coding in Coding::BY_SIZE {
            let slot = &mut slots[place_of(coding)];
            let carried = match &*slot {
                Slot::Made(form) => remake(form, coding).map(Slot::Made),
                Slot::Making => Some(Slot::Asked),
                Slot::Nothing | Slot::Asked | Slot::NotWorthIt => continue,
            };
            *slot = carried.unwrap_or_default();
        }
        // It is new and nobody else's: there is nothing in it.
        let _ = new.shelf.set(Some(Arc::new(Mutex::new(slots))));
        new
    }

    /// All that are made, for the store's account.
    pub fn made(&self) -> Vec<T> {
        let Some(Some(shelf)) = self.shelf.get() else {
            return Vec::new();
        };
        let slots = shelf.lock();
        slots.iter().filter_map(Slot::made).cloned().collect()
    }
}

impl<T> Slot<T> {
    /// Counts a request: true from the second on, until it is being made.
    fn is_asked_for(&mut self) -> bool {
        match self {
            Self::Nothing => {
                *self = Self::Asked;
                false
            }
            Self::Asked => true,
            Self::Making | Self::Made(_) | Self::NotWorthIt => false,
        }
    }

    fn made(&self) -> Option<&T> {
        match self {
            Self::Made(form) => Some(form),
            Self::Nothing | Self::Asked | Self::Making | Self::NotWorthIt => None,
        }
    }
}

impl<T> Making<T> {
    /// It is made, or was found not to be worth it. To be called before the store is told of the new weight.
    pub fn publish(self, form: Option<T>) {
        let slot = form.map_or(Slot::NotWorthIt, Slot::Made);
        self.shelf.lock()[place_of(self.coding)] = slot;
    }
}

impl<T> Drop for Making<T> {
    fn drop(&mut self) {
        let slot = &mut self.shelf.lock()[place_of(self.coding)];
        if matches!(slot, Slot::Making) {
            *slot = Slot::Asked;
        }
    }
}

/// What the client prefers among the forms in such a state.
fn wish<T>(
    request: &HeaderMap,
    slots: &[Slot<T>],
    fits: impl Fn(&Slot<T>) -> bool,
) -> Option<Coding> {
    let offered: Vec<_> = Coding::BY_SIZE
        .into_iter()
        .zip(slots)
        .filter_map(|(coding, slot)| fits(slot).then_some(coding))
        .collect();
    negotiate::choose(request, &offered)
}

/// As in [`Coding::BY_SIZE`].
const fn place_of(coding: Coding) -> usize {
    match coding {
        Coding::Brotli => 0,
        Coding::Zstd => 1,
        Coding::Gzip => 2,
    }
}
