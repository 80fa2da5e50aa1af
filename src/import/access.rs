//! Access control: what of it can be kept, and that nothing is opened where it cannot.

use super::note::Kind;
use super::scope::Scope;

/// What guards a place from everybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Guard {
    /// Clients are told that there is nothing.
    NotFound,
    /// Clients are refused.
    Forbidden,
}

/// Directives that let in some clients only, by something that Forebay does not know.
const BY_WHOM: [(&str, &str); 8] = [
    (
        "auth_basic",
        "Forebay asks for no passwords; have the application or a proxy such as oauth2-proxy do it, then let the route lead there",
    ),
    (
        "auth_request",
        "Forebay asks nobody else; have the application decide, or lead the route to a proxy that does",
    ),
    (
        "auth_jwt",
        "Forebay reads no tokens; have the application do it",
    ),
    (
        "auth_digest",
        "Forebay asks for no passwords; have the application do it",
    ),
    (
        "access_by_lua_block",
        "Forebay runs no scripts; have the application decide",
    ),
    (
        "access_by_lua_file",
        "Forebay runs no scripts; have the application decide",
    ),
    (
        "secure_link",
        "Forebay checks no links; have the application do it",
    ),
    (
        "valid_referers",
        "Forebay judges no `Referer`; what it refused has to be refused by the application",
    ),
];

/// What keeps clients away from a place. Everything that lets some in and others not keeps all away, until somebody decides.
pub(super) fn guard(scope: &Scope<'_>) -> Option<Guard> {
    let is_internal = scope.here("internal");
    let mut guard = is_internal.map(|internal| {
        scope.needless(
            internal,
            "answered 404, as nginx does; X-Accel-Redirect has no counterpart, have the application send the file",
        );
        Guard::NotFound
    });
    for (name, why) in BY_WHOM {
        let Some(rule) = scope.one(name).filter(|rule| rule.arg(0) != "off") else {
            continue;
        };
        scope.notes.say(Kind::Access, rule, why);
        guard = guard.or(Some(Guard::Forbidden));
    }
    if let Some(verify) = scope.one("ssl_verify_client")
        && verify.arg(0) != "off"
    {
        scope.notes.say(
            Kind::Access,
            verify,
            "Forebay asks clients for no certificates; have a proxy in front do it, or the network",
        );
        guard = guard.or(Some(Guard::Forbidden));
    }
    let rules = scope.all_of(&["allow", "deny"]);
    let first = rules.first().map(|rule| (rule.name.as_str(), rule.arg(0)));
    match first {
        None | Some(("allow", "all")) => {}
        Some(("deny", "all")) => {
            guard = guard.or(Some(Guard::Forbidden));
        }
        Some(_) => {
            for rule in rules {
                scope.notes.say(
                    Kind::Access,
                    rule,
                    "Forebay knows no rules by address; let a firewall, the network or the application decide, or listen on an address that only they reach",
                );
            }
            guard = guard.or(Some(Guard::Forbidden));
        }
    }
    guard
}

/// The methods of `limit_except`: all others are refused.
pub(super) fn excepted_methods(scope: &Scope<'_>) -> Option<Vec<String>> {
    let except = scope.here("limit_except")?;
    let inner = scope.within(except.inner());
    if guard(&inner).is_none() {
        scope.missing(
            except,
            "write a route with `method` for what differs by method",
        );
        return None;
    }
    let lawful =
        |method: &&String| !method.is_empty() && method.bytes().all(|b| b.is_ascii_uppercase());
    Some(except.args.iter().filter(lawful).cloned().collect())
}
