//! What changes in a response's header section when its content gets a coding.
//!
//! **Validators.** A coded response is another representation: its strong tag would promise the same octets (RFC 9110
//! §8.8.1), so `"v1"` becomes `W/"v1"`. A client sends that back in `If-None-Match`, which is compared weakly (§13.1.2): it
//! matches the origin's `"v1"` and the tag of what is stored as it came, so the coded form is validated by the same 304 as
//! the plain one. In `If-Range` and `If-Match`, which are compared strongly, it matches nothing, as it must: octets of
//! a coded form are not the origin's. The 304 that comes then names `"v1"`, which by RFC 9111 §4.3.4 would freshen no copy that
//! the client has; [`not_modified`] gives it the tag that the client knows.

use super::Coding;
use crate::fields::etag::{EntityTag, EntityTagList, parse_list};
use crate::fields::list;
use crate::fields::view::FieldView;
use http::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, ETAG, IF_NONE_MATCH, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue};

/// Changes to a header section. A name with a value stands in the place of all fields of that name; without one, they go.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes(pub Vec<(HeaderName, Option<HeaderValue>)>);

impl Changes {
    /// Makes them.
    pub fn apply(self, headers: &mut HeaderMap) {
        for (name, value) in self.0 {
            match value {
                Some(value) => drop(headers.insert(name, value)),
                None => drop(headers.remove(name)),
            }
        }
    }
}

/// For content that is coded. `length` is that of the coded form, where it is known.
pub fn coded<'h>(
    response: impl Into<FieldView<'h>>,
    coding: Coding,
    length: Option<usize>,
) -> Changes {
    let response = response.into();
    let mut changes = plain(response);
    changes.0.extend([
        (
            CONTENT_ENCODING,
            Some(HeaderValue::from_static(coding.name())),
        ),
        (CONTENT_LENGTH, length.map(HeaderValue::from)),
    ]);
    if response.contains(&ETAG) {
        changes.0.push((ETAG, weakened(response)));
    }
    // A range of the next request would be one of other octets. It may still be asked for, and is then the origin's.
    if response.contains(&ACCEPT_RANGES) {
        changes.0.push((ACCEPT_RANGES, None));
    }
    changes
}

/// For content that is not coded for this client but is for others (RFC 9110 §12.5.5): `Vary`, merged with what is there.
pub fn plain<'h>(response: impl Into<FieldView<'h>>) -> Changes {
    let lines = response.into().get_all(&VARY);
    let mut members = lines.flat_map(list::members).peekable();
    if members.peek().is_none() {
        let value = HeaderValue::from_static("Accept-Encoding");
        return Changes(vec![(VARY, Some(value))]);
    }
    let mut merged = Vec::new();
    for member in members {
        // `*` says more than any name.
        if member == b"*" || member.eq_ignore_ascii_case(ACCEPT_ENCODING.as_str().as_bytes()) {
            return Changes::default();
        }
        merged.extend_from_slice(member);
        merged.extend_from_slice(b", ");
    }
    merged.extend_from_slice(b"Accept-Encoding");
    // Pieces of field values put together are one.
    let value = HeaderValue::from_bytes(&merged).ok();
    Changes(value.map(|value| (VARY, Some(value))).into_iter().collect())
}

/// For a 304 to a client that holds the coded form: the tag that it knows, and `Vary` as the 200 had it. Nothing, where it
/// may hold the plain form, or asks with another tag.
pub fn not_modified<'h>(request: &HeaderMap, response: impl Into<FieldView<'h>>) -> Changes {
    let response = response.into();
    let (Some(tag), Some(EntityTagList::Tags(held))) =
        (tag(response), parse_list(request.get_all(IF_NONE_MATCH)))
    else {
        return Changes::default();
    };
    let holds_plain = held.iter().any(|held| held.strong_eq(&tag));
    let holds_coded = held.iter().any(|held| held.weak_eq(&tag));
    if tag.is_weak() || holds_plain || !holds_coded {
        return Changes::default();
    }
    let mut changes = plain(response);
    changes.0.push((ETAG, weakened(response)));
    changes
}

/// The response's tag, made weak. `None` where it is none by the grammar: nothing says then that it is not compared
/// strongly, so it must not go with other octets.
fn weakened(response: FieldView<'_>) -> Option<HeaderValue> {
    let tag = tag(response)?;
    Some(EntityTag::weak(tag.opaque())?.to_header_value())
}

fn tag(response: FieldView<'_>) -> Option<EntityTag> {
    let mut tags = response.get_all(&ETAG);
    match (tags.next(), tags.next()) {
        (Some(tag), None) => EntityTag::parse(tag),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        map
    }

    #[test]
    fn a_coded_response() {
        let mut response = fields(&[
            ("content-type", "text/html"),
            ("content-length", "4096"),
            ("etag", "\"v1\""),
            ("accept-ranges", "bytes"),
            ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT"),
            ("vary", "Accept-Language"),
            ("vary", "origin"),
        ]);
        coded(&response, Coding::Gzip, Some(700)).apply(&mut response);
        let expected = fields(&[
            ("content-type", "text/html"),
            ("content-length", "700"),
            ("etag", "W/\"v1\""),
            ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT"),
            ("vary", "Accept-Language, origin, Accept-Encoding"),
            ("content-encoding", "gzip"),
        ]);
        assert_eq!(response, expected);
    }

    #[test]
    fn one_of_unknown_length_says_none() {
        let mut response = fields(&[("content-length", "4096")]);
        coded(&response, Coding::Brotli, None).apply(&mut response);
        assert_eq!(
            response,
            fields(&[("vary", "Accept-Encoding"), ("content-encoding", "br")])
        );
    }

    /// RFC 9110 §12.5.5 and §5.3.
    #[test]
    fn vary_is_merged() {
        for (before, after) in [
            (&[][..], &["Accept-Encoding"][..]),
            (&[""], &["Accept-Encoding"]),
            (&["Cookie"], &["Cookie, Accept-Encoding"]),
            (&["accept-encoding"], &["accept-encoding"]),
            (
                &["Cookie, ACCEPT-Encoding", "X"],
                &["Cookie, ACCEPT-Encoding", "X"],
            ),
            (&["*"], &["*"]),
            (&["Cookie", "*"], &["Cookie", "*"]),
            (&["A", "B,,C"], &["A, B, C, Accept-Encoding"]),
        ] {
            let mut response = HeaderMap::new();
            for line in before {
                response.append(VARY, HeaderValue::from_static(line));
            }
            plain(&response).apply(&mut response);
            let found: Vec<_> = response.get_all(VARY).iter().collect();
            assert_eq!(found, after, "{before:?}");
            // Once more changes nothing.
            assert_eq!(plain(&response), Changes::default());
        }
    }

    /// RFC 9110 §8.8.1: weak; and what is no tag goes.
    #[test]
    fn validators_become_weak() {
        for (before, after) in [
            (&["\"v1\""][..], Some("W/\"v1\"")),
            (&["W/\"v1\""], Some("W/\"v1\"")),
            (&["\"\""], Some("W/\"\"")),
            (&["v1"], None),
            (&["\"a\"", "\"b\""], None),
            (&[], None),
        ] {
            let mut response = HeaderMap::new();
            for line in before {
                response.append(ETAG, HeaderValue::from_static(line));
            }
            coded(&response, Coding::Zstd, None).apply(&mut response);
            let found: Vec<_> = response.get_all(ETAG).iter().collect();
            assert_eq!(found, after.into_iter().collect::<Vec<_>>(), "{before:?}");
        }
    }

    /// RFC 9110 §13.1.2 against §13.1.1 and §13.1.5: what the client got validates the plain form, and is never a range of it.
    #[test]
    fn the_weak_tag_finds_the_plain_form_again() {
        let plain = fields(&[("etag", "\"v1\"")]);
        let mut sent = plain.clone();
        coded(&plain, Coding::Brotli, None).apply(&mut sent);
        let identity = tag((&plain).into()).expect("a tag");
        let back = parse_list([sent[ETAG].as_bytes()]).expect("a tag");
        assert!(back.contains_weak(&identity), "If-None-Match is true of it");
        assert!(!back.contains_strong(&identity), "If-Match is not");
        let if_range = EntityTag::parse(sent[ETAG].as_bytes()).expect("a tag");
        assert!(!if_range.strong_eq(&identity), "nor If-Range");
    }

    /// RFC 9111 §4.3.4: "each of those strong validators identifies a selected representation for update".
    #[test]
    fn a_304_names_the_tag_that_the_client_holds() {
        for (held, tag, expected) in [
            ("W/\"v1\"", "\"v1\"", "W/\"v1\""),
            ("W/\"v0\", W/\"v1\"", "\"v1\"", "W/\"v1\""),
            // It may hold both, or the plain one.
            ("W/\"v1\", \"v1\"", "\"v1\"", "\"v1\""),
            ("\"v1\"", "\"v1\"", "\"v1\""),
            ("W/\"v1\"", "W/\"v1\"", "W/\"v1\""),
            // Not ours to make sense of.
            ("W/\"v1\"", "\"v2\"", "\"v2\""),
            ("*", "\"v1\"", "\"v1\""),
            ("nonsense", "\"v1\"", "\"v1\""),
        ] {
            let request = fields(&[("if-none-match", held)]);
            let mut response = fields(&[("etag", tag)]);
            not_modified(&request, &response).apply(&mut response);
            assert_eq!(response[ETAG], expected, "{held}");
            let changed = expected != tag;
            assert_eq!(response.contains_key(VARY), changed, "{held}");
        }
    }
}
