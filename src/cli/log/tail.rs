//! What is new in a file that others write to, and rotate: by renaming it and beginning another, or by cutting it off.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};

/// A line that is longer is given in pieces: those of the access log are far shorter.
const LINE_MAX: usize = 1024 * 1024;
/// One read.
const PIECE: usize = 64 * 1024;
/// Time between two looks without an event: some file systems send none.
const POLL: Duration = Duration::from_millis(500);

/// The file, and how far it was read.
#[derive(Debug)]
pub(super) struct Tail {
    path: PathBuf,
    file: File,
    /// The beginning of a line whose end was not written yet.
    begun: Vec<u8>,
    read: u64,
    hints: Receiver<()>,
    /// `None` where the system has no more watches to give; then the poll alone looks.
    _watcher: Option<RecommendedWatcher>,
}

impl Tail {
    /// Opens it so many lines before its end; without a number, at its beginning.
    pub(super) fn open(path: &Path, lines: Option<usize>) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let (hint, hints) = mpsc::channel();
        let mut watcher =
            notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
                // Reading it is an event, too.
                if !event.is_ok_and(|event| event.kind.is_access()) {
                    let _ = hint.send(());
                }
            })
            .ok();
        let directory = match path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        if let Some(watcher) = &mut watcher {
            // What cannot be watched is polled.
            let _ = watcher.watch(directory, RecursiveMode::NonRecursive);
        }
        let read = match lines {
            None => 0,
            Some(lines) => lines_before_end(&mut file, lines)?,
        };
        // A pipe has no place to go to, and is read from where it is.
        let read = file.seek(SeekFrom::Start(read)).unwrap_or(0);
        Ok(Self {
            path: path.to_owned(),
            file,
            begun: Vec::new(),
            read,
            hints,
            _watcher: watcher,
        })
    }

    /// Gives each line that was written since, from this file and the one that has come in its place. False where the
    /// receiver wants no more.
    pub(super) fn read(&mut self, mut line: impl FnMut(&[u8]) -> bool) -> io::Result<bool> {
        loop {
            if !self.read_open(&mut line)? {
                return Ok(false);
            }
            let open = self.file.metadata()?;
            if open.is_file() && open.len() < self.read {
                // Cut off: what was begun is gone, too.
                self.begun.clear();
                self.read = self.file.seek(SeekFrom::Start(0))?;
                continue;
            }
            let Ok(there) = fs::metadata(&self.path) else {
                // Moved away, and nothing in its place yet.
                return Ok(true);
            };
            if (there.dev(), there.ino()) == (open.dev(), open.ino()) {
                return Ok(true);
            }
            let Ok(next) = File::open(&self.path) else {
                return Ok(true);
            };
            // Its writer had it open a moment longer than it had its name.
            if !self.read_open(&mut line)? || !self.rest(&mut line) {
                return Ok(false);
            }
            self.file = next;
            self.read = 0;
        }
    }

    /// Gives what was begun as a line. False where the receiver wants no more.
    pub(super) fn rest(&mut self, mut line: impl FnMut(&[u8]) -> bool) -> bool {
        let begun = std::mem::take(&mut self.begun);
        begun.is_empty() || line(&begun)
    }

    /// Waits until there may be something new.
    pub(super) fn wait(&self) {
        let _ = self.hints.recv_timeout(POLL);
        while self.hints.try_recv().is_ok() {}
    }

    fn read_open(&mut self, line: &mut impl FnMut(&[u8]) -> bool) -> io::Result<bool> {
        let mut piece = vec![0; PIECE];
        loop {
            let length = match self.file.read(&mut piece) {
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if length == 0 {
                return Ok(true);
            }
            self.read += length as u64;
            let mut rest = piece.get(..length).unwrap_or_default();
            while let Some(end) = memchr::memchr(b'\n', rest) {
                self.begun
                    .extend_from_slice(rest.get(..end).unwrap_or_default());
                rest = rest.get(end + 1..).unwrap_or_default();
                let wanted = line(&self.begun);
                self.begun.clear();
                if !wanted {
                    return Ok(false);
                }
            }
            self.begun.extend_from_slice(rest);
            if self.begun.len() > LINE_MAX && !self.rest(&mut *line) {
                return Ok(false);
            }
        }
    }
}

/// Where the last lines begin.
fn lines_before_end(file: &mut File, lines: usize) -> io::Result<u64> {
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Ok(0);
    }
    let mut end = metadata.len();
    let mut left = lines;
    let mut piece = vec![0; PIECE];
    let mut at_end = true;
    while end > 0 {
        let begin = end.saturating_sub(PIECE as u64);
        let length = usize::try_from(end - begin).unwrap_or(PIECE);
        file.seek(SeekFrom::Start(begin))?;
        let piece = piece.get_mut(..length).unwrap_or_default();
        file.read_exact(piece)?;
        for at in memchr::memrchr_iter(b'\n', piece) {
            // The last line's own end begins no line.
            if std::mem::take(&mut at_end) && begin + at as u64 + 1 == metadata.len() && left > 0 {
                continue;
            }
            if left <= 1 {
                let skipped = if left == 0 {
                    metadata.len()
                } else {
                    begin + at as u64 + 1
                };
                return Ok(skipped);
            }
            left -= 1;
        }
        end = begin;
    }
    Ok(if lines == 0 { metadata.len() } else { 0 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn append(path: &Path, text: &str) {
        let file = File::options().create(true).append(true).open(path);
        let mut file = file.expect("the directory is ours");
        file.write_all(text.as_bytes()).expect("it is writable");
    }

    fn read(tail: &mut Tail) -> Vec<String> {
        let mut lines = Vec::new();
        let all = tail.read(|line| {
            lines.push(String::from_utf8_lossy(line).into_owned());
            true
        });
        assert!(all.expect("it can be read"));
        lines
    }

    #[test]
    fn it_begins_where_it_is_told() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("access.log");
        for (text, count, expected) in [
            ("a\nb\nc\n", Some(2), &["b", "c"][..]),
            ("a\nb\nc\n", Some(1), &["c"]),
            ("a\nb\nc\n", Some(0), &[]),
            ("a\nb\nc\n", Some(3), &["a", "b", "c"]),
            ("a\nb\nc\n", Some(9), &["a", "b", "c"]),
            ("a\nb\nc\n", None, &["a", "b", "c"]),
            // The last line is not written to its end: it is one of those asked for.
            ("a\nb\nc", Some(2), &["b"]),
            ("\n\n\n", Some(2), &["", ""]),
            ("", Some(2), &[]),
            ("", None, &[]),
        ] {
            fs::write(&path, text).expect("the directory is ours");
            let mut tail = Tail::open(&path, count).expect("it is there");
            assert_eq!(read(&mut tail), expected, "{text:?} {count:?}");
        }
        let long: Vec<String> = (0..50_000).map(|n| format!("line {n}\n")).collect();
        fs::write(&path, long.concat()).expect("the directory is ours");
        let mut tail = Tail::open(&path, Some(20_000)).expect("it is there");
        let lines = read(&mut tail);
        assert_eq!(lines.len(), 20_000);
        assert_eq!(lines.first().map(String::as_str), Some("line 30000"));
    }

    #[test]
    fn a_line_is_given_when_it_has_ended() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("access.log");
        append(&path, "one\ntw");
        let mut tail = Tail::open(&path, None).expect("it is there");
        assert_eq!(read(&mut tail), ["one"]);
        append(&path, "o\n");
        assert_eq!(read(&mut tail), ["two"]);
        append(&path, "three");
        assert_eq!(read(&mut tail), [""; 0]);
        let mut rest = Vec::new();
        tail.rest(|line| {
            rest.extend_from_slice(line);
            true
        });
        assert_eq!(rest, b"three");
    }

    #[test]
    fn rotation_loses_nothing() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (path, moved) = (
            dir.path().join("access.log"),
            dir.path().join("access.log.1"),
        );
        append(&path, "before\n");
        let mut tail = Tail::open(&path, None).expect("it is there");
        assert_eq!(read(&mut tail), ["before"]);

        // Its writer goes on for a while in the file that was moved.
        fs::rename(&path, &moved).expect("the directory is ours");
        append(&moved, "late\n");
        assert_eq!(read(&mut tail), ["late"]);
        append(&moved, "later\nlast words");
        append(&path, "new\n");
        assert_eq!(read(&mut tail), ["later", "last words", "new"]);

        // `copytruncate`: the file stays, and is shorter than what was read of it.
        File::options()
            .write(true)
            .truncate(true)
            .open(&path)
            .expect("it is there");
        append(&path, "x\n");
        assert_eq!(read(&mut tail), ["x"]);
        fs::remove_file(&path).expect("it is there");
        assert_eq!(read(&mut tail), [""; 0]);
        append(&path, "again\n");
        assert_eq!(read(&mut tail), ["again"]);
    }

    #[test]
    fn who_has_seen_enough_is_given_no_more() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("access.log");
        append(&path, "one\ntwo\n");
        let mut tail = Tail::open(&path, None).expect("it is there");
        let mut seen = 0;
        let wanted = tail.read(|_| {
            seen += 1;
            false
        });
        assert_eq!((wanted.ok(), seen), (Some(false), 1));
    }

    #[test]
    fn a_line_without_end_is_given_in_pieces() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("access.log");
        fs::write(&path, vec![b'a'; 3 * LINE_MAX]).expect("the directory is ours");
        let mut tail = Tail::open(&path, None).expect("it is there");
        assert!(read(&mut tail).len() >= 2);
        assert!(tail.begun.len() <= LINE_MAX);
    }
}
