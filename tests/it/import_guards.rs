//! What `forebay import` makes of guards and limits: nothing that nginx refuses gets through what takes its place.

use crate::import_beside::real_nginx;
use crate::rig::{
    Edge, Origin, client, edge, free_port, ok, origin, request, run_forebay, status,
    temporary_directory,
};

/// Guards of every kind, and locations by which one could get around them; the origin and the directory are the test's.
const GUARDS: &str = r#"
daemon off;
master_process off;
pid {dir}/nginx.pid;
error_log {dir}/error.log;
events {}
http {
    access_log off;
    client_body_temp_path {dir}/body;
    proxy_temp_path {dir}/proxy;
    fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi;
    scgi_temp_path {dir}/scgi;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_set_header Host $host;
    proxy_set_header X-Remote-User $remote_user;

    server {
        listen {nginx} default_server;
        location / { proxy_pass http://{origin}; }
    }
    server {
        listen {nginx};
        server_name ~^tenant\d+\.test$;
        location / { deny all; }
    }
    server {
        listen {nginx};
        server_name ~^site\.test$;
        if ($request_method !~ ^(GET|HEAD|POST|PUT)$) { return 405; }

        location ~ \.secret$ { deny all; }
        location ~ ^/app/ { proxy_pass http://{origin}; add_header X-Added app always; }
        location ~* \.(env|bak)$ { deny all; }
        location ~ ^/v\d+/admin { deny all; }
        location ~ ^/team/(\w+)/keys$ { auth_basic x; auth_basic_user_file {dir}/users; proxy_pass http://{origin}; }
        location ~ /\. { deny all; }
        location ~ ^/some/.+$ { proxy_pass http://{origin}; }
        location ~ ^/any-method { limit_except GET { deny all; } proxy_pass http://{origin}; }

        location / { proxy_pass http://{origin}; }
        location /img { limit_except GET { deny all; } proxy_pass http://{origin}; }
        location /deep/ { rewrite ^/deep/a/(.*)$ /d/$1 break; proxy_pass http://{origin}; }
        location = /login { proxy_pass http://{origin}/auth/login; }
        location /login/ { deny all; }
        location /some/ { deny all; }
        location /only/ { allow 10.0.0.0/8; deny all; proxy_pass http://{origin}; }
        location /order/ { allow 127.0.0.1; deny 127.0.0.0/8; proxy_pass http://{origin}; }
        location /reverse/ { deny 127.0.0.1; allow 127.0.0.0/8; deny all; proxy_pass http://{origin}; }
        location /either/ { satisfy any; allow 10.0.0.0/8; deny all; auth_basic x; auth_basic_user_file {dir}/users; proxy_pass http://{origin}; }
        location /kept { auth_basic x; auth_basic_user_file {dir}/users; proxy_pass http://{origin}/k/; }
        location /read/ { limit_except get head { deny all; } proxy_pass http://{origin}; }
        location "/star*/" { deny all; }
        location ^~ /stop/ { proxy_pass http://{origin}; }
    }
}
"#;

const BASES: [&str; 22] = [
    "",
    "/app",
    "/APP",
    "/v1/admin",
    "/team/a/keys",
    "/some",
    "/any-method",
    "/img",
    "/imgs",
    "/deep",
    "/deep/a",
    "/login",
    "/only",
    "/order",
    "/reverse",
    "/either",
    "/kept",
    "/keptly",
    "/read",
    "/star*",
    "/star%2A",
    "/stop",
];

const TAILS: [&str; 8] = [
    "",
    "/",
    "/x",
    "/x.secret",
    "/.git/a",
    "/a.EnV",
    "/.secret",
    "/x%2esecret",
];

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_nginx_refuses_gets_through() {
    let dir = temporary_directory();
    let path = |name: &str| dir.path().join(name);
    std::fs::write(path("users"), "ann:$apr1$abcdefgh$h9FWgUz3n9YxylKLlR5SQ/\n").unwrap();
    let o = origin("o1")
        .on("*", ok().body("from the origin"))
        .start()
        .await;
    let nginx = format!("127.0.0.1:{}", free_port());
    let text = GUARDS
        .replace("{dir}", &dir.path().display().to_string())
        .replace("{origin}", o.addr())
        .replace("{nginx}", &nginx);
    std::fs::write(path("nginx.conf"), &text).unwrap();
    let run = run_forebay(dir.path(), &["import", "nginx.conf"])
        .await
        .expect(0);
    let toml = run.stdout.replace(&format!("\"{nginx}\""), "\"{listen}\"");
    let e = edge(&toml).start().await;
    let _real = real_nginx(dir.path(), &nginx).await;

    let mut asked = Vec::new();
    for base in BASES {
        for tail in TAILS {
            for slashes in ["", "/"] {
                asked.push(("GET", "site.test", format!("{slashes}{base}{tail}")));
            }
            asked.push(("PUT", "site.test", format!("{base}{tail}")));
        }
        asked.push(("DELETE", "site.test", format!("{base}/x")));
        asked.push(("GET", "tenant7.test", format!("{base}/x")));
    }
    asked.retain(|(.., path)| path.starts_with('/'));
    let mut opened = String::new();
    let mut both = 0;
    for (method, host, path) in &asked {
        let (status, _) = asks(&o, &nginx, method, host, path).await;
        let (_, reached) = asks(&o, e.addr(), method, host, path).await;
        match reached {
            Some(what) if status >= 400 => {
                opened += &format!("{method} {host} {path}: {status}, {what}\n");
            }
            Some(_) => both += 1,
            None => {}
        }
    }
    assert!(opened.is_empty(), "{opened}\n{toml}");
    assert!(both > asked.len() / 8, "{both} of {}\n{toml}", asked.len());
    for (host, path) in [
        ("site.test", "/x"),
        ("site.test", "/app/x"),
        ("site.test", "/order/x"),
        ("site.test", "/deep/a/x"),
        ("site.test", "/login"),
        ("site.test", "/stop/.git"),
        ("other.example", "/only/x"),
    ] {
        let (status, reached) = asks(&o, e.addr(), "GET", host, path).await;
        assert!(reached.is_some(), "{host} {path}: {status}\n{toml}");
    }
}

/// The answer, and what the origin is asked because of it.
async fn asks(
    o: &Origin,
    addr: &str,
    method: &str,
    host: &str,
    path: &str,
) -> (u16, Option<String>) {
    let before = o.requests().len();
    let asked = request(method, path)
        .host(host)
        .header("X-Remote-User", "root");
    let status = client(addr).request(asked).send().await.status;
    let reached = o.requests().get(before).map(|found| {
        // What the proxy did not say must not be said by a client.
        assert_eq!(found.header("x-remote-user"), None, "{path}");
        format!("{} {}", found.method(), found.target())
    });
    (status, reached)
}

/// Places behind a service that is asked; the origin, the service and the directory are the test's.
const ASKED: &str = r#"
daemon off;
master_process off;
pid {dir}/nginx.pid;
error_log {dir}/error.log;
events {}
http {
    access_log off;
    client_body_temp_path {dir}/body;
    proxy_temp_path {dir}/proxy;
    fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi;
    scgi_temp_path {dir}/scgi;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    server {
        listen {nginx};
        location /in/ {
            auth_request /ask;
            auth_request_set $user $upstream_http_x_user;
            auth_request_set $mail $upstream_http_x_mail;
            auth_request_set $cookie $upstream_http_set_cookie;
            add_header Set-Cookie $cookie;
            proxy_set_header Host $host;
            proxy_set_header Connection "";
            proxy_set_header X-User $user;
            proxy_set_header X-Address $mail;
            proxy_pass http://{origin};
            location /in/open/ {
                auth_request off;
                proxy_pass http://{origin};
            }
        }
        location /out/ { auth_request /ask/no; proxy_pass http://{origin}; }
        location /away/ { auth_request /ask/away; proxy_pass http://{origin}; }
        location /ill/ { auth_request /ask/ill; proxy_pass http://{origin}; }
        location /keyed/ { auth_request /keyed-ask; proxy_pass http://{origin}; }
        location ^~ /ask {
            internal;
            proxy_pass http://{auth}/check;
            proxy_pass_request_body off;
            proxy_set_header Content-Length "";
            proxy_set_header X-Original-URI $request_uri;
            proxy_set_header Connection "";
        }
        location = /keyed-ask { proxy_pass http://{auth}/check; proxy_set_header X-Key k; proxy_set_header Connection ""; }
    }
}
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_nginx_asks_is_asked() {
    let dir = temporary_directory();
    let o = origin("o1").on("*", ok().body("page")).start().await;
    let yes = ok().header("x-user", "ann").header("x-mail", "ann@site");
    let auth = origin("auth")
        .on("/check", yes.header("set-cookie", "sid=1"))
        .on("/check/no", status(401).body("who are you"))
        .on("/check/away", status(302).header("location", "/login"))
        .on("/check/ill", status(500));
    let auth = auth.start().await;
    let nginx = format!("127.0.0.1:{}", free_port());
    let text = ASKED
        .replace("{dir}", &dir.path().display().to_string())
        .replace("{origin}", o.addr())
        .replace("{auth}", auth.addr())
        .replace("{nginx}", &nginx);
    std::fs::write(dir.path().join("nginx.conf"), &text).unwrap();
    let run = run_forebay(dir.path(), &["import", "nginx.conf"])
        .await
        .expect(0);
    let run = run.says("it is told `X-Key` there, and not here");
    let toml = run.stdout.replace(&format!("\"{nginx}\""), "\"{listen}\"");
    let e = edge(&toml).start().await;
    let _real = real_nginx(dir.path(), &nginx).await;

    // The answers of nginx, and ours. What the service refuses with is shown here.
    for (path, theirs, ours) in [
        ("/in/x?a=b", 200, 200),
        ("/in/open/x", 200, 200),
        ("/out/x", 401, 401),
        ("/away/x", 500, 302),
        ("/ill/x", 500, 503),
        ("/keyed/x", 200, 403),
        ("/ask", 404, 404),
        ("/ask/no", 404, 404),
    ] {
        for (addr, expected) in [(nginx.as_str(), theirs), (e.addr(), ours)] {
            let before = o.requests().len();
            let asked = request("GET", path).header("X-User", "root");
            let asked = asked.header("X-Address", "root").header("X-Mail", "root");
            let answer = client(addr).request(asked).send().await;
            assert_eq!(answer.status, expected, "{path} at {addr}\n{toml}");
            let reached = o.requests().get(before).cloned();
            assert_eq!(reached.is_some(), expected == 200, "{path} at {addr}");
            if path.starts_with("/in/x") {
                let told = auth.last("/check");
                assert_eq!(told.header("x-original-uri"), Some(path), "{addr}");
                answer.header("set-cookie", "sid=1");
            }
            let reached = reached.filter(|_| addr == e.addr() && path.starts_with("/in/"));
            let Some(found) = reached else { continue };
            let known = path == "/in/x?a=b";
            assert_eq!(found.header("x-user"), known.then_some("ann"), "{path}");
            assert_eq!(found.header("x-mail"), known.then_some("ann@site"));
            assert_eq!(found.header("x-address"), None, "{path}");
        }
    }
}

/// The golden shop, in front of an origin.
async fn shop() -> (Origin, Edge) {
    let o = origin("o1")
        .on("*", ok().body("from the shop"))
        .start()
        .await;
    let dir = temporary_directory();
    let text = std::fs::read_to_string("tests/golden/import/shop/nginx.conf").unwrap();
    let text = text.replace("unix:/run/gunicorn.sock", o.addr()).replace(
        "/etc/nginx/htpasswd",
        &dir.path().join("users").display().to_string(),
    );
    std::fs::write(
        dir.path().join("users"),
        "ann:$apr1$abcdefgh$h9FWgUz3n9YxylKLlR5SQ/\n",
    )
    .unwrap();
    std::fs::write(dir.path().join("nginx.conf"), text).unwrap();
    let run = run_forebay(dir.path(), &["import", "nginx.conf"])
        .await
        .expect(0);
    let toml = run.stdout.replace("addr = \":80\"", "addr = \"{listen}\"");
    let e = edge(&toml).start().await;
    (o, e)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shop_keeps_its_guards_and_limits() {
    let (o, e) = shop().await;
    let c = e.client();
    let status = |method: &str, host: &str, path: &str| {
        let asked = request(method, path).host(host);
        let sending = c.request(asked);
        async move { sending.send().await.status }
    };
    for (method, host, path, expected) in [
        ("GET", "shop.example", "/", 200),
        ("GET", "shop.example", "/app/v2/internal/x", 403),
        ("GET", "shop.example", "/app/v2/x", 200),
        ("GET", "shop.example", "/.git/config", 403),
        ("GET", "shop.example", "/dump.SQL", 403),
        ("GET", "shop.example", "/feed/dump.sql", 403),
        ("PUT", "shop.example", "/feed/x", 403),
        ("GET", "shop.example", "/feed/x", 200),
        ("TRACE", "shop.example", "/app/", 405),
        ("GET", "shop.example", "/admin/x", 403),
        ("GET", "shop.example", "//admin/x", 400),
        ("GET", "shop.example", "/%61dmin/x", 403),
        ("GET", "shop.example", "/reports/x", 401),
        ("GET", "elsewhere.example", "/", 404),
        ("GET", "preview-7.shop.example", "/", 501),
    ] {
        let before = o.requests().len();
        assert_eq!(
            status(method, host, path).await,
            expected,
            "{method} {host} {path}"
        );
        let reached = o.requests().len() > before;
        assert!(!reached || expected == 200, "{method} {host} {path}");
    }
    // `rate=5r/m` with `burst=4 nodelay`: five at once, and none for the next twelve seconds.
    for _ in 0..5 {
        assert_eq!(status("POST", "shop.example", "/login").await, 200);
    }
    assert_eq!(status("POST", "shop.example", "/login").await, 429);
    assert_eq!(status("GET", "shop.example", "/x").await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guard_that_would_be_lost_stops_the_import() {
    let dir = temporary_directory();
    let write = |text: &str| std::fs::write(dir.path().join("nginx.conf"), text).unwrap();
    for (server, says) in [
        (
            "if ($http_x_key != secret) { return 403; }",
            "if ($http_x_key != secret)",
        ),
        (
            "if ($cookie_session = '') { return 302 /login; }",
            "if ($cookie_session = ",
        ),
        ("modsecurity on;", "modsecurity on"),
        (
            "location ~ ^/v\\d+/login { limit_req zone=a; proxy_pass http://app; }",
            "limited",
        ),
    ] {
        write(&format!(
            "limit_req_zone $binary_remote_addr zone=a:1m rate=1r/s; server {{ listen 80; {server} location / {{ proxy_pass http://app; }} }}"
        ));
        let run = run_forebay(dir.path(), &["import", "nginx.conf"])
            .await
            .expect(1);
        for part in [says, "--force", "LET THROUGH"] {
            assert!(run.stderr.contains(part), "no {part:?} in {run:#?}");
        }
        assert!(run.stdout.is_empty(), "{run:#?}");
        let run = run_forebay(dir.path(), &["import", "--force", "nginx.conf"])
            .await
            .expect(0);
        assert!(run.stdout.contains("LET THROUGH"), "{run:#?}");
    }
    write(
        "server { listen 80; if (-f /srv/closed) { return 503; } location / { proxy_pass http://app; } }",
    );
    run_forebay(dir.path(), &["import", "nginx.conf"])
        .await
        .expect(0);
}
