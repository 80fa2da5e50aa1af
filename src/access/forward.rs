//! Asking a service whether a request may go on: what it is told, what its answer means, and how long a yes is good.
//!
//! It is asked as nginx's `auth_request`, Traefik's `forwardAuth` and Caddy's `forward_auth` ask: by GET, without the body, with
//! the request's fields and `X-Forwarded-Method`, `-Proto`, `-Host`, `-Uri` and `-For`; `X-Original-Method`, `-URL` and `-URI` say the same to
//! services made for nginx. 2xx is a yes. 5xx is a service that is not well, and nobody gets in. All else is the client's
//! answer, a redirect to a login page for one.
//!
//! A yes may be remembered, where the operator says for how long. It is good for who would ask the very same: the key is all
//! that the service would be told, and so the operator has to say which fields it is told (`send`); nothing it did not see can
//! have been the reason of its answer. A no is never remembered, and neither is a yes that sets a cookie or says `no-store`.

use super::settings::{CacheBy, ForwardSettings};
use crate::clock::{self, Instant};
use crate::fields::hop_by_hop::{self, is_hop_by_hop};
use crate::telemetry::seldom::Seldom;
use bytes::Bytes;
use hashbrown::HashMap;
use http::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderName, IF_MATCH,
    IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE, SET_COOKIE, TE,
    TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use parking_lot::Mutex;
use quick_cache::sync::Cache;
use ring::digest;
use std::net::IpAddr;
use std::sync::Arc;
use tokio::sync::watch;

/// Yeses remembered for each route.
const REMEMBERED: usize = 10_000;

const X_FORWARDED_METHOD: HeaderName = HeaderName::from_static("x-forwarded-method");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_URI: HeaderName = HeaderName::from_static("x-forwarded-uri");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_ORIGINAL_METHOD: HeaderName = HeaderName::from_static("x-original-method");
const X_ORIGINAL_URL: HeaderName = HeaderName::from_static("x-original-url");
const X_ORIGINAL_URI: HeaderName = HeaderName::from_static("x-original-uri");

/// What is about the body, the connection, or what the client has of the page already.
static NOT_ASKED: [HeaderName; 12] = [
    HOST,
    CONNECTION,
    CONTENT_LENGTH,
    EXPECT,
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
    RANGE,
    IF_MATCH,
    IF_MODIFIED_SINCE,
    IF_NONE_MATCH,
    IF_UNMODIFIED_SINCE,
];

/// What is about one URL, and so no part of a session's key.
static OF_THE_URL: [HeaderName; 5] = [
    X_FORWARDED_METHOD,
    X_FORWARDED_URI,
    X_ORIGINAL_METHOD,
    X_ORIGINAL_URL,
    X_ORIGINAL_URI,
];

/// A request that the service is asked about.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// Its method.
    pub method: &'a Method,
    /// "http" or "https", as the client speaks.
    pub scheme: &'a str,
    /// Its authority.
    pub host: &'a str,
    /// Its target, the path in its one spelling.
    pub target: &'a str,
    /// Its fields, without a stranger's claims.
    pub fields: &'a HeaderMap,
    /// The client.
    pub client: IpAddr,
}

/// What requests that ask the same have in common.
pub type Same = [u8; 32];

/// A yes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Granted {
    /// What the upstream is told.
    pub fields: Vec<(HeaderName, HeaderValue)>,
    /// Cookies for the client.
    pub cookies: Vec<HeaderValue>,
    reusable: bool,
}

/// What the service's answer means.
#[derive(Debug)]
pub enum Answer {
    /// The request may go on.
    Granted(Arc<Granted>),
    /// The client gets this.
    Refused(StatusCode, HeaderMap, Bytes),
    /// The service is not well.
    Unavailable,
}

/// A route's service.
#[derive(Debug)]
pub struct Forward {
    /// What the operator says of it.
    pub settings: ForwardSettings,
    yeses: Cache<Same, (Instant, Arc<Granted>)>,
    /// Who asks just now. Held for a look and an entry.
    asking: Mutex<HashMap<Same, watch::Receiver<Option<Arc<Granted>>>>>,
    /// When the log was last told that the service is not well.
    told: Seldom,
}

/// How to come by an answer.
#[derive(Debug)]
pub enum Way {
    /// It is known.
    Known(Arc<Granted>),
    /// Somebody asks the same; wait for what comes of it.
    Wait(watch::Receiver<Option<Arc<Granted>>>),
    /// Ask, and tell the others.
    Ask(Asking),
}

/// Asks for others too. Dropped without an answer, each of them asks by itself.
#[derive(Debug)]
pub struct Asking {
    forward: Arc<Forward>,
    same: Option<(Same, watch::Sender<Option<Arc<Granted>>>)>,
}

impl Forward {
    /// A service that has not been asked yet.
    pub fn new(settings: ForwardSettings) -> Self {
        Self {
            settings,
            yeses: Cache::new(REMEMBERED),
            asking: Mutex::default(),
            told: Seldom::new(),
        }
    }

    /// The fields of the question.
    pub fn question(&self, subject: &Subject<'_>) -> HeaderMap {
        let mut fields = HeaderMap::with_capacity(subject.fields.len() + 8);
        for (name, value) in subject.fields {
            let chosen = match &self.settings.send {
                Some(send) => send.contains(name) || *name == X_FORWARDED_FOR,
                None => true,
            };
            if chosen && !NOT_ASKED.contains(name) && *name != IF_RANGE && !is_hop_by_hop(name) {
                fields.append(name.clone(), value.clone());
            }
        }
        let url = format!("{}://{}{}", subject.scheme, subject.host, subject.target);
        for (name, value) in [
            (X_FORWARDED_METHOD, subject.method.as_str()),
            (X_ORIGINAL_METHOD, subject.method.as_str()),
            (X_FORWARDED_PROTO, subject.scheme),
            // Also where a trusted proxy said another: the route was chosen by this one.
            (X_FORWARDED_HOST, subject.host),
            (X_FORWARDED_URI, subject.target),
            (X_ORIGINAL_URL, &url),
            (X_ORIGINAL_URI, subject.target),
        ] {
            // The gate lets nothing but visible ASCII through; were it not so, a field that is missing opens nothing.
            if let Ok(value) = HeaderValue::from_str(value) {
                fields.insert(name, value);
            }
        }
        let host = self.settings.host.as_deref().unwrap_or(subject.host);
        if let Ok(host) = HeaderValue::from_str(host) {
            fields.insert(HOST, host);
        }
        fields
    }

    /// How to come by the answer to a question.
    pub fn way(self: &Arc<Self>, question: &HeaderMap, client: IpAddr) -> Way {
        let alone = || {
            Way::Ask(Asking {
                forward: self.clone(),
                same: None,
            })
        };
        if self.settings.cache.is_none() {
            return alone();
        }
        let same = self.same(question, client);
        if let Some((until, granted)) = self.yeses.get(&same)
            && clock::now() < until
        {
            return Way::Known(granted);
        }
        let mut asking = self.asking.lock();
        if let Some(other) = asking.get(&same) {
            return Way::Wait(other.clone());
        }
        let (sender, receiver) = watch::channel(None);
        asking.insert(same, receiver);
        Way::Ask(Asking {
            forward: self.clone(),
            same: Some((same, sender)),
        })
    }

    /// All that the service is told, in a few octets.
    fn same(&self, question: &HeaderMap, client: IpAddr) -> Same {
        let mut context = digest::Context::new(&digest::SHA256);
        let mut add = |part: &[u8]| {
            context.update(&(part.len() as u64).to_le_bytes());
            context.update(part);
        };
        let mut names: Vec<&HeaderName> = question.keys().collect();
        names.sort_unstable_by_key(|name| name.as_str());
        for name in names {
            if self.settings.cache_by == CacheBy::Session && OF_THE_URL.contains(name) {
                continue;
            }
            for value in question.get_all(name) {
                add(name.as_str().as_bytes());
                add(value.as_bytes());
            }
        }
        add(client.to_string().as_bytes());
        context.finish().as_ref().try_into().unwrap_or_default()
    }

    /// The service gave no answer that means anything: whoever was to be asked about is refused. The log is told once a minute.
    pub fn unwell(&self, why: &str) {
        if !self.told.is_time() {
            return;
        }
        let path = self.settings.target.split('?').next().unwrap_or_default();
        tracing::warn!(
            "the service that requests are asked about, {path} of upstream `{}`, is not well: {why}; nobody gets in \
             meanwhile",
            self.settings.upstream
        );
    }

    /// What an answer means.
    pub fn judge(&self, status: StatusCode, mut fields: HeaderMap, body: Bytes) -> Answer {
        // The service is asked without conditions, ranges and expectations: what answers one (RFC 9110 §15.4.5, §15.5) is about
        // nothing that the client has said. A 1xx is no final answer.
        let unanswered =
            status.is_informational() || matches!(status.as_u16(), 304 | 412 | 416 | 417);
        // RFC 9110 §15: what is no status is an error of the server.
        if status.is_server_error() || status.as_u16() >= 600 || unanswered {
            self.unwell(&format!("it answered {}", status.as_u16()));
            return Answer::Unavailable;
        }
        // What its `Connection` names is for us alone (RFC 9110 §7.6.1).
        let lines = fields.get_all(CONNECTION).iter();
        let Ok(options) = hop_by_hop::parse_connection(lines.map(HeaderValue::as_bytes)) else {
            self.unwell("its `Connection` is malformed");
            return Answer::Unavailable;
        };
        for name in &options.nominated {
            fields.remove(name);
        }
        if !status.is_success() {
            for name in [CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION] {
                fields.remove(name);
            }
            // RFC 9111 §4.2.2 lets caches keep some statuses by heuristics; this one was about one client.
            if !fields.contains_key(CACHE_CONTROL) {
                fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            }
            return Answer::Refused(status, fields, body);
        }
        let copied = self.settings.copy.iter().flat_map(|name| {
            let values = fields.get_all(name).iter();
            values.map(move |value| (name.clone(), value.clone()))
        });
        let cookies: Vec<_> = fields.get_all(SET_COOKIE).iter().cloned().collect();
        Answer::Granted(Arc::new(Granted {
            fields: copied.collect(),
            reusable: cookies.is_empty() && !forbids_reuse(&fields),
            cookies,
        }))
    }
}

impl Asking {
    /// The answer, for those who wait for it and for those who come later.
    pub fn answered(self, granted: &Arc<Granted>) {
        let Some((same, sender)) = &self.same else {
            return;
        };
        if let Some(lasts) = self.forward.settings.cache.filter(|_| granted.reusable) {
            let until = clock::now() + lasts;
            self.forward.yeses.insert(*same, (until, granted.clone()));
            sender.send_replace(Some(granted.clone()));
        }
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        if let Some((same, _)) = &self.same {
            self.forward.asking.lock().remove(same);
        }
    }
}

/// Whether an answer says that it is for this one request.
fn forbids_reuse(fields: &HeaderMap) -> bool {
    let lines = fields.get_all(CACHE_CONTROL).iter();
    let mut words = lines.flat_map(|line| line.as_bytes().split(|&octet| octet == b','));
    words.any(|word| {
        let word = word.trim_ascii().to_ascii_lowercase();
        matches!(word.as_slice(), b"no-store" | b"no-cache" | b"max-age=0")
            || word.starts_with(b"no-cache=")
    })
}

#[cfg(test)]
#[path = "forward_tests.rs"]
mod tests;
