//! Lines that a process writes, kept for the test to look at and to wait for.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::sync::watch;

use super::within;

/// The lines so far, growing in the background.
#[derive(Debug, Clone)]
pub struct Lines {
    lines: Arc<Mutex<Vec<String>>>,
    /// True once the stream has ended.
    changed: watch::Receiver<bool>,
}

impl Lines {
    /// Collects the lines of `stream`.
    pub fn of(stream: impl AsyncRead + Unpin + Send + 'static) -> Self {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (change, changed) = watch::channel(false);
        let kept = lines.clone();
        tokio::spawn(async move {
            let mut stream = BufReader::new(stream);
            let mut line = Vec::new();
            while stream.read_until(b'\n', &mut line).await.unwrap_or(0) > 0 {
                kept.lock()
                    .push(String::from_utf8_lossy(&line).trim_end().to_owned());
                line.clear();
                change.send_replace(false);
            }
            change.send_replace(true);
        });
        Self { lines, changed }
    }

    /// All lines so far.
    pub fn all(&self) -> Vec<String> {
        self.lines.lock().clone()
    }

    /// The first line, now or later, for which `pick` gives something; `None` when the stream ends without one.
    pub async fn find<T>(&self, mut pick: impl FnMut(&str) -> Option<T>) -> Option<T> {
        let mut changed = self.changed.clone();
        let mut seen = 0;
        loop {
            let ended = *changed.borrow_and_update();
            for line in self.lines.lock().iter().skip(seen) {
                seen += 1;
                if let Some(found) = pick(line) {
                    return Some(found);
                }
            }
            if ended || changed.changed().await.is_err() {
                return None;
            }
        }
    }

    /// Waits for a line containing `part`.
    pub async fn expect(&self, part: &str) -> String {
        within(
            &format!("a line with {part:?}"),
            self.find(|line| line.contains(part).then(|| line.to_owned())),
        )
        .await
        .unwrap_or_else(|| panic!("the output ended without {part:?}: {:#?}", self.all()))
    }
}
