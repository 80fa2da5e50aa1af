//! What an operator may decide about routes: which requests one matches and what becomes of them.

use crate::units::ByteSize;
use http::{HeaderName, HeaderValue, Method, StatusCode};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// One `[[route]]`.
#[derive(Debug, Clone, PartialEq)]
pub struct RouteSettings {
    /// The name in logs and metrics; default: host and path as written, such as `example.org/api/`.
    pub name: String,
    /// Which requests it is for.
    pub matches: MatchSettings,
    /// What becomes of them.
    pub action: Action,
    /// How the path changes on its way to the upstream, the directory or a redirect's `Location`.
    pub rewrite: Rewrite,
    /// Changes to the request's fields on their way to the upstream.
    pub request_headers: HeaderEdits,
    /// Changes to the response's fields on their way to the client.
    pub response_headers: HeaderEdits,
    /// Files served instead of an upstream's or our own error answer, by status.
    pub error_pages: BTreeMap<u16, PathBuf>,
    /// A request body above this is 413; `None` leaves it to `[limits] body`.
    pub body_limit: Option<ByteSize>,
    /// Statuses of a starting app (502, 503, 504) that hold an idempotent request like a refused connection.
    pub hold_on: Vec<StatusCode>,
    /// Whether viewers may follow what changes below it, and how.
    pub events: Option<EventSettings>,
    /// Names of the rate limits that its requests must come within, all of them. Default: none.
    pub rate_limits: Vec<String>,
    /// Which route of the file it is, from 0: what other rooms keep for each route is found by it.
    pub index: usize,
}

impl RouteSettings {
    /// One for every request, that does nothing else.
    pub fn for_all(action: Action) -> Self {
        Self {
            name: String::new(),
            matches: MatchSettings {
                scheme: None,
                host: HostMatch::Any,
                path: PathMatch::Prefix("/".to_owned()),
                methods: Vec::new(),
                headers: Vec::new(),
                query: Vec::new(),
            },
            action,
            rewrite: Rewrite::None,
            request_headers: HeaderEdits::default(),
            response_headers: HeaderEdits::default(),
            error_pages: BTreeMap::new(),
            body_limit: None,
            hold_on: Vec::new(),
            events: None,
            rate_limits: Vec::new(),
            index: 0,
        }
    }

    /// One that leads all requests to one upstream.
    pub fn all_to(upstream: &str) -> Self {
        Self::for_all(Action::Forward(vec![WeightedUpstream {
            upstream: upstream.to_owned(),
            weight: 1,
        }]))
    }
}

/// `events`: a stream that tells viewers of a route what has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventSettings {
    /// The route's path, which is a prefix.
    pub prefix: String,
    /// Where the stream is: `_events` below it.
    pub path: String,
    /// Viewers at once; more are answered 503. Default 1000.
    pub viewers: usize,
    /// After so long without an event a comment is sent, by which both ends see that the other is there. Default 15 s.
    pub heartbeat: Duration,
}

impl EventSettings {
    /// The defaults, below this prefix.
    pub fn below(prefix: &str) -> Self {
        Self {
            prefix: prefix.to_owned(),
            path: format!("{}/_events", prefix.trim_end_matches('/')),
            viewers: 1_000,
            heartbeat: Duration::from_secs(15),
        }
    }
}

/// Which requests a route is for; all conditions must hold.
#[derive(Debug, Clone, PartialEq)]
pub struct MatchSettings {
    /// The scheme that the client used; `None` is either.
    pub scheme: Option<Scheme>,
    /// The host without its port.
    pub host: HostMatch,
    /// The path without its query.
    pub path: PathMatch,
    /// Any of these methods; empty is any method. HEAD is matched where GET is.
    pub methods: Vec<Method>,
    /// Request fields and the value each must have; `None` is any value.
    pub headers: Vec<(HeaderName, Option<String>)>,
    /// Query parameters and the value each must have; `None` is any value.
    pub query: Vec<(String, Option<String>)>,
}

/// What a client speaks: HTTP without or with TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Without TLS.
    Http,
    /// Over TLS, which may end at a trusted proxy in front of us.
    Https,
}

impl Scheme {
    /// As it stands in front of `://`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// Which hosts a route is for. Compared without case and port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostMatch {
    /// Any host.
    Any,
    /// This host, in lower case.
    Exact(String),
    /// `*.example.org`: any number of labels in front of this suffix, which is kept without `*.`, in lower case.
    Wildcard(String),
}

/// Which paths a route is for. Compared with the request's path after [`super::normalise()`]: dot segments are gone and
/// unreserved characters decoded; any other percent-encoding stays and is compared without the case of its digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathMatch {
    /// `/api/` or `/api`: this path and what lies below it, by whole segments.
    Prefix(String),
    /// `=/healthz`: this path only. Kept without `=`.
    Exact(String),
    /// `/img/*.png`: `*` is any text within a segment, `**` any text.
    Glob(String),
}

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// To one of these upstreams, by weight.
    Forward(Vec<WeightedUpstream>),
    /// A redirect.
    Redirect {
        /// The `Location`; `{scheme}`, `{host}`, `{path}` (rewritten), `{query}` (with its `?`) and `{uri}` are the request's.
        to: String,
        /// 301, 302, 303, 307 or 308. Default 308.
        status: StatusCode,
    },
    /// A fixed response.
    Respond {
        /// Any final status. Default 200.
        status: StatusCode,
        /// The body.
        body: String,
        /// Its `Content-Type`. Default `text/plain; charset=utf-8`.
        content_type: HeaderValue,
    },
    /// Files of a directory.
    Files {
        /// The directory.
        root: PathBuf,
        /// The file served for a directory. Default `index.html`.
        index: String,
        /// The file under `root` served, with 200, where none matches (single-page applications).
        fallback: Option<String>,
    },
}

/// An upstream and its share of a route's requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeightedUpstream {
    /// The upstream's name.
    pub upstream: String,
    /// Its share relative to the others, 0 to 1000.
    pub weight: u32,
}

/// How the path changes on its way to the upstream or the directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rewrite {
    /// Not at all. The default.
    None,
    /// The matched prefix is taken away: `/api/x` becomes `/x`.
    StripPrefix(String),
    /// The matched prefix is replaced: with `/v1`, `/api/x` becomes `/v1/x`.
    ReplacePrefix {
        /// The prefix as matched.
        from: String,
        /// What stands in its place.
        to: String,
    },
}

/// Changes to header fields: first `remove`, then `set`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HeaderEdits {
    /// Each replaces all fields of its name.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// All fields of these names go.
    pub remove: Vec<HeaderName>,
}
