//! Who may use a route, written back.

use super::writer::{Writer, duration, inline, list, quoted, quoted_path};
use crate::access::settings::{
    AccessSettings, AuthSettings, CacheBy, Demand, ForwardSettings, PassCertificate,
};
use http::HeaderName;
use ipnet::IpNet;

pub(super) fn write(out: &mut Writer, access: &AccessSettings) {
    let networks = |networks: &[IpNet]| {
        let networks = networks.iter().map(|network| quoted(&network.to_string()));
        let networks: Vec<String> = networks.collect();
        (!networks.is_empty()).then(|| list(networks))
    };
    out.set_or_none("allow", networks(&access.allow));
    out.set_or_none("deny", networks(&access.deny));
    out.set_or_none("auth", access.auth.as_ref().map(auth));
    let set = access.security_headers.word();
    out.set(
        "security_headers",
        set.map_or_else(|| "false".to_owned(), quoted),
    );
}

fn auth(auth: &AuthSettings) -> String {
    match auth {
        AuthSettings::Basic(basic) => inline([
            ("basic", quoted_path(&basic.file)),
            ("realm", quoted(&basic.realm)),
            ("pass", basic.pass.to_string()),
        ]),
        AuthSettings::Forward(settings) => forward(settings),
        AuthSettings::Certificate(certificate) => {
            let demand = match &certificate.demand {
                Demand::Any => "true".to_owned(),
                Demand::Optional => quoted("optional"),
                Demand::OneOf(names) => list(names.iter().map(|name| quoted(name))),
            };
            let pass = match certificate.pass {
                PassCertificate::No => "false".to_owned(),
                PassCertificate::Leaf => "true".to_owned(),
                PassCertificate::Chain => quoted("chain"),
            };
            inline([("certificate", demand), ("pass", pass)])
        }
    }
}

fn forward(forward: &ForwardSettings) -> String {
    let names = |names: &[HeaderName]| list(names.iter().map(|name| quoted(name.as_str())));
    // An upstream that a URL has made is called by it.
    let base = match &forward.host {
        Some(_) => forward.upstream.clone(),
        None => format!("http://{}", forward.upstream),
    };
    let mut entries = vec![
        ("forward", quoted(&(base + &forward.target))),
        ("copy", names(&forward.copy)),
        ("timeout", duration(forward.timeout)),
    ];
    entries.extend(forward.send.as_deref().map(|send| ("send", names(send))));
    if let Some(cache) = forward.cache {
        let by = match forward.cache_by {
            CacheBy::Url => "url",
            CacheBy::Session => "session",
        };
        entries.push(("cache", duration(cache)));
        entries.push(("cache_by", quoted(by)));
    }
    inline(entries)
}
