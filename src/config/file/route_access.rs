//! `allow`, `deny`, `auth` and `security_headers` of a `[[route]]`: who may use it.

use ipnet::IpNet;

use super::reader::{Key, Section, key, table};
use super::route_action::Target;
use super::scalars::{Fault, expected};
use super::value::At;
use super::{DAY, MILLISECOND, addresses, scalars, server};
use crate::access::settings::{
    AccessSettings, AuthSettings, BasicSettings, CacheBy, CertificateSettings, Demand,
    ForwardSettings, PassCertificate, SecurityHeaders,
};
use crate::config::tree::Kind;

pub(super) static AUTH_KEYS: &[Key] = &[
    key("basic"),
    key("realm"),
    key("forward"),
    key("copy"),
    key("send"),
    key("cache"),
    key("cache_by"),
    key("timeout"),
    key("certificate"),
    key("pass"),
];

/// The keys of a route that are read here.
pub(super) const ALLOW: Key = key("allow");
pub(super) const DENY: Key = key("deny");
pub(super) const AUTH: Key = table("auth", AUTH_KEYS);
pub(super) const SECURITY_HEADERS: Key = key("security_headers");

/// What can be asked for, and the keys that each knows.
const KINDS: [(&str, &[&str]); 3] = [
    ("basic", &["basic", "realm", "pass"]),
    (
        "forward",
        &["forward", "copy", "send", "cache", "cache_by", "timeout"],
    ),
    ("certificate", &["certificate", "pass"]),
];

/// A service that is asked, before it is known whether its name is an upstream's.
#[derive(Debug)]
pub(crate) struct Service {
    /// The URL without its path, as an upstream.
    pub(crate) target: Target,
    /// The host in it, where that may be an upstream's name.
    pub(crate) name: Option<String>,
}

/// What a route says of who may use it.
pub(super) fn read(section: &Section<'_>) -> (AccessSettings, Option<Service>) {
    let auth = section.get("auth", auth);
    let (auth, service) = auth.unzip();
    let settings = AccessSettings {
        allow: section
            .get("allow", |at| {
                networks(at, "everybody is allowed; leave `allow` out")
            })
            .unwrap_or_default(),
        deny: section
            .get("deny", |at| {
                networks(
                    at,
                    "everybody is denied; a route with `respond` says so plainly",
                )
            })
            .unwrap_or_default(),
        auth,
        security_headers: section.or("security_headers", SecurityHeaders::Off, security_headers),
    };
    (settings, service.flatten())
}

/// At least one network: an empty list would mean everybody in `allow`, and nobody in `deny`.
fn networks(at: At<'_>, everybody: &str) -> Option<Vec<IpNet>> {
    let networks = server::networks(at, everybody)?;
    let is_empty = matches!(at.kind(), Kind::List(values) if values.is_empty());
    if is_empty {
        return at.fail("expected at least one element, found `[]`; leave the key out");
    }
    Some(networks)
}

fn security_headers(at: At<'_>) -> Option<SecurityHeaders> {
    match at.kind() {
        Kind::Boolean(false) => Some(SecurityHeaders::Off),
        Kind::Boolean(true) => Some(SecurityHeaders::Basic),
        _ => at.word(&[
            ("basic", SecurityHeaders::Basic),
            ("strict", SecurityHeaders::Strict),
        ]),
    }
}

fn auth(at: At<'_>) -> Option<(AuthSettings, Option<Service>)> {
    let section = at.section(AUTH_KEYS)?;
    let kinds = KINDS.iter().filter(|(kind, _)| section.at(kind).is_some());
    let kinds: Vec<_> = kinds.collect();
    let [(kind, keys)] = kinds.as_slice() else {
        return at.fail(match kinds.as_slice() {
            [] => "`auth` asks for nothing; it needs one of \"basic\", \"forward\" and \"certificate\"",
            _ => "`auth` asks for one thing: \"basic\", \"forward\" or \"certificate\"",
        });
    };
    for other in AUTH_KEYS.iter().filter(|key| !keys.contains(&key.name)) {
        section.idle_if(true, other.name, &format!("beside `{kind}`"));
    }
    match *kind {
        "basic" => Some((AuthSettings::Basic(basic(&section)?), None)),
        "forward" => {
            let (forward, service) = forward(&section)?;
            Some((AuthSettings::Forward(forward), Some(service)))
        }
        _ => Some((AuthSettings::Certificate(certificate(&section)?), None)),
    }
}

fn basic(section: &Section<'_>) -> Option<BasicSettings> {
    let realm = section.get("realm", |at| at.parse(scalars::header_value).and(at.text()));
    Some(BasicSettings {
        file: section.get("basic", At::path)?,
        realm: realm.unwrap_or("Restricted").to_owned(),
        pass: section.or("pass", false, At::boolean),
    })
}

fn forward(section: &Section<'_>) -> Option<(ForwardSettings, Service)> {
    let url = section.get("forward", |at| {
        let (base, target) = at.parse(service_url)?;
        let server = at.parse(|_| addresses::server_url(base))?;
        let authority = base
            .split_once("://")
            .map_or("", |(_, authority)| authority);
        let target_of = Target {
            name: base.to_owned(),
            place: at.place(),
            server: Some(server),
        };
        let name = (!authority.contains([':', '['])).then(|| authority.to_owned());
        Some((
            target,
            authority.to_owned(),
            Service {
                target: target_of,
                name,
            },
        ))
    });
    let names = |key| {
        section.get(key, |at| {
            at.list_or_empty(|at| at.parse(scalars::editable_header))
        })
    };
    let copy = names("copy").unwrap_or_default();
    if let Some(at) = section.at("copy")
        && copy.contains(&http::header::HOST)
    {
        at.fail::<()>("`Host` is not the service's to set");
    }
    let send = names("send");
    let cache = section.get("cache", |at| at.duration(MILLISECOND..=DAY));
    if let Some(at) = section.at("cache")
        && send.is_none()
    {
        at.bad_key::<()>(
            "\"cache\" needs `send`, the fields that the answer depends on, such as [\"Cookie\", \"Authorization\"]: the \
             service is told no others, and a yes is for who would tell it the same",
        );
    }
    section.idle_if(cache.is_none(), "cache_by", "without `cache`");
    let cache_by = section.or("cache_by", CacheBy::Url, |at| {
        at.word(&[("url", CacheBy::Url), ("session", CacheBy::Session)])
    });
    let timeout = section.or("timeout", ForwardSettings::TIMEOUT, |at| {
        at.duration(MILLISECOND..=DAY)
    });
    let (target, authority, service) = url?;
    let settings = ForwardSettings {
        upstream: service.target.name.clone(),
        target,
        host: Some(authority),
        copy,
        send,
        cache,
        cache_by,
        timeout,
    };
    Some((settings, service))
}

/// `http://auth:9000/verify?x=y`: what an upstream is made of, and what it is asked for.
fn service_url(text: &str) -> Result<(&str, String), Fault> {
    const WHAT: &str = "a URL such as \"http://auth:9000/verify\"";
    let Some((scheme, rest)) = text.split_once("://") else {
        return expected(WHAT, text);
    };
    let length = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (base, target) = text.split_at(scheme.len() + 3 + length);
    let target = if target.is_empty() { "/" } else { target };
    Ok((base, scalars::target(target)?))
}

fn certificate(section: &Section<'_>) -> Option<CertificateSettings> {
    let demand = section.get("certificate", |at| match at.kind() {
        Kind::Boolean(true) => Some(Demand::Any),
        Kind::Boolean(false) => {
            at.fail("expected true, \"optional\" or a list of names; leave `auth` out for none")
        }
        Kind::List(_) => at.list(|at| at.parse(certificate_name)).map(Demand::OneOf),
        _ => at.word(&[("optional", Demand::Optional)]),
    });
    let pass = section.or("pass", PassCertificate::No, |at| match at.kind() {
        Kind::Boolean(true) => Some(PassCertificate::Leaf),
        Kind::Boolean(false) => Some(PassCertificate::No),
        _ => at.word(&[("chain", PassCertificate::Chain)]),
    });
    Some(CertificateSettings {
        demand: demand?,
        pass,
    })
}

/// A name in a certificate, or `sha256:` and a fingerprint, with or without colons.
fn certificate_name(text: &str) -> Result<String, Fault> {
    let Some(digits) = text.strip_prefix("sha256:") else {
        return match text {
            "" => expected("a name in the certificate", text),
            name => Ok(name.to_owned()),
        };
    };
    let digits: String = digits.chars().filter(|c| *c != ':').collect();
    if digits.len() == 64 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Ok(format!("sha256:{}", digits.to_ascii_lowercase()));
    }
    expected("`sha256:` and 64 hexadecimal digits", text)
}
