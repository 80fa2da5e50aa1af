//! Access control: what of it can be kept, and that nothing is opened where it cannot.

use super::document::Access;
use super::note::Kind;
use super::scope::Scope;
use super::tree::Directive;
use ipnet::IpNet;
use std::net::IpAddr;

/// What guards a place from everybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Guard {
    /// Clients are told that there is nothing.
    NotFound,
    /// Clients are refused.
    Forbidden,
}

/// Directives that let in some clients only, by something that Forebay does not know.
const BY_WHOM: [(&str, &str); 7] = [
    (
        "auth_request",
        "write `to` and auth = { forward = \"http://…\", copy = […] } with the URL of that location's `proxy_pass` and the fields that `auth_request_set` takes; what is no 2xx goes to the client (docs/access.md)",
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

/// What keeps clients away from a place, and who may come nevertheless. What cannot be said here just as nginx says it keeps
/// all away, until somebody decides. `carries` is false where a route is not for quite the same requests: there no more than
/// a refusal would do.
pub(super) fn guard(scope: &Scope<'_>, carries: bool) -> (Option<Guard>, Access) {
    let mut access = Access::default();
    let guard = judged(scope, carries.then_some(&mut access));
    (guard, access)
}

fn judged(scope: &Scope<'_>, mut access: Option<&mut Access>) -> Option<Guard> {
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
            "write `client_certificates` in the [[listen]], and `to` and auth = { certificate = true } in the route (docs/access.md)",
        );
        guard = guard.or(Some(Guard::Forbidden));
    }
    let asks = scope.one("auth_basic").filter(|rule| rule.arg(0) != "off");
    let rules = scope.all_of(&["allow", "deny"]);
    // Here all that is said of a route has to hold.
    let any = scope.one("satisfy").is_some_and(|it| it.arg(0) == "any")
        && asks.is_some()
        && !rules.is_empty();
    if let Some(rule) = asks {
        let basic = password(scope, rule).filter(|_| !any);
        if let (Some(access), Some(basic)) = (&mut access, basic) {
            scope.differs(
                rule,
                "the file must have no plain text, no {SHA} and no crypt(3) passwords: `forebay check` does not read it, the start does",
            );
            access.basic = Some(basic);
        } else {
            let why = "what it asks for cannot be said just so: write `to` and auth = { basic = \"…\" } (docs/access.md)";
            scope.notes.say(Kind::Access, rule, why);
            guard = guard.or(Some(Guard::Forbidden));
        }
    }
    let first = rules.first().map(|rule| (rule.name.as_str(), rule.arg(0)));
    match first {
        None | Some(("allow", "all")) => {}
        Some(("deny", "all")) => {
            guard = guard.or(Some(Guard::Forbidden));
        }
        Some(_) => {
            let lists = addresses(&rules).filter(|_| !any);
            if let (Some(access), Some((allow, deny))) = (&mut access, lists) {
                access.allow = allow;
                access.deny = deny;
                return guard;
            }
            for rule in rules {
                scope.notes.say(
                    Kind::Access,
                    rule,
                    "in this order it cannot be said here, where `deny` wins over `allow`; write `to`, `allow` and `deny` (docs/access.md)",
                );
            }
            guard = guard.or(Some(Guard::Forbidden));
        }
    }
    guard
}

/// The file and the realm of `auth_basic`, where they are the same for every request.
fn password(scope: &Scope<'_>, rule: &Directive) -> Option<(String, String)> {
    let file = scope.constant(scope.one("auth_basic_user_file")?.arg(0))?;
    let realm = scope.constant(rule.arg(0))?;
    let lawful = |text: &str| !text.is_empty() && text.bytes().all(|b| (b' '..0x7f).contains(&b));
    // nginx takes it from the directory of its configuration, which is not ours.
    (file.starts_with('/') && lawful(&realm) && realm.trim() == realm).then_some((file, realm))
}

type Networks = Vec<String>;

/// `allow` and `deny` of which the first that fits decides, as lists of which `deny` wins. `None` where these are not the same: an
/// address that is let in by a line above the one that would keep it out.
fn addresses(rules: &[&Directive]) -> Option<(Networks, Networks)> {
    let mut allow: Vec<IpNet> = Vec::new();
    let mut deny: Vec<IpNet> = Vec::new();
    let mut others_allowed = true;
    for rule in rules {
        let allows = rule.name == "allow";
        if rule.arg(0) == "all" {
            others_allowed = allows;
            break;
        }
        let network = network(rule.arg(0))?;
        let meets = |other: &IpNet| other.contains(&network) || network.contains(other);
        if allows {
            allow.push(network);
        } else if allow.iter().any(meets) {
            return None;
        } else {
            deny.push(network);
        }
    }
    let texts = |networks: Vec<IpNet>| networks.iter().map(ToString::to_string).collect();
    match (others_allowed, allow.is_empty()) {
        (true, _) => Some((Vec::new(), texts(deny))),
        (false, false) => Some((texts(allow), texts(deny))),
        (false, true) => None,
    }
}

fn network(text: &str) -> Option<IpNet> {
    let network = text.parse().ok();
    network.or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

/// The methods of `limit_except`: all others are refused.
pub(super) fn excepted_methods(scope: &Scope<'_>) -> Option<Vec<String>> {
    let except = scope.here("limit_except")?;
    let inner = scope.within(except.inner());
    if guard(&inner, false).0.is_none() {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn directive(text: &str) -> Directive {
        let (name, arg) = text.trim().split_once(' ').expect("two words");
        Directive {
            id: 0,
            name: name.to_owned(),
            args: vec![arg.to_owned()],
            block: None,
            file: "nginx.conf".into(),
            line: 1,
        }
    }

    #[test]
    fn an_order_that_can_be_said_as_lists() {
        for (rules, expected) in [
            (
                "allow 10.0.0.0/8; deny all;",
                Some((vec!["10.0.0.0/8"], vec![])),
            ),
            (
                "deny 10.1.2.3; allow 10.0.0.0/8; deny all;",
                Some((vec!["10.0.0.0/8"], vec!["10.1.2.3/32"])),
            ),
            ("deny 10.1.2.3;", Some((vec![], vec!["10.1.2.3/32"]))),
            (
                "deny 10.1.2.3; allow all; deny 10.0.0.0/8;",
                Some((vec![], vec!["10.1.2.3/32"])),
            ),
            (
                "allow 192.0.2.1; deny 10.0.0.0/8;",
                Some((vec![], vec!["10.0.0.0/8"])),
            ),
            ("allow 10.1.2.3; deny 10.0.0.0/8;", None),
            ("allow 10.0.0.0/8; deny 10.1.2.3; deny all;", None),
            ("deny 10.0.0.0/8; deny all;", None),
            ("allow unix:; deny all;", None),
            (
                "allow 2001:db8::/32; deny all;",
                Some((vec!["2001:db8::/32"], vec![])),
            ),
        ] {
            let directives: Vec<Directive> = rules.split_terminator(';').map(directive).collect();
            let directives: Vec<&Directive> = directives.iter().collect();
            let texts = |list: Vec<&str>| list.into_iter().map(str::to_owned).collect::<Vec<_>>();
            let expected = expected.map(|(allow, deny)| (texts(allow), texts(deny)));
            assert_eq!(addresses(&directives), expected, "{rules}");
        }
    }
}
