//! Fields that end with this connection (RFC 9110 §7.6.1): the fixed ones, and those that `Connection` nominates.

use http::HeaderName;
use http::header;

use crate::fields::list;

/// `Keep-Alive`, of which the `http` crate has no constant.
pub const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
/// `Proxy-Connection`, which nobody should send and some do.
pub const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
/// `HTTP2-Settings`, of the upgrade to h2c that RFC 9113 §3.1 has given up.
pub const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// The fields that never pass from one connection to another, whatever `Connection` says.
pub static HOP_BY_HOP: [HeaderName; 10] = [
    header::CONNECTION,
    KEEP_ALIVE,
    PROXY_CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HTTP2_SETTINGS,
];

/// More options than this in one message are refused; an honest sender has two or three.
const OPTIONS_MAX: usize = 16;

/// Fields that may not be nominated: they frame or route the message, say who the client is, or are added by us, so that
/// removing them on a client's word would change what the origin believes. Lower case, sorted.
const PROTECTED: [&str; 25] = [
    "age",
    "authorization",
    "cache-control",
    "cdn-loop",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "cookie",
    "date",
    "expect",
    "forwarded",
    "host",
    "max-forwards",
    "origin",
    "range",
    "set-cookie",
    "vary",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-real-ip",
    "x-request-id",
];

/// What the `Connection` field of a message says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConnectionOptions {
    /// `close`.
    pub close: bool,
    /// `keep-alive`.
    pub keep_alive: bool,
    /// `upgrade`.
    pub upgrade: bool,
    /// The fields nominated besides those that never pass anyway. Each is to be removed.
    pub nominated: Vec<HeaderName>,
}

/// Why a `Connection` field is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectionError {
    /// An option is not a token.
    #[error("connection holds an option that is not a token")]
    NotAToken,
    /// An option names a field that is meant for everybody, or that we add.
    #[error("connection nominates `{0}`, which is not its to remove")]
    Protected(HeaderName),
    /// There are more options than anyone needs.
    #[error("connection holds more than {OPTIONS_MAX} options")]
    TooMany,
}

/// Whether a field never passes from one connection to another.
pub fn is_hop_by_hop(name: &HeaderName) -> bool {
    is_named_hop_by_hop(name.as_str().as_bytes())
}

/// The same of a name in any case. Letters are compared only where the length is that of one.
pub fn is_named_hop_by_hop(name: &[u8]) -> bool {
    matches!(name.len(), 2 | 7 | 10 | 14 | 16..=19)
        && HOP_BY_HOP
            .iter()
            .any(|known| known.as_str().as_bytes().eq_ignore_ascii_case(name))
}

/// Reads all `Connection` lines of a message.
///
/// # Errors
/// [`ConnectionError`]: such a message is refused, because obeying it would let a stranger take fields away.
pub fn parse_connection<I>(lines: I) -> Result<ConnectionOptions, ConnectionError>
where
    I: IntoIterator,
    I::Item: AsRef<[u8]>,
{
    let mut options = ConnectionOptions::default();
    let mut count = 0usize;
    for line in lines {
        for token in list::tokens(line.as_ref()) {
            let token = token.ok_or(ConnectionError::NotAToken)?;
            count += 1;
            if count > OPTIONS_MAX {
                return Err(ConnectionError::TooMany);
            }
            let name = HeaderName::from_bytes(token).map_err(|_| ConnectionError::NotAToken)?;
            match name.as_str() {
                "close" => options.close = true,
                "keep-alive" => options.keep_alive = true,
                "upgrade" => options.upgrade = true,
                protected if PROTECTED.binary_search(&protected).is_ok() => {
                    return Err(ConnectionError::Protected(name));
                }
                _ if is_hop_by_hop(&name) || options.nominated.contains(&name) => {}
                _ => options.nominated.push(name),
            }
        }
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn options() {
        let parsed = parse_connection(["Close, TE", "X-Foo,x-foo, Upgrade", "keep-alive"]);
        let expected = ConnectionOptions {
            close: true,
            keep_alive: true,
            upgrade: true,
            nominated: vec![HeaderName::from_static("x-foo")],
        };
        assert_eq!(parsed, Ok(expected));
        assert_eq!(parse_connection([""; 0]), Ok(ConnectionOptions::default()));
        assert_eq!(parse_connection([","]), Ok(ConnectionOptions::default()));
    }

    #[test]
    fn refusals() {
        assert!(PROTECTED.is_sorted());
        for name in PROTECTED {
            let line = format!("close, {}", name.to_ascii_uppercase());
            let expected = ConnectionError::Protected(HeaderName::from_static(name));
            assert_eq!(parse_connection([line]), Err(expected));
        }
        for line in [
            "\"X-Forwarded-For\"",
            ":authority",
            "a b",
            "a;b",
            "x\0",
            "ä",
        ] {
            assert_eq!(
                parse_connection([line]),
                Err(ConnectionError::NotAToken),
                "{line}"
            );
        }
        let many = ["a"; OPTIONS_MAX + 1].join(",");
        assert_eq!(parse_connection([many]), Err(ConnectionError::TooMany));
    }

    #[test]
    fn fixed_fields() {
        assert!(is_hop_by_hop(&header::UPGRADE));
        assert!(is_hop_by_hop(&KEEP_ALIVE));
        assert!(!is_hop_by_hop(&header::HOST));
    }

    proptest! {
        #[test]
        fn reading_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..48)) {
            let _ = parse_connection([bytes]);
        }
    }
}
