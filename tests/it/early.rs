//! What comes before the final answer, and answers that come before the request has ended.

use crate::rig::{edge, gate, get, ok, origin, post, raw, status};

const PLAIN: &str = "[[route]]\nto = \"{o1}\"";
const STREAMING: &str =
    "[upstream.o]\nservers = [\"{o1}\"]\nbuffer_request = \"0\"\n[[route]]\nto = \"o\"";

#[tokio::test(flavor = "multi_thread")]
async fn early_hints_are_relayed_at_once() {
    let held = gate();
    let hints = ok()
        .interim(103, &[("Link", "</a.css>; rel=preload")])
        .hold(&held)
        .body("v1");
    let o = origin("o1").on("/a", hints).start().await;
    let e = edge(PLAIN).origin(&o).start().await;
    let mut k = e.client().connect().await;
    k.start(&get("/a")).await;
    // The hint is here while the origin still thinks.
    let hint = k.head().await;
    assert_eq!(
        (hint.word(1), hint.get("link")),
        ("103", Some("</a.css>; rel=preload"))
    );
    held.open();
    k.response("GET").await.expect(200).body("v1");
}

#[tokio::test(flavor = "multi_thread")]
async fn early_hints_over_http2() {
    let held = gate();
    let hints = ok()
        .interim(103, &[("Link", "</a.css>")])
        .hold(&held)
        .body("v1");
    let o = origin("o1").on("/a", hints).start().await;
    let e = edge(PLAIN).origin(&o).start().await;
    let h2 = e.client().h2().await;
    let mut call = h2.call(&get("/a"), true).await.unwrap();
    let hint = std::future::poll_fn(|cx| call.response.poll_informational(cx))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (
            hint.status().as_u16(),
            hint.headers()["link"].to_str().unwrap()
        ),
        (103, "</a.css>")
    );
    held.open();
    call.answer().await.expect(200).body("v1");
}

#[tokio::test(flavor = "multi_thread")]
async fn several_interim_answers_and_none_for_http_1_0() {
    let many = ok()
        .interim(102, &[])
        .interim(103, &[("Link", "</a>")])
        .interim(103, &[("Link", "</b>")])
        .body("v1");
    let o = origin("o1").on("/a", many).start().await;
    let e = edge(PLAIN).origin(&o).start().await;
    let got = e.client().get("/a").send().await.expect(200).body("v1");
    let hints: Vec<u16> = got
        .interim
        .iter()
        .map(|(s, _)| *s)
        .filter(|s| *s == 103)
        .collect();
    assert_eq!(hints, [103, 103], "{got:#?}");
    e.client()
        .request(get("/a").http10())
        .send()
        .await
        .expect(200)
        .interim(&[])
        .body("v1");
}

#[tokio::test(flavor = "multi_thread")]
async fn continue_is_said_before_the_body_comes() {
    for toml in [PLAIN, STREAMING] {
        // An origin that does not say 100 by itself: the client must not be left waiting for it.
        let o = origin("o1").on("/a", ok().echo()).start().await;
        let e = edge(toml).origin(&o).start().await;
        let mut k = e.client().connect().await;
        k.write("POST /a HTTP/1.1\r\nHost: site.test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n").await;
        assert_eq!(k.head().await.word(1), "100");
        k.write("hello").await;
        k.response("POST")
            .await
            .expect(200)
            .interim(&[])
            .body("hello");
        k.send(&post("/a", "again")).await.expect(200).body("again");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_expectation_closes() {
    let o = origin("o1").on("/a", ok().echo()).start().await;
    let e = edge("[[route]]\nto = \"{o1}\"\nbody_limit = \"4B\"")
        .origin(&o)
        .start()
        .await;
    let mut k = e.client().connect().await;
    k.write(
        "POST /a HTTP/1.1\r\nHost: site.test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
    )
    .await;
    // Whether the body follows is unknown, so that nothing after it could be told from a request.
    k.response("POST").await.expect(413).interim(&[]);
    k.expect_close().await;
    assert!(o.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn other_expectations() {
    let o = origin("o1").on("/a", ok().echo()).start().await;
    let e = edge(PLAIN).origin(&o).start().await;
    let got = e
        .client()
        .request(post("/a", "hello").header("Expect", "the-unexpected"))
        .send()
        .await;
    assert!([200, 417].contains(&got.status), "{got:#?}");
    assert!(o.requests().iter().all(|r| r.header("expect").is_none()));
}

#[tokio::test(flavor = "multi_thread")]
async fn expect_from_http_1_0_is_ignored() {
    let o = origin("o1").on("/a", ok().echo()).start().await;
    let e = edge(PLAIN).origin(&o).start().await;
    let request = post("/a", "hello")
        .header("Expect", "100-continue")
        .http10();
    e.client()
        .request(request)
        .send()
        .await
        .expect(200)
        .interim(&[])
        .body("hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_early_answer_is_relayed_and_the_connection_closed() {
    let answer = status(413)
        .early()
        .header("Connection", "close")
        .body("too much");
    let o = origin("o1").on("/a", answer).start().await;
    // The client has all the time in the world: it is the answer that ends the exchange.
    let e = edge(&format!("[limits]\nbody_timeout = \"1h\"\n{STREAMING}"))
        .origin(&o)
        .start()
        .await;
    let mut k = e.client().connect().await;
    // Ten bytes of a gigabyte; the rest never comes.
    k.write("POST /a HTTP/1.1\r\nHost: site.test\r\nContent-Length: 1000000000\r\n\r\n0123456789")
        .await;
    k.response("POST").await.expect(413).body("too much");
    k.expect_close().await;
    o.disconnected(0).await;
    assert!(!o.requests()[0].complete);
    assert_eq!(e.log_line("/a").await["end"], "complete");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_early_answer_followed_by_a_reset_still_arrives() {
    let answer = "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno";
    let o = origin("o1").on("/a", raw(answer).early()).start().await;
    let e = edge(STREAMING).origin(&o).start().await;
    // The whole upload is written at once, most of it after the origin has answered.
    let got = e
        .client()
        .request(post("/a", "x".repeat(4 << 20)))
        .send()
        .await;
    got.expect(403).body("no");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_early_answer_over_http2_leaves_the_connection_usable() {
    let o = origin("o1")
        .on("/a", status(413).early().body("too much"))
        .on("/b", ok().body("v1"))
        .start()
        .await;
    let e = edge(STREAMING).origin(&o).start().await;
    let h2 = e.client().h2().await;
    let mut call = h2.call(&post("/a", ""), false).await.unwrap();
    call.body.send_data("0123456789".into(), false).unwrap();
    call.answer().await.expect(413).body("too much");
    h2.get("/b").await.expect(200).body("v1");
}
