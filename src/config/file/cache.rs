//! `[cache]`: how much is kept.

use super::reader::{Key, Section, key};
use crate::config::defaults;
use crate::units::ByteSize;

pub(super) static KEYS: &[Key] = &[key("memory")];

pub(super) fn read(section: Option<Section<'_>>) -> ByteSize {
    let memory = section.and_then(|section| {
        section.get("memory", |at| {
            at.size(ByteSize::mib(1)..=ByteSize::new(1 << 50))
        })
    });
    memory.unwrap_or(defaults::CACHE_MEMORY)
}
