//! A password file: who is in it, read again when it has changed.

use super::hash::{self, Hash, Unfit};
use crate::clock::{self, Instant};
use crate::file;
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use std::{fs, io};

/// The file is looked at this often at most; a look costs a system call.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What there is to do about a line.
const REMEDY: &str = "make a new line with `forebay password NAME`";

/// Why a password file cannot be used. Never shows what stands behind a name.
#[derive(Debug, thiserror::Error)]
pub enum UsersError {
    /// It cannot be read.
    #[error("cannot read the password file `{}`: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A line that is no name, colon and hash.
    #[error("{}:{line}: expected `name:hash`; {REMEDY}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, counted from one.
        line: usize,
    },
    /// A user whose password is kept in no good way.
    #[error("{}:{line}: user `{name}`: {why}; {REMEDY}", path.display())]
    Password {
        /// The file.
        path: PathBuf,
        /// The line, counted from one.
        line: usize,
        /// The user.
        name: String,
        /// What is wrong.
        why: Unfit,
    },
    /// A user who is there already.
    #[error("{}:{line}: user `{name}` is here twice, first on line {first}; take one of the lines away", path.display())]
    Twice {
        /// The file.
        path: PathBuf,
        /// The line, counted from one.
        line: usize,
        /// The user.
        name: String,
        /// The line that was first.
        first: usize,
    },
}

/// Who is in a file, by their names.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Table {
    users: HashMap<String, (usize, Hash)>,
    /// The hashes in the order of the lines: whoever is not in the file costs as much as somebody who is.
    hashes: Vec<Hash>,
}

impl Table {
    fn parse(path: &Path, text: &str) -> Result<Self, UsersError> {
        let mut table = Self::default();
        for (at, content) in text.lines().enumerate() {
            let (line, content) = (at + 1, content.trim());
            if content.is_empty() || content.starts_with('#') {
                continue;
            }
            let path = || path.to_owned();
            let Some((name, rest)) = content.split_once(':').filter(|(name, _)| !name.is_empty())
            else {
                return Err(UsersError::Line { path: path(), line });
            };
            // nginx leaves room for a remark behind a second colon.
            let hash = rest.split(':').next().unwrap_or_default();
            let hash = Hash::parse(hash).map_err(|why| UsersError::Password {
                path: path(),
                line,
                name: name.to_owned(),
                why,
            })?;
            if let Some((first, _)) = table.users.get(name) {
                return Err(UsersError::Twice {
                    path: path(),
                    line,
                    name: name.to_owned(),
                    first: *first,
                });
            }
            table.hashes.push(hash.clone());
            table.users.insert(name.to_owned(), (line, hash));
        }
        Ok(table)
    }

    /// The hash of a user.
    pub(super) fn hash(&self, name: &str) -> Option<&Hash> {
        self.users.get(name).map(|(_, hash)| hash)
    }

    /// A hash to spend time on for a user who is not there, the same one each time.
    pub(super) fn decoy(&self, number: u64) -> Option<&Hash> {
        let count = u64::try_from(self.hashes.len()).ok().filter(|it| *it > 0)?;
        self.hashes.get(usize::try_from(number % count).ok()?)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.users.len()
    }
}

/// By what a changed file is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    length: u64,
}

/// A password file in use.
#[derive(Debug)]
pub struct Users {
    path: PathBuf,
    table: ArcSwap<Table>,
    /// When it was looked at, and what was seen. Held for a comparison only.
    looked: Mutex<(Instant, Option<Stamp>)>,
}

impl Users {
    /// Reads the file.
    ///
    /// # Errors
    /// [`UsersError`].
    pub fn load(path: &Path) -> Result<Self, UsersError> {
        let (table, stamp) = read(path)?;
        Ok(Self {
            path: path.to_owned(),
            table: ArcSwap::from_pointee(table),
            looked: Mutex::new((clock::now(), stamp)),
        })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Who is in it now.
    pub(super) fn table(&self) -> Arc<Table> {
        self.table.load_full()
    }

    /// Whether it is time for a look; whoever is told so takes it.
    pub(super) fn is_due(&self) -> bool {
        let mut looked = self.looked.lock();
        let now = clock::now();
        let due = now.duration_since(looked.0) >= LOOK_EVERY;
        if due {
            looked.0 = now;
        }
        due
    }

    /// Looks whether the file has changed, and takes what it says now. A file that cannot be used leaves what was in force, and
    /// is said once. Reads files: not for a data thread.
    pub(super) fn look(&self) {
        let stamp = stamp(&self.path);
        let before = {
            let mut looked = self.looked.lock();
            std::mem::replace(&mut looked.1, stamp)
        };
        if before == stamp {
            return;
        }
        match self.reload() {
            Ok(_) => tracing::info!(
                "password file `{}` was read again: {} users",
                self.path.display(),
                self.table.load().len()
            ),
            Err(error) => tracing::warn!("{error}; the users read before stay in force"),
        }
    }

    /// Reads the file whether it seems to have changed or not. Says whether it has.
    ///
    /// # Errors
    /// [`UsersError`]; the users read before stay in force.
    pub fn reload(&self) -> Result<bool, UsersError> {
        let (table, stamp) = read(&self.path)?;
        let before = self.table.swap(Arc::new(table));
        *self.looked.lock() = (clock::now(), stamp);
        Ok(before != self.table.load_full())
    }
}

/// A line for a password file.
///
/// # Errors
/// Why there can be none.
pub fn line(name: &str, password: &str) -> Result<String, &'static str> {
    if name.is_empty() || name.starts_with('#') || name.contains([':', '\n', '\r']) {
        return Err(
            "a user's name has at least one character, no colon, and does not begin with `#`",
        );
    }
    if name.trim() != name {
        return Err("a user's name has no spaces at its ends");
    }
    Ok(format!("{name}:{}", hash::make(password)?))
}

/// The stamp is of before: what changes in between is seen by the next look.
fn read(path: &Path) -> Result<(Table, Option<Stamp>), UsersError> {
    let stamp = stamp(path);
    let text = file::read_to_string(path).map_err(|source| UsersError::Read {
        path: path.to_owned(),
        source,
    })?;
    Ok((Table::parse(path, &text)?, stamp))
}

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = fs::metadata(path).ok()?;
    Some(Stamp {
        modified: metadata.modified().ok(),
        length: metadata.len(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: &str = "$2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW";
    const BOB: &str = "$apr1$9sNvqYxX$JCrMXxVFbAHMZmqNe/r8t1";

    fn parse(text: &str) -> Result<Table, UsersError> {
        Table::parse(Path::new("/etc/users"), text)
    }

    #[test]
    fn names_and_hashes() {
        let text = format!("# staff\n\nann:{ANN}\r\n bob:{BOB}:the builder\n");
        let table = parse(&text).expect("a good file");
        assert_eq!(table.len(), 2);
        assert_eq!(table.hash("bob").map(Hash::text), Some(BOB));
        assert_eq!(table.hash("eve"), None);
        assert!(table.decoy(u64::MAX).is_some());
        assert!(parse("# nobody\n").expect("a good file").decoy(1).is_none());
    }

    #[test]
    fn a_line_that_is_made_is_a_good_one() {
        let line = line("ann", "correct horse").expect("a line");
        let table = parse(&line).expect("a good file");
        assert!(
            table
                .hash("ann")
                .is_some_and(|hash| hash.fits(b"correct horse"))
        );
        for (name, password) in [("", "x"), ("a:b", "x"), ("#a", "x"), ("a", ""), (" a", "x")] {
            assert!(
                super::line(name, password).is_err(),
                "{name:?} {password:?}"
            );
        }
        assert!(super::line("a", &"x".repeat(73)).is_err());
    }

    #[test]
    fn errors_name_the_line_and_the_remedy_and_no_secret() {
        for (text, expected) in [
            ("hunter2", "/etc/users:1: expected `name:hash`"),
            (":hunter2", "/etc/users:1: expected `name:hash`"),
            (
                "#\nann:hunter2",
                "/etc/users:2: user `ann`: the password is not hashed",
            ),
            (
                "ann:{SHA}hunter2",
                "/etc/users:1: user `ann`: the password is a plain SHA-1",
            ),
            ("ann:", "/etc/users:1: user `ann`: no password"),
            (
                "ann:$apr1$hunter2",
                "/etc/users:1: user `ann`: the password's hash is damaged",
            ),
            (
                &format!("ann:{ANN}\nann:{BOB}"),
                "user `ann` is here twice, first on line 1",
            ),
        ] {
            let error = parse(text).expect_err("a bad file").to_string();
            assert!(error.contains(expected), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_changed_file_is_taken_and_a_bad_one_is_not() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("users");
        fs::write(&path, format!("ann:{ANN}\n")).expect("writing");
        let users = Users::load(&path).expect("a good file");
        fs::write(&path, format!("ann:{ANN}\nbob:{BOB}\n")).expect("writing");
        users.look();
        assert_eq!(users.table().len(), 2);
        assert!(!users.reload().expect("a good file"), "it is known by now");
        fs::write(&path, format!("ann:{BOB}\nbob:{BOB}\n")).expect("writing");
        assert!(users.reload().expect("a good file"));
        fs::write(&path, "ann:plain\n").expect("writing");
        users.look();
        assert_eq!(users.table().len(), 2);
        assert!(users.reload().is_err());
        fs::remove_file(&path).expect("removing");
        users.look();
        assert_eq!(users.table().len(), 2);
    }
}
