//! Which targets a response makes worthless in the cache (RFC 9111 §4.4).

use crate::cache::key::Target;
use crate::fields::reference::HttpUri;
use http::{HeaderMap, Method, StatusCode, header};

/// The methods that are known to change nothing (RFC 9110 §9.2.1, RFC 4918, RFC 3253, RFC 5323, and QUERY).
const SAFE: [&str; 8] = [
    "GET", "HEAD", "OPTIONS", "TRACE", "PROPFIND", "REPORT", "SEARCH", "QUERY",
];

/// Whether a method is known to be safe. Methods are compared with their case.
pub fn is_safe(method: &Method) -> bool {
    SAFE.contains(&method.as_str())
}

/// A target as a URI. `None` where its authority is none.
pub fn uri_of(target: Target<'_>) -> Option<HttpUri> {
    HttpUri::new(
        target.scheme == "https",
        target.authority,
        target.path,
        target.query,
    )
}

/// The URIs whose stored responses, with all their variants, are no longer to be used after this response. Paths are
/// without dot segments but otherwise as the origin wrote them: whoever looks them up brings them to his one spelling.
pub fn targets(
    method: &Method,
    target: Target<'_>,
    status: StatusCode,
    response: &HeaderMap,
) -> Vec<HttpUri> {
    // "A cache MUST invalidate the target URI when it receives a non-error status code in response to an unsafe request
    // method (including methods whose safety is unknown)." "A 'non-error response' is one with a 2xx (Successful) or
    // 3xx (Redirection) status code."
    if is_safe(method) || !(status.is_success() || status.is_redirection()) {
        return Vec::new();
    }
    let Some(target) = uri_of(target) else {
        return Vec::new();
    };
    // "A cache MAY invalidate other URIs when it receives a non-error status code in response to an unsafe request
    // method […]. In particular, the URI(s) in the Location and Content-Location response header fields (if present) are
    // candidates for invalidation; […] However, a cache MUST NOT trigger an invalidation under these conditions if the
    // origin […] of the URI to be invalidated differs from that of the target URI".
    let mut found = Vec::with_capacity(3);
    for name in [header::LOCATION, header::CONTENT_LOCATION] {
        for value in response.get_all(name) {
            if let Some(uri) = target.resolve(value.as_bytes())
                && uri.same_origin(&target)
                && uri != target
                && !found.contains(&uri)
            {
                found.push(uri);
            }
        }
    }
    found.insert(0, target);
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::policy::testing::headers;

    const TARGET: Target<'_> = Target {
        scheme: "https",
        authority: "A.example:443",
        path: "/list/1",
        query: Some("q"),
    };

    fn invalidated(method: &str, status: u16, response: &[(&str, &str)]) -> Vec<String> {
        let method = Method::from_bytes(method.as_bytes()).expect("a method in a test");
        let status = StatusCode::from_u16(status).expect("a status in a test");
        targets(&method, TARGET, status, &headers(response))
            .iter()
            .map(|uri| {
                assert_eq!(
                    (uri.scheme(), uri.authority.as_str()),
                    ("https", "a.example")
                );
                let query = uri
                    .query
                    .as_ref()
                    .map_or(String::new(), |query| format!("?{query}"));
                format!("{}{query}", uri.path)
            })
            .collect()
    }

    #[test]
    fn methods() {
        for (method, unsafe_) in [
            ("GET", false),
            ("HEAD", false),
            ("OPTIONS", false),
            ("TRACE", false),
            ("PROPFIND", false),
            ("REPORT", false),
            ("SEARCH", false),
            ("QUERY", false),
            ("POST", true),
            ("PUT", true),
            ("DELETE", true),
            ("PATCH", true),
            ("PROPPATCH", true),
            ("MOVE", true),
            ("FROBNICATE", true),
            ("get", true),
        ] {
            assert_eq!(
                !invalidated(method, 200, &[]).is_empty(),
                unsafe_,
                "{method}"
            );
        }
    }

    #[test]
    fn statuses() {
        for (status, invalidates) in [
            (100, false),
            (200, true),
            (201, true),
            (204, true),
            (299, true),
            (303, true),
            (304, true),
            (400, false),
            (404, false),
            (500, false),
            (503, false),
            (599, false),
        ] {
            assert_eq!(
                !invalidated("POST", status, &[]).is_empty(),
                invalidates,
                "{status}"
            );
        }
    }

    #[test]
    fn uris() {
        for (clause, response, expected) in [
            ("§4.4: the target", &[][..], &["/list/1?q"][..]),
            (
                "§4.4: Location",
                &[("location", "/new")],
                &["/list/1?q", "/new"],
            ),
            (
                "§4.4: Content-Location",
                &[("content-location", "https://a.example/new?x")],
                &["/list/1?q", "/new?x"],
            ),
            (
                "§4.4: both",
                &[("location", "2"), ("content-location", "../x")],
                &["/list/1?q", "/list/2", "/x"],
            ),
            (
                "§4.4: each once",
                &[
                    ("location", "?q"),
                    ("content-location", "/x"),
                    ("content-location", "//A.example/x#f"),
                ],
                &["/list/1?q", "/x"],
            ),
            (
                "§4.4: another host",
                &[("location", "https://b.example/new")],
                &["/list/1?q"],
            ),
            (
                "§4.4: another port",
                &[("location", "https://a.example:8443/new")],
                &["/list/1?q"],
            ),
            (
                "§4.4: another scheme",
                &[("location", "http://a.example/new")],
                &["/list/1?q"],
            ),
            (
                "no URI",
                &[("location", "http://["), ("content-location", "/a b")],
                &["/list/1?q"],
            ),
        ] {
            assert_eq!(invalidated("PUT", 201, response), expected, "{clause}");
        }
    }
}
