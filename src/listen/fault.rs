//! Why a connection was ended, or one of its requests refused, for what its client did or did not show: counted, and told in the
//! program's log once a minute.
//!
//! The h2 crate says no more than the code of the GOAWAY that it has sent, so that is what the words tell apart. None of this has a
//! line in the access log: requests that were under way have their own.

use super::Shared;
use super::stream::Client;
use crate::clock::{self, Instant};
use h2::Reason;
use parking_lot::Mutex;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// Between two lines of the program's log that say so.
const TOLD_EVERY: Duration = Duration::from_secs(60);

/// A reason to end a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// The word for metric and log.
    pub word: &'static str,
    /// What the client has done.
    pub sentence: &'static str,
}

/// More malformed requests and resets than are forgiven.
pub const SPENT: Fault = Fault {
    word: "http2-faults",
    sentence: "its malformed requests, its resets and the answers that it did not take were more than `http2_faults` forgives",
};

const FLOOD: Fault = Fault {
    word: "http2-flood",
    sentence: "frames that bring nothing came faster than they are worth: resets, CONTINUATION, empty DATA; or a head was far too large",
};

const FLOW_CONTROL: Fault = Fault {
    word: "http2-flow-control",
    sentence: "it sent more than its window allowed, or opened a window beyond what there can be",
};

const FRAME_SIZE: Fault = Fault {
    word: "http2-frame-size",
    sentence: "a frame is larger than was agreed",
};

const PROTOCOL: Fault = Fault {
    word: "http2-protocol",
    sentence: "frames are malformed, or come where they must not",
};

/// All of them.
pub const ALL: &[Fault] = &[SPENT, FLOOD, FLOW_CONTROL, FRAME_SIZE, PROTOCOL];

impl Fault {
    /// What the h2 crate has ended the connection for; `None` where the client left, or said itself that it ends.
    pub(super) fn of(error: &h2::Error) -> Option<Self> {
        if !error.is_library() {
            return None;
        }
        Some(match error.reason()? {
            Reason::NO_ERROR => return None,
            // The latter of a head that goes on where nothing of it is kept any more.
            Reason::ENHANCE_YOUR_CALM | Reason::COMPRESSION_ERROR => FLOOD,
            Reason::FLOW_CONTROL_ERROR => FLOW_CONTROL,
            Reason::FRAME_SIZE_ERROR => FRAME_SIZE,
            _ => PROTOCOL,
        })
    }
}

/// When the log was last told of something, and how often it has come to that since.
#[derive(Debug, Default)]
pub struct Told(Mutex<Since>);

/// Held to count one, which is not while a line is written.
#[derive(Debug, Default)]
struct Since {
    last: Option<Instant>,
    untold: u64,
}

impl Told {
    /// Once more. Says how often it has been since the log was told, where it is time to tell it again.
    fn one_more(&self, now: Instant) -> Option<u64> {
        let mut since = self.0.lock();
        since.untold += 1;
        let is_early = |last| now.saturating_duration_since(last) < TOLD_EVERY;
        if since.last.is_some_and(is_early) {
            return None;
        }
        since.last = Some(now);
        Some(std::mem::take(&mut since.untold))
    }
}

/// A connection of this client ends because of it.
pub(super) fn ended(shared: &Shared, client: &Client, fault: Fault) {
    shared.metrics.refused(fault.word);
    if let Some(count) = shared.faults_told.one_more(clock::now()) {
        tracing::warn!(
            "HTTP/2 connections were ended for what their clients did: {count} since it was last said, now one of {}: {} ({})",
            client.addr.ip().to_canonical(),
            fault.sentence,
            fault.word
        );
    }
}

/// The word for a request that is refused since there are too many.
pub const CROWDED: &str = "http2-crowded";

/// A request of this client is refused: its connection has others under way, and so have too many.
pub(super) fn crowded(shared: &Shared, client: &Client) {
    shared.metrics.refused(CROWDED);
    if let Some(count) = shared.crowds_told.one_more(clock::now()) {
        tracing::warn!(
            "HTTP/2 requests were refused: {count} since it was last said, now one of {}: as many are under way as \
             `[limits] connections`, and its connection has one ({CROWDED})",
            client.addr.ip().to_canonical()
        );
    }
}

/// A hand-shake has failed. Where it is for the client's certificate, an operator may have to do something about it.
pub(super) fn hand_shake_failed(
    shared: &Shared,
    listener: &str,
    peer: SocketAddr,
    error: &io::Error,
) {
    let of_certificate = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref())
        .is_some_and(|error| {
            matches!(
                error,
                rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented
            )
        });
    if !of_certificate {
        return;
    }
    if let Some(count) = shared.untrusted_told.one_more(clock::now()) {
        tracing::warn!(
            "clients without a certificate that is trusted were turned away on {listener}: {count} since it was last \
             said, now {}: {error}",
            peer.ip().to_canonical()
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_log_is_told_once_a_minute_of_all() {
        let told = Told::default();
        let now = clock::now();
        assert_eq!(told.one_more(now), Some(1));
        for _ in 0..3 {
            assert_eq!(told.one_more(now + TOLD_EVERY / 2), None);
        }
        assert_eq!(told.one_more(now + TOLD_EVERY), Some(4));
        assert_eq!(told.one_more(now + TOLD_EVERY), None);
    }
}
