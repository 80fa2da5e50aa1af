//! Fields of requests and responses: what is set, what is removed, and what Forebay does anyway.

use super::ask;
use super::document::Edits;
use super::scope::Scope;
use super::tree::Directive;
use super::value;

/// Fields that frame the message.
const FRAMING: [&str; 7] = [
    "content-length",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// What upstreams are told about the client without being told to tell it.
const TOLD: [(&str, &[&str]); 7] = [
    ("x-real-ip", &["$remote_addr", "$realip_remote_addr"]),
    (
        "x-forwarded-for",
        &["$proxy_add_x_forwarded_for", "$remote_addr"],
    ),
    ("x-forwarded-proto", &["$scheme"]),
    (
        "x-forwarded-host",
        &["$host", "$http_host", "$host:$server_port", "$server_name"],
    ),
    ("x-request-id", &["$request_id"]),
    (
        "connection",
        &[
            "",
            "upgrade",
            "Upgrade",
            "$connection_upgrade",
            "close",
            "keep-alive",
            "$http_connection",
        ],
    ),
    ("upgrade", &["$http_upgrade", "websocket"]),
];

/// Whether a place says which `Host` servers see.
pub(super) fn says_host(scope: &Scope<'_>) -> bool {
    let set = scope.all("proxy_set_header").into_iter();
    let mut set = set.chain(scope.all("grpc_set_header"));
    set.any(|directive| directive.arg(0).eq_ignore_ascii_case("host"))
}

/// What `proxy_set_header` makes of requests; `Host` is the upstream's.
pub(super) fn of_request(scope: &Scope<'_>) -> Edits {
    let mut edits = Edits::default();
    let answered = ask::answered(scope);
    let set = scope.all("proxy_set_header").into_iter();
    for directive in set.chain(scope.all("grpc_set_header")) {
        let name = directive.arg(0);
        let lower = name.to_ascii_lowercase();
        let value = scope.plain(directive.arg(1));
        let known = TOLD.iter().find(|(known, _)| *known == lower);
        if lower == "host" {
            continue;
        }
        if let Some((_, values)) = known
            && (values.contains(&value.as_str())
                || matches!(lower.as_str(), "connection" | "upgrade"))
        {
            let why = match lower.as_str() {
                "connection" | "upgrade" => "WebSockets pass and connections are kept without it",
                "x-forwarded-for" => {
                    "always sent; what clients write in it is thrown away, unless they are among `trusted_proxies`"
                }
                _ => "always sent",
            };
            scope.needless(directive, why);
        } else if value == format!("$http_{}", lower.replace('-', "_")) {
            scope.needless(directive, "what clients send is passed on");
        } else if FRAMING.contains(&lower.as_str()) {
            scope.needless(
                directive,
                "the field frames the message and is the proxy's own",
            );
        } else if value.is_empty() {
            push(&mut edits.remove, name);
        } else if let Some(field) = answered.get(&value) {
            if !field.eq_ignore_ascii_case(name) {
                push(&mut edits.remove, name);
                scope.differs(
                    directive,
                    format!("the application is told it as `{field}`, as the service says it"),
                );
            }
        } else if let Some(value) = scope.constant(directive.arg(1)) {
            set_last(&mut edits.set, name, &value);
        } else {
            // What the application took for the proxy's word must not become the client's.
            if known.is_none() {
                push(&mut edits.remove, name);
            }
            let why = if lower.starts_with("x-forwarded-") {
                "not sent; `X-Forwarded-Host` and `-Proto` say as much, or set a fixed value by `request_headers`"
            } else {
                "the value depends on the request; only fixed values can be set by `request_headers`, so the field is taken away, also where a client sends it"
            };
            scope.missing(directive, why);
        }
    }
    edits
}

/// What `add_header`, `expires` and `proxy_hide_header` make of responses.
pub(super) fn of_response(scope: &Scope<'_>) -> Edits {
    let mut edits = Edits::default();
    for directive in scope.all("proxy_hide_header") {
        push(&mut edits.remove, directive.arg(0));
    }
    for directive in scope.all("add_header") {
        let (name, value) = (directive.arg(0), directive.arg(1));
        match scope.constant(value) {
            _ if FRAMING.contains(&name.to_ascii_lowercase().as_str()) => {
                scope.needless(directive, "the field frames the message and is the proxy's own");
            }
            Some(value) if value.is_empty() => {
                scope.needless(directive, "an empty value adds nothing");
            }
            Some(value) => {
                if directive.args.last().map(String::as_str) != Some("always") {
                    scope.differs(
                        directive,
                        "nginx adds it to successes and redirects only; `set` sets it whatever the status, in the place of the upstream's",
                    );
                }
                join(scope, directive, &mut edits.set, name, &value);
            }
            None if is_cookie(name) && ask::is_cookie(scope, &scope.plain(value)) => {
                scope.needless(directive, "the client gets the cookies of the service");
            }
            None if scope.plain(value) == "$upstream_cache_status" => {
                scope.needless(directive, "`Cache-Status` says it on each answer");
            }
            None => scope.missing(
                directive,
                "the value depends on the request; only fixed values can be set by `response_headers`",
            ),
        }
    }
    if let Some(expires) = scope.one("expires") {
        match expires_as_cache_control(expires) {
            Some(value) if value.is_empty() => {}
            Some(value) => {
                scope.differs(expires, "as `Cache-Control` alone, and whatever the status");
                join(scope, expires, &mut edits.set, "Cache-Control", &value);
            }
            None => scope.missing(
                expires,
                "set `Cache-Control` by `response_headers` of the routes that it is for",
            ),
        }
    }
    edits
}

/// The field that says the same; empty for nothing.
fn expires_as_cache_control(directive: &Directive) -> Option<String> {
    match (directive.arg(0), directive.args.len()) {
        ("off", 1) => Some(String::new()),
        ("max", 1) => Some("max-age=315360000".to_owned()),
        ("epoch", 1) => Some("no-cache".to_owned()),
        (text, 1) if text.starts_with('-') => {
            value::duration(text.trim_start_matches('-')).map(|_| "no-cache".to_owned())
        }
        (text, 1) => value::duration(text).map(|age| format!("max-age={}", age.as_secs())),
        _ => None,
    }
}

fn is_cookie(name: &str) -> bool {
    name.eq_ignore_ascii_case("set-cookie")
}

fn push(names: &mut Vec<String>, name: &str) {
    if !names.iter().any(|other| other.eq_ignore_ascii_case(name)) {
        names.push(name.to_owned());
    }
}

fn set_last(fields: &mut Vec<(String, String)>, name: &str, value: &str) {
    fields.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
    fields.push((name.to_owned(), value.to_owned()));
}

/// nginx adds a line; two of one name become one, which means the same for all fields that are lists.
fn join(
    scope: &Scope<'_>,
    directive: &Directive,
    fields: &mut Vec<(String, String)>,
    name: &str,
    value: &str,
) {
    let same = fields
        .iter_mut()
        .find(|(other, _)| other.eq_ignore_ascii_case(name));
    match same {
        None => fields.push((name.to_owned(), value.to_owned())),
        Some(_) if is_cookie(name) => scope.missing(
            directive,
            "a second `Set-Cookie` cannot be set; have the application send it",
        ),
        Some((_, before)) => {
            before.push_str(", ");
            before.push_str(value);
        }
    }
}
