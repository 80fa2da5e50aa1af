//! What an operator may decide about every proxied request: our name, whom to trust, which fields to add.

use ipnet::IpNet;

/// The part of `[server]` that the walk of a request needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxySettings {
    /// Our name in `Via` and `CDN-Loop`; unique per instance. Default: the host name.
    pub name: String,
    /// Peers whose `X-Forwarded-*`, `Forwarded` and `X-Request-Id` are believed. Default: none.
    pub trusted_proxies: Vec<IpNet>,
    /// Whether the `Forwarded` field (RFC 7239) is sent to upstreams besides `X-Forwarded-*`. Default false.
    pub forwarded: bool,
    /// Whether `Via` is added to responses too. Default true.
    pub via: bool,
}
