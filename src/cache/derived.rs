//! Coded forms of what is stored as it came: made once, kept beside it, dropped with it.
//!
//! [`derive()`] makes one, on a thread that may be busy for a second: never on one that has connections. [`Derived`] is what an
//! entry knows of its three: it lies in the entry, so that whatever removes the one removes the other, and what is being made
//! meanwhile ends nowhere.
//!
//! ```text
//!            asked for, and a place is free          done
//! (nothing) ────────────────────────────────▶ Making ───────────▶ Made
//!     ▲                                         │  └────────────▶ NotWorthIt
//!     └──────── the maker was dropped ──────────┘
//! ```
//!
//! The request that fetched it is relayed as it comes and asks for nothing here: most of what is stored is never asked for
//! twice, and coding that would be work and memory for nobody. So the first that asks is the second request already, and
//! the form that it wants is made behind its back: while that lasts, the plain form serves.
//!
//! Until an entry that may be coded is asked for by a client that wants it, all this is 8 octets.

use super::body::{Body, SEGMENT};
use super::response::{About, Parts, StoredResponse};
use super::section::Section;
use super::settings::Rules;
use crate::coding::encoder::{Effort, Encoder};
use crate::coding::{Coding, compressible, fields, negotiate};
use crate::fields::view::FieldView;
use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http::header::RANGE;
use http::{HeaderMap, StatusCode};
use parking_lot::Mutex;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A coded form is kept where it is shorter by this part of the plain one.
const SAVING_MIN: u64 = 10;

/// Above this, a second of work becomes several: the effort is that of content which passes.
const LONG: u64 = 8 * 1024 * 1024;

/// Says in a head that is to be stored that other clients may get the content coded (RFC 9110 §12.5.5). Not to be read as the
/// origin's own `Vary`: what is stored is the same for every `Accept-Encoding`.
pub(super) fn announce(
    status: StatusCode,
    headers: &mut HeaderMap,
    length: Option<u64>,
    rules: &Rules,
) {
    if rules.compress && compressible::judge(status, &*headers, length).is_ok() {
        fields::plain(&*headers).apply(headers);
    }
}

/// The coded form of a stored response: its own head, and a body that is at least 10 % shorter. `None` where it is not, or
/// where the response may not be coded.
pub fn derive(plain: &Arc<StoredResponse>, coding: Coding) -> Option<Parts> {
    if !plain.may_be_coded() {
        return None;
    }
    let body = code(plain.body().pieces(), plain.body_length(), coding)?;
    let pieces = (0..body.len()).step_by(SEGMENT);
    let pieces = pieces.map(|at| body.slice(at..body.len().min(at + SEGMENT)));
    around(plain, coding, Body::new(pieces.collect()))
}

/// The same form of a response that was freshened: its body is what it was.
pub(super) fn around(plain: &StoredResponse, coding: Coding, body: Body) -> Option<Parts> {
    if !plain.may_be_coded() {
        return None;
    }
    let mut headers = plain.fields().to_header_map();
    let length = usize::try_from(body.length()).ok();
    fields::coded(&headers, coding, length).apply(&mut headers);
    Some(Parts {
        status: plain.status(),
        fields: Section::new(&headers),
        terms: plain.terms(),
        nominated: plain.nominated_values(),
        route: plain.route().clone(),
        body,
        // It is found by way of the plain one only, which has the rest.
        about: About {
            cost: plain.cost(),
            ..About::default()
        },
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
    let mut read = 0;
    for piece in pieces {
        read += piece.len() as u64;
        coded.extend_from_slice(&encoder.push(&piece).ok()?);
        if coded.len() > most {
            return None;
        }
    }
    // What could not be read must not become a form that looks whole.
    if read != length {
        return None;
    }
    coded.extend_from_slice(&encoder.finish().ok()?);
    (coded.len() <= most).then(|| coded.into())
}

/// What an entry knows of its coded forms. `T` is how it holds one.
#[derive(Debug)]
pub struct Derived<T> {
    /// Set by the first request that wants a coding.
    shelf: ArcSwapOption<Shelf<T>>,
}

/// Guards three words; nothing is computed while it is held.
type Shelf<T> = Mutex<[Slot<T>; Coding::BY_SIZE.len()]>;

#[derive(Debug, Clone, Default)]
enum Slot<T> {
    #[default]
    Nothing,
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
            shelf: ArcSwapOption::empty(),
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
    /// `places` bounds how many forms are made at a time, all entries together; where none is free, a later request makes it.
    pub fn find(&self, request: FieldView<'_>, places: &Arc<Semaphore>) -> Found<T> {
        if gets_plain(request) {
            return Found::plain();
        }
        let Some(shelf) = self.shelf(request) else {
            return Found::plain();
        };
        let mut slots = shelf.lock();
        let wanted = wish(request, &slots[..], |slot| {
            !matches!(slot, Slot::NotWorthIt)
        });
        let Some(wanted) = wanted else {
            return Found::plain();
        };
        let make = match &slots[place_of(wanted)] {
            Slot::Made(form) => {
                return Found {
                    coded: Some(form.clone()),
                    make: None,
                };
            }
            Slot::Nothing => places.clone().try_acquire_owned().ok(),
            Slot::Making | Slot::NotWorthIt => None,
        };
        let make = make.map(|place| {
            slots[place_of(wanted)] = Slot::Making;
            Making {
                coding: wanted,
                shelf: shelf.clone(),
                _place: place,
            }
        });
        let made = wish(request, &slots[..], |slot| matches!(slot, Slot::Made(_)));
        let coded = made.and_then(|coding| slots[place_of(coding)].made().cloned());
        Found { coded, make }
    }

    /// The coded form that [`find`](Self::find) would give; nothing is begun.
    pub fn glance(&self, request: FieldView<'_>) -> Option<T> {
        if gets_plain(request) {
            return None;
        }
        let shelf = self.shelf.load_full()?;
        let slots = shelf.lock();
        wish(request, &slots[..], |slot| {
            !matches!(slot, Slot::NotWorthIt)
        })?;
        let made = wish(request, &slots[..], |slot| matches!(slot, Slot::Made(_)))?;
        slots[place_of(made)].made().cloned()
    }

    /// The shelf, put up where there is none and the client takes a coding.
    fn shelf(&self, request: FieldView<'_>) -> Option<Arc<Shelf<T>>> {
        if let Some(shelf) = self.shelf.load_full() {
            return Some(shelf);
        }
        negotiate::choose(request, &Coding::BY_SIZE)?;
        let new = Arc::<Shelf<T>>::default();
        let nothing: Option<Arc<Shelf<T>>> = None;
        let before = self.shelf.compare_and_swap(&nothing, Some(new.clone()));
        Some(before.as_ref().cloned().unwrap_or(new))
    }

    /// Takes over those of an entry that was freshened: its body is the same, so each form is made anew around its own by
    /// `remake`, without coding anything. What was being made falls to a later request.
    pub fn carry(&self, old: &Self, mut remake: impl FnMut(&T, Coding) -> Option<T>) {
        let Some(shelf) = old.shelf.load_full() else {
            return;
        };
        let mut slots = shelf.lock().clone();
        for coding in Coding::BY_SIZE {
            let slot = &mut slots[place_of(coding)];
            let carried = match &*slot {
                Slot::Made(form) => remake(form, coding).map(Slot::Made),
                Slot::Making => None,
                Slot::Nothing | Slot::NotWorthIt => continue,
            };
            *slot = carried.unwrap_or_default();
        }
        self.shelf.store(Some(Arc::new(Mutex::new(slots))));
    }

    /// All that are made, for the store's account.
    pub fn made(&self) -> Vec<T> {
        let Some(shelf) = self.shelf.load_full() else {
            return Vec::new();
        };
        let slots = shelf.lock();
        slots.iter().filter_map(Slot::made).cloned().collect()
    }
}

impl<T> Slot<T> {
    fn made(&self) -> Option<&T> {
        match self {
            Self::Made(form) => Some(form),
            Self::Nothing | Self::Making | Self::NotWorthIt => None,
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
            *slot = Slot::Nothing;
        }
    }
}

/// A range is one of the plain octets: the tag of a coded form is weak, so nothing could be put together with it.
fn gets_plain(request: FieldView<'_>) -> bool {
    request.contains(&RANGE) || compressible::forbids_transformation(request)
}

/// What the client prefers among the forms in such a state.
fn wish<T>(
    request: FieldView<'_>,
    slots: &[Slot<T>],
    fits: impl Fn(&Slot<T>) -> bool,
) -> Option<Coding> {
    let mut offered = Coding::BY_SIZE;
    let mut count = 0;
    for (coding, slot) in Coding::BY_SIZE.into_iter().zip(slots) {
        if fits(slot) {
            offered[count] = coding;
            count += 1;
        }
    }
    negotiate::choose(request, &offered[..count])
}

/// As in [`Coding::BY_SIZE`].
const fn place_of(coding: Coding) -> usize {
    match coding {
        Coding::Brotli => 0,
        Coding::Zstd => 1,
        Coding::Gzip => 2,
    }
}
