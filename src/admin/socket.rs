//! The control plane's listening socket: TCP, or a unix socket that only our user can open.

use std::fs::{self, Permissions};
use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use super::settings::AdminListen;

/// A bound listener.
#[derive(Debug)]
pub struct Socket {
    pub(super) listener: Listener,
    listen: AdminListen,
}

/// The two kinds of listeners, in non-blocking mode.
#[derive(Debug)]
pub(super) enum Listener {
    /// TCP.
    Tcp(TcpListener),
    /// Unix.
    Unix(UnixListener),
}

impl Socket {
    /// Binds. A unix socket's file is made with mode 0600; one left behind by a dead process is replaced.
    ///
    /// # Errors
    /// `AddrInUse` where somebody listens already, and what the system says.
    pub fn bind(listen: &AdminListen) -> io::Result<Self> {
        let listener = match listen {
            AdminListen::Tcp(addr) => Listener::Tcp(TcpListener::bind(addr)?),
            AdminListen::Unix(path) => Listener::Unix(bind_unix(path)?),
        };
        Self::new(listener, listen)
    }

    /// Goes on with a listening socket that a predecessor bound at `listen`.
    ///
    /// # Errors
    /// What the system says.
    pub fn inherit(listen: &AdminListen, socket: OwnedFd) -> io::Result<Self> {
        let listener = match listen {
            AdminListen::Tcp(_) => Listener::Tcp(socket.into()),
            AdminListen::Unix(_) => Listener::Unix(socket.into()),
        };
        Self::new(listener, listen)
    }

    /// A second descriptor of the same socket, to hand over or to keep across a reload.
    ///
    /// # Errors
    /// When there are too many open files.
    pub fn duplicate(&self) -> io::Result<OwnedFd> {
        Ok(match &self.listener {
            Listener::Tcp(listener) => listener.try_clone()?.into(),
            Listener::Unix(listener) => listener.try_clone()?.into(),
        })
    }

    /// Where it listens; port 0 has become a real one.
    pub fn address(&self) -> &AdminListen {
        &self.listen
    }

    fn new(listener: Listener, listen: &AdminListen) -> io::Result<Self> {
        let listen = match &listener {
            Listener::Tcp(tcp) => {
                tcp.set_nonblocking(true)?;
                AdminListen::Tcp(tcp.local_addr()?)
            }
            Listener::Unix(unix) => {
                unix.set_nonblocking(true)?;
                listen.clone()
            }
        };
        Ok(Self { listener, listen })
    }
}

/// Binds under a passing name, takes everybody else's rights away, and only then renames into place: at no moment is
/// there a socket at `path` that others could open.
fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.file_type().is_socket() => {
            let text = "a file that is not a socket is there; remove it or choose another path";
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
        }
        Ok(_) if UnixStream::connect(path).is_ok() => {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        // Nobody listens: a process left it behind when it died.
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let mut passing = path.as_os_str().to_owned();
    passing.push(format!(".{}", std::process::id()));
    let passing = Path::new(&passing);
    let listener = UnixListener::bind(passing)?;
    fs::set_permissions(passing, Permissions::from_mode(0o600))
        .and_then(|()| fs::rename(passing, path))
        .inspect_err(|_| {
            let _ = fs::remove_file(passing);
        })?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unix_socket_is_private_and_a_stale_one_is_replaced() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("forebay.sock");
        let listen = AdminListen::Unix(path.clone());

        let first = Socket::bind(&listen).expect("a fresh name");
        let mode = fs::metadata(&path)
            .expect("it is there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        let taken = Socket::bind(&listen).expect_err("somebody listens");
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);

        drop(first);
        assert!(path.exists(), "dropping leaves the file, as dying does");
        Socket::bind(&listen).expect("nobody listens any more");
    }

    #[test]
    fn a_file_that_is_no_socket_is_left_alone() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("notes");
        fs::write(&path, "mine").expect("the directory is ours");
        let error = Socket::bind(&AdminListen::Unix(path.clone())).expect_err("not a socket");
        assert!(error.to_string().contains("not a socket"), "{error}");
        assert_eq!(fs::read_to_string(path).ok().as_deref(), Some("mine"));
    }

    #[test]
    fn an_inherited_socket_is_the_same_one() {
        let first =
            Socket::bind(&AdminListen::Tcp(([127, 0, 0, 1], 0).into())).expect("a free port");
        let fd = first.duplicate().expect("a second descriptor");
        let second = Socket::inherit(first.address(), fd).expect("it listens");
        assert_eq!(first.address(), second.address());
    }
}
