//! Tests of the room as a whole: configurations as people have them, and any others.

use std::fs;
use std::rc::Rc;

use proptest::prelude::*;

use super::{ImportError, Imported, nginx, of_tree, tree};
use crate::config;

const DIRECTORY: &str = "tests/golden/import";

fn imported(text: &str) -> Result<Imported, ImportError> {
    let tree = tree::parse(text, &Rc::from("nginx.conf"), &mut 0);
    let tree = tree.map_err(|fault| ImportError::Syntax {
        file: "nginx.conf".to_owned(),
        line: fault.line,
        message: fault.message,
    })?;
    of_tree(&tree, "nginx.conf")
}

/// Each directory has an `nginx.conf`, and the `proxy.toml` that is printed for it, notes included. After a change that is
/// meant, `UPDATE_GOLDEN=1 cargo test --lib import` writes them anew; read the difference.
#[test]
fn golden_files_are_what_they_were() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut differing = String::new();
    let mut count = 0;
    for entry in fs::read_dir(DIRECTORY).expect("the test is right") {
        let directory = entry.expect("the test is right").path();
        count += 1;
        let made = nginx(&directory.join("nginx.conf")).expect("the test is right");
        let made = made.toml.replace(&format!("{}/", directory.display()), "");
        let path = directory.join("proxy.toml");
        config::load_str(&made, "proxy.toml").expect("the test is right");
        if update {
            fs::write(path, made).expect("the test is right");
        } else if fs::read_to_string(&path).unwrap_or_default() != made {
            differing.push_str(&made);
        }
    }
    assert!(count >= 10, "only {count} directories in {DIRECTORY}");
    assert!(differing.is_empty(), "{differing}");
}

/// Whatever is printed loads, and nothing is ever refused for our own mistake.
fn judge(text: &str) {
    match imported(text) {
        Ok(made) => {
            let errors = config::load_str(&made.toml, "proxy.toml").err();
            assert_eq!(
                errors.map(|errors| errors.to_string()),
                None,
                "{}",
                made.toml
            );
        }
        Err(ImportError::Syntax { .. } | ImportError::Read { .. }) => {}
        Err(error @ ImportError::Invalid(_)) => panic!("{error}"),
    }
}

#[test]
fn every_golden_file_cut_short_and_without_any_of_its_lines() {
    for entry in fs::read_dir(DIRECTORY).expect("the test is right") {
        let text = fs::read_to_string(entry.expect("the test is right").path().join("nginx.conf"))
            .expect("the test is right");
        let lines: Vec<&str> = text.lines().collect();
        for at in 0..lines.len() {
            let mut without = lines.clone();
            without.remove(at);
            judge(&without.join("\n"));
        }
    }
}

/// Directives, from words that mean something to each of them and from some that do not.
fn directive() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec![
        "listen",
        "server_name",
        "root",
        "alias",
        "index",
        "try_files",
        "error_page",
        "proxy_pass",
        "return",
        "rewrite",
        "set",
        "proxy_set_header",
        "add_header",
        "proxy_hide_header",
        "expires",
        "proxy_read_timeout",
        "client_max_body_size",
        "proxy_cache",
        "proxy_cache_valid",
        "proxy_cache_key",
        "proxy_cache_use_stale",
        "proxy_cache_bypass",
        "proxy_ignore_headers",
        "allow",
        "deny",
        "auth_basic",
        "internal",
        "ssl_certificate",
        "ssl_certificate_key",
        "keepalive_timeout",
        "set_real_ip_from",
        "limit_req",
        "fastcgi_pass",
        "default_type",
        "access_log",
        "proxy_next_upstream_tries",
        "proxy_ssl_name",
        "worker_processes",
        "proxy_cache_path",
        "send_timeout",
        "frobnicate",
    ]);
    let word = prop::sample::select(vec![
        "80",
        "443 ssl",
        "[::]:80",
        "127.0.0.1:9900",
        "default_server",
        "example.org",
        "*.example.org",
        "_",
        "~^a$",
        "/",
        "/srv",
        "/srv/",
        "/a/b/",
        "$uri",
        "$host",
        "$scheme",
        "$1",
        "${x}",
        "@app",
        "=404",
        "404",
        "200",
        "301",
        "any",
        "10m",
        "0",
        "99999999999d",
        "on",
        "off",
        "http://app",
        "http://app:8000/",
        "https://app/x/",
        "http://unix:/a.sock:/",
        "http://[::1]:1",
        "http://127.0.0.1:0",
        "^/a/(.*)$",
        "^/a$",
        "permanent",
        "break",
        "last",
        "'a b'",
        "\"\"",
        "é",
        "'\n[route]'",
        "X-A",
        "Host",
        "Connection",
        "a;b",
        "'{x}'",
        "*",
        "/a*",
        "10.0.0.0/8",
        "all",
        "error",
        "updating",
        "keys_zone=a:1m max_size=9m",
        "Set-Cookie",
        "$cookie_a",
        "$http_b_c",
        "$arg_d",
        "'${HOME}'",
    ]);
    (name, prop::collection::vec(word, 0..4))
        .prop_map(|(name, words)| format!("{name} {};\n", words.join(" ")))
}

fn block() -> impl Strategy<Value = String> {
    let location = prop::sample::select(vec![
        "location /",
        "location /a",
        "location /a/",
        "location ^~ /a/b/",
        "location = /a",
        "location = /",
        r"location ~ \.php$",
        r"location ~* ^/a/(b|c)",
        "location @app",
        "location /é",
        "location '/a b'",
        "location /a*",
        "location =/a/",
        "if ($host = a.org)",
        "if ($scheme = http)",
        "if ($request_method = POST)",
        "limit_except GET",
        "location",
        "upstream app",
    ]);
    let inner = prop_oneof![
        4 => directive(),
        1 => (location.clone(), prop::collection::vec(directive(), 0..4))
            .prop_map(|(head, inner)| format!("{head} {{\n{}}}\n", inner.concat())),
    ];
    let server = prop::collection::vec(inner.clone(), 0..7)
        .prop_map(|inner| format!("server {{\n{}}}\n", inner.concat()));
    let nested = (location, prop::collection::vec(inner, 0..5))
        .prop_map(|(head, inner)| format!("{head} {{\n{}}}\n", inner.concat()));
    let upstream = prop::sample::select(vec![
        "upstream app { server a; server b:1 weight=9 backup; least_conn; }\n",
        "upstream app { }\n",
        "upstream app { server 'a b' max_fails=x; hash $x; keepalive_timeout 0; }\n",
        "upstream app { server unix:/a.sock max_conns=99999999999; server a:99999; }\n",
    ]);
    prop_oneof![
        3 => server,
        1 => nested,
        1 => upstream.prop_map(str::to_owned),
        1 => directive(),
    ]
}

proptest! {
    #[test]
    fn any_text(text in any::<String>()) {
        judge(&text);
    }

    #[test]
    fn anything_like_nginx(blocks in prop::collection::vec(block(), 0..5), in_http in any::<bool>()) {
        let text = blocks.concat();
        judge(&if in_http { format!("events {{}}\nhttp {{\n{text}}}\n") } else { text });
    }
}
