//! What each target feeds, and what must hold whatever it is fed.

use bytes::{Bytes, BytesMut};
use forebay::cache::body::Body;
use forebay::cache::control::{Control, Flag, RequestDirectives, ResponseDirectives};
use forebay::cache::key::{CacheKey, Target};
use forebay::cache::partial::{Combined, Partial};
use forebay::cache::policy::{Asked, Lifetime, Moment, Received, Terms, WhenStale, storable};
use forebay::cache::serve::{self, Fields, Order, Piece, Plan, StoredView};
use forebay::cache::settings::{KeyRules, Rules};
use forebay::cache::vary::{self, Nominated};
use forebay::fields::range::{ContentRange, parse_content_range};
use forebay::fields::view::{FieldLines, FieldView};
use forebay::fields::{date, etag};
use forebay::listen::gate::body::{BodyReader, Decoded};
use forebay::listen::gate::scan::{HeadScanner, Scan};
use forebay::listen::gate::{Framing, head};
use forebay::listen::settings::LimitSettings;
use forebay::routing;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header};
use std::sync::Arc;
use std::time::Duration;

const HEAD_MAX: usize = 4096;

/// A head means the same however its octets arrive; what passes has one target and one host, and no control character.
pub fn request_head(data: &[u8]) {
    let at_once = HeadScanner::default().scan(data, HEAD_MAX);
    let mut scanner = HeadScanner::default();
    for end in 0..data.len().min(HEAD_MAX + 8) {
        match scanner.scan(&data[..=end], HEAD_MAX) {
            Ok(Scan::NeedMore) => {}
            Ok(complete) => {
                assert_eq!(Ok(complete), at_once);
                break;
            }
            // What comes slowly may be refused by its first octet; at once, by the reading of the head.
            Err(_) => {
                let accepted = match &at_once {
                    Ok(Scan::Complete { start, end }) => {
                        head::read(&data[*start..*end], &LimitSettings::default()).is_ok()
                    }
                    _ => false,
                };
                assert!(!accepted);
                break;
            }
        }
    }
    let Ok(Scan::Complete { start, end }) = at_once else {
        return;
    };
    let Ok(request) = head::read(&data[start..end], &LimitSettings::default()) else {
        return;
    };
    let target = request.header.uri.to_string();
    assert!(target.starts_with('/') || target == "*", "{target}");
    assert!(request.version() == Version::HTTP_10 || !request.host.is_empty());
    assert!(
        !request
            .host
            .contains(|c: char| c.is_whitespace() || matches!(c, '@' | '/' | '?' | '#' | ','))
    );
    let fields = &request.header.headers;
    assert!(!fields.contains_key(header::TRANSFER_ENCODING));
    let path = request.header.uri.path();
    if let Ok(once) = routing::normalise(path) {
        assert_eq!(routing::normalise(&once).as_deref(), Ok(&*once));
        for segment in once.split('/') {
            let plain = segment.replace("%2e", ".").replace("%2E", ".");
            assert!(plain != "." && plain != "..", "{path} is {once}");
        }
    }
}

/// A body is the same however its octets arrive, and ends at the same octet.
pub fn chunked_body(data: &[u8]) {
    let at_once = read_body(data, data.len().max(1));
    for step in [1, 3] {
        let piecemeal = read_body(data, step);
        assert_eq!(at_once.0, piecemeal.0, "what it came to");
        let common = at_once.1.len().min(piecemeal.1.len());
        assert_eq!(at_once.1[..common], piecemeal.1[..common]);
        if let Some(_end) = at_once.0.ok().flatten() {
            assert_eq!(at_once.1, piecemeal.1);
        }
    }
}

/// Where the body ended (none: it did not) or that it was refused; and its octets.
fn read_body(data: &[u8], step: usize) -> (Result<Option<usize>, ()>, Vec<u8>) {
    let mut reader = BodyReader::new(Framing::Streamed);
    let (mut buffer, mut body) = (BytesMut::new(), Vec::new());
    let mut read = 0;
    for piece in data.chunks(step) {
        buffer.extend_from_slice(piece);
        read += piece.len();
        loop {
            match reader.decode(&mut buffer) {
                Ok(Decoded::Data(data)) => {
                    assert!(!data.is_empty());
                    body.extend_from_slice(&data);
                    if step == 3 {
                        reader.settle(&mut buffer);
                    }
                }
                Ok(Decoded::NeedMore) => break,
                Ok(Decoded::End) => return (Ok(Some(read - buffer.len())), body),
                Err(_) => return (Err(()), body),
            }
        }
    }
    (Ok(None), body)
}

/// What forbids is found wherever it stands, and a response that forbids is not stored.
pub fn cache_control(data: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in data.split(|&octet| octet == b'\n') {
        let (name, value) = match line {
            [b'1', value @ ..] => (HeaderName::from_static("cdn-cache-control"), value),
            [b'2', value @ ..] => (HeaderName::from_static("surrogate-control"), value),
            [b'3', value @ ..] => (HeaderName::from_static("x-accel-expires"), value),
            value => (header::CACHE_CONTROL, value),
        };
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(name, value);
        }
    }
    let rules = Rules::default();
    let control = Control::of(&headers, &rules);
    let _ = RequestDirectives::of(&headers);
    let terms = storable::evaluate(asked(&HeaderMap::new()), received(200, &headers), &rules);
    let d = &control.directives;
    if d.private.is_response() || (d.has(Flag::NoStore) && !d.has(Flag::MustUnderstand)) {
        assert!(terms.is_err());
    }
    let first = headers
        .get(header::CACHE_CONTROL)
        .map(HeaderValue::as_bytes)
        .unwrap_or_default();
    for (before, behind) in [(&b"no-store, "[..], &b""[..]), (b"", b"\n")] {
        let mut lines =
            vec![HeaderValue::from_bytes(&[before, first].concat()).expect("of values")];
        if !behind.is_empty() {
            // On a line of its own, nothing in front can swallow it.
            lines.push(HeaderValue::from_static("NO-STORE"));
        }
        assert!(
            ResponseDirectives::parse(&lines).has(Flag::NoStore),
            "{lines:?}"
        );
    }
}

/// Two requests fit the same stored response if and only if what it nominates is equal, and normal forms are normal.
pub fn vary(data: &[u8]) {
    let mut lines = data.split(|&octet| octet == b'\n');
    let mut response = HeaderMap::new();
    put(&mut response, header::VARY, lines.next());
    let (mut one, mut other) = (HeaderMap::new(), HeaderMap::new());
    for name in [
        header::ACCEPT_ENCODING,
        header::ACCEPT_LANGUAGE,
        header::COOKIE,
        header::ACCEPT,
    ] {
        put(&mut one, name.clone(), lines.next());
        put(&mut other, name, lines.next());
    }
    for vary in [
        None,
        Some("accept-encoding"),
        Some("accept-language, cookie, accept"),
    ] {
        if let Some(vary) = vary {
            response.insert(header::VARY, HeaderValue::from_static(vary));
        }
        let (Ok(of_one), Ok(of_other)) = (
            Nominated::new(&response, &one),
            Nominated::new(&response, &other),
        ) else {
            continue;
        };
        assert!(of_one.matches(&one));
        // Whoever read the request: a map, or lines in a buffer.
        let lines = lines_of(&other);
        let lines = FieldView::Lines(FieldLines::new(&lines));
        assert_eq!(Nominated::new(&response, lines).as_ref(), Ok(&of_other));
        assert_eq!(of_one.matches(&other), of_one.matches(lines));
        assert_eq!(
            vary::accept_encoding((&other).into()),
            vary::accept_encoding(lines)
        );
        assert_eq!(of_one == of_other, of_one.matches(&other));
        assert_eq!(of_one == of_other, of_other.matches(&one));
        if vary == Some("accept-encoding") {
            let (normal, others) = (
                vary::accept_encoding((&one).into()),
                vary::accept_encoding((&other).into()),
            );
            assert_eq!(of_one == of_other, normal == others);
            if let Some(normal) = normal {
                let mut again = one.clone();
                again.insert(header::ACCEPT_ENCODING, normal.clone());
                assert_eq!(vary::accept_encoding((&again).into()), Some(normal));
                assert!(of_one.matches(&again));
            }
        }
    }
}

/// The same fields as the gate's lines have them.
fn lines_of(headers: &HeaderMap) -> Vec<httparse::Header<'_>> {
    let lines = headers.iter().map(|(name, value)| httparse::Header {
        name: name.as_str(),
        value: value.as_bytes(),
    });
    lines.collect()
}

fn put(headers: &mut HeaderMap, name: HeaderName, value: Option<&[u8]>) {
    if let Some(value) = value.and_then(|value| HeaderValue::from_bytes(value).ok()) {
        headers.append(name, value);
    }
}

/// Different parts, different keys; and a key gives its parts back.
pub fn key(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let mut parts = text.split('\n');
    let rules = KeyRules::default();
    let (Some(one), Some(other)) = (target(&mut parts), target(&mut parts)) else {
        return;
    };
    let none = HeaderMap::new();
    let (of_one, of_other) = (
        CacheKey::new(one, &none, &rules),
        CacheKey::new(other, &none, &rules),
    );
    assert_eq!(of_one == of_other, folded(one) == folded(other));
    assert_eq!(of_one == of_other, of_one.as_bytes() == of_other.as_bytes());
    let back = of_one.target();
    assert_eq!((back.path, back.query), (one.path, one.query));
    assert_eq!(CacheKey::new(back, &none, &rules), of_one);
    if let Ok(path) = routing::normalise(one.path) {
        assert_eq!(routing::normalise(&path).as_deref(), Ok(&*path));
    }
    // The operator's fields and cookies: equal values, equal keys.
    let rules = KeyRules {
        headers: vec![header::ACCEPT],
        cookies: vec!["a".to_owned()],
        ..KeyRules::default()
    };
    let mut with = [HeaderMap::new(), HeaderMap::new()];
    for headers in &mut with {
        put(headers, header::ACCEPT, parts.next().map(str::as_bytes));
        put(headers, header::ACCEPT, parts.next().map(str::as_bytes));
    }
    let keys = with
        .each_ref()
        .map(|headers| CacheKey::new(one, headers, &rules));
    assert_eq!(keys[0] == keys[1], with[0] == with[1]);
    assert_eq!(keys[0].target_bytes(), keys[1].target_bytes());
}

fn target<'a>(parts: &mut impl Iterator<Item = &'a str>) -> Option<Target<'a>> {
    let (scheme, authority) = (parts.next()?, parts.next()?);
    // As the gate lets it through: one port at most.
    if authority.matches(':').count() > 1 {
        return None;
    }
    let (path, query) = (parts.next()?, parts.next()?);
    Some(Target {
        scheme: if scheme.len() % 2 == 0 {
            "http"
        } else {
            "https"
        },
        authority,
        path,
        query: query.strip_prefix('?'),
    })
}

fn folded(target: Target<'_>) -> (String, String, String, Option<String>) {
    let port = if target.scheme == "http" {
        ":80"
    } else {
        ":443"
    };
    let authority = target.authority.to_ascii_lowercase();
    let authority = authority
        .strip_suffix(port)
        .or(authority.strip_suffix(':'))
        .unwrap_or(&authority);
    let query = target.query.map(str::to_owned);
    (
        target.scheme.to_owned(),
        authority.to_owned(),
        target.path.to_owned(),
        query,
    )
}

/// Whatever is asked for, the body is as long as it is said to be, and its octets are those of the representation.
pub fn ranges(data: &[u8]) {
    let mut lines = data.split(|&octet| octet == b'\n');
    let (mut asked, mut stored) = (HeaderMap::new(), HeaderMap::new());
    let length = lines.next().map_or(0, |line| line.len().min(64) as u64);
    for name in [
        header::RANGE,
        header::IF_RANGE,
        header::IF_NONE_MATCH,
        header::IF_MODIFIED_SINCE,
    ] {
        put(&mut asked, name, lines.next());
    }
    for name in [
        header::ETAG,
        header::LAST_MODIFIED,
        header::DATE,
        header::CONTENT_TYPE,
    ] {
        put(&mut stored, name, lines.next());
    }
    if let Some(value) = lines.next()
        && let Some(ContentRange::Bytes { range, length }) = parse_content_range(value)
    {
        assert!(range.start < range.end && length.is_none_or(|length| range.end <= length));
        let written = forebay::fields::range::content_range(&range, length);
        assert_eq!(
            parse_content_range(written.as_bytes()),
            Some(ContentRange::Bytes { range, length })
        );
    }
    let truth: Vec<u8> = (0..length as u8).collect();
    let body = Body::new(vec![Bytes::from(truth.clone())]);
    let now = Moment::now();
    for (order, method) in [
        (Order::Any, Method::GET),
        (Order::Ascending, Method::GET),
        (Order::Any, Method::HEAD),
    ] {
        let view = StoredView::new(
            StatusCode::OK,
            Fields::Map(&stored),
            Some(length),
            None,
            order,
            now,
        );
        let plan = serve::plan(&method, &asked, &view);
        let (status, fields) = plan.head(&view);
        let sent: Vec<u8> = plan.body(&body).flatten().collect();
        assert_eq!(plan.length(Some(length)), Some(sent.len() as u64));
        let said = fields
            .get(header::CONTENT_LENGTH)
            .and_then(|value| value.to_str().ok()?.parse().ok());
        if method == Method::GET && status != StatusCode::NOT_MODIFIED {
            assert_eq!(said, Some(sent.len() as u64));
        }
        match &plan {
            Plan::Part { range, .. } => {
                assert_eq!(sent, truth[range.start as usize..range.end as usize]);
            }
            Plan::Parts(multipart) => {
                let octets: u64 = multipart
                    .pieces
                    .iter()
                    .map(|piece| match piece {
                        Piece::Frame(_) => 0,
                        Piece::Octets(range) => range.end - range.start,
                    })
                    .sum();
                assert!(octets <= length);
            }
            Plan::Whole => assert_eq!(sent, truth),
            _ => assert!(sent.is_empty()),
        }
    }
}

/// Dates are read back as written, and no age or lifetime overflows, whatever the fields say.
pub fn dates(data: &[u8]) {
    let mut lines = data.split(|&octet| octet == b'\n');
    let mut headers = HeaderMap::new();
    for name in [
        header::DATE,
        header::AGE,
        header::EXPIRES,
        header::LAST_MODIFIED,
        header::CACHE_CONTROL,
    ] {
        let line = lines.next();
        if let Some(time) = line.and_then(date::parse) {
            assert_eq!(date::parse(date::format(time).as_bytes()), Some(time));
        }
        put(&mut headers, name, line);
    }
    let received = received(200, &headers);
    let Ok(terms) = storable::evaluate(asked(&HeaderMap::new()), received, &Rules::default())
    else {
        return;
    };
    let mut age = Duration::ZERO;
    for after in [0, 1, 60, 1 << 31, 1 << 40] {
        let Some(then) = received.received.at.checked_add(Duration::from_secs(after)) else {
            continue;
        };
        assert!(terms.current_age(then) >= age);
        age = terms.current_age(then);
        assert_eq!(
            terms.is_fresh(then),
            terms.staleness(then).is_zero() && terms.lifetime.duration() > age
        );
        assert!(
            terms.remaining(then)
                <= i64::try_from(terms.lifetime.duration().as_secs()).unwrap_or(i64::MAX)
        );
        let _ = terms.age_field(then);
    }
}

/// Tags are read back as written, and a list contains what it is made of.
pub fn etags(data: &[u8]) {
    let lines: Vec<_> = data.split(|&octet| octet == b'\n').collect();
    let Some(list) = etag::parse_list(&lines) else {
        return;
    };
    if let etag::EntityTagList::Tags(tags) = &list {
        let written: Vec<_> = tags.iter().map(etag::EntityTag::to_header_value).collect();
        assert_eq!(
            etag::parse_list(written.iter().map(HeaderValue::as_bytes)).as_ref(),
            Some(&list)
        );
        for tag in tags {
            assert!(list.contains_weak(tag) && (tag.is_weak() || list.contains_strong(tag)));
            assert_eq!(
                etag::EntityTag::parse(tag.to_header_value().as_bytes()).as_ref(),
                Some(tag)
            );
        }
    }
}

/// However parts come together, no octet is ever one that the representation does not have there.
pub fn parts(data: &[u8]) {
    let [total, rest @ ..] = data else {
        return;
    };
    let truth: Vec<u8> = (0..=127).collect();
    let total = u64::from(total % 128);
    let mut held: Option<Partial> = None;
    for step in rest.chunks_exact(3) {
        let (start, length) = (u64::from(step[0] % 128), u64::from(step[1] % 32) + 1);
        let end = start + length;
        let said = if step[2] & 1 == 0 {
            total.to_string()
        } else {
            "*".to_owned()
        };
        if end > total {
            continue;
        }
        let mut fields = HeaderMap::new();
        let tag = if step[2] & 6 == 6 { "\"b\"" } else { "\"a\"" };
        // Another version has other octets.
        let octets: Vec<u8> = truth[start as usize..end as usize]
            .iter()
            .map(|octet| {
                if step[2] & 6 == 6 {
                    octet | 0x80
                } else {
                    *octet
                }
            })
            .collect();
        fields.insert(header::ETAG, HeaderValue::from_static(tag));
        let content_range = format!("bytes {start}-{}/{said}", end - 1);
        fields.insert(
            header::CONTENT_RANGE,
            HeaderValue::try_from(content_range).expect("digits"),
        );
        let nominated = Nominated::default();
        let part = Partial::from_206(
            fields,
            terms(),
            nominated,
            Arc::from("r"),
            Body::new(vec![octets.into()]),
            1 << 20,
        )
        .expect("a usable part");
        held = Some(match held.take() {
            None => part,
            Some(old) => match old.with(part, 1 << 20) {
                Combined::Partial(combined) | Combined::Replaced(combined) => combined,
                Combined::Complete(whole) => {
                    let octets: Vec<u8> = whole.body.pieces().flatten().collect();
                    check(&octets, 0, octets[0] & 0x80);
                    assert_eq!(octets.len() as u64, total);
                    return;
                }
            },
        });
        let held = held.as_ref().expect("just put there");
        let mut version = None;
        let mut before = None;
        for range in held.ranges().collect::<Vec<_>>() {
            assert!(range.start < range.end && before.is_none_or(|end| end < range.start));
            before = Some(range.end);
            let octets: Vec<u8> = held.answer(&range).expect("it is here").flatten().collect();
            assert_eq!(octets.len() as u64, range.end - range.start);
            let version = *version.get_or_insert(octets[0] & 0x80);
            check(&octets, range.start, version);
        }
        if let Some(missing) = held.missing_request() {
            assert!(
                missing
                    .end
                    .is_none_or(|end| missing.start < end && end <= total)
            );
        }
        let mut asked = HeaderMap::new();
        let range = format!("bytes={}-{}", step[1] % 64, step[0] % 128);
        asked.insert(header::RANGE, HeaderValue::try_from(range).expect("digits"));
        if let Some(plan) = held.plan(&Method::GET, &asked, Moment::now()) {
            let sent: u64 = held
                .body(&plan)
                .iter()
                .map(|piece| piece.len() as u64)
                .sum();
            assert_eq!(plan.length(held.total), Some(sent));
        }
    }
}

fn check(octets: &[u8], start: u64, version: u8) {
    for (at, octet) in octets.iter().enumerate() {
        assert_eq!(u64::from(octet & 0x7f), start + at as u64);
        assert_eq!(octet & 0x80, version, "of two versions");
    }
}

fn terms() -> Terms {
    Terms {
        received: Moment::now().at,
        initial_age: Duration::ZERO,
        lifetime: Lifetime::Explicit(Duration::from_secs(60)),
        when_stale: WhenStale::Windows,
        while_revalidate: Duration::ZERO,
        if_error: Duration::ZERO,
        if_unreachable: Duration::ZERO,
        immutable: false,
    }
}

fn asked(headers: &HeaderMap) -> Asked<'_> {
    Asked {
        method: &Method::GET,
        headers: headers.into(),
    }
}

fn received(status: u16, headers: &HeaderMap) -> Received<'_> {
    let now = Moment::now();
    Received {
        status: StatusCode::from_u16(status).expect("a status"),
        headers,
        requested: now,
        received: now,
    }
}
