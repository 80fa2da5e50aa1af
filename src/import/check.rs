//! The last word on what was made: it loads as any configuration does. What Forebay refuses of it is left out, and said.

use super::ImportError;
use super::document::{Action, Content, Document};
use super::note::{Kind, Notes};
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
            let route = &mut document.routes[at];
            // A wider route would answer instead, so as long as the path can be said it is answered here.
            if !matches!(route.content.action, Action::Respond { .. })
                && !why.contains("never reached")
            {
                notes.refused(Kind::Missing, &route.comment, why);
                let status = if route.content.is_guard() { 403 } else { 501 };
                route.content = Content::status(status);
                return true;
            }
            let route = document.routes.remove(at);
            // What no request gets to guards nothing.
            let is_guard = route.content.is_guard() && !why.contains("never reached");
            let kind = if is_guard { Kind::Open } else { Kind::Missing };
            notes.refused(kind, &route.comment, why);
            true
        }
        "[[listen]]" => {
            let Some(at) = at("[[listen]]").filter(|at| *at < document.listen.len()) else {
                return false;
            };
            let listen = document.listen.remove(at);
            notes.refused(Kind::Missing, &listen.addr, why);
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
            notes.refused(Kind::Missing, &name, why);
            // What led to it must not be answered by a wider route instead.
            for route in &mut document.routes {
                route.content.lose(&name);
            }
            true
        }
        header if header.starts_with("[rate_limit.") => {
            let before = headers
                .iter()
                .filter(|text| text.starts_with("[rate_limit."));
            let at = before.count().checked_sub(1);
            let Some(at) = at.filter(|at| *at < document.rate_limits.len()) else {
                return false;
            };
            let (name, _) = document.rate_limits.remove(at);
            notes.refused(Kind::Open, &name, why);
            for route in &mut document.routes {
                route.content.rate_limits.retain(|other| *other != name);
            }
            true
        }
        "[limits]" => {
            notes.refused(Kind::Missing, "[limits]", why);
            !std::mem::take(&mut document.limits).is_empty()
        }
        "[server]" => {
            notes.refused(Kind::Missing, "[server]", why);
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
