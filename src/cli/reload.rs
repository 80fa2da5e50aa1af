//! `forebay reload`: tells a running proxy to read its configuration again, and what came of it.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use http::{Method, StatusCode};

use crate::admin::ReloadReport;
use crate::admin::settings::AdminSettings;

use super::client::{self, Answer, Place};
use super::error::CliError;
use super::{output, settings};

/// A reload reads files and binds sockets; it waits for no server.
const WITHIN: Duration = Duration::from_secs(60);

/// Reloads. The configuration is read here too, for the listener's address and token. Where it has errors the proxy is
/// asked all the same: its log and its metrics are to know of them.
pub(super) fn run(config: Option<&Path>) -> Result<(), CliError> {
    let (admin, errors) = settings::admin_despite_errors(config)?;
    let asked = ask(&admin);
    match (asked, errors) {
        (asked, None) => output::print(&asked?),
        (Ok(words), Some(errors)) => {
            output::print(&words);
            output::say(&format!(
                "forebay: that proxy reads its configuration without errors; read here, it has these:\n{errors}"
            ));
        }
        (Err(rejected @ CliError::Rejected(_)), Some(_)) => return Err(rejected),
        (Err(_), Some(errors)) => return Err(errors.into()),
    }
    Ok(())
}

fn ask(admin: &AdminSettings) -> Result<String, CliError> {
    let place = Place::of(admin)?;
    let token = admin.token.as_deref();
    outcome(&client::call(
        Method::POST,
        &place,
        "/reload",
        token,
        WITHIN,
    )?)
}

/// The report in words, or why there is none.
fn outcome(answer: &Answer) -> Result<String, CliError> {
    match answer.status {
        StatusCode::OK => match serde_json::from_slice(&answer.body) {
            Ok(report) => Ok(words(&report)),
            Err(_) => Err(CliError::Refused("the answer is not a reload's".to_owned())),
        },
        StatusCode::UNPROCESSABLE_ENTITY => Err(CliError::Rejected(answer.error_text())),
        status => {
            let (status, text) = (status.as_u16(), answer.error_text());
            Err(CliError::Refused(format!(
                "not reloaded ({status}): {text}"
            )))
        }
    }
}

fn words(report: &ReloadReport) -> String {
    let mut text = match report.changes.len() {
        0 => "reloaded, nothing changed\n".to_owned(),
        1 => "reloaded, 1 change\n".to_owned(),
        n => format!("reloaded, {n} changes\n"),
    };
    for change in &report.changes {
        let _ = writeln!(text, "  {change}");
    }
    if !report.needs_restart.is_empty() {
        text.push_str("not in force before a restart\n");
        for change in &report.needs_restart {
            let _ = writeln!(text, "  {change}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        Answer {
            status: StatusCode::from_u16(status).expect("a status"),
            body: body.to_owned().into(),
        }
    }

    #[test]
    fn what_an_answer_means() {
        for (status, body, code, text) in [
            (200, r#"{"changes":[]}"#, 0, "reloaded, nothing changed\n"),
            (
                200,
                r#"{"changes":["route `a`: new"],"needs_restart":["`[server] threads`"]}"#,
                0,
                "reloaded, 1 change\n  route `a`: new\nnot in force before a restart\n  `[server] threads`\n",
            ),
            (
                422,
                r#"{"error":"proxy.toml:1:1: unknown key `x`"}"#,
                2,
                "proxy.toml:1:1: unknown key `x`",
            ),
            (
                401,
                r#"{"error":"a token is needed"}"#,
                1,
                "forebay: not reloaded (401): a token is needed",
            ),
            (502, "<html>", 1, "forebay: not reloaded (502): <html>"),
            (200, "<html>", 1, "forebay: the answer is not a reload's"),
        ] {
            let (got_code, got) = match outcome(&answer(status, body)) {
                Ok(words) => (0, words),
                Err(error) => (error.exit_code(), error.to_string()),
            };
            assert_eq!((got_code, got.as_str()), (code, text), "{status} {body}");
        }
    }
}
