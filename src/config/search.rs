//! Where settings come from when there is a choice: the search for a file, and the command line in its stead.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::ConfigErrors;
use super::file::addresses::{self, SchemeHttp, looks_like_url};
use super::settings::Settings;
use super::{Surroundings, defaults};
use crate::access::settings::AccessSettings;
use crate::cache::settings::Rules;
use crate::listen::settings::ListenSettings;
use crate::routing::settings::RouteSettings;
use crate::upstream::settings::{UpstreamHttp, UpstreamSettings};

/// No configuration was found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FindError {
    /// The file that was asked for does not exist.
    #[error("cannot read `{}`: no such file, named by {by}", path.display())]
    Missing {
        /// As written.
        path: PathBuf,
        /// `--config` or `$FOREBAY_CONFIG`.
        by: &'static str,
    },
    /// None was asked for, and none lies where one is expected.
    #[error(
        "found no configuration: neither --config nor $FOREBAY_CONFIG names one, and there is no ./proxy.toml and no \
         /etc/forebay/proxy.toml; `forebay init > proxy.toml` writes one, `forebay run --to URL` needs none"
    )]
    Nowhere,
}

/// The file to load: the given one, else `$FOREBAY_CONFIG`, else `./proxy.toml`, else `/etc/forebay/proxy.toml`.
///
/// # Errors
/// [`FindError::Missing`] when the file named does not exist, [`FindError::Nowhere`] when none is named or found.
pub fn find(explicit: Option<&Path>) -> Result<PathBuf, FindError> {
    let variable = std::env::var_os("FOREBAY_CONFIG").map(PathBuf::from);
    let variable = variable.filter(|path| !path.as_os_str().is_empty());
    find_among(
        explicit,
        variable.as_deref(),
        &[
            Path::new("proxy.toml"),
            Path::new("/etc/forebay/proxy.toml"),
        ],
    )
}

fn find_among(
    explicit: Option<&Path>,
    variable: Option<&Path>,
    usual: &[&Path],
) -> Result<PathBuf, FindError> {
    let named = explicit.map(|path| (path, "--config"));
    let named = named.or(variable.map(|path| (path, "$FOREBAY_CONFIG")));
    match named {
        Some((path, _)) if path.exists() => Ok(path.to_owned()),
        Some((path, by)) => Err(FindError::Missing {
            path: path.to_owned(),
            by,
        }),
        None => {
            let found = usual.iter().find(|path| path.exists());
            found.map(|&path| path.to_owned()).ok_or(FindError::Nowhere)
        }
    }
}

/// The settings of `forebay run --to URL [--listen ADDR]`: everything goes to one server.
///
/// `to` may leave out the scheme (`http`) and the host (`127.0.0.1`): `app:5000`, `:5000`, `https://h`, `unix:/x.sock`.
///
/// # Errors
/// One for each argument that cannot be read.
pub fn from_url(to: &str, listen: Option<&str>) -> Result<Settings, ConfigErrors> {
    let mut settings = defaults::settings(&Surroundings::of_this_process());
    let url = if looks_like_url(to) {
        to.to_owned()
    } else if to.starts_with(':') {
        format!("http://127.0.0.1{to}")
    } else {
        format!("http://{to}")
    };
    let mut errors = Vec::new();
    match addresses::server_url(&url) {
        Ok((server, scheme)) => {
            let mut upstream = UpstreamSettings::new(url, vec![server]);
            if scheme == SchemeHttp::Http2 {
                upstream.http = UpstreamHttp::Http2;
            }
            settings.routes.push(everything_to(&upstream.name));
            settings.rules.push(Arc::new(Rules::default()));
            settings.access.push(AccessSettings::default());
            settings.upstreams.push(upstream);
        }
        Err(fault) => errors.extend(ConfigErrors::placeless(format!("--to: {fault}")).0),
    }
    if let Some(listen) = listen
        && let Err(more) = override_listen(&mut settings, listen)
    {
        errors.extend(more.0);
    }
    if errors.is_empty() {
        Ok(settings)
    } else {
        Err(ConfigErrors(errors))
    }
}

/// `--listen ADDR`: one plain listener instead of those of the settings.
///
/// # Errors
/// When the address cannot be read; the settings are unchanged then.
pub fn override_listen(settings: &mut Settings, listen: &str) -> Result<(), ConfigErrors> {
    let address = addresses::address(listen)
        .map_err(|fault| ConfigErrors::placeless(format!("--listen: {fault}")))?;
    settings.listen = vec![ListenSettings::new(address)];
    Ok(())
}

fn everything_to(upstream: &str) -> RouteSettings {
    RouteSettings {
        name: "/".to_owned(),
        ..RouteSettings::all_to(upstream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load_str;

    #[test]
    fn the_command_line_means_what_the_smallest_file_means() {
        for (to, url) in [
            ("127.0.0.1:5000", "http://127.0.0.1:5000"),
            (":5000", "http://127.0.0.1:5000"),
            ("app", "http://app"),
            ("https://h", "https://h"),
            ("grpc://h:1", "grpc://h:1"),
            ("unix:/x.sock", "unix:/x.sock"),
        ] {
            let text = format!("[[listen]]\naddr = ':9000'\n[[route]]\nto = '{url}'");
            assert_eq!(
                from_url(to, Some(":9000")),
                load_str(&text, "proxy.toml"),
                "{to}"
            );
        }
    }

    #[test]
    fn both_arguments_are_judged() {
        let errors = from_url("http://a/b", Some("nowhere")).map_err(|errors| errors.to_string());
        assert_eq!(
            errors.err().as_deref(),
            Some(
                "--to: expected a URL without a path; a route's `replace_prefix` sets one, found `http://a/b`\n\
                 --listen: expected an IP address and a port, such as \"0.0.0.0:8080\", \":8080\" or \"[::]:8080\", \
                 found `nowhere`"
            )
        );
    }

    #[test]
    fn the_first_named_file_is_the_one() -> std::io::Result<()> {
        let directory = tempfile::tempdir()?;
        let here = directory.path().join("proxy.toml");
        let other = directory.path().join("other.toml");
        let missing = directory.path().join("missing.toml");
        assert_eq!(find_among(None, None, &[&here]), Err(FindError::Nowhere));
        std::fs::write(&here, "")?;
        std::fs::write(&other, "")?;
        let found = |explicit, variable| find_among(explicit, variable, &[&missing, &here]);
        assert_eq!(found(None, None).as_ref(), Ok(&here));
        assert_eq!(found(None, Some(&other)).as_ref(), Ok(&other));
        assert_eq!(found(Some(&other), Some(&missing)).as_ref(), Ok(&other));
        assert!(matches!(
            found(Some(&missing), Some(&other)),
            Err(FindError::Missing { by: "--config", .. })
        ));
        Ok(())
    }
}
