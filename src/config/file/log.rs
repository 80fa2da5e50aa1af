//! `[log]`: the access log and the program's own.

use super::reader::{Key, Section, key};
use super::scalars;
use crate::telemetry::settings::{AccessLogFormat, LogSettings};

pub(super) static KEYS: &[Key] = &[key("access"), key("format"), key("level")];

pub(super) fn read(section: Option<Section<'_>>) -> LogSettings {
    let default = LogSettings::default();
    let Some(section) = section else {
        return default;
    };
    LogSettings {
        access: section.or("access", default.access, |at| at.parse(scalars::access_log)),
        format: section.or("format", default.format, |at| {
            at.word(&[
                ("json", AccessLogFormat::Json),
                ("combined", AccessLogFormat::Combined),
            ])
        }),
        level: section.or("level", default.level, |at| at.parse(scalars::log_level)),
    }
}
