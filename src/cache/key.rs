//! Which requests ask for the same thing: the cache key (RFC 9111 §2), ours and length-framed.

use super::settings::KeyRules;
use http::HeaderMap;

/// What of a request the key is made of.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// "http" or "https".
    pub scheme: &'a str,
    /// The authority as the client named it.
    pub authority: &'a str,
    /// The path in its one spelling.
    pub path: &'a str,
    /// The query without its question mark.
    pub query: Option<&'a str>,
}

/// A cache key: its parts, each with its length in front. Scheme, authority and path come first and can be read back.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CacheKey {
    bytes: Box<[u8]>,
}

impl CacheKey {
    /// The key of a request.
    pub fn new(target: Target<'_>, headers: &HeaderMap, rules: &KeyRules) -> Self {
        let _ = (headers, rules);
        let mut bytes = Vec::new();
        for part in [
            target.scheme,
            target.authority,
            target.path,
            target.query.unwrap_or("\0"),
        ] {
            bytes.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
            bytes.extend_from_slice(part.as_bytes());
        }
        Self {
            bytes: bytes.into_boxed_slice(),
        }
    }

    /// Its octets.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}
