//! Access control: what of it can be kept, and that nothing is opened where it cannot.

use super::document::{inline, list, text};
use super::note::Kind;
use super::scope::Scope;
use super::tree::Directive;
use ipnet::IpNet;
use std::net::IpAddr;
use toml_edit::{Table, Value};

/// What guards a place from everybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Guard {
    /// Clients are told that there is nothing.
    NotFound,
    /// Clients are refused.
    Forbidden,
}

/// Who may use a route.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Access {
    pub(super) allow: Vec<String>,
    pub(super) deny: Vec<String>,
    /// A password file and what browsers show.
    pub(super) basic: Option<(String, String)>,
    pub(super) ask: Option<Ask>,
}

/// A service that is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ask {
    pub(super) url: String,
    /// Fields of its answer that the application is told.
    pub(super) copy: Vec<String>,
}

impl Access {
    /// The keys of a route.
    pub(super) fn write(&self, table: &mut Table) {
        for (key, networks) in [("allow", &self.allow), ("deny", &self.deny)] {
            if !networks.is_empty() {
                table.insert(key, list(networks).into());
            }
        }
        if let Some((file, realm)) = &self.basic {
            let auth = inline([
                ("basic", text(file)),
                ("realm", text(realm)),
                ("pass", Value::from(true)),
            ]);
            table.insert("auth", auth.into());
        }
        if let Some(Ask { url, copy }) = &self.ask {
            let copy = (!copy.is_empty()).then(|| ("copy", list(copy)));
            let auth = inline([("forward", text(url))].into_iter().chain(copy));
            table.insert("auth", auth.into());
        }
    }
}

/// Directives that let in some clients only, by something that Forebay does not know.
const BY_WHOM: [(&str, &str); 6] = [
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
/// a refusal would do. `service` is whom an `auth_request` asks.
pub(super) fn guard(
    scope: &Scope<'_>,
    carries: bool,
    service: impl FnOnce(&Directive) -> Result<Ask, String>,
) -> (Option<Guard>, Access) {
    let mut access = Access::default();
    let asked = asked(scope, carries.then_some(&mut access), service);
    let guard = judged(scope, carries.then_some(&mut access));
    (guard.or(asked), access)
}

/// Has a service asked, or keeps all away.
fn asked(
    scope: &Scope<'_>,
    access: Option<&mut Access>,
    service: impl FnOnce(&Directive) -> Result<Ask, String>,
) -> Option<Guard> {
    let rule = scope.one("auth_request").filter(|it| it.arg(0) != "off")?;
    let service = service(rule);
    if let (Some(access), Ok(ask)) = (access, &service) {
        scope.differs(
            rule,
            "what is no 2xx goes to the client as the service says it; nginx makes 500 of all but 401 and 403, and shows pages of its own",
        );
        access.ask = Some(ask.clone());
        return None;
    }
    let why = service.err();
    let why = why.as_deref().unwrap_or("it cannot be said here just so");
    scope.notes.say(
        Kind::Access,
        rule,
        format!(
            "{why}: write `to` and auth = {{ forward = \"http://…\", copy = […] }} (docs/access.md)"
        ),
    );
    Some(Guard::Forbidden)
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
    // Here all that is said of a route has to hold. Of two things of which one is enough the password is asked of all.
    let any = scope.one("satisfy").filter(|it| it.arg(0) == "any");
    let either = any.filter(|_| asks.is_some() && !rules.is_empty());
    let has_password = asks.is_some_and(|rule| password(scope, rule).is_some());
    if let Some(rule) = asks {
        let basic = password(scope, rule);
        if let (Some(access), Some(basic)) = (&mut access, basic) {
            scope.differs(
                rule,
                "the file must have no plain text, no {SHA} and no crypt(3) passwords; `forebay check` says on which line one is",
            );
            access.basic = Some(basic);
        } else if either.is_none() || access.is_none() {
            let why = "what it asks for cannot be said just so: write `to` and auth = { basic = \"…\" } (docs/access.md)";
            scope.notes.say(Kind::Access, rule, why);
            guard = guard.or(Some(Guard::Forbidden));
        }
    }
    if let Some(either) = either {
        let why = if has_password {
            "whatever their address, all are asked for the password here; for those who need none write a route of their own, such as one on another host"
        } else {
            "the password cannot be asked for just so, and the addresses alone let in here"
        };
        scope.notes.say(Kind::Access, either, why);
        if has_password {
            return guard;
        }
    }
    match addresses(&rules) {
        Some(Addresses::Everybody) => {}
        Some(Addresses::Nobody) => guard = guard.or(Some(Guard::Forbidden)),
        Some(Addresses::Some { allow, deny }) if access.is_some() => {
            if let Some(access) = access {
                (access.allow, access.deny) = (allow, deny);
            }
        }
        Some(Addresses::Some { .. }) | None => {
            for rule in rules {
                scope.notes.say(
                    Kind::Access,
                    rule,
                    "it cannot be said here just so; write `to`, `allow` and `deny` (docs/access.md)",
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

/// Whom `allow` and `deny` let in, by lists of which `deny` wins.
#[derive(Debug, PartialEq, Eq)]
enum Addresses {
    Everybody,
    Nobody,
    Some {
        allow: Vec<String>,
        deny: Vec<String>,
    },
}

/// More networks than this are nobody's wish.
const NETWORKS_MAX: usize = 1_000;

/// `allow` and `deny` of which the first that fits decides, as lists of which `deny` wins. `None` where they cannot be read.
fn addresses(rules: &[&Directive]) -> Option<Addresses> {
    let mut allow: Vec<IpNet> = Vec::new();
    let mut deny: Vec<IpNet> = Vec::new();
    let mut decided: Vec<IpNet> = Vec::new();
    let mut others_allowed = true;
    for rule in rules {
        let allows = rule.name == "allow";
        if rule.arg(0) == "all" {
            others_allowed = allows;
            break;
        }
        // Nobody comes by a unix socket.
        if rule.arg(0) == "unix:" {
            continue;
        }
        let network = network(rule.arg(0))?;
        let mut left = vec![network];
        for before in &decided {
            left = left
                .into_iter()
                .flat_map(|one| without(one, *before))
                .collect();
            if left.len() > NETWORKS_MAX {
                return None;
            }
        }
        decided.push(network);
        // Here `deny` wins: what an `allow` above let in is not among it, and what a `deny` above kept out stays out.
        if allows {
            allow.push(network);
        } else {
            deny.extend(left);
        }
    }
    let texts = |networks: &Vec<IpNet>| {
        let networks = IpNet::aggregate(networks);
        networks.iter().map(ToString::to_string).collect()
    };
    if others_allowed {
        allow.clear();
    } else {
        let meets = |a: &IpNet, b: &IpNet| a.contains(b) || b.contains(a);
        deny.retain(|network| allow.iter().any(|other| meets(network, other)));
    }
    let (allow, deny): (Vec<String>, Vec<String>) = (texts(&allow), texts(&deny));
    Some(match (others_allowed, allow.is_empty(), deny.is_empty()) {
        (true, _, true) => Addresses::Everybody,
        (false, true, _) => Addresses::Nobody,
        _ => Addresses::Some { allow, deny },
    })
}

/// What of a network is not in another one.
fn without(network: IpNet, other: IpNet) -> Vec<IpNet> {
    if other.contains(&network) {
        return Vec::new();
    }
    if !network.contains(&other) {
        return vec![network];
    }
    let halves = network.prefix_len().checked_add(1);
    let halves = halves.and_then(|length| network.subnets(length).ok());
    let halves = halves.into_iter().flatten();
    halves.flat_map(|half| without(half, other)).collect()
}

fn network(text: &str) -> Option<IpNet> {
    let network = text.parse::<IpNet>().ok();
    let network = network.or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
    network.map(|network| network.trunc())
}

/// The methods of `limit_except`: all others are refused.
pub(super) fn excepted_methods(scope: &Scope<'_>) -> Option<Vec<String>> {
    let except = scope.here("limit_except")?;
    let inner = scope.within(except.inner());
    let nobody = |_: &Directive| Err("it cannot be said for some methods".to_owned());
    if guard(&inner, false, nobody).0.is_none() {
        scope.missing(
            except,
            "write a route with `method` for what differs by method",
        );
        return None;
    }
    // Of methods that cannot be written none is let in.
    let methods = except.args.iter().map(|method| method.to_ascii_uppercase());
    let is_method =
        |text: &String| !text.is_empty() && text.bytes().all(|b| b.is_ascii_uppercase());
    Some(methods.filter(is_method).collect())
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
    fn the_first_line_that_fits_decides() {
        const ALL: &[&str] = &[];
        for (rules, expected) in [
            ("", Some(Ok(None))),
            ("allow all;", Some(Ok(None))),
            ("deny all;", Some(Err(()))),
            (
                "allow 10.0.0.0/8; deny all;",
                Some(Ok(Some((&["10.0.0.0/8"][..], ALL)))),
            ),
            (
                "deny 10.128.0.0/9; allow 10.0.0.0/8; deny all;",
                Some(Ok(Some((&["10.0.0.0/8"], &["10.128.0.0/9"])))),
            ),
            ("deny 10.1.2.3;", Some(Ok(Some((ALL, &["10.1.2.3/32"]))))),
            (
                "deny 10.1.2.3; allow all; deny 10.0.0.0/8;",
                Some(Ok(Some((ALL, &["10.1.2.3/32"])))),
            ),
            (
                "allow 192.0.2.1; deny 10.0.0.0/8;",
                Some(Ok(Some((ALL, &["10.0.0.0/8"])))),
            ),
            (
                "allow 10.0.0.0/30; deny 10.0.0.0/29;",
                Some(Ok(Some((ALL, &["10.0.0.4/30"])))),
            ),
            (
                "allow 10.0.0.0/8; deny 10.1.2.3; deny all;",
                Some(Ok(Some((&["10.0.0.0/8"], ALL)))),
            ),
            ("deny 10.0.0.0/8; deny all;", Some(Err(()))),
            ("allow unix:; deny all;", Some(Err(()))),
            (
                "allow 2001:db8::/32; deny all;",
                Some(Ok(Some((&["2001:db8::/32"], ALL)))),
            ),
            ("allow elsewhere; deny all;", None),
        ] {
            let directives: Vec<Directive> = rules.split_terminator(';').map(directive).collect();
            let directives: Vec<&Directive> = directives.iter().collect();
            let texts = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
            let expected = expected.map(|it| match it {
                Ok(None) => Addresses::Everybody,
                Ok(Some((allow, deny))) => Addresses::Some {
                    allow: texts(allow),
                    deny: texts(deny),
                },
                Err(()) => Addresses::Nobody,
            });
            assert_eq!(addresses(&directives), expected, "{rules}");
        }
    }
}
