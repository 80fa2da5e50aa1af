//! The end of the process: nothing new is accepted, what was begun is finished, all within the grace.

use super::control::Served;
use super::listeners::Running;
use super::signals::{Signal, Signals};
use super::start::RunError;
use crate::clock;
use std::time::Duration;

/// Kept of the grace for what is left when requests are not held any longer: their 503s, and the log.
const RESERVE: Duration = Duration::from_secs(1);
/// A second signal within this is the echo of the first.
const ECHO: Duration = Duration::from_millis(500);
/// How long the access log may take to be written out.
const LOG_PATIENCE: Duration = Duration::from_millis(500);

/// Lets connections end. The accept loops have been told to stop.
///
/// # Errors
/// [`RunError::Forced`] when a second signal came.
pub async fn drain(
    served: &Served,
    running: &mut Running,
    signals: &mut Signals,
) -> Result<(), RunError> {
    let grace = {
        let mut state = served.state.lock().await;
        state.certificates = None;
        state.settings.server.shutdown_grace
    };
    let begun = clock::now();
    let lifecycle = served.shared.lifecycle.clone();
    lifecycle.begin_drain();
    tracing::info!(
        "draining: {} connections, at most {grace:?}",
        lifecycle.connections()
    );
    let emptied = async {
        // Queues are emptied before connections are counted.
        served.state.lock().await.close_accepting();
        while running.recv().await.is_some() {}
        lifecycle.emptied().await;
    };
    tokio::pin!(emptied);
    let reserve = RESERVE.min(grace / 2);
    let mut holding = true;
    loop {
        tokio::select! {
            () = &mut emptied => {
                tracing::info!("drained in {:?}", clock::now() - begun);
                break;
            }
            () = tokio::time::sleep_until(begun + grace - reserve), if holding => {
                holding = false;
                served.site.load().upstreams.drain();
            }
            () = tokio::time::sleep_until(begun + grace) => {
                tracing::warn!("the grace is over: {} connections are cut", lifecycle.connections());
                break;
            }
            signal = signals.next() => {
                // `timeout` and some supervisors signal the process and its group: that is one wish, said twice.
                let repeated = clock::now() - begun < ECHO;
                if matches!(signal, Signal::Drain | Signal::Now) && !repeated {
                    return at_once(served);
                }
            }
        }
    }
    served.shared.access_log.flush(LOG_PATIENCE);
    Ok(())
}

/// Ends without waiting for anybody.
///
/// # Errors
/// Always [`RunError::Forced`].
pub fn at_once(served: &Served) -> Result<(), RunError> {
    let connections = served.shared.lifecycle.connections();
    served.shared.access_log.flush(LOG_PATIENCE);
    Err(RunError::Forced { connections })
}
