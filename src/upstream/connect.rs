//! Connects to addresses for probes and checks. Requests connect in the proxy.

use std::io;
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use super::address::Socket;

/// After how long a silence the kernel asks a server whether it is still there. One that vanished without a
/// word (a container off its network, a host that lost power) is found out in 13 s, and the requests that wait for it are tried again.
pub const KEEPALIVE_AFTER: Duration = Duration::from_secs(5);
/// Between two such questions.
pub const KEEPALIVE_APART: Duration = Duration::from_secs(2);
/// Unanswered ones, until the connection is dead.
pub const KEEPALIVE_TRIES: u32 = 4;

/// A byte stream to a server.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Opens connections. A trait, so that tests can let a server come and go.
#[async_trait]
pub trait Dial: Send + Sync {
    /// A connection to `socket`. Without a deadline: that is the caller's.
    async fn dial(&self, socket: &Socket) -> io::Result<Box<dyn Stream>>;
}

/// Opens real connections.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemDialer;

#[async_trait]
impl Dial for SystemDialer {
    async fn dial(&self, socket: &Socket) -> io::Result<Box<dyn Stream>> {
        Ok(match socket {
            Socket::Tcp(addr) => Box::new(TcpStream::connect(addr).await?),
            Socket::Unix(path) => Box::new(UnixStream::connect(path).await?),
        })
    }
}

/// An I/O error as people read it: `connection refused`, not `Connection refused (os error 111)`.
pub fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text
        .split_once(" (os error")
        .map_or(text.as_str(), |(text, _)| text);
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_lowercase().chain(chars).collect(),
        None => error.kind().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_written_for_people() {
        let refused = io::Error::from_raw_os_error(rustix::io::Errno::CONNREFUSED.raw_os_error());
        assert_eq!(plain(&refused), "connection refused");
        assert_eq!(plain(&io::Error::other("No luck")), "no luck");
    }
}
