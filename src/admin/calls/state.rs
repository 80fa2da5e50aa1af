//! `/metrics`, `/upstreams` and `/reload`: the server as a whole.

use http::StatusCode;

use super::Outcome;
use crate::admin::answer::{self, Failure};
use crate::admin::asked::Asked;

/// What `Registry::encode` writes.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// `/metrics`.
#[expect(
    clippy::unnecessary_wraps,
    reason = "one signature for all calls, though this one cannot fail"
)]
pub(super) fn metrics(asked: &Asked) -> Outcome {
    Ok(answer::text_of(OPENMETRICS, asked.control.metrics()))
}

/// `/upstreams`.
#[expect(
    clippy::unnecessary_wraps,
    reason = "one signature for all calls, though this one cannot fail"
)]
pub(super) fn upstreams(asked: &Asked) -> Outcome {
    Ok(answer::json(&asked.control.upstreams()))
}

/// `/reload`.
pub(super) async fn reload(asked: Asked) -> Outcome {
    tracing::info!("reload asked for through the admin listener");
    match asked.control.reload().await {
        Ok(report) => Ok(answer::json(&report)),
        Err(errors) => Err(Failure::new(StatusCode::UNPROCESSABLE_ENTITY, errors)),
    }
}
