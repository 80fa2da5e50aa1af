//! `forebay import`: prints the `proxy.toml` that an `nginx.conf` becomes.

use std::path::Path;

use super::error::CliError;
use super::output;
use crate::import;

/// Prints the file to standard output, and what wants attention to standard error.
///
/// # Errors
/// A file that cannot be read, or is not nginx's, or, unless it is forced, has guards that would be lost.
pub fn run(file: &Path, force: bool) -> Result<(), CliError> {
    let imported = import::nginx(file)?;
    if imported.lost > 0 && !force {
        output::say(&imported.summary);
        return Err(CliError::Refused(
            "nothing is printed, for what nginx refused would be let through (the first lines above); say it otherwise there, or print it with --force and write these guards before it is used".to_owned(),
        ));
    }
    output::print(&imported.toml);
    if !imported.summary.is_empty() {
        output::say(&imported.summary);
    }
    Ok(())
}
