//! What is sent of what is stored: ranges, conditions, ages, parts that come together.

use super::{asked, put, received};
use bytes::Bytes;
use forebay::cache::body::Body;
use forebay::cache::partial::{Combined, Partial};
use forebay::cache::policy::{Lifetime, Moment, Terms, WhenStale, storable};
use forebay::cache::serve::{self, Fields, Order, Piece, Plan, StoredView};
use forebay::cache::settings::Rules;
use forebay::cache::vary::Nominated;
use forebay::fields::range::{ContentRange, parse_content_range};
use forebay::fields::{date, etag};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use std::sync::Arc;
use std::time::Duration;

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
        purged: false,
    }
}
