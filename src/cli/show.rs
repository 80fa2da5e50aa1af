//! `forebay config --effective`: prints every value that is in force, as TOML that means the same.

use std::process::ExitCode;

use super::args::ShowArgs;
use super::{check, output};
use crate::config;

/// Prints the effective settings, or all errors. Code 0 or 2.
pub(super) fn run(args: &ShowArgs) -> ExitCode {
    match check::load(args.file.config.as_deref()) {
        Ok((path, loaded)) => {
            let text = config::effective(&loaded.settings);
            let text = if args.secrets {
                text
            } else {
                config::without_secrets(&text)
            };
            output::print(&format!(
                "# Every value in force. Made from {}.\n\n{text}",
                path.display(),
            ));
            ExitCode::SUCCESS
        }
        Err(code) => code,
    }
}
