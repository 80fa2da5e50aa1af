//! `/explain`: what would become of a request, and why.

use http::StatusCode;

use super::Outcome;
use crate::admin::Explained;
use crate::admin::answer::{self, Failure};
use crate::admin::asked::Asked;

/// A question that can be asked.
const EXAMPLE: &str = r#"{"url": "http://example.org/items?page=2"}"#;

/// `/explain`. Changes nothing, but for a question that wants a real request made: then that is one like any other.
pub(super) async fn explain(asked: Asked) -> Outcome {
    let question = asked.json(EXAMPLE)?;
    match asked.control.explain(question).await {
        Ok(Explained { mut value, text }) => {
            if let Some(members) = value.as_object_mut() {
                members.insert("text".to_owned(), text.into());
            }
            Ok(answer::json(&value))
        }
        Err(fault) => Err(Failure::new(StatusCode::UNPROCESSABLE_ENTITY, fault)),
    }
}
