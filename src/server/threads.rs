//! The data threads: each a runtime of its own with its accept loops, connections and upstream pool.

use super::start::RunError;
use crate::express::Lane;
use crate::listen::Shared;
use crate::listen::accept::{self, Listener, Stop};
use crate::proxy::probe::Probe;
use crate::proxy::{Proxy, Site};
use arc_swap::ArcSwap;
use std::convert::Infallible;
use std::net::TcpListener;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};

/// What a data thread is told.
#[derive(Debug)]
pub struct Accept {
    /// The socket to accept on.
    pub socket: TcpListener,
    /// The listener it belongs to.
    pub listener: Arc<Listener>,
    /// When to stop.
    pub stop: watch::Receiver<Stop>,
    /// Dropped when the accept loop is over.
    pub running: mpsc::Sender<Infallible>,
}

/// All data threads.
#[derive(Debug)]
pub struct Threads {
    commands: Vec<mpsc::UnboundedSender<Accept>>,
    probes: mpsc::Sender<Probe>,
}

/// Probes that may wait for their thread.
const PROBES: usize = 16;

impl Threads {
    /// Starts `count` threads.
    ///
    /// # Errors
    /// When the system gives no thread or no reactor.
    pub fn start(
        count: usize,
        shared: &Arc<Shared>,
        site: &Arc<ArcSwap<Site>>,
    ) -> Result<Self, RunError> {
        let (probes, probes_inbox) = mpsc::channel(PROBES);
        // The first thread takes them.
        let mut inbox = Some(probes_inbox);
        let commands = (0..count.max(1))
            .map(|index| start_one(index, shared.clone(), site.clone(), inbox.take()));
        Ok(Self {
            commands: commands.collect::<Result<_, _>>()?,
            probes,
        })
    }

    /// Where requests are asked for that an operator wants to see made.
    pub fn probes(&self) -> &mpsc::Sender<Probe> {
        &self.probes
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.commands.len()
    }

    /// Spreads sockets over the threads, one after the other.
    pub fn accept(&self, sockets: impl IntoIterator<Item = Accept>) {
        for (accept, thread) in sockets.into_iter().zip(self.commands.iter().cycle()) {
            // A thread ends only with the process; then nobody accepts anyway.
            let _ = thread.send(accept);
        }
    }
}

fn start_one(
    index: usize,
    shared: Arc<Shared>,
    site: Arc<ArcSwap<Site>>,
    probes: Option<mpsc::Receiver<Probe>>,
) -> Result<mpsc::UnboundedSender<Accept>, RunError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| RunError::Runtime {
            attempt: "start a reactor",
            source,
        })?;
    let (commands, mut inbox) = mpsc::unbounded_channel::<Accept>();
    let data_thread = move || {
        runtime.block_on(async {
            let proxy = Proxy::new(site.clone());
            let lane = Lane::new(site, proxy.clone());
            if index == 0 {
                let (proxy, lifecycle) = (proxy.clone(), shared.lifecycle.clone());
                tokio::spawn(async move { proxy.refresh(lifecycle).await });
            }
            if let Some(probes) = probes {
                let proxy = proxy.clone();
                tokio::spawn(async move { proxy.probe(probes).await });
            }
            while let Some(Accept {
                socket,
                listener,
                stop,
                running,
            }) = inbox.recv().await
            {
                let (shared, lane) = (shared.clone(), lane.clone());
                tokio::spawn(async move {
                    let name = listener.name.clone();
                    if let Err(error) = accept::run(socket, listener, shared, lane, stop).await {
                        tracing::error!("cannot accept on {name}: {error}");
                    }
                    drop(running);
                });
            }
        });
    };
    std::thread::Builder::new()
        .name(format!("data-{index}"))
        .spawn(data_thread)
        .map_err(|source| RunError::Runtime {
            attempt: "start a data thread",
            source,
        })?;
    Ok(commands)
}
