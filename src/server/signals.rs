//! What the process's signals ask of the server.

use std::io;

use tokio::signal::unix::{self, SignalKind};

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGHUP: read the configuration again.
    Reload,
    /// The first SIGTERM or SIGINT: stop accepting, let requests end, exit within the grace.
    Drain,
    /// A further SIGTERM or SIGINT: exit at once.
    Now,
    /// SIGQUIT: start the new binary, hand it the listening sockets, drain.
    Upgrade,
    /// SIGUSR1: open the log files again.
    ReopenLogs,
}

/// The stream of signals. From its creation on none of them has its default effect, which for most is sudden
/// death; as process 1 of a container this is also what makes SIGTERM work at all.
#[derive(Debug)]
pub struct Signals {
    hup: unix::Signal,
    term: unix::Signal,
    int: unix::Signal,
    quit: unix::Signal,
    usr1: unix::Signal,
    stopping: bool,
}

impl Signals {
    /// Takes the signals over. Called within the control runtime.
    ///
    /// # Errors
    /// When the system refuses a handler.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            hup: unix::signal(SignalKind::hangup())?,
            term: unix::signal(SignalKind::terminate())?,
            int: unix::signal(SignalKind::interrupt())?,
            quit: unix::signal(SignalKind::quit())?,
            usr1: unix::signal(SignalKind::user_defined1())?,
            stopping: false,
        })
    }

    /// Waits for the next signal. Cancel-safe. Equal signals that arrive before they are asked for count once.
    pub async fn next(&mut self) -> Signal {
        // Most urgent first: when several are waiting, stopping must not queue behind a reload.
        tokio::select! {
            biased;
            _ = self.term.recv() => self.stop(),
            _ = self.int.recv() => self.stop(),
            _ = self.quit.recv() => Signal::Upgrade,
            _ = self.hup.recv() => Signal::Reload,
            _ = self.usr1.recv() => Signal::ReopenLogs,
        }
    }

    fn stop(&mut self) -> Signal {
        if std::mem::replace(&mut self.stopping, true) {
            Signal::Now
        } else {
            Signal::Drain
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{Signal as Raw, getpid, kill_process};

    /// One test for all: signals belong to the process, and two tests would receive each other's.
    #[tokio::test]
    async fn each_signal_asks_for_one_thing() {
        let mut signals = Signals::listen().expect("handlers can be installed");
        for (raw, asks) in [
            (Raw::HUP, Signal::Reload),
            (Raw::USR1, Signal::ReopenLogs),
            (Raw::QUIT, Signal::Upgrade),
            (Raw::INT, Signal::Drain),
            (Raw::HUP, Signal::Reload),
            (Raw::TERM, Signal::Now),
            (Raw::INT, Signal::Now),
        ] {
            kill_process(getpid(), raw).expect("a process may signal itself");
            assert_eq!(signals.next().await, asks, "{raw:?}");
        }
    }
}
