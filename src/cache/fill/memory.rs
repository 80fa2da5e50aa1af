//! What is remembered of keys for which nothing is stored: that their responses cannot be shared, and that their validation
//! has failed. Both are bounded, and forgetting costs a request no more than a wait.

use crate::cache::control::RequestDirectives;
use crate::cache::key::CacheKey;
use crate::cache::outcome::Reason;
use crate::cache::policy::stale::Trouble;
use crate::clock::Instant;
use crate::fields::view::FieldView;
use http::header;
use quick_cache::sync::Cache;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// Keys remembered by each of the two.
const KEYS: usize = 64 * 1024;

/// A failed validation is repeated after this at the earliest, and after twice as long each further time.
const BACK_OFF_MIN: Duration = Duration::from_secs(1);

/// The longest such time.
const BACK_OFF_MAX: Duration = Duration::from_secs(30);

/// Which requests a verdict is about. One client's `Authorization` must not keep the others from sharing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Class {
    All,
    Authorization,
    Cookie,
    NoStore,
}

impl Class {
    fn of(reason: Reason) -> Self {
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "all others are the response's own"
        )]
        match reason {
            Reason::Authorization => Self::Authorization,
            Reason::CookieHeuristic | Reason::CookieNotExplicit => Self::Cookie,
            Reason::RequestNoStore => Self::NoStore,
            _ => Self::All,
        }
    }
}

/// The classes that a request belongs to.
#[derive(Debug, Clone, Copy)]
pub(in crate::cache) struct Classes {
    authorization: bool,
    cookie: bool,
    no_store: bool,
}

impl Classes {
    /// Of a request's fields.
    pub(in crate::cache) fn of<'r>(request: impl Into<FieldView<'r>>) -> Self {
        let request = request.into();
        Self {
            authorization: request.contains(&header::AUTHORIZATION),
            cookie: request.contains(&header::COOKIE),
            no_store: RequestDirectives::of(request).no_store,
        }
    }

    fn each(self) -> impl Iterator<Item = Class> {
        [
            (true, Class::All),
            (self.authorization, Class::Authorization),
            (self.cookie, Class::Cookie),
            (self.no_store, Class::NoStore),
        ]
        .into_iter()
        .filter_map(|(is, class)| is.then_some(class))
    }
}

/// Hit-for-miss: whose responses cannot be shared.
#[derive(Debug)]
pub(in crate::cache) struct Uncacheable {
    until: Cache<u64, (Instant, Reason)>,
    // Seeded by the process: nobody can choose two keys that are taken for one.
    hasher: RandomState,
}

impl Default for Uncacheable {
    fn default() -> Self {
        Self {
            until: Cache::new(KEYS),
            hasher: RandomState::new(),
        }
    }
}

impl Uncacheable {
    fn hash(&self, key: &CacheKey, route: &str, class: Class) -> u64 {
        self.hasher.hash_one((key, route, class))
    }

    /// Remembers that a response could not be shared.
    pub(in crate::cache) fn remember(
        &self,
        key: &CacheKey,
        route: &str,
        reason: Reason,
        until: Instant,
    ) {
        let hash = self.hash(key, route, Class::of(reason));
        self.until.insert(hash, (until, reason));
    }

    /// Why a request need not wait for others: the response to one like it could not be shared.
    pub(in crate::cache) fn recall(
        &self,
        key: &CacheKey,
        route: &str,
        classes: Classes,
        now: Instant,
    ) -> Option<Reason> {
        classes.each().find_map(|class| {
            let hash = self.hash(key, route, class);
            let (until, reason) = self.until.get(&hash)?;
            if now < until {
                return Some(reason);
            }
            self.until.remove(&hash);
            None
        })
    }

    /// The same with what is left of its time. Forgets nothing.
    pub(in crate::cache) fn left(
        &self,
        key: &CacheKey,
        route: &str,
        classes: Classes,
        now: Instant,
    ) -> Option<(Reason, Duration)> {
        classes.each().find_map(|class| {
            let (until, reason) = self.until.peek(&self.hash(key, route, class))?;
            (now < until).then(|| (reason, until - now))
        })
    }

    /// Forgets it: a response came that can be shared. That it was too large is forgotten only where one is known to fit.
    pub(in crate::cache) fn forget(
        &self,
        key: &CacheKey,
        route: &str,
        classes: Classes,
        fits: bool,
    ) {
        for class in classes.each() {
            let hash = self.hash(key, route, class);
            let large = |(_, reason)| reason == Reason::TooLarge;
            if fits || !self.until.get(&hash).is_some_and(large) {
                self.until.remove(&hash);
            }
        }
    }
}

/// Whose validation has failed, and until when it is not repeated while a stale response may be served.
#[derive(Debug)]
pub(in crate::cache) struct BackOff {
    failed: Cache<u64, Failed>,
    hasher: RandomState,
}

#[derive(Debug, Clone, Copy)]
struct Failed {
    times: u32,
    until: Instant,
    trouble: Trouble,
}

impl Default for BackOff {
    fn default() -> Self {
        Self {
            failed: Cache::new(KEYS),
            hasher: RandomState::new(),
        }
    }
}

impl BackOff {
    /// A validation failed.
    pub(in crate::cache) fn failed(
        &self,
        key: &CacheKey,
        route: &str,
        trouble: Trouble,
        now: Instant,
    ) {
        let hash = self.hasher.hash_one((key, route));
        let times = self.failed.get(&hash).map_or(0, |failed| failed.times);
        let wait = BACK_OFF_MIN
            .saturating_mul(2u32.saturating_pow(times))
            .min(BACK_OFF_MAX);
        let failed = Failed {
            times: times.saturating_add(1),
            until: now + wait,
            trouble,
        };
        self.failed.insert(hash, failed);
    }

    /// The trouble, where the origin is not to be asked yet.
    pub(in crate::cache) fn holds(
        &self,
        key: &CacheKey,
        route: &str,
        now: Instant,
    ) -> Option<Trouble> {
        let failed = self.failed.get(&self.hasher.hash_one((key, route)))?;
        (now < failed.until).then_some(failed.trouble)
    }

    /// The same with what is left of its time.
    pub(in crate::cache) fn left(
        &self,
        key: &CacheKey,
        route: &str,
        now: Instant,
    ) -> Option<(Trouble, Duration)> {
        let failed = self.failed.peek(&self.hasher.hash_one((key, route)))?;
        (now < failed.until).then(|| (failed.trouble, failed.until - now))
    }

    /// The origin answered.
    pub(in crate::cache) fn answered(&self, key: &CacheKey, route: &str) {
        self.failed.remove(&self.hasher.hash_one((key, route)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::key::Target;
    use crate::cache::settings::KeyRules;
    use http::HeaderMap;

    fn key(path: &str) -> CacheKey {
        let target = Target {
            scheme: "http",
            authority: "a",
            path,
            query: None,
        };
        CacheKey::new(target, &HeaderMap::new(), &KeyRules::default())
    }

    fn classes(name: &'static str, value: &str) -> Classes {
        let value = value.parse().expect("a field value");
        Classes::of(&HeaderMap::from_iter([(
            http::HeaderName::from_static(name),
            value,
        )]))
    }

    #[test]
    fn a_verdict_is_about_requests_like_it() {
        let (memory, now) = (Uncacheable::default(), crate::clock::now());
        let plain = Classes::of(&HeaderMap::new());
        for (reason, alike) in [
            (Reason::Authorization, classes("authorization", "Basic x")),
            (Reason::CookieHeuristic, classes("cookie", "a=b")),
            (
                Reason::RequestNoStore,
                classes("cache-control", "x, No-Store"),
            ),
        ] {
            let key = key(reason.word());
            memory.remember(&key, "r", reason, now + BACK_OFF_MAX);
            assert_eq!(memory.recall(&key, "r", alike, now), Some(reason));
            assert_eq!(memory.recall(&key, "r", plain, now), None, "{reason:?}");
            assert_eq!(memory.recall(&key, "other", alike, now), None);
            assert_eq!(memory.recall(&key, "r", alike, now + BACK_OFF_MAX), None);
        }
        let key = key("/");
        memory.remember(&key, "r", Reason::NoStore, now + BACK_OFF_MAX);
        let alike = classes("cookie", "a=b");
        assert_eq!(memory.recall(&key, "r", alike, now), Some(Reason::NoStore));
        memory.forget(&key, "r", plain, false);
        assert_eq!(memory.recall(&key, "r", alike, now), None);
        memory.remember(&key, "r", Reason::TooLarge, now + BACK_OFF_MAX);
        memory.forget(&key, "r", plain, false);
        assert!(memory.recall(&key, "r", plain, now).is_some());
        memory.forget(&key, "r", plain, true);
        assert_eq!(memory.recall(&key, "r", plain, now), None);
    }

    #[test]
    fn the_time_between_tries_grows_to_its_limit_and_starts_anew_after_an_answer() {
        let (memory, key, mut now) = (BackOff::default(), key("/"), crate::clock::now());
        for seconds in [1, 2, 4, 8, 16, 30, 30] {
            memory.failed(&key, "r", Trouble::Unreachable, now);
            let wait = Duration::from_secs(seconds);
            let before = now + wait - Duration::from_millis(1);
            assert_eq!(memory.holds(&key, "r", before), Some(Trouble::Unreachable));
            assert_eq!(memory.holds(&key, "other", before), None);
            now += wait;
            assert_eq!(memory.holds(&key, "r", now), None, "after {seconds} s");
        }
        memory.answered(&key, "r");
        memory.failed(&key, "r", Trouble::Failed, now);
        assert_eq!(memory.holds(&key, "r", now + BACK_OFF_MIN), None);
    }
}
