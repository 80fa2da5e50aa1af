//! `/_events`: tells viewers of a route which of what they look at has changed, as a stream of Server-Sent Events.
//!
//! | part | question |
//! |---|---|
//! | [`hub`] | which events were there, who is behind, how many follow? |
//! | `message` | what is told of a purge, and to whom? |
//!
//! A viewer costs a connection, a task and a place in the hub's queue, which all of them share: nothing is kept for one that reads
//! slowly. Who has missed something is told to load anew, not what was missed. The stream is neither cached nor coded nor
//! forwarded; it ends when a drain begins, and a browser then comes back by itself.

pub mod hub;
mod message;

pub use hub::Hub;

use self::hub::{Heard, Viewer};
use self::message::Interest;
use super::accept::target;
use super::deliver;
use super::relay::client_leaves;
use super::walk::{Verdict, Walk};
use crate::fields::section::HeaderSection;
use crate::fields::uri;
use crate::listen::exchange::Exchange;
use crate::listen::exchange::calls::Part;
use crate::listen::exchange::head::ResponseHead;
use crate::routing::settings::{EventSettings, RouteSettings};
use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use pingora::Result;
use std::time::Duration;
use tokio::time::timeout;

/// How long a browser waits before it comes back, in milliseconds; give or take half of it, so that after a restart they do not
/// come all at once.
const RETRY_MS: u64 = 2_000;

/// For those who come beyond the limit.
const RETRY_AFTER: Duration = Duration::from_secs(30);

/// The id that a browser names when it comes back.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// nginx in front of us would collect the stream before it passes it on.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Answers a request for the route's events. False where it is for something else.
pub async fn answer(session: &mut Exchange, walk: &mut Walk) -> Result<bool> {
    let Some(route) = walk.route.clone() else {
        return Ok(false);
    };
    let Some(entered) = &walk.entered else {
        return Ok(false);
    };
    let Some(settings) = route.events.as_ref().filter(|it| it.path == entered.path) else {
        return Ok(false);
    };
    // In a box, so that only who listens makes room for it.
    Box::pin(tell(session, walk, &route, settings)).await?;
    Ok(true)
}

async fn tell(
    session: &mut Exchange,
    walk: &mut Walk,
    route: &RouteSettings,
    settings: &EventSettings,
) -> Result<()> {
    let Some(entered) = &walk.entered else {
        return Ok(());
    };
    let method = &session.req_header().method;
    if !matches!(*method, Method::GET | Method::HEAD) {
        let verdict = Verdict::new(StatusCode::METHOD_NOT_ALLOWED, "events-method");
        let mut fields = HeaderMap::new();
        fields.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return deliver::own_answer_with(session, walk, verdict, fields).await;
    }
    let only_head = *method == Method::HEAD;
    let interest = Interest::new(
        &entered.ticket.host,
        &settings.prefix,
        uri::split_path_query(target(session.req_header())).query,
    );
    let last = last_seen(&session.req_header().headers);
    let hub = entered.site.events.clone();
    let Some(viewer) = hub.enter(&route.name, settings.viewers, last.as_deref()) else {
        let verdict = Verdict {
            retry_after: Some(RETRY_AFTER),
            ..Verdict::new(StatusCode::SERVICE_UNAVAILABLE, "events-full")
        };
        return deliver::own_answer(session, walk, verdict).await;
    };
    let mut head = ResponseHead::new(StatusCode::OK, HeaderSection::with_capacity(4));
    for (name, value) in [
        (&CONTENT_TYPE, "text/event-stream"),
        (&CACHE_CONTROL, "no-store"),
        (&X_ACCEL_BUFFERING, "no"),
    ] {
        head.fields.insert_text(name, value);
    }
    deliver::write_response(session.req_header(), &mut head, walk)?;
    if only_head {
        return session.write([Part::HeadOnly(head)]).await;
    }
    session.write([Part::Head(head)]).await?;
    follow(session, viewer, &interest, settings).await
}

fn last_seen(fields: &HeaderMap) -> Option<String> {
    let value = fields.get(LAST_EVENT_ID)?.to_str().ok()?;
    Some(value.to_owned())
}

/// Tells what happens until the viewer leaves or a drain begins.
async fn follow(
    session: &mut Exchange,
    mut viewer: Viewer,
    interest: &Interest,
    settings: &EventSettings,
) -> Result<()> {
    let retry = fastrand::u64(RETRY_MS / 2..RETRY_MS + RETRY_MS / 2);
    let begin = format!("retry: {retry}\nid: {}\n\n", viewer.last());
    session.write([Part::Data(begin.into())]).await?;
    let lifecycle = session.lifecycle();
    loop {
        let heard = tokio::select! {
            heard = timeout(settings.heartbeat, viewer.next()) => heard,
            gone = client_leaves(session) => return Err(gone),
            () = draining(lifecycle.as_deref()) => break,
        };
        let text: Bytes = match heard {
            Ok(Heard::Event(event)) if !interest.concerns(event.purge.as_deref()) => continue,
            Ok(Heard::Event(event)) => message::of(&event).into(),
            Ok(Heard::Missed(last)) => message::reload(&last).into(),
            Ok(Heard::Over) => break,
            // A comment, by which both ends and all that stand between see that the other is there.
            Err(_) => Bytes::from_static(b":\n\n"),
        };
        session.write([Part::Data(text)]).await?;
    }
    session.write([Part::End]).await
}

/// A request of our own follows nothing: its end is at hand.
async fn draining(lifecycle: Option<&crate::listen::lifecycle::Lifecycle>) {
    if let Some(lifecycle) = lifecycle {
        lifecycle.draining().await;
    }
}
