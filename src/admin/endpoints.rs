//! What each path of the control plane answers.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Body;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::access::{Access, Need, Refusal};
use super::control::{Control, Readiness};

/// A request body of a call, at most. No call needs more than a few names.
const BODY_MAX: usize = 64 * 1024;
/// The time a caller has to send it.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// What `Registry::encode` writes.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Answer = Response<Full<Bytes>>;

/// The calls there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    Healthz,
    Readyz,
    Metrics,
    Upstreams,
    Reload,
}

impl Call {
    const ALL: [Self; 5] = [
        Self::Healthz,
        Self::Readyz,
        Self::Metrics,
        Self::Upstreams,
        Self::Reload,
    ];

    fn path(self) -> &'static str {
        match self {
            Self::Healthz => "/healthz",
            Self::Readyz => "/readyz",
            Self::Metrics => "/metrics",
            Self::Upstreams => "/upstreams",
            Self::Reload => "/reload",
        }
    }

    fn need(self) -> Need {
        match self {
            Self::Healthz | Self::Readyz => Need::Probe,
            Self::Metrics | Self::Upstreams => Need::Read,
            Self::Reload => Need::Change,
        }
    }

    /// The methods allowed, as `Allow` lists them.
    fn allow(self) -> &'static str {
        match self.need() {
            Need::Probe | Need::Read => "GET, HEAD",
            Need::Change => "POST",
        }
    }

    fn allows(self, method: &Method) -> bool {
        self.allow()
            .split(", ")
            .any(|allowed| allowed == method.as_str())
    }
}

/// Answers one request. Never fails: what goes wrong is an answer too.
pub(super) async fn answer<B>(
    request: Request<B>,
    access: &Access,
    control: &Arc<dyn Control>,
) -> Answer
where
    B: Body<Error: Into<Box<dyn std::error::Error + Send + Sync>>>,
{
    let (head, body) = request.into_parts();
    let path = head.uri.path();
    let call = Call::ALL.into_iter().find(|call| call.path() == path);
    // Strangers do not learn which paths there are.
    let need = call.map_or(Need::Read, Call::need);
    if let Err(refusal) = access.admit(need, &head.headers) {
        tracing::warn!(path, %refusal, "refused a call of the admin listener");
        return refused(&refusal);
    }
    let Some(call) = call else {
        let paths = Call::ALL.map(|call| format!("{} {}", call.allow(), call.path()));
        let value = json!({ "error": format!("no such path `{path}`"), "paths": paths });
        return json_answer(StatusCode::NOT_FOUND, &value);
    };
    if !call.allows(&head.method) {
        let text = format!(
            "`{path}` is called by {}, not {}",
            call.allow(),
            head.method
        );
        let mut answer = failed(StatusCode::METHOD_NOT_ALLOWED, &text);
        let allow = HeaderValue::from_static(call.allow());
        answer.headers_mut().insert(ALLOW, allow);
        return answer;
    }
    match call {
        Call::Healthz => json_answer(StatusCode::OK, &json!({ "status": "alive" })),
        Call::Readyz => readyz(control.readiness(), head.uri.query()),
        Call::Metrics => text_answer(OPENMETRICS, control.metrics()),
        Call::Upstreams => json_answer(StatusCode::OK, &control.upstreams()),
        Call::Reload => match received(body).await {
            Ok(()) => reload(Arc::clone(control)).await,
            Err(status) => failed(status, "the request body was too large or too slow"),
        },
    }
}

/// 200 while every route has somebody to answer it; with `?route=NAME`, while that one has.
///
/// One dead upstream turns the whole answer on purpose: monitors ask here, and nothing is restarted for it (that
/// is what `/healthz` is asked for). A balancer in front of several edges asks for the route it balances.
fn readyz(readiness: Readiness, query: Option<&str>) -> Answer {
    let mut routes = readiness.routes;
    let wanted = query
        .into_iter()
        .flat_map(|query| query.split('&'))
        .find_map(|pair| pair.strip_prefix("route="))
        .map(|name| percent_decode_str(name).decode_utf8_lossy().into_owned());
    if let Some(wanted) = wanted {
        routes.retain(|route| route.route == wanted);
        if routes.is_empty() {
            return failed(
                StatusCode::NOT_FOUND,
                &format!("no route is named `{wanted}`"),
            );
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
    json_answer(code, &json!({ "status": status, "routes": routes }))
}

/// In a task of its own: a caller that hangs up must not stop a reload halfway.
async fn reload(control: Arc<dyn Control>) -> Answer {
    tracing::info!("reload asked for through the admin listener");
    match tokio::spawn(async move { control.reload().await }).await {
        Ok(Ok(report)) => json_answer(StatusCode::OK, &json!(report)),
        Ok(Err(errors)) => failed(StatusCode::UNPROCESSABLE_ENTITY, &errors),
        Err(panic) => failed(StatusCode::INTERNAL_SERVER_ERROR, &panic.to_string()),
    }
}

/// Reads a body to its end and forgets it: calls take no arguments there, but what was sent must not stay on the wire.
async fn received<B>(body: B) -> Result<(), StatusCode>
where
    B: Body<Error: Into<Box<dyn std::error::Error + Send + Sync>>>,
{
    if body.size_hint().lower() > BODY_MAX as u64 {
        return Err(StatusCode::PAYLOAD_TOO_LARGE);
    }
    let body = std::pin::pin!(Limited::new(body, BODY_MAX));
    match timeout(BODY_TIMEOUT, body.collect()).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(_)) => Err(StatusCode::PAYLOAD_TOO_LARGE),
        Err(_) => Err(StatusCode::REQUEST_TIMEOUT),
    }
}

fn refused(refusal: &Refusal) -> Answer {
    let mut answer = failed(refusal.status(), &refusal.to_string());
    if refusal.status() == StatusCode::UNAUTHORIZED {
        let bearer = HeaderValue::from_static("Bearer");
        answer.headers_mut().insert(WWW_AUTHENTICATE, bearer);
    }
    answer
}

fn failed(status: StatusCode, text: &str) -> Answer {
    json_answer(status, &json!({ "error": text }))
}

fn json_answer(status: StatusCode, value: &Value) -> Answer {
    let mut answer = text_answer("application/json", format!("{value:#}\n"));
    *answer.status_mut() = status;
    answer
}

fn text_answer(content_type: &'static str, text: String) -> Answer {
    let mut answer = Response::new(Full::from(text));
    let fields = answer.headers_mut();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}
