//! The effective settings of the whole program, as `resolve` makes them from `proxy.toml`.

use crate::access::settings::AccessSettings;
use crate::admin::settings::AdminSettings;
use crate::cache::settings::{CacheSettings, Rules};
use crate::listen::settings::{LimitSettings, ListenSettings};
use crate::proxy::settings::ProxySettings;
use crate::rate::settings::RateLimitSettings;
use crate::routing::settings::RouteSettings;
use crate::telemetry::settings::LogSettings;
use crate::upstream::settings::UpstreamSettings;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Everything the program runs on. Complete and checked: no name in it is dangling.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// `[server]`, the process's part.
    pub server: ServerSettings,
    /// `[server]`, the part that each request needs.
    pub proxy: ProxySettings,
    /// `[[listen]]`; default one plain listener on 0.0.0.0:8080.
    pub listen: Vec<ListenSettings>,
    /// `[limits]`.
    pub limits: LimitSettings,
    /// `[admin]`.
    pub admin: AdminSettings,
    /// `[log]`.
    pub log: LogSettings,
    /// `[cache]`.
    pub cache: CacheSettings,
    /// Named upstreams and those that routes declare inline, each once, in order of appearance.
    pub upstreams: Vec<UpstreamSettings>,
    /// Named rate limits and those that routes have of their own, each once, in order of appearance.
    pub rate_limits: Vec<RateLimitSettings>,
    /// `[[route]]` in the order of the file; `routing::Table` orders them by how specific they are.
    pub routes: Vec<RouteSettings>,
    /// What the cache may do on each route, in the order of `routes`: `rules[route.index]`. Off where nothing is forwarded.
    pub rules: Vec<Arc<Rules>>,
    /// Who may use each route, in the same order.
    pub access: Vec<AccessSettings>,
}

/// The process's part of `[server]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerSettings {
    /// Accept loops, each a thread. Default: one per core.
    pub threads: usize,
    /// How long a drain may take, in all. Default 8 s, inside Docker's 10 s.
    pub shutdown_grace: Duration,
    /// Whether `proxy.toml` and what it includes are watched and reloaded on change. Default false.
    pub watch: bool,
    /// The files these settings came from, for `watch`.
    pub sources: Vec<PathBuf>,
}
