//! `forebay check`: judges a configuration without running it.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::{caching, output};
use crate::access::settings::AuthSettings;
use crate::cache::settings::Rules;
use crate::config::settings::Settings;
use crate::config::{self, Loaded};
use crate::routing::settings::Action;
use crate::server::files;

/// Prints that the file is valid, with notes on what is probably not meant; or all its errors. Code 0 or 2.
#[expect(
    clippy::needless_pass_by_value,
    reason = "one signature for all subcommands"
)]
pub fn run(config: Option<PathBuf>) -> ExitCode {
    match load(config.as_deref()) {
        Ok((path, loaded)) => {
            let unusable = files::unusable(&loaded.settings);
            if !unusable.is_empty() {
                output::say(&unusable.join("\n"));
                return ExitCode::from(2);
            }
            output::print(&verdict(&path, &loaded));
            output::print(&cached(&loaded.settings));
            output::print(&absent(&loaded.settings));
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

/// A line for each route that says more of the cache than to obey the origin.
fn cached(settings: &Settings) -> String {
    let mut text = String::new();
    for (route, rules) in settings.routes.iter().zip(&settings.rules) {
        let state = caching::state(route, rules).filter(|_| **rules != Rules::default());
        if let Some(state) = state {
            writeln!(text, "cache of route `{}`: {state}", route.name)
                .expect("writing to a String cannot fail");
        }
    }
    text
}

/// A note for each file that is named and not there. It may be there where the program will run, so it is no error.
fn absent(settings: &Settings) -> String {
    let mut text = String::new();
    for (path, what) in named(settings) {
        if !path.exists() {
            writeln!(text, "note: {what}: `{}` is not there", path.display())
                .expect("writing to a String cannot fail");
        }
    }
    text
}

/// The files and directories that are read at start or while running, and what each is.
fn named(settings: &Settings) -> Vec<(&Path, String)> {
    let mut all: Vec<(&Path, String)> = Vec::new();
    for listen in &settings.listen {
        for pair in listen.tls.iter().flat_map(|tls| &tls.certificates) {
            let what = |key| format!("{key} of listener `{}`", listen.addr);
            all.extend([(&*pair.cert, what("cert")), (&*pair.key, what("key"))]);
        }
        let clients = listen.tls.iter().filter_map(|tls| tls.clients.as_ref());
        all.extend(clients.map(|clients| {
            let what = format!("client_certificates of listener `{}`", listen.addr);
            (&*clients.ca, what)
        }));
    }
    for upstream in &settings.upstreams {
        let tls = &upstream.tls;
        let keys = [("ca", &tls.ca), ("cert", &tls.cert), ("key", &tls.key)];
        all.extend(keys.into_iter().filter_map(|(key, path)| {
            let what = format!("{key} of upstream `{}`", upstream.name);
            Some((path.as_deref()?, what))
        }));
    }
    for (route, access) in settings.routes.iter().zip(&settings.access) {
        if let Some(AuthSettings::Basic(basic)) = &access.auth {
            all.push((
                &basic.file,
                format!("password file of route `{}`", route.name),
            ));
        }
        if let Action::Files { root, .. } = &route.action {
            all.push((root, format!("files of route `{}`", route.name)));
        }
        all.extend(route.error_pages.iter().map(|(status, page)| {
            let what = format!("error page {status} of route `{}`", route.name);
            (page.as_path(), what)
        }));
    }
    all
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

    #[test]
    fn what_is_said_of_the_cache_is_summed_up() {
        let text = r#"
            [[route]]
            to = "http://a"
            [[route]]
            path = "/live/"
            to = "http://a"
            cache = false
            [[route]]
            path = "/pages/"
            to = "http://a"
            cache = { ttl = "5m", refresh_every = "5m" }
            [[route]]
            path = "/errors/"
            to = "http://a"
            cache = { origin = "ignore", ttl_by_status = { 404 = "1m" } }
            [[route]]
            path = "/missing/"
            to = "http://a"
            cache = { ttl_by_status = { 404 = "1m" } }
            [[route]]
            path = "/pages/errors/"
            to = "http://a"
            cache = { ttl = "5m", ttl_by_status = { 404 = "1m" } }
            [[route]]
            path = "/shared/"
            to = "http://a"
            cache = { key = { sort_query = true } }
            [[route]]
            path = "/old/"
            redirect = "/new/"
        "#;
        let settings = config::load_str(text, "proxy.toml");
        assert_eq!(
            settings.map(|settings| cached(&settings)).as_deref(),
            Ok("\
cache of route `/live/`: off
cache of route `/pages/`: 5m, refreshed every 5m
cache of route `/errors/`: by status
cache of route `/missing/`: by status, else origin
cache of route `/pages/errors/`: by status, else 5m
cache of route `/shared/`: origin
")
        );
    }

    #[test]
    fn what_is_not_there_is_noted() {
        let text = r#"
            [[listen]]
            addr = "127.0.0.1:443"
            tls = { cert = "Cargo.toml", key = "no.key" }
            [upstream.api]
            servers = ["https://a"]
            tls = { ca = "no.ca" }
            [[route]]
            to = "api"
            error_pages = { 404 = "Cargo.toml", 502 = "no.html" }
            [[route]]
            path = "/static/"
            files = "no/where"
        "#;
        let settings = config::load_str(text, "proxy.toml");
        assert_eq!(
            settings.map(|settings| absent(&settings)).as_deref(),
            Ok("\
note: key of listener `127.0.0.1:443`: `no.key` is not there
note: ca of upstream `api`: `no.ca` is not there
note: error page 502 of route `/`: `no.html` is not there
note: files of route `/static/`: `no/where` is not there
")
        );
    }
}
