//! Of a response that is still coming.

use super::*;
use crate::cache::fill::Head;
use crate::cache::purge::tags::Tags;

#[test]
fn a_response_in_flight() {
    let moment = received();
    let head = |length| Head {
        own: HeaderMap::new(),
        status: StatusCode::OK,
        fields: map(&[(ETAG, "\"a\"")]),
        length,
        terms: Some(terms(moment)),
        tags: Tags::default(),
    };
    let (known, unknown) = (head(Some(10)), head(None));
    let plan_of = |head: &Head, request: &[(HeaderName, &str)]| {
        plan(
            &Method::GET,
            &map(request),
            &StoredView::in_flight(head, moment),
        )
    };
    let part = Plan::Part {
        range: 2..4,
        total: Some(10),
    };
    assert_eq!(plan_of(&known, &[(RANGE, "bytes=2-3")]), part);
    // Of an unknown length no range can be answered.
    for range in ["bytes=2-3", "bytes=2-", "bytes=-1"] {
        assert_eq!(plan_of(&unknown, &[(RANGE, range)]), Plan::Whole, "{range}");
    }
    assert_eq!(
        plan_of(&unknown, &[(IF_NONE_MATCH, "\"a\"")]),
        Plan::NotModified
    );
    let view = StoredView::in_flight(&unknown, moment);
    let (status, headers) = Plan::Whole.head(&view);
    assert_eq!((status.as_u16(), headers.get(CONTENT_LENGTH)), (200, None));
    assert_eq!(Plan::Whole.length(view.length), None);
    assert_eq!(
        Plan::Whole.pieces(view.length),
        [Piece::Octets(0..u64::MAX)]
    );
    // What streams by is taken in its own order.
    let Plan::Parts(multipart) = plan_of(&known, &[(RANGE, "bytes=8-,0-1")]) else {
        panic!("several parts");
    };
    let octets = multipart
        .pieces
        .into_iter()
        .filter_map(|piece| match piece {
            Piece::Octets(range) => Some(range),
            Piece::Frame(_) => None,
        });
    assert_eq!(octets.collect::<Vec<_>>(), [0..2, 8..10]);
}
