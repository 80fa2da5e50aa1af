//! Who may share what: cookies, credentials, HEAD, HTTP/2, routes; and that log, metric and answer say the same.

use crate::compress::decoded;
use crate::rig::{Edge, Origin, Reply, ago, edge, get, head, ok, origin, post, request};

const ROUTE: &str = "[[route]]\nto = \"{o1}\"";

async fn behind(reply: Reply) -> (Origin, Edge) {
    let o = origin("o1").on("/a", reply).start().await;
    let e = edge(ROUTE).origin(&o).start().await;
    (o, e)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_with_a_cookie_shares_only_what_is_explicit() {
    let (o, e) = behind(ok().max_age(60).body("b")).await;
    let asks = |cookie: &str| e.client().get("/a").header("Cookie", cookie).send();
    asks("id=1").await.expect(200).cache_status("stored");
    asks("id=2").await.expect(200).cache_status("hit");
    assert_eq!(o.fetches("/a"), 1);

    // Fresh by guess: for those without a cookie only.
    let (o, e) = behind(ok().last_modified(&ago(864_000)).body("b")).await;
    let asks = |cookie: &str| e.client().get("/a").header("Cookie", cookie).send();
    asks("id=1")
        .await
        .expect(200)
        .cache_status("detail=cookie")
        .no_cache_status("stored");
    e.client()
        .get("/a")
        .send()
        .await
        .expect(200)
        .cache_status("stored");
    e.client()
        .get("/a")
        .send()
        .await
        .expect(200)
        .cache_status("hit");
    asks("id=1")
        .await
        .expect(200)
        .no_cache_status("hit; stored");
    assert_eq!(o.fetches("/a"), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cookie_that_is_set_is_set_for_one() {
    let reply = |value: &str| ok().max_age(60).header("set-cookie", value).body("b");
    let o = origin("o1")
        .on("/a", reply("id=1"))
        .then(reply("id=2"))
        .on("/shared", reply("lang=en").directive("public"))
        .start()
        .await;
    let e = edge(ROUTE).origin(&o).start().await;
    let c = e.client();
    for id in ["id=1", "id=2"] {
        let own = c.get("/a").send().await.expect(200);
        own.header("set-cookie", id)
            .cache_status("detail=set-cookie");
    }
    c.get("/shared").send().await.expect(200);
    let hit = c.get("/shared").send().await.expect(200);
    hit.cache_status("hit").header("set-cookie", "lang=en");
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_at_once_each_get_a_cookie_of_their_own() {
    let held = crate::rig::gate();
    let reply = |n: usize| {
        ok().max_age(60)
            .header("set-cookie", &format!("id={n}"))
            .hold(&held)
            .body("b")
    };
    let o = (1..20).fold(origin("o1").on("/a", reply(0)), |o, n| o.then(reply(n)));
    let o = o.start().await;
    let e = edge(ROUTE).origin(&o).start().await;
    let crowd = e.client().crowd(20, &get("/a"));
    crowd.asked().await;
    o.fetched("/a", 1).await;
    held.open();
    let mut cookies: Vec<_> = Vec::new();
    for one in crowd.all().await {
        let answer = one.response.expect(200);
        cookies.push(answer.value("set-cookie").to_owned());
    }
    cookies.sort();
    cookies.dedup();
    assert_eq!(cookies.len(), 20, "{cookies:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_shown_to_credentials_is_not_shown_to_others() {
    let with = |e: &Edge| {
        e.client()
            .get("/a")
            .header("Authorization", "Basic YTpi")
            .send()
    };
    let (o, e) = behind(ok().max_age(60).body("secret")).await;
    with(&e)
        .await
        .expect(200)
        .cache_status("detail=authorization");
    o.change("/a", ok().max_age(60).body("public"));
    let other = e.client().get("/a").send().await.expect(200);
    other.body("public").cache_status("stored");
    // RFC 9111 §3.5 is about storing: what was shown without credentials may be shown with them.
    with(&e).await.expect(200).body("public");

    for allows in ["public", "s-maxage=60", "must-revalidate"] {
        let (o, e) = behind(ok().max_age(60).directive(allows).body("b")).await;
        with(&e).await.expect(200).cache_status("stored");
        e.client()
            .get("/a")
            .send()
            .await
            .expect(200)
            .cache_status("hit");
        assert_eq!(o.fetches("/a"), 1, "{allows}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn head_first_then_get() {
    let (o, e) = behind(ok().max_age(60).body("0123456789")).await;
    let first = e.client().request(head("/a")).send().await.expect(200);
    first.body("").header("content-length", "10");
    let body = e.client().get("/a").send().await.expect(200);
    body.body("0123456789");
    let hit = e.client().request(head("/a")).send().await.expect(200);
    hit.cache_status("hit").header("content-length", "10");
    assert!(o.fetches("/a") <= 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_and_http1_share_one_store() {
    let date = ago(30);
    let reply = ok().max_age(60).etag("\"v1\"").header("date", &date);
    let (o, e) = behind(
        reply
            .header("connection", "x-hop")
            .header("x-hop", "1")
            .body("b"),
    )
    .await;
    e.client().get("/a").send().await.expect(200);
    let h2 = e.client().h2().await;
    let hit = h2.get("/a").await.expect(200).body("b");
    hit.cache_status("hit")
        .aged(30)
        .header("date", &date)
        .header("etag", "\"v1\"")
        .no_header("x-hop")
        .no_header("connection");
    h2.send(get("/a").header("if-none-match", "\"v1\""))
        .await
        .expect(304);
    let part = h2.send(get("/a").header("range", "bytes=0-0")).await;
    part.expect(206).header("content-range", "bytes 0-0/1");
    h2.send(head("/a"))
        .await
        .expect(200)
        .body("")
        .cache_status("hit");
    assert_eq!(o.fetches("/a"), 1);
    // And the other way round.
    h2.send(post("/a", "x")).await.expect(200);
    let next = e.client().get("/a").send().await.expect(200);
    next.no_cache_status("hit");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_hits_on_one_connection_stay_in_step() {
    let (o, e) = behind(ok().max_age(60).body("stored")).await;
    let mut k = e.client().connect().await;
    for n in 0..200 {
        // A hit, a pass, a head, a 304, a part: each kind of answer is followed by each other.
        let answer = match n % 5 {
            0 => k.get("/a").await.expect(200).body("stored"),
            1 => k.get("/none").await.expect(404),
            2 => k.send(&head("/a")).await.expect(200).body(""),
            3 => k
                .send(&get("/a").header("Range", "bytes=0-2"))
                .await
                .expect(206)
                .body("sto"),
            _ => k.send(&post("/b", "body")).await.expect(404),
        };
        drop(answer);
    }
    assert_eq!(o.fetches("/a"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_through_another_route_invalidates() {
    let o = origin("o1")
        .on("/a", ok().max_age(60).body("old"))
        .start()
        .await;
    let toml = "[[route]]\nmethod = [\"POST\"]\nname = \"writes\"\nto = \"{o1}\"\n[[route]]\nname = \"reads\"\nto = \"{o1}\"";
    let e = edge(toml).origin(&o).start().await;
    let c = e.client();
    c.get("/a").send().await.expect(200);
    c.get("/a").send().await.expect(200).cache_status("hit");
    c.post("/a", "x").send().await.expect(200);
    o.change("/a", ok().max_age(60).body("new"));
    c.get("/a").send().await.expect(200).body("new");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_through_a_route_without_a_cache_invalidates() {
    let o = origin("o1")
        .on("/a", ok().max_age(60).body("old"))
        .start()
        .await;
    let toml = "[[route]]\nmethod = [\"PUT\", \"X-CHANGE\"]\nname = \"writes\"\nto = \"{o1}\"\ncache = false\n[[route]]\nname = \"reads\"\nto = \"{o1}\"";
    let e = edge(toml).origin(&o).start().await;
    let c = e.client();
    for (method, before, after) in [("PUT", "old", "new"), ("X-CHANGE", "new", "newer")] {
        for _ in 0..2 {
            c.get("/a").send().await.expect(200).body(before);
        }
        let write = c.request(request(method, "/a")).send().await.expect(200);
        write.cache_status("fwd=bypass; detail=route-off");
        o.change("/a", ok().max_age(60).body(after));
        c.get("/a").send().await.expect(200).body(after);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_route_stored_is_not_served_by_another() {
    let o = origin("o1")
        .on("/a", ok().max_age(60).body("for members"))
        .start()
        .await;
    let p = origin("o2")
        .on("/a", ok().max_age(60).body("for guests"))
        .start()
        .await;
    let toml = "[[route]]\nname = \"members\"\nheader = { \"X-Member\" = \"yes\" }\nto = \"{o1}\"\n[[route]]\nname = \"guests\"\nto = \"{o2}\"";
    let e = edge(toml).origin(&o).origin(&p).start().await;
    for _ in 0..2 {
        let member = e.client().get("/a").header("X-Member", "yes").send().await;
        member.expect(200).body("for members");
        let guest = e.client().get("/a").send().await;
        guest.expect(200).body("for guests");
    }
    assert_eq!((o.fetches("/a"), p.fetches("/a")), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn answer_log_and_metric_say_the_same() {
    let (_o, e) = behind(ok().max_age(60).body("b")).await;
    e.client()
        .get("/a?x")
        .send()
        .await
        .expect(200)
        .cache_status("fwd=uri-miss; stored");
    let hit = e.client().get("/a?x").send().await.expect(200);
    // The name is `[server] name`.
    assert_eq!(hit.cache().cache, "edge");
    hit.cache_status("hit");
    let miss = e
        .log_where(|line| line["path"] == "/a" && line["cache"] == "miss")
        .await;
    let hit = e
        .log_where(|line| line["path"] == "/a" && line["cache"] == "hit")
        .await;
    assert_eq!(
        (&miss["status"], &hit["status"]),
        (&200.into(), &200.into())
    );
    assert!(miss["upstream_addr"].is_string());
    assert!(hit["upstream_addr"].is_null(), "{hit:#}");
    e.metric_becomes("forebay_cache_requests_total{result=\"hit\"}", 1.0)
        .await;
    e.metric_becomes("forebay_cache_requests_total{result=\"miss\"}", 1.0)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn identity_is_compressed_once_for_those_who_accept_it() {
    let text = "compress me ".repeat(1000);
    let reply = ok()
        .max_age(60)
        .etag("\"v1\"")
        .header("content-type", "text/plain");
    let (o, e) = behind(reply.body(&text)).await;
    e.client().get("/a").send().await.expect(200).body(&text);
    let asks = |codings: &str| {
        e.client()
            .get("/a")
            .header("Accept-Encoding", codings)
            .send()
    };
    for coding in ["br", "zstd", "gzip"] {
        // The first that wants it gets it as it came, and it is made meanwhile; from then on it is there.
        asks(coding)
            .await
            .expect(200)
            .body(&text)
            .header("vary", "Accept-Encoding");
        let made = format!("forebay_cache_derived_total{{coding=\"{coding}\"}}");
        e.metric_becomes(&made, 1.0).await;
        for _ in 0..3 {
            let small = asks(coding).await.expect(200).cache_status("hit");
            assert!(small.body.content.len() < text.len() / 10, "{small:#?}");
            assert_eq!(decoded(coding, &small.body.content), text.as_bytes());
            // Its own validator, and a weak one: the octets are others.
            small
                .header("etag", "W/\"v1\"")
                .header("content-encoding", coding)
                .header("vary", "Accept-Encoding");
        }
        assert!((e.metric(&made).await - 1.0).abs() < f64::EPSILON);
        // It is the one that this client holds.
        let held = e.client().get("/a").header("Accept-Encoding", coding);
        let held = held.header("If-None-Match", "W/\"v1\"").send().await;
        held.expect(304).header("etag", "W/\"v1\"");
    }
    asks("identity")
        .await
        .expect(200)
        .body(&text)
        .header("vary", "Accept-Encoding");
    asks("gzip;q=0")
        .await
        .expect(200)
        .body(&text)
        .no_header("content-encoding");
    assert_eq!(o.fetches("/a"), 1);

    let (_o, e) = behind(
        ok().max_age(60)
            .directive("no-transform")
            .header("content-type", "text/plain")
            .body(&text),
    )
    .await;
    let whole = e
        .client()
        .get("/a")
        .header("Accept-Encoding", "gzip")
        .send()
        .await;
    whole.expect(200).body(&text).no_header("content-encoding");
}
