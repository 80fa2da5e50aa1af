//! What `forebay run` says when it listens: on one screen, what came of the configuration.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use super::caching;
use crate::admin::settings::AdminListen;
use crate::config::Finding;
use crate::config::settings::Settings;
use crate::routing::Table;
use crate::routing::settings::{Action, HostMatch, PathMatch, RouteSettings};
use crate::server::Listening;
use crate::units::format_duration;
use crate::upstream::settings::{Balance, Endpoint, HashKey, ServerSettings, UpstreamSettings};

/// Routes and upstreams shown, each; the rest are counted.
const ROWS: usize = 16;
/// Columns of a name, at most; longer ones push their row to the right.
const NAME_WIDTH: usize = 36;

/// The banner, without a line end.
pub(super) fn text(
    settings: &Settings,
    notes: &[Finding],
    file: Option<&Path>,
    listening: &Listening,
) -> String {
    let mut text = format!("forebay {}\n", env!("CARGO_PKG_VERSION"));
    for (settings, addr) in settings.listen.iter().zip(&listening.addresses) {
        let scheme = if settings.tls.is_some() {
            "https"
        } else {
            "http"
        };
        let mut more = String::new();
        if let Some(tls) = &settings.tls {
            let _ = write!(more, "  certificates: {}", tls.certificates.len());
        }
        if settings.proxy_protocol {
            more.push_str("  PROXY protocol");
        }
        let _ = writeln!(text, "  listening  {scheme}://{addr}{more}");
    }
    let admin = match &listening.admin {
        Some(AdminListen::Tcp(addr)) => format!("http://{addr}"),
        Some(AdminListen::Unix(path)) => format!("unix:{}", path.display()),
        None => "off".to_owned(),
    };
    let _ = writeln!(text, "  admin      {admin}");
    match file {
        Some(file) => {
            let _ = writeln!(text, "  settings   {}", file.display());
        }
        None => text.push_str("  settings   from the command line\n"),
    }

    let table = Table::new(settings.routes.clone());
    section(
        &mut text,
        "routes, in the order they are tried",
        table.in_order(),
        |route| {
            let rules = settings.rules.get(route.index);
            let state = rules.and_then(|rules| caching::state(route, rules));
            let cache = state.map_or(String::new(), |state| format!("; cache: {state}"));
            (matched(route), becomes(route) + &cache)
        },
    );
    let named = settings
        .upstreams
        .iter()
        .filter(|upstream| !is_inline(upstream));
    section(&mut text, "upstreams", named, |upstream| {
        (upstream.name.clone(), origin(upstream))
    });
    let remarks = remarks(settings, notes);
    if !remarks.is_empty() {
        text.push_str("\n  notes\n");
    }
    for remark in remarks {
        let _ = writeln!(text, "    {remark}");
    }
    text
}

/// A listener's address as this machine's browser reaches it.
pub(super) fn local_url(addr: SocketAddr) -> String {
    let port = addr.port();
    match addr.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED | Ipv4Addr::LOCALHOST)
        | IpAddr::V6(Ipv6Addr::UNSPECIFIED | Ipv6Addr::LOCALHOST) => {
            format!("http://localhost:{port}")
        }
        _ => format!("http://{addr}"),
    }
}

/// A heading and a row for each item, in two columns.
fn section<T>(
    text: &mut String,
    heading: &str,
    items: impl Iterator<Item = T>,
    row: impl Fn(T) -> (String, String),
) {
    let rows: Vec<(String, String)> = items.map(row).collect();
    if rows.is_empty() {
        return;
    }
    let _ = writeln!(text, "\n  {heading}");
    let shown = rows.get(..ROWS).unwrap_or(&rows);
    let widths = shown.iter().map(|(name, _)| name.chars().count());
    let width = widths.max().unwrap_or(0).min(NAME_WIDTH);
    for (name, value) in shown {
        let _ = writeln!(text, "    {name:width$}  {value}");
    }
    if rows.len() > shown.len() {
        let _ = writeln!(text, "    … and {} more", rows.len() - shown.len());
    }
}

/// The conditions of a route, shortest form first: `GET example.org/api/ (2 more conditions)`.
fn matched(route: &RouteSettings) -> String {
    let matches = &route.matches;
    let methods: Vec<&str> = matches.methods.iter().map(http::Method::as_str).collect();
    let mut text = methods.join(",");
    if !text.is_empty() {
        text.push(' ');
    }
    let any_host = matches.scheme.map_or("", |scheme| {
        text.push_str(scheme.as_str());
        text.push_str("://");
        "*"
    });
    match &matches.host {
        HostMatch::Any => text.push_str(any_host),
        HostMatch::Exact(host) => text.push_str(host),
        HostMatch::Wildcard(suffix) => {
            let _ = write!(text, "*.{suffix}");
        }
    }
    match &matches.path {
        PathMatch::Prefix(path) | PathMatch::Glob(path) => text.push_str(path),
        PathMatch::Exact(path) => {
            let _ = write!(text, "={path}");
        }
    }
    match matches.headers.len() + matches.query.len() {
        0 => {}
        1 => text.push_str(" (1 more condition)"),
        n => {
            let _ = write!(text, " ({n} more conditions)");
        }
    }
    text
}

/// What becomes of a route's requests.
fn becomes(route: &RouteSettings) -> String {
    match &route.action {
        Action::Forward(targets) => match targets.as_slice() {
            [only] => format!("-> {}", only.upstream),
            several => {
                let shares = several
                    .iter()
                    .map(|target| format!("{} ({})", target.upstream, target.weight));
                format!("-> {}", shares.collect::<Vec<_>>().join(", "))
            }
        },
        Action::Redirect { to, status } => format!("{} to {to}", status.as_u16()),
        Action::Respond { status, .. } => format!("answers {}", status.as_u16()),
        Action::Files { root, .. } => format!("files of {}", root.display()),
    }
}

/// Whether an upstream comes from a route's URL: its name then says all that its row would.
fn is_inline(upstream: &UpstreamSettings) -> bool {
    upstream.name.contains("://") || upstream.name.starts_with("unix:")
}

/// An upstream's servers and how they are used.
fn origin(upstream: &UpstreamSettings) -> String {
    let servers: Vec<String> = upstream.servers.iter().map(server).collect();
    let mut text = servers.join(", ");
    if upstream.servers.len() > 1 {
        let balance = match &upstream.balance {
            Balance::RoundRobin => "in turn",
            Balance::LeastConn => "fewest in flight",
            Balance::Hash(HashKey::Path) => "by path",
            Balance::Hash(HashKey::Client) => "by client",
            Balance::Hash(HashKey::Header(_)) => "by header",
            Balance::Hash(HashKey::Cookie(_)) => "by cookie",
        };
        let _ = write!(text, "; {balance}");
    }
    if !upstream.hold.is_zero() {
        let _ = write!(text, "; holds {}", format_duration(upstream.hold));
    }
    if let Some(most) = upstream.max_in_flight {
        let _ = write!(text, "; at most {most} at once");
    }
    if upstream.health.is_some() {
        text.push_str("; health checked");
    }
    text
}

fn server(server: &ServerSettings) -> String {
    let mut text = match &server.endpoint {
        Endpoint::Unix(path) => format!("unix:{}", path.display()),
        Endpoint::Tcp { host, port } => {
            let scheme = if server.tls { "https" } else { "http" };
            match host.parse() {
                Ok(IpAddr::V6(ip)) => format!("{scheme}://[{ip}]:{port}"),
                _ => format!("{scheme}://{host}:{port}"),
            }
        }
    };
    if server.weight != 1 {
        let _ = write!(text, " ×{}", server.weight);
    }
    if server.backup {
        text.push_str(" backup");
    }
    text
}

/// What whoever started this should know.
fn remarks(settings: &Settings, notes: &[Finding]) -> Vec<String> {
    let mut remarks: Vec<String> = notes.iter().map(|note| note.message.clone()).collect();
    if settings.routes.is_empty() {
        remarks.push("there are no routes: every request is answered 404".to_owned());
    }
    for upstream in &settings.upstreams {
        if upstream.tls.insecure {
            let name = &upstream.name;
            remarks.push(format!(
                "upstream `{name}`: certificates are not verified (`tls.insecure`)"
            ));
        }
    }
    remarks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    const FILE: &str = r#"
[[listen]]
addr = "0.0.0.0:8080"

[upstream.api]
servers = ["http://api:8000", { url = "http://[::1]:1", weight = 2, backup = true }]
balance = "least_conn"
max_in_flight = 64
health = { path = "/healthz" }

[[route]]
path = "/"
to = "http://app:5000"

[[route]]
host = "example.org"
path = "/api/"
method = ["GET", "POST"]
header = { X-Canary = "1" }
to = "api"
cache = { ttl = "5m" }

[[route]]
path = "=/old"
scheme = "http"
redirect = "/new"

[[route]]
path = "/img/*.png"
files = "/srv"
"#;

    fn listening() -> Listening {
        Listening {
            addresses: vec![SocketAddr::from(([0, 0, 0, 0], 8080))],
            admin: Some(AdminListen::Tcp(([127, 0, 0, 1], 9900).into())),
        }
    }

    #[test]
    fn one_screen() {
        let settings = config::load_str(FILE, "proxy.toml").expect("a good file");
        let text = text(&settings, &[], Some(Path::new("proxy.toml")), &listening());
        let text = text.replace(env!("CARGO_PKG_VERSION"), "VERSION");
        insta::assert_snapshot!(text, @r"
        forebay VERSION
          listening  http://0.0.0.0:8080
          admin      http://127.0.0.1:9900
          settings   proxy.toml

          routes, in the order they are tried
            GET,POST example.org/api/ (1 more condition)  -> api; cache: 5m
            http://*=/old                         308 to /new
            /img/*.png                            files of /srv
            /                                     -> http://app:5000; cache: origin

          upstreams
            api  http://api:8000, http://[::1]:1 ×2 backup; fewest in flight; holds 10s; at most 64 at once; health checked
        ");
    }

    #[test]
    fn a_long_table_is_cut_and_counted() {
        let mut text = String::new();
        section(&mut text, "numbers", 0..20, |n| {
            (n.to_string(), "x".to_owned())
        });
        assert!(text.ends_with("    15  x\n    … and 4 more\n"), "{text}");
    }

    #[test]
    fn what_should_be_known() {
        let mut settings = config::from_url("https://app", None).expect("a good URL");
        settings.routes.clear();
        settings.upstreams[0].tls.insecure = true;
        assert_eq!(
            remarks(&settings, &[]),
            [
                "there are no routes: every request is answered 404",
                "upstream `https://app`: certificates are not verified (`tls.insecure`)",
            ]
        );
    }

    #[test]
    fn urls_for_a_browser() {
        for (addr, url) in [
            ("0.0.0.0:8080", "http://localhost:8080"),
            ("[::]:8080", "http://localhost:8080"),
            ("10.0.0.1:80", "http://10.0.0.1:80"),
        ] {
            assert_eq!(local_url(addr.parse().expect("an address")), url);
        }
    }
}
