//! The cache: what is kept and served again, over HTTP/1 and HTTP/2, and what is said of it.

use crate::rig::{
    Response, Step, edge, gate, get, head, ok, origin, post, request, status, within,
};

const PLAIN: &str = "[[route]]\nto = \"{o1}\"";

/// The one member of `Cache-Status`, which is ours, has these parts.
#[track_caller]
fn said(response: Response, parts: &[&str]) -> Response {
    let value = response.value("cache-status");
    assert!(value.starts_with("edge;"), "{value}");
    for part in parts {
        let found = value.split("; ").any(|found| {
            found == *part
                || part
                    .strip_suffix('*')
                    .is_some_and(|start| found.starts_with(start))
        });
        assert!(found, "no `{part}` in {value:?}");
    }
    response
}

#[track_caller]
fn age(response: &Response) -> u64 {
    response.value("age").parse().expect("seconds")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_fresh_is_served_again() {
    let page = ok()
        .header("Cache-Control", "max-age=60")
        .header("Age", "10")
        .header("Connection", "x-hop")
        .header("X-Hop", "1")
        .body("v1");
    let o = origin("o1").on("/a", page).start().await;
    let e = edge(PLAIN).origin(&o).start().await;
    let first = e.client().get("/a").send().await.expect(200).body("v1");
    said(first, &["fwd=uri-miss", "stored"]);
    for n in 0..2 {
        let again = if n == 0 {
            e.client().get("/a").send().await
        } else {
            e.client().h2().await.get("/a").await
        };
        let again = said(again.expect(200).body("v1"), &["hit", "ttl=*"]);
        assert!((10..40).contains(&age(&again)), "{again:#?}");
        again
            .header("content-length", "2")
            .header("via", "1.1 edge")
            .no_header("x-hop");
    }
    assert_eq!(o.requests().len(), 1);
    let miss = e.log_where(|line| line["cache"] == "miss").await;
    assert_eq!(
        (&miss["upstream_status"], &miss["tries"]),
        (&200.into(), &1.into())
    );
    assert!(miss["upstream_addr"].is_string() && miss["connect_ms"].is_number());
    let hit = e.log_where(|line| line["cache"] == "hit").await;
    assert_eq!(hit["tries"], 0);
    assert!(hit["cache_age"].as_u64() >= Some(10) && hit["upstream"].is_null());
    let hits = "forebay_cache_requests_total{route=\"/\",result=\"hit\"";
    e.metric_becomes(hits, 2.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_http2_it_is_stored_too() {
    let page = ok().header("Cache-Control", "max-age=60").body("v1");
    let o = origin("o1").on("/a", page).start().await;
    let e = edge(PLAIN).origin(&o).start().await;
    let h2 = e.client().h2().await;
    said(h2.get("/a").await.expect(200).body("v1"), &["stored"]);
    let again = said(h2.get("/a").await.expect(200).body("v1"), &["hit"]);
    again.header("content-length", "2");
    said(e.client().get("/a").send().await.expect(200), &["hit"]);
    assert_eq!(o.requests().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn head_is_answered_from_a_stored_get() {
    let page = ok()
        .header("Cache-Control", "max-age=60")
        .chunks(["one ", "two"]);
    let o = origin("o1").on("/a", page).start().await;
    let e = edge(PLAIN).origin(&o).start().await;
    let mut k = e.client().connect().await;
    k.get("/a").await.expect(200).body("one two");
    let answer = said(k.send(&head("/a")).await.expect(200).body(""), &["hit"]);
    answer.header("content-length", "7");
    // The connection goes on: nothing of a body came.
    k.get("/a").await.expect(200).body("one two");
    e.client().h2().await.send(head("/a")).await.expect(200);
    assert_eq!(o.requests().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_share_one_fetch_and_each_has_it_as_it_comes() {
    let (head, rest) = (gate(), gate());
    let page = ok()
        .header("Cache-Control", "max-age=60")
        .length(8)
        .hold(&head)
        .data("one ")
        .hold(&rest)
        .data("two.");
    let o = origin("o1").on("/a", page).start().await;
    let e = edge(PLAIN).origin(&o).start().await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        let mut k = e.client().connect().await;
        k.start(&get("/a")).await;
        clients.push(k);
    }
    let h2 = e.client().h2().await;
    let streams: Vec<_> = (0..5)
        .map(|_| {
            let h2 = h2.clone();
            tokio::spawn(async move { h2.get("/a").await })
        })
        .collect();
    o.head(0).await;
    head.open();
    for k in &mut clients {
        // The origin sends the rest only after each of them has the beginning.
        k.read_until("\r\n\r\none ").await;
    }
    rest.open();
    for k in &mut clients {
        k.read_until("two.").await;
    }
    for stream in streams {
        stream.await.unwrap().expect(200).body("one two.");
    }
    assert_eq!(o.requests().len(), 1);
    let shared = e.log_where(|line| line["collapsed"] == true).await;
    assert_eq!(
        (&shared["cache"], &shared["tries"]),
        (&"collapsed".into(), &0.into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_shared_keeps_nobody_waiting() {
    let (held, body) = (gate(), gate());
    let private = || ok().header("Cache-Control", "no-store");
    let o = origin("o1")
        .on(
            "/a",
            private()
                .length(2)
                .hold(&held)
                .data("m")
                .hold(&body)
                .data("e"),
        )
        .then(private().body("you"))
        .start()
        .await;
    let e = edge(PLAIN).origin(&o).start().await;
    let mut leader = e.client().connect().await;
    leader.start(&get("/a")).await;
    o.head(0).await;
    let others: Vec<_> = (0..10).map(|_| e.client().get("/a").spawn()).collect();
    held.open();
    // They are answered while the first is still being sent.
    for other in others {
        let other = other.await.unwrap().expect(200).body("you");
        said(other, &["fwd=*"]).no_header("age");
    }
    leader.read_until("\r\n\r\nm").await;
    body.open();
    leader.read_until("e").await;
    // It is remembered: nobody waits for anybody any more.
    let next = e.client().get("/a").send().await.expect(200).body("you");
    said(next, &["detail=no-store"]);
    assert_eq!(o.requests().len(), 12);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stale_is_validated() {
    let page = |body| {
        ok().header("Cache-Control", "max-age=60")
            .header("ETag", "\"v1\"")
            .body(body)
    };
    let o = origin("o1")
        .on("/a", page("v1").header("Age", "60"))
        .then(
            status(304)
                .header("ETag", "\"v1\"")
                .header("Cache-Control", "max-age=60")
                .header("X-New", "1"),
        )
        .start()
        .await;
    let e = edge(PLAIN).origin(&o).start().await;
    e.client().get("/a").send().await.expect(200).body("v1");
    let again = e.client().get("/a").send().await.expect(200).body("v1");
    said(again, &["fwd=stale", "fwd-status=304"]).header("x-new", "1");
    assert_eq!(o.requests()[1].header("if-none-match"), Some("\"v1\""));
    let third = e.client().get("/a").send().await.expect(200).body("v1");
    said(third, &["hit"]).header("x-new", "1");
    assert_eq!(o.requests().len(), 2);
    let line = e.log_where(|line| line["cache"] == "revalidated").await;
    assert_eq!(
        (&line["status"], &line["upstream_status"]),
        (&200.into(), &304.into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn while_it_is_fetched_anew_the_stale_one_is_served() {
    let held = gate();
    let page = |body: &str| {
        ok().header("Cache-Control", "max-age=60, stale-while-revalidate=600")
            .length(2)
            .data(body)
    };
    let o = origin("o1")
        .on("/a", page("v1").header("Age", "70"))
        .then({
            let mut second = page("v2");
            second.steps.insert(0, Step::Wait(held.clone()));
            second
        })
        .start()
        .await;
    let e = edge(PLAIN).origin(&o).start().await;
    e.client().get("/a").send().await.expect(200).body("v1");
    for _ in 0..3 {
        let stale = e.client().get("/a").send().await.expect(200).body("v1");
        said(stale, &["hit", "ttl=-*", "detail=stale-while-revalidate"]);
    }
    o.head(1).await;
    held.open();
    within("the new one", async {
        while e.client().get("/a").send().await.expect(200).text() != "v2" {}
    })
    .await;
    assert_eq!(o.requests().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_invalidates_what_is_stored() {
    let page = |body| ok().header("Cache-Control", "max-age=60").body(body);
    let o = origin("o1")
        .on("/a", page("v1"))
        .then(status(204))
        .then(page("v2"))
        .start()
        .await;
    let e = edge(PLAIN).origin(&o).start().await;
    e.client().get("/a").send().await.expect(200).body("v1");
    e.client().get("/a").send().await.expect(200).body("v1");
    let written = e.client().post("/a", "x").send().await.expect(204);
    said(written, &["fwd=method"]);
    e.client().get("/a").send().await.expect(200).body("v2");
    assert_eq!(o.requests().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_can_keep_the_cache_out() {
    let page = ok().header("Cache-Control", "max-age=60").body("v1");
    let o = origin("o1").on("/a", page).start().await;
    let e = edge("[[route]]\nto = \"{o1}\"\ncache = false")
        .origin(&o)
        .start()
        .await;
    for _ in 0..2 {
        let answer = e.client().get("/a").send().await.expect(200).body("v1");
        answer
            .header("cache-status", "edge; fwd=bypass; detail=route-off")
            .no_header("age");
    }
    assert_eq!(o.requests().len(), 2);
    let line = e.log_line("/a").await;
    assert_eq!(
        (&line["cache"], &line["cache_reason"]),
        (&"bypass".into(), &"route-off".into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn from_the_cache_only() {
    let page = ok().header("Cache-Control", "max-age=60").body("v1");
    let o = origin("o1").on("/a", page).start().await;
    let e = edge("[[route]]\nto = \"{o1}\"\ncache = true")
        .origin(&o)
        .start()
        .await;
    let only = || get("/a").header("Cache-Control", "only-if-cached");
    let refused = e.client().request(only()).send().await.expect(504);
    said(refused, &["detail=only-if-cached"]);
    assert_eq!(o.requests().len(), 0);
    e.client().get("/a").send().await.expect(200);
    e.client()
        .request(only())
        .send()
        .await
        .expect(200)
        .body("v1");
    assert_eq!(o.requests().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stored_survives_a_reload() {
    let page = ok().header("Cache-Control", "max-age=60").body("v1");
    let o = origin("o1").on("/a", page).start().await;
    let e = edge(PLAIN).origin(&o).start().await;
    e.client().get("/a").send().await.expect(200);
    e.reload_with("[[route]]\nto = \"{o1}\"\nresponse_headers = { set = { x-new = \"1\" } }")
        .await;
    let answer = e.client().get("/a").send().await.expect(200).body("v1");
    said(answer, &["hit"]).header("x-new", "1");
    assert_eq!(o.requests().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_client_has_its_own_id_and_the_route_s_edits() {
    let page = ok()
        .header("Cache-Control", "max-age=60")
        .header("Cache-Status", "inner; hit")
        .header("X-Powered-By", "x")
        .body("v1");
    let o = origin("o1").on("/a", page).start().await;
    let toml = "[[route]]\nto = \"{o1}\"\nresponse_headers = { remove = [\"x-powered-by\"] }";
    let e = edge(toml).origin(&o).start().await;
    let first = e.client().get("/a").send().await.expect(200);
    let again = e.client().get("/a").send().await.expect(200);
    assert_ne!(first.value("x-request-id"), again.value("x-request-id"));
    for answer in [first, again] {
        let lines = answer.head.all("cache-status");
        assert_eq!(lines[0], "inner; hit", "theirs comes first");
        assert!(lines[1].starts_with("edge;"), "{lines:?}");
        answer.no_header("x-powered-by").header("via", "1.1 edge");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hints_reach_who_waits() {
    let held = gate();
    let page = ok()
        .interim(103, &[("link", "</a.css>; rel=preload")])
        .hold(&held)
        .header("Cache-Control", "max-age=60")
        .body("v1");
    let o = origin("o1").on("/a", page).start().await;
    let e = edge(PLAIN).origin(&o).start().await;
    let mut k = e.client().connect().await;
    k.start(&get("/a")).await;
    assert_eq!(k.head().await.word(1), "103");
    held.open();
    k.response("GET").await.expect(200).body("v1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_makes_a_request_its_own() {
    let page = ok().header("Cache-Control", "max-age=60").body("v1");
    let o = origin("o1").on("/a", page).start().await;
    let e = edge(PLAIN).origin(&o).start().await;
    for _ in 0..2 {
        let search = request("GET", "/a").body("q");
        let answer = e.client().request(search).send().await.expect(200);
        said(answer, &["fwd=bypass", "detail=request-body"]);
    }
    e.client().request(post("/a", "x")).send().await.expect(200);
    assert_eq!(o.requests().len(), 3);
}
