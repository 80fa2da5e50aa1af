//! Looks whether addresses that refused a connect are back, and keeps the hold's ramp moving.
//!
//! One task per upstream. It sleeps while all is well; a connect failure or a request that has to wait rings for it.
//! Then it looks every [`STEP`] while requests are held, and every second otherwise. It is what makes "woken by the
//! event" true for a server that gives no event of its own: a listening socket cannot be subscribed to.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::clock::{self, Instant};
use crate::upstream::Upstream;
use crate::upstream::address::{Address, Socket, Standing};
use crate::upstream::connect::{Dial, plain};
use crate::upstream::discovery;
use crate::upstream::hold::STEP;

/// Between two looks at an address that is down, while no request waits for it.
const AT_LEISURE: Duration = Duration::from_secs(1);

/// A probe that has not connected by then will not help those who wait.
const PROBE_MAX: Duration = Duration::from_secs(1);

/// How soon the next look is due.
enum Pace {
    /// Not before the bell rings.
    Asleep,
    /// Somebody is down, nobody waits.
    Leisurely,
    /// Requests wait.
    Hurried,
}

/// Looks after one upstream until it is gone.
pub(in crate::upstream) async fn run(
    upstream: Weak<Upstream>,
    bell: Arc<Notify>,
    dialer: Arc<dyn Dial>,
) {
    let mut prober = Prober {
        dialer,
        probes: JoinSet::new(),
        probed: HashMap::new(),
        asked: None,
    };
    loop {
        let pace = match upstream.upgrade() {
            Some(upstream) => prober.look(&upstream),
            None => return,
        };
        match pace {
            Pace::Asleep => bell.notified().await,
            Pace::Hurried => tokio::time::sleep(STEP).await,
            Pace::Leisurely => tokio::select! {
                () = bell.notified() => {}
                () = tokio::time::sleep(AT_LEISURE) => {}
            },
        }
    }
}

struct Prober {
    dialer: Arc<dyn Dial>,
    /// Probes under way; they end with the task.
    probes: JoinSet<Socket>,
    /// By socket: when it was last probed, and whether that probe is under way.
    probed: HashMap<Socket, (Instant, bool)>,
    /// When the names were last looked up on our asking.
    asked: Option<Instant>,
}

impl Prober {
    fn look(&mut self, upstream: &Arc<Upstream>) -> Pace {
        let now = clock::now();
        let hurried = upstream.hold.is_busy();
        self.collect();
        let members = upstream.pool.members();
        let is_down = |address: &&Arc<Address>| address.standing(now) == Standing::Down;
        let down: Vec<_> = members.iter().filter(is_down).cloned().collect();
        let known = |socket: &Socket| down.iter().any(|address| address.socket == *socket);
        self.probed
            .retain(|socket, (_, open)| *open || known(socket));
        let apart = if hurried { STEP } else { AT_LEISURE };
        for address in &down {
            self.probe(upstream, address, apart, now);
        }
        if hurried || !upstream.hold.is_clear() {
            let due = self
                .asked
                .is_none_or(|asked| now.duration_since(asked) >= discovery::APART);
            if due {
                self.asked = Some(now);
                upstream.ask_names();
                upstream.hurry.notify_waiters();
            }
            // A pause may be over, which no event tells.
            upstream.survey();
            upstream.hold.step(|| upstream.pool.nobody(now));
        }
        if upstream.hold.is_busy() {
            Pace::Hurried
        } else if !down.is_empty() || !upstream.hold.is_clear() {
            Pace::Leisurely
        } else {
            Pace::Asleep
        }
    }

    fn probe(
        &mut self,
        upstream: &Arc<Upstream>,
        address: &Arc<Address>,
        apart: Duration,
        now: Instant,
    ) {
        let too_soon = |&(at, open): &(Instant, bool)| open || now.duration_since(at) < apart;
        if self.probed.get(&address.socket).is_some_and(too_soon) {
            return;
        }
        self.probed.insert(address.socket.clone(), (now, true));
        let limit = upstream.settings.timeouts.connect.min(PROBE_MAX);
        let (upstream, address) = (Arc::downgrade(upstream), Arc::clone(address));
        let dialer = Arc::clone(&self.dialer);
        self.probes.spawn(async move {
            let outcome = tokio::time::timeout(limit, dialer.dial(&address.socket)).await;
            if let Some(upstream) = upstream.upgrade() {
                match outcome {
                    Ok(Ok(_connection)) => upstream.reached(&address),
                    Ok(Err(error)) => upstream.not_reached(&address, &plain(&error)),
                    Err(_) => upstream.not_reached(&address, "connect timed out"),
                }
            }
            address.socket.clone()
        });
    }

    /// Takes note of the probes that have ended.
    fn collect(&mut self) {
        while let Some(ended) = self.probes.try_join_next() {
            if let Ok(socket) = ended
                && let Some((_, open)) = self.probed.get_mut(&socket)
            {
                *open = false;
            }
        }
    }
}
