//! `listen`, `server_name` and certificates: which connections and hosts a server is for.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use super::note::Kind;
use super::scope::Scope;
use super::superset::superset;
use super::tree::Directive;

/// A `server`, as far as it can be told from others.
#[derive(Debug, Clone)]
pub(super) struct Server<'a> {
    directive: Option<&'a Directive>,
    pub(super) scope: Scope<'a>,
    pub(super) listens: Vec<On<'a>>,
    /// `example.org`, `*.example.org`, in lower case.
    pub(super) names: Vec<String>,
    /// Names that cannot be said, and the closest wildcard that has them all; `None` is any host.
    pub(super) unsaid: Vec<(&'a Directive, Option<String>)>,
    /// Certificates with their keys.
    pub(super) certificates: Vec<(String, String)>,
}

/// One address that a server listens on.
#[derive(Debug, Clone)]
pub(super) struct On<'a> {
    directive: Option<&'a Directive>,
    /// As Forebay writes it.
    pub(super) addr: String,
    /// The address and port, the same for every IPv4 and every IPv6 address.
    key: (Option<IpAddr>, u16),
    pub(super) tls: bool,
    pub(super) is_default: bool,
    pub(super) proxy_protocol: bool,
}

impl<'a> Server<'a> {
    /// A server that is not written: what a snippet of locations stands in.
    pub(super) fn nameless(scope: &Scope<'a>) -> Self {
        Self {
            directive: None,
            scope: scope.clone(),
            listens: vec![on_port(80)],
            names: Vec::new(),
            unsaid: Vec::new(),
            certificates: Vec::new(),
        }
    }
}

impl Server<'_> {
    /// Nothing is made of what stands in it.
    pub(super) fn seen_with_all(&self) {
        if let Some(directive) = self.directive {
            self.scope.notes.seen_with_all(directive);
        }
    }
}

/// For comments.
impl fmt::Display for Server<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.directive {
            Some(directive) => write!(f, "{} server", directive.place()),
            None => f.write_str("server"),
        }
    }
}

/// All servers whose listeners can be told apart by host and scheme.
pub(super) fn servers<'a>(http: &Scope<'a>) -> Vec<Server<'a>> {
    let blocks = http.own().iter().filter(|d| d.name == "server");
    let mut servers: Vec<Server<'a>> = blocks.map(|block| server(http, block)).collect();
    for tls in [false, true] {
        one_set(&mut servers, tls);
    }
    servers.retain(|server| {
        let is_heard = !server.listens.is_empty();
        if let (false, Some(directive)) = (is_heard, server.directive) {
            server.scope.notes.seen_with_all(directive);
            server.scope.notes.say(
                Kind::Access,
                directive,
                "left out, for none of its listeners is; nothing of it is answered here",
            );
        }
        is_heard
    });
    servers
}

fn server<'a>(http: &Scope<'a>, block: &'a Directive) -> Server<'a> {
    http.notes.seen(block);
    let scope = http.within(block.inner());
    let said = block.inner().iter().filter(|d| d.name == "listen");
    let said: Vec<&Directive> = said.collect();
    let all_tls = scope.is_on("ssl");
    let mut listens: Vec<On<'a>> = said.iter().filter_map(|d| on(&scope, d, all_tls)).collect();
    if said.is_empty() {
        listens.push(on_port(80));
    }
    let certificates = certificates(&scope);
    if certificates.is_empty() {
        listens.retain(|on| {
            if let (true, Some(directive)) = (on.tls, on.directive) {
                scope.missing(
                    directive,
                    "TLS without a certificate cannot be listened for",
                );
            }
            !on.tls
        });
    }
    let (names, unsaid) = names(&scope, block);
    Server {
        directive: Some(block),
        names,
        unsaid,
        scope,
        listens,
        certificates,
    }
}

fn on_port(port: u16) -> On<'static> {
    On {
        directive: None,
        addr: format!(":{port}"),
        key: (None, port),
        tls: false,
        is_default: false,
        proxy_protocol: false,
    }
}

fn on<'a>(scope: &Scope<'a>, directive: &'a Directive, all_tls: bool) -> Option<On<'a>> {
    scope.notes.seen(directive);
    let text = directive.arg(0);
    let has = |option: &str| directive.args.iter().skip(1).any(|arg| arg == option);
    if has("quic") {
        scope.missing(directive, "HTTP/3 is not spoken");
        return None;
    }
    let Some((addr, key)) = address(text) else {
        scope.missing(
            directive,
            "an IP address and a port are listened on; nothing else",
        );
        return None;
    };
    let tls = all_tls || has("ssl");
    Some(On {
        directive: Some(directive),
        addr,
        key,
        tls,
        is_default: has("default_server") || has("default"),
        proxy_protocol: has("proxy_protocol"),
    })
}

/// `80`, `*:80`, `127.0.0.1`, `[::]:80`, `localhost:80`.
fn address(text: &str) -> Option<(String, (Option<IpAddr>, u16))> {
    if let Some(port) = text
        .strip_prefix("*:")
        .or(Some(text))
        .and_then(|port| port.parse::<u16>().ok())
    {
        return Some((format!(":{port}"), (None, port)));
    }
    let text = text.replacen("localhost", "127.0.0.1", 1);
    let full = if text.parse::<SocketAddr>().is_ok() {
        text
    } else {
        format!("{text}:80")
    };
    let address: SocketAddr = full.parse().ok()?;
    let ip = Some(address.ip()).filter(|ip| !ip.is_unspecified());
    Some((address.to_string(), (ip, address.port())))
}

fn certificates(scope: &Scope<'_>) -> Vec<(String, String)> {
    let certs = scope.all("ssl_certificate");
    let keys = scope.all("ssl_certificate_key");
    let mut pairs = Vec::new();
    for (cert, key) in certs.iter().zip(&keys) {
        match (scope.constant(cert.arg(0)), scope.constant(key.arg(0))) {
            (Some(cert), Some(key)) if !cert.is_empty() && !key.is_empty() => {
                pairs.push((cert, key));
            }
            _ => scope.missing(
                cert,
                "which certificate it is depends on the request; list all of them in `tls`",
            ),
        }
    }
    pairs
}

type Unsaid<'a> = Vec<(&'a Directive, Option<String>)>;

fn names<'a>(scope: &Scope<'_>, block: &'a Directive) -> (Vec<String>, Unsaid<'a>) {
    let mut names: Vec<String> = Vec::new();
    let mut unsaid = Vec::new();
    for said in block.inner().iter().filter(|d| d.name == "server_name") {
        scope.notes.seen(said);
        for name in &said.args {
            let lower = name.to_ascii_lowercase();
            let found = match lower.strip_prefix('.') {
                Some(below) if is_name(below) => vec![below.to_owned(), format!("*.{below}")],
                _ if lower == "_" || lower.is_empty() => Vec::new(),
                _ if is_name(lower.strip_prefix("*.").unwrap_or(&lower)) => vec![lower],
                _ => match name.strip_prefix('~').map(hosts) {
                    Some(Hosts::Just(names)) => names,
                    Some(Hosts::Among(wildcards)) => {
                        unsaid.extend(wildcards.into_iter().map(|host| (said, Some(host))));
                        Vec::new()
                    }
                    Some(Hosts::Any) | None => {
                        unsaid.push((said, None));
                        Vec::new()
                    }
                },
            };
            for name in found {
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        }
    }
    (names, unsaid)
}

/// What a regular expression of hosts is for.
#[derive(Debug, PartialEq, Eq)]
enum Hosts {
    /// These names and wildcards.
    Just(Vec<String>),
    /// Some of what these wildcards are for.
    Among(Vec<String>),
    Any,
}

fn hosts(regex: &str) -> Hosts {
    let Some(rest) = regex.strip_prefix('^').filter(|rest| !has_ways(rest)) else {
        return Hosts::Any;
    };
    let is_sure = ["(?!", "(?=", "(?<!", "(?<="]
        .iter()
        .all(|look| !rest.contains(look));
    let mut just = Vec::new();
    let mut among = Vec::new();
    for pattern in superset(&format!("^/{rest}"), false) {
        let host = pattern.trim_start_matches('/').to_ascii_lowercase();
        let Some((_, end)) = host.rsplit_once('*') else {
            if is_name(&host) {
                just.push(host);
            }
            continue;
        };
        // A wildcard begins at a dot.
        let Some((before, name)) = end.split_once('.').filter(|(_, name)| is_name(name)) else {
            return Hosts::Any;
        };
        let wildcard = format!("*.{name}");
        let labels = [".+", ".*", "(.+)", "(.*)"].iter();
        let rest = without_names(rest);
        let mut labels = labels.map(|any| format!("{any}\\.{}$", name.replace('.', "\\.")));
        if before.is_empty() && labels.any(|whole| rest == *whole) {
            just.push(wildcard);
        } else {
            among.push(wildcard);
        }
    }
    if among.is_empty() && is_sure {
        return Hosts::Just(just);
    }
    // A host itself is not among those below it.
    among.extend(just);
    Hosts::Among(among)
}

/// `(?<user>.+)` as `(.+)`.
fn without_names(regex: &str) -> String {
    let mut parts = regex.split("(?<");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.split_once('>').map_or(part, |(_, rest)| rest);
        plain.extend(["(", rest]);
    }
    plain
}

/// Whether an expression has alternatives besides those in its groups.
fn has_ways(regex: &str) -> bool {
    let mut depth = 0;
    let mut chars = regex.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => drop(chars.next()),
            '(' => depth += 1,
            ')' => depth -= 1,
            // Within a class it is none, but then nothing is lost.
            '|' if depth <= 0 => return true,
            _ => {}
        }
    }
    false
}

/// Whether a text can be a host's name.
pub(super) fn is_name(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    text.len() <= 253 && text != "_" && text.split('.').all(is_label)
}

/// A route is for every listener of its scheme: servers that share none with the others cannot be kept apart from them.
fn one_set(servers: &mut [Server<'_>], tls: bool) {
    let usual = if tls { 443 } else { 80 };
    let of = |server: &Server<'_>| -> Vec<(Option<IpAddr>, u16)> {
        let ons = server.listens.iter().filter(|on| on.tls == tls);
        ons.map(|on| on.key).collect()
    };
    let all: Vec<Vec<_>> = servers
        .iter()
        .map(of)
        .filter(|keys| !keys.is_empty())
        .collect();
    let has_usual =
        |keys: &&Vec<(Option<IpAddr>, u16)>| keys.iter().any(|(_, port)| *port == usual);
    let Some(chosen) = all.iter().find(has_usual).or(all.first()) else {
        return;
    };
    for server in servers.iter_mut() {
        let keys = of(server);
        let shares = keys.iter().any(|key| chosen.contains(key));
        let scope = server.scope.clone();
        server.listens.retain(|on| {
            if on.tls != tls || chosen.contains(&on.key) {
                return true;
            }
            if let Some(directive) = on.directive {
                if shares {
                    scope.differs(
                        directive,
                        "a route is for every listener, so here the other servers' hosts are answered on this address, too",
                    );
                } else {
                    scope.notes.say(
                        Kind::Access,
                        directive,
                        "left out: a route is for every listener, so what is meant for this address alone would be answered on the others, too; run another Forebay for it, with a file of its own",
                    );
                }
            }
            shares
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_of_hosts() {
        let all = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        for (regex, expected) in [
            (
                r"^(www\.)?example\.org$",
                Hosts::Just(all(&["example.org", "www.example.org"])),
            ),
            (
                r"^(a|b)\.Example\.org$",
                Hosts::Just(all(&["a.example.org", "b.example.org"])),
            ),
            (r"^.+\.example\.org$", Hosts::Just(all(&["*.example.org"]))),
            (
                r"^www\d+\.example\.org$",
                Hosts::Among(all(&["*.example.org"])),
            ),
            (
                r"^(?<user>.+)\.example\.org$",
                Hosts::Just(all(&["*.example.org"])),
            ),
            (
                r"^[a-z]+-app\.example\.org$",
                Hosts::Among(all(&["*.example.org"])),
            ),
            (r"^(?!www)a\.org$", Hosts::Among(all(&["a.org"]))),
            (r"^(?<user>.+)$", Hosts::Any),
            (r"^a\.org$|^b\.org$", Hosts::Any),
            (r"example\.org$", Hosts::Any),
            (r"^example\.", Hosts::Any),
        ] {
            assert_eq!(hosts(regex), expected, "{regex}");
        }
    }
}
