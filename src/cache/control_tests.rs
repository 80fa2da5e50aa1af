//! The directives of each field, one row a rule.

use super::*;
use crate::cache::policy::testing::headers;
use proptest::prelude::*;

fn given(seconds: u64) -> Seconds {
    Seconds::Given(Duration::from_secs(seconds))
}

fn parse(line: &str) -> ResponseDirectives {
    ResponseDirectives::parse([line])
}

fn fields(names: &[&'static str]) -> Scope {
    Scope::Fields(
        names
            .iter()
            .map(|name| HeaderName::from_static(name))
            .collect(),
    )
}

#[test]
fn seconds() {
    for (clause, line, expected) in [
        ("§5.2: a token", "max-age=60", given(60)),
        ("§5.2: any case", "MAX-Age=60", given(60)),
        ("§5.2: a quoted string", "max-age=\"60\"", given(60)),
        ("§5.2: among others", "public,\tMax-Age=60 , x", given(60)),
        (
            "§5.2.3: unknown directives",
            "foo, max-age=60, bar=\"max-age=1, no-store\"",
            given(60),
        ),
        (
            "§5.2.3: a longer name",
            "x-max-age=1, max-age-x=1",
            Seconds::Absent,
        ),
        ("§1.2.2: over 2^31", "max-age=99999999999", given(1 << 31)),
        ("§1.2.2: leading zeros", "max-age=007", given(7)),
        ("§4.2.1: the first", "max-age=60, max-age=1", given(60)),
        (
            "§4.2.1: the first, unreadable",
            "max-age=x, max-age=1",
            Seconds::Unreadable,
        ),
        ("§4.2.1: negative", "max-age=-1", Seconds::Unreadable),
        ("§4.2.1: float", "max-age=1.5", Seconds::Unreadable),
        ("§4.2.1: suffix", "max-age=60s", Seconds::Unreadable),
        ("§4.2.1: prefix", "max-age=a60", Seconds::Unreadable),
        ("§4.2.1: no argument", "max-age", Seconds::Unreadable),
        ("§4.2.1: empty argument", "max-age=", Seconds::Unreadable),
        (
            "§4.2.1: space before the equals sign",
            "max-age =60",
            Seconds::Unreadable,
        ),
        (
            "§4.2.1: space behind the equals sign",
            "max-age= 60",
            Seconds::Unreadable,
        ),
        ("§4.2.1: single quotes", "max-age='60'", Seconds::Unreadable),
        (
            "§4.2.1: a quoted list",
            "max-age=\"60, 70\"",
            Seconds::Unreadable,
        ),
        (
            "§4.2.1: no end of the string",
            "max-age=\"60",
            Seconds::Unreadable,
        ),
        (
            "§5.2: no separator but the comma",
            "max-age=60; public",
            Seconds::Unreadable,
        ),
    ] {
        assert_eq!(parse(line).max_age, expected, "{clause}");
    }
    let all = parse("s-maxage=1, stale-while-revalidate=2, stale-if-error=3");
    assert_eq!(
        (all.s_maxage, all.stale_while_revalidate, all.stale_if_error),
        (given(1), given(2), given(3))
    );
    let lines = ResponseDirectives::parse(["max-age=1", "max-age=2, s-maxage=3"]);
    assert_eq!(
        (lines.max_age, lines.s_maxage),
        (given(1), given(3)),
        "several lines"
    );
}

#[test]
fn flags() {
    for (clause, line, flag, expected) in [
        ("§5.2.2.5", "no-store", Flag::NoStore, true),
        ("§5.2: any case", "No-Store", Flag::NoStore, true),
        (
            "what restricts counts with any argument",
            "no-store=0",
            Flag::NoStore,
            true,
        ),
        (
            "what restricts counts with spaces",
            "no-store = x",
            Flag::NoStore,
            true,
        ),
        ("§5.2.2.2", "must-revalidate", Flag::MustRevalidate, true),
        ("§5.2.2.8", "proxy-revalidate", Flag::ProxyRevalidate, true),
        ("§5.2.2.6", "no-transform", Flag::NoTransform, true),
        ("§5.2.2.3", "must-understand", Flag::MustUnderstand, true),
        ("§5.2.2.9", "public", Flag::Public, true),
        ("RFC 8246 §2", "immutable", Flag::Immutable, true),
        (
            "what permits counts as defined only",
            "public=1",
            Flag::Public,
            false,
        ),
        (
            "what permits counts as defined only",
            "must-understand=\"\"",
            Flag::MustUnderstand,
            false,
        ),
        (
            "RFC 8246 §2: with an argument, ignored",
            "immutable=1",
            Flag::Immutable,
            false,
        ),
        ("inside a string", "x=\"no-store\"", Flag::NoStore, false),
        ("another name", "no-storey, xno-store", Flag::NoStore, false),
        (
            "misspelt: no list",
            "no-store no-cache",
            Flag::NoStore,
            true,
        ),
        (
            "misspelt: as in other fields",
            "no-store; max-age=60",
            Flag::NoStore,
            true,
        ),
        (
            "misspelt: behind seconds",
            "max-age=60; no-store",
            Flag::NoStore,
            true,
        ),
        ("misspelt: in quotes", "\"no-store\"", Flag::NoStore, true),
        (
            "misspelt: a string without an end",
            "x=\"a, no-store",
            Flag::NoStore,
            true,
        ),
        (
            "misspelt: permits nothing",
            "x y; public",
            Flag::Public,
            false,
        ),
    ] {
        assert_eq!(parse(line).has(flag), expected, "{clause}: {line}");
    }
}

#[test]
fn what_keeps_back_is_heard_however_it_is_spelt() {
    for line in [
        "max-age=60; private",
        "private max-age=60",
        "\"Private\", max-age=60",
        "x=\"a, private",
    ] {
        assert_eq!(parse(line).private, Scope::Response, "{line}");
        let other = line.to_ascii_lowercase().replace("private", "no-cache");
        assert_eq!(parse(&other).no_cache, Scope::Response, "{other}");
    }
    assert_eq!(parse("max-age=1, x=\"private\"").private, Scope::None);
}

#[test]
fn scopes() {
    for (clause, line, expected) in [
        ("absent", "public", Scope::None),
        ("§5.2.2.7", "private", Scope::Response),
        (
            "§5.2.2.7: fields",
            "Private=\"X-A, set-cookie\"",
            fields(&["x-a", "set-cookie"]),
        ),
        ("§5.2.2.7: a token", "private=x-a", fields(&["x-a"])),
        (
            "§5.2.2.7: both forms restrict most",
            "private=x-a, private",
            Scope::Response,
        ),
        (
            "§5.2.2.7: both forms restrict most",
            "private, private=x-a",
            Scope::Response,
        ),
        (
            "§5.2.2.7: several lists",
            "private=x-a, private=x-b",
            fields(&["x-a", "x-b"]),
        ),
        ("an empty list", "private=\"\"", Scope::Response),
        (
            "no argument behind the equals sign",
            "private=",
            Scope::Response,
        ),
        ("no names", "private=\"a b\"", Scope::Response),
        ("no end", "private=\"x-a", Scope::Response),
        (
            "what the rest depends on",
            "private=\"x-a, Content-Encoding\"",
            Scope::Response,
        ),
    ] {
        assert_eq!(parse(line).private, expected, "{clause}: {line}");
        assert_eq!(
            parse(&line.to_lowercase().replace("private", "no-cache")).no_cache,
            expected,
            "{clause}"
        );
    }
}

#[test]
fn requests() {
    let seconds = |seconds| Some(Duration::from_secs(seconds));
    let none = RequestDirectives::default();
    for (clause, line, expected) in [
        ("none", "", none),
        (
            "§5.2.1.1",
            "Max-Age=1",
            RequestDirectives {
                max_age: seconds(1),
                ..none
            },
        ),
        (
            "§5.2.1.2",
            "max-stale=1",
            RequestDirectives {
                max_stale: seconds(1),
                ..none
            },
        ),
        (
            "§5.2.1.2: any",
            "max-stale",
            RequestDirectives {
                max_stale: Some(Duration::MAX),
                ..none
            },
        ),
        ("§5.2.1.2: unreadable", "max-stale=x", none),
        ("§5.2.1.2: unreadable", "max-stale=", none),
        (
            "§5.2.1.3",
            "min-fresh=\"1\"",
            RequestDirectives {
                min_fresh: seconds(1),
                ..none
            },
        ),
        (
            "§5.2.1.4",
            "NO-CACHE",
            RequestDirectives {
                no_cache: true,
                ..none
            },
        ),
        (
            "§5.2.1.5",
            "no-store",
            RequestDirectives {
                no_store: true,
                ..none
            },
        ),
        (
            "§5.2.1.6",
            "no-transform",
            RequestDirectives {
                no_transform: true,
                ..none
            },
        ),
        (
            "§5.2.1.7",
            "only-if-cached",
            RequestDirectives {
                only_if_cached: true,
                ..none
            },
        ),
        (
            "the first",
            "max-age=2, max-age=1",
            RequestDirectives {
                max_age: seconds(2),
                ..none
            },
        ),
        ("unreadable", "max-age=-1, min-fresh=1.5", none),
        ("unknown", "stale-while-revalidate=1, public", none),
    ] {
        assert_eq!(
            RequestDirectives::of(&headers(&[("cache-control", line)])),
            expected,
            "{clause}"
        );
    }
    // §5.4: "This specification deprecates such use of Pragma".
    assert_eq!(
        RequestDirectives::of(&headers(&[("pragma", "no-cache")])),
        none
    );
}

const NAMES: [&str; 12] = [
    "max-age",
    "s-maxage",
    "no-store",
    "no-cache",
    "private",
    "public",
    "must-revalidate",
    "immutable",
    "stale-while-revalidate",
    "stale-if-error",
    "must-understand",
    "x",
];

proptest! {
    #[test]
    fn reading_never_panics(lines in prop::collection::vec(prop::collection::vec(prop_oneof![Just(b'"'), Just(b','), Just(b'='), any::<u8>()], 0..32), 0..3)) {
        let _ = ResponseDirectives::parse(&lines);
        let _ = ResponseDirectives::parse_targeted(&lines);
        let _ = ResponseDirectives::parse_surrogate(&lines);
        for line in &lines {
            let _ = accel_expires(line);
        }
    }

    /// More directives never make a restriction disappear.
    #[test]
    fn restrictions_add_up(one in near_miss(), other in near_miss()) {
        let (alone, both) = (parse(&one), ResponseDirectives::parse([&one, &other]));
        for flag in [Flag::NoStore, Flag::MustRevalidate, Flag::ProxyRevalidate, Flag::NoTransform] {
            prop_assert!(!alone.has(flag) || both.has(flag));
        }
        prop_assert!(!alone.private.is_response() || both.private.is_response());
        prop_assert!(!alone.no_cache.is_response() || both.no_cache.is_response());
        prop_assert!(alone.max_age == Seconds::Absent || alone.max_age == both.max_age);
        prop_assert_eq!(parse(&format!("{one},{other}")), both);
    }

    /// Case and white space around commas mean nothing.
    #[test]
    fn spelling_means_nothing(names in prop::collection::vec(prop::sample::select(NAMES.to_vec()), 0..6)) {
        let plain = parse(&names.join(","));
        let spaced = parse(&names.join(" ,\t, ").to_ascii_uppercase());
        prop_assert_eq!(plain, spaced);
    }
}

/// Lines that look like directives, each complete: no string runs on into the next.
fn near_miss() -> impl Strategy<Value = String> {
    let argument = prop::sample::select(vec![
        "",
        "=",
        "=1",
        "=60",
        "=\"5\"",
        "=-1",
        "=x-a",
        "=\"x-a, x-b\"",
        " =1",
    ]);
    let directive = (prop::sample::select(NAMES.to_vec()), argument)
        .prop_map(|(name, argument)| format!("{name}{argument}"));
    prop::collection::vec(directive, 0..4).prop_map(|directives| directives.join(", "))
}
