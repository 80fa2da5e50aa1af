//! Settings written back as a `proxy.toml` that leaves nothing unsaid; loading it gives the same settings.
//!
//! A setting that may be absent and is, such as `max_in_flight`, appears as a comment.

mod access;
mod cache;
mod rate;
mod route;
mod upstream;
mod writer;

use crate::admin::settings::{AdminListen, AdminSettings};
use crate::config::secret::covered;
use crate::config::settings::Settings;
use crate::listen::settings::{LimitSettings, ListenSettings};
use crate::proxy::settings::PurgeSettings;
use crate::telemetry::settings::{AccessLogFormat, AccessLogTarget, LogSettings};
use writer::{Writer, duration, inline, list, quoted, quoted_path, size};

/// The TOML of every effective value.
pub fn effective(settings: &Settings) -> String {
    let mut out = Writer::default();
    server(&mut out, settings);
    for listener in &settings.listen {
        listen(&mut out, listener);
    }
    limits(&mut out, &settings.limits);
    admin(&mut out, &settings.admin);
    purge(&mut out, &settings.proxy.purge);
    log(&mut out, &settings.log);
    cache::write(&mut out, &settings.cache);
    for upstream in &settings.upstreams {
        upstream::write(&mut out, upstream);
    }
    for limit in &settings.rate_limits {
        rate::write(&mut out, limit);
    }
    let rules = settings.routes.iter().zip(&settings.rules);
    for ((route, rules), access) in rules.zip(&settings.access) {
        route::write(&mut out, route);
        access::write(&mut out, access);
        cache::write_rules(&mut out, route, rules);
    }
    out.finish()
}

/// The same text for people: what is secret is said to be there, and not shown.
pub fn without_secrets(text: &str) -> String {
    let lines = text.lines().map(|line| {
        if line.starts_with("token = ") {
            // No stars, which somebody might load and have for a token.
            return "# token: set; `--secrets` shows it\n".to_owned();
        }
        covered(line) + "\n"
    });
    lines.collect()
}

fn server(out: &mut Writer, settings: &Settings) {
    let networks = settings.proxy.trusted_proxies.iter();
    out.section("[server]");
    out.set("name", quoted(&settings.proxy.name));
    out.set("threads", settings.server.threads);
    out.set("shutdown_grace", duration(settings.server.shutdown_grace));
    out.set("watch", settings.server.watch);
    out.set(
        "trusted_proxies",
        list(networks.map(|network| quoted(&network.to_string()))),
    );
    out.set("forwarded", settings.proxy.forwarded);
    out.set("via", settings.proxy.via);
}

fn listen(out: &mut Writer, listener: &ListenSettings) {
    out.section("[[listen]]");
    out.set("addr", quoted(&listener.addr.to_string()));
    let certificates = listener.tls.as_ref().map(|tls| {
        list(tls.certificates.iter().map(|certificate| {
            inline([
                ("cert", quoted_path(&certificate.cert)),
                ("key", quoted_path(&certificate.key)),
            ])
        }))
    });
    out.set_or_none("tls", certificates);
    let clients = listener.tls.as_ref().and_then(|tls| tls.clients.as_ref());
    out.set_or_none(
        "client_certificates",
        clients.map(|clients| {
            inline([
                ("ca", quoted_path(&clients.ca)),
                ("optional", clients.optional.to_string()),
            ])
        }),
    );
    out.set("proxy_protocol", listener.proxy_protocol);
    out.set("http2", listener.http2);
}

fn limits(out: &mut Writer, limits: &LimitSettings) {
    out.section("[limits]");
    out.set("head", size(limits.head));
    out.set("head_fields", limits.head_fields);
    out.set("head_timeout", duration(limits.head_timeout));
    out.set("handshake_timeout", duration(limits.handshake_timeout));
    out.set("idle_timeout", duration(limits.idle_timeout));
    out.set("body_timeout", duration(limits.body_timeout));
    out.set("body_rate", size(limits.body_rate));
    out.set("write_timeout", duration(limits.write_timeout));
    out.set("write_rate", size(limits.write_rate));
    out.set("body", size(limits.body));
    out.set("connections", limits.connections);
    out.set("connections_per_client", limits.connections_per_client);
    out.set("http2_streams", limits.http2_streams);
    out.set("http2_faults", limits.http2_faults);
}

fn admin(out: &mut Writer, admin: &AdminSettings) {
    out.section("[admin]");
    out.set(
        "listen",
        match &admin.listen {
            None => quoted("off"),
            Some(AdminListen::Tcp(address)) => quoted(&address.to_string()),
            Some(AdminListen::Unix(path)) => quoted(&format!("unix:{}", path.display())),
        },
    );
    out.set_or_none("token", admin.token.as_deref().map(quoted));
}

fn purge(out: &mut Writer, purge: &PurgeSettings) {
    // An empty section would be remarked on.
    if !purge.is_on() {
        return;
    }
    out.section("[purge]");
    let networks = purge.allow.iter();
    out.set(
        "allow",
        list(networks.map(|network| quoted(&network.to_string()))),
    );
    out.set_or_none("token", purge.token.as_deref().map(quoted));
}

fn log(out: &mut Writer, log: &LogSettings) {
    out.section("[log]");
    out.set(
        "access",
        match &log.access {
            AccessLogTarget::Off => quoted("off"),
            AccessLogTarget::Stdout => quoted("stdout"),
            AccessLogTarget::File(path) => quoted_path(path),
        },
    );
    out.set(
        "format",
        match log.format {
            AccessLogFormat::Json => quoted("json"),
            AccessLogFormat::Combined => quoted("combined"),
        },
    );
    out.set("level", quoted(&log.level));
}
