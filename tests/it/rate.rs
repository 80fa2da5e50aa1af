//! Rate limits: who asks too often is told so and when to come back, by whichever lane and protocol, and nobody else is.
//!
//! Rates here are by the hour, so that nothing becomes free while a test runs.

use crate::express::asks;
use crate::express_holds::slowly;
use crate::rig::{Client, Edge, Origin, Request, Response, edge, get, ok, origin, post};

const PROXIED: &str = "[server]\ntrusted_proxies = [\"loopback\"]\n";

async fn limited(toml: &str) -> (Origin, Edge) {
    let o = origin("o1")
        .on("/hit", ok().max_age(600).etag("\"v1\"").body("stored"))
        .on("*", ok().no_store().body("passed"))
        .start()
        .await;
    let e = edge(toml).origin(&o).start().await;
    (o, e)
}

/// A request of this client, by the word of a proxy in front.
fn by(client: &str, asked: Request) -> Request {
    asked.header("X-Forwarded-For", client)
}

async fn status(c: &Client, asked: Request) -> u16 {
    c.request(asked).send().await.status
}

/// It says which limit it was and when to come back.
fn expect_limited(got: Response, limit: &str, burst: u32, window: u32) -> u64 {
    let got = got
        .expect(429)
        .header(
            "RateLimit-Policy",
            &format!("\"{limit}\";q={burst};w={window}"),
        )
        .header("Cache-Control", "no-store");
    let wait: u64 = got.value("Retry-After").parse().expect("seconds");
    got.header("RateLimit", &format!("\"{limit}\";r=0;t={wait}"));
    wait
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_the_burst_it_is_429_and_the_origin_hears_nothing() {
    let (o, e) = limited(
        "[rate_limit.api]\nrate = \"60/h\"\nburst = 3\n[[route]]\npath = \"/api\"\nto = \"{o1}\"\nrate_limit = \"api\"\n[[route]]\nto = \"{o1}\"",
    )
    .await;
    let c = e.client();
    let mut k = c.connect().await;
    for _ in 0..3 {
        let got = k.get("/api/a").await.expect(200);
        got.no_header("RateLimit").no_header("RateLimit-Policy");
    }
    let wait = expect_limited(k.get("/api/b").await, "api", 3, 180);
    assert!((1..=60).contains(&wait), "{wait}");
    // The connection stays, a body that is in the way is skipped, and other routes are not concerned.
    expect_limited(k.send(&post("/api/c", "a body")).await, "api", 3, 180);
    k.get("/elsewhere").await.expect(200);
    let h2 = c.h2().await;
    expect_limited(h2.get("/api/d").await, "api", 3, 180);
    assert_eq!(o.requests().len(), 4);
    let line = e.log_line("/api/b").await;
    assert_eq!(
        (&line["status"], &line["error"]),
        (&429.into(), &"rate-limited".into())
    );
    e.metric_becomes(
        "forebay_rate_limited_total{limit=\"api\",mode=\"enforced\"}",
        3.0,
    )
    .await;
    assert!((e.metric("forebay_rate_limit_keys{limit=\"api\"}").await - 1.0).abs() < f64::EPSILON);
    e.stderr("rate limit `api` (60/h) refuses requests").await;
    let stats = e.admin().get("/stats").send().await.expect(200).json();
    let limit = &stats["rate_limits"][0];
    let told = (&limit["name"], &limit["refused"], &limit["dry_run"]);
    assert_eq!(told, (&"api".into(), &3.into(), &false.into()), "{stats:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_are_counted_apart() {
    let (_o, e) = limited(&format!(
        "{PROXIED}[[route]]\nto = \"{{o1}}\"\nrate_limit = {{ rate = \"2/h\", burst = 2, except = [\"192.0.2.128/25\"] }}"
    ))
    .await;
    let c = e.client();
    for (client, expected) in [
        ("192.0.2.1", 200),
        ("192.0.2.1", 200),
        ("192.0.2.1", 429),
        ("192.0.2.2", 200),
        ("2001:db8::1", 200),
        ("2001:db8::2", 200),
        ("2001:db8::3", 429),
        ("2001:db8:0:1::3", 200),
        ("192.0.2.129", 200),
        ("192.0.2.129", 200),
        ("192.0.2.129", 200),
    ] {
        assert_eq!(
            status(&c, by(client, get("/a"))).await,
            expected,
            "{client}"
        );
    }
    // Without a name of its own it is called as the route.
    let got = c.request(by("192.0.2.1", get("/a"))).send().await;
    expect_limited(got, "/", 2, 3_600);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_fields_and_cookies() {
    let own = |path: &str, key: &str| {
        format!(
            "[[route]]\npath = \"/{path}\"\nto = \"{{o1}}\"\nrate_limit = {{ rate = \"1/h\", key = \"{key}\" }}\n"
        )
    };
    let all = "[rate_limit.all]\nrate = \"1/h\"\nkey = \"all\"\n[[route]]\npath = \"/one\"\nto = \"{o1}\"\nrate_limit = \"all\"\n[[route]]\npath = \"/other\"\nredirect = \"/\"\nrate_limit = [\"all\"]\n";
    let toml = [
        PROXIED,
        all,
        &own("route", "route"),
        &own("header", "header:X-Api-Key"),
        &own("cookie", "cookie:sid"),
    ];
    let (_o, e) = limited(&toml.concat()).await;
    let c = e.client();
    let key = |value: &str| get("/header").header("x-api-key", value);
    let sid = |value: &str| get("/cookie").header("Cookie", &format!("a=b; sid={value}"));
    for (client, asked, expected) in [
        ("192.0.2.1", get("/route"), 200),
        ("192.0.2.2", get("/route"), 429),
        ("192.0.2.1", get("/one"), 200),
        ("192.0.2.2", get("/other"), 429),
        ("192.0.2.1", key("a"), 200),
        ("192.0.2.2", key("a"), 429),
        ("192.0.2.2", key("b"), 200),
        ("192.0.2.2", get("/header"), 200),
        ("192.0.2.2", get("/header"), 429),
        ("192.0.2.1", sid("a"), 200),
        ("192.0.2.2", sid("a"), 429),
        ("192.0.2.1", get("/cookie"), 200),
        ("192.0.2.1", get("/cookie").header("Cookie", "a=b"), 429),
    ] {
        let told = format!("{client} {asked:#?}");
        assert_eq!(status(&c, by(client, asked)).await, expected, "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hits_count_in_both_lanes_and_refusals_are_never_stored() {
    let (o, e) = limited(
        "[[route]]\nname = \"r\"\nto = \"{o1}\"\nrate_limit = { rate = \"6/h\", burst = 6 }\ncache = { ttl_by_status = { 429 = \"1h\" } }",
    )
    .await;
    let mut k = e.client().connect().await;
    k.get("/hit").await.expect(200);
    // Of the five that are left each lane gives two, and HTTP/2 one.
    for _ in 0..2 {
        asks(&e, &mut k, &get("/hit"), true)
            .await
            .expect(200)
            .body("stored");
        k.write(slowly(&get("/hit"), "site.test")).await;
        k.response("GET").await.expect(200).body("stored");
    }
    let h2 = e.client().h2().await;
    h2.get("/hit").await.expect(200).body("stored");
    expect_limited(asks(&e, &mut k, &get("/hit"), false).await, "r", 6, 3_600);
    expect_limited(h2.get("/hit").await, "r", 6, 3_600);
    // Each refusal was one, whichever lane looked first.
    e.metric_becomes("forebay_rate_limited_total{limit=\"r\"}", 2.0)
        .await;
    assert_eq!(o.requests().len(), 1);
    // Who is not limited gets what is stored.
    e.reload_with("[[route]]\nname = \"r\"\nto = \"{o1}\"")
        .await;
    k.get("/hit")
        .await
        .expect(200)
        .body("stored")
        .no_header("RateLimit");
    assert_eq!(o.requests().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn several_limits_hold_together_and_a_refusal_costs_none_of_them() {
    let (_o, e) = limited(
        "[rate_limit.wide]\nrate = \"4/h\"\nburst = 4\n[rate_limit.narrow]\nrate = \"2/h\"\nburst = 2\n[[route]]\npath = \"/both\"\nto = \"{o1}\"\nrate_limit = [\"wide\", \"narrow\"]\n[[route]]\nto = \"{o1}\"\nrate_limit = \"wide\"",
    )
    .await;
    let mut k = e.client().connect().await;
    for _ in 0..2 {
        k.get("/both").await.expect(200);
    }
    for _ in 0..5 {
        expect_limited(k.get("/both").await, "narrow", 2, 3_600);
    }
    for _ in 0..2 {
        k.get("/wide").await.expect(200);
    }
    expect_limited(k.get("/wide").await, "wide", 4, 3_600);
    expect_limited(k.get("/both").await, "wide", 4, 3_600);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_forgets_only_what_counts_otherwise() {
    let toml = |rate: &str, more: &str| {
        format!(
            "[rate_limit.api]\nrate = \"{rate}\"\nburst = 1\n{more}\n[[route]]\nname = \"r\"\nto = \"{{o1}}\"\nrate_limit = \"api\""
        )
    };
    let (_o, e) = limited(&toml("1/h", "")).await;
    let c = e.client();
    assert_eq!(status(&c, get("/a")).await, 200);
    e.reload_with(&toml(
        "1/h",
        "except = [\"192.0.2.1\"]\n[log]\nlevel = \"debug\"",
    ))
    .await;
    assert_eq!(status(&c, get("/a")).await, 429);
    e.write(&toml("2/h", ""));
    let told = e.reload().await.expect(200).text();
    assert!(told.contains("rate limit `api`: changed"), "{told}");
    assert_eq!(status(&c, get("/a")).await, 200);
    assert_eq!(status(&c, get("/a")).await, 429);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_counts_and_refuses_nothing() {
    let (_o, e) = limited(
        "[[route]]\nname = \"r\"\nto = \"{o1}\"\nrate_limit = { rate = \"1/h\", dry_run = true }",
    )
    .await;
    let mut k = e.client().connect().await;
    k.get("/hit").await.expect(200);
    // Whoever is admitted is admitted by either lane, and counted once.
    asks(&e, &mut k, &get("/hit"), true).await.expect(200);
    k.get("/a").await.expect(200).no_header("RateLimit");
    let line = e.log_line("/a").await;
    assert_eq!(line["error"], serde_json::Value::Null);
    e.metric_becomes(
        "forebay_rate_limited_total{limit=\"r\",mode=\"dry-run\"}",
        2.0,
    )
    .await;
    e.stderr("rate limit `r` (1/h) would refuse requests").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_is_explained_without_taking_of_it() {
    let (_o, e) = limited(
        "[rate_limit.api]\nrate = \"2/h\"\nburst = 2\n[[route]]\nname = \"r\"\nto = \"{o1}\"\nrate_limit = \"api\"",
    )
    .await;
    let ask = async |client: &str| {
        let question = serde_json::json!({ "url": "http://site.test/hit", "client": client });
        let asked =
            post("/explain", question.to_string()).header("Content-Type", "application/json");
        e.admin().request(asked).send().await.expect(200).json()
    };
    let left = |said: &serde_json::Value| said["rate_limits"][0]["left"].clone();
    for _ in 0..3 {
        assert_eq!(left(&ask("127.0.0.1").await), 2);
    }
    e.client().get("/hit").send().await.expect(200);
    let said = ask("127.0.0.1").await;
    assert_eq!(
        (left(&said), &said["express"]),
        (1.into(), &true.into()),
        "{said:#}"
    );
    e.client().get("/hit").send().await.expect(200);
    let said = ask("127.0.0.1").await;
    assert_eq!(said["refused"]["word"], "rate-limited", "{said:#}");
    assert_eq!(
        (&said["refused"]["status"], &said["express"]),
        (&429.into(), &false.into())
    );
    assert_eq!(left(&ask("192.0.2.1").await), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_clients_does_not_displace_who_floods() {
    let (_o, e) = limited(&format!(
        "{PROXIED}[[route]]\nname = \"r\"\nto = \"{{o1}}\"\nrate_limit = {{ rate = \"20/h\", burst = 20, keys = 64 }}"
    ))
    .await;
    let mut k = e.client().connect().await;
    for _ in 0..20 {
        k.send(&by("192.0.2.1", get("/hit"))).await.expect(200);
    }
    for n in 0..600 {
        let client = format!("10.0.{}.{}", n / 250, n % 250 + 1);
        k.send(&by(&client, get("/hit"))).await.expect(200);
    }
    k.send(&by("192.0.2.1", get("/hit"))).await.expect(429);
    let keys = e.metric("forebay_rate_limit_keys{limit=\"r\"}").await;
    assert!((32.0..=64.0).contains(&keys), "{keys}");
    let forgotten = e
        .metric("forebay_rate_limit_forgotten_total{limit=\"r\"}")
        .await;
    assert!((500.0..=600.0).contains(&forgotten), "{forgotten}");
}
