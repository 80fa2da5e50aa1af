//! What somebody tries who wants another one's page, everybody's page to be theirs, or nobody to be served any more.

use crate::rig::{Edge, Origin, Reply, edge, gate, get, ok, origin, post, status};

const ROUTE: &str = "[[route]]\nto = \"{o1}\"";

async fn behind(reply: Reply) -> (Origin, Edge) {
    let o = origin("o1").on("/a", reply).start().await;
    let e = edge(ROUTE).origin(&o).start().await;
    (o, e)
}

// ── What is asked for ──

/// Decoded once, `%%32e` would become `%2e` on the way: an origin that decodes too would see a dot segment that no route has.
#[tokio::test(flavor = "multi_thread")]
async fn no_escape_is_made_of_what_the_client_wrote() {
    let (o, e) = behind(ok().body("b")).await;
    for target in [
        "/a/%%32e%%32e/admin",
        "/a/.%%32E/admin",
        "/a/%2%65%2%65/admin",
    ] {
        e.client().get(target).send().await.expect(400);
    }
    assert!(o.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_host_is_not_given_what_another_one_asked_for() {
    let o = origin("o1")
        .on("/a", ok().max_age(60).body("one"))
        .then(ok().max_age(60).body("two"))
        .start()
        .await;
    let e = edge(ROUTE).origin(&o).start().await;
    let c = e.client();
    // The absolute form says which host is meant, whatever `Host` says (RFC 9112 §3.2.2).
    c.raw("GET http://evil/a HTTP/1.1\r\nHost: good\r\n\r\n")
        .await
        .expect(200)
        .body("one");
    c.get("/a")
        .host("good")
        .send()
        .await
        .expect(200)
        .body("two");
    c.get("/a").host("GOOD:80").send().await.body("two");
    assert_eq!(o.fetches("/a"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_that_is_taken_off_on_the_way_selects_nothing() {
    let o = origin("o1")
        .on("/a", ok().max_age(60).vary("X-User").body("nobody's"))
        .then(ok().max_age(60).vary("X-User").body("the user's"))
        .start()
        .await;
    let e = edge(ROUTE).origin(&o).start().await;
    let asks = || e.client().get("/a").header("X-User", "u");
    asks()
        .header("Connection", "X-User")
        .send()
        .await
        .expect(200)
        .body("nobody's");
    asks().send().await.expect(200).body("the user's");
}

// ── Who shares ──

/// A fetch led by one who may not share brings the others to another fetch that they share, not to the origin one by one.
#[tokio::test(flavor = "multi_thread")]
async fn a_leaders_own_fields_do_not_undo_the_sharing_of_others() {
    for (name, value, reply) in [
        ("Cache-Control", "no-store", ok().max_age(60)),
        ("Authorization", "Basic eDp5", ok().max_age(60)),
        (
            "Cookie",
            "id=1",
            ok().last_modified("Sun, 06 Nov 1994 08:49:37 GMT"),
        ),
    ] {
        let first = gate();
        let o = origin("o1")
            .on("/a", reply.clone().hold(&first).body("own"))
            .then(reply.body("shared"))
            .start()
            .await;
        let e = edge(ROUTE).origin(&o).start().await;
        let own = e.client().get("/a").header(name, value).spawn();
        o.fetched("/a", 1).await;
        let crowd = e.client().crowd(30, &get("/a"));
        crowd.asked().await;
        first.open();
        own.await.unwrap().expect(200).body("own");
        for one in crowd.all().await {
            one.response.clone().expect(200).body("shared");
        }
        assert_eq!(o.fetches("/a"), 2, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_validation_brings_for_one_user_is_not_given_to_another() {
    let held = gate();
    let own = |reply: Reply| {
        reply
            .etag("\"1\"")
            .directive("private")
            .header("Set-Cookie", "id=1")
    };
    let o = origin("o1")
        .on("/a", ok().directive("max-age=0").etag("\"1\"").body("b"))
        .then(own(status(304)).hold(&held))
        .then(ok().directive("private").body("another's"))
        .start()
        .await;
    let e = edge(ROUTE).origin(&o).start().await;
    e.client().get("/a").send().await.expect(200);
    let first = e.client().get("/a").header("Cookie", "id=1").spawn();
    o.fetched("/a", 2).await;
    let crowd = e.client().crowd(5, &get("/a"));
    crowd.asked().await;
    held.open();
    first
        .await
        .unwrap()
        .expect(200)
        .header("set-cookie", "id=1");
    for one in crowd.all().await {
        one.response
            .clone()
            .expect(200)
            .no_header("set-cookie")
            .body("another's");
    }
}

// ── What is thrown out ──

/// Who sends a field that the origin refuses, and asks for validation, is refused alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_request_does_not_throw_out_what_others_are_served() {
    let o = origin("o1")
        .on("/a", ok().max_age(60).etag("\"1\"").body("b"))
        .then(status(400).body("bad"))
        .start()
        .await;
    let e = edge(ROUTE).origin(&o).start().await;
    e.client().get("/a").send().await.expect(200);
    e.client()
        .get("/a")
        .header("Cache-Control", "no-cache")
        .send()
        .await
        .expect(400);
    e.client()
        .get("/a")
        .send()
        .await
        .expect(200)
        .body("b")
        .cache_status("hit");
    assert_eq!(o.fetches("/a"), 2);

    // What is gone is gone.
    o.change("/a", status(404).no_store().body("gone"));
    e.client()
        .get("/a")
        .header("Cache-Control", "no-cache")
        .send()
        .await
        .expect(404);
    e.client()
        .get("/a")
        .send()
        .await
        .expect(404)
        .no_cache_status("hit; ttl");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_forgets_nothing_of_another_host() {
    let o = origin("o1")
        .on("/a", ok().max_age(60).body("b"))
        .on("/w", ok())
        .start()
        .await;
    let e = edge(ROUTE).origin(&o).start().await;
    let c = e.client();
    let theirs = || c.get("/a").host("theirs").send();
    theirs().await.expect(200);
    for location in [
        "http://theirs/a",
        "//theirs/a",
        "http://theirs:80/a",
        "http://mine@theirs/a",
        "http:/\\theirs/a",
        "\\\\theirs/a",
    ] {
        let says = ok()
            .header("Location", location)
            .header("Content-Location", location);
        o.change("/w", says);
        c.request(post("/w", "x").host("mine"))
            .send()
            .await
            .expect(200);
        theirs().await.expect(200).cache_status("hit");
    }
    assert_eq!(o.fetches("/a"), 1);
}

/// A thousand languages make no more variants than are allowed, and each gets its own.
#[tokio::test(flavor = "multi_thread")]
async fn variants_are_bounded_however_many_are_asked_for() {
    let (o, e) = behind(ok().max_age(60).vary("X-Kind").body("b")).await;
    let mut k = e.client().connect().await;
    for kind in 0..200 {
        let asked = get("/a").header("X-Kind", &kind.to_string());
        k.send(&asked).await.expect(200).cache_status("stored");
    }
    let last = get("/a").header("X-Kind", "199");
    k.send(&last).await.expect(200).cache_status("hit");
    assert_eq!(o.fetches("/a"), 200);
    // The oldest had to go.
    let first = get("/a").header("X-Kind", "0");
    k.send(&first).await.expect(200).cache_status("stored");
}

// ── What answers what ──

/// Nobody asked for a part. What the origin sends all the same is passed on and is nobody else's whole.
#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_nobody_asked_for_is_not_kept_as_the_whole() {
    let part = status(206)
        .max_age(60)
        .etag("\"1\"")
        .header("Content-Range", "bytes 0-2/10")
        .body("abc");
    let o = origin("o1")
        .on("/a", part)
        .then(ok().max_age(60).body("abcdefghij"))
        .start()
        .await;
    let e = edge(ROUTE).origin(&o).start().await;
    let _ = e.client().get("/a").send().await;
    e.client()
        .get("/a")
        .send()
        .await
        .expect(200)
        .body("abcdefghij");
}
