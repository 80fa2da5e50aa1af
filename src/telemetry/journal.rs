//! The last things that were done to the running proxy: purges and reloads, for whoever wants to know what happened just now.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

/// Events that are remembered.
const EVENTS: usize = 50;
/// Characters of a text that are remembered: a purge may name many tags.
const TEXT_MAX: usize = 200;

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Stored responses were purged.
    Purge,
    /// The configuration was read again.
    Reload,
}

impl Kind {
    /// The word in views.
    pub fn word(self) -> &'static str {
        match self {
            Self::Purge => "purge",
            Self::Reload => "reload",
        }
    }
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When, in seconds of Unix time.
    pub at: u64,
    /// What.
    pub kind: Kind,
    /// Whether it was done. A reload may be refused.
    pub ok: bool,
    /// About what, in a line.
    pub text: String,
}

impl Event {
    /// One of now or then.
    pub fn new(at: SystemTime, kind: Kind, ok: bool, text: &str) -> Self {
        let mut line = String::new();
        let words = text
            .chars()
            .map(|it| if it.is_control() { ' ' } else { it });
        for (at, character) in words.enumerate() {
            if at == TEXT_MAX {
                line.push('…');
                break;
            }
            line.push(character);
        }
        Self {
            at: at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
            kind,
            ok,
            text: line,
        }
    }
}

/// The last events; clones share them.
#[derive(Debug, Clone, Default)]
pub struct Journal {
    /// Held for a push or a copy.
    events: Arc<Mutex<VecDeque<Event>>>,
}

impl Journal {
    /// Adds one, and forgets the oldest where there are too many.
    pub fn add(&self, event: Event) {
        let mut events = self.events.lock();
        if events.len() == EVENTS {
            events.pop_back();
        }
        events.push_front(event);
    }

    /// All that are remembered, the newest first.
    pub fn events(&self) -> Vec<Event> {
        self.events.lock().iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_newest_are_kept() {
        let journal = Journal::default();
        for n in 0..2 * EVENTS as u64 {
            let at = UNIX_EPOCH + Duration::from_secs(n);
            journal.add(Event::new(at, Kind::Purge, true, "tag:a"));
        }
        let at: Vec<u64> = journal.events().iter().map(|event| event.at).collect();
        let newest: Vec<u64> = (50..100).rev().collect();
        assert_eq!(at, newest);
    }

    #[test]
    fn a_text_is_one_line_of_bounded_length() {
        for (text, kept) in [
            ("a\nb\tc\u{1b}[31m", "a b c [31m".to_owned()),
            (&"ä".repeat(200), "ä".repeat(200)),
            (&"ä".repeat(5_000), format!("{}…", "ä".repeat(200))),
        ] {
            let event = Event::new(UNIX_EPOCH, Kind::Reload, false, text);
            assert_eq!(event.text, kept);
        }
    }
}
