//! The last word on what was made: it loads as any configuration does. What Forebay refuses of it is left out, and said.

use super::ImportError;
use super::document::Document;
use super::note::Notes;
use crate::config;
use crate::config::ConfigErrors;

/// The text of a document that loads.
///
/// # Errors
/// [`ImportError::Invalid`] where leaving things out does not help.
pub(super) fn passing(mut document: Document, notes: &Notes) -> Result<String, ImportError> {
    loop {
        let text = document.write();
        let Err(errors) = config::load_str(&text, "proxy.toml") else {
            return Ok(text);
        };
        if !without(&mut document, &text, &errors, notes) {
            return Err(ImportError::Invalid(errors.to_string()));
        }
    }
}

/// Leaves out what the first error is about. False where nothing is.
fn without(document: &mut Document, text: &str, errors: &ConfigErrors, notes: &Notes) -> bool {
    let Some((line, why)) = errors.0.iter().find_map(|error| {
        let line = error.location.as_ref()?.line;
        Some((line, error.message.as_str()))
    }) else {
        return false;
    };
    let headers = headers(text, line);
    let Some(header) = headers.last() else {
        return false;
    };
    let count = |wanted: &str| headers.iter().filter(|text| **text == wanted).count();
    let at = |wanted: &str| count(wanted).checked_sub(1);
    match *header {
        "[[route]]" => {
            let Some(at) = at("[[route]]").filter(|at| *at < document.routes.len()) else {
                return false;
            };
            let route = document.routes.remove(at);
            notes.refused(&route.comment, why);
            true
        }
        "[[listen]]" => {
            let Some(at) = at("[[listen]]").filter(|at| *at < document.listen.len()) else {
                return false;
            };
            let listen = document.listen.remove(at);
            notes.refused(&listen.addr, why);
            true
        }
        header if header.starts_with("[upstream.") => {
            let before = headers.iter().filter(|text| text.starts_with("[upstream."));
            let Some(at) = before.count().checked_sub(1) else {
                return false;
            };
            if at >= document.upstreams.len() {
                return false;
            }
            let (name, _) = document.upstreams.remove(at);
            notes.refused(&name, why);
            // What led to it must not be answered by a wider route instead.
            for route in &mut document.routes {
                route.content.lose(&name);
            }
            true
        }
        "[limits]" => {
            notes.refused("[limits]", why);
            !std::mem::take(&mut document.limits).is_empty()
        }
        "[server]" => {
            notes.refused("[server]", why);
            document.threads = None;
            !std::mem::take(&mut document.trusted_proxies).is_empty()
        }
        _ => false,
    }
}

/// The headers of sections up to a line, which counts from 1. What a string of several lines holds is none.
fn headers(text: &str, last: usize) -> Vec<&str> {
    let mut all = Vec::new();
    let mut within = false;
    for line in text.lines().take(last) {
        if !within && line.starts_with('[') {
            all.push(line);
        }
        let quotes = line.matches("\"\"\"").count() + line.matches("'''").count();
        within ^= quotes % 2 == 1;
    }
    all
}
