//! The control plane over HTTP: health, readiness by route, metrics, upstreams, and who may change things.

use crate::rig::{client, edge, free_port, gate, ok, origin, request};

#[tokio::test(flavor = "multi_thread")]
async fn alive_is_not_ready() {
    let mut o = origin("o1").on("*", ok().body("v1"));
    let there = origin("there").on("*", ok()).start().await;
    let toml = r#"
        [upstream.o]
        servers = ["{o1}"]
        health = { tcp = true, every = "50ms", every_down = "50ms", unhealthy = 1 }
        [[route]]
        name = "app"
        path = "/app"
        to = "o"
        [[route]]
        name = "there"
        path = "/there"
        to = "{there}"
        [[route]]
        name = "text"
        path = "/text"
        respond = "hi"
    "#;
    let e = edge(toml).origin(&o).origin(&there).start().await;
    e.metric_becomes(
        &format!("forebay_upstream_up{{server=\"{}\"}}", o.addr()),
        0.0,
    )
    .await;
    e.admin().get("/healthz").send().await.expect(200);
    let ready = e.admin().get("/readyz").send().await.expect(503).json();
    let state = |ready: &serde_json::Value, route: &str| {
        let routes = ready["routes"].as_array().unwrap().clone();
        routes.into_iter().find(|r| r["route"] == route).unwrap()["ready"].clone()
    };
    assert_eq!(state(&ready, "app"), false, "{ready:#}");
    assert_eq!(state(&ready, "there"), true, "{ready:#}");
    assert_eq!(state(&ready, "text"), true, "{ready:#}");
    o.up().await;
    e.metric_becomes(
        &format!("forebay_upstream_up{{server=\"{}\"}}", o.addr()),
        1.0,
    )
    .await;
    let ready = e.admin().get("/readyz").send().await.expect(200).json();
    assert_eq!(state(&ready, "app"), true, "{ready:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_count_what_happened() {
    let o = origin("o1").on("*", ok().body("v1")).start().await;
    let e = edge("[[route]]\nname = \"app\"\nto = \"{o1}\"")
        .origin(&o)
        .start()
        .await;
    for _ in 0..3 {
        e.client().get("/a").send().await.expect(200);
    }
    e.client().post("/a", "x").send().await.expect(200);
    e.metric_becomes("forebay_requests_total{route=\"app\",method=\"GET\"}", 3.0)
        .await;
    e.metric_becomes("forebay_requests_total{route=\"app\",method=\"POST\"}", 1.0)
        .await;
    e.metric_becomes("forebay_request_duration_seconds_count{route=\"app\"}", 4.0)
        .await;
    e.metric_becomes("forebay_upstream_requests_total", 4.0)
        .await;
    e.metric_becomes("forebay_accepted_total", 4.0).await;
    e.metric_becomes("forebay_connections", 0.0).await;
    e.client().raw("GET / HTTP/1.1\r\n\r\n").await.expect(400);
    e.metric_becomes("forebay_refused_total", 1.0).await;
    let got = e.admin().get("/metrics").send().await.expect(200);
    assert!(
        got.value("content-type").contains("openmetrics"),
        "{got:#?}"
    );
    assert!(got.text().ends_with("# EOF\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn upstreams_show_their_servers() {
    let o = origin("o1").on("*", ok()).start().await;
    let e = edge(
        "[upstream.app]\nservers = [\"{o1}\", \"http://127.0.0.1:1\"]\n[[route]]\nto = \"app\"",
    )
    .origin(&o)
    .start()
    .await;
    let got = e.admin().get("/upstreams").send().await.expect(200);
    let text = got.text();
    for part in ["app", o.addr(), "127.0.0.1:1"] {
        assert!(text.contains(part), "no {part} in {text}");
    }
    got.json();
}

#[tokio::test(flavor = "multi_thread")]
async fn other_paths_and_methods() {
    let e = edge("[[route]]\nrespond = \"hi\"").start().await;
    e.admin().get("/nothing").send().await.expect(404);
    e.admin()
        .get("/reload")
        .send()
        .await
        .expect(405)
        .header("allow", "POST");
    e.admin()
        .request(request("DELETE", "/metrics"))
        .send()
        .await
        .expect(405);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_guards_changes_over_tcp() {
    let port = free_port().to_string();
    let toml =
        "[admin]\nlisten = \"127.0.0.1:{port}\"\ntoken = \"s3cret\"\n[[route]]\nrespond = \"hi\"";
    let e = edge(toml).value("port", &port).start().await;
    let admin = client(&format!("127.0.0.1:{port}")).host("localhost");
    admin.get("/healthz").send().await.expect(200);
    let reload = || admin.post("/reload", "");
    reload()
        .send()
        .await
        .expect(401)
        .header("www-authenticate", "Bearer");
    reload()
        .header("Authorization", "Bearer wrong")
        .send()
        .await
        .expect(401);
    reload()
        .header("Authorization", "Bearer s3cret")
        .send()
        .await
        .expect(200);
    drop(e);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_page_cannot_reach_it() {
    // DNS rebinding: a browser is tricked into asking a loopback address under a stranger's name.
    let port = free_port().to_string();
    let toml = "[admin]\nlisten = \"127.0.0.1:{port}\"\n[[route]]\nrespond = \"hi\"";
    let e = edge(toml).value("port", &port).start().await;
    let admin = client(&format!("127.0.0.1:{port}"));
    let got = admin
        .post("/reload", "")
        .host("evil.test")
        .header("Origin", "http://evil.test")
        .send()
        .await;
    assert!([400, 401, 403, 421].contains(&got.status), "{got:#?}");
    drop(e);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_socket_is_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let e = edge("[[route]]\nrespond = \"hi\"").start().await;
    let mode = std::fs::metadata(e.dir().join("admin.sock"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_answers_while_the_data_threads_are_busy() {
    let never = gate();
    let o = origin("o1")
        .on("*", ok().hold(&never).body("v1"))
        .start()
        .await;
    let e = edge("[[route]]\nto = \"{o1}\"").origin(&o).start().await;
    // As many targets, so that no fetch is shared.
    let busy = |n| e.client().get(&format!("/a?{n}")).spawn();
    let _busy: Vec<_> = (0..50).map(busy).collect();
    o.head(49).await;
    e.admin().get("/healthz").send().await.expect(200);
    e.metric_becomes("forebay_upstream_in_flight", 50.0).await;
}
