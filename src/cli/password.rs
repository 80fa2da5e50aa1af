//! `forebay password`: makes a line for a password file, for who has no `htpasswd` at hand.

use std::io::{self, BufRead, IsTerminal};

use super::error::CliError;
use super::output;
use crate::access::users;

/// Reads a password from standard input and prints the line.
///
/// # Errors
/// A name or a password that no file can hold.
pub(super) fn run(name: &str) -> Result<(), CliError> {
    let stdin = io::stdin();
    if stdin.is_terminal() {
        output::say(
            "The password, on one line (it is shown as you type; `printf %s secret | forebay password NAME` hides it):",
        );
    }
    let mut line = String::new();
    let read = stdin.lock().read_line(&mut line);
    read.map_err(|error| CliError::Usage(format!("cannot read the password: {error}")))?;
    let password = line.trim_end_matches(['\r', '\n']);
    let made = users::line(name, password).map_err(|why| CliError::Usage(why.to_owned()))?;
    output::print(&format!("{made}\n"));
    Ok(())
}
