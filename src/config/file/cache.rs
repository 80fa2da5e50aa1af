//! `[cache]`: how much is kept.

use super::reader::{Key, Section, key};
use crate::cache::settings::CacheSettings;
use crate::units::ByteSize;

pub(super) static KEYS: &[Key] = &[
    key("memory"),
    key("object"),
    key("in_flight"),
    key("variants"),
    key("abandoned"),
];

/// More than any machine has.
const MOST: ByteSize = ByteSize::new(1 << 50);

pub(super) fn read(section: Option<Section<'_>>) -> CacheSettings {
    let Some(section) = section else {
        return CacheSettings::default();
    };
    let memory = section.get("memory", |at| at.size(ByteSize::mib(1)..=MOST));
    let default = memory.map_or_else(CacheSettings::default, CacheSettings::within);
    let cache = CacheSettings {
        object: section.or("object", default.object, |at| {
            at.size(ByteSize::kib(1)..=MOST)
        }),
        in_flight: section.or("in_flight", default.in_flight, |at| {
            at.size(ByteSize::kib(64)..=MOST)
        }),
        variants: section.or("variants", default.variants, |at| at.whole(1..=1_024)),
        abandoned: section.or("abandoned", default.abandoned, |at| at.whole(0..=10_000)),
        ..default
    };
    judge(&section, &cache);
    cache
}

/// The parts fit into the whole.
fn judge(section: &Section<'_>, cache: &CacheSettings) {
    let CacheSettings {
        memory,
        object,
        in_flight,
        ..
    } = *cache;
    let most = CacheSettings::object_max(memory);
    if let Some(at) = section.at("object")
        && object > most
    {
        let needed = object.bytes().saturating_mul(CacheSettings::OBJECT_SHARE);
        at.fail::<()>(format_args!(
            "`{object}` is more than an eighth of `memory`, so that a few would push out all others; write at most \
             \"{most}\", or memory = \"{}\"",
            ByteSize::new(needed)
        ));
    }
    if let Some(at) = section.at("in_flight") {
        if in_flight > memory {
            at.fail::<()>(format_args!(
                "`{in_flight}` is more than `memory`, which is \"{memory}\""
            ));
        } else if in_flight < object {
            at.note(format_args!(
                "a response above `{in_flight}` cannot be kept on its way, so it is not stored, though `object` allows \
                 \"{object}\""
            ));
        }
    }
}
