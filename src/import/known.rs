//! What is said of directives that nothing was made of, by their names.

use super::note::{Kind, Notes};
use super::tree::Directive;

/// Directives that need nothing here, and why.
static NEEDLESS: &[(&str, &str)] = &[
    (
        "how nginx runs; Forebay needs none of it",
        "user pid events worker_connections worker_rlimit_nofile worker_cpu_affinity worker_priority \
         worker_shutdown_timeout multi_accept use accept_mutex daemon master_process thread_pool pcre_jit \
         timer_resolution lock_file worker_aio_requests working_directory",
    ),
    (
        "how nginx moves octets; Forebay finds its own way",
        "sendfile sendfile_max_chunk tcp_nopush tcp_nodelay aio directio output_buffers postpone_output \
         reset_timedout_connection lingering_close lingering_time lingering_timeout \
         chunked_transfer_encoding open_file_cache open_file_cache_valid open_file_cache_min_uses \
         open_file_cache_errors read_ahead send_lowat proxy_socket_keepalive keepalive_requests \
         keepalive_time keepalive_disable",
    ),
    (
        "sizes of nginx's tables and buffers",
        "types_hash_max_size types_hash_bucket_size server_names_hash_max_size \
         server_names_hash_bucket_size variables_hash_max_size variables_hash_bucket_size \
         map_hash_max_size map_hash_bucket_size proxy_headers_hash_max_size \
         proxy_headers_hash_bucket_size client_header_buffer_size large_client_header_buffers \
         client_body_buffer_size client_body_temp_path client_body_in_file_only \
         client_body_in_single_buffer proxy_buffers proxy_buffer_size proxy_busy_buffers_size \
         proxy_max_temp_file_size proxy_temp_path fastcgi_temp_path uwsgi_temp_path scgi_temp_path \
         proxy_temp_file_write_size connection_pool_size request_pool_size output_buffers ssl_buffer_size \
         grpc_buffer_size http2_max_field_size http2_max_header_size http2_recv_buffer_size \
         http2_chunk_size",
    ),
    (
        "types of files are known",
        "types default_type charset charset_types source_charset override_charset",
    ),
    (
        "nothing is delayed: what comes is passed on at once",
        "proxy_buffering grpc_buffering",
    ),
    (
        "requests go to servers over HTTP/1.1, connections are kept",
        "proxy_http_version",
    ),
    (
        "what is refused is answered 429 and told in the program's log",
        "limit_req_status limit_req_log_level limit_req_dry_run limit_conn_zone limit_conn_status limit_conn_log_level \
         limit_conn_dry_run",
    ),
    (
        "names are resolved again while the program runs, by the machine's own resolver",
        "resolver resolver_timeout",
    ),
    (
        "one fetch for all who ask at the same time, whatever it takes",
        "proxy_cache_lock proxy_cache_lock_timeout proxy_cache_lock_age",
    ),
    (
        "what is stored is validated, not fetched again",
        "proxy_cache_revalidate",
    ),
    (
        "the window of `stale_while_revalidate` is all it takes",
        "proxy_cache_background_update",
    ),
    (
        "GET and HEAD are cached",
        "proxy_cache_methods proxy_cache_convert_head",
    ),
    (
        "what came uncompressed is compressed for those who accept it: gzip, Brotli and Zstandard",
        "gzip gzip_vary gzip_types gzip_proxied gzip_comp_level gzip_min_length gzip_buffers \
         gzip_http_version gzip_disable gzip_static gunzip brotli brotli_types brotli_comp_level \
         brotli_static brotli_min_length zstd zstd_types zstd_comp_level zstd_static",
    ),
    ("no version is told", "server_tokens more_clear_headers"),
    (
        "TLS 1.2 and 1.3 with the ciphers that are good today; sessions are resumed",
        "ssl_protocols ssl_ciphers ssl_prefer_server_ciphers ssl_session_cache ssl_session_timeout \
         ssl_session_tickets ssl_session_ticket_key ssl_dhparam ssl_ecdh_curve ssl_conf_command \
         ssl_early_data ssl",
    ),
    (
        "HTTP/2 is spoken anyway",
        "http2 http2_max_concurrent_streams http2_idle_timeout http2_max_requests",
    ),
    (
        "validators and conditions of files are always there",
        "etag if_modified_since",
    ),
    (
        "`Location` holds what the redirect says",
        "absolute_redirect port_in_redirect server_name_in_redirect",
    ),
    (
        "the program's log is on standard error; `[log] level`",
        "error_log log_not_found log_subrequest rewrite_log debug_connection",
    ),
    (
        "the access log is JSON, or `combined` by `[log] format`",
        "log_format open_log_file_cache",
    ),
    (
        "`X-Forwarded-For` of `trusted_proxies` is read from the right, past all of them",
        "real_ip_recursive",
    ),
    (
        "upstreams verified by name get the name of their server",
        "proxy_ssl_server_name proxy_ssl_session_reuse proxy_ssl_verify proxy_ssl_verify_depth \
         proxy_ssl_protocols proxy_ssl_ciphers",
    ),
    (
        "the answer of a failed try is not passed on while another may help",
        "proxy_next_upstream_timeout",
    ),
    (
        "it is the default",
        "proxy_pass_request_headers proxy_pass_request_body proxy_intercept_errors recursive_error_pages",
    ),
    (
        "fields that no application can tell apart are refused",
        "underscores_in_headers ignore_invalid_headers",
    ),
    ("slashes are never merged", "merge_slashes"),
    (
        "what comes of a variable is seen where it is used",
        "set map geo variables",
    ),
    (
        "only where what they belong to is",
        "auth_basic_user_file satisfy ssl_client_certificate ssl_verify_depth ssl_trusted_certificate \
         ssl_crl",
    ),
    ("files of nginx's own", "include"),
];

/// Directives without a counterpart, and what to do.
static MISSING: &[(&str, &str)] = &[
    (
        "`[limits] connections_per_client` is for all listeners, and this is not said of all of them alike by client",
        "limit_conn",
    ),
    (
        "how fast a body is sent is not limited",
        "limit_rate limit_rate_after",
    ),
    (
        "`Location` and cookies of the application are passed on as they are; it is told its prefix by `X-Forwarded-Prefix` and its host by `X-Forwarded-Host`",
        "proxy_redirect proxy_cookie_path proxy_cookie_domain proxy_cookie_flags",
    ),
    ("Forebay speaks HTTP only", "stream mail"),
    (
        "Forebay has no modules and runs no scripts",
        "load_module lua_package_path lua_shared_dict js_import js_set perl_modules perl_set \
         init_by_lua_block rewrite_by_lua_block header_filter_by_lua_block body_filter_by_lua_block \
         log_by_lua_block set_by_lua_block",
    ),
    (
        "bodies of answers are not changed; have the application do it",
        "sub_filter sub_filter_once sub_filter_types add_before_body add_after_body ssi xslt_stylesheet \
         image_filter addition_types",
    ),
    (
        "split by weight with `to = [{ to = …, weight = … }]`",
        "split_clients",
    ),
    ("requests are not copied", "mirror mirror_request_body"),
    (
        "`listen` with `ssl` is TLS over TCP; HTTP/3 is not spoken",
        "http3 quic_retry quic_gso http3_hq",
    ),
    ("answers are not pushed", "http2_push http2_push_preload"),
    (
        "certificates go without a stapled answer",
        "ssl_stapling ssl_stapling_verify ssl_stapling_file ssl_stapling_responder",
    ),
    (
        "a response is stored when it is asked for first",
        "proxy_cache_min_uses",
    ),
    ("the admin listener has `/metrics`", "stub_status"),
    (
        "responses are kept in memory, not as files",
        "proxy_store proxy_store_access slice proxy_cache_purge",
    ),
    (
        "what FastCGI and uWSGI are told is of no use to HTTP servers",
        "fastcgi_param uwsgi_param scgi_param fastcgi_index fastcgi_split_path_info fastcgi_read_timeout \
         fastcgi_buffers fastcgi_buffer_size fastcgi_cache fastcgi_cache_path fastcgi_cache_key \
         fastcgi_cache_valid fastcgi_intercept_errors uwsgi_read_timeout",
    ),
    (
        "directories are not listed",
        "autoindex autoindex_exact_size autoindex_localtime autoindex_format",
    ),
    (
        "a certificate is needed; a name without one is served the first",
        "ssl_reject_handshake ssl_password_file",
    ),
    (
        "requests are sent on as they are",
        "proxy_method proxy_set_body proxy_bind",
    ),
    (
        "addresses are not looked up on a map",
        "geoip_country geoip2 geoip_city",
    ),
];

/// What makes a line of the `proxy.toml`, where something that is carried over uses it.
static USED: &str = "listen server_name root alias index try_files error_page proxy_pass grpc_pass return rewrite if \
    proxy_set_header grpc_set_header add_header proxy_hide_header expires upstream server location \
    http proxy_connect_timeout proxy_read_timeout proxy_send_timeout grpc_connect_timeout \
    grpc_read_timeout grpc_send_timeout client_max_body_size proxy_cache proxy_cache_valid \
    proxy_cache_key proxy_cache_path proxy_cache_use_stale proxy_cache_bypass proxy_no_cache \
    proxy_ignore_headers proxy_next_upstream proxy_next_upstream_tries proxy_request_buffering \
    ssl_certificate ssl_certificate_key keepalive_timeout client_header_timeout client_body_timeout \
    send_timeout access_log set_real_ip_from real_ip_header worker_processes \
    proxy_ssl_trusted_certificate proxy_ssl_name proxy_ssl_certificate proxy_ssl_certificate_key \
    limit_except proxy_pass_header limit_req limit_req_zone";

/// Directives that guard something, wherever they stand.
static GUARDS: &str = "allow deny auth_basic auth_request auth_jwt ssl_verify_client secure_link secure_link_md5 \
    valid_referers access_by_lua_block access_by_lua_file internal auth_digest";

/// Directives that judge each request by rules of their own, which nothing here does.
static JUDGES: &str = "modsecurity modsecurity_rules_file modsecurity_rules naxsi SecRulesEnabled";

/// Says something about every directive that nothing was made of and nothing was said about.
pub(super) fn sweep(notes: &Notes, directives: &[Directive]) {
    for directive in directives {
        let name = directive.name.as_str();
        let is_block = matches!(
            name,
            "http" | "server" | "location" | "upstream" | "if" | "limit_except"
        );
        if !notes.was_seen(directive) && name != "http" {
            judge(notes, directive);
            if is_block {
                // What stands in what nobody reaches is said with it.
                continue;
            }
        }
        if is_block && name != "if" {
            sweep(notes, directive.inner());
        }
    }
}

fn judge(notes: &Notes, directive: &Directive) {
    let name = directive.name.as_str();
    let has = |names: &str| names.split_whitespace().any(|own| own == name);
    let of = |table: &[(&'static str, &str)]| {
        let row = table.iter().find(|(_, names)| has(names));
        row.map(|(why, _)| *why)
    };
    if name == "include" {
        let file = directive.arg(0);
        let known = [
            "mime.types",
            "fastcgi_params",
            "fastcgi.conf",
            "uwsgi_params",
            "scgi_params",
        ];
        let is_own =
            known.iter().any(|own| file.ends_with(own)) || file.contains("modules-enabled");
        if is_own || file.contains(['*', '?']) {
            notes.say(
                Kind::Needless,
                directive,
                "no file of that name is there, and mostly none is needed",
            );
        } else {
            notes.say(Kind::Missing, directive, "the file is not there, or includes too deep: what it says is not carried over; import where nginx runs");
        }
    } else if name == "proxy_redirect" && directive.arg(0) == "off" {
        notes.say(
            Kind::Needless,
            directive,
            "`Location` is passed on as it is",
        );
    } else if has(JUDGES) && directive.arg(0) != "off" {
        notes.say(
            Kind::Open,
            directive,
            "requests are not judged by rules; what they refused has to be refused by the application",
        );
    } else if has(GUARDS) {
        notes.say(
            Kind::Access,
            directive,
            "nothing that is carried over is guarded by it; CHECK what it was for",
        );
    } else if name == "location" {
        notes.say(
            Kind::Needless,
            directive,
            "never reached: the server answers before",
        );
    } else if let Some(why) = of(NEEDLESS) {
        notes.say(Kind::Needless, directive, why);
    } else if let Some(why) = of(MISSING) {
        notes.say(Kind::Missing, directive, why);
    } else if has(USED) {
        notes.say(
            Kind::Needless,
            directive,
            "nothing that is carried over uses it",
        );
    } else {
        notes.say(
            Kind::Missing,
            directive,
            "not known here; see what it does there, and whether you want it",
        );
    }
}
