//! A small service with one endpoint for each way in which an application talks through a proxy.
//!
//! `pulse [ADDRESS]`, where ADDRESS is `HOST:PORT` (default `127.0.0.1:7000`) or `unix:/path`. HTTP/1.1 and h2c.
//! SIGTERM and SIGINT end it as a careful service ends: requests in flight are finished, idle connections closed.
//!
//! | path | answer |
//! |---|---|
//! | `/` | JSON: who answered, and how many requests it has had |
//! | `/1k` | 1 KiB of text, for load |
//! | `/slow/MS` | `/` after so many milliseconds |
//! | `/echo` | the request's method, target, fields and body's length as JSON |
//! | `/status/CODE` | that status, with a short text |
//! | `/upload` | length and CRC-32 of the body, as JSON |
//! | `/download/N` | N bytes, `Content-Length` given |
//! | `/stream/N` | N lines, chunked, one every 100 ms |
//! | `/events` | server-sent events, one every 100 ms |
//! | `/ws` | a WebSocket that returns every message |
//! | `/healthz` | `ok` |

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, Request, State};
use axum::http::{StatusCode, header};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use axum::{Json, Router};
use futures_util::{Stream, StreamExt, stream};
use serde_json::{Value, json};
use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;

/// Between two lines or events of a stream.
const BEAT: Duration = Duration::from_millis(100);
/// What `/download` repeats.
static PATTERN: [u8; 64 * 1024] = pattern();
/// What `/1k` answers.
static KIBIBYTE: [u8; 1024] = [b'k'; 1024];

const fn pattern() -> [u8; 64 * 1024] {
    let mut bytes = [0; 64 * 1024];
    let mut i = 0;
    while i < bytes.len() {
        bytes[i] = (i % 251) as u8;
        i += 1;
    }
    bytes
}

/// Requests to `/` and `/slow` so far.
type Beats = Arc<AtomicU64>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let app = Router::new()
        .route("/", any(pulse))
        .route("/1k", get(|| async { text(Body::from(&KIBIBYTE[..])) }))
        .route("/slow/{ms}", any(slow))
        .route("/echo", any(echo))
        .route("/status/{code}", any(status))
        .route("/upload", any(upload))
        .route("/download/{bytes}", get(download))
        .route("/stream/{lines}", get(lines))
        .route("/events", get(events))
        .route(
            "/ws",
            any(|upgrade: WebSocketUpgrade| async { upgrade.on_upgrade(returned) }),
        )
        .route("/healthz", get(|| async { "ok\n" }))
        .with_state(Beats::default());

    let address = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:7000".to_owned());
    let stop = async || {
        let mut term = signal(SignalKind::terminate()).expect("signals can be caught");
        let mut int = signal(SignalKind::interrupt()).expect("signals can be caught");
        tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
    };
    if let Some(path) = address.strip_prefix("unix:") {
        // A predecessor's socket stays behind when it was killed.
        let _ = std::fs::remove_file(path);
        axum::serve(UnixListener::bind(path)?, app)
            .with_graceful_shutdown(stop())
            .await
    } else {
        axum::serve(TcpListener::bind(&address).await?, app)
            .with_graceful_shutdown(stop())
            .await
    }
}

async fn pulse(State(beats): State<Beats>) -> Json<Value> {
    let beat = beats.fetch_add(1, Ordering::Relaxed) + 1;
    Json(json!({ "service": "pulse", "pid": std::process::id(), "beat": beat }))
}

async fn slow(State(beats): State<Beats>, Path(ms): Path<u64>) -> Json<Value> {
    sleep(Duration::from_millis(ms)).await;
    pulse(State(beats)).await
}

async fn echo(request: Request) -> Json<Value> {
    let fields: Vec<_> = request
        .headers()
        .iter()
        .map(|(name, value)| json!([name.as_str(), String::from_utf8_lossy(value.as_bytes())]))
        .collect();
    let (method, target, version) = (
        request.method().to_string(),
        request.uri().to_string(),
        format!("{:?}", request.version()),
    );
    let (length, _) = digest(request).await.unwrap_or_default();
    Json(
        json!({ "method": method, "target": target, "version": version, "fields": fields, "body": length }),
    )
}

async fn status(Path(code): Path<u16>) -> Response {
    let status = StatusCode::from_u16(code).unwrap_or(StatusCode::BAD_REQUEST);
    (status, format!("{status}\n")).into_response()
}

async fn upload(request: Request) -> Response {
    match digest(request).await {
        Ok((bytes, crc32)) => Json(json!({ "bytes": bytes, "crc32": crc32 })).into_response(),
        Err(error) => (
            StatusCode::BAD_REQUEST,
            format!("the body broke off: {error}\n"),
        )
            .into_response(),
    }
}

/// Length and CRC-32 of the body.
async fn digest(request: Request) -> Result<(u64, u32), axum::Error> {
    let mut crc = crc32fast::Hasher::new();
    let mut length = 0;
    let mut body = request.into_body().into_data_stream();
    while let Some(part) = body.next().await {
        let part = part?;
        crc.update(&part);
        length += part.len() as u64;
    }
    Ok((length, crc.finalize()))
}

async fn download(Path(bytes): Path<u64>) -> Response {
    let parts = stream::unfold(bytes, |left| async move {
        let part = left.min(PATTERN.len() as u64);
        (part > 0).then(|| {
            (
                Ok::<_, Infallible>(Bytes::from_static(&PATTERN[..part as usize])),
                left - part,
            )
        })
    });
    ([(header::CONTENT_LENGTH, bytes)], Body::from_stream(parts)).into_response()
}

async fn lines(Path(lines): Path<u64>) -> Response {
    text(Body::from_stream(
        beats(lines).map(|n| Ok::<_, Infallible>(format!("line {n}\n"))),
    ))
}

async fn events() -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    Sse::new(beats(u64::MAX).map(|n| {
        Ok(Event::default()
            .id(n.to_string())
            .event("beat")
            .data(format!("beat {n}")))
    }))
}

/// 0, 1, … below `end`, the first at once and then one every [`BEAT`].
fn beats(end: u64) -> impl Stream<Item = u64> {
    stream::iter(0..end).then(|n| async move {
        if n > 0 {
            sleep(BEAT).await;
        }
        n
    })
}

async fn returned(mut socket: WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        if matches!(message, Message::Text(_) | Message::Binary(_))
            && socket.send(message).await.is_err()
        {
            return;
        }
    }
}

fn text(body: Body) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], body).into_response()
}
