//! What is no longer to be used because somebody says so: the operator, or the application with its answer to a write.
//!
//! | part | question |
//! |---|---|
//! | [`scope`] | what is a purge about? |
//! | [`tags`] | what does a response say that it is part of? |
//! | [`labels`] | what can something stored be purged by? |
//! | [`ledger`] | which purges were there, and is something older than one that is about it? |
//! | `epochs` | how old is the oldest fetch under way? |
//! | `sweep` | who frees what was purged, and makes stale what was so softly? |
//! | `written` | what does the answer to a write purge? |
//!
//! *Hard* makes gone, *soft* makes stale: then it may be served while it is fetched anew.

mod epochs;
pub(super) mod labels;
pub(super) mod ledger;
pub mod scope;
mod sweep;
pub mod tags;
pub(super) mod written;

pub use scope::{Place, Scope, ScopeError};
pub use written::FOREBAY_PURGE;

pub(super) use epochs::Since;

use super::key::{CacheKey, Target};
use super::lookup::Cache;
use crate::clock;
use scope::Written;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::SystemTime;
use tokio::sync::broadcast;

/// Purges that a listener may be behind before it is told that it has missed some.
pub(super) const EVENTS_KEPT: usize = 256;

/// What is to be done. As JSON, one of `url`, `prefix`, `host`, `tag`, `tags` and `all`, and `soft`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Purge {
    /// What it is about.
    pub scope: Scope,
    /// What becomes of it.
    pub mode: Mode,
}

/// What becomes of what is purged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// It is gone.
    #[default]
    Hard,
    /// It is stale from now on, and may be served while it is fetched anew, unless its own directives forbid that.
    Soft,
}

impl Mode {
    /// The word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Hard => "hard",
            Self::Soft => "soft",
        }
    }
}

impl TryFrom<Written> for Purge {
    type Error = ScopeError;

    fn try_from(written: Written) -> Result<Self, ScopeError> {
        let mode = if written.soft { Mode::Soft } else { Mode::Hard };
        let scope = written.scope()?;
        Ok(Self { scope, mode })
    }
}

impl From<Purge> for Written {
    fn from(purge: Purge) -> Self {
        Self::new(&purge.scope, purge.mode == Mode::Soft)
    }
}

/// What a purge found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Purged {
    /// Stored responses that it made useless or stale. `None` where that is not known without looking at all of them: for
    /// a prefix, a host, everything, and a URL without a host.
    pub matched: Option<u64>,
}

/// Why something is no longer to be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Somebody has purged it.
    Purge,
    /// It was written to (RFC 9111 §4.4). Told only of what was stored.
    Write,
}

/// A purge that was done, or a write that came to the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PurgeEvent {
    /// Which of them.
    pub cause: Cause,
    /// What it was about.
    pub scope: Scope,
    /// What became of it.
    pub mode: Mode,
    /// See [`Purged::matched`].
    pub matched: Option<u64>,
    /// When.
    pub at: SystemTime,
}

impl Cache {
    /// Purges. Once this returns, nothing that was stored or asked for before is served to anybody who asks after it, but as
    /// stale where the purge is soft.
    ///
    /// It takes the same time however much is stored. The memory is freed behind it.
    pub fn purge(&self, purge: &Purge) -> Purged {
        let Purge { scope, mode } = purge;
        let ledger = self.engine.store.ledger();
        let matched = match scope {
            Scope::Url(place) if place.authority.is_some() => Some(self.purge_url(place, *mode)),
            Scope::Url(place) => {
                for key in self.stored_under("http", place) {
                    let place = Place {
                        authority: None,
                        ..Place::of(&key.target())
                    };
                    ledger.purge(&Scope::Url(place), *mode);
                }
                None
            }
            Scope::Prefix(_) | Scope::Host(_) | Scope::Tags(_) | Scope::Everything => {
                ledger.purge(scope, *mode)
            }
        };
        self.purged(scope.clone(), *mode, matched)
    }

    /// The purges from now on, and the writes to what was stored. Who reads too slowly is told how many were missed.
    pub fn purges(&self) -> broadcast::Receiver<Arc<PurgeEvent>> {
        self.engine.purges.subscribe()
    }

    /// Whether all that is stored has been compared with all purges: the memory of what they were about is free.
    pub fn is_swept(&self) -> bool {
        self.engine.store.ledger().is_swept()
    }

    /// One target on its host: it is known under which keys that is stored, so nobody else need compare anything.
    fn purge_url(&self, place: &Place, mode: Mode) -> u64 {
        let keys = ["http", "https"].map(|scheme| self.stored_under(scheme, place));
        let engine = &self.engine;
        let store = &engine.store;
        keys.iter()
            .flatten()
            .map(|key| {
                engine.fills.invalidate(key, |under_way| {
                    let stored = match mode {
                        Mode::Hard => store.purge(key),
                        Mode::Soft => engine.outdate(key),
                    };
                    // Where nothing is stored yet, what is on its way is what was found.
                    stored.max(u64::from(under_way))
                })
            })
            .sum()
    }

    fn stored_under(&self, scheme: &str, place: &Place) -> Vec<CacheKey> {
        self.keys_of(Target {
            scheme,
            authority: place.authority.as_deref().unwrap_or_default(),
            path: &place.path,
            query: place.query.as_deref(),
        })
    }

    /// The keys that a target is stored under, by whichever route, each once.
    pub(in crate::cache) fn keys_of(&self, target: Target<'_>) -> Vec<CacheKey> {
        let mut known: Vec<CacheKey> = Vec::new();
        for rules in self.engine.key_rules.load().iter() {
            let key = CacheKey::of_target(target, rules);
            if !known.contains(&key) {
                known.push(key);
            }
        }
        known
    }

    /// It is done: what it was about goes behind everybody's back, and those who listen are told.
    fn purged(&self, scope: Scope, mode: Mode, matched: Option<u64>) -> Purged {
        sweep::behind(&self.engine);
        self.tell(Cause::Purge, scope, mode, matched);
        Purged { matched }
    }

    /// Something stored was written to, and is gone.
    pub(in crate::cache) fn written(&self, place: Place) {
        self.tell(Cause::Write, Scope::Url(place), Mode::Hard, Some(1));
    }

    fn tell(&self, cause: Cause, scope: Scope, mode: Mode, matched: Option<u64>) {
        let event = PurgeEvent {
            cause,
            scope,
            mode,
            matched,
            at: clock::wall(),
        };
        // Nobody may be listening.
        let _ = self.engine.purges.send(Arc::new(event));
    }
}
