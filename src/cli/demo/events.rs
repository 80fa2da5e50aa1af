//! The demo application's Server-Sent Events: a tick each second, and whatever else happens.

use std::convert::Infallible;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, stream};
use hyper::body::Frame;
use serde_json::{Value, json};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::app::App;

const TICK: Duration = Duration::from_secs(1);

/// Something that everybody who listens is told.
#[derive(Debug, Clone)]
pub(super) enum Event {
    /// An item was added: the item.
    Added(Value),
    /// The application goes away; streams end.
    Leaving,
}

/// One listener's place in the stream.
struct Listener {
    app: Arc<App>,
    events: broadcast::Receiver<Event>,
    ticks: Interval,
    count: u64,
    open: bool,
}

/// The body of `GET /events`.
pub(super) fn body(app: &Arc<App>) -> impl Stream<Item = Result<Frame<Bytes>, Infallible>> + use<> {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let listener = Listener {
        events: app.events.subscribe(),
        app: Arc::clone(app),
        ticks,
        count: 0,
        open: true,
    };
    stream::unfold(listener, |mut listener| async move {
        let text = listener.next().await?;
        Some((Ok(Frame::data(text.into())), listener))
    })
}

impl Listener {
    async fn next(&mut self) -> Option<String> {
        if !self.open {
            return None;
        }
        tokio::select! {
            event = self.events.recv() => Some(match event {
                Ok(Event::Added(item)) => written("added", &item),
                Ok(Event::Leaving) | Err(RecvError::Closed) => {
                    self.open = false;
                    written("leaving", &json!({ "run": self.app.run() }))
                }
                Err(RecvError::Lagged(missed)) => written("missed", &json!({ "events": missed })),
            }),
            _ = self.ticks.tick() => {
                self.count += 1;
                let tick = json!({
                    "tick": self.count,
                    "run": self.app.run(),
                    "up_seconds": self.app.up().as_secs(),
                    "items": self.app.items().len(),
                });
                // A browser whose stream ends asks again after `retry` milliseconds.
                let retry = if self.count == 1 { "retry: 250\n" } else { "" };
                Some(format!("{retry}{}", written("tick", &tick)))
            }
        }
    }
}

/// One event in the syntax of the HTML standard, §9.2.5. JSON on one line needs no escaping.
fn written(name: &str, data: &Value) -> String {
    let mut text = String::new();
    let _ = write!(text, "event: {name}\ndata: {data}\n\n");
    text
}
