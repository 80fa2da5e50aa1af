//! The demo application's address, kept free for it while nobody listens there.
//!
//! A socket that is bound but not listening refuses connections, exactly as an application that is not up does, and
//! no other program can be given its port meanwhile.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use socket2::{Domain, Socket, Type};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;

/// A bound address at which nobody listens yet.
#[derive(Debug)]
pub(super) struct Seat {
    socket: Socket,
    address: SocketAddr,
}

impl Seat {
    /// Takes any free port on loopback.
    pub(super) fn take() -> io::Result<Self> {
        Self::take_at((Ipv4Addr::LOCALHOST, 0).into())
    }

    /// Takes this address, which a listener of ours may have had until now.
    pub(super) fn take_at(address: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        // Connections of the listener before may still be in TIME_WAIT.
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        let bound = socket.local_addr()?.as_socket();
        Ok(Self {
            address: bound.unwrap_or(address),
            socket,
        })
    }

    /// Where it will listen.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on connections are accepted.
    pub(super) fn listen(self) -> io::Result<TcpListener> {
        self.socket.listen(BACKLOG)?;
        self.socket.set_nonblocking(true)?;
        Ok(self.socket.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;

    #[test]
    fn refuses_until_it_listens_and_again_afterwards() {
        let seat = Seat::take().expect("a free port");
        let address = seat.address();
        TcpStream::connect(address).expect_err("nobody listens");
        let listener = seat.listen().expect("the port is ours");
        let connection = TcpStream::connect(address).expect("somebody listens");
        drop(listener);
        let seat = Seat::take_at(address).expect("our own port");
        drop(connection);
        TcpStream::connect(address).expect_err("nobody listens any more");
        seat.listen().expect("the port is ours");
    }
}
