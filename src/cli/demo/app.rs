//! The demo application: a page, a slow list, a mutation and an event stream. It comes up late and can be restarted.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, LOCATION};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, Limited, StreamBody};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{Notify, broadcast};
use tokio::time::{sleep, timeout};

use crate::clock::{self, Instant};

use super::events::{self, Event};
use super::seat::Seat;

/// How long after the proxy, and after a restart, the application comes up.
pub(super) const LATE: Duration = Duration::from_secs(3);
/// What makes the slow list slow.
const SLOW: Duration = Duration::from_secs(2);
/// How long requests in flight may take when it restarts; above [`SLOW`].
const FAREWELL: Duration = Duration::from_secs(4);
/// Bytes of a new item, at most.
const ITEM_MAX: usize = 4 * 1024;
/// Items kept; the oldest go.
const ITEMS_MAX: usize = 50;
/// Events that a slow listener may fall behind.
const EVENTS_BEHIND: usize = 64;

const PAGE: &str = include_str!("page.html");

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// The application's state. It outlives restarts, as a database would.
#[derive(Debug)]
pub(super) struct App {
    items: Mutex<Vec<String>>,
    pub(super) events: broadcast::Sender<Event>,
    restart: Notify,
    runs: AtomicU32,
    up_since: Mutex<Instant>,
}

/// Starts the application on a thread of its own: it comes up [`LATE`] and lives as long as the process.
pub(super) fn start(seat: Seat) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let life = move || {
        if let Err(error) = runtime.block_on(lives(seat, Arc::new(App::new()))) {
            tracing::error!(%error, "the demo application is gone");
        }
    };
    thread::Builder::new()
        .name("demo-app".to_owned())
        .spawn(life)?;
    Ok(())
}

/// One life after the other, at the same address.
async fn lives(mut seat: Seat, app: Arc<App>) -> io::Result<()> {
    loop {
        sleep(LATE).await;
        let address = seat.address();
        let listener = TcpListener::from_std(seat.listen()?)?;
        tracing::info!(%address, "the demo application is up");
        app.begin();
        let connections = serve(&listener, &app).await;
        drop(listener);
        seat = Seat::take_at(address)?;
        tracing::info!(%address, "the demo application has gone away");
        let _ = timeout(FAREWELL, connections.shutdown()).await;
    }
}

/// Serves until a restart is asked for; what is in flight then is still to be waited for.
async fn serve(listener: &TcpListener, app: &Arc<App>) -> GracefulShutdown {
    let connections = GracefulShutdown::new();
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new());
    loop {
        let stream = tokio::select! {
            () = app.restart.notified() => return connections,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(_) => continue,
            },
        };
        let app = Arc::clone(app);
        let service = service_fn(move |request| {
            let app = Arc::clone(&app);
            async move { Ok::<_, Infallible>(app.answer(request).await) }
        });
        let connection = connections.watch(http.serve_connection(TokioIo::new(stream), service));
        tokio::spawn(async move {
            let _ = connection.await;
        });
    }
}

impl App {
    fn new() -> Self {
        let items = [
            "Held, not refused",
            "Retried, not repeated",
            "Drained, not dropped",
        ];
        Self {
            items: Mutex::new(items.map(str::to_owned).to_vec()),
            events: broadcast::Sender::new(EVENTS_BEHIND),
            restart: Notify::new(),
            runs: AtomicU32::new(0),
            up_since: Mutex::new(clock::now()),
        }
    }

    /// How many times it has come up.
    pub(super) fn run(&self) -> u32 {
        self.runs.load(Ordering::Relaxed)
    }

    /// How long ago it came up.
    pub(super) fn up(&self) -> Duration {
        self.up_since.lock().elapsed()
    }

    /// All items, oldest first.
    pub(super) fn items(&self) -> Vec<String> {
        self.items.lock().clone()
    }

    fn begin(&self) {
        self.runs.fetch_add(1, Ordering::Relaxed);
        *self.up_since.lock() = clock::now();
    }

    async fn answer(self: &Arc<Self>, request: Request<Incoming>) -> Response<Body> {
        let (head, body) = request.into_parts();
        match (&head.method, head.uri.path()) {
            (&Method::GET | &Method::HEAD, "/") => text("text/html; charset=utf-8", PAGE),
            (&Method::GET | &Method::HEAD, "/healthz") => text("text/plain", "ok\n"),
            (&Method::GET | &Method::HEAD, "/api/items") => {
                sleep(SLOW).await;
                let list = json!({ "items": self.items(), "took_seconds": SLOW.as_secs(), "run": self.run() });
                let mut answer = json_answer(StatusCode::OK, &list);
                // For the proxy, which hears of mutations; a browser asks anew each time.
                insert(&mut answer, CACHE_CONTROL, "max-age=0, s-maxage=300");
                answer
            }
            (&Method::POST, "/api/items") => self.add(body).await,
            (&Method::POST, "/api/restart") => {
                let _ = self.events.send(Event::Leaving);
                self.restart.notify_one();
                let back = json!({ "back_in_seconds": LATE.as_secs() });
                json_answer(StatusCode::ACCEPTED, &back)
            }
            (&Method::GET, "/events") => {
                let stream = StreamBody::new(events::body(self).boxed());
                let mut answer = Response::new(BodyExt::boxed_unsync(stream));
                insert(&mut answer, CONTENT_TYPE, "text/event-stream");
                insert(&mut answer, CACHE_CONTROL, "no-store");
                answer
            }
            (_, "/" | "/healthz" | "/events") => refused(StatusCode::METHOD_NOT_ALLOWED, "GET"),
            (_, "/api/items") => refused(StatusCode::METHOD_NOT_ALLOWED, "GET, POST"),
            (_, "/api/restart") => refused(StatusCode::METHOD_NOT_ALLOWED, "POST"),
            _ => json_answer(StatusCode::NOT_FOUND, &json!({ "error": "no such page" })),
        }
    }

    /// Adds what was sent: plain text, or JSON with a `text`.
    async fn add(&self, body: Incoming) -> Response<Body> {
        let Ok(sent) = Limited::new(body, ITEM_MAX).collect().await else {
            let error = json!({ "error": format!("an item is at most {ITEM_MAX} bytes") });
            return json_answer(StatusCode::PAYLOAD_TOO_LARGE, &error);
        };
        let sent = String::from_utf8_lossy(&sent.to_bytes()).into_owned();
        let value: Value = serde_json::from_str(&sent).unwrap_or_default();
        let item = value["text"].as_str().unwrap_or(&sent).trim().to_owned();
        if item.is_empty() {
            let error = json!({ "error": "an item needs some text" });
            return json_answer(StatusCode::UNPROCESSABLE_ENTITY, &error);
        }
        let number = {
            let mut items = self.items.lock();
            if items.len() == ITEMS_MAX {
                items.remove(0);
            }
            items.push(item.clone());
            items.len()
        };
        let added = json!({ "item": item, "items": number });
        // Nobody may be listening.
        let _ = self.events.send(Event::Added(added.clone()));
        let mut answer = json_answer(StatusCode::CREATED, &added);
        insert(&mut answer, LOCATION, "/api/items");
        answer
    }
}

fn refused(status: StatusCode, allow: &'static str) -> Response<Body> {
    let mut answer = json_answer(status, &json!({ "error": format!("try {allow}") }));
    insert(&mut answer, ALLOW, allow);
    answer
}

fn json_answer(status: StatusCode, value: &Value) -> Response<Body> {
    let mut answer = text("application/json", format!("{value}\n"));
    *answer.status_mut() = status;
    answer
}

fn text(content_type: &'static str, text: impl Into<Bytes>) -> Response<Body> {
    let mut answer = Response::new(Full::new(text.into()).boxed_unsync());
    insert(&mut answer, CONTENT_TYPE, content_type);
    insert(&mut answer, CACHE_CONTROL, "no-store");
    answer
}

fn insert(answer: &mut Response<Body>, name: http::HeaderName, value: &'static str) {
    answer
        .headers_mut()
        .insert(name, HeaderValue::from_static(value));
}

#[cfg(test)]
#[path = "app_tests.rs"]
mod tests;
