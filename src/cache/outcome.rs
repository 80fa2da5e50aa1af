//! What became of a request in the cache, in the words of RFC 9211, and why: the one value that `Cache-Status`, the access
//! log and the metric are made of.

use http::{HeaderValue, StatusCode};

/// Why a request was forwarded (RFC 9211 §2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ForwardReason {
    /// The cache was configured not to handle it, or cannot.
    Bypass,
    /// The method's semantics require it.
    Method,
    /// Nothing is stored for the target.
    UriMiss,
    /// Something is stored for the target, but for other values of the fields that `Vary` names.
    VaryMiss,
    /// The request's directives asked for it.
    Request,
    /// What is stored is stale.
    Stale,
    /// What is stored is a part that does not hold what was asked for.
    Partial,
}

impl ForwardReason {
    /// The word of RFC 9211.
    pub fn word(self) -> &'static str {
        match self {
            Self::Bypass => "bypass",
            Self::Method => "method",
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Request => "request",
            Self::Stale => "stale",
            Self::Partial => "partial",
        }
    }
}

macro_rules! reasons {
    ($($variant:ident = $word:literal, $sentence:literal;)*) => {
        /// Why it was so. Each has a word, which is the same in `Cache-Status; detail=`, the log and the metric, and a sentence.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Reason {
            $(#[doc = $sentence] $variant,)*
        }

        impl Reason {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The word: lower case, with dashes.
            pub fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }

            /// The sentence.
            pub fn sentence(self) -> &'static str {
                match self { $(Self::$variant => $sentence,)* }
            }

            /// Where it stands with what to do about it.
            pub fn page(self) -> &'static str {
                match self { $(Self::$variant => concat!("docs/reasons.md#", $word),)* }
            }
        }
    };
}

reasons! {
    // Why the cache was not asked.
    RouteOff = "route-off", "The route says `cache = false`.";
    OnWrite = "on-write", "The request changes something by a rule of the route: `on_write`.";
    BypassRule = "bypass-rule", "A bypass rule of the route matches the request.";
    MethodNotCached = "method", "Only GET and HEAD are answered from the cache.";
    RequestBody = "request-body", "The request has a body, which is not part of the key.";
    Upgrade = "upgrade", "The request asks for another protocol.";
    PathSpelling = "path-spelling", "An application may read the path as that of another route (decoded, with slashes merged, without `;parameters`), whose cache rules are others.";
    UnkeyedClaim = "unkeyed-claim", "A trusted proxy says more of what is asked than the key holds: another host, port, scheme, path or method.";
    Precondition = "precondition", "If-Match and If-Unmodified-Since are the origin's to evaluate.";
    RangeUncached = "range", "The range is fetched as it was asked for.";
    HitForMiss = "hit-for-miss", "The last response to this target could not be shared, which is remembered for a while.";
    Crowded = "crowded", "Too many fetches are under way to remember one more.";

    // Why a response was not stored.
    StatusNotFinal = "status", "The status is not one that can be stored.";
    StatusUnknown = "must-understand", "The response must be understood to be stored, and its status is not.";
    RequestNoStore = "request-no-store", "The request says `no-store`.";
    NoStore = "no-store", "The response says `no-store`.";
    Private = "private", "The response says `private`.";
    Authorization = "authorization", "The request has `Authorization` and the response does not say that it may be shared.";
    SetCookie = "set-cookie", "The response sets a cookie and does not say that it may be shared.";
    CookieHeuristic = "cookie", "The request has a cookie and the response does not say how long it is fresh.";
    TypeMismatch = "type-mismatch", "The path ends like a file's, the response is of another type, and only a rule or a guess would make it fresh.";
    VaryStar = "vary-star", "The response varies on more than fields: `Vary: *`.";
    VaryMany = "vary-many", "The response names more fields in `Vary` than are kept.";
    NoFreshness = "no-freshness", "The response does not say how long it is fresh, nor when it was last modified.";
    ExpiredNoValidator = "expired", "The response is stale on arrival and has nothing to validate it by.";
    UnsafeMethod = "unsafe-method", "The response is to a method that is not stored.";
    PartialUnusable = "partial", "The part cannot be combined with others: it has no strong validator, or its range is not understood.";
    TagsMany = "tags-many", "The response has more tags than are kept.";
    TooLarge = "too-large", "The response is larger than the largest that is stored.";
    Invalidated = "invalidated", "The target was invalidated while it was fetched.";
    Incomplete = "incomplete", "The response ended before its end.";

    // Why a stored response was used or not.
    StaleWhileRevalidate = "stale-while-revalidate", "It is stale and served while it is fetched anew.";
    StaleIfError = "stale-if-error", "It is stale and served because the origin failed.";
    StaleIfUnreachable = "stale-if-unreachable", "It is stale and served because the origin cannot be reached.";
    MaxStale = "max-stale", "It is stale, which the request allows.";
    ClientNoCache = "client-no-cache", "The request asks for validation.";
    ClientMaxAge = "client-max-age", "It is older than the request allows.";
    ClientMinFresh = "client-min-fresh", "It is not fresh for as long as the request wants.";
    OnlyIfCached = "only-if-cached", "The request wants it from the cache only, and it is not there.";
    AlwaysValidate = "no-cache", "The response must be validated before each use.";
    Expired = "stale", "It is stale.";
    Refreshed = "refreshed", "The origin said that it has not changed.";
    CookieNotExplicit = "cookie-heuristic", "The request has a cookie and what is stored is fresh by guess only.";
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Outcome {
    /// Served from the cache without asking anybody.
    pub hit: bool,
    /// Why it was forwarded, where it was.
    pub forward: Option<ForwardReason>,
    /// The origin's status, where it is not the one that the client gets.
    pub forward_status: Option<StatusCode>,
    /// Whether what came was stored.
    pub stored: bool,
    /// Whether it shared another request's fetch.
    pub collapsed: bool,
    /// The freshness left, in seconds; negative is stale.
    pub ttl: Option<i64>,
    /// Why.
    pub reason: Option<Reason>,
}

impl Outcome {
    /// A request that is forwarded.
    pub fn forwarded(forward: ForwardReason, reason: Option<Reason>) -> Self {
        Self {
            forward: Some(forward),
            reason,
            ..Self::default()
        }
    }

    /// The member of `Cache-Status` (RFC 9211 §2) that this is, by the name of this cache, which must be an sf-token.
    pub fn write(&self, name: &str) -> HeaderValue {
        let mut text = Vec::with_capacity(64);
        self.write_to(&mut text, name);
        HeaderValue::from_maybe_shared(bytes::Bytes::from(text))
            .unwrap_or(HeaderValue::from_static("forebay"))
    }

    /// The same, behind what is there.
    pub fn write_to(&self, text: &mut Vec<u8>, name: &str) {
        text.extend_from_slice(name.as_bytes());
        if self.hit {
            text.extend_from_slice(b"; hit");
        }
        if let Some(forward) = self.forward.filter(|_| !self.hit) {
            text.extend_from_slice(b"; fwd=");
            text.extend_from_slice(forward.word().as_bytes());
        }
        if let Some(status) = self.forward_status {
            text.extend_from_slice(b"; fwd-status=");
            text.extend_from_slice(status.as_str().as_bytes());
        }
        if let Some(ttl) = self.ttl {
            text.extend_from_slice(b"; ttl=");
            text.extend_from_slice(itoa::Buffer::new().format(ttl).as_bytes());
        }
        if self.stored {
            text.extend_from_slice(b"; stored");
        }
        if self.collapsed {
            text.extend_from_slice(b"; collapsed");
        }
        if let Some(reason) = self.reason {
            text.extend_from_slice(b"; detail=");
            text.extend_from_slice(reason.word().as_bytes());
        }
    }

    /// One word for the log and the metric: hit, stale, revalidated, miss, collapsed or bypass.
    pub fn result(&self) -> &'static str {
        match (self.hit, self.forward, self.reason) {
            (true, _, _) if self.ttl.is_some_and(|ttl| ttl < 0) => "stale",
            (true, _, _) => "hit",
            (false, _, Some(Reason::StaleIfError | Reason::StaleIfUnreachable)) => "stale",
            (false, _, Some(Reason::Refreshed)) => "revalidated",
            (false, Some(ForwardReason::Bypass | ForwardReason::Method), _) => "bypass",
            (false, _, _) if self.collapsed => "collapsed",
            (false, _, _) => "miss",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_knows_the_results() {
        let of = |forward, reason| Outcome::forwarded(forward, reason);
        let hit = |ttl| Outcome {
            hit: true,
            ttl: Some(ttl),
            ..Outcome::default()
        };
        let collapsed = Outcome {
            collapsed: true,
            ..of(ForwardReason::UriMiss, None)
        };
        let all = [
            hit(1),
            hit(-1),
            of(ForwardReason::Stale, Some(Reason::Refreshed)),
            of(ForwardReason::UriMiss, None),
            collapsed,
            of(ForwardReason::Method, None),
        ];
        let words = all.map(|outcome| outcome.result());
        assert_eq!(words, crate::telemetry::access_log::CACHE);
    }
}
