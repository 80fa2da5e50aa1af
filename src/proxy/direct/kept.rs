//! Idle connections to HTTP/1.1 servers that one data thread keeps for its next requests.
//!
//! A connection is taken by the thread that made it: its socket is registered with that thread's reactor. What was used last
//! is taken first, so that a load that falls lets the rest expire. Over TLS it serves whom it was made for: who trusts the same
//! authorities, shows the same certificate and asks for the same name.

use super::connection::Connection;
use crate::clock::{self, Instant};
use crate::upstream::address::Socket;
use crate::upstream::trust::Secured;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// Idle connections to all servers that one thread keeps.
const IDLE_MAX: usize = 512;
/// Between two looks at what is idle; a look is a system call for each connection.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The connections. Dropped with the proxy they belong to.
#[derive(Debug, Default)]
pub struct Kept {
    /// Held for a push or a pop, and while the reaper looks around; nothing is waited for meanwhile.
    idle: Mutex<Idle>,
}

#[derive(Debug, Default)]
struct Idle {
    /// By server, the one that was used last at the end.
    by_socket: HashMap<Socket, Vec<Waiting>>,
    count: usize,
    /// Whether a task takes care of what expires.
    reaped: bool,
}

#[derive(Debug)]
struct Waiting {
    connection: Connection,
    until: Instant,
}

impl Kept {
    /// A connection to `socket` that is still good, and was made by the same TLS or by none.
    pub fn take(&self, socket: &Socket, secured: Option<&Secured>) -> Option<Connection> {
        let mut idle = self.idle.lock();
        let Idle {
            by_socket, count, ..
        } = &mut *idle;
        let waiting = by_socket.get_mut(socket)?;
        let now = clock::now();
        let fits = |it: &Waiting| it.connection.secured() == secured;
        while let Some(at) = waiting.iter().rposition(fits) {
            let mut last = waiting.remove(at);
            *count -= 1;
            if last.until > now && last.connection.is_quiet() {
                return Some(last.connection);
            }
        }
        None
    }

    /// Keeps a connection for `time`.
    pub fn put(self: &Arc<Self>, socket: &Socket, connection: Connection, time: Duration) {
        if time.is_zero() {
            return;
        }
        let until = clock::now() + time;
        let mut idle = self.idle.lock();
        if idle.count >= IDLE_MAX {
            return;
        }
        idle.count += 1;
        let waiting = Waiting { connection, until };
        if let Some(others) = idle.by_socket.get_mut(socket) {
            others.push(waiting);
        } else {
            idle.by_socket.insert(socket.clone(), vec![waiting]);
        }
        if !idle.reaped {
            idle.reaped = true;
            tokio::spawn(reap(Arc::downgrade(self)));
        }
    }

    /// Closes what has expired, and what its server has closed. Says when to look again, where anything is left.
    fn look(&self) -> Option<Instant> {
        let now = clock::now();
        let mut next = now + LOOK_EVERY;
        let mut count = 0;
        let mut idle = self.idle.lock();
        idle.by_socket.retain(|_, waiting| {
            waiting.retain_mut(|it| it.until > now && it.connection.is_quiet());
            count += waiting.len();
            next = waiting.iter().fold(next, |next, it| next.min(it.until));
            !waiting.is_empty()
        });
        idle.count = count;
        idle.reaped = count > 0;
        idle.reaped.then_some(next)
    }
}

/// Looks after what is kept, for as long as anything is.
async fn reap(kept: Weak<Kept>) {
    let look = || kept.upgrade().and_then(|kept| kept.look());
    while let Some(next) = look() {
        tokio::time::sleep_until(next).await;
    }
}
