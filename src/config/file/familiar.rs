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
    ("allow", "[[route]]", "allow = [\"10.0.0.0/8\"]"),
    ("allow_from", "[[route]]", "allow = [\"10.0.0.0/8\"]"),
    (
        "auth_basic",
        "[[route]]",
        "auth = { basic = \"users.htpasswd\" }",
    ),
    (
        "auth_request",
        "[[route]]",
        "auth = { forward = \"http://auth:9091/verify\" }",
    ),
    ("backend", "[[route]]", "to = \"http://app:5000\""),
    (
        "basic_auth",
        "[[route]]",
        "auth = { basic = \"users.htpasswd\" }",
    ),
    (
        "basicauth",
        "[[route]]",
        "auth = { basic = \"users.htpasswd\" }",
    ),
    ("bind", "[[listen]]", "addr = \"0.0.0.0:8080\""),
    ("blacklist", "[[route]]", "deny = [\"192.0.2.0/24\"]"),
    ("brotli", "[[route]]", "cache = { compress = true }"),
    (
        "cache_control",
        "[[route]]",
        "response_headers = { set = { \"Cache-Control\" = \"max-age=60\" } }",
    ),
    ("cache_ttl", "[[route]]", "cache = { ttl = \"5m\" }"),
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
    (
        "default_grace",
        "[[route]]",
        "cache = { stale_while_revalidate = \"1h\" }",
    ),
    ("default_ttl", "[[route]]", "cache = { ttl = \"5m\" }"),
    ("deny", "[[route]]", "deny = [\"192.0.2.0/24\"]"),
    ("deny_from", "[[route]]", "deny = [\"192.0.2.0/24\"]"),
    ("domain", "[[route]]", "host = \"example.org\""),
    ("error_log", "[log]", "level = \"info\""),
    (
        "error_page",
        "[[route]]",
        "error_pages = { 502 = \"502.html\" }",
    ),
    (
        "expires",
        "[[route]]",
        "response_headers = { set = { \"Cache-Control\" = \"max-age=60\" } }",
    ),
    (
        "forward_auth",
        "[[route]]",
        "auth = { forward = \"http://auth:9091/verify\" }",
    ),
    (
        "grace",
        "[[route]]",
        "cache = { stale_while_revalidate = \"1h\", stale_if_error = \"1d\" }",
    ),
    ("gzip", "[[route]]", "cache = { compress = true }"),
    ("hsts", "[[route]]", "security_headers = \"strict\""),
    (
        "index",
        "[[route]]",
        "files = { root = \"/srv\", index = \"index.html\" }",
    ),
    ("keep", "[[route]]", "cache = { stale_if_error = \"1d\" }"),
    ("keepalive_timeout", "[limits]", "idle_timeout = \"75s\""),
    ("keys_zone", "[cache]", "memory = \"256MiB\""),
    ("limit_conn", "[limits]", "connections_per_client = 100"),
    ("limit_req", "[[route]]", "rate_limit = { rate = \"10/s\" }"),
    ("listen", "[[listen]]", "addr = \"0.0.0.0:8080\""),
    ("location", "[[route]]", "path = \"/api/\""),
    ("log_format", "[log]", "format = \"combined\""),
    ("max_age", "[[route]]", "cache = { ttl = \"5m\" }"),
    ("max_conns", "[upstream.NAME]", "max_in_flight = 100"),
    ("max_fails", "[upstream.NAME]", "eject = { failures = 5 }"),
    ("max_size", "[cache]", "memory = \"256MiB\""),
    (
        "max_stale",
        "[[route]]",
        "cache = { stale_if_error = \"1d\" }",
    ),
    ("nocache", "[[route]]", "cache = false"),
    ("port", "[[listen]]", "addr = \"0.0.0.0:8080\""),
    ("prefix", "[[route]]", "path = \"/api/\""),
    ("proxy_cache", "[[route]]", "cache = true"),
    (
        "proxy_cache_background_update",
        "[[route]]",
        "cache = { stale_while_revalidate = \"1h\" }",
    ),
    (
        "proxy_cache_bypass",
        "[[route]]",
        "cache = { bypass = [{ cookie = \"session\" }] }",
    ),
    (
        "proxy_cache_key",
        "[[route]]",
        "cache = { key = { headers = [\"X-Device\"] } }",
    ),
    ("proxy_cache_path", "[cache]", "memory = \"256MiB\""),
    (
        "proxy_cache_use_stale",
        "[[route]]",
        "cache = { stale_if_error = \"1d\" }",
    ),
    (
        "proxy_cache_valid",
        "[[route]]",
        "cache = { ttl = \"5m\", ttl_by_status = { 404 = \"30s\" } }",
    ),
    (
        "proxy_connect_timeout",
        "[upstream.NAME]",
        "timeouts = { connect = \"1s\" }",
    ),
    (
        "proxy_ignore_headers",
        "[[route]]",
        "cache = { origin = \"ignore\", ttl = \"5m\" }",
    ),
    ("proxy_max_temp_file_size", "[cache]", "object = \"32MiB\""),
    (
        "proxy_next_upstream",
        "[upstream.NAME]",
        "retry = { tries = 3 }",
    ),
    (
        "proxy_no_cache",
        "[[route]]",
        "cache = { bypass = [{ cookie = \"session\" }] }",
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
    ("s_maxage", "[[route]]", "cache = { ttl = \"5m\" }"),
    ("send_timeout", "[limits]", "write_timeout = \"30s\""),
    ("server_name", "[[route]]", "host = \"example.org\""),
    (
        "set_real_ip_from",
        "[server]",
        "trusted_proxies = [\"10.0.0.0/8\"]",
    ),
    ("size", "[cache]", "memory = \"256MiB\""),
    ("sie", "[[route]]", "cache = { stale_if_error = \"1d\" }"),
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
    (
        "ssl_client_certificate",
        "[[listen]]",
        "client_certificates = { ca = \"clients.pem\" }",
    ),
    (
        "stale",
        "[[route]]",
        "cache = { stale_while_revalidate = \"1h\" }",
    ),
    ("storage", "[cache]", "memory = \"256MiB\""),
    (
        "swr",
        "[[route]]",
        "cache = { stale_while_revalidate = \"1h\" }",
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
    ("whitelist", "[[route]]", "allow = [\"10.0.0.0/8\"]"),
    ("worker_connections", "[limits]", "connections = 10000"),
    ("worker_processes", "[server]", "threads = 4"),
    ("workers", "[server]", "threads = 4"),
];

/// What is not there, whatever it is called.
const MISSING: &[(&str, &str)] = &[
    ("autoindex", "directories are not listed"),
    (
        "cache_methods",
        "GET and HEAD are cached, and what a POST says may be",
    ),
    ("limit_rate", "how fast a body is sent is not limited"),
    (
        "proxy_cache_lock",
        "requests for the same thing share one fetch without being told to",
    ),
    (
        "proxy_cache_lock_timeout",
        "requests for the same thing share one fetch without being told to, and stream it from its first byte",
    ),
    (
        "proxy_cache_methods",
        "GET and HEAD are cached, and what a POST says may be",
    ),
    (
        "proxy_cache_min_uses",
        "everything that may be stored is, and what is not asked for again goes first",
    ),
    (
        "proxy_cache_revalidate",
        "what is stale is validated by its ETag or Last-Modified without being told to",
    ),
    ("vcl", "what a route does is said by keys, not by a program"),
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
