//! What is sent, one row for each clause.

use super::*;
use crate::cache::body::Body;
use crate::cache::policy::{Lifetime, Moment, Terms, WhenStale};
use crate::cache::response::{About, Parts, StoredResponse};
use crate::cache::section::Section;
use crate::cache::vary::Nominated;
use http::header::{
    ALLOW, CACHE_CONTROL, DATE, IF_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, LAST_MODIFIED, VARY,
};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

mod in_flight;
mod properties;

const EARLIER: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
const MODIFIED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const LATER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";
/// When the tests' responses arrive: 1994-11-06 08:50:00.
const RECEIVED: Duration = Duration::from_secs(784_111_800);
const RECEIVED_DATE: &str = "Sun, 06 Nov 1994 08:50:00 GMT";

fn map(fields: &[(HeaderName, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(name, HeaderValue::from_str(value).expect("a value"));
    }
    headers
}

fn received() -> Moment {
    Moment {
        at: crate::clock::now(),
        wall: UNIX_EPOCH + RECEIVED,
    }
}

fn later(moment: Moment, by: Duration) -> Moment {
    Moment {
        at: moment.at + by,
        wall: moment.wall + by,
    }
}

fn terms(moment: Moment) -> Terms {
    Terms {
        received: moment.at,
        initial_age: Duration::ZERO,
        lifetime: Lifetime::Explicit(Duration::from_secs(60)),
        when_stale: WhenStale::Windows,
        while_revalidate: Duration::ZERO,
        if_error: Duration::ZERO,
        if_unreachable: Duration::ZERO,
        immutable: false,
        purged: false,
    }
}

/// "0123456789" in three pieces.
fn stored(status: u16, fields: &[(HeaderName, &str)], moment: Moment) -> Arc<StoredResponse> {
    let pieces = vec!["012".into(), "3456".into(), "789".into()];
    stored_as(status, fields, moment, pieces)
}

fn stored_as(
    status: u16,
    fields: &[(HeaderName, &str)],
    moment: Moment,
    pieces: Vec<Bytes>,
) -> Arc<StoredResponse> {
    StoredResponse::detached(Parts {
        status: StatusCode::from_u16(status).expect("a status"),
        fields: Section::new(&map(fields)),
        terms: terms(moment),
        nominated: Nominated::default(),
        route: "r".into(),
        body: Body::new(pieces),
        about: About::default(),
    })
}

/// What came out.
struct Seen {
    status: u16,
    headers: HeaderMap,
    body: String,
}

fn send(
    method: &Method,
    response: &Arc<StoredResponse>,
    request: &[(HeaderName, &str)],
    now: Moment,
) -> Seen {
    let view = StoredView::stored(response, now);
    let plan = plan(method, &map(request), &view);
    let (status, headers) = plan.head(&view);
    // Both ways to write the fields say the same.
    let edits = plan.edits(&view);
    let mut written = HeaderMap::new();
    for (name, value) in response.fields().to_header_map() {
        let name = name.expect("no name is repeated in these tests");
        if edits.keeps(name.as_str().to_ascii_uppercase().as_bytes()) {
            written.append(name, value);
        }
    }
    for (name, value) in edits.set() {
        written.append(name, value.clone());
    }
    assert_eq!(written, headers);
    let body: Vec<u8> = plan.body(&response.body()).flatten().collect();
    assert_eq!(plan.length(view.length), Some(body.len() as u64));
    if !matches!(plan, Plan::NotModified | Plan::HeadOnly) && status != StatusCode::NO_CONTENT {
        assert_eq!(headers[CONTENT_LENGTH], body.len().to_string());
    }
    Seen {
        status: status.as_u16(),
        headers,
        body: String::from_utf8(body).expect("text"),
    }
}

impl Seen {
    fn field(&self, name: &HeaderName) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().expect("ASCII"))
    }
}

/// RFC 9111 §4.3.2 and RFC 9110 §13.2.2, step by step.
#[test]
fn preconditions() {
    let moment = received();
    let with_both = [(ETAG, "\"a\""), (LAST_MODIFIED, MODIFIED)];
    let weak = [(ETAG, "W/\"a\"")];
    let dated = [(DATE, MODIFIED)];
    for (clause, stored_fields, request, status) in [
        ("no condition", &with_both[..], &[][..], 200),
        // RFC 9111 §4.3.2: "not applicable to a cache"
        ("If-Match", &with_both, &[(IF_MATCH, "\"x\"")], 200),
        (
            "If-Unmodified-Since",
            &with_both,
            &[(IF_UNMODIFIED_SINCE, EARLIER)],
            200,
        ),
        (
            "If-Match beside",
            &with_both,
            &[(IF_MATCH, "\"x\""), (IF_NONE_MATCH, "\"a\"")],
            304,
        ),
        // RFC 9110 §13.1.2
        ("the same", &with_both, &[(IF_NONE_MATCH, "\"a\"")], 304),
        ("weak asked", &with_both, &[(IF_NONE_MATCH, "W/\"a\"")], 304),
        ("weak stored", &weak, &[(IF_NONE_MATCH, "\"a\"")], 304),
        ("weak both", &weak, &[(IF_NONE_MATCH, "W/\"a\"")], 304),
        ("another", &with_both, &[(IF_NONE_MATCH, "\"b\"")], 200),
        (
            "a list",
            &with_both,
            &[(IF_NONE_MATCH, "\"b,c\", \"a\"")],
            304,
        ),
        (
            "lines",
            &with_both,
            &[(IF_NONE_MATCH, "\"b\""), (IF_NONE_MATCH, "\"a\"")],
            304,
        ),
        ("any", &with_both, &[(IF_NONE_MATCH, "*")], 304),
        ("any of no tag", &dated, &[(IF_NONE_MATCH, "*")], 304),
        ("a tag of no tag", &dated, &[(IF_NONE_MATCH, "\"a\"")], 200),
        ("unreadable", &with_both, &[(IF_NONE_MATCH, "a")], 200),
        (
            "two stored tags",
            &[(ETAG, "\"a\""), (ETAG, "\"b\"")][..],
            &[(IF_NONE_MATCH, "\"a\"")],
            200,
        ),
        // "A recipient MUST ignore If-Modified-Since if the request contains an If-None-Match header field"
        (
            "both, tag differs",
            &with_both,
            &[(IF_NONE_MATCH, "\"b\""), (IF_MODIFIED_SINCE, LATER)],
            200,
        ),
        (
            "both, tag unreadable",
            &with_both,
            &[(IF_NONE_MATCH, "b"), (IF_MODIFIED_SINCE, LATER)],
            200,
        ),
        (
            "both, date older",
            &with_both,
            &[(IF_NONE_MATCH, "\"a\""), (IF_MODIFIED_SINCE, EARLIER)],
            304,
        ),
        // §13.1.3
        ("equal", &with_both, &[(IF_MODIFIED_SINCE, MODIFIED)], 304),
        ("later", &with_both, &[(IF_MODIFIED_SINCE, LATER)], 304),
        ("earlier", &with_both, &[(IF_MODIFIED_SINCE, EARLIER)], 200),
        (
            "asctime",
            &with_both,
            &[(IF_MODIFIED_SINCE, "Sun Nov  6 08:49:37 1994")],
            304,
        ),
        // "MUST ignore … if the received field value is not a valid HTTP-date, the field value has more than one member"
        (
            "no date",
            &with_both,
            &[(IF_MODIFIED_SINCE, "1994-11-06T08:49:37Z")],
            200,
        ),
        (
            "two dates",
            &with_both,
            &[(IF_MODIFIED_SINCE, LATER), (IF_MODIFIED_SINCE, LATER)],
            200,
        ),
        // RFC 9111 §4.3.2: "a cache SHOULD use the stored response's Date"
        ("by Date", &dated, &[(IF_MODIFIED_SINCE, MODIFIED)], 304),
        (
            "by Date, earlier",
            &dated,
            &[(IF_MODIFIED_SINCE, EARLIER)],
            200,
        ),
        // "or, if no Date field is present …, the time that the stored response was received"
        (
            "by arrival",
            &[],
            &[(IF_MODIFIED_SINCE, RECEIVED_DATE)],
            304,
        ),
        (
            "by arrival, earlier",
            &[],
            &[(IF_MODIFIED_SINCE, LATER)],
            200,
        ),
        (
            "Last-Modified unreadable",
            &[(LAST_MODIFIED, "x"), (DATE, MODIFIED)],
            &[(IF_MODIFIED_SINCE, LATER)],
            200,
        ),
        // §13.2.2: conditions before ranges
        (
            "with a range",
            &with_both,
            &[(IF_NONE_MATCH, "\"a\""), (RANGE, "bytes=0-1")],
            304,
        ),
    ] {
        let response = stored(200, stored_fields, moment);
        let now = later(moment, Duration::from_secs(3_600));
        for method in [Method::GET, Method::HEAD] {
            let view = StoredView::stored(&response, now);
            let (found, _) = plan(&method, &map(request), &view).head(&view);
            assert_eq!(found.as_u16(), status, "{clause}");
        }
        // "MUST ignore … if the request method is neither GET nor HEAD"
        let view = StoredView::stored(&response, now);
        let post = plan(&Method::POST, &map(request), &view);
        assert_eq!(post, Plan::Whole, "{clause}");
        // RFC 9111 §4.3.2: 200 and 206 only.
        for other in [203, 204, 301, 404, 500] {
            let response = stored(other, stored_fields, moment);
            let view = StoredView::stored(&response, now);
            let (found, _) = plan(&Method::GET, &map(request), &view).head(&view);
            assert_eq!(found.as_u16(), other, "{clause}");
        }
    }
}

/// RFC 9110 §15.4.5.
#[test]
fn the_fields_of_304() {
    let moment = received();
    let always = [
        (http::header::CONTENT_LOCATION, "/a"),
        (DATE, RECEIVED_DATE),
        (VARY, "Accept"),
        (CACHE_CONTROL, "max-age=60"),
        (http::header::EXPIRES, LATER),
        (http::header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (http::header::CONTENT_SECURITY_POLICY, "default-src 'self'"),
    ];
    let never = [
        (CONTENT_TYPE, "text/plain"),
        (CONTENT_LENGTH, "10"),
        (http::header::CONTENT_ENCODING, "br"),
        (http::header::CONTENT_LANGUAGE, "de"),
        (HeaderName::from_static("content-digest"), "md5=::"),
    ];
    for (validators, kept) in [
        (
            &[(ETAG, "\"a\""), (LAST_MODIFIED, MODIFIED)][..],
            &[ETAG][..],
        ),
        (&[(LAST_MODIFIED, MODIFIED)], &[LAST_MODIFIED]),
    ] {
        let fields = [&always[..], &never[..], validators].concat();
        let response = stored(200, &fields, moment);
        let seen = send(
            &Method::GET,
            &response,
            &[(IF_MODIFIED_SINCE, LATER)],
            moment,
        );
        assert_eq!((seen.status, seen.body.as_str()), (304, ""));
        let mut expected: Vec<_> = always.iter().map(|(name, _)| name).chain(kept).collect();
        let mut found: Vec<_> = seen.headers.keys().collect();
        expected.sort_unstable_by_key(|name| name.as_str());
        found.sort_unstable_by_key(|name| name.as_str());
        assert_eq!(found, expected);
    }
}

/// RFC 9110 §14.1.2, §14.2, §13.1.5, §15.3.7.1, §15.5.17.
#[test]
fn ranges() {
    let moment = received();
    let fields = [
        (ETAG, "\"a\""),
        (LAST_MODIFIED, MODIFIED),
        (DATE, LATER),
        (CACHE_CONTROL, "max-age=60"),
        (CONTENT_TYPE, "text/plain"),
        (HeaderName::from_static("content-digest"), "md5=::"),
        (CONTENT_LENGTH, "10"),
    ];
    let response = stored(200, &fields, moment);
    let first = (RANGE, "bytes=0-1");
    let all = "0123456789";
    for (request, status, content_range, body) in [
        (vec![first.clone()], 206, "bytes 0-1/10", "01"),
        (vec![(RANGE, "bytes=2-3")], 206, "bytes 2-3/10", "23"),
        (vec![(RANGE, "bytes=0-")], 206, "bytes 0-9/10", all),
        (vec![(RANGE, "bytes=8-")], 206, "bytes 8-9/10", "89"),
        (vec![(RANGE, "bytes=8-99")], 206, "bytes 8-9/10", "89"),
        (vec![(RANGE, "bytes=-3")], 206, "bytes 7-9/10", "789"),
        (vec![(RANGE, "bytes=-99")], 206, "bytes 0-9/10", all),
        (vec![(RANGE, "bytes=10-,2-3")], 206, "bytes 2-3/10", "23"),
        (vec![(RANGE, "bytes=10-")], 416, "bytes */10", ""),
        (vec![(RANGE, "bytes=-0")], 416, "bytes */10", ""),
        (vec![(RANGE, "bytes=2-1")], 200, "", all),
        (vec![(RANGE, "lines=0-1")], 200, "", all),
        (vec![first.clone(), first.clone()], 200, "", all),
        (vec![(RANGE, "bytes=0-4,4-6")], 200, "", all),
        (vec![(RANGE, "bytes=5-,0-,0-")], 200, "", all),
        // §13.1.5: the strong comparison.
        (
            vec![first.clone(), (IF_RANGE, "\"a\"")],
            206,
            "bytes 0-1/10",
            "01",
        ),
        (vec![first.clone(), (IF_RANGE, "W/\"a\"")], 200, "", all),
        (vec![first.clone(), (IF_RANGE, "\"b\"")], 200, "", all),
        (
            vec![first.clone(), (IF_RANGE, MODIFIED)],
            206,
            "bytes 0-1/10",
            "01",
        ),
        (vec![first.clone(), (IF_RANGE, LATER)], 200, "", all),
        (vec![first.clone(), (IF_RANGE, "a")], 200, "", all),
        (
            vec![first.clone(), (IF_RANGE, "\"a\""), (IF_RANGE, "\"a\"")],
            200,
            "",
            all,
        ),
        // Beside conditions that hold.
        (
            vec![first.clone(), (IF_NONE_MATCH, "\"b\"")],
            206,
            "bytes 0-1/10",
            "01",
        ),
        // "If-Range … MUST be ignored without Range"
        (vec![(IF_RANGE, "\"b\"")], 200, "", all),
    ] {
        let seen = send(&Method::GET, &response, &request, moment);
        let found = (seen.status, seen.body.as_str());
        assert_eq!(found, (status, body), "{request:?}");
        assert_eq!(seen.field(&CONTENT_RANGE), content_range, "{request:?}");
        // §15.3.7: what a 200 has, the 206 has; the 416 has nothing of it.
        let of_the_200 = if status == 416 { "" } else { "\"a\"" };
        assert_eq!(seen.field(&ETAG), of_the_200, "{request:?}");
        let kept = seen.headers.contains_key("content-digest");
        assert_eq!(kept, status == 200, "of the content as it was sent");
        // §14.2: "Range … for GET only"
        let seen = send(&Method::HEAD, &response, &request, moment);
        assert_eq!((seen.status, seen.body.as_str()), (200, ""), "{request:?}");
        assert_eq!(seen.field(&CONTENT_LENGTH), "10");
        // §14.2: of a 200 only.
        let missing = stored(404, &fields, moment);
        assert_eq!(send(&Method::GET, &missing, &request, moment).status, 404);
    }
}

/// RFC 9110 §8.8.2.2: "at least one second".
#[test]
fn a_date_is_strong_when_something_is_dated_later() {
    let moment = received();
    let request = [(RANGE, "bytes=0-1"), (IF_RANGE, MODIFIED)];
    for (date, status) in [
        (Some(EARLIER), 200),
        (Some(MODIFIED), 200),
        (Some(LATER), 206),
        (None, 200),
    ] {
        let mut fields = vec![(LAST_MODIFIED, MODIFIED), (CONTENT_LENGTH, "10")];
        fields.extend(date.map(|date| (DATE, date)));
        let response = stored(200, &fields, moment);
        let seen = send(&Method::GET, &response, &request, moment);
        assert_eq!(seen.status, status, "{date:?}");
    }
}

/// RFC 9110 §15.3.7.2.
#[test]
fn several_ranges() {
    let moment = received();
    for content_type in [Some("text/plain"), None] {
        let mut fields = vec![(CONTENT_LENGTH, "10")];
        fields.extend(content_type.map(|value| (CONTENT_TYPE, value)));
        let response = stored(200, &fields, moment);
        let request = [(RANGE, "bytes=8-, 0-1, 4-5")];
        let seen = send(&Method::GET, &response, &request, moment);
        assert_eq!(seen.status, 206);
        // "MUST NOT generate a Content-Range header field in the HTTP header section"
        assert_eq!(seen.field(&CONTENT_RANGE), "");
        let kind = seen.field(&CONTENT_TYPE);
        let boundary = kind
            .strip_prefix("multipart/byteranges; boundary=")
            .expect("a boundary");
        let part = |range: &str, text: &str| {
            let kind = content_type.map(|kind| format!("\r\nContent-Type: {kind}"));
            let kind = kind.unwrap_or_default();
            format!("\r\n--{boundary}{kind}\r\nContent-Range: bytes {range}/10\r\n\r\n{text}")
        };
        let parts = [part("8-9", "89"), part("0-1", "01"), part("4-5", "45")].concat();
        assert_eq!(seen.body, format!("{parts}\r\n--{boundary}--\r\n"));
        let again = send(&Method::GET, &response, &request, moment);
        assert_ne!(again.field(&CONTENT_TYPE), kind, "the boundary is random");
    }
    // A set of more than 16 is abuse, whatever it asks for.
    let response = stored(200, &[(CONTENT_LENGTH, "10")], moment);
    for (members, status) in [(16, 206), (17, 200)] {
        let text = format!("bytes=0-0{}", ",99-".repeat(members - 1));
        let request = [(RANGE, text.as_str())];
        let seen = send(&Method::GET, &response, &request, moment);
        assert_eq!(seen.status, status, "{members}");
    }
}

/// RFC 9110 §8.6: a length that was not known on arrival is added, but never to a 204.
#[test]
fn a_length_is_added_where_there_is_none() {
    let moment = received();
    let seen = send(&Method::GET, &stored(200, &[], moment), &[], moment);
    assert_eq!(seen.field(&CONTENT_LENGTH), "10");
    let none = stored_as(204, &[(ALLOW, "GET")], moment, Vec::new());
    let seen = send(&Method::GET, &none, &[], moment);
    assert_eq!((seen.status, seen.field(&CONTENT_LENGTH)), (204, ""));
}
