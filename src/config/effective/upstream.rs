//! `[upstream.NAME]` written back, inline ones too: their name is their URL.

use super::writer::{Writer, bare_or_quoted, duration, inline, list, quoted, quoted_path, size};
use crate::upstream::settings::{
    Balance, Endpoint, HashKey, HealthSettings, HostPolicy, Probe, ServerSettings, UpstreamHttp,
    UpstreamSettings, UpstreamTls,
};

pub(super) fn write(out: &mut Writer, upstream: &UpstreamSettings) {
    let name = bare_or_quoted(&upstream.name);
    out.section(&format!("[upstream.{name}]"));
    out.set("servers", list(upstream.servers.iter().map(server)));
    out.set("balance", quoted(&balance(&upstream.balance)));
    out.set(
        "http",
        quoted(match upstream.http {
            UpstreamHttp::Http1 => "1.1",
            UpstreamHttp::Http2 => "2",
            UpstreamHttp::Auto => "auto",
        }),
    );
    out.set(
        "host",
        quoted(match &upstream.host {
            HostPolicy::Pass => "pass",
            HostPolicy::Server => "server",
            HostPolicy::Fixed(host) => host,
        }),
    );
    out.set("tls", tls(&upstream.tls));
    out.set("hold", duration(upstream.hold));
    out.set("hold_max", upstream.hold_max);
    out.set_or_none("max_in_flight", upstream.max_in_flight);
    out.set("queue_max", upstream.queue_max);
    out.set("queue_timeout", duration(upstream.queue_timeout));
    out.set("keepalive", duration(upstream.keepalive.idle));
    out.set("dns_ttl_max", duration(upstream.dns_ttl_max));
    out.set("buffer_request", size(upstream.buffer_request));
    out.set("buffer_response", size(upstream.buffer_response));
    out.set(
        "eject",
        inline([
            ("failures", upstream.eject.failures.to_string()),
            ("duration", duration(upstream.eject.duration)),
        ]),
    );
    out.set_or_none("health", upstream.health.as_ref().map(health));

    out.section(&format!("[upstream.{name}.retry]"));
    out.set("tries", upstream.retry.tries);
    out.set("budget", upstream.retry.budget);
    out.set_or_none("per_try", upstream.retry.per_try.map(duration));

    let timeouts = &upstream.timeouts;
    out.section(&format!("[upstream.{name}.timeouts]"));
    out.set("connect", duration(timeouts.connect));
    out.set("first_byte", duration(timeouts.first_byte));
    out.set("between_bytes", duration(timeouts.between_bytes));
    out.set("send", duration(timeouts.send));
    out.set_or_none("total", timeouts.total.map(duration));
}

fn server(server: &ServerSettings) -> String {
    let url = match &server.endpoint {
        Endpoint::Unix(path) => format!("unix:{}", path.display()),
        Endpoint::Tcp { host, port } => {
            let scheme = if server.tls { "https" } else { "http" };
            if host.contains(':') {
                format!("{scheme}://[{host}]:{port}")
            } else {
                format!("{scheme}://{host}:{port}")
            }
        }
    };
    if server.weight == 1 && !server.backup {
        return quoted(&url);
    }
    inline([
        ("url", quoted(&url)),
        ("weight", server.weight.to_string()),
        ("backup", server.backup.to_string()),
    ])
}

fn balance(balance: &Balance) -> String {
    match balance {
        Balance::RoundRobin => "round_robin".to_owned(),
        Balance::LeastConn => "least_conn".to_owned(),
        Balance::Hash(HashKey::Path) => "hash:path".to_owned(),
        Balance::Hash(HashKey::Client) => "hash:client".to_owned(),
        Balance::Hash(HashKey::Header(name)) => format!("hash:header:{name}"),
        Balance::Hash(HashKey::Cookie(name)) => format!("hash:cookie:{name}"),
    }
}

fn tls(tls: &UpstreamTls) -> String {
    let path = |path: &Option<std::path::PathBuf>| path.as_deref().map(quoted_path);
    let entries = [
        ("sni", tls.sni.as_deref().map(quoted)),
        ("ca", path(&tls.ca)),
        ("cert", path(&tls.cert)),
        ("key", path(&tls.key)),
        ("insecure", Some(tls.insecure.to_string())),
    ];
    inline(
        entries
            .into_iter()
            .filter_map(|(key, value)| Some((key, value?))),
    )
}

fn health(health: &HealthSettings) -> String {
    let mut entries = match &health.probe {
        Probe::Tcp => vec![("tcp", true.to_string())],
        Probe::Http { path, host, status } => {
            let mut entries = vec![("path", quoted(path))];
            entries.extend(host.as_deref().map(|host| ("host", quoted(host))));
            if !status.is_empty() {
                entries.push(("status", list(status)));
            }
            entries
        }
    };
    entries.extend([
        ("every", duration(health.every)),
        ("every_down", duration(health.every_down)),
        ("timeout", duration(health.timeout)),
        ("healthy", health.healthy.to_string()),
        ("unhealthy", health.unhealthy.to_string()),
    ]);
    inline(entries)
}
