//! What one request brings along and the key does not hold: it must not choose what others get.

use crate::rig::{Edge, Origin, Reply, edge, get, ok, origin, request, status};

const PLAIN: &str = "[[route]]\nto = \"{o1}\"";
const TRUSTING: &str = "[server]\ntrusted_proxies = [\"loopback\"]\n[[route]]\nto = \"{o1}\"";

async fn site(toml: &str, reply: Reply) -> (Origin, Edge) {
    let o = origin("o1").on("*", reply).start().await;
    let e = edge(toml).origin(&o).start().await;
    (o, e)
}

// ── Spellings ──

/// Whoever is first to ask for a page in an odd spelling has it fetched in the key's.
#[tokio::test(flavor = "multi_thread")]
async fn what_has_one_key_is_asked_for_in_one_spelling() {
    for (odd, host, path, shown) in [
        ("/a%2fb", "SITE.test:80", "/a%2Fb", "site.test"),
        ("/%C3%a9?Q=%2f", "site.TEST", "/%C3%A9?Q=%2f", "site.test"),
        ("http://SITE.test:80/%61?", "ignored", "/a?", "site.test"),
        ("/x/../y/%7e", "site.test:8080", "/y/~", "site.test:8080"),
        ("/a//b", "site.test.", "/a//b", "site.test"),
    ] {
        let (o, e) = site(PLAIN, ok().max_age(60).body("b")).await;
        let asked = format!("GET {odd} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        e.client().raw(&asked).await.expect(200);
        let seen = &o.requests()[0];
        assert_eq!((seen.target(), seen.header("host")), (path, Some(shown)));
        assert_eq!(seen.header("x-forwarded-host"), Some(shown));
        e.client()
            .get(path)
            .host(shown)
            .send()
            .await
            .expect(200)
            .cache_status("hit");
    }
}

/// And what has two keys is two pages, however alike they look.
#[tokio::test(flavor = "multi_thread")]
async fn what_an_origin_may_tell_apart_is_not_served_for_one_another() {
    let (o, e) = site(PLAIN, ok().max_age(60).body("b")).await;
    let all = [
        ("/a", "site.test"),
        ("/A", "site.test"),
        ("/a/", "site.test"),
        ("//a", "site.test"),
        ("/a?", "site.test"),
        ("/a?b", "site.test"),
        ("/a?b=", "site.test"),
        ("/a?b=+", "site.test"),
        ("/a?b=%20", "site.test"),
        ("/a?c&b", "site.test"),
        ("/a?b&c", "site.test"),
        ("/a?b;c", "site.test"),
        ("/a?utm_source=x", "site.test"),
        ("/a%3Fb", "site.test"),
        ("/a;b", "site.test"),
        ("/a%3Bb", "site.test"),
        ("/a%00", "site.test"),
        ("/a%20", "site.test"),
        ("/a+", "site.test"),
        ("/a", "site.test:8080"),
        ("/a", "www.site.test"),
        ("/a", "127.0.0.1"),
    ];
    for (path, host) in all {
        e.client()
            .get(path)
            .host(host)
            .send()
            .await
            .expect(200)
            .cache_status("stored");
    }
    assert_eq!(o.requests().len(), all.len());
    // Nor is a key cut off at any length.
    let long = "x".repeat(5_000);
    for end in ["1", "2"] {
        let path = format!("/{long}{end}");
        e.client().get(&path).send().await.cache_status("stored");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_with_more_than_a_host_and_a_port_is_refused() {
    let (o, e) = site(PLAIN, ok().max_age(60).body("b")).await;
    for head in [
        "GET /a HTTP/1.1\r\nHost: user@site.test\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: site.test:\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: site.test:80:80\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: site.test,evil\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: site.test/evil\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: site.test#evil\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: s%69te.test\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: site.test\r\nHost: evil\r\n\r\n",
        "GET http://user@site.test/a HTTP/1.1\r\nHost: site.test\r\n\r\n",
        "GET http://site.test#/a HTTP/1.1\r\nHost: site.test\r\n\r\n",
        "GET /a#b HTTP/1.1\r\nHost: site.test\r\n\r\n",
    ] {
        e.client().raw(head).await.expect(400);
    }
    assert!(o.requests().is_empty());
}

/// A path that an application may read as that of a route with other rules gets neither's share.
#[tokio::test(flavor = "multi_thread")]
async fn a_path_in_an_odd_spelling_escapes_no_rule() {
    let routes = "
        [[route]]\npath = \"/\"\nto = \"{o1}\"\ncache = { ttl = \"10m\", bypass = [{ path = \"/byp/admin/*\" }] }
        [[route]]\npath = \"/account/\"\nto = \"{o1}\"\ncache = false
        [[route]]\npath = \"/else/\"\nto = \"{o1}\"\ncache = { ttl = \"10m\", bypass = [{ path = \"/byp/admin/*\" }] }";
    let (_o, e) = site(routes, ok().body("b")).await;
    let c = e.client();
    for (path, detail) in [
        ("//account/me", "path-spelling"),
        ("/account%2fme", "path-spelling"),
        ("/account;/me", "path-spelling"),
        ("/%2faccount/me", "path-spelling"),
        ("/account%00/me", "path-spelling"),
        ("/account;x.css", "path-spelling"),
        ("/byp//admin/x", "bypass-rule"),
        ("/byp/admin%2fx", "bypass-rule"),
        ("/byp/admin;/x", "bypass-rule"),
        ("/byp/admin", "bypass-rule"),
        ("/byp/admin%2f", "bypass-rule"),
    ] {
        let got = c.get(path).send().await.expect(200);
        got.cache_status(&format!("detail={detail}"));
    }
    // Nor is what was stored before there was such a rule, by either lane.
    let one = "[[route]]\npath = \"/\"\nto = \"{o1}\"\ncache = { ttl = \"10m\" }";
    e.reload_with(one).await;
    c.get("//account/you").send().await.cache_status("stored");
    c.get("//account/you").send().await.cache_status("hit");
    e.reload_with(routes).await;
    c.get("//account/you")
        .send()
        .await
        .cache_status("detail=path-spelling");
    // What is one and the same to the cache however it is read is kept.
    for path in ["/a%20b", "/a//b", "/a;v=1/b", "/users/%40me", "/else%2fx"] {
        c.get(path).send().await.expect(200);
        c.get(path).send().await.cache_status("hit");
    }
}

// ── Claims ──

const CLAIMS: [(&str, &str); 14] = [
    ("X-Forwarded-Host", "evil.test"),
    ("X-Forwarded-Port", "1337"),
    ("X-Forwarded-Proto", "ftp"),
    ("X-Forwarded-Scheme", "https"),
    ("X-Forwarded-Ssl", "on"),
    ("X-Forwarded-Prefix", "/evil"),
    ("X-Forwarded-Uri", "/evil"),
    ("X-Scheme", "https"),
    ("Front-End-Https", "on"),
    ("Forwarded", "for=6.6.6.6;host=evil.test"),
    ("X-Original-URL", "/evil"),
    ("X-Rewrite-URL", "/evil"),
    ("X-HTTP-Method-Override", "POST"),
    ("X-Method-Override", "DELETE"),
];

/// A stranger's never reach the origin.
#[tokio::test(flavor = "multi_thread")]
async fn a_strangers_claims_choose_nothing() {
    let (o, e) = site(PLAIN, ok().max_age(60).body("b")).await;
    for (name, value) in CLAIMS {
        let path = format!("/{name}");
        e.client()
            .get(&path)
            .header(name, value)
            .send()
            .await
            .expect(200)
            .cache_status("stored");
        let seen = o.last(&path);
        assert_ne!(seen.header(&name.to_lowercase()), Some(value), "{name}");
    }
}

/// A trusted proxy's do; what comes of them is for that request alone, whatever is stored already.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_trusted_proxy_claims_beyond_the_key_is_shared_with_nobody() {
    let (o, e) = site(TRUSTING, ok()).await;
    for (name, value) in CLAIMS {
        let path = format!("/{name}");
        let asks = || e.client().get(&path).host("site.test");
        let claims = || asks().header(name, value).send();
        o.change("*", ok().max_age(60).body("of the claim"));
        claims()
            .await
            .expect(200)
            .cache_status("detail=unkeyed-claim");
        let seen = o.last(&path);
        assert!(
            seen.header(&name.to_lowercase())
                .unwrap()
                .starts_with(value),
            "{name}"
        );
        o.change("*", ok().max_age(60).body("for all"));
        asks().send().await.expect(200).body("for all");
        asks().send().await.expect(200).cache_status("hit");
        claims().await.cache_status("detail=unkeyed-claim");
        assert_eq!(o.fetches(&path), 3, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_that_the_key_holds_are_no_hindrance() {
    let (o, e) = site(TRUSTING, ok().max_age(60).body("b")).await;
    let usual = || {
        get("/a")
            .host("site.test")
            .header("X-Forwarded-For", "203.0.113.7")
            .header("X-Forwarded-Host", "site.test")
            .header("X-Forwarded-Port", "443")
            .header("X-Forwarded-Proto", "https")
            .header("X-Forwarded-Server", "front-1")
            .header("Forwarded", "for=203.0.113.7;host=site.test;proto=https")
    };
    e.client().request(usual()).send().await.expect(200);
    e.client().request(usual()).send().await.cache_status("hit");
    assert_eq!(o.fetches("/a"), 1);

    // Nor those that the route makes part of it.
    let keyed = format!("{TRUSTING}\ncache = {{ key = {{ headers = [\"X-Forwarded-Host\"] }} }}");
    let (o, e) = site(&keyed, ok().max_age(60).body("b")).await;
    for host in ["one.test", "two.test", "one.test"] {
        let c = e.client();
        c.get("/a")
            .header("X-Forwarded-Host", host)
            .send()
            .await
            .expect(200);
    }
    assert_eq!(o.fetches("/a"), 2);
}

// ── Methods and bodies ──

/// A GET with a body reaches the origin with it and is nobody else's.
#[tokio::test(flavor = "multi_thread")]
async fn a_fat_get_feeds_nobody_and_is_fed_by_nobody() {
    let (o, e) = site(PLAIN, ok().max_age(60).body("of the body")).await;
    let fat = || e.client().request(get("/a").body("page=evil")).send();
    fat().await.expect(200).cache_status("detail=request-body");
    assert_eq!(o.requests()[0].text(), "page=evil");
    o.change("*", ok().max_age(60).body("for all"));
    e.client().get("/a").send().await.body("for all");
    e.client().get("/a").send().await.cache_status("hit");
    fat().await.cache_status("detail=request-body");
    assert_eq!(o.fetches("/a"), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_get_feeds_get() {
    let (o, e) = site(PLAIN, ok()).await;
    for method in ["POST", "PUT", "OPTIONS", "PROPFIND", "get", "Get", "QUERY"] {
        let path = format!("/{method}");
        o.change("*", ok().max_age(60).body("of the method"));
        e.client().request(request(method, &path)).send().await;
        o.change("*", ok().max_age(60).body("for all"));
        e.client()
            .get(&path)
            .send()
            .await
            .expect(200)
            .body("for all");
    }
}

// ── Errors that one client brings about (CPDoS) ──

/// Whatever of a request an application, or what stands in front of it, answers with an error is not everybody's error.
#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_one_request_is_not_kept_by_a_rule_or_a_guess() {
    let ttl = "[[route]]\nto = \"{o1}\"\ncache = { ttl = \"10m\" }";
    for toml in [ttl, PLAIN] {
        let (o, e) = site(toml, ok()).await;
        for code in [
            400, 401, 403, 405, 406, 408, 413, 414, 415, 417, 421, 422, 429, 431, 451, 500, 501,
            502, 503, 505,
        ] {
            let path = format!("/{code}");
            let refused = status(code).last_modified("Sun, 06 Nov 1994 08:49:37 GMT");
            o.change("*", refused.body("refused"));
            e.client()
                .get(&path)
                .header("X-Oversized", &"x".repeat(2_000))
                .send()
                .await
                .expect(code);
            o.change("*", ok().max_age(60).body("for all"));
            e.client()
                .get(&path)
                .send()
                .await
                .expect(200)
                .body("for all");
        }
    }
}

/// A refusal of ours is not kept either, and keeps nobody from what is stored.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_here_leaves_the_page_as_it_is() {
    let (o, e) = site(PLAIN, ok().max_age(60).body("b")).await;
    for (head, code) in [
        (format!("X: {}\r\n", "x".repeat(200_000)), 431),
        ("X: a\0b\r\n".to_owned(), 400),
        ("X: a\rb\r\n".to_owned(), 400),
        ("X: a\u{1}b\r\n".to_owned(), 400),
        ("Transfer-Encoding: x\r\n".to_owned(), 501),
    ] {
        let raw = format!("GET /a HTTP/1.1\r\nHost: site.test\r\n{head}\r\n");
        let got = e.client().raw(&raw).await;
        assert!(got.status >= 400, "{code}");
    }
    assert!(o.requests().is_empty());
    e.client()
        .get("/a")
        .host("site.test")
        .send()
        .await
        .body("b");
    e.client()
        .get("/a")
        .host("site.test")
        .send()
        .await
        .cache_status("hit");
}

// ── Ranges and conditions ──

/// What is fetched for all is fetched without one client's conditions, and what they would bring is not kept.
#[tokio::test(flavor = "multi_thread")]
async fn a_clients_conditions_do_not_reach_a_fetch_for_all() {
    let (o, e) = site(PLAIN, ok().max_age(60).etag("\"1\"").body("whole")).await;
    e.client()
        .get("/a")
        .header("If-None-Match", "\"1\"")
        .header("If-Modified-Since", "Sun, 06 Nov 2094 08:49:37 GMT")
        .send()
        .await
        .expect(304);
    let seen = &o.requests()[0];
    for name in ["if-none-match", "if-modified-since", "range", "if-range"] {
        assert_eq!(seen.header(name), None, "{name}");
    }
    e.client().get("/a").send().await.expect(200).body("whole");
    assert_eq!(o.fetches("/a"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_to_a_condition_is_not_the_page() {
    for (name, value, code) in [
        ("If-Match", "\"no\"", 412),
        ("Range", "bytes=999-", 416),
        ("If-Unmodified-Since", "Sun, 06 Nov 1994 08:49:37 GMT", 412),
    ] {
        let (o, e) = site(PLAIN, status(code).max_age(60).body("no")).await;
        e.client()
            .get("/a")
            .header(name, value)
            .send()
            .await
            .expect(code);
        o.change("*", ok().max_age(60).body("for all"));
        e.client()
            .get("/a")
            .send()
            .await
            .expect(200)
            .body("for all");
    }
}

// ── Vary ──

#[tokio::test(flavor = "multi_thread")]
async fn a_vary_of_a_thousand_names_keeps_nothing_and_costs_nothing() {
    let names: Vec<String> = (0..1_000).map(|n| format!("x-{n}")).collect();
    let (o, e) = site(PLAIN, ok().max_age(60).vary(&names.join(", ")).body("b")).await;
    for _ in 0..3 {
        e.client()
            .get("/a")
            .send()
            .await
            .expect(200)
            .cache_status("detail=vary-many");
    }
    assert_eq!(o.fetches("/a"), 3);
}
