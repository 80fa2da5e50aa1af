//! The part of a request body that is kept, so that a try that failed can be repeated with the same bytes.

use bytes::{Bytes, BytesMut};

/// Keeps a body up to a limit; beyond it nothing can be repeated, and what was kept is given up.
#[derive(Debug, Default)]
pub struct Replay {
    kept: BytesMut,
    enabled: bool,
    truncated: bool,
}

impl Replay {
    /// Starts keeping. Calling it again changes nothing.
    pub fn enable(&mut self) {
        self.enabled = true;
    }

    /// Notes what was read from the client.
    pub fn note(&mut self, data: &[u8], limit: usize) {
        if !self.enabled || self.truncated {
            return;
        }
        if self.kept.len() + data.len() > limit {
            self.truncated = true;
            self.kept = BytesMut::new();
        } else {
            self.kept.extend_from_slice(data);
        }
    }

    /// Whether more was read than is kept.
    pub fn is_truncated(&self) -> bool {
        self.truncated
    }

    /// What a new try has to send first; `None` where there is nothing, or it can no longer be repeated.
    pub fn bytes(&self) -> Option<Bytes> {
        if self.kept.is_empty() || self.truncated {
            return None;
        }
        // Freezing and taking back would copy on the next `note`; a try is rare enough that a copy now is simpler.
        Some(Bytes::copy_from_slice(&self.kept))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_until_the_limit_and_then_nothing() {
        let mut replay = Replay::default();
        replay.note(b"not yet", 10);
        assert_eq!(replay.bytes(), None);
        replay.enable();
        replay.note(b"12345", 10);
        replay.note(b"67890", 10);
        assert_eq!(replay.bytes().as_deref(), Some(b"1234567890".as_slice()));
        assert!(!replay.is_truncated());
        replay.note(b"x", 10);
        assert!(replay.is_truncated());
        assert_eq!(replay.bytes(), None);
    }
}
