//! Which route a request belongs to: host, path, method, header and query, and which of several wins.

use crate::rig::{client, edge, get, head, request};

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
