//! One connection to an HTTP/1.1 server: bytes out as fast as it takes them, bytes in as they come.

use super::stream::ServerStream;
use crate::listen::outbox::Outbox;
use crate::upstream::connect;
use crate::upstream::trust::Secured;
use bytes::BytesMut;
use socket2::SockRef;
use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, ReadBuf};

/// What one read asks for, at most.
const READ_AT_MOST: usize = 64 * 1024;
/// The same where clients hold enough already: of each answer that is begun, so much comes in.
const READ_LITTLE: usize = 8 * 1024;

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
    /// Whether more was queued than a usual head, so that the room for it is given back.
    roomy: bool,
    /// What one read asks for, in octets.
    pub(super) reads: usize,
}

/// A head that is larger leaves no room behind while its answer is waited for: HTTP/2 says one in a few octets.
const USUAL_HEAD: usize = 8 * 1024;

impl Connection {
    /// With nothing sent and nothing read.
    pub fn new(io: ServerStream) -> Self {
        Self {
            io,
            outbox: Outbox::default(),
            inbox: BytesMut::new(),
            impatient: false,
            roomy: false,
            reads: READ_AT_MOST,
        }
    }

    /// What its TLS was made by; none in the clear.
    pub fn secured(&self) -> Option<&Secured> {
        self.io.secured()
    }

    /// Whether no body follows the head that is sent next. A head finds room in the server's kernel, however busy the server is: if
    /// nobody acknowledges it, nobody is there. A body may have to wait for room, and the kernel cannot tell that apart.
    pub fn sends_head_only(&mut self, only: bool) {
        if let Some(tcp) = self.io.tcp()
            && self.impatient != only
        {
            let time =
                connect::KEEPALIVE_AFTER + connect::KEEPALIVE_APART * connect::KEEPALIVE_TRIES;
            let set = SockRef::from(tcp).set_tcp_user_timeout(only.then_some(time));
            // Where the system has no such option, the request's own deadlines remain.
            self.impatient = only && set.is_ok();
        }
    }

    /// Whether little is to be read at once.
    pub fn reads_little(&mut self, little: bool) {
        self.reads = if little { READ_LITTLE } else { READ_AT_MOST };
    }

    /// Whether nothing is there to be read that would be taken for the answer to what is sent next.
    pub fn is_quiet(&mut self) -> bool {
        self.io.is_quiet()
    }

    /// Whether all that was queued has left for the kernel.
    pub fn is_sent(&self) -> bool {
        self.outbox.is_empty() && self.io.is_flushed()
    }

    /// Writes what is queued, as far as the server takes it.
    ///
    /// # Errors
    /// `TimedOut` when it takes nothing for `patience`, and what the kernel says.
    pub fn poll_send(&mut self, patience: Duration, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.roomy |= self.outbox.len() > USUAL_HEAD;
        ready!(self.outbox.poll_write(&mut self.io, patience, cx))?;
        if std::mem::take(&mut self.roomy) {
            self.outbox.release();
        }
        Poll::Ready(Ok(()))
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

#[cfg(test)]
mod tests {
    use super::super::stream::Line;
    use super::*;
    use crate::upstream::address::Socket;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn a_server_that_vanished_is_found_out_whatever_was_sent() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = Socket::Tcp(listener.local_addr().expect("bound"));
        let line = Line::connect(&address).await.expect("open");
        let mut open = Connection::new(ServerStream::Plain(line));
        let thirteen = Duration::from_secs(13);
        for (head_only, patience) in [
            (true, Some(thirteen)),
            (false, None),
            (true, Some(thirteen)),
        ] {
            open.sends_head_only(head_only);
            let socket = SockRef::from(open.io.tcp().expect("it is TCP"));
            let found = socket.tcp_user_timeout().expect("known");
            assert_eq!(found.filter(|time| !time.is_zero()), patience);
            let time = socket.tcp_keepalive_time().expect("known");
            let apart = socket.tcp_keepalive_interval().expect("known");
            let tries = socket.tcp_keepalive_retries().expect("known");
            assert_eq!(time + apart * tries, thirteen);
        }
    }
}
