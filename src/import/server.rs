//! `server` blocks: where they listen, which names they have, and the routes that they are.
//!
//! nginx chooses a server by the address of the connection, then by `Host`. A route of Forebay's is for every listener, and knows
//! host and scheme. So servers that differ by name, or by TLS, become routes; servers that differ by port alone cannot.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ipnet::IpNet;

use super::cache;
use super::condition;
use super::document::{Action, Content, Document, Listen, Route};
use super::header;
use super::limit::{self, Limits};
use super::listen::{self, Server};
use super::location::{Matches, Piece, collect, pieces};
use super::note::{Kind, Notes};
use super::pattern::literal_of;
use super::rewrite;
use super::scope::Scope;
use super::serve::{BODY_LIMIT, Site, unlimited};
use super::tree::Directive;
use super::upstream::Upstreams;
use super::value;
use crate::units::{ByteSize, format_duration};

/// Everything that a configuration becomes.
pub(super) fn document<'a>(notes: &'a Notes, tree: &'a [Directive]) -> Document {
    let http = tree.iter().find(|d| d.name == "http");
    // A file of `conf.d` stands within `http` without saying so, and a snippet within a server.
    let inner = http.map_or(tree, |http| http.inner());
    let scope = Scope::new(notes, tree);
    let scope = if http.is_some() {
        scope.within(inner)
    } else {
        scope
    };
    let mut servers = listen::servers(&scope);
    if servers.is_empty() && http.is_none() && tree.iter().any(|d| d.name == "location") {
        servers.push(Server::nameless(&scope));
    }
    let mut document = Document {
        threads: threads(&scope),
        trusted_proxies: trusted(&scope, &servers),
        limits: limits(&scope, &servers),
        access_log: access_log(&scope),
        cache_memory: cache::memory(notes, inner),
        listen: listens(&servers),
        ..Document::default()
    };
    if let Some(most) = limit::connections(&scope, servers.iter().map(|it| &it.scope)) {
        document
            .limits
            .insert("connections_per_client", most.to_string());
    }
    let body_limit = body_limit(&servers);
    if let Some(limit) = body_limit {
        let limit = ByteSize::new(limit).to_string();
        document.limits.insert("body", limit);
    }
    let site = Site {
        upstreams: Upstreams::new(inner),
        limits: Limits::new(inner),
        body_limit: body_limit.unwrap_or(BODY_LIMIT),
    };
    for (at, server) in servers.iter().enumerate() {
        document.routes.extend(unsaid(&servers, at));
        for (host, scheme) in variants(&servers, at) {
            routes(
                &site,
                server,
                host.as_deref(),
                scheme,
                servers.len() == 1,
                &mut document.routes,
            );
        }
    }
    let is_used = |name: &str| {
        let to = |route: &Route| matches!(&route.content.action, Action::To(to) if to == name);
        document.routes.iter().any(to)
    };
    let mut upstreams = site.upstreams.into_made();
    upstreams.retain(|(name, _)| is_used(name));
    document.upstreams = upstreams;
    let mut limits = site.limits.into_made();
    limits.retain(|(name, _)| {
        let mut routes = document.routes.iter();
        routes.any(|route| route.content.rate_limits.contains(name))
    });
    document.rate_limits = limits;
    document
}

/// The addresses of all servers, the certificates of each in the order of its servers, the default first.
fn listens(servers: &[Server<'_>]) -> Vec<Listen> {
    let mut all: Vec<Listen> = Vec::new();
    for server in servers {
        for on in &server.listens {
            let at = all.iter().position(|listen| listen.addr == on.addr);
            let at = at.unwrap_or_else(|| {
                all.push(Listen {
                    addr: on.addr.clone(),
                    tls: Vec::new(),
                    proxy_protocol: false,
                });
                all.len() - 1
            });
            let Some(listen) = all.get_mut(at) else {
                continue;
            };
            listen.proxy_protocol |= on.proxy_protocol;
            if on.tls {
                let known = std::mem::take(&mut listen.tls);
                let (first, then) = if on.is_default {
                    (&server.certificates, known)
                } else {
                    (&known, server.certificates.clone())
                };
                listen.tls.clone_from(first);
                for pair in then {
                    if !listen.tls.contains(&pair) {
                        listen.tls.push(pair);
                    }
                }
            }
        }
    }
    all
}

/// Of the hosts that can be said only together with others: nobody answers those, rather than the default server.
fn unsaid(servers: &[Server<'_>], at: usize) -> Vec<Route> {
    let Some(server) = servers.get(at) else {
        return Vec::new();
    };
    let mut routes = Vec::new();
    for (directive, host) in &server.unsaid {
        let kinds = [false, true].into_iter();
        let mut kinds = kinds.filter(|tls| server.listens.iter().any(|on| on.tls == *tls));
        if kinds.all(|tls| default_of(servers, tls) == Some(at)) {
            let why = "this server is the default, and answers whatever host no other is for";
            server.scope.needless(directive, why);
            continue;
        }
        let Some(host) = host else {
            let why = "a host is a name, or `*.` and a name; what this server is for is answered by the default server; write a route for each host";
            server.scope.notes.say(Kind::Open, directive, why);
            continue;
        };
        let is_anothers = |other: &Server<'_>| other.names.contains(host);
        if servers.iter().any(is_anothers) {
            continue;
        }
        let why = format!(
            "a host is a name, or `*.` and a name; all of `{host}` that no other server has is answered 501 until you write a route for each"
        );
        if server.names.is_empty() {
            server.seen_with_all();
        }
        server.scope.notes.say(Kind::Access, directive, why);
        routes.push(Route {
            comment: server.to_string(),
            scheme: None,
            host: Some(host.clone()),
            path: "/".to_owned(),
            methods: Vec::new(),
            content: Content::status(501),
        });
    }
    routes
}

/// The server that nginx takes where none has the name.
fn default_of(servers: &[Server<'_>], tls: bool) -> Option<usize> {
    let is_said = |server: &Server<'_>| {
        let mut ons = server.listens.iter();
        ons.any(|on| on.tls == tls && on.is_default)
    };
    let is_of_kind = |server: &Server<'_>| server.listens.iter().any(|on| on.tls == tls);
    let said = servers.iter().position(is_said);
    said.or_else(|| servers.iter().position(is_of_kind))
}

type Variant = (Option<String>, Option<&'static str>);

/// The hosts and schemes that a server's routes are for.
fn variants(servers: &[Server<'_>], at: usize) -> Vec<Variant> {
    let Some(server) = servers.get(at) else {
        return Vec::new();
    };
    let kinds = |server: &Server<'_>, tls| server.listens.iter().any(|on| on.tls == tls);
    let both = [false, true].map(|tls| servers.iter().any(|server| kinds(server, tls)));
    let mut all = Vec::new();
    for (tls, scheme) in [(false, "http"), (true, "https")] {
        if kinds(server, tls) {
            let scheme = (both == [true, true]).then_some(scheme);
            all.push((hosts(servers, at, tls), scheme));
        }
    }
    let asks = condition::asks_for(server.scope.own(), &["$scheme", "$https", "$server_port"]);
    if let [(plain, _), (tls, _)] = all.as_slice()
        && plain == tls
        && asks.is_empty()
    {
        return plain.iter().map(|host| (host.clone(), None)).collect();
    }
    let variants = all.into_iter();
    let variants =
        variants.flat_map(|(hosts, scheme)| hosts.into_iter().map(move |host| (host, scheme)));
    variants.collect()
}

/// The hosts of a server, for connections with or without TLS; `None` is any.
fn hosts(servers: &[Server<'_>], at: usize, tls: bool) -> Vec<Option<String>> {
    let of_kind = |server: &&Server<'_>| server.listens.iter().any(|on| on.tls == tls);
    let default = default_of(servers, tls);
    let Some(server) = servers.get(at) else {
        return Vec::new();
    };
    let others = || {
        let others = servers.iter().enumerate().filter(|(other, _)| *other != at);
        others.map(|(_, server)| server).filter(of_kind)
    };
    // Of two servers with one name the first has it.
    let is_taken = |name: &String| {
        let before = servers.iter().take(at).filter(of_kind);
        before
            .flat_map(|server| &server.names)
            .any(|other| other == name)
    };
    let mut hosts: Vec<Option<String>> = Vec::new();
    // A wildcard of another server would come before any host.
    let is_covered = |name: &String| {
        others().flat_map(|other| &other.names).any(|other| {
            other
                .strip_prefix('*')
                .is_some_and(|suffix| name.ends_with(suffix) && name != other)
        })
    };
    let is_default = default == Some(at);
    for name in &server.names {
        if !is_taken(name) && (!is_default || is_covered(name)) {
            hosts.push(Some(name.clone()));
        }
    }
    if is_default {
        hosts.push(None);
    }
    // What a condition asks for is a host of its own.
    for name in condition::asks_for(server.scope.own(), &["$host", "$http_host"]) {
        let name = name.to_ascii_lowercase();
        let is_lawful = listen::is_name(&name);
        let is_anothers = others().any(|other| other.names.contains(&name));
        let is_ours = is_default || server.names.contains(&name);
        if is_lawful && !is_anothers && is_ours && !hosts.contains(&Some(name.clone())) {
            hosts.insert(0, Some(name));
        }
    }
    hosts
}

/// The routes of a server for one host and scheme.
fn routes<'a>(
    site: &Site<'a>,
    server: &Server<'a>,
    host: Option<&str>,
    scheme: Option<&'static str>,
    is_only: bool,
    all: &mut Vec<Route>,
) {
    let mut scope = server.scope.clone();
    for variable in ["host", "http_host"] {
        // Any host is none of those that a condition names.
        scope = scope.where_known(variable, host.unwrap_or("*"));
    }
    let is_tls = match scheme {
        Some(scheme) => Some(scheme == "https"),
        None if server.listens.iter().all(|on| on.tls) => Some(true),
        None if server.listens.iter().all(|on| !on.tls) => Some(false),
        None => None,
    };
    if let Some(is_tls) = is_tls {
        scope = scope.where_known("scheme", if is_tls { "https" } else { "http" });
        scope = scope.where_known("https", if is_tls { "on" } else { "" });
    }
    if let Some(name) = server.names.first() {
        scope = scope.knowing("server_name", name);
    }
    let mut made = server_pieces(site, &scope);
    for piece in &mut made {
        if piece.comment.is_empty() {
            piece.comment = server.to_string();
        }
    }
    // What no route is for is answered 404 anyway.
    let is_nothing = |piece: &Piece| {
        piece.path == "/" && piece.content == Content::status(404) && piece.methods.is_empty()
    };
    if host.is_none() && is_only && made.len() > 1 {
        made.retain(|piece| !is_nothing(piece));
    }
    all.extend(made.into_iter().map(|piece| Route {
        comment: piece.comment,
        scheme,
        host: host.map(str::to_owned),
        path: piece.path,
        methods: piece.methods,
        content: piece.content,
    }));
}

fn server_pieces<'a>(site: &Site<'a>, scope: &Scope<'a>) -> Vec<Piece> {
    let phase = rewrite::phase(scope, "/");
    for internal in &phase.internals {
        scope.missing(
            internal.directive,
            "rewritten for all locations; write a route with `replace_prefix` for the prefix",
        );
    }
    let mut all = phase.redirects;
    if let Some(mut content) = phase.returned {
        content.response_headers = header::of_response(scope);
        all.push(Piece {
            path: "/".to_owned(),
            methods: Vec::new(),
            content,
            comment: String::new(),
        });
    } else {
        let locations = collect(scope);
        for location in &locations {
            let redirect = all.iter().find(|redirect| match &location.matches {
                Matches::Prefix { path, .. } => path.starts_with(literal_of(&redirect.path)),
                Matches::Exact(path) => {
                    redirect.path == format!("={path}")
                        || path.starts_with(literal_of(&redirect.path))
                }
                Matches::Regex { .. } | Matches::Named(_) => false,
            });
            if let (Some(redirect), Some(directive)) = (redirect, location.directive) {
                let from = redirect.path.trim_matches(['=', '*']);
                scope.needless(
                    directive,
                    format!("never reached: the server redirects `{from}` before"),
                );
            }
        }
        let made = pieces(site, &locations);
        // Redirects of the server come before its locations, however long these are.
        let is_before = |piece: &Piece| {
            let path = piece.path.trim_start_matches('=');
            all.iter()
                .any(|redirect| match redirect.path.strip_prefix('=') {
                    Some(exact) => piece.path == format!("={exact}"),
                    None => literal_of(path).starts_with(literal_of(&redirect.path)),
                })
        };
        let made: Vec<Piece> = made.into_iter().filter(|piece| !is_before(piece)).collect();
        all.extend(made);
    }
    let by_method = phase.by_method.iter().flat_map(|(method, content)| {
        all.iter().map(move |piece| Piece {
            methods: vec![method.clone()],
            content: content.clone(),
            ..piece.clone()
        })
    });
    let going_on = all.iter().flat_map(|piece| {
        let split = phase
            .only
            .split(piece.methods.clone(), piece.content.clone());
        split.map(|(methods, content)| Piece {
            methods,
            content,
            ..piece.clone()
        })
    });
    // What the server says comes before what its locations say of methods.
    by_method.chain(going_on).collect()
}

fn threads(scope: &Scope<'_>) -> Option<u64> {
    let said = scope.one("worker_processes")?;
    let threads: Option<u64> = said.arg(0).parse().ok();
    if threads.is_none() {
        scope.needless(said, "a thread for each core is the default");
    }
    threads.map(|threads| threads.clamp(1, 1024))
}

fn access_log(scope: &Scope<'_>) -> Option<&'static str> {
    let said = scope.one("access_log")?;
    if said.arg(0) == "off" {
        return Some("off");
    }
    scope.differs(
        said,
        "requests are logged on standard output, as JSON; for a file of the old form write [log] access = \"/path\", format = \"combined\"",
    );
    None
}

/// `[server] trusted_proxies` of `set_real_ip_from`.
fn trusted(scope: &Scope<'_>, servers: &[Server<'_>]) -> Vec<String> {
    let mut all = BTreeSet::new();
    let scopes = std::iter::once(scope).chain(servers.iter().map(|server| &server.scope));
    for scope in scopes {
        for said in scope.all("set_real_ip_from") {
            let text = said.arg(0);
            let is_network =
                text.parse::<IpNet>().is_ok() || text.parse::<std::net::IpAddr>().is_ok();
            if is_network {
                all.insert(text.to_owned());
            } else {
                scope.missing(said, "a proxy that is trusted has an address or a network");
            }
        }
        let field = scope.one("real_ip_header");
        let is_usual = |field: &str| field.eq_ignore_ascii_case("x-forwarded-for");
        if field.is_none_or(|field| !is_usual(field.arg(0)))
            && let Some(said) = field.or(scope.one("set_real_ip_from"))
        {
            scope.differs(
                said,
                "the client is read from `X-Forwarded-For` (or the PROXY protocol) of `trusted_proxies`, and not from another field (nginx's own is `X-Real-IP`); see that the proxy in front sends it, and throws away a client's",
            );
        }
    }
    all.into_iter().collect()
}

/// Keys of `[limits]`, which are the same for all servers.
fn limits(scope: &Scope<'_>, servers: &[Server<'_>]) -> BTreeMap<&'static str, String> {
    let mut limits = BTreeMap::new();
    for (name, key) in [
        ("keepalive_timeout", "idle_timeout"),
        ("client_header_timeout", "head_timeout"),
        ("client_body_timeout", "body_timeout"),
        ("send_timeout", "write_timeout"),
    ] {
        let said: Vec<&Directive> = servers
            .iter()
            .filter_map(|server| server.scope.one(name))
            .collect();
        let said = if said.is_empty() {
            scope.one(name).into_iter().collect()
        } else {
            said
        };
        let Some(first) = said.first() else {
            continue;
        };
        if said.iter().any(|other| other.arg(0) != first.arg(0)) {
            scope.differs(
                first,
                "it differs from server to server; the first one's holds for all",
            );
        }
        match value::duration(first.arg(0)) {
            Some(said) if !said.is_zero() => {
                let said = said.min(Duration::from_secs(86_400));
                limits.insert(key, format_duration(said));
            }
            _ => scope.missing(
                first,
                "connections are kept between requests; `[limits] idle_timeout` says for how long",
            ),
        }
    }
    limits
}

/// `[limits] body`, where all servers agree; nginx's own default is 1 MiB.
fn body_limit(servers: &[Server<'_>]) -> Option<u64> {
    let of = |server: &Server<'_>| {
        let said = server.scope.one("client_max_body_size");
        said.and_then(|said| value::size(said.arg(0)))
            .map_or(BODY_LIMIT, unlimited)
    };
    let forwarding = servers.iter();
    let forwarding = forwarding.filter(|server| has(server.scope.own(), "proxy_pass"));
    let mut limits: Vec<u64> = forwarding.map(of).collect();
    limits.dedup();
    match limits.as_slice() {
        [] => None,
        [limit] => Some(*limit),
        _ => Some(BODY_LIMIT),
    }
}

fn has(directives: &[Directive], name: &str) -> bool {
    let here = |directive: &Directive| directive.name == name || has(directive.inner(), name);
    directives.iter().any(here)
}
