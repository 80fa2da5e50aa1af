//! Notices when the configuration's files have changed.
//!
//! Files change in several ways, and not all of them send an event for the name that was watched: an editor renames
//! a new file into place, Kubernetes turns a `..data` symlink, a bind-mounted file is written from outside its
//! container, some shared file systems send nothing at all. So events are only hints to look, a slow poll looks
//! without one, and *changed* means that the contents differ from those last seen.

use crate::file;
use std::collections::BTreeSet;
use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};

use crate::clock;

/// Contents count as settled when no event has come for this long: a save is often several steps.
const QUIET: Duration = Duration::from_millis(200);
/// An unsettled file is looked at after this long all the same.
const QUIET_MAX: Duration = Duration::from_secs(2);
/// Time between two looks without an event.
const POLL: Duration = Duration::from_secs(5);

/// A watch over the configuration's files.
#[derive(Debug)]
pub struct Watch {
    sources: Vec<PathBuf>,
    seen: u64,
    hint: Arc<Notify>,
    /// `None` where the system has no more watches to give; then the poll alone looks.
    watcher: Option<RecommendedWatcher>,
}

impl Watch {
    /// Watches `sources` as they are now. A system that refuses costs promptness (one poll), not the watch.
    pub fn start(sources: &[PathBuf]) -> Self {
        let hint = Arc::new(Notify::new());
        let waker = Arc::clone(&hint);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Reading a file is an event too, and looking reads them: it must not be a hint to look again.
            if !event.is_ok_and(|event| event.kind.is_access()) {
                waker.notify_one();
            }
        })
        .inspect_err(|error| {
            tracing::warn!(%error, "files are polled instead of watched");
        })
        .ok();
        let mut watch = Self {
            sources: Vec::new(),
            seen: 0,
            hint,
            watcher,
        };
        watch.follow(sources);
        watch.seen = fingerprint(&watch.sources).unwrap_or(0);
        watch
    }

    /// From now on watches `sources`: for a reload that changed what is included.
    ///
    /// Other sources than before may have changed since they were read, so they count as changed once; the reload
    /// that follows finds nothing new. The same sources keep what was last seen of them: a change that came while they
    /// were read is still a change.
    pub fn follow(&mut self, sources: &[PathBuf]) {
        if self.sources != sources {
            self.sources = sources.to_vec();
            self.seen = 0;
            self.hint.notify_one();
        }
        self.subscribe();
    }

    /// Waits until contents differ from those last seen. Cancel-safe.
    ///
    /// A change is also a further `.toml` beside a source: an `include` may name it. While a source is missing
    /// nothing has changed: editors and Kubernetes pass through that state.
    pub async fn changed(&mut self) {
        loop {
            // Timed out or not, the next step is to look.
            let hinted = timeout(POLL, self.hint.notified()).await.is_ok();
            if hinted {
                self.settle().await;
                self.subscribe();
            }
            if let Some(now) = fingerprint(&self.sources)
                && now != self.seen
            {
                self.seen = now;
                return;
            }
        }
    }

    /// Waits until no event has come for [`QUIET`], at most [`QUIET_MAX`].
    async fn settle(&self) {
        let latest = clock::now() + QUIET_MAX;
        loop {
            let quiet: Instant = (clock::now() + QUIET).min(latest);
            tokio::select! {
                () = sleep_until(quiet) => return,
                () = self.hint.notified() => {}
            }
        }
    }

    /// Subscribes to every source and its directory, and to what a symlink leads to. Done again after each event:
    /// a replaced file is a new inode, which the old subscription does not follow.
    fn subscribe(&mut self) {
        let Some(watcher) = &mut self.watcher else {
            return;
        };
        let mut places = BTreeSet::new();
        for source in &self.sources {
            places.insert(directory(source).to_path_buf());
            places.insert(source.clone());
            if let Ok(real) = fs::canonicalize(source) {
                places.insert(directory(&real).to_path_buf());
            }
        }
        for place in places {
            if let Err(error) = watcher.watch(&place, RecursiveMode::NonRecursive) {
                tracing::debug!(place = %place.display(), %error, "not watched, only polled");
            }
        }
    }
}

/// One number for the contents of all sources and of the `.toml` files beside them; `None` while a source is missing.
fn fingerprint(sources: &[PathBuf]) -> Option<u64> {
    let mut files: BTreeSet<PathBuf> = sources.iter().cloned().collect();
    for directory in sources
        .iter()
        .map(|source| directory(source))
        .collect::<BTreeSet<_>>()
    {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        files.extend(entries.map(|entry| entry.path()).filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "toml")
        }));
    }
    let mut hasher = DefaultHasher::new();
    for path in files {
        match file::read(&path) {
            Ok(contents) => (&path, contents).hash(&mut hasher),
            Err(_) if sources.contains(&path) => return None,
            // A neighbour that cannot be read is not part of the configuration yet.
            Err(_) => {}
        }
    }
    Some(hasher.finish())
}

/// The directory a file is in; the current one for a bare name.
fn directory(file: &Path) -> &Path {
    match file.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn write(path: &Path, text: &str) {
        fs::write(path, text).expect("the directory is ours");
    }

    #[test]
    fn a_bare_name_is_in_the_current_directory() {
        assert_eq!(directory(Path::new("proxy.toml")), Path::new("."));
        assert_eq!(directory(Path::new("/etc/proxy.toml")), Path::new("/etc"));
    }

    #[test]
    fn what_counts_as_a_change() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let main = dir.path().join("proxy.toml");
        write(&main, "a");
        let sources = vec![main.clone()];
        let first = fingerprint(&sources);

        write(&main, "a");
        assert_eq!(fingerprint(&sources), first, "the same contents again");
        write(&dir.path().join("notes.txt"), "x");
        assert_eq!(fingerprint(&sources), first, "another kind of file");
        write(&dir.path().join("more.toml"), "x");
        assert_ne!(fingerprint(&sources), first, "a file to include");
        fs::remove_file(&main).expect("the file is there");
        assert_eq!(fingerprint(&sources), None, "a source is missing");
    }

    #[tokio::test(start_paused = true)]
    async fn a_renamed_file_is_noticed() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let main = dir.path().join("proxy.toml");
        write(&main, "old");
        let mut watch = Watch::start(std::slice::from_ref(&main));

        let draft = dir.path().join("draft");
        write(&draft, "new");
        fs::rename(&draft, &main).expect("the same directory");
        watch.changed().await;

        // And once more: the new inode is followed too.
        write(&main, "newer");
        watch.changed().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_turned_symlink_is_noticed() {
        // Kubernetes: proxy.toml -> ..data/proxy.toml, ..data -> ..1, and a change turns ..data to ..2.
        let dir = tempfile::tempdir().expect("a temporary directory");
        for (version, text) in [("..1", "old"), ("..2", "new")] {
            fs::create_dir(dir.path().join(version)).expect("a fresh name");
            write(&dir.path().join(version).join("proxy.toml"), text);
        }
        let main = dir.path().join("proxy.toml");
        symlink("..1", dir.path().join("..data")).expect("a fresh name");
        symlink("..data/proxy.toml", &main).expect("a fresh name");
        let mut watch = Watch::start(&[main]);

        let turned = dir.path().join("..data_tmp");
        symlink("..2", &turned).expect("a fresh name");
        fs::rename(&turned, dir.path().join("..data")).expect("the same directory");
        watch.changed().await;
    }
}
