//! What an operator may decide about the cache: as a whole, and route by route.

use crate::units::ByteSize;
use http::{HeaderName, Method, StatusCode};
use std::time::Duration;

pub use super::purge::Scope;

/// `[cache]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheSettings {
    /// Everything that is kept: bodies, fields, keys, indexes. Default 256 MiB.
    pub memory: ByteSize,
    /// The largest body that is stored; larger ones stream through. At most an eighth of `memory`. Default 32 MiB, or less.
    pub object: ByteSize,
    /// What responses under way may hold before they are stored. Default a quarter of `memory`.
    pub in_flight: ByteSize,
    /// Stored responses for one target that differ by the fields that `Vary` names. Default 32.
    pub variants: usize,
    /// Fetches that nobody waits for any more, per client address and per upstream; beyond, they are cancelled. Default 16.
    pub abandoned: usize,
}

impl CacheSettings {
    /// The largest share of `memory` that one body may take: beyond it a few bodies would push everything else out.
    pub const OBJECT_SHARE: u64 = 8;

    /// The defaults that go with this much memory.
    pub fn within(memory: ByteSize) -> Self {
        let most = Self::object_max(memory);
        Self {
            memory,
            object: most.min(ByteSize::mib(32)),
            in_flight: ByteSize::new(memory.bytes() / 4),
            variants: 32,
            abandoned: 16,
        }
    }

    /// The largest `object` that this much memory allows.
    pub fn object_max(memory: ByteSize) -> ByteSize {
        ByteSize::new(memory.bytes() / Self::OBJECT_SHARE)
    }
}

impl Default for CacheSettings {
    fn default() -> Self {
        Self::within(ByteSize::mib(256))
    }
}

/// What the cache may do on one route: `cache = …`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a key of its own that an operator sets by itself"
)]
pub struct Rules {
    /// False: never. Default true: obey the origin's fields.
    pub enabled: bool,
    /// Whether the origin's `Cache-Control` and `Expires` count. False takes `ttl` for everything that is not
    /// `private`, `no-store` or setting a cookie.
    pub origin: OriginFields,
    /// The freshness lifetime, whatever the origin says of it, counted from the arrival here. Not for errors other than 404
    /// and 410, which would take the place of what is good, and may be one client's doing; those have theirs in `ttl_by_status`.
    pub ttl: Option<Duration>,
    /// The same by status; the first that fits. Stronger than `ttl`.
    pub ttl_by_status: Vec<(StatusMatch, Duration)>,
    /// A lifetime that the origin gives is raised to this, where it is above zero.
    pub ttl_min: Option<Duration>,
    /// A lifetime that the origin gives is cut to this.
    pub ttl_max: Option<Duration>,
    /// The window of RFC 5861 §3; replaces the origin's.
    pub stale_while_revalidate: Option<Duration>,
    /// The window of RFC 5861 §4, for 5xx and time-outs; replaces the origin's.
    pub stale_if_error: Option<Duration>,
    /// How long a stale response may be served while the origin cannot be reached at all. Default one day.
    pub stale_if_unreachable: Duration,
    /// What a client's `Cache-Control` may do.
    pub clients: ClientDirectives,
    /// Requests that go past the cache; any that holds.
    pub bypass: Vec<BypassRule>,
    /// What the key is made of.
    pub key: KeyRules,
    /// Entries asked for since the last time are fetched anew this often, off the client's path.
    pub refresh_every: Option<Duration>,
    /// How long it is remembered that a response could not be shared. Default 120 s.
    pub uncacheable_for: Duration,
    /// Whether `Surrogate-Control` is obeyed like `CDN-Cache-Control`. Default false.
    pub surrogate_control: bool,
    /// Whether `X-Accel-Expires` is obeyed. Default false.
    pub x_accel_expires: bool,
    /// Whether what a rule or a guess makes fresh must be of the type that the end of its path says. Default true.
    pub deception_guard: bool,
    /// Whether identity responses are compressed for clients that accept it. Default true.
    pub compress: bool,
    /// Requests that change something, and what of; the route's `on_write`. Those by GET are never answered from here.
    pub on_write: Vec<WriteRule>,
    /// Tags that every response has which is stored here.
    pub tags: Vec<String>,
    /// Whether clients get the fields that tags came in. Default false.
    pub show_tags: bool,
}

/// Whether the origin's freshness counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OriginFields {
    /// It does.
    #[default]
    Obey,
    /// Only the route's rules do.
    Ignore,
}

/// One status or a class of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusMatch {
    /// `404`.
    Exact(StatusCode),
    /// `5xx` as 5.
    Class(u16),
}

impl StatusMatch {
    /// Whether a status is meant.
    pub fn matches(self, status: StatusCode) -> bool {
        match self {
            Self::Exact(exact) => exact == status,
            Self::Class(class) => status.as_u16() / 100 == class,
        }
    }
}

/// What a client's `Cache-Control` may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClientDirectives {
    /// `no-cache` and `max-age` validate, all such requests together sharing one validation. The other directives are
    /// honoured as far as they cost the origin nothing more than that. The default.
    #[default]
    Revalidate,
    /// RFC 9111 §5.2.1 to the letter.
    Honour,
    /// None of them counts.
    Ignore,
}

/// A request that goes past the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BypassRule {
    /// It has this cookie; `*` at the end of the name is any text.
    Cookie(String),
    /// It has this field, with this value where one is given.
    Header(HeaderName, Option<String>),
    /// It has this query parameter, with this value where one is given.
    Query(String, Option<String>),
    /// Its path is this one; `*` at the end is any text.
    Path(String),
}

/// A rule of `on_write`: requests that change something, and what of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteRule {
    /// The methods; none is every method. With GET, HEAD is meant too.
    pub methods: Vec<Method>,
    /// The path; each `*` is any text.
    pub path: String,
    /// What is purged. A place without a host is on the request's own.
    pub purge: Vec<Scope>,
}

/// What the key is made of besides scheme, authority and path.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeyRules {
    /// Parameters of the query that do not count.
    pub query: QueryRule,
    /// Parameters in the order of their names.
    pub sort_query: bool,
    /// Request fields whose values count.
    pub headers: Vec<HeaderName>,
    /// Cookies whose values count.
    pub cookies: Vec<String>,
}

/// Which parameters of the query count.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum QueryRule {
    /// All.
    #[default]
    All,
    /// All but these; `*` at the end of a name is any text.
    Drop(Vec<String>),
    /// These only.
    Allow(Vec<String>),
}

/// Query parameters by which advertisers and mailers follow their readers, and which change no page: what `"tracking"`
/// in `drop` stands for. `*` at the end is any text.
pub const TRACKING: &[&str] = &[
    "utm_*",
    "gclid",
    "gclsrc",
    "gbraid",
    "wbraid",
    "gad_source",
    "gad_campaignid",
    "dclid",
    "fbclid",
    "msclkid",
    "mc_cid",
    "mc_eid",
    "mkt_tok",
    "ttclid",
    "twclid",
    "li_fat_id",
    "igshid",
    "yclid",
    "ysclid",
    "srsltid",
    "epik",
    "vero_id",
    "oly_anon_id",
    "oly_enc_id",
    "s_kwcid",
    "_hsenc",
    "_hsmi",
    "__hssc",
    "__hstc",
    "__hsfp",
    "hsctatracking",
    "_openstat",
    "wickedid",
    "_ga",
    "_gl",
];

impl Rules {
    /// `cache = false`, and what holds where nothing is forwarded.
    pub fn off() -> Self {
        Self {
            enabled: false,
            ..Self::default()
        }
    }
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            enabled: true,
            origin: OriginFields::Obey,
            ttl: None,
            ttl_by_status: Vec::new(),
            ttl_min: None,
            ttl_max: None,
            stale_while_revalidate: None,
            stale_if_error: None,
            stale_if_unreachable: Duration::from_secs(24 * 60 * 60),
            clients: ClientDirectives::default(),
            bypass: Vec::new(),
            key: KeyRules::default(),
            refresh_every: None,
            uncacheable_for: Duration::from_secs(120),
            surrogate_control: false,
            x_accel_expires: false,
            deception_guard: true,
            compress: true,
            on_write: Vec::new(),
            tags: Vec::new(),
            show_tags: false,
        }
    }
}
