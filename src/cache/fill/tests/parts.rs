//! Parts: kept from what was forwarded, served, put together, and made whole by a fetch of the rest.

use super::rig::{FRESH, Fields, Rig, after, body, event, read, response};
use crate::cache::fill::{Event, Wanted};
use crate::cache::lookup::{Answer, Lead};
use crate::cache::outcome::ForwardReason;
use crate::cache::policy::Moment;
use bytes::Bytes;
use http::header::{IF_RANGE, RANGE};

const WHOLE: &str = "0123456789";

/// The fields of a part of ten octets.
fn part_of(content_range: &str) -> Vec<(&str, &str)> {
    [FRESH, &[("content-range", content_range)]].concat()
}

impl Rig {
    /// A request for a range that the origin answers with a part.
    fn fetch_part(&self, range: &str, fields: Fields<'_>, octets: &'static str) {
        let forward = self.forward("GET", "/", &[("range", range)]);
        if let Some(mut tee) = self.forwarded(forward, 206, fields) {
            tee.data(Bytes::from_static(octets.as_bytes()));
            tee.end();
        }
    }

    /// What a request for a range is given of what is stored in part.
    fn served(&self, range: &str) -> Option<String> {
        match self.ask("GET", "/", &[("range", range)]) {
            Answer::ServePart(serve) => {
                let octets = serve.part.partial().body(&serve.plan).concat();
                Some(String::from_utf8(octets).expect("text"))
            }
            _ => None,
        }
    }
}

impl Lead {
    fn asks(&self) -> (Option<&str>, Option<&str>) {
        let field = |name| self.request.get(name).and_then(|it| it.to_str().ok());
        (field(RANGE), field(IF_RANGE))
    }
}

#[tokio::test(start_paused = true)]
async fn a_part_is_kept_and_answers_what_it_holds() {
    let rig = Rig::new();
    rig.fetch_part("bytes=2-5", &part_of("bytes 2-5/10"), "2345");
    assert_eq!(rig.served("bytes=3-4").as_deref(), Some("34"));
    for range in ["bytes=1-2", "bytes=5-6", "bytes=-2", "bytes=4-"] {
        let forward = rig.forward("GET", "/", &[("range", range)]);
        assert_eq!(forward.outcome.forward, Some(ForwardReason::Partial));
    }
    rig.assert_idle();
    after(61).await;
    assert_eq!(rig.served("bytes=3-4"), None, "it is stale");
    // The next part of the same renews it.
    rig.fetch_part("bytes=6-6", &part_of("bytes 6-6/10"), "6");
    assert_eq!(rig.served("bytes=3-6").as_deref(), Some("3456"));
}

#[tokio::test(start_paused = true)]
async fn parts_become_a_whole_and_versions_are_never_mixed() {
    let rig = Rig::new();
    rig.fetch_part("bytes=0-4", &part_of("bytes 0-4/10"), "01234");
    rig.fetch_part("bytes=5-9", &part_of("bytes 5-9/10"), "56789");
    assert_eq!(body(&rig.serve("/", &[]).response), WHOLE);

    let rig = Rig::new();
    rig.fetch_part("bytes=0-4", &part_of("bytes 0-4/10"), "01234");
    let other = [
        ("cache-control", "max-age=60"),
        ("etag", "\"2\""),
        ("content-range", "bytes 5-9/10"),
    ];
    rig.fetch_part("bytes=5-9", &other, "fghij");
    assert_eq!(rig.served("bytes=0-4"), None);
    assert_eq!(rig.served("bytes=5-9").as_deref(), Some("fghij"));
    rig.assert_idle();
}

#[tokio::test(start_paused = true)]
async fn what_is_not_kept() {
    let weak = [("etag", "W/\"1\"")];
    let none = [("cache-control", "no-store")];
    for (why, fields, octets) in [
        ("a weak validator", &weak[..], "2345"),
        ("no-store", &none[..], "2345"),
        ("it is shorter than it said", FRESH, "234"),
        ("it is longer than it said", FRESH, "23456"),
    ] {
        let range = [
            ("content-range", "bytes 2-5/10"),
            ("cache-control", "max-age=60"),
        ];
        let rig = Rig::new();
        rig.fetch_part("bytes=2-5", &[fields, &range].concat(), octets);
        assert_eq!(rig.served("bytes=3-4"), None, "{why}");
        rig.assert_idle();
    }
    // The whole would be larger than what is stored.
    let rig = Rig::new();
    rig.fetch_part("bytes=2-5", &part_of("bytes 2-5/9999999"), "2345");
    assert_eq!(rig.served("bytes=3-4"), None);
    // It did not come to its end.
    let forward = rig.forward("GET", "/", &[("range", "bytes=2-5")]);
    let tee = rig.forwarded(forward, 206, &part_of("bytes 2-5/10"));
    let mut tee = tee.expect("it may be kept");
    tee.data(Bytes::from_static(b"2345"));
    drop(tee);
    assert_eq!(rig.served("bytes=3-4"), None);
    rig.assert_idle();
}

#[tokio::test(start_paused = true)]
async fn a_part_that_may_lack_fields_is_kept_beside_others_only() {
    let rig = Rig::new();
    let asked = [("range", "bytes=2-5"), ("if-range", "\"1\"")];
    let fetch = || {
        let forward = rig.forward("GET", "/", &asked);
        let mut tee = rig
            .forwarded(forward, 206, &part_of("bytes 2-5/10"))
            .expect("it may be kept");
        tee.data(Bytes::from_static(b"2345"));
        tee.end();
    };
    fetch();
    assert_eq!(rig.served("bytes=2-5"), None);
    rig.fetch_part("bytes=6-6", &part_of("bytes 6-6/10"), "6");
    fetch();
    assert_eq!(rig.served("bytes=2-6").as_deref(), Some("23456"));
}

#[tokio::test(start_paused = true)]
async fn a_write_overtakes_a_part() {
    let rig = Rig::new();
    let write = || {
        let forward = rig.forward("PUT", "/", &[]);
        assert!(rig.forwarded(forward, 204, &[]).is_none());
    };
    // Sent before the write, answered after it.
    let forward = rig.forward("GET", "/", &[("range", "bytes=0-4")]);
    write();
    if let Some(mut tee) = rig.forwarded(forward, 206, &part_of("bytes 0-4/10")) {
        tee.data(Bytes::from_static(b"01234"));
        tee.end();
    }
    assert_eq!(rig.served("bytes=0-4"), None);
    rig.fetch_part("bytes=0-4", &part_of("bytes 0-4/10"), "01234");
    assert!(rig.served("bytes=0-4").is_some());
    write();
    assert_eq!(rig.served("bytes=0-4"), None);
    rig.assert_idle();
}

#[tokio::test(start_paused = true)]
async fn the_whole_takes_the_place_of_its_parts() {
    let rig = Rig::new();
    rig.fetch_part("bytes=2-4", &part_of("bytes 2-4/10"), "234");
    // Neither its beginning nor its end is here: asking for all is as good.
    let (mut lead, _follower) = rig.lead("/", &[]);
    assert_eq!(lead.asks(), (None, None));
    lead.head(200, FRESH);
    lead.data(WHOLE);
    lead.writer.end();
    assert_eq!(rig.served("bytes=2-4"), None, "it is served of the whole");
    assert_eq!(
        body(&rig.serve("/", &[("range", "bytes=2-4")]).response),
        WHOLE
    );
}

#[tokio::test(start_paused = true)]
async fn the_rest_is_fetched_for_those_who_want_all() {
    for (held, octets, asked, rest, parts) in [
        (
            "bytes 0-3/10",
            "0123",
            "bytes=4-9",
            "bytes 4-9/10",
            ["45", "6789"],
        ),
        (
            "bytes 7-9/10",
            "789",
            "bytes=0-6",
            "bytes 0-6/10",
            ["012345", "6"],
        ),
        (
            "bytes 0-3/*",
            "0123",
            "bytes=4-",
            "bytes 4-9/10",
            ["456", "789"],
        ),
        (
            "bytes 7-9/10",
            "789",
            "bytes=0-6",
            "bytes 0-8/10",
            ["012345", "678"],
        ),
    ] {
        let rig = Rig::new();
        rig.fetch_part("bytes=1-", &part_of(held), octets);
        let (mut lead, mut first) = rig.lead("/", &[]);
        assert_eq!(lead.asks(), (Some(asked), Some("\"1\"")));
        let mut second = rig.follow("/", &[]);
        assert_eq!(lead.head(206, &part_of(rest)), Wanted::Body);
        match event(&mut first) {
            Some(Event::Response(head, outcome)) => {
                assert_eq!((head.status.as_u16(), head.length), (200, Some(10)));
                assert_eq!(head.fields["content-length"], "10");
                assert!(!head.fields.contains_key("content-range"));
                assert!(outcome.stored);
                assert_eq!(outcome.forward, Some(ForwardReason::Partial));
            }
            other => panic!("{other:?}"),
        }
        let begin = if octets.starts_with('0') { octets } else { "" };
        assert_eq!(read(&mut first), (begin.into(), None), "what is here");
        for part in parts {
            lead.data(part);
        }
        lead.writer.end();
        let (text, end) = read(&mut first);
        assert_eq!(
            (format!("{begin}{text}").as_str(), end),
            (WHOLE, Some("end"))
        );
        assert_eq!(response(&mut second), (true, true));
        assert_eq!(read(&mut second), (WHOLE.into(), Some("end")));
        assert_eq!(body(&rig.serve("/", &[]).response), WHOLE);
        rig.assert_idle();
    }
}

#[tokio::test(start_paused = true)]
async fn a_rest_that_is_short_or_long_is_seen_to_be_cut() {
    for rest in ["45678", "4567890"] {
        let rig = Rig::new();
        rig.fetch_part("bytes=0-3", &part_of("bytes 0-3/10"), "0123");
        let (mut lead, mut first) = rig.lead("/", &[]);
        lead.head(206, &part_of("bytes 4-9/10"));
        response(&mut first);
        lead.data(rest);
        lead.writer.end();
        assert_eq!(read(&mut first).1, Some("cut"));
        assert!(matches!(rig.get("/"), Answer::Lead(..)));
    }
}

#[tokio::test(start_paused = true)]
async fn what_else_may_come_for_the_rest() {
    let other: Fields<'_> = &[("cache-control", "max-age=60"), ("etag", "\"2\"")];
    let part = [other, &[("content-range", "bytes 4-9/10")]].concat();
    // The origin has something else, or nothing there: what is here is dropped and all of it asked for.
    for (status, fields) in [
        (206, &part[..]),
        (206, &part_of("bytes 5-9/10")[..]),
        (206, &part_of("bytes 4-9/11")[..]),
        (416, &[("content-range", "bytes */3")][..]),
    ] {
        let rig = Rig::new();
        rig.fetch_part("bytes=0-3", &part_of("bytes 0-3/10"), "0123");
        let (mut lead, mut first) = rig.lead("/", &[]);
        assert_eq!(lead.head(status, fields), Wanted::Nothing);
        assert!(matches!(event(&mut first), Some(Event::AskAgain)));
        let (lead, _again) = rig.lead("/", &[]);
        assert_eq!(lead.asks(), (None, None), "{status} {fields:?}");
    }
    // All of it, which takes the place of what is here.
    let rig = Rig::new();
    rig.fetch_part("bytes=0-3", &part_of("bytes 0-3/10"), "0123");
    let (mut lead, mut first) = rig.lead("/", &[]);
    lead.head(200, other);
    lead.data("abc");
    lead.writer.end();
    response(&mut first);
    assert_eq!(read(&mut first), ("abc".into(), Some("end")));
    assert_eq!(body(&rig.serve("/", &[]).response), "abc");
    // Trouble says nothing of what is here.
    let rig = Rig::new();
    rig.fetch_part("bytes=0-3", &part_of("bytes 0-3/10"), "0123");
    let (mut lead, mut first) = rig.lead("/", &[]);
    lead.writer.requested(Moment::now());
    lead.head(503, &[]);
    match event(&mut first) {
        Some(Event::Response(head, _)) => assert_eq!(head.status.as_u16(), 503),
        other => panic!("{other:?}"),
    }
    drop(lead);
    assert_eq!(rig.served("bytes=0-3").as_deref(), Some("0123"));
}

#[tokio::test(start_paused = true)]
async fn parts_of_other_requests_are_not_used() {
    let rig = Rig::new();
    let asked = |kind, range| [("x-kind", kind), ("range", range)];
    let fields = [&part_of("bytes 0-3/10")[..], &[("vary", "x-kind")]].concat();
    let forward = rig.forward("GET", "/", &asked("a", "bytes=0-3"));
    let mut tee = rig.forwarded(forward, 206, &fields).expect("kept");
    tee.data(Bytes::from_static(b"0123"));
    tee.end();
    let same = rig.ask("GET", "/", &asked("a", "bytes=1-2"));
    assert!(matches!(same, Answer::ServePart(_)), "{same:?}");
    let other = rig.forward("GET", "/", &asked("b", "bytes=1-2"));
    assert_eq!(other.outcome.forward, Some(ForwardReason::VaryMiss));
}
