//! `[server]`: the process, its name, and whom it trusts.

use ipnet::IpNet;

use super::reader::{Key, Section, key};
use super::value::At;
use super::{DAY, addresses, scalars};
use crate::config::source::Place;
use crate::config::{Surroundings, defaults, settings};
use crate::proxy::settings::ProxySettings;
use std::time::Duration;

pub(super) static KEYS: &[Key] = &[
    key("name"),
    key("threads"),
    key("shutdown_grace"),
    key("watch"),
    key("trusted_proxies"),
    key("forwarded"),
    key("via"),
    key("https"),
];

/// Both parts of `[server]`.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) process: settings::ServerSettings,
    pub(crate) proxy: ProxySettings,
    /// Where it says that plain HTTP is answered by redirects only.
    pub(crate) https: Option<Place>,
}

pub(super) fn read(section: Option<Section<'_>>, around: &Surroundings<'_>) -> Server {
    let mut server = defaults::server(around);
    let Some(section) = section else {
        return server;
    };
    server.https = section
        .get("https", |at| {
            let redirects = at.word(&[("redirect", true), ("off", false)])?;
            Some(redirects.then(|| at.place()))
        })
        .flatten();
    let Server { process, proxy, .. } = &mut server;
    process.threads = section.or("threads", process.threads, |at| at.whole(1..=1024));
    process.shutdown_grace = section.or("shutdown_grace", process.shutdown_grace, |at| {
        at.duration(Duration::ZERO..=DAY)
    });
    process.watch = section.or("watch", process.watch, At::boolean);
    if let Some(name) = section.get("name", |at| at.parse(scalars::token)) {
        proxy.name = name;
    }
    proxy.trusted_proxies = section
        .get("trusted_proxies", trusted_proxies)
        .unwrap_or_default();
    proxy.forwarded = section.or("forwarded", proxy.forwarded, At::boolean);
    proxy.via = section.or("via", proxy.via, At::boolean);
    server
}

fn trusted_proxies(at: At<'_>) -> Option<Vec<IpNet>> {
    networks(
        at,
        "every client can claim any address; list the proxies in front instead",
    )
}

/// A list of networks, each once, with this note where one of them is everybody.
pub(super) fn networks(at: At<'_>, everybody: &str) -> Option<Vec<IpNet>> {
    let networks = at.list_or_empty(|at| {
        let networks = at.parse(addresses::networks)?;
        if networks.iter().any(|network| network.prefix_len() == 0) {
            at.note(everybody);
        }
        if let ([network], Some((address, _))) = (&networks[..], at.text()?.split_once('/'))
            && network.network().to_string() != address
            && address.parse() != Ok(network.network())
        {
            let alone = network.max_prefix_len();
            at.note(format!(
                "this is the network {network}; write it so, or {address}/{alone} for the address alone"
            ));
        }
        Some(networks)
    })?;
    let mut unique: Vec<IpNet> = Vec::new();
    for network in networks.into_iter().flatten() {
        if !unique.contains(&network) {
            unique.push(network);
        }
    }
    Some(unique)
}
