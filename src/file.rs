//! Reads the files that an operator names: whole, and none that does not end.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

/// The largest file that is read, in octets: far beyond any configuration, certificate or list of users.
const LARGEST: u64 = 64 * 1024 * 1024;

/// The content of a file.
///
/// # Errors
/// What the system says; that it is a pipe or a socket, which may have nobody at its other end and would be waited for; that
/// it is larger than 64 MiB.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    read_up_to(path, LARGEST)
}

/// The same of one that may have so many octets at most.
///
/// # Errors
/// As of [`read`].
pub fn read_up_to(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    // Asked first: opening a pipe waits for its writer. The pipes that a shell makes (`<(…)`) have one.
    let kind = path.metadata()?.file_type();
    let of_a_shell = path.starts_with("/dev") || path.starts_with("/proc");
    if kind.is_socket() || kind.is_fifo() && !of_a_shell {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is not a file but a pipe or a socket",
        ));
    }
    let mut content = Vec::new();
    let more = most.saturating_add(1);
    File::open(path)?.take(more).read_to_end(&mut content)?;
    if content.len() as u64 > most {
        let message = format!("it is larger than {} MiB", most / (1024 * 1024));
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(content)
}

/// The content of a file as text.
///
/// # Errors
/// As of [`read`], and that it is not UTF-8.
pub fn read_to_string(path: &Path) -> io::Result<String> {
    String::from_utf8(read(path)?)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.utf8_error()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{CWD, Mode, mkfifoat};

    #[test]
    fn what_does_not_end_is_not_read() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let at = |name: &str| dir.path().join(name);
        mkfifoat(CWD, at("pipe"), Mode::RUSR | Mode::WUSR).expect("a pipe");
        let _listening = std::os::unix::net::UnixListener::bind(at("socket")).expect("it is bound");
        std::fs::write(at("file"), "text").expect("it is written");
        File::create(at("large"))
            .and_then(|file| file.set_len(LARGEST + 1))
            .expect("it is written");
        std::os::unix::fs::symlink("file", at("link")).expect("it is linked");
        let told = |path: &Path| match read_to_string(path) {
            Ok(text) => text,
            Err(error) => error.to_string(),
        };
        for name in ["pipe", "socket"] {
            assert_eq!(told(&at(name)), "it is not a file but a pipe or a socket");
        }
        assert_eq!(told(&at("large")), "it is larger than 64 MiB");
        assert_eq!(told(Path::new("/dev/zero")), "it is larger than 64 MiB");
        assert_eq!(told(Path::new("/dev/null")), "");
        assert_eq!(told(&at("link")), "text");
        let absent = read(&at("absent")).expect_err("there is none");
        assert_eq!(absent.kind(), io::ErrorKind::NotFound);
        let directory = read(dir.path()).expect_err("it is none");
        assert_eq!(directory.kind(), io::ErrorKind::IsADirectory);
        assert!(read_up_to(&at("file"), 3).is_err());
    }
}
