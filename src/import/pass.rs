//! What `proxy_pass` names: a scheme, an address or a group, and the URI that takes the place of a prefix.

use super::scope::Scope;

/// Where a `proxy_pass` leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pass {
    /// `http`, `https`, `grpc` or `grpcs`.
    pub(super) scheme: String,
    /// `app:8000`, a group's name, or `unix:/run/app.sock`.
    pub(super) authority: String,
    /// What stands behind: the URI that takes the place of the location's prefix.
    pub(super) uri: Option<String>,
}

impl Pass {
    /// Reads the argument of `proxy_pass` or `grpc_pass`. `None` where it depends on the request.
    pub(super) fn read(scope: &Scope<'_>, argument: &str) -> Option<Self> {
        let has_variables = argument.contains('$');
        let mut plain = scope.plain(argument);
        // With a variable the URI is sent as it stands; these stand for the request's own.
        for own in ["$request_uri", "$uri$is_args$args", "$uri"] {
            if let Some(before) = plain.strip_suffix(own) {
                plain = before.trim_end_matches('/').to_owned();
                break;
            }
        }
        if plain.contains('$') || plain.contains(char::is_whitespace) {
            return None;
        }
        let (scheme, rest) = plain.split_once("://").unwrap_or(("grpc", &plain));
        if !matches!(scheme, "http" | "https" | "grpc" | "grpcs") {
            return None;
        }
        let (authority, uri) = if let Some(path) = rest.strip_prefix("unix:") {
            match path.split_once(':') {
                Some((path, uri)) => (format!("unix:{path}"), Some(uri.to_owned())),
                None => (rest.to_owned(), None),
            }
        } else {
            match rest.find('/') {
                Some(at) => (rest[..at].to_owned(), Some(rest[at..].to_owned())),
                None => (rest.to_owned(), None),
            }
        };
        let uri = uri.filter(|uri| !uri.is_empty());
        // A constant URI behind a variable replaces the whole of the request's.
        if authority.is_empty() || (has_variables && uri.is_some()) {
            return None;
        }
        Some(Self {
            scheme: scheme.to_owned(),
            authority,
            uri,
        })
    }
}

/// A name to read: of a socket its file, of this machine its port.
pub(super) fn label(authority: &str) -> String {
    let name = match authority.strip_prefix("unix:") {
        Some(path) => {
            let file = path.rsplit('/').next().unwrap_or(path);
            file.strip_suffix(".sock").unwrap_or(file).to_owned()
        }
        None => match authority.rsplit_once(':') {
            Some(("127.0.0.1" | "localhost" | "[::1]", port)) => format!("localhost-{port}"),
            Some((host, _)) => host.to_owned(),
            None => authority.to_owned(),
        },
    };
    let lawful = |c: char| {
        if c.is_ascii_alphanumeric() || c == '_' {
            c
        } else {
            '-'
        }
    };
    let name: String = name.chars().map(lawful).take(100).collect();
    match name.trim_matches('-') {
        "" => "upstream".to_owned(),
        name => name.to_owned(),
    }
}

/// A server's URL. nginx's own default port within a group is 80, whatever the scheme.
pub(super) fn url(scheme: &str, address: &str, default_port: u16) -> Option<String> {
    if address.starts_with("unix:") {
        return (scheme == "http").then(|| address.to_owned());
    }
    let host_ends = address.rfind(']').unwrap_or(0);
    let has_port = address.get(host_ends..)?.contains(':');
    let own = if scheme.ends_with('s') { 443 } else { 80 };
    Some(if has_port || default_port == own {
        format!("{scheme}://{address}")
    } else {
        format!("{scheme}://{address}:{default_port}")
    })
}
