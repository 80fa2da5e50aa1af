//! Asking for what is missing, and what the answer means.

use super::*;

/// RFC 9111 §3.3: "completing a stored incomplete response by making a subsequent range request".
#[test]
fn what_is_missing_is_asked_for() {
    let two = |one: Range<u64>, other: Range<u64>, total| {
        partial(part(1, one, total).with(part(1, other, total), MOST))
    };
    for (stored, expected) in [
        (
            part(1, 0..10, Some(40)),
            Some((10, Some(40), "bytes=10-39")),
        ),
        (part(1, 0..10, None), Some((10, None, "bytes=10-"))),
        (part(1, 30..40, Some(40)), Some((0, Some(30), "bytes=0-29"))),
        (
            two(0..10, 30..40, Some(40)),
            Some((10, Some(30), "bytes=10-29")),
        ),
        (
            two(0..10, 20..30, Some(40)),
            Some((10, Some(40), "bytes=10-39")),
        ),
        (
            two(10..20, 30..40, Some(40)),
            Some((0, Some(30), "bytes=0-29")),
        ),
        // All is missing at both ends: nothing is saved.
        (part(1, 10..20, Some(40)), None),
        (part(1, 10..20, None), None),
    ] {
        let missing = stored.missing_request();
        let seen = missing.as_ref().map(|missing| {
            let [(_, range), (_, if_range)] = &missing.fields;
            assert_eq!(if_range, "\"v1\"");
            (missing.start, missing.end, range.to_str().expect("ASCII"))
        });
        assert_eq!(seen, expected, "{:?}", held(&stored));
    }
}

#[test]
fn the_answer_to_what_was_missing() {
    let stored = part(1, 0..10, Some(40));
    let missing = stored.missing_request().expect("the end");
    let unknown = part(1, 0..10, None);
    let rest = unknown.missing_request().expect("the end");
    let tag = (ETAG, "\"v1\"");
    for (stored, missing, status, fields, expected) in [
        (
            &stored,
            &missing,
            206,
            vec![tag.clone(), (CONTENT_RANGE, "bytes 10-39/40")],
            Fit::Completes(10..40),
        ),
        (
            &stored,
            &missing,
            206,
            vec![tag.clone(), (CONTENT_RANGE, "bytes 10-39/*")],
            Fit::Completes(10..40),
        ),
        (
            &stored,
            &missing,
            206,
            vec![tag.clone(), (CONTENT_RANGE, "bytes 10-38/40")],
            Fit::Drop,
        ),
        (
            &stored,
            &missing,
            206,
            vec![tag.clone(), (CONTENT_RANGE, "bytes 11-39/40")],
            Fit::Drop,
        ),
        (
            &stored,
            &missing,
            206,
            vec![tag.clone(), (CONTENT_RANGE, "bytes 10-40/41")],
            Fit::Drop,
        ),
        (
            &stored,
            &missing,
            206,
            vec![(ETAG, "\"v2\""), (CONTENT_RANGE, "bytes 10-39/40")],
            Fit::Drop,
        ),
        (&stored, &missing, 206, vec![tag.clone()], Fit::Drop),
        (
            &unknown,
            &rest,
            206,
            vec![tag.clone(), (CONTENT_RANGE, "bytes 10-39/40")],
            Fit::Completes(10..40),
        ),
        // Where nobody tells the length, nobody knows that this is all.
        (
            &unknown,
            &rest,
            206,
            vec![tag.clone(), (CONTENT_RANGE, "bytes 10-39/*")],
            Fit::Drop,
        ),
        (&stored, &missing, 200, vec![tag.clone()], Fit::Replaces),
        (&stored, &missing, 404, vec![], Fit::Replaces),
        (
            &stored,
            &missing,
            416,
            vec![(CONTENT_RANGE, "bytes */5")],
            Fit::Drop,
        ),
        (&stored, &missing, 503, vec![], Fit::Keep),
        (&stored, &missing, 429, vec![], Fit::Keep),
    ] {
        let status = StatusCode::from_u16(status).expect("a status");
        let fit = stored.judge(missing, status, &map(&fields));
        assert_eq!(fit, expected, "{status} {fields:?}");
    }
    let fields = map(&[
        tag,
        (CONTENT_RANGE, "bytes 10-39/40"),
        (CONTENT_LENGTH, "30"),
    ]);
    let head = PartHead::new(&fields).expect("usable");
    let whole = unknown.completed_fields(&head, &fields);
    assert_eq!(whole[CONTENT_LENGTH], "40");
    assert!(!whole.contains_key(CONTENT_RANGE));
}
