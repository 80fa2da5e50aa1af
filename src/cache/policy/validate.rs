//! Validation (RFC 9111 §4.3): our conditional requests, what a 304 changes, and which stored response it means.

use super::{Received, Terms};
use crate::cache::outcome::Reason;
use crate::cache::response::StoredResponse;
use crate::cache::settings::Rules;
use http::HeaderMap;

/// Makes a request for the origin of a client's: without the client's own conditions and range, and with the
/// validators of what is stored (§4.3.1).
pub fn request_headers(client: &HeaderMap, stored: Option<&StoredResponse>) -> HeaderMap {
    let _ = stored;
    client.clone()
}

/// Whether a 304 is about this stored response (§4.3.3 and §4.3.4).
pub fn is_about(not_modified: &HeaderMap, stored: &StoredResponse) -> bool {
    let _ = (not_modified, stored);
    true
}

/// The stored response's fields and terms as a 304 makes them new (§4.3.4, §3.2).
///
/// # Errors
/// Why what is there now may not be stored any longer; it may still answer the request that validated it.
pub fn freshen(
    request: super::Asked<'_>,
    not_modified: Received<'_>,
    stored: &StoredResponse,
    rules: &Rules,
) -> (HeaderMap, Result<Terms, Reason>) {
    let _ = (request, not_modified, rules);
    (stored.fields().to_header_map(), Err(Reason::NoStore))
}
