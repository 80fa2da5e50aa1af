//! HTTP/2 towards the client: many streams, bodies, trailers, gRPC's shape.

use crate::rig::{Authority, edge, gate, get, head, ok, origin, post, request, status};

const PLAIN: &str = "[[route]]\nto = \"{o1}\"";
const STREAMING: &str =
    "[upstream.o]\nservers = [\"{o1}\"]\nbuffer_request = \"0\"\n[[route]]\nto = \"o\"";

#[tokio::test(flavor = "multi_thread")]
async fn by_prior_knowledge_and_by_alpn() {
    let ca = Authority::new();
    let o = origin("o1")
        .on("*", ok().header("x-a", "b").body("v1"))
        .start()
        .await;
    let toml = "[[listen]]\naddr = \"{listen}\"\n[[listen]]\naddr = \"{listen2}\"\ntls = { cert = \"{dir}/a.pem\", key = \"{dir}/a.key\" }\n[[route]]\nto = \"{o1}\"";
    let e = edge(toml).origin(&o);
    ca.write(e.dir(), "a", &["a.test"]);
    let e = e.start().await;
    e.client()
        .h2()
        .await
        .get("/a?b")
        .await
        .expect(200)
        .header("x-a", "b")
        .body("v1");
    let tls = crate::rig::client(e.value("listen2")).tls(ca.client(&["h2", "http/1.1"]), "a.test");
    tls.h2()
        .await
        .get("/a?b")
        .await
        .expect(200)
        .header("x-a", "b")
        .body("v1");
    let seen = o.requests();
    assert_eq!(
        (
            seen[0].target(),
            seen[0].header("host"),
            seen[0].header("x-forwarded-proto")
        ),
        ("/a?b", Some("site.test"), Some("http"))
    );
    assert_eq!(
        (seen[1].header("host"), seen[1].header("x-forwarded-proto")),
        (Some("a.test"), Some("https"))
    );
    assert_eq!(e.log_line("/a").await["proto"], "HTTP/2.0");
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_do_not_wait_for_each_other() {
    let held = gate();
    let o = origin("o1")
        .on("/slow", ok().hold(&held).body("slow"))
        .on("*", ok().body("quick"))
        .start()
        .await;
    let e = edge(PLAIN).origin(&o).start().await;
    let h2 = e.client().h2().await;
    let slow: Vec<_> = (0..30)
        .map(|n| {
            let h2 = h2.clone();
            tokio::spawn(async move { h2.get(&format!("/slow?{n}")).await })
        })
        .collect();
    o.head(29).await;
    for _ in 0..10 {
        h2.get("/quick").await.expect(200).body("quick");
    }
    held.open();
    for answer in slow {
        answer.await.unwrap().expect(200).body("slow");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_both_ways() {
    let o = origin("o1").on("*", ok().echo()).start().await;
    for toml in [PLAIN, STREAMING] {
        let e = edge(toml).origin(&o).start().await;
        let h2 = e.client().h2().await;
        h2.send(post("/a", "hello")).await.expect(200).body("hello");
        let big = "0123456789abcdef".repeat(100_000);
        h2.send(post("/big", &big)).await.expect(200).body(&big);
        h2.send(request("POST", "/empty"))
            .await
            .expect(200)
            .body("");
        h2.send(
            request("PATCH", "/patch")
                .body("x")
                .header("content-length", "1"),
        )
        .await
        .expect(200)
        .body("x");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn head_204_304_and_errors() {
    let o = origin("o1")
        .on("/204", status(204))
        .on("/304", status(304).header("etag", "\"v\""))
        .on("/500", status(500).body("no"))
        .on("/head", ok().body("hello"))
        .start()
        .await;
    // A cache answers conditions by itself.
    let toml = format!("{PLAIN}\ncache = false");
    let e = edge(&toml).origin(&o).start().await;
    let h2 = e.client().h2().await;
    h2.send(head("/head"))
        .await
        .expect(200)
        .header("content-length", "5")
        .body("");
    h2.get("/204").await.expect(204).body("");
    h2.send(get("/304").header("If-None-Match", "\"v\""))
        .await
        .expect(304)
        .header("etag", "\"v\"")
        .body("");
    h2.get("/500").await.expect(500).body("no");
    h2.get("/404").await.expect(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_edges_own_answers() {
    let e = edge("[[route]]\npath = \"/text\"\nrespond = \"hello\"\n[[route]]\npath = \"/to\"\nredirect = \"https://new.test{uri}\"").start().await;
    let h2 = e.client().h2().await;
    h2.get("/text").await.expect(200).body("hello");
    h2.get("/to")
        .await
        .expect(308)
        .header("location", "https://new.test/to");
    h2.get("/none").await.expect(404);
    h2.send(post("/text", "a body"))
        .await
        .expect(200)
        .body("hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn cookies_in_pieces_become_one() {
    // RFC 9113 §8.2.3.
    let o = origin("o1").on("*", ok()).start().await;
    let e = edge(PLAIN).origin(&o).start().await;
    let request = get("/a").header("cookie", "a=1").header("cookie", "b=2");
    e.client().h2().await.send(request).await.expect(200);
    assert_eq!(o.requests()[0].header("cookie"), Some("a=1; b=2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grpc_call_and_its_trailers() {
    let reply = ok()
        .header("content-type", "application/grpc")
        .until_close()
        .data([0, 0, 0, 0, 2, 8, 1])
        .trailer("grpc-status", "0")
        .trailer("grpc-message", "fine");
    let refused = ok()
        .header("content-type", "application/grpc")
        .header("grpc-status", "12");
    let o = origin("o1")
        .on("/pkg.Service/Unary", reply)
        .on("/pkg.Service/Missing", refused)
        .h2()
        .start()
        .await;
    let e = edge(STREAMING).origin(&o).start().await;
    let h2 = e.client().h2().await;
    let call = |path: &str| {
        post(path, [0, 0, 0, 0, 2, 8, 7])
            .header("content-type", "application/grpc")
            .header("te", "trailers")
    };
    let got = h2.send(call("/pkg.Service/Unary")).await.expect(200);
    got.body([0, 0, 0, 0, 2, 8, 1])
        .trailer("grpc-status", "0")
        .trailer("grpc-message", "fine");
    h2.send(call("/pkg.Service/Missing"))
        .await
        .expect(200)
        .header("grpc-status", "12");
    let seen = &o.requests()[0];
    assert_eq!(
        (seen.header("te"), seen.header("content-type")),
        (Some("trailers"), Some("application/grpc"))
    );
    assert_eq!(seen.body.content, [0, 0, 0, 0, 2, 8, 7]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bidirectional_stream_is_not_held_back() {
    let next = gate();
    let reply = ok()
        .until_close()
        .data("ready")
        .hold(&next)
        .data("second")
        .hold(&next)
        .trailer("grpc-status", "0")
        .early();
    let o = origin("o1").on("/both", reply).h2().start().await;
    let e = edge(STREAMING).origin(&o).start().await;
    let h2 = e.client().h2().await;
    let mut call = h2.call(&post("/both", ""), false).await.unwrap();
    call.body.send_data("first".into(), false).unwrap();
    // The answer begins while the request is still open.
    let mut answer = call.response.await.unwrap().into_body();
    assert_eq!(&answer.data().await.unwrap().unwrap()[..], b"ready");
    next.let_one_through();
    assert_eq!(&answer.data().await.unwrap().unwrap()[..], b"second");
    // An answer that ended first would end the request too.
    call.body.send_data("last".into(), true).unwrap();
    next.let_one_through();
    assert!(answer.data().await.is_none());
    assert_eq!(
        answer.trailers().await.unwrap().unwrap()["grpc-status"],
        "0"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_waits_for_100_is_told_to_go_on() {
    let o = origin("o1").on("*", ok().echo()).start().await;
    let e = edge(PLAIN).origin(&o).start().await;
    let h2 = e.client().h2().await;
    let asks = post("/a", "").header("expect", "100-continue");
    let mut call = h2.call(&asks, false).await.unwrap();
    let interim = std::future::poll_fn(|cx| call.response.poll_informational(cx)).await;
    assert_eq!(interim.unwrap().unwrap().status(), 100);
    call.body.send_data("hello".into(), true).unwrap();
    call.answer().await.expect(200).body("hello");
    assert_eq!(o.requests()[0].header("expect"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn request_trailers_reach_an_http2_origin() {
    let o = origin("o1").on("*", ok().body("v1")).h2().start().await;
    let e = edge(STREAMING).origin(&o).start().await;
    e.client()
        .h2()
        .await
        .send(post("/a", "hello").trailer("x-sum", "1"))
        .await
        .expect(200);
    let seen = o.request(0).await;
    assert_eq!(
        (seen.text().as_str(), seen.header("x-sum")),
        ("hello", None)
    );
    // They may be dropped; merged into the head they may not be.
    assert!(
        seen.body
            .trailers
            .iter()
            .all(|(n, v)| n == "x-sum" && v == "1")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_stream_ends_the_request_at_the_origin() {
    let never = gate();
    let o = origin("o1")
        .on("/slow", ok().hold(&never).body("v1"))
        .on("*", ok().body("v1"))
        .start()
        .await;
    // With the cache, the fetch would go on: what comes may be worth storing.
    let toml = format!("{PLAIN}\ncache = false");
    let e = edge(&toml).origin(&o).start().await;
    let h2 = e.client().h2().await;
    let mut call = h2.call(&get("/slow"), true).await.unwrap();
    o.head(0).await;
    call.body.send_reset(h2::Reason::CANCEL);
    o.disconnected(0).await;
    h2.get("/other").await.expect(200);
    let line = e.log_line("/slow").await;
    assert_eq!(line["end"], "client_gone", "{line:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_control_holds_a_big_answer_without_hurting_the_others() {
    let big = "0123456789abcdef".repeat(200_000);
    let o = origin("o1")
        .on("/big", ok().body(&big))
        .on("*", ok().body("v1"))
        .start()
        .await;
    let e = edge(PLAIN).origin(&o).start().await;
    let h2 = e.client().h2().await;
    let mut call = h2.call(&get("/big"), true).await.unwrap();
    let answer = (&mut call.response).await.unwrap();
    // Nothing of it is read: its window is shut, and the connection's is nearly.
    let other = e.client().h2().await;
    for _ in 0..5 {
        other.get("/a").await.expect(200);
    }
    let mut body = answer.into_body();
    let mut length = 0;
    while let Some(data) = body.data().await {
        let data = data.unwrap();
        length += data.len();
        body.flow_control().release_capacity(data.len()).unwrap();
    }
    assert_eq!(length, big.len());
}
