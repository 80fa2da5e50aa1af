//! Where the figures come from: the admin listener of the running proxy, asked by a thread of its own, so that a proxy that
//! does not answer keeps nobody from leaving.

use std::path::Path;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use http::{Method, StatusCode};
use tokio::signal::unix::{SignalKind, signal};

use crate::admin::settings::AdminSettings;
use crate::admin::stats::Stats;
use crate::cli::client::{self, Place};
use crate::cli::error::CliError;
use crate::cli::settings;

/// A proxy that takes longer than this does not answer.
const WITHIN: Duration = Duration::from_secs(5);

/// Whom to ask.
#[derive(Debug)]
pub(super) struct Source {
    place: Place,
    token: Option<String>,
}

/// What there is to be shown next.
#[derive(Debug)]
pub(super) enum Latest {
    Stats(Box<Stats>),
    Trouble(String),
    /// A signal came.
    End,
}

/// What comes, as it comes.
#[derive(Debug)]
pub(super) struct News {
    inbox: Receiver<Latest>,
    /// Dropped with this: then the thread that asks ends.
    _asking: Sender<()>,
}

impl News {
    /// What came since, if anything did.
    pub(super) fn latest(&self) -> Option<Latest> {
        self.inbox.try_recv().ok()
    }
}

impl Source {
    /// The admin listener that the configuration names.
    pub(super) fn new(config: Option<&Path>) -> Result<Self, CliError> {
        let admin: AdminSettings = settings::admin(config)?;
        Ok(Self {
            place: Place::of(&admin)?,
            token: admin.token,
        })
    }

    /// One document, as it came.
    pub(super) fn ask_raw(&self) -> Result<String, CliError> {
        let token = self.token.as_deref();
        let answer = client::call(Method::GET, &self.place, "/stats", token, WITHIN)?;
        let text = String::from_utf8_lossy(&answer.body);
        if answer.status != StatusCode::OK {
            let status = answer.status.as_u16();
            let text = format!("{}/stats answered {status}\n{text}", self.place);
            return Err(CliError::Refused(text));
        }
        Ok(text.trim_end().to_owned())
    }

    /// One document.
    pub(super) fn ask(&self) -> Result<Stats, CliError> {
        let text = self.ask_raw()?;
        serde_json::from_str(&text).map_err(|error| {
            let place = &self.place;
            CliError::Refused(format!(
                "the answer of {place}/stats is not understood: {error}; is it the same version?"
            ))
        })
    }

    /// Asks every `interval` from now on.
    pub(super) fn watch(self, interval: Duration) -> News {
        let (outbox, inbox) = mpsc::channel();
        let (asking, wanted) = mpsc::channel();
        end_with_a_signal(outbox.clone());
        thread::spawn(move || {
            loop {
                let latest = match self.ask() {
                    Ok(stats) => Latest::Stats(Box::new(stats)),
                    Err(error) => Latest::Trouble(error.to_string()),
                };
                let told = outbox.send(latest);
                let pause = wanted.recv_timeout(interval);
                if told.is_err() || pause == Err(RecvTimeoutError::Disconnected) {
                    return;
                }
            }
        });
        News {
            inbox,
            _asking: asking,
        }
    }
}

/// Waits. A signal ends the program meanwhile, as it does any other that has nothing to put back.
pub(super) fn wait(pause: Duration) {
    // Nothing is ever sent: what is waited for is the time.
    let (_sender, never) = mpsc::channel::<()>();
    let _ = never.recv_timeout(pause);
}

/// Tells `outbox` when this program is told to end. Signals are caught from here on: whoever has a terminal to give back calls
/// this before it takes it.
fn end_with_a_signal(outbox: Sender<Latest>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    // Where the system gives no way to know, a signal ends the program without more ado.
    let Ok(runtime) = runtime else { return };
    let mut signals: Vec<_> = {
        let _within = runtime.enter();
        let kinds = [
            SignalKind::terminate(),
            SignalKind::hangup(),
            SignalKind::interrupt(),
        ];
        kinds.into_iter().flat_map(signal).collect()
    };
    thread::spawn(move || {
        let each: Vec<_> = signals
            .iter_mut()
            .map(|signal| Box::pin(signal.recv()))
            .collect();
        if !each.is_empty() {
            runtime.block_on(futures::future::select_all(each));
            let _ = outbox.send(Latest::End);
        }
    });
}
