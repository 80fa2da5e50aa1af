//! What regular expressions become, and what of a pattern is below a prefix: against a model that tries every split.

use super::*;
use proptest::prelude::*;

#[test]
fn regular_expressions_as_patterns() {
    for (regex, expected, exact) in [
        (r"\.php$", Some(&["/**.php"][..]), true),
        (r"^/img/.*\.png$", Some(&["/img/**.png"]), true),
        (r"^/api/", Some(&["/api/**"]), true),
        (r"^/exact$", Some(&["/exact"]), true),
        (
            r"\.(jpe?g|png)$",
            Some(&["/**.jpeg", "/**.jpg", "/**.png"]),
            true,
        ),
        (r"/\.", Some(&["/.**", "/**/.**"]), true),
        (
            r"/\.(?:git|svn)",
            Some(&["/.git**", "/**/.git**", "/.svn**", "/**/.svn**"]),
            true,
        ),
        (r"^/users/[^/]+/edit$", Some(&["/users/*/edit"]), false),
        (r"^(.+\.php)(.*)$", Some(&["/**.php**"]), false),
        (r"[^/]\.php(/|$)", None, true),
        (r"^/(\d+)$", None, true),
        (r"^/a{2}$", None, true),
        (r"^/a*$", None, true),
        (r"^(?!/api)", None, true),
        (r"(", None, true),
        (r".*", Some(&["/**"]), true),
        ("", Some(&["/**"]), true),
        (r"^/(a|b$)/c", None, true),
    ] {
        let found = globs(regex);
        let expected = expected.map(|patterns| Globs {
            patterns: patterns.iter().map(|&p| p.to_owned()).collect(),
            exact,
        });
        assert_eq!(found, expected, "{regex}");
    }
}

#[test]
fn sources_of_rewrites() {
    let prefix = |text: &str| Some(Source::Prefix(text.to_owned()));
    let exact = |texts: &[&str]| {
        let texts = texts.iter().map(|&text| text.to_owned());
        Some(Source::Exact(texts.collect()))
    };
    for (regex, expected) in [
        ("^", Some(Source::All(0))),
        ("^(.*)$", Some(Source::All(0))),
        ("^(.*)", Some(Source::All(0))),
        ("(.*)", Some(Source::All(0))),
        ("^/(.*)$", Some(Source::All(1))),
        ("^/?(.*)$", Some(Source::All(1))),
        ("^/old/(.*)$", prefix("/old/")),
        ("^/old/?(.*)$", prefix("/old/")),
        ("^/old(.*)$", prefix("/old")),
        ("^/old/", prefix("/old/")),
        ("^/old$", exact(&["/old"])),
        ("^/old/?$", exact(&["/old", "/old/"])),
        (r"^/old\.html$", exact(&["/old.html"])),
        (r"^/(\d+)/(.*)$", None),
        ("^/a/(.*)/b$", None),
        ("/old", None),
        ("old$", None),
    ] {
        assert_eq!(source(regex), expected, "{regex}");
    }
}

#[test]
fn patterns_below_a_prefix() {
    for (pattern, prefix, expected) in [
        ("/**.php", "/api/", &["/api/**.php"][..]),
        ("/**.php", "/", &["/**.php"]),
        ("/**/.**", "/static/", &["/static/**/.**", "/static/.**"]),
        ("/img/**.png", "/", &["/img/**.png"]),
        ("/img/*.png", "/img/a/", &[]),
        ("/img/*.png", "/img/a", &["/img/a*.png"]),
        ("/x/**", "/x/y/", &["/x/y/**"]),
        ("/x/**", "/y/", &[]),
        ("/exact", "/", &["/exact"]),
        ("/exact", "/exact/", &[]),
    ] {
        assert_eq!(below(pattern, prefix), expected, "{pattern} {prefix}");
    }
}

fn model(pattern: &[u8], path: &[u8]) -> bool {
    match pattern {
        [] => path.is_empty(),
        [b'*', b'*', rest @ ..] => (0..=path.len()).any(|n| model(rest, &path[n..])),
        [b'*', rest @ ..] => (0..=path.len())
            .take_while(|&n| !path[..n].contains(&b'/'))
            .any(|n| model(rest, &path[n..])),
        [byte, rest @ ..] => path.first() == Some(byte) && model(rest, &path[1..]),
    }
}

proptest! {
    #[test]
    fn below_is_what_matches_and_begins_so(pattern in "/[ab/*]{0,7}", prefix in "/[ab/]{0,3}", path in "/[ab/]{0,7}") {
        prop_assume!(!pattern.contains("***"));
        let expected = path.starts_with(&prefix) && model(pattern.as_bytes(), path.as_bytes());
        let found = below(&pattern, &prefix);
        let found = found.iter().any(|pattern| model(pattern.replace("***", "**").as_bytes(), path.as_bytes()));
        prop_assert_eq!(found, expected, "{} {} {}", pattern, prefix, path);
    }

    #[test]
    fn no_regular_expression_is_too_much(regex in "[a./*+?()|^$\\\\\\[\\]{}]{0,24}") {
        let _ = globs(&regex);
        let _ = source(&regex);
    }
}
