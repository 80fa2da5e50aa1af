//! What holds when `proxy.toml` is silent, as far as the rooms' `settings` do not say it themselves.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::Surroundings;
use super::file::Server;
use super::file::scalars::is_token_byte;
use super::settings::{ServerSettings, Settings};
use crate::admin::settings::AdminSettings;
use crate::cache::settings::CacheSettings;
use crate::listen::settings::{LimitSettings, ListenSettings};
use crate::proxy::settings::{ProxySettings, PurgeSettings};
use crate::telemetry::settings::LogSettings;

/// `[server]`.
pub(super) fn server(around: &Surroundings<'_>) -> Server {
    Server {
        process: ServerSettings {
            threads: around.cores,
            shutdown_grace: Duration::from_secs(8),
            watch: false,
            sources: Vec::new(),
        },
        proxy: ProxySettings {
            name: around.host_name.clone(),
            trusted_proxies: Vec::new(),
            forwarded: false,
            via: true,
            purge: PurgeSettings::default(),
        },
        https: None,
    }
}

/// `[[listen]]`.
pub(super) fn listen() -> Vec<ListenSettings> {
    let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 8080));
    vec![ListenSettings::new(address)]
}

/// The settings of an empty file.
pub(super) fn settings(around: &Surroundings<'_>) -> Settings {
    let server = server(around);
    Settings {
        server: server.process,
        proxy: server.proxy,
        listen: listen(),
        limits: LimitSettings::default(),
        admin: AdminSettings::default(),
        log: LogSettings::default(),
        cache: CacheSettings::default(),
        upstreams: Vec::new(),
        rate_limits: Vec::new(),
        routes: Vec::new(),
        rules: Vec::new(),
        access: Vec::new(),
    }
}

/// The machine's name as a token for `Via`, or "forebay".
pub(super) fn host_name() -> String {
    let files = ["/proc/sys/kernel/hostname", "/etc/hostname"];
    let name = files
        .iter()
        .find_map(|file| fs::read_to_string(file).ok())
        .unwrap_or_default();
    let is_lawful = |c: char| u8::try_from(c).is_ok_and(is_token_byte);
    let name: String = name
        .trim()
        .chars()
        .map(|c| if is_lawful(c) { c } else { '-' })
        .collect();
    if name.is_empty() {
        "forebay".to_owned()
    } else {
        name
    }
}

/// How many threads can run at once; containers' CPU quotas count.
pub(super) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
