//! The small languages inside strings: names, paths, methods, header fields, balancers, log levels.

use std::fmt;
use std::path::PathBuf;

use http::{HeaderName, HeaderValue, Method};

use crate::config::error::{hint, listed};
use crate::config::tree::shortened;
use crate::routing::settings::PathMatch;
use crate::telemetry::settings::AccessLogTarget;
use crate::upstream::settings::{Balance, HashKey};

/// Why a value was refused, in words for the operator; nobody branches on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault(pub(super) String);

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Says what was expected and what was found.
pub(super) fn expected<T>(what: &str, found: &str) -> Result<T, Fault> {
    Err(Fault(format!(
        "expected {what}, found `{}`",
        shortened(found)
    )))
}

/// Says which words there are, and which of them was probably meant.
pub(super) fn none_of<T>(words: &[&str], found: &str) -> Result<T, Fault> {
    Err(Fault(format!(
        "expected one of {}, found `{}`{}",
        listed(words.iter().copied()),
        shortened(found),
        hint(found, words.iter().copied())
    )))
}

/// A `token` (RFC 9110 §5.6.2), as our name in `Via` must be one.
pub(crate) fn token(text: &str) -> Result<String, Fault> {
    if !text.is_empty() && text.bytes().all(is_token_byte) {
        return Ok(text.to_owned());
    }
    expected("a name of letters, digits, `-`, `_` and `.`", text)
}

/// RFC 9110 §5.6.2, `tchar`.
pub(crate) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Longer than any URL of a server can be.
pub(crate) const LABEL_MAX: usize = 300;

/// The name of an upstream or route: short, and printable without escapes in logs and metrics.
pub(crate) fn label(text: &str) -> Result<String, Fault> {
    let is_plain = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\\');
    if (1..=LABEL_MAX).contains(&text.len()) && text.chars().all(is_plain) {
        return Ok(text.to_owned());
    }
    expected(
        "a name of at most 300 visible ASCII characters without quotes",
        text,
    )
}

/// `round_robin`, `least_conn`, `hash:path`, `hash:client`, `hash:header:X-User`, `hash:cookie:sid`.
pub(crate) fn balance(text: &str) -> Result<Balance, Fault> {
    const WORDS: [&str; 6] = [
        "round_robin",
        "least_conn",
        "hash:path",
        "hash:client",
        "hash:header:NAME",
        "hash:cookie:NAME",
    ];
    match text {
        "round_robin" => return Ok(Balance::RoundRobin),
        "least_conn" => return Ok(Balance::LeastConn),
        "hash:path" => return Ok(Balance::Hash(HashKey::Path)),
        "hash:client" => return Ok(Balance::Hash(HashKey::Client)),
        _ => {}
    }
    if let Some(name) = text.strip_prefix("hash:header:") {
        return Ok(Balance::Hash(HashKey::Header(header_name(name)?)));
    }
    if let Some(name) = text.strip_prefix("hash:cookie:") {
        return Ok(Balance::Hash(HashKey::Cookie(token(name)?)));
    }
    none_of(&WORDS, text)
}

/// A route's path: "/prefix", "=/exact" or "/glob/*".
pub(crate) fn path_match(text: &str) -> Result<PathMatch, Fault> {
    let (path, exact) = match text.strip_prefix('=') {
        Some(path) => (path, true),
        None => (text, false),
    };
    if !is_path(path) {
        return expected(
            "a path such as \"/api/\", \"=/healthz\" or \"/img/*.png\", percent-encoded and without a query",
            text,
        );
    }
    Ok(match path.to_owned() {
        path if exact => PathMatch::Exact(path),
        path if path.contains('*') => PathMatch::Glob(path),
        path => PathMatch::Prefix(path),
    })
}

/// A path that a prefix is replaced by.
pub(crate) fn path(text: &str) -> Result<String, Fault> {
    if is_path(text) {
        return Ok(text.to_owned());
    }
    expected(
        "a path that begins with `/`, percent-encoded and without a query",
        text,
    )
}

/// A path, or with `*` at its end the beginning of one.
pub(crate) fn path_start(text: &str) -> Result<String, Fault> {
    let literal = text.strip_suffix('*').unwrap_or(text);
    if is_path(literal) && !literal.contains('*') {
        return Ok(text.to_owned());
    }
    expected(
        "a path such as \"/admin\" or \"/admin/*\", percent-encoded and without a query",
        text,
    )
}

/// The name of a query parameter, as it is sent.
pub(crate) fn parameter(text: &str) -> Result<String, Fault> {
    let lawful = |byte: u8| byte.is_ascii_graphic() && !b"&=#*".contains(&byte);
    if !text.is_empty() && text.bytes().all(lawful) {
        return Ok(text.to_owned());
    }
    expected(
        "the name of a query parameter, such as \"page\", percent-encoded where it must be",
        text,
    )
}

/// The name of a query parameter, or with `*` at its end the beginning of some.
pub(crate) fn parameter_start(text: &str) -> Result<String, Fault> {
    match text.strip_suffix('*') {
        Some(start) if !start.is_empty() => parameter(start).map(|_| text.to_owned()),
        _ => parameter(text),
    }
}

/// An origin-form target: a path with an optional query.
pub(crate) fn target(text: &str) -> Result<String, Fault> {
    let path = text.split('?').next().unwrap_or_default();
    if is_path(path)
        && text
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'#')
    {
        return Ok(text.to_owned());
    }
    expected("a path that begins with `/`", text)
}

fn is_path(text: &str) -> bool {
    let lawful = |byte: u8| byte.is_ascii_graphic() && !b"?#\\\"<>^`{|}".contains(&byte);
    text.starts_with('/') && text.bytes().all(lawful)
}

/// A method. They are case-sensitive, so lower case is a slip.
pub(crate) fn method(text: &str) -> Result<Method, Fault> {
    let upper = text.to_ascii_uppercase();
    if text != upper && Method::from_bytes(upper.as_bytes()).is_ok() {
        return expected(
            &format!("a method in upper case, such as \"{upper}\""),
            text,
        );
    }
    match Method::from_bytes(text.as_bytes()) {
        Ok(Method::CONNECT) => Err(Fault(
            "`CONNECT` is never proxied, so no route can be for it".to_owned(),
        )),
        Ok(method) => Ok(method),
        Err(_) => expected("a method such as \"GET\"", text),
    }
}

/// A field name.
pub(crate) fn header_name(text: &str) -> Result<HeaderName, Fault> {
    HeaderName::from_bytes(text.as_bytes()).or_else(|_| {
        expected(
            "a header name of letters, digits and `-`, such as \"X-User\"",
            text,
        )
    })
}

/// A field name that an operator may change: not one of those that frame the message.
pub(crate) fn editable_header(text: &str) -> Result<HeaderName, Fault> {
    const FRAMING: [&str; 8] = [
        "connection",
        "content-length",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    let name = header_name(text)?;
    if FRAMING.contains(&name.as_str()) {
        return Err(Fault(format!(
            "`{text}` frames the message and belongs to the proxy; it cannot be set or removed"
        )));
    }
    Ok(name)
}

/// A field value.
pub(crate) fn header_value(text: &str) -> Result<HeaderValue, Fault> {
    let trimmed = text.trim_matches([' ', '\t']) == text;
    match HeaderValue::from_str(text) {
        Ok(value) if trimmed => Ok(value),
        _ => expected(
            "a header value: visible ASCII on one line, without outer spaces",
            text,
        ),
    }
}

/// A `Location` in which `{scheme}`, `{host}`, `{path}`, `{query}` and `{uri}` stand for the request's.
pub(crate) fn location(text: &str) -> Result<String, Fault> {
    const PLACEHOLDERS: [&str; 5] = ["scheme", "host", "path", "query", "uri"];
    if text.is_empty() || text.bytes().any(|byte| !byte.is_ascii_graphic()) {
        return expected("a URL or path, percent-encoded", text);
    }
    let mut rest = text;
    while let Some((_, after)) = rest.split_once('{') {
        let Some((name, after)) = after.split_once('}') else {
            return expected("a `}` for every `{`", text);
        };
        if !PLACEHOLDERS.contains(&name) {
            return expected(
                "`{scheme}`, `{host}`, `{path}`, `{query}` or `{uri}`",
                &format!("{{{name}}}"),
            );
        }
        rest = after;
    }
    Ok(text.to_owned())
}

/// Where the access log goes. A path must show a slash, so that a slip such as "stdoud" does not become a file.
pub(crate) fn access_log(text: &str) -> Result<AccessLogTarget, Fault> {
    match text {
        "stdout" => Ok(AccessLogTarget::Stdout),
        "off" => Ok(AccessLogTarget::Off),
        path if path.contains('/') && !path.contains('\0') => {
            Ok(AccessLogTarget::File(PathBuf::from(path)))
        }
        word => none_of(&["stdout", "off", "/path/to/access.log"], word),
    }
}

/// The level of the program's own log, or a filter such as `info,forebay::upstream=debug`.
pub(crate) fn log_level(text: &str) -> Result<String, Fault> {
    const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];
    // A bare word that is no level would be taken for a target, and turn everything else off.
    for directive in text.split(',') {
        let is_word = directive.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if is_word && !LEVELS.contains(&directive) {
            return none_of(&LEVELS, directive);
        }
    }
    match tracing_subscriber::EnvFilter::try_new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => expected(
            "a level such as \"info\", or a filter such as \"info,forebay::upstream=debug\"",
            text,
        ),
    }
}
