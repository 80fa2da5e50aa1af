//! Everything that grows has an end: objects, the store, bytes on their way, fetches that nobody waits for.

use crate::rig::{Edge, Origin, Reply, edge, gate, get, ok, origin, peak_kib};

const MIB: usize = 1 << 20;

/// An edge with a small cache in front of one origin that answers everything so.
async fn behind(reply: Reply, cache: &str) -> (Origin, Edge) {
    let o = origin("o1").on("*", reply).start().await;
    let toml = format!("[cache]\n{cache}\n[[route]]\nto = \"{{o1}}\"");
    let e = edge(&toml).origin(&o).start().await;
    (o, e)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_streams_through_unstored() {
    let big = vec![b'x'; 3 * MIB];
    let cache = "memory = \"16MiB\"\nobject = \"1MiB\"";
    // Its length told beforehand, or found out on the way.
    let unknown = ok().max_age(60).until_close().data(&big);
    for reply in [ok().max_age(60).body(&big), unknown] {
        let (o, e) = behind(reply, cache).await;
        for _ in 0..2 {
            e.client().get("/a").send().await.expect(200).body(&big);
        }
        assert_eq!(o.fetches("/a"), 2);
        e.metric_becomes("forebay_cache_entries", 0.0).await;
    }
    let (_o, e) = behind(ok().max_age(60).body(&big), cache).await;
    let told = e.client().get("/a").send().await.expect(200);
    told.cache_status("detail=too-large")
        .no_cache_status("stored");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_of_what_is_too_large_goes_upstream_as_it_is() {
    let big = vec![b'x'; 3 * MIB];
    let (o, e) = behind(
        ok().max_age(60).body(&big),
        "memory = \"16MiB\"\nobject = \"1MiB\"",
    )
    .await;
    // Learnt by the first one, which wanted all of it.
    e.client().get("/a").send().await.expect(200);
    let part = e.client().get("/a").header("Range", "bytes=5-9").send();
    part.await;
    assert_eq!(o.last("/a").header("range"), Some("bytes=5-9"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_stays_within_its_memory() {
    let body = vec![b'x'; 100_000];
    let (_o, e) = behind(ok().max_age(600).body(&body), "memory = \"16MiB\"").await;
    e.client().get("/warm").send().await.expect(200);
    let before = peak_kib(e.pid());
    // Ten times as much.
    let mut k = e.client().connect().await;
    for n in 0..1_600 {
        k.get(&format!("/{n}")).await.expect(200);
    }
    let held = e.metric("forebay_cache_bytes").await;
    assert!(held > 8e6 && held <= 16.0 * 1024.0 * 1024.0, "{held}");
    assert!(e.metric("forebay_cache_evictions_total").await > 1_000.0);
    let grown = peak_kib(e.pid()) - before;
    // 1.3 times the budget, and what an unoptimised program needs besides.
    assert!(
        grown < 16 * 1300 + 12 * 1024,
        "grown by {grown} KiB at its peak"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_of_what_is_not_stored_paces_its_fetch() {
    // More than the object limit, without a length, so that it is known on the way only.
    let piece = vec![b'x'; MIB];
    let endless = (0..100).fold(ok().max_age(60).until_close(), |r, _| r.data(&piece));
    let (o, e) = behind(endless, "memory = \"16MiB\"\nobject = \"1MiB\"").await;
    let before = peak_kib(e.pid());
    let mut slow = e.client().connect().await;
    slow.start(&get("/a")).await;
    o.fetched("/a", 1).await;
    slow.read_until("xxxx").await;
    // A second one is not kept waiting for the first, nor joins it: it is whole, at its own pace.
    let quick = e.client().get("/a").send().await.expect(200);
    assert_eq!(quick.body.content.len(), 100 * MIB);
    let grown = peak_kib(e.pid()) - before;
    assert!(grown < 40 * 1024, "grown by {grown} KiB at its peak");
    slow.reset();
}

#[tokio::test(flavor = "multi_thread")]
async fn fetches_that_nobody_waits_for_are_bounded() {
    let held = gate();
    let reply = ok()
        .max_age(60)
        .length(10)
        .data("12345")
        .hold(&held)
        .data("67890");
    let (o, e) = behind(reply, "abandoned = 2").await;
    let mut clients = Vec::new();
    for n in 0..6 {
        let mut k = e.client().connect().await;
        k.start(&get(&format!("/{n}"))).await;
        k.read_until("12345").await;
        clients.push(k);
    }
    for client in clients {
        client.reset();
    }
    // Two go on; the origin sees the others go.
    e.metric_becomes("forebay_upstream_in_flight", 2.0).await;
    held.open();
    e.metric_becomes("forebay_upstream_in_flight", 0.0).await;
    e.metric_becomes("forebay_cache_entries", 2.0).await;
    assert_eq!(o.requests().len(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_that_will_not_be_stored_ends_with_its_only_client() {
    let held = gate();
    let reply = ok()
        .no_store()
        .length(10)
        .data("12345")
        .hold(&held)
        .data("67890");
    let (o, e) = behind(reply, "").await;
    let mut k = e.client().connect().await;
    k.start(&get("/a")).await;
    k.read_until("12345").await;
    k.reset();
    // The gate never opens: the origin sees the edge hang up.
    o.disconnected(0).await;
    e.metric_becomes("forebay_upstream_in_flight", 0.0).await;
}
