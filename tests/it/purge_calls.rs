//! Purging and looking by the control plane and the command line: what is gone, what is left, and what is said.

use serde_json::{Value, json};

use crate::rig::{Edge, Origin, Response, edge, ok, origin, run_forebay};

/// An edge in front of an origin with a page in two variants, one with a query, one on another host, and one of another
/// part of the site; all of them stored.
async fn filled() -> (Origin, Edge) {
    let o = origin("o1")
        .on(
            "/items",
            ok().max_age(600)
                .vary("accept-language")
                .header("surrogate-key", "items all")
                .body("i"),
        )
        .on(
            "/items/1",
            ok().max_age(600)
                .header("cache-tag", "items,item 1")
                .body("one"),
        )
        .on("/itemsx", ok().max_age(600).body("x"))
        .start()
        .await;
    let toml = "[[route]]\nname = \"shop\"\nto = \"{o1}\"";
    let e = edge(toml).origin(&o).start().await;
    for language in ["de", "en"] {
        let get = e.client().get("/items").header("accept-language", language);
        get.send().await.expect(200);
    }
    e.client().get("/items/1?x=1").send().await.expect(200);
    e.client().get("/itemsx").send().await.expect(200);
    e.client()
        .get("/itemsx")
        .host("other.test")
        .send()
        .await
        .expect(200);
    (o, e)
}

async fn purge(e: &Edge, body: Value) -> Response {
    e.admin().post("/purge", body.to_string()).send().await
}

/// Which of the stored answers are still given without asking: both languages, the item, `x`, `x` of the other host.
async fn kept(e: &Edge) -> [bool; 5] {
    let c = e.client();
    let mut kept = [false; 5];
    let asked = [
        c.get("/items").header("accept-language", "de"),
        c.get("/items").header("accept-language", "en"),
        c.get("/items/1?x=1"),
        c.get("/itemsx"),
        c.get("/itemsx").host("other.test"),
    ];
    for (kept, asked) in kept.iter_mut().zip(asked) {
        let status = asked.header("cache-control", "only-if-cached").send().await;
        *kept = status.status == 200;
    }
    kept
}

#[tokio::test(flavor = "multi_thread")]
async fn what_each_scope_covers() {
    for (body, matched, left) in [
        (
            json!({"url": "http://site.test/items"}),
            json!(2),
            [false, false, true, true, true],
        ),
        (
            json!({"url": "https://SITE.test:443/items"}),
            json!(2),
            [false, false, true, true, true],
        ),
        (
            json!({"url": "/itemsx"}),
            json!(null),
            [true, true, true, false, false],
        ),
        (
            json!({"url": "http://site.test/x/../items/1?x=1"}),
            json!(1),
            [true, true, false, true, true],
        ),
        (
            json!({"prefix": "http://site.test/items/"}),
            json!(null),
            [false, false, false, true, true],
        ),
        (
            json!({"prefix": "/items"}),
            json!(null),
            [false, false, false, true, true],
        ),
        (
            json!({"host": "other.test"}),
            json!(null),
            [true, true, true, true, false],
        ),
        (
            json!({"tag": "items"}),
            json!(3),
            [false, false, false, true, true],
        ),
        (
            json!({"tags": ["item 1", "nobody's"]}),
            json!(1),
            [true, true, false, true, true],
        ),
        (json!({"all": true}), json!(null), [false; 5]),
    ] {
        let (_o, e) = filled().await;
        assert_eq!(kept(&e).await, [true; 5], "{body}");
        let dry = {
            let mut body = body.clone();
            body["dry_run"] = json!(true);
            purge(&e, body).await.expect(200).json()
        };
        assert_eq!(kept(&e).await, [true; 5], "a dry run of {body}");
        let expected = left.iter().filter(|left| !**left).count();
        assert_eq!(dry["matched"], json!(expected), "{dry:#}");
        assert_eq!(
            dry["entries"].as_array().unwrap().len(),
            expected,
            "{dry:#}"
        );
        let told = purge(&e, body.clone()).await.expect(200).json();
        if !matched.is_null() {
            assert_eq!(told["matched"], matched, "{body}: {told:#}");
        }
        assert_eq!(kept(&e).await, left, "{body}: {told:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_matched_is_404() {
    let (_o, e) = filled().await;
    for body in [
        json!({"url": "http://site.test/nothing"}),
        json!({"tag": "nobody's"}),
        json!({"prefix": "/nothing/", "dry_run": true}),
    ] {
        let told = purge(&e, body.clone()).await.expect(404).json();
        assert_eq!(told["matched"], 0, "{body}: {told:#}");
        assert!(
            told["error"]
                .as_str()
                .unwrap()
                .contains("nothing that is stored"),
            "{told:#}"
        );
    }
    assert_eq!(kept(&e).await, [true; 5]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_purged_is_fetched_anew() {
    let (o, e) = filled().await;
    o.change("/itemsx", ok().max_age(600).body("new"));
    e.client().get("/itemsx").send().await.expect(200).body("x");
    purge(&e, json!({"url": "http://site.test/itemsx"}))
        .await
        .expect(200);
    e.client()
        .get("/itemsx")
        .send()
        .await
        .expect(200)
        .body("new");
    // The other host's is another resource.
    e.client()
        .get("/itemsx")
        .host("other.test")
        .send()
        .await
        .expect(200)
        .body("x");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stored_is_listed_shown_and_counted() {
    let (_o, e) = filled().await;
    let get = |target: &'static str| {
        let asked = e.admin().get(target);
        async { asked.send().await.expect(200).json() }
    };
    let all = get("/cache").await;
    assert_eq!(
        (&all["total"], &all["more"]),
        (&json!(5), &json!(false)),
        "{all:#}"
    );
    let some = get("/cache?order=size&limit=2&host=site.test").await;
    assert_eq!(
        (&some["total"], &some["more"]),
        (&json!(4), &json!(true)),
        "{some:#}"
    );
    assert_eq!(some["entries"].as_array().unwrap().len(), 2);

    let item = get("/cache/entry?url=http%3A%2F%2Fsite.test%2Fitems%2F1%3Fx%3D1").await;
    let item = &item["entries"][0];
    assert_eq!(item["url"], "http://site.test/items/1?x=1", "{item:#}");
    assert_eq!(
        (&item["route"], &item["status"], &item["state"]),
        (&json!("shop"), &json!(200), &json!("fresh"))
    );
    assert!(item["ttl"].as_i64().unwrap() > 500, "{item:#}");
    let pair = get("/cache/entry?url=/items").await;
    assert_eq!(pair["total"], 2, "{pair:#}");
    assert_eq!(
        pair["entries"][0]["vary"],
        json!(["accept-language"]),
        "{pair:#}"
    );
    e.admin()
        .get("/cache/entry?url=/nothing")
        .send()
        .await
        .expect(404);

    let stats = get("/cache/stats").await;
    assert_eq!(
        (&stats["keys"], &stats["total"]["entries"]),
        (&json!(4), &json!(5)),
        "{stats:#}"
    );
    assert_eq!(stats["routes"]["shop"]["fresh"], 5, "{stats:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_finds_the_proxy_by_its_configuration() {
    let (_o, e) = filled().await;
    let forebay = |line: &'static str| {
        let args: Vec<&str> = line.split(' ').collect();
        let dir = e.dir().to_owned();
        async move { run_forebay(&dir, &args).await }
    };
    forebay("cache ls")
        .await
        .expect(0)
        .says("http://site.test/items/1?x=1")
        .says("5 responses");
    let listed = forebay("cache ls --host site.test --limit 1 --order size")
        .await
        .expect(0);
    listed.says("1 of 4 responses");
    let listed = forebay("cache ls --limit 10000").await.expect(0);
    assert!(
        listed
            .stdout
            .lines()
            .all(|line| line.chars().count() <= 120),
        "{listed:#?}"
    );
    forebay("cache ls --limit 10001")
        .await
        .expect(2)
        .complains("from 0 to 10000");
    forebay("cache show /items")
        .await
        .expect(0)
        .says("vary    accept-language")
        .says("route   shop");
    forebay("cache show /nothing")
        .await
        .expect(4)
        .complains("nothing is stored for `/nothing`");
    forebay("cache stats")
        .await
        .expect(0)
        .says("5 responses for 4 keys")
        .says("shop");
    let stats = forebay("cache stats --json").await.expect(0);
    let stats: Value = serde_json::from_str(&stats.stdout).unwrap();
    assert_eq!(stats["keys"], 4, "{stats:#}");

    forebay("purge --prefix /items --dry-run")
        .await
        .expect(0)
        .says("would purge prefix:/items: 3 responses");
    assert_eq!(kept(&e).await, [true; 5]);
    forebay("purge --url http://site.test/items --config proxy.toml")
        .await
        .expect(0)
        .says("2 responses");
    assert_eq!(kept(&e).await, [false, false, true, true, true]);
    forebay("purge --url http://site.test/items")
        .await
        .expect(4)
        .complains("nothing that is stored");
    forebay("purge --tag nobodys --json")
        .await
        .expect(4)
        .says("\"matched\": 0");
    forebay("purge --prefix x")
        .await
        .expect(2)
        .complains("expected a path");
    forebay("purge").await.expect(2);
    let purged = forebay("purge --all --json").await.expect(0);
    let purged: Value = serde_json::from_str(&purged.stdout).unwrap();
    assert_eq!(
        (&purged["purged"], &purged["mode"]),
        (&json!("all"), &json!("hard"))
    );
    assert_eq!(kept(&e).await, [false; 5]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_soft_purge_serves_what_is_stale_and_fetches_anew() {
    let o = origin("o1")
        .on(
            "/a",
            ok().max_age(600)
                .directive("stale-while-revalidate=600")
                .body("old"),
        )
        .start()
        .await;
    let e = edge("[[route]]\nto = \"{o1}\"").origin(&o).start().await;
    e.client().get("/a").send().await.expect(200).body("old");
    o.change("/a", ok().max_age(600).body("new"));
    let told = purge(&e, json!({"url": "/a", "soft": true}))
        .await
        .expect(200)
        .json();
    assert_eq!(told["mode"], "soft", "{told:#}");
    e.client().get("/a").send().await.expect(200).body("old");
    e.becomes("/a", "new").await;
    assert_eq!(o.fetches("/a"), 2);
}
