//! The only source of time: monotonic instants for durations, wall time for what people and other machines read.

use std::time::SystemTime;

/// A monotonic instant. Tokio's, so that a test that pauses Tokio's time moves every room's time with it.
pub use tokio::time::Instant;

/// The monotonic time of now.
#[expect(clippy::disallowed_methods, reason = "this is the one lawful place")]
pub fn now() -> Instant {
    Instant::now()
}

/// The wall time of now. For logs, `Date` and certificates; never subtract two of them to measure a duration.
#[expect(clippy::disallowed_methods, reason = "this is the one lawful place")]
pub fn wall() -> SystemTime {
    SystemTime::now()
}
