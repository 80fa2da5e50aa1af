//! A service is asked whether a request may go on: what it is told, what its answers do, who shares them, and that nobody gets in
//! without it.

use crate::rig::{
    App, Edge, Origin, edge, free_port, gate, get, ok, origin, post, python, repository, reset,
    status,
};

fn toml(auth: &str) -> String {
    format!(
        r#"
        [upstream.auth]
        servers = ["{{auth}}"]
        hold = "0s"
        [[route]]
        name = "app"
        to = "{{o1}}"
        auth = {{ forward = "http://auth/verify?rule=1", {auth} }}
        "#
    )
}

async fn edge_of(o: &Origin, auth: &Origin, says: &str) -> Edge {
    edge(&toml(says)).origin(o).origin(auth).start().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_service_is_told_and_what_the_application_is() {
    let o = origin("o1").on("/a", ok().body("done")).start().await;
    let yes = ok().header("remote-user", "ann").header("x-other", "1");
    let auth = origin("auth").on("/verify", yes).start().await;
    let e = edge_of(&o, &auth, "copy = ['Remote-User', 'Remote-Groups']").await;
    let asked = post("/a?b=c", "payload")
        .header("Cookie", "sid=1")
        .header("Authorization", "Bearer t")
        .header("X-Api-Key", "k")
        .header("Remote-User", "root")
        .header("Remote-Groups", "admins")
        .header("X-Forwarded-Uri", "/innocent")
        .header("X-Forwarded-Method", "GET")
        .header("X-Original-URL", "http://site.test/innocent");
    e.client()
        .request(asked)
        .send()
        .await
        .expect(200)
        .body("done")
        .no_header("remote-user");
    let told = auth.last("/verify?rule=1");
    assert_eq!((told.method(), told.text().as_str()), ("GET", ""));
    for (name, value) in [
        ("host", "site.test"),
        ("cookie", "sid=1"),
        ("authorization", "Bearer t"),
        ("x-api-key", "k"),
        ("x-forwarded-method", "POST"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-host", "site.test"),
        ("x-forwarded-uri", "/a?b=c"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-original-method", "POST"),
        ("x-original-url", "http://site.test/a?b=c"),
    ] {
        assert_eq!(told.header(name), Some(value), "{name}");
    }
    for name in ["remote-user", "remote-groups", "content-length"] {
        assert_eq!(told.header(name), None, "{name}");
    }
    let got = o.last("/a?b=c");
    assert_eq!(got.header("remote-user"), Some("ann"));
    for name in [
        "remote-groups",
        "x-other",
        "x-forwarded-uri",
        "x-original-url",
    ] {
        assert_eq!(got.header(name), None, "{name}");
    }
    assert_eq!(got.text(), "payload");
    assert_eq!(got.header("x-request-id"), told.header("x-request-id"));
}

/// It judges what the application gets: the path in its one spelling, on the host that the route was chosen by.
#[tokio::test(flavor = "multi_thread")]
async fn the_service_and_the_application_are_told_the_same() {
    let o = origin("o1").on("*", ok().body("done")).start().await;
    let auth = origin("auth").on("*", ok()).start().await;
    let trusting = format!("[server]\ntrusted_proxies = [\"loopback\"]\n{}", toml(""));
    let e = edge(&trusting).origin(&o).origin(&auth).start().await;
    for (asked, path) in [
        ("/public/../admin?x=1", "/admin?x=1"),
        ("/public/%2e%2e/admin", "/admin"),
        ("http://site.test/public/../admin", "/admin"),
        ("/%61dmin%2f", "/admin%2f"),
    ] {
        let raw = format!(
            "GET {asked} HTTP/1.1\r\nHost: site.test\r\nX-Forwarded-Host: public.test\r\n\r\n"
        );
        e.client().raw(&raw).await.expect(200);
        let told = auth.last("/verify?rule=1");
        assert_eq!(told.header("x-forwarded-uri"), Some(path));
        assert_eq!(told.header("x-original-uri"), Some(path));
        let url = format!("http://site.test{path}");
        assert_eq!(told.header("x-original-url"), Some(url.as_str()));
        assert_eq!(told.header("x-forwarded-host"), Some("site.test"));
        let seen = o.requests().last().map(|it| it.target().to_owned());
        assert_eq!(seen.as_deref(), Some(path));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_the_services_own_answer() {
    let o = origin("o1")
        .on("/a", ok().max_age(600).body("page"))
        .start()
        .await;
    let login = status(302)
        .header("location", "https://sso.test/login?rd=%2Fa")
        .header("set-cookie", "csrf=1")
        .header("set-cookie", "rd=2")
        .body("log in");
    let denied = status(403)
        .header("content-type", "text/plain")
        .body("not you");
    let realm = status(401).header("www-authenticate", "Basic realm=\"sso\"");
    let auth = origin("auth")
        .on("/verify", ok())
        .then(login)
        .then(denied)
        .then(realm);
    let auth = auth.start().await;
    let e = edge_of(&o, &auth, "").await;
    e.client().get("/a").send().await.expect(200).body("page");
    // The page is stored by now; it is behind the service all the same.
    e.client()
        .get("/a")
        .send()
        .await
        .expect(302)
        .header("location", "https://sso.test/login?rd=%2Fa")
        .header_lines("set-cookie", &["csrf=1", "rd=2"])
        .header("cache-control", "no-store")
        .body("log in");
    e.client().head("/a").send().await.expect(403).body("");
    e.client()
        .get("/a")
        .send()
        .await
        .expect(401)
        .header("www-authenticate", "Basic realm=\"sso\"");
    assert_eq!(o.requests().len(), 1);
    e.metric_becomes(
        "forebay_access_refused_total{route=\"app\",reason=\"auth-refused\"}",
        3.0,
    )
    .await;
    let line = e.log_where(|line| line["status"] == 302).await;
    assert_eq!(line["error"], "auth-refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_service_nobody_gets_in() {
    let o = origin("o1").on("/a", ok().max_age(600).body("page"));
    let o = o.start().await;
    let auth = origin("auth")
        .on("/verify", ok())
        .then(status(500).body("a stack trace"))
        // About nothing that the client has: it was asked without conditions.
        .then(status(304))
        .then(reset());
    let mut auth = auth.start().await;
    let e = edge_of(&o, &auth, "").await;
    e.client().get("/a").send().await.expect(200);
    for _ in 0..3 {
        let refused = e.client().get("/a").send().await.expect(503);
        assert!(!refused.text().contains("stack trace"));
    }
    let line = e.log_where(|line| line["status"] == 503).await;
    assert_eq!(line["error"], "auth-unavailable");
    e.stderr("is not well: it answered 500").await;
    // One that takes its time, and one that is away.
    let closed = gate();
    auth.change("/verify", ok().hold(&closed));
    e.reload_with(&toml("timeout = '10ms'")).await;
    e.client().get("/a").send().await.expect(503);
    closed.open();
    auth.down().await;
    e.reload_with(&toml("")).await;
    let refused = e.client().get("/a").send().await.expect(503);
    refused.header("cache-control", "no-store");
    assert_eq!(o.requests().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_users_have_their_own_pages() {
    let page = |body: &str| ok().max_age(600).body(body);
    let o = origin("o1")
        .on("/a", page("ann's"))
        .then(page("bob's"))
        .start()
        .await;
    let user = |name| ok().header("remote-user", name);
    let auth = origin("auth");
    let auth = auth
        .on("/verify", user("ann"))
        .then(user("bob"))
        .then(user("ann"));
    let auth = auth.then(user("bob")).then(ok()).start().await;
    let e = edge_of(&o, &auth, "copy = ['Remote-User']").await;
    for body in ["ann's", "bob's", "ann's", "bob's"] {
        e.client().get("/a").send().await.expect(200).body(body);
    }
    assert_eq!(o.fetches("/a"), 2);
    // Nobody is a user, too, and a stranger's word does not make one.
    let asked = get("/a").header("Remote-User", "ann");
    e.client().request(asked).send().await.expect(200);
    assert_eq!(o.fetches("/a"), 3);
    assert_eq!(o.last("/a").header("remote-user"), None);
    // A purge is of the page, whoever it is for.
    let purge = e
        .admin()
        .post("/purge", r#"{"url": "http://site.test/a"}"#)
        .send()
        .await
        .expect(200);
    assert_eq!(purge.json()["matched"], 3, "{}", purge.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_fields_of_users_there_is_one_page_for_all() {
    let o = origin("o1")
        .on("/a", ok().max_age(600).body("page"))
        .start()
        .await;
    let auth = origin("auth").on("/verify", ok()).start().await;
    let e = edge_of(&o, &auth, "").await;
    for sid in ["1", "2"] {
        let asked = get("/a").header("Cookie", &format!("sid={sid}"));
        e.client().request(asked).send().await.expect(200);
    }
    assert_eq!((o.fetches("/a"), auth.fetches("/verify?rule=1")), (1, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_yes_is_good_for_who_would_ask_the_same() {
    let o = origin("o1").on("/a", ok()).on("/b", ok()).start().await;
    for (by, asked) in [("url", 3), ("session", 2)] {
        let auth = origin("auth").on("/verify", ok()).start().await;
        let says = format!("send = ['Cookie'], cache = '1h', cache_by = '{by}'");
        let e = edge_of(&o, &auth, &says).await;
        for (target, sid, key) in [
            ("/a", "1", "x"),
            ("/a", "1", "y"),
            ("/b", "1", "x"),
            ("/a", "2", "x"),
            ("/a", "2", "x"),
        ] {
            let asked = get(target).header("Cookie", &format!("sid={sid}"));
            let asked = asked.header("X-Api-Key", key);
            e.client().request(asked).send().await.expect(200);
        }
        assert_eq!(auth.fetches("/verify?rule=1"), asked, "{by}");
        // What it is not told can have been no reason.
        assert_eq!(auth.last("/verify?rule=1").header("x-api-key"), None);
        // A reload forgets nothing that still holds.
        e.reload().await.expect(200);
        let again = get("/a").header("Cookie", "sid=2");
        e.client().request(again).send().await.expect(200);
        assert_eq!(auth.fetches("/verify?rule=1"), asked, "{by}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_remembered() {
    // Whatever the page says to caches in front of us.
    let page = ok().header("Cache-Control", "public, max-age=60");
    let page = page.header("CDN-Cache-Control", "max-age=600");
    let o = origin("o1").on("/a", page).start().await;
    let auth = origin("auth")
        .on("/verify", ok().header("set-cookie", "sid=2; HttpOnly"))
        .then(ok().no_store())
        .then(status(403))
        .then(ok());
    let auth = auth.start().await;
    let e = edge_of(&o, &auth, "send = ['Cookie'], cache = '1h'").await;
    e.client()
        .get("/a")
        .send()
        .await
        .expect(200)
        .header_lines("set-cookie", &["sid=2; HttpOnly"])
        .header_lines("cache-control", &["public, max-age=60", "private"])
        .no_header("cdn-cache-control");
    e.client()
        .get("/a")
        .send()
        .await
        .expect(200)
        .no_header("set-cookie")
        .header_lines("cache-control", &["public, max-age=60"])
        .header("cdn-cache-control", "max-age=600");
    e.client().get("/a").send().await.expect(403);
    for _ in 0..2 {
        e.client().get("/a").send().await.expect(200);
    }
    assert_eq!(auth.fetches("/verify?rule=1"), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_ask_the_same_at_once_share_the_question() {
    let o = origin("o1").on("/a", ok()).start().await;
    let held = gate();
    let auth = origin("auth").on("/verify", ok().hold(&held)).start().await;
    let e = edge_of(&o, &auth, "send = ['Cookie'], cache = '1h'").await;
    let crowd = e.client().crowd(20, &get("/a"));
    crowd.asked().await;
    auth.fetched("/verify?rule=1", 1).await;
    held.open();
    for seen in crowd.all().await {
        assert_eq!(seen.response.status, 200);
    }
    assert_eq!(auth.fetches("/verify?rule=1"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_url_is_asked_by_its_own_host() {
    let o = origin("o1").on("/a", ok()).start().await;
    let auth = origin("auth").on("/verify", ok()).start().await;
    let toml = "[[route]]\nto = '{o1}'\nauth = { forward = '{auth}/verify' }";
    let e = edge(toml).origin(&o).origin(&auth).start().await;
    e.client().get("/a").send().await.expect(200);
    let told = auth.last("/verify");
    assert_eq!(told.header("host"), Some(auth.addr()));
    assert_eq!(told.header("x-forwarded-host"), Some("site.test"));
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_and_routes_say_what_decides() {
    let o = origin("o1").on("/a", ok()).start().await;
    let auth = origin("auth").on("/verify", ok()).start().await;
    let e = edge_of(&o, &auth, "").await;
    let told = e
        .admin()
        .post("/explain", r#"{"url": "http://site.test/a"}"#)
        .send()
        .await
        .expect(200);
    assert_eq!(
        told.json()["route"]["access"],
        "auth/verify is asked (not asked here: what the request shows is taken to be right)"
    );
    e.reload_with("[[route]]\nto = '{o1}'\ndeny = ['127.0.0.1']")
        .await;
    let told = e
        .admin()
        .post("/explain", r#"{"url": "http://site.test/a"}"#)
        .send()
        .await
        .expect(200);
    assert_eq!(told.json()["refused"]["word"], "address-denied");
}

#[tokio::test(flavor = "multi_thread")]
async fn flask_as_the_service_and_as_the_application() {
    let addr = format!("127.0.0.1:{}", free_port());
    let mut command = python("gunicorn").await;
    command.args(["--workers", "2", "--bind", &addr, "gatekeeper:app"]);
    command
        .current_dir(repository().join("tests/apps"))
        .env("PYTHONDONTWRITEBYTECODE", "1");
    let _app = App::start(command);
    let toml = r#"
        [upstream.flask]
        servers = ["http://{app}"]
        hold = "30s"
        [[route]]
        path = "/auth/"
        to = "flask"
        [[route]]
        to = "flask"
        auth = { forward = "http://flask/auth/verify", copy = ["Remote-User"], send = ["Cookie"], cache = "1m", timeout = "30s" }
        "#;
    let e = edge(toml).value("app", &addr).start().await;
    let c = e.client();
    let sent = c.get("/news?x=1").send().await.expect(302);
    assert_eq!(
        sent.value("location"),
        "/auth/login?rd=http%3A%2F%2Fsite.test%2Fnews%3Fx%3D1"
    );
    let mut sessions = Vec::new();
    for name in ["ada", "grace"] {
        let login = post(sent.value("location"), format!("name={name}"));
        let login = login.header("Content-Type", "application/x-www-form-urlencoded");
        let login = c.request(login).send().await.expect(302);
        assert_eq!(login.value("location"), "http://site.test/news?x=1");
        let cookie = login.value("set-cookie").split(';').next().unwrap();
        sessions.push((name, cookie.to_owned()));
    }
    for round in 0..2 {
        for (name, cookie) in &sessions {
            let asked = get("/news")
                .header("Cookie", cookie)
                .header("Remote-User", "ada");
            let page = c.request(asked).send().await.expect(200);
            let page = page.body(format!("news of {name}\n"));
            assert_eq!(page.cache().has("hit"), round == 1, "{name}");
            let admin = get("/admin/x").header("Cookie", cookie);
            let status = if *name == "ada" { 200 } else { 403 };
            c.request(admin).send().await.expect(status);
        }
    }
    c.get("/news").send().await.expect(302);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_may_replace_what_the_client_has_shown() {
    let o = origin("o1").on("/a", ok()).on("/b", ok()).start().await;
    let yes = ok().header("authorization", "Bearer theirs");
    let auth = origin("auth").on("/verify", yes).then(ok()).start().await;
    let toml = r#"
        [[route]]
        to = "{o1}"
        [[route]]
        path = "/a"
        to = "{o1}"
        auth = { forward = "{auth}/verify", copy = ["Authorization"] }
        "#;
    let e = edge(toml).origin(&o).origin(&auth).start().await;
    let ask = async |target: &str| {
        let asked = get(target).header("Authorization", "Bearer own");
        e.client().request(asked).send().await.expect(200);
        o.last(target).header("authorization").map(str::to_owned)
    };
    assert_eq!(ask("/a").await.as_deref(), Some("Bearer theirs"));
    assert_eq!(
        auth.last("/verify").header("authorization"),
        Some("Bearer own")
    );
    assert_eq!(ask("/a").await, None);
    // Elsewhere it is the client's.
    assert_eq!(ask("/b").await.as_deref(), Some("Bearer own"));
}
