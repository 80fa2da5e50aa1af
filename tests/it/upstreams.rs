//! Ways to reach an origin: unix sockets, TLS with its names and certificates, HTTP/2, and which Host it sees.

use crate::rig::{Authority, edge, get, ok, origin, post, status};

fn upstream(settings: &str) -> String {
    format!(
        "[upstream.o]\nservers = [\"{{o1}}\"]\nhold = \"0s\"\n{settings}\n[[route]]\nto = \"o\""
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unix_socket() {
    let o = origin("o1").on("*", ok().echo()).unix().start().await;
    let e = edge(&upstream("")).origin(&o).start().await;
    e.client()
        .post("/a", "hello")
        .send()
        .await
        .expect(200)
        .body("hello");
    e.client().get("/b").send().await.expect(200);
    assert_eq!(o.requests()[0].header("host"), Some("site.test"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_url_in_the_route_is_enough() {
    let o = origin("o1").on("*", ok().body("v1")).start().await;
    for to in ["{o1}", "http://{o1.addr}"] {
        let e = edge(&format!("[[route]]\nto = \"{to}\""))
            .origin(&o)
            .start()
            .await;
        e.client().get("/a").send().await.expect(200).body("v1");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn which_host_the_server_sees() {
    let o = origin("o1").on("*", ok().body("v1")).start().await;
    for (policy, host) in [
        ("pass", "site.test"),
        ("server", o.addr()),
        ("app.internal", "app.internal"),
    ] {
        let e = edge(&upstream(&format!("host = \"{policy}\"")))
            .origin(&o)
            .start()
            .await;
        e.client().get("/a").send().await.expect(200);
        let seen = o.requests().pop().unwrap();
        assert_eq!(
            (seen.header("host"), seen.header("x-forwarded-host")),
            (Some(host), Some("site.test")),
            "{policy}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn https_with_a_private_authority() {
    let ca = Authority::new();
    let o = origin("o1")
        .on("*", ok().echo())
        .tls(ca.server(&["app.internal"], &[]))
        .start()
        .await;
    let e = edge(&upstream(
        "tls = { ca = \"{dir}/ca.pem\", sni = \"app.internal\" }",
    ))
    .origin(&o)
    .file("ca.pem", ca.pem())
    .start()
    .await;
    e.client()
        .post("/a", "hello")
        .send()
        .await
        .expect(200)
        .body("hello");
    assert_eq!(o.requests()[0].header("x-forwarded-proto"), Some("http"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_not_believed_without_reason() {
    let ca = Authority::new();
    let strangers = Authority::new();
    let o = origin("o1")
        .on("*", ok().body("v1"))
        .tls(ca.server(&["app.internal"], &[]))
        .start()
        .await;
    for tls in [
        "{ sni = \"app.internal\" }", // nobody public has signed it
        "{ ca = \"{dir}/strangers.pem\", sni = \"app.internal\" }", // somebody else's authority
        "{ ca = \"{dir}/ca.pem\", sni = \"other.internal\" }", // another name
    ] {
        let e = edge(&upstream(&format!("tls = {tls}"))).origin(&o);
        let e = e
            .file("ca.pem", ca.pem())
            .file("strangers.pem", strangers.pem())
            .start()
            .await;
        let got = e.client().get("/a").send().await;
        assert!([502, 503].contains(&got.status), "{tls}: {got:#?}");
    }
    assert!(o.requests().is_empty());
    let e = edge(&upstream(
        "tls = { insecure = true, sni = \"other.internal\" }",
    ))
    .origin(&o)
    .start()
    .await;
    e.client().get("/a").send().await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_certificate() {
    let ca = Authority::new();
    let o = origin("o1")
        .on("*", ok().body("v1"))
        .tls(ca.server_that_asks(&["app.internal"]))
        .start()
        .await;
    let with = "tls = { ca = \"{dir}/ca.pem\", sni = \"app.internal\", cert = \"{dir}/edge.pem\", key = \"{dir}/edge.key\" }";
    let e = edge(&upstream(with)).origin(&o).file("ca.pem", ca.pem());
    ca.write(e.dir(), "edge", &["edge.internal"]);
    let e = e.start().await;
    e.client().get("/a").send().await.expect(200).body("v1");

    let without = "tls = { ca = \"{dir}/ca.pem\", sni = \"app.internal\" }";
    let e = edge(&upstream(without))
        .origin(&o)
        .file("ca.pem", ca.pem())
        .start()
        .await;
    let got = e.client().get("/a").send().await;
    assert!([502, 503].contains(&got.status), "{got:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn h2c_to_the_origin_from_both_kinds_of_clients() {
    let answer = ok().header("x-a", "b").body("v1").trailer("x-sum", "1");
    let o = origin("o1")
        .on("/a", answer)
        .on("/echo", ok().echo())
        .on("/204", status(204))
        .h2()
        .start()
        .await;
    let e = edge(&upstream("")).origin(&o).start().await;
    e.client()
        .get("/a")
        .send()
        .await
        .expect(200)
        .header("x-a", "b")
        .body("v1");
    let h2 = e.client().h2().await;
    h2.get("/a")
        .await
        .expect(200)
        .header("x-a", "b")
        .body("v1")
        .trailer("x-sum", "1");
    h2.send(post("/echo", "hello"))
        .await
        .expect(200)
        .body("hello");
    e.client()
        .request(post("/echo", "").chunked(["he", "llo"]))
        .send()
        .await
        .expect(200)
        .body("hello");
    e.client().get("/204").send().await.expect(204).body("");
    let seen = &o.requests()[0];
    assert_eq!(
        (seen.header(":authority"), seen.header("host")),
        (Some("site.test"), None)
    );
    for name in ["connection", "transfer-encoding", "keep-alive", "upgrade"] {
        assert!(o.requests().iter().all(|r| r.header(name).is_none()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_over_tls_by_alpn_and_http1_where_it_is_not_offered() {
    let ca = Authority::new();
    let new = origin("o1")
        .on("*", ok().body("v2"))
        .h2()
        .tls(ca.server(&["app.internal"], &["h2", "http/1.1"]))
        .start()
        .await;
    let old = origin("o1")
        .on("*", ok().body("v1"))
        .tls(ca.server(&["app.internal"], &["http/1.1"]))
        .start()
        .await;
    for (o, body) in [(&new, "v2"), (&old, "v1")] {
        let settings = "http = \"auto\"\ntls = { ca = \"{dir}/ca.pem\", sni = \"app.internal\" }";
        let e = edge(&upstream(settings))
            .origin(o)
            .file("ca.pem", ca.pem())
            .start()
            .await;
        for _ in 0..3 {
            e.client().get("/a").send().await.expect(200).body(body);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_requests_share_an_http2_connection() {
    let o = origin("o1").on("*", ok().body("v1")).h2().start().await;
    let e = edge(&format!(
        "[server]\nthreads = 1\n{}",
        upstream("keepalive = \"30s\"")
    ))
    .origin(&o)
    .start()
    .await;
    let h2 = e.client().h2().await;
    // Pingora makes a connection for each of several requests that come while there is none; then they share.
    h2.send(get("/first")).await.expect(200);
    let all: Vec<_> = (0..20)
        .map(|n| {
            let h2 = h2.clone();
            tokio::spawn(async move { h2.send(get(&format!("/{n}"))).await })
        })
        .collect();
    for answer in all {
        answer.await.unwrap().expect(200).body("v1");
    }
    assert!(
        o.connections() < 3,
        "{} connections for 21 requests",
        o.connections()
    );
}
