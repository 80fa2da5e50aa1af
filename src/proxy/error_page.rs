//! Our own error answers: a status, one sentence of what happened and the request's id; or the operator's file.
//!
//! The sentences are for whoever sees the answer first, often a visitor who will send a screenshot to the operator. They
//! say on which side the fault lies and nothing of what is inside: no address, no upstream's name, no error text of the
//! system. Those are in the log under the same id.

use crate::clock;
use crate::fields::weight::weight;
use crate::file;
use bytes::Bytes;
use http::header::ACCEPT;
use http::{HeaderMap, HeaderValue, StatusCode};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// The content of an error answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorPage {
    /// Its `Content-Type`.
    pub content_type: HeaderValue,
    /// Its body.
    pub body: Bytes,
}

/// Our page for `status`: HTML where the client's `Accept` names it, else plain text. `sentence` is what happened in
/// one sentence without its full stop, [`sentence`] where the caller knows no better.
pub fn page(
    status: StatusCode,
    sentence: &str,
    request_id: &str,
    request_headers: &HeaderMap,
) -> ErrorPage {
    let reason = status.canonical_reason().unwrap_or("Error");
    let code = status.as_u16();
    // `*/*` is what programs send; people's browsers name HTML.
    let html = weight(request_headers, &ACCEPT, &["text/html", "text/*"]);
    if html.is_none_or(|weight| weight == 0) {
        return ErrorPage {
            content_type: HeaderValue::from_static("text/plain; charset=utf-8"),
            body: format!("{code} {reason}: {sentence}.\nRequest id: {request_id}\n").into(),
        };
    }
    let (sentence, request_id) = (html_text(sentence), html_text(request_id));
    let body = format!(
        "<!doctype html>\n\
         <html lang=\"en\">\n\
         <meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <meta name=\"robots\" content=\"noindex\">\n\
         <title>{code} {reason}</title>\n\
         <style>\n\
         :root {{ color-scheme: light dark }}\n\
         body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 34rem; margin: 20vh auto 0; padding: 0 1rem }}\n\
         h1 {{ font-size: 1.25rem }}\n\
         small {{ opacity: .7 }}\n\
         </style>\n\
         <h1>{code} {reason}</h1>\n\
         <p>{sentence}.</p>\n\
         <p><small>Request id: <code>{request_id}</code></small></p>\n\
         </html>\n"
    );
    ErrorPage {
        content_type: HeaderValue::from_static("text/html; charset=utf-8"),
        body: body.into(),
    }
}

/// What a status of ours means, in one sentence without its full stop.
pub fn sentence(status: StatusCode) -> &'static str {
    match status.as_u16() {
        400 => "The request was malformed and went no further than this proxy",
        401 => "The request carries no valid credentials",
        403 => "This is not for you to see",
        404 => "There is nothing at this address",
        405 => "This address does not take requests of this method",
        408 => "The request took too long to arrive",
        412 => "What the request expects of this address does not hold",
        413 => "The request's body is larger than is accepted here",
        414 => "The address is longer than is accepted here",
        416 => "The requested part lies outside of what there is",
        417 => "The request expects something that is not supported here",
        429 => "There were too many requests, try again later",
        431 => "The request's header fields are larger than is accepted here",
        501 => "The request needs something that is not supported here",
        502 => "The application behind this proxy could not be reached or gave no usable answer",
        503 => "The application behind this proxy is not ready, try again shortly",
        504 => "The application behind this proxy did not answer in time",
        505 => "This version of HTTP is not spoken here",
        508 => "The request has been here before: it goes round in a loop of proxies",
        _ if status.is_client_error() => "The request cannot be answered as it is",
        _ => "Something went wrong on this side, not on yours",
    }
}

fn html_text(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' | '\'' => {
                // Writing to a String cannot fail.
                let _ = write!(out, "&#{};", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out
}

/// The operator's error pages, kept in memory and read again when their file changes.
///
/// They are read on the thread that answers: small local files, looked at once a second at most.
#[derive(Debug, Default)]
pub struct ErrorPages {
    /// Held while a file is read, so that a burst of errors reads it once. Nothing else is locked meanwhile.
    cached: Mutex<HashMap<PathBuf, Cached>>,
}

#[derive(Debug)]
struct Cached {
    page: Option<Arc<ErrorPage>>,
    version: Option<Version>,
    looked_at: clock::Instant,
}

/// What tells one content of a file from another.
type Version = (SystemTime, u64);

/// A larger error page is taken for a mistake.
const LARGEST: u64 = 1024 * 1024;
/// How long a change may go unnoticed.
const LOOK_EVERY: Duration = Duration::from_secs(1);

impl ErrorPages {
    /// The page in `path`, its type by its extension. `None` where the file cannot be read, is no file or is larger than
    /// 1 MiB, which is said in the log once for each look that finds a change: the caller then sends [`page`].
    pub fn load(&self, path: &Path) -> Option<Arc<ErrorPage>> {
        let mut cached = self.cached.lock();
        let before = cached.get(path);
        let now = clock::now();
        if let Some(before) = before
            && now.duration_since(before.looked_at) < LOOK_EVERY
        {
            return before.page.clone();
        }
        let version = version(path);
        let page = match before {
            Some(before) if before.version == version => before.page.clone(),
            _ => match read(path) {
                Ok(page) => Some(Arc::new(page)),
                Err(error) => {
                    let path = path.display();
                    tracing::warn!(%path, %error, "an error page cannot be read, ours is sent");
                    None
                }
            },
        };
        let entry = Cached {
            page: page.clone(),
            version,
            looked_at: now,
        };
        cached.insert(path.to_owned(), entry);
        page
    }
}

fn version(path: &Path) -> Option<Version> {
    let metadata = path.metadata().ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

fn read(path: &Path) -> io::Result<ErrorPage> {
    let body = file::read_up_to(path, LARGEST)?;
    Ok(ErrorPage {
        content_type: super::files::content_type(path),
        body: body.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepting(value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(value))])
    }

    #[test]
    fn html_for_who_names_it_and_text_for_others() {
        for (accept, html) in [
            ("text/html,application/xhtml+xml,*/*;q=0.8", true),
            ("text/*", true),
            ("*/*", false),
            ("application/json", false),
            ("text/html;q=0, */*", false),
            ("", false),
        ] {
            let status = StatusCode::BAD_GATEWAY;
            let page = page(status, sentence(status), "id-1", &accepting(accept));
            let body = std::str::from_utf8(&page.body).expect("text");
            assert_eq!(body.starts_with("<!doctype html>"), html, "{accept}");
            assert_eq!(page.content_type.as_bytes().starts_with(b"text/html"), html);
            assert!(body.contains("502 Bad Gateway") && body.contains("id-1"));
            assert!(body.contains("could not be reached"), "{body}");
        }
    }

    #[test]
    fn what_comes_from_outside_is_text() {
        let page = page(
            StatusCode::NOT_FOUND,
            "Nothing at <script>",
            "\"'&",
            &accepting("text/html"),
        );
        let body = std::str::from_utf8(&page.body).expect("text");
        assert!(body.contains("Nothing at &lt;script&gt;."));
        assert!(body.contains("<code>&#34;&#39;&amp;</code>"));
    }

    #[tokio::test(start_paused = true)]
    async fn the_operators_file_is_read_again_when_it_changes() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("502.html");
        let pages = ErrorPages::default();
        let load = || pages.load(&path).map(|page| page.body.clone());
        assert_eq!(load(), None);

        std::fs::write(&path, "one").expect("written");
        assert_eq!(load(), None, "looked at less than a second ago");
        tokio::time::advance(LOOK_EVERY).await;
        assert_eq!(load(), Some("one".into()));
        let page = pages.load(&path).expect("there");
        assert_eq!(page.content_type, "text/html; charset=utf-8");

        std::fs::write(&path, "another").expect("written");
        tokio::time::advance(LOOK_EVERY).await;
        assert_eq!(load(), Some("another".into()));

        let large = usize::try_from(LARGEST).expect("fits") + 1;
        std::fs::write(&path, vec![b' '; large]).expect("written");
        tokio::time::advance(LOOK_EVERY).await;
        assert_eq!(load(), None);
        assert_eq!(pages.load(dir.path()), None, "a directory");
    }
}
