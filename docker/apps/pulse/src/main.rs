//! Pulse: a small service that behaves in the ways a proxy has to cope with.
//!
//! | path | what it does |
//! |---|---|
//! | `/json` | a JSON answer with a count |
//! | `/bytes/N` | N bytes at once |
//! | `/slow?ms=N` | answers after N milliseconds |
//! | `/stream?n=N` | N lines in chunks, one a millisecond |
//! | `/events?n=N` | N server-sent events, one a millisecond |
//! | `/ws` | a WebSocket that echoes |
//! | `/upload` | counts the body's bytes and their CRC-32 |
//! | `/download?bytes=N` | pours N bytes |
//! | `/healthz` | says that it is well |
//!
//! `pulse ADDR` listens there; on SIGTERM it lets requests end and goes.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{DefaultBodyLimit, Path, Query};
use axum::http::header;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use axum::{Json, Router};
use futures_util::{Stream, StreamExt, stream};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;

static COUNT: AtomicU64 = AtomicU64::new(0);

/// What is poured and what small answers are cut from.
static PATTERN: [u8; 64 * 1024] = [b'p'; 64 * 1024];

#[derive(Deserialize)]
struct Times {
    #[serde(default = "three")]
    n: u64,
}

fn three() -> u64 {
    3
}

#[derive(Deserialize)]
struct Slow {
    ms: u64,
}

#[derive(Deserialize)]
struct Size {
    bytes: u64,
}

// One thread: the service is measured on one core.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let addr = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "0.0.0.0:8000".to_owned());
    let app = Router::new()
        .route("/json", get(counted))
        .route("/bytes/{n}", get(bytes))
        .route("/slow", get(slow))
        .route("/stream", get(lines))
        .route("/events", get(events))
        .route("/ws", any(websocket))
        .route("/upload", any(upload))
        .route("/download", get(download))
        .route("/healthz", get(|| async { "well" }))
        .layer(DefaultBodyLimit::disable());
    let listener = TcpListener::bind(&addr).await?;
    let mut term = signal(SignalKind::terminate())?;
    println!("pulse on {addr}");
    let serve = axum::serve(listener, app).with_graceful_shutdown(async move {
        term.recv().await;
    });
    Ok(serve.await?)
}

async fn counted() -> Json<Value> {
    Json(json!({ "service": "pulse", "n": COUNT.fetch_add(1, Ordering::Relaxed) }))
}

async fn bytes(Path(n): Path<usize>) -> Bytes {
    Bytes::from_static(&PATTERN[..n.min(PATTERN.len())])
}

async fn slow(Query(Slow { ms }): Query<Slow>) -> String {
    sleep(Duration::from_millis(ms)).await;
    format!("after {ms} ms")
}

/// 0 to n, one a millisecond.
fn ticks(n: u64) -> impl Stream<Item = u64> {
    stream::iter(0..n).then(|i| async move {
        sleep(Duration::from_millis(1)).await;
        i
    })
}

async fn lines(Query(Times { n }): Query<Times>) -> Body {
    Body::from_stream(ticks(n).map(|i| Ok::<_, Infallible>(format!("line {i}\n"))))
}

async fn events(Query(Times { n }): Query<Times>) -> impl IntoResponse {
    Sse::new(ticks(n).map(|i| Ok::<_, Infallible>(Event::default().data(i.to_string()))))
}

async fn websocket(upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(echo)
}

async fn echo(mut socket: WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        let talk = matches!(message, Message::Text(_) | Message::Binary(_));
        if talk && socket.send(message).await.is_err() {
            return;
        }
    }
}

async fn upload(body: Body) -> Response {
    let mut pieces = body.into_data_stream();
    let (mut count, mut crc) = (0, crc32fast::Hasher::new());
    while let Some(piece) = pieces.next().await {
        let Ok(piece) = piece else {
            // The connection is broken; nobody reads this.
            return (axum::http::StatusCode::BAD_REQUEST, "cut").into_response();
        };
        count += piece.len();
        crc.update(&piece);
    }
    Json(json!({ "bytes": count, "crc32": crc.finalize() })).into_response()
}

async fn download(Query(Size { bytes }): Query<Size>) -> Response {
    let whole = bytes / PATTERN.len() as u64;
    let rest = usize::try_from(bytes % PATTERN.len() as u64).unwrap_or(0);
    let pieces = stream::iter((0..whole).map(|_| PATTERN.len()).chain([rest]));
    let body =
        Body::from_stream(pieces.map(|n| Ok::<_, Infallible>(Bytes::from_static(&PATTERN[..n]))));
    ([(header::CONTENT_LENGTH, bytes.to_string())], body).into_response()
}
