//! How scopes are written, and what they cover.

use super::super::{Mode, Purge};
use super::*;

#[test]
fn texts() {
    for (text, expected) in [
        ("url:http://h/p?q", Ok("url:http://h/p?q")),
        ("url:HTTPS://H:443/p", Ok("url:http://h/p")),
        ("url:http://h:443/", Ok("url:http://h:443/")),
        ("url:http://h", Ok("url:http://h/")),
        ("url: /p?q=1", Ok("url:/p?q=1")),
        ("prefix:/api/", Ok("prefix:/api/")),
        ("prefix:https://h:8443/api", Ok("prefix:http://h:8443/api")),
        ("host:EXAMPLE.org", Ok("host:example.org")),
        ("host:[::1]:80", Ok("host:[::1]")),
        ("tag: items", Ok("tag:items")),
        ("tag:a:b,c", Ok("tag:a:b,c")),
        ("all", Ok("all")),
        ("everything", Err(ScopeError::Unknown("everything".into()))),
        ("tags:a", Err(ScopeError::Unknown("tags:a".into()))),
        ("", Err(ScopeError::Unknown(String::new()))),
        ("url:p", Err(ScopeError::Place("p".into()))),
        ("url:ftp://h/p", Err(ScopeError::Place("ftp://h/p".into()))),
        ("url://h/p", Err(ScopeError::Place("//h/p".into()))),
        ("url:/a b", Err(ScopeError::Place("/a b".into()))),
        (
            "url:http://u@h/",
            Err(ScopeError::Place("http://u@h/".into())),
        ),
        ("url:/%7Ea/x/../b", Ok("url:/~a/b")),
        ("prefix:http://h/a/./b%41", Ok("prefix:http://h/a/bA")),
        ("url:/..%2fa", Err(ScopeError::Ambiguous("/..%2fa".into()))),
        ("prefix:/items/*", Ok("prefix:/items/")),
        ("prefix:http://h/*", Ok("prefix:http://h/")),
        ("prefix:/ite*", Err(ScopeError::Wildcard("/ite*".into()))),
        ("host:*.h", Err(ScopeError::Host("*.h".into()))),
        ("host:h:80", Ok("host:h")),
        ("host:h:443", Ok("host:h")),
        ("url:/%c3%a9?%c3", Ok("url:/%C3%A9?%c3")),
        ("prefix:/a?b", Err(ScopeError::Query("/a?b".into()))),
        ("host:a/b", Err(ScopeError::Host("a/b".into()))),
        ("tag:", Err(ScopeError::Tag(String::new()))),
    ] {
        let parsed = text.parse::<Scope>().map(|scope| scope.to_string());
        assert_eq!(parsed, expected.map(str::to_owned), "{text}");
    }
}

#[test]
fn as_json() {
    let soft = |scope: &str| Purge {
        scope: scope.parse().expect("a scope"),
        mode: Mode::Soft,
    };
    for (json, expected) in [
        (r#"{"url":"/p","soft":true}"#, soft("url:/p")),
        (
            r#"{"prefix":"http://h/p","soft":true}"#,
            soft("prefix:http://h/p"),
        ),
        (r#"{"host":"h","soft":true}"#, soft("host:h")),
        (r#"{"tags":["a"],"soft":true}"#, soft("tag:a")),
        (r#"{"all":true,"soft":true}"#, soft("all")),
    ] {
        let read: Purge = serde_json::from_str(json).expect(json);
        assert_eq!(read, expected, "{json}");
        assert_eq!(serde_json::to_string(&read).expect("it is written"), json);
    }
    let read: Purge = serde_json::from_str(r#"{"tag":"a"}"#).expect("hard is the default");
    assert_eq!(
        (read.mode, read.scope),
        (Mode::Hard, Scope::Tags(vec!["a".into()]))
    );
    for (json, expected) in [
        ("{}", "found 0"),
        (r#"{"tag":"a","all":true}"#, "found 2"),
        (r#"{"all":false}"#, "\"all\": true"),
        (r#"{"tags":[]}"#, "expected a tag"),
        (r#"{"tag":"a\nb"}"#, "expected a tag"),
        (r#"{"url":"x"}"#, "expected a path"),
        (r#"{"uri":"/x"}"#, "unknown field"),
    ] {
        let refused = serde_json::from_str::<Purge>(json)
            .expect_err(json)
            .to_string();
        assert!(refused.contains(expected), "{json}: {refused}");
    }
}

#[test]
fn what_is_covered() {
    let target =
        |authority: &'static str, path: &'static str, query: Option<&'static str>| Target {
            scheme: "https",
            authority,
            path,
            query,
        };
    for (scope, target, expected) in [
        ("all", target("h", "/", None), true),
        ("host:h", target("h", "/", None), true),
        ("host:h", target("h:8443", "/", None), true),
        ("host:h:8443", target("h", "/", None), false),
        ("host:h", target("hh", "/", None), false),
        ("host:[::1]", target("[::1]:80", "/", None), true),
        ("host:[::1]", target("[::1]", "/", None), true),
        ("url:/p", target("h", "/p", None), true),
        ("url:http://h/p", target("h", "/p", None), true),
        ("url:http://i/p", target("h", "/p", None), false),
        ("url:/p", target("h", "/p", Some("")), false),
        ("url:/p?a", target("h", "/p", Some("a")), true),
        ("prefix:/api", target("h", "/api", None), true),
        ("prefix:/api", target("h", "/api/", Some("x")), true),
        ("prefix:/api/", target("h", "/api/a/b", None), true),
        ("prefix:/api/", target("h", "/api", None), true),
        ("prefix:/api", target("h", "/apix", None), false),
        ("prefix:/", target("h", "/x", None), true),
        ("prefix:http://i/", target("h", "/x", None), false),
        ("tag:a", target("h", "/", None), true),
        ("tag:b", target("h", "/", None), false),
    ] {
        let scope: Scope = scope.parse().expect(scope);
        assert_eq!(
            scope.covers(&target, |tag| tag == "a"),
            expected,
            "{scope} {target:?}"
        );
    }
}
