//! Validation, and what stands in for an origin that is in trouble.

use super::rig::{FRESH, NO_STORE, Rig, after, body, event, read, response, sent_away};
use crate::cache::fill::{Event, Failure, Follower, Wanted};
use crate::cache::lookup::Answer;
use crate::cache::outcome::{Outcome, Reason};
use crate::cache::policy::stale::Trouble;
use http::StatusCode;
use std::time::Duration;

const UNREACHABLE: Failure = Failure {
    status: StatusCode::SERVICE_UNAVAILABLE,
    word: "connect",
    retry_after: None,
    trouble: Trouble::Unreachable,
    held: Duration::ZERO,
};

const FAILED: Failure = Failure {
    trouble: Trouble::Failed,
    ..UNREACHABLE
};

const ON_ERROR: &[(&str, &str)] = &[("cache-control", "max-age=60, stale-if-error=600")];

fn stored(follower: &mut Follower) -> (String, Outcome) {
    match event(follower) {
        Some(Event::Stored(response, outcome)) => (body(&response), outcome),
        other => panic!("expected what is stored, got {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_304_makes_it_fresh_for_all_who_wait() {
    let rig = Rig::new();
    rig.store("/", &[], FRESH, "x");
    after(61).await;
    let (mut lead, mut first) = rig.lead("/", &[("if-none-match", "\"client\"")]);
    assert_eq!(lead.request["if-none-match"], "\"1\"");
    let mut second = rig.follow("/", &[]);
    assert_eq!(lead.head(304, FRESH), Wanted::Nothing);
    for follower in [&mut first, &mut second] {
        let (text, outcome) = stored(follower);
        assert_eq!(text, "x");
        assert_eq!(outcome.reason, Some(Reason::Refreshed));
        assert_eq!(outcome.forward_status, Some(StatusCode::NOT_MODIFIED));
        assert_eq!((outcome.ttl, outcome.stored), (Some(60), true));
    }
    assert_eq!(rig.serve("/", &[]).outcome.ttl, Some(60));
    drop(lead);
    rig.assert_idle();
}

/// RFC 9111 §4.3.3, §4.3.4.
#[tokio::test(start_paused = true)]
async fn a_304_about_something_else_is_not_believed() {
    let rig = Rig::new();
    rig.store("/", &[], FRESH, "x");
    after(61).await;
    let (mut lead, mut first) = rig.lead("/", &[]);
    assert_eq!(lead.head(304, &[("etag", "\"2\"")]), Wanted::Nothing);
    assert!(matches!(event(&mut first), Some(Event::AskAgain)));
    let (mut lead, mut first) = rig.lead("/", &[]);
    assert!(!lead.request.contains_key("if-none-match"));
    // Nor is one that answers no question.
    assert_eq!(lead.head(304, FRESH), Wanted::Nothing);
    match event(&mut first) {
        Some(Event::Failed(failure)) => assert_eq!(failure.word, "unasked-304"),
        other => panic!("{other:?}"),
    }
    rig.assert_idle();
}

#[tokio::test(start_paused = true)]
async fn a_304_that_forbids_storing_answers_the_one_who_asked() {
    let rig = Rig::new();
    rig.store("/", &[], FRESH, "x");
    after(61).await;
    let (mut lead, mut first) = rig.lead("/", &[]);
    let mut second = rig.follow("/", &[]);
    lead.head(304, &[("etag", "\"1\""), ("cache-control", "no-store")]);
    assert_eq!(stored(&mut first).0, "x");
    assert_eq!(sent_away(&mut second), "no-store");
    assert!(matches!(rig.get("/"), Answer::Forward(_)));
}

#[tokio::test(start_paused = true)]
async fn stale_is_served_at_once_and_fetched_behind_once() {
    let rig = Rig::new();
    let fields = &[("cache-control", "max-age=60, stale-while-revalidate=60")];
    rig.store("/", &[], fields, "old");
    after(61).await;
    let mut refresh = rig.serve("/", &[]).refresh.expect("the first one's");
    let second = rig.serve("/", &[]);
    assert!(second.refresh.is_none());
    assert_eq!(second.outcome.reason, Some(Reason::StaleWhileRevalidate));
    // Nobody is there, and it goes on.
    assert!(!refresh.is_cancelled());
    assert_eq!(refresh.head(200, FRESH), Wanted::Body);
    refresh.data("new");
    refresh.writer.end();
    assert_eq!(body(&rig.serve("/", &[]).response), "new");
    drop(refresh);
    rig.assert_idle();
}

#[tokio::test(start_paused = true)]
async fn whoever_may_not_have_it_stale_joins_the_fetch_behind_it() {
    let rig = Rig::new();
    let fields = &[("cache-control", "max-age=60, stale-while-revalidate=60")];
    rig.store("/", &[], fields, "old");
    after(61).await;
    let mut refresh = rig.serve("/", &[]).refresh.expect("the first one's");
    let mut reload = rig.follow("/", &[("cache-control", "no-cache")]);
    refresh.head(200, FRESH);
    refresh.data("new");
    refresh.writer.end();
    response(&mut reload);
    assert_eq!(read(&mut reload), ("new".into(), Some("end")));
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_brings_what_cannot_be_stored_ends_the_stale_one() {
    let rig = Rig::new();
    let fields = &[("cache-control", "max-age=60, stale-while-revalidate=60")];
    rig.store("/", &[], fields, "old");
    after(61).await;
    let mut refresh = rig.serve("/", &[]).refresh.expect("the first one's");
    assert_eq!(refresh.head(200, NO_STORE), Wanted::Nothing);
    assert!(matches!(rig.get("/"), Answer::Forward(_)));
    drop(refresh);
    rig.assert_idle();
}

#[tokio::test(start_paused = true)]
async fn trouble_is_bridged_where_the_response_allows_it() {
    // What is stored, what happens, and the word with which it is served.
    for (fields, failure, status, expected) in [
        (FRESH, Some(UNREACHABLE), 0, Some("stale-if-unreachable")),
        (FRESH, Some(FAILED), 0, None),
        (FRESH, None, 503, None),
        (ON_ERROR, Some(FAILED), 0, Some("stale-if-error")),
        (ON_ERROR, None, 500, Some("stale-if-error")),
        (
            &[("cache-control", "max-age=60, must-revalidate")][..],
            Some(UNREACHABLE),
            0,
            None,
        ),
    ] {
        let rig = Rig::new();
        rig.store("/", &[], fields, "old");
        after(61).await;
        let (mut lead, mut first) = rig.lead("/", &[]);
        let mut second = rig.follow("/", &[]);
        let wanted = match failure {
            Some(failure) => {
                lead.writer.fail(failure);
                Wanted::Nothing
            }
            None => lead.head(status, &[]),
        };
        let case = format!("{fields:?} {failure:?} {status}");
        match expected {
            Some(word) => {
                assert_eq!(wanted, Wanted::Nothing, "{case}");
                for follower in [&mut first, &mut second] {
                    let (text, outcome) = stored(follower);
                    assert_eq!(text, "old", "{case}");
                    assert_eq!(outcome.reason.map(Reason::word), Some(word), "{case}");
                    assert_eq!(outcome.result(), "stale", "{case}");
                }
            }
            None if failure.is_some() => {
                assert!(
                    matches!(event(&mut first), Some(Event::Failed(_))),
                    "{case}"
                );
                assert!(
                    matches!(event(&mut second), Some(Event::Failed(_))),
                    "{case}"
                );
            }
            None => {
                assert_eq!(wanted, Wanted::Body, "{case}");
                assert_eq!(response(&mut first), (false, false), "{case}");
                assert!(
                    matches!(event(&mut second), Some(Event::Forward(_))),
                    "{case}"
                );
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_origin_in_trouble_is_asked_again_after_longer_and_longer() {
    let rig = Rig::new();
    rig.store("/", &[], FRESH, "old");
    after(61).await;
    for wait in [1, 2, 4] {
        let (mut lead, mut first) = rig.lead("/", &[]);
        lead.writer.fail(UNREACHABLE);
        assert_eq!(stored(&mut first).0, "old");
        after(wait - 1).await;
        let serve = rig.serve("/", &[]);
        assert_eq!(serve.outcome.reason, Some(Reason::StaleIfUnreachable));
        assert!(serve.outcome.ttl.is_some_and(|ttl| ttl < 0));
        after(1).await;
    }
    let (mut lead, _first) = rig.lead("/", &[]);
    lead.head(304, FRESH);
    assert!(rig.serve("/", &[]).outcome.ttl.is_some_and(|ttl| ttl > 0));
}

/// Whoever is there sees the cut; who comes after it gets what is stored, until it is tried again, after longer and longer.
#[tokio::test(start_paused = true)]
async fn an_answer_that_breaks_off_behind_its_head_is_trouble_too() {
    let rig = Rig::new();
    rig.store("/", &[], ON_ERROR, "old");
    after(61).await;
    for wait in [1, 2, 4] {
        let (mut lead, mut first) = rig.lead("/", &[]);
        assert_eq!(lead.head(200, FRESH), Wanted::Body);
        lead.data("ne");
        lead.writer.fail(FAILED);
        assert_eq!(response(&mut first), (true, false));
        assert_eq!(read(&mut first), ("ne".to_owned(), Some("cut")));
        after(wait - 1).await;
        let serve = rig.serve("/", &[]);
        assert_eq!(serve.outcome.reason, Some(Reason::StaleIfError));
        after(1).await;
    }
    // An error page that is whole is no answer to that.
    let (mut lead, _first) = rig.lead("/", &[("cache-control", "no-cache")]);
    lead.head(500, FRESH);
    assert_eq!(
        rig.serve("/", &[]).outcome.reason,
        Some(Reason::StaleIfError)
    );
    after(8).await;
    let (mut lead, _first) = rig.lead("/", &[]);
    assert_eq!(lead.head(200, FRESH), Wanted::Body);
    lead.writer.end();
    assert!(rig.serve("/", &[]).outcome.ttl.is_some_and(|ttl| ttl > 0));
}

/// A fetch that nobody wants any more says nothing of the origin.
#[tokio::test(start_paused = true)]
async fn a_fetch_that_is_given_up_is_no_trouble() {
    let rig = Rig::new();
    rig.store("/", &[], ON_ERROR, "old");
    after(61).await;
    let (mut lead, follower) = rig.lead("/", &[]);
    assert_eq!(lead.head(200, NO_STORE), Wanted::Body);
    drop(follower);
    assert!(lead.is_cancelled());
    drop(lead);
    assert!(!matches!(rig.get("/"), Answer::Serve(_)));
}

/// What the origin has against one request is for its client, though it say that it may be kept: whoever sends a bad field with
/// `no-cache` must not be able to have everybody get the error.
#[tokio::test(start_paused = true)]
async fn an_error_of_a_validation_does_not_take_the_place_of_what_is_stored() {
    for (status, takes) in [
        (400, false),
        (403, false),
        (431, false),
        (404, true),
        (410, true),
    ] {
        let rig = Rig::new();
        rig.store("/", &[], FRESH, "old");
        let (mut lead, mut first) = rig.lead("/", &[("cache-control", "no-cache")]);
        let mut second = rig.follow("/", &[("cache-control", "no-cache")]);
        assert_eq!(lead.head(status, FRESH), Wanted::Body, "{status}");
        assert_eq!(response(&mut first), (takes, false), "{status}");
        if !takes {
            assert_eq!(sent_away(&mut second), "status");
        }
        lead.writer.end();
        drop((first, second));
        let kept = rig.serve("/", &[]).response;
        assert_eq!(kept.status() == status, takes, "{status}");
    }
    // Nor where something stored is an error itself, which another may follow.
    let rig = Rig::new();
    let (mut lead, _follower) = rig.lead("/", &[]);
    assert_eq!(lead.head(403, FRESH), Wanted::Body);
    lead.writer.end();
    let (mut lead, mut first) = rig.lead("/", &[("cache-control", "no-cache")]);
    assert_eq!(lead.head(401, FRESH), Wanted::Body);
    assert_eq!(response(&mut first), (true, false));
}

/// Nor does one that comes of a request which nothing stored fits: without `Vary` it would fit all whom the good one fits.
#[tokio::test(start_paused = true)]
async fn an_error_for_one_variant_does_not_take_the_place_of_the_others() {
    let vary = &[("cache-control", "max-age=60"), ("vary", "accept-language")];
    for status in [400, 403, 500] {
        let rig = Rig::new();
        rig.store("/", &[("accept-language", "en")], vary, "good");
        let (mut lead, mut odd) = rig.lead("/", &[("accept-language", "zz")]);
        assert_eq!(lead.head(status, FRESH), Wanted::Body);
        assert_eq!(response(&mut odd), (false, false), "{status}");
        lead.writer.end();
        drop(odd);
        let kept = rig.serve("/", &[("accept-language", "en")]).response;
        assert_eq!(body(&kept), "good");
        // What nobody may be given any more is in nobody's way.
        after(61).await;
        let (mut lead, mut odd) = rig.lead("/", &[("accept-language", "zz")]);
        assert_eq!(lead.head(status, FRESH), Wanted::Body);
        assert_eq!(response(&mut odd), (true, false), "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_invalidated_does_not_bridge_trouble() {
    let rig = Rig::new();
    rig.store("/", &[], FRESH, "old");
    after(61).await;
    let (mut lead, mut first) = rig.lead("/", &[]);
    let write = rig.forward("PUT", "/", &[]);
    rig.forwarded(write, 200, &[]);
    lead.writer.fail(UNREACHABLE);
    assert!(matches!(event(&mut first), Some(Event::AskAgain)));
}
