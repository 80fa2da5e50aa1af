//! The gate: what a request must look like before anything behind it sees a byte.
//!
//! Rule: refuse everything ambiguous, normalise a short list, and never pass on a byte of the original head. Pingora's
//! own HTTP/1 parser is never given client bytes, so there is no second opinion that could differ from this one.
//!
//! - [`scan`] finds the end of a head in what was read so far, under the limits.
//! - [`head`] reads an HTTP/1 head into a [`Request`]; [`http2`] does the same for an HTTP/2 one.
//! - [`canonical`] recognises what could not be read in two ways, where it lies; it is narrower than [`head`].
//! - [`body`] follows the framing of the body behind it.

pub mod body;
pub mod canonical;
pub mod head;
pub mod http2;
mod message;
pub mod scan;

use http::{Method, StatusCode, Version};
use pingora::http::RequestHeader;

/// Whether a method is one to routes and applications alike (see [`refusals::METHOD`]).
fn is_in_capitals(method: &Method) -> bool {
    !method
        .as_str()
        .bytes()
        .any(|octet| octet.is_ascii_lowercase())
}

/// A request that passed the gate: one target, one host, one framing.
#[derive(Debug)]
pub struct Request {
    /// Method, origin-form target, `Host`, and end-to-end fields only (an accepted upgrade keeps its two).
    pub header: RequestHeader,
    /// The authority without userinfo, as sent; empty only for HTTP/1.0 without `Host`.
    pub host: String,
    /// How the body is delimited.
    pub framing: Framing,
    /// Whether the client lets the connection stay open.
    pub persistent: bool,
    /// Whether the client waits for `100 Continue` before it sends the body.
    pub expects_continue: bool,
    /// Whether this is a WebSocket upgrade, the only one that is passed on.
    pub upgrade: bool,
}

impl Request {
    /// The version that the client spoke.
    pub fn version(&self) -> Version {
        self.header.version
    }

    /// The method.
    pub fn method(&self) -> &Method {
        &self.header.method
    }
}

/// How a request body is delimited (RFC 9112 §6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    None,
    /// `Content-Length` octets; at least one.
    Length(u64),
    /// Chunked, or DATA frames without a declared length.
    Streamed,
}

/// Why a request was refused. The connection is closed behind the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// The status of the answer.
    pub status: StatusCode,
    /// The word for log and metric.
    pub reason: &'static str,
    /// One sentence for the client.
    pub message: &'static str,
}

impl Refusal {
    const fn new(status: StatusCode, reason: &'static str, message: &'static str) -> Self {
        Self {
            status,
            reason,
            message,
        }
    }
}

/// Every refusal by name, so that the words of log and metric stand in one place.
pub mod refusals {
    use super::Refusal;
    use http::StatusCode;

    macro_rules! refusals {
        ($($(#[$doc:meta])* $name:ident: $status:ident, $reason:literal, $message:literal;)*) => {
            $($(#[$doc])* pub const $name: Refusal = Refusal::new(StatusCode::$status, $reason, $message);)*

            /// All of them.
            pub const ALL: &[Refusal] = &[$($name),*];
        };
    }

    refusals! {
        /// RFC 9112 §2.2 lets a recipient accept it; a front door that others rely on does not.
        BARE_LF: BAD_REQUEST, "bare-lf", "a line of the request head ends in LF without CR";
        /// RFC 9112 §2.2.
        BARE_CR: BAD_REQUEST, "bare-cr", "the request head contains CR that is not followed by LF";
        /// RFC 9110 §5.5.
        CONTROL: BAD_REQUEST, "control-character", "a field value contains a control character or, over HTTP/2, begins or ends with a space";
        /// RFC 9112 §3.
        REQUEST_LINE: BAD_REQUEST, "request-line", "the request line is malformed";
        /// RFC 9110 §9.1: methods are told apart by their case, and applications that do not would see another one than routes do.
        METHOD: BAD_REQUEST, "method", "the method is not a token in capitals";
        /// RFC 9112 §3.2.
        TARGET: BAD_REQUEST, "target", "the request target is malformed";
        /// RFC 9112 §2.3.
        VERSION: HTTP_VERSION_NOT_SUPPORTED, "version", "only HTTP/1.0, HTTP/1.1 and HTTP/2 are spoken here";
        /// A gateway is not a tunnel.
        CONNECT: METHOD_NOT_ALLOWED, "connect", "CONNECT is not served here";
        /// Its answer would repeat what the client's own proxies added.
        TRACE: METHOD_NOT_ALLOWED, "trace", "TRACE is not served here";
        /// RFC 9112 §5 and §5.1.
        FIELD: BAD_REQUEST, "field-line", "a header field line is malformed";
        /// RFC 9112 §5.2.
        OBS_FOLD: BAD_REQUEST, "obs-fold", "a header field is folded over several lines";
        /// RFC 9112 §3.2.
        HOST: BAD_REQUEST, "host", "exactly one valid Host is required";
        /// RFC 9112 §6.1.
        LENGTH_AND_CODING: BAD_REQUEST, "length-and-coding", "Content-Length and Transfer-Encoding exclude each other";
        /// RFC 9112 §6.3.
        CONTENT_LENGTH: BAD_REQUEST, "content-length", "Content-Length is not one decimal number";
        /// RFC 9112 §6.1.
        TRANSFER_CODING: BAD_REQUEST, "transfer-coding", "the only transfer coding understood is a single `chunked`";
        /// RFC 9112 §6.1.
        UNKNOWN_CODING: NOT_IMPLEMENTED, "unknown-coding", "the transfer coding is not implemented";
        /// Envoy's edge guide: origins that map `_` to `-` would read a second framing field.
        LOOK_ALIKE: BAD_REQUEST, "look-alike", "a field name imitates a framing field";
        /// RFC 9110 §7.6.1.
        CONNECTION: BAD_REQUEST, "connection", "Connection nominates a field that must not be removed";
        /// RFC 9110 §10.1.1.
        EXPECTATION: EXPECTATION_FAILED, "expectation", "the only expectation understood is 100-continue";
        /// The `[limits] head` or `head_fields` of the configuration.
        HEAD_TOO_LARGE: REQUEST_HEADER_FIELDS_TOO_LARGE, "head-too-large", "the request head is too large";
        /// As above, with the target alone too long.
        TARGET_TOO_LONG: URI_TOO_LONG, "target-too-long", "the request target is too long";
        /// `[limits] head_timeout`.
        HEAD_TIMEOUT: REQUEST_TIMEOUT, "head-timeout", "the request head did not arrive in time";
        /// RFC 9110 §4.2.2: `http` was spoken where `https` is.
        PLAIN_ON_TLS: BAD_REQUEST, "plain-on-tls", "this port speaks HTTPS, and was asked by plain HTTP; ask for https://";
        /// RFC 9112 §7.1.
        CHUNK: BAD_REQUEST, "chunk", "the chunked body is malformed";
        /// RFC 9113 §8.3.1.
        AUTHORITY: BAD_REQUEST, "authority", "the request's authority is missing, malformed or ambiguous";
    }
}
