//! The words of caching: an origin's freshness and validators, and what an answer says became of it (RFC 9211).

use std::time::Duration;

use sfv::{BareItem, ListEntry, Parser};

use super::{Reply, Response};

/// The time `seconds` ago, as `Date`, `Expires` and `Last-Modified` say it.
pub fn ago(seconds: u64) -> String {
    httpdate::fmt_http_date(forebay::clock::wall() - Duration::from_secs(seconds))
}

/// The time in `seconds`, as `Date`, `Expires` and `Last-Modified` say it.
pub fn ahead(seconds: u64) -> String {
    httpdate::fmt_http_date(forebay::clock::wall() + Duration::from_secs(seconds))
}

impl Reply {
    /// One more directive of `Cache-Control`.
    pub fn directive(mut self, directive: &str) -> Self {
        let name = "cache-control";
        match self.fields.iter_mut().find(|(n, _)| n == name) {
            Some((_, value)) => *value += &format!(", {directive}"),
            None => self.fields.push((name.to_owned(), directive.to_owned())),
        }
        self
    }

    /// Fresh for so many seconds.
    pub fn max_age(self, seconds: u64) -> Self {
        self.directive(&format!("max-age={seconds}"))
    }

    /// Not to be kept.
    pub fn no_store(self) -> Self {
        self.directive("no-store")
    }

    /// It has been on its way for so many seconds. With as many as `max_age` it is stale on arrival, so that a scenario
    /// need not wait until it is.
    pub fn age(self, seconds: u64) -> Self {
        self.header("age", &seconds.to_string())
    }

    /// Its validator, quotes included.
    pub fn etag(self, tag: &str) -> Self {
        self.header("etag", tag)
    }

    /// When it changed last.
    pub fn last_modified(self, date: &str) -> Self {
        self.header("last-modified", date)
    }

    /// The request fields that chose it.
    pub fn vary(self, names: &str) -> Self {
        self.header("vary", names)
    }
}

/// The words of one member of `Cache-Status`: "hit", "fwd=stale", "ttl=57", "detail=no-store".
#[derive(Debug, Clone, Default)]
pub struct CacheStatus {
    /// Which cache says so.
    pub cache: String,
    /// Its parameters.
    pub words: Vec<String>,
}

impl CacheStatus {
    /// Whether this is one of its words; "ttl" and "detail" also fit without their value.
    pub fn has(&self, word: &str) -> bool {
        let fits = |w: &String| w == word || w.split('=').next() == Some(word);
        self.words.iter().any(fits)
    }

    /// The freshness that is left.
    pub fn ttl(&self) -> Option<i64> {
        self.words
            .iter()
            .find_map(|w| w.strip_prefix("ttl="))
            .map(|n| n.parse().expect("ttl is an integer"))
    }
}

impl Response {
    /// What the cache nearest to the client says of itself; the member must be one of RFC 9211.
    #[track_caller]
    pub fn cache(&self) -> CacheStatus {
        let lines = self.head.all("cache-status").join(", ");
        assert!(!lines.is_empty(), "no Cache-Status in {self:#?}");
        let members = Parser::parse_list(lines.as_bytes())
            .unwrap_or_else(|e| panic!("{e}: Cache-Status is not a list in {self:#?}"));
        let Some(ListEntry::Item(last)) = members.last() else {
            panic!("no item in Cache-Status of {self:#?}");
        };
        let (BareItem::Token(cache) | BareItem::String(cache)) = &last.bare_item else {
            panic!("a cache is named by a token or a string: {self:#?}");
        };
        let word = |(name, value): (&String, &BareItem)| match value {
            BareItem::Boolean(true) => name.clone(),
            BareItem::Token(value) | BareItem::String(value) => format!("{name}={value}"),
            BareItem::Integer(value) => format!("{name}={value}"),
            other => panic!("{name} is {other:?} in {self:#?}"),
        };
        let status = CacheStatus {
            cache: cache.clone(),
            words: last.params.iter().map(word).collect(),
        };
        // RFC 9211 §2: "The hit and fwd parameters are mutually exclusive."
        assert!(!(status.has("hit") && status.has("fwd")), "{status:?}");
        status
    }

    /// `Cache-Status` has all of these words: `cache_status("fwd=stale; collapsed")`.
    #[track_caller]
    pub fn cache_status(self, words: &str) -> Self {
        let status = self.cache();
        for word in words.split("; ") {
            assert!(status.has(word), "no {word:?} in {status:?} of {self:#?}");
        }
        self
    }

    /// `Cache-Status` has none of these words.
    #[track_caller]
    pub fn no_cache_status(self, words: &str) -> Self {
        let status = self.cache();
        for word in words.split("; ") {
            assert!(!status.has(word), "{word:?} in {status:?} of {self:#?}");
        }
        self
    }

    /// It is from the store, and at least so old and no more than a busy machine's five seconds older.
    #[track_caller]
    pub fn aged(self, seconds: u64) -> Self {
        let age: u64 = self.value("age").parse().expect("Age is delta-seconds");
        assert!(
            (seconds..=seconds + 5).contains(&age),
            "{age} s old in {self:#?}"
        );
        self
    }
}
