//! The static file server, planning half: from a request and a directory to a status, fields and what to send.
//!
//! It does blocking file I/O and so runs inside `spawn_blocking`. An answer of 400 and above has no body: the caller
//! writes the error page. Which names are served at all is decided in [`place`], which of them lie inside the root in
//! [`open`]; the preconditions that only an origin has are evaluated in [`conditions`], all others and ranges where stored
//! responses have them too, in [`serve`].
//!
//! Deliberately absent: directory listings, and `Cache-Control`, which is the route's to set (`response_headers`).

mod body;
mod conditions;
mod encoding;
mod open;
mod place;

pub use body::{BodyReader, FileBody};

use crate::cache::serve::{
    self, Arrival, Fields, Order, Plan, StoredView, Validators, whole_seconds,
};
use crate::clock;
use crate::coding::Coding;
use crate::fields::{date, etag::EntityTag};
use crate::telemetry::seldom::Seldom;
use http::header::{
    ACCEPT_RANGES, ALLOW, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, LAST_MODIFIED,
    LOCATION, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use open::{Found, Root};
use place::Place;
use std::io;
use std::path::Path;
use std::time::Duration;

/// A directory as a route serves it.
#[derive(Debug, Clone, Copy)]
pub struct Directory<'a> {
    /// Nothing outside is served, whatever symbolic links say.
    pub root: &'a Path,
    /// The file served for a directory.
    pub index: &'a str,
    /// The file under `root` served, with 200, where none matches.
    pub fallback: Option<&'a str>,
}

/// What the file server sees of a request.
#[derive(Debug, Clone, Copy)]
pub struct FileRequest<'a> {
    /// The method.
    pub method: &'a Method,
    /// The path below the root, normalised and rewritten by the route, still percent-encoded.
    pub path: &'a str,
    /// The path that the client asked for, before it was rewritten. Redirects are relative to it.
    pub asked: &'a str,
    /// The query without its `?`.
    pub query: Option<&'a str>,
    /// The header fields.
    pub headers: &'a HeaderMap,
}

/// What to answer.
#[derive(Debug)]
pub struct FileAnswer {
    /// The status.
    pub status: StatusCode,
    /// The fields, `Content-Length` included where the answer has one.
    pub headers: HeaderMap,
    /// What follows them.
    pub body: FileBody,
}

/// The answer to `request` from `directory`.
pub fn answer(directory: Directory<'_>, request: &FileRequest<'_>) -> FileAnswer {
    if request.method != Method::GET && request.method != Method::HEAD {
        let mut answer = FileAnswer::empty(StatusCode::METHOD_NOT_ALLOWED);
        answer.set(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return answer;
    }
    match find(directory, request) {
        Ok(Lookup::File(file)) => present(file, request),
        Ok(Lookup::NeedsSlash) => redirect_to_directory(request),
        Ok(Lookup::Nothing) => FileAnswer::empty(StatusCode::NOT_FOUND),
        Err(error) => {
            static TOLD: Seldom = Seldom::new();
            if TOLD.is_time() {
                let root = directory.root.display();
                tracing::warn!(%root, path = request.path, "a file cannot be read: {error}");
            }
            FileAnswer::empty(match error.kind() {
                io::ErrorKind::PermissionDenied => StatusCode::FORBIDDEN,
                _ => StatusCode::INTERNAL_SERVER_ERROR,
            })
        }
    }
}

enum Lookup {
    File(Chosen),
    /// A directory, asked for without its slash: relative links in its index would go wrong.
    NeedsSlash,
    Nothing,
}

/// The representation that was chosen.
struct Chosen {
    found: Found,
    content_type: HeaderValue,
    coding: Option<Coding>,
    /// Whether there are others to choose from, so that caches must keep them apart.
    varies: bool,
}

fn find(directory: Directory<'_>, request: &FileRequest<'_>) -> io::Result<Lookup> {
    let root = Root::open(directory.root)?;
    if let Some(place) = Place::of(request.path) {
        match look_up(&root, &place, directory.index, request)? {
            Lookup::Nothing => {}
            found => return Ok(found),
        }
    }
    let Some(fallback) = directory.fallback else {
        return Ok(Lookup::Nothing);
    };
    // The operator's own name: it may be hidden, but not outside the root.
    let name = Path::new(fallback.trim_start_matches('/'));
    open_file(&root, name, request)
}

fn look_up(
    root: &Root,
    place: &Place,
    index: &str,
    request: &FileRequest<'_>,
) -> io::Result<Lookup> {
    if !place.is_directory {
        match root.open_file(&place.path)? {
            open::Opened::Directory => {}
            open::Opened::File(found) => return Ok(choose(root, &place.path, found, request)),
            open::Opened::Nothing => return Ok(Lookup::Nothing),
        }
    }
    let found = open_file(root, &place.path.join(index), request)?;
    // The slash counts in what the client asked: `/static` may have become `/` by stripping a prefix.
    if matches!(found, Lookup::File(_)) && !request.asked.ends_with('/') {
        return Ok(Lookup::NeedsSlash);
    }
    Ok(found)
}

fn open_file(root: &Root, name: &Path, request: &FileRequest<'_>) -> io::Result<Lookup> {
    match root.open_file(name)? {
        open::Opened::File(found) => Ok(choose(root, name, found, request)),
        open::Opened::Directory | open::Opened::Nothing => Ok(Lookup::Nothing),
    }
}

fn choose(root: &Root, name: &Path, plain: Found, request: &FileRequest<'_>) -> Lookup {
    let content_type = content_type(name);
    let (found, coding, varies) = encoding::choose(root, name, plain, request.headers);
    Lookup::File(Chosen {
        found,
        content_type,
        coding,
        varies,
    })
}

fn present(chosen: Chosen, request: &FileRequest<'_>) -> FileAnswer {
    let Chosen { found, .. } = &chosen;
    let now = clock::wall();
    let changed = found.modified.map(whole_seconds);
    let validators = Validators {
        etag: entity_tag(found),
        changed,
        // RFC 9110 §8.8.2.2: it may change again within its second, and clocks of file systems tick late.
        strong_date: changed.filter(|&changed| now >= changed + Duration::from_secs(2)),
    };
    if conditions::is_failed(request.headers, &validators) {
        return FileAnswer::empty(StatusCode::PRECONDITION_FAILED);
    }
    let headers = fields(&chosen, &validators);
    let whole = StoredView {
        status: StatusCode::OK,
        fields: Fields::Map(&headers),
        length: Some(chosen.found.length),
        received: Arrival::At(now),
        order: Order::Any,
    };
    let plan = serve::plan_by(request.method, request.headers, &whole, || validators);
    let (status, mut headers) = plan.head(&whole);
    let pieces = plan.pieces(whole.length);
    if let Plan::Unsatisfiable { .. } = plan {
        // The caller's error page has a length of its own.
        headers.remove(CONTENT_LENGTH);
    }
    FileAnswer {
        status,
        headers,
        body: FileBody::File {
            file: chosen.found.file,
            pieces,
        },
    }
}

/// The fields of a 200 with the whole file.
fn fields(chosen: &Chosen, validators: &Validators) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Some(tag) = &validators.etag {
        headers.insert(ETAG, tag.to_header_value());
    }
    if let Some(value) = validators.changed.and_then(|m| ascii(&date::format(m))) {
        headers.insert(LAST_MODIFIED, value);
    }
    if chosen.varies {
        headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    }
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if let Some(coding) = chosen.coding {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
    }
    headers.insert(CONTENT_TYPE, chosen.content_type.clone());
    headers
}

/// `docs/` for `/x/docs`: relative, so that it holds whatever a proxy in front or a rewrite made of the path, and cannot
/// leave the site (`//evil.example/` could). The dot keeps a colon in the name from looking like a scheme.
fn redirect_to_directory(request: &FileRequest<'_>) -> FileAnswer {
    let name = request.asked.rsplit('/').next().unwrap_or("");
    let query = request.query.map(|query| format!("?{query}"));
    let location = format!("./{name}/{}", query.unwrap_or_default());
    let mut answer = FileAnswer::empty(StatusCode::PERMANENT_REDIRECT);
    match ascii(&super::template::escaped(&location)) {
        Some(location) => answer.set(LOCATION, location),
        None => answer.status = StatusCode::NOT_FOUND,
    }
    answer.set(CONTENT_LENGTH, HeaderValue::from_static("0"));
    answer
}

/// Changes whenever the file does: by its time in nanoseconds, its length and its inode. Strong: two versions of a file
/// share one only if written in place, to the same length, within one tick of the file system's clock.
fn entity_tag(found: &Found) -> Option<EntityTag> {
    let modified = found.modified?.duration_since(std::time::UNIX_EPOCH).ok()?;
    let (nanos, length, inode) = (modified.as_nanos(), found.length, found.inode);
    EntityTag::strong(format!("{nanos:x}-{length:x}-{inode:x}"))
}

/// By the extension. Text is taken for UTF-8.
pub(super) fn content_type(name: &Path) -> HeaderValue {
    let mime = mime_guess::from_path(name).first_or_octet_stream();
    let charset = if mime.type_() == "text" || mime.subtype() == "javascript" {
        "; charset=utf-8"
    } else {
        ""
    };
    let text = format!("{}{charset}", mime.essence_str());
    ascii(&text).unwrap_or(HeaderValue::from_static("application/octet-stream"))
}

fn ascii(text: &str) -> Option<HeaderValue> {
    HeaderValue::from_str(text).ok()
}

impl FileAnswer {
    fn empty(status: StatusCode) -> Self {
        Self {
            status,
            headers: HeaderMap::new(),
            body: FileBody::Empty,
        }
    }

    fn set(&mut self, name: HeaderName, value: HeaderValue) {
        self.headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests;
