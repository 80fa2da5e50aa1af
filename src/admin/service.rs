//! The control plane's HTTP server: accepts, limits what a caller may take, and ends without cutting an answer.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::access::Access;
use super::asked::Desk;
use super::control::Control;
use super::endpoints;
use super::seats::{Answering, Seats};
use super::socket::{Listener, Socket};
use super::stall::Stalling;

/// From the first byte of a head, or the end of the answer before, to the head's end.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// A head's bytes, and what is read ahead, at most.
const BUFFER: usize = 32 * 1024;
/// How long an answer waits for a client to read on: one that does not must not keep a place for ever.
const STALL_TIMEOUT: Duration = Duration::from_secs(60);
/// How long answers in the making may take after the stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause after an accept that failed, for want of descriptors most likely.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves the control plane on `socket` until `stop` comes, then lets answers in the making end. Dropping the
/// future instead cuts no connection, but no more are accepted.
///
/// # Errors
/// When the runtime cannot take the socket.
pub async fn serve(
    socket: Socket,
    access: Access,
    control: Arc<dyn Control>,
    stop: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    let acceptor = Acceptor::new(socket)?;
    let seats = Arc::new(Seats::default());
    let connections = GracefulShutdown::new();
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        // Who has sent a whole request and goes is still somebody who asked.
        .half_close(true)
        .max_buf_size(BUFFER);
    let mut stop = std::pin::pin!(stop);
    let (stopping, stopped) = watch::channel(());
    let desk = Desk::new(control, stopped);
    loop {
        let accepted = tokio::select! {
            () = &mut stop => break,
            accepted = async {
                let stream = acceptor.accept().await?;
                Ok::<_, io::Error>((stream, seats.take().await))
            } => accepted,
        };
        let (stream, seat) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "the admin listener cannot accept");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (access, desk) = (access.clone(), desk.clone());
        let seat = Arc::new(seat);
        let answering = seat.clone();
        let service = service_fn(move |request| {
            let (access, desk) = (access.clone(), desk.clone());
            let busy = answering.busy();
            async move {
                let answer = endpoints::answer(request, &access, &desk).await;
                Ok::<_, Infallible>(answer.map(|body| Answering::new(body, busy)))
            }
        });
        let stream = Stalling::new(stream, STALL_TIMEOUT);
        let connection = http.serve_connection(TokioIo::new(stream), service);
        let connection = connections.watch(connection);
        tokio::spawn(async move {
            tokio::select! {
                // A caller's broken connection is the caller's affair.
                _ = connection => {}
                () = seat.is_needed() => {}
            }
        });
    }
    drop((acceptor, stopping));
    if timeout(STOP_TIMEOUT, connections.shutdown()).await.is_err() {
        tracing::debug!("a connection of the admin listener outlived it");
    }
    Ok(())
}

/// A connection of either kind.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// The listener in the runtime's hands.
enum Acceptor {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Acceptor {
    fn new(socket: Socket) -> io::Result<Self> {
        Ok(match socket.listener {
            Listener::Tcp(listener) => Self::Tcp(TcpListener::from_std(listener)?),
            Listener::Unix(listener) => Self::Unix(UnixListener::from_std(listener)?),
        })
    }

    async fn accept(&self) -> io::Result<Box<dyn Stream>> {
        Ok(match self {
            Self::Tcp(listener) => Box::new(listener.accept().await?.0),
            Self::Unix(listener) => Box::new(listener.accept().await?.0),
        })
    }
}

#[cfg(test)]
#[path = "service_tests.rs"]
mod tests;
