//! Origins and names that fail while they are used: what a client sees of it is an answer, or an end that cannot be mistaken.

use crate::rig::{WebSocket, edge, gate, get, ok, origin, post, reset, status, upgrade};

const HELD: &str = "forebay_upstream_held{upstream=\"o\"}";

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_meets_one_end_after_another_is_held_and_answered() {
    // Each time the server takes the request, and ends before it answers: more often than there are tries. Its listener goes last, so
    // that the next try may meet its end, too.
    let never = gate();
    let mut o = origin("o1")
        .on("/a", ok().hold(&never).body("never"))
        .start()
        .await;
    let toml = "[upstream.o]\nservers = [\"{o1}\"]\nhold = \"60s\"\nretry = { tries = 5 }\n[[route]]\nto = \"o\"";
    let e = edge(toml).origin(&o).start().await;
    let waiting = e.client().get("/a").spawn();
    for end in 0..6 {
        o.head(end).await;
        o.down().await;
        e.metric_becomes(HELD, 1.0).await;
        if end == 5 {
            o.change("/a", ok().body("v1"));
        }
        o.up().await;
    }
    waiting.await.unwrap().expect(200).body("v1");
    assert_eq!(o.fetches("/a"), 7);
    let resets = e
        .metric("forebay_upstream_retries_total{reason=\"reset\"}")
        .await;
    assert!(resets >= 6.0, "{resets}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_resets_and_stays_is_told_from_one_that_ends() {
    let o = origin("o1").on("*", reset()).start().await;
    let toml = "[upstream.o]\nservers = [\"{o1}\"]\nhold = \"60s\"\n[[route]]\nto = \"o\"";
    let e = edge(toml).origin(&o).start().await;
    let got = e.client().get("/a").send().await.expect(502);
    assert!(
        got.value("cache-status").contains("detail=upstream-reset"),
        "{got:#?}"
    );
    assert_eq!(o.fetches("/a"), 3);
    // A POST is sent once, whatever becomes of its server.
    e.client().post("/b", "x").send().await.expect(502);
    assert_eq!(o.fetches("/b"), 1);
}

/// It answers something else than what was asked: an end of a validation that was none, a piece for the whole.
#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_asked_for_reaches_nobody() {
    let part = |range: &str| {
        let part = status(206).max_age(60).etag("\"v1\"").body("dy");
        part.header("content-range", range)
    };
    // The fetch for all has no conditions: the client's are answered by what it brings.
    for (reply, asked, alone, shared) in [
        (status(304).etag("\"v1\""), get("/"), 502, 502),
        // Some say so of what is done already, and are well.
        (status(304), post("/", "x"), 304, 304),
        (part("bytes 2-3/4"), post("/", "x"), 206, 206),
        (
            status(304).etag("\"v1\""),
            get("/").header("If-None-Match", "\"v1\""),
            304,
            502,
        ),
        (part("bytes 2-3/4"), get("/"), 502, 502),
        (part("bytes 2-3/*"), get("/"), 502, 502),
        (part("bytes 0-1/2"), get("/"), 206, 206),
        (
            part("bytes 2-3/4"),
            get("/").header("Range", "bytes=2-3"),
            206,
            206,
        ),
    ] {
        for (cache, seen) in [(false, alone), (true, shared)] {
            let o = origin("o1").on("*", reply.clone()).start().await;
            let toml = format!("[[route]]\nto = \"{{o1}}\"\ncache = {cache}");
            let e = edge(&toml).origin(&o).start().await;
            e.client().request(asked.clone()).send().await.expect(seen);
        }
    }
    // What says two lengths is nothing to put together.
    let o = origin("o1").on("*", part("bytes 2-9/20")).start().await;
    let e = edge("[[route]]\nto = \"{o1}\"").origin(&o).start().await;
    let ranged = get("/").header("Range", "bytes=2-9");
    let got = e.client().request(ranged).send().await.expect(206);
    assert!(!got.cache().has("stored"), "{got:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_origin_that_flaps_is_noticed_by_nobody_who_reads() {
    let mut o = origin("o1").on("*", ok().body("v1")).start().await;
    // It flaps faster than the budget is meant for.
    let toml = "[upstream.o]\nservers = [\"{o1}\"]\nhold = \"60s\"\nretry = { tries = 16, budget = 1.0 }\n[[route]]\nto = \"o\"";
    let e = edge(toml).origin(&o).start().await;
    let stop = gate();
    let readers: Vec<_> = (0..4)
        .map(|reader| {
            let (c, stop) = (e.client(), stop.clone());
            tokio::spawn(async move {
                let mut n = 0;
                loop {
                    tokio::select! {
                        biased;
                        () = stop.pass(), if n > 0 => return,
                        got = c.get(&format!("/{reader}-{n}")).send() => {
                            got.expect(200).body("v1");
                            n += 1;
                        }
                    }
                }
            })
        })
        .collect();
    for _ in 0..10 {
        let so_far = o.requests().len();
        o.request(so_far + 8).await;
        o.down().await;
        o.up().await;
    }
    stop.open();
    for reader in readers {
        reader.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_whose_origin_breaks_off_ends_without_a_byte_of_ours() {
    let cut = gate();
    // With what goes on in it unread, so that its end is a reset.
    let mut broken = upgrade("websocket").hold(&cut);
    broken
        .steps
        .retain(|step| !matches!(step, crate::rig::Step::EchoFrames));
    broken.steps.push(crate::rig::Step::Reset);
    let o = origin("o1").on("/ws", broken).start().await;
    let e = edge("[[route]]\nto = \"{o1}\"").origin(&o).start().await;
    let mut k = e.client().connect().await;
    k.send(&WebSocket::handshake("/ws")).await.expect(101);
    k.write("a frame").await;
    cut.open();
    k.expect_close().await;
    let line = e.log_line("/ws").await;
    assert_eq!(line["status"], 101, "{line:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_resolver_hurts_nobody_whose_addresses_are_known() {
    let o = origin("o1").on("*", ok().body("v1")).start().await;
    let port = o.addr().rsplit(':').next().unwrap().to_owned();
    let toml = "[upstream.o]\nservers = [\"http://app.test:{port}\"]\ndns_ttl_max = \"100ms\"\nkeepalive = \"0s\"\n[[route]]\nto = \"o\"";
    let e = edge(toml)
        .value("port", &port)
        .hosts("127.0.0.1 app.test\n")
        .start()
        .await;
    e.client().get("/before").send().await.expect(200);
    // The name is gone, and the only DNS server does not answer.
    e.set_hosts("# nobody\n");
    e.stderr("app.test").await;
    for n in 0..20 {
        let got = e.client().get(&format!("/{n}")).send().await;
        got.expect(200).body("v1");
        let line = e.log_line(&format!("/{n}")).await;
        assert!(line["hold_ms"].is_null(), "it waited: {line:#}");
    }
    e.client()
        .request(post("/write", "x"))
        .send()
        .await
        .expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_of_a_shared_fill_slows_nobody_whatever_becomes_of_the_filler() {
    let rest = gate();
    let half = "x".repeat(1 << 20);
    let page = ok()
        .max_age(60)
        .length(2 << 20)
        .data(&half)
        .hold(&rest)
        .data(&half);
    let o = origin("o1").on("/a", page).start().await;
    let e = edge("[[route]]\nto = \"{o1}\"").origin(&o).start().await;
    let mut filler = e.client().connect().await;
    filler.start(&get("/a")).await;
    filler.read_until("xxxx").await;
    // Asks, and reads nothing.
    let mut slow = e.client().receive_buffer(4096).connect().await;
    slow.start(&get("/a")).await;
    let crowd = e.client().crowd(5, &get("/a"));
    crowd.asked().await;
    e.metric_becomes("forebay_cache_followers", 7.0).await;
    filler.reset();
    rest.open();
    for one in crowd.all().await {
        one.response.expect(200).body(half.repeat(2));
    }
    slow.response("GET").await.expect(200).body(half.repeat(2));
    assert_eq!(o.fetches("/a"), 1);
}
