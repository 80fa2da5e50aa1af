//! A client's socket: tells its connection's place of the octets that come and go, and finds out by itself whether a slow client
//! takes any.
//!
//! Linux says that a socket may be written to again when a third of its send buffer is free. That grows to some MiB, and a client
//! that takes 30 KiB a second needs longer for a third of it than we wait for one that takes nothing. So a socket that takes nothing
//! is not believed for long: asked, it takes what there is room for.

use super::crowd::Place;
use crate::clock;
use rustix::net::{SendFlags, send};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

/// How long a socket is believed that it takes nothing.
const BELIEVED: Duration = Duration::from_secs(2);

/// The socket. 24 octets, and 120 for the timer of one that has taken nothing at some time.
#[derive(Debug)]
pub struct Socket {
    tcp: TcpStream,
    place: Place,
    /// When it is asked though it has not said that it takes more.
    asked: Option<Pin<Box<Sleep>>>,
}

impl Socket {
    /// Of the connection that has this place.
    pub fn new(tcp: TcpStream, place: &Place) -> Self {
        Self {
            tcp,
            place: place.clone(),
            asked: None,
        }
    }

    /// What the runtime knows it by.
    pub fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    /// Tries until the socket takes something, or waits for it to be ready to.
    pub fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        mut attempt: impl FnMut(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        let tcp = &self.tcp;
        let sent = loop {
            match tcp.poll_write_ready(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => break Poll::Ready(Err(error)),
                Poll::Pending => break Poll::Pending,
            }
            // Where it would block, this forgets that the socket was ready, and the next look waits for it to be.
            match tcp.try_io(Interest::WRITABLE, || attempt(tcp)) {
                Err(error) if is_passing(&error) => {}
                done => break Poll::Ready(done),
            }
        };
        self.went(sent, cx, attempt)
    }

    /// Takes note of what has gone, and asks the socket itself where nothing has for a while.
    fn went(
        &mut self,
        sent: Poll<io::Result<usize>>,
        cx: &mut Context<'_>,
        attempt: impl FnOnce(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        let sent = match sent {
            Poll::Pending => ready!(self.poll_asked(cx, attempt)),
            Poll::Ready(sent) => sent,
        };
        if matches!(sent, Ok(1..)) {
            self.place.moved();
        }
        Poll::Ready(sent)
    }

    fn poll_asked(
        &mut self,
        cx: &mut Context<'_>,
        attempt: impl FnOnce(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        let timer = self.asked.get_or_insert_with(|| Box::pin(sleep(BELIEVED)));
        ready!(timer.as_mut().poll(cx));
        timer.as_mut().reset(clock::now() + BELIEVED);
        if timer.as_mut().poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
        match attempt(&self.tcp) {
            Err(error) if is_passing(&error) => Poll::Pending,
            done => Poll::Ready(done),
        }
    }
}

/// Whether another time may do.
fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.tcp).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.place.moved();
        }
        read
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let sent = Pin::new(&mut self.tcp).poll_write(cx, buf);
        self.went(sent, cx, |tcp| Ok(send(tcp, buf, SendFlags::NOSIGNAL)?))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let sent = Pin::new(&mut self.tcp).poll_write_vectored(cx, bufs);
        let first = bufs.iter().find(|buf| !buf.is_empty());
        let first = first.map_or(&[][..], |buf| &**buf);
        self.went(sent, cx, |tcp| Ok(send(tcp, first, SendFlags::NOSIGNAL)?))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::super::lifecycle::Lifecycle;
    use super::*;
    use futures::FutureExt;
    use std::future::poll_fn;
    use tokio::io::AsyncReadExt;
    use tokio::net::{TcpListener, TcpSocket};

    /// The kernel says nothing of what a slow reader takes of a large buffer. Nor is anything written where nothing is taken.
    #[tokio::test(start_paused = true)]
    async fn what_a_slow_reader_takes_is_noticed() {
        let far = TcpSocket::new_v4().expect("a socket");
        far.set_recv_buffer_size(16 << 10).expect("it is open");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let addr = listener.local_addr().expect("it is bound");
        let (far, near) = tokio::join!(far.connect(addr), listener.accept());
        let (mut far, (near, _)) = (far.expect("it listens"), near.expect("it connects"));
        socket2::SockRef::from(&near)
            .set_send_buffer_size(1 << 20)
            .expect("it is open");
        let place = Place::nobodys(Lifecycle::new());
        let mut near = Socket::new(near, &place);
        let octets = vec![0; 64 << 10];
        while let Some(sent) =
            poll_fn(|cx| Pin::new(&mut near).poll_write(cx, &octets)).now_or_never()
        {
            sent.expect("it is open");
        }
        let moves = place.moves();
        tokio::time::advance(10 * BELIEVED).await;
        let mut write = Box::pin(poll_fn(|cx| Pin::new(&mut near).poll_write(cx, &octets)));
        assert!(write.as_mut().now_or_never().is_none(), "nothing is taken");
        assert_eq!(place.moves(), moves);
        let mut taken = vec![0; 100 << 10];
        far.read_exact(&mut taken).await.expect("it is open");
        let began = clock::now();
        write.await.expect("it is open");
        assert_eq!(place.moves(), moves + 1);
        assert!(clock::now() - began <= BELIEVED);
    }
}
