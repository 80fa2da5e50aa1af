//! One fetch and those who share it: who gets the body, who is sent away, what is stored, who paces whom.

use super::rig::{
    FRESH, NO_STORE, OBJECT, Rig, after, body, data, event, headers, read, response, sent_away,
};
use crate::cache::fill::{Data, Event, Wanted};
use crate::cache::lookup::{Answer, Lead};
use crate::cache::outcome::Reason;
use bytes::Bytes;
use http::StatusCode;

const CHUNK: usize = 32 * 1024;

const OBJECT_LENGTH: usize = 64 * 1024;

fn chunk(length: usize) -> Bytes {
    vec![b'x'; length].into()
}

#[tokio::test(start_paused = true)]
async fn everybody_streams_one_fetch_and_it_is_stored() {
    let rig = Rig::new();
    let (mut lead, mut first) = rig.lead("/", &[]);
    let mut second = rig.follow("/", &[]);
    assert!(event(&mut first).is_none());
    assert_eq!(lead.head(200, FRESH), Wanted::Body);
    assert_eq!(response(&mut first), (true, false));
    assert_eq!(response(&mut second), (true, true));
    lead.data("abc");
    assert_eq!(read(&mut first), ("abc".into(), None));
    // Whoever comes now starts at once with what is there.
    let mut late = rig.follow("/", &[]);
    assert_eq!(response(&mut late), (true, true));
    assert_eq!(read(&mut late), ("abc".into(), None));
    lead.data("def");
    lead.writer.end();
    assert_eq!(read(&mut first), ("def".into(), Some("end")));
    assert_eq!(read(&mut second), ("abcdef".into(), Some("end")));
    assert_eq!(read(&mut late), ("def".into(), Some("end")));
    let serve = rig.serve("/", &[]);
    assert_eq!(body(&serve.response), "abcdef");
    assert!(serve.outcome.hit);
    let fields = serve.response.fields().to_header_map();
    assert_eq!(fields["content-length"], "6");
    assert_eq!(rig.cache.engine.metrics.collapsed(), 2);
    rig.assert_idle();
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_shared_frees_all_others_at_its_head_and_is_remembered() {
    let rig = Rig::new();
    let (mut lead, mut first) = rig.lead("/", &[("cookie", "who=me")]);
    let mut second = rig.follow("/", &[]);
    assert_eq!(lead.head(200, NO_STORE), Wanted::Body);
    assert_eq!(sent_away(&mut second), "no-store");
    assert_eq!(response(&mut first), (false, false));
    let next = rig.forward("GET", "/", &[]);
    assert_eq!(next.outcome.reason, Some(Reason::HitForMiss));
    lead.data("mine");
    lead.writer.end();
    assert_eq!(read(&mut first), ("mine".into(), Some("end")));
    // A forwarded request's answer that could be shared ends it.
    assert!(rig.forwarded(next, 200, FRESH).is_none());
    drop(rig.lead("/", &[]));
    rig.assert_idle();
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_shared_is_forgotten_after_its_time() {
    let rig = Rig::new();
    let (mut lead, _first) = rig.lead("/", &[]);
    lead.head(200, NO_STORE);
    let next = rig.forward("GET", "/", &[]);
    rig.forwarded(next, 200, NO_STORE);
    after(119).await;
    rig.forward("GET", "/", &[]);
    after(1).await;
    drop(rig.lead("/", &[]));
}

#[tokio::test(start_paused = true)]
async fn what_one_client_asked_for_with_its_credentials_says_nothing_about_others() {
    let rig = Rig::new();
    let credentials = &[("authorization", "Basic x")];
    let (mut lead, _first) = rig.lead("/", credentials);
    lead.head(200, FRESH);
    assert_eq!(
        rig.forward("GET", "/", credentials).outcome.reason,
        Some(Reason::HitForMiss)
    );
    let (mut other, _second) = rig.lead("/", &[]);
    assert_eq!(other.head(200, FRESH), Wanted::Body);
}

#[tokio::test(start_paused = true)]
async fn a_response_is_never_given_to_others_when_the_one_it_was_made_for_has_left() {
    let rig = Rig::new();
    let (mut lead, first) = rig.lead("/", &[("cookie", "who=me")]);
    let mut second = rig.follow("/", &[]);
    drop(first);
    assert_eq!(lead.head(200, NO_STORE), Wanted::Nothing);
    assert_eq!(sent_away(&mut second), "no-store");
    rig.assert_idle();
}

#[tokio::test(start_paused = true)]
async fn a_fetch_goes_on_without_clients_as_long_as_the_account_allows() {
    let rig = Rig::new();
    let mut leads = Vec::new();
    for path in ["/1", "/2", "/3"] {
        let (lead, follower) = rig.lead(path, &[]);
        drop(follower);
        leads.push(lead);
    }
    let cancelled: Vec<bool> = leads.iter_mut().map(Lead::is_cancelled).collect();
    assert_eq!(cancelled, [false, false, true]);
    // It is not joined any more, and does not keep others from fetching.
    let (mut again, follower_of_3) = rig.lead("/3", &[]);
    assert_eq!(leads[2].head(200, FRESH), Wanted::Nothing);
    assert_eq!(again.head(200, FRESH), Wanted::Body);
    // One that somebody comes back to is no longer abandoned.
    let back = rig.follow("/1", &[]);
    let (mut fourth, follower) = rig.lead("/4", &[]);
    drop(follower);
    assert!(!fourth.is_cancelled());
    leads[1].head(200, FRESH);
    leads[1].data("kept");
    leads[1].writer.end();
    assert_eq!(body(&rig.serve("/2", &[]).response), "kept");
    drop((leads, again, fourth));
    drop((back, follower_of_3));
    rig.assert_idle();
}

#[tokio::test(start_paused = true)]
async fn a_fetch_without_a_server_ends_with_its_last_client() {
    let rig = Rig::new();
    let (mut lead, first) = rig.lead("/1", &[]);
    lead.writer.hold(true);
    let second = rig.follow("/1", &[]);
    drop(first);
    assert!(!lead.is_cancelled());
    drop(second);
    assert!(lead.is_cancelled());
    drop(lead);
    // Sent, left, and to be tried again: nobody waits for that.
    let (mut lead, only) = rig.lead("/2", &[]);
    lead.writer.hold(true);
    lead.writer.hold(false);
    drop(only);
    assert!(!lead.is_cancelled());
    lead.writer.hold(true);
    assert!(lead.is_cancelled());
    drop(lead);
    rig.assert_idle();
}

#[tokio::test(start_paused = true)]
async fn what_is_not_stored_ends_with_its_client() {
    let rig = Rig::new();
    let (mut lead, first) = rig.lead("/", &[]);
    lead.head(200, NO_STORE);
    lead.data("x");
    assert!(!lead.is_cancelled());
    drop(first);
    assert!(lead.is_cancelled());
    drop(lead);
    rig.assert_idle();
}

#[tokio::test(start_paused = true)]
async fn failure_before_the_head_is_told_to_all_and_blocks_nobody() {
    let rig = Rig::new();
    let (lead, mut first) = rig.lead("/", &[]);
    let mut second = rig.follow("/", &[]);
    drop(lead);
    for follower in [&mut first, &mut second] {
        let Some(Event::Failed(failure)) = event(follower) else {
            panic!("a failure");
        };
        assert_eq!(failure.status, StatusCode::BAD_GATEWAY);
    }
    drop(rig.lead("/", &[]));
    rig.assert_idle();
}

#[tokio::test(start_paused = true)]
async fn a_body_that_breaks_off_is_seen_to_be_cut_and_not_stored() {
    // How the fetch ends, after a head that promises `length` octets and a body of three.
    for (how, length, whole) in [
        ("drop", None, false),
        ("end", Some("4"), false),
        ("end", Some("2"), false),
        ("end", Some("3"), true),
        ("end", None, true),
    ] {
        let rig = Rig::new();
        let (mut lead, mut first) = rig.lead("/", &[]);
        let mut fields = FRESH.to_vec();
        fields.extend(length.map(|length| ("content-length", length)));
        assert_eq!(lead.head(200, &fields), Wanted::Body);
        assert_eq!(response(&mut first), (true, false));
        lead.data("abc");
        if how == "end" {
            lead.writer.end();
        }
        drop(lead);
        let expected = if whole { "end" } else { "cut" };
        assert_eq!(read(&mut first).1, Some(expected), "{how} {length:?}");
        match rig.get("/") {
            Answer::Serve(_) => assert!(whole, "{how} {length:?}"),
            Answer::Lead(..) => assert!(!whole, "{how} {length:?}"),
            other => panic!("{other:?}"),
        }
        rig.assert_idle();
    }
}

#[tokio::test(start_paused = true)]
async fn a_known_length_beyond_the_limit_is_for_its_own_client() {
    let rig = Rig::new();
    let (mut lead, mut first) = rig.lead("/", &[]);
    let mut second = rig.follow("/", &[]);
    let length = (OBJECT + 1).to_string();
    let fields = [FRESH, &[("content-length", length.as_str())]].concat();
    assert_eq!(lead.head(200, &fields), Wanted::Body);
    assert_eq!(response(&mut first), (false, false));
    assert_eq!(sent_away(&mut second), "too-large");
    let next = rig.forward("GET", "/", &[("range", "bytes=0-")]);
    // Neither a part nor a response of unknown length shows that the whole would fit.
    rig.forwarded(next, 206, FRESH);
    let next = rig.forward("GET", "/", &[]);
    rig.forwarded(next, 200, FRESH);
    rig.forward("GET", "/", &[]);
}

#[tokio::test(start_paused = true)]
async fn past_the_limit_it_goes_on_for_those_who_are_there_and_they_pace_it() {
    let rig = Rig::new();
    let (mut lead, mut quick) = rig.lead("/", &[]);
    let mut slow = rig.follow("/", &[]);
    lead.head(200, FRESH);
    response(&mut quick);
    response(&mut slow);
    for _ in 0..OBJECT_LENGTH / CHUNK {
        assert!(lead.is_ready());
        lead.writer.data(chunk(CHUNK));
    }
    drop(rig.follow("/", &[]));
    lead.writer.data(chunk(CHUNK));
    // Nobody joins any more.
    assert_eq!(
        rig.forward("GET", "/", &[]).outcome.reason,
        Some(Reason::HitForMiss)
    );
    let mut written = OBJECT_LENGTH + CHUNK;
    while lead.is_ready() {
        lead.writer.data(chunk(CHUNK));
        written += CHUNK;
    }
    assert_eq!(written, 256 * 1024, "the window");
    let (text, _) = read(&mut quick);
    assert_eq!(text.len(), written);
    assert!(!lead.is_ready(), "the slow one is still there");
    assert!(matches!(data(&mut slow), Some(Data::Chunk(_))));
    assert!(lead.is_ready(), "it has moved");
    lead.writer.data(chunk(CHUNK));
    assert!(!lead.is_ready());
    lead.writer.end();
    assert_eq!(read(&mut quick).0.len(), CHUNK);
    // Not one octet is missing: what was let go of had been read by both.
    assert_eq!(read(&mut slow), ("x".repeat(written), Some("end")));
    rig.assert_idle();
}

#[tokio::test(start_paused = true)]
async fn patience_with_the_slowest_ends() {
    let rig = Rig::new();
    let (mut lead, mut quick) = rig.lead("/", &[]);
    let mut slow = rig.follow("/", &[]);
    lead.head(200, FRESH);
    response(&mut quick);
    response(&mut slow);
    while lead.is_ready() {
        lead.writer.data(chunk(CHUNK));
        read(&mut quick);
    }
    after(29).await;
    assert!(!lead.is_ready());
    after(1).await;
    assert!(lead.is_ready(), "the slow one was cut");
    lead.writer.data(chunk(CHUNK));
    assert_eq!(read(&mut slow).1, Some("cut"));
    assert!(read(&mut quick).0.len() >= CHUNK);
    // With the last one gone it is given up.
    drop(quick);
    assert!(lead.is_cancelled());
}

#[tokio::test(start_paused = true)]
async fn one_who_holds_nobody_back_may_be_as_slow_as_its_connection_allows() {
    let rig = Rig::new();
    let (mut lead, mut only) = rig.lead("/", &[]);
    lead.head(200, NO_STORE);
    response(&mut only);
    while lead.is_ready() {
        lead.writer.data(chunk(CHUNK));
    }
    after(3600).await;
    assert!(!lead.is_ready());
    assert_eq!(read(&mut only), ("x".repeat(256 * 1024), None));
    assert!(lead.is_ready());
}

#[tokio::test(start_paused = true)]
async fn a_slow_follower_never_paces_what_is_stored() {
    let rig = Rig::new();
    let (mut lead, mut slow) = rig.lead("/", &[]);
    lead.head(200, FRESH);
    response(&mut slow);
    for _ in 0..OBJECT / 1024 {
        assert!(lead.is_ready());
        lead.writer.data(chunk(1024));
    }
    lead.writer.end();
    assert_eq!(rig.serve("/", &[]).response.body_length(), OBJECT);
    assert_eq!(read(&mut slow).0.len() as u64, OBJECT);
    rig.assert_idle();
}

#[tokio::test(start_paused = true)]
async fn when_the_in_flight_budget_is_out_nothing_is_stored_and_nothing_grows() {
    let rig = Rig::new();
    let length = OBJECT.to_string();
    let fields = [FRESH, &[("content-length", length.as_str())]].concat();
    let mut fetches: Vec<_> = ["/1", "/2", "/3", "/4"]
        .map(|path| rig.lead(path, &[]))
        .into();
    let stored: Vec<bool> = fetches
        .iter_mut()
        .map(|(lead, follower)| {
            lead.head(200, &fields);
            response(follower).0
        })
        .collect();
    assert_eq!(stored, [true, true, true, false]);
    // One of unknown length turns when it needs more than there is.
    let (mut lead, mut follower) = rig.lead("/5", &[]);
    lead.head(200, FRESH);
    assert!(!response(&mut follower).0);
    let mut written = 0;
    while lead.is_ready() {
        lead.writer.data(chunk(CHUNK));
        written += CHUNK;
    }
    assert_eq!(written, 256 * 1024);
    drop(fetches);
    drop((lead, follower));
    rig.assert_idle();
}

#[tokio::test(start_paused = true)]
async fn interim_responses_are_for_the_one_who_asked() {
    let rig = Rig::new();
    let (mut lead, mut first) = rig.lead("/", &[]);
    let mut second = rig.follow("/", &[]);
    let hints = headers(&[("link", "</a.css>; rel=preload")]);
    for status in [StatusCode::CONTINUE, StatusCode::EARLY_HINTS] {
        lead.writer.interim(status, hints.clone());
    }
    let mut late = rig.follow("/", &[]);
    lead.head(200, FRESH);
    match event(&mut first) {
        Some(Event::Interim(status, fields)) => {
            assert_eq!((status.as_u16(), &*fields), (103, &hints));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(response(&mut first), (true, false));
    assert_eq!(response(&mut second), (true, true));
    assert_eq!(response(&mut late), (true, true));
}

#[tokio::test(start_paused = true)]
async fn a_follower_goes_forward_to_the_octet_it_wants() {
    let rig = Rig::new();
    let (mut lead, mut first) = rig.lead("/", &[("range", "bytes=0-")]);
    let mut second = rig.follow("/", &[("range", "bytes=5-")]);
    lead.head(200, FRESH);
    response(&mut first);
    response(&mut second);
    lead.data("abc");
    assert!(second.seek(5), "near enough to wait for");
    assert!(data(&mut second).is_none());
    lead.data("defg");
    assert_eq!(read(&mut second), ("fg".into(), None));
    assert!(!second.seek(1), "never back");
    assert!(!second.seek(1 << 40), "too far");
    lead.writer.end();
    assert_eq!(read(&mut first), ("abcdefg".into(), Some("end")));
}

#[tokio::test(start_paused = true)]
async fn parts_are_fetched_as_they_were_asked_for() {
    let rig = Rig::new();
    for range in ["bytes=1-", "bytes=0-5", "bytes=-5", "bytes=0-,1-"] {
        let forward = rig.forward("GET", "/", &[("range", range)]);
        assert_eq!(
            forward.outcome.reason,
            Some(Reason::RangeUncached),
            "{range}"
        );
    }
    for range in ["bytes=0-", "lines=1-2", "bytes=x"] {
        drop(rig.lead("/", &[("range", range)]));
    }
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_may_answer_a_get_is_stored_after_it_has_invalidated() {
    let rig = Rig::new();
    rig.store("/", &[], FRESH, "old");
    let forward = rig.forward("POST", "/", &[]);
    let fields = [FRESH, &[("content-location", "/")]].concat();
    let mut writer = rig.forwarded(forward, 200, &fields).expect("a writer");
    writer.data(Bytes::from_static(b"new"));
    writer.end();
    assert_eq!(body(&rig.serve("/", &[]).response), "new");
    rig.assert_idle();
}
