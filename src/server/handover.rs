//! Gives the listening sockets to a new process, so that an upgrade never closes a port.
//!
//! On SIGQUIT the old process [`offer`]s: it opens a private unix socket, starts the program anew with that
//! socket's address in `FOREBAY_HANDOVER`, and sends it every listening socket. The new process [`take`]s them at
//! start, binds the rest, and says [`Inherited::ready`]; only then does the old one stop accepting and drain. Both
//! hold the same kernel sockets meanwhile, so no connection is refused and none is lost in a closed queue. A
//! successor that fails, or is not ready in time, changes nothing: the old process goes on serving.
//!
//! Where the old process is process 1 of a container, its end is the container's end, successor included: there, deploy
//! by starting a new container.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::net::sockopt::socket_peercred;
use rustix::process::getuid;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt;
use tokio::process::Command;
use tokio::time::timeout;

use crate::admin::settings::AdminListen;

mod successor;
mod wire;

use wire::{BATCH, Message};

/// The environment variable that tells a new process where its predecessor waits: `@name` is an abstract unix
/// socket, anything else a path.
pub const ADDRESS_VARIABLE: &str = "FOREBAY_HANDOVER";

/// How long a successor may take from its start to being ready.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a new process waits for a message of its predecessor.
const RECEIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// What a successor says when it serves.
const READY: &[u8] = b"ready\n";

/// Where a handed-over socket listens, as the settings write it: port 0 stays 0 here.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Place {
    /// A TCP address.
    Tcp(SocketAddr),
    /// A unix socket.
    Unix(PathBuf),
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(addr) => addr.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl From<SocketAddr> for Place {
    fn from(addr: SocketAddr) -> Self {
        Self::Tcp(addr)
    }
}

impl From<&AdminListen> for Place {
    fn from(listen: &AdminListen) -> Self {
        match listen {
            AdminListen::Tcp(addr) => Self::Tcp(*addr),
            AdminListen::Unix(path) => Self::Unix(path.clone()),
        }
    }
}

/// Listening sockets by place; a place has one for each data thread that accepts there.
pub type Sockets = Vec<(Place, Vec<OwnedFd>)>;

/// Why a hand-over did not happen.
#[derive(Debug, thiserror::Error)]
pub enum HandoverError {
    /// The old process cannot offer.
    #[error("cannot open a socket for the hand-over: {0}")]
    Open(#[source] io::Error),
    /// The new program is not there or not executable.
    #[error("cannot start `{}`: {source}", program.display())]
    Spawn {
        /// What was to be started.
        program: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The new process ended early.
    #[error("the new process ended with {0} before it was ready; its own log says why")]
    Ended(ExitStatus),
    /// The new process took too long.
    #[error("the new process was not ready within {} s", .0.as_secs())]
    Late(Duration),
    /// The conversation broke off, as it does when the other process gives up.
    #[error("the hand-over broke off: {0}")]
    Broken(#[from] io::Error),
    /// A stranger is at the other end.
    #[error(
        "the process at the other end of the hand-over runs as user {found}, expected {expected} or root"
    )]
    Stranger {
        /// Its user id.
        found: u32,
        /// Ours.
        expected: u32,
    },
    /// The new process cannot reach its predecessor.
    #[error(
        "no process offers its sockets at `{address}` (from {ADDRESS_VARIABLE}): {source}; unset it to start afresh"
    )]
    Absent {
        /// The value of the variable.
        address: String,
        /// What the system said.
        source: io::Error,
    },
}

/// Starts the program anew with this process's arguments, gives it `sockets` and waits until it serves. Returns its
/// process id; from then on this process may stop accepting. On any error the successor is ended, and nothing has changed.
///
/// # Errors
/// See [`HandoverError`]; the first four are this side's.
pub async fn offer(sockets: &Sockets) -> Result<u32, HandoverError> {
    let program = successor::program().map_err(HandoverError::Open)?;
    let mut command = Command::new(program);
    command.args(std::env::args_os().skip(1));
    offer_to(command, sockets).await
}

async fn offer_to(mut command: Command, sockets: &Sockets) -> Result<u32, HandoverError> {
    let (listener, address) = open_private().map_err(HandoverError::Open)?;
    let mut child = command
        .env(ADDRESS_VARIABLE, &address)
        .spawn()
        .map_err(|source| HandoverError::Spawn {
            program: command.as_std().get_program().into(),
            source,
        })?;
    let id = child.id().unwrap_or_default();
    tracing::info!(successor = id, %address, "offering the listening sockets");
    let outcome = outcome(give(listener, sockets), child.wait()).await;
    if outcome.is_err() {
        // A half-started successor must not come up later beside us. It may be gone already.
        let _ = child.start_kill();
        let _ = child.wait().await;
    }
    outcome.map(|()| id)
}

/// What comes first: the sockets are given, the successor ends, or patience does.
async fn outcome(
    given: impl Future<Output = Result<(), HandoverError>>,
    ended: impl Future<Output = io::Result<ExitStatus>>,
) -> Result<(), HandoverError> {
    tokio::select! {
        // What a successor has said counts before what became of it.
        biased;
        given = timeout(PATIENCE, given) => given.unwrap_or(Err(HandoverError::Late(PATIENCE))),
        ended = ended => Err(ended.map_or_else(HandoverError::Broken, HandoverError::Ended)),
    }
}

/// Waits for a successor to connect, sends it everything, and waits for its "ready".
async fn give(listener: UnixListener, sockets: &Sockets) -> Result<(), HandoverError> {
    let listener = tokio::net::UnixListener::from_std(listener)?;
    let mut stream = loop {
        let (stream, _) = listener.accept().await?;
        match known(&stream) {
            Ok(()) => break stream,
            // An abstract socket has no mode to keep others out; being asked by one is no reason to give up.
            Err(stranger) => tracing::warn!(%stranger, "refused"),
        }
    };
    let mut total = 0;
    for (place, sockets) in sockets {
        for batch in sockets.chunks(BATCH) {
            let message = Message::Sockets {
                place: place.clone(),
                count: batch.len(),
            };
            wire::send(&mut stream, &message, batch).await?;
            total += batch.len();
        }
    }
    wire::send(&mut stream, &Message::End { total }, &[]).await?;
    let mut answer = [0; READY.len()];
    stream.read_exact(&mut answer).await?;
    if answer == READY {
        Ok(())
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidData, "an answer other than `ready`").into())
    }
}

/// Sockets taken over from a predecessor, which goes on serving until [`Inherited::ready`]. Dropping this without it tells
/// the predecessor that the start has failed.
#[derive(Debug)]
pub struct Inherited {
    stream: UnixStream,
    sockets: Sockets,
}

impl Inherited {
    /// The sockets that listen at `place`, in their order; none where the predecessor did not listen there.
    ///
    /// There may be more or fewer than this process has threads. Each must be accepted from or its queue emptied:
    /// the kernel goes on spreading connections over all of them until they are closed.
    pub fn sockets(&mut self, place: &Place) -> Vec<OwnedFd> {
        match self.sockets.iter().position(|(at, _)| at == place) {
            Some(index) => self.sockets.swap_remove(index).1,
            None => Vec::new(),
        }
    }

    /// The places not asked for, which the new settings do not listen at any more. Their queues are to be emptied too.
    pub fn unclaimed(&mut self) -> Sockets {
        std::mem::take(&mut self.sockets)
    }

    /// Tells the predecessor that this process serves: it drains now.
    ///
    /// # Errors
    /// When it is gone. This process serves all the same.
    pub fn ready(mut self) -> Result<(), HandoverError> {
        Ok(self.stream.write_all(READY)?)
    }
}

/// Takes the sockets of the predecessor that [`ADDRESS_VARIABLE`] names; `None` where it is not set. Blocks; called at
/// start, before anything is bound.
///
/// # Errors
/// When there is a predecessor to ask but no taking over. Binding afresh would then fail or steal connections from
/// it, so the start should.
pub fn take() -> Result<Option<Inherited>, HandoverError> {
    std::env::var_os(ADDRESS_VARIABLE)
        .filter(|address| !address.is_empty())
        .map(|address| take_from(&address))
        .transpose()
}

fn take_from(address: &OsStr) -> Result<Inherited, HandoverError> {
    let stream = unix_address(address)
        .and_then(|at| UnixStream::connect_addr(&at))
        .map_err(|source| HandoverError::Absent {
            address: address.to_string_lossy().into_owned(),
            source,
        })?;
    known(&stream)?;
    stream.set_read_timeout(Some(RECEIVE_TIMEOUT))?;
    stream.set_write_timeout(Some(RECEIVE_TIMEOUT))?;
    let mut sockets = Sockets::new();
    let mut received = 0;
    loop {
        let (message, mut batch) = wire::receive(&stream)?;
        received += batch.len();
        match message {
            Message::Sockets { place, count } if count == batch.len() => {
                match sockets.iter_mut().find(|(at, _)| *at == place) {
                    Some((_, all)) => all.append(&mut batch),
                    None => sockets.push((place, batch)),
                }
            }
            Message::End { total } if total == received => break,
            // The kernel drops what exceeds this process's limit of open files, without a word.
            Message::Sockets { .. } | Message::End { .. } => {
                let lost = "some sockets did not arrive; is the limit of open files (RLIMIT_NOFILE) too low?";
                return Err(io::Error::other(lost).into());
            }
        }
    }
    Ok(Inherited { stream, sockets })
}

/// A listener nobody can guess, find in a directory, or must clean up: an abstract socket works in a container without a
/// writable file system. Users are told apart by [`known`].
fn open_private() -> io::Result<(UnixListener, String)> {
    let name = format!("forebay-{}-{:016x}", std::process::id(), fastrand::u64(..));
    let listener = UnixListener::bind_addr(&UnixAddr::from_abstract_name(&name)?)?;
    listener.set_nonblocking(true)?;
    Ok((listener, format!("@{name}")))
}

fn unix_address(address: &OsStr) -> io::Result<UnixAddr> {
    match address.as_encoded_bytes().strip_prefix(b"@") {
        Some(name) => UnixAddr::from_abstract_name(name),
        None => UnixAddr::from_pathname(address),
    }
}

/// Whether the process at the other end belongs to our user or to root.
fn known(stream: impl AsFd) -> Result<(), HandoverError> {
    let found = socket_peercred(stream).map_err(io::Error::from)?.uid;
    let ours = getuid();
    if found == ours || found.is_root() {
        Ok(())
    } else {
        Err(HandoverError::Stranger {
            found: found.as_raw(),
            expected: ours.as_raw(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::{pending, ready};
    use std::net::{Ipv4Addr, TcpListener, TcpStream};
    use std::os::unix::process::ExitStatusExt;
    use tokio::task::spawn_blocking;

    fn listener() -> TcpListener {
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port")
    }

    /// Seventy sockets at one place, so that they need three messages, and one at another.
    fn many() -> (Vec<SocketAddr>, Sockets) {
        let listeners: Vec<TcpListener> = (0..70).map(|_| listener()).collect();
        let addresses = listeners
            .iter()
            .map(|listener| listener.local_addr().expect("it is bound"))
            .collect();
        let fds = listeners.into_iter().map(OwnedFd::from).collect();
        let place = Place::Tcp(([0, 0, 0, 0], 8080).into());
        let admin = Place::Unix("/run/forebay.sock".into());
        (
            addresses,
            vec![(place, fds), (admin, vec![listener().into()])],
        )
    }

    #[tokio::test]
    async fn every_socket_arrives_in_order_and_listens() {
        let (addresses, sockets) = many();
        let (listener, address) = open_private().expect("an abstract socket");
        let taking = spawn_blocking(move || {
            let mut inherited = take_from(address.as_ref()).expect("the predecessor offers");
            let taken = inherited.sockets(&Place::Tcp(([0, 0, 0, 0], 8080).into()));
            let rest = inherited.unclaimed();
            inherited.ready().expect("the predecessor waits");
            (taken, rest)
        });
        give(listener, &sockets)
            .await
            .expect("the successor is ready");
        drop(sockets);

        let (taken, rest) = taking.await.expect("no panic");
        assert_eq!(taken.len(), addresses.len());
        assert_eq!(rest.len(), 1);
        assert_eq!(rest[0].0, Place::Unix("/run/forebay.sock".into()));
        for (socket, address) in taken.into_iter().zip(addresses) {
            let socket = TcpListener::from(socket);
            assert_eq!(socket.local_addr().ok(), Some(address));
            TcpStream::connect(address).expect("it still listens");
            socket.accept().expect("the connection is in its queue");
        }
    }

    #[tokio::test]
    async fn a_successor_that_gives_up_is_an_error() {
        let (_, sockets) = many();
        let (listener, address) = open_private().expect("an abstract socket");
        let taking = spawn_blocking(move || drop(take_from(address.as_ref())));
        let outcome = give(listener, &sockets).await;
        assert!(
            matches!(outcome, Err(HandoverError::Broken(_))),
            "{outcome:?}"
        );
        taking.await.expect("no panic");
    }

    /// No test here starts a process: between fork and exec it would hold a copy of every socket of the tests that
    /// run beside it, and theirs would seem to listen on.
    #[tokio::test(start_paused = true)]
    async fn what_comes_first_decides() {
        let failed = || ready(Ok(ExitStatus::from_raw(256)));
        let both = outcome(ready(Ok(())), failed()).await;
        assert!(both.is_ok(), "{both:?}");
        let ended = outcome(pending(), failed())
            .await
            .map_err(|error| error.to_string());
        let text =
            "the new process ended with exit status: 1 before it was ready; its own log says why";
        assert_eq!(ended, Err(text.to_owned()));
        let late = outcome(pending(), pending())
            .await
            .map_err(|error| error.to_string());
        assert_eq!(
            late,
            Err("the new process was not ready within 30 s".to_owned())
        );
    }

    #[test]
    fn nobody_offering_names_the_variable() {
        let error = take_from("@forebay-nobody".as_ref()).expect_err("nobody offers");
        assert!(error.to_string().contains("unset it"), "{error}");
    }
}
