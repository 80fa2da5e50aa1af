//! `forebay check`: judges a configuration without running it.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::output;
use crate::config::settings::Settings;
use crate::config::{self, Loaded};

/// Prints that the file is valid, with notes on what is probably not meant; or all its errors. Code 0 or 2.
#[expect(
    clippy::needless_pass_by_value,
    reason = "one signature for all subcommands"
)]
pub fn run(config: Option<PathBuf>) -> ExitCode {
    match load(config.as_deref()) {
        Ok((path, loaded)) => {
            output::print(&verdict(&path, &loaded));
            ExitCode::SUCCESS
        }
        Err(code) => code,
    }
}

/// Finds and loads the configuration for a subcommand that only reads it; says what is wrong, and gives the code.
pub(super) fn load(config: Option<&Path>) -> Result<(PathBuf, Loaded), ExitCode> {
    let refused = |why: String| {
        output::say(&why);
        ExitCode::from(2)
    };
    let path = config::find(config).map_err(|error| refused(error.to_string()))?;
    let loaded = config::load_with_notes(&path).map_err(|errors| refused(errors.to_string()))?;
    Ok((path, loaded))
}

fn verdict(path: &Path, loaded: &Loaded) -> String {
    let Settings {
        listen,
        routes,
        upstreams,
        ..
    } = &loaded.settings;
    let mut text = format!(
        "{} is valid: {}, {}, {}\n",
        path.display(),
        counted(listen.len(), "listener"),
        counted(routes.len(), "route"),
        counted(upstreams.len(), "upstream"),
    );
    for note in &loaded.notes {
        writeln!(text, "note: {note}").expect("writing to a String cannot fail");
    }
    text
}

/// "1 route", "2 routes".
fn counted(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verdict_counts() {
        let text = "[[route]]\nto = 'http://a'\n[[route]]\npath = '/b'\nto = 'http://b'";
        let settings = config::load_str(text, "proxy.toml");
        let verdict = settings.map(|settings| {
            let notes = Vec::new();
            verdict(Path::new("proxy.toml"), &Loaded { settings, notes })
        });
        assert_eq!(
            verdict.as_deref(),
            Ok("proxy.toml is valid: 1 listener, 2 routes, 2 upstreams\n")
        );
    }
}
