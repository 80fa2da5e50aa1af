//! Which purges there were, and whether what is stored or fetched comes from before one that is about it.
//!
//! Each purge has a number. What is fetched remembers the number that was the last when its fetch began; what is stored, up to
//! which it was compared with the rules that the purges left here. As long as no further purge comes, a hit compares two
//! numbers. After one, the first hit of an entry looks its [labels] up, and remembers the new number where
//! none of them was purged. So a purge costs the same however much is stored, and what was under way when it came needs no
//! care of its own: its number is too low.
//!
//! Rules about tags lie beside their counts and go with the last entry that has the tag. Those about places are dropped when
//! everything stored has been compared with them (a [sweep](super::sweep)) and no fetch from before them is under way; there
//! are at most [`RULES_MAX`] of them.
//!
//! Locks: `writing` is taken before any other of these, that of the epochs after any other; of the rest, one is held at a time.

use super::Mode;
use super::epochs::{Epochs, Since};
use super::labels::{self, Asked, Label, Subject};
use super::scope::{Place, Scope};
use crate::cache::key::Target;
use crate::cache::store::{AsItIs, signed};
use crate::clock::{self, Instant};
use parking_lot::{Mutex, RwLock};
use prometheus_client::metrics::gauge::Gauge;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Rules about places at most. One more, and it is about all of its host; with that many hosts, about everything.
pub(super) const RULES_MAX: usize = 4096;

/// Purged tags at most that nothing has which is stored. One more, and what is under way by then is not stored, so that all
/// of them may be forgotten.
const IDLE_MAX: usize = 4096;

/// Locks that the tags share.
const SHARDS: usize = 64;

/// What a tag takes: its slot in a table that is between half and seven eighths full.
const SLOT_BYTES: u64 = 48;

/// What its rule takes.
const RULE_BYTES: u64 = 64;

/// A number that all hits read and purges only write, on a line of its own: what lies beside it may be written to.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Line(AtomicU64);

/// The purges.
#[derive(Debug)]
pub(in crate::cache) struct Ledger {
    /// The last purge. Written after its rule.
    now: Line,
    /// Whatever was not compared with the rules up to here was missed by a sweep, and is gone.
    floor: AtomicU64,
    /// The last purge of a tag.
    tagged: AtomicU64,
    /// What is fetched since before this is not stored.
    closed: AtomicU64,
    /// Guards the order of purges: a rule is written before its number is told.
    writing: Mutex<()>,
    places: RwLock<Places>,
    /// Each guards the tags of its labels, for a look-up.
    tags: Box<[Mutex<HashMap<Label, Slot, AsItIs>>]>,
    /// Slots with a rule that nothing stored has.
    idle: AtomicUsize,
    epochs: Epochs,
    /// Tags that are counted.
    pub(in crate::cache) known: Gauge,
    /// What these take, on the account too.
    pub(in crate::cache) bytes: Gauge,
    account: Gauge,
}

#[derive(Debug, Default)]
struct Places {
    rules: HashMap<Label, PlaceRule, AsItIs>,
    asked: Asked,
}

#[derive(Debug)]
struct PlaceRule {
    rule: Rule,
    /// The host, where it is about one.
    host: Option<Label>,
    asked: Asked,
}

/// What was purged last, under one label.
#[derive(Debug, Clone, Copy, Default)]
struct Rule {
    hard: u64,
    soft: Option<(u64, Instant)>,
}

/// A tag.
#[derive(Debug, Default)]
struct Slot {
    /// Responses that have it: stored, or still being sent.
    alive: u32,
    /// Those of them that were not purged by it.
    valid: u32,
    rule: Option<Box<Rule>>,
}

/// What is to be thought of something that was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cache) enum Standing {
    /// No purge was about it.
    Valid,
    /// It is stale since then, whatever its terms say.
    Outdated(Instant),
    /// It is not to be used any more.
    Gone,
}

impl Rule {
    fn write(&mut self, number: u64, mode: Mode, at: Instant) {
        match mode {
            Mode::Hard => self.hard = number,
            Mode::Soft => self.soft = Some((number, at)),
        }
    }

    fn number(&self) -> u64 {
        self.soft.map_or(self.hard, |(soft, _)| soft.max(self.hard))
    }

    /// What it makes of something that was compared with the rules up to `checked`.
    fn judge(&self, checked: u64, standing: &mut Standing) {
        if self.hard > checked {
            *standing = Standing::Gone;
        } else if let Some((_, at)) = self.soft.filter(|(soft, _)| *soft > checked) {
            *standing = match *standing {
                Standing::Valid => Standing::Outdated(at),
                Standing::Outdated(earlier) => Standing::Outdated(earlier.min(at)),
                Standing::Gone => Standing::Gone,
            };
        }
    }
}

impl Ledger {
    /// An empty one, whose memory is counted with `account`.
    pub(in crate::cache) fn new(account: &Gauge) -> Self {
        Self {
            now: Line::default(),
            floor: AtomicU64::new(0),
            tagged: AtomicU64::new(0),
            closed: AtomicU64::new(0),
            writing: Mutex::default(),
            places: RwLock::default(),
            tags: (0..SHARDS)
                .map(|_| Mutex::new(HashMap::with_hasher(AsItIs)))
                .collect(),
            idle: AtomicUsize::new(0),
            epochs: Epochs::default(),
            known: Gauge::default(),
            bytes: Gauge::default(),
            account: account.clone(),
        }
    }

    /// The last purge. All that a hit asks, as long as it is no other than the entry's own.
    pub(in crate::cache) fn now(&self) -> u64 {
        self.now.0.load(Ordering::Acquire)
    }

    /// A fetch begins. As long as what this gives is held, rules stay that it may have to be compared with.
    pub(in crate::cache) fn begin(&self) -> Since {
        self.epochs.enter(|| self.now())
    }

    /// Compares something that was compared up to `checked`, and remembers there that it need not be compared again.
    pub(in crate::cache) fn check(&self, checked: &AtomicU64, subject: &Subject<'_>) -> Standing {
        let now = self.now();
        let seen = checked.load(Ordering::Relaxed);
        if seen == now {
            return Standing::Valid;
        }
        let standing = self.judge(seen, subject);
        if standing == Standing::Valid {
            checked.store(now, Ordering::Relaxed);
        }
        standing
    }

    /// Whether something that has begun with this number was purged since, in any way.
    pub(in crate::cache) fn is_purged(&self, begun: u64, subject: &Subject<'_>) -> bool {
        begun != self.now() && self.judge(begun, subject) != Standing::Valid
    }

    /// The same for what is fetched, whose tags nobody knows yet: it may have any.
    pub(in crate::cache) fn may_be_purged(&self, begun: u64, subject: &Subject<'_>) -> bool {
        begun != self.now()
            && (self.tagged.load(Ordering::Acquire) > begun || self.is_purged(begun, subject))
    }

    /// Whether what has begun with this number may not be stored, whatever it is.
    pub(in crate::cache) fn is_closed_to(&self, begun: u64) -> bool {
        begun < self.closed.load(Ordering::Acquire)
    }

    fn judge(&self, checked: u64, subject: &Subject<'_>) -> Standing {
        let mut standing = Standing::Valid;
        {
            let places = self.places.read();
            if !places.rules.is_empty() {
                subject.places(places.asked, |label| {
                    if let Some(found) = places.rules.get(&label) {
                        found.rule.judge(checked, &mut standing);
                    }
                });
            }
            // Asked while the rules are held: they are dropped after this was raised.
            if checked < self.floor.load(Ordering::Acquire) {
                return Standing::Gone;
            }
        }
        subject.counted(|label| {
            let shard = self.shard(label).lock();
            if let Some(rule) = shard.get(&label).and_then(|slot| slot.rule.as_ref()) {
                rule.judge(checked, &mut standing);
            }
        });
        standing
    }

    fn shard(&self, label: Label) -> &Mutex<HashMap<Label, Slot, AsItIs>> {
        // The table takes the lowest and the highest bits.
        &self.tags[(label >> 24) as usize % SHARDS]
    }

    /// What is known of a label; nothing yet, where it is new.
    fn slot<'a>(&self, shard: &'a mut HashMap<Label, Slot, AsItIs>, label: Label) -> &'a mut Slot {
        match shard.entry(label) {
            Entry::Occupied(slot) => slot.into_mut(),
            Entry::Vacant(place) => {
                self.known.inc();
                self.grow(SLOT_BYTES);
                place.insert(Slot::default())
            }
        }
    }

    /// A response is made that was compared up to `checked`.
    pub(in crate::cache) fn count(&self, checked: u64, subject: &Subject<'_>) {
        subject.counted(|label| {
            let mut shard = self.shard(label).lock();
            let slot = self.slot(&mut shard, label);
            if slot.alive == 0 && slot.rule.is_some() {
                self.idle.fetch_sub(1, Ordering::Relaxed);
            }
            slot.alive = slot.alive.saturating_add(1);
            slot.valid = slot.valid.saturating_add(u32::from(slot.is_valid(checked)));
        });
    }

    /// It is dropped.
    pub(in crate::cache) fn discount(&self, checked: u64, subject: &Subject<'_>) {
        subject.counted(|label| {
            let mut shard = self.shard(label).lock();
            let Some(slot) = shard.get_mut(&label) else {
                return;
            };
            slot.valid = slot.valid.saturating_sub(u32::from(slot.is_valid(checked)));
            slot.alive = slot.alive.saturating_sub(1);
            if slot.alive > 0 {
                return;
            }
            let rule = slot.rule.as_ref().map(|rule| rule.number());
            if rule.is_some_and(|rule| rule > self.sweepable()) {
                // What is under way may have it yet.
                self.idle.fetch_add(1, Ordering::Relaxed);
            } else {
                shard.remove(&label);
                self.known.dec();
                self.shrink(SLOT_BYTES + rule.map_or(0, |_| RULE_BYTES));
            }
        });
    }

    /// Purges what a scope is about. How much that was, where it is counted.
    pub(in crate::cache) fn purge(&self, scope: &Scope, mode: Mode) -> Option<u64> {
        match scope {
            Scope::Tags(tags) => {
                let labels = tags.iter().map(|tag| labels::tag(tag.as_bytes()));
                Some(self.purge_counted(labels, mode))
            }
            Scope::Everything => {
                self.purge_place(labels::everything(), None, Asked::default(), mode)
            }
            Scope::Host(host) => {
                let label = labels::host(host);
                self.purge_place(label, Some(label), Asked::default(), mode)
            }
            Scope::Url(place) => {
                let asked = Asked {
                    urls: true,
                    segments: 0,
                };
                self.purge_place(labels::url(place), host_of(place), asked, mode)
            }
            Scope::Prefix(place) => {
                let asked = Asked {
                    urls: false,
                    segments: labels::segments(place),
                };
                self.purge_place(labels::prefix(place), host_of(place), asked, mode)
            }
        }
    }

    /// Purges a group of an origin (RFC 9875).
    pub(in crate::cache) fn purge_group(&self, origin: &Target<'_>, group: &str) -> u64 {
        let label = labels::group(origin, group.as_bytes());
        self.purge_counted([label].into_iter(), Mode::Hard)
    }

    /// Makes useless what is stored for a target under keys that have extras. Where there is none, nothing was done: a write
    /// must not make everybody compare.
    pub(in crate::cache) fn purge_target(&self, target: &Target<'_>, mode: Mode) -> u64 {
        let label = labels::target(target);
        let known = self.shard(label).lock().contains_key(&label);
        if known {
            self.purge_counted([label].into_iter(), mode)
        } else {
            0
        }
    }

    fn purge_counted(&self, labels: impl Iterator<Item = Label>, mode: Mode) -> u64 {
        let _writing = self.writing.lock();
        let (number, at) = (self.now() + 1, clock::now());
        let mut matched = 0;
        for label in labels {
            let mut shard = self.shard(label).lock();
            let slot = self.slot(&mut shard, label);
            matched += u64::from(slot.valid);
            if slot.rule.is_none() {
                self.grow(RULE_BYTES);
                if slot.alive == 0 {
                    self.idle.fetch_add(1, Ordering::Relaxed);
                }
            }
            let rule = slot.rule.get_or_insert_default();
            rule.write(number, mode, at);
            if mode == Mode::Hard {
                slot.valid = 0;
            }
        }
        self.tagged.store(number, Ordering::Release);
        if self.idle.load(Ordering::Relaxed) > IDLE_MAX {
            self.closed.store(number, Ordering::Release);
        }
        self.now.0.store(number, Ordering::Release);
        if self.idle.load(Ordering::Relaxed) > IDLE_MAX {
            self.forget_idle(number);
        }
        matched
    }

    fn purge_place(
        &self,
        label: Label,
        host: Option<Label>,
        asked: Asked,
        mode: Mode,
    ) -> Option<u64> {
        let _writing = self.writing.lock();
        let (number, at) = (self.now() + 1, clock::now());
        {
            let mut places = self.places.write();
            let (mut label, mut host, mut asked, mut mode) = (label, host, asked, mode);
            if !places.rules.contains_key(&label) && places.rules.len() >= RULES_MAX {
                // What was purged of the host before is purged with it, and some of that was to be gone.
                (asked, mode) = (Asked::default(), Mode::Hard);
                label = host.unwrap_or_else(labels::everything);
                places
                    .rules
                    .retain(|_, rule| host.is_some() && rule.host != host);
                if places.rules.len() >= RULES_MAX {
                    places.rules.clear();
                    (label, host) = (labels::everything(), None);
                }
            }
            let known = places.rules.entry(label).or_insert(PlaceRule {
                rule: Rule::default(),
                host,
                asked,
            });
            known.rule.write(number, mode, at);
            places.ask();
        }
        self.now.0.store(number, Ordering::Release);
        None
    }

    /// Up to where the rules about places are not needed any more once everything stored has been compared with them: to be
    /// asked before that begins.
    pub(in crate::cache) fn sweepable(&self) -> u64 {
        self.epochs.oldest(self.now())
    }

    /// Everything stored was compared with the rules up to here.
    pub(in crate::cache) fn swept(&self, up_to: u64) {
        let _writing = self.writing.lock();
        self.floor.fetch_max(up_to, Ordering::AcqRel);
        {
            let mut places = self.places.write();
            places.rules.retain(|_, it| it.rule.number() > up_to);
            places.ask();
        }
        self.forget_idle(up_to);
    }

    /// Forgets the purged tags that nothing has, nor anything that is under way.
    fn forget_idle(&self, up_to: u64) {
        for shard in &self.tags {
            shard.lock().retain(|_, slot| {
                let rule = slot.rule.as_ref().filter(|_| slot.alive == 0);
                let forgotten = rule.is_some_and(|rule| rule.number() <= up_to);
                if forgotten {
                    self.idle.fetch_sub(1, Ordering::Relaxed);
                    self.known.dec();
                    self.shrink(SLOT_BYTES + RULE_BYTES);
                }
                !forgotten
            });
        }
    }

    /// Whether a sweep would find anything to do.
    pub(in crate::cache) fn is_swept(&self) -> bool {
        self.floor.load(Ordering::Acquire) == self.now()
    }

    fn grow(&self, bytes: u64) {
        self.bytes.inc_by(signed(bytes));
        self.account.inc_by(signed(bytes));
    }

    fn shrink(&self, bytes: u64) {
        self.bytes.dec_by(signed(bytes));
        self.account.dec_by(signed(bytes));
    }

    /// Rules about places.
    #[cfg(test)]
    pub(super) fn rules(&self) -> usize {
        self.places.read().rules.len()
    }
}

impl Slot {
    fn is_valid(&self, checked: u64) -> bool {
        self.rule.as_ref().is_none_or(|rule| checked >= rule.hard)
    }
}

impl Places {
    /// What the rules together ask about.
    fn ask(&mut self) {
        let each = self.rules.values().map(|rule| rule.asked);
        self.asked = each.fold(Asked::default(), |all, one| Asked {
            urls: all.urls || one.urls,
            segments: all.segments.max(one.segments),
        });
    }
}

fn host_of(place: &Place) -> Option<Label> {
    place.authority.as_deref().map(labels::host)
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
