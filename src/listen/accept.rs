//! Takes connections from the kernel, and finds out who is there and what they speak.

use super::fault;
use super::gate::refusals;
use super::idle::{Idle, Over};
use super::lifecycle::{CROWDED, Connected};
use super::proxy_protocol::{self, Header, Parsed, V2_BYTES_MAX};
use super::stream::{Client, ClientStream};
use super::tcp::Socket;
use super::{Handler, Shared, http1, http2, socket};
use crate::clock::{self, Instant};
use crate::telemetry::metrics::ListenerMetrics;
use crate::tls::{Acceptor, ClientCertificate};
use arc_swap::ArcSwap;
use bytes::BytesMut;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{timeout, timeout_at};

/// What a client that knows we speak HTTP/2 sends first (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// What the first read of a plain connection takes: a usual request head and more.
const FIRST_READ: usize = 4 * 1024;
/// How long a closing socket still accepts what had begun to connect: a round trip to a distant client.
const HANDSHAKES_LAST: Duration = Duration::from_millis(400);
/// Between two tries to accept when files have run out.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(250);
/// Between two looks at a PROXY protocol header that came in pieces; senders send it in one.
const PROXY_HEADER_PAUSE: Duration = Duration::from_millis(5);

/// What is spoken on a listener. A reload changes it for the connections that follow.
#[derive(Debug)]
pub struct Speech {
    /// TLS, or plain TCP.
    pub tls: Option<Arc<Acceptor>>,
    /// Whether a PROXY protocol header comes first.
    pub proxy_protocol: bool,
    /// Whether HTTP/2 is spoken.
    pub http2: bool,
}

/// A listener as all of its accept loops see it.
#[derive(Debug)]
pub struct Listener {
    /// The address, for logs.
    pub name: Arc<str>,
    /// What is counted.
    pub metrics: ListenerMetrics,
    /// What is spoken.
    pub speech: ArcSwap<Speech>,
}

/// How an accept loop ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Not at all, for now.
    Run,
    /// The socket closes: what waits in its queue is served first.
    Close,
    /// Another process has the socket too, and its queue with it.
    Leave,
}

/// Accepts until told to stop. Must run inside the runtime that is to serve the connections.
///
/// # Errors
/// Where the runtime cannot take the socket.
pub async fn run<H: Handler>(
    socket: std::net::TcpListener,
    listener: Arc<Listener>,
    shared: Arc<Shared>,
    handler: H,
    mut stop: watch::Receiver<Stop>,
) -> io::Result<()> {
    let local = socket.local_addr()?;
    let socket = TcpListener::from_std(socket)?;
    let serve = |tcp: TcpStream, peer: SocketAddr| {
        let counted = shared.lifecycle.connected();
        tokio::spawn(welcome(
            tcp,
            peer,
            local,
            listener.clone(),
            shared.clone(),
            handler.clone(),
            counted,
        ));
    };
    let how = loop {
        let most = shared.limits.load().connections;
        tokio::select! {
            biased;
            how = told_to_stop(&mut stop) => break how,
            accepted = async {
                shared.lifecycle.has_room(most).await;
                socket.accept().await
            } => match accepted {
                Ok((tcp, peer)) => serve(tcp, peer),
                Err(error) if socket::is_exhaustion(&error) => {
                    tracing::warn!("cannot accept on {}: {error}; trying again", listener.name);
                    tokio::time::sleep(EXHAUSTED_PAUSE).await;
                }
                // The client left the queue before its turn.
                Err(_) => {}
            },
        }
    };
    if how == Stop::Close {
        let socket = socket.into_std()?;
        let quiet = socket::quiesce(&socket);
        if let Err(error) = &quiet {
            tracing::warn!(
                "cannot quiet the socket of {}: {error}; a connection may be reset",
                listener.name
            );
        }
        // Hand-shakes that had begun by now end within a round trip to the client.
        let socket = TcpListener::from_std(socket)?;
        let last = clock::now() + HANDSHAKES_LAST;
        while let Ok(Ok((tcp, peer))) = timeout_at(last, socket.accept()).await {
            serve(tcp, peer);
            // A queue that goes on filling is not waited for.
            if quiet.is_err() && clock::now() >= last {
                break;
            }
        }
    }
    Ok(())
}

/// Resolves with how to stop; the listener being gone is to close.
async fn told_to_stop(stop: &mut watch::Receiver<Stop>) -> Stop {
    stop.wait_for(|stop| *stop != Stop::Run)
        .await
        .map_or(Stop::Close, |how| *how)
}

/// Shows a connection in the metrics while it lives, and its beginning and its end to who looks closely.
struct Open {
    listener: Arc<Listener>,
    peer: SocketAddr,
    since: Instant,
}

impl Open {
    fn new(listener: &Arc<Listener>, peer: SocketAddr) -> Self {
        listener.metrics.accepted.inc();
        listener.metrics.connections.inc();
        tracing::debug!("{peer} on {}: connected", listener.name);
        Self {
            listener: listener.clone(),
            peer,
            since: clock::now(),
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.listener.metrics.connections.dec();
        let (peer, name) = (self.peer, &self.listener.name);
        tracing::debug!("{peer} on {name}: gone after {:?}", self.since.elapsed());
    }
}

/// Brings one connection to the point where HTTP is spoken on it, and serves it.
async fn welcome<H: Handler>(
    mut tcp: TcpStream,
    peer: SocketAddr,
    local: SocketAddr,
    listener: Arc<Listener>,
    shared: Arc<Shared>,
    handler: H,
    counted: Connected,
) {
    let mut counted = counted;
    counted.is_of(peer.ip());
    let _open = Open::new(&listener, peer);
    // Without it small answers would wait for the client's acknowledgement of the ones before.
    let _ = tcp.set_nodelay(true);
    let speech = listener.speech.load_full();
    let handshake_timeout = shared.limits.load().handshake_timeout;
    let (peer, local) = if speech.proxy_protocol {
        match timeout(handshake_timeout, read_proxy_header(&mut tcp, peer, local)).await {
            Ok(Ok(addresses)) => addresses,
            Ok(Err(reason)) => {
                tracing::debug!("{peer} on {}: {reason}", listener.name);
                return shared.metrics.refused("proxy-protocol");
            }
            Err(_) => return shared.metrics.refused("proxy-protocol-timeout"),
        }
    } else {
        (peer, local)
    };
    if speech.proxy_protocol {
        counted.is_of(peer.ip());
    }
    if let Some(most) = one_too_many(&counted, peer, &shared) {
        tracing::debug!(
            "{peer} on {}: more than {most} connections of one client",
            listener.name
        );
        return shared.metrics.refused("client-connections");
    }
    let idle = Idle::new(clock::now(), counted.place());
    let client = Arc::new(Client {
        addr: peer,
        local,
        tls: speech.tls.is_some(),
        certificate: None,
    });
    let Some(acceptor) = &speech.tls else {
        return plain(tcp, speech.http2, idle, client, shared, handler).await;
    };
    let handshake = async {
        let is_plain = is_plain(&tcp).await;
        let socket = Socket::new(tcp, idle.place());
        if is_plain {
            return Ok(Err(socket));
        }
        let accepting = tokio_rustls::TlsAcceptor::from(acceptor.config()).accept(socket);
        accepting.await.map(Ok)
    };
    let stream = match timeout(handshake_timeout, handshake).await {
        Ok(Ok(Ok(stream))) => Box::new(stream),
        Ok(Ok(Err(socket))) => {
            let stream = ClientStream::Tcp(socket);
            return http1::refuse(stream, refusals::PLAIN_ON_TLS, &client, &shared).await;
        }
        failed => {
            if let Ok(Err(error)) = failed {
                tracing::debug!("{peer} on {}: TLS hand-shake: {error}", listener.name);
                fault::hand_shake_failed(&shared, &listener.name, peer, &error);
            }
            listener.metrics.tls_handshake_failures.inc();
            return;
        }
    };
    let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let shown = stream.get_ref().1.peer_certificates();
    let client = match shown.and_then(ClientCertificate::of) {
        Some(certificate) => Arc::new(Client {
            certificate: Some(Arc::new(certificate)),
            ..(*client).clone()
        }),
        None => client,
    };
    let stream = ClientStream::Tls(stream);
    if http2 {
        Box::pin(http2::serve(
            stream,
            BytesMut::new(),
            idle.place().clone(),
            client,
            shared,
            handler,
        ))
        .await;
    } else {
        http1::serve(stream, BytesMut::new(), idle, client, shared, handler).await;
    }
}

/// Whether plain HTTP is spoken: a method begins with a letter, and no record of TLS does.
async fn is_plain(tcp: &TcpStream) -> bool {
    let mut first = [0];
    matches!(tcp.peek(&mut first).await, Ok(1)) && first[0].is_ascii_uppercase()
}

/// Whether the client has more connections than one may have. Says how many that is.
fn one_too_many(counted: &Connected, peer: SocketAddr, shared: &Shared) -> Option<usize> {
    let limits = shared.limits.load();
    let most = limits.connections_per_client;
    if most == 0 || counted.of_client() <= most {
        return None;
    }
    let address = peer.ip().to_canonical();
    let uncounted = limits.uncounted.iter().any(|net| net.contains(&address));
    (!uncounted).then_some(most)
}

/// Finds out by its first bytes whether a plain connection speaks HTTP/2, and serves it.
async fn plain<H: Handler>(
    tcp: TcpStream,
    http2: bool,
    mut idle: Idle,
    client: Arc<Client>,
    shared: Arc<Shared>,
    handler: H,
) {
    let mut inbox = BytesMut::new();
    // No method starts with this; the gate would refuse it by its version, so it is never a head cut short.
    while http2 && inbox.len() < PREFACE.len() && PREFACE.starts_with(&inbox) {
        let limits = shared.limits.load();
        let patience = if inbox.is_empty() {
            limits.idle_timeout
        } else {
            limits.head_timeout
        };
        drop(limits);
        tokio::select! {
            biased;
            ready = tcp.readable() => {
                if ready.is_err() {
                    return;
                }
            }
            over = poll_fn(|cx| idle.poll(patience, cx)) => {
                if over == Over::Crowded {
                    shared.metrics.refused(CROWDED);
                }
                return;
            }
        }
        let mut first = [0; FIRST_READ];
        match tcp.try_read(&mut first) {
            Ok(n @ 1..) => {
                if inbox.is_empty() {
                    // The rest of the preface has as long as a head, however it comes.
                    idle.touch(clock::now());
                }
                inbox.extend_from_slice(&first[..n]);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Ok(0) | Err(_) => return,
        }
    }
    let stream = ClientStream::Tcp(Socket::new(tcp, idle.place()));
    if inbox.starts_with(PREFACE) {
        let place = idle.place().clone();
        Box::pin(http2::serve(stream, inbox, place, client, shared, handler)).await;
    } else {
        http1::serve(stream, inbox, idle, client, shared, handler).await;
    }
}

/// Takes a PROXY protocol header off the connection, and not a byte more.
async fn read_proxy_header(
    tcp: &mut TcpStream,
    peer: SocketAddr,
    local: SocketAddr,
) -> Result<(SocketAddr, SocketAddr), String> {
    let mut header = vec![0; V2_BYTES_MAX];
    loop {
        let n = tcp
            .peek(&mut header)
            .await
            .map_err(|error| error.to_string())?;
        match proxy_protocol::parse(&header[..n]) {
            Parsed::Header(Header { len, addresses }) => {
                tcp.read_exact(&mut header[..len])
                    .await
                    .map_err(|error| error.to_string())?;
                return Ok(
                    addresses.map_or((peer, local), |given| (given.source, given.destination))
                );
            }
            Parsed::Need if n == 0 => {
                return Err("the connection ended within its PROXY protocol header".to_owned());
            }
            Parsed::Need => tokio::time::sleep(PROXY_HEADER_PAUSE).await,
            Parsed::Invalid(why) => return Err(why.to_string()),
        }
    }
}
