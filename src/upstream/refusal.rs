//! Why a request gets no server, and what its client is told.

use std::time::Duration;

use http::StatusCode;

use super::pool::Nobody;
use super::queue::QueueRefusal;

/// Why a request gets no server. All of them happen before anything of this try was sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nobody is available, and requests are not held (`hold = "0s"`).
    #[error("nobody answers: {0}")]
    Nobody(Nobody),
    /// Nobody was available for as long as the request may wait.
    #[error("nobody answered while the request was held: {0}")]
    HoldExpired(Nobody),
    /// `hold_max` requests are held already.
    #[error("too many requests are held")]
    HoldFull,
    /// `queue_max` requests queue already.
    #[error("too many requests are queued")]
    QueueFull,
    /// The request queued for `queue_timeout`.
    #[error("no place became free in time")]
    QueueTimeout,
    /// Its tries are used up: servers broke its connections, and are still there.
    #[error("the servers broke the connection in every try")]
    Broken,
    /// The process is ending, and will not wait for a server to come back.
    #[error("the proxy is shutting down and nobody answers")]
    Draining,
}

impl Refusal {
    /// The word in the access log and metrics.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Nobody(_) => "nobody",
            Self::HoldExpired(_) => "hold_expired",
            Self::HoldFull => "hold_full",
            Self::QueueFull => "queue_full",
            Self::QueueTimeout => "queue_timeout",
            Self::Broken => "upstream-reset",
            Self::Draining => "draining",
        }
    }

    /// The status for the client: 503 where it may help to come back, and 502 where nobody is waited for.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Nobody(_) | Self::Broken => StatusCode::BAD_GATEWAY,
            Self::HoldExpired(_)
            | Self::HoldFull
            | Self::QueueFull
            | Self::QueueTimeout
            | Self::Draining => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// For `Retry-After` (RFC 9110 §10.2.3), with a 503.
    pub fn retry_after(&self) -> Option<Duration> {
        (self.status() == StatusCode::SERVICE_UNAVAILABLE).then_some(Duration::from_secs(1))
    }
}

impl From<QueueRefusal> for Refusal {
    fn from(refusal: QueueRefusal) -> Self {
        match refusal {
            QueueRefusal::Full => Self::QueueFull,
            QueueRefusal::TimedOut => Self::QueueTimeout,
        }
    }
}
