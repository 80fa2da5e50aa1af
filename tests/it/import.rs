//! `forebay import`: where requests go after it, one row for each rule of nginx's; and the command itself.

use forebay::config;
use forebay::fields::view::FieldView;
use forebay::import::{self, Imported};
use forebay::routing::settings::{Action, Scheme};
use forebay::routing::{RequestView, Table, rewrite};

use crate::rig::{run_forebay, temporary_directory};

fn imported(text: &str) -> Imported {
    let dir = temporary_directory();
    let path = dir.path().join("nginx.conf");
    std::fs::write(&path, text).unwrap();
    import::nginx(&path).unwrap()
}

/// Where a request goes after the import: what the route with this path does.
fn route_of(text: &str, host: &str, target: &str, method: &str) -> String {
    let made = imported(text);
    let settings = config::load_str(&made.toml, "proxy.toml").unwrap();
    let access = settings.access;
    let table = Table::new(settings.routes);
    let (path, query) = target
        .split_once('?')
        .map_or((target, None), |(p, q)| (p, Some(q)));
    let method = method.parse().unwrap();
    let headers = http::HeaderMap::new();
    let found = table.find(&RequestView {
        scheme: Scheme::Http,
        host,
        path,
        query,
        method: &method,
        headers: FieldView::from(&headers),
    });
    match found {
        None => "404".to_owned(),
        Some(route) => match &route.action {
            Action::Forward(to) => {
                let guard = access[route.index].summary();
                let guard = guard.map_or_else(String::new, |guard| format!(", {guard}"));
                let path = rewrite::path(&route.rewrite, path);
                format!("{} {path}{guard}", to[0].upstream)
            }
            Action::Redirect { to, status } => format!(
                "{} {to} {}",
                status.as_u16(),
                rewrite::path(&route.rewrite, path)
            ),
            Action::Respond { status, .. } => status.as_u16().to_string(),
            Action::Files { root, .. } => {
                format!("{} {}", root.display(), rewrite::path(&route.rewrite, path))
            }
        },
    }
}

/// Which location nginx takes, and what it asks for, one row for each rule of its documentation.
#[test]
fn requests_go_where_nginx_sends_them() {
    const HOST: &str = "proxy_set_header Host $host;";
    for (server, host, method, target, expected) in [
        (
            "location /a/ { auth_basic x; proxy_pass http://s; } location / { proxy_pass http://s; }",
            "x",
            "GET",
            "/a",
            "403",
        ),
        (
            "location /a/ { proxy_pass http://s; }",
            "x",
            "GET",
            "/a/b",
            "http://s /a/b",
        ),
        (
            "location /a/ { proxy_pass http://s; }",
            "x",
            "GET",
            "/a",
            "301 /a/{query} /a",
        ),
        (
            "location /a/ { proxy_pass http://s/; }",
            "x",
            "GET",
            "/a/b",
            "http://s /b",
        ),
        (
            "location /a/ { proxy_pass http://s/c/; }",
            "x",
            "GET",
            "/a/b",
            "http://s /c/b",
        ),
        (
            "location /a { proxy_pass http://s/c; }",
            "x",
            "GET",
            "/a/b",
            "http://s /c/b",
        ),
        (
            "location /a { proxy_pass http://s; }",
            "x",
            "GET",
            "/ab",
            "http://s /ab",
        ),
        (
            "location / { proxy_pass http://s/c/; }",
            "x",
            "GET",
            "/b",
            "http://s /c/b",
        ),
        (
            "location = /a { proxy_pass http://s; } location / { return 403; }",
            "x",
            "GET",
            "/a/",
            "403",
        ),
        (
            "location = /a { proxy_pass http://s/b; }",
            "x",
            "GET",
            "/a",
            "http://s /b",
        ),
        // The longest prefix, whatever the order; a regular expression before it; unless it stops them.
        (
            "location / { return 403; } location /a/ { proxy_pass http://s; }",
            "x",
            "GET",
            "/a/b",
            "http://s /a/b",
        ),
        (
            r"location /a/ { return 403; } location ~ \.x$ { proxy_pass http://s; }",
            "x",
            "GET",
            "/a/b.x",
            "http://s /a/b.x",
        ),
        (
            r"location ^~ /a/ { return 403; } location ~ \.x$ { proxy_pass http://s; }",
            "x",
            "GET",
            "/a/b.x",
            "403",
        ),
        (
            r"location /a { proxy_pass http://t/; } location ~ \.x$ { proxy_pass http://s; }",
            "x",
            "GET",
            "/a/b.x",
            "http://s /a/b.x",
        ),
        (
            r"location /a/ { location ~ \.x$ { return 403; } proxy_pass http://s; }",
            "x",
            "GET",
            "/a/b.x",
            "403",
        ),
        (
            r"location /a/ { location ~ \.x$ { return 403; } proxy_pass http://s; }",
            "x",
            "GET",
            "/b.x",
            "404",
        ),
        (
            r"location / { proxy_pass http://s; } location ~ /\. { deny all; }",
            "x",
            "GET",
            "/a/.git/b",
            "403",
        ),
        (
            r"location / { proxy_pass http://s; } location ~ ^/private/\d+ { deny all; }",
            "x",
            "GET",
            "/private/7",
            "403",
        ),
        (
            r"root /srv; location ~ [^/]\.php(/|$) { fastcgi_pass php:9000; }",
            "x",
            "GET",
            "/a.php/b",
            "501",
        ),
        // Rewrites.
        (
            "location /a/ { rewrite ^/a/(.*)$ /$1 break; proxy_pass http://s; }",
            "x",
            "GET",
            "/a/b",
            "http://s /b",
        ),
        (
            "location /a { rewrite ^/a/(.*)$ /v/$1 break; proxy_pass http://s; }",
            "x",
            "GET",
            "/a/b",
            "http://s /v/b",
        ),
        (
            "location /a/b/ { rewrite ^/a/(.*)$ /$1 break; proxy_pass http://s; }",
            "x",
            "GET",
            "/a/b/c",
            "http://s /b/c",
        ),
        (
            "location / { rewrite ^/a/(.*)$ /b/$1 permanent; proxy_pass http://s; }",
            "x",
            "GET",
            "/a/c",
            "301 {uri} /b/c",
        ),
        (
            "location / { rewrite ^/a/(.*)$ /b/$1 permanent; return 403; } location /a/ { proxy_pass http://s; }",
            "x",
            "GET",
            "/a/c",
            "http://s /a/c",
        ),
        (
            "location /a/ { rewrite ^/a/(.*)$ https://o.org/$1 redirect; }",
            "x",
            "GET",
            "/a/c",
            "302 https://o.org{uri} /c",
        ),
        (
            "rewrite ^/a/(.*)$ /b/$1 permanent; location /a/c/ { proxy_pass http://s; }",
            "x",
            "GET",
            "/a/c/d",
            "301 {uri} /b/c/d",
        ),
        (
            "location /a/ { rewrite ^/a/(.*)$ /b/$1 last; } location /b/ { proxy_pass http://s; }",
            "x",
            "GET",
            "/a/c",
            "http://s /b/c",
        ),
        (
            "return 301 https://$host$request_uri; location /a/ { proxy_pass http://s; }",
            "x",
            "GET",
            "/a/c",
            "301 https://{host}{uri} /a/c",
        ),
        // Access and methods.
        (
            "location /a/ { limit_except GET { deny all; } proxy_pass http://s; }",
            "x",
            "GET",
            "/a/b",
            "http://s /a/b",
        ),
        (
            "location /a/ { limit_except GET { deny all; } proxy_pass http://s; }",
            "x",
            "PUT",
            "/a/b",
            "403",
        ),
        (
            "location /a/ { allow 10.0.0.0/8; deny all; proxy_pass http://s; }",
            "x",
            "GET",
            "/a/b",
            "http://s /a/b, allow 10.0.0.0/8",
        ),
        (
            "location /a/ { allow 10.0.0.0/8; deny all; proxy_pass http://s; } location / { proxy_pass http://t; }",
            "x",
            "GET",
            "/a",
            "http://s /a, allow 10.0.0.0/8",
        ),
        (
            "location /a/ { allow 10.0.0.0/9; deny 10.0.0.0/8; proxy_pass http://s; }",
            "x",
            "GET",
            "/a/b",
            "http://s /a/b, deny 10.128.0.0/9",
        ),
        (
            "satisfy any; auth_basic x; auth_basic_user_file /u; location / { allow 10.1.2.3; deny all; proxy_pass http://s; }",
            "x",
            "GET",
            "/a",
            "http://s /a, password of /u",
        ),
        (
            "location ~ \\.php$ { deny 10.1.2.3; proxy_pass http://s; }",
            "x",
            "GET",
            "/a.php",
            "http://s /a.php, deny 10.1.2.3/32",
        ),
        (
            "auth_basic x; auth_basic_user_file /u; deny 192.0.2.1; location / { proxy_pass http://s; }",
            "x",
            "GET",
            "/a",
            "http://s /a, deny 192.0.2.1/32; password of /u",
        ),
        (
            "auth_basic x; location /a/ { auth_basic off; proxy_pass http://s; } location / { proxy_pass http://t; }",
            "x",
            "GET",
            "/a/b",
            "http://s /a/b",
        ),
        (
            "auth_basic x; location /a/ { auth_basic off; proxy_pass http://s; } location / { proxy_pass http://t; }",
            "x",
            "GET",
            "/b",
            "403",
        ),
        (
            "if ($request_method = PUT) { return 405; } location / { proxy_pass http://s; }",
            "x",
            "PUT",
            "/",
            "405",
        ),
        (
            "if ($host != www.o.org) { return 301 https://www.o.org$request_uri; } location / { proxy_pass http://s; }",
            "www.o.org",
            "GET",
            "/",
            "http://s /",
        ),
        (
            "if ($host != www.o.org) { return 301 https://www.o.org$request_uri; } location / { proxy_pass http://s; }",
            "o.org",
            "GET",
            "/",
            "301 https://www.o.org{uri} /",
        ),
        // Files.
        (
            "root /srv; location /a/ { }",
            "x",
            "GET",
            "/a/b",
            "/srv /a/b",
        ),
        (
            "location /a/ { alias /srv/b/; }",
            "x",
            "GET",
            "/a/b",
            "/srv/b /b",
        ),
        (
            "location = /a.txt { alias /srv/b.txt; }",
            "x",
            "GET",
            "/a.txt",
            "/srv /b.txt",
        ),
        (
            "root /srv; location / { try_files $uri @s; } location @s { proxy_pass http://s; }",
            "x",
            "GET",
            "/a",
            "http://s /a",
        ),
        (
            "set $s http://s; location / { proxy_pass $s; }",
            "x",
            "GET",
            "/a",
            "http://s /a",
        ),
        (
            "location / { proxy_pass http://s$request_uri; }",
            "x",
            "GET",
            "/a",
            "http://s /a",
        ),
        (
            "location / { proxy_pass http://$arg_to; }",
            "x",
            "GET",
            "/a",
            "501",
        ),
    ] {
        let text = format!("server {{ listen 80; {HOST} {server} }}");
        assert_eq!(
            route_of(&text, host, target, method),
            expected,
            "{server} {method} {target}"
        );
    }
}

/// Which server nginx takes.
#[test]
fn hosts_go_where_nginx_sends_them() {
    let text = "proxy_set_header Host $host;
        server { listen 80; server_name a.org; location /x/ { proxy_pass http://a; } }
        server { listen 80 default_server; server_name b.org; location / { proxy_pass http://b; } }
        server { listen 80; server_name .c.org; location / { proxy_pass http://c; } }
        server { listen 80; server_name a.org; location / { proxy_pass http://late; } }
        server { listen 8081; location / { proxy_pass http://inside; } }";
    for (host, path, expected) in [
        ("a.org", "/x/y", "http://a /x/y"),
        ("a.org", "/y", "404"),
        ("b.org", "/y", "http://b /y"),
        ("other", "/y", "http://b /y"),
        ("c.org", "/y", "http://c /y"),
        ("d.c.org", "/y", "http://c /y"),
    ] {
        assert_eq!(route_of(text, host, path, "GET"), expected, "{host} {path}");
    }
    assert!(!imported(text).toml.contains("inside"));
}

#[tokio::test(flavor = "multi_thread")]
async fn import_on_the_command_line() {
    let dir = temporary_directory();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    write(
        "nginx.conf",
        "server { listen 80; limit_req zone=a; location / { auth_basic x; proxy_pass http://app; } location /b { proxy_pass http://app; } }",
    );
    let run = run_forebay(dir.path(), &["import", "nginx.conf"])
        .await
        .expect(0);
    for part in ["auth_basic x", "limit_req zone=a", "NOT carried over"] {
        assert!(run.stderr.contains(part), "no {part:?} in {run:#?}");
    }
    write("proxy.toml", &run.stdout);
    run_forebay(dir.path(), &["check"]).await.expect(0);
    write("broken.conf", "server {\n listen 80;\n");
    run_forebay(dir.path(), &["import", "broken.conf"])
        .await
        .expect(2)
        .complains("broken.conf:3: the file ends within `server` of line 1");
    run_forebay(dir.path(), &["import", "gone.conf"])
        .await
        .expect(2)
        .complains("gone.conf");
    run_forebay(dir.path(), &["import"]).await.expect(2);
}

/// nginx adds a field to what it answers by itself as to what an application does.
#[test]
fn fields_are_added_to_what_is_answered_here() {
    let made = imported(
        "events {} http { server { listen 80; add_header X-A b always; location /a { deny all; } location /b { return 301 /c; } \
         location /d { limit_except GET { deny all; } proxy_pass http://s; } } }",
    );
    let settings = config::load_str(&made.toml, "proxy.toml").unwrap();
    for route in &settings.routes {
        let answered_here = !matches!(route.action, Action::Files { .. });
        let fields = &route.response_headers.set;
        assert!(
            !answered_here || fields.iter().any(|(name, _)| name == "x-a"),
            "{}\n{}",
            route.name,
            made.toml
        );
    }
    assert!(settings.routes.len() >= 4, "{}", made.toml);
}
