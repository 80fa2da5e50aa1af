//! Notices that certificate files have changed: by the kernel's events where there are any, by looking every few seconds
//! everywhere else.
//!
//! Directories are watched, not files: Kubernetes and certbot swap symbolic links, editors and `mv` replace the file, and
//! a watch on the old inode would never hear of it. Events do not cross bind mounts of single files, NFS or some container
//! file systems; the look every few seconds covers those.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use crate::tls::Acceptor;

/// After an event, files come to rest this long: a renewal writes certificate and key one after the other.
const SETTLE: Duration = Duration::from_millis(500);
/// Files are looked at this often even if nobody says that they changed.
const LOOK_EVERY: Duration = Duration::from_secs(15);
/// What follows when a directory cannot be watched.
const INSTEAD: &str = "changes are noticed within 15 s all the same";
/// Links followed on the way to a file; the kernel gives up at 40.
const LINKS_MAX: usize = 8;

/// Keeps the watch alive; dropping it ends it.
#[derive(Debug)]
#[must_use = "the files are watched only as long as this lives"]
pub struct Watch {
    task: JoinHandle<()>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Renews the acceptors' certificates when their files change. `on_change` is called after each look that renewed one or
/// kept one back, for metrics.
pub fn watch(
    handle: &Handle,
    acceptors: Vec<Arc<Acceptor>>,
    on_change: impl Fn(&[Arc<Acceptor>]) + Send + Sync + 'static,
) -> Watch {
    watch_every(LOOK_EVERY, handle, acceptors, on_change)
}

/// [`watch`], with another time between two looks.
pub(super) fn watch_every(
    look_every: Duration,
    handle: &Handle,
    acceptors: Vec<Arc<Acceptor>>,
    on_change: impl Fn(&[Arc<Acceptor>]) + Send + Sync + 'static,
) -> Watch {
    let changed = Arc::new(Notify::new());
    let mut directories = Directories::new(&changed);
    directories.follow(&acceptors);
    let acceptors: Arc<[Arc<Acceptor>]> = acceptors.into();
    let task = handle.spawn(async move {
        let mut look = tokio::time::interval(look_every);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        look.tick().await;
        loop {
            tokio::select! {
                () = changed.notified() => tokio::time::sleep(SETTLE).await,
                _ = look.tick() => {}
            }
            let looked_at = Arc::clone(&acceptors);
            // A file system that hangs must not hang the control thread.
            let looked = tokio::task::spawn_blocking(move || {
                // First watch, then look: what changes in between is seen by one of the two.
                directories.follow(&looked_at);
                (directories, renew(&looked_at))
            });
            // It only fails when the runtime ends.
            let Ok((back, change)) = looked.await else {
                return;
            };
            directories = back;
            if change {
                on_change(&acceptors);
            }
        }
    });
    Watch { task }
}

/// Whether any certificate was renewed or kept back.
fn renew(acceptors: &[Arc<Acceptor>]) -> bool {
    acceptors.iter().fold(false, |change, acceptor| {
        let renewal = acceptor.reload();
        change || renewal.renewed > 0 || !renewal.kept.is_empty()
    })
}

/// The directories whose events tell of a change.
struct Directories {
    /// `None` where the kernel gives no events; then looking has to do.
    watcher: Option<RecommendedWatcher>,
    watched: BTreeSet<PathBuf>,
}

impl Directories {
    fn new(changed: &Arc<Notify>) -> Self {
        let changed = Arc::clone(changed);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if event.is_ok_and(|event| is_change(event.kind)) {
                changed.notify_one();
            }
        });
        Self {
            watcher: watcher
                .inspect_err(|error| {
                    tracing::warn!("cannot watch certificate files ({error}); {INSTEAD}");
                })
                .ok(),
            watched: BTreeSet::new(),
        }
    }

    /// Watches where the files are now, which is elsewhere once a link has been swapped. A directory that cannot be
    /// watched is said once.
    fn follow(&mut self, acceptors: &[Arc<Acceptor>]) {
        let Some(watcher) = &mut self.watcher else {
            return;
        };
        let wanted = directories(acceptors.iter().flat_map(|acceptor| acceptor.paths()));
        for gone in self.watched.difference(&wanted) {
            // The directory may be gone, and its watch with it.
            let _ = watcher.unwatch(gone);
        }
        for new in wanted.difference(&self.watched) {
            if let Err(error) = watcher.watch(new, RecursiveMode::NonRecursive) {
                tracing::warn!("cannot watch `{}` ({error}); {INSTEAD}", new.display());
            }
        }
        self.watched = wanted;
    }
}

/// The directories of the files, and of every symbolic link on the way to them, by the names that lead there without
/// links: a swapped link leaves its old name pointing at the new place, and a watch by that name would seem to be there.
fn directories<'a>(paths: impl Iterator<Item = &'a Path>) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for path in paths {
        collect(path, LINKS_MAX, &mut found);
    }
    found
}

fn collect(path: &Path, links_left: usize, found: &mut BTreeSet<PathBuf>) {
    let parent = |path: &Path| match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    if let Ok(directory) = parent(path).canonicalize() {
        found.insert(directory);
    }
    if links_left == 0 {
        return;
    }
    for step in path.ancestors() {
        if let Ok(target) = step.read_link() {
            if let Ok(directory) = parent(step).canonicalize() {
                found.insert(directory);
            }
            let rest = path.strip_prefix(step).unwrap_or(Path::new(""));
            let next = parent(step).join(target);
            let next = if rest.as_os_str().is_empty() {
                next
            } else {
                next.join(rest)
            };
            collect(&next, links_left - 1, found);
        }
    }
}

/// Opening and reading are events too, and our own: answering them would never end.
fn is_change(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) => false,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use notify::event::CreateKind;
    use std::os::unix::fs::symlink;

    #[test]
    fn reading_is_no_change() {
        assert!(is_change(EventKind::Access(AccessKind::Close(
            AccessMode::Write
        ))));
        assert!(is_change(EventKind::Create(CreateKind::Any)));
        assert!(!is_change(EventKind::Access(AccessKind::Open(
            AccessMode::Any
        ))));
        assert!(!is_change(EventKind::Access(AccessKind::Close(
            AccessMode::Read
        ))));
    }

    /// Certbot links the file, Kubernetes the file and the directory, Capistrano the directory.
    #[test]
    fn directories_of_links_are_watched_too() {
        let root = tempfile::tempdir().expect("a directory");
        let root = root.path().canonicalize().expect("it exists");
        for directory in ["live", "archive", "releases/5"] {
            std::fs::create_dir_all(root.join(directory)).expect("a directory");
        }
        std::fs::write(root.join("archive/cert1.pem"), "").expect("a file");
        symlink("../archive/cert1.pem", root.join("live/cert.pem")).expect("a link");
        symlink("releases/5", root.join("current")).expect("a link");
        symlink("loop", root.join("loop")).expect("a link");
        for (file, expected) in [
            ("live/cert.pem", &["live", "archive"][..]),
            ("current/cert.pem", &["", "releases/5"]),
            ("archive/cert1.pem", &["archive"]),
            ("loop/cert.pem", &[""]),
        ] {
            let found = directories([root.join(file).as_path()].into_iter());
            let expected: BTreeSet<_> = expected
                .iter()
                .map(|directory| root.join(directory).canonicalize().expect("it exists"))
                .collect();
            assert_eq!(found, expected, "{file}");
        }
        assert_eq!(directories([Path::new("cert.pem")].into_iter()).len(), 1);
    }
}
