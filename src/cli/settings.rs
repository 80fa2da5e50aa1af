//! From arguments to settings: a file, or what stands in its stead.

use std::path::{Path, PathBuf};

use crate::admin::settings::AdminSettings;
use crate::config::settings::Settings;
use crate::config::{self, ConfigErrors, FindError, Finding};

use super::args::RunArgs;
use super::error::CliError;

/// What `run` runs on, and from where.
#[derive(Debug)]
pub(super) struct Chosen {
    /// Complete and checked.
    pub(super) settings: Settings,
    /// What is lawful but probably not meant.
    pub(super) notes: Vec<Finding>,
    /// The file; `None` for `--to`.
    pub(super) file: Option<PathBuf>,
}

/// The settings of `run`.
pub(super) fn of_run(args: &RunArgs) -> Result<Chosen, CliError> {
    let listen = args.listen.as_deref();
    // An empty variable is one that a Compose file passes on without having it.
    if let Some(to) = args.to.as_ref().filter(|to| !to.is_empty()) {
        return Ok(Chosen {
            settings: config::from_url(to, listen)?,
            notes: Vec::new(),
            file: None,
        });
    }
    let file = config::find(args.file.config.as_deref())?;
    let loaded = config::load_with_notes(&file)?;
    let mut settings = loaded.settings;
    if let Some(listen) = listen {
        config::override_listen(&mut settings, listen)?;
    }
    Ok(Chosen {
        settings,
        notes: loaded.notes,
        file: Some(file),
    })
}

/// The same file read again, with the same `--listen` on top: what a reload gets.
pub(super) fn again(file: &Path, listen: Option<&str>) -> Result<Settings, String> {
    let mut settings = config::load(file).map_err(|errors| errors.to_string())?;
    if let Some(listen) = listen {
        config::override_listen(&mut settings, listen).map_err(|errors| errors.to_string())?;
    }
    Ok(settings)
}

/// `[admin]` of the proxy that runs on `config`; the defaults where there is no file, which is how `demo` and `run --to`
/// run.
pub(super) fn admin(config: Option<&Path>) -> Result<AdminSettings, CliError> {
    match config::find(config) {
        Ok(file) => Ok(config::load(&file)?.admin),
        Err(FindError::Nowhere) => Ok(AdminSettings::default()),
        Err(missing @ FindError::Missing { .. }) => Err(missing.into()),
    }
}

/// The same where the configuration has errors, with these, if it shows its `[admin]` in spite of them.
pub(super) fn admin_despite_errors(
    config: Option<&Path>,
) -> Result<(AdminSettings, Option<ConfigErrors>), CliError> {
    let errors = match admin(config) {
        Ok(admin) => return Ok((admin, None)),
        Err(CliError::Config(errors)) => errors,
        Err(error) => return Err(error),
    };
    match config::admin_despite_errors(&config::find(config)?) {
        Some(admin) => Ok((admin, Some(errors))),
        None => Err(errors.into()),
    }
}
