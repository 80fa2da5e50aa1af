//! Which route a request belongs to: scheme, host, path, method, header and query, and which of several wins.

use crate::rig::{Authority, Client, Edge, client, edge, get, head, ok, origin, request};

/// Routes that answer with their own name, so that an answer tells which one was chosen.
fn answering(routes: &[(&str, &str)]) -> String {
    let route = |(name, conditions): &(&str, &str)| {
        format!("[[route]]\n{conditions}\nrespond = \"{name}\"\n")
    };
    routes.iter().map(route).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn host_exact_before_wildcard_before_any() {
    let e = edge(&answering(&[
        ("any", ""),
        ("wildcard", "host = \"*.example.org\""),
        ("deep wildcard", "host = \"*.deep.example.org\""),
        ("exact", "host = \"www.example.org\""),
    ]))
    .start()
    .await;
    for (host, route) in [
        ("www.example.org", "exact"),
        ("WWW.Example.ORG", "exact"),
        ("www.example.org:8080", "exact"),
        ("img.example.org", "wildcard"),
        ("a.b.example.org", "wildcard"),
        ("a.deep.example.org", "deep wildcard"),
        ("example.org", "any"),
        ("notexample.org", "any"),
        ("www.example.org.evil.test", "any"),
        ("[::1]:80", "any"),
    ] {
        e.client()
            .get("/")
            .host(host)
            .send()
            .await
            .expect(200)
            .body(route);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn path_exact_before_longest_prefix_by_whole_segments() {
    let e = edge(&answering(&[
        ("root", "path = \"/\""),
        ("api", "path = \"/api/\""),
        ("api v2", "path = \"/api/v2\""),
        ("health", "path = \"=/api/health\""),
        ("png", "path = \"/img/*.png\""),
        ("deep", "path = \"/deep/**.js\""),
    ]))
    .start()
    .await;
    for (path, route) in [
        ("/", "root"),
        ("/other", "root"),
        ("/api", "api"),
        ("/api/", "api"),
        ("/api/x", "api"),
        ("/apix", "root"),
        ("/api/v2", "api v2"),
        ("/api/v2/x?y=z", "api v2"),
        ("/api/v20", "api"),
        ("/api/health", "health"),
        ("/api/health?verbose", "health"),
        ("/api/health/", "api"),
        ("/img/a.png", "png"),
        ("/img/a.jpg", "root"),
        ("/img/a/b.png", "root"),
        ("/deep/a/b.js", "deep"),
        ("/API/x", "root"),
        // RFC 3986 §6.2.2: these are the same path, and one of them must not go round a rule.
        ("/%61pi/x", "api"),
        ("/other/../api/x", "api"),
        ("/api%2Fx", "root"),
    ] {
        e.client().get(path).send().await.expect(200).body(route);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn method_header_and_query_are_conditions_that_must_all_hold() {
    let e = edge(&answering(&[
        ("write", "method = [\"POST\", \"PUT\"]"),
        ("read", "method = \"GET\""),
        ("canary", "method = \"GET\"\nheader = { X-Canary = \"1\" }"),
        ("marked", "method = \"GET\"\nheader = { X-Mark = true }"),
        ("v2", "method = \"GET\"\nquery = { v = \"2\" }"),
        (
            "debug v2",
            "method = \"GET\"\nquery = { v = \"2\", debug = true }",
        ),
    ]))
    .start()
    .await;
    let c = e.client();
    for (sent, route) in [
        (get("/"), "read"),
        (request("POST", "/"), "write"),
        (request("PUT", "/"), "write"),
        (get("/").header("x-canary", "1"), "canary"),
        (get("/").header("X-Canary", "2"), "read"),
        (get("/").header("X-Mark", "anything"), "marked"),
        (get("/?v=2"), "v2"),
        (get("/?x=1&v=2"), "v2"),
        (get("/?v=22"), "read"),
        (get("/?v=2&debug"), "debug v2"),
        (get("/?debug=yes&v=2"), "debug v2"),
    ] {
        c.request(sent).send().await.expect(200).body(route);
    }
    c.request(request("DELETE", "/")).send().await.expect(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn head_is_matched_where_get_is() {
    let e = edge(&answering(&[("four", "method = \"GET\"")]))
        .start()
        .await;
    e.client()
        .request(head("/"))
        .send()
        .await
        .expect(200)
        .header("content-length", "4")
        .body("");
}

/// A redirect to `https` and what it leaves alone, with a plain listener and one with TLS.
const TO_HTTPS: &str = r#"
[[listen]]
addr = "{listen}"
[[listen]]
addr = "{listen2}"
tls = { cert = "{dir}/a.pem", key = "{dir}/a.key" }
[[route]]
scheme = "http"
redirect = "https://{host}{uri}"
[[route]]
scheme = "http"
path = "/.well-known/acme-challenge/"
respond = "challenge"
[[route]]
scheme = "https"
path = "/api/"
respond = "api"
[[route]]
respond = "site"
"#;

/// An edge with certificates for a.test, its plain and its TLS client.
async fn both(toml: &str) -> (Edge, Client, Client) {
    let ca = Authority::new();
    let e = edge(toml);
    ca.write(e.dir(), "a", &["a.test"]);
    let e = e.start().await;
    let plain = e.client().host("a.test");
    let tls = client(e.value("listen2")).tls(ca.client(&["http/1.1"]), "a.test");
    (e, plain, tls)
}

#[tokio::test(flavor = "multi_thread")]
async fn http_is_sent_to_https_and_not_round_in_a_circle() {
    let (_e, plain, tls) = both(TO_HTTPS).await;
    for (uri, body) in [
        ("/", "site"),
        ("/x?y=z", "site"),
        ("/api/x", "api"),
        // The challenge is answered without TLS only; with TLS the path is like any other.
        ("/.well-known/other", "site"),
    ] {
        let there = format!("https://a.test{uri}");
        let sent = plain.get(uri).host("a.test:8080").send().await;
        sent.expect(308).header("location", &there);
        tls.get(uri).send().await.expect(200).body(body);
    }
    let challenge = "/.well-known/acme-challenge/token";
    plain
        .get(challenge)
        .send()
        .await
        .expect(200)
        .body("challenge");
    tls.get(challenge).send().await.expect(200).body("site");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_scheme_is_the_connections_and_not_what_a_stranger_says() {
    let (_e, plain, tls) = both(TO_HTTPS).await;
    let claims = get("/").header("X-Forwarded-Proto", "https");
    plain.request(claims).send().await.expect(308);
    let claims = get("/").header("X-Forwarded-Proto", "http");
    tls.request(claims).send().await.expect(200).body("site");
    // RFC 9112 §3.2.2: the target's authority counts, but no target makes a connection safe.
    let absolute = get("https://a.test/").host("a.test");
    plain.request(absolute).send().await.expect(308);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_proxy_says_which_scheme_the_client_used() {
    let o = origin("o1").on("*", ok().body("site")).start().await;
    let e = edge(
        "[server]\ntrusted_proxies = [\"127.0.0.0/8\"]\n[[route]]\nscheme = \"http\"\n\
         redirect = \"https://{host}{uri}\"\n[[route]]\nto = \"{o1}\"",
    )
    .origin(&o)
    .start()
    .await;
    let c = e.client();
    for (said, status) in [
        (&["https"][..], 200),
        (&["HTTPS"], 200),
        (&["http"], 308),
        // Nothing that could be understood: the connection is plain.
        (&[], 308),
        (&["wss"], 308),
        (&["https, http"], 308),
        (&["https", "https"], 308),
    ] {
        let request = said
            .iter()
            .fold(get("/"), |r, word| r.header("X-Forwarded-Proto", word));
        c.request(request).send().await.expect(status);
    }
    assert_eq!(o.requests().len(), 2, "what was redirected was not sent on");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobodys_request_is_404() {
    let e = edge(&answering(&[("only", "host = \"only.test\"")]))
        .start()
        .await;
    e.client().get("/").send().await.expect(404);
    let line = e.log_line("/").await;
    assert_eq!(line["status"], 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_listener_has_all_routes() {
    let e = edge("[[listen]]\naddr = \"{listen}\"\n[[listen]]\naddr = \"{listen2}\"\n[[route]]\nrespond = \"here\"")
        .start()
        .await;
    for addr in [e.addr(), e.value("listen2")] {
        client(addr).get("/").send().await.expect(200).body("here");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn absolute_form_is_routed_by_its_own_authority() {
    let e = edge(&answering(&[
        ("any", ""),
        ("a", "host = \"a.test\"\npath = \"/x\""),
    ]))
    .start()
    .await;
    let c = e.client();
    c.request(get("http://a.test/x?y").host("a.test"))
        .send()
        .await
        .expect(200)
        .body("a");
    c.request(get("http://a.test").host("a.test"))
        .send()
        .await
        .expect(200)
        .body("any");
}
