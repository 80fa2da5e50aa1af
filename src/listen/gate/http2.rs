//! Reads an HTTP/2 request head, already checked by the h2 crate, into the same [`Request`] as an HTTP/1 one.
//!
//! The h2 crate refuses malformed pseudo-fields, upper-case names and connection-specific fields (RFC 9113 §8.2, §8.3) and
//! holds DATA against `content-length`. What is left to decide here is the authority, the target, and what HTTP/1 origins
//! must not be shown.

use super::head::is_dropped;
use super::{Framing, Refusal, Request, is_in_capitals, refusals};
use crate::fields::{content_length, host, token, uri};
use crate::listen::settings::LimitSettings;
use http::header::{CONTENT_LENGTH, COOKIE, EXPECT, HOST, TE};
use http::{HeaderMap, HeaderValue, Method, Version, request};
use pingora::http::RequestHeader;
use std::borrow::Cow;

/// Reads the head of a stream; `ended` says whether its end came with it.
///
/// # Errors
/// The [`Refusal`] that the first violated rule names.
pub fn read(
    parts: &request::Parts,
    ended: bool,
    limits: &LimitSettings,
) -> Result<Request, Refusal> {
    judge(parts, ended, limits)?.into_request(parts)
}

/// What a head says that passed.
#[derive(Debug)]
pub struct Judged {
    host: String,
    framing: Framing,
    length: Option<u64>,
    expects_continue: bool,
    /// How many `Cookie` lines there are.
    crumbs: usize,
    /// Whether there is a `TE`.
    te: bool,
    /// Whether there are other fields that are never passed on, but for `Host`.
    dropped: bool,
}

/// A request that may be answered at once: nothing about it needs to be made or left out.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// GET or HEAD.
    pub method: &'a Method,
    /// In origin form.
    pub target: &'a str,
    /// The authority.
    pub authority: &'a str,
    /// The end-to-end fields, and `Host`.
    pub fields: &'a HeaderMap,
}

/// Judges a head, and makes nothing of it yet.
///
/// # Errors
/// The [`Refusal`] that the first violated rule names.
pub fn judge(
    parts: &request::Parts,
    ended: bool,
    limits: &LimitSettings,
) -> Result<Judged, Refusal> {
    match parts.method {
        _ if !is_in_capitals(&parts.method) => return Err(refusals::METHOD),
        Method::CONNECT => return Err(refusals::CONNECT),
        Method::TRACE => return Err(refusals::TRACE),
        _ => {}
    }
    if parts.headers.len() > limits.head_fields {
        return Err(refusals::HEAD_TOO_LARGE);
    }
    // What HTTP/1 would be asked for by such a target is no page of ours either.
    if !matches!(parts.uri.scheme_str(), None | Some("http" | "https")) {
        return Err(refusals::TARGET);
    }
    let host = choose_host(parts)?;
    let target = target(parts).ok_or(refusals::TARGET)?;
    if target != "*" {
        uri::check_origin_form(target.as_bytes()).map_err(|_| refusals::TARGET)?;
    }
    let mut judged = Judged {
        host: host.into_owned(),
        framing: Framing::None,
        length: None,
        expects_continue: false,
        crumbs: 0,
        te: false,
        dropped: false,
    };
    for (name, value) in &parts.headers {
        // RFC 9113 §8.2.1: what HTTP/1 would trim away is not there to be trimmed.
        let bytes = value.as_bytes();
        if !token::is_field_value(bytes) || token::trim_ows(bytes).len() != bytes.len() {
            return Err(refusals::CONTROL);
        }
        if name == CONTENT_LENGTH {
            let declared = content_length::parse([value])
                .map_err(|_| refusals::CONTENT_LENGTH)?
                .value();
            if judged.length.is_some() && judged.length != declared {
                return Err(refusals::CONTENT_LENGTH);
            }
            judged.length = declared;
        } else if name == EXPECT {
            if !value.as_bytes().eq_ignore_ascii_case(b"100-continue") {
                return Err(refusals::EXPECTATION);
            }
            judged.expects_continue = true;
        } else if name == COOKIE {
            judged.crumbs += 1;
        } else if name == TE {
            judged.te = true;
        } else if name != HOST && is_dropped(name) {
            judged.dropped = true;
        }
    }
    judged.framing = match (ended, judged.length) {
        (true, None | Some(0)) => Framing::None,
        (true, Some(_)) => return Err(refusals::CONTENT_LENGTH),
        (false, Some(length)) if length > 0 => Framing::Length(length),
        (false, _) => Framing::Streamed,
    };
    Ok(judged)
}

impl Judged {
    /// The request, where it may be answered at once. The fields of the head are put in order for that, in a way that
    /// makes no difference to [`Judged::into_request`].
    pub fn at_once<'a>(&'a self, parts: &'a mut request::Parts) -> Option<Asked<'a>> {
        let plain = matches!(parts.method, Method::GET | Method::HEAD)
            && self.framing == Framing::None
            && self.length.is_none()
            && !self.expects_continue
            && !self.dropped;
        if !plain {
            return None;
        }
        if self.te {
            parts.headers.remove(TE);
        }
        if self.crumbs > 1 {
            let cookie = join_cookies(parts).ok()??;
            parts.headers.insert(COOKIE, cookie);
        }
        let host = HeaderValue::from_str(&self.host).ok()?;
        parts.headers.insert(HOST, host);
        Some(Asked {
            method: &parts.method,
            target: target(parts)?,
            authority: &self.host,
            fields: &parts.headers,
        })
    }

    /// The request, to be passed on.
    ///
    /// # Errors
    /// The [`Refusal`] of what cannot be written as HTTP/1.
    pub fn into_request(self, parts: &request::Parts) -> Result<Request, Refusal> {
        let target = target(parts).ok_or(refusals::TARGET)?;
        let mut header = RequestHeader::build_no_case(
            parts.method.clone(),
            target.as_bytes(),
            Some(parts.headers.len() + 8),
        )
        .map_err(|_| refusals::TARGET)?;
        header.set_version(Version::HTTP_2);
        for (name, value) in &parts.headers {
            if !is_dropped(name) && name != COOKIE {
                header
                    .append_header(name.clone(), value.clone())
                    .map_err(|_| refusals::FIELD)?;
            }
        }
        if let Some(cookie) = join_cookies(parts)? {
            header
                .insert_header(COOKIE, cookie)
                .map_err(|_| refusals::FIELD)?;
        }
        header
            .insert_header(HOST, &self.host)
            .map_err(|_| refusals::HOST)?;
        if let Some(length) = self.length {
            header
                .insert_header(CONTENT_LENGTH, length)
                .map_err(|_| refusals::CONTENT_LENGTH)?;
        }
        Ok(Request {
            host: self.host,
            header,
            framing: self.framing,
            persistent: true,
            expects_continue: self.expects_continue,
            upgrade: false,
        })
    }
}

/// In origin form, or `*`.
fn target(parts: &request::Parts) -> Option<&str> {
    let target = parts.uri.path_and_query()?.as_str();
    match target {
        "*" => (parts.method == Method::OPTIONS).then_some(target),
        _ => target.starts_with('/').then_some(target),
    }
}

/// RFC 9113 §8.3.1: `:authority`, which a `Host` beside it must not contradict; without the dot of an absolute name.
fn choose_host(parts: &request::Parts) -> Result<Cow<'_, str>, Refusal> {
    let mut fields = parts.headers.get_all(HOST).iter();
    let field = match (fields.next(), fields.next()) {
        (_, Some(_)) => return Err(refusals::AUTHORITY),
        (Some(value), None) => Some(value.to_str().map_err(|_| refusals::AUTHORITY)?),
        (None, None) => None,
    };
    let authority = parts.uri.authority().map(http::uri::Authority::as_str);
    let chosen = match (authority, field) {
        (Some(authority), Some(field)) if !authority.eq_ignore_ascii_case(field) => {
            return Err(refusals::AUTHORITY);
        }
        (Some(host), _) | (None, Some(host)) => host,
        (None, None) => return Err(refusals::AUTHORITY),
    };
    host::without_dot(chosen).ok_or(refusals::AUTHORITY)
}

/// RFC 9113 §8.2.3: cookie crumbs are one field again before they leave HTTP/2.
fn join_cookies(parts: &request::Parts) -> Result<Option<HeaderValue>, Refusal> {
    let mut crumbs = parts.headers.get_all(COOKIE).iter();
    let Some(first) = crumbs.next() else {
        return Ok(None);
    };
    let Some(second) = crumbs.next() else {
        return Ok(Some(first.clone()));
    };
    let mut joined = first.as_bytes().to_vec();
    for crumb in std::iter::once(second).chain(crumbs) {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(crumb.as_bytes());
    }
    HeaderValue::from_bytes(&joined)
        .map(Some)
        .map_err(|_| refusals::CONTROL)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(build: impl FnOnce(request::Builder) -> request::Builder) -> Result<Request, Refusal> {
        let builder = build(http::Request::builder().version(Version::HTTP_2));
        let (parts, ()) = builder.body(()).expect("well formed").into_parts();
        read(&parts, true, &LimitSettings::default())
    }

    #[test]
    fn authorities() {
        assert_eq!(gate(|r| r.uri("https://a/x?y")).expect("passes").host, "a");
        assert_eq!(
            gate(|r| r.uri("https://a/").header("host", "A"))
                .expect("passes")
                .host,
            "a"
        );
        assert_eq!(
            gate(|r| r.uri("/").header("host", "b"))
                .expect("passes")
                .host,
            "b"
        );
        assert_eq!(
            gate(|r| r.uri("https://a.test.:8080/"))
                .expect("passes")
                .host,
            "a.test:8080"
        );
        for refused in [
            gate(|r| r.uri("https://a../")),
            gate(|r| r.uri("/")),
            gate(|r| r.uri("https://a/").header("host", "b")),
            gate(|r| r.uri("https://u@a/")),
            gate(|r| r.uri("/").header("host", "a").header("host", "a")),
        ] {
            assert_eq!(refused.map(|_| ()), Err(refusals::AUTHORITY));
        }
    }

    #[test]
    fn cookie_crumbs_are_joined() {
        let request = gate(|r| {
            r.uri("https://a/")
                .header("cookie", "a=1")
                .header("cookie", "b=2")
                .header("cookie", "c=3")
        });
        assert_eq!(
            request.expect("passes").header.headers[COOKIE],
            "a=1; b=2; c=3"
        );
    }

    #[test]
    fn what_routes_and_applications_might_read_differently() {
        for (method, uri, refusal) in [
            ("post", "https://a/", refusals::METHOD),
            ("Get", "https://a/", refusals::METHOD),
            ("GET", "ftp://a/", refusals::TARGET),
            ("GET", "https://.a/", refusals::AUTHORITY),
            ("GET", "https://a..test/", refusals::AUTHORITY),
        ] {
            let refused = gate(|r| r.method(method).uri(uri));
            assert_eq!(refused.map(|_| ()), Err(refusal), "{method} {uri}");
        }
    }

    #[test]
    fn a_length_without_a_body_is_refused() {
        let refused = gate(|r| {
            r.method("POST")
                .uri("https://a/")
                .header("content-length", "3")
        });
        assert_eq!(refused.map(|_| ()), Err(refusals::CONTENT_LENGTH));
    }
}
