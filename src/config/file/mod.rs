//! `proxy.toml` as it is written: one file per section, each with the list of its keys and their ranges.
//!
//! Meanings and defaults are at the fields of the rooms' `settings`; what a key costs is in the reference file
//! `proxy.toml`. What concerns several sections is left to `resolve`.

mod familiar;
mod reader;
mod value;

pub(super) mod addresses;
pub(super) mod scalars;

mod server;

mod listen;

mod limits;

mod admin;
mod log;
mod purge;

mod cache;

mod upstream;

mod route;
mod route_access;
mod route_action;
mod route_cache;
mod route_events;
mod route_rate;
mod route_write;

use std::time::Duration;

pub(super) use reader::{Key, Spotted};
pub(super) use route::Route;
pub(super) use route_action::Target;
pub(super) use route_rate::RateRef;
pub(super) use server::Server;

use super::Surroundings;
use super::error::Report;
use super::source::Place;
use super::tree::{Entry, Kind, Table};
use crate::admin::settings::AdminSettings;
use crate::cache::settings::CacheSettings;
use crate::listen::settings::{LimitSettings, ListenSettings};
use crate::rate::settings::RateLimitSettings;
use crate::telemetry::settings::LogSettings;
use crate::upstream::settings::UpstreamSettings;
use reader::{Section, Title, key, table};

/// Every key of `proxy.toml`.
pub(super) static KEYS: &[Key] = &[
    key("include"),
    table("server", server::KEYS),
    table("listen", listen::KEYS),
    table("limits", limits::KEYS),
    table("admin", admin::KEYS),
    table("purge", purge::KEYS),
    table("log", log::KEYS),
    table("cache", cache::KEYS),
    table("upstream", upstream::KEYS),
    table("rate_limit", route_rate::KEYS),
    table("route", route::KEYS),
];

/// A whole configuration, each section read by itself.
#[derive(Debug)]
pub(super) struct File {
    /// Its beginning.
    pub(super) place: Place,
    pub(super) server: Server,
    pub(super) listen: Vec<Spotted<ListenSettings>>,
    pub(super) limits: LimitSettings,
    pub(super) admin: Spotted<AdminSettings>,
    pub(super) log: LogSettings,
    pub(super) cache: CacheSettings,
    pub(super) upstreams: Vec<Spotted<UpstreamSettings>>,
    pub(super) rate_limits: Vec<Spotted<RateLimitSettings>>,
    pub(super) routes: Vec<Route>,
}

/// Reads every section.
pub(super) fn read(root: &Table, around: &Surroundings<'_>, report: &Report) -> File {
    let start = Place {
        source: 0,
        start: 0,
        end: 0,
    };
    let top = Section::new(Title::Top, root, start, KEYS, report);
    let section = |name, title, keys| top.get(name, |at| at.titled(Title::Section(title), keys));
    let mut server = server::read(section("server", "[server]", server::KEYS), around);
    server.proxy.purge = purge::read(section("purge", "[purge]", purge::KEYS));
    File {
        place: start,
        server,
        listen: top
            .get("listen", |at| {
                at.sections("addr = \"0.0.0.0:8080\"", listen::read)
            })
            .unwrap_or_default(),
        limits: limits::read(section("limits", "[limits]", limits::KEYS)),
        admin: admin::read(section("admin", "[admin]", admin::KEYS), start),
        log: log::read(section("log", "[log]", log::KEYS)),
        cache: cache::read(section("cache", "[cache]", cache::KEYS)),
        upstreams: top.get("upstream", upstream::read_all).unwrap_or_default(),
        rate_limits: top
            .get("rate_limit", route_rate::read_all)
            .unwrap_or_default(),
        routes: top
            .get("route", |at| {
                at.sections("to = \"http://app:5000\"", route::read)
            })
            .unwrap_or_default(),
    }
}

/// `[admin]` by itself, whatever the other sections are like. `None` where it is not as it was meant.
pub(super) fn read_admin(root: &Table, report: &Report) -> Option<AdminSettings> {
    let Some(entry) = root.get("admin") else {
        return Some(AdminSettings::default());
    };
    let Kind::Table(table) = &entry.value.kind else {
        return None;
    };
    let faulty = |entry: &Entry| matches!(entry.value.kind, Kind::Faulty);
    if table.0.iter().any(faulty) {
        return None;
    }
    let (title, place) = (Title::Section("[admin]"), entry.value.place);
    let section = Section::new(title, table, place, admin::KEYS, report);
    Some(admin::read(Some(section), place).value)
}

/// The shortest deadline that makes sense.
const MILLISECOND: Duration = Duration::from_millis(1);
/// The longest: beyond it a typing error is likelier than a wish.
const DAY: Duration = Duration::from_secs(86_400);
