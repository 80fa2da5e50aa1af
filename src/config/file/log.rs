//! `[log]`: the access log and the program's own.

use super::reader::{At, Key, Section, key};
use super::scalars;
use crate::telemetry::settings::{AccessLogFormat, AccessLogTarget, LogSettings};

pub(super) static KEYS: &[Key] = &[key("access"), key("format"), key("level")];

pub(super) fn read(section: Option<Section<'_>>) -> LogSettings {
    let default = LogSettings::default();
    let Some(section) = section else {
        return default;
    };
    LogSettings {
        access: section.or("access", default.access, access),
        format: section.or("format", default.format, |at| {
            at.word(&[
                ("json", AccessLogFormat::Json),
                ("combined", AccessLogFormat::Combined),
            ])
        }),
        level: section.or("level", default.level, |at| at.parse(scalars::log_level)),
    }
}

fn access(at: At<'_>) -> Option<AccessLogTarget> {
    // A path must show a slash, so that a slip such as "stdoud" does not become a file.
    if at.text()?.contains('/') {
        return at.path().map(AccessLogTarget::File);
    }
    at.word(&[
        ("stdout", AccessLogTarget::Stdout),
        ("off", AccessLogTarget::Off),
        ("./FILE", AccessLogTarget::Off),
    ])
}
