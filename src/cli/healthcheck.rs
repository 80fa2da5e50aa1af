//! `forebay healthcheck`: whether a running proxy is well, as an exit code.

use std::path::Path;
use std::time::Duration;

use http::{Method, StatusCode};

use crate::admin::settings::AdminSettings;

use super::args::HealthcheckArgs;
use super::client::{self, Place};
use super::error::CliError;
use super::{output, settings};

/// Below Docker's default `--timeout` of 30 s, so that the reason is still printed.
const WITHIN: Duration = Duration::from_secs(5);

/// Asks the admin listener. Without `--ready` only whether the proxy lives: who restarts what is unhealthy must not restart
/// a proxy because an application is down.
pub(super) fn run(args: &HealthcheckArgs) -> Result<(), CliError> {
    let (place, path) = match &args.url {
        Some(url) => Place::parse(url).map_err(CliError::Usage)?,
        None => (Place::of(&admin(args.file.config.as_deref())?)?, None),
    };
    let default = if args.ready { "/readyz" } else { "/healthz" };
    let path = path.as_deref().unwrap_or(default);
    let answer = client::call(Method::GET, &place, path, None, WITHIN)?;
    let text = String::from_utf8_lossy(&answer.body);
    if answer.status == StatusCode::OK {
        output::print(&text);
        Ok(())
    } else {
        let status = answer.status.as_u16();
        let text = format!("{place}{path} answered {status}\n{text}");
        Err(CliError::Refused(text))
    }
}

/// `[admin]` of the file, or the defaults while the file is bad: it is not in force then, and a typo in it must not make
/// a well proxy unhealthy, for which some orchestrators would end it.
fn admin(config: Option<&Path>) -> Result<AdminSettings, CliError> {
    match settings::admin(config) {
        Err(CliError::Config(errors)) => {
            output::say(&format!(
                "{errors}\nasking the default admin listener instead"
            ));
            Ok(AdminSettings::default())
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::ConfigArg;
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;
    use std::thread;

    /// An admin listener that answers one call with `status`, and tells the request line.
    fn listener(status: u16) -> (String, thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        let answering = thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("somebody asks");
            let lines = BufReader::new(stream.try_clone().expect("a second handle")).lines();
            let head: Vec<String> = lines
                .map_while(Result::ok)
                .take_while(|line| !line.is_empty())
                .collect();
            let answer = format!("HTTP/1.1 {status} x\r\nContent-Length: 0\r\n\r\n");
            stream.write_all(answer.as_bytes()).expect("somebody reads");
            head.into_iter().next().unwrap_or_default()
        });
        (url, answering)
    }

    fn check(url: &str, ready: bool) -> u8 {
        let args = HealthcheckArgs {
            file: ConfigArg { config: None },
            url: Some(url.to_owned()),
            ready,
        };
        run(&args).map_or_else(|error| error.exit_code(), |()| 0)
    }

    #[test]
    fn an_answer_is_an_exit_code() {
        for (status, path, ready, code, line) in [
            (200, "", false, 0, "GET /healthz HTTP/1.1"),
            (200, "", true, 0, "GET /readyz HTTP/1.1"),
            (503, "", true, 1, "GET /readyz HTTP/1.1"),
            (
                200,
                "/readyz?route=a",
                false,
                0,
                "GET /readyz?route=a HTTP/1.1",
            ),
            (302, "", false, 1, "GET /healthz HTTP/1.1"),
        ] {
            let (url, answering) = listener(status);
            assert_eq!(
                check(&format!("{url}{path}"), ready),
                code,
                "{status} {path}"
            );
            assert_eq!(answering.join().ok().as_deref(), Some(line));
        }
    }

    #[test]
    fn no_answer_is_one_too() {
        assert_eq!(check("unix:/nowhere/forebay.sock", false), 1);
        assert_eq!(check("ftp://edge", false), 2);
    }

    #[test]
    fn a_bad_file_does_not_make_a_proxy_unhealthy() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("proxy.toml");
        for (text, listen) in [
            ("[admin]\nlisten = 'unix:/run/a.sock'", "unix:/run/a.sock"),
            (
                "[admin]\nlisten = 'unix:/run/a.sock'\ntokn = ''",
                "http://127.0.0.1:9900",
            ),
        ] {
            std::fs::write(&path, text).expect("the directory is ours");
            let admin = admin(Some(&path)).expect("one or the other");
            assert_eq!(
                Place::of(&admin).expect("it is on").to_string(),
                listen,
                "{text}"
            );
        }
    }
}
