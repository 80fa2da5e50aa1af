//! `forebay run`: settings, the server, and a banner once it listens.

use std::sync::Arc;

use crate::server::{self, Start};

use super::args::RunArgs;
use super::error::CliError;
use super::settings::{self, Chosen};
use super::{banner, output};

/// Runs the proxy until it has drained.
pub(super) fn run(args: &RunArgs) -> Result<(), CliError> {
    let Chosen {
        settings,
        notes,
        file,
    } = settings::of_run(args)?;
    let start = match &file {
        Some(file) => {
            let (read, listen) = (file.clone(), args.listen.clone());
            let read_again = Arc::new(move || settings::again(&read, listen.as_deref()));
            Start::from_file(settings.clone(), file.clone(), read_again)
        }
        None => Start::fixed(settings.clone()),
    };
    let start = start.on_ready(move |listening| {
        output::say(&banner::text(&settings, &notes, file.as_deref(), listening));
    });
    Ok(server::run(start)?)
}
