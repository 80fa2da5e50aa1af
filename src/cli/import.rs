//! `forebay import`: prints the `proxy.toml` that an `nginx.conf` becomes.

use std::path::Path;

use super::error::CliError;
use super::output;
use crate::import;

/// Prints the file to standard output, and what wants attention to standard error.
///
/// # Errors
/// A file that cannot be read, or is not nginx's.
pub fn run(file: &Path) -> Result<(), CliError> {
    let imported = import::nginx(file)?;
    output::print(&imported.toml);
    if !imported.summary.is_empty() {
        output::say(&imported.summary);
    }
    Ok(())
}
