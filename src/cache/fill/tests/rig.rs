//! The words that the scenarios are told in.

use crate::cache::Tee;
use crate::cache::fill::{Data, Event, Follower, Wanted};
use crate::cache::key::Target;
use crate::cache::lookup::{Answer, Ask, Cache, Forward, Lead, Serve};
use crate::cache::policy::{Moment, Received};
use crate::cache::settings::{CacheSettings, Rules};
use crate::fields::view::FieldView;
use crate::units::ByteSize;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// Fields by name.
pub(super) type Fields<'a> = &'a [(&'a str, &'a str)];

pub(super) const FRESH: Fields<'_> = &[("cache-control", "max-age=60"), ("etag", "\"1\"")];
pub(super) const NO_STORE: Fields<'_> = &[("cache-control", "no-store")];

/// The largest body that the rig's cache stores.
pub(super) const OBJECT: u64 = 64 * 1024;

pub(super) struct Rig {
    pub(super) cache: Cache,
    pub(super) rules: Arc<Rules>,
    pub(super) route: Arc<str>,
    pub(super) client: IpAddr,
}

impl Rig {
    pub(super) fn new() -> Self {
        Self::with(Rules::default())
    }

    pub(super) fn with(rules: Rules) -> Self {
        Self {
            cache: Cache::new(settings()),
            rules: Arc::new(rules),
            route: "r".into(),
            client: Ipv4Addr::LOCALHOST.into(),
        }
    }

    /// What the engine answers to a request for `/path?query`.
    pub(super) fn ask(&self, method: &str, target: &str, fields: Fields<'_>) -> Answer {
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (target, None),
        };
        let ask = Ask {
            method: &method.parse().expect("a method"),
            target: Target {
                scheme: "http",
                authority: "a.example",
                path,
                query,
            },
            headers: FieldView::Map(&headers(fields)),
            has_body: false,
            upgrade: false,
            unshared: None,
            rules: &self.rules,
            route: &self.route,
            upstream: &Arc::from("u"),
            client: self.client,
        };
        self.cache.ask(&ask, Moment::now())
    }

    pub(super) fn get(&self, target: &str) -> Answer {
        self.ask("GET", target, &[])
    }

    /// A request that leads.
    pub(super) fn lead(&self, target: &str, fields: Fields<'_>) -> (Lead, Follower) {
        match self.ask("GET", target, fields) {
            Answer::Lead(lead, follower) => (*lead, follower),
            other => panic!("expected to lead, got {other:?}"),
        }
    }

    /// A request that follows.
    pub(super) fn follow(&self, target: &str, fields: Fields<'_>) -> Follower {
        match self.ask("GET", target, fields) {
            Answer::Follow(follower) => follower,
            other => panic!("expected to follow, got {other:?}"),
        }
    }

    /// A request that is served from what is stored.
    pub(super) fn serve(&self, target: &str, fields: Fields<'_>) -> Serve {
        match self.ask("GET", target, fields) {
            Answer::Serve(serve) => serve,
            other => panic!("expected to be served, got {other:?}"),
        }
    }

    /// A request that is forwarded by itself.
    pub(super) fn forward(&self, method: &str, target: &str, fields: Fields<'_>) -> Forward {
        match self.ask(method, target, fields) {
            Answer::Forward(forward) => forward,
            other => panic!("expected to be forwarded, got {other:?}"),
        }
    }

    /// The answer to a forwarded request.
    pub(super) fn forwarded(
        &self,
        mut forward: Forward,
        status: u16,
        fields: Fields<'_>,
    ) -> Option<Tee> {
        let now = Moment::now();
        let received = Received {
            status: StatusCode::from_u16(status).expect("a status"),
            headers: &headers(fields),
            requested: now,
            received: now,
        };
        self.cache.forwarded(&mut forward, received)
    }

    /// Fetches and stores a response.
    pub(super) fn store(&self, target: &str, asked: Fields<'_>, fields: Fields<'_>, body: &str) {
        let (mut lead, _follower) = self.lead(target, asked);
        assert_eq!(lead.head(200, fields), Wanted::Body);
        lead.writer.data(Bytes::copy_from_slice(body.as_bytes()));
        lead.writer.end();
    }

    /// Octets that are here for clients who have not taken them, and not stored.
    pub(super) fn ahead(&self) -> usize {
        self.cache.engine.metrics.ahead()
    }

    /// That nothing is left over once everything has ended.
    pub(super) fn assert_idle(&self) {
        let engine = &self.cache.engine;
        assert_eq!(engine.fills.flights().len(), 0, "fills that are listed");
        assert_eq!(engine.abandoned.len(), 0, "abandoned fills");
        assert_eq!(engine.metrics.fills(), 0);
        assert_eq!(engine.metrics.followers(), 0);
        let settings = settings();
        let all = engine.store.reserve(settings.in_flight.bytes());
        assert!(all.is_some(), "the in-flight budget is not free");
    }
}

pub(super) fn settings() -> CacheSettings {
    CacheSettings {
        memory: ByteSize::mib(16),
        object: ByteSize::kib(OBJECT / 1024),
        in_flight: ByteSize::kib(256),
        variants: 8,
        abandoned: 2,
    }
}

/// Lets time pass.
pub(super) async fn after(seconds: u64) {
    tokio::time::advance(Duration::from_secs(seconds)).await;
}

pub(super) fn headers(fields: Fields<'_>) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in fields {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
        map.append(name, HeaderValue::from_str(value).expect("a value"));
    }
    map
}

impl Lead {
    pub(super) fn head(&mut self, status: u16, fields: Fields<'_>) -> Wanted {
        let status = StatusCode::from_u16(status).expect("a status");
        self.writer.head(status, headers(fields), Moment::now())
    }

    pub(super) fn data(&mut self, data: &'static str) {
        self.writer.data(Bytes::from_static(data.as_bytes()));
    }

    pub(super) fn is_ready(&mut self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        self.writer.poll_ready(&mut cx).is_ready()
    }

    pub(super) fn is_cancelled(&mut self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        self.writer.poll_cancelled(&mut cx).is_ready()
    }
}

/// What a follower is told, if anything yet.
pub(super) fn event(follower: &mut Follower) -> Option<Event> {
    match follower.poll_event(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(event) => Some(event),
        Poll::Pending => None,
    }
}

/// What a follower reads, if anything yet.
pub(super) fn data(follower: &mut Follower) -> Option<Data> {
    match follower.poll_data(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(data) => Some(data),
        Poll::Pending => None,
    }
}

/// All that a follower can read now, and how it ended, if it did.
pub(super) fn read(follower: &mut Follower) -> (String, Option<&'static str>) {
    let mut text = String::new();
    loop {
        match data(follower) {
            Some(Data::Chunk(chunk)) => text.push_str(&String::from_utf8_lossy(&chunk)),
            Some(Data::End) => return (text, Some("end")),
            Some(Data::Cut) => return (text, Some("cut")),
            None => return (text, None),
        }
    }
}

/// A follower that got a response under way: whether it is being stored, and whether it was shared.
pub(super) fn response(follower: &mut Follower) -> (bool, bool) {
    match event(follower) {
        Some(Event::Response(_, outcome)) => (outcome.stored, outcome.collapsed),
        other => panic!("expected a response, got {other:?}"),
    }
}

/// The word with which a follower was sent away.
pub(super) fn sent_away(follower: &mut Follower) -> &'static str {
    match event(follower) {
        Some(Event::Forward(reason)) => reason.word(),
        other => panic!("expected to be sent away, got {other:?}"),
    }
}

/// The body of a stored response.
pub(super) fn body(stored: &Arc<crate::cache::response::StoredResponse>) -> String {
    let pieces: Vec<Bytes> = stored.body().pieces().collect();
    String::from_utf8(pieces.concat()).expect("text")
}
