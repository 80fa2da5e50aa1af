//! What a stored response may be used for, one row a clause.

use super::*;
use crate::cache::policy::testing::{at, headers, terms};
use http::{HeaderMap, Method};
use std::time::Duration;

const FRESH: Reuse = Reuse::Serve(None);
const EXPIRED: Reuse = Reuse::Validate(ForwardReason::Stale, Reason::Expired);

fn request(reason: Reason) -> Reuse {
    Reuse::Validate(ForwardReason::Request, reason)
}

fn stale(reason: Reason) -> Reuse {
    Reuse::Validate(ForwardReason::Stale, reason)
}

fn decided(fields: &[(&str, &str)], terms: &Terms, clients: ClientDirectives, age: u64) -> Reuse {
    let headers = headers(fields);
    let asked = Asked {
        method: &Method::GET,
        path: "/x",
        headers: (&headers).into(),
    };
    let rules = Rules {
        clients,
        ..Rules::default()
    };
    decide(asked, terms, &rules, at(Duration::from_secs(age)))
}

/// A response that is fresh for ten seconds, with a window of five.
fn ten(when_stale: WhenStale) -> Terms {
    let mut terms = terms(10);
    terms.when_stale = when_stale;
    if matches!(when_stale, WhenStale::Windows | WhenStale::WindowsOnly) {
        terms.while_revalidate = Duration::from_secs(5);
    }
    terms
}

#[test]
fn by_its_terms() {
    use WhenStale::{AlwaysValidate, MustRevalidate, Windows, WindowsOnly};
    for (clause, when_stale, age, expected) in [
        ("§4: fresh", Windows, 9, FRESH),
        (
            "§4.2: freshness_lifetime > current_age",
            Windows,
            10,
            Reuse::ServeAndRefresh,
        ),
        ("RFC 5861 §3: within", Windows, 14, Reuse::ServeAndRefresh),
        ("RFC 5861 §3: beyond", Windows, 15, EXPIRED),
        (
            "§5.2.2.10 with a window",
            WindowsOnly,
            14,
            Reuse::ServeAndRefresh,
        ),
        ("§5.2.2.10 with a window, beyond", WindowsOnly, 15, EXPIRED),
        ("§5.2.2.2: fresh", MustRevalidate, 9, FRESH),
        ("§5.2.2.2: stale", MustRevalidate, 10, EXPIRED),
        ("§5.2.2.4", AlwaysValidate, 0, stale(Reason::AlwaysValidate)),
    ] {
        for clients in [
            ClientDirectives::Revalidate,
            ClientDirectives::Honour,
            ClientDirectives::Ignore,
        ] {
            assert_eq!(
                decided(&[], &ten(when_stale), clients, age),
                expected,
                "{clause} {clients:?}"
            );
        }
    }
}

#[test]
fn by_the_requests_directives() {
    use WhenStale::{AlwaysValidate, MustRevalidate, Windows, WindowsOnly};
    let max_stale = Reuse::Serve(Some(Reason::MaxStale));
    for (clause, value, when_stale, age, expected) in [
        ("§5.2.1.1: younger", "max-age=5", Windows, 4, FRESH),
        ("§5.2.1.1: as old", "max-age=5", Windows, 5, FRESH),
        (
            "§5.2.1.1: older",
            "max-age=5",
            Windows,
            6,
            request(Reason::ClientMaxAge),
        ),
        (
            "§5.2.1.1: a reload",
            "max-age=0",
            Windows,
            1,
            request(Reason::ClientMaxAge),
        ),
        (
            "§5.2.1.1: no stale response",
            "max-age=100",
            Windows,
            11,
            EXPIRED,
        ),
        (
            "§5.2.1.1: older and stale",
            "max-age=5",
            Windows,
            11,
            stale(Reason::ClientMaxAge),
        ),
        ("§5.2.1.1: unreadable", "max-age=x", Windows, 9, FRESH),
        ("§5.2.1.2: within", "max-stale=5", Windows, 15, max_stale),
        ("§5.2.1.2: beyond", "max-stale=5", Windows, 16, EXPIRED),
        ("§5.2.1.2: any", "max-stale", Windows, 1_000_000, max_stale),
        ("§5.2.1.2: not stale", "max-stale", Windows, 9, FRESH),
        (
            "§5.2.1.2 with §5.2.1.1",
            "max-age=100, max-stale=5",
            Windows,
            12,
            max_stale,
        ),
        (
            "§5.2.2.2 over §5.2.1.2",
            "max-stale",
            MustRevalidate,
            11,
            EXPIRED,
        ),
        (
            "§5.2.2.4 over §5.2.1.2",
            "max-stale",
            AlwaysValidate,
            1,
            stale(Reason::AlwaysValidate),
        ),
        (
            "§5.2.2.10 over §5.2.1.2",
            "max-stale",
            WindowsOnly,
            16,
            EXPIRED,
        ),
        ("§5.2.1.3: enough", "min-fresh=5", Windows, 5, FRESH),
        (
            "§5.2.1.3: not enough",
            "min-fresh=5",
            Windows,
            6,
            request(Reason::ClientMinFresh),
        ),
        (
            "§5.2.1.3: stale",
            "min-fresh=0",
            Windows,
            11,
            stale(Reason::ClientMinFresh),
        ),
        (
            "§5.2.1.4",
            "no-cache",
            Windows,
            0,
            request(Reason::ClientNoCache),
        ),
        (
            "§5.2.1.4 over §5.2.1.2",
            "no-cache, max-stale",
            Windows,
            11,
            stale(Reason::ClientNoCache),
        ),
        (
            "§5.2.1.5: what is stored may be used",
            "no-store",
            Windows,
            1,
            FRESH,
        ),
        (
            "§5.2.1.7: what is stored may be used",
            "only-if-cached",
            Windows,
            1,
            FRESH,
        ),
        (
            "§5.2.1.7: not more than that",
            "only-if-cached",
            MustRevalidate,
            11,
            EXPIRED,
        ),
    ] {
        for clients in [ClientDirectives::Revalidate, ClientDirectives::Honour] {
            let found = decided(&[("cache-control", value)], &ten(when_stale), clients, age);
            assert_eq!(found, expected, "{clause} {clients:?}");
        }
        let ignored = decided(
            &[("cache-control", value)],
            &ten(when_stale),
            ClientDirectives::Ignore,
            age,
        );
        assert_eq!(
            ignored,
            decided(&[], &ten(when_stale), ClientDirectives::Ignore, age),
            "{clause}: ignored"
        );
    }
}

#[test]
fn immutable() {
    use ClientDirectives::{Honour, Revalidate};
    let mut terms = ten(WhenStale::Windows);
    terms.immutable = true;
    for (clause, value, clients, age, expected) in [
        ("RFC 8246 §2: a reload", "max-age=0", Revalidate, 1, FRESH),
        (
            "RFC 8246 §2: a forced reload",
            "no-cache",
            Revalidate,
            1,
            request(Reason::ClientNoCache),
        ),
        (
            "RFC 8246 §2: while it is fresh",
            "max-age=0",
            Revalidate,
            11,
            stale(Reason::ClientMaxAge),
        ),
        (
            "RFC 9111 §5.2.1.1 to the letter",
            "max-age=0",
            Honour,
            1,
            request(Reason::ClientMaxAge),
        ),
    ] {
        assert_eq!(
            decided(&[("cache-control", value)], &terms, clients, age),
            expected,
            "{clause}"
        );
    }
}

#[test]
fn cookies() {
    let lifetime = Duration::from_secs(10);
    let ignored = Reuse::Ignore(ForwardReason::Request, Reason::CookieNotExplicit);
    for (lifetime, with, without) in [
        (Lifetime::Explicit(lifetime), FRESH, FRESH),
        (Lifetime::Operator(lifetime), FRESH, FRESH),
        (Lifetime::Heuristic(lifetime), ignored, FRESH),
        (
            Lifetime::Heuristic(Duration::ZERO),
            ignored,
            Reuse::ServeAndRefresh,
        ),
    ] {
        let mut terms = ten(WhenStale::Windows);
        terms.lifetime = lifetime;
        let decided = |fields| decided(fields, &terms, ClientDirectives::Ignore, 1);
        assert_eq!(
            (decided(&[("cookie", "a=1")]), decided(&[])),
            (with, without),
            "{lifetime:?}"
        );
    }
}

#[test]
fn only_from_the_cache() {
    let fields = headers(&[("cache-control", "Only-If-Cached")]);
    let holds = |clients| {
        only_if_cached(
            (&fields).into(),
            &Rules {
                clients,
                ..Rules::default()
            },
        )
    };
    assert!(holds(ClientDirectives::Revalidate) && holds(ClientDirectives::Honour));
    assert!(!holds(ClientDirectives::Ignore));
    assert!(!only_if_cached(
        (&HeaderMap::new()).into(),
        &Rules::default()
    ));
}
