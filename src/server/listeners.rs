//! The listeners: bound or inherited at start, added, changed and closed by a reload, handed over in an upgrade.

use super::handover::{Inherited, Place, Sockets};
use super::start::RunError;
use super::threads::{Accept, Threads};
use crate::listen::accept::{Listener, Speech, Stop};
use crate::listen::settings::ListenSettings;
use crate::listen::socket;
use crate::telemetry::metrics::HttpMetrics;
use crate::tls::{Acceptor, TlsError};
use arc_swap::ArcSwap;
use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};

/// One `[[listen]]` at work.
#[derive(Debug)]
pub struct Bound {
    /// As configured.
    pub settings: ListenSettings,
    /// The address it really has, where port 0 was asked for.
    pub addr: SocketAddr,
    /// What accept loops see of it.
    pub listener: Arc<Listener>,
    /// The same sockets as the accept loops', to hand over.
    sockets: Vec<TcpListener>,
    stop: watch::Sender<Stop>,
}

/// One whose accept loops were told to end: what waits in its queue is still served, and its address still taken.
#[derive(Debug)]
pub struct Closing {
    /// As configured.
    pub addr: SocketAddr,
    stop: watch::Sender<Stop>,
}

impl Closing {
    /// Whether its sockets are closed.
    pub fn is_closed(&self) -> bool {
        self.stop.is_closed()
    }

    /// Resolves when they are.
    pub async fn closed(&self) {
        self.stop.closed().await;
    }
}

/// All of them.
#[derive(Debug, Default)]
pub struct Listeners {
    /// In the order of the configuration.
    pub bound: Vec<Bound>,
}

/// Ends when every accept loop that holds its other end is over.
pub type Running = mpsc::Receiver<Infallible>;

impl Bound {
    /// Binds what the settings say, or takes the sockets that a predecessor gave; nobody accepts yet.
    ///
    /// # Errors
    /// [`RunError::Bind`], or [`RunError::Config`] for certificates that cannot be used.
    pub fn new(
        settings: &ListenSettings,
        threads: usize,
        inherited: Vec<OwnedFd>,
        metrics: &HttpMetrics,
    ) -> Result<Self, RunError> {
        let bind_error = |source| RunError::Bind {
            address: settings.addr.to_string(),
            source,
        };
        let speech = speech(settings, None)?;
        let sockets = if inherited.is_empty() {
            socket::bind(settings.addr, threads).map_err(bind_error)?
        } else {
            adopt(inherited, threads).map_err(bind_error)?
        };
        let addr = sockets
            .first()
            .map_or(Ok(settings.addr), TcpListener::local_addr)
            .map_err(bind_error)?;
        let name = addr.to_string();
        let listener = Listener {
            metrics: metrics.listener(&name),
            name: name.into(),
            speech: ArcSwap::from_pointee(speech),
        };
        let stop = watch::Sender::new(Stop::Run);
        Ok(Self {
            settings: settings.clone(),
            addr,
            listener: Arc::new(listener),
            sockets,
            stop,
        })
    }

    /// Starts accepting.
    ///
    /// # Errors
    /// When a socket cannot be duplicated.
    pub fn accept(
        &self,
        threads: &Threads,
        running: &mpsc::Sender<Infallible>,
    ) -> Result<(), RunError> {
        let accepts = self.sockets.iter().map(|socket| {
            Ok(Accept {
                socket: socket.try_clone()?,
                listener: self.listener.clone(),
                stop: self.stop.subscribe(),
                running: running.clone(),
            })
        });
        let accepts: Vec<_> =
            accepts
                .collect::<io::Result<_>>()
                .map_err(|source| RunError::Runtime {
                    attempt: "duplicate a listening socket",
                    source,
                })?;
        threads.accept(accepts);
        Ok(())
    }

    /// Ends its accept loops.
    pub fn stop(self, how: Stop) -> Closing {
        // Ours go first: a socket closes with its last descriptor, and the accept loop's should be that.
        drop(self.sockets);
        self.stop.send_replace(how);
        Closing {
            addr: self.settings.addr,
            stop: self.stop,
        }
    }

    /// The acceptor, for renewal.
    pub fn acceptor(&self) -> Option<Arc<Acceptor>> {
        self.listener.speech.load().tls.clone()
    }
}

/// What is spoken where `settings` apply. An acceptor that serves the same files is kept, and reads them again.
///
/// # Errors
/// [`RunError::Config`] for certificates that cannot be used.
pub fn speech(settings: &ListenSettings, before: Option<&Bound>) -> Result<Speech, RunError> {
    let acceptor = before.and_then(Bound::acceptor);
    let unusable = |error: &TlsError| {
        let listener = settings.addr;
        RunError::Config(format!("listener {listener}: {error}"))
    };
    let tls = match (&settings.tls, acceptor) {
        (None, _) => None,
        (Some(tls), Some(acceptor)) if acceptor.is_for(tls, settings.http2) => {
            // A pair that whoever watches the files has found bad before is told once, and is bad still.
            Acceptor::load(tls, settings.http2).map_err(|error| unusable(&error))?;
            if let Some(error) = acceptor.reload().kept.first() {
                return Err(unusable(error));
            }
            Some(acceptor)
        }
        (Some(tls), _) => {
            let acceptor = Acceptor::load(tls, settings.http2).map_err(|error| unusable(&error))?;
            Some(Arc::new(acceptor))
        }
    };
    Ok(Speech {
        tls,
        proxy_protocol: settings.proxy_protocol,
        http2: settings.http2,
    })
}

/// Makes listeners of a predecessor's sockets, with one at least for each thread: the kernel goes on spreading
/// connections over all of them, so none may be left alone.
fn adopt(inherited: Vec<OwnedFd>, threads: usize) -> io::Result<Vec<TcpListener>> {
    let mut sockets: Vec<TcpListener> = inherited.into_iter().map(TcpListener::from).collect();
    let own = sockets.len();
    for missing in own..threads {
        let shared = sockets[missing % own].try_clone()?;
        sockets.push(shared);
    }
    sockets
        .iter()
        .try_for_each(|socket| socket.set_nonblocking(true))?;
    Ok(sockets)
}

impl Listeners {
    /// Binds all, each as far as possible from what `inherited` holds.
    ///
    /// # Errors
    /// As [`Bound::new`]; what was bound by then is closed again.
    pub fn bind(
        settings: &[ListenSettings],
        threads: usize,
        inherited: &mut Option<Inherited>,
        metrics: &HttpMetrics,
    ) -> Result<Self, RunError> {
        let bound = settings.iter().map(|settings| {
            let inherited = inherited
                .as_mut()
                .map(|inherited| inherited.sockets(&Place::from(settings.addr)));
            Bound::new(settings, threads, inherited.unwrap_or_default(), metrics)
        });
        Ok(Self {
            bound: bound.collect::<Result<_, _>>()?,
        })
    }

    /// Duplicates of every socket, to give to a successor.
    ///
    /// # Errors
    /// When a socket cannot be duplicated.
    pub fn duplicate(&self) -> io::Result<Sockets> {
        self.bound
            .iter()
            .map(|bound| {
                let duplicates = bound
                    .sockets
                    .iter()
                    .map(|socket| Ok(OwnedFd::from(socket.try_clone()?)));
                Ok((
                    Place::from(bound.settings.addr),
                    duplicates.collect::<io::Result<_>>()?,
                ))
            })
            .collect()
    }

    /// Ends all accept loops.
    pub fn stop(&mut self, how: Stop) {
        for bound in self.bound.drain(..) {
            let _closing = bound.stop(how);
        }
    }

    /// The acceptors of all TLS listeners.
    pub fn acceptors(&self) -> Vec<Arc<Acceptor>> {
        self.bound.iter().filter_map(Bound::acceptor).collect()
    }
}
