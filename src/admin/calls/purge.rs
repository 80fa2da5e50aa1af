//! `POST /purge` and `GET /purges`: what is no longer to be served, what a purge would be about, and those that come.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use http::StatusCode;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio::time::timeout;

use super::Outcome;
use super::cache::LIMIT_MAX;
use crate::admin::answer::{self, Failure};
use crate::admin::asked::Asked;
use crate::cache::inspect::{Filter, Order};
use crate::cache::purge::{Cause, Mode, Purge, PurgeEvent, Scope};
use crate::telemetry;

/// Between two signs of life while nothing is purged.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// What a body may look like.
const EXAMPLE: &str = r#"{"tag": "items"} or {"url": "http://example.org/items", "soft": true}"#;
/// Entries that a dry run lists, where the caller does not say.
const LISTED: usize = 100;

/// `{"url" | "prefix" | "host" | "tag" | "tags" | "all": …, "soft": false, "dry_run": false, "limit": 100}`. 404 where
/// nothing matched, as far as that is known. To its end, even when the caller goes away.
pub(super) async fn purge(asked: Asked) -> Outcome {
    asked.query.expect(&[])?;
    let Wanted {
        purge,
        dry_run,
        limit,
    } = Wanted::read(asked.json(EXAMPLE)?)?;
    if dry_run {
        list(&asked, purge, limit).await
    } else {
        act(&asked, purge).await
    }
}

async fn act(asked: &Asked, purge: Purge) -> Outcome {
    let (scope, mode) = (purge.scope.to_string(), purge.mode);
    // Of the others, that nothing is there now is what was wanted.
    let named = matches!(purge.scope, Scope::Url(_) | Scope::Tags(_));
    let purged = asked.apart(move |control| control.purge(&purge)).await?;
    tracing::info!(%scope, mode = mode.word(), matched = ?purged.matched, "purged through the admin listener");
    let mut value = told(&scope, mode, purged.matched);
    if named && purged.matched == Some(0) {
        value["error"] = json!(nothing(&scope));
        return Ok(answer::json_with(StatusCode::NOT_FOUND, &value));
    }
    Ok(answer::json(&value))
}

async fn list(asked: &Asked, purge: Purge, limit: usize) -> Outcome {
    let scope = purge.scope.to_string();
    let filter = Filter {
        scope: Some(purge.scope),
        route: None,
    };
    let listing = asked.apart(move |control| control.cached(&filter, Order::Hits, limit));
    let listing = listing.await?;
    let mut value = told(&scope, purge.mode, Some(listing.total));
    value["dry_run"] = json!(true);
    value["entries"] = json!(listing.entries);
    value["more"] = json!(listing.more);
    if listing.total == 0 {
        value["error"] = json!(nothing(&scope));
        return Ok(answer::json_with(StatusCode::NOT_FOUND, &value));
    }
    Ok(answer::json(&value))
}

fn told(scope: &str, mode: Mode, matched: Option<u64>) -> Value {
    json!({ "purged": scope, "mode": mode, "matched": matched })
}

fn nothing(scope: &str) -> String {
    format!(
        "nothing that is stored matches `{scope}`; `forebay cache ls` and `GET /cache` list what is"
    )
}

/// `GET /purges`: all purges from now on, whoever asked for them, as Server-Sent Events.
pub(super) fn follow(asked: &Asked) -> Outcome {
    asked.query.expect(&[])?;
    let events = futures::stream::unfold(asked.control.purges(), async |mut purges| {
        let piece = match timeout(HEARTBEAT, next(&mut purges)).await {
            Ok(Ok(purge)) => event(
                "purge",
                &json!({
                    "purged": purge.scope.to_string(),
                    "mode": purge.mode,
                    "matched": purge.matched,
                    "at": telemetry::rfc3339(purge.at).to_string(),
                }),
            ),
            Ok(Err(RecvError::Lagged(missed))) => event("missed", &json!({ "purges": missed })),
            Ok(Err(RecvError::Closed)) => return None,
            // A comment, by which both ends learn whether the other is there.
            Err(_) => ":\n\n".to_owned(),
        };
        Some((Bytes::from(piece), purges))
    });
    // Something at once, so that who asks knows that no purge is missed from here on.
    let begun = futures::stream::once(async { Bytes::from_static(b":\n\n") });
    asked.stream("text/event-stream", begun.chain(events))
}

/// The next purge; what the application writes to is none.
async fn next(purges: &mut Receiver<Arc<PurgeEvent>>) -> Result<Arc<PurgeEvent>, RecvError> {
    loop {
        let event = purges.recv().await?;
        if event.cause == Cause::Purge {
            return Ok(event);
        }
    }
}

fn event(name: &str, value: &Value) -> String {
    format!("event: {name}\ndata: {value}\n\n")
}

/// The body.
struct Wanted {
    purge: Purge,
    dry_run: bool,
    limit: usize,
}

impl Wanted {
    /// Takes what is this call's own out of the members; the others are a purge's.
    fn read(mut members: Map<String, Value>) -> Result<Self, Failure> {
        let dry_run = member(&mut members, "dry_run", "true or false")?.unwrap_or(false);
        let expected = format!("a whole number from 0 to {LIMIT_MAX}");
        let limit = member(&mut members, "limit", &expected)?.unwrap_or(LISTED);
        if limit > LIMIT_MAX {
            let text = format!("the member `limit` is `{limit}`; expected {expected}");
            return Err(Failure::bad(text));
        }
        let purge: Purge = serde_json::from_value(Value::Object(members)).map_err(|error| {
            Failure::bad(format!(
                "the request body cannot be used: {error}; besides there may be `dry_run` and `limit`; expected JSON \
                 such as {EXAMPLE}"
            ))
        })?;
        Ok(Self {
            purge,
            dry_run,
            limit,
        })
    }
}

fn member<T: DeserializeOwned>(
    members: &mut Map<String, Value>,
    name: &str,
    expected: &str,
) -> Result<Option<T>, Failure> {
    let Some(value) = members.remove(name) else {
        return Ok(None);
    };
    let shown = value.to_string();
    serde_json::from_value(value).map(Some).map_err(|_| {
        Failure::bad(format!(
            "the member `{name}` is `{shown}`; expected {expected}"
        ))
    })
}
