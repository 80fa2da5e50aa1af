//! What a scenario waits for: a gate that a test opens, and a bound on every wait that names what was waited for.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

/// No event of a healthy run takes this long, even on a machine that is busy with other things.
pub const PATIENCE: Duration = Duration::from_secs(40);

/// Waits for `event`; panics, naming `what` was waited for, when it does not come.
pub async fn within<T>(what: &str, event: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, event)
        .await
        .unwrap_or_else(|_| panic!("waited {}s for {what}", PATIENCE.as_secs()))
}

/// A gate that holds whoever comes until it is opened, for one or for all.
#[derive(Debug, Clone)]
pub struct Gate(Arc<Semaphore>);

/// A closed gate.
pub fn gate() -> Gate {
    Gate(Arc::new(Semaphore::new(0)))
}

impl Gate {
    /// Lets everybody through, now and later.
    pub fn open(&self) {
        self.0.close();
    }

    /// Lets one more through.
    pub fn let_one_through(&self) {
        self.0.add_permits(1);
    }

    /// Waits until let through.
    pub async fn pass(&self) {
        if let Ok(permit) = self.0.acquire().await {
            permit.forget();
        }
    }
}
