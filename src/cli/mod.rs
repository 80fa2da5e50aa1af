//! The command line and its exit codes.

use std::process::ExitCode;

pub mod check;
pub mod init;
mod output;
pub mod routes;
pub mod show;

/// Runs the program on the process's arguments.
pub fn main() -> ExitCode {
    ExitCode::SUCCESS
}
