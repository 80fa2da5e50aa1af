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
    /// The query as the client sent it, where the key has it in other words, or without what does not count.
    own_query: Option<Box<str>>,
    asks_for_more: bool,
    is_as_keyed: bool,
    /// How often its target had been invalidated when it came, where it is no fetch that others share.
    pub(super) touched: u64,
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
        let keyed = key.target();
        let sent = ask.target;
        let own_query = (keyed.query != sent.query).then(|| sent.query.unwrap_or_default().into());
        let asks_for_more = sent.query.is_some_and(|query| ask.rules.key.ignores(query));
        let is_as_keyed =
            own_query.is_none() && (keyed.path, keyed.authority) == (sent.path, sent.authority);
        Self {
            method: ask.method.clone(),
            headers: ask.headers.to_header_map(),
            rules: Arc::clone(ask.rules),
            route: Arc::clone(ask.route),
            why,
            since,
            own_query,
            asks_for_more,
            is_as_keyed,
            touched: 0,
            key,
        }
    }

    /// The same of one that goes past the cache, by this state of its target. What is for nobody else is not kept.
    pub(super) fn passed(mut self, touched: u64, is_for_nobody_else: bool) -> Self {
        self.touched = touched;
        self.is_as_keyed &= !is_for_nobody_else;
        self
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
            path: self.key.target().path,
            headers: (&self.headers).into(),
        }
    }

    /// What it asks for, with all of its query: to the origin all of it counts, whatever the route's rules leave.
    pub(super) fn target(&self) -> Target<'_> {
        let query = self.own_query.as_deref();
        let keyed = self.key.target();
        Target {
            query: query.or(keyed.query),
            ..keyed
        }
    }

    /// Whether its query has parameters that its route's rules do not name. One that they drop by its name is of no account to the
    /// application either, and what comes without it is the answer: whoever asks twice may have spent a link that works once.
    pub(super) fn asks_for_more(&self) -> bool {
        self.asks_for_more
    }

    /// Whether it was sent as the key spells it, and nothing says that its answer is for nobody else. What comes of others when they
    /// are forwarded by themselves may be one client's doing, and is not kept for all.
    pub(super) fn is_as_keyed(&self) -> bool {
        self.is_as_keyed
    }
}
