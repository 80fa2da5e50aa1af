//! Precompressed siblings: `app.js.br` is sent for `app.js` to a client that takes it.

use super::open::{Found, Opened, Root};
use crate::proxy::negotiate;
use http::HeaderMap;
use http::header::ACCEPT_ENCODING;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// A content coding with an extension of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    Brotli,
    Zstd,
    Gzip,
}

/// In the order preferred where a client has no preference: the smallest first.
const CODINGS: [Coding; 3] = [Coding::Brotli, Coding::Zstd, Coding::Gzip];

impl Coding {
    /// As in `Content-Encoding`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
        }
    }

    fn extension(self) -> &'static str {
        match self {
            Self::Brotli => ".br",
            Self::Zstd => ".zst",
            Self::Gzip => ".gz",
        }
    }
}

/// The representation of `name` that the client prefers, and whether there was a choice.
///
/// A sibling older than the file by a second or more is left over from another version and not used.
pub(super) fn choose(
    root: &Root,
    name: &Path,
    plain: Found,
    headers: &HeaderMap,
) -> io::Result<(Found, Option<Coding>, bool)> {
    let mut best: Option<(u16, Coding, Found)> = None;
    let mut varies = false;
    for coding in CODINGS {
        let Opened::File(sibling) = root.open_file(&sibling(name, coding))? else {
            continue;
        };
        if is_older(sibling.modified, plain.modified) {
            continue;
        }
        varies = true;
        let weight =
            negotiate::weight(headers, &ACCEPT_ENCODING, &[coding.name(), "*"]).unwrap_or(0);
        if weight > best.as_ref().map_or(0, |(weight, ..)| *weight) {
            best = Some((weight, coding, sibling));
        }
    }
    // Only a client that says so prefers the plain file: being named with less is no preference against it.
    let plain_weight = negotiate::weight(headers, &ACCEPT_ENCODING, &["identity"]).unwrap_or(0);
    Ok(match best {
        Some((weight, coding, found)) if weight >= plain_weight => (found, Some(coding), varies),
        _ => (plain, None, varies),
    })
}

fn sibling(name: &Path, coding: Coding) -> PathBuf {
    let mut name = name.as_os_str().to_owned();
    name.push(coding.extension());
    name.into()
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
