//! Web cache deception: a link to a page under the name of a file, so that what its reader gets is kept for whoever made it.

use crate::rig::{Edge, Origin, Reply, edge, get, ok, origin, status};

const RULED: &str = "[[route]]\nto = \"{o1}\"\ncache = { ttl = \"10m\" }";

/// Ways to write the page `/account` so that it ends like a file.
const SPELLINGS: [&str; 20] = [
    "/account/x.css",
    "/account/x.js",
    "/account/x.png",
    "/account/x.woff2",
    "/account/x.pdf",
    "/account.css",
    "/account;x.css",
    "/account%3bx.css",
    "/account%2fx.css",
    "/account%00.css",
    "/account%3f.css",
    "/account%23.css",
    "/account%0a.css",
    "/account/X.CS%53",
    "/account/x.css/",
    "/account/x.css.",
    "/account/x.css%2e",
    "/account/x.css;a",
    "/account/x.css/;a",
    "/account/x.css/%2a",
];

fn page() -> Reply {
    ok().header("content-type", "text/html; charset=utf-8")
}

async fn site(toml: &str, reply: Reply) -> (Origin, Edge) {
    let o = origin("o1").on("*", reply).start().await;
    let e = edge(toml).origin(&o).start().await;
    (o, e)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_under_the_name_of_a_file_is_kept_for_nobody() {
    let (o, e) = site(RULED, page().body("the reader's own")).await;
    let c = e.client();
    for (at, path) in SPELLINGS.into_iter().enumerate() {
        // The reader follows the link; who made it comes after.
        c.get(path)
            .header("Cookie", "session=1")
            .send()
            .await
            .expect(200)
            .cache_status("detail=type-mismatch");
        o.change("*", page().body("a stranger's"));
        c.get(path).send().await.expect(200).body("a stranger's");
        o.change("*", page().body("the reader's own"));
        assert_eq!(o.requests().len(), 2 * (at + 1), "{path}");
    }
    // What is a page by its name is kept, as the route says.
    c.get("/account").send().await.expect(200);
    c.get("/account").send().await.cache_status("hit");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reason_is_told_in_log_and_metric() {
    let route = RULED.replace("[[route]]", "[[route]]\nname = \"r\"\npath = \"/\"");
    let (_o, e) = site(&route, page().body("b")).await;
    e.client().get("/account/x.css").send().await.expect(200);
    let line = e.log_line("/account/x.css").await;
    assert_eq!(line["cache_reason"], "type-mismatch", "{line:#}");
    e.metric_becomes(
        "forebay_cache_requests_total{route=\"r\",result=\"miss\",reason=\"type-mismatch\"}",
        1.0,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_its_own_type_is_kept() {
    for (path, content_type) in [
        ("/x.css", "text/css"),
        ("/x.js", "text/javascript"),
        ("/x.jpg", "image/webp"),
        ("/x.woff2", "font/woff2"),
        ("/x.pdf", "application/pdf"),
        ("/x.zip", "application/octet-stream"),
    ] {
        let (o, e) = site(RULED, ok().header("content-type", content_type).body("b")).await;
        e.client().get(path).send().await.expect(200);
        e.client().get(path).send().await.cache_status("hit");
        assert_eq!(o.fetches(path), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_origin_itself_calls_fresh_is_its_word() {
    for reply in [page().max_age(60), page().directive("s-maxage=60")] {
        let (o, e) = site(RULED, reply.body("for all")).await;
        e.client().get("/x.css").send().await.expect(200);
        e.client().get("/x.css").send().await.cache_status("hit");
        assert_eq!(o.fetches("/x.css"), 1);
    }
    // Without a rule, it is the only one.
    let (o, e) = site("[[route]]\nto = \"{o1}\"", page().body("b")).await;
    e.client().get("/x.css").send().await.expect(200);
    e.client().get("/x.css").send().await.expect(200);
    assert_eq!(o.fetches("/x.css"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn private_stays_private_under_any_name() {
    for reply in [
        page().directive("private").max_age(60),
        page().no_store(),
        page().max_age(60).header("set-cookie", "id=1"),
    ] {
        let (o, e) = site(RULED, reply.body("own")).await;
        for path in ["/account/x.css", "/static/../account/x.css"] {
            e.client().get(path).send().await.expect(200);
        }
        assert_eq!(o.fetches("/account/x.css"), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_may_do_without_the_guard() {
    let off = RULED.replace("\"10m\"", "\"10m\", deception_guard = false");
    let (o, e) = site(&off, page().body("b")).await;
    e.client().get("/x.css").send().await.expect(200);
    e.client().get("/x.css").send().await.cache_status("hit");
    assert_eq!(o.fetches("/x.css"), 1);
}

/// What two programs read differently is not tried at all.
#[tokio::test(flavor = "multi_thread")]
async fn a_way_out_of_a_directory_of_files_is_refused_or_walked() {
    let toml = "[[route]]\npath = \"/static/\"\nto = \"{o1}\"\ncache = { ttl = \"10m\", deception_guard = false }\n\
                [[route]]\npath = \"/\"\nto = \"{o1}\"";
    let (o, e) = site(toml, page().body("own")).await;
    let c = e.client();
    for path in [
        "/static/..%2faccount",
        "/static/..%5caccount",
        "/static/..;/account",
        "/static/%2e%2e%2faccount",
        "/account/..%2fstatic/x.css",
    ] {
        c.get(path).send().await.expect(400);
    }
    assert!(o.requests().is_empty());
    for path in ["/static/../account", "/static/%2e%2e/account"] {
        c.get(path).send().await.expect(200);
    }
    assert_eq!(
        o.fetches("/account"),
        2,
        "it is the page, by the page's route"
    );
}

/// The page that a missing file has is the application's, with whatever it shows to who is logged in.
#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_a_missing_file_is_kept_where_a_rule_is_about_it() {
    let missing = || {
        status(404)
            .header("content-type", "text/html")
            .body("not here")
    };
    let (o, e) = site(RULED, missing()).await;
    e.client().get("/x.css").send().await.expect(404);
    e.client().get("/x.css").send().await.expect(404);
    assert_eq!(o.fetches("/x.css"), 2);

    let said = "[[route]]\nto = \"{o1}\"\ncache = { ttl_by_status = { 404 = \"10m\" } }";
    let (o, e) = site(said, missing()).await;
    e.client().get("/x.css").send().await.expect(404);
    e.client()
        .request(get("/x.css"))
        .send()
        .await
        .cache_status("hit");
    assert_eq!(o.fetches("/x.css"), 1);
}
