//! Many clients want what is not there: one fetch, streamed to all, whatever becomes of it or of them.
//!
//! Gates stand where an origin takes its time, so that each scenario sees the moment it is about. The last scenarios
//! have no gates but an origin that really is so slow.

use serde_json::Value;

use crate::rig::{
    App, Crowd, Edge, Gate, Origin, Reply, Seen, edge, free_port, gate, get, ok, origin, python,
    raw, repository, reset,
};

const ROUTE: &str = "[[route]]\nto = \"{o1}\"";
/// Forty kilobytes before the gate in a body's middle, forty after it: more than any buffer of a kernel's guess.
const HALF: usize = 40_000;
/// Seconds that a client's first octet may be behind the origin's. The promise is 0.3 s, for 500 clients of the program as it
/// is shipped; an unoptimised one, and clients as slow, get more.
const LAG: f64 = if cfg!(debug_assertions) { 1.5 } else { 0.3 };

fn halves() -> (String, String) {
    ("a".repeat(HALF), "b".repeat(HALF))
}

/// An answer that is held before its head by one gate, and in the middle of its body by another.
fn held(reply: Reply, head: &Gate, middle: &Gate) -> Reply {
    let (a, b) = halves();
    reply
        .hold(head)
        .length(2 * HALF)
        .data(a)
        .hold(middle)
        .data(b)
}

/// An edge in front of one origin that answers "/a" so, and anything else with a plain 200.
async fn behind(reply: Reply) -> (Origin, Edge) {
    let o = origin("o1")
        .on("/a", reply)
        .on("/other", ok().body("other"))
        .start()
        .await;
    let e = edge(ROUTE).origin(&o).start().await;
    (o, e)
}

/// Everybody has the whole body.
async fn all_whole(crowd: Crowd) -> Vec<Seen> {
    let (a, b) = halves();
    let seen = crowd.all().await;
    for one in &seen {
        one.response.clone().expect(200).body(format!("{a}{b}"));
    }
    seen
}

fn slowest(lags: impl Iterator<Item = f64>) -> f64 {
    lags.fold(0.0, f64::max)
}

#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_clients_share_one_fetch_and_see_it_as_it_comes() {
    let (head, middle) = (gate(), gate());
    let (o, e) = behind(held(ok().max_age(60), &head, &middle)).await;
    let crowd = e.client().crowd(500, &get("/a"));
    crowd.asked().await;
    o.fetched("/a", 1).await;
    // Behind this gate the origin is silent: nobody can have a byte before it opens.
    let opened = forebay::clock::now();
    head.open();
    crowd.begun(500).await;
    // The second gate is still shut: what they have seen was streamed, not kept until the end.
    assert_eq!(crowd.done(), 0);

    // Late ones start at once with what is there.
    let late = e.client().crowd(50, &get("/a"));
    late.begun(50).await;
    assert_eq!((crowd.done(), late.done()), (0, 0));
    middle.open();
    let (seen, late) = (all_whole(crowd).await, all_whole(late).await);

    assert_eq!(o.fetches("/a"), 1);
    let lag = slowest(seen.iter().map(|one| one.lag(opened)));
    assert!(
        lag < LAG,
        "the last first byte came {lag:.3} s after the origin's"
    );
    let lag = slowest(late.iter().map(|one| one.lag(one.asked)));
    assert!(lag < LAG, "a late one waited {lag:.3} s for what was there");
    // One of them led, and says so by not having been collapsed.
    let leaders = seen
        .iter()
        .filter(|one| !one.response.cache().has("collapsed"));
    assert_eq!(leaders.count(), 1);
    for one in &seen {
        one.response.clone().cache_status("fwd=uri-miss; stored");
    }
    let hit = e.client().get("/a").send().await.expect(200);
    hit.cache_status("hit; ttl").aged(0);
    assert_eq!(o.fetches("/a"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn both_protocols_follow_the_same_fetch() {
    let (head, middle) = (gate(), gate());
    let (o, e) = behind(held(ok().max_age(60), &head, &middle)).await;
    let h2 = e.client().h2().await;
    let streams: Vec<_> = (0..20)
        .map(|_| {
            let h2 = h2.clone();
            tokio::spawn(async move { h2.get("/a").await })
        })
        .collect();
    let crowd = e.client().crowd(20, &get("/a"));
    crowd.asked().await;
    o.fetched("/a", 1).await;
    head.open();
    crowd.begun(20).await;
    middle.open();
    all_whole(crowd).await;
    let (a, b) = halves();
    for stream in streams {
        stream.await.unwrap().expect(200).body(format!("{a}{b}"));
    }
    assert_eq!(o.fetches("/a"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_be_shared_frees_all_who_wait_at_once() {
    let (head, middle) = (gate(), gate());
    let (o, e) = behind(held(ok().no_store(), &head, &middle)).await;
    let crowd = e.client().crowd(100, &get("/a"));
    crowd.asked().await;
    o.fetched("/a", 1).await;
    assert_eq!(o.fetches("/a"), 1);
    head.open();
    // The first body is still under way, held by the second gate: the verdict came with the head, and nobody queues.
    o.fetched("/a", 100).await;
    crowd.begun(100).await;
    assert_eq!(crowd.done(), 0);
    middle.open();
    for one in all_whole(crowd).await {
        one.response.no_cache_status("hit; stored");
    }
    assert_eq!(o.fetches("/a"), 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn that_something_may_not_be_shared_is_remembered() {
    let (head, open) = (gate(), gate());
    open.open();
    let (o, e) = behind(held(ok().no_store(), &open, &open)).await;
    let first = e.client().get("/a").send().await.expect(200);
    first.cache_status("fwd=uri-miss; detail=no-store");
    o.change("/a", held(ok().no_store(), &head, &open));
    let crowd = e.client().crowd(10, &get("/a"));
    // No head has come since, so nobody can have been told by one: all ten were sent on by memory.
    o.fetched("/a", 11).await;
    head.open();
    for one in all_whole(crowd).await {
        one.response.cache_status("fwd=uri-miss; detail=no-store");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_be_shared_again_is() {
    let o = origin("o1")
        .on("/a", ok().no_store().body("mine"))
        .then(ok().max_age(60).body("ours"))
        .start()
        .await;
    let e = edge(ROUTE).origin(&o).start().await;
    let c = e.client();
    c.get("/a").send().await.expect(200).body("mine");
    c.get("/a").send().await.expect(200).body("ours");
    // Noticed by the one that came past; at the latest the third stores it.
    c.get("/a").send().await.expect(200).body("ours");
    let hit = c.get("/a").send().await.expect(200).body("ours");
    hit.cache_status("hit");
    assert!(o.fetches("/a") <= 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fill_goes_on_when_the_one_who_began_it_leaves() {
    let (head, middle) = (gate(), gate());
    let (o, e) = behind(held(ok().max_age(60), &head, &middle)).await;
    let mut leader = e.client().connect().await;
    leader.start(&get("/a")).await;
    o.fetched("/a", 1).await;
    let crowd = e.client().crowd(10, &get("/a"));
    crowd.asked().await;
    head.open();
    crowd.begun(10).await;
    leader.reset();
    middle.open();
    all_whole(crowd).await;
    assert_eq!(o.fetches("/a"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fill_goes_on_when_all_have_left() {
    let (head, middle) = (gate(), gate());
    let (o, e) = behind(held(ok().max_age(60), &head, &middle)).await;
    let mut only = e.client().connect().await;
    only.start(&get("/a")).await;
    o.fetched("/a", 1).await;
    head.open();
    only.read_until("aaaa").await;
    only.reset();
    e.metric_becomes("forebay_connections", 0.0).await;
    middle.open();
    // Whether it comes before or after the fill's end, the next one needs no second fetch.
    let (a, b) = halves();
    let next = e.client().get("/a").send().await.expect(200);
    next.body(format!("{a}{b}"));
    assert_eq!(o.fetches("/a"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_holds_nobody_up() {
    let big = vec![b'x'; 8 << 20];
    let (o, e) = behind(ok().max_age(60).body(&big)).await;
    // It asks first and then reads nothing at all.
    let mut slow = e.client().connect().await;
    slow.start(&get("/a")).await;
    o.fetched("/a", 1).await;
    for one in e.client().crowd(5, &get("/a")).all().await {
        one.response.expect(200).body(&big);
    }
    let hit = e.client().get("/a").send().await.expect(200).body(&big);
    hit.cache_status("hit");
    // And it gets everything when it does read.
    slow.response("GET").await.expect(200).body(&big);
    assert_eq!(o.fetches("/a"), 1);
}

/// Ten clients wait for an origin that breaks; none is fooled, nothing is kept, and the next ask is answered well.
async fn breaks(what: &str, broken: Reply) {
    let (head, good) = (gate(), "good".repeat(100));
    // It breaks when all have come, so that they are hurt together.
    let o = origin("o1")
        .on("/a", broken.hold_first(&head))
        .start()
        .await;
    let toml = "[upstream.o]\nservers = [\"{o1}\"]\nretry = { tries = 1 }\n[[route]]\nto = \"o\"";
    let e = edge(toml).origin(&o).start().await;
    let crowd = e.client().crowd(10, &get("/a"));
    crowd.asked().await;
    o.fetched("/a", 1).await;
    head.open();
    for one in crowd.all().await {
        let answer = one.response;
        // Either a gateway's error, or an answer that visibly breaks off.
        assert!(
            matches!(answer.status, 502 | 504) || answer.cut.is_some(),
            "{what}: this looks whole: {answer:#?}"
        );
    }
    o.change("/a", ok().max_age(60).body(&good));
    let next = e.client().get("/a").send().await.expect(200).body(&good);
    next.no_cache_status("hit");
    let hit = e.client().get("/a").send().await.expect(200).body(&good);
    hit.cache_status("hit");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_origin_that_breaks_leaves_nothing_behind() {
    let part = "p".repeat(5000);
    breaks("reset before the head", reset()).await;
    breaks("closed in the head", raw("HTTP/1.1 200 OK\r\nCache-Con")).await;
    breaks("no HTTP", raw("SSH-2.0-OpenSSH_9.2\r\n\r\n")).await;
    let length = || ok().max_age(60).length(10_000).data(&part);
    breaks("reset in the body", length().reset()).await;
    breaks("a short body", length().cut()).await;
    let chunked = || ok().max_age(60).chunks([&part]);
    breaks("no last chunk", chunked().cut()).await;
    breaks("a bad chunk", chunked().then_raw("xyz\r\n").cut()).await;
    breaks(
        "a chunk longer than it says",
        chunked().then_raw("2\r\nabc\r\n0\r\n\r\n").cut(),
    )
    .await;
}

/// The origin that really is slow, and an edge in front of it.
async fn slow() -> (App, String, Edge) {
    let addr = format!("127.0.0.1:{}", free_port());
    let mut command = python("python").await;
    let port = addr.rsplit(':').next().unwrap();
    command
        .arg(repository().join("tests/apps/slow.py"))
        .arg(port);
    let app = App::start(command);
    app.says("listening").await;
    let e = edge("[[route]]\nto = \"http://{slow}\"")
        .value("slow", &addr)
        .start()
        .await;
    (app, addr, e)
}

async fn counted(addr: &str, path: &str) -> Value {
    let count = crate::rig::client(addr).get(&format!("/count?path={path}"));
    count.send().await.expect(200).json()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_to_the_head_and_two_for_the_body() {
    let (_app, addr, e) = slow().await;
    let crowd = e.client().crowd(500, &get("/a?head=1&body=2&size=100000"));
    let seen = crowd.all().await;
    let counted = counted(&addr, "/a").await;
    assert_eq!(counted["count"], 1, "{counted:#}");
    // The origin's clock and ours are the same machine's.
    let (wall, now) = (forebay::clock::wall(), forebay::clock::now());
    let wall = wall
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs_f64();
    for one in seen {
        let first = one.first.expect("a body");
        let lag = wall - (now - first).as_secs_f64() - counted["first"].as_f64().unwrap();
        assert!(lag < LAG, "first byte {lag:.3} s after the origin's");
        one.response.expect(200).body("s".repeat(100_000));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_uncacheable_answers_take_no_longer_than_two() {
    let (_app, addr, e) = slow().await;
    let begun = forebay::clock::now();
    let crowd = e
        .client()
        .crowd(100, &get("/a?head=1&body=2&size=1000&cc=no-store"));
    // One second until the verdict, then one more and two for everybody's own; and half a second of ours.
    for one in crowd.all().await {
        let took = (one.ended - begun).as_secs_f64();
        assert!(took < 4.5, "one was done after {took:.2} s");
        one.response.expect(200).body("s".repeat(1000));
    }
    assert_eq!(counted(&addr, "/a").await["count"], 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_takes_longer_to_make_than_it_is_fresh_is_shared_by_who_waited() {
    let head = gate();
    let page = ok().max_age(1).body("b").hold_first(&head);
    let o = origin("o1").on("/a", page).start().await;
    let nobody = origin("o2");
    let toml = "[upstream.clock]\nservers = [\"{o2}\"]\nhold = \"1100ms\"\n\
                [[route]]\nto = \"{o1}\"\n[[route]]\npath = \"/clock\"\nto = \"clock\"";
    let e = edge(toml).origin(&o).origin(&nobody).start().await;
    let crowd = e.client().crowd(20, &get("/a"));
    e.metric_becomes("forebay_cache_followers", 20.0).await;
    // A second and a tenth.
    e.client().get("/clock").send().await.expect(503);
    head.let_one_through();
    for one in crowd.all().await {
        one.response.expect(200).body("b");
    }
    assert_eq!(o.fetches("/a"), 1);
    // It is not fresh for who comes later.
    head.let_one_through();
    let later = e.client().get("/a").send().await.expect(200);
    later.cache_status("fwd=stale");
    assert_eq!(o.fetches("/a"), 2);
}
