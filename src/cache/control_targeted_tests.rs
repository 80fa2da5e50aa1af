//! Fields that speak to caches like this one, one row a rule of RFC 9213; and its elders.

use super::*;
use crate::cache::policy::testing::headers;

fn given(seconds: u64) -> Seconds {
    Seconds::Given(Duration::from_secs(seconds))
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
fn targeted() {
    for (clause, line, expected) in [
        ("§2.1", "max-age=60", Some((given(60), false, false))),
        (
            "§2.1: boolean",
            "max-age=60, public, no-store",
            Some((given(60), true, true)),
        ),
        (
            "§2.1: false is absent",
            "no-store=?0, public=?0, max-age=1",
            Some((given(1), false, false)),
        ),
        (
            "§2.1: unknown",
            "max-age=60, foo=(1 2), bar=:aGk=:",
            Some((given(60), false, false)),
        ),
        (
            "§2.1: parameters",
            "max-age=60;x=y",
            Some((given(60), false, false)),
        ),
        (
            "RFC 8941 §3.2: the last",
            "max-age=60, max-age=1",
            Some((given(1), false, false)),
        ),
        (
            "another type: float",
            "max-age=1.5",
            Some((Seconds::Unreadable, false, false)),
        ),
        (
            "another type: string",
            "max-age=\"60\"",
            Some((Seconds::Unreadable, false, false)),
        ),
        (
            "another type: negative",
            "max-age=-60",
            Some((Seconds::Unreadable, false, false)),
        ),
        (
            "another type: permits",
            "public=1, max-age=1",
            Some((given(1), false, false)),
        ),
        (
            "another type: restricts",
            "no-store=1",
            Some((Seconds::Absent, true, false)),
        ),
        ("§2.1: empty", "", None),
        ("§2.1: upper case is no key", "Max-Age=60", None),
        ("§2.1: no dictionary", "max-age=60,", None),
        ("§2.1: no dictionary", "max-age=", None),
        ("§2.1: no dictionary", "max-age=60;", None),
        ("§2.1: no dictionary", "private=\"x", None),
        ("§2.1: not ASCII", "a=\"ä\"", None),
    ] {
        let found = ResponseDirectives::parse_targeted([line]);
        let found = found.map(|found| {
            (
                found.max_age,
                found.has(Flag::NoStore),
                found.has(Flag::Public),
            )
        });
        assert_eq!(found, expected, "{clause}: {line}");
    }
    let lines = ResponseDirectives::parse_targeted(["max-age=1", "private=\"x-a\", no-cache"]);
    let lines = lines.map(|found| (found.max_age, found.private, found.no_cache));
    assert_eq!(lines, Some((given(1), fields(&["x-a"]), Scope::Response)));
    assert_eq!(ResponseDirectives::parse_targeted([""; 0]), None);
}

#[test]
fn which_field_counts() {
    let expires = Beside::Expires;
    let half_a_minute = Beside::For(Duration::from_secs(30));
    let until = Beside::Until(UNIX_EPOCH + Duration::from_secs(1_000));
    for (clause, response, options, max_age, beside) in [
        ("none", &[][..], true, Seconds::Absent, expires),
        (
            "RFC 9111",
            &[("cache-control", "max-age=1")],
            true,
            given(1),
            expires,
        ),
        (
            "RFC 9213 §2.2",
            &[
                ("cache-control", "max-age=1"),
                ("cdn-cache-control", "max-age=2"),
            ],
            false,
            given(2),
            Beside::Nothing,
        ),
        (
            "RFC 9213 §2.2: invalid",
            &[
                ("cache-control", "max-age=1"),
                ("cdn-cache-control", "max-age=2;;"),
            ],
            true,
            given(1),
            expires,
        ),
        (
            "RFC 9213 §2.2: empty",
            &[("cache-control", "max-age=1"), ("cdn-cache-control", "")],
            true,
            given(1),
            expires,
        ),
        (
            "RFC 9213 §2.2: without a lifetime",
            &[
                ("cache-control", "max-age=1"),
                ("cdn-cache-control", "public"),
            ],
            true,
            Seconds::Absent,
            Beside::Nothing,
        ),
        (
            "Surrogate-Control, off",
            &[
                ("cache-control", "max-age=1"),
                ("surrogate-control", "max-age=3"),
            ],
            false,
            given(1),
            expires,
        ),
        (
            "Surrogate-Control",
            &[
                ("cache-control", "max-age=1"),
                ("surrogate-control", "max-age=3, content=\"ESI/1.0\""),
            ],
            true,
            given(3),
            Beside::Nothing,
        ),
        (
            "Surrogate-Control, for another",
            &[
                ("cache-control", "max-age=1"),
                ("surrogate-control", "max-age=3;cdn"),
            ],
            true,
            given(1),
            expires,
        ),
        (
            "Surrogate-Control, not about storing",
            &[
                ("cache-control", "max-age=1"),
                ("surrogate-control", "content=\"ESI/1.0\""),
            ],
            true,
            given(1),
            expires,
        ),
        (
            "CDN-Cache-Control before Surrogate-Control",
            &[
                ("cdn-cache-control", "max-age=2"),
                ("surrogate-control", "max-age=3"),
            ],
            true,
            given(2),
            Beside::Nothing,
        ),
        (
            "X-Accel-Expires, off",
            &[("cache-control", "max-age=1"), ("x-accel-expires", "30")],
            false,
            given(1),
            expires,
        ),
        (
            "X-Accel-Expires",
            &[("cache-control", "max-age=1"), ("x-accel-expires", "30")],
            true,
            given(1),
            half_a_minute,
        ),
        (
            "X-Accel-Expires, a time",
            &[("x-accel-expires", "@1000")],
            true,
            Seconds::Absent,
            until,
        ),
        (
            "X-Accel-Expires, unreadable",
            &[("x-accel-expires", "-1")],
            true,
            Seconds::Absent,
            expires,
        ),
        (
            "X-Accel-Expires, unreadable",
            &[("x-accel-expires", "@x")],
            true,
            Seconds::Absent,
            expires,
        ),
    ] {
        let rules = Rules {
            surrogate_control: options,
            x_accel_expires: options,
            ..Rules::default()
        };
        let control = Control::of(&headers(response), &rules);
        assert_eq!(
            (control.directives.max_age, control.beside),
            (max_age, beside),
            "{clause}"
        );
        assert!(!control.directives.has(Flag::NoStore), "{clause}");
    }
    let rules = Rules {
        surrogate_control: true,
        x_accel_expires: true,
        ..Rules::default()
    };
    let off = Control::of(
        &headers(&[("x-accel-expires", "0"), ("cache-control", "max-age=1")]),
        &rules,
    );
    assert!(off.directives.has(Flag::NoStore), "X-Accel-Expires: 0");
    let beyond =
        Control::of(&headers(&[("surrogate-control", "max-age=60+30")]), &rules).directives;
    assert_eq!(
        (beyond.max_age, beyond.stale_while_revalidate),
        (given(60), given(30))
    );
    let unreadable =
        Control::of(&headers(&[("surrogate-control", "max-age=+")]), &rules).directives;
    assert_eq!(unreadable.max_age, Seconds::Unreadable);
}
