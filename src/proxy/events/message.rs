//! What is told of a purge, and which viewers it concerns.

use super::hub::{Event, Id};
use crate::cache::purge::{Mode, Place, PurgeEvent, Scope};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

/// What a viewer wants to hear of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Interest {
    /// The authority that it asked for, without a plain port.
    authority: String,
    /// What the route is for: of paths elsewhere it hears nothing.
    prefix: String,
    /// Where it named some, of these only; and of all that is about more than tags.
    tags: Option<Vec<String>>,
}

impl Interest {
    /// Of a request's authority, its route's prefix and its query.
    pub(super) fn new(authority: &str, prefix: &str, query: Option<&str>) -> Self {
        let parameters = query.unwrap_or_default().split('&');
        let named = parameters.filter_map(|it| it.strip_prefix("tags="));
        let tags: Vec<String> = named
            .flat_map(|list| list.split(','))
            .filter(|tag| !tag.is_empty())
            .map(|tag| percent_decode_str(tag).decode_utf8_lossy().into_owned())
            .collect();
        Self {
            authority: plain(authority),
            prefix: prefix.trim_end_matches('/').to_owned(),
            tags: (!tags.is_empty()).then_some(tags),
        }
    }

    /// Whether a purge is to be told. What cannot be told concerns everybody.
    pub(super) fn concerns(&self, purge: Option<&PurgeEvent>) -> bool {
        let Some(purge) = purge else { return true };
        match &purge.scope {
            Scope::Everything => true,
            Scope::Host(host) => self.is_here(host),
            Scope::Tags(tags) => match &self.tags {
                Some(wanted) => tags.iter().any(|tag| wanted.contains(tag)),
                None => true,
            },
            Scope::Url(place) => self.tags.is_none() && self.is_at(place, |path| self.has(path)),
            Scope::Prefix(place) => {
                let meets = |path: &str| self.has(path) || below(&self.prefix, path);
                self.tags.is_none() && self.is_at(place, meets)
            }
        }
    }

    fn is_at(&self, place: &Place, path: impl Fn(&str) -> bool) -> bool {
        let host = place.authority.as_deref();
        host.is_none_or(|host| self.is_here(host)) && path(&place.path)
    }

    fn is_here(&self, host: &str) -> bool {
        let host = plain(host);
        // A purge may name a host without its port.
        host == self.authority || !host.contains(':') && bare(&self.authority) == host
    }

    fn has(&self, path: &str) -> bool {
        below(path, &self.prefix)
    }
}

/// Whether a path is a prefix or lies below it, by whole segments.
fn below(path: &str, prefix: &str) -> bool {
    let prefix = prefix.trim_end_matches('/');
    path.strip_prefix(prefix)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn plain(authority: &str) -> String {
    let authority = authority.to_ascii_lowercase();
    let without = [":80", ":443"]
        .into_iter()
        .find_map(|port| authority.strip_suffix(port));
    without.map_or_else(|| authority.clone(), str::to_owned)
}

fn bare(authority: &str) -> &str {
    crate::fields::host::parse(authority).map_or(authority, |parsed| parsed.host)
}

/// An event as it goes over the wire. The data is one line: JSON writes no line end.
pub(super) fn of(event: &Event) -> String {
    match &event.purge {
        Some(purge) => format!("id: {}\ndata: {}\n\n", event.id, value(purge)),
        None => reload(&event.id),
    }
}

/// More has happened than can be told.
pub(super) fn reload(last: &Id) -> String {
    format!("id: {last}\nevent: reload\ndata: {{}}\n\n")
}

fn value(purge: &PurgeEvent) -> Value {
    let soft = purge.mode == Mode::Soft;
    match &purge.scope {
        Scope::Tags(tags) => json!({ "tags": tags, "soft": soft }),
        Scope::Url(Place { path, query, .. }) => {
            let query = query.as_ref().map(|query| format!("?{query}"));
            json!({ "url": format!("{path}{}", query.unwrap_or_default()), "soft": soft })
        }
        Scope::Prefix(place) => json!({ "prefix": place.path, "soft": soft }),
        Scope::Host(_) | Scope::Everything => json!({ "all": true, "soft": soft }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::purge::Cause;

    fn purge(scope: &str) -> PurgeEvent {
        PurgeEvent {
            cause: Cause::Purge,
            scope: scope.parse().expect("a scope"),
            mode: Mode::Hard,
            matched: None,
            at: crate::clock::wall(),
        }
    }

    #[test]
    fn whom_a_purge_concerns() {
        let shop = |query| Interest::new("Shop.test:443", "/shop/", query);
        for (scope, query, expected) in [
            ("all", None, true),
            ("all", Some("tags=a"), true),
            ("tag:a", None, true),
            ("tag:a", Some("tags=a,b"), true),
            ("tag:b", Some("x=y&tags=a%2C&tags=b"), true),
            ("tag:c", Some("tags=a,b"), false),
            ("tag:c", Some("tags="), true),
            ("host:shop.test", None, true),
            ("host:other.test", None, false),
            ("url:/shop/x", None, true),
            ("url:/shop", None, true),
            ("url:/shopping", None, false),
            ("url:/admin", None, false),
            ("url:/shop/x", Some("tags=a"), false),
            ("url:https://shop.test/shop/x?y", None, true),
            ("url:https://other.test/shop/x", None, false),
            ("prefix:/shop/x/", None, true),
            ("prefix:/", None, true),
            ("prefix:/admin/", None, false),
        ] {
            let concerned = shop(query).concerns(Some(&purge(scope)));
            assert_eq!(concerned, expected, "{scope} {query:?}");
        }
        assert!(shop(Some("tags=a")).concerns(None));
    }

    #[test]
    fn what_is_told() {
        for (scope, expected) in [
            ("tag:a", r#"{"soft":false,"tags":["a"]}"#),
            (
                "url:http://h.test/x?y=1",
                r#"{"soft":false,"url":"/x?y=1"}"#,
            ),
            ("all", r#"{"all":true,"soft":false}"#),
            ("host:h.test", r#"{"all":true,"soft":false}"#),
        ] {
            assert_eq!(value(&purge(scope)).to_string(), expected);
        }
        let hostile = value(&purge("tag:a\u{2028}\"b")).to_string();
        assert!(!hostile.contains('\n'), "{hostile}");
    }
}
