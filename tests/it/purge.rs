//! Purges by the application and by the route's rules: who has written sees it written, in either lane, and nobody sees what
//! was for the cache.

use crate::express::{asks, given};
use crate::rig::{Edge, Origin, Reply, edge, gate, get, head, ok, origin, post, put, status};

const ROUTE: &str = "[[route]]\nto = \"{o1}\"";

fn tagged(tags: &str, body: &str) -> Reply {
    let reply = ok().max_age(600).header("surrogate-key", tags);
    reply.body(body)
}

fn purges(what: &str) -> Reply {
    status(204).header("forebay-purge", what)
}

async fn items(write: Reply) -> (Origin, Edge) {
    let o = origin("o1")
        .on("/items", tagged("items list", "one"))
        .on("/items/1", tagged("items", "one"))
        .on("/itemsx", tagged("other", "one"))
        .on("/write", write)
        .start()
        .await;
    let e = edge(ROUTE).origin(&o).start().await;
    (o, e)
}

fn changed(o: &Origin) {
    o.change("/items", tagged("items list", "two"));
    o.change("/items/1", tagged("items", "two"));
    o.change("/itemsx", tagged("other", "two"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_purges_before_the_writer_sees_its_answer() {
    for (said, gone) in [
        ("tag:items", [true, true, false]),
        ("tag:list, tag:none", [true, false, false]),
        ("prefix:/items", [true, true, false]),
        ("url:/items", [true, false, false]),
        ("url:/items, url:/itemsx", [true, false, true]),
        ("all", [true, true, true]),
        ("tag:none, prefix:/item, nonsense", [false, false, false]),
    ] {
        let (o, e) = items(purges(said)).await;
        let mut k = e.client().connect().await;
        let paths = ["/items", "/items/1", "/itemsx"];
        for path in paths {
            asks(&e, &mut k, &get(path), false).await.expect(200);
            let hit = asks(&e, &mut k, &get(path), true).await.expect(200);
            hit.body("one")
                .no_header("surrogate-key")
                .cache_status("hit");
        }
        changed(&o);
        let wrote = asks(&e, &mut k, &post("/write", "x"), false).await;
        wrote.expect(204).no_header("forebay-purge");
        for (path, gone) in paths.into_iter().zip(gone) {
            let got = asks(&e, &mut k, &get(path), !gone).await.expect(200);
            got.body(if gone { "two" } else { "one" });
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_an_error_or_to_a_safe_method_purges_nothing() {
    let (o, e) = items(status(500).header("forebay-purge", "all").body("no")).await;
    let c = e.client();
    c.get("/items").send().await.expect(200);
    c.request(post("/write", "x"))
        .send()
        .await
        .expect(500)
        .no_header("forebay-purge");
    o.change(
        "/write",
        ok().max_age(60).header("forebay-purge", "all").body("x"),
    );
    let got = c.get("/write").send().await.expect(200);
    got.no_header("forebay-purge");
    c.get("/items").send().await.expect(200).cache_status("hit");
    assert_eq!(o.fetches("/items"), 1);
}

/// RFC 9875.
#[tokio::test(flavor = "multi_thread")]
async fn groups_are_invalidated_within_their_origin() {
    let grouped = |body: &str| {
        let reply = ok().max_age(600).header("cache-groups", "\"a\", \"b c\"");
        reply.body(body)
    };
    let said = ok().header("cache-group-invalidation", "\"x\", \"b c\"");
    let o = origin("o1")
        .on("/a", grouped("one"))
        .on("/write", said.body("done"))
        .start()
        .await;
    let e = edge(ROUTE).origin(&o).start().await;
    let c = e.client();
    for host in ["one.example", "two.example"] {
        c.request(get("/a").host(host)).send().await.expect(200);
        let hit = c.request(get("/a").host(host)).send().await.expect(200);
        // Browsers have groups too.
        hit.cache_status("hit")
            .header("cache-groups", "\"a\", \"b c\"");
    }
    o.change("/a", grouped("two"));
    // A safe method does not invalidate.
    c.request(get("/write").host("one.example"))
        .send()
        .await
        .expect(200);
    c.request(get("/a").host("one.example"))
        .send()
        .await
        .expect(200)
        .body("one");
    c.request(put("/write", "x").host("one.example"))
        .send()
        .await
        .expect(200);
    c.request(get("/a").host("one.example"))
        .send()
        .await
        .expect(200)
        .body("two");
    c.request(get("/a").host("two.example"))
        .send()
        .await
        .expect(200)
        .body("one");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_under_way_is_not_stored_and_not_joined() {
    for head_first in [false, true] {
        let held = gate();
        let slow = ok().max_age(600).header("surrogate-key", "items");
        let slow = if head_first { slow.head_now() } else { slow };
        let slow = slow.hold(&held).body("one");
        let o = origin("o1")
            .on("/a", slow)
            .on("/write", purges("tag:items"))
            .start()
            .await;
        let e = edge(ROUTE).origin(&o).start().await;
        let before = e.client().crowd(1, &get("/a"));
        before.asked().await;
        o.fetched("/a", 1).await;
        e.client()
            .request(post("/write", "x"))
            .send()
            .await
            .expect(204);
        o.change("/a", tagged("items", "two"));
        e.client().get("/a").send().await.expect(200).body("two");
        held.open();
        for one in before.all().await {
            one.response.expect(200).body("one");
        }
        e.client()
            .get("/a")
            .send()
            .await
            .expect(200)
            .body("two")
            .cache_status("hit");
        assert_eq!(o.fetches("/a"), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_variants_and_forms_go_together() {
    let reply = |body: &str| {
        tagged("items", &body.repeat(2000))
            .vary("accept-language")
            .header("content-type", "text/plain")
    };
    let o = origin("o1")
        .on("/a", reply("one"))
        .on("/write", purges("url:/a"))
        .start()
        .await;
    let e = edge(ROUTE).origin(&o).start().await;
    let c = e.client();
    let asked = |language: &str| get("/a").header("Accept-Language", language);
    for language in ["de", "fr"] {
        c.request(asked(language)).send().await.expect(200);
        c.request(asked(language).header("Accept-Encoding", "gzip"))
            .send()
            .await
            .expect(200);
        c.request(asked(language))
            .send()
            .await
            .expect(200)
            .cache_status("hit");
    }
    o.change("/a", reply("two"));
    c.request(post("/write", "x")).send().await.expect(204);
    for language in ["de", "fr"] {
        let got = c.request(asked(language)).send().await.expect(200);
        got.body("two".repeat(2000));
    }
}

/// The seed's demo mutates by GET.
#[tokio::test(flavor = "multi_thread")]
async fn a_route_names_its_writes_which_are_never_cached() {
    let route = r#"
        [[route]]
        to = "{o1}"
        cache = { ttl = "10m", tags = ["page"] }
        on_write = [
            { match = "GET /update/*", purge = "tag:page" },
            { match = "PUT|DELETE /api/*", purge = ["url:/", "prefix:/static/"] },
        ]
    "#;
    let o = origin("o1")
        .on("/", ok().body("one"))
        .on("/static/x", ok().body("one"))
        .on("/update/hello", ok().body("updated"))
        .on("/api/1", ok().body("written"))
        .start()
        .await;
    let e = edge(route).origin(&o).start().await;
    let mut k = e.client().connect().await;
    for path in ["/", "/static/x"] {
        k.send(&get(path)).await.expect(200);
        asks(&e, &mut k, &get(path), true)
            .await
            .expect(200)
            .body("one");
    }
    o.change("/", ok().body("two"));
    o.change("/static/x", ok().body("two"));
    for writes in 1..=2 {
        let wrote = asks(&e, &mut k, &get("/update/hello"), false).await;
        wrote
            .expect(200)
            .cache_status("fwd=bypass; detail=on-write");
        assert_eq!(o.fetches("/update/hello"), writes);
        let got = asks(&e, &mut k, &get("/"), false).await.expect(200);
        got.body("two");
    }
    asks(&e, &mut k, &head("/update/hello"), false)
        .await
        .expect(200);
    k.send(&get("/static/x")).await.expect(200).body("two");
    o.change("/static/x", ok().body("three"));
    k.send(&post("/api/1", "x")).await.expect(200);
    k.send(&get("/static/x")).await.expect(200).body("two");
    k.send(&put("/api/1", "x")).await.expect(200);
    k.send(&get("/static/x")).await.expect(200).body("three");
    assert!(given(&e).await > 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_are_shown_where_the_route_says_so() {
    for (cache, shown) in [
        ("true", false),
        ("{ show_tags = true }", true),
        // Nothing is cached here, so they are for whoever does.
        ("false", true),
    ] {
        let o = origin("o1")
            .on(
                "/a",
                tagged("a", "x")
                    .header("cache-tag", "b")
                    .header("xkey", "c"),
            )
            .on(
                "/own",
                ok().no_store().header("surrogate-key", "a").body("x"),
            )
            .start()
            .await;
        let e = edge(&format!("{ROUTE}\ncache = {cache}"))
            .origin(&o)
            .start()
            .await;
        for path in ["/a", "/a", "/own"] {
            let got = e.client().get(path).send().await.expect(200);
            if shown {
                got.header("surrogate-key", "a");
            } else {
                got.no_header("surrogate-key")
                    .no_header("cache-tag")
                    .no_header("xkey");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_too_many_tags_passes() {
    let many: Vec<_> = (0..1025).map(|at| format!("t{at}")).collect();
    let many = many.join(" ");
    let o = origin("o1").on("/a", tagged(&many, "x")).start().await;
    let e = edge(ROUTE).origin(&o).start().await;
    for _ in 0..2 {
        let got = e.client().get("/a").send().await.expect(200);
        got.body("x").cache_status("detail=tags-many");
    }
    assert_eq!(o.fetches("/a"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_memory_of_what_was_purged_is_freed_behind_it() {
    let o = origin("o1")
        .on("/write", purges("tag:items"))
        .on("*", tagged("items", "x"))
        .start()
        .await;
    let e = edge(ROUTE).origin(&o).start().await;
    for at in 0..50 {
        e.client().get(&format!("/{at}")).send().await.expect(200);
    }
    assert!((e.metric("forebay_cache_entries").await - 50.0).abs() < 0.5);
    assert!((e.metric("forebay_cache_tags").await - 1.0).abs() < 0.5);
    e.client()
        .request(post("/write", "x"))
        .send()
        .await
        .expect(204);
    e.metric_becomes("forebay_cache_entries", 0.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_url_is_found_under_the_key_of_whichever_route_stored_it() {
    const KEYED: &str = r#"
[[route]]
path = "/keyed/"
to = "{o1}"
cache = { key = { query = { drop = ["tracking"] }, sort_query = true } }
[[route]]
to = "{o1}"
on_write = [{ match = "POST /rule", purge = "url:/keyed/item?b=2&a=1" }]
"#;
    let o = origin("o1")
        .on("/keyed/item", ok().max_age(600).body("one"))
        .on("/rule", status(204))
        .on("/said", purges("url:/keyed/item?utm_source=m&b=2&a=1"))
        .on(
            "/moved",
            status(201).header("location", "/keyed/item?b=2&a=1"),
        )
        .start()
        .await;
    let e = edge(KEYED).origin(&o).start().await;
    let asked = || get("/keyed/item?a=1&utm_source=x&b=2");
    let mut k = e.client().connect().await;
    for write in ["/rule", "/said", "/moved"] {
        asks(&e, &mut k, &asked(), false).await.expect(200);
        asks(&e, &mut k, &asked(), true).await.expect(200);
        asks(&e, &mut k, &post(write, "x"), false).await;
        asks(&e, &mut k, &asked(), false).await.expect(200);
        // For the next one there is nothing stored.
        e.admin()
            .post("/purge", r#"{"all": true}"#)
            .send()
            .await
            .expect(200);
    }
    // RFC 3986 §6.2.2.1: an escape means the same in either case.
    o.change("/s/%C3%A9", ok().max_age(600).body("one"));
    let lower = || get("/s/%c3%a9");
    asks(&e, &mut k, &lower(), false).await.expect(200);
    asks(&e, &mut k, &get("/s/%C3%A9"), true).await.expect(200);
    e.admin()
        .post("/purge", r#"{"url": "http://site.test/s/%C3%A9"}"#)
        .send()
        .await
        .expect(200);
    asks(&e, &mut k, &lower(), false).await.expect(200);
}
