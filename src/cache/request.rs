//! A request that the engine keeps: what a fetch is judged by when its answer comes.

use super::key::{CacheKey, Target};
use super::lookup::Ask;
use super::outcome::{ForwardReason, Reason};
use super::policy::Asked;
use super::purge::Since;
use super::settings::Rules;
use http::{HeaderMap, Method};
use std::sync::Arc;

/// A request, without its connection.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) key: CacheKey,
    pub(super) method: Method,
    /// As the client sent them.
    pub(super) headers: HeaderMap,
    pub(super) rules: Arc<Rules>,
    pub(super) route: Arc<str>,
    /// Why it could not be answered from what is stored.
    pub(super) why: (ForwardReason, Option<Reason>),
    /// The last purge when it came. Its own, where it is no fetch that others share.
    pub(super) since: Since,
    scheme: Box<str>,
    authority: Box<str>,
    path: Box<str>,
    query: Option<Box<str>>,
}

impl Request {
    pub(super) fn new(ask: &Ask<'_>, key: CacheKey, why: (ForwardReason, Option<Reason>)) -> Self {
        Self::since(ask, key, why, Since::default())
    }

    /// The same, of one whose answer may be stored though it is no fetch.
    pub(super) fn since(
        ask: &Ask<'_>,
        key: CacheKey,
        why: (ForwardReason, Option<Reason>),
        since: Since,
    ) -> Self {
        // As the key spells them: whoever asked first must not have chosen for all others how. Of the query all counts to the
        // origin, whatever the route's rules leave of it.
        let Target {
            scheme,
            authority,
            path,
            ..
        } = key.target();
        Self {
            method: ask.method.clone(),
            headers: ask.headers.to_header_map(),
            rules: Arc::clone(ask.rules),
            route: Arc::clone(ask.route),
            why,
            since,
            scheme: scheme.into(),
            authority: authority.into(),
            path: path.into(),
            query: ask.target.query.map(Into::into),
            key,
        }
    }

    /// The same as a GET: a fetch is one, whoever caused it.
    pub(super) fn fetching(mut self) -> Self {
        self.method = Method::GET;
        self
    }

    /// What policy judges it by.
    pub(super) fn asked(&self) -> Asked<'_> {
        Asked {
            method: &self.method,
            path: &self.path,
            headers: (&self.headers).into(),
        }
    }

    /// What it asks for.
    pub(super) fn target(&self) -> Target<'_> {
        Target {
            scheme: &self.scheme,
            authority: &self.authority,
            path: &self.path,
            query: self.query.as_deref(),
        }
    }
}
