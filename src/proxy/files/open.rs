//! Opens files below a root, and only there: a symbolic link that leads out of it is as good as absent.

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// A directory that files are served from.
#[derive(Debug)]
pub(super) struct Root {
    fd: OwnedFd,
    path: PathBuf,
}

/// What stands under a name.
#[derive(Debug)]
pub(super) enum Opened {
    /// An ordinary file.
    File(Found),
    /// A directory.
    Directory,
    /// Neither, nothing, or something outside the root.
    Nothing,
}

/// An open file, and what it was when it was opened.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) file: File,
    /// In bytes.
    pub(super) length: u64,
    pub(super) modified: Option<SystemTime>,
    pub(super) inode: u64,
}

/// Without `NONBLOCK` opening a FIFO would wait for its writer.
const FLAGS: OFlags = OFlags::RDONLY
    .union(OFlags::CLOEXEC)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY);

/// The kernel answers `EAGAIN` when a directory is renamed while it walks the path.
const TRIES: usize = 8;

impl Root {
    /// # Errors
    /// As the file system gives them, `NotFound` included: the root is the operator's word.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self {
            fd: openat(CWD, path, flags, Mode::empty())?,
            path: path.to_owned(),
        })
    }

    /// Opens `name`, which is relative; the empty name is the root.
    ///
    /// # Errors
    /// `PermissionDenied`, and whatever is no answer about the name, such as too many open files.
    pub(super) fn open_file(&self, name: &Path) -> io::Result<Opened> {
        if name.as_os_str().is_empty() {
            return Ok(Opened::Directory);
        }
        match self.open_beneath(name) {
            Ok(fd) => describe(File::from(fd)),
            Err(error) => absent_or(error),
        }
    }

    fn open_beneath(&self, name: &Path) -> Result<OwnedFd, Errno> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let mut result = Err(Errno::AGAIN);
        for _ in 0..TRIES {
            result = openat2(&self.fd, name, FLAGS, Mode::empty(), resolve);
            if !matches!(result, Err(Errno::AGAIN | Errno::INTR)) {
                break;
            }
        }
        // An old kernel, or a sandbox that does not know the call (old Docker: `EPERM`).
        if matches!(result, Err(Errno::NOSYS | Errno::PERM)) {
            return self.open_canonical(name);
        }
        result
    }

    /// Without `openat2`: resolves all links first and compares. Who may rename directories below the root could slip a
    /// link in between; a client cannot.
    fn open_canonical(&self, name: &Path) -> Result<OwnedFd, Errno> {
        let errno = |error: io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
        let root = self.path.canonicalize().map_err(errno)?;
        let target = root.join(name).canonicalize().map_err(errno)?;
        if !target.starts_with(&root) {
            return Err(Errno::XDEV);
        }
        openat(CWD, &target, FLAGS | OFlags::NOFOLLOW, Mode::empty())
    }
}

fn describe(file: File) -> io::Result<Opened> {
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Ok(Opened::Directory);
    }
    if !metadata.is_file() {
        return Ok(Opened::Nothing);
    }
    Ok(Opened::File(Found {
        length: metadata.len(),
        modified: metadata.modified().ok(),
        inode: metadata.ino(),
        file,
    }))
}

/// What cannot be is absent: an impossible name, a link that leads out or in circles, a socket.
fn absent_or(error: Errno) -> io::Result<Opened> {
    match error {
        Errno::NOENT
        | Errno::NOTDIR
        | Errno::XDEV
        | Errno::LOOP
        | Errno::NAMETOOLONG
        | Errno::INVAL
        | Errno::ILSEQ
        | Errno::NXIO => Ok(Opened::Nothing),
        error => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    /// What both ways of opening must say.
    #[test]
    fn links_do_not_lead_out() {
        let outside = tempfile::tempdir().expect("a directory");
        fs::write(outside.path().join("secret"), "s").expect("written");
        let dir = tempfile::tempdir().expect("a directory");
        let root_path = dir.path().join("root");
        fs::create_dir_all(root_path.join("sub")).expect("made");
        fs::write(root_path.join("sub/file"), "content").expect("written");
        fs::write(dir.path().join("root-sibling"), "s").expect("written");
        for (target, name) in [
            (Path::new("sub/file"), "inside"),
            (Path::new("sub"), "inside-dir"),
            (&outside.path().join("secret"), "absolute"),
            (outside.path(), "out-dir"),
            (Path::new("../root-sibling"), "climbing"),
            (Path::new("circle"), "circle"),
            (Path::new("nowhere"), "dangling"),
        ] {
            symlink(target, root_path.join(name)).expect("linked");
        }
        let root = Root::open(&root_path).expect("a root");
        for (name, expected) in [
            ("sub/file", "file"),
            ("sub", "directory"),
            ("", "directory"),
            ("inside", "file"),
            ("inside-dir/file", "file"),
            ("absolute", "nothing"),
            ("out-dir", "nothing"),
            ("out-dir/secret", "nothing"),
            ("climbing", "nothing"),
            ("../root-sibling", "nothing"),
            ("circle", "nothing"),
            ("dangling", "nothing"),
            ("absent", "nothing"),
            ("sub/file/below", "nothing"),
            (&"n".repeat(300), "nothing"),
        ] {
            let name = Path::new(name);
            assert_eq!(word(&root.open_file(name)), expected, "{name:?}");
            if name != Path::new("") {
                let by_name = match root.open_canonical(name) {
                    Ok(fd) => describe(File::from(fd)),
                    Err(error) => absent_or(error),
                };
                assert_eq!(word(&by_name), expected, "{name:?} without openat2");
            }
        }
    }

    #[test]
    fn what_is_not_a_file_is_not_opened() {
        let dir = tempfile::tempdir().expect("a directory");
        let socket = dir.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).expect("bound");
        let fifo = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(CWD, dir.path().join("fifo"), fifo, Mode::RUSR, 0).expect("made");
        let root = Root::open(dir.path()).expect("a root");
        for name in ["socket", "fifo"] {
            assert_eq!(word(&root.open_file(Path::new(name))), "nothing", "{name}");
        }
        assert!(Root::open(&dir.path().join("absent")).is_err());
    }

    fn word(opened: &io::Result<Opened>) -> &'static str {
        match opened {
            Ok(Opened::File(_)) => "file",
            Ok(Opened::Directory) => "directory",
            Ok(Opened::Nothing) => "nothing",
            Err(_) => "error",
        }
    }
}
