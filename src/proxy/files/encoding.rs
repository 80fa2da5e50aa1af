//! Precompressed siblings: `app.js.br` is sent for `app.js` to a client that takes it.

use super::open::{Found, Opened, Root};
use crate::coding::{Coding, negotiate};
use http::HeaderMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// The representation of `name` that the client prefers, and whether there was a choice.
///
/// A sibling older than the file by a second or more is left over from another version and not used.
pub(super) fn choose(
    root: &Root,
    name: &Path,
    plain: Found,
    headers: &HeaderMap,
) -> (Found, Option<Coding>, bool) {
    let (mut offered, mut siblings) = (Vec::new(), Vec::new());
    for coding in Coding::BY_SIZE {
        // One that may not be read is one that is not there.
        let Ok(Opened::File(sibling)) = root.open_file(&sibling(name, coding)) else {
            continue;
        };
        if !is_older(sibling.modified, plain.modified) {
            offered.push(coding);
            siblings.push((coding, sibling));
        }
    }
    let coding = negotiate::choose(headers, &offered);
    let chosen = siblings
        .into_iter()
        .find(|(offered, _)| Some(*offered) == coding);
    let found = chosen.map_or(plain, |(_, sibling)| sibling);
    (found, coding, !offered.is_empty())
}

fn sibling(name: &Path, coding: Coding) -> PathBuf {
    let mut name = name.as_os_str().to_owned();
    name.push(extension(coding));
    name.into()
}

fn extension(coding: Coding) -> &'static str {
    match coding {
        Coding::Brotli => ".br",
        Coding::Zstd => ".zst",
        Coding::Gzip => ".gz",
    }
}

/// Some tools copy times without fractions of a second, hence the second of grace.
fn is_older(sibling: Option<SystemTime>, plain: Option<SystemTime>) -> bool {
    match (sibling, plain) {
        (Some(sibling), Some(plain)) => plain
            .duration_since(sibling)
            .is_ok_and(|by| by >= Duration::from_secs(1)),
        _ => false,
    }
}
