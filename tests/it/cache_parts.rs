//! What of a stored or shared response is sent: conditions and ranges.

use crate::rig::{Reply, Request, edge, gate, get, head, ok, origin, put, status};

const PLAIN: &str = "[[route]]\nto = \"{o1}\"";

fn page() -> Reply {
    ok().header("Cache-Control", "max-age=60")
        .header("ETag", "\"v1\"")
        .header("Content-Type", "text/plain")
        .header("Last-Modified", "Sun, 06 Nov 1994 08:49:37 GMT")
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_are_answered_from_the_store() {
    let o = origin("o1").on("/a", page().body("v1")).start().await;
    let e = edge(PLAIN).origin(&o).start().await;
    let mut k = e.client().connect().await;
    for _ in 0..2 {
        // The first one is answered by the fetch that it causes, which asks for the whole.
        let has_it = get("/a").header("If-None-Match", "\"v0\", W/\"v1\"");
        let answer = k.send(&has_it).await.expect(304).body("");
        answer.header("etag", "\"v1\"").no_header("content-type");
    }
    assert_eq!(o.requests()[0].header("if-none-match"), None);
    let has_another = get("/a").header("If-None-Match", "\"v0\"");
    k.send(&has_another).await.expect(200).body("v1");
    let since = get("/a").header("If-Modified-Since", "Sun, 06 Nov 1994 08:49:37 GMT");
    k.send(&since).await.expect(304);
    let h2 = e.client().h2().await;
    let has_it = get("/a").header("If-None-Match", "\"v1\"");
    h2.send(has_it).await.expect(304).body("");
    assert_eq!(o.requests().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_are_answered_from_the_store() {
    let o = origin("o1")
        .on("/a", page().body("0123456789"))
        .start()
        .await;
    let e = edge(PLAIN).origin(&o).start().await;
    let mut k = e.client().connect().await;
    k.get("/a").await.expect(200);
    for (range, content_range, body) in [
        ("bytes=2-4", "bytes 2-4/10", "234"),
        ("bytes=7-", "bytes 7-9/10", "789"),
        ("bytes=-1", "bytes 9-9/10", "9"),
    ] {
        let part = get("/a").header("Range", range);
        let answer = k.send(&part).await.expect(206).body(body);
        answer
            .header("content-range", content_range)
            .header("content-length", &body.len().to_string());
    }
    let several = get("/a").header("Range", "bytes=0-1,8-9");
    let answer = k.send(&several).await.expect(206);
    assert!(
        answer
            .value("content-type")
            .starts_with("multipart/byteranges; boundary=")
    );
    let answer = answer.body_contains("bytes 0-1/10\r\n\r\n01\r\n");
    answer.body_contains("bytes 8-9/10\r\n\r\n89\r\n");
    let beyond = get("/a").header("Range", "bytes=10-");
    let answer = k.send(&beyond).await.expect(416);
    answer.header("content-range", "bytes */10");
    let only_of = get("/a")
        .header("Range", "bytes=0-0")
        .header("If-Range", "\"v0\"");
    k.send(&only_of).await.expect(200).body("0123456789");
    let with_head = head("/a").header("Range", "bytes=0-0");
    k.send(&with_head)
        .await
        .expect(200)
        .header("content-length", "10");
    let h2 = e.client().h2().await;
    let part = get("/a").header("Range", "bytes=2-4");
    h2.send(part).await.expect(206).body("234");
    assert_eq!(o.requests().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_of_what_is_still_coming() {
    let (more, end) = (gate(), gate());
    let reply = page()
        .length(12)
        .data("0123")
        .hold(&more)
        .data("4567")
        .hold(&end)
        .data("89ab");
    let o = origin("o1").on("/a", reply).start().await;
    let e = edge(PLAIN).origin(&o).start().await;
    let mut whole = e.client().connect().await;
    whole.start(&get("/a")).await;
    whole.read_until("0123").await;
    // Its octets are here, though the rest is not.
    let here = get("/a").header("Range", "bytes=1-2");
    let answer = e.client().request(here).send().await.expect(206).body("12");
    answer.header("content-range", "bytes 1-2/12");
    let mut next = e.client().connect().await;
    next.start(&get("/a").header("Range", "bytes=3-5")).await;
    let mut several = e.client().connect().await;
    several
        .start(&get("/a").header("Range", "bytes=10-11,1-1,6-6"))
        .await;
    several.read_until("bytes 1-1/12\r\n\r\n1\r\n").await;
    more.open();
    next.response("GET").await.expect(206).body("345");
    several.read_until("bytes 6-6/12\r\n\r\n6\r\n").await;
    end.open();
    several.read_until("bytes 10-11/12\r\n\r\nab\r\n").await;
    whole.read_until("89ab").await;
    assert_eq!(o.requests().len(), 1);
}

// ── RFC 9111 §3.3, §3.4: parts from the origin, kept, put together and completed ──

/// A part of "0123456789", or of another version.
fn part(tag: &str, content_range: &str, body: &str) -> Reply {
    status(206)
        .max_age(60)
        .etag(tag)
        .header("Content-Type", "text/plain")
        .header("Content-Range", content_range)
        .body(body)
}

fn range(range: &str) -> Request {
    get("/a").header("Range", range)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_is_kept_and_reused() {
    let o = origin("o1").on("/a", part("\"v1\"", "bytes 2-7/10", "234567"));
    let o = o.start().await;
    let e = edge(PLAIN).origin(&o).start().await;
    let mut k = e.client().connect().await;
    let first = k.send(&range("bytes=2-7")).await.expect(206).body("234567");
    first.cache_status("fwd=uri-miss; stored");
    for (asked, content_range, body) in [
        ("bytes=2-7", "bytes 2-7/10", "234567"),
        ("bytes=3-3", "bytes 3-3/10", "3"),
    ] {
        let answer = k.send(&range(asked)).await.expect(206).body(body);
        answer
            .header("content-range", content_range)
            .header("content-type", "text/plain")
            .header("content-length", &body.len().to_string())
            .aged(0)
            .cache_status("hit");
    }
    let several = k.send(&range("bytes=2-3,6-7")).await.expect(206);
    several
        .body_contains("bytes 6-7/10\r\n\r\n67\r\n")
        .cache_status("hit");
    let has_it = range("bytes=2-3").header("If-None-Match", "\"v1\"");
    k.send(&has_it).await.expect(304).cache_status("hit");
    let h2 = e.client().h2().await;
    h2.send(range("bytes=4-5")).await.expect(206).body("45");
    assert_eq!(o.fetches("/a"), 1);
    // What it does not hold, it does not answer.
    o.change("/a", part("\"v1\"", "bytes 7-9/10", "789"));
    let more = k.send(&range("bytes=-3")).await.expect(206).body("789");
    more.cache_status("fwd=partial; stored");
    assert_eq!(o.last("/a").header("range"), Some("bytes=-3"));
    let both = k.send(&range("bytes=5-8")).await.expect(206).body("5678");
    both.cache_status("hit");
    assert_eq!(o.fetches("/a"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_is_completed_for_who_wants_all() {
    let rest = gate();
    let o = origin("o1").on("/a", part("\"v1\"", "bytes 0-3/10", "0123"));
    let o = o.start().await;
    let e = edge(PLAIN).origin(&o).start().await;
    e.client()
        .request(range("bytes=0-3"))
        .send()
        .await
        .expect(206);
    let reply = status(206).max_age(60).etag("\"v1\"");
    let reply = reply.header("Content-Range", "bytes 4-9/10").length(6);
    o.change("/a", reply.data("45").hold(&rest).data("6789"));
    let mut first = e.client().connect().await;
    first.start(&get("/a")).await;
    // What is here is sent before the rest has come.
    first.read_until("012345").await;
    let asked = o.last("/a");
    assert_eq!(asked.header("range"), Some("bytes=4-9"));
    assert_eq!(asked.header("if-range"), Some("\"v1\""));
    let within = e.client().request(range("bytes=1-2")).send().await;
    within.expect(206).body("12").cache_status("hit");
    let mut second = e.client().connect().await;
    second.start(&get("/a")).await;
    second.read_until("012345").await;
    rest.open();
    first.read_until("6789").await;
    second.read_until("6789").await;
    let whole = e.client().get("/a").send().await.expect(200);
    whole
        .body("0123456789")
        .header("content-type", "text/plain")
        .header("content-length", "10")
        .no_header("content-range")
        .cache_status("hit");
    assert_eq!(o.fetches("/a"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_are_never_mixed() {
    // The origin has another version by now: it ignores the range, answers with one of that version, or has no such range.
    let new = ok().max_age(60).etag("\"v2\"").body("abcdefghij");
    let other = part("\"v2\"", "bytes 4-9/10", "efghij");
    let shorter = status(416).header("Content-Range", "bytes */3");
    for (how, answers) in [
        ("200", vec![new.clone()]),
        ("206 of another version", vec![other, new.clone()]),
        ("416", vec![shorter, new.clone()]),
    ] {
        let answers = answers.into_iter();
        let first = origin("o1").on("/a", part("\"v1\"", "bytes 0-3/10", "0123"));
        let o = answers.fold(first, crate::rig::Origin::then).start().await;
        let e = edge(PLAIN).origin(&o).start().await;
        let asks = |range| e.client().request(range).send();
        asks(range("bytes=0-3")).await.expect(206).body("0123");
        let whole = asks(get("/a")).await.expect(200).body("abcdefghij");
        whole.header("etag", "\"v2\"");
        let begin = asks(range("bytes=0-3")).await.expect(206).body("abcd");
        begin.header("etag", "\"v2\"").cache_status("hit");
        let first = &o.requests()[1];
        assert_eq!(first.header("if-range"), Some("\"v1\""), "{how}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_that_cannot_be_combined_are_not_kept() {
    let multipart = ok().max_age(60).etag("\"v1\"").body("--x\r\n");
    for (why, reply) in [
        ("weak", part("W/\"v1\"", "bytes 0-3/10", "0123")),
        ("unit", part("\"v1\"", "lines 0-3/10", "0123")),
        (
            "no-store",
            part("\"v1\"", "bytes 0-3/10", "0123").no_store(),
        ),
        ("not a part", multipart),
    ] {
        let o = origin("o1").on("/a", reply).start().await;
        let e = edge(PLAIN).origin(&o).start().await;
        for _ in 0..2 {
            let answer = e.client().request(range("bytes=0-3")).send().await;
            answer.no_cache_status("hit").no_cache_status("stored");
        }
        assert_eq!(o.fetches("/a"), 2, "{why}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunked_part_is_kept() {
    let reply = status(206).max_age(60).etag("\"v1\"");
    let reply = reply.header("Content-Range", "bytes 0-5/10");
    let o = origin("o1").on("/a", reply.chunks(["012", "345"]));
    let o = o.start().await;
    let e = edge(PLAIN).origin(&o).start().await;
    for _ in 0..2 {
        let answer = e.client().request(range("bytes=0-5")).send().await;
        answer.expect(206).body("012345");
    }
    assert_eq!(o.fetches("/a"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rest_that_breaks_off_does_not_break_every_later_answer() {
    let rest = status(206).max_age(60).etag("\"v1\"");
    let rest = rest
        .header("Content-Range", "bytes 4-9/10")
        .length(6)
        .data("45")
        .cut();
    let o = origin("o1")
        .on("/a", part("\"v1\"", "bytes 0-3/10", "0123"))
        .then(rest)
        .then(ok().max_age(60).etag("\"v1\"").body("0123456789"));
    let o = o.start().await;
    let e = edge(PLAIN).origin(&o).start().await;
    e.client()
        .request(range("bytes=0-3"))
        .send()
        .await
        .expect(206);
    let mut k = e.client().connect().await;
    k.start(&get("/a")).await;
    k.read_until("012345").await;
    k.rest().await;
    // What was here is let go of with it: the next asks for all.
    let whole = e.client().get("/a").send().await.expect(200);
    whole.body("0123456789");
    assert_eq!(o.requests()[2].header("range"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_breaks_off_is_not_kept() {
    let reply = status(206).max_age(60).etag("\"v1\"");
    let reply = reply.header("Content-Range", "bytes 0-5/10").length(6);
    let broken = reply.data("012").cut();
    let o = origin("o1")
        .on("/a", broken)
        .then(part("\"v1\"", "bytes 0-5/10", "012345"));
    let o = o.start().await;
    let e = edge(PLAIN).origin(&o).start().await;
    let mut k = e.client().connect().await;
    k.start(&range("bytes=0-5")).await;
    k.read_until("012").await;
    k.rest().await;
    let answer = e.client().request(range("bytes=0-5")).send().await;
    answer.expect(206).body("012345").no_cache_status("hit");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_takes_parts_away_too() {
    let o = origin("o1").on("/a", part("\"v1\"", "bytes 0-3/10", "0123"));
    let o = o.start().await;
    let e = edge(PLAIN).origin(&o).start().await;
    let asks = |request| e.client().request(request).send();
    asks(range("bytes=0-3")).await.expect(206);
    asks(range("bytes=0-3"))
        .await
        .expect(206)
        .cache_status("hit");
    o.change("/a", ok().body(""));
    asks(put("/a", "new")).await.expect(200);
    o.change("/a", part("\"v2\"", "bytes 0-3/10", "abcd"));
    let new = asks(range("bytes=0-3")).await.expect(206).body("abcd");
    new.no_cache_status("hit");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_far_range_of_a_large_fill_goes_by_itself() {
    let end = gate();
    let (begin, rest) = ("a".repeat(1000), "b".repeat(3_999_000));
    let reply = ok().max_age(60).etag("\"v1\"").length(4_000_000);
    let o = origin("o1").on("/a", reply.data(&begin).hold(&end).data(&rest));
    let o = o.start().await;
    let e = edge(PLAIN).origin(&o).start().await;
    let mut whole = e.client().connect().await;
    whole.start(&get("/a")).await;
    whole.read_until("aaa").await;
    o.change("/a", part("\"v1\"", "bytes 3999998-3999999/4000000", "bb"));
    let far = e.client().request(range("bytes=-2")).send().await;
    far.expect(206).body("bb").no_cache_status("hit");
    assert_eq!(o.last("/a").header("range"), Some("bytes=-2"));
    end.open();
    whole.read_until("bbb").await;
}
