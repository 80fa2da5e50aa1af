//! How a server is chosen among several: in turn, by load, by key; and when backups serve.

use std::collections::HashMap;

use crate::rig::{Edge, Origin, edge, gate, get, ok, origin};

async fn three(settings: &str) -> ([Origin; 3], Edge) {
    let [a, b, c] = ["a", "b", "c"].map(|name| origin(name).on("*", ok().body(name)));
    let origins = [a.start().await, b.start().await, c.start().await];
    let toml = format!(
        "[upstream.o]\nservers = [\"{{a}}\", \"{{b}}\", \"{{c}}\"]\n{settings}\n[[route]]\nto = \"o\""
    );
    let [a, b, c] = &origins;
    let e = edge(&toml).origin(a).origin(b).origin(c).start().await;
    (origins, e)
}

#[tokio::test(flavor = "multi_thread")]
async fn round_robin_takes_turns() {
    // One data thread, so that there is one order.
    let [a, b, c] = ["a", "b", "c"].map(|name| origin(name).on("*", ok().body(name)));
    let (a, b, c) = (a.start().await, b.start().await, c.start().await);
    let toml = "[server]\nthreads = 1\n[upstream.o]\nservers = [\"{a}\", \"{b}\", \"{c}\"]\n[[route]]\nto = \"o\"";
    let e = edge(toml).origin(&a).origin(&b).origin(&c).start().await;
    let mut k = e.client().connect().await;
    let mut turns = String::new();
    for _ in 0..9 {
        turns += &k.get("/").await.expect(200).text();
    }
    assert_eq!(turns[..3].repeat(3), turns);
    assert_eq!(
        [a.requests().len(), b.requests().len(), c.requests().len()],
        [3, 3, 3]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn round_robin_by_weight() {
    let (a, b) = (
        origin("a").on("*", ok()).start().await,
        origin("b").on("*", ok()).start().await,
    );
    let toml = "[server]\nthreads = 1\n[upstream.o]\nservers = [{ url = \"{a}\", weight = 3 }, \"{b}\"]\n[[route]]\nto = \"o\"";
    let e = edge(toml).origin(&a).origin(&b).start().await;
    let mut k = e.client().connect().await;
    for _ in 0..40 {
        k.get("/").await.expect(200);
    }
    assert_eq!((a.requests().len(), b.requests().len()), (30, 10));
}

#[tokio::test(flavor = "multi_thread")]
async fn least_conn_avoids_the_busy_one() {
    let held = gate();
    let a = origin("a")
        .on("/slow", ok().hold(&held).body("a"))
        .on("*", ok().body("a"))
        .start()
        .await;
    let b = origin("b")
        .on("/slow", ok().hold(&held).body("b"))
        .on("*", ok().body("b"))
        .start()
        .await;
    let toml = "[upstream.o]\nservers = [\"{a}\", \"{b}\"]\nbalance = \"least_conn\"\n[[route]]\nto = \"o\"";
    let e = edge(toml).origin(&a).origin(&b).start().await;
    let slow = e.client().get("/slow").spawn();
    // Whichever has the slow one; all others go to the other.
    let busy = tokio::select! {
        _ = a.head(0) => "a",
        _ = b.head(0) => "b",
    };
    for _ in 0..10 {
        let got = e.client().get("/quick").send().await.expect(200).text();
        assert_ne!(got, busy);
    }
    held.open();
    slow.await.unwrap().expect(200);
}

/// Sends requests that differ in `key` and gives the server that each went to.
async fn spread(
    e: &Edge,
    requests: impl IntoIterator<Item = (String, crate::rig::Request)>,
) -> HashMap<String, String> {
    let mut went = HashMap::new();
    for (key, request) in requests {
        let server = e.client().request(request).send().await.expect(200).text();
        if let Some(before) = went.insert(key.clone(), server.clone()) {
            assert_eq!(before, server, "{key} went to two servers");
        }
    }
    went
}

fn distinct(went: &HashMap<String, String>) -> usize {
    went.values()
        .collect::<std::collections::HashSet<_>>()
        .len()
}

#[tokio::test(flavor = "multi_thread")]
async fn hashing_keeps_a_key_at_its_server() {
    let twice = || (0..60).map(|n| n % 30);
    let (_o, e) = three("balance = \"hash:path\"").await;
    let went = spread(
        &e,
        twice().map(|n| (format!("/{n}"), get(&format!("/{n}?x={n}")))),
    )
    .await;
    assert_eq!(distinct(&went), 3, "thirty keys spread over all");

    let (_o, e) = three("balance = \"hash:header:X-User\"").await;
    let went = spread(
        &e,
        twice().map(|n| (format!("u{n}"), get("/").header("x-user", &format!("u{n}")))),
    )
    .await;
    assert_eq!(distinct(&went), 3);

    let (_o, e) = three("balance = \"hash:cookie:sid\"").await;
    let went = spread(
        &e,
        twice().map(|n| {
            (
                format!("s{n}"),
                get("/").header("Cookie", &format!("a=b; sid=s{n}")),
            )
        }),
    )
    .await;
    assert_eq!(distinct(&went), 3);

    let (_o, e) = three("balance = \"hash:client\"").await;
    let went = spread(
        &e,
        twice().map(|n| ("me".to_owned(), get(&format!("/{n}")))),
    )
    .await;
    assert_eq!(distinct(&went), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn when_a_hashed_server_goes_only_its_keys_move() {
    let ([mut a, b, c], e) = three("balance = \"hash:path\"").await;
    let paths = || (0..30).map(|n| (format!("/{n}"), get(&format!("/{n}"))));
    let before = spread(&e, paths()).await;
    a.down().await;
    let after = spread(&e, paths()).await;
    for (key, server) in &before {
        if server != "a" {
            assert_eq!(
                &after[key], server,
                "{key} moved although its server stayed"
            );
        }
    }
    drop((b, c));
}

#[tokio::test(flavor = "multi_thread")]
async fn backups_serve_only_while_nobody_else_does() {
    let mut a = origin("a").on("*", ok().body("a")).start().await;
    let b = origin("b").on("*", ok().body("b")).start().await;
    let toml = "[upstream.o]\nservers = [\"{a}\", { url = \"{b}\", backup = true }]\neject = { failures = 1, duration = \"300ms\" }\nhealth = { tcp = true, every = \"50ms\", every_down = \"50ms\", unhealthy = 1 }\n[[route]]\nto = \"o\"";
    let e = edge(toml).origin(&a).origin(&b).start().await;
    for _ in 0..10 {
        e.client().get("/").send().await.expect(200).body("a");
    }
    a.down().await;
    for _ in 0..10 {
        e.client().get("/").send().await.expect(200).body("b");
    }
    a.up().await;
    e.metric_becomes(
        &format!(
            "forebay_upstream_up{{upstream=\"o\",addr=\"{}\"}}",
            a.addr()
        )
        .replace(",addr", ",server"),
        1.0,
    )
    .await;
    e.client().get("/").send().await.expect(200).body("a");
}
