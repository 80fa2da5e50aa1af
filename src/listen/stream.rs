//! The client's connection: TCP or TLS behind one type, with the little that is known about who is at its other end.

use super::tcp::Socket;
use crate::arena::{self, FileRange};
use crate::tls::ClientCertificate;
use bytes::BytesMut;
use rustix::net::{SendFlags, send};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// A connection as accepted, behind TLS and PROXY protocol.
#[derive(Debug)]
pub enum ClientStream {
    /// Plain TCP.
    Tcp(Socket),
    /// TLS. Boxed: its buffers are large, and plain connections should not carry them.
    Tls(Box<TlsStream<Socket>>),
    /// None: what a test has written down.
    #[cfg(test)]
    Scripted(super::scripted::Scripted),
}

/// Who is connected, and to what.
#[derive(Debug, Clone)]
pub struct Client {
    /// The address that sends us packets, or that the PROXY protocol vouches for.
    pub addr: SocketAddr,
    /// The address it connected to.
    pub local: SocketAddr,
    /// Whether the client speaks TLS to us.
    pub tls: bool,
    /// The certificate that it has shown, where it has.
    pub certificate: Option<Arc<ClientCertificate>>,
}

impl ClientStream {
    fn tcp(&self) -> &TcpStream {
        match self {
            Self::Tcp(socket) => socket.tcp(),
            Self::Tls(tls) => tls.get_ref().0.tcp(),
            #[cfg(test)]
            Self::Scripted(_) => panic!("a script has no socket"),
        }
    }

    /// Resolves when reading would not block; holds no buffer meanwhile. TLS may have to read without giving data.
    pub async fn readable(&self) -> io::Result<()> {
        self.tcp().readable().await
    }

    /// Writes as far as can be without the socket where that is TLS, and to the socket where it is not. What TLS took leaves with
    /// the next flush, or when it takes no more.
    pub fn poll_stage(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(tcp) => Pin::new(tcp).poll_write_vectored(cx, bufs),
            Self::Tls(tls) => loop {
                let taken = tls.get_mut().1.writer().write_vectored(bufs)?;
                if taken > 0 || bufs.iter().all(|buf| buf.is_empty()) {
                    return Poll::Ready(Ok(taken));
                }
                ready!(Pin::new(tls.as_mut()).poll_flush(cx))?;
            },
            #[cfg(test)]
            Self::Scripted(scripted) => Pin::new(scripted).poll_write_vectored(cx, bufs),
        }
    }

    /// Makes the close that follows a reset, so that a body delimited by the close cannot look complete.
    pub fn reset_on_close(&self) {
        // Failing only means the peer sees FIN instead; there is nothing else to try.
        let _ = socket2::SockRef::from(self.tcp()).set_linger(Some(std::time::Duration::ZERO));
    }
}

/// What an outbox writes to.
pub trait Outlet: AsyncWrite + Unpin {
    /// Has the kernel send octets of a file, so many at most. None where it cannot: then they are to be read and written.
    fn poll_send_file(
        &mut self,
        _file: &FileRange,
        _most: usize,
        _cx: &mut Context<'_>,
    ) -> Option<Poll<io::Result<usize>>> {
        None
    }

    /// Writes what something follows at once, so that it need not leave in a packet of its own.
    fn poll_write_more(&mut self, octets: &[u8], cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        Pin::new(self).poll_write(cx, octets)
    }
}

impl Outlet for ClientStream {
    fn poll_send_file(
        &mut self,
        file: &FileRange,
        most: usize,
        cx: &mut Context<'_>,
    ) -> Option<Poll<io::Result<usize>>> {
        let Self::Tcp(socket) = self else {
            return None;
        };
        match socket.poll_send(cx, |tcp| file.send(tcp, most)) {
            Poll::Ready(Err(error)) if arena::is_unsupported(&error) => None,
            sent => Some(sent),
        }
    }

    fn poll_write_more(&mut self, octets: &[u8], cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(socket) => socket.poll_send(cx, |tcp| {
                let flags = SendFlags::MORE | SendFlags::NOSIGNAL;
                Ok(send(tcp, octets, flags)?)
            }),
            Self::Tls(tls) => Pin::new(tls.as_mut()).poll_write(cx, octets),
            #[cfg(test)]
            Self::Scripted(scripted) => Pin::new(scripted).poll_write(cx, octets),
        }
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Self::Tls(tls) => Pin::new(tls.as_mut()).poll_read(cx, buf),
            #[cfg(test)]
            Self::Scripted(scripted) => Pin::new(scripted).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_write(cx, buf),
            Self::Tls(tls) => Pin::new(tls.as_mut()).poll_write(cx, buf),
            #[cfg(test)]
            Self::Scripted(scripted) => Pin::new(scripted).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_write_vectored(cx, bufs),
            Self::Tls(tls) => Pin::new(tls.as_mut()).poll_write_vectored(cx, bufs),
            #[cfg(test)]
            Self::Scripted(scripted) => Pin::new(scripted).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(_) => Poll::Ready(Ok(())),
            Self::Tls(tls) => Pin::new(tls.as_mut()).poll_flush(cx),
            #[cfg(test)]
            Self::Scripted(_) => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Tls(tls) => Pin::new(tls.as_mut()).poll_shutdown(cx),
            #[cfg(test)]
            Self::Scripted(scripted) => Pin::new(scripted).poll_shutdown(cx),
        }
    }
}

/// A stream whose first bytes were already read while its protocol was found out.
#[derive(Debug)]
pub struct Prefixed<S> {
    prefix: BytesMut,
    inner: S,
}

impl<S> Prefixed<S> {
    /// Gives `prefix` first, then what `inner` reads.
    pub fn new(prefix: BytesMut, inner: S) -> Self {
        Self { prefix, inner }
    }

    /// What is behind the prefix.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Prefixed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.prefix.is_empty() {
            return Pin::new(&mut self.inner).poll_read(cx, buf);
        }
        let n = self.prefix.len().min(buf.remaining());
        buf.put_slice(&self.prefix.split_to(n));
        if self.prefix.is_empty() {
            self.prefix = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Prefixed<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
