//! The command line and its exit codes.
//!
//! `args` is what may be typed, this file is what becomes of it: one line for each subcommand, and one place where an
//! error turns into text and an exit code.

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

mod args;
mod error;
mod output;
mod settings;

mod run;

mod banner;
mod demo;

mod caching;
mod check;
mod import;
mod init;
mod password;
mod routes;
mod show;

mod client;
mod explain;
mod healthcheck;
mod reload;

mod running;

mod cache;
mod purge;

mod log;
mod top;

mod amounts;
mod table;

use args::{Cli, Command};
use error::CliError;

/// Runs the program on the process's arguments.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(usage) => {
            // Help and version are "errors" with code 0, and are printed to standard output.
            let _ = usage.print();
            return u8::try_from(usage.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from);
        }
    };
    dispatch(cli).unwrap_or_else(|error| {
        output::say(&error.to_string());
        ExitCode::from(error.exit_code())
    })
}

fn dispatch(cli: Cli) -> Result<ExitCode, CliError> {
    let Some(command) = cli.command else {
        return Ok(check::run(cli.config));
    };
    match command {
        Command::Run(args) => run::run(&args)?,
        Command::Demo(args) => demo::run(&args)?,
        Command::Check(args) => return Ok(check::run(args.config)),
        Command::Init => return Ok(init::run()),
        Command::Import { file, force } => import::run(&file, force)?,
        Command::Routes(args) => return Ok(routes::run(args.config)),
        Command::Config(args) => return Ok(show::run(&args)),
        Command::Password { name } => password::run(&name)?,
        Command::Healthcheck(args) => healthcheck::run(&args)?,
        Command::Reload(args) => reload::run(args.config.as_deref())?,
        Command::Top(args) => top::run(&args)?,
        Command::Log(args) => log::run(&args)?,
        Command::Explain(args) => explain::run(&args)?,
        Command::Purge(args) => purge::run(&args)?,
        Command::Cache(command) => cache::run(&command)?,
        Command::Version => output::print(concat!("forebay ", env!("CARGO_PKG_VERSION"), "\n")),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "forebay", &mut script);
            output::print(&String::from_utf8_lossy(&script));
        }
    }
    Ok(ExitCode::SUCCESS)
}
