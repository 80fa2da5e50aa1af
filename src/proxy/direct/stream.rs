//! The octets of a connection to a server: over TCP or a unix socket, in the clear or over TLS.

use crate::listen::stream::Outlet;
use crate::upstream::address::Socket;
use crate::upstream::connect;
use crate::upstream::trust::{HTTP2, Secured};
use nix::errno::Errno;
use nix::sys::socket::MsgFlags;
use rustls::ClientConnection;
use socket2::{SockRef, TcpKeepalive};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::client::TlsStream;

/// Reads of a kept connection that is looked at, before what comes is taken for a flood: a server gives a ticket or two.
const LOOKS_MAX: usize = 8;

/// A connection to a server.
#[derive(Debug)]
pub enum ServerStream {
    /// In the clear.
    Plain(Line),
    /// Over TLS. Boxed: its buffers are large, and plain connections should not carry them.
    Tls(Box<Encrypted>),
}

/// What carries the octets.
#[derive(Debug)]
pub enum Line {
    /// To another machine or container, mostly.
    Tcp(TcpStream),
    /// On this machine.
    Unix(UnixStream),
}

/// TLS over a line, and what it was made by.
#[derive(Debug)]
pub struct Encrypted {
    stream: TlsStream<Line>,
    secured: Secured,
}

impl Outlet for ServerStream {}

impl Line {
    /// Connects. Without a deadline: that is the caller's.
    ///
    /// # Errors
    /// What the kernel says.
    pub async fn connect(socket: &Socket) -> io::Result<Self> {
        Ok(match socket {
            Socket::Tcp(addr) => {
                let tcp = TcpStream::connect(addr).await?;
                tcp.set_nodelay(true)?;
                SockRef::from(&tcp).set_tcp_keepalive(&keepalive())?;
                Self::Tcp(tcp)
            }
            Socket::Unix(path) => Self::Unix(UnixStream::connect(path).await?),
        })
    }

    /// Shakes hands. Without a deadline: that is the caller's.
    ///
    /// # Errors
    /// What the kernel says, and `InvalidData` with what rustls says of the server.
    pub async fn encrypt(self, secured: Secured) -> io::Result<Encrypted> {
        let connector = &secured.encryption.requests;
        let stream = connector.connect(secured.name.clone(), self).await?;
        Ok(Encrypted { stream, secured })
    }

    /// Whether nothing is there to be read, not even an end. The reactor may not have heard of it yet, so the kernel is asked.
    fn is_quiet(&self) -> bool {
        let look = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
        let seen = nix::sys::socket::recv(self.as_fd().as_raw_fd(), &mut [0], look);
        seen == Err(Errno::EAGAIN)
    }
}

fn keepalive() -> TcpKeepalive {
    TcpKeepalive::new()
        .with_time(connect::KEEPALIVE_AFTER)
        .with_interval(connect::KEEPALIVE_APART)
        .with_retries(connect::KEEPALIVE_TRIES)
}

impl Encrypted {
    fn session(&self) -> &ClientConnection {
        self.stream.get_ref().1
    }

    /// Whether the server picked HTTP/2, which is not what is spoken here.
    pub fn picked_http2(&self) -> bool {
        self.session().alpn_protocol() == Some(HTTP2)
    }

    /// Whether nothing is there to be read but what TLS says to itself: the tickets that a server gives behind the hand-shake
    /// come unasked, and are taken in. What the kernel holds is read past the reactor, which may not have heard of it yet.
    fn is_quiet(&mut self) -> bool {
        let (line, session) = self.stream.get_mut();
        let socket = SockRef::from(&*line);
        for _ in 0..LOOKS_MAX {
            // What came with an earlier read is judged, too.
            let silent = session
                .process_new_packets()
                .is_ok_and(|seen| seen.plaintext_bytes_to_read() == 0 && !seen.peer_has_closed());
            if !silent {
                return false;
            }
            match session.read_tls(&mut &*socket) {
                Ok(1..) => {}
                Ok(0) => return false,
                Err(cause) => return cause.kind() == io::ErrorKind::WouldBlock,
            }
        }
        false
    }
}

impl Drop for Encrypted {
    /// RFC 8446 §6.1: who closes says so, as far as the kernel takes it at once.
    fn drop(&mut self) {
        let (line, session) = self.stream.get_mut();
        session.send_close_notify();
        let socket = SockRef::from(&*line);
        while session.wants_write() && matches!(session.write_tls(&mut &*socket), Ok(1..)) {}
    }
}

impl ServerStream {
    fn line(&self) -> &Line {
        match self {
            Self::Plain(line) => line,
            Self::Tls(tls) => tls.stream.get_ref().0,
        }
    }

    /// The TCP below, where there is one.
    pub fn tcp(&self) -> Option<&TcpStream> {
        match self.line() {
            Line::Tcp(tcp) => Some(tcp),
            Line::Unix(_) => None,
        }
    }

    /// What TLS was made by; none in the clear.
    pub fn secured(&self) -> Option<&Secured> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(tls) => Some(&tls.secured),
        }
    }

    /// Whether nothing is there to be read: neither an end, nor octets that nobody asked for and that would be read as the
    /// answer to what is sent next.
    pub fn is_quiet(&mut self) -> bool {
        match self {
            Self::Plain(line) => line.is_quiet(),
            Self::Tls(tls) => tls.is_quiet(),
        }
    }

    /// Whether all that was written has left for the kernel; TLS takes more than that.
    pub fn is_flushed(&self) -> bool {
        match self {
            Self::Plain(_) => true,
            Self::Tls(tls) => !tls.session().wants_write(),
        }
    }
}

impl AsFd for Line {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(tcp) => tcp.as_fd(),
            Self::Unix(unix) => unix.as_fd(),
        }
    }
}

impl AsyncRead for Line {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Self::Unix(unix) => Pin::new(unix).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Line {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_write(cx, buf),
            Self::Unix(unix) => Pin::new(unix).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_write_vectored(cx, bufs),
            Self::Unix(unix) => Pin::new(unix).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Unix(unix) => Pin::new(unix).poll_shutdown(cx),
        }
    }
}

impl AsyncRead for ServerStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(line) => Pin::new(line).poll_read(cx, buf),
            Self::Tls(tls) => Pin::new(&mut tls.stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for ServerStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(line) => Pin::new(line).poll_write(cx, buf),
            Self::Tls(tls) => Pin::new(&mut tls.stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(line) => Pin::new(line).poll_write_vectored(cx, bufs),
            Self::Tls(tls) => Pin::new(&mut tls.stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(_) => Poll::Ready(Ok(())),
            Self::Tls(tls) => Pin::new(&mut tls.stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(line) => Pin::new(line).poll_shutdown(cx),
            Self::Tls(tls) => Pin::new(&mut tls.stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::settings::{Endpoint, ServerSettings, UpstreamSettings, UpstreamTls};
    use crate::upstream::trust::Trust;
    use rustls::{HandshakeKind, ServerConfig};
    use rustls_pki_types::{PrivateKeyDer, ServerName};
    use std::sync::Arc;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio_rustls::{TlsAcceptor, server};

    /// A server, and those who trust it.
    struct Rig {
        listener: TcpListener,
        acceptor: TlsAcceptor,
        secured: Secured,
    }

    impl Rig {
        async fn new() -> Self {
            let pair = rcgen::generate_simple_self_signed(["app".to_owned()]).expect("a pair");
            let key = PrivateKeyDer::try_from(pair.signing_key.serialize_der()).expect("a key");
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let config = ServerConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .expect("versions")
                .with_no_client_auth()
                .with_single_cert(vec![pair.cert.der().clone()], key)
                .expect("a server");
            let endpoint = Endpoint::Tcp {
                host: "app".to_owned(),
                port: 443,
            };
            let mut settings = UpstreamSettings::new("api", vec![ServerSettings::new(endpoint)]);
            settings.tls = UpstreamTls {
                insecure: true,
                ..UpstreamTls::default()
            };
            let trust = Trust::load(&settings).expect("no files");
            let encryption = trust.encryption(&settings).expect("no authorities");
            Self {
                listener: TcpListener::bind("127.0.0.1:0").await.expect("a port"),
                acceptor: TlsAcceptor::from(Arc::new(config)),
                secured: Secured {
                    encryption: Arc::new(encryption),
                    name: ServerName::try_from("app").expect("a name"),
                },
            }
        }

        async fn connect(&self) -> (ServerStream, server::TlsStream<TcpStream>) {
            let socket = Socket::Tcp(self.listener.local_addr().expect("bound"));
            let near = async {
                let line = Line::connect(&socket).await.expect("there");
                line.encrypt(self.secured.clone()).await.expect("a session")
            };
            let far = async {
                let (tcp, _) = self.listener.accept().await.expect("a client");
                self.acceptor.accept(tcp).await.expect("a session")
            };
            let (near, far) = tokio::join!(near, far);
            (ServerStream::Tls(Box::new(near)), far)
        }
    }

    /// Waits until the kernel holds something that was not read.
    async fn arrived(stream: &ServerStream) {
        let tcp = stream.tcp().expect("it is TCP");
        tcp.peek(&mut [0]).await.expect("something comes");
    }

    fn kind(stream: &ServerStream) -> Option<HandshakeKind> {
        match stream {
            ServerStream::Tls(tls) => tls.session().handshake_kind(),
            ServerStream::Plain(_) => None,
        }
    }

    #[tokio::test]
    async fn tickets_that_wait_are_nobodys_answer_and_resume_the_session() {
        let rig = Rig::new().await;
        let (mut first, mut far) = rig.connect().await;
        far.flush().await.expect("tickets leave");
        arrived(&first).await;
        assert!(first.is_quiet(), "tickets are no answer");
        assert!(first.is_quiet(), "and were taken in");
        far.write_all(b"v1").await.expect("written");
        far.flush().await.expect("it leaves");
        let mut answer = [0; 2];
        first.read_exact(&mut answer).await.expect("an answer");
        assert_eq!(&answer, b"v1");
        let (second, _) = rig.connect().await;
        let kinds = [kind(&first), kind(&second)];
        let expected = [HandshakeKind::Full, HandshakeKind::Resumed];
        assert_eq!(kinds, expected.map(Some));
    }

    #[tokio::test]
    async fn octets_that_nobody_asked_for_and_ends_are_noticed() {
        let rig = Rig::new().await;
        for (what, told) in [("octets", true), ("an end", true), ("an end", false)] {
            let (mut near, mut far) = rig.connect().await;
            far.flush().await.expect("tickets leave");
            arrived(&near).await;
            assert!(near.is_quiet());
            match (what, told) {
                ("octets", _) => {
                    far.write_all(b"HTTP/1.1 200 OK").await.expect("written");
                    far.flush().await.expect("it leaves");
                }
                (_, true) => far.shutdown().await.expect("told"),
                (_, false) => far.get_mut().0.shutdown().await.expect("not told"),
            }
            arrived(&near).await;
            assert!(!near.is_quiet(), "{what}");
            assert!(!near.is_quiet(), "{what}, a second look");
        }
    }

    #[tokio::test]
    async fn who_closes_says_so() {
        let rig = Rig::new().await;
        let (near, mut far) = rig.connect().await;
        drop(near);
        assert_eq!(far.read(&mut [0]).await.expect("an end that was told"), 0);
    }
}
