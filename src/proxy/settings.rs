//! What an operator may decide about every proxied request: our name, whom to trust, which fields to add, who may purge.

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
    /// Who may purge by the `PURGE` method.
    pub purge: PurgeSettings,
}

/// `[purge]`: either suffices. Without both the method is off.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct PurgeSettings {
    /// Clients that may, by their address; what a trusted proxy says of it counts. Default: none.
    pub allow: Vec<IpNet>,
    /// What others show. Default: none.
    pub token: Option<String>,
}

impl PurgeSettings {
    /// Whether anybody may.
    pub fn is_on(&self) -> bool {
        !self.allow.is_empty() || self.token.is_some()
    }
}

impl std::fmt::Debug for PurgeSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PurgeSettings")
            .field("allow", &self.allow)
            .field("token", &self.token.as_ref().map(|_| "…"))
            .finish()
    }
}
