//! Listening sockets: bound one per accept loop, and closed without losing a connection that the kernel has accepted.

use rustix::io::Errno;
use socket2::{Domain, Protocol, SockFilter, Socket, Type};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroU32;

/// Connections that wait in the kernel for each accept loop; the kernel caps it at `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// Binds `count` sockets to one address, among which the kernel spreads connections (`SO_REUSEPORT`).
///
/// # Errors
/// What the system says, `AddrInUse` also where another process of the same user shares its port: the kernel would
/// let us join it and give half of its connections to each.
pub fn bind(addr: SocketAddr, count: usize) -> io::Result<Vec<TcpListener>> {
    let probe = socket(addr)?;
    probe.bind(&addr.into())?;
    let bound = probe.local_addr()?.as_socket().unwrap_or(addr);
    drop(probe);
    (0..count.max(1))
        .map(|_| {
            let socket = socket(bound)?;
            socket.set_reuse_port(true)?;
            socket.bind(&bound.into())?;
            socket.listen(BACKLOG)?;
            Ok(socket.into())
        })
        .collect()
}

fn socket(addr: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    if addr.is_ipv6() {
        // `[::]` means IPv6; a second listener says 0.0.0.0. What `bindv6only` happens to be would decide otherwise.
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

/// Lets no further hand-shake begin on a listening socket that is about to close, while those in its queue can still
/// be accepted. A client whose SYN is dropped sends it again, to whoever listens by then or to be refused. Where the right to drop
/// is missing, it is refused at once.
///
/// # Errors
/// What the system says; closing then may reset a connection whose hand-shake ended in the same instant.
pub fn quiesce(listener: &TcpListener) -> io::Result<()> {
    match drop_syns(listener) {
        // New kernels (6.18 is one) want CAP_NET_ADMIN for a filter on a TCP socket, which a container should not have.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => refuse_syns(listener),
        outcome => outcome,
    }
}

/// Binds the socket to an interface that there is none of, so that no SYN finds it. Hand-shakes that have begun remember the
/// interface that they began on, and end.
fn refuse_syns(listener: &TcpListener) -> io::Result<()> {
    const NO_INTERFACE: Option<NonZeroU32> = NonZeroU32::new(i32::MAX.unsigned_abs());
    socket2::SockRef::from(listener).bind_device_by_index_v4(NO_INTERFACE)
}

fn drop_syns(listener: &TcpListener) -> io::Result<()> {
    // The filter sees the TCP header: octet 13 holds the flags, 0x02 is SYN.
    const LOAD_BYTE: u16 = 0x30;
    const JUMP_IF_ANY_SET: u16 = 0x45;
    const RETURN: u16 = 0x06;
    let no_syn = [
        SockFilter::new(LOAD_BYTE, 0, 0, 13),
        SockFilter::new(JUMP_IF_ANY_SET, 0, 1, 0x02),
        SockFilter::new(RETURN, 0, 0, 0),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
    ];
    socket2::SockRef::from(listener).attach_filter(&no_syn)
}

/// Raises the soft limit of open files to the hard one, and says what it is now.
pub fn raise_open_files() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum.unwrap_or(u64::MAX),
        Err(_) => limit.current.unwrap_or(u64::MAX),
    }
}

/// Whether an accept failed because this process or the system is out of something, and will again at once.
pub fn is_exhaustion(error: &io::Error) -> bool {
    const EXHAUSTED: [Errno; 4] = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
    error
        .raw_os_error()
        .is_some_and(|code| EXHAUSTED.iter().any(|errno| errno.raw_os_error() == code))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpStream;

    #[test]
    fn several_sockets_share_one_port_and_strangers_are_refused() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let sockets = bind(any, 3).expect("a free port");
        let addr = sockets[0].local_addr().expect("bound");
        assert!(
            sockets
                .iter()
                .all(|socket| socket.local_addr().is_ok_and(|a| a == addr))
        );
        assert_eq!(
            bind(addr, 1).expect_err("taken").kind(),
            io::ErrorKind::AddrInUse
        );
    }

    #[test]
    fn a_quiet_socket_gives_up_its_queue_and_takes_nothing_new() {
        let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0)), 1)
            .expect("a free port")
            .remove(0);
        let addr = listener.local_addr().expect("bound");
        let queued = TcpStream::connect(addr).expect("queued");
        quiesce(&listener).expect("it is quiet");
        let late = TcpStream::connect_timeout(&addr, std::time::Duration::from_millis(50));
        let late = late.expect_err("its SYN is dropped or refused").kind();
        assert!(
            [io::ErrorKind::TimedOut, io::ErrorKind::ConnectionRefused].contains(&late),
            "{late:?}"
        );
        let (_, peer) = listener.accept().expect("still in the queue");
        assert_eq!(Some(peer), queued.local_addr().ok());
    }

    #[test]
    fn without_any_right_new_hand_shakes_are_refused_and_the_queue_is_kept() {
        for any in [[127, 0, 0, 1], [0, 0, 0, 0]] {
            let listener = bind(SocketAddr::from((any, 0)), 1)
                .expect("a free port")
                .remove(0);
            let port = listener.local_addr().expect("bound").port();
            let addr = SocketAddr::from(([127, 0, 0, 1], port));
            let mut queued = TcpStream::connect(addr).expect("queued");
            refuse_syns(&listener).expect("nobody needs a right to it");
            let late = TcpStream::connect(addr).expect_err("nobody listens");
            assert_eq!(late.kind(), io::ErrorKind::ConnectionRefused);
            let (mut accepted, peer) = listener.accept().expect("still in the queue");
            assert_eq!(Some(peer), queued.local_addr().ok());
            accepted.write_all(b"hello").expect("sent");
            let mut hello = [0; 5];
            queued.read_exact(&mut hello).expect("received");
        }
    }
}
