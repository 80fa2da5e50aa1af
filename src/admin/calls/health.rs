//! `/healthz` and `/readyz`: whether the process lives, and whether its routes have somebody to answer them.

use http::StatusCode;
use serde_json::json;

use super::Outcome;
use crate::admin::access::Admitted;
use crate::admin::answer::{self, Failure};
use crate::admin::asked::Asked;

/// `/healthz`.
#[expect(
    clippy::unnecessary_wraps,
    reason = "one signature for all calls, though this one cannot fail"
)]
pub(super) fn alive(_: &Asked) -> Outcome {
    Ok(answer::json(&json!({ "status": "alive" })))
}

/// `/readyz`: 200 while every route has somebody to answer it; with `?route=NAME`, while that one has.
///
/// One dead upstream turns the whole answer on purpose: monitors ask here, and nothing is restarted for it (that
/// is what `/healthz` is asked for). A balancer in front of several edges asks for the route it balances. Other parameters
/// are let pass: some probes add one against caches.
pub(super) fn ready(asked: &Asked) -> Outcome {
    let readiness = asked.control.readiness();
    let mut routes = readiness.routes;
    if let Some(wanted) = asked.query.one("route")? {
        routes.retain(|route| route.route == wanted);
        if routes.is_empty() {
            let text = format!("no route is named `{wanted}`");
            return Err(Failure::new(StatusCode::NOT_FOUND, text));
        }
    }
    if readiness.draining {
        for route in &mut routes {
            route.ready = false;
            route.reason = Some("draining".to_owned());
        }
    }
    let (code, status) = if readiness.draining {
        (StatusCode::SERVICE_UNAVAILABLE, "draining")
    } else if routes.iter().all(|route| route.ready) {
        (StatusCode::OK, "ready")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "unready")
    };
    let mut value = json!({ "status": status });
    if asked.admitted == Admitted::InFull {
        value["routes"] = json!(routes);
    }
    Ok(answer::json_with(code, &value))
}
