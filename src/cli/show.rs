//! `forebay config --effective`: prints every value that is in force, as TOML that means the same.

use std::path::PathBuf;
use std::process::ExitCode;

use super::{check, output};
use crate::config;

/// Prints the effective settings, or all errors. Code 0 or 2.
#[expect(
    clippy::needless_pass_by_value,
    reason = "one signature for all subcommands"
)]
pub fn run(config: Option<PathBuf>) -> ExitCode {
    match check::load(config.as_deref()) {
        Ok((path, loaded)) => {
            output::print(&format!(
                "# Every value in force. Made from {}.\n\n{}",
                path.display(),
                config::effective(&loaded.settings)
            ));
            ExitCode::SUCCESS
        }
        Err(code) => code,
    }
}
