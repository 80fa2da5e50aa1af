//! Which responses may be coded, and which are worth it.
//!
//! Not here: whether the client wants it ([`negotiate`](super::negotiate)), and methods and upgrades, which whoever has the
//! request knows.

use crate::fields::list;
use crate::fields::token::trim_ows;
use crate::fields::view::FieldView;
use http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_RANGE, CONTENT_TYPE, TRAILER};
use http::{HeaderName, StatusCode};

/// Shorter content is not coded: it fits one packet either way, and the head grows by what the body saves.
pub const LENGTH_MIN: u64 = 1024;

/// Fields that vouch for the octets as the origin sent them (RFC 9530, its forerunners, RFC 9421). `Content-Digest` and
/// `Repr-Digest` are both computed over the coded form, so coding makes either a lie. They could be dropped; but an origin
/// that computes one wants somebody to check it, so its response is left alone instead.
static VOUCHES: [HeaderName; 5] = [
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("content-md5"),
    HeaderName::from_static("signature"),
];

/// Why a response is not coded for anybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obstacle {
    /// The status has no content, or a part of one.
    Status,
    /// It has a coding already, or says that it has none (`identity`), which applications use to be left alone.
    Coded,
    /// It is a part: octets of a coded form are not octets of it.
    Range,
    /// `no-transform`.
    NoTransform,
    /// It has a digest or a signature.
    VouchedFor,
    /// It announces trailers, which would have to be dropped.
    Trailers,
    /// The content type is unknown, compressed by itself, or a stream of events.
    ContentType,
    /// It is short.
    Short,
}

/// Whether a response may be coded, for a client that wants it. `length` is the content's, where it is known.
///
/// # Errors
/// Why not.
pub fn judge<'h>(
    status: StatusCode,
    response: impl Into<FieldView<'h>>,
    length: Option<u64>,
) -> Result<(), Obstacle> {
    let response = response.into();
    // RFC 9110 §15: no content in 1xx, 204, 205 and 304; a part of it in 206.
    if status.is_informational()
        || matches!(
            status,
            StatusCode::NO_CONTENT
                | StatusCode::RESET_CONTENT
                | StatusCode::PARTIAL_CONTENT
                | StatusCode::NOT_MODIFIED
        )
    {
        return Err(Obstacle::Status);
    }
    if response.contains(&CONTENT_ENCODING) {
        return Err(Obstacle::Coded);
    }
    // 416 has one too, and no content that is worth it.
    if response.contains(&CONTENT_RANGE) {
        return Err(Obstacle::Range);
    }
    if forbids_transformation(response) {
        return Err(Obstacle::NoTransform);
    }
    if VOUCHES.iter().any(|name| response.contains(name)) {
        return Err(Obstacle::VouchedFor);
    }
    if response.contains(&TRAILER) {
        return Err(Obstacle::Trailers);
    }
    // Several lines are one too many to believe any.
    let mut types = response.get_all(&CONTENT_TYPE);
    match (types.next(), types.next()) {
        (Some(content_type), None) if is_worth_it(content_type) => {}
        _ => return Err(Obstacle::ContentType),
    }
    if length.is_some_and(|length| length < LENGTH_MIN) {
        return Err(Obstacle::Short);
    }
    Ok(())
}

/// RFC 9110 §7.7: "A proxy MUST NOT transform the content of a response message that contains a no-transform cache
/// directive", and RFC 9111 §5.2.1.6, by which a client asks for the same.
pub fn forbids_transformation<'h>(headers: impl Into<FieldView<'h>>) -> bool {
    headers
        .into()
        .get_all(&CACHE_CONTROL)
        .flat_map(list::members)
        .any(|directive| {
            // It takes no argument, and with one it is better obeyed than not.
            let name = directive.split(|&octet| octet == b'=').next();
            name.is_some_and(|name| trim_ows(name).eq_ignore_ascii_case(b"no-transform"))
        })
}

/// Whether content of this type becomes markedly shorter.
fn is_worth_it(content_type: &[u8]) -> bool {
    let essence = content_type.split(|&octet| octet == b';').next();
    let essence = essence.map(trim_ows).unwrap_or_default();
    let essence = essence.to_ascii_lowercase();
    let Ok(essence) = str::from_utf8(&essence) else {
        return false;
    };
    let Some((kind, name)) = essence.split_once('/') else {
        return false;
    };
    match (kind, name) {
        // Each event is small and waited for; and there are clients that read a stream of them without undoing anything.
        ("text", "event-stream") => false,
        // It frames its messages, and has codings of its own for them.
        ("application", name) if name.starts_with("grpc") => false,
        ("text", _) => true,
        // RFC 6838 §4.2.8: what a suffix says is true of the whole. `image/svg+xml` is one of these.
        (_, name) if name.ends_with("+json") || name.ends_with("+xml") => true,
        (_, name) if name.ends_with("+json-seq") || name.ends_with("+yaml") => true,
        ("application", name) => APPLICATION.binary_search(&name).is_ok(),
        // WOFF and WOFF2 are compressed by themselves.
        ("font", name) => matches!(name, "ttf" | "otf" | "collection" | "sfnt"),
        // Images, sound, film, parts of several kinds, and what is not known.
        _ => false,
    }
}

/// Of `application/`, what is text or as sparse as text. In the order of the alphabet.
const APPLICATION: &[&str] = &[
    "ecmascript",
    "geojson",
    "graphql",
    "javascript",
    "json",
    "json-seq",
    "jsonl",
    "ndjson",
    "postscript",
    "rtf",
    "sql",
    "toml",
    "vnd.apple.mpegurl",
    "vnd.ms-fontobject",
    "wasm",
    "x-font-otf",
    "x-font-ttf",
    "x-javascript",
    "x-ndjson",
    "x-sh",
    "x-web-app-manifest+json",
    "x-www-form-urlencoded",
    "x-yaml",
    "xml",
    "xml-dtd",
    "yaml",
];

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderMap, HeaderValue};
    use proptest::prelude::*;

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

    const HTML: (&str, &str) = ("content-type", "text/html; charset=utf-8");

    #[test]
    fn what_may_be_coded() {
        for (status, response, length, expected) in [
            (200, &[HTML][..], Some(4096), Ok(())),
            (203, &[HTML], None, Ok(())),
            (404, &[HTML], Some(4096), Ok(())),
            (500, &[HTML], Some(4096), Ok(())),
            (101, &[HTML], None, Err(Obstacle::Status)),
            (204, &[HTML], None, Err(Obstacle::Status)),
            (205, &[HTML], None, Err(Obstacle::Status)),
            (206, &[HTML], None, Err(Obstacle::Status)),
            (304, &[HTML], None, Err(Obstacle::Status)),
            (200, &[HTML], Some(1023), Err(Obstacle::Short)),
            (200, &[HTML], Some(1024), Ok(())),
            (200, &[HTML], Some(0), Err(Obstacle::Short)),
            (
                200,
                &[HTML, ("content-encoding", "gzip")],
                None,
                Err(Obstacle::Coded),
            ),
            (
                200,
                &[HTML, ("content-encoding", "identity")],
                None,
                Err(Obstacle::Coded),
            ),
            (
                200,
                &[HTML, ("content-range", "bytes 0-1/2")],
                None,
                Err(Obstacle::Range),
            ),
            (
                200,
                &[HTML, ("cache-control", "max-age=5, No-Transform")],
                None,
                Err(Obstacle::NoTransform),
            ),
            (
                200,
                &[
                    HTML,
                    ("cache-control", "public"),
                    ("cache-control", "no-transform"),
                ],
                None,
                Err(Obstacle::NoTransform),
            ),
            (
                200,
                &[HTML, ("cache-control", "x=\"no-transform\"")],
                None,
                Ok(()),
            ),
            (
                200,
                &[HTML, ("repr-digest", "sha-256=:AA==:")],
                None,
                Err(Obstacle::VouchedFor),
            ),
            (
                200,
                &[HTML, ("content-md5", "AA==")],
                None,
                Err(Obstacle::VouchedFor),
            ),
            (
                200,
                &[HTML, ("trailer", "server-timing")],
                None,
                Err(Obstacle::Trailers),
            ),
            (200, &[], None, Err(Obstacle::ContentType)),
            (
                200,
                &[HTML, ("content-type", "image/png")],
                None,
                Err(Obstacle::ContentType),
            ),
        ] {
            let status = StatusCode::from_u16(status).expect("a status");
            let found = judge(status, &fields(response), length);
            assert_eq!(found, expected, "{status} {response:?} {length:?}");
        }
    }

    #[test]
    fn types() {
        assert!(APPLICATION.is_sorted());
        for worth in [
            "text/html",
            "TEXT/CSS ; charset=x",
            "text/javascript",
            "application/json",
            "application/ld+json;profile=x",
            "application/problem+json",
            "application/xhtml+xml",
            "application/rss+xml",
            "application/wasm",
            "application/x-ndjson",
            "image/svg+xml",
            "font/ttf",
            "font/otf",
            "model/gltf+json",
        ] {
            assert!(is_worth_it(worth.as_bytes()), "{worth}");
        }
        for not in [
            "text/event-stream",
            "text/event-stream;charset=utf-8",
            "application/grpc",
            "application/grpc+json",
            "application/grpc-web+json",
            "application/octet-stream",
            "application/zip",
            "application/gzip",
            "application/pdf",
            "image/png",
            "image/jpeg",
            "video/mp4",
            "audio/ogg",
            "font/woff",
            "font/woff2",
            "multipart/x-mixed-replace; boundary=text/html",
            "text",
            "",
            "/",
            "json",
        ] {
            assert!(!is_worth_it(not.as_bytes()), "{not}");
        }
    }

    proptest! {
        #[test]
        fn reading_a_type_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..32)) {
            let _ = is_worth_it(&bytes);
        }
    }
}
