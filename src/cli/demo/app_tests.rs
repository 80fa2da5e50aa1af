//! The demo application over real sockets, in paused time: its slowness costs a test nothing.

use super::*;
use std::net::SocketAddr;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// The application in its first life.
async fn up() -> SocketAddr {
    let seat = Seat::take().expect("a free port");
    let address = seat.address();
    TcpStream::connect(address)
        .await
        .expect_err("it is late on purpose");
    tokio::spawn(lives(seat, Arc::new(App::new())));
    back(address).await;
    address
}

/// Waits, in paused time, until somebody listens.
async fn back(address: SocketAddr) {
    while TcpStream::connect(address).await.is_err() {
        sleep(Duration::from_millis(100)).await;
    }
}

async fn ask(address: SocketAddr, method: &str, path: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("it is up");
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: demo\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    stream
        .write_all(request.as_bytes())
        .await
        .expect("it reads");
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .await
        .expect("it answers");
    answer
}

#[tokio::test(start_paused = true)]
async fn each_path_answers() {
    let address = up().await;
    for (method, path, body, status, text) in [
        ("GET", "/", "", 200, "<!doctype html>"),
        ("GET", "/healthz", "", 200, "ok"),
        ("GET", "/api/items", "", 200, "Held, not refused"),
        ("POST", "/api/items", "plain", 201, r#""item":"plain""#),
        (
            "POST",
            "/api/items",
            r#"{"text":"json"}"#,
            201,
            r#""item":"json""#,
        ),
        ("GET", "/api/items", "", 200, r#""plain","json""#),
        ("POST", "/api/items", " ", 422, "some text"),
        ("DELETE", "/api/items", "", 405, "allow: GET, POST"),
        ("GET", "/nothing", "", 404, "no such page"),
    ] {
        let answer = ask(address, method, path, body).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{method} {path}: {answer}"
        );
        assert!(answer.contains(text), "{method} {path}: {answer}");
    }
    let long = "x".repeat(ITEM_MAX + 1);
    let answer = ask(address, "POST", "/api/items", &long).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn events_tick_and_tell_of_items_and_of_leaving() {
    let address = up().await;
    let mut stream = TcpStream::connect(address).await.expect("it is up");
    stream
        .write_all(b"GET /events HTTP/1.1\r\nHost: demo\r\n\r\n")
        .await
        .expect("it reads");
    let mut lines = BufReader::new(stream).lines();
    let mut wait_for = async |wanted: &str| {
        while let Ok(Some(line)) = lines.next_line().await {
            if line == wanted {
                return;
            }
        }
        panic!("the stream ended before {wanted}");
    };
    wait_for("retry: 250").await;
    wait_for("event: tick").await;
    wait_for("event: tick").await;
    ask(address, "POST", "/api/items", "new").await;
    wait_for("event: added").await;
    ask(address, "POST", "/api/restart", "").await;
    wait_for("event: leaving").await;
}

#[tokio::test(start_paused = true)]
async fn a_restart_ends_requests_first_and_keeps_the_items() {
    let address = up().await;
    ask(address, "POST", "/api/items", "kept").await;
    let slow = tokio::spawn(ask(address, "GET", "/api/items", ""));
    let answer = ask(address, "POST", "/api/restart", "").await;
    assert!(answer.starts_with("HTTP/1.1 202 "), "{answer}");
    slow.await.expect("no panic");
    back(address).await;
    let list = ask(address, "GET", "/api/items", "").await;
    assert!(list.contains("\"kept\""), "{list}");
    assert!(list.contains(r#""run":2"#), "{list}");
}
