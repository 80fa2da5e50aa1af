//! The PURGE method on public listeners: off, from allowed addresses, with a token, and in everybody's words.

use crate::rig::{Edge, Origin, Request, edge, get, ok, origin, request};

const ALLOWED: &str = "[purge]\nallow = [\"127.0.0.1\"]\n[[route]]\nto = \"{o1}\"";

const ELSEWHERE: &str = "[purge]\nallow = [\"10.0.0.0/8\"]\n[[route]]\nto = \"{o1}\"";
const TOKEN: &str = "[purge]\ntoken = \"s3cret\"\n[[route]]\nto = \"{o1}\"";

/// An edge with three pages stored: two with tags.
async fn filled(toml: &str) -> (Origin, Edge) {
    let o = origin("o1")
        .on(
            "/a",
            ok().max_age(600)
                .vary("accept-language")
                .header("xkey", "c52 ez-all")
                .body("a"),
        )
        .on(
            "/b",
            ok().max_age(600).header("xkey", "c53 ez-all").body("b"),
        )
        .on("/img/c", ok().max_age(600).body("c"))
        .on("*", ok().no_store().body("other"))
        .start()
        .await;
    let e = edge(toml).origin(&o).start().await;
    for target in ["/a", "/b", "/img/c"] {
        e.client().get(target).send().await.expect(200);
    }
    (o, e)
}

async fn kept(e: &Edge) -> [bool; 3] {
    let mut kept = [false; 3];
    for (kept, target) in kept.iter_mut().zip(["/a", "/b", "/img/c"]) {
        let asked = get(target).header("cache-control", "only-if-cached");
        *kept = e.client().request(asked).send().await.status == 200;
    }
    kept
}

fn purges(o: &Origin) -> usize {
    let commands = ["PURGE", "PURGEKEYS", "PURGETAGS", "BAN"];
    let requests = o.requests();
    requests
        .iter()
        .filter(|it| commands.contains(&it.method()))
        .count()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fos_http_cache_symfony_fastly_and_nginx_users_send() {
    let all = [true; 3];
    for (what, sent, status, left) in [
        (
            "FOSHttpCache, Varnish: purge",
            request("PURGE", "/a"),
            200,
            [false, true, true],
        ),
        (
            "… an absolute URL",
            request("PURGE", "http://site.test/a"),
            200,
            [false, true, true],
        ),
        (
            "… of what is not there",
            request("PURGE", "/none"),
            404,
            all,
        ),
        (
            "… on another host",
            request("PURGE", "/a").host("other.test"),
            404,
            all,
        ),
        (
            "… with its own port",
            request("PURGE", "/a").host("Site.Test:80"),
            200,
            [false, true, true],
        ),
        (
            "FOSHttpCache, xkey",
            request("PURGEKEYS", "/").header("xkey-purge", "c52 c99"),
            200,
            [false, true, true],
        ),
        ("… with nothing named", request("PURGEKEYS", "/"), 400, all),
        (
            "Ibexa",
            request("PURGEKEYS", "/")
                .host("localhost")
                .header("xkey-purge", "ez-all"),
            200,
            [false, false, true],
        ),
        (
            "Varnish's xkey",
            request("PURGE", "/").header("xkey", "c53"),
            200,
            [true, false, true],
        ),
        (
            "… of what is on nothing",
            request("PURGE", "/").header("xkey", "c99"),
            404,
            all,
        ),
        (
            "… empty, by a bug",
            request("PURGE", "/a").header("xkey", ""),
            400,
            all,
        ),
        (
            "Symfony",
            request("PURGETAGS", "/").header("X-Cache-Tags", "c52,c53"),
            200,
            [false, false, true],
        ),
        (
            "Fastly, Souin",
            request("PURGE", "/x").header("Surrogate-Key", "c52"),
            200,
            [false, true, true],
        ),
        (
            "Cloudflare's field",
            request("PURGE", "/").header("Cache-Tag", "c53, c54"),
            200,
            [true, false, true],
        ),
        (
            "nginx's cache_purge",
            request("PURGE", "/img/*"),
            200,
            [true, true, false],
        ),
        ("… half a segment", request("PURGE", "/im*"), 400, all),
        (
            "everything of the host",
            request("PURGE", "/*"),
            200,
            [false; 3],
        ),
        (
            "Varnish's BAN",
            request("BAN", "/").header("X-Url", ".*"),
            405,
            all,
        ),
        (
            "a body that means nothing",
            request("PURGE", "/a").body("x"),
            200,
            [false, true, true],
        ),
    ] {
        let (o, e) = filled(ALLOWED).await;
        assert_eq!(kept(&e).await, all, "{what}");
        let got = e.client().request(sent).send().await;
        assert_eq!(got.status, status, "{what}: {got:#?}");
        let told = got.json();
        assert_eq!(
            told["error"].is_string(),
            status != 200 && status != 404,
            "{what}: {told:#}"
        );
        assert_eq!(kept(&e).await, left, "{what}: {told:#}");
        assert_eq!(purges(&o), 0, "{what}: it was forwarded");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn soft_purges_in_everybodys_words() {
    for sent in [
        request("PURGE", "/a").header("Fastly-Soft-Purge", "1"),
        request("PURGEKEYS", "/").header("xkey-softpurge", "c52"),
        request("PURGE", "/")
            .header("Surrogate-Key", "c52")
            .header("Fastly-Soft-Purge", "1"),
    ] {
        let stale = || {
            ok().max_age(600)
                .directive("stale-while-revalidate=600")
                .header("xkey", "c52")
        };
        let o = origin("o1").on("/a", stale().body("old")).start().await;
        let e = edge(ALLOWED).origin(&o).start().await;
        e.client().get("/a").send().await.expect(200).body("old");
        o.change("/a", stale().body("new"));
        let told = e.client().request(sent).send().await.expect(200).json();
        assert_eq!(told["soft"], true, "{told:#}");
        // Served stale at once, and fetched meanwhile.
        e.client().get("/a").send().await.expect(200).body("old");
        e.becomes("/a", "new").await;
        assert_eq!(o.fetches("/a"), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_off_by_default_and_never_forwarded() {
    let (o, e) = filled("[[route]]\nto = \"{o1}\"").await;
    for method in ["PURGE", "PURGEKEYS", "PURGETAGS", "BAN"] {
        let got = e
            .client()
            .request(request(method, "/a"))
            .send()
            .await
            .expect(405);
        assert!(got.value("allow").contains("GET"), "{got:#?}");
        assert!(got.text().contains("[purge]"), "{}", got.text());
    }
    let h2 = e.client().h2().await;
    h2.send(request("PURGE", "/a")).await.expect(405);
    assert_eq!(kept(&e).await, [true; 3]);
    assert_eq!(purges(&o), 0, "a cache behind would believe us");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_that_names_the_method_gets_it() {
    let toml = "[purge]\nallow = [\"loopback\"]\n[[route]]\nto = \"{o1}\"\n[[route]]\npath = \"/varnish/\"\nmethod = [\"PURGE\", \"GET\"]\nto = \"{o1}\"";
    let (o, e) = filled(toml).await;
    let sent = request("PURGE", "/varnish/a").header("xkey", "c52");
    e.client()
        .request(sent)
        .send()
        .await
        .expect(200)
        .body("other");
    assert_eq!(purges(&o), 1);
    assert_eq!(kept(&e).await, [true; 3]);
    e.client()
        .request(request("PURGE", "/a"))
        .send()
        .await
        .expect(200);
    assert_eq!(purges(&o), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_are_refused() {
    let refused = |toml: &'static str, sent: Request| async move {
        let (o, e) = filled(toml).await;
        let got = e.client().request(sent).send().await.expect(403);
        assert!(got.text().contains("may not purge"), "{}", got.text());
        assert_eq!(kept(&e).await, [true; 3]);
        assert_eq!(purges(&o), 0);
        let line = e.log_where(|line| line["method"] == "PURGE").await;
        assert_eq!(
            (&line["status"], &line["error"]),
            (&403.into(), &"purge-forbidden".into()),
            "{line:#}"
        );
    };
    refused(ELSEWHERE, request("PURGE", "/a")).await;
    // What a stranger says of itself does not count.
    refused(
        ELSEWHERE,
        request("PURGE", "/a").header("X-Forwarded-For", "10.1.1.1"),
    )
    .await;
    refused(
        ELSEWHERE,
        request("PURGE", "/a").header("X-Real-IP", "10.1.1.1"),
    )
    .await;
    refused(TOKEN, request("PURGE", "/a")).await;
    refused(
        TOKEN,
        request("PURGE", "/a").header("Authorization", "Bearer s3cre"),
    )
    .await;
    refused(TOKEN, request("PURGE", "/*").header("Fastly-Key", "")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_the_proxy_in_front_vouches_for_may() {
    let toml = "[server]\ntrusted_proxies = [\"127.0.0.1\"]\n[purge]\nallow = [\"10.0.0.0/8\"]\n[[route]]\nto = \"{o1}\"";
    let (_o, e) = filled(toml).await;
    let from = |client: &str| {
        let sent = request("PURGE", "/a").header("X-Forwarded-For", client);
        e.client().request(sent).send()
    };
    from("192.0.2.1").await.expect(403);
    // The proxy's own address is not one of those that may.
    e.client()
        .request(request("PURGE", "/a"))
        .send()
        .await
        .expect(403);
    assert_eq!(kept(&e).await, [true; 3]);
    from("192.0.2.1, 10.1.2.3").await.expect(200);
    assert_eq!(kept(&e).await, [false, true, true]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_opens_it_in_both_fields_and_over_both_versions() {
    let toml = "[purge]\ntoken = \"s3cret\"\n[[route]]\nto = \"{o1}\"";
    let (_o, e) = filled(toml).await;
    let bearer = request("PURGE", "/a").header("Authorization", "Bearer s3cret");
    e.client().request(bearer).send().await.expect(200);
    let key = request("PURGE", "/b").header("Fastly-Key", "s3cret");
    e.client().request(key).send().await.expect(200);
    let h2 = e.client().h2().await;
    let key = request("PURGE", "/img/c").header("fastly-key", "s3cret");
    h2.send(key).await.expect(200);
    assert_eq!(kept(&e).await, [false; 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_changes_who_may() {
    let (_o, e) = filled("[[route]]\nto = \"{o1}\"").await;
    let purge = || e.client().request(request("PURGE", "/a")).send();
    purge().await.expect(405);
    e.reload_with(ALLOWED).await;
    purge().await.expect(200);
    e.reload_with("[purge]\ntoken = \"x\"\n[[route]]\nto = \"{o1}\"")
        .await;
    purge().await.expect(403);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_route_is_for_may_still_be_purged_by_tag() {
    let toml = "[purge]\nallow = [\"loopback\"]\n[[route]]\nhost = \"site.test\"\nmethod = [\"GET\"]\nto = \"{o1}\"";
    let (_o, e) = filled(toml).await;
    let sent = request("PURGEKEYS", "/")
        .host("127.0.0.1")
        .header("xkey-purge", "ez-all");
    e.client().request(sent).send().await.expect(200);
    assert_eq!(kept(&e).await, [false, false, true]);
}
