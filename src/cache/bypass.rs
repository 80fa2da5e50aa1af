//! Which requests go past the cache, and why.

use super::lookup::Ask;
use super::outcome::{ForwardReason, Reason};
use super::purge::written;
use super::settings::BypassRule;
use crate::fields::view::Marks;
use crate::fields::{cookie, path};
use http::{Method, header};
use percent_encoding::percent_decode_str;
use std::borrow::Cow;

/// Why the cache is not asked for an answer, where it is not.
pub(super) fn passes(ask: &Ask<'_>) -> Option<(ForwardReason, Reason)> {
    use ForwardReason::{Bypass, Method as Semantics};
    const PRECONDITIONS: Marks = Marks::of(&["if-match", "if-unmodified-since"]);
    let has = |name| ask.headers.contains(name);
    if !ask.rules.on_write.is_empty() && written::changes(ask.rules, ask.method, ask.target.path) {
        return Some((Bypass, Reason::OnWrite));
    }
    if !ask.rules.enabled {
        return Some((Bypass, Reason::RouteOff));
    }
    if !matches!(*ask.method, Method::GET | Method::HEAD) {
        return Some((Semantics, Reason::MethodNotCached));
    }
    if ask.upgrade {
        return Some((Bypass, Reason::Upgrade));
    }
    // RFC 9110 §9.3.1: content in a GET "has no generally defined semantics". Whatever the origin makes of it, the key does
    // not hold it.
    if ask.has_body {
        return Some((Bypass, Reason::RequestBody));
    }
    if let Some(reason) = ask.unshared {
        return Some((Bypass, reason));
    }
    // RFC 9111 §4.3.2: "A cache MUST NOT evaluate conditional header fields that only apply to an origin server".
    if ask.headers.may_have(PRECONDITIONS)
        && (has(&header::IF_MATCH) || has(&header::IF_UNMODIFIED_SINCE))
    {
        return Some((Bypass, Reason::Precondition));
    }
    is_by_rule(ask).then_some((Bypass, Reason::BypassRule))
}

/// Whether what answers the request is for no other, whatever its method and its fields say (a POST may be answered by what
/// could be stored).
pub(super) fn is_for_nobody_else(ask: &Ask<'_>) -> bool {
    ask.unshared.is_some() || is_by_rule(ask)
}

fn is_by_rule(ask: &Ask<'_>) -> bool {
    ask.rules.bypass.iter().any(|rule| matches(rule, ask))
}

/// Whether a request is one that the rule is about.
pub(super) fn matches(rule: &BypassRule, ask: &Ask<'_>) -> bool {
    match rule {
        BypassRule::Cookie(name) => {
            let lines = ask.headers.get_all(&header::COOKIE);
            match name.strip_suffix('*') {
                Some(beginning) => cookie::any_begins(lines, beginning),
                None => cookie::find(lines, name).is_some(),
            }
        }
        BypassRule::Header(name, value) => ask.headers.get_all(name).any(|found| {
            value
                .as_ref()
                .is_none_or(|wanted| found == wanted.as_bytes())
        }),
        BypassRule::Query(name, value) => ask
            .target
            .query
            .into_iter()
            .flat_map(|query| query.split('&'))
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .any(|(found, content)| {
                decoded(found) == name.as_bytes()
                    && value
                        .as_ref()
                        .is_none_or(|wanted| decoded(content) == wanted.as_bytes())
            }),
        BypassRule::Path(rule) => path::in_any_reading(ask.target.path, |path| {
            match rule.strip_suffix('*') {
                // `/admin/*` is all of `/admin`: many an application answers alike without the slash.
                Some(beginning) => {
                    path.starts_with(beginning) || beginning.strip_suffix('/') == Some(path)
                }
                None => path == rule,
            }
        }),
    }
}

/// A rule is written in plain text; a client may spell the same parameter with escapes.
fn decoded(text: &str) -> Cow<'_, [u8]> {
    percent_decode_str(text).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::key::Target;
    use crate::cache::settings::Rules;
    use http::{HeaderMap, HeaderName, HeaderValue};
    use std::net::Ipv4Addr;
    use std::sync::Arc;

    fn why(method: &str, target: &str, fields: &[(&str, &str)], rules: Rules) -> Option<Reason> {
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (target, None),
        };
        let headers: HeaderMap = fields
            .iter()
            .map(|(name, value)| {
                let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
                (name, HeaderValue::from_str(value).expect("a value"))
            })
            .collect();
        let ask = Ask {
            method: &method.parse().expect("a method"),
            target: Target {
                scheme: "http",
                authority: "a",
                path,
                query,
            },
            headers: (&headers).into(),
            has_body: headers.contains_key("content-length"),
            upgrade: headers.contains_key("upgrade"),
            unshared: None,
            rules: &Arc::new(rules),
            route: &Arc::from("r"),
            upstream: &Arc::from("u"),
            client: Ipv4Addr::LOCALHOST.into(),
        };
        passes(&ask).map(|(_, reason)| reason)
    }

    #[test]
    fn what_no_cache_answers() {
        for (method, fields, expected) in [
            ("GET", &[][..], None),
            ("HEAD", &[], None),
            (
                "GET",
                &[("if-none-match", "\"a\""), ("range", "bytes=0-1")],
                None,
            ),
            ("OPTIONS", &[], Some(Reason::MethodNotCached)),
            (
                "POST",
                &[("content-length", "1")],
                Some(Reason::MethodNotCached),
            ),
            ("QUERY", &[], Some(Reason::MethodNotCached)),
            ("GET", &[("content-length", "1")], Some(Reason::RequestBody)),
            ("GET", &[("upgrade", "websocket")], Some(Reason::Upgrade)),
            ("GET", &[("if-match", "*")], Some(Reason::Precondition)),
            (
                "HEAD",
                &[("if-unmodified-since", "x")],
                Some(Reason::Precondition),
            ),
        ] {
            assert_eq!(
                why(method, "/", fields, Rules::default()),
                expected,
                "{method} {fields:?}"
            );
        }
        let off = Rules {
            enabled: false,
            ..Rules::default()
        };
        assert_eq!(why("GET", "/", &[], off), Some(Reason::RouteOff));
    }

    #[test]
    fn rules_of_the_route() {
        let cookie = || BypassRule::Cookie("sid".into());
        let header = |value: Option<&str>| {
            BypassRule::Header(HeaderName::from_static("x-preview"), value.map(Into::into))
        };
        let query = |value: Option<&str>| BypassRule::Query("a b".into(), value.map(Into::into));
        let path = |path: &str| BypassRule::Path(path.into());
        for (rule, target, fields, expected) in [
            (cookie(), "/", &[("cookie", "x=1; sid=")][..], true),
            (cookie(), "/", &[("cookie", "xsid=1")], false),
            (header(None), "/", &[("x-preview", "0")], true),
            (header(None), "/", &[], false),
            (
                header(Some("1")),
                "/",
                &[("x-preview", "0"), ("x-preview", "1")],
                true,
            ),
            (header(Some("1")), "/", &[("x-preview", "10")], false),
            (query(None), "/?x&a%20b", &[], true),
            (query(None), "/?a%20bc=1", &[], false),
            (query(None), "/a b", &[], false),
            (query(Some("1")), "/?a%20b=2&a%20b=%31", &[], true),
            (query(Some("1")), "/?a%20b", &[], false),
            (path("/admin/*"), "/admin/x?y", &[], true),
            (path("/admin/*"), "/admin", &[], true),
            (path("/admin/*"), "/administration", &[], false),
            (path("/*"), "/x", &[], true),
            // As an application may read it.
            (path("/admin/*"), "//admin/x", &[], true),
            (path("/admin/*"), "/admin%2fx", &[], true),
            (path("/admin/*"), "/admin;v=1/x", &[], true),
            (path("/admin/*"), "/admin;", &[], true),
            (path("/admin/*"), "/x//admin/x", &[], false),
            (path("/admin"), "/admin%00.css", &[], true),
            (path("/admin"), "/admin", &[], true),
            (path("/admin"), "/administration", &[], false),
        ] {
            let rules = Rules {
                bypass: vec![path("/never"), rule.clone()],
                ..Rules::default()
            };
            let expected = expected.then_some(Reason::BypassRule);
            assert_eq!(
                why("GET", target, fields, rules),
                expected,
                "{rule:?} {target} {fields:?}"
            );
        }
    }
}
