//! What of a stored or shared response is sent: conditions and ranges.

use crate::rig::{Reply, edge, gate, get, head, ok, origin};

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
