//! `upstream` blocks and what `proxy_pass` leads to, as `[upstream.NAME]`.
//!
//! nginx says timeouts, `Host` and TLS for each location, Forebay for each upstream; so a group that two locations use
//! differently becomes two upstreams.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use toml_edit::{Item, Table, Value};

use super::document::{inline, number, size, text, time};
use super::pass::{Pass, label, url};
use super::scope::Scope;
use super::tree::Directive;
use super::value;

/// `[upstream.NAME]`; what is `None` or empty has Forebay's default.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Upstream {
    servers: Vec<Server>,
    balance: Option<String>,
    host: Option<String>,
    max_in_flight: Option<u64>,
    tries: Option<u64>,
    timeouts: BTreeMap<&'static str, Duration>,
    keepalive: Option<Duration>,
    eject_failures: Option<u64>,
    eject_duration: Option<Duration>,
    /// Bodies of requests are passed on as they come.
    streams_requests: bool,
    tls: BTreeMap<&'static str, String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Server {
    url: String,
    weight: u64,
    backup: bool,
}

/// The groups of the configuration, and the upstreams that were made so far.
#[derive(Debug, Default)]
pub(super) struct Upstreams<'a> {
    groups: BTreeMap<&'a str, &'a Directive>,
    made: RefCell<Vec<(String, Upstream)>>,
}

impl<'a> Upstreams<'a> {
    pub(super) fn new(http: &'a [Directive]) -> Self {
        let groups = http.iter().filter(|d| d.name == "upstream");
        Self {
            groups: groups.map(|group| (group.arg(0), group)).collect(),
            made: RefCell::default(),
        }
    }

    /// All that were made, in the order of their making.
    pub(super) fn into_made(self) -> Vec<(String, Upstream)> {
        self.made.into_inner()
    }

    /// What a route's `to` says for this pass: an upstream's name, or a URL where that says all.
    pub(super) fn to(
        &self,
        scope: &Scope<'_>,
        pass: &Pass,
        directive: &Directive,
    ) -> Option<String> {
        let mut upstream = Upstream::default();
        let group = self.groups.get(pass.authority.as_str()).copied();
        let default_host = if let Some(group) = group {
            group_of(scope, group, &pass.scheme, &mut upstream);
            pass.authority.clone()
        } else {
            let default_port = if pass.scheme.ends_with('s') { 443 } else { 80 };
            let url = url(&pass.scheme, &pass.authority, default_port)?;
            let is_unix = url.starts_with("unix:");
            upstream.servers.push(Server {
                url,
                weight: 1,
                backup: false,
            });
            if is_unix { "localhost" } else { "server" }.to_owned()
        };
        if upstream.servers.is_empty() {
            return None;
        }
        upstream.host = host(scope, default_host);
        settings(scope, &mut upstream);
        if matches!(pass.scheme.as_str(), "https" | "grpcs") {
            tls(scope, directive, &mut upstream);
        }
        if let [Server { url, .. }] = upstream.servers.as_slice() {
            let plain = Upstream {
                servers: upstream.servers.clone(),
                ..Upstream::default()
            };
            if group.is_none() && upstream == plain {
                return Some(url.clone());
            }
        }
        Some(self.named(&pass.authority, upstream))
    }

    /// The name of this upstream, which may have been made before.
    fn named(&self, authority: &str, upstream: Upstream) -> String {
        let mut made = self.made.borrow_mut();
        let same = made.iter().find(|(_, other)| *other == upstream);
        if let Some((name, _)) = same {
            return name.clone();
        }
        let base = label(authority);
        let mut name = base.clone();
        let mut count = 1;
        while made.iter().any(|(other, _)| *other == name) {
            count += 1;
            name = format!("{base}-{count}");
        }
        made.push((name.clone(), upstream));
        name
    }
}

fn group_of(scope: &Scope<'_>, group: &Directive, scheme: &str, upstream: &mut Upstream) {
    scope.notes.seen(group);
    let mut failures = Vec::new();
    let mut pauses = Vec::new();
    let mut connections = Vec::new();
    for directive in group.inner() {
        match directive.name.as_str() {
            "server" => {
                scope.notes.seen(directive);
                let mut server = Server {
                    url: String::new(),
                    weight: 1,
                    backup: false,
                };
                let mut down = false;
                for option in directive.args.iter().skip(1) {
                    let (key, value) = option.split_once('=').unwrap_or((option, ""));
                    match key {
                        "weight" => server.weight = value.parse().unwrap_or(1).clamp(1, 1000),
                        "backup" => server.backup = true,
                        "down" => down = true,
                        "max_fails" => failures.extend(value.parse::<u64>()),
                        "fail_timeout" => pauses.extend(value::duration(value)),
                        "max_conns" => connections.extend(value.parse::<u64>()),
                        "resolve" => {}
                        _ => scope.missing(
                            directive,
                            format!("`{key}` has no counterpart; the server is used without it"),
                        ),
                    }
                }
                if down {
                    scope.needless(directive, "`down`: the server is left out");
                } else if let Some(url) = url(scheme, directive.arg(0), 80) {
                    server.url = url;
                    upstream.servers.push(server);
                } else {
                    scope.missing(
                        directive,
                        "TLS over a unix socket is not spoken; use plain HTTP there",
                    );
                }
            }
            _ => balance(scope, directive, upstream),
        }
    }
    if upstream.servers.is_empty() {
        scope.missing(
            group,
            "no server of this group is left; what leads to it is answered 501",
        );
    }
    agreed(
        scope,
        group,
        "max_fails",
        &failures,
        &mut upstream.eject_failures,
    );
    agreed(
        scope,
        group,
        "fail_timeout",
        &pauses,
        &mut upstream.eject_duration,
    );
    if upstream.eject_failures.is_some() {
        scope.differs(
            group,
            "max_fails: nginx counts failures within fail_timeout, `eject` counts failures in a row, and never leaves out the last server",
        );
    }
    if let Some(each) = connections.first().filter(|each| **each > 0) {
        let servers = u64::try_from(upstream.servers.len()).unwrap_or(1);
        upstream.max_in_flight = Some(each.saturating_mul(servers).clamp(1, 1_000_000));
        scope.differs(
            group,
            "max_conns: nginx limits each server, `max_in_flight` all of them together; what is above it waits in a queue",
        );
    }
}

/// A value that is the same for all servers that say one.
fn agreed<T: PartialEq + Clone>(
    scope: &Scope<'_>,
    group: &Directive,
    what: &str,
    values: &[T],
    into: &mut Option<T>,
) {
    *into = values.first().cloned();
    if values.iter().any(|value| Some(value) != values.first()) {
        scope.differs(
            group,
            format!("{what} differs from server to server; the first one's holds for all"),
        );
    }
}

fn balance(scope: &Scope<'_>, directive: &Directive, upstream: &mut Upstream) {
    scope.notes.seen(directive);
    match directive.name.as_str() {
        "least_conn" => upstream.balance = Some("least_conn".to_owned()),
        "ip_hash" => {
            upstream.balance = Some("hash:client".to_owned());
            scope.differs(
                directive,
                "nginx hashes the first three octets of an IPv4 address, `hash:client` all of it",
            );
        }
        "hash" => {
            let key = directive.arg(0).trim_start_matches('$');
            let balance = match key {
                "remote_addr" | "binary_remote_addr" => Some("hash:client".to_owned()),
                "uri" | "request_uri" => Some("hash:path".to_owned()),
                _ => match (key.strip_prefix("cookie_"), key.strip_prefix("http_")) {
                    (Some(cookie), _) => Some(format!("hash:cookie:{cookie}")),
                    (_, Some(field)) => Some(format!("hash:header:{}", field.replace('_', "-"))),
                    _ => None,
                },
            };
            if balance.is_none() {
                scope.missing(
                    directive,
                    "Forebay hashes the path, the client, a header or a cookie; servers are asked in turn",
                );
            } else if key == "request_uri" {
                scope.differs(directive, "`hash:path` leaves the query out");
            }
            upstream.balance = balance;
        }
        "keepalive_timeout" => upstream.keepalive = deadline(scope, directive, Duration::ZERO),
        "keepalive" | "keepalive_requests" | "keepalive_time" => scope.needless(
            directive,
            "connections to servers are kept anyway; for how long says `keepalive` of the upstream",
        ),
        "zone" | "resolver" | "resolver_timeout" => scope.needless(
            directive,
            "names are resolved again and again, and all threads know the same",
        ),
        "random" | "least_time" => scope.missing(
            directive,
            "servers are asked in turn; `balance = \"least_conn\"` is nearest",
        ),
        "sticky" => scope.missing(
            directive,
            "Forebay sets no cookie of its own; `balance = \"hash:cookie:NAME\"` uses the application's",
        ),
        "health_check" | "check" => scope.missing(directive, "write `health = { path = \"…\" }` for the upstream"),
        _ => scope.missing(directive, "not known to Forebay; the group is used without it"),
    }
}

/// The `Host` that the servers see. `None` is the client's, Forebay's default.
fn host(scope: &Scope<'_>, default: String) -> Option<String> {
    let set = scope.all("proxy_set_header").into_iter();
    let set = set.chain(scope.all("grpc_set_header"));
    let Some(set) = set.rev().find(|d| d.arg(0).eq_ignore_ascii_case("host")) else {
        return Some(default);
    };
    match scope.plain(set.arg(1)).as_str() {
        "$host"
        | "$http_host"
        | "$host:$server_port"
        | "$host:$proxy_port"
        | "$http_host:$server_port" => {
            scope.needless(set, "the client's `Host` is passed on by default");
            None
        }
        "$proxy_host" => Some(default),
        value if value.contains('$') || value.is_empty() => {
            scope.missing(
                set,
                "the value depends on the request; the client's `Host` is passed on",
            );
            None
        }
        value => Some(value.to_owned()),
    }
}

fn settings(scope: &Scope<'_>, upstream: &mut Upstream) {
    let millisecond = Duration::from_millis(1);
    for (directives, keys) in [
        (
            ["proxy_connect_timeout", "grpc_connect_timeout"],
            &["connect"][..],
        ),
        (
            ["proxy_read_timeout", "grpc_read_timeout"],
            &["first_byte", "between_bytes"],
        ),
        (["proxy_send_timeout", "grpc_send_timeout"], &["send"]),
    ] {
        let said = directives.iter().find_map(|name| scope.one(name));
        let Some(value) = said.and_then(|said| deadline(scope, said, millisecond)) else {
            continue;
        };
        for key in keys {
            upstream.timeouts.insert(key, value);
        }
    }
    if let Some(retry) = scope.one("proxy_next_upstream") {
        if retry.args.iter().any(|arg| arg == "off") {
            upstream.tries = Some(1);
            scope.differs(
                retry,
                "`tries = 1`; a refused connection is tried again all the same, for nothing was sent",
            );
        } else if retry.args.iter().any(|arg| arg == "non_idempotent") {
            scope.missing(retry, "what is not idempotent is never sent twice");
        } else {
            scope.needless(
                retry,
                "a refused connection is always tried again, what was sent only where it is idempotent, within `retry.budget`",
            );
        }
    }
    if let Some(tries) = scope.one("proxy_next_upstream_tries") {
        let tries: u64 = tries.arg(0).parse().unwrap_or(0);
        if tries > 0 && upstream.tries.is_none() {
            upstream.tries = Some(tries.min(16));
        }
    }
    if let Some(buffering) = scope.one("proxy_request_buffering") {
        upstream.streams_requests = buffering.arg(0) == "off";
    }
}

fn tls(scope: &Scope<'_>, pass: &Directive, upstream: &mut Upstream) {
    for (directive, key) in [
        ("proxy_ssl_trusted_certificate", "ca"),
        ("proxy_ssl_name", "sni"),
        ("proxy_ssl_certificate", "cert"),
        ("proxy_ssl_certificate_key", "key"),
    ] {
        let Some(said) = scope.one(directive) else {
            continue;
        };
        match scope.constant(said.arg(0)) {
            Some(value) if !value.is_empty() => {
                upstream.tls.insert(key, value);
            }
            _ => scope.missing(said, "the value depends on the request"),
        }
    }
    if !scope.is_on("proxy_ssl_verify") {
        scope.differs(
            pass,
            "nginx accepts any certificate of the server; Forebay verifies it, by `tls = { ca = … }` where it is not a public one",
        );
    }
}

/// A duration within what Forebay takes.
fn deadline(scope: &Scope<'_>, directive: &Directive, least: Duration) -> Option<Duration> {
    const DAY: Duration = Duration::from_secs(86_400);
    let said = value::duration(directive.arg(0));
    let Some(said) = said else {
        scope.missing(directive, "no duration that could be read");
        return None;
    };
    if said > DAY {
        scope.differs(directive, "more than a day is a day");
    } else if said < least {
        scope.missing(directive, "less than a millisecond");
        return None;
    }
    Some(said.min(DAY))
}

impl Upstream {
    /// Its section.
    pub(super) fn table(&self) -> Table {
        let mut table = Table::new();
        let servers = self.servers.iter().map(|server| {
            if server.weight == 1 && !server.backup {
                return text(&server.url);
            }
            let weight = i64::try_from(server.weight).unwrap_or(1);
            let weight = (weight != 1).then(|| ("weight", Value::from(weight)));
            let backup = server.backup.then(|| ("backup", Value::from(true)));
            let url = Some(("url", text(&server.url)));
            inline([url, weight, backup].into_iter().flatten())
        });
        table.insert("servers", Value::Array(servers.collect()).into());
        let mut insert = |key, value: Option<Item>| {
            if let Some(value) = value {
                table.insert(key, value);
            }
        };
        insert(
            "balance",
            self.balance.as_deref().map(|balance| text(balance).into()),
        );
        insert("host", self.host.as_deref().map(|host| text(host).into()));
        insert("max_in_flight", self.max_in_flight.map(number));
        insert("keepalive", self.keepalive.map(|idle| time(idle).into()));
        insert(
            "buffer_request",
            self.streams_requests.then(|| size(0).into()),
        );
        let tries = self.tries.and_then(|tries| i64::try_from(tries).ok());
        insert(
            "retry",
            tries.map(|tries| inline([("tries", Value::from(tries))]).into()),
        );
        let timeouts = self.timeouts.iter().map(|(key, value)| (key, time(*value)));
        insert(
            "timeouts",
            (!self.timeouts.is_empty()).then(|| inline(timeouts).into()),
        );
        let failures = self.eject_failures.map(|failures| {
            let failures = i64::try_from(failures.min(1000)).unwrap_or(1000);
            ("failures", Value::from(failures))
        });
        let duration = self.eject_duration.filter(|pause| !pause.is_zero());
        let duration =
            duration.map(|pause| ("duration", time(pause.min(Duration::from_secs(86_400)))));
        let eject: Vec<_> = [failures, duration].into_iter().flatten().collect();
        insert("eject", (!eject.is_empty()).then(|| inline(eject).into()));
        let tls = self.tls.iter().map(|(key, value)| (key, text(value)));
        insert("tls", (!self.tls.is_empty()).then(|| inline(tls).into()));
        table
    }
}
