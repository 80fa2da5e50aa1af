//! Fields that belong to one hop, that name the way, or that only a trusted peer may set.

use crate::rig::{Edge, Origin, edge, get, ok, origin};

const PLAIN: &str = "[[route]]\nto = \"{o1}\"";
const TRUSTING: &str = "[server]\ntrusted_proxies = [\"127.0.0.0/8\"]\n[[route]]\nto = \"{o1}\"";

async fn pair(toml: &str) -> (Origin, Edge) {
    let o = origin("o1").on("*", ok().body("v1")).start().await;
    let e = edge(toml).origin(&o).start().await;
    (o, e)
}

#[tokio::test(flavor = "multi_thread")]
async fn hop_by_hop_fields_of_a_request_stop_here() {
    let (o, e) = pair(PLAIN).await;
    let request = get("/")
        .header("Connection", "X-Drop, keep-alive, x-drop-too")
        .header("X-Drop", "1")
        .header("X-Drop-Too", "1")
        .header("Keep-Alive", "timeout=5")
        .header("Proxy-Connection", "keep-alive")
        .header("Proxy-Authorization", "Basic Zm9v")
        .header("TE", "gzip")
        .header("Trailer", "X-T")
        .header("Upgrade", "h2c")
        .header("HTTP2-Settings", "AAMAAABkAAQAoAAAAAIAAAAA")
        .header("X-Kept", "1")
        .header("Authorization", "Bearer t")
        .header("Accept-Encoding", "gzip");
    e.client().request(request).send().await.expect(200);
    let seen = &o.requests()[0];
    for name in [
        "x-drop",
        "x-drop-too",
        "keep-alive",
        "proxy-connection",
        "proxy-authorization",
        "trailer",
        "upgrade",
        "http2-settings",
    ] {
        assert_eq!(seen.header(name), None, "{name} in {seen:#?}");
    }
    assert!(
        [None, Some("trailers")].contains(&seen.header("te")),
        "{seen:#?}"
    );
    assert!(
        [None, Some("keep-alive")].contains(&seen.header("connection")),
        "{seen:#?}"
    );
    for (name, value) in [
        ("x-kept", "1"),
        ("authorization", "Bearer t"),
        ("accept-encoding", "gzip"),
        ("host", "site.test"),
    ] {
        assert_eq!(seen.header(name), Some(value), "{seen:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hop_by_hop_fields_of_a_response_stop_here() {
    let answer = ok()
        .header("Connection", "X-Drop, keep-alive")
        .header("X-Drop", "1")
        .header("Keep-Alive", "timeout=5")
        .header("Proxy-Connection", "keep-alive")
        .header("Upgrade", "h2c")
        .header("X-Kept", "1")
        .header("Set-Cookie", "a=1")
        .header("Set-Cookie", "b=2")
        .body("v1");
    let o = origin("o1").on("*", answer).start().await;
    let e = edge(PLAIN).origin(&o).start().await;
    let mut got = vec![e.client().get("/").send().await];
    got.push(e.client().h2().await.get("/").await);
    for got in got {
        let mut got = got
            .expect(200)
            .header("x-kept", "1")
            .header_lines("set-cookie", &["a=1", "b=2"])
            .body("v1");
        for name in ["x-drop", "keep-alive", "proxy-connection", "upgrade"] {
            got = got.no_header(name);
        }
        assert!(
            [None, Some("keep-alive")].contains(&got.head.get("connection")),
            "{got:#?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn naming_a_needed_field_in_connection_is_refused() {
    let (o, e) = pair(PLAIN).await;
    for named in [
        "Host",
        "Content-Length",
        "X-Forwarded-For",
        "Via",
        "Cookie2, host",
    ] {
        let mut k = e.client().connect().await;
        k.send(&get("/").header("Connection", named))
            .await
            .expect(400);
        k.expect_close().await;
    }
    assert!(o.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn via_is_appended_both_ways() {
    let o = origin("o1")
        .on("*", ok().header("Via", "1.1 behind").body("v1"))
        .start()
        .await;
    let e = edge(PLAIN).origin(&o).start().await;
    let got = e
        .client()
        .get("/")
        .header("Via", "1.0 before")
        .send()
        .await
        .expect(200);
    let joined = |lines: Vec<&str>| lines.join(", ");
    assert_eq!(joined(got.head.all("via")), "1.1 behind, 1.1 edge");
    assert_eq!(
        joined(o.requests()[0].head.all("via")),
        "1.0 before, 1.1 edge"
    );
    e.client().h2().await.get("/").await.expect(200);
    assert_eq!(
        joined(o.requests()[1].head.all("via")),
        "2.0 edge".replace("2.0", via_version(&o))
    );
}

/// RFC 9110 §7.6.3 has the received protocol's version; both "2" and "2.0" are in use.
fn via_version(o: &Origin) -> &'static str {
    if o.requests()[1].head.all("via").join("").starts_with("2 ") {
        "2"
    } else {
        "2.0"
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn via_on_responses_can_be_turned_off() {
    let (o, e) = pair("[server]\nvia = false\n[[route]]\nto = \"{o1}\"").await;
    e.client()
        .get("/")
        .send()
        .await
        .expect(200)
        .no_header("via");
    assert_eq!(o.requests()[0].header("via"), Some("1.1 edge"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loop_is_508_and_another_edge_is_none() {
    let (o, e) = pair(PLAIN).await;
    let c = e.client();
    for (name, value) in [
        ("CDN-Loop", "edge"),
        ("CDN-Loop", "other, EDGE; v=1"),
        ("Via", "1.1 edge"),
        ("Via", "1.1 other, 1.1 edge (us)"),
    ] {
        c.get("/").header(name, value).send().await.expect(508);
    }
    assert!(o.requests().is_empty());
    for (name, value) in [
        ("CDN-Loop", "other; edge=1"),
        ("CDN-Loop", "edge-2"),
        ("Via", "1.1 other (edge)"),
        ("Via", "1.1 edge-2"),
    ] {
        c.get("/").header(name, value).send().await.expect(200);
    }
    let seen = o.requests();
    assert_eq!(seen[1].head.all("cdn-loop").join(", "), "edge-2, edge");
    assert_eq!(seen[2].header("cdn-loop"), Some("edge"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_that_points_to_itself_answers_508_instead_of_turning() {
    let e = edge("[[route]]\nto = \"http://{listen}\"").start().await;
    e.client().get("/").send().await.expect(508);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_untrusted_client_cannot_forge_where_it_comes_from() {
    let (o, e) = pair(PLAIN).await;
    let request = get("/")
        .header("X-Forwarded-For", "6.6.6.6")
        .header("X-Forwarded-Proto", "https")
        .header("X-Forwarded-Host", "evil.test")
        .header("X-Forwarded-Port", "443")
        .header("Forwarded", "for=6.6.6.6")
        .header("X-Real-IP", "6.6.6.6")
        .header("X-Original-URL", "/admin")
        .header("X-Rewrite-URL", "/admin")
        .header("X-HTTP-Method-Override", "DELETE")
        .header("Proxy", "evil.test:80")
        .header("X-Request-Id", "forged");
    e.client().request(request).send().await.expect(200);
    let seen = &o.requests()[0];
    assert_eq!(seen.header("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(seen.header("x-forwarded-proto"), Some("http"));
    assert_eq!(seen.header("x-forwarded-host"), Some("site.test"));
    assert_ne!(seen.header("x-forwarded-port"), Some("443"));
    assert!([None, Some("127.0.0.1")].contains(&seen.header("x-real-ip")));
    for name in [
        "forwarded",
        "x-original-url",
        "x-rewrite-url",
        "x-http-method-override",
        "proxy",
    ] {
        assert_eq!(seen.header(name), None, "{name}");
    }
    assert!(seen.header("x-request-id").is_some_and(|id| id != "forged"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_proxy_is_believed_and_appended_to() {
    let (o, e) = pair(TRUSTING).await;
    let request = get("/")
        .header("X-Forwarded-For", "203.0.113.7")
        .header("X-Forwarded-Proto", "https")
        .header("X-Forwarded-Host", "public.test")
        .header("X-Request-Id", "abc-123");
    e.client().request(request).send().await.expect(200);
    let seen = &o.requests()[0];
    assert_eq!(
        seen.head.all("x-forwarded-for").join(", "),
        "203.0.113.7, 127.0.0.1"
    );
    assert_eq!(seen.header("x-forwarded-proto"), Some("https"));
    assert_eq!(seen.header("x-forwarded-host"), Some("public.test"));
    assert_eq!(seen.header("x-request-id"), Some("abc-123"));
    let line = e.log_line("/").await;
    assert_eq!(
        (line["id"].as_str(), line["client"].as_str()),
        (Some("abc-123"), Some("203.0.113.7")),
        "{line:#}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn private_means_the_private_ranges() {
    // 127.0.0.1 is private, 203.0.113.7 is not: the chain is believed up to the last private hop.
    let (o, e) = pair("[server]\ntrusted_proxies = [\"private\"]\n[[route]]\nto = \"{o1}\"").await;
    e.client()
        .get("/")
        .header("X-Forwarded-For", "6.6.6.6, 203.0.113.7, 10.1.2.3")
        .send()
        .await
        .expect(200);
    assert_eq!(
        o.requests()[0].head.all("x-forwarded-for").join(", "),
        "6.6.6.6, 203.0.113.7, 10.1.2.3, 127.0.0.1"
    );
    assert_eq!(e.log_line("/").await["client"], "203.0.113.7");
}

#[tokio::test(flavor = "multi_thread")]
async fn forwarded_is_sent_where_wanted() {
    let (o, e) = pair("[server]\nforwarded = true\n[[route]]\nto = \"{o1}\"").await;
    e.client()
        .get("/")
        .header("Forwarded", "for=6.6.6.6")
        .send()
        .await
        .expect(200);
    let seen = o.requests()[0]
        .header("forwarded")
        .unwrap()
        .to_ascii_lowercase();
    let mut parts: Vec<&str> = seen.split(';').map(str::trim).collect();
    parts.sort_unstable();
    parts.retain(|part| !part.starts_with("by="));
    assert_eq!(parts, ["for=127.0.0.1", "host=site.test", "proto=http"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_request_has_an_id_of_its_own() {
    let (o, e) = pair(PLAIN).await;
    let mut k = e.client().connect().await;
    k.get("/a").await.expect(200);
    k.get("/b").await.expect(200);
    let ids: Vec<String> = o
        .requests()
        .iter()
        .map(|r| r.header("x-request-id").unwrap().to_owned())
        .collect();
    assert_ne!(ids[0], ids[1]);
    assert_eq!(e.log_line("/a").await["id"].as_str(), Some(ids[0].as_str()));
    assert_eq!(e.log_line("/b").await["id"].as_str(), Some(ids[1].as_str()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_origins_date_is_kept() {
    const DATE: &str = "Tue, 15 Nov 1994 08:12:31 GMT";
    let o = origin("o1")
        .on("*", ok().header("Date", DATE).body("v1"))
        .start()
        .await;
    let e = edge(PLAIN).origin(&o).start().await;
    e.client()
        .get("/")
        .send()
        .await
        .expect(200)
        .header("date", DATE);
    e.client()
        .h2()
        .await
        .get("/")
        .await
        .expect(200)
        .header("date", DATE);
}

#[tokio::test(flavor = "multi_thread")]
async fn our_own_answers_are_dated() {
    let e = edge("[[route]]\nrespond = \"hi\"").start().await;
    let got = e.client().get("/").send().await.expect(200);
    assert!(
        httpdate::parse_http_date(got.value("date")).is_ok(),
        "{got:#?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_host_is_passed_on_with_its_port() {
    let (o, e) = pair(PLAIN).await;
    e.client()
        .get("/")
        .host("site.test:8080")
        .send()
        .await
        .expect(200);
    assert_eq!(o.requests()[0].header("host"), Some("site.test:8080"));
    assert_eq!(
        o.requests()[0].header("x-forwarded-host"),
        Some("site.test:8080")
    );
}
