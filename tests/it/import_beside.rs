//! `forebay import` side by side with nginx: one configuration, the same requests, the same answers.

use std::path::Path;

use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::rig::{
    Response, client, edge, free_port, ok, origin, request, run_forebay, status,
    temporary_directory, within,
};

/// A configuration as people have it, for both; the origin and the directory are the test's.
const BOTH: &str = r#"
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

    upstream app { server {origin}; }

    server {
        listen {nginx} default_server;
        return 404;
    }
    server {
        listen {nginx};
        server_name site.test www.site.test;
        client_max_body_size 1k;
        root {dir}/public;

        location / { proxy_pass http://app; }
        location /strip/ { proxy_pass http://app/; }
        location /replace/ { proxy_pass http://app/v2/api/; }
        location /plain { proxy_pass http://app; }
        location = /exact { proxy_pass http://app; }
        location /rewritten/ { rewrite ^/rewritten/(.*)$ /r/$1 break; proxy_pass http://app; }
        location /moved/ { return 301 https://new.test$request_uri; }
        location /gone { return 410 "gone for good"; }
        location /old/ { rewrite ^/old/(.*)$ /new/$1 permanent; }
        location ^~ /assets/ { alias {dir}/public/files/; }
        location /files/ { try_files $uri =404; }
        location /spa/ { try_files $uri /spa/index.html; }
        location ~ \.secret$ { deny all; }
        location ~ /\. { deny all; }
        location /private/ { internal; proxy_pass http://app; }
        location /reading/ { limit_except GET { deny all; } proxy_pass http://app; }
        location /headed/ { proxy_pass http://app; add_header X-Added yes always; proxy_hide_header X-Inner; }
    }
}
"#;

/// What is compared of an answer. What nginx writes into its own error pages is its own.
fn seen(response: &Response, is_the_origins: bool) -> (u16, String, String, String) {
    let field = |name: &str| {
        let value = response.head.get(name).unwrap_or_default();
        // nginx makes `Location` absolute, by the host and port that it was asked on.
        let path = value.strip_prefix("http://site.test");
        path.map_or(value, |path| {
            path.trim_start_matches(|c: char| c == ':' || c.is_ascii_digit())
        })
        .to_owned()
    };
    let body = if is_the_origins || response.text().contains("gone for good") {
        response.text()
    } else {
        String::new()
    };
    (
        response.status,
        field("location"),
        field("x-added") + &field("x-inner"),
        body,
    )
}

/// nginx with the `nginx.conf` of a directory, when it listens. It ends with what is returned.
pub(crate) async fn real_nginx(dir: &Path, addr: &str) -> Child {
    let mut real = Command::new("nginx")
        .arg("-p")
        .arg(dir)
        .arg("-c")
        .arg(dir.join("nginx.conf"))
        .kill_on_drop(true)
        .spawn()
        .expect("nginx is installed");
    let answers = async {
        while TcpStream::connect(addr).await.is_err() {
            assert!(
                real.try_wait().unwrap().is_none(),
                "nginx has ended: {:?}",
                std::fs::read_to_string(dir.join("error.log"))
            );
            tokio::task::yield_now().await;
        }
    };
    within("nginx to listen", answers).await;
    real
}

#[tokio::test(flavor = "multi_thread")]
async fn side_by_side_with_nginx() {
    let dir = temporary_directory();
    let path = |name: &str| dir.path().join(name);
    for folder in ["public/files", "public/spa"] {
        std::fs::create_dir_all(path(folder)).unwrap();
    }
    for (file, text) in [
        ("public/files/a.txt", "a file"),
        ("public/files/b.secret", "a secret"),
        ("public/spa/index.html", "the page"),
        ("public/spa/app.js", "the script"),
    ] {
        std::fs::write(path(file), text).unwrap();
    }
    let answer = ok().header("X-Inner", "1").body("from the origin");
    let o = origin("o1")
        .on("*", answer)
        .on("/missing", status(404).body("not there"))
        .start()
        .await;
    let nginx = format!("127.0.0.1:{}", free_port());
    let text = BOTH
        .replace("{dir}", &dir.path().display().to_string())
        .replace("{origin}", o.addr())
        .replace("{nginx}", &nginx);
    std::fs::write(path("nginx.conf"), &text).unwrap();
    let run = run_forebay(dir.path(), &["import", "nginx.conf"])
        .await
        .expect(0);
    let toml = run.stdout.replace(&format!("\"{nginx}\""), "\"{listen}\"");
    assert!(toml.contains("{listen}"), "{toml}");
    let e = edge(&toml).start().await;
    let _real = real_nginx(dir.path(), &nginx).await;
    let long = "x".repeat(2000);
    let mut wrong = String::new();
    for (method, host, target, body) in [
        ("GET", "site.test", "/", ""),
        ("GET", "site.test", "/a/b?c=d", ""),
        ("GET", "www.site.test", "/a", ""),
        ("GET", "other.test", "/a", ""),
        ("GET", "site.test", "/missing", ""),
        ("POST", "site.test", "/a", "short"),
        ("POST", "site.test", "/a", long.as_str()),
        ("GET", "site.test", "/strip/", ""),
        ("GET", "site.test", "/strip/a/b?c=d", ""),
        ("GET", "site.test", "/strip", ""),
        ("GET", "site.test", "/strip?a=b", ""),
        ("GET", "site.test", "/stripped", ""),
        ("GET", "site.test", "/replace/a?b", ""),
        ("GET", "site.test", "/replace/", ""),
        ("GET", "site.test", "/plain", ""),
        ("GET", "site.test", "/plain/a", ""),
        ("GET", "site.test", "/plainly", ""),
        ("GET", "site.test", "/exact", ""),
        ("GET", "site.test", "/exact/a", ""),
        ("GET", "site.test", "/rewritten/a/b?c=d", ""),
        ("GET", "site.test", "/moved/a?b=c", ""),
        ("GET", "site.test", "/gone/a", ""),
        ("GET", "site.test", "/old/a/b?c=d", ""),
        ("GET", "site.test", "/assets/a.txt", ""),
        ("GET", "site.test", "/assets/none.txt", ""),
        ("GET", "site.test", "/assets/b.secret", ""),
        ("GET", "site.test", "/files/a.txt", ""),
        ("GET", "site.test", "/files/none", ""),
        ("GET", "site.test", "/files/b.secret", ""),
        ("GET", "site.test", "/spa/app.js", ""),
        ("GET", "site.test", "/spa/any/where", ""),
        ("GET", "site.test", "/a/.git/config", ""),
        ("GET", "site.test", "/.env", ""),
        ("GET", "site.test", "/a.secret", ""),
        ("GET", "site.test", "/private/a", ""),
        ("GET", "site.test", "/reading/a", ""),
        ("PUT", "site.test", "/reading/a", "x"),
        ("GET", "site.test", "/headed/a", ""),
    ] {
        let mut both = Vec::new();
        for addr in [nginx.as_str(), e.addr()] {
            let before = o.requests().len();
            let asked = request(method, target).host(host);
            let asked = if body.is_empty() {
                asked
            } else {
                asked.body(body)
            };
            let response = client(addr).request(asked).send().await;
            let reached = o.requests().get(before).cloned();
            let reached = reached.map(|r| format!("{} {} {}", r.method(), r.target(), r.text()));
            let is_file = target.starts_with("/assets")
                || target.starts_with("/files")
                || target.starts_with("/spa");
            let is_whole = reached.is_some() || (is_file && response.status == 200);
            both.push((seen(&response, is_whole), reached));
        }
        if both[0] != both[1] {
            wrong += &format!(
                "{method} {host} {target}\n  nginx   {:?}\n  forebay {:?}\n",
                both[0], both[1]
            );
        }
    }
    assert!(wrong.is_empty(), "{wrong}\n{toml}");
}
