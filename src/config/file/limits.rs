//! `[limits]`: what one client may take.

use super::reader::{Key, Section, key};
use super::{DAY, MILLISECOND};
use crate::listen::settings::LimitSettings;
use crate::units::ByteSize;

pub(super) static KEYS: &[Key] = &[
    key("head"),
    key("head_fields"),
    key("head_timeout"),
    key("handshake_timeout"),
    key("idle_timeout"),
    key("body_timeout"),
    key("body_rate"),
    key("write_timeout"),
    key("write_rate"),
    key("body"),
    key("connections"),
    key("connections_per_client"),
    key("http2_streams"),
    key("http2_faults"),
];

pub(super) fn read(section: Option<Section<'_>>) -> LimitSettings {
    let default = LimitSettings::default();
    let Some(section) = section else {
        return default;
    };
    let deadline = |key, default| section.or(key, default, |at| at.duration(MILLISECOND..=DAY));
    let rate = |key, default| {
        section.or(key, default, |at| {
            at.size(ByteSize::new(0)..=ByteSize::mib(1))
        })
    };
    LimitSettings {
        head: section.or("head", default.head, |at| {
            at.size(ByteSize::kib(1)..=ByteSize::mib(1))
        }),
        head_fields: section.or("head_fields", default.head_fields, |at| {
            at.whole(1..=10_000)
        }),
        head_timeout: deadline("head_timeout", default.head_timeout),
        handshake_timeout: deadline("handshake_timeout", default.handshake_timeout),
        idle_timeout: deadline("idle_timeout", default.idle_timeout),
        body_timeout: deadline("body_timeout", default.body_timeout),
        body_rate: rate("body_rate", default.body_rate),
        write_timeout: deadline("write_timeout", default.write_timeout),
        write_rate: rate("write_rate", default.write_rate),
        body: section.or("body", default.body, |at| {
            at.size(ByteSize::new(0)..=ByteSize::new(1 << 60))
        }),
        connections: section.or("connections", default.connections, |at| {
            at.whole(1..=10_000_000)
        }),
        connections_per_client: section.or(
            "connections_per_client",
            default.connections_per_client,
            |at| at.whole(0..=10_000_000),
        ),
        uncounted: default.uncounted,
        http2_streams: section.or("http2_streams", default.http2_streams, |at| {
            at.whole(1..=100_000)
        }),
        http2_faults: section.or("http2_faults", default.http2_faults, |at| {
            at.whole(1..=1_000_000)
        }),
    }
}
