//! Words that people bring along, mostly from nginx, and what is written for them here.
//!
//! Only words that are no key of the section in which they stand are looked up.

/// Each word, then the section and the line that say the same here.
const TRANSLATIONS: &[(&str, &str, &str)] = &[
    (
        "access_log",
        "[log]",
        "access = \"/var/log/forebay/access.log\"",
    ),
    (
        "add_header",
        "[[route]]",
        "response_headers = { set = { \"X-A\" = \"b\" } }",
    ),
    (
        "alias",
        "[[route]]",
        "files = \"/srv/static\", strip_prefix = true",
    ),
    ("backend", "[[route]]", "to = \"http://app:5000\""),
    ("bind", "[[listen]]", "addr = \"0.0.0.0:8080\""),
    ("client_body_timeout", "[limits]", "body_timeout = \"30s\""),
    (
        "client_header_timeout",
        "[limits]",
        "head_timeout = \"10s\"",
    ),
    (
        "client_max_body_size",
        "[[route]]",
        "body_limit = \"10MiB\"",
    ),
    ("domain", "[[route]]", "host = \"example.org\""),
    ("error_log", "[log]", "level = \"info\""),
    (
        "error_page",
        "[[route]]",
        "error_pages = { 502 = \"502.html\" }",
    ),
    (
        "index",
        "[[route]]",
        "files = { root = \"/srv\", index = \"index.html\" }",
    ),
    ("keepalive_timeout", "[limits]", "idle_timeout = \"75s\""),
    ("listen", "[[listen]]", "addr = \"0.0.0.0:8080\""),
    ("location", "[[route]]", "path = \"/api/\""),
    ("log_format", "[log]", "format = \"combined\""),
    ("max_conns", "[upstream.NAME]", "max_in_flight = 100"),
    ("max_fails", "[upstream.NAME]", "eject = { failures = 5 }"),
    ("port", "[[listen]]", "addr = \"0.0.0.0:8080\""),
    ("prefix", "[[route]]", "path = \"/api/\""),
    (
        "proxy_connect_timeout",
        "[upstream.NAME]",
        "timeouts = { connect = \"1s\" }",
    ),
    (
        "proxy_next_upstream",
        "[upstream.NAME]",
        "retry = { tries = 3 }",
    ),
    ("proxy_pass", "[[route]]", "to = \"http://app:5000\""),
    (
        "proxy_read_timeout",
        "[upstream.NAME]",
        "timeouts = { first_byte = \"60s\", between_bytes = \"60s\" }",
    ),
    (
        "proxy_send_timeout",
        "[upstream.NAME]",
        "timeouts = { send = \"60s\" }",
    ),
    (
        "proxy_set_header",
        "[[route]]",
        "request_headers = { set = { \"X-A\" = \"b\" } }",
    ),
    (
        "return",
        "[[route]]",
        "redirect = { to = \"https://{host}{uri}\", status = 301 }",
    ),
    ("rewrite", "[[route]]", "replace_prefix = \"/new/\""),
    ("root", "[[route]]", "files = \"/srv\""),
    ("send_timeout", "[limits]", "write_timeout = \"30s\""),
    ("server_name", "[[route]]", "host = \"example.org\""),
    (
        "set_real_ip_from",
        "[server]",
        "trusted_proxies = [\"10.0.0.0/8\"]",
    ),
    (
        "ssl_certificate",
        "[[listen]]",
        "tls = { cert = \"cert.pem\", key = \"key.pem\" }",
    ),
    (
        "ssl_certificate_key",
        "[[listen]]",
        "tls = { cert = \"cert.pem\", key = \"key.pem\" }",
    ),
    ("target", "[[route]]", "to = \"http://app:5000\""),
    (
        "tls_cert",
        "[[listen]]",
        "tls = { cert = \"cert.pem\", key = \"key.pem\" }",
    ),
    (
        "tls_key",
        "[[listen]]",
        "tls = { cert = \"cert.pem\", key = \"key.pem\" }",
    ),
    (
        "try_files",
        "[[route]]",
        "files = { root = \"/srv\", fallback = \"index.html\" }",
    ),
    (
        "upstreams",
        "[upstream.NAME]",
        "servers = [\"http://app:5000\"]",
    ),
    ("worker_connections", "[limits]", "connections = 10000"),
    ("worker_processes", "[server]", "threads = 4"),
    ("workers", "[server]", "threads = 4"),
];

/// What is not there, whatever it is called.
const MISSING: &[(&str, &str)] = &[
    ("allow", "addresses are not filtered"),
    ("auth_basic", "passwords are not checked"),
    ("autoindex", "directories are not listed"),
    ("brotli", "answers are not compressed yet"),
    ("compress", "answers are not compressed yet"),
    ("deny", "addresses are not filtered"),
    ("gzip", "answers are not compressed yet"),
    ("limit_rate", "rates are not limited yet"),
    ("limit_req", "rates are not limited yet"),
];

/// What a message says after an unknown key, if the word is familiar.
pub(super) fn advice(word: &str) -> Option<String> {
    let translated = TRANSLATIONS.iter().find(|(known, ..)| *known == word);
    let missing = || MISSING.iter().find(|(known, _)| *known == word);
    translated
        .map(|(_, section, line)| format!("; write {line} in {section}"))
        .or_else(|| missing().map(|(_, why)| format!("; {why}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_advised_is_known() {
        for (word, section, line) in TRANSLATIONS {
            let line = line.replace("\", strip", "\"\nstrip");
            let text = format!("{section}\n{line}\n");
            let errors = crate::config::load_str(&text, "t")
                .map_or_else(|e| e.to_string(), |_| String::new());
            assert!(
                !errors.contains("unknown key") && !errors.contains("expected"),
                "{word}: {errors}"
            );
        }
    }
}
