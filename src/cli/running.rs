//! A running proxy, found by its configuration: what it is asked, and what its answers mean.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::client::{self, Answer, Place};
use super::error::CliError;
use super::settings;

/// What looks at every entry of a large cache takes a while.
const WITHIN: Duration = Duration::from_secs(60);

/// Where it is, and what it wants to see.
#[derive(Debug)]
pub(super) struct Running {
    place: Place,
    token: Option<String>,
}

impl Running {
    /// The one that runs on `config`. Errors elsewhere in the file are no reason not to ask it: they are not in force.
    pub(super) fn on(config: Option<&Path>) -> Result<Self, CliError> {
        let (admin, _) = settings::admin_despite_errors(config)?;
        Ok(Self {
            place: Place::of(&admin)?,
            token: admin.token,
        })
    }

    /// Asks for a path, with these parameters.
    pub(super) fn get(&self, path: &str, query: &Query) -> Result<Answer, CliError> {
        let target = format!("{path}{}", query.0);
        self.call(Method::GET, &target, Bytes::new())
    }

    /// Sends a value to a path.
    pub(super) fn post(&self, path: &str, value: &Value) -> Result<Answer, CliError> {
        self.call(Method::POST, path, value.to_string().into())
    }

    fn call(&self, method: Method, target: &str, body: Bytes) -> Result<Answer, CliError> {
        let token = self.token.as_deref();
        let answer = client::send(method, &self.place, target, token, body, WITHIN)?;
        Ok(answer)
    }
}

/// What stands behind a path.
#[derive(Debug, Default)]
pub(super) struct Query(String);

impl Query {
    /// One parameter more.
    pub(super) fn add(&mut self, name: &str, value: &str) {
        let mark = if self.0.is_empty() { '?' } else { '&' };
        let value = utf8_percent_encode(value, NON_ALPHANUMERIC);
        self.0 = format!("{}{mark}{name}={value}", self.0);
    }
}

/// What an answer that is no success means for an exit code.
pub(super) fn failed(answer: &Answer) -> CliError {
    let text = answer.error_text();
    match answer.status {
        StatusCode::BAD_REQUEST => CliError::Usage(text),
        StatusCode::NOT_FOUND => CliError::Nothing(text),
        status => CliError::Refused(format!("the proxy answered {}: {text}", status.as_u16())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_arrive_as_they_are_meant() {
        let mut query = Query::default();
        query.add("url", "http://h/a b?c=1&d=+");
        query.add("tag", "ä");
        assert_eq!(
            query.0,
            "?url=http%3A%2F%2Fh%2Fa%20b%3Fc%3D1%26d%3D%2B&tag=%C3%A4"
        );
    }

    #[test]
    fn an_answer_is_an_exit_code() {
        for (status, code) in [(400, 2), (404, 4), (401, 1), (403, 1), (413, 1), (500, 1)] {
            let answer = Answer {
                status: StatusCode::from_u16(status).expect("a status"),
                body: Bytes::from_static(br#"{"error": "because"}"#),
            };
            let error = failed(&answer);
            assert_eq!(error.exit_code(), code, "{status}");
            assert!(error.to_string().contains("because"), "{error}");
        }
    }
}
