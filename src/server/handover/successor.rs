//! Which program succeeds this process: the file at the path it was started by, even when that is a new one by now.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The program to start.
///
/// # Errors
/// When neither the name this process was started by nor the file it runs leads to an executable.
pub(super) fn program() -> io::Result<PathBuf> {
    choose(
        env::args_os().next().as_deref(),
        env::var_os("PATH").as_deref(),
        env::current_exe(),
    )
}

/// The name as typed comes first, because the kernel's answer has symlinks resolved: where `/usr/bin/forebay` has been
/// turned from version 1 to version 2, the running file is still version 1.
fn choose(
    typed: Option<&OsStr>,
    search: Option<&OsStr>,
    running: io::Result<PathBuf>,
) -> io::Result<PathBuf> {
    if let Some(typed) = typed.filter(|typed| !typed.is_empty()) {
        let direct = Path::new(typed);
        let found = if direct.components().count() > 1 || direct.is_absolute() {
            Some(direct.to_path_buf())
        } else {
            env::split_paths(search.unwrap_or_default())
                .map(|directory| directory.join(direct))
                .find(|path| executable(path))
        };
        if let Some(found) = found.filter(|path| executable(path)) {
            return Ok(found);
        }
    }
    let running = not_deleted(running?);
    if executable(&running) {
        Ok(running)
    } else {
        let text = format!("no executable file is at `{}` any more", running.display());
        Err(io::Error::new(io::ErrorKind::NotFound, text))
    }
}

/// Linux marks the path of a replaced file: `/usr/bin/forebay (deleted)`. The new file is at the path without it.
fn not_deleted(path: PathBuf) -> PathBuf {
    match path.as_os_str().as_bytes().strip_suffix(b" (deleted)") {
        Some(plain) if !path.exists() => OsString::from_vec(plain.to_vec()).into(),
        _ => path,
    }
}

fn executable(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn the_new_file_is_found() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let program = dir.path().join("forebay");
        fs::write(&program, "#!/bin/sh\n").expect("the directory is ours");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("the file is ours");
        let path = program.as_os_str();
        let deleted = dir.path().join("forebay (deleted)");
        let gone = || Err(io::Error::from(io::ErrorKind::NotFound));

        for (case, typed, search, running) in [
            ("by its path", Some(path), None, gone()),
            (
                "by a bare name in PATH",
                Some(OsStr::new("forebay")),
                Some(dir.path().as_os_str()),
                gone(),
            ),
            (
                "by the running file, replaced since",
                Some(OsStr::new("something-else")),
                Some(dir.path().as_os_str()),
                Ok(deleted),
            ),
            ("by the running file", None, None, Ok(program.clone())),
        ] {
            let found = choose(typed, search, running);
            assert_eq!(found.ok().as_deref(), Some(program.as_path()), "{case}");
        }
        let missing = choose(None, None, Ok(dir.path().join("nothing")));
        assert!(missing.is_err());
    }
}
