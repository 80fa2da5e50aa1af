//! Whatever is asked for, lengths and octets are what they are said to be.

use super::*;
use crate::fields::range::{ContentRange, parse_content_range};
use proptest::prelude::*;

/// Splits a multipart body as a client does.
fn split_parts(body: &[u8], boundary: &str) -> Vec<(String, Vec<u8>)> {
    let text: String = body.iter().map(|&octet| char::from(octet)).collect();
    let delimiter = format!("\r\n--{boundary}");
    let mut parts: Vec<&str> = text.split(&delimiter).collect();
    assert_eq!(parts.pop(), Some("--\r\n"));
    assert_eq!(parts.remove(0), "");
    parts
        .into_iter()
        .map(|part| {
            let (head, octets) = part.split_once("\r\n\r\n").expect("a head");
            let (_, range) = head.split_once("Content-Range: ").expect("a range");
            let octets = octets
                .chars()
                .map(|c| u8::try_from(c as u32).expect("an octet"));
            (range.to_owned(), octets.collect())
        })
        .collect()
}

fn any_set() -> impl Strategy<Value = String> {
    let position = 0u64..70;
    let spec = prop_oneof![
        (position.clone(), 0u64..40).prop_map(|(first, more)| format!("{first}-{}", first + more)),
        position.clone().prop_map(|first| format!("{first}-")),
        position.prop_map(|length| format!("-{length}")),
    ];
    prop::collection::vec(spec, 1..19).prop_map(|specs| format!("bytes={}", specs.join(",")))
}

proptest! {
    /// Whatever is asked for, the body is as long as it is said to be, and each part is exactly the octets it says.
    #[test]
    fn parts_are_what_they_say(
        set in any_set(),
        body in prop::collection::vec(any::<u8>(), 0..64),
        cuts in prop::collection::vec(0usize..64, 0..6),
        get: bool,
    ) {
        let moment = received();
        let mut segments = Vec::new();
        let mut rest = Bytes::from(body.clone());
        for cut in cuts {
            segments.push(rest.split_to(cut.min(rest.len())));
        }
        segments.push(rest);
        let mut response = stored(200, &[], moment);
        response.body = Body::new(segments);
        let view = StoredView::stored(&response, moment);
        let method = if get { Method::GET } else { Method::HEAD };
        let plan = plan(&method, &map(&[(RANGE, set.as_str())]), &view);
        let (status, headers) = plan.head(&view);
        let sent: Vec<u8> = plan.body(&response.body).flatten().collect();
        prop_assert_eq!(plan.length(view.length), Some(sent.len() as u64));
        if get {
            prop_assert_eq!(&headers[CONTENT_LENGTH], &sent.len().to_string());
        }
        let whole = body.len() as u64;
        match &plan {
            Plan::Whole => prop_assert!(get && status == 200 && sent == body),
            Plan::HeadOnly => prop_assert!(!get && status == 200 && sent.is_empty()),
            Plan::NotModified => prop_assert!(false, "nobody asked"),
            Plan::Unsatisfiable { total } => prop_assert!(status == 416 && *total == whole && sent.is_empty()),
            Plan::Part { range, total } => {
                prop_assert_eq!(*total, Some(whole));
                let (start, end) = (usize::try_from(range.start)?, usize::try_from(range.end)?);
                prop_assert!(status == 206 && sent == body[start..end]);
            }
            Plan::Parts(multipart) => {
                let boundary = multipart.content_type.to_str()?.split_once("boundary=").map(|(_, b)| b);
                let parts = split_parts(&sent, boundary.unwrap_or_default());
                prop_assert!(status == 206 && (2..=16).contains(&parts.len()));
                let mut octets = 0;
                for (text, part) in parts {
                    let read = parse_content_range(text.as_bytes());
                    let Some(ContentRange::Bytes { range, length }) = read else {
                        return Err(TestCaseError::fail(text));
                    };
                    let (start, end) = (usize::try_from(range.start)?, usize::try_from(range.end)?);
                    prop_assert_eq!(length, Some(whole));
                    prop_assert_eq!(&part, &body[start..end]);
                    octets += part.len();
                }
                prop_assert!(octets <= body.len(), "never more than there is");
            }
        }
    }
}
