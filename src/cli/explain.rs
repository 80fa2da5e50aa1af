//! `forebay explain`: what would become of a request to a running proxy, and why.

use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::args::ExplainArgs;
use super::client::{self, Answer, Place};
use super::error::CliError;
use super::{output, settings};

/// What is known is told at once; a fetch may be held, and takes its time.
const WITHIN: Duration = Duration::from_secs(75);

/// Asks the process that the configuration is for. Of a configuration with errors, what says where it listens is enough.
pub(super) fn run(args: &ExplainArgs) -> Result<(), CliError> {
    let question = question(args)?;
    let (admin, errors) = settings::admin_despite_errors(args.file.config.as_deref())?;
    let place = Place::of(&admin)?;
    let token = admin.token.as_deref();
    let body = question.to_string().into();
    let answer = client::send(Method::POST, &place, "/explain", token, body, WITHIN);
    let answer = match (answer, errors) {
        (Ok(answer), _) => answer,
        // Perhaps it listens elsewhere, for all that can be read.
        (Err(_), Some(errors)) => return Err(errors.into()),
        (Err(error), None) => return Err(error.into()),
    };
    let told = told(&answer, args.json)?;
    for line in told.lines() {
        output::print(&format!("{}\n", output::harmless(line)));
    }
    Ok(())
}

fn question(args: &ExplainArgs) -> Result<Value, CliError> {
    let headers: Vec<(&str, &str)> = args
        .headers
        .iter()
        .map(|line| {
            let parts = line.split_once(':').filter(|(name, _)| !name.is_empty());
            parts.ok_or_else(|| {
                CliError::Usage(format!("expected `Name: value` behind -H, found `{line}`"))
            })
        })
        .collect::<Result<_, _>>()?;
    let headers = headers
        .into_iter()
        .map(|(name, value)| (name, value.trim()));
    Ok(json!({
        "url": args.url,
        "method": args.method,
        "headers": headers.collect::<Vec<_>>(),
        "client": args.client,
        "fetch": args.fetch,
    }))
}

/// What was answered, as it is wanted.
fn told(answer: &Answer, as_json: bool) -> Result<String, CliError> {
    let value: Option<Value> = serde_json::from_slice(&answer.body).ok();
    match (answer.status, value) {
        (StatusCode::OK, Some(Value::Object(mut members))) => {
            let text = members.remove("text");
            if as_json {
                return Ok(format!("{:#}\n", Value::Object(members)));
            }
            let text = text.as_ref().and_then(Value::as_str);
            let text = text.ok_or_else(|| CliError::Refused(NOT_OURS.to_owned()))?;
            Ok(text.to_owned())
        }
        (StatusCode::OK, _) => Err(CliError::Refused(NOT_OURS.to_owned())),
        (StatusCode::UNPROCESSABLE_ENTITY, _) => Err(CliError::Usage(answer.error_text())),
        (StatusCode::NOT_FOUND, _) => Err(CliError::Refused(
            "the running proxy is older than this program and cannot explain; restart it"
                .to_owned(),
        )),
        (status, _) => Err(CliError::Refused(format!(
            "not explained ({}): {}",
            status.as_u16(),
            answer.error_text()
        ))),
    }
}

const NOT_OURS: &str = "the answer is not an explanation";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_answer_means() {
        let ours = r#"{"verdict":"HIT","text":"HIT\n\n  route x\n"}"#;
        for (status, body, as_json, code, text) in [
            (200, ours, false, 0, "HIT\n\n  route x\n"),
            (200, ours, true, 0, "{\n  \"verdict\": \"HIT\"\n}\n"),
            (
                200,
                "<html>",
                false,
                1,
                "forebay: the answer is not an explanation",
            ),
            (
                200,
                "{}",
                false,
                1,
                "forebay: the answer is not an explanation",
            ),
            (
                422,
                r#"{"error":"expected `http://…`"}"#,
                false,
                2,
                "forebay: expected `http://…`",
            ),
            (
                401,
                r#"{"error":"a token is needed"}"#,
                false,
                1,
                "forebay: not explained (401): a token is needed",
            ),
            (
                404,
                r#"{"error":"no such path"}"#,
                false,
                1,
                "forebay: the running proxy is older than this program and cannot explain; restart it",
            ),
        ] {
            let answer = Answer {
                status: StatusCode::from_u16(status).expect("a status"),
                body: body.to_owned().into(),
            };
            let (got_code, got) = match told(&answer, as_json) {
                Ok(text) => (0, text),
                Err(error) => (error.exit_code(), error.to_string()),
            };
            assert_eq!((got_code, got.as_str()), (code, text), "{status} {body}");
        }
    }
}
