//! `[upstream.NAME]`: the servers behind a name, how they are chosen, waited for, checked and retried.

use std::time::Duration;

use super::addresses::{self, SchemeHttp};
use super::reader::{Key, Section, Spotted, Title, key, table};
use super::scalars;
use super::value::At;
use super::{DAY, MILLISECOND};
use crate::config::tree::Kind;
use crate::units::ByteSize;
use crate::upstream::settings::{
    EjectSettings, HealthSettings, KeepaliveSettings, Probe, RetrySettings, ServerSettings,
    UpstreamHttp, UpstreamSettings, UpstreamTimeouts, UpstreamTls,
};

pub(super) static KEYS: &[Key] = &[
    table("servers", SERVER_KEYS),
    key("balance"),
    key("http"),
    key("host"),
    table("tls", TLS_KEYS),
    key("hold"),
    key("hold_max"),
    key("max_in_flight"),
    key("queue_max"),
    key("queue_timeout"),
    table("retry", RETRY_KEYS),
    table("timeouts", TIMEOUT_KEYS),
    key("keepalive"),
    table("health", HEALTH_KEYS),
    table("eject", EJECT_KEYS),
    key("dns_ttl_max"),
    key("buffer_request"),
    key("buffer_response"),
];

static SERVER_KEYS: &[Key] = &[key("url"), key("weight"), key("backup")];

static TLS_KEYS: &[Key] = &[
    key("sni"),
    key("ca"),
    key("cert"),
    key("key"),
    key("insecure"),
];

static RETRY_KEYS: &[Key] = &[key("tries"), key("budget"), key("per_try")];

static TIMEOUT_KEYS: &[Key] = &[
    key("connect"),
    key("first_byte"),
    key("between_bytes"),
    key("send"),
    key("total"),
];

static HEALTH_KEYS: &[Key] = &[
    key("path"),
    key("tcp"),
    key("every"),
    key("every_down"),
    key("timeout"),
    key("healthy"),
    key("unhealthy"),
    key("status"),
    key("host"),
];

static EJECT_KEYS: &[Key] = &[key("failures"), key("duration")];

/// How many requests may wait at once: each costs its head in memory and a connection.
const WAITING_MAX: usize = 1_000_000;
const BUFFER_MAX: ByteSize = ByteSize::mib(1024);

/// All upstreams, in the order of the file.
pub(super) fn read_all(at: At<'_>) -> Option<Vec<Spotted<UpstreamSettings>>> {
    if let Kind::List(_) = at.kind() {
        return at.fail("an upstream has a name: write [upstream.NAME] instead of [[upstream]]");
    }
    Some(at.entries().into_iter().filter_map(read).collect())
}

fn read(at: At<'_>) -> Option<Spotted<UpstreamSettings>> {
    if let Err(fault) = scalars::label(at.key) {
        return at.bad_key(fault);
    }
    let section = at.titled(Title::Upstream(at.key), KEYS)?;
    let servers = section.required("servers", |at| at.list(server));
    let http = http(&section, servers.as_deref().unwrap_or_default());
    let servers = servers.unwrap_or_default().into_iter();
    let default = UpstreamSettings::new(at.key, servers.map(|(server, _)| server.value).collect());

    let wait = |key, default| section.or(key, default, |at| at.duration(Duration::ZERO..=DAY));
    let waiting = |key, default| section.or(key, default, |at| at.whole(0..=WAITING_MAX));
    let buffer =
        |key, default| section.or(key, default, |at| at.size(ByteSize::new(0)..=BUFFER_MAX));
    let value = UpstreamSettings {
        balance: section.or("balance", default.balance, |at| at.parse(scalars::balance)),
        http: http.unwrap_or(default.http),
        host: section.or("host", default.host, |at| at.parse(addresses::host_policy)),
        tls: section.or("tls", default.tls, tls),
        hold: wait("hold", default.hold),
        hold_max: waiting("hold_max", default.hold_max),
        max_in_flight: section.get("max_in_flight", |at| at.whole(1..=WAITING_MAX)),
        queue_max: waiting("queue_max", default.queue_max),
        queue_timeout: wait("queue_timeout", default.queue_timeout),
        retry: section.or("retry", default.retry, retry),
        timeouts: section.or("timeouts", default.timeouts, timeouts),
        keepalive: section.or("keepalive", default.keepalive, |at| {
            let idle = at.duration(Duration::ZERO..=DAY)?;
            Some(KeepaliveSettings { idle })
        }),
        health: section.get("health", health),
        eject: section.or("eject", default.eject, eject),
        dns_ttl_max: section.or("dns_ttl_max", default.dns_ttl_max, |at| {
            at.duration(Duration::from_millis(100)..=DAY)
        }),
        buffer_request: buffer("buffer_request", default.buffer_request),
        buffer_response: buffer("buffer_response", default.buffer_response),
        name: default.name,
        servers: default.servers,
    };
    judge(&section, &value);
    Some(Spotted {
        value,
        place: at.key_place,
    })
}

/// What is lawful but without effect.
fn judge(section: &Section<'_>, upstream: &UpstreamSettings) {
    let default = UpstreamSettings::new("", Vec::new());
    if upstream.max_in_flight.is_none() {
        let why = "without `max_in_flight`";
        section.idle_if(upstream.queue_max != default.queue_max, "queue_max", why);
        section.idle_if(
            upstream.queue_timeout != default.queue_timeout,
            "queue_timeout",
            why,
        );
    }
    if !upstream.servers.iter().any(|server| server.tls) {
        let why = "because no server is https";
        section.idle_if(upstream.tls != default.tls, "tls", why);
    }
    if upstream.hold.is_zero() {
        let why = "because `hold` is off";
        section.idle_if(upstream.hold_max != default.hold_max, "hold_max", why);
    }
}

fn server(at: At<'_>) -> Option<(Spotted<ServerSettings>, SchemeHttp)> {
    let place = at.place();
    let Kind::Table(_) = at.kind() else {
        let (value, http) = at.parse(addresses::server_url)?;
        return Some((Spotted { value, place }, http));
    };
    let section = at.section(SERVER_KEYS)?;
    let url = section.required("url", |at| at.parse(addresses::server_url));
    let weight = section.or("weight", 1, |at| at.whole(1..=1_000));
    let backup = section.or("backup", false, At::boolean);
    let (server, http) = url?;
    let value = ServerSettings {
        weight,
        backup,
        ..server
    };
    Some((Spotted { value, place }, http))
}

/// The HTTP version by `http`, or else by the servers' schemes, which must not contradict it or each other.
fn http(
    section: &Section<'_>,
    servers: &[(Spotted<ServerSettings>, SchemeHttp)],
) -> Option<UpstreamHttp> {
    let said = section.get("http", |at| {
        at.word(&[
            ("1.1", UpstreamHttp::Http1),
            ("2", UpstreamHttp::Http2),
            ("auto", UpstreamHttp::Auto),
        ])
    });
    let is_http2 = |scheme: &SchemeHttp| *scheme == SchemeHttp::Http2;
    let Some((first, _)) = servers.iter().find(|(_, scheme)| is_http2(scheme)) else {
        return said;
    };
    if matches!(said, Some(UpstreamHttp::Http1 | UpstreamHttp::Auto)) {
        section.error(
            first.place,
            "this URL's scheme asks for HTTP/2, but `http` says otherwise; remove one of them",
        );
    } else if said.is_none()
        && let Some((plain, _)) = servers.iter().find(|(_, scheme)| !is_http2(scheme))
    {
        section.error(
            plain.place,
            "the servers of one upstream speak one HTTP version, but only some of these schemes ask for HTTP/2; \
             use the same for all, or set `http`",
        );
    }
    Some(UpstreamHttp::Http2)
}

fn tls(at: At<'_>) -> Option<UpstreamTls> {
    let section = at.section(TLS_KEYS)?;
    let tls = UpstreamTls {
        sni: section.get("sni", |at| at.parse(addresses::server_name)),
        ca: section.get("ca", At::path),
        cert: section.get("cert", At::path),
        key: section.get("key", At::path),
        insecure: section.or("insecure", false, At::boolean),
    };
    for (one, other) in [("cert", "key"), ("key", "cert")] {
        if let (Some(one), None) = (section.at(one), section.at(other)) {
            one.bad_key::<()>(format_args!("\"{}\" needs \"{other}\" beside it", one.key));
        }
    }
    if let Some(insecure) = section.at("insecure").filter(|_| tls.insecure) {
        insecure.note(
            "any certificate is accepted, so anyone on the way can read and change everything",
        );
    }
    Some(tls)
}

fn retry(at: At<'_>) -> Option<RetrySettings> {
    let section = at.section(RETRY_KEYS)?;
    let default = RetrySettings::default();
    Some(RetrySettings {
        tries: section.or("tries", default.tries, |at| at.whole(1..=16)),
        budget: section.or("budget", default.budget, |at| at.number(0.0..=1.0)),
        per_try: section.get("per_try", deadline),
    })
}

fn timeouts(at: At<'_>) -> Option<UpstreamTimeouts> {
    let section = at.section(TIMEOUT_KEYS)?;
    let default = UpstreamTimeouts::default();
    Some(UpstreamTimeouts {
        connect: section.or("connect", default.connect, deadline),
        first_byte: section.or("first_byte", default.first_byte, deadline),
        between_bytes: section.or("between_bytes", default.between_bytes, deadline),
        send: section.or("send", default.send, deadline),
        total: section.get("total", deadline),
    })
}

fn deadline(at: At<'_>) -> Option<Duration> {
    at.duration(MILLISECOND..=DAY)
}

fn health(at: At<'_>) -> Option<HealthSettings> {
    let default = HealthSettings {
        probe: Probe::Tcp,
        every: Duration::from_secs(5),
        every_down: Duration::from_secs(1),
        timeout: Duration::from_secs(2),
        healthy: 1,
        unhealthy: 2,
    };
    if let Kind::Text { .. } = at.kind() {
        return match at.text()? {
            "tcp" => Some(default),
            _ => at.fail("expected \"tcp\", or a table such as { path = \"/healthz\" }"),
        };
    }
    let section = at.section(HEALTH_KEYS)?;
    let pause = |key, default| {
        section.or(key, default, |at| {
            at.duration(Duration::from_millis(10)..=DAY)
        })
    };
    let count = |key, default| section.or(key, default, |at| at.whole(1..=1_000));
    Some(HealthSettings {
        every: pause("every", default.every),
        every_down: pause("every_down", default.every_down),
        timeout: pause("timeout", default.timeout),
        healthy: count("healthy", default.healthy),
        unhealthy: count("unhealthy", default.unhealthy),
        probe: probe(&section)?,
    })
}

fn probe(section: &Section<'_>) -> Option<Probe> {
    let path = section.get("path", |at| at.parse(scalars::target));
    let host = section.get("host", |at| at.parse(addresses::host));
    let status = section.get("status", |at| at.one_or_more(|at| at.whole(100..=599)));
    let tcp = section.or("tcp", false, At::boolean);
    match (section.at("path"), section.at("tcp")) {
        (Some(_), Some(at)) if tcp => at.bad_key("\"tcp\" and \"path\" exclude each other"),
        (Some(_), _) => Some(Probe::Http {
            path: path?,
            host,
            status: status.unwrap_or_default(),
        }),
        (None, Some(_)) if tcp => {
            section.idle_if(host.is_some(), "host", "on a TCP check");
            section.idle_if(status.is_some(), "status", "on a TCP check");
            Some(Probe::Tcp)
        }
        (None, _) => {
            section.error(
                section.place,
                "a health check needs \"path\" (HTTP) or \"tcp = true\"",
            );
            None
        }
    }
}

fn eject(at: At<'_>) -> Option<EjectSettings> {
    let section = at.section(EJECT_KEYS)?;
    let default = EjectSettings::default();
    Some(EjectSettings {
        failures: section.or("failures", default.failures, |at| at.whole(0..=1_000)),
        duration: section.or("duration", default.duration, deadline),
    })
}
