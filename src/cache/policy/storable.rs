//! Whether a response may be stored (RFC 9111 §3), and on which terms.

use super::{Asked, Received, Terms};
use crate::cache::outcome::Reason;
use crate::cache::settings::Rules;

/// Judges a response.
///
/// # Errors
/// Why it may not be stored.
pub fn evaluate(asked: Asked<'_>, received: Received<'_>, rules: &Rules) -> Result<Terms, Reason> {
    let _ = (asked, received, rules);
    Err(Reason::NoStore)
}
