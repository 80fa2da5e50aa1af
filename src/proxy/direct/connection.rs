//! One connection to a plain HTTP/1.1 server: bytes out as fast as it takes them, bytes in as they come.

use crate::listen::outbox::Outbox;
use crate::listen::stream::Outlet;
use crate::upstream::address::Socket;
use crate::upstream::connect;
use bytes::BytesMut;
use nix::errno::Errno;
use nix::sys::socket::MsgFlags;
use socket2::{SockRef, TcpKeepalive};
use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// What one read asks for.
pub const READ_AT_MOST: usize = 64 * 1024;

/// A connection, with what is on its way to the server and what came of it and is not understood yet.
#[derive(Debug)]
pub struct Connection {
    io: ServerStream,
    /// To be written.
    pub outbox: Outbox,
    /// Read and not yet taken.
    pub inbox: BytesMut,
    /// Whether octets that nobody acknowledges end it.
    impatient: bool,
}

#[derive(Debug)]
enum ServerStream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Outlet for ServerStream {}

impl Connection {
    /// Connects. Without a deadline: that is the caller's.
    ///
    /// # Errors
    /// What the kernel says.
    pub async fn open(socket: &Socket) -> io::Result<Self> {
        let io = match socket {
            Socket::Tcp(addr) => {
                let tcp = TcpStream::connect(addr).await?;
                tcp.set_nodelay(true)?;
                SockRef::from(&tcp).set_tcp_keepalive(&keepalive())?;
                ServerStream::Tcp(tcp)
            }
            Socket::Unix(path) => ServerStream::Unix(UnixStream::connect(path).await?),
        };
        Ok(Self {
            io,
            outbox: Outbox::default(),
            inbox: BytesMut::new(),
            impatient: false,
        })
    }

    /// Whether no body follows the head that is sent next. A head finds room in the server's kernel, however busy the server is: if
    /// nobody acknowledges it, nobody is there. A body may have to wait for room, and the kernel cannot tell that apart.
    pub fn sends_head_only(&mut self, only: bool) {
        if let ServerStream::Tcp(tcp) = &self.io
            && self.impatient != only
        {
            let time =
                connect::KEEPALIVE_AFTER + connect::KEEPALIVE_APART * connect::KEEPALIVE_TRIES;
            let set = SockRef::from(tcp).set_tcp_user_timeout(only.then_some(time));
            // Where the system has no such option, the request's own deadlines remain.
            self.impatient = only && set.is_ok();
        }
    }

    /// Whether nothing is there to be read: neither an end, nor bytes that nobody asked for and that would be read as the
    /// answer to what is sent next. The reactor may not have heard of them yet, so the kernel is asked.
    pub fn is_quiet(&self) -> bool {
        let fd = match &self.io {
            ServerStream::Tcp(tcp) => tcp.as_fd().as_raw_fd(),
            ServerStream::Unix(unix) => unix.as_fd().as_raw_fd(),
        };
        let look = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
        nix::sys::socket::recv(fd, &mut [0], look) == Err(Errno::EAGAIN)
    }

    /// Writes what is queued, as far as the server takes it.
    ///
    /// # Errors
    /// `TimedOut` when it takes nothing for `patience`, and what the kernel says.
    pub fn poll_send(&mut self, patience: Duration, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outbox.poll_write(&mut self.io, patience, cx)
    }

    /// Reads once, at most so many octets, and gives them to `taken`. None are the connection's end.
    pub fn poll_read<T>(
        &mut self,
        at_most: usize,
        cx: &mut Context<'_>,
        taken: impl FnOnce(&mut BytesMut, &[u8]) -> T,
    ) -> Poll<io::Result<T>> {
        thread_local! {
            /// Where reads land, so that what is kept of them takes no more room than it needs.
            static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_AT_MOST].into());
        }
        SCRATCH.with_borrow_mut(|scratch| {
            let at_most = at_most.min(scratch.len());
            let mut buf = ReadBuf::new(&mut scratch[..at_most]);
            ready!(Pin::new(&mut self.io).poll_read(cx, &mut buf))?;
            Poll::Ready(Ok(taken(&mut self.inbox, buf.filled())))
        })
    }
}

fn keepalive() -> TcpKeepalive {
    TcpKeepalive::new()
        .with_time(connect::KEEPALIVE_AFTER)
        .with_interval(connect::KEEPALIVE_APART)
        .with_retries(connect::KEEPALIVE_TRIES)
}

impl AsyncRead for ServerStream {
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

impl AsyncWrite for ServerStream {
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

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn a_server_that_vanished_is_found_out_whatever_was_sent() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = Socket::Tcp(listener.local_addr().expect("bound"));
        let mut open = Connection::open(&address).await.expect("open");
        let thirteen = Duration::from_secs(13);
        for (head_only, patience) in [
            (true, Some(thirteen)),
            (false, None),
            (true, Some(thirteen)),
        ] {
            open.sends_head_only(head_only);
            let ServerStream::Tcp(tcp) = &open.io else {
                panic!("it is TCP");
            };
            let socket = SockRef::from(tcp);
            let found = socket.tcp_user_timeout().expect("known");
            assert_eq!(found.filter(|time| !time.is_zero()), patience);
            let time = socket.tcp_keepalive_time().expect("known");
            let apart = socket.tcp_keepalive_interval().expect("known");
            let tries = socket.tcp_keepalive_retries().expect("known");
            assert_eq!(time + apart * tries, thirteen);
        }
    }
}
