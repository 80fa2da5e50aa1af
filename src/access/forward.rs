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
use crate::fields::hop_by_hop::is_hop_by_hop;
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
    /// Its target, as the client sent it.
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
        }
    }

    /// The fields of the question.
    pub fn question(&self, subject: &Subject<'_>) -> HeaderMap {
        let mut fields = HeaderMap::with_capacity(subject.fields.len() + 8);
        for (name, value) in subject.fields {
            let chosen = match &self.settings.send {
                Some(send) => {
                    send.contains(name) || *name == X_FORWARDED_FOR || *name == X_FORWARDED_HOST
                }
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
            (X_FORWARDED_URI, subject.target),
            (X_ORIGINAL_URL, &url),
            (X_ORIGINAL_URI, subject.target),
        ] {
            // The gate lets nothing but visible ASCII through; were it not so, a field that is missing opens nothing.
            if let Ok(value) = HeaderValue::from_str(value) {
                fields.insert(name, value);
            }
        }
        if !fields.contains_key(&X_FORWARDED_HOST)
            && let Ok(host) = HeaderValue::from_str(subject.host)
        {
            fields.insert(X_FORWARDED_HOST, host);
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

    /// What an answer means.
    pub fn judge(&self, status: StatusCode, mut fields: HeaderMap, body: Bytes) -> Answer {
        if status.is_server_error() {
            return Answer::Unavailable;
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
mod tests {
    use super::*;
    use std::time::Duration;

    fn settings() -> ForwardSettings {
        ForwardSettings {
            upstream: "auth".to_owned(),
            target: "/verify".to_owned(),
            host: None,
            copy: vec![HeaderName::from_static("remote-user")],
            send: Some(vec![http::header::COOKIE]),
            cache: Some(Duration::from_secs(30)),
            cache_by: CacheBy::Url,
            timeout: ForwardSettings::TIMEOUT,
        }
    }

    fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let fields = fields.iter().map(|(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        });
        fields.collect()
    }

    fn subject<'a>(fields: &'a HeaderMap, target: &'a str) -> Subject<'a> {
        Subject {
            method: &Method::POST,
            scheme: "https",
            host: "site.test",
            target,
            fields,
            client: IpAddr::from([192, 0, 2, 1]),
        }
    }

    #[test]
    fn what_the_service_is_told() {
        let fields = map(&[
            ("cookie", "sid=1"),
            ("accept", "text/html"),
            ("content-length", "3"),
            ("range", "bytes=0-1"),
            ("if-none-match", "\"a\""),
            ("x-forwarded-for", "198.51.100.1"),
        ]);
        let told = |send: Option<Vec<HeaderName>>| {
            let settings = ForwardSettings { send, ..settings() };
            Forward::new(settings).question(&subject(&fields, "/a?b=c"))
        };
        let always = [
            ("x-forwarded-method", "POST"),
            ("x-original-method", "POST"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "site.test"),
            ("x-forwarded-uri", "/a?b=c"),
            ("x-original-url", "https://site.test/a?b=c"),
            ("x-original-uri", "/a?b=c"),
            ("x-forwarded-for", "198.51.100.1"),
            ("host", "site.test"),
            ("cookie", "sid=1"),
        ];
        let mut expected = map(&always);
        assert_eq!(told(Some(vec![http::header::COOKIE])), expected);
        expected.extend(map(&[("accept", "text/html")]));
        assert_eq!(told(None), expected);
        let settings = ForwardSettings {
            host: Some("auth.test".into()),
            ..settings()
        };
        let question = Forward::new(settings).question(&subject(&fields, "/"));
        assert_eq!(question[HOST], "auth.test");
    }

    #[test]
    fn who_asks_the_same() {
        let one = map(&[("cookie", "sid=1")]);
        let other = map(&[("cookie", "sid=2")]);
        for (by, fields, target, client, expected) in [
            (CacheBy::Url, &one, "/a", 1, true),
            (CacheBy::Url, &one, "/b", 1, false),
            (CacheBy::Url, &other, "/a", 1, false),
            (CacheBy::Url, &one, "/a", 2, false),
            (CacheBy::Session, &one, "/b", 1, true),
            (CacheBy::Session, &other, "/a", 1, false),
            (CacheBy::Session, &one, "/a", 2, false),
        ] {
            let forward = Forward::new(ForwardSettings {
                cache_by: by,
                ..settings()
            });
            let same = |fields, target, client: u8| {
                let question = forward.question(&subject(fields, target));
                forward.same(&question, IpAddr::from([192, 0, 2, client]))
            };
            let is_same = same(&one, "/a", 1) == same(fields, target, client);
            assert_eq!(is_same, expected, "{by:?} {target} {client}");
        }
    }

    fn grant(forward: &Forward, fields: &[(&'static str, &'static str)]) -> Arc<Granted> {
        match forward.judge(StatusCode::OK, map(fields), Bytes::new()) {
            Answer::Granted(granted) => granted,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_an_answer_means() {
        let forward = Forward::new(settings());
        let granted = grant(
            &forward,
            &[("remote-user", "ann"), ("set-cookie", "a=b"), ("x", "y")],
        );
        assert_eq!(granted.fields.len(), 1);
        assert_eq!(granted.cookies, ["a=b"]);
        let judged = |status: u16, fields| {
            let status = StatusCode::from_u16(status).expect("a status");
            forward.judge(status, map(fields), Bytes::new())
        };
        assert!(matches!(judged(500, &[]), Answer::Unavailable));
        let fields = &[("location", "/login"), ("content-length", "9")];
        let Answer::Refused(status, fields, _) = judged(302, fields) else {
            panic!("a redirect refuses");
        };
        assert_eq!(status, 302);
        assert_eq!(
            fields,
            map(&[("location", "/login"), ("cache-control", "no-store")])
        );
    }

    #[test]
    fn a_yes_is_remembered_unless_it_says_otherwise() {
        for (fields, remembered) in [
            (&[("remote-user", "ann")][..], true),
            (&[("cache-control", "private, max-age=60")], true),
            (&[("cache-control", "No-Store")], false),
            (&[("cache-control", "private, no-cache")], false),
            (&[("cache-control", "max-age=0")], false),
            (&[("set-cookie", "a=b")], false),
        ] {
            let forward = Arc::new(Forward::new(settings()));
            let client = IpAddr::from([192, 0, 2, 1]);
            let question = map(&[("cookie", "sid=1")]);
            let Way::Ask(asking) = forward.way(&question, client) else {
                panic!("nobody has asked yet");
            };
            let Way::Wait(waiting) = forward.way(&question, client) else {
                panic!("somebody asks");
            };
            asking.answered(&grant(&forward, fields));
            assert_eq!(waiting.borrow().is_some(), remembered, "{fields:?}");
            let known = matches!(forward.way(&question, client), Way::Known(_));
            assert_eq!(known, remembered, "{fields:?}");
        }
    }

    #[test]
    fn who_gives_up_leaves_nobody_waiting() {
        let forward = Arc::new(Forward::new(settings()));
        let client = IpAddr::from([192, 0, 2, 1]);
        let question = map(&[("cookie", "sid=1")]);
        let asking = forward.way(&question, client);
        let Way::Wait(waiting) = forward.way(&question, client) else {
            panic!("somebody asks");
        };
        drop(asking);
        assert!(waiting.has_changed().is_err());
        assert!(matches!(forward.way(&question, client), Way::Ask(_)));
    }

    #[test]
    fn without_a_time_everybody_asks() {
        let forward = Arc::new(Forward::new(ForwardSettings {
            cache: None,
            ..settings()
        }));
        let ways =
            [1, 1].map(|last| forward.way(&HeaderMap::new(), IpAddr::from([192, 0, 2, last])));
        assert!(ways.iter().all(|way| matches!(way, Way::Ask(_))));
        assert!(forward.asking.lock().is_empty());
    }
}
